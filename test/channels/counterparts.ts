/** The other side of each channel: a real server on 127.0.0.1 that behaves as told. */
import { createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Server, Socket } from 'node:net';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';
import { Webhook } from 'standardwebhooks';
import { TelegramServer } from 'telegram-test-api/lib/telegramServer.js';
import type { Channel, ChannelName, Outgoing } from '../../src/channels/channel.ts';
import { createChannels } from '../../src/channels/registry.ts';
import { freePort } from '../support/ports.ts';

/**
 * - `accept`: takes every message.
 * - `busy`: not now the first time (and for how long, where the protocol can say so), takes the message then.
 * - `gone`: this address is no more. `left`: they want nothing from us (where nothing says so, `gone`). `bad`: not this
 *   text. `locked`: not from us. All repeat in their answer whatever they were given, secrets included.
 * - `page`: takes the message and answers 200 with a page, as a proxy would. `flooded`: 429 with a page and no wait.
 * - `hang`: takes the first message whole and never answers, then recovers. `reset`: takes it and breaks the connection.
 * - `absent`: nobody listens.
 */
export type Manner =
  | 'accept'
  | 'busy'
  | 'gone'
  | 'left'
  | 'bad'
  | 'locked'
  | 'page'
  | 'flooded'
  | 'hang'
  | 'reset'
  | 'absent';

export type Received = { readonly id: string | undefined; readonly text: string };

export type Counterpart = {
  readonly channel: Channel;
  readonly address: string;
  readonly received: readonly Received[];
  /** Resolves when the first message is with the other side in full. */
  readonly arrived: Promise<unknown>;
  /** What must never be told in a reason. */
  readonly secrets: readonly string[];
};

export type Open = (t: Ending, manner: Manner, timeoutMs?: number) => Promise<Counterpart>;

/** The wait that a `busy` side asks for. */
export const BUSY_MS = 7000;
export const WEBHOOK_SECRET = `whsec_${randomBytes(32).toString('base64')}`;
const BOT_TOKEN = '7000000001:AAF-not-a-real-token-0123456789abcde';
const SMTP_PASSWORD = 'correct-horse-battery';
const TIMEOUT_MS = 10_000;

/** A channel, by one of its providers, and what sets it apart from the others. */
export type Side = {
  readonly name: string;
  readonly open: Open;
  /** Whether a message takes its id along. */
  readonly takesId: boolean;
  /** The wait that its `busy` comes to; false: it has no way to ask for one. */
  readonly busyMs: number | false;
};

/** Those with a counterpart not written here; `providers.ts` has the others. */
export const WELL_KNOWN: readonly Side[] = [
  { name: 'telegram', open: (...how) => openTelegram(...how), takesId: false, busyMs: BUSY_MS },
  { name: 'email', open: (...how) => openEmail(...how), takesId: true, busyMs: false },
  { name: 'webhook', open: (...how) => openWebhook(...how), takesId: true, busyMs: BUSY_MS },
];

export function outgoing(changes: Partial<Outgoing> = {}): Outgoing {
  const services = [{ id: 11, title: 'Маникюр', amount: 1 }];
  const facts = {
    status: 'booked',
    startsLocal: '2026-11-24T14:30:00',
    staffId: 7,
    staffName: 'Ольга',
  } as const;
  return {
    id: '01939f6e-6a3c-7cc1-a5b2-0f3f6f0c9d11',
    companyId: 4564,
    recordId: 987654,
    purpose: 'notice',
    address: '',
    subject: 'Вы записаны: 24 ноября, вторник, 14:30',
    text: 'Анна, вы записаны. Ждём вас!\n\nКогда: 24 ноября, вторник, 14:30',
    recipient: { clientId: 1001, name: 'Анна Тестова', phone: '+79000000001', email: 'anna@mail.test' },
    notice: { kind: 'booked', before: null, after: { ...facts, services } },
    visit: null,
    secret: WEBHOOK_SECRET,
    attempt: 1,
    ...changes,
  };
}

/** One channel out of the registry, as the project makes it. */
export function channelOf(
  t: Ending,
  name: ChannelName,
  config: Partial<Parameters<typeof createChannels>[0]>,
): Channel {
  const webhook = { allowPrivate: false, timeoutMs: TIMEOUT_MS };
  const channel = createChannels({ console: { write() {} }, webhook, ...config }).get(name);
  if (channel === undefined) throw new Error(`no channel ${name}`);
  t.after(async () => channel.close?.());
  return channel;
}

export function openConsole(t: Ending): { channel: Channel; lines: string[] } {
  const lines: string[] = [];
  return { channel: channelOf(t, 'console', { console: { write: line => lines.push(line) } }), lines };
}

/** Messages as they arrive, and how many of them have. */
export function mailbox() {
  const received: Received[] = [];
  const { promise: arrived, resolve } = Promise.withResolvers<void>();
  const put = (message: Received) => {
    received.push(message);
    resolve();
  };
  return { received, arrived, put };
}

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return portOf(server);
}

function portOf(server: Server): number {
  const address: AddressInfo | string | null = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening on a port');
  return address.port;
}

/** The test at whose end a server closes, failed or not. */
export type Ending = { after(close: () => Promise<unknown>): void };

type Handler = (request: IncomingMessage, body: Buffer, response: ServerResponse) => void;

export async function httpServer(t: Ending, handle: Handler): Promise<{ readonly port: number }> {
  const server = createServer(async (request, response) => {
    const chunks = await request.toArray().catch(() => null);
    if (chunks !== null) handle(request, Buffer.concat(chunks), response);
  });
  t.after(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  return { port: await listen(server) };
}

const BOT_API_REFUSALS: Readonly<Record<string, readonly [number, string]>> = {
  gone: [400, 'Bad Request: chat not found'],
  left: [403, 'Forbidden: bot was blocked by the user'],
  bad: [400, 'Bad Request: message is too long'],
  locked: [401, 'Unauthorized'],
};

/** `accept` is telegram-test-api; the rest is scripted, as the Bot API documents its errors. */
async function openTelegram(t: Ending, manner: Manner, timeoutMs = TIMEOUT_MS): Promise<Counterpart> {
  const address = '700000001';
  const common = { address, secrets: [BOT_TOKEN, BOT_TOKEN.slice(12)] };
  const through = (port: number) =>
    channelOf(t, 'telegram', {
      telegram: { token: BOT_TOKEN, apiRoot: `http://127.0.0.1:${port}/`, timeoutMs },
    });
  if (manner === 'absent') return { ...common, ...NOTHING, channel: through(await freePort()) };
  if (manner === 'accept') return openTelegramTestApi(t, through, common);
  const { received, arrived, put } = mailbox();
  let calls = 0;
  const server = await httpServer(t, (request, body, response) => {
    calls += 1;
    const { text, chat_id } = JSON.parse(body.toString());
    const refuse = (code: number, description: string, parameters = {}) => {
      response.writeHead(code, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ ok: false, error_code: code, description, parameters }));
    };
    if (manner === 'busy' && calls === 1) {
      return refuse(429, `Too Many Requests: retry after 7 ${body}`, { retry_after: BUSY_MS / 1000 });
    }
    put({ id: undefined, text });
    const [code, description] = BOT_API_REFUSALS[manner] ?? [];
    if (code !== undefined) return refuse(code, `${description} ${request.url} ${body}`);
    if (manner === 'page') return response.end('<html>nginx</html>');
    if (manner === 'flooded') return response.writeHead(429).end('<html>slow down</html>');
    if (manner === 'hang' && calls === 1) return undefined;
    if (manner === 'reset') return request.socket.resetAndDestroy();
    return response.end(
      JSON.stringify({ ok: true, result: { message_id: 5, chat: { id: Number(chat_id) }, text } }),
    );
  });
  const channel = through(server.port);
  return { ...common, channel, received, arrived };
}

export const NOTHING = { received: [], arrived: Promise.resolve() };

type Common = Pick<Counterpart, 'address' | 'secrets'>;

async function openTelegramTestApi(
  t: Ending,
  through: (port: number) => Channel,
  common: Common,
): Promise<Counterpart> {
  const server = new TelegramServer({ port: await freePort(), host: '127.0.0.1' });
  await server.start();
  t.after(() => server.stop());
  const channel = through(server.config.port);
  return {
    ...common,
    channel,
    arrived: server.waitBotMessage(),
    get received() {
      return server.storage.botMessages.map(({ message }) => ({ id: undefined, text: message.text }));
    },
  };
}

const SMTP_REFUSALS: Readonly<Record<string, readonly [number, string]>> = {
  busy: [451, '4.7.1 Greylisted, try again later'],
  gone: [550, '5.1.1 No such mailbox'],
  bad: [554, '5.6.0 Message refused'],
  locked: [535, '5.7.8 Authentication failed'],
};

async function openEmail(t: Ending, manner: Manner, timeoutMs = TIMEOUT_MS): Promise<Counterpart> {
  const from = 'Студия Север <hello@studio.test>';
  const common = { address: 'anna@mail.test', secrets: [SMTP_PASSWORD] };
  const through = (port: number) =>
    channelOf(t, 'email', {
      email: { smtpUrl: `smtp://robot:${SMTP_PASSWORD}@127.0.0.1:${port}`, from, timeoutMs },
    });
  if (manner === 'absent') return { ...common, ...NOTHING, channel: through(await freePort()) };
  const { received, arrived, put } = mailbox();
  let refused = 0;
  const refusal = (words: unknown) => {
    const [responseCode, text] = SMTP_REFUSALS[manner] ?? [550, ''];
    return Object.assign(new Error(`${text} ${words}`), { responseCode });
  };
  const server = await smtpServer(t, {
    onAuth({ username, password }, _session, done) {
      if (manner === 'locked') return done(refusal(`${username} ${password}`));
      return done(null, { user: username });
    },
    onRcptTo({ address }, _session, done) {
      return manner === 'gone' ? done(refusal(address)) : done();
    },
    async onData(stream, _session, done) {
      const source = Buffer.concat(await stream.toArray()).toString();
      if (manner === 'busy' && refused++ === 0) return done(refusal(source.replaceAll(/\s+/g, ' ')));
      put(readMail(source));
      if (manner === 'bad') return done(refusal(source.replaceAll(/\s+/g, ' ')));
      if (manner === 'hang' && received.length === 1) return undefined;
      if (manner === 'reset') return server.reset();
      return done();
    },
  });
  const channel = through(server.port);
  return { ...common, channel, received, arrived };
}

/** smtp-server, with its sockets at hand. */
export async function smtpServer(t: Ending, options: SMTPServerOptions) {
  const insecure = { disabledCommands: ['STARTTLS'], allowInsecureAuth: true, authOptional: true };
  const smtp = new SMTPServer({ ...insecure, ...options });
  smtp.on('error', () => {});
  return tcpServer(t, smtp.server);
}

export async function tcpServer(t: Ending, server: Server) {
  const sockets = new Set<Socket>();
  server.on('connection', socket => sockets.add(socket));
  t.after(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  const reset = () => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return { port: await listen(server), reset };
}

/** The text and the id of a message of one plain part. */
function readMail(source: string): Received {
  const [head = '', ...rest] = source.split('\r\n\r\n');
  const body = rest.join('\r\n\r\n');
  const header = (name: string) => new RegExp(`^${name}: (.*)$`, 'im').exec(head)?.[1];
  const text = decodeBody(body, header('Content-Transfer-Encoding'));
  return {
    id: /<([^@>]+)@/.exec(header('Message-ID') ?? '')?.[1],
    text: text.replaceAll('\r\n', '\n').trimEnd(),
  };
}

function decodeBody(body: string, encoding: string | undefined): string {
  if (encoding === 'base64') return Buffer.from(body, 'base64').toString();
  if (encoding !== 'quoted-printable') return body;
  const bytes = body
    .replaceAll('=\r\n', '')
    .replaceAll(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(Number(`0x${hex}`)));
  return Buffer.from(bytes, 'latin1').toString();
}

const HTTP_REFUSALS: Readonly<Record<string, number>> = { gone: 410, bad: 422 };

async function openWebhook(t: Ending, manner: Manner, timeoutMs = TIMEOUT_MS): Promise<Counterpart> {
  const channel = channelOf(t, 'webhook', { webhook: { allowPrivate: true, timeoutMs } });
  const secrets = [WEBHOOK_SECRET, WEBHOOK_SECRET.slice('whsec_'.length)];
  const at = (port: number) => `http://127.0.0.1:${port}/hook?key=in-the-address`;
  // Our account cannot be refused by a receiver; what can be wrong with it is the secret.
  if (manner === 'absent') return { ...NOTHING, channel, secrets, address: at(await freePort()) };
  const { received, arrived, put } = mailbox();
  let calls = 0;
  const server = await httpServer(t, (request, body, response) => {
    calls += 1;
    if (!isGenuine(request, body)) return response.writeHead(401).end();
    if (manner === 'busy' && calls === 1) {
      return response.writeHead(429, { 'retry-after': String(BUSY_MS / 1000) }).end(body);
    }
    put({ id: String(request.headers['webhook-id']), text: JSON.parse(body.toString()).text });
    const code = HTTP_REFUSALS[manner];
    if (code !== undefined) return response.writeHead(code, String(code)).end(body);
    if (manner === 'hang' && calls === 1) return undefined;
    if (manner === 'reset') return request.socket.resetAndDestroy();
    return response.end('thank you');
  });
  return { channel, address: at(server.port), secrets, received, arrived };
}

/** Verified twice: by the standard's own library, and by hand over the raw bytes. */
export function isGenuine(
  { headers }: Pick<IncomingMessage, 'headers'>,
  body: Buffer,
  secret: string = WEBHOOK_SECRET,
): boolean {
  const id = String(headers['webhook-id']);
  const time = String(headers['webhook-timestamp']);
  const signature = String(headers['webhook-signature']);
  new Webhook(secret).verify(body, {
    'webhook-id': id,
    'webhook-timestamp': time,
    'webhook-signature': signature,
  });
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
  const mac = createHmac('sha256', key).update(`${id}.${time}.`).update(body).digest('base64');
  return /^\d{10}$/.test(time) && signature === `v1,${mac}`;
}
