/** What becomes of a message between the booking it is about and the client who hears it. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, test } from 'node:test';
import type { Channel, Outgoing, SendResult } from '../../src/channels/channel.ts';
import { CONSOLE_TRAITS } from '../../src/channels/console.ts';
import { addSecret, stopCompany } from '../../src/store/companies.ts';
import { saveReceipts } from '../../src/store/receipts.ts';
import { saveTemplate } from '../../src/store/templates.ts';
import { createVault } from '../../src/vault.ts';
import { until } from '../support/until.ts';
import { createPipeline, type Pipeline, recordBody } from './pipeline.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
let pipeline: Pipeline;

beforeEach(async () => {
  pipeline = await createPipeline();
  await pipeline.addCompany({ companyId: 1 });
});
afterEach(() => pipeline.close());

/** A channel that says that it was given a message, and waits for what to answer. */
function heldChannel() {
  const [left, outcome] = [Promise.withResolvers<void>(), Promise.withResolvers<SendResult>()];
  const channel: Channel = {
    ...{ name: 'console', traits: CONSOLE_TRAITS, idempotent: false, concurrency: 1 },
    send() {
      left.resolve();
      return outcome.promise;
    },
  };
  return { channel, left, outcome };
}

async function receive(...bodies: string[]): Promise<void> {
  await pipeline.receive(
    1,
    bodies.map(body => ({ body, receivedAt: pipeline.now })),
  );
  await pipeline.processor.drain();
}

async function states(): Promise<string[]> {
  const { rows } = await pipeline.pool.query('SELECT state FROM messages ORDER BY created_at, id');
  return rows.map(row => row.state);
}

const kinds = () => pipeline.sent.map(message => message.notice?.kind);
const later = (milliseconds: number) => {
  pipeline.now += milliseconds;
};

test('a refused connection is tried again after a pause, and told once', async () => {
  pipeline.answers = [{ outcome: 'retry', reason: 'connection refused' }];
  await receive(recordBody());
  await pipeline.settle();
  assert.deepEqual(await states(), ['due']);
  await pipeline.settle();
  assert.equal(pipeline.sent.length, 1, 'not before its time');
  later(3_000);
  await pipeline.settle();
  assert.deepEqual(await states(), ['sent']);
  assert.equal(pipeline.sent[0]?.id, pipeline.sent[1]?.id);
});

test('a process takes no message for lost that it is sending itself, however long the lease has passed', async () => {
  const { channel, left, outcome } = heldChannel();
  await receive(recordBody());
  const { dispatcher } = pipeline.another({ channel });
  const sending = dispatcher.drain();
  await left.promise;
  await pipeline.pool.query("UPDATE messages SET leased_until = now() - interval '1 second'");
  assert.equal(await dispatcher.runOnce(), 0);
  outcome.resolve({ outcome: 'sent' });
  await sending;
  assert.deepEqual(await states(), ['sent']);
});

test('an outcome that comes when its sender was taken for gone is kept, and its receipt finds it', async () => {
  const { channel, left, outcome } = heldChannel();
  await receive(recordBody());
  const sending = pipeline.another({ channel }).dispatcher.drain();
  await left.promise;
  await pipeline.pool.query("UPDATE messages SET leased_until = now() - interval '1 second'");
  await pipeline.another({ channel }).dispatcher.drain();
  assert.deepEqual(await states(), ['unknown']);
  outcome.resolve({ outcome: 'sent', providerId: 'late' });
  await sending;
  assert.deepEqual(await states(), ['unknown'], 'what was decided meanwhile stands');
  const receipt = { channel: 'console', provider: 'console', providerId: 'late' } as const;
  await saveReceipts(pipeline.pool, [{ ...receipt, status: 'delivered', reason: '', happenedAt: null }]);
  assert.deepEqual(await states(), ['delivered']);
  const { rows } = await pipeline.pool.query('SELECT number, outcome, reason FROM attempts');
  assert.deepEqual(rows, [{ number: 1, outcome: 'sent', reason: '' }]);
});

test('a salon that switched us off says nothing more, and nothing new is planned for it', async () => {
  pipeline.answers = [{ outcome: 'retry', reason: 'busy' }];
  await receive(recordBody({ at: pipeline.now }));
  await pipeline.settle();
  await stopCompany(pipeline.pool, 1, 'freeze');
  later(HOUR);
  await receive(recordBody({ id: 101, at: pipeline.now }));
  await pipeline.settle();
  assert.equal(pipeline.sent.length, 1, 'only the try before the stop');
  const { rows } = await pipeline.pool.query('SELECT state, error FROM messages');
  assert.deepEqual(rows, [{ state: 'failed', error: 'the salon switched us off' }]);
});

test('Retry-After is honoured', async () => {
  pipeline.answers = [{ outcome: 'retry', reason: '429', retryAfterMs: 60_000 }];
  await receive(recordBody());
  await pipeline.settle();
  later(59_000);
  await pipeline.settle();
  assert.equal(pipeline.sent.length, 1);
  later(2_000);
  await pipeline.settle();
  assert.equal(pipeline.sent.length, 2);
});

test('a message that cannot be sent in some seven hours is dead, and what was told does not move', async () => {
  pipeline.answers = Array.from({ length: 48 }, () => ({ outcome: 'retry' as const, reason: 'busy' }));
  const beganAt = pipeline.now;
  await receive(recordBody());
  while (!(await states()).includes('dead') && pipeline.now < beganAt + 24 * HOUR) {
    await pipeline.settle();
    later(MINUTE);
  }
  assert.equal(pipeline.sent.length, 48);
  const tookHours = (pipeline.now - beganAt) / HOUR;
  assert.ok(tookHours > 6.5 && tookHours < 9, `${tookHours} hours`);
  const { rows } = await pipeline.pool.query('SELECT told FROM bookings');
  assert.deepEqual(rows, [{ told: {} }]);
});

test('a move while a retry is awaited is told as it is then, once, against what was really heard', async () => {
  pipeline.answers = [{ outcome: 'retry', reason: 'busy' }];
  await receive(recordBody({ at: pipeline.now }));
  await pipeline.settle();
  await receive(
    recordBody({ status: 'update', at: pipeline.now + 2_000, data: { date: '2031-05-21 10:00:00' } }),
  );
  later(5_000);
  await pipeline.settle();
  assert.deepEqual(kinds(), ['booked', 'booked']);
  assert.equal(pipeline.sent[1]?.notice?.after.startsLocal, '2031-05-21T10:00:00');
  assert.deepEqual(await states(), ['sent']);
});

test('a change while a message is being sent is told by the next one', async () => {
  let move: Promise<void> | undefined;
  const slow: Channel = {
    name: 'console',
    traits: CONSOLE_TRAITS,
    idempotent: true,
    concurrency: 1,
    async send(message) {
      pipeline.sent.push(message);
      const body = recordBody({
        status: 'update',
        at: pipeline.now + 2_000,
        data: { date: '2031-05-21 10:00:00' },
      });
      move ??= receive(body);
      await move;
      return { outcome: 'sent' };
    },
  };
  const { dispatcher } = pipeline.another({ channel: slow });
  await receive(recordBody({ at: pipeline.now }));
  await dispatcher.drain();
  assert.deepEqual(kinds(), ['booked', 'rescheduled']);
  assert.equal(pipeline.sent[1]?.notice?.before?.startsLocal, '2031-05-20T14:30:00');
});

test('there and back within the settle time says nothing', async () => {
  await receive(recordBody({ at: pipeline.now }));
  await pipeline.settle();
  await pipeline.setPolicy(1, { settle: { any: '5s' } });
  await receive(
    recordBody({ status: 'update', at: pipeline.now + 2_000, data: { date: '2031-05-21 10:00:00' } }),
  );
  later(2_000);
  await receive(recordBody({ status: 'update', at: pipeline.now + 4_000 }));
  later(60_000);
  await pipeline.settle();
  assert.deepEqual(kinds(), ['booked']);
  assert.deepEqual(await states(), ['sent', 'superseded']);
});

test('a burst puts a notice off, but not for ever', async () => {
  await pipeline.setPolicy(1, { settle: { any: '1s' } });
  for (let move = 0; move < 15; move += 1) {
    const date = `2031-05-${20 + (move % 9)} 1${move % 9}:00:00`;
    await receive(recordBody({ status: move === 0 ? 'create' : 'update', at: pipeline.now, data: { date } }));
    await pipeline.settle();
    later(900);
  }
  assert.equal(pipeline.sent.length, 1, 'told after ten settle times, though the changes never stopped');
});

test('nothing is said of a visit that has begun', async () => {
  await pipeline.setPolicy(1, { settle: { any: '5s' } });
  pipeline.now = Date.parse('2031-05-20T11:29:58Z');
  await receive(recordBody({ at: pipeline.now }));
  later(6_000);
  await pipeline.settle();
  assert.deepEqual(kinds(), []);
  assert.deepEqual(await states(), ['expired']);
});

test('a timeout is repeated word for word under one id where the receiver drops repeats', async () => {
  pipeline.answers = [{ outcome: 'unknown', reason: 'timeout' }];
  await receive(recordBody());
  await pipeline.settle();
  assert.deepEqual(await states(), ['sending']);
  await expireLeases();
  await pipeline.settle();
  const [first, second] = pipeline.sent;
  assert.deepEqual({ ...second, attempt: 1 }, first);
  assert.deepEqual(await states(), ['sent']);
});

test('a timeout is never repeated where the receiver cannot tell, and says so', async () => {
  const sent: Outgoing[] = [];
  const { dispatcher } = pipeline.another({
    channel: {
      name: 'console',
      traits: CONSOLE_TRAITS,
      idempotent: false,
      concurrency: 1,
      async send(message) {
        sent.push(message);
        return { outcome: 'unknown', reason: 'timeout' };
      },
    },
  });
  await receive(recordBody());
  await dispatcher.drain();
  await expireLeases();
  await dispatcher.drain();
  assert.equal(sent.length, 1);
  assert.deepEqual(await states(), ['unknown']);
});

test('after a timeout the news that follows is a message of its own', async () => {
  pipeline.answers = [{ outcome: 'unknown', reason: 'timeout' }];
  await receive(recordBody({ at: pipeline.now }));
  await pipeline.settle();
  await receive(
    recordBody({ status: 'update', at: pipeline.now + 2_000, data: { date: '2031-05-21 10:00:00' } }),
  );
  await expireLeases();
  await pipeline.settle();
  assert.deepEqual(kinds(), ['booked', 'rescheduled']);
  assert.notEqual(pipeline.sent[0]?.id, pipeline.sent[1]?.id);
  assert.deepEqual(await states(), ['unknown', 'sent']);
});

for (const idempotent of [true, false]) {
  const ends = idempotent ? 'sent again under its id' : 'stated as unknown';
  test(`a cancellation that may have left, and after a change of mind is true again, is ${ends}`, async () => {
    const channel = (result: SendResult): Channel => ({
      ...{ name: 'console', traits: CONSOLE_TRAITS, idempotent, concurrency: 1 },
      async send(message) {
        pipeline.sent.push(message);
        return result;
      },
    });
    const sound = pipeline.another({ channel: channel({ outcome: 'sent' }) }).dispatcher;
    const change = (seconds: number, attendance: number) =>
      receive(recordBody({ status: 'update', at: pipeline.now + seconds * 1_000, data: { attendance } }));
    await receive(recordBody({ at: pipeline.now }));
    await sound.drain();
    await change(2, -1);
    await pipeline.another({ channel: channel({ outcome: 'unknown', reason: 'reset' }) }).dispatcher.drain();
    await pipeline.setPolicy(1, { settle: { any: '5s' } });
    await change(4, 0);
    await expireLeases();
    await sound.drain();
    assert.deepEqual(await states(), ['sent', 'unknown', 'due']);
    await change(6, -1);
    later(6_000);
    await sound.drain();
    await sound.drain();
    assert.deepEqual(await states(), ['sent', idempotent ? 'sent' : 'unknown', 'superseded']);
    const [, first, ...again] = pipeline.sent;
    assert.deepEqual(
      again.map(message => ({ ...message, attempt: 1 })),
      idempotent ? [first] : [],
    );
    await change(8, 0);
    later(6_000);
    await sound.drain();
    assert.deepEqual(kinds().slice(-1), ['restored'], 'it counts as heard, once');
  });

  test(`a message whose process died is ${idempotent ? 'sent again under its id' : 'stated as unknown'}`, async () => {
    const taken: Outgoing[] = [];
    const hanging: Channel = {
      name: 'console',
      traits: CONSOLE_TRAITS,
      idempotent,
      concurrency: 1,
      send: message => {
        taken.push(message);
        return new Promise(() => {});
      },
    };
    const dead = pipeline.another({ channel: hanging });
    await receive(recordBody());
    await dead.dispatcher.runOnce();
    assert.equal(taken.length, 1);
    await expireLeases();
    const heir = pipeline.another({ channel: { ...hanging, send: async () => ({ outcome: 'sent' }) } });
    await heir.dispatcher.drain();
    assert.deepEqual(await states(), [idempotent ? 'sent' : 'unknown']);
    const { rows } = await pipeline.pool.query('SELECT number, outcome FROM attempts ORDER BY number');
    const lost = { number: 1, outcome: 'unknown' };
    assert.deepEqual(rows, idempotent ? [lost, { number: 2, outcome: 'sent' }] : [lost]);
  });
}

test('tries that died with their process are tries: they end, also where it could be repeated', async () => {
  let taken = 0;
  const deadly: Channel = {
    ...{ name: 'console', traits: CONSOLE_TRAITS, idempotent: true, concurrency: 1 },
    send: () => {
      taken += 1;
      return new Promise(() => {});
    },
  };
  await receive(recordBody());
  for (let death = 1; death <= 50; death += 1) {
    await pipeline.another({ channel: deadly }).dispatcher.runOnce();
    await expireLeases();
  }
  assert.equal(taken, 48);
  assert.deepEqual(await states(), ['unknown']);
});

test('two dispatchers side by side send each message once', async () => {
  const other = pipeline.another();
  await receive(...Array.from({ length: 200 }, (_, index) => recordBody({ id: 1_000 + index })));
  await Promise.all([pipeline.dispatcher.drain(), other.dispatcher.drain()]);
  await pipeline.settle();
  assert.equal(pipeline.sent.length, 200);
  assert.equal(new Set(pipeline.sent.map(message => message.id)).size, 200);
});

test('nothing is said for a company that was removed, however long the message waited', async () => {
  await receive(recordBody());
  await pipeline.pool.query('UPDATE companies SET removed_at = now()');
  await pipeline.settle();
  assert.deepEqual(kinds(), []);
  assert.deepEqual(await states(), ['failed']);
});

test('a channel is given no more at once than it takes', async () => {
  let inside = 0;
  let most = 0;
  const narrow: Channel = {
    name: 'console',
    traits: CONSOLE_TRAITS,
    idempotent: true,
    concurrency: 3,
    async send(message) {
      inside += 1;
      most = Math.max(most, inside);
      await new Promise(resolve => setImmediate(resolve));
      inside -= 1;
      pipeline.sent.push(message);
      return { outcome: 'sent' };
    },
  };
  await receive(...Array.from({ length: 40 }, (_, index) => recordBody({ id: 1_000 + index })));
  await pipeline.another({ channel: narrow }).dispatcher.drain();
  assert.equal(pipeline.sent.length, 40);
  assert.equal(most, 3);
});

test('a channel that hangs with a backlog keeps no other waiting for it', async () => {
  const held = Promise.withResolvers<void>();
  const hanging: Channel = {
    ...{ name: 'console', traits: CONSOLE_TRAITS, idempotent: false, concurrency: 1 },
    send: () => held.promise.then(() => ({ outcome: 'sent' })),
  };
  const other: Channel = {
    ...{ name: 'webhook', traits: { ...CONSOLE_TRAITS, address: 'url' }, idempotent: true, concurrency: 1 },
    async send(message) {
      pipeline.sent.push(message);
      return { outcome: 'sent' };
    },
  };
  const channels = new Map([hanging, other].map(channel => [channel.name, channel]));
  const { dispatcher } = pipeline.another({ channels });
  await pipeline.addCompany({ companyId: 2, route: ['webhook'], webhookUrl: 'https://salon.example/' });
  await receive(...Array.from({ length: 400 }, (_, index) => recordBody({ id: 1_000 + index })));
  later(1);
  await pipeline.receive(2, [{ body: recordBody({ companyId: 2, id: 1 }), receivedAt: pipeline.now }]);
  await pipeline.processor.drain();
  while ((await dispatcher.runOnce()) > 0);
  assert.deepEqual(
    pipeline.sent.map(({ companyId }) => companyId),
    [2],
  );
  const { rows } = await pipeline.pool.query(
    "SELECT count(*) AS waiting, count(DISTINCT due_at) > 30 AS spread, sum(attempts) AS tries FROM messages WHERE state = 'due'",
  );
  assert.deepEqual(rows, [{ waiting: 272, spread: true, tries: 0 }]);
  const stopped = dispatcher.stop();
  held.resolve();
  await stopped;
});

test('a salon’s program that hangs with a backlog keeps no other salon’s waiting', async () => {
  const held = Promise.withResolvers<void>();
  const webhook: Channel = {
    ...{ name: 'webhook', traits: { ...CONSOLE_TRAITS, address: 'url' }, idempotent: true, concurrency: 2 },
    async send(message) {
      if (message.companyId === 2) await held.promise;
      pipeline.sent.push(message);
      return { outcome: 'sent' };
    },
  };
  const { dispatcher } = pipeline.another({ channels: new Map([[webhook.name, webhook]]) });
  for (const companyId of [2, 3]) {
    const webhookUrl = `https://salon-${companyId}.example/`;
    await pipeline.addCompany({ companyId, route: ['webhook'], webhookUrl });
    const bodies = Array.from({ length: companyId === 2 ? 200 : 1 }, (_, index) => ({
      body: recordBody({ companyId, id: 1_000 + index }),
      receivedAt: pipeline.now,
    }));
    await pipeline.receive(companyId, bodies);
    await pipeline.processor.drain();
    later(1);
  }
  while ((await dispatcher.runOnce()) > 0);
  await until(() => pipeline.sent.length > 0, { what: 'the other salon is told' });
  assert.deepEqual(
    pipeline.sent.map(({ companyId }) => companyId),
    [3],
  );
  const stopped = dispatcher.stop();
  held.resolve();
  await stopped;
});

async function ends(): Promise<string[]> {
  const { rows } = await pipeline.pool.query<{ state: string; error: string | null }>(
    'SELECT state, error FROM messages ORDER BY state DESC',
  );
  return rows.map(({ state, error }) => (error === null ? state : `${state}: ${error}`));
}

test('what waited for its place until others may take it for lost does not leave, and is put back', async () => {
  // Over before the claim has committed, as it would be after minutes at a provider that hangs.
  const { dispatcher } = pipeline.another({ leaseMs: 1 });
  await receive(recordBody());
  await dispatcher.drain();
  assert.equal(pipeline.sent.length, 0);
  assert.deepEqual(await ends(), ['due: the channel was busy for too long']);
  for (let again = 0; again < 10; again += 1) {
    later(HOUR);
    await dispatcher.drain();
  }
  const { rows } = await pipeline.pool.query('SELECT attempts, tries FROM messages');
  assert.deepEqual(rows, [{ attempts: 0, tries: 0 }], 'nothing was tried, however often');
  assert.deepEqual((await pipeline.pool.query('SELECT FROM attempts')).rows, []);
  later(HOUR);
  await pipeline.settle();
  assert.equal(pipeline.sent.length, 1);
  assert.deepEqual(await states(), ['sent']);
});

/** Two are claimed; the first is being sent until `held` resolves, and the second waits for its place. */
async function oneBeingSent() {
  const begun = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const narrow: Channel = {
    ...{ name: 'console', traits: CONSOLE_TRAITS, idempotent: false, concurrency: 1 },
    async send(message) {
      pipeline.sent.push(message);
      begun.resolve();
      await held.promise;
      return { outcome: 'sent' };
    },
  };
  const { dispatcher } = pipeline.another({ channel: narrow });
  await receive(recordBody({ id: 1 }), recordBody({ id: 2 }));
  await dispatcher.runOnce();
  await begun.promise;
  return { dispatcher, held };
}

test('what waited for its place while the machine was suspended does not leave, and is put back', async () => {
  const { dispatcher, held } = await oneBeingSent();
  // No time has passed but on the wall; the second would leave an hour after it was judged.
  later(HOUR);
  held.resolve();
  await until(async () => (await states()).includes('sent') && !(await states()).includes('sending'), {
    what: 'both have ended or are put back',
  });
  assert.equal(pipeline.sent.length, 1);
  assert.deepEqual(await ends(), ['sent', 'due: the channel was busy for too long']);
  await dispatcher.stop();
});

test('a stop sees through what has begun and begins nothing more', async () => {
  const { dispatcher, held } = await oneBeingSent();
  const stopped = dispatcher.stop();
  held.resolve();
  await stopped;
  assert.equal(pipeline.sent.length, 1);
  assert.deepEqual(await ends(), ['sent', 'due: stopped by us']);
});

test('half a character in a text keeps neither its own outcome nor another from being recorded', async () => {
  await pipeline.addCompany({ companyId: 2 });
  const source = 'Запись\n---\n{{ "💇" | split: "" | first }}';
  await saveTemplate(pipeline.pool, { companyId: 2, locale: 'ru', kind: 'booked', source });
  pipeline.answers = [1, 2].map(() => ({ outcome: 'sent', providerId: 'id\0' }));
  await receive(recordBody({ id: 1 }));
  await pipeline.receive(2, [{ body: recordBody({ companyId: 2, id: 2 }), receivedAt: pipeline.now }]);
  await pipeline.settle();
  const { rows } = await pipeline.pool.query('SELECT state, provider_id AS id FROM messages');
  assert.deepEqual(rows, Array(2).fill({ state: 'sent', id: 'id' }));
  const { rows: texts } = await pipeline.pool.query('SELECT body FROM messages WHERE company_id = 2');
  assert.deepEqual(texts, [{ body: '\ufffd' }]);
});

test('an id of a provider that no index holds keeps no outcome from being recorded', async () => {
  const endless = Array.from({ length: 200 }, () => randomUUID()).join('');
  pipeline.answers = [
    { outcome: 'sent', providerId: endless },
    { outcome: 'sent', providerId: 'one' },
  ];
  await receive(recordBody({ id: 1 }), recordBody({ id: 2 }));
  await pipeline.dispatcher.runOnce();
  await until(async () => (await states()).every(state => state === 'sent'), {
    what: 'both outcomes are recorded',
  });
  const { rows } = await pipeline.pool.query('SELECT provider_id FROM attempts ORDER BY provider_id');
  assert.deepEqual(rows, [{ provider_id: 'one' }, { provider_id: null }]);
});

test('a signing secret that cannot be opened holds up no message but those it would sign', async () => {
  await pipeline.addCompany({ companyId: 2 });
  const sealed = createVault(Buffer.alloc(32, 2)).seal('whsec_of_another_key');
  const secret = { companyId: 2, id: randomUUID(), purpose: 'outbound', sealed, graceMs: 0 } as const;
  await addSecret(pipeline.pool, secret);
  await receive(recordBody({ id: 1 }));
  await pipeline.receive(2, [{ body: recordBody({ companyId: 2, id: 2 }), receivedAt: pipeline.now }]);
  await pipeline.settle();
  assert.deepEqual(await states(), ['sent', 'sent']);
  assert.deepEqual(
    pipeline.sent.map(message => message.secret),
    [undefined, undefined],
  );
});

test('while the signing secret before holds yet, a message is signed with both', async () => {
  const add = (secret: string) =>
    addSecret(pipeline.pool, {
      ...{ companyId: 1, id: randomUUID(), purpose: 'outbound', graceMs: HOUR },
      sealed: pipeline.vault.seal(secret),
    });
  await add('whsec_first');
  await add('whsec_second');
  await receive(recordBody({ id: 1 }));
  await pipeline.settle();
  await pipeline.pool.query('UPDATE company_secrets SET expires_at = now() WHERE expires_at IS NOT NULL');
  await receive(recordBody({ id: 2 }));
  await pipeline.settle();
  assert.deepEqual(
    pipeline.sent.map(({ secret, formerSecret }) => [secret, formerSecret]),
    [
      ['whsec_second', 'whsec_first'],
      ['whsec_second', undefined],
    ],
  );
});

test('a client without an address is a failed message that says which, and a later address is used', async () => {
  await pipeline.pool.query("UPDATE companies SET route = '{telegram,email}'");
  await receive(recordBody());
  await pipeline.settle();
  const { rows } = await pipeline.pool.query('SELECT state, error FROM messages');
  assert.deepEqual(rows, [{ state: 'failed', error: 'telegram is not configured, email is not configured' }]);
});

test('a client who does not want messages gets none', async () => {
  const refusal = {
    company_id: 1,
    resource: 'client',
    resource_id: 9,
    status: 'update',
    data: { id: 9, sms_not: 1 },
  };
  await receive(JSON.stringify(refusal), recordBody());
  await pipeline.settle();
  assert.deepEqual(kinds(), []);
  assert.deepEqual(await states(), ['failed']);
});

test('a booking handed to another client is cancelled for the one and booked for the other', async () => {
  await receive(recordBody({ at: pipeline.now }));
  await pipeline.settle();
  const client = { id: 10, name: 'Борис', phone: '79160000002' };
  await receive(recordBody({ status: 'update', at: pipeline.now + 2_000, data: { client } }));
  await pipeline.settle();
  const said = pipeline.sent.slice(1).map(({ recipient, notice }) => `${recipient.name} ${notice?.kind}`);
  assert.deepEqual(said.sort(), ['Анна cancelled', 'Борис booked']);
});

async function expireLeases(): Promise<void> {
  await pipeline.pool.query(
    "UPDATE messages SET leased_until = now() - interval '1 second' WHERE state = 'sending'",
  );
}
