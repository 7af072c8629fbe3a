/**
 * What people send to the bot, by long polling: it works behind any firewall, needs no address of ours in public, and
 * a webhook of the Bot API would be one more secret to keep. core.telegram.org/bots/api#getting-updates
 */
import type { Update } from 'grammy/types';
import { type BotApi, type Called, createBotApi } from './bot-api.ts';
import { type Ear, type Heard, heardOf } from './ear.ts';
import { keyboardOf, resultOfFailure, type TelegramConfig } from './telegram.ts';

const TIMEOUT_MS = 20_000;
/** How long the Bot API may hold an empty answer back. */
const WAIT_MS = 25_000;
const BATCH = 100;
/** 100 updates of the longest text in Cyrillic, escaped. An update may repeat another that it answers: see `limit`. */
const MAX_UPDATES_BYTES = 4 * 1024 * 1024;
const MAX_ANSWER_BYTES = 64 * 1024;
const KINDS = ['message', 'callback_query', 'my_chat_member'] as const;

export function createTelegramEar({
  timeoutMs = TIMEOUT_MS,
  waitMs = WAIT_MS,
  ...config
}: TelegramConfig & { readonly waitMs?: number }): Ear {
  const bot = createBotApi(config);
  const said = <T>(ask: Parameters<typeof bot.call<T>>[0], signal: AbortSignal) =>
    bot.call(ask, { signal, timeoutMs, maxAnswerBytes: MAX_ANSWER_BYTES });
  /** Asked for at once: fewer after an answer that was too long, which would come again and again. */
  let limit = BATCH;
  return {
    channel: 'telegram',
    numbers: 'shared',
    costly: false,
    account: bot.account,
    waitMs,
    async listen(position, signal) {
      const limits = { signal, timeoutMs: waitMs + timeoutMs, maxAnswerBytes: MAX_UPDATES_BYTES };
      const asked = { offset: position, limit, timeout: waitMs / 1000, allowed_updates: KINDS };
      const called = await bot.call(api => api.getUpdates(asked), limits);
      limit = isCut(called) ? Math.ceil(limit / 2) : Math.min(BATCH, limit * 2);
      const updates = resultOf(called);
      const last = updates.at(-1);
      return {
        heard: updates.flatMap(update => heardOf(update, heardIn, saidAtOf)),
        position: last === undefined ? position : last.update_id + 1,
      };
    },
    async reply({ chat, text, buttons, askForContact, contactDone }, signal) {
      const markup =
        askForContact !== undefined
          ? {
              keyboard: [[{ text: askForContact, request_contact: true }]],
              resize_keyboard: true,
              one_time_keyboard: true,
            }
          : contactDone === true
            ? { remove_keyboard: true as const }
            : buttons === undefined
              ? undefined
              : keyboardOf(buttons);
      const options = {
        link_preview_options: { is_disabled: true },
        ...(markup === undefined ? {} : { reply_markup: markup }),
      };
      const called = await said(api => api.sendMessage(chat, text, options), signal);
      return called.ok ? { outcome: 'sent' } : resultOfFailure(called.error, called.posted);
    },
    async acknowledge(pressId, signal) {
      return faultOf(await said(api => api.answerCallbackQuery(pressId), signal));
    },
    async inviteUrl(invite, signal) {
      const { username } = resultOf(await said(api => api.getMe(), signal));
      return `https://t.me/${username}?start=${invite}`;
    },
    // What `getUpdates` gave, as it was kept.
    readAgain: raw => heardOf(raw as Update, heardIn, saidAtOf),
    close: (): ReturnType<BotApi['close']> => bot.close(),
  };
}

/** Undefined: nothing that concerns us. Only what was said in private is heard: in a group a contact or a press is anyone's. */
function heardIn(update: Update): Heard | undefined {
  const { message, callback_query: pressed, my_chat_member: membership } = update;
  if (membership !== undefined) {
    if (membership.chat.type !== 'private' || membership.new_chat_member.status !== 'kicked')
      return undefined;
    return { chat: String(membership.chat.id), kind: 'left' };
  }
  if (pressed !== undefined) {
    const { message: under, data, id } = pressed;
    if (under === undefined || data === undefined || under.chat.type !== 'private') return undefined;
    return { chat: String(under.chat.id), kind: 'press', press: data, pressId: String(id) };
  }
  if (message === undefined || message.chat.type !== 'private') return undefined;
  const chat = String(message.chat.id);
  if (message.contact !== undefined) {
    const { phone_number: phone, user_id: owner } = message.contact;
    // A contact from the sender's address book names its owner, or nobody. Forwarded ones are the same to us.
    return { chat, kind: 'contact', phone, own: owner !== undefined && owner === message.from?.id };
  }
  const text = message.text ?? '';
  const [, invite] = /^\/start(?:\s+(\S{1,64}))?\s*$/.exec(text) ?? [];
  if (text.startsWith('/start')) return { chat, kind: 'start', invite: invite ?? '' };
  return { chat, kind: 'text', text };
}

/** When a button was pressed is not told: the date there is that of the message above it. */
function saidAtOf({ message, my_chat_member: membership }: Update): number | undefined {
  const seconds = message?.date ?? membership?.date;
  return seconds === undefined ? undefined : seconds * 1000;
}

/** It was longer than is taken, or broke off. */
function isCut(called: Called<unknown>): boolean {
  return !called.ok && called.posted?.answered === true && called.posted.text === null;
}

function resultOf<T>(called: Called<T>): T {
  if (called.ok) return called.value;
  throw new Error(`Telegram could not be asked: ${faultOf(called)}`);
}

function faultOf(called: Called<unknown>): string | undefined {
  if (called.ok) return undefined;
  const { error, posted } = called;
  if (posted?.answered && posted.status === 409) {
    return 'another program reads the updates of this bot, or it has a webhook set (409): stop it, or use a bot of its own';
  }
  const result = resultOfFailure(error, posted);
  return 'reason' in result ? result.reason : 'no answer';
}
