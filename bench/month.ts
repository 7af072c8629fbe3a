/**
 * A month of a salon of twenty chairs on a clock that jumps: some 9,000 visits are booked, moved, called off, kept or
 * missed, and every message that this calls for is planned, reconsidered and sent through PostgreSQL and the real loops.
 * How many of each purpose there must be is counted by a model of its own, which knows nothing of plans or messages: it
 * asks at the moment of each message whether the visit still stands. Ends with exit code 1 when they differ, or when it
 * takes two minutes or more.
 */
import { parseArgs } from 'node:util';
import pg from 'pg';
import { migrate } from '../src/store/migrate.ts';
import { createPipeline } from '../test/work/pipeline.ts';
import { type Counts, countExpected, salonMonth } from './month-model.ts';
import { countSent, playMonth } from './month-play.ts';
import { startPostgres } from './postgres.ts';
import { type Bench, progress, type Result, runBench, wholeNumber } from './run.ts';

/** What a month may take: more, and nobody would run it before each change. */
const MOST_SECONDS = 120;

async function measure(bench: Bench, seed: number): Promise<Result> {
  const postgres = await startPostgres(bench);
  const url = await postgres.createDatabase('bench_month');
  await migrate(url);
  // Counted is what is said, not how safely: that costs a write to the disk at each of thousands of moments.
  await withClient(url, 'ALTER DATABASE bench_month SET synchronous_commit = off');
  const month = salonMonth(seed);
  const expected = countExpected(month);
  const pool = new pg.Pool({ connectionString: url, max: 2 });
  // `end` does not wait until its connections are closed, and the database is dropped from under them.
  pool.on('error', () => {});
  const pipeline = await createPipeline({ database: { url, pool, close: () => pool.end() } });
  bench.onEnd(() => pipeline.close());

  const startedAt = performance.now();
  const cpu = process.cpuUsage();
  await playMonth(pipeline, month, (today, sent) => progress(`${today}: ${sent} messages so far`));
  const seconds = (performance.now() - startedAt) / 1000;
  const { user, system } = process.cpuUsage(cpu);

  const sent = await countSent(pipeline);
  const same = JSON.stringify(sent) === JSON.stringify(expected);
  const inTime = seconds < MOST_SECONDS;
  const figures = {
    ...{ visits: month.visits, records: month.records, events: month.events.length, equal: same },
    seconds: Math.round(seconds * 10) / 10,
    most_seconds: MOST_SECONDS,
    in_time: inTime,
    cpu_seconds: Math.round((user + system) / 100_000) / 10,
    ...{ sent, expected },
  };
  return { figures, table: tableOf(figures), ok: same && inTime };
}

async function withClient(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(statement);
  await client.end();
}

function tableOf(figures: {
  readonly visits: number;
  readonly seconds: number;
  readonly equal: boolean;
  readonly in_time: boolean;
  readonly sent: Counts;
  readonly expected: Counts;
}): string {
  const names = [...new Set([...Object.keys(figures.sent), ...Object.keys(figures.expected)])];
  const lines = names.map(
    name =>
      `${name.padEnd(18)}${String(figures.sent[name] ?? 0).padStart(8)}${String(figures.expected[name] ?? 0).padStart(10)}`,
  );
  return [
    `${figures.visits} visits in ${figures.seconds} s, ${figures.in_time ? 'within' : 'over'} ${MOST_SECONDS} s; ${figures.equal ? 'equal' : 'NOT equal'}`,
    `${'message'.padEnd(18)}${'sent'.padStart(8)}${'expected'.padStart(10)}`,
    ...lines,
  ].join('\n');
}

const { values } = parseArgs({
  options: { json: { type: 'boolean', default: false }, seed: { type: 'string', default: '1' } },
});
await runBench(values.json, bench => measure(bench, wholeNumber('seed', values.seed, 1_000_000)));
