/** What a scrape shows: the numbers of that moment, or none. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type CoverageDepths,
  createMetrics,
  type Metrics,
  REJECT_CAUSES,
  watchBudget,
  watchCoverage,
  watchDepths,
  watchPools,
  watchSweeps,
} from '../src/metrics.ts';
import { testDatabase, testPool } from './support/database.ts';

test('each scrape shows coverage and lag by one reading; what is not known is no number', async () => {
  const metrics = createMetrics();
  let readings = 0;
  let depths: CoverageDepths = { coveragePercent: 97.5, lagMsMean: 1_250, lagMsMax: 7_000 };
  watchCoverage(metrics, async () => {
    readings += 1;
    return depths;
  });
  const shown = async () =>
    (await metrics.registry.metrics())
      .split('\n')
      .filter(line => /^otklik_webhooks_(coverage|lag)/.test(line));
  assert.deepEqual(await shown(), [
    'otklik_webhooks_coverage_ratio 0.975',
    'otklik_webhooks_lag_seconds 1.25',
    'otklik_webhooks_lag_max_seconds 7',
  ]);
  assert.equal(readings, 1);
  depths = { coveragePercent: null, lagMsMean: null, lagMsMax: null };
  // Written in its own way by the library; Prometheus reads it in any case.
  assert.ok((await shown()).every(line => / nan$/i.test(line)));
});

test('counters that alerts watch are there from the start, so that their first events are seen as a rise', async () => {
  const names = /^otklik_(events_received|requests_rejected|webhooks_(missed|late))_total/;
  const lines = await scrape(createMetrics(), names);
  const shows = (line: string) => assert.ok(lines.includes(`otklik_${line} 0`), line);
  for (const resource of ['record', 'client', 'other'])
    shows(`events_received_total{resource="${resource}"}`);
  for (const cause of REJECT_CAUSES) shows(`requests_rejected_total{cause="${cause}"}`);
  shows('webhooks_missed_total');
  shows('webhooks_late_total');
  assert.ok(lines.every(line => line.endsWith(' 0')));
});

/** The series of a scrape whose names match, as `name value`. */
async function scrape({ registry }: Metrics, names: RegExp): Promise<string[]> {
  return (await registry.metrics()).split('\n').filter(line => names.test(line));
}

test('each scrape shows what the database says at that moment, however slow, and nothing while it is away', async () => {
  const metrics = createMetrics();
  let number = 0;
  let answer = (): Promise<void> => Promise.resolve();
  let readings = 0;
  const read =
    <T>(make: () => T) =>
    async (): Promise<T> => {
      readings += 1;
      await answer();
      return make();
    };
  const none = { pending: 0, waiting: 0, dead: 0, due: 0, sending: 0, unplanned: 0 };
  const age = { messagesSeconds: 0 };
  watchDepths(
    metrics,
    read(() => ({ ...none, ...age, dead: number, oldestSeconds: number, shards: { [number]: number } })),
  );
  watchSweeps(
    metrics,
    read(() => ({ overdueSeconds: number, rereads: number })),
  );
  watchBudget(
    metrics,
    read(() => [{ nextSlotAt: number * 1000, pausedUntil: number * 1000 }]),
    () => 0,
  );
  const shown = () =>
    scrape(
      metrics,
      /^otklik_(events_oldest|shard_events|rows.*dead|rereads_waiting|sweeps_overdue|api_(paused|wait)_)/,
    );
  const expected = () => [
    `otklik_events_oldest_seconds ${number}`,
    `otklik_shard_events{shard="${number}"} ${number}`,
    `otklik_rows{state="dead"} ${number}`,
    `otklik_rereads_waiting ${number}`,
    `otklik_sweeps_overdue_seconds ${number}`,
    `otklik_api_paused_seconds ${number}`,
    `otklik_api_wait_seconds ${number}`,
  ];
  for (number = 1; number <= 2; number += 1) {
    assert.deepEqual(await shown(), expected());
  }
  assert.equal(readings, 2 * 3, 'one reading of each a scrape');

  const { promise, resolve } = Promise.withResolvers<void>();
  answer = () => promise;
  const slow = shown();
  number = 7;
  resolve();
  assert.deepEqual(await slow, expected());

  answer = () => Promise.reject(new Error('the database is away'));
  assert.deepEqual(await shown(), []);
  answer = () => Promise.resolve();
  assert.deepEqual(await shown(), expected());
});

test('a scrape does not count its own questions as work that waits for a connection', async t => {
  const database = await testDatabase();
  t.after(() => database.close());
  const pool = testPool(database.url, { max: 2 });
  t.after(() => pool.end());
  const metrics = createMetrics();
  const ask = () => pool.query('SELECT 1');
  watchSweeps(metrics, async () => {
    await Promise.all([ask(), ask(), ask(), ask()]);
    return { overdueSeconds: 0, rereads: 0 };
  });
  watchPools(metrics, { main: pool });
  const shown = () => scrape(metrics, /^otklik_pool.*waiting/);
  await shown();
  assert.deepEqual(await shown(), ['otklik_pool{pool="main",state="waiting"} 0']);

  const held = [await pool.connect(), await pool.connect()];
  const waits = [ask(), ask(), ask()];
  const scraped = shown();
  for (const client of held) client.release();
  await Promise.all(waits);
  assert.deepEqual(await scraped, ['otklik_pool{pool="main",state="waiting"} 3']);
});
