/** The rate of a channel, kept by all processes together, in the real database. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import type { Channel, Outgoing, SendResult, Traits } from '../../src/channels/channel.ts';
import { CONSOLE_TRAITS } from '../../src/channels/console.ts';
import type { Mouth } from '../../src/channels/ear.ts';
import { createLog } from '../../src/log.ts';
import { readPauses } from '../../src/store/pace.ts';
import { withTurns } from '../../src/work/reply.ts';
import { createPipeline, type Pipeline, recordBody } from './pipeline.ts';

let pipeline: Pipeline;
let sent: { readonly at: number; readonly message: Outgoing }[];
let answers: SendResult[];

beforeEach(async () => {
  pipeline = await createPipeline();
  await pipeline.addCompany({ companyId: 1 });
  sent = [];
  answers = [];
});
afterEach(() => pipeline.close());

function paced(pace: Traits['pace'], changes: Partial<Channel> = {}): Channel {
  return {
    name: 'console',
    traits: { ...CONSOLE_TRAITS, pace },
    idempotent: true,
    concurrency: 64,
    async send(message) {
      sent.push({ at: performance.now(), message });
      return answers.shift() ?? { outcome: 'sent' };
    },
    ...changes,
  };
}

async function receive(count: number, from = 1_000): Promise<void> {
  const bodies = Array.from({ length: count }, (_, index) => recordBody({ id: from + index }));
  await pipeline.receive(
    1,
    bodies.map(body => ({ body, receivedAt: pipeline.now })),
  );
  await pipeline.processor.drain();
}

async function messages(): Promise<
  { state: string; attempts: number; error: string | null; inMs: number }[]
> {
  const { rows } = await pipeline.pool.query(
    `SELECT state, attempts, error, extract(epoch FROM due_at - $1::timestamptz)::float8 * 1000 AS "inMs"
     FROM messages ORDER BY due_at, id`,
    [new Date(pipeline.now).toISOString()],
  );
  return rows;
}

test('two processes together keep the distance, and what waits has used no attempt', async () => {
  // The console has one destination, so its chat is as wide as the account.
  const channel = paced({ everyMs: 100, chatEveryMs: 100 });
  const [first, second] = [
    pipeline.another({ channel }).dispatcher,
    pipeline.another({ channel }).dispatcher,
  ];
  await receive(7, 1_000);
  const asked = performance.now();
  assert.equal(await first.runOnce(), 7, 'one of them takes slots for the next 600 ms');
  await receive(7, 2_000);
  await Promise.all([second.drain(), first.drain()]);
  for (const [index, { at }] of sent.entries()) {
    // Counted from the beginning: what a stall of the machine keeps back leaves at once after it.
    assert.ok(at - asked > index * 100 - 5, `${index + 1} left within ${Math.round(at - asked)} ms`);
  }
  const waiting = (await messages()).filter(({ state }) => state === 'due');
  assert.equal(waiting.length, 14 - sent.length);
  for (const { attempts, error } of waiting) {
    assert.equal(attempts, 0);
    assert.equal(error, 'waits for its turn: console takes no more at once');
  }
  const moments = waiting.map(({ inMs }) => inMs);
  assert.ok(
    moments.every((moment, index) => index === 0 || moment - (moments[index - 1] ?? 0) > 50),
    `each at its own place: ${moments}`,
  );
});

test('one chat is not written to twice within its distance, by whichever process; others are not held up', async () => {
  const { traits, ...console } = paced({ everyMs: 1, chatEveryMs: 60_000 });
  const channel = { ...console, traits: { ...traits, address: 'phone' } as const };
  const both = [pipeline.another({ channel }).dispatcher, pipeline.another({ channel }).dispatcher];
  const phones = ['79160000001', '79160000002', '79160000003'];
  for (let id = 0; id < 9; id += 1) {
    const client = { id: 50 + (id % 3), name: 'Анна', phone: phones[id % 3] };
    const body = recordBody({ id: 1_000 + id, data: { client } });
    await pipeline.receive(1, [{ body, receivedAt: pipeline.now }]);
    await pipeline.processor.drain();
    await both[id % 2]?.drain();
  }
  await Promise.all(both.map(dispatcher => dispatcher.drain()));
  assert.deepEqual(
    sent.map(({ message }) => message.address),
    phones.map(phone => `+${phone}`),
  );
  const waiting = (await messages()).filter(({ state }) => state === 'due');
  assert.deepEqual(
    waiting.map(({ attempts, inMs }) => attempts === 0 && inMs > 30_000),
    Array.from({ length: 6 }, () => true),
  );
});

test('what waited for its turn is sent when it comes, once', async () => {
  const { dispatcher } = pipeline.another({ channel: paced({ everyMs: 700, chatEveryMs: 0 }) });
  await receive(3);
  await dispatcher.drain();
  assert.equal(sent.length, 2);
  const [last] = (await messages()).filter(({ state }) => state === 'due');
  assert.ok(last !== undefined && last.inMs > 0);
  pipeline.now += 5_000;
  await pipeline.pool.query("UPDATE api_budget SET next_slot_at = '-infinity'");
  await dispatcher.drain();
  assert.equal(new Set(sent.map(({ message }) => message.id)).size, 3);
  assert.deepEqual(
    (await messages()).map(({ state, attempts }) => ({ state, attempts })),
    Array.from({ length: 3 }, () => ({ state: 'sent', attempts: 1 })),
  );
});

test('a clock of the database that was an hour ahead holds nobody once it is set back', async () => {
  const { dispatcher } = pipeline.another({ channel: paced({ everyMs: 1, chatEveryMs: 0 }) });
  await receive(1);
  await dispatcher.drain();
  await pipeline.pool.query(
    `UPDATE api_budget SET next_slot_at = now() + interval '1 hour', queued_until = now() + interval '1 hour'`,
  );
  await receive(1, 2_000);
  await dispatcher.drain();
  assert.equal(sent.length, 2);
});

test('a provider that says «too often» is left in peace by every process, and sent to again after it', async () => {
  const channel = paced({ everyMs: 1, chatEveryMs: 0 });
  const [first, second] = [pipeline.another({ channel }), pipeline.another({ channel })];
  answers = [{ outcome: 'retry', reason: '429', retryAfterMs: 60_000, limited: true }];
  await receive(1);
  await first?.dispatcher.drain();
  assert.equal(sent.length, 1);
  await receive(5);
  await second?.dispatcher.drain();
  assert.equal(sent.length, 1, 'the other process has heard of it');
  const [pause] = await readPauses(pipeline.pool);
  assert.equal(pause?.channel, 'console');
  const waiting = (await messages()).filter(({ attempts }) => attempts === 0);
  assert.equal(waiting.length, 4, 'none of them was tried');
  assert.ok(waiting.every(({ inMs }) => inMs > 40_000 && inMs < 70_000));
  await pipeline.pool.query("UPDATE api_budget SET paused_until = '-infinity'");
  pipeline.now += 120_000;
  await second?.dispatcher.drain();
  assert.deepEqual(new Set((await messages()).map(({ state }) => state)), new Set(['sent']));
  const { rows } = await pipeline.pool.query("SELECT failures FROM api_budget WHERE scope = 'send/console'");
  assert.deepEqual(rows, [{ failures: 0 }], 'the next pause begins short again');
});

/** One visit for each. */
async function book(clients: readonly { id: number; name: string; phone: string }[]): Promise<void> {
  for (const client of clients) {
    const body = recordBody({ id: client.id, data: { client } });
    await pipeline.receive(1, [{ body, receivedAt: pipeline.now }]);
  }
  await pipeline.processor.drain();
}

/** What a bot said, and its mouth, whose replies come to what is in `results`; those beyond it are sent. */
function speaking(pace: Traits['pace'], results: SendResult[] = []) {
  const said: string[] = [];
  const mouth: Mouth = {
    ...{ channel: 'console', numbers: 'none', costly: false },
    async reply({ text }) {
      said.push(text);
      return results.shift() ?? { outcome: 'sent' };
    },
    acknowledge: async () => undefined,
    inviteUrl: async () => '',
    readAgain: () => [],
    close: async () => {},
  };
  return {
    said,
    mouth: withTurns({ pool: pipeline.pool, log: createLog('silent'), random: () => 0 }, mouth, pace),
  };
}

test('what a bot answers leaves at once, whoever has the turn, and messages leave room for it', async () => {
  const pace = { everyMs: 20_000, chatEveryMs: 0 };
  const { dispatcher } = pipeline.another({ channel: paced(pace) });
  const { said, mouth } = speaking(pace);
  const reply = () => mouth.reply({ chat: '', text: 'спасибо' }, new AbortController().signal);
  assert.deepEqual([await reply(), said.length], [{ outcome: 'sent' }, 1]);
  await receive(1);
  await dispatcher.drain();
  assert.equal(sent.length, 0, 'the turn was taken');
  const [waiting] = await messages();
  assert.ok(waiting !== undefined && waiting.attempts === 0);
  assert.ok(waiting.inMs > 10_000 && waiting.inMs <= 20_000, `${waiting.inMs}`);
  await pipeline.pool.query("UPDATE api_budget SET paused_until = now() + interval '1 minute'");
  assert.deepEqual(
    [await reply(), said.length],
    [{ outcome: 'sent' }, 2],
    'somebody waits for it, in a pause as well',
  );
});

test('one chat that was answered leaves the others their turn, and an answer that did not leave takes none', async () => {
  const pace = { everyMs: 1, chatEveryMs: 60_000 };
  const { traits, ...console } = paced(pace);
  const channel = { ...console, traits: { ...traits, address: 'phone' } as const };
  const { dispatcher } = pipeline.another({ channel });
  const { mouth } = speaking(pace, [{ outcome: 'unknown', reason: 'timeout' }]);
  for (const chat of ['+79160000001', '+79160000002'])
    await mouth.reply({ chat, text: 'спасибо' }, new AbortController().signal);
  await book([
    { id: 50, name: 'Анна', phone: '79160000001' },
    { id: 51, name: 'Борис', phone: '79160000002' },
  ]);
  await dispatcher.drain();
  assert.deepEqual(
    sent.map(({ message }) => message.address),
    ['+79160000001'],
  );
});

test('a turn that cannot be noted keeps no answer back', async () => {
  const { said, mouth } = speaking({ everyMs: 20_000, chatEveryMs: 0 });
  await pipeline.pool.query('ALTER TABLE api_budget RENAME TO away');
  assert.deepEqual(
    await mouth.reply({ chat: '', text: 'спасибо' }, new AbortController().signal),
    { outcome: 'sent' },
    'it has left',
  );
  assert.deepEqual(said, ['спасибо']);
});

test('an answer that was one too many for the provider holds the messages back, though no message was', async () => {
  const pace = { everyMs: 1, chatEveryMs: 0 };
  const { dispatcher } = pipeline.another({ channel: paced(pace) });
  const { mouth } = speaking(pace, [
    { outcome: 'retry', reason: '503', retryAfterMs: 40_000 },
    { outcome: 'retry', reason: '429', retryAfterMs: 20_000, limited: true },
  ]);
  const reply = () => mouth.reply({ chat: '', text: 'спасибо' }, new AbortController().signal);
  await reply();
  assert.deepEqual(await readPauses(pipeline.pool), [], 'a provider that is away says nothing of our rate');
  await reply();
  await receive(1);
  await dispatcher.drain();
  assert.equal(sent.length, 0, 'nothing leaves while the provider asks for a pause');
  const [waiting] = await messages();
  assert.ok(waiting !== undefined && waiting.attempts === 0);
  assert.ok(waiting.inMs > 10_000 && waiting.inMs <= 20_000, `${waiting.inMs}`);
});

test('a doubt that is to be repeated waits for its turn as well, and stays a doubt', async () => {
  const { dispatcher } = pipeline.another({ channel: paced({ everyMs: 1, chatEveryMs: 0 }) });
  answers = [{ outcome: 'unknown', reason: 'timeout' }];
  await receive(1);
  await dispatcher.drain();
  const ended = "UPDATE messages SET leased_until = now() - interval '1 second'";
  await pipeline.pool.query(`UPDATE api_budget SET paused_until = now() + interval '5 minutes'`);
  await pipeline.pool.query(ended);
  await dispatcher.drain();
  assert.equal(sent.length, 1);
  const { rows } = await pipeline.pool.query(
    'SELECT state, attempts, uncertain, leased_until > now() AS waits FROM messages',
  );
  assert.deepEqual(rows, [{ state: 'sending', attempts: 1, uncertain: true, waits: true }]);
  await pipeline.pool.query("UPDATE api_budget SET paused_until = '-infinity'");
  await pipeline.pool.query(ended);
  await dispatcher.drain();
  assert.deepEqual([sent.length, sent[1]?.message.id], [2, sent[0]?.message.id]);
  assert.deepEqual(
    (await messages()).map(({ state, attempts }) => ({ state, attempts })),
    [{ state: 'sent', attempts: 2 }],
  );
});

test('the rows of chats name nobody', async () => {
  const { dispatcher } = pipeline.another({ channel: paced({ everyMs: 1, chatEveryMs: 0 }) });
  await receive(1);
  await dispatcher.drain();
  const { rows } = await pipeline.pool.query(
    "SELECT scope FROM api_budget WHERE scope LIKE 'send/%' ORDER BY 1",
  );
  assert.equal(rows.length, 2);
  assert.match(rows[1]?.scope, /^send\/console\/[0-9a-f]{4}$/);
});

for (const { remembersMs, sentTwice } of [
  { remembersMs: 3_600_000, sentTwice: true },
  { remembersMs: 60_000, sentTwice: false },
]) {
  test(`a doubt of two minutes is ${sentTwice ? 'repeated' : 'stated'} where ids are remembered ${remembersMs / 60_000} min`, async () => {
    const { dispatcher } = pipeline.another({ channel: paced(null, { remembersMs }) });
    answers = [{ outcome: 'unknown', reason: 'timeout' }];
    await receive(1);
    await dispatcher.drain();
    pipeline.now += 120_000;
    await pipeline.pool.query("UPDATE messages SET leased_until = now() - interval '1 second'");
    await dispatcher.drain();
    assert.equal(sent.length, sentTwice ? 2 : 1);
    assert.deepEqual(
      (await messages()).map(({ state }) => state),
      [sentTwice ? 'sent' : 'unknown'],
    );
  });
}

test('a phone is an address where it could be read as one, unless another was set', async () => {
  const channel = paced(null);
  const traits: Traits = { ...channel.traits, address: 'phone' };
  const { dispatcher } = pipeline.another({ channel: { ...channel, traits } });
  const clients = [
    { id: 9, name: 'Анна', phone: '79160000001' },
    { id: 10, name: 'Борис', phone: 'спросить у Анны' },
  ];
  await book(clients);
  await dispatcher.drain();
  assert.deepEqual(
    sent.map(({ message }) => message.address),
    ['+79160000001'],
  );
  assert.equal(
    sent[0]?.message.validUntil,
    Date.parse('2031-05-20T11:30:00Z'),
    'of use until the visit begins',
  );
  const { rows } = await pipeline.pool.query("SELECT error FROM messages WHERE state = 'failed'");
  assert.deepEqual(rows, [{ error: 'no address on console' }]);
});
