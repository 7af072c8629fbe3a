/** PostgreSQL killed with SIGKILL under a working service: the service says so, waits, and goes on by itself. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import pg from 'pg';
import { z } from 'zod';
import { startEmbedded } from '../../src/store/embedded.ts';
import { keyIsKnown } from '../blackbox/harness.ts';
import { record, wallClock } from '../blackbox/salon.ts';
import { freePorts, json, post, type Service, startService } from '../support/service.ts';
import { type Sink, startSink } from '../support/sink.ts';
import { until } from '../support/until.ts';

const KILLS = 5;
const COMPANY = 1001;
const WRITERS = 16;
const ACKNOWLEDGED_PER_ROUND = 100;
const PATIENCE_MS = 300_000;
const DATES = [wallClock(7, '10:30:00'), wallClock(8, '11:30:00'), wallClock(9, '12:30:00')];

type Books = {
  acknowledged: Set<string>;
  bookings: number;
  /** Answers by status; a status that is no business of a sender ends the test at once. */
  answers: Map<number, number>;
};

test('PostgreSQL killed under load: 503 meanwhile, nothing acknowledged is lost, nothing is said twice', async t => {
  const dataDir = await mkdtemp(join(tmpdir(), 'otklik-fault-'));
  const sink = await startSink();
  const ports = await freePorts();
  const env = {
    DATA_DIR: dataDir,
    RATE_PER_COMPANY: '100000',
    RATE_PER_ADDRESS: '100000',
    LOG_LEVEL: 'warn',
  };
  const start = () => startService('', { env, ports });
  let service: Service | undefined;
  t.after(async () => {
    await service?.stop();
    await sink.close();
    await rm(dataDir, { recursive: true, force: true });
  });
  service = await start();
  const { url } = await service.addCompany({
    companyId: COMPANY,
    settleMs: 0,
    route: ['webhook'],
    webhookUrl: sink.url,
  });
  await keyIsKnown(url);

  const books: Books = { acknowledged: new Set(), bookings: 0, answers: new Map() };
  let over = false;
  const salon = Promise.all(
    Array.from({ length: WRITERS }, async () => {
      while (!over) await liveOneBooking(url, books);
    }),
  );
  const acknowledgeMore = (what: string) => {
    const goal = books.acknowledged.size + ACKNOWLEDGED_PER_ROUND;
    return until(() => books.acknowledged.size >= goal, { what, timeoutMs: PATIENCE_MS });
  };
  for (let kill = 1; kill <= KILLS; kill += 1) {
    await acknowledgeMore(`there is work before kill ${kill}`);
    const refused = books.answers.get(503) ?? 0;
    process.kill(await postmasterPid(dataDir), 'SIGKILL');
    await until(() => (books.answers.get(503) ?? 0) > refused, {
      what: `a sender hears 503 after kill ${kill}`,
      timeoutMs: PATIENCE_MS,
    });
    await acknowledgeMore(`the service is back by itself after kill ${kill}`);
    assert.ok(!service.ended(), service.output());
  }
  over = true;
  await salon;
  const running = service;
  await until(() => isIdle(running), {
    what: 'all that was acknowledged is processed and said',
    timeoutMs: PATIENCE_MS,
  });
  await service.stop();

  await assertKept(dataDir, books);
  assertSaidOnce(sink, books);
  t.diagnostic(
    `${KILLS} kills, ${books.acknowledged.size} events acknowledged, ${books.bookings} bookings, ` +
      `${sink.byId().size} messages, answers ${JSON.stringify([...books.answers])}`,
  );
  service = await start();
  assert.equal(await isIdle(service), true);
});

/** A booking is made, moved twice and left. A body that is not acknowledged is sent again. */
async function liveOneBooking(url: string, books: Books): Promise<void> {
  books.bookings += 1;
  const id = books.bookings;
  for (const [step, date] of DATES.entries()) {
    const body = record(COMPANY, id, step === 0 ? 'create' : 'update', { date }, step);
    for (;;) {
      const answer = await post(url, body);
      books.answers.set(answer.status, (books.answers.get(answer.status) ?? 0) + 1);
      if (answer.status === 200) {
        books.acknowledged.add(z.object({ id: z.string() }).parse(json(answer)).id);
        break;
      }
      assert.equal(answer.status, 503, answer.body.toString());
      assert.ok(answer.headers['retry-after'], 'a 503 says when to come again');
    }
  }
}

async function isIdle(service: Service): Promise<boolean> {
  const lists = await Promise.all([
    ...['pending', 'waiting'].map(state => service.api('GET', `/events?state=${state}&limit=1`)),
    ...['due', 'sending'].map(state => service.api('GET', `/messages?state=${state}&limit=1`)),
  ]);
  return lists.every(
    answer =>
      answer.status === 200 &&
      z.object({ items: z.array(z.unknown()) }).parse(json(answer)).items.length === 0,
  );
}

async function assertKept(dataDir: string, { acknowledged }: Books): Promise<void> {
  const server = await startEmbedded({ dataDir, log: () => {} });
  const client = new pg.Client(server.url);
  try {
    await client.connect();
    const { rows } = await client.query<{ id: string; state: string }>(
      'SELECT id, state FROM webhook_events',
    );
    const kept = new Set(rows.map(({ id }) => id));
    assert.deepEqual(
      [...acknowledged].filter(id => !kept.has(id)),
      [],
      'acknowledged and lost',
    );
    assert.deepEqual(
      rows.filter(({ state }) => state !== 'done'),
      [],
      'not processed',
    );
  } finally {
    await client.end();
    await server.stop();
  }
}

const heard = z.object({
  recordId: z.number(),
  after: z.object({ status: z.literal('booked'), startsLocal: z.string() }),
});

function assertSaidOnce(sink: Sink, { bookings }: Books): void {
  const byId = sink.byId();
  for (const [id, tries] of byId) {
    // The number of the try is all that may differ.
    const [first, ...again] = tries.map(({ bytes }) => ({ ...JSON.parse(bytes.toString()), attempt: 0 }));
    for (const repeat of again) assert.deepEqual(repeat, first, `${id} was repeated with another content`);
  }
  const told = Map.groupBy(
    [...byId.values()].flatMap(([delivery]) =>
      delivery ? [heard.parse(JSON.parse(delivery.bytes.toString()))] : [],
    ),
    ({ recordId }) => recordId,
  );
  for (let id = 1; id <= bookings; id += 1) {
    const dates = told.get(id)?.map(({ after }) => after.startsLocal) ?? [];
    assert.deepEqual(dates, [...new Set(dates)].sort(), `booking ${id}: each fact once and in order`);
    assert.equal(dates.at(-1), DATES.at(-1)?.replace(' ', 'T'), `booking ${id}: the last telling`);
  }
}

async function postmasterPid(dataDir: string): Promise<number> {
  const [pid] = (await readFile(join(dataDir, 'postgres/postmaster.pid'), 'utf8')).split('\n');
  return Number(pid);
}
