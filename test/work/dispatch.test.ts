/** What becomes of a message between the booking it is about and the client who hears it. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import type { Channel, Outgoing } from '../../src/channels/channel.ts';
import { CONSOLE_TRAITS } from '../../src/channels/console.ts';
import { stopCompany } from '../../src/store/companies.ts';
import { createPipeline, type Pipeline, recordBody } from './pipeline.ts';

const HOUR = 3_600_000;
let pipeline: Pipeline;

beforeEach(async () => {
  pipeline = await createPipeline();
  await pipeline.addCompany({ companyId: 1 });
});
afterEach(() => pipeline.close());

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

test('a message that cannot be sent in eight tries is dead, and what was told does not move', async () => {
  pipeline.answers = Array.from({ length: 8 }, () => ({ outcome: 'retry' as const, reason: 'busy' }));
  await receive(recordBody());
  for (let tries = 0; tries < 10; tries += 1) {
    await pipeline.settle();
    later(HOUR);
  }
  assert.equal(pipeline.sent.length, 8);
  assert.deepEqual(await states(), ['dead']);
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

test('tries that died with their process are tries: the eighth is the last, also where it could be repeated', async () => {
  let taken = 0;
  const deadly: Channel = {
    ...{ name: 'console', traits: CONSOLE_TRAITS, idempotent: true, concurrency: 1 },
    send: () => {
      taken += 1;
      return new Promise(() => {});
    },
  };
  await receive(recordBody());
  for (let death = 1; death <= 10; death += 1) {
    await pipeline.another({ channel: deadly }).dispatcher.runOnce();
    await expireLeases();
  }
  assert.equal(taken, 8);
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
