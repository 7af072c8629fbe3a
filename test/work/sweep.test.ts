/** Sweeps: the silent first import, what the platform's moods do to them, absences, and moving from polling to webhooks. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { parseServiceState } from '../../src/simulator/verdict.ts';
import { compare, isClean } from '../../src/simulator/verify.ts';
import { moveToWebhooks, setReading } from '../../src/store/companies.ts';
import { type Coverage, readCoverage } from '../../src/store/coverage.ts';
import { hastenSweeps } from '../../src/store/sweeps.ts';
import { listToldNotices, summariseBookings } from '../../src/store/views.ts';
import { ApiError, type ApiTrouble } from '../../src/yclients/api.ts';
import { createPipeline, type Pipeline } from './pipeline.ts';
import { apiOver, type SalonApi, type SalonStory, tellStory } from './salon-api.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const START = Date.UTC(2031, 2, 10, 8);

let pipeline: Pipeline;
beforeEach(async () => {
  pipeline = await createPipeline();
  pipeline.now = START - 10_000;
});
afterEach(() => pipeline.close());

type StoryOptions = Partial<Parameters<typeof tellStory>[0]>;

function story(options: StoryOptions = {}): SalonStory {
  const gapMs: Parameters<typeof tellStory>[0]['gapMs'] = random => random.integer(30_000, 90_000);
  return tellStory({ seed: 1, companyId: 1, startMs: START, actions: 0, gapMs, ...options });
}

/** A salon of our own: added, and read for the first time. */
async function imported(told: SalonStory, company: Parameters<Pipeline['addCompany']>[0] = { companyId: 1 }) {
  const api = apiOver(told, () => pipeline.now);
  const reconciler = pipeline.reconciler(async () => api);
  await pipeline.addCompany({ zone: told.zone, knownSince: pipeline.now, ...company });
  await reconciler.drain();
  await pipeline.settle();
  return { api, reconciler };
}

async function coverage(companyId = 1): Promise<Coverage> {
  const [row] = await readCoverage(pipeline.pool, pipeline.now, companyId);
  assert.ok(row);
  return row;
}

async function sourceOf(companyId = 1): Promise<string> {
  return (await coverage(companyId)).source;
}

const kinds = () => pipeline.sent.map(message => message.notice?.kind);

test('a new company with 5,000 bookings: nobody is told, an interrupted import goes on where it was', async () => {
  const told = story({ known: 5_000 });
  const api = apiOver(told, () => pipeline.now);
  await pipeline.addCompany({ companyId: 1, zone: told.zone, knownSince: pipeline.now });
  let calls = 0;
  api.trouble = () => (++calls === 9 ? new ApiError('unavailable', 'the API is down') : undefined);
  const first = pipeline.reconciler(async () => api);
  await first.drain();
  await first.stop();
  const halfway = await coverage();
  assert.equal(halfway.api, 'importing');
  assert.deepEqual(halfway.progress, { kind: 'baseline', pages: 8, read: 1_600, found: 1_600 });
  assert.equal(halfway.error, 'the API is down');

  pipeline.now += MINUTE_MS;
  api.asked.length = 0;
  const second = pipeline.reconciler(async () => api);
  await second.drain();
  await second.stop();
  assert.equal(api.asked[0], 'records 9');
  assert.equal((await coverage()).api, 'ready');
  await pipeline.settle();
  pipeline.now += HOUR_MS;
  await pipeline.settle();
  assert.equal(pipeline.sent.length, 0);
  const { rows } = await pipeline.pool.query<{ n: number }>('SELECT count(*) AS n FROM bookings');
  assert.ok((rows[0]?.n ?? 0) > 4_000);
  assert.deepEqual(
    [(await coverage()).missed, (await coverage()).webhooks],
    [0, 0],
    'what was there before is not missed',
  );
});

test('a thousand companies without access to the API hide none behind them that has it', async () => {
  await pipeline.addCompany({ companyId: 1 });
  await pipeline.pool.query(
    `INSERT INTO companies SELECT (jsonb_populate_record(c, jsonb_build_object('company_id', number))).*
     FROM companies c, generate_series(2, 1000) AS number`,
  );
  const told = story({ companyId: 1_001, known: 5 });
  await pipeline.addCompany({ companyId: 1_001, zone: told.zone });
  const api = apiOver(told, () => pipeline.now);
  const reconciler = pipeline.reconciler(async companyId => (companyId === 1_001 ? api : undefined));
  await reconciler.drain();
  pipeline.now += 5_000;
  await reconciler.drain();
  await reconciler.stop();
  assert.equal((await coverage(1_001)).api, 'ready');
});

test('an emptied database with the same company added again: nobody is told, and what is made then is news', async () => {
  const told = story({ known: 40, actions: 60 });
  const { reconciler } = await imported(told);
  for (pipeline.now = START; pipeline.now < START + 20 * MINUTE_MS; pipeline.now += 15 * MINUTE_MS) {
    await reconciler.drain();
    await pipeline.settle();
  }
  await reconciler.stop();
  assert.ok(pipeline.sent.length > 0);
  await pipeline.pool.query(
    'TRUNCATE companies, company_keys, company_secrets, sweeps, rereads, webhook_events, bookings, booking_changes, people, messages, attempts CASCADE',
  );
  pipeline.sent.length = 0;

  const again = await imported(told);
  pipeline.now += 1_000;
  await again.reconciler.drain();
  await pipeline.settle();
  assert.deepEqual(kinds(), []);
  const since = pipeline.now;
  pipeline.now = told.endsAt + MINUTE_MS;
  await again.reconciler.drain();
  await pipeline.settle();
  const made = [...told.states.values()].filter(([first]) => (first?.at ?? 0) > since).length;
  assert.ok(made > 3 && kinds().includes('booked'), `${made} were made, told: ${kinds()}`);
});

test('from polling to webhooks to both during traffic: no difference is lost or told twice', {
  timeout: 120_000,
}, async () => {
  const seeds = [1, 2, 3];
  const stories = seeds.map(seed => story({ seed, companyId: seed, actions: 60, faults: ['empty_array'] }));
  const apis = stories.map(told => apiOver(told, () => pipeline.now));
  const reconciler = pipeline.reconciler(async companyId => apis[companyId - 1]);
  for (const { companyId, zone } of stories) {
    await pipeline.addCompany({ companyId, zone, settleMs: 2_000, knownSince: pipeline.now, source: 'poll' });
  }
  await reconciler.drain();
  await pipeline.settle();
  const end = Math.max(...stories.map(({ endsAt }) => endsAt)) + 20 * MINUTE_MS;
  const third = (end - START) / 3;
  const delivered = stories.map(({ webhooks }) =>
    webhooks.map(webhook => ({ webhook, body: webhook.body, receivedAt: webhook.at + 200 })),
  );
  const stepMs = MINUTE_MS;
  for (let from = START; from < end; from += stepMs) {
    if (from === START + Math.round(third / stepMs) * stepMs) assert.equal(await sourceOf(1), 'poll');
    if (from === START + Math.round((2 * third) / stepMs) * stepMs) {
      assert.equal(await sourceOf(1), 'webhook');
      for (const companyId of seeds) await setReading(pipeline.pool, companyId, { source: 'both' });
      for (const companyId of seeds) await hastenSweeps(pipeline.pool, companyId, from);
    }
    for (const [index, { companyId }] of stories.entries()) {
      // The webhook is approved after a third of the time; nothing came by it before.
      const due = (delivered[index] ?? []).filter(
        ({ receivedAt }) => receivedAt >= START + third && receivedAt >= from && receivedAt < from + stepMs,
      );
      if (due.length > 0) await pipeline.receive(companyId, due);
    }
    pipeline.now = from + stepMs;
    await reconciler.drain();
    await pipeline.settle();
  }
  pipeline.now += MINUTE_MS;
  await pipeline.settle();
  for (const [index, told] of stories.entries()) {
    const heard = (delivered[index] ?? []).filter(({ receivedAt }) => receivedAt >= START + third);
    const ledger = told.ledger(heard);
    const known = new Set(ledger.records.map(record => record.recordId));
    const at = START - 5_000;
    const records = ledger.records.map(record => ({
      ...record,
      states: record.states.map((state, place) =>
        record.known && place === 0
          ? { ...state, carries: 'everything' as const, firstSentAt: at, firstAnsweredAt: at }
          : state,
      ),
    }));
    const bookings = (await summariseBookings(pipeline.pool, told.companyId)).filter(one =>
      known.has(one.recordId),
    );
    const messages = await listToldNotices(pipeline.pool, told.companyId);
    const state = parseServiceState({ bookings, messages });
    const verdict = compare({ ...ledger, records }, state, {
      checkedAt: pipeline.now,
      slackMs: 2 * MINUTE_MS,
    });
    assert.ok(isClean(verdict), `company ${told.companyId}: ${JSON.stringify(verdict, null, 1)}`);
    assert.ok(verdict.told_once > 10);
  }
  const { rows } = await pipeline.pool.query(
    "SELECT company_id FROM audit_log WHERE action = 'company.webhooks_began'",
  );
  assert.equal(rows.length, seeds.length, 'each moved over by itself, once');
  assert.deepEqual(await moveToWebhooks(pipeline.pool, seeds), []);
  await reconciler.stop();
});

/** Lets time pass in minutes, with everything running; returns the calls made. */
async function pass(minutes: number, reconciler: { drain(): Promise<void> }, api: SalonApi): Promise<number> {
  const before = api.asked.length;
  for (let minute = 0; minute < minutes; minute += 1) {
    pipeline.now += MINUTE_MS;
    await reconciler.drain();
  }
  await pipeline.settle();
  return api.asked.length - before;
}

const failing = (trouble: ApiTrouble, retryAfterMs?: number) => () =>
  new ApiError(trouble, `the API says ${trouble}`, { retryAfterMs });

test('the API down for ten minutes: the watermark waits, and what changed meanwhile is found within two minutes', async () => {
  const told = story({ actions: 40 });
  const { api, reconciler } = await imported(told, { companyId: 1, source: 'poll' });
  pipeline.now = START;
  await pass(5, reconciler, api);
  const before = await coverage();
  api.trouble = failing('unavailable');
  const calls = await pass(10, reconciler, api);
  assert.ok(calls >= 5 && calls <= 12, `${calls} calls while it was down`);
  const during = await coverage();
  assert.equal(during.error, 'the API says unavailable');
  assert.equal(during.lastSweepAt, before.lastSweepAt);
  const said = pipeline.sent.length;
  api.trouble = undefined;
  await pass(3, reconciler, api);
  assert.ok(pipeline.sent.length > said, 'what changed while it was down is told');
  assert.equal((await coverage()).error, null);
  const made = [...told.states].filter(([, states]) =>
    states.some(({ at }) => at >= START && at <= pipeline.now),
  );
  const { rows } = await pipeline.pool.query<{ record_id: number }>('SELECT record_id FROM bookings');
  const ours = new Set(rows.map(row => row.record_id));
  assert.deepEqual(
    made.map(([recordId]) => recordId).filter(recordId => !ours.has(recordId)),
    [],
  );
});

test('after an hour of our own downtime the comparison runs at once', async () => {
  const told = story({ actions: 60, known: 0 });
  const { reconciler } = await imported(told);
  await reconciler.stop();
  assert.deepEqual(kinds(), []);
  pipeline.now = told.endsAt;
  const made = told.states.size;
  assert.ok(made > 5);
  const back = pipeline.reconciler(async () => apiOver(told, () => pipeline.now));
  await back.drain();
  await pipeline.settle();
  const { rows } = await pipeline.pool.query('SELECT FROM bookings');
  assert.equal(rows.length, made);
  assert.ok(kinds().includes('booked'));
  await back.stop();
});

test('more companies than can be asked each minute are late by the same, and how late is shown', async () => {
  const companies = [1, 2, 3, 4, 5, 6];
  const apis = companies.map(companyId => apiOver(story({ companyId, known: 3 }), () => pipeline.now));
  // Each call takes half a minute: six companies take three, a call that waits for another included.
  for (const api of apis) {
    api.trouble = () => {
      pipeline.now += 30_000;
      return undefined;
    };
  }
  const reconciler = pipeline.reconciler(async companyId => apis[companyId - 1]);
  for (const companyId of companies) {
    await pipeline.addCompany({ companyId, source: 'poll', knownSince: pipeline.now });
  }
  await reconciler.drain(START + HOUR_MS);
  const shown = await Promise.all(companies.map(coverage));
  for (const { companyId, intervalMs, lastIntervalMs, lastSweepAt } of shown) {
    assert.equal(intervalMs, MINUTE_MS);
    assert.ok(
      lastIntervalMs !== null && lastIntervalMs >= MINUTE_MS,
      `company ${companyId} was asked after ${lastIntervalMs} ms`,
    );
    assert.ok(lastSweepAt !== null, 'none is forgotten');
  }
  // One may come sooner or later by chance, since each call moves the clock of all; together they cannot. How evenly
  // they wait is shown on virtual time, by test/faults/efficiency.fault.ts.
  const mean = shown.reduce((sum, { lastIntervalMs }) => sum + (lastIntervalMs ?? 0), 0) / shown.length;
  assert.ok(mean > 1.5 * MINUTE_MS && mean < 7 * MINUTE_MS, `they were asked every ${mean} ms`);
  assert.ok(Math.max(...shown.map(row => row.overdueMs)) > 0);
  await reconciler.stop();
});

test('a storm of 429 is waited out as long as it asks', async () => {
  const { api, reconciler } = await imported(story(), { companyId: 1, source: 'poll' });
  api.trouble = failing('limited', 5 * MINUTE_MS);
  assert.ok((await pass(30, reconciler, api)) <= 6);
  api.trouble = undefined;
  await pass(7, reconciler, api);
  assert.equal((await coverage()).error, null);
});

test('a wrong token is asked with a handful of times a day, says so, and a new one is tried at once', async () => {
  const { api, reconciler } = await imported(story(), { companyId: 1, source: 'poll' });
  api.trouble = failing('unauthorised');
  const calls = await pass(24 * 60, reconciler, api);
  // The delta sweep and the night's full one.
  assert.ok(calls >= 4 && calls <= 18, `${calls} calls in a day`);
  assert.equal((await coverage()).error, 'the API says unauthorised');
  api.trouble = undefined;
  await hastenSweeps(pipeline.pool, 1, pipeline.now);
  await reconciler.drain();
  assert.ok(Date.parse((await coverage()).lastSweepAt ?? '') >= pipeline.now - 1);
});

test('a new token, or another interval, that comes while the company is asked by the old one is tried at once', async () => {
  const { api, reconciler } = await imported(story(), { companyId: 1, source: 'poll' });
  const read = api.records;
  const meanwhile = async (change: () => Promise<void>, trouble?: ApiTrouble) => {
    const [asked, goesOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    api.records = async function* (query) {
      asked.resolve();
      await goesOn.promise;
      api.records = read;
      if (trouble !== undefined) throw new ApiError(trouble, 'by the old one');
      yield* read.call(api, query);
    };
    pipeline.now += MINUTE_MS;
    const drained = reconciler.drain();
    await asked.promise;
    pipeline.now += 1_000;
    await change();
    await hastenSweeps(pipeline.pool, 1, pipeline.now);
    api.asked.length = 0;
    goesOn.resolve();
    await drained;
    await reconciler.drain();
  };
  await meanwhile(async () => {}, 'unauthorised');
  assert.deepEqual(api.asked, ['records 1']);
  assert.equal((await coverage()).error, null);
  await meanwhile(() => setReading(pipeline.pool, 1, { pollMs: 10_000 }));
  assert.deepEqual(api.asked, ['records 1', 'records 1']);
});

test('the full sweep runs once a night of the salon, over the change to summer time, in Almaty as in Belgrade', async () => {
  pipeline.now = Date.UTC(2031, 2, 28, 12);
  const zones = ['Europe/Belgrade', 'Asia/Almaty'] as const;
  const apis = zones.map((zone, index) => apiOver(story({ zone, companyId: index + 1 }), () => pipeline.now));
  const reconciler = pipeline.reconciler(async companyId => apis[companyId - 1]);
  for (const [index, zone] of zones.entries()) {
    await pipeline.addCompany({ companyId: index + 1, zone, sweepMs: 24 * HOUR_MS });
  }
  await reconciler.drain();
  const nights: Record<number, string[]> = { 1: [], 2: [] };
  for (let half = 0; half < 4 * 48; half += 1) {
    pipeline.now += 30 * MINUTE_MS;
    await reconciler.drain();
    const { rows } = await pipeline.pool.query<{ company_id: number; day: string; hour: number }>(
      `SELECT company_id, to_char(finished_at AT TIME ZONE zone, 'DD') AS day,
         extract(hour FROM finished_at AT TIME ZONE zone)::int AS hour
       FROM sweeps JOIN companies USING (company_id) WHERE kind = 'full' AND finished_at = $1`,
      [new Date(pipeline.now).toISOString()],
    );
    for (const { company_id, day, hour } of rows) {
      nights[company_id]?.push(day);
      assert.ok(hour >= 1 && hour <= 5, `${day} ${hour} o'clock`);
    }
  }
  assert.deepEqual(nights, { 1: ['29', '30', '31', '01'], 2: ['29', '30', '31', '01'] });
  await reconciler.stop();
});

test('a platform that ignores the filter is not read through: the sweep fails and says why', async () => {
  const told = story({ known: 900 });
  const { api, reconciler } = await imported(told);
  await pass(1, reconciler, api);
  api.ignores.add('changedAfter');
  const calls = await pass(20, reconciler, api);
  assert.ok(calls <= 4, `${calls} calls`);
  assert.match((await coverage()).error ?? '', /changed its filters/);
  assert.equal(pipeline.sent.length, 0);
});

test('records of another company and what is no record are left out', async () => {
  const told = story({ known: 40 });
  const oddly = (id: number) => (id % 5 === 0 ? { company_id: 2 } : id % 5 === 1 ? { id: 'x' } : {});
  const body: SalonStory['body'] = record => ({ ...told.body(record), ...oddly(record.id) });
  await imported({ ...told, body });
  const { rows } = await pipeline.pool.query<{ company_id: number; record_id: number }>(
    'SELECT company_id, record_id FROM bookings',
  );
  assert.ok(rows.length > 10);
  assert.ok(rows.every(row => row.company_id === 1 && row.record_id % 5 > 1));
});

/** The bookings of the coming days, oldest first. */
async function coming(): Promise<number[]> {
  const { rows } = await pipeline.pool.query<{ record_id: number }>(
    `SELECT record_id FROM bookings WHERE starts_at BETWEEN to_timestamp($1 / 1000.0) + interval '1 day'
       AND to_timestamp($1 / 1000.0) + interval '13 days' AND client_id IS NOT NULL AND attendance = 0
     ORDER BY record_id`,
    [pipeline.now],
  );
  return rows.map(row => row.record_id);
}

test('a booking that a full sweep does not show is asked for: gone is told as cancelled, moved as moved, there as nothing', async () => {
  const told = story({ known: 60 });
  const { api, reconciler } = await imported(told);
  const [gone = 0, moved = 0, hidden = 0] = await coming();
  const record = told.states.get(moved)?.at(-1)?.record;
  assert.ok(hidden > 0 && record !== undefined);
  const later = { ...told.body(record), date: '2031-05-20 12:00:00', datetime: '2031-05-20T12:00:00+03:00' };
  api.answers.set(moved, { ...later, last_change_date: '2031-03-10T12:30:00+0300' });
  const there = told.states.get(hidden)?.at(-1)?.record;
  assert.ok(there);
  api.answers.set(hidden, told.body(there));
  for (const id of [gone, moved, hidden]) api.gone.add(id);
  pipeline.now += HOUR_MS * 2;
  await reconciler.sweepNow(1, { full: true });
  assert.deepEqual(
    api.asked.filter(what => what.startsWith('record ')).sort(),
    [gone, moved, hidden].map(id => `record ${id}`).sort(),
  );
  await pipeline.settle();
  const said = pipeline.sent.map(({ recordId, notice }) => [recordId, notice?.kind]);
  assert.deepEqual(
    said.sort(),
    [
      [gone, 'cancelled'],
      [moved, 'rescheduled'],
    ].sort(),
  );
});

test('two processes share the sweeps: each page is asked for once', async () => {
  const told = story({ known: 2_500 });
  const api = apiOver(told, () => pipeline.now);
  await pipeline.addCompany({ companyId: 1, zone: told.zone, knownSince: pipeline.now });
  const pair = [pipeline.reconciler(async () => api), pipeline.reconciler(async () => api)];
  await Promise.all(pair.map(reconciler => reconciler.drain()));
  await Promise.all(pair.map(reconciler => reconciler.drain()));
  await Promise.all(pair.map(reconciler => reconciler.stop()));
  assert.equal((await coverage()).api, 'ready');
  const pages = api.asked.filter(what => Number(what.split(' ')[1]) > 1);
  assert.equal(new Set(pages).size, pages.length, `${api.asked}`);
});

test('a sweep whose process is gone is taken up where it was when the lease ends', async () => {
  const told = story({ known: 2_500 });
  const api = apiOver(told, () => pipeline.now);
  await pipeline.addCompany({ companyId: 1, zone: told.zone, knownSince: pipeline.now });
  const first = pipeline.reconciler(async () => api);
  await first.runOnce();
  await first.stop();
  const { pages = 0 } = (await coverage()).progress ?? {};
  assert.ok(pages > 0);
  await pipeline.pool.query(
    "UPDATE sweeps SET leased_by = gen_random_uuid(), leased_until = now() + interval '1 minute'",
  );
  const heir = pipeline.reconciler(async () => api);
  api.asked.length = 0;
  await heir.drain();
  assert.deepEqual(api.asked, []);
  await pipeline.pool.query("UPDATE sweeps SET leased_until = now() - interval '1 second'");
  await heir.drain();
  assert.equal(api.asked[0], `records ${pages + 1}`);
  await heir.stop();
});

test('a removed or stopped company, and one without access, is not asked', async () => {
  const told = story();
  const { api, reconciler } = await imported(told);
  api.asked.length = 0;
  await pipeline.pool.query('UPDATE companies SET removed_at = now()');
  assert.equal(await pass(30, reconciler, api), 0);
  await pipeline.pool.query(
    "UPDATE companies SET removed_at = NULL, stopped_at = now(), stopped_because = 'freeze'",
  );
  assert.equal(await pass(30, reconciler, api), 0);
  await pipeline.addCompany({ companyId: 2 });
  const none = pipeline.reconciler(async () => undefined);
  await none.drain();
  assert.equal((await coverage(2)).api, 'none');
  await assert.rejects(none.sweepNow(2, { full: false }), /no access to the API/);
});

test('a webhook that comes after its change was found is late, not missed; its lag is counted', async () => {
  const told = story({ actions: 12, known: 0 });
  const { reconciler } = await imported(told);
  pipeline.now = told.endsAt + MINUTE_MS;
  await pipeline.receive(
    1,
    told.webhooks.slice(0, 1).map(({ body, at }) => ({ body, receivedAt: at + 2_000 })),
  );
  await pipeline.processor.drain();
  await reconciler.sweepNow(1, { full: false });
  await pipeline.settle();
  const found = await coverage();
  assert.ok(found.missed > 0 && found.webhooks === 1 && (found.lagMsMax ?? 0) >= 2_000);
  await pipeline.receive(
    1,
    told.webhooks.slice(1).flatMap(({ body }) => [
      { body, receivedAt: pipeline.now },
      { body: `${body} `, receivedAt: pipeline.now },
    ]),
  );
  await pipeline.settle();
  const after = await coverage();
  assert.deepEqual([after.missed, after.coveragePercent], [0, 100]);
});
