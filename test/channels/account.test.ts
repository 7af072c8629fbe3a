/** What each provider's answer says of our account: that it works, is refused, is about to fail, or nothing at all. */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import type { AccountState, Channel, ChannelName } from '../../src/channels/channel.ts';
import type { ChannelsConfig } from '../../src/channels/registry.ts';
import { channelOf, type Ending, httpServer, smtpServer, tcpServer } from './counterparts.ts';

const TOKEN = 'not-a-real-token';
const BOT_TOKEN = '7000000001:AAF-not-a-real-token-0123456789abcde';
const PASSWORD = 'correct-horse-battery';
const PHONE = '79000000001';
const never = new AbortController().signal;

type Config = (apiUrl: string) => Partial<ChannelsConfig>;
const whatsapp =
  (provider: 'cloud' | 'green-api' | 'wazzup'): Config =>
  apiUrl => ({ whatsapp: { provider, token: TOKEN, account: '1', apiUrl } });
const sms =
  (provider: 'sms.ru' | 'smsc', leastBalance: number): Config =>
  apiUrl => ({ sms: { provider, token: TOKEN, maxParts: 4, leastBalance, apiUrl } });

const telegram: Config = apiRoot => ({ telegram: { token: BOT_TOKEN, apiRoot } });
const max: Config = apiUrl => ({ max: { token: TOKEN, apiUrl } });
const vk: Config = apiUrl => ({ vk: { token: TOKEN, apiUrl } });
const email = (port: number): Partial<ChannelsConfig> => ({
  email: { smtpUrl: `smtp://robot:${PASSWORD}@127.0.0.1:${port}`, from: 'a@mail.test' },
});

/** The channel, how it is asked, and status and body of an answer with what they come to. */
type Row = readonly [
  channel: ChannelName,
  config: Config,
  status: number,
  answer: unknown,
  expected: string | RegExp,
];

const graph = (code: number) => ({ error: { message: `(#${code}) ${TOKEN}`, code } });
const linked = (state: string, channelId = '1') => [
  { channelId: '2', transport: 'whatsapp', plainId: PHONE, state: 'qr' },
  { channelId, transport: 'whatsapp', plainId: PHONE, state },
];
const vkError = (error_code: number) => ({ error: { error_code, error_msg: TOKEN, request_params: [] } });

const ROWS: readonly Row[] = [
  ['telegram', telegram, 200, { ok: true, result: { id: 7, is_bot: true, first_name: 'Север' } }, 'ok'],
  ['telegram', telegram, 401, { ok: false, error_code: 401, description: 'Unauthorized' }, 'refused'],
  ['telegram', telegram, 429, { ok: false, error_code: 429, description: 'Too Many Requests' }, 'unknown'],
  ['telegram', telegram, 500, { ok: false, error_code: 500, description: 'Internal' }, 'unknown'],
  ['max', max, 200, { user_id: 1, is_bot: true }, 'ok'],
  ['max', max, 401, { code: 'verify.token', message: `Invalid ${TOKEN}` }, 'refused'],
  ['max', max, 404, { code: 'not.found', message: '' }, 'unknown'],
  ['max', max, 503, { code: 'service.unavailable', message: '' }, 'unknown'],
  ['max', max, 200, { success: true }, 'unknown'],
  ['vk', vk, 200, { response: { mask: 4096 } }, 'ok'],
  ['vk', vk, 200, { response: { mask: 262_144 } }, /^refused VK: the key has no right to messages$/],
  ['vk', vk, 200, vkError(5), 'refused'],
  ['vk', vk, 200, vkError(27), 'refused'],
  ['vk', vk, 200, vkError(3), 'unknown'],
  ['vk', vk, 200, vkError(6), 'unknown'],
  ['whatsapp', whatsapp('cloud'), 200, { id: '1' }, 'ok'],
  ['whatsapp', whatsapp('cloud'), 401, graph(190), 'refused'],
  // A right that sending does without.
  ['whatsapp', whatsapp('cloud'), 400, graph(100), 'unknown'],
  ['whatsapp', whatsapp('cloud'), 403, graph(10), 'unknown'],
  ['whatsapp', whatsapp('cloud'), 400, graph(80_007), 'unknown'],
  ['whatsapp', whatsapp('green-api'), 200, { stateInstance: 'authorized' }, 'ok'],
  ['whatsapp', whatsapp('green-api'), 200, { stateInstance: 'notAuthorized' }, /^refused .* not linked/],
  ['whatsapp', whatsapp('green-api'), 200, { stateInstance: 'blocked' }, /^refused .* blocked/],
  ['whatsapp', whatsapp('green-api'), 200, { stateInstance: 'yellowCard' }, /^refused .* spam/],
  ['whatsapp', whatsapp('green-api'), 200, { stateInstance: 'starting' }, 'unknown'],
  ['whatsapp', whatsapp('green-api'), 200, { stateInstance: 'constructor' }, 'unknown'],
  ['whatsapp', whatsapp('green-api'), 401, { message: TOKEN }, 'refused'],
  ['whatsapp', whatsapp('green-api'), 429, { message: TOKEN }, 'unknown'],
  ['whatsapp', whatsapp('wazzup'), 200, linked('active'), 'ok'],
  ['whatsapp', whatsapp('wazzup'), 200, linked('notEnoughMoney'), /^refused .* not paid/],
  ['whatsapp', whatsapp('wazzup'), 200, linked('openElsewhere'), /^refused .* another account/],
  ['whatsapp', whatsapp('wazzup'), 200, linked('active', '3'), /^refused .* not in this account/],
  ['whatsapp', whatsapp('wazzup'), 200, linked('phoneUnavailable'), 'unknown'],
  ['whatsapp', whatsapp('wazzup'), 200, linked('toString'), 'unknown'],
  ['whatsapp', whatsapp('wazzup'), 401, { error: 'Unauthorized' }, 'refused'],
  ['whatsapp', whatsapp('wazzup'), 500, { error: 'INTERNAL' }, 'unknown'],
  ['sms', sms('sms.ru', 300), 200, { status_code: 100, balance: 300 }, 'ok'],
  ['sms', sms('sms.ru', 300), 200, { status_code: 100, balance: 299.5 }, /^soon .*299\.5 left.* 300$/],
  ['sms', sms('sms.ru', 0), 200, { status_code: 100, balance: -7 }, 'ok'],
  ['sms', sms('sms.ru', 300), 200, { status_code: 200, status_text: TOKEN }, 'refused'],
  ['sms', sms('sms.ru', 300), 200, { status_code: 220 }, 'unknown'],
  ['sms', sms('sms.ru', 300), 200, { status_code: 100 }, 'unknown'],
  ['sms', sms('smsc', 300), 200, { balance: '300.80' }, 'ok'],
  ['sms', sms('smsc', 300), 200, { balance: '12.30' }, /^soon .*12\.3 left.* 300$/],
  ['sms', sms('smsc', 300), 200, { error: TOKEN, error_code: 2 }, 'refused'],
  ['sms', sms('smsc', 300), 200, { error: TOKEN, error_code: 9 }, 'unknown'],
];

test('each answer says of the account what its provider’s documents say, and gives nothing away', async t => {
  for (const [name, config, status, answer, expected] of ROWS) {
    const told = await ask(await answered(t, name, config, status, JSON.stringify(answer)));
    const what = `${name} ${status} ${JSON.stringify(answer)}`;
    if (typeof expected === 'string') assert.equal(told.split(' ')[0], expected, what);
    else assert.match(told, expected, what);
    for (const secret of [TOKEN, BOT_TOKEN, PHONE])
      assert.ok(!told.includes(secret), `${what} gives away ${secret}`);
  }
});

const ASKED = new Map(ROWS.map(([name, config]) => [config, name]));

test('a page in place of an answer says nothing of the account, whatever its status', async t => {
  assert.ok(ASKED.size >= 8);
  for (const [config, name] of ASKED) {
    for (const status of [200, 401, 403, 404, 502])
      assert.match(await ask(await answered(t, name, config, status, '<html>nginx</html>')), /^unknown HTTP/);
  }
});

test('a provider that takes the question and stays silent holds nobody longer than they wait', async t => {
  for (const [config, name] of ASKED) {
    const { promise: asked, resolve } = Promise.withResolvers<void>();
    const { port } = await httpServer(t, () => resolve());
    await stopped(channelOf(t, name, config(`http://127.0.0.1:${port}`)), asked);
  }
  const { promise: asked, resolve } = Promise.withResolvers<void>();
  const { port } = await tcpServer(
    t,
    createServer(() => resolve()),
  );
  await stopped(channelOf(t, 'email', email(port)), asked);
});

test('SMTP: who asks while it is being tried hears of the same connection', async t => {
  let connections = 0;
  const { port } = await tcpServer(
    t,
    createServer(socket => {
      connections += 1;
      socket.end('421 4.3.2 Closing\r\n');
    }),
  );
  const channel = channelOf(t, 'email', email(port));
  for (const told of await Promise.all([ask(channel), ask(channel)])) assert.match(told, /^unknown/);
  assert.equal(connections, 1);
  assert.match(await ask(channel), /^unknown/);
  assert.equal(connections, 2, 'and the next time of another');
});

test('SMTP: signing in is what is tried; what the server cannot do just now is not a refusal', async t => {
  const signedIn = async (responseCode: number | null, text = '') => {
    let mails = 0;
    const { port } = await smtpServer(t, {
      onAuth: ({ username, password }, _session, done) =>
        responseCode === null
          ? done(null, { user: username })
          : done(Object.assign(new Error(`${text} ${username} ${password}`), { responseCode })),
      onMailFrom(_address, _session, done) {
        mails += 1;
        done();
      },
    });
    const told = await ask(channelOf(t, 'email', email(port)));
    assert.equal(mails, 0, 'nothing is sent');
    assert.ok(!told.includes(PASSWORD), told);
    return told;
  };
  assert.equal(await signedIn(null), 'ok');
  assert.match(await signedIn(535, '5.7.8 Authentication failed'), /^refused SMTP 535 5\.7\.8/);
  assert.match(await signedIn(454, '4.7.0 Temporary authentication failure'), /^unknown SMTP 454 4\.7\.0/);
});

async function answered(t: Ending, name: ChannelName, config: Config, status: number, body: string) {
  const { port } = await httpServer(t, (_request, _body, response) => response.writeHead(status).end(body));
  return channelOf(t, name, config(`http://127.0.0.1:${port}`));
}

/** `refused SMSC error 2` */
async function ask(channel: Channel): Promise<string> {
  return words((await channel.check?.(never)) ?? assert.fail('it cannot be asked'));
}

function words(told: AccountState): string {
  return told.state === 'ok' ? told.state : `${told.state} ${told.reason}`;
}

/** Stops the question once it has arrived. */
async function stopped(channel: Channel, asked: Promise<void>): Promise<void> {
  const stop = new AbortController();
  const asking = channel.check?.(stop.signal) ?? assert.fail('it cannot be asked');
  await asked;
  stop.abort();
  assert.equal(words(await asking), 'unknown stopped by us');
}
