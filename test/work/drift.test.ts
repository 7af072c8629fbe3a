/** The drift report: what is odd is processed as far as possible, counted across processes, and told once a day. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import fc from 'fast-check';
import type { Finding } from '../../src/domain/drift.ts';
import { createLog } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import { addDrift, clearDrift, listDrift, ROWS_PER_KIND } from '../../src/store/drift.ts';
import { transaction } from '../../src/store/pool.ts';
import { readStats } from '../../src/store/views.ts';
import { createDriftReport, type DriftReport } from '../../src/work/drift.ts';
import { createPipeline, type Pipeline, recordBody } from './pipeline.ts';

const HOUR_MS = 3_600_000;

let pipeline: Pipeline;
let lines: string[];

beforeEach(async () => {
  pipeline = await createPipeline();
  await pipeline.addCompany({ companyId: 1 });
  lines = [];
});
afterEach(() => pipeline.close());

function process(): DriftReport & { readonly metrics: ReturnType<typeof createMetrics> } {
  const log = createLog('debug', { write: line => lines.push(line) });
  const metrics = createMetrics();
  return { ...createDriftReport({ pool: pipeline.pool, log, metrics, now: () => pipeline.now }), metrics };
}

const rows = async () =>
  (await listDrift(pipeline.pool))
    .map(({ kind, path, count, sample }) => [kind, path, count, sample])
    .sort((one, other) => (one.join() < other.join() ? -1 : 1));

const odd: Finding = { kind: 'type', path: 'record.date', sample: '"99.99"' };

test('odd bodies are processed as far as possible, and the report says what was odd', async () => {
  const at = pipeline.now;
  await pipeline.receive(
    1,
    [
      recordBody({ id: 1, at, data: { attendance: 7, comment: { text: 'Позвонить Анне' } } }),
      recordBody({ id: 2, at, data: { attendance: 5, last_change_date: undefined } }),
      recordBody({ id: 3, at, status: 'archive' }),
      JSON.stringify({
        company_id: 1,
        resource: 'tips',
        resource_id: 4,
        status: 'create',
        data: { sum: 10 },
      }),
      JSON.stringify({ company_id: 1, resource: 'client', resource_id: 9, status: 'merge', data: {} }),
      recordBody({ id: 5, at }),
    ].map(body => ({ body, receivedAt: at })),
  );
  await pipeline.settle();
  assert.deepEqual(await rows(), [
    ['enum', 'record.attendance', 2, '9'],
    ['missing', 'record.last_change_date', 1, ''],
    ['resource', 'tips', 1, '{"aaa":99}'],
    ['status', 'client.merge', 1, '{}'],
    ['status', 'record.archive', 1, (await rows())[4]?.[3]],
    ['type', 'record.comment', 1, '{"aaaa":"aaaaaaaa… aaaa"}'],
  ]);
  assert.deepEqual(
    pipeline.sent.map(({ recordId }) => recordId).sort(),
    [1, 2, 5],
    'who can be told is told',
  );
  assert.deepEqual((await readStats(pipeline.pool)).drift, {
    enum: 2,
    missing: 1,
    resource: 1,
    status: 2,
    type: 1,
  });
  const { rows: kept } = await pipeline.pool.query("SELECT state FROM webhook_events WHERE state <> 'done'");
  assert.deepEqual(kept, []);
});

test('counts of all processes add up, whatever the order, and first and last are the outermost', async () => {
  const path = fc.constantFrom('a.b', 'a.c', 'b.c', 'b.d');
  const batch = fc.uniqueArray(path, { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(fc.array(batch, { minLength: 1, maxLength: 12 }), async batches => {
      await clearDrift(pipeline.pool);
      // In transactions that overlap, as no process of ours does, so that a deadlock would show.
      await Promise.all(
        batches.map((paths, index) =>
          transaction(pipeline.pool, db =>
            addDrift(
              db,
              paths.map(one => ({
                ...odd,
                path: one,
                count: 2,
                firstAt: index * 1_000,
                lastAt: index * 1_000 + 5,
              })),
            ),
          ),
        ),
      );
      for (const { path: listed, count, firstAt, lastAt } of await listDrift(pipeline.pool)) {
        const holding = batches.flatMap((paths, index) => (paths.some(one => one === listed) ? [index] : []));
        assert.equal(count, 2 * holding.length);
        assert.equal(Date.parse(firstAt), Math.min(...holding) * 1_000);
        assert.equal(Date.parse(lastAt), Math.max(...holding) * 1_000 + 5);
      }
    }),
    { numRuns: 25 },
  );
});

test('a sender of ever new words fills neither the table nor a metric, and hides no drift of ours', async () => {
  const report = process();
  for (let round = 0; round < 3; round += 1) {
    report.add(
      Array.from({ length: 2_000 }, (_, index): Finding => {
        const word = [...`${round}${index}`].map(digit => 'abcdefghij'[Number(digit)]).join('');
        return { kind: index % 2 === 0 ? 'resource' : 'status', path: word, sample: '{}' };
      }),
    );
    report.add([odd]);
    await report.flush();
  }
  const found = await listDrift(pipeline.pool);
  assert.ok(found.length <= 2 * (ROWS_PER_KIND + 1) + 1, `${found.length} rows`);
  assert.equal(
    found.reduce((sum, { count }) => sum + count, 0),
    6_003,
    'nothing is uncounted',
  );
  assert.equal(found.find(({ path }) => path === odd.path)?.count, 3);
  assert.deepEqual(
    found
      .filter(({ path }) => path === '…others')
      .map(({ kind }) => kind)
      .sort(),
    ['resource', 'status'],
  );
  const { values } = await report.metrics.oddValues.get();
  assert.deepEqual(
    values.map(({ labels, value }) => [labels.kind, labels.path, value]),
    [
      ['resource', 'event.resource', 3_000],
      ['status', 'event.status', 3_000],
      ['type', 'record.date', 3],
    ],
  );
});

const alerts = () =>
  lines.map((line): { level: number; kind?: string; path?: string; count?: number } => JSON.parse(line));

test('each kind and path is told once a day, by one of all processes, and only if it goes on', async () => {
  const processes = [process(), process(), process()];
  const everybodyFinds = async (...findings: Finding[]) => {
    for (const one of processes) one.add(findings);
    await Promise.all(processes.map(one => one.flush()));
  };
  const start = pipeline.now;
  await everybodyFinds(odd);
  assert.deepEqual(
    alerts().map(({ kind, path }) => [kind, path]),
    [['type', 'record.date']],
  );

  for (let hour = 1; hour <= 23; hour += 1) {
    pipeline.now = start + hour * HOUR_MS;
    await everybodyFinds(odd);
  }
  assert.equal(lines.length, 1);

  pipeline.now = start + 23.5 * HOUR_MS;
  await everybodyFinds({ ...odd, path: 'record.online' });
  assert.equal(lines.length, 2, 'another path is another matter');

  pipeline.now = start + 24 * HOUR_MS;
  await everybodyFinds(odd);
  assert.equal(lines.length, 3);
  assert.ok(alerts().every(({ level }) => level === 40));

  pipeline.now = start + 240 * HOUR_MS;
  await everybodyFinds({ ...odd, path: 'record.paid_full' });
  assert.deepEqual(
    alerts()
      .slice(3)
      .map(({ path }) => path),
    ['record.paid_full'],
    'what has ended is told no more',
  );
});

test('a log line has no word of the sender in it', async () => {
  const report = process();
  report.add([
    { kind: 'resource', path: 'anna_petrova', sample: '{}' },
    { kind: 'resource', path: 'boris', sample: '{}' },
  ]);
  await report.flush();
  assert.deepEqual(
    alerts().map(({ kind, path, count }) => [kind, path, count]),
    [['resource', 'event.resource', 2]],
  );
  assert.doesNotMatch(lines.join(), /anna|boris/);
});

test('a report that cannot be written costs no event, and is written when it can be', async () => {
  await pipeline.pool.query('ALTER TABLE drift RENAME TO drift_away');
  await pipeline.receive(1, [{ body: recordBody({ data: { attendance: 7 } }), receivedAt: pipeline.now }]);
  await pipeline.processor.drain();
  const { rows: events } = await pipeline.pool.query('SELECT state FROM webhook_events');
  assert.deepEqual(events, [{ state: 'done' }]);
  await pipeline.pool.query('ALTER TABLE drift_away RENAME TO drift');
  await pipeline.processor.stop();
  assert.deepEqual(await rows(), [['enum', 'record.attendance', 1, '9']]);
});

test('somebody who holds the report holds up no batch', async () => {
  await pipeline.receive(1, [
    { body: recordBody({ id: 1, data: { attendance: 7 } }), receivedAt: pipeline.now },
  ]);
  await transaction(pipeline.pool, async db => {
    await db.query('LOCK TABLE drift');
    assert.equal(await pipeline.processor.runOnce(), 1);
    await pipeline.receive(1, [
      { body: recordBody({ id: 2, data: { attendance: 7 } }), receivedAt: pipeline.now },
    ]);
    assert.equal(await pipeline.processor.runOnce(), 1);
  });
  await pipeline.processor.stop();
  assert.deepEqual(await rows(), [['enum', 'record.attendance', 2, '9']]);
});
