/**
 * The listener: hears what people send to a bot. One process listens to a bot at a time. What an update means is kept
 * in the same transaction as the position after it, so that a crash neither loses an answer nor takes it twice; what we
 * say back in the chat goes out after that, once, and is lost by a crash in between: who hears nothing presses again.
 */
import { randomUUID } from 'node:crypto';
import type { Ear, Heard, Reply } from '../channels/ear.ts';
import { type ActionKind, type Press, readPress, readWord, writePress } from '../domain/answer.ts';
import { clientIdOf } from '../domain/notice.ts';
import { normalisePhone } from '../domain/phone.ts';
import { PHRASES } from '../domain/phrases.ts';
import { spokenTime } from '../domain/text.ts';
import type { EpochMs } from '../domain/time.ts';
import { newId } from '../ids.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { type Answered, findAnswered, insertAction } from '../store/actions.ts';
import {
  type ChatCompany,
  findChatCompanies,
  isChatOf,
  linkChat,
  openChat,
  recordConsent,
} from '../store/chats.ts';
import { moveEar, releaseEars, takeEar } from '../store/ears.ts';
import { type Db, type Pool, transaction } from '../store/pool.ts';
import { createLoop, type Loop } from './loop.ts';

export type ListenDeps = {
  readonly pool: Pool;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly now: () => EpochMs;
  readonly ear: Ear;
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

export function createListener(deps: ListenDeps): Listener {
  const { pool, log, metrics, ear } = deps;
  const owner = randomUUID();
  let abort = new AbortController();

  async function runOnce(): Promise<number> {
    const { signal } = abort;
    const position = await takeEar(pool, ear, { owner, leaseMs: ear.waitMs + LEASE_MARGIN_MS });
    if (position === undefined) return 0;
    const news = await listen(position, signal);
    if (news === undefined || news.heard.length === 0) return 0;
    const answers = await transaction(pool, async db => {
      if (!(await moveEar(db, ear, { owner, position: news.position }))) return undefined;
      const said: Answer[] = [];
      for (const heard of news.heard) said.push(await understand(deps, db, heard));
      return said;
    });
    if (answers === undefined) return 0;
    if (answers.some(({ acts }) => acts)) deps.onAction();
    for (const [index, answer] of answers.entries()) {
      const heard = news.heard[index];
      metrics.heard.inc({ channel: ear.channel, kind: heard?.kind ?? 'text' });
      const faults = [
        heard?.kind === 'press' ? await ear.acknowledge(heard.pressId, signal) : undefined,
        answer.reply === undefined ? undefined : await ear.reply(answer.reply, signal),
      ];
      for (const reason of faults) {
        if (reason !== undefined)
          log.warn({ loop: 'listen', channel: ear.channel, reason }, 'a reply did not arrive');
      }
    }
    return news.heard.length;
  }

  async function listen(position: number, signal: AbortSignal) {
    try {
      return await ear.listen(position, signal);
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

const SILENCE: Answer = { reply: undefined, acts: false };

async function understand(deps: ListenDeps, db: Db, heard: Heard): Promise<Answer> {
  const key = { channel: deps.ear.channel, chat: heard.chat };
  const say = (text: string, more: Partial<Reply> = {}): Answer => ({
    reply: { chat: heard.chat, text, ...more },
    acts: false,
  });
  const opened = heard.kind === 'start' ? await openChat(db, key, heard.invite) : undefined;
  const companies = await findChatCompanies(db, key);
  const company = opened ?? companies[0];
  // Nothing is known of whoever has no salon yet: Russian, as most of them.
  const phrases = PHRASES[company?.locale ?? 'ru'];
  if (company === undefined) return heard.kind === 'left' ? SILENCE : say(phrases.noInvite);
  const decide = (granted: boolean, words: string) =>
    recordConsent(db, {
      ...key,
      companyIds: companies.map(({ companyId }) => companyId),
      // Advertising needs a word of its own to come back.
      categories: granted ? ['service'] : ['service', 'advertising'],
      granted,
      words: words.slice(0, MAX_WORDS),
      at: deps.now(),
    });
  switch (heard.kind) {
    case 'left':
      await decide(false, 'blocked the bot');
      return SILENCE;
    case 'start':
      await decide(true, `/start ${heard.invite}`);
      if (company.linked) return say(phrases.linked);
      return say(phrases.welcome(company.title), { askForContact: phrases.shareNumber });
    case 'contact':
      if (!heard.own) return say(phrases.foreignContact, { askForContact: phrases.shareNumber });
      await linkChat(db, key, normalisePhone(heard.phone));
      await decide(true, 'shared their number');
      return say(phrases.linked, { contactDone: true });
    case 'text':
      switch (readWord(heard.text)) {
        case 'stop':
          await decide(false, heard.text);
          return say(phrases.stopped);
        case 'resume':
          await decide(true, heard.text);
          return say(phrases.resumed);
        case undefined:
          if (!company.linked)
            return say(phrases.welcome(company.title), { askForContact: phrases.shareNumber });
          return say(phrases.notRead(company.phone));
      }
      break;
    case 'press':
      return answerPress(deps, db, { ...key, press: heard.press, companies });
  }
}

/** A press proves nothing by itself: it counts where the chat is an address of the client the message went to. */
async function answerPress(
  deps: ListenDeps,
  db: Db,
  asked: {
    readonly channel: string;
    readonly chat: string;
    readonly press: string;
    readonly companies: readonly ChatCompany[];
  },
): Promise<Answer> {
  const { channel, chat } = asked;
  const press = readPress(asked.press);
  const answered = press === undefined ? undefined : await findAnswered(db, press);
  const clientId = answered === undefined ? undefined : clientIdOf(answered.recipient);
  if (press === undefined || answered === undefined || clientId === undefined) return SILENCE;
  const { companyId } = press;
  const company = asked.companies.find(candidate => candidate.companyId === companyId);
  if (company === undefined || !(await isChatOf(db, { channel, chat }, { companyId, clientId })))
    return SILENCE;
  const phrases = PHRASES[company.locale];
  const say = (text: string, more: Partial<Reply> = {}): Answer => ({
    reply: { chat, text, ...more },
    acts: false,
  });
  const act = async (kind: ActionKind): Promise<Answer> => {
    const acts = await insertAction(db, { id: newId(), kind, answered, channel, chat, now: deps.now() });
    return { reply: undefined, acts };
  };
  switch (press.act) {
    case 'confirm':
      return act('confirm');
    case 'cancel':
      return act('cancel');
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

function pressOf(act: Press['act'], { companyId, messageId }: Answered): string {
  return writePress({ act, companyId, messageId });
}

function whenOf({ facts }: Answered, { locale }: ChatCompany): string {
  return spokenTime(facts.startsLocal, locale).when;
}
