/** What is forgotten, and what never is. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { newId } from '../../src/ids.ts';
import { createLog } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import { audit } from '../../src/store/companies.ts';
import { keepAside } from '../../src/store/heard.ts';
import { transaction } from '../../src/store/pool.ts';
import { claimUpkeep, pruneAudit, pruneEvents } from '../../src/store/prune.ts';
import { insertRelays } from '../../src/store/relays.ts';
import { takeShards } from '../../src/store/shards.ts';
import { createUpkeep, type Keep, type Upkeep } from '../../src/work/upkeep.ts';
import { until } from '../support/until.ts';
import { createPipeline, type Pipeline, recordBody } from './pipeline.ts';

const DAY = 86_400_000;
const KEEP: Keep = { eventsDays: 90, deadDays: 365, messagesDays: 365, bookingsDays: 730, auditDays: 1095 };
let pipeline: Pipeline;

beforeEach(async () => {
  pipeline = await createPipeline();
  await pipeline.addCompany({ companyId: 1 });
});
afterEach(() => pipeline.close());

function upkeep(
  options: { keep?: Partial<Keep>; batch?: number } = {},
): Upkeep & { pruned(): Promise<object> } {
  const metrics = createMetrics();
  const made = createUpkeep({
    ...{ pool: pipeline.pool, log: createLog('silent'), metrics, now: () => pipeline.now },
    keep: { ...KEEP, ...options.keep },
    ...(options.batch === undefined ? {} : { batch: options.batch }),
  });
  return {
    ...made,
    async pruned() {
      const { values } = await metrics.pruned.get();
      return Object.fromEntries(values.map(({ labels, value }) => [labels.table, value]));
    },
  };
}

const receive = (...bodies: string[]) =>
  pipeline.receive(
    1,
    bodies.map(body => ({ body, receivedAt: pipeline.now })),
  );

async function age(table: string, days: number, where = 'true'): Promise<void> {
  const columns: Record<string, string> = {
    webhook_events:
      'created_at = $1, processed_at = CASE WHEN processed_at IS NOT NULL THEN $1::timestamptz END',
    messages: 'created_at = $1, updated_at = $1',
    audit_log: 'created_at = $1',
    bookings: 'starts_at = $1, updated_at = $1',
    booking_changes: 'created_at = $1',
    people:
      'name_version = $1, phone_version = $1, email_version = $1, refuses_version = $1, deleted_version = $1',
  };
  await pipeline.pool.query(`UPDATE ${table} SET ${columns[table]} WHERE ${where}`, [
    new Date(pipeline.now - days * DAY).toISOString(),
  ]);
}

async function count(table: string): Promise<number> {
  const { rows } = await pipeline.pool.query(`SELECT count(*) AS n FROM ${table}`);
  return rows[0].n;
}

test('a stop waits for the batch that is under way, and begins no other', async () => {
  await receive(...Array.from({ length: 5 }, (_, index) => recordBody({ id: index + 1 })));
  await pipeline.settle();
  await age('webhook_events', 91);
  const one = upkeep({ batch: 1 });
  const holder = await pipeline.pool.connect();
  try {
    await holder.query('BEGIN; LOCK TABLE webhook_events');
    one.start();
    const isWaiting = async () => {
      const { rowCount } = await pipeline.pool.query(
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
      );
      return rowCount === 1;
    };
    await until(isWaiting, { what: 'a batch waits for the table' });
    const stopped = one.stop();
    await holder.query('COMMIT');
    await stopped;
  } finally {
    holder.release();
  }
  assert.equal(await count('webhook_events'), 4);
});

test('a table that cannot be forgotten in keeps no other', async () => {
  await receive(recordBody());
  await pipeline.settle();
  await age('webhook_events', 91);
  await audit(pipeline.pool, { actor: 'command', action: 'company.add', companyId: 1 });
  await age('audit_log', 1_096);
  await pipeline.pool.query(`
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
    CREATE TRIGGER refuse BEFORE DELETE ON webhook_events FOR EACH ROW EXECUTE FUNCTION refuse()`);
  const one = upkeep();
  await assert.rejects(one.runOnce(), /refused/);
  assert.deepEqual(await one.pruned(), { audit_log: 1 });
});

test('processed events go after their days, all others stay that are not done', async () => {
  await receive(...Array.from({ length: 7 }, (_, index) => recordBody({ id: index + 1 })));
  await pipeline.settle();
  const set = (id: number, change: string) =>
    pipeline.pool.query(`UPDATE webhook_events SET ${change} WHERE record_id = ${id}`);
  await set(1, "state = 'pending', processed_at = NULL");
  await set(2, "state = 'waiting', processed_at = NULL, next_at = now() + interval '1 day'");
  await set(3, "state = 'dead', processed_at = NULL");
  await set(4, "state = 'quarantined', processed_at = NULL");
  await age('webhook_events', 91, 'record_id <> 5');
  await age('webhook_events', 89, 'record_id = 5');
  assert.equal(await upkeep().runOnce(), 2);
  const { rows } = await pipeline.pool.query('SELECT record_id AS id FROM webhook_events ORDER BY record_id');
  assert.deepEqual(
    rows.map(row => row.id),
    [1, 2, 3, 4, 5],
  );
});

test('events given up and bodies in quarantine go after days of their own, with the people in them', async () => {
  await receive(...Array.from({ length: 5 }, (_, index) => recordBody({ id: index + 1 })));
  await pipeline.pool.query(
    `UPDATE webhook_events SET state = CASE record_id WHEN 1 THEN 'pending' WHEN 3 THEN 'quarantined' ELSE 'dead' END`,
  );
  await age('webhook_events', 366);
  await age('webhook_events', 364, 'record_id = 4');
  const keeper = upkeep({ batch: 1 });
  assert.equal(await upkeep({ keep: { deadDays: 0 } }).runOnce(), 0);
  assert.equal(await keeper.runOnce(), 3);
  assert.deepEqual(await keeper.pruned(), { webhook_events: 3 });
  const { rows } = await pipeline.pool.query(
    'SELECT record_id::int AS id FROM webhook_events ORDER BY record_id',
  );
  assert.deepEqual(rows, [{ id: 1 }, { id: 4 }]);
});

test('who did what goes after its days', async () => {
  const did = { actor: 'command', action: 'company.set', companyId: 1 } as const;
  await audit(pipeline.pool, { ...did, subject: 'old' });
  await age('audit_log', 1_096);
  await audit(pipeline.pool, { ...did, subject: 'new' });
  await upkeep().runOnce();
  const { rows } = await pipeline.pool.query("SELECT subject FROM audit_log WHERE action = 'company.set'");
  assert.deepEqual(rows, [{ subject: 'new' }]);
});

test('an event replayed lately is not old', async () => {
  await receive(recordBody());
  await pipeline.settle();
  await age('webhook_events', 91);
  await pipeline.pool.query('UPDATE webhook_events SET processed_at = now()');
  assert.equal(await upkeep().runOnce(), 0);
});

test('ended messages go with their attempts; open ones stay', async () => {
  await receive(recordBody({ id: 1 }));
  await pipeline.settle();
  await pipeline.setPolicy(1, { settle: { any: '1m' } });
  await receive(recordBody({ id: 2 }), recordBody({ id: 3 }));
  await pipeline.processor.drain();
  await pipeline.pool.query(
    "UPDATE messages SET state = 'sending', leased_until = now() WHERE record_id = 3",
  );
  await age('messages', 366);
  assert.equal(await count('attempts'), 1);
  await upkeep().runOnce();
  const { rows } = await pipeline.pool.query('SELECT record_id AS id FROM messages ORDER BY record_id');
  assert.deepEqual(
    rows.map(row => row.id),
    [2, 3],
  );
  assert.equal(await count('attempts'), 0);
});

test('after its message is forgotten a booking says nothing twice, and the next change as a change', async () => {
  const created = recordBody({ at: pipeline.now });
  await receive(created);
  await pipeline.settle();
  await age('webhook_events', 91);
  await age('messages', 366);
  assert.equal(await upkeep().runOnce(), 2);
  // The platform sends the very same body again, years later.
  await receive(created);
  await pipeline.settle();
  assert.equal(await count('webhook_events'), 1);
  assert.equal(pipeline.sent.length, 1);
  await receive(
    recordBody({ status: 'update', at: pipeline.now + 5_000, data: { date: '2031-05-21 10:00:00' } }),
  );
  await pipeline.settle();
  assert.deepEqual(
    pipeline.sent.map(({ notice }) => notice?.kind),
    ['booked', 'rescheduled'],
  );
});

test('a told message stays while the booking does not know of it: only the row keeps it from being said again', async () => {
  await receive(recordBody());
  await pipeline.settle();
  await age('messages', 366);
  await pipeline.pool.query("UPDATE bookings SET told = '{}'");
  await upkeep().runOnce();
  assert.equal(await count('messages'), 1);
  await pipeline.pool.query('DELETE FROM bookings');
  await upkeep().runOnce();
  assert.equal(await count('messages'), 0);
});

test('a booking of long ago goes after its messages, with its history and its client', async () => {
  await receive(recordBody());
  await pipeline.settle();
  for (const table of ['bookings', 'booking_changes', 'people', 'webhook_events']) await age(table, 731);
  const keeper = upkeep();
  await keeper.runOnce();
  assert.equal(await count('bookings'), 1, 'its message is kept for a year');
  await age('messages', 366);
  await keeper.runOnce();
  for (const table of ['bookings', 'booking_changes', 'people', 'messages']) {
    assert.equal(await count(table), 0, table);
  }
  assert.deepEqual(await keeper.pruned(), {
    webhook_events: 1,
    messages: 1,
    bookings: 1,
    booking_changes: 1,
    people: 1,
  });
});

test('people stay while they have a booking or an address, or do not want messages', async () => {
  for (const [client, id] of [9, 10, 11, 12].entries()) {
    await receive(
      recordBody({ id: client + 1, data: { client: { id, name: 'Анна', phone: `7916000000${client}` } } }),
    );
  }
  await pipeline.settle();
  await pipeline.pool.query('DELETE FROM messages; DELETE FROM bookings WHERE client_id <> 9');
  await pipeline.pool.query(
    `INSERT INTO addresses (company_id, client_id, channel, address) VALUES (1, 10, 'telegram', '5');
     UPDATE people SET refuses = true WHERE client_id = 11`,
  );
  await age('people', 731);
  await upkeep().runOnce();
  const { rows } = await pipeline.pool.query('SELECT client_id AS id FROM people ORDER BY client_id');
  assert.deepEqual(
    rows.map(row => row.id),
    [9, 10, 11],
  );
});

/** Kept for longer than any of these days, and why. */
const KEPT = {
  'given to us by the person, who can be erased': ['addresses', 'chats', 'consents'],
  'the hash of an id, which keeps who was erased from coming back': ['erased_people'],
  'the salon’s, without its clients': [
    'companies',
    'company_hours',
    'company_keys',
    'company_secrets',
    'policies',
    'templates',
  ],
  'what the platform calls its things, without people': ['entities'],
  'work that is done and then gone': ['plan_requests', 'replans', 'rereads', 'sweeps'],
  'of the service itself': [
    ...['alert_watch', 'alerts', 'api_budget', 'drift', 'ears', 'migrations', 'receipt_givers', 'rejects'],
    ...['settings', 'shards', 'workers'],
  ],
};

test('of every table that tells of people what is old goes; a new table says why it is kept', async () => {
  const { pool } = pipeline;
  await receive(recordBody());
  await pipeline.settle();
  const about = { companyId: 1, acceptedAt: pipeline.now, dueAt: pipeline.now, requestId: newId() };
  await insertRelays(pool, about, [
    {
      ...{
        id: newId(),
        digest: Buffer.alloc(32),
        theirId: '501',
        phone: '+79160000001',
        text: 'Ваш код: 4711',
      },
      ...{ category: 'service', asked: null },
    },
  ]);
  const unread = { chat: '', kind: 'unread', raw: { phone: '+79160000001' } };
  await keepAside(pool, { channel: 'telegram', updateId: '1', said: unread, error: 'unread: TypeError' });
  const old = `'${new Date(pipeline.now - 800 * DAY).toISOString()}'::timestamptz`;
  await pool.query(`
    INSERT INTO messages (company_id, id, record_id, purpose, recipient, kind, planned_for, told_after, due_at) VALUES
      (1, gen_random_uuid(), NULL, 'batch', 'administrator:1', NULL, now(), NULL, now()),
      (1, gen_random_uuid(), 100, 'request', 'administrator:1', 'move_asked', NULL, '{}', now());
    UPDATE messages SET part_of = (SELECT id FROM messages WHERE purpose = 'batch') WHERE purpose = 'notice';
    UPDATE messages SET state = 'delivered', created_at = ${old}, updated_at = ${old};
    INSERT INTO actions (company_id, id, kind, record_id, message_id, recipient, channel, chat, state, due_at, created_at, updated_at)
      VALUES (1, gen_random_uuid(), 'confirm', 100, gen_random_uuid(), 'client:9', 'telegram', '5', 'done', ${old}, ${old}, ${old});
    INSERT INTO receipts (channel, provider_id, status, created_at) VALUES ('sms', '1', 'delivered', ${old});
    INSERT INTO reached (company_id, recipient, channel) VALUES (1, 'client:9', 'telegram');
    UPDATE reached SET delivered_at = ${old}, failed_at = NULL, day = ${old}::date;
    INSERT INTO team (company_id, role, staff_id, name, invite_hash, invited_until)
      VALUES (1, 'staff', 5, 'Ольга', decode(repeat('00', 32), 'hex'), ${old});
    UPDATE heard SET heard_at = ${old};
    INSERT INTO audit_log (actor, action, created_at) VALUES ('command', 'company.set', ${old} - interval '1 year');
    DELETE FROM audit_log WHERE created_at > ${old};
  `);
  for (const table of ['webhook_events', 'bookings', 'booking_changes', 'people']) await age(table, 800);
  const { rows } = await pool.query(
    "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
  );
  const kept = new Set(Object.values(KEPT).flat());
  const forgotten = rows.map(({ name }) => name).filter(name => !kept.has(name));
  for (const table of forgotten) assert.ok((await count(table)) > 0, `${table} has something that is old`);
  await upkeep().runOnce();
  for (const table of forgotten) assert.equal(await count(table), 0, table);
});

test('a booking that something touched lately stays, however long ago its visit was', async () => {
  await receive(recordBody());
  await pipeline.settle();
  await pipeline.pool.query('DELETE FROM messages');
  await age('bookings', 731);
  await pipeline.pool.query('UPDATE bookings SET updated_at = now()');
  await upkeep().runOnce();
  assert.equal(await count('bookings'), 1);
});

test('nothing is forgotten where 0 days are set, nor where nothing is old', async () => {
  await receive(recordBody());
  await pipeline.settle();
  assert.equal(await upkeep().runOnce(), 0);
  for (const table of ['webhook_events', 'messages', 'bookings', 'booking_changes', 'people']) {
    await age(table, 3_000);
  }
  assert.equal(await upkeep({ keep: { eventsDays: 0, messagesDays: 0, bookingsDays: 0 } }).runOnce(), 0);
});

test('a heap of old rows goes in batches', async () => {
  await receive(...Array.from({ length: 50 }, (_, index) => recordBody({ id: index + 1 })));
  await pipeline.settle();
  await age('webhook_events', 91);
  const keeper = upkeep({ batch: 2 });
  assert.equal(await keeper.runOnce(), 40, 'twenty batches in one run');
  assert.equal(await keeper.runOnce(), 10);
  assert.equal(await keeper.runOnce(), 0);
});

test('however the server plans it, no more goes at once, or is taken of the shards, than was asked for', async () => {
  await receive(...Array.from({ length: 20 }, (_, index) => recordBody({ id: index + 1 })));
  await pipeline.settle();
  await age('webhook_events', 91);
  await pipeline.pool.query(
    `INSERT INTO audit_log (actor, action, subject, created_at)
     SELECT 'command', 'x', n::text, now() - interval '4000 days' FROM generate_series(1, 20) n`,
  );
  const before = pipeline.now - DAY;
  await transaction(pipeline.pool, async db => {
    // What is left is a nested loop, which asks for its inner side again and again.
    for (const plan of [
      'hashagg',
      'hashjoin',
      'mergejoin',
      'sort',
      'material',
      'memoize',
      'indexscan',
      'bitmapscan',
    ])
      await db.query(`SET LOCAL enable_${plan} = off`);
    assert.equal(await pruneEvents(db, before, 3), 3);
    assert.equal(await pruneAudit(db, before, 3), 3);
    await db.query("UPDATE shards SET owner = NULL, leased_until = '-infinity'");
    assert.equal((await takeShards(db, newId(), 5, 60_000)).length, 5);
  });
});

test('while another process is at it, this one does nothing', async () => {
  await receive(recordBody());
  await pipeline.settle();
  await age('webhook_events', 91);
  await transaction(pipeline.pool, async db => {
    assert.ok(await claimUpkeep(db));
    assert.equal(await upkeep().runOnce(), 0);
  });
  assert.equal(await upkeep().runOnce(), 1);
});
