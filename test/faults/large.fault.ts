/** Forgetting where a salon has lived for years: all that is old, nothing that is young, and quickly when there is nothing. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { createLog } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import { erasePerson } from '../../src/salon/erase.ts';
import { createPool } from '../../src/store/pool.ts';
import { createVault } from '../../src/vault.ts';
import { createUpkeep } from '../../src/work/upkeep.ts';
import { createPipeline, type Pipeline, recordBody } from '../work/pipeline.ts';

const EVENTS = 300_000;
const BOOKINGS = 100_000;
const CLIENTS = 20_000;
const OLD_DAYS = 1_000;
const COMPANY = 1;
const MOST_IDLE_MS = 10_000;

let pipeline: Pipeline;
before(async () => {
  pipeline = await createPipeline();
  await pipeline.addCompany({ companyId: COMPANY });
  const db = new pg.Client(pipeline.url);
  await db.connect();
  await fill(db);
  await db.end();
});
after(() => pipeline.close());

/** Two thirds of everything are older than all that is kept. */
async function fill(db: pg.Client): Promise<void> {
  const template = JSON.parse(recordBody({ id: 1, companyId: COMPANY }));
  const at = `now() - make_interval(days => CASE WHEN n % 3 = 0 THEN 1 ELSE ${OLD_DAYS} END)`;
  const client = `1 + n % ${CLIENTS}`;
  const statements = [
    `INSERT INTO webhook_events (id, event_id, event_type, company_id, body, created_at, processed_at, resource, resource_id, status, source, state)
     SELECT gen_random_uuid(), 'large:' || n, 'record.update', ${COMPANY},
       jsonb_set($1::jsonb, '{data,client}', jsonb_build_object('id', ${client}, 'name', 'Имя' || ${client},
         'phone', (79160000000 + ${client})::text))::json,
       ${at}, ${at}, 'record', 1 + n % ${BOOKINGS}, 'update', 'webhook', 'done'
     FROM generate_series(1, ${EVENTS}) n`,
    `INSERT INTO people (company_id, client_id, name, phone, name_version, phone_version)
     SELECT ${COMPANY}, n, 'Имя' || n, '+' || (79160000000 + n), ${at}, ${at} FROM generate_series(1, ${CLIENTS}) n`,
    `INSERT INTO bookings (company_id, record_id, client_id, client_known, starts_at, state, version, told, created_at, updated_at)
     SELECT ${COMPANY}, n, ${client}, true, ${at}, 'waiting', ${at},
       jsonb_build_object('client:' || (${client}), jsonb_build_object('step', 1)), ${at}, ${at}
     FROM generate_series(1, ${BOOKINGS}) n`,
    `INSERT INTO booking_changes (company_id, record_id, event_id, kind, changed_at, created_at)
     SELECT ${COMPANY}, n, gen_random_uuid(), 'created', ${at}, ${at} FROM generate_series(1, ${BOOKINGS}) n`,
    `INSERT INTO messages (company_id, id, record_id, purpose, recipient, state, due_at, kind, channel, subject, body, created_at, updated_at, sent_at)
     SELECT ${COMPANY}, gen_random_uuid(), n, 'notice', 'client:' || (${client}), 'sent', ${at}, 'booked', 'console', 'Запись',
       'Имя' || (${client}) || ', вы записаны. Ждём вас! / Когда: 25 ноября, среда, 17:15 / Мастер: Олег', ${at}, ${at}, ${at}
     FROM generate_series(1, ${BOOKINGS}) n`,
    `INSERT INTO attempts (company_id, message_id, number, channel, started_at, finished_at, outcome)
     SELECT company_id, id, 1, 'console', created_at, created_at, 'sent' FROM messages`,
  ];
  for (const [index, statement] of statements.entries()) {
    await db.query(statement, index === 0 ? [JSON.stringify(template)] : []);
  }
  for (const table of ['webhook_events', 'people', 'bookings', 'booking_changes', 'messages', 'attempts']) {
    await db.query(`ANALYZE ${table}`);
  }
}

test('a person is found among all of them and erased', async t => {
  const vault = createVault(randomBytes(32));
  const pool = createPool(pipeline.url, { max: 2, name: 'erase', statementTimeoutMs: 600_000 });
  t.after(() => pool.end());
  const began = performance.now();
  const erasure = await erasePerson({ pool, vault, actor: 'command' }, { companyId: COMPANY, clientId: 7 });
  t.diagnostic(`erased among ${EVENTS} events in ${Math.round(performance.now() - began)} ms`);
  assert.equal(erasure.rows.webhook_events, EVENTS / CLIENTS);
  assert.deepEqual(erasure.left, []);
});

test('what is old goes, what is young stays, and finding nothing is quick', async t => {
  const upkeep = createUpkeep({
    ...{ pool: pipeline.pool, log: createLog('silent'), metrics: createMetrics(), now: Date.now },
    keep: { eventsDays: 90, messagesDays: 365, bookingsDays: 730, deadDays: 730, auditDays: 730 },
  });
  const began = performance.now();
  let gone = 0;
  for (let count = -1; count !== 0; gone += count) count = await upkeep.runOnce();
  const tookMs = performance.now() - began;
  const idle = performance.now();
  await upkeep.runOnce();
  const idleMs = performance.now() - idle;
  t.diagnostic(`${gone} rows in ${Math.round(tookMs)} ms; a run that finds nothing ${Math.round(idleMs)} ms`);
  assert.ok(idleMs < Math.max(MOST_IDLE_MS, tookMs / 4), `${Math.round(idleMs)} ms to find nothing`);
  const { rows } = await pipeline.pool.query(
    `SELECT (SELECT count(*)::int FROM webhook_events WHERE event_id LIKE 'large:%') AS events,
       (SELECT count(*)::int FROM webhook_events WHERE event_id LIKE 'large:%' AND created_at < now() - interval '90 days') AS old,
       (SELECT count(*)::int FROM bookings WHERE starts_at < now() - interval '730 days' AND updated_at < now() - interval '730 days') AS visits,
       (SELECT count(*)::int FROM messages WHERE created_at < now() - interval '365 days') AS messages`,
  );
  assert.deepEqual(rows, [{ events: EVENTS / 3, old: 0, visits: 0, messages: 0 }]);
});
