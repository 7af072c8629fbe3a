/** What is peculiar to one provider: its codes, its limits, its ways. What all promise is in `contract.test.ts`. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import type { Channel, SendResult } from '../../src/channels/channel.ts';
import { type ChannelsConfig, createChannels } from '../../src/channels/registry.ts';
import { type Ending, outgoing } from './counterparts.ts';
import { answering } from './providers.ts';

const never = new AbortController().signal;
const PHONE = '79000000001';
const TOKEN = 'not-a-real-token';
type Reply = Parameters<typeof answering>[3][number];
type Through = (t: Ending, replies: readonly Reply[]) => ReturnType<typeof answering>;

const max: Through = (t, replies) =>
  answering(t, 'max', apiUrl => ({ max: { token: TOKEN, apiUrl } }), replies);
const cloud: Through = (t, replies) => whatsapp(t, replies, { provider: 'cloud', account: '1' });
const wazzup: Through = (t, replies) => whatsapp(t, replies, { provider: 'wazzup', account: '1' });
const greenApi: Through = (t, replies) => whatsapp(t, replies, { provider: 'green-api', account: '1' });
const smsRu: Through = (t, replies) => sms(t, replies, 'sms.ru');
const smsc: Through = (t, replies) => sms(t, replies, 'smsc');
const vk: Through = (t, replies) => answering(t, 'vk', apiUrl => ({ vk: { token: TOKEN, apiUrl } }), replies);

function whatsapp(
  t: Ending,
  replies: readonly Reply[],
  config: {
    provider: 'cloud' | 'wazzup' | 'green-api';
    account: string;
    template?: object;
    now?: () => number;
  },
) {
  const full = (apiUrl: string) => ({ token: TOKEN, apiUrl, ...config }) as ChannelsConfig['whatsapp'];
  return answering(t, 'whatsapp', apiUrl => ({ whatsapp: full(apiUrl) }), replies);
}

function sms(t: Ending, replies: readonly Reply[], provider: 'sms.ru' | 'smsc', maxParts = 2) {
  const now = () => Date.parse('2026-11-24T10:00:00Z');
  return answering(
    t,
    'sms',
    apiUrl => ({ sms: { provider, token: TOKEN, sender: 'SEVER', maxParts, apiUrl, now } }),
    replies,
  );
}

const to = (address: string, changes = {}) => outgoing({ address, ...changes });
const brief = (result: SendResult) => {
  const scope = result.outcome === 'rejected' ? ` ${result.scope}` : '';
  const limited = result.outcome === 'retry' && result.limited ? ' limited' : '';
  return `${result.outcome}${scope}${limited}`;
};

async function judged(t: Ending, through: Through, address: string, replies: readonly Reply[]) {
  const results: string[] = [];
  for (const reply of replies) {
    const { channel } = await through(t, [reply]);
    results.push(brief(await channel.send(to(address), never)));
  }
  return results;
}

async function codes(
  t: Ending,
  through: Through,
  address: string,
  replyOf: (code: number) => Reply,
  expected: Readonly<Record<string, readonly number[]>>,
) {
  for (const [outcome, all] of Object.entries(expected)) {
    const results = await judged(t, through, address, all.map(replyOf));
    assert.deepEqual(
      results,
      all.map(() => outcome),
      `${outcome}: ${all.join(', ')}`,
    );
  }
}

test('MAX: its codes', async t => {
  const error = (code: string, message = '') => ({ code, message });
  const results = await judged(t, max, '-1', [
    [403, error('chat.denied', 'Key: error.dialog.suspended, args: [1,].')],
    [403, error('chat.denied', 'Key: errors.no.access')],
    [403, error('verify.token', 'Invalid access_token')],
    [500, error('internal.error')],
    [503, error('service.unavailable')],
    [405, error('method.not.allowed')],
    [200, { success: true }],
  ]);
  assert.deepEqual(results, [
    'rejected person',
    'rejected address',
    'rejected channel',
    'unknown',
    'retry',
    'rejected message',
    'unknown',
  ]);
});

test('WhatsApp Cloud: the codes of Meta’s list', async t => {
  const reply = (code: number): Reply => [400, { error: { message: 'said', code } }];
  await codes(t, cloud, `+${PHONE}`, reply, {
    'retry limited': [4, 80007, 130429],
    retry: [1, 2, 131000, 131016, 131056, 131057, 133004],
    'rejected person': [131049, 131050],
    'rejected address': [130472, 131021, 131026, 131030, 131047],
    'rejected message': [100, 131008, 131009, 131051, 132005],
    'rejected channel': [
      0, 10, 190, 200, 368, 131005, 131031, 131042, 131048, 132001, 132015, 133010, 999_999,
    ],
  });
});

test('WhatsApp Cloud: with a template a text becomes its one variable, on one line', async t => {
  const accepted: Reply = [200, { messages: [{ id: 'wamid.1' }] }];
  const template = { name: 'visit_news', language: 'ru' };
  const { channel, asked } = await whatsapp(t, [accepted], { provider: 'cloud', account: '1', template });
  assert.equal(channel.traits.reaches, 'anybody');
  const result = await channel.send(to(`+${PHONE}`, { text: 'Раз\n\nДва    три\tчетыре' }), never);
  assert.deepEqual(result, { outcome: 'sent', providerId: 'wamid.1' });
  assert.deepEqual(asked[0]?.body.template, {
    name: 'visit_news',
    language: { code: 'ru' },
    components: [{ type: 'body', parameters: [{ type: 'text', text: 'Раз · Два три четыре' }] }],
  });
});

test('Green-API: nothing is put into its queue while the phone is not linked', async t => {
  for (const [state, outcome] of Object.entries({
    notAuthorized: 'retry',
    sleepMode: 'retry',
    starting: 'retry',
    yellowCard: 'retry',
    blocked: 'rejected channel',
  })) {
    const { channel, asked } = await greenApi(t, [[200, { stateInstance: state }]]);
    assert.equal(brief(await channel.send(to(`+${PHONE}`), never)), outcome, state);
    assert.deepEqual(
      asked.map(({ path }) => path),
      [`/waInstance1/getStateInstance/${TOKEN}`],
    );
  }
  const { channel } = await greenApi(t, [[502, '<html>']]);
  assert.equal(
    brief(await channel.send(to(`+${PHONE}`), never)),
    'retry',
    'a look that failed has sent nothing',
  );
});

test('Green-API: a phone found linked is looked at again after half a minute, once for all', async t => {
  let now = 0;
  const config = { provider: 'green-api', account: '1', now: () => now } as const;
  const { channel, asked } = await whatsapp(
    t,
    [[200, { stateInstance: 'authorized', idMessage: 'A' }]],
    config,
  );
  const looks = () => asked.filter(({ path }) => path.includes('getStateInstance')).length;
  await Promise.all([channel.send(to(`+${PHONE}`), never), channel.send(to(`+${PHONE}`), never)]);
  assert.equal(looks(), 1);
  now = 29_000;
  await channel.send(to(`+${PHONE}`), never);
  assert.equal(looks(), 1);
  now = 31_000;
  await channel.send(to(`+${PHONE}`), never);
  assert.equal(looks(), 2);
  const linked: Reply = [200, { stateInstance: 'authorized' }];
  const results: string[] = [];
  for (const status of [400, 403, 404, 466, 429, 500]) {
    const side = await greenApi(t, [linked, [status, { message: 'said' }]]);
    results.push(brief(await side.channel.send(to(`+${PHONE}`), never)));
  }
  assert.deepEqual(results, [
    'rejected message',
    'rejected channel',
    'rejected channel',
    'rejected channel',
    'retry limited',
    'unknown',
  ]);
});

test('Wazzup: its codes, however they are written', async t => {
  const error = (code: string): Reply => [400, { error: code, description: 'said' }];
  const results = await judged(t, wazzup, `+${PHONE}`, [
    error('repeatedCrmMessageId'),
    error('REPEATED_CRM_MESSAGE_ID'),
    error('BAD_CONTACT'),
    error('CHANNEL_NO_MONEY'),
    error('MESSAGE_CHANNEL_UNAVAILABLE'),
    error('MESSAGES_IS_SPAM'),
    error('SOMETHING_NEW'),
    [500, { error: 'INTERNAL' }],
  ]);
  assert.deepEqual(results, [
    'sent',
    'sent',
    'rejected address',
    'rejected channel',
    'retry',
    'rejected message',
    'rejected message',
    'unknown',
  ]);
});

test('SMS.ru: its codes, of the whole and of the number', async t => {
  const ofNumber = (code: number): Reply => [
    200,
    { status: 'OK', status_code: 100, sms: { [PHONE]: { status: 'ERROR', status_code: code } } },
  ];
  const expected = {
    retry: [220, 231, 500],
    'rejected person': [209],
    'rejected address': [202, 207, 230, 232],
    'rejected message': [203, 205],
    'rejected channel': [200, 201, 204, 206, 300, 301, 302],
  };
  await codes(t, smsRu, `+${PHONE}`, ofNumber, expected);
  const ofWhole = (code: number): Reply => [200, { status: 'ERROR', status_code: code }];
  await codes(t, smsRu, `+${PHONE}`, ofWhole, expected);
  const odd = await judged(t, smsRu, `+${PHONE}`, [
    [200, { status: 'OK', status_code: 100, sms: {} }],
    [200, { status: 'OK', status_code: 100, sms: { 79009999999: { status_code: 100, sms_id: '1' } } }],
  ]);
  assert.deepEqual(odd, ['unknown', 'unknown'], 'nothing is said of our number');
});

test('SMSC: its codes', async t => {
  await codes(t, smsc, `+${PHONE}`, code => [200, { error: 'said', error_code: code }], {
    'retry limited': [4],
    retry: [9],
    'rejected address': [7, 8],
    'rejected message': [1, 5, 6],
    'rejected channel': [2, 3],
    unknown: [99],
  });
});

test('VK: its codes; what the repeat settles is unknown', async t => {
  const reply = (error_code: number): Reply => [200, { error: { error_code, error_msg: 'said' } }];
  await codes(t, vk, '1', reply, {
    'retry limited': [6, 29],
    retry: [9],
    unknown: [1, 10, 36, 12_345],
    'rejected person': [900, 901, 902],
    'rejected address': [18, 113, 917, 936],
    'rejected message': [100, 914],
    'rejected channel': [5, 7, 15, 27],
  });
  const about = 'One of the parameters specified was missing or invalid: peer_id is invalid';
  const named = await judged(t, vk, '1', [[200, { error: { error_code: 100, error_msg: about } }]]);
  assert.deepEqual(named, ['rejected address']);
});

test('VK: every attempt of one message has one random_id, and each message its own', async t => {
  const { channel, asked } = await vk(t, [[200, { response: 1 }]]);
  for (const [id, attempt] of [
    ['a', 1],
    ['a', 2],
    ['b', 1],
  ] as const) {
    await channel.send(to('1', { id, attempt }), never);
  }
  const [first, again, other] = asked.map(({ body }) => Number(body.random_id));
  assert.equal(first, again);
  assert.notEqual(first, other);
  assert.ok([first, other].every(id => Number.isInteger(id) && Number(id) > 0 && Number(id) < 2 ** 31));
});

test('an SMS is cut to what may be paid, and given up when the visit begins', async t => {
  const validUntil = Date.parse('2026-11-24T11:30:30Z');
  const text = `Анна, вы записаны.\n\n${'очень подробно '.repeat(40)}`;
  const cases = [
    { through: smsRu, reply: { status_code: 100, sms: { [PHONE]: { status_code: 100, sms_id: '1' } } } },
    { through: smsc, reply: { id: 1, cnt: 2 } },
  ];
  const forms: Record<string, unknown>[] = [];
  for (const { through, reply } of cases) {
    const { channel, asked } = await through(t, [[200, reply]]);
    assert.equal((await channel.send(to(`+${PHONE}`, { text, validUntil }), never)).outcome, 'sent');
    await channel.send(to(`+${PHONE}`, { text: 'коротко' }), never);
    forms.push(...asked.map(({ body }) => body));
  }
  const [ru, ruPlain, sc, scPlain] = forms;
  for (const sent of [ru?.msg, sc?.mes]) {
    assert.equal(String(sent).length, 134, 'two parts of 67');
    assert.match(String(sent), /^Анна, вы записаны\.\nочень/);
    assert.match(String(sent), /…$/);
  }
  assert.deepEqual([ru?.ttl, ruPlain?.ttl], ['90', undefined]);
  assert.deepEqual([sc?.valid, scPlain?.valid], ['01:30', undefined]);
  assert.deepEqual([ru?.from, sc?.sender, sc?.maxsms], ['SEVER', 'SEVER', '2']);
});

test('what an SMS costs is told before it is paid, and not known when the provider does not say', async t => {
  const message = { address: `+${PHONE}`, text: 'ж'.repeat(100) };
  const ask = (channel: Channel) => channel.quote?.(message, never);
  const ru = await smsRu(t, [[200, { status: 'OK', status_code: 100, total_cost: 9.8, total_sms: 2 }]]);
  assert.deepEqual(await ask(ru.channel), { parts: 2, price: 9.8 });
  const sc = await smsc(t, [[200, { cost: '7.2', cnt: 2 }]]);
  assert.deepEqual(await ask(sc.channel), { parts: 2, price: 7.2 });
  assert.equal(sc.asked[0]?.body.cost, '1', 'asked, not sent');
  const silent = await smsRu(t, [[502, '<html>']]);
  assert.deepEqual(await ask(silent.channel), { parts: 2, price: undefined });
});

test('docs/channels.md says of each channel what it declares', async () => {
  const guide = await readFile(new URL('../../docs/channels.md', import.meta.url), 'utf8');
  const common = { token: TOKEN, account: '1' };
  const sms = { token: TOKEN, maxParts: 4 };
  const url = 'https://example.test';
  const configs: readonly Partial<ChannelsConfig>[] = [
    {
      telegram: { token: '1:a' },
      max: { token: TOKEN },
      vk: { token: TOKEN },
      email: { smtpUrl: 'smtp://mail.test', from: 'a@mail.test' },
      whatsapp: { provider: 'cloud', ...common },
      sms: { provider: 'sms.ru', ...sms },
    },
    { whatsapp: { provider: 'green-api', ...common, apiUrl: url }, sms: { provider: 'smsc', ...sms } },
    { whatsapp: { provider: 'wazzup', ...common } },
  ];
  const channels = configs.flatMap(config => [
    ...createChannels({
      console: { write() {} },
      webhook: { allowPrivate: false, timeoutMs: 1 },
      receiptsFrom: new Set(['cloud', 'green-api', 'wazzup', 'sms.ru', 'smsc']),
      ...config,
    }).values(),
  ]);
  const rows = [...new Set(channels.map(rowOf))];
  assert.equal(rows.length, 11);
  const unheard = createChannels({
    console: { write() {} },
    webhook: { allowPrivate: false, timeoutMs: 1 },
    sms: { provider: 'smsc', ...sms },
  });
  assert.equal(unheard.get('sms')?.traits.receiptWithinMs, null, 'nobody waits for what cannot come');
  for (const channel of unheard.values()) channels.push(channel);
  for (const row of rows) assert.ok(guide.replaceAll(/ +/g, ' ').includes(row), `the table lacks:\n${row}`);
  await Promise.all(channels.map(channel => channel.close?.()));
});

function rowOf({ name, provider, traits, idempotent, remembersMs }: Channel): string {
  const { pace } = traits;
  const repeat = idempotent ? (remembersMs === undefined ? 'yes' : `within ${remembersMs / 1000} s`) : 'no';
  const cells = [
    provider === undefined ? name : `${name} (${provider})`,
    traits.address,
    traits.reaches,
    traits.maxText,
    traits.buttons ? 'yes' : 'no',
    traits.receiptWithinMs === null ? 'none' : `${traits.receiptWithinMs / 60_000} min`,
    repeat,
    pace === null ? 'no limit of ours' : `${pace.everyMs} ms, one chat ${pace.chatEveryMs} ms`,
  ];
  return `| ${cells.join(' | ')} |`;
}
