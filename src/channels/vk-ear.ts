/**
 * What people send to the community in VK, as its Callback API brings it.
 *
 * dev.vk.com/api/callback/getting-started: a POST of `{type, object, group_id, event_id, secret}`, answered by «ok» and
 * else brought again, with the same `event_id`; `confirmation` is answered by a string of the community's settings. The
 * secret is a word entered there. dev.vk.com/api/community-events/json-schema: `message_new`, `message_allow`,
 * `message_deny`. `vk.me/<name>?ref=` opens the chat, and `ref` comes with the messages of whoever followed it.
 *
 * VK tells no community a phone number, so nothing here knows whose a chat is: it becomes an address by a link that the
 * salon made for one client (`client invite`), or by `address`.
 */
import { randomInt } from 'node:crypto';
import { readWord } from '../domain/answer.ts';
import { type Heard, heardOf, type ToldEar } from './ear.ts';
import { at, clip, createCaller, numberAt, resultOf, textAt } from './provider.ts';
import { parse, type ReceiptReader, same } from './receipts.ts';
import { keyboardOf, readVkSent, VK_VERSION, type VkConfig, vkRoot } from './vk.ts';

const MAX_TEXT = 9000;

export function createVkEar({ token, apiUrl, ...config }: VkConfig): ToldEar {
  const root = vkRoot(apiUrl);
  const { ask, close } = createCaller(config);
  const call = (method: string, params: Readonly<Record<string, string>>, signal: AbortSignal) =>
    ask(
      {
        url: `${root}/method/${method}`,
        body: new URLSearchParams({ access_token: token, v: VK_VERSION, ...params }),
      },
      signal,
    );
  return {
    channel: 'vk',
    numbers: 'none',
    costly: false,
    async reply({ chat, text, buttons = [] }, signal) {
      const said = { peer_id: chat, message: clip(text, MAX_TEXT), random_id: String(randomInt(1, 2 ** 31)) };
      const params = { ...said, dont_parse_links: '1', ...keyboardOf(buttons) };
      return resultOf(await call('messages.send', params, signal), readVkSent);
    },
    // A button of the type `text` does not wait.
    acknowledge: async () => undefined,
    async inviteUrl(invite, signal) {
      const answer = await call('groups.getById', {}, signal);
      const name =
        'failed' in answer ? undefined : textAt(answer.json, 'response', 'groups', 0, 'screen_name');
      if (name === undefined || !/^[\w.]{1,64}$/.test(name)) {
        const result = resultOf(answer, readVkSent);
        throw new Error(`VK could not be asked: ${'reason' in result ? result.reason : 'no name'}`);
      }
      return `https://vk.me/${name}?ref=${invite}`;
    },
    readAgain: raw => heardOf(raw, heardIn, saidAtOf),
    close,
  };
}

export function vkUpdates({ confirmation, secret }: { confirmation: string; secret: string }): ReceiptReader {
  return {
    channel: 'vk',
    answer: 'ok',
    answerTo: body => (textAt(parse(body), 'type') === 'confirmation' ? confirmation : 'ok'),
    read: body => (same(textAt(parse(body), 'secret') ?? '', secret) ? [] : undefined),
    hear(body) {
      const update = parse(body);
      const updateId = textAt(update, 'event_id');
      return updateId === undefined
        ? []
        : heardOf(update, heardIn, saidAtOf).map(said => ({ updateId, said }));
    },
  };
}

/** Undefined: nothing that concerns us. Only what is said in private is heard. */
function heardIn(update: unknown): Heard | undefined {
  const what = at(update, 'object');
  switch (textAt(update, 'type')) {
    case 'message_deny':
      return leftOf(textAt(what, 'user_id'));
    case 'message_allow': {
      const chat = textAt(what, 'user_id');
      return chat === undefined ? undefined : { chat, kind: 'start', invite: textAt(what, 'key') ?? '' };
    }
    case 'message_new':
      return messageOf(at(what, 'message'));
    default:
      return undefined;
  }
}

function saidAtOf(update: unknown): number | undefined {
  const seconds = numberAt(update, 'object', 'message', 'date');
  return seconds === undefined ? undefined : seconds * 1000;
}

function leftOf(chat: string | undefined): Heard | undefined {
  return chat === undefined ? undefined : { chat, kind: 'left' };
}

function messageOf(message: unknown): Heard | undefined {
  const chat = textAt(message, 'peer_id');
  if (chat === undefined || !/^[1-9]\d{0,9}$/.test(chat) || chat !== textAt(message, 'from_id'))
    return undefined;
  const text = textAt(message, 'text') ?? '';
  const payload = parse(Buffer.from(textAt(message, 'payload') ?? ''));
  const press = textAt(payload, 'press');
  if (press !== undefined) return { chat, kind: 'press', press, pressId: '' };
  const invite = textAt(message, 'ref');
  // A word stays a word also from somebody whom a link has brought.
  if (readWord(text) === undefined && (invite !== undefined || textAt(payload, 'command') === 'start'))
    return { chat, kind: 'start', invite: invite ?? '' };
  return { chat, kind: 'text', text };
}
