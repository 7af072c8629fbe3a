/**
 * The Telegram channel: a plain text from the company's bot to a chat that has started it.
 *
 * No parse_mode, so that a name cannot break or forge markup, and no link previews. Telegram takes no key that
 * would make a repeat harmless, so an answer that did not come is `unknown`. Errors of the Bot API and of fetch can
 * carry the URL, and with it the token; reasons are therefore made of codes and of the phrases listed here, only.
 * core.telegram.org/bots/api#getme: a method to test the token by, without parameters.
 */
import { GrammyError } from 'grammy';
import { boundedWaitMs } from '../outgoing.ts';
import { type BotConfig, createBotApi } from './bot-api.ts';
import type { AccountState, Button, Channel, SendResult } from './channel.ts';
import type { Posted } from './post.ts';
import { clip, foreignAnswer, refusalOf, rejected, retry, unknown, WORKS } from './provider.ts';

export type TelegramConfig = BotConfig & { readonly timeoutMs?: number | undefined };

/** The Bot API answers in well under a second; a proxy on a bad day in several. */
const TIMEOUT_MS = 20_000;
const CONCURRENCY = 20;
const MAX_ANSWER_BYTES = 64 * 1024;
/** UTF-16 units, as Telegram counts. */
const MAX_TEXT_UNITS = 4096;
/** A chat id, or the public name of a channel. */
const CHAT = /^(-?\d{1,20}|@[A-Za-z]\w{3,31})$/;

/** They want nothing from this bot. */
const BLOCKED = 'bot was blocked by the user';
/** What Telegram says of an address that will not work again. */
const DEAD_ADDRESS = [
  'chat not found',
  'user not found',
  'PEER_ID_INVALID',
  'user is deactivated',
  'bot was kicked',
  'bot is not a member',
  "can't initiate conversation",
  "bots can't send messages to bots",
  'group chat was upgraded',
  'group chat was deactivated',
  'not enough rights',
  'have no rights to send',
  'CHAT_WRITE_FORBIDDEN',
];
const KNOWN_PHRASES = [
  BLOCKED,
  ...DEAD_ADDRESS,
  'message is too long',
  'message text is empty',
  'Too Many Requests',
];

export function createTelegram({ timeoutMs = TIMEOUT_MS, ...config }: TelegramConfig): Channel {
  const bot = createBotApi(config);
  return {
    name: 'telegram',
    traits: {
      address: 'chat',
      reaches: 'those who wrote',
      maxText: MAX_TEXT_UNITS,
      buttons: true,
      receiptWithinMs: null,
      // core.telegram.org/bots/faq#my-bot-is-hitting-limits: about 30 a second over all chats, one a second into one.
      pace: { everyMs: 40, chatEveryMs: 1000 },
    },
    idempotent: false,
    concurrency: CONCURRENCY,
    async send({ address, text, buttons = [] }, signal) {
      if (!CHAT.test(address)) return { outcome: 'rejected', scope: 'address', reason: 'not a chat id' };
      const called = await bot.call(
        async api => {
          const sent = await api.sendMessage(address, clip(text, MAX_TEXT_UNITS), {
            link_preview_options: { is_disabled: true },
            ...(buttons.length === 0 ? {} : { reply_markup: keyboardOf(buttons) }),
          });
          return String(sent.message_id);
        },
        { signal, timeoutMs, maxAnswerBytes: MAX_ANSWER_BYTES },
      );
      if (!called.ok) return resultOfFailure(called.error, called.posted);
      return { outcome: 'sent', providerId: called.value };
    },
    async check(signal) {
      const limits = { signal, timeoutMs, maxAnswerBytes: MAX_ANSWER_BYTES };
      const called = await bot.call(api => api.getMe(), limits);
      return called.ok ? WORKS : accountOfFailure(called.error, called.posted);
    },
    close: bot.close,
  };
}

/** One button a row: two Russian words of a button do not fit beside others on a phone. */
export function keyboardOf(buttons: readonly Button[]): {
  inline_keyboard: ({ text: string; callback_data: string } | { text: string; url: string })[][];
} {
  return {
    inline_keyboard: buttons.map(button => [
      'url' in button
        ? { text: button.label, url: button.url }
        : { text: button.label, callback_data: button.press },
    ]),
  };
}

/** A proxy that refuses us is not Telegram, which says so in its own JSON. */
function accountOfFailure(error: unknown, posted: Posted | undefined): AccountState {
  const result = resultOfFailure(error, posted);
  const refusal = error instanceof GrammyError ? refusalOf(result) : undefined;
  return refusal ?? unknown('reason' in result ? result.reason : 'no answer');
}

/** What became of a call that failed. Its reason is made of codes and known phrases. */
export function resultOfFailure(error: unknown, posted: Posted | undefined): SendResult {
  if (posted === undefined) return { outcome: 'retry', reason: 'the request could not be made' };
  if (!posted.answered) return { outcome: posted.left ? 'unknown' : 'retry', reason: posted.reason };
  return error instanceof GrammyError ? resultOfRefusal(error, posted.status) : resultOfForeignAnswer(posted);
}

/** The Bot API's own word: the message did not go out. core.telegram.org/bots/api#making-requests */
function resultOfRefusal({ description, parameters }: GrammyError, status: number): SendResult {
  const phrase = KNOWN_PHRASES.find(known => String(description).includes(known));
  const reason = phrase === undefined ? `Telegram ${status}` : `Telegram ${status}: ${phrase}`;
  if (status === 429) {
    const seconds = parameters?.retry_after;
    const known = typeof seconds === 'number' && !Number.isNaN(seconds);
    return retry(reason, known ? boundedWaitMs(seconds * 1000) : undefined, 'limited');
  }
  if (status >= 500) return retry(reason);
  if (status === 401 || status === 404) return rejected('channel', reason);
  if (phrase === BLOCKED) return rejected('person', reason);
  const dead = status === 403 || (phrase !== undefined && DEAD_ADDRESS.includes(phrase));
  return rejected(dead ? 'address' : 'message', reason);
}

/** Not the Bot API's JSON. Of its own 429 the wait is in the JSON, so a header is taken in seconds only. */
function resultOfForeignAnswer({ status, retryAfter }: Extract<Posted, { answered: true }>): SendResult {
  const waitMs = /^\d+$/.test(retryAfter ?? '') ? boundedWaitMs(Number(retryAfter) * 1000) : undefined;
  return foreignAnswer(status, waitMs);
}
