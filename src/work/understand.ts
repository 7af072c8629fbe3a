/**
 * What it means that somebody opened a bot, shared their number, pressed a button or wrote a word, and what the bot says
 * back. It asks the database alone: who is heard, and when, is work/listen.ts's.
 */
import type { Heard, Mouth, Reply } from '../channels/ear.ts';
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
import type { Db } from '../store/pool.ts';
import { joinTeam } from '../store/team.ts';
import type { Vault } from '../vault.ts';
import { acceptInvite } from './personal.ts';

export type UnderstandDeps = {
  readonly now: () => EpochMs;
  readonly vault: Pick<Vault, 'proveInvite'>;
  /** Where it was said. */
  readonly ear: Mouth;
};

/** `acts`: something was asked for that the platform is to hear. */
export type Answer = { readonly reply: Reply | undefined; readonly acts: boolean };

export const SILENCE: Answer = { reply: undefined, acts: false };

/** A text of a person is looked at no further. */
const MAX_WORDS = 100;
/** How long a question waits for its answer. */
const ASKED_MS = 60 * 60_000;

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

/** What somebody said, in the transaction that takes it: keeps what follows from it, and answers what the bot says back. */
export async function understand(
  deps: UnderstandDeps,
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
  deps: UnderstandDeps,
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
  deps: UnderstandDeps,
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
  deps: UnderstandDeps,
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
