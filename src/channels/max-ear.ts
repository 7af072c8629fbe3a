/**
 * What people send to the bot in MAX, as its webhook brings it.
 *
 * dev.max.ru/docs-api/methods/POST/subscriptions: `{url, update_types, secret}`; each update is a POST of its own by
 * https, with the secret (5 to 256 of A-Z a-z 0-9 _ -) in X-Max-Bot-Api-Secret, answered by 200 and else brought again.
 * Polling (GET /updates) is «not for production», limited in rate and in how long updates are kept, and stands still
 * while there is a subscription; so it is not used. DELETE /subscriptions ends the one of `url`. …/objects/Update: `bot_started` with the `payload` of
 * `max.ru/<name>?start=` (128 characters), `message_created`, `message_callback`, `bot_stopped`.
 *
 * A contact that was shared by `request_contact` has `vcf_info`, `hash`, the HMAC-SHA256 of its bytes under the bot's
 * token, in hex, and `max_info`, whose it is: both have to be right. …/methods/POST/answers: ends a button's waiting.
 */
import { createHmac } from 'node:crypto';
import { type Heard, heardOf, type ToldEar, type Update } from './ear.ts';
import { keyboardOf, type MaxConfig, maxRoot, readMaxSent } from './max.ts';
import { type Answer, at, clip, createCaller, numberAt, resultOf, textAt } from './provider.ts';
import { listAt, parse, type ReceiptReader, same } from './receipts.ts';

const KINDS = ['bot_started', 'bot_stopped', 'message_created', 'message_callback'] as const;
const MAX_TEXT = 4000;

export function createMaxEar({ token, apiUrl, ...config }: MaxConfig): ToldEar {
  const root = maxRoot(apiUrl);
  const { ask, close } = createCaller(config);
  const headers = { authorization: token };
  const faultOf = (answer: Awaited<ReturnType<typeof ask>>): string | undefined => {
    if ('failed' in answer) return 'reason' in answer.failed ? answer.failed.reason : 'no answer';
    return answer.status === 200 && at(answer.json, 'success') !== false ? undefined : reasonOf(answer);
  };
  /** Ends a subscription of ours whose address is no longer the one to call. */
  const unsubscribe = async (url: string, signal: AbortSignal) => {
    const there = `${root}/subscriptions?url=${encodeURIComponent(url)}`;
    return faultOf(await ask({ url: there, headers, method: 'DELETE' }, signal));
  };
  /** What this process has subscribed: MAX does not show under which secret an address is known to it. */
  let subscribed: string | undefined;
  return {
    channel: 'max',
    numbers: 'shared',
    costly: false,
    async subscribe(url, signal) {
      const known = await ask({ url: `${root}/subscriptions`, headers }, signal);
      const fault = faultOf(known);
      if (fault !== undefined || 'failed' in known) return fault;
      const urls = listAt(known.json, 'subscriptions').map(one => textAt(one, 'url') ?? '');
      if (subscribed === url && urls.includes(url)) return undefined;
      const body = { url, update_types: KINDS, secret: subscriptionSecret(token) };
      const refused = faultOf(await ask({ url: `${root}/subscriptions`, headers, body }, signal));
      if (refused !== undefined) return refused;
      subscribed = url;
      const ours = url.slice(0, url.lastIndexOf('/') + 1);
      const outdated = urls.filter(one => one !== url && one.startsWith(ours));
      const faults = await Promise.all(outdated.map(one => unsubscribe(one, signal)));
      return faults.find(one => one !== undefined);
    },
    async reply({ chat, text, buttons = [], askForContact }, signal) {
      const url = `${root}/messages?chat_id=${encodeURIComponent(chat)}&disable_link_preview=true`;
      const body = { text: clip(text, MAX_TEXT), ...keyboardOf(buttons, askForContact) };
      return resultOf(await ask({ url, headers, body }, signal), readMaxSent);
    },
    async acknowledge(pressId, signal) {
      const url = `${root}/answers?callback_id=${encodeURIComponent(pressId)}`;
      // One of `message` and `notification` has to be there.
      return faultOf(await ask({ url, headers, body: { notification: '✓' } }, signal));
    },
    async inviteUrl(invite, signal) {
      const answer = await ask({ url: `${root}/me`, headers }, signal);
      const name = 'failed' in answer ? undefined : textAt(answer.json, 'username');
      if (name === undefined || !/^\w{1,64}$/.test(name))
        throw new Error(`MAX could not be asked: ${faultOf(answer) ?? 'the bot has no name'}`);
      return `https://max.ru/${name}?start=${invite}`;
    },
    readAgain: raw => heardOf(raw, one => heardIn(one, token), saidAtOf),
    close,
  };
}

function reasonOf(answer: Answer): string {
  const result = readMaxSent({ ...answer, json: answer.json });
  return result !== undefined && 'reason' in result ? result.reason : `MAX ${answer.status}`;
}

/** Told to MAX when subscribing and looked for in every call. Follows from the token, so nothing has to be kept. */
function subscriptionSecret(token: string): string {
  return createHmac('sha256', token).update('otklik updates').digest('base64url');
}

export function maxUpdates(token: string): ReceiptReader {
  const secret = subscriptionSecret(token);
  return {
    channel: 'max',
    answer: 'ok',
    read: (_body, headers) => (same(String(headers['x-max-bot-api-secret']), secret) ? [] : undefined),
    hear(body) {
      const update = parse(body);
      return heardOf(update, one => heardIn(one, token), saidAtOf).map(said => ({
        updateId: idOf(update, said),
        said,
      }));
    },
  };
}

/** A press and a message have ids; of the rest, when it happened in which chat. */
function idOf(update: unknown, { chat, kind }: Heard): string {
  return (
    textAt(update, 'callback', 'callback_id') ??
    textAt(update, 'message', 'body', 'mid') ??
    `${kind} ${chat} ${textAt(update, 'timestamp')}`
  );
}

function saidAtOf(update: unknown): number | undefined {
  return numberAt(update, 'timestamp');
}

/** Undefined: nothing that concerns us. In a group a contact or a press is anyone's. */
function heardIn(update: unknown, token: string): Update['said'] | undefined {
  const kind = textAt(update, 'update_type');
  if (kind === 'bot_started' || kind === 'bot_stopped') {
    const chat = textAt(update, 'chat_id');
    if (chat === undefined) return undefined;
    if (kind === 'bot_stopped') return { chat, kind: 'left' };
    return { chat, kind: 'start', invite: textAt(update, 'payload') ?? '' };
  }
  const chat = textAt(update, 'message', 'recipient', 'chat_id');
  if (chat === undefined || textAt(update, 'message', 'recipient', 'chat_type') !== 'dialog')
    return undefined;
  if (kind === 'message_callback') {
    const pressId = textAt(update, 'callback', 'callback_id');
    const press = textAt(update, 'callback', 'payload');
    return pressId === undefined || press === undefined ? undefined : { chat, kind: 'press', press, pressId };
  }
  if (kind !== 'message_created' || at(update, 'message', 'sender', 'is_bot') === true) return undefined;
  const attachments = at(update, 'message', 'body', 'attachments');
  const contact = Array.isArray(attachments)
    ? attachments.find(attachment => textAt(attachment, 'type') === 'contact')
    : undefined;
  if (contact === undefined)
    return { chat, kind: 'text', text: textAt(update, 'message', 'body', 'text') ?? '' };
  const card = textAt(contact, 'payload', 'vcf_info') ?? '';
  const mac = createHmac('sha256', token).update(card).digest('hex');
  const sender = numberAt(update, 'message', 'sender', 'user_id');
  const owner = numberAt(contact, 'payload', 'max_info', 'user_id');
  const own = same(textAt(contact, 'payload', 'hash') ?? '', mac) && sender !== undefined && sender === owner;
  return {
    chat,
    kind: 'contact',
    phone: /^TEL[^:\r\n]*:\s*([+\d][\d ()-]{4,30})/im.exec(card)?.[1] ?? '',
    own,
  };
}
