/**
 * «Стоп» in WhatsApp, as its providers bring it beside their receipts; and the word that takes it back. Nothing else is
 * kept or answered: the salon's people talk with their clients in the same chat, where a «да» may be said to them.
 *
 * - cloud, …/webhooks/reference/messages/text: `entry[].changes[].value` with `metadata.phone_number_id` and `messages[]`
 *   of `{from, id, timestamp, type, text: {body}}`; …/messages/button: a template's button, `button: {text}`.
 * - Green-API, …/receiving/notifications-format/incoming-message: `typeWebhook: incomingMessageReceived`, `idMessage`,
 *   `timestamp`, `senderData.chatId` (`…@c.us` of a person, `…@g.us` of a group), the text in `messageData` under
 *   `textMessageData` or `extendedTextMessageData`.
 * - Wazzup, wazzup24.com/help/webhooks: `messages[]` of `{messageId, channelId, chatType, chatId, dateTime, isEcho, text}`;
 *   an echo was written by the salon.
 */
import { readWord } from '../domain/answer.ts';
import type { EpochMs } from '../domain/time.ts';
import { type Heard, heardOf, type ToldEar, type Update } from './ear.ts';
import { at, numberAt, rejected, textAt } from './provider.ts';
import { listAt, parse } from './receipts.ts';

export type WhatsappProvider = 'cloud' | 'green-api' | 'wazzup';

/** One message of a person, as far as it is read. */
type Written = {
  readonly id: string | undefined;
  /** Digits; undefined where it is not a person's chat with us. */
  readonly from: string | undefined;
  readonly text: string | undefined;
  readonly at: EpochMs | undefined;
};

type Way = {
  /** Messages to the account that is ours: an app of Meta's, or an account at Wazzup, may have others. */
  messagesIn(body: unknown, account: string): readonly unknown[];
  read(message: unknown): Written;
};

const WAYS: Readonly<Record<WhatsappProvider, Way>> = {
  cloud: {
    messagesIn: (body, account) =>
      listAt(body, 'entry')
        .flatMap(entry => listAt(entry, 'changes'))
        .filter(change => textAt(change, 'value', 'metadata', 'phone_number_id') === account)
        .flatMap(change => listAt(at(change, 'value'), 'messages')),
    read: message => ({
      id: textAt(message, 'id'),
      from: textAt(message, 'from'),
      text: textAt(message, 'text', 'body') ?? textAt(message, 'button', 'text'),
      at: inMs(numberAt(message, 'timestamp')),
    }),
  },
  'green-api': {
    messagesIn: body => (textAt(body, 'typeWebhook') === 'incomingMessageReceived' ? [body] : []),
    read: message => ({
      id: textAt(message, 'idMessage'),
      from: /^(\d+)@c\.us$/.exec(textAt(message, 'senderData', 'chatId') ?? '')?.[1],
      text:
        textAt(message, 'messageData', 'textMessageData', 'textMessage') ??
        textAt(message, 'messageData', 'extendedTextMessageData', 'text'),
      at: inMs(numberAt(message, 'timestamp')),
    }),
  },
  wazzup: {
    messagesIn: (body, account) =>
      listAt(body, 'messages').filter(message => textAt(message, 'channelId') === account),
    read: message => ({
      id: textAt(message, 'messageId'),
      from:
        textAt(message, 'chatType') === 'whatsapp' && at(message, 'isEcho') === false
          ? textAt(message, 'chatId')
          : undefined,
      text: textAt(message, 'text'),
      at: Date.parse(textAt(message, 'dateTime') ?? ''),
    }),
  },
};

/** What a body that is believed has of this, for a `ReceiptReader`. */
export function whatsappHeard(provider: WhatsappProvider, account: string): (body: Buffer) => Update[] {
  const { messagesIn, read } = WAYS[provider];
  return body =>
    messagesIn(parse(body), account).flatMap(message => {
      const { id } = read(message);
      return id === undefined ? [] : heardFrom(provider, message).map(said => ({ updateId: id, said }));
    });
}

export function createWhatsappEar(provider: WhatsappProvider): ToldEar {
  return {
    channel: 'whatsapp',
    numbers: 'chat',
    costly: true,
    reply: async () => rejected('channel', 'nothing is said back in WhatsApp'),
    acknowledge: async () => undefined,
    inviteUrl: async () => {
      throw new Error('a chat in WhatsApp is the phone of whoever it is with; nobody is invited');
    },
    readAgain: raw => heardFrom(provider, raw),
    close: async () => {},
  };
}

function heardFrom(provider: WhatsappProvider, message: unknown): Heard[] {
  const { read } = WAYS[provider];
  return heardOf(
    message,
    one => wordIn(read(one)),
    one => read(one).at,
  );
}

function wordIn({ from, text }: Written): Heard | undefined {
  const word = readWord(text ?? '');
  if (from === undefined || text === undefined || !/^[1-9]\d{6,14}$/.test(from)) return undefined;
  return word === 'stop' || word === 'resume' ? { chat: `+${from}`, kind: 'text', text } : undefined;
}

function inMs(seconds: number | undefined): EpochMs | undefined {
  return seconds === undefined ? undefined : seconds * 1000;
}
