/**
 * How fast a backlog is worked off, with full merging: bookings made, moved, given other services and confirmed.
 * The events come in through the real receiver; then one process with the role `process` alone is started, and the
 * clock runs from that start until nothing is pending and every reminder is planned. Afterwards the database tells whether each record's events
 * took effect in the order of their arrival.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { Pool } from 'undici';
import { companyId, setUpOtklik } from './otklik.ts';
import { startPostgres } from './postgres.ts';
import { type RecordState, recordWebhook, zone } from './records.ts';
import { type Bench, progress, type Result, runBench, wholeNumber } from './run.ts';
import { round } from './statistics.ts';

const eventsPerRecord = 5;
/** An event of a record stands this many places behind the one before, give or take `jitter`. */
const stride = 2_500;
const jitter = 1_000;
const connections = 64;
const pollMs = 250;
/** Far beyond any acceptable run: then the backlog counts as not worked off. */
const patienceMs = 600_000;
const hourMs = 3_600_000;

type PlannedEvent = {
  place: number;
  body: string;
};

async function measure(bench: Bench, events: number): Promise<Result> {
  const postgres = await startPostgres(bench);
  const databaseUrl = await postgres.createDatabase('bench_process');
  // No dispatcher runs, so nothing is sent; the notices are still worked out and written.
  const otklik = await setUpOtklik({ databaseUrl, zone, sinkUrl: 'http://127.0.0.1:9/' });

  const receiver = await otklik.serve('receive');
  bench.onEnd(receiver.stop);
  progress(`filling the inbox with ${events} events of ${events / eventsPerRecord} records`);
  await postAll(bench, otklik.webhookUrl, planEvents(events / eventsPerRecord));
  await receiver.stop();

  const database = new pg.Client({ connectionString: databaseUrl });
  await database.connect();
  bench.onEnd(() => database.end());
  const backlog = await count(database, `SELECT count(*) FROM webhook_events WHERE state = 'pending'`);
  if (backlog !== events) throw new Error(`${events} events were posted and ${backlog} are pending`);
  await postgres.checkpoint();

  const startedAt = performance.now();
  const processor = await otklik.serve('process');
  bench.onEnd(processor.stop);
  await untilWorkedOff(database);
  const seconds = (performance.now() - startedAt) / 1000;
  await processor.stop();
  return report(database, events, seconds);
}

/**
 * Each record: made, moved, its services read in another order (which is no change), moved again to other staff with
 * one more service, confirmed. The records' events are interleaved, some 2,500 places apart.
 */
function planEvents(records: number): PlannedEvent[] {
  const now = Date.now();
  const [haircut, beard, wash] = [5_034_676, 5_034_677, 5_034_678];
  const places = records + eventsPerRecord * stride;
  const events: PlannedEvent[] = [];

  for (let record = 0; record < records; record += 1) {
    const visitAtMs = now + (24 + (record % 700)) * hourMs;
    const made: RecordState = {
      recordId: 400_000_000 + record,
      clientId: 500_000_000 + (record % Math.ceil(records / 3)),
      status: 'create',
      staffId: 2_800_000 + (record % 25),
      serviceIds: [haircut, beard],
      attendance: 0,
      startsAtMs: visitAtMs,
      createdAtMs: 0,
      changedAtMs: 0,
    };
    const moved: RecordState = { ...made, status: 'update', startsAtMs: visitAtMs + 2 * hourMs };
    const reordered: RecordState = { ...moved, serviceIds: [beard, haircut] };
    const staffId = 2_800_000 + ((record + 1) % 25);
    const services = [wash, haircut, beard];
    const movedAgain: RecordState = {
      ...moved,
      startsAtMs: visitAtMs + 26 * hourMs,
      staffId,
      serviceIds: services,
    };
    const confirmed: RecordState = { ...movedAgain, attendance: 2 };

    const placeOf = (step: number) => record + step * stride + ((record * 7919 + step * 104_729) % jitter);
    // The day before, in the order of the places: versions of one record are at least minutes apart.
    const instantOf = (place: number) => now - 24 * hourMs + Math.floor((place / places) * 23 * hourMs);
    for (const [step, state] of [made, moved, reordered, movedAgain, confirmed].entries()) {
      const place = placeOf(step);
      const dates = { createdAtMs: instantOf(placeOf(0)), changedAtMs: instantOf(place) };
      events.push({ place, body: recordWebhook(companyId, { ...state, ...dates }) });
    }
  }
  return events.toSorted((a, b) => a.place - b.place);
}

async function postAll(bench: Bench, webhookUrl: string, events: PlannedEvent[]): Promise<void> {
  const { origin, pathname } = new URL(webhookUrl);
  const client = new Pool(origin, { connections, pipelining: 1 });
  bench.onEnd(() => client.destroy());
  const headers = { 'content-type': 'application/json' };
  // One iterator shared by all: two events of a record are never under way at once.
  const queue = events.values();
  const postInTurn = async () => {
    for (const { body } of queue) {
      const answer = await client.request({ path: pathname, method: 'POST', headers, body });
      await answer.body.dump();
      if (answer.statusCode !== 200) throw new Error(`a webhook was answered ${answer.statusCode}`);
    }
  };
  await Promise.all(Array.from({ length: connections }, postInTurn));
}

async function untilWorkedOff(database: pg.Client): Promise<void> {
  const deadline = performance.now() + patienceMs;
  const open = `SELECT count(*) FROM (
    (SELECT FROM webhook_events WHERE state IN ('pending', 'waiting') LIMIT 1)
    UNION ALL (SELECT FROM plan_requests LIMIT 1)) o`;
  while (performance.now() < deadline) {
    if ((await count(database, open)) === 0) return;
    await sleep(pollMs);
  }
  progress(`gave up after ${patienceMs / 1000} s`);
}

async function report(database: pg.Client, events: number, seconds: number): Promise<Result> {
  const done = await count(database, `SELECT count(*) FROM webhook_events WHERE state = 'done'`);
  const violations = await countOrderViolations(database);
  const wrong = await countWrongBookings(database);
  const figures = {
    events: done,
    per_s: round(done / seconds, 0),
    order_violations: violations,
    unprocessed: events - done,
    wrong_bookings: wrong,
    seconds: round(seconds, 2),
  };
  const table = [
    `${done} events in ${figures.seconds} s: ${figures.per_s} a second`,
    `order violations ${violations}, not processed ${figures.unprocessed}, bookings not as last told ${wrong}`,
  ].join('\n');
  return { figures, table, ok: violations === 0 && wrong === 0 && done === events };
}

/**
 * Three looks at the same promise. Versions rise with arrival here, so an event out of turn is one that found a newer
 * version (`stale`), or a change whose version is older than the one written before it, or an event marked done
 * earlier than one that came before it.
 */
async function countOrderViolations(database: pg.Client): Promise<number> {
  const stale = await count(database, `SELECT count(*) FROM webhook_events WHERE effect = 'stale'`);
  const changes = await count(
    database,
    `SELECT count(*) FROM (
       SELECT changed_at, lag(changed_at) OVER (PARTITION BY company_id, record_id ORDER BY id) AS before
       FROM booking_changes) c
     WHERE before > changed_at`,
  );
  const marks = await count(
    database,
    `SELECT count(*) FROM (
       SELECT processed_at,
         lag(processed_at) OVER (PARTITION BY company_id, resource, resource_id ORDER BY seq) AS before
       FROM webhook_events) e
     WHERE before > processed_at`,
  );
  return stale + changes + marks;
}

/** Records whose booking is not what their last event says. */
async function countWrongBookings(database: pg.Client): Promise<number> {
  return count(
    database,
    `SELECT count(*) FROM (
       SELECT DISTINCT ON (company_id, resource_id) company_id, resource_id, payload->'data' AS data
       FROM webhook_events ORDER BY company_id, resource_id, seq DESC) last
     LEFT JOIN bookings b ON b.company_id = last.company_id AND b.record_id = last.resource_id
     WHERE b.starts_local IS DISTINCT FROM (last.data->>'date')::timestamp
       OR b.staff_id IS DISTINCT FROM (last.data->>'staff_id')::bigint
       OR b.attendance IS DISTINCT FROM (last.data->>'attendance')::smallint
       OR jsonb_array_length(b.services) IS DISTINCT FROM jsonb_array_length(last.data->'services')`,
  );
}

async function count(database: pg.Client, query: string): Promise<number> {
  const { rows } = await database.query<{ count: string }>(query);
  return Number(rows[0]?.count);
}

const { values: flags } = parseArgs({
  options: { json: { type: 'boolean', default: false }, events: { type: 'string', default: '100000' } },
});

await runBench(flags.json, bench => {
  const asked = wholeNumber('events', flags.events, 1_000_000);
  return measure(bench, Math.max(1_000, Math.round(asked / eventsPerRecord)) * eventsPerRecord);
});
