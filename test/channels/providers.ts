/**
 * The other side of each channel whose provider takes a POST and answers in JSON. None of them has a counterpart that
 * can be installed, so these are ours, and as plain as can be: each answer is quoted from the provider's documents or
 * from its published schema. What is refused repeats in its words everything that was sent, as VK's really does.
 */
import type { IncomingMessage } from 'node:http';
import type { Channel } from '../../src/channels/channel.ts';
import type { ChannelsConfig } from '../../src/channels/registry.ts';
import { freePort } from '../support/ports.ts';
import {
  BUSY_MS,
  channelOf,
  type Ending,
  httpServer,
  mailbox,
  NOTHING,
  type Open,
  type Received,
  type Side,
} from './counterparts.ts';

type Reply = readonly [status: number, json: unknown, headers?: Readonly<Record<string, string>>];

type Asked = {
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  /** JSON or a form, as an object. */
  readonly body: Readonly<Record<string, unknown>>;
  /** Everything that was sent, for refusals that repeat it. */
  readonly echo: string;
};

type Provider = Omit<Side, 'open'> & {
  readonly channel: 'max' | 'whatsapp' | 'sms' | 'vk';
  readonly address: string;
  readonly secrets: readonly string[];
  config(apiUrl: string, timeoutMs: number): Partial<ChannelsConfig>;
  /** The message in a request, where it is one and is addressed and authorised as it must be. */
  read(asked: Asked): Received | undefined;
  /** Whether it is asked of our account, as it must be, and what it says of one that works. */
  readonly account: { asks(asked: Asked): boolean; readonly works: Reply };
  /** What is answered to anything else. */
  readonly other: Reply;
  taken(asked: Asked): Reply;
  /** By what it knows a message that it has taken already, and what it answers to that. */
  readonly remembers?: { key(asked: Asked): string; readonly again: Reply };
  readonly busy: (echo: string) => Reply;
  readonly gone: (echo: string) => Reply;
  readonly left?: (echo: string) => Reply;
  readonly bad: (echo: string) => Reply;
  readonly locked: (echo: string) => Reply;
};

const TOKEN = 'f9LHodD0cOKpR-not-a-real-token-0123456789';
const PHONE = '79000000001';
const WAZZUP_CHANNEL = 'e0629e11-0f67-4567-92a9-2237e91ec1b9';
const text = (value: unknown) => String(value ?? '');
const bearer = ({ headers }: Asked) => headers.authorization === `Bearer ${TOKEN}`;
const wait = { 'retry-after': String(BUSY_MS / 1000) };

/** dev.max.ru/docs-api/methods/POST/messages; errors: the schema's «Error responses». */
const max: Provider = {
  ...{
    name: 'max',
    channel: 'max',
    address: '1234567890',
    secrets: [TOKEN],
    takesId: false,
    busyMs: BUSY_MS,
  },
  config: (apiUrl, timeoutMs) => ({ max: { token: TOKEN, apiUrl, timeoutMs } }),
  read: ({ path, headers, body }) =>
    path === '/messages?chat_id=1234567890&disable_link_preview=true' && headers.authorization === TOKEN
      ? { id: undefined, text: text(body.text) }
      : undefined,
  account: {
    asks: ({ path, headers }) => path === '/me' && headers.authorization === TOKEN,
    works: [200, { user_id: 1, first_name: 'Север', username: 'sever_bot', is_bot: true }],
  },
  other: [404, { code: 'not.found', message: 'no such path' }],
  taken: ({ body }) => [200, { message: { timestamp: 1, body: { mid: 'mid.1', seq: 1, text: body.text } } }],
  busy: echo => [429, { code: 'too.many.requests', message: echo }, wait],
  gone: echo => [404, { code: 'chat.not.found', message: `Chat 1234567890 not found ${echo}` }],
  left: () => [403, { code: 'chat.denied', message: 'Key: error.dialog.suspended, args: [1234567890,].' }],
  bad: echo => [400, { code: 'proto.payload', message: `text: size must be between 0 and 4000 ${echo}` }],
  locked: echo => [401, { code: 'verify.token', message: `Invalid access_token ${echo}` }],
};

/** …/whatsapp/support/error-codes, «Error response syntax». */
const graph =
  (status: number, code: number, title: string, headers = {}) =>
  (echo: string): Reply => [
    status,
    {
      error: {
        message: `(#${code}) ${title}`,
        type: 'OAuthException',
        code,
        error_data: { messaging_product: 'whatsapp', details: echo },
        fbtrace_id: 'AbC',
      },
    },
    headers,
  ];

const whatsappCloud: Provider = {
  ...{ name: 'whatsapp by cloud', channel: 'whatsapp', address: `+${PHONE}`, secrets: [TOKEN] },
  ...{ takesId: true, busyMs: BUSY_MS },
  config: (apiUrl, timeoutMs) => ({
    whatsapp: { provider: 'cloud', token: TOKEN, account: '106540352242922', apiUrl, timeoutMs },
  }),
  read(asked) {
    const { path, body } = asked;
    const whole = body.messaging_product === 'whatsapp' && body.to === PHONE && body.type === 'text';
    if (path !== '/106540352242922/messages' || !bearer(asked) || !whole) return undefined;
    return { id: text(body.biz_opaque_callback_data), text: text(Object(body.text).body) };
  },
  account: {
    asks: asked => asked.path === '/106540352242922?fields=id' && bearer(asked),
    works: [200, { id: '106540352242922' }],
  },
  other: [400, { error: { message: 'Unsupported post request', type: 'GraphMethodException', code: 100 } }],
  taken: () => [
    200,
    {
      messaging_product: 'whatsapp',
      contacts: [{ input: PHONE, wa_id: PHONE }],
      messages: [{ id: 'wamid.HBgL', message_status: 'accepted' }],
    },
  ],
  busy: graph(429, 130429, 'Rate limit hit', wait),
  gone: graph(400, 131026, 'Message undeliverable'),
  left: graph(400, 131050, 'User has stopped marketing messages'),
  bad: graph(400, 131009, 'Parameter value is not valid'),
  locked: graph(401, 190, 'Access token has expired'),
};

/** green-api.com/en/docs/api/sending/SendMessage, …/account/GetStateInstance, …/common-errors. */
const greenApi: Provider = {
  ...{ name: 'whatsapp by green-api', channel: 'whatsapp', address: `+${PHONE}`, secrets: [TOKEN] },
  ...{ takesId: false, busyMs: BUSY_MS },
  config: (apiUrl, timeoutMs) => ({
    whatsapp: { provider: 'green-api', token: TOKEN, account: '1101000001', apiUrl, timeoutMs },
  }),
  read: ({ path, body }) =>
    path === `/waInstance1101000001/sendMessage/${TOKEN}` && body.chatId === `${PHONE}@c.us`
      ? { id: undefined, text: text(body.message) }
      : undefined,
  account: {
    asks: ({ path }) => path === `/waInstance1101000001/getStateInstance/${TOKEN}`,
    works: [200, { stateInstance: 'authorized' }],
  },
  other: [404, { statusCode: 404, message: 'no such method' }],
  taken: () => [200, { idMessage: '3EB0C767D097B7C7C030' }],
  busy: echo => [429, { statusCode: 429, message: echo }, wait],
  gone: echo => [400, { statusCode: 400, message: `Validation failed. Details: 'chatId' ${echo}` }],
  bad: echo => [400, { statusCode: 400, message: `Validation failed. Details: 'message' ${echo}` }],
  locked: echo => [401, { statusCode: 401, message: `Unauthorized ${echo}` }],
};

/** wazzup24.com/help/api-en/sending-messages, …/common-errors. */
const wazzup: Provider = {
  ...{ name: 'whatsapp by wazzup', channel: 'whatsapp', address: `+${PHONE}`, secrets: [TOKEN] },
  ...{ takesId: true, busyMs: BUSY_MS },
  config: (apiUrl, timeoutMs) => ({
    whatsapp: { provider: 'wazzup', token: TOKEN, account: WAZZUP_CHANNEL, apiUrl, timeoutMs },
  }),
  read(asked) {
    const { path, body } = asked;
    const whole = body.channelId === WAZZUP_CHANNEL && body.chatType === 'whatsapp' && body.chatId === PHONE;
    if (path !== '/v3/message' || !bearer(asked) || !whole) return undefined;
    return { id: text(body.crmMessageId), text: text(body.text) };
  },
  account: {
    asks: asked => asked.path === '/v3/channels' && bearer(asked),
    works: [
      200,
      [
        { channelId: 'f1', transport: 'instagram', plainId: 'sever', state: 'qr' },
        { channelId: WAZZUP_CHANNEL, transport: 'whatsapp', plainId: PHONE, state: 'active' },
      ],
    ],
  },
  other: [404, { error: 'NOT_FOUND', description: '' }],
  taken: () => [201, { messageId: 'f66c53a6-957a-46b6-b41b-5a2ac4c2e42f', chatId: PHONE }],
  remembers: {
    key: ({ body }) => text(body.crmMessageId),
    again: [400, { error: 'repeatedCrmMessageId', description: '' }],
  },
  busy: echo => [429, { error: 'TOO_MANY_REQUESTS', description: echo }, wait],
  gone: echo => [400, { error: 'BAD_CONTACT', description: echo }],
  bad: echo => [400, { error: 'MESSAGE_TEXT_TOO_LONG', description: echo }],
  locked: echo => [401, { error: 'Unauthorized', description: echo }],
};

/** sms.ru/api/send: HTTP 200 for everything. */
const smsRuError =
  (code: number) =>
  (echo: string): Reply => [
    200,
    {
      status: 'OK',
      status_code: 100,
      sms: { [PHONE]: { status: 'ERROR', status_code: code, status_text: echo } },
    },
  ];

const smsRu: Provider = {
  ...{ name: 'sms by sms.ru', channel: 'sms', address: `+${PHONE}`, secrets: [TOKEN] },
  ...{ takesId: false, busyMs: false },
  config: (apiUrl, timeoutMs) => ({
    sms: { provider: 'sms.ru', token: TOKEN, maxParts: 10, apiUrl, timeoutMs },
  }),
  read: ({ path, body }) =>
    path === '/sms/send' && body.api_id === TOKEN && body.to === PHONE && body.json === '1'
      ? { id: undefined, text: text(body.msg) }
      : undefined,
  account: {
    asks: ({ path, body }) => path === '/my/balance' && body.api_id === TOKEN && body.json === '1',
    works: [200, { status: 'OK', status_code: 100, balance: 4122.56 }],
  },
  other: [200, { status: 'ERROR', status_code: 211, status_text: 'Метод не найден' }],
  taken: () => [
    200,
    {
      status: 'OK',
      status_code: 100,
      sms: { [PHONE]: { status: 'OK', status_code: 100, sms_id: '000000-10000000' } },
      balance: 4122.56,
    },
  ],
  busy: echo => [200, { status: 'ERROR', status_code: 220, status_text: echo }],
  gone: smsRuError(207),
  left: smsRuError(209),
  bad: smsRuError(205),
  locked: echo => [200, { status: 'ERROR', status_code: 200, status_text: `Неправильный api_id ${echo}` }],
};

/** smsc.ru/api/#send, `fmt=3`: HTTP 200 for everything. */
const smsc: Provider = {
  ...{ name: 'sms by smsc', channel: 'sms', address: `+${PHONE}`, secrets: [TOKEN] },
  ...{ takesId: false, busyMs: 60_000 },
  config: (apiUrl, timeoutMs) => ({
    sms: { provider: 'smsc', token: TOKEN, maxParts: 10, apiUrl, timeoutMs },
  }),
  read: ({ path, body }) =>
    path === '/sys/send.php' && body.apikey === TOKEN && body.phones === PHONE && body.fmt === '3'
      ? { id: undefined, text: text(body.mes) }
      : undefined,
  account: {
    asks: ({ path, body }) => path === '/sys/balance.php' && body.apikey === TOKEN && body.fmt === '3',
    works: [200, { balance: '250.80' }],
  },
  other: [200, { error: 'parameters error', error_code: 1 }],
  taken: () => [200, { id: 2, cnt: 1 }],
  busy: echo => [200, { error: `duplicate request, wait a minute ${echo}`, error_code: 9 }],
  gone: echo => [200, { error: `invalid number ${echo}`, error_code: 7 }],
  bad: echo => [200, { error: `message is denied ${echo}`, error_code: 6, id: 3 }],
  locked: echo => [200, { error: `authorise error ${echo}`, error_code: 2 }],
};

/** dev.vk.com/api/api-requests: HTTP 200 for everything; VKCOM/vk-api-schema, errors.json. */
const vkError =
  (error_code: number, error_msg: string) =>
  (echo: string): Reply => [
    200,
    { error: { error_code, error_msg, request_params: [{ key: 'message', value: echo }] } },
  ];

const vk: Provider = {
  ...{ name: 'vk', channel: 'vk', address: '700001', secrets: [TOKEN], takesId: false, busyMs: false },
  config: (apiUrl, timeoutMs) => ({ vk: { token: TOKEN, apiUrl, timeoutMs } }),
  read: ({ path, body }) =>
    path === '/method/messages.send' && body.access_token === TOKEN && /^[1-9]\d*$/.test(text(body.random_id))
      ? { id: undefined, text: text(body.message) }
      : undefined,
  account: {
    asks: ({ path, body }) => path === '/method/groups.getTokenPermissions' && body.access_token === TOKEN,
    works: [200, { response: { mask: 266_240, permissions: [{ name: 'messages', setting: 4096 }] } }],
  },
  other: [200, { error: { error_code: 3, error_msg: 'Unknown method passed' } }],
  taken: () => [200, { response: 12345 }],
  remembers: { key: ({ body }) => text(body.random_id), again: [200, { response: 12345 }] },
  busy: vkError(6, 'Too many requests per second'),
  gone: vkError(18, 'User was deleted or banned'),
  left: vkError(901, "Can't send messages for users without permission"),
  bad: vkError(914, 'Message is too long'),
  locked: vkError(5, 'User authorization failed'),
};

export const PROVIDERS: readonly Side[] = [max, whatsappCloud, greenApi, wazzup, smsRu, smsc, vk].map(
  provider => ({
    ...{ name: provider.name, takesId: provider.takesId, busyMs: provider.busyMs },
    open: openerOf(provider),
  }),
);

function openerOf(provider: Provider): Open {
  return async (t, manner, timeoutMs = 10_000) => {
    const { address, secrets } = provider;
    const through = (port: number) =>
      channelOf(t, provider.channel, provider.config(`http://127.0.0.1:${port}/`, timeoutMs));
    if (manner === 'absent') return { ...NOTHING, address, secrets, channel: through(await freePort()) };
    const { received, arrived, put } = mailbox();
    let calls = 0;
    const seen = new Set<string>();
    const server = await httpServer(t, (request, raw, response) => {
      const asked = readAsked(request, raw);
      const message = provider.read(asked);
      const reply = ([status, json, headers = {}]: Reply) =>
        response
          .writeHead(status, { 'content-type': 'application/json', ...headers })
          .end(JSON.stringify(json));
      if (provider.account.asks(asked))
        return reply(manner === 'locked' ? provider.locked(asked.echo) : provider.account.works);
      if (message === undefined) return reply(provider.other);
      calls += 1;
      if (manner === 'busy' && calls === 1) return reply(provider.busy(asked.echo));
      if (provider.remembers !== undefined) {
        const key = provider.remembers.key(asked);
        if (seen.has(key)) return reply(provider.remembers.again);
        seen.add(key);
      }
      put(message);
      switch (manner) {
        case 'gone':
        case 'bad':
        case 'locked':
          return reply(provider[manner](asked.echo));
        case 'left':
          return reply((provider.left ?? provider.gone)(asked.echo));
        case 'page':
          return response.writeHead(200, { 'content-type': 'text/html' }).end('<html>nginx</html>');
        case 'flooded':
          return response.writeHead(429, { 'content-type': 'text/html' }).end('<html>slow down</html>');
        case 'reset':
          return request.socket.resetAndDestroy();
        case 'hang':
          return calls === 1 ? undefined : reply(provider.taken(asked));
        default:
          return reply(provider.taken(asked));
      }
    });
    return { channel: through(server.port), address, secrets, received, arrived };
  };
}

function readAsked(request: IncomingMessage, raw: Buffer): Asked {
  const path = String(request.url);
  const written = raw.toString();
  const form = request.headers['content-type']?.startsWith('application/x-www-form-urlencoded');
  const body = form ? Object.fromEntries(new URLSearchParams(written)) : JSON.parse(written || '{}');
  const echo = `${path} ${request.headers.authorization} ${written} ${Object.values(body).join(' ')}`;
  return { path, headers: request.headers, body, echo };
}

/** A channel whose provider answers each request in turn with what is given, the last again and again. */
export async function answering(
  t: Ending,
  channel: Provider['channel'],
  config: (apiUrl: string) => Partial<ChannelsConfig>,
  replies: readonly Reply[],
): Promise<{ readonly channel: Channel; readonly asked: Asked[] }> {
  const asked: Asked[] = [];
  const server = await httpServer(t, (request, raw, response) => {
    asked.push(readAsked(request, raw));
    const [status, json, headers = {}] = replies[Math.min(asked.length, replies.length) - 1] ?? [500, {}];
    response.writeHead(status, headers).end(typeof json === 'string' ? json : JSON.stringify(json));
  });
  return { channel: channelOf(t, channel, config(`http://127.0.0.1:${server.port}`)), asked };
}
