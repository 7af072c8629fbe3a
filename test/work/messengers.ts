/**
 * MAX, VK and SMSC as far as answers need them, each by its documents: none of them can be installed. A person writes or
 * presses, and the messenger brings it to the address it was told, again and again until it is answered; what is said
 * back is kept.
 */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import type { Ending } from '../channels/counterparts.ts';
import { httpServer } from '../channels/counterparts.ts';

export type Button = { readonly label: string; readonly press?: string; readonly url?: string };
export type Said = { readonly text: string; readonly buttons: readonly Button[] };

type Body = Readonly<Record<string, unknown>>;

export type Messenger = {
  readonly url: string;
  /** Where it brings updates, and how often each is brought: MAX and VK repeat what was not answered. */
  readonly calls: { address: string; times: number; headers: Record<string, string>; now: () => number };
  /** What was said in a chat since the last look. */
  reads(chat: string): Said[];
};

function conversation() {
  const said: { chat: string; message: Said; read: boolean }[] = [];
  return {
    put: (chat: string, message: Said) => said.push({ chat, message, read: false }),
    reads(chat: string): Said[] {
      const fresh = said.filter(entry => entry.chat === chat && !entry.read);
      for (const entry of fresh) entry.read = true;
      return fresh.map(({ message }) => message);
    },
  };
}

async function bring(messenger: Messenger, update: Body): Promise<string> {
  const { address, times, headers } = messenger.calls;
  let answer = '';
  for (let time = 0; time < times; time += 1) {
    const response = await fetch(address, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(update),
    });
    answer = await response.text();
    assert.equal(response.status, 200, answer);
  }
  return answer;
}

/** dev.max.ru/docs-api: methods /me, /subscriptions, /messages, /answers, and objects/Update. */
export async function startMax(t: Ending, token: string) {
  const talk = conversation();
  const subscriptions: Body[] = [];
  const answered: string[] = [];
  const unsubscribe = (url: string) => {
    const kept = subscriptions.filter(one => one.url !== url);
    subscriptions.splice(0, subscriptions.length, ...kept);
  };
  const server = await httpServer(t, (request, raw, response) => {
    const { pathname, searchParams } = new URL(String(request.url), 'http://max.test');
    const body: Body = raw.length === 0 ? {} : JSON.parse(raw.toString());
    const reply = (status: number, json: object) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json));
    if (request.headers.authorization !== token)
      return reply(401, { code: 'verify.token', message: 'Invalid access_token' });
    switch (`${request.method} ${pathname}`) {
      case 'GET /me':
        return reply(200, { user_id: 1, username: 'sever_bot', is_bot: true });
      case 'GET /subscriptions':
        return reply(200, { subscriptions: subscriptions.map(({ secret: _, ...shown }) => shown) });
      case 'POST /subscriptions':
        unsubscribe(String(body.url));
        subscriptions.push(body);
        return reply(200, { success: true });
      case 'DELETE /subscriptions':
        unsubscribe(String(searchParams.get('url')));
        return reply(200, { success: true });
      case 'POST /answers':
        if (body.notification === undefined && body.message === undefined)
          return reply(400, { code: 'proto.payload', message: 'message or notification' });
        answered.push(String(searchParams.get('callback_id')));
        return reply(200, { success: true });
      case 'POST /messages': {
        const attachments = (body.attachments ?? []) as {
          payload: { buttons: { type: string; text: string; payload?: string; url?: string }[][] };
        }[];
        const buttons = attachments.flatMap(({ payload }) =>
          payload.buttons.flat().map(({ type, text, payload: press, url }) => ({
            label: type === 'request_contact' ? `[${text}]` : text,
            ...(press === undefined ? {} : { press }),
            ...(url === undefined ? {} : { url }),
          })),
        );
        talk.put(String(searchParams.get('chat_id')), { text: String(body.text), buttons });
        return reply(200, { message: { timestamp: 1, body: { mid: `mid.${Math.random()}`, seq: 1 } } });
      }
      default:
        return reply(404, { code: 'not.found', message: 'no such path' });
    }
  });
  const messenger: Messenger = {
    url: `http://127.0.0.1:${server.port}`,
    calls: { address: '', times: 1, headers: {}, now: Date.now },
    reads: talk.reads,
  };
  let ids = 0;
  /** Whoever has this user id; the chat of a dialog has another. */
  const person = (userId: number) => {
    const chat = String(userId + 5_000_000);
    const user = { user_id: userId, first_name: 'Мила', is_bot: false };
    const tells = (update: Body) => {
      ids += 1;
      return bring(messenger, { timestamp: messenger.calls.now() + ids, ...update });
    };
    const message = (body: Body) => ({
      sender: user,
      recipient: { chat_id: Number(chat), chat_type: 'dialog', user_id: 1 },
      body: { mid: `in.${ids + 1}`, seq: ids + 1, text: null, attachments: null, ...body },
    });
    return {
      chat,
      opens: (payload: string) =>
        tells({ update_type: 'bot_started', chat_id: Number(chat), user, payload, user_locale: 'ru' }),
      stops: () => tells({ update_type: 'bot_stopped', chat_id: Number(chat), user }),
      writes: (text: string) => tells({ update_type: 'message_created', message: message({ text }) }),
      /** The card of this phone, shared by the button; of another owner or signed under another token if so told. */
      shares(phone: string, { owner = userId, under = token } = {}) {
        const vcf_info = `BEGIN:VCARD\r\nVERSION:3.0\r\nPRODID:ez-vcard 0.10.3\r\nTEL;TYPE=cell:${phone}\r\nFN:Мила\r\nEND:VCARD\r\n`;
        const hash = createHmac('sha256', under).update(vcf_info).digest('hex');
        const attachments = [
          { type: 'contact', payload: { vcf_info, hash, max_info: { ...user, user_id: owner } } },
        ];
        return tells({ update_type: 'message_created', message: message({ attachments }) });
      },
      presses: (payload: string) =>
        tells({
          update_type: 'message_callback',
          callback: { timestamp: 1, callback_id: `cb.${ids + 1}`, payload, user },
          message: message({ mid: 'under' }),
        }),
    };
  };
  return { ...messenger, subscriptions, answered, person };
}

/** dev.vk.com: messages.send, groups.getById, and the Callback API. */
export async function startVk(t: Ending, token: string, secret: string) {
  const talk = conversation();
  const server = await httpServer(t, (request, raw, response) => {
    const form = new URLSearchParams(raw.toString());
    const reply = (json: object) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(json));
    if (form.get('access_token') !== token)
      return reply({ error: { error_code: 5, error_msg: 'User authorization failed' } });
    if (request.url === '/method/groups.getById')
      return reply({ response: { groups: [{ id: 22, name: 'Север', screen_name: 'sever_studio' }] } });
    const keyboard = JSON.parse(form.get('keyboard') ?? '{"buttons":[]}');
    const buttons = keyboard.buttons
      .flat()
      .map(({ action }: { action: { label: string; payload: string } }) => ({
        label: action.label,
        press: action.payload,
      }));
    talk.put(String(form.get('peer_id')), { text: String(form.get('message')), buttons });
    return reply({ response: 1 });
  });
  const messenger: Messenger = {
    url: `http://127.0.0.1:${server.port}`,
    calls: { address: '', times: 1, headers: {}, now: Date.now },
    reads: talk.reads,
  };
  let ids = 0;
  const tells = (type: string, object: Body, told = secret) => {
    ids += 1;
    const update = { group_id: 22, event_id: `e${ids}`, v: '5.199', type, object, secret: told };
    return bring(messenger, update);
  };
  const person = (userId: number) => {
    const message = (more: Body) => ({
      message: {
        id: ids,
        date: Math.floor(messenger.calls.now() / 1000),
        from_id: userId,
        peer_id: userId,
        text: '',
        attachments: [],
        ...more,
      },
      client_info: { keyboard: true, inline_keyboard: true },
    });
    return {
      chat: String(userId),
      opens: (ref: string) => tells('message_new', message({ text: 'Начать', ref, ref_source: 'qr' })),
      writes: (text: string, ref?: string) =>
        tells('message_new', message({ text, ...(ref === undefined ? {} : { ref }) })),
      presses: ({ label, press = '' }: Button) =>
        tells('message_new', message({ text: label, payload: press })),
      denies: () => tells('message_deny', { user_id: userId }),
    };
  };
  return { ...messenger, tells, person };
}

/** smsc.ru/api: send.php, and get.php with `get_answers`. */
export async function startSmsc(t: Ending, apikey: string) {
  const talk = conversation();
  const inbox: { id: number; phone: string; message: string; sent: string }[] = [];
  const asked: Body[] = [];
  const server = await httpServer(t, (request, raw, response) => {
    const form = new URLSearchParams(raw.toString());
    const reply = (json: object) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(json));
    if (form.get('apikey') !== apikey) return reply({ error: 'authorise error', error_code: 2 });
    if (request.url === '/sys/send.php') {
      talk.put(`+${form.get('phones')}`, { text: String(form.get('mes')), buttons: [] });
      return reply({ id: 1, cnt: 1 });
    }
    asked.push(Object.fromEntries(form));
    const after = Number(form.get('after_id') ?? 0);
    return reply(inbox.filter(({ id }) => id > after).toReversed());
  });
  return {
    url: `http://127.0.0.1:${server.port}`,
    reads: talk.reads,
    asked,
    /** Somebody answers by SMS; SMSC writes numbers without the plus. */
    texts(phone: string, message: string) {
      const id = (inbox.at(-1)?.id ?? 1000) + 1;
      inbox.push({ id, phone: phone.replace('+', ''), message, sent: '20.05.2031 10:00:00' });
    },
  };
}
