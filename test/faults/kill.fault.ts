/** The service killed with SIGKILL at random moments while a salon is at work, and started again on the same database. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type pg from 'pg';
import { z } from 'zod';
import { createRandom, type Random } from '../../src/simulator/random.ts';
import { keyIsKnown } from '../blackbox/harness.ts';
import { record, wallClock } from '../blackbox/salon.ts';
import { testDatabase } from '../support/database.ts';
import { leftToDo, letLeasesPass, type Shift, say } from '../support/kills.ts';
import { freePorts, type Service, startService } from '../support/service.ts';
import { type Delivery, startSink } from '../support/sink.ts';
import { until } from '../support/until.ts';

const SEED = 20_260;
const ROUNDS = 20;
const COMPANY = 1001;
const WRITERS = 16;
/** Acknowledged in one round before the kill. */
const LEAST = 20;
const MOST = 150;
/** So that a kill finds messages that have gone out and are not answered. */
const SINK_DELAY_MS = 5;
const PATIENCE_MS = 300_000;

/** What the salon's last acknowledged body said of one booking. */
type Truth = { date: string; cancelled: boolean };
type Books = { truths: Map<number, Truth>; acknowledged: Set<string>; bookings: number };

const facts = z.object({ status: z.enum(['booked', 'cancelled']), startsLocal: z.string() });
const heardOf = z.object({ recordId: z.number(), after: facts });
type Heard = z.infer<typeof heardOf>;

test('kill -9 at random moments under load loses no acknowledged event and doubles no message', async t => {
  const database = await testDatabase();
  const sink = await startSink({ delayMs: SINK_DELAY_MS });
  const ports = await freePorts();
  const env = { RATE_PER_COMPANY: '100000', RATE_PER_ADDRESS: '100000', LOG_LEVEL: 'warn' };
  const start = () => startService(database.url, { env, ports });
  let service: Service | undefined;
  const shift: Shift = { up: true, over: false };
  t.after(async () => {
    shift.over = true;
    await service?.kill9();
    await Promise.all([sink.close(), database.close()]);
  });
  service = await start();
  const { url } = await service.addCompany({
    companyId: COMPANY,
    settleMs: 0,
    route: ['webhook'],
    webhookUrl: sink.url,
  });
  await keyIsKnown(url);

  const books: Books = { truths: new Map(), acknowledged: new Set(), bookings: 0 };
  const random = createRandom(SEED);
  const salon = Promise.all(
    Array.from({ length: WRITERS }, async (_, index) => {
      const own = createRandom(SEED + index + 1);
      while (!shift.over) await liveOneBooking(url, books, own, shift);
    }),
  );
  let inDoubt = 0;
  for (let round = 1; round <= ROUNDS; round += 1) {
    const goal = books.acknowledged.size + random.integer(LEAST, MOST);
    await until(() => books.acknowledged.size >= goal, {
      what: `round ${round} has its events`,
      timeoutMs: PATIENCE_MS,
    });
    shift.up = false;
    await service.kill9();
    inDoubt += (await letLeasesPass(database.pool)).length;
    service = await start();
    shift.up = true;
  }
  shift.over = true;
  // The last bookings are lived to their end, so that what was acknowledged last is known.
  await salon;

  await until(async () => (await leftToDo(database.pool)) === 0, {
    what: 'all that was acknowledged is processed and said',
    timeoutMs: PATIENCE_MS,
  });
  await assertKept(database.pool, books);
  const repeats = assertSaidOnce(sink.byId());
  assertLastTold(books, sink.byId());
  t.diagnostic(
    `seed ${SEED}: ${ROUNDS} kills, ${books.acknowledged.size} events acknowledged, ${books.bookings} bookings, ` +
      `${sink.byId().size} messages, ${inDoubt} in flight at a kill, ${repeats} repeated under their own id`,
  );
  assert.ok(inDoubt > 0, 'no kill found a message in flight: the load is too light to show anything');
});

/** A booking is made, changed a few times and left: what was said of it last has to survive every later kill. */
async function liveOneBooking(url: string, books: Books, random: Random, shift: Shift): Promise<void> {
  books.bookings += 1;
  const id = books.bookings;
  const steps = random.integer(1, 5);
  for (let step = 0; step < steps; step += 1) {
    const cancelled = step > 0 && random.chance(0.25);
    const truth = { date: dateOf(step), cancelled };
    const body = record(
      COMPANY,
      id,
      step === 0 ? 'create' : 'update',
      { date: truth.date, attendance: cancelled ? -1 : 0, comment: `${id}.${step}` },
      step,
    );
    const mayGoOn = step < steps - 1 && random.chance(0.5);
    const eventId = await say(url, body, mayGoOn, shift);
    if (eventId === undefined) continue;
    books.acknowledged.add(eventId);
    books.truths.set(id, truth);
  }
}

/** Each step of a booking has a day and hour of its own, so that no two tellings can be mistaken. */
function dateOf(step: number): string {
  return wallClock(7 + step, `${10 + step}:30:00`);
}

async function assertKept(pool: pg.Pool, books: Books): Promise<void> {
  const { rows } = await pool.query<{ id: string; state: string }>('SELECT id, state FROM webhook_events');
  const states = new Map(rows.map(({ id, state }) => [id, state]));
  assert.deepEqual(
    [...books.acknowledged].filter(id => !states.has(id)),
    [],
    'acknowledged and lost',
  );
  assert.deepEqual(
    rows.filter(({ state }) => state !== 'done'),
    [],
    'not processed',
  );
  // What was in flight at a kill and is no longer true is not repeated: it stays in doubt and the newer truth is told.
  const { rows: astray } = await pool.query(
    `SELECT state, error, attempts, count(*)::integer FROM messages AS message
     WHERE state NOT IN ('sent', 'superseded') AND NOT (state = 'unknown' AND EXISTS (
       SELECT FROM messages AS later WHERE later.state = 'sent'
       AND later.record_id = message.record_id AND later.step > message.step))
     GROUP BY 1, 2, 3`,
  );
  assert.deepEqual(astray, [], 'messages that did not go out');
}

/** Answers how many deliveries were repeats of an id. */
function assertSaidOnce(byId: Map<string, Delivery[]>): number {
  let repeats = 0;
  for (const [id, tries] of byId) {
    repeats += tries.length - 1;
    // The number of the try is all that may differ.
    const [first, ...again] = tries.map(({ bytes }) => ({ ...JSON.parse(bytes.toString()), attempt: 0 }));
    for (const repeat of again) assert.deepEqual(repeat, first, `${id} was repeated with another content`);
  }
  for (const [recordId, told] of tellings(byId)) {
    const dates = told.map(({ after }) => after.startsLocal);
    // Every step of a booking moves it to a later hour.
    assert.deepEqual(dates, [...new Set(dates)].sort(), `booking ${recordId}: each fact once and in order`);
  }
  return repeats;
}

function assertLastTold(books: Books, byId: Map<string, Delivery[]>): void {
  const told = tellings(byId);
  for (const [recordId, { date, cancelled }] of books.truths) {
    const last = told.get(recordId)?.at(-1)?.after;
    if (cancelled) {
      // A booking that was cancelled before anything was said of it is never spoken of.
      assert.notEqual(
        last?.status,
        'booked',
        `booking ${recordId} was cancelled and its client was not told`,
      );
      continue;
    }
    assert.ok(last, `booking ${recordId} was never told`);
    assert.deepEqual(
      { status: last.status, startsLocal: last.startsLocal },
      { status: 'booked', startsLocal: date.replace(' ', 'T') },
      `booking ${recordId}: the last telling`,
    );
  }
}

/** By booking, in the order they came; one for each id. */
function tellings(byId: Map<string, Delivery[]>): Map<number, Heard[]> {
  const first = [...byId.values()].flatMap(([delivery]) =>
    delivery ? [heardOf.parse(JSON.parse(delivery.bytes.toString()))] : [],
  );
  return Map.groupBy(first, ({ recordId }) => recordId);
}
