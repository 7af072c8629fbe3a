/**
 * The listener: hears what people send to a bot, by asking for it or from what a messenger brought (`heard`). What an
 * update means is kept in the same transaction that takes it, so that a crash neither loses an answer nor takes it
 * twice; what we say back in the chat goes out after that, once, and is lost by a crash in between: who hears nothing
 * presses again. One process listens to a bot at a time. What cannot be understood is kept aside and holds nobody up.
 */
import { randomUUID } from 'node:crypto';
import type { Ear, Heard, Mouth, Reply, ToldEar } from '../channels/ear.ts';
import {
  type ActionKind,
  type Press,
  readPersonalInvite,
  readPress,
  readWord,
  type VisitWord,
  wishOf,
  writePress,
} from '../domain/answer.ts';
import { clientIdOf } from '../domain/notice.ts';
import { normalisePhone } from '../domain/phone.ts';
import { PHRASES, type Phrases } from '../domain/phrases.ts';
import { spokenTime } from '../domain/text.ts';
import type { EpochMs } from '../domain/time.ts';
import { newId } from '../ids.ts';
import { describeError, type Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import {
  type Answered,
  findAnswered,
  findLastAnswerable,
  insertActions,
  takeAsked,
} from '../store/actions.ts';
import {
  BLOCKED,
  type ChatCompany,
  type ChatKey,
  findChatClients,
  findChatCompanies,
  findNumberCompanies,
  findRefused,
  isChatOf,
  linkChat,
  openChat,
  recordConsent,
} from '../store/chats.ts';
import { moveEar, releaseEars, takeEar } from '../store/ears.ts';
import { keepAside, takeHeard } from '../store/heard.ts';
import { type Db, type Pool, savepoint, transaction, troubleOf } from '../store/pool.ts';
import { joinTeam } from '../store/team.ts';
import type { Vault } from '../vault.ts';
import { createLoop, type Loop } from './loop.ts';
import { acceptInvite } from './personal.ts';

export type ListenDeps = {
  readonly pool: Pool;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly now: () => EpochMs;
  readonly vault: Pick<Vault, 'proveInvite'>;
  readonly ear: Ear | ToldEar;
  /** Where a messenger is to bring what it hears; undefined: nowhere, or we ask. */
  readonly updatesUrl?: (() => Promise<string>) | undefined;
  /** Something was asked for. */
  readonly onAction: () => void;
};

export type Listener = Loop & {
  /** Waits for news and keeps it; returns how much there was. */
  runOnce(): Promise<number>;
};

/** Beyond the longest wait: the time to keep and answer a batch. */
const LEASE_MARGIN_MS = 60_000;
/** When another process listens, or nothing came from a server that does not hold its answers back. */
const IDLE_MS = 1_000;
/** A text of a person is looked at no further. */
const MAX_WORDS = 100;
const BATCH = 100;
/** MAX forgets a subscription whose address has failed for hours. */
const SUBSCRIBE_EVERY_MS = 10 * 60_000;
/** What cannot be understood is tried so often before it is kept aside: the fault may be ours, and over in a moment. */
const MAX_TRIES = 3;
/** How long a question waits for its answer. */
const ASKED_MS = 60 * 60_000;
/** What is heard sooner was said now: the clocks of messengers and ours differ, and theirs has whole seconds. */
const LATE_MS = 60_000;

export function createListener(deps: ListenDeps): Listener {
  const { pool, log, metrics, ear } = deps;
  const owner = randomUUID();
  let abort = new AbortController();

  let subscribedAt = Number.NEGATIVE_INFINITY;
  /** How often what is being heard could not be understood. */
  const tries = new Map<string, number>();

  async function runOnce(): Promise<number> {
    const { signal } = abort;
    const taken = 'listen' in ear ? await ask(ear, signal) : await take(ear, signal);
    tries.clear();
    if (taken.some(({ answer }) => answer.acts)) deps.onAction();
    for (const { heard, answer, fault } of taken) {
      metrics.heard.inc({ channel: ear.channel, kind: heard.kind });
      if (fault !== undefined) {
        metrics.aside.inc({ channel: ear.channel });
        const fields = { loop: 'listen', channel: ear.channel, kind: heard.kind, reason: fault };
        log.error(
          fields,
          'what somebody sent could not be understood: it is kept aside, `answers aside` lists it',
        );
      }
      const faults = [
        heard.kind === 'press' && heard.pressId !== ''
          ? await ear.acknowledge(heard.pressId, signal)
          : undefined,
        answer.reply === undefined ? undefined : await ear.reply(answer.reply, signal),
      ];
      for (const reason of faults) {
        if (reason !== undefined)
          log.warn({ loop: 'listen', channel: ear.channel, reason }, 'a reply did not arrive');
      }
    }
    return taken.length;
  }

  /** Asks for what is new since the position that is kept. */
  async function ask(asking: Ear, signal: AbortSignal): Promise<Understood[]> {
    const position = await takeEar(pool, asking, { owner, leaseMs: asking.waitMs + LEASE_MARGIN_MS });
    if (position === undefined) return [];
    // Before the long wait: whoever put something back looks on.
    const again = await takeKept(asking);
    if (again.length > 0) return again;
    const news = await listen(asking, position, signal);
    if (news === undefined || news.position === position) return [];
    return transaction(pool, async db => {
      if (!(await moveEar(db, asking, { owner, position: news.position }))) return [];
      return understandAll(
        db,
        news.heard.map(said => ({ updateId: newId(), said, heardAt: deps.now() })),
      );
    });
  }

  /** Takes what was brought. */
  async function take(told: ToldEar, signal: AbortSignal): Promise<Understood[]> {
    await subscribe(told, signal);
    return takeKept(told);
  }

  /** What was brought, and what was kept aside and put back. */
  function takeKept(mouth: Mouth): Promise<Understood[]> {
    return transaction(pool, async db => {
      const heard = await takeHeard<Heard>(db, mouth.channel, BATCH);
      return understandAll(
        db,
        heard.flatMap(({ updateId, said, heardAt }) =>
          readAgain(mouth, said).map(again => ({ updateId, said: again, heardAt })),
        ),
      );
    });
  }

  async function understandAll(db: Db, news: readonly News[]): Promise<Understood[]> {
    const understood: Understood[] = [];
    for (const { updateId, said, heardAt } of news) {
      try {
        if (said.kind === 'unread') throw new UnreadError(said.error);
        const at = momentOf(said, heardAt, deps.now());
        understood.push({ heard: said, answer: await savepoint(db, () => understand(deps, db, said, at)) });
      } catch (error) {
        if (!isHopeless(said, error)) throw error;
        const fault = faultOf(error);
        await keepAside(db, { channel: ear.channel, updateId, said, error: fault });
        understood.push({ heard: said, answer: SILENCE, fault });
      }
    }
    return understood;
  }

  /** It is this that is at fault, not the database. All that came with it is tried again until that is sure. */
  function isHopeless(heard: Heard, error: unknown): boolean {
    if (error instanceof UnreadError) return true;
    const trouble = troubleOf(error);
    if (trouble !== 'data' && trouble !== 'bug') return false;
    const said = JSON.stringify(heard);
    tries.set(said, (tries.get(said) ?? 0) + 1);
    return (tries.get(said) ?? 0) >= MAX_TRIES;
  }

  async function subscribe(told: ToldEar, signal: AbortSignal): Promise<void> {
    const { updatesUrl } = deps;
    if (updatesUrl === undefined || told.subscribe === undefined) return;
    if (deps.now() - subscribedAt < SUBSCRIBE_EVERY_MS) return;
    subscribedAt = deps.now();
    const reason = await told.subscribe(await updatesUrl(), signal);
    if (reason !== undefined && !signal.aborted)
      log.warn({ loop: 'listen', channel: told.channel, reason }, 'could not subscribe to what people send');
  }

  async function listen(asking: Ear, position: number, signal: AbortSignal) {
    try {
      return await asking.listen(position, signal);
    } catch (error) {
      if (signal.aborted) return undefined;
      throw error;
    }
  }

  const loop = createLoop({ name: 'listen', log, metrics, idleMs: IDLE_MS, runOnce });
  return {
    ...loop,
    runOnce,
    start() {
      abort = new AbortController();
      loop.start();
    },
    async stop() {
      abort.abort();
      await loop.stop();
      await releaseEars(pool, owner).catch((error: unknown) => {
        log.warn(
          { loop: 'listen', err: error },
          'could not give the bot back; it passes on when the lease ends',
        );
      });
    },
  };
}

type Answer = { readonly reply: Reply | undefined; readonly acts: boolean };
type Understood = {
  readonly heard: Heard;
  readonly answer: Answer;
  /** Why it could not be understood. */
  readonly fault?: string;
};
type News = { readonly updateId: string; readonly said: Heard; readonly heardAt: EpochMs };

const SILENCE: Answer = { reply: undefined, acts: false };

/** Of no form that is known, as its reader said. */
class UnreadError extends Error {
  override readonly name = 'UnreadError';
}

/**
 * When it was said: what a messenger held back, or an operator put back, is not of today. By then they may have been
 * told of other visits, and have said something else.
 */
function momentOf({ saidAt }: Heard, heardAt: EpochMs, now: EpochMs): EpochMs {
  const at = saidAt ?? heardAt;
  return now - at < LATE_MS ? now : at;
}

function readAgain(mouth: Mouth, said: Heard): readonly Heard[] {
  return said.kind === 'unread' ? mouth.readAgain(said.raw) : [said];
}

/** Nothing of what was said: an error may quote it. */
function faultOf(error: unknown): string {
  if (error instanceof UnreadError) return `unread: ${error.message}`;
  const { error: name, error_code, error_at } = describeError(error);
  return [name, error_code, error_at].filter(Boolean).join(' ');
}

/** What everything below looks at. */
type Chat = {
  readonly channel: string;
  readonly chat: string;
  /** Whose it is; the first speaks. */
  readonly companies: readonly ChatCompany[];
};

/** One of the team has followed their own invitation, or (undefined) has not. */
async function join(db: Db, key: ChatKey, invite: string, now: EpochMs): Promise<Answer | undefined> {
  const joined = await joinTeam(db, { ...key, invite, now });
  if (joined === undefined) return undefined;
  const { companyId, locale, role, title } = joined;
  await recordConsent(db, {
    ...{ ...key, companyIds: [companyId], categories: ['service'], granted: true },
    // The invitation itself is of no use any more, and nobody's business.
    ...{ words: '/start', at: now },
  });
  return sayIn(key.chat)(PHRASES[locale].joined(role, title));
}

async function understand(
  deps: ListenDeps,
  db: Db,
  heard: Exclude<Heard, { kind: 'unread' }>,
  saidAt: EpochMs,
): Promise<Answer> {
  const { ear, now, vault } = deps;
  const key = { channel: ear.channel, chat: heard.chat };
  const opened =
    heard.kind !== 'start'
      ? undefined
      : ((await acceptInvite(db, key, heard.invite, { vault, now: now() })) ??
        (await openChat(db, key, { invite: heard.invite })));
  if (heard.kind === 'start' && opened === undefined) {
    const joined = await join(db, key, heard.invite, now());
    if (joined !== undefined) return joined;
  }
  const companies = await (ear.numbers === 'chat' ? findNumberCompanies : findChatCompanies)(db, key);
  const company = opened ?? companies[0];
  const say = sayIn(heard.chat);
  // Nothing is known of whoever has no salon yet: Russian, as most of them.
  const phrases = PHRASES[company?.locale ?? 'ru'];
  if (company === undefined) {
    return heard.kind === 'left' || ear.costly ? SILENCE : say(phrases.noInvite);
  }
  const decide = async (granted: boolean, words: string, whose = companies) => {
    const companyIds = whose.map(({ companyId }) => companyId);
    await recordConsent(db, {
      ...{ ...key, companyIds },
      // A bot that is blocked says nothing of another chat of theirs.
      clients: words === BLOCKED ? [] : await findChatClients(db, key, companyIds),
      // Advertising needs a word of its own to come back.
      categories: granted ? ['service'] : ['service', 'advertising'],
      granted,
      words: words.replaceAll('\0', '').slice(0, MAX_WORDS),
      at: saidAt,
      late: saidAt < now(),
    });
  };
  /** Allows by the way, which takes nothing back that was refused. Answers whether the salon that speaks is refused. */
  const allow = async (words: string) => {
    const companyIds = companies.map(({ companyId }) => companyId);
    const refused = await findRefused(db, key, companyIds, await findChatClients(db, key, companyIds));
    await decide(
      true,
      words,
      companies.filter(({ companyId }) => !refused.has(companyId)),
    );
    return refused.has(company.companyId);
  };
  const welcome = () => welcomeTo(ear, company, phrases, say);
  switch (heard.kind) {
    case 'left':
      await decide(false, BLOCKED);
      return SILENCE;
    case 'start': {
      // A link of their own is good for a while yet, and is not kept.
      const words = readPersonalInvite(heard.invite) ? 'opened their own link' : `/start ${heard.invite}`;
      // Whoever opens a salon's link wants messages of that salon; of the others they may have refused them.
      if (opened !== undefined) await decide(true, words, [opened]);
      else if (await allow(words)) return say(phrases.stopped);
      return company.linked ? say(phrases.linked) : welcome();
    }
    case 'contact':
      if (!heard.own) return say(phrases.foreignContact, { askForContact: phrases.shareNumber });
      await linkChat(db, key, normalisePhone(heard.phone));
      return say((await allow('shared their number')) ? phrases.stopped : phrases.linked, {
        contactDone: true,
      });
    case 'text': {
      const word = readWord(heard.text);
      if (word === 'stop' || word === 'resume') {
        await decide(word === 'resume', heard.text);
        return ear.costly ? SILENCE : say(word === 'stop' ? phrases.stopped : phrases.resumed);
      }
      if (!company.linked) return welcome();
      if (word !== undefined) return answerWord(deps, db, { ...key, companies }, { word, saidAt });
      return ear.costly ? SILENCE : say(phrases.notRead(company.phone));
    }
    case 'press':
      return answerPress(deps, db, { ...key, companies }, { data: heard.press, saidAt });
  }
}

type Say = (text: string, more?: Partial<Reply>) => Answer;

function sayIn(chat: string): Say {
  return (text, more = {}) => ({ reply: { chat, text, ...more }, acts: false });
}

function welcomeTo({ numbers }: Mouth, { title }: ChatCompany, phrases: Phrases, say: Say): Answer {
  if (numbers === 'none') return say(phrases.welcomeByLink(title));
  return say(phrases.welcome(title), { askForContact: phrases.shareNumber });
}

/**
 * A word is about the question whether to cancel, where that stands, or about the last message of a visit to come that
 * whoever writes was sent here, whichever came later; only the yes that the question asks for is about nothing else.
 */
async function answerWord(
  deps: ListenDeps,
  db: Db,
  { companies, ...key }: Chat,
  { word, saidAt }: { word: VisitWord; saidAt: EpochMs },
): Promise<Answer> {
  const now = deps.now();
  const question = await takeAsked(db, { ...key, saidAt, since: now - ASKED_MS });
  const clients = await findChatClients(
    db,
    key,
    companies.map(({ companyId }) => companyId),
  );
  const last = await findLastAnswerable(db, { channel: key.channel, clients, saidAt, now });
  const overtaken =
    question !== undefined &&
    last?.messageId !== question.messageId &&
    (last?.leftAt ?? 0) > question.askedAt;
  const asked = overtaken && word !== 'really' ? undefined : question;
  const answered = asked === undefined ? last : await findAnswered(db, asked);
  const company = companies.find(({ companyId }) => companyId === answered?.companyId);
  if (answered === undefined || company === undefined) {
    const [first] = companies;
    const phrases = PHRASES[first?.locale ?? 'ru'];
    return deps.ear.costly ? SILENCE : sayIn(key.chat)(phrases.nothingToAnswer(first?.phone ?? ''));
  }
  const phrases = PHRASES[company.locale];
  const say = sayIn(key.chat);
  const wish = wishOf(word, asked !== undefined);
  switch (wish) {
    case 'confirm':
    case 'move':
    case 'cancel':
      return act(deps, db, key, answered, wish);
    case 'keep':
      return say(phrases.kept);
    case 'ask_cancel':
    case 'ask_again': {
      await insertActions(db, newId, { ...key, kind: 'cancel', answered, now, state: 'asked' });
      const words = wish === 'ask_cancel' ? phrases.askCancelByWord : phrases.askCancelAgain;
      return say(words(whenOf(answered, company)));
    }
  }
}

/**
 * A press proves nothing by itself: it counts where the chat is an address of the client the message went to. A yes to
 * the question whether to cancel that was held up for as long as a question waits is asked again: they may have come to
 * another mind.
 */
async function answerPress(
  deps: ListenDeps,
  db: Db,
  { companies, ...key }: Chat,
  { data, saidAt }: { data: string; saidAt: EpochMs },
): Promise<Answer> {
  const press = readPress(data);
  const answered = press === undefined ? undefined : await findAnswered(db, press);
  const clientId = answered === undefined ? undefined : clientIdOf(answered.recipient);
  if (press === undefined || answered === undefined || clientId === undefined) return SILENCE;
  const { companyId } = press;
  const company = companies.find(candidate => candidate.companyId === companyId);
  if (company === undefined || !(await isChatOf(db, key, { companyId, clientId }))) return SILENCE;
  // Whatever was asked by words before is answered by it.
  await takeAsked(db, { ...key, saidAt, since: saidAt });
  const phrases = PHRASES[company.locale];
  const say = sayIn(key.chat);
  const wish = press.act === 'cancel' && saidAt <= deps.now() - ASKED_MS ? 'ask_cancel' : press.act;
  switch (wish) {
    case 'confirm':
    case 'cancel':
    case 'move':
      return act(deps, db, key, answered, wish);
    case 'keep':
      return say(phrases.kept);
    case 'ask_cancel':
      return say(phrases.askCancel(whenOf(answered, company)), {
        buttons: [
          { label: phrases.reallyCancel, press: pressOf('cancel', answered) },
          { label: phrases.keep, press: pressOf('keep', answered) },
        ],
      });
  }
}

async function act(
  deps: ListenDeps,
  db: Db,
  key: { readonly channel: string; readonly chat: string },
  answered: Answered,
  kind: ActionKind,
): Promise<Answer> {
  const acts = await insertActions(db, newId, { ...key, kind, answered, now: deps.now() });
  return { reply: undefined, acts: acts > 0 };
}

function pressOf(act: Press['act'], { companyId, messageId }: Answered): string {
  return writePress({ act, companyId, messageId });
}

function whenOf({ records: [first] }: Answered, { locale }: ChatCompany): string {
  return first === undefined ? '' : spokenTime(first.startsLocal, locale).when;
}
