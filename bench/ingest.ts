/**
 * How fast webhooks are acknowledged: Otklik, the stack people write, and a Fastify that does nothing.
 * Same machine, same PostgreSQL, same body, same load tool in a process of its own; only one of the three runs at a
 * time, in alternating rounds, each after a warm-up. See README.md for what is measured and what is not.
 */
import { randomBytes } from 'node:crypto';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { answersOk, freePort, type Server, startServer } from './children.ts';
import { type LoadReport, runWrk } from './load/wrk.ts';
import { setUpOtklik } from './otklik.ts';
import { type Postgres, startPostgres } from './postgres.ts';
import { startRedis } from './redis.ts';
import { type Bench, progress, type Result, runBench, wholeNumber } from './run.ts';
import { median, round } from './statistics.ts';
import { installComparedStack, requireTools } from './tools.ts';

const targetNames = ['us', 'naive', 'noop'] as const;
type TargetName = (typeof targetNames)[number];

type Options = {
  rounds: number;
  durationSeconds: number;
  warmUpSeconds: number;
  connections: number;
  poolSize: number;
  targets: TargetName[];
};

type Running = Server & {
  url: string;
};

/** One of the compared: `start` runs it alone, `countStored` and `forget` look at the table it writes. */
type Target = {
  start(): Promise<Running>;
  countStored(): Promise<number>;
  forget(): Promise<void>;
};

type Round = {
  rps: number;
  p50_ms: number;
  p99_ms: number;
  acked: number;
  stored: number;
  failed: number;
};

const { values: flags } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '5' },
    duration: { type: 'string', default: '4' },
    'warm-up': { type: 'string', default: '3' },
    connections: { type: 'string', default: '64' },
    'naive-pool': { type: 'string', default: '10' },
    targets: { type: 'string', default: targetNames.join(',') },
  },
});

async function compare(bench: Bench, options: Options): Promise<Result> {
  await requireTools('wrk', 'redis-server');
  await installComparedStack();
  const postgres = await startPostgres(bench);
  const targets = new Map<TargetName, Target>();
  for (const name of options.targets) targets.set(name, await setUp[name](bench, postgres, options));

  const neighbours: number[] = [];
  const rounds = new Map<TargetName, Round[]>(options.targets.map(name => [name, []]));
  for (let number = 0; number < options.rounds; number += 1) {
    for (const [name, target] of targets) {
      await postgres.checkpoint();
      neighbours.push(await busyPercent());
      const measured = await measure(bench, target, options, number);
      rounds.get(name)?.push(measured);
      progress(`round ${number + 1}/${options.rounds} ${name.padEnd(5)} ${describe(measured)}`);
    }
  }
  return report(rounds, options, { postgres: postgres.version, neighbours });
}

async function measure(bench: Bench, target: Target, options: Options, number: number): Promise<Round> {
  const running = await target.start();
  bench.onEnd(running.stop);
  const load = { url: running.url, connections: options.connections };
  const warmUp = await runWrk({ ...load, seconds: options.warmUpSeconds, run: 10 + 2 * number });
  const main = await runWrk({ ...load, seconds: options.durationSeconds, run: 11 + 2 * number });
  const stored = await target.countStored();
  await running.stop();
  await target.forget();
  return {
    rps: round(main.completed / main.seconds, 0),
    p50_ms: main.p50_ms,
    p99_ms: main.p99_ms,
    acked: acknowledged(warmUp) + acknowledged(main),
    stored,
    failed: failures(warmUp) + failures(main),
  };
}

function acknowledged(load: LoadReport): number {
  return load.completed - load.refused;
}

/** Requests that were refused, never answered, or lost with their connection. */
function failures(load: LoadReport): number {
  return load.refused + load.socket_errors + (load.sent - load.completed);
}

const setUp: Record<TargetName, (bench: Bench, postgres: Postgres, options: Options) => Promise<Target>> = {
  us: async (bench, postgres) => {
    const databaseUrl = await postgres.createDatabase('bench_otklik');
    // Nothing is ever sent: only the receiver runs, as the stack compared with has no worker either.
    const otklik = await setUpOtklik({ databaseUrl, zone: 'Europe/Moscow', sinkUrl: 'http://127.0.0.1:9/' });
    return {
      start: async () => ({ url: otklik.webhookUrl, stop: (await otklik.serve('receive')).stop }),
      ...(await storedIn(bench, databaseUrl, 'resource_id')),
    };
  },

  naive: async (bench, postgres, options) => {
    const databaseUrl = await postgres.createDatabase('bench_naive');
    const key = randomBytes(16).toString('hex');
    return {
      start: async () => {
        const redis = await startRedis(bench.workDir);
        bench.onEnd(redis.stop);
        const env = {
          DATABASE_URL: databaseUrl,
          REDIS_PORT: String(redis.port),
          POOL_SIZE: String(options.poolSize),
        };
        const server = await startNode('naive.ts', { ...env, KEY: key });
        const stop = async () => {
          await server.stop();
          await redis.stop();
        };
        return { url: `${server.url}?key=${key}`, stop };
      },
      ...(await storedIn(bench, databaseUrl, 'record_id')),
    };
  },

  noop: async () => ({
    start: () => startNode('noop.ts', {}),
    countStored: async () => 0,
    forget: async () => undefined,
  }),
};

async function startNode(file: string, env: Record<string, string>): Promise<Running> {
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const server = await startServer(
    {
      name: file,
      file: process.execPath,
      args: [join(import.meta.dirname, file)],
      env: { ...env, PORT: String(port), NODE_ENV: 'production' },
    },
    () => answersOk(`${origin}/readyz`),
  );
  return { url: `${origin}/webhooks/yclients/events`, stop: server.stop };
}

async function storedIn(
  bench: Bench,
  databaseUrl: string,
  recordColumn: string,
): Promise<Pick<Target, 'countStored' | 'forget'>> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  bench.onEnd(() => client.end());
  return {
    // Each record is sent once, so its number identifies the event.
    countStored: async () => {
      const result = await client.query<{ stored: number }>(
        `SELECT count(DISTINCT ${recordColumn})::int AS stored FROM webhook_events`,
      );
      return result.rows[0]?.stored ?? 0;
    },
    forget: async () => {
      await client.query('TRUNCATE webhook_events CASCADE');
    },
  };
}

type Surroundings = { postgres: string; neighbours: number[] };

function report(rounds: Map<TargetName, Round[]>, options: Options, around: Surroundings): Result {
  const of = (name: TargetName) => rounds.get(name) ?? [];
  const [us, naive, noop] = [medians(of('us')), medians(of('naive')), medians(of('noop'))];
  const ratio = { naive: round(us.rps / naive.rps, 2), noop: round(us.rps / noop.rps, 3) };
  const ours = { acked: total(of('us'), 'acked'), stored: total(of('us'), 'stored') };
  const theirs = { acked: total(of('naive'), 'acked'), stored: total(of('naive'), 'stored') };
  const failed = targetNames.reduce((sum, name) => sum + total(of(name), 'failed'), 0);

  const busyElsewhere = round(median(around.neighbours), 0);

  const figures = {
    rounds: options.rounds,
    us,
    naive: { ...naive, ...theirs },
    noop,
    ratio,
    ...ours,
    failed,
    connections: options.connections,
    duration_s: options.durationSeconds,
    naive_pool: options.poolSize,
    cores: availableParallelism(),
    node: process.versions.node,
    postgres: around.postgres,
    busy_elsewhere_pct: busyElsewhere,
  };
  const labels = { us: 'Otklik', naive: 'Express + pg + BullMQ', noop: 'Fastify, nothing done' };
  const row = (name: TargetName) => {
    const { rps, p50_ms, p99_ms } = { us, naive, noop }[name];
    return `${labels[name].padEnd(24)}${cell(rps)}${cell(p50_ms)}${cell(p99_ms)}`;
  };
  const table = [
    `${options.rounds} rounds of ${options.durationSeconds} s, ${options.connections} connections, medians`,
    `${' '.repeat(24)}${['req/s', 'p50 ms', 'p99 ms'].map(title => title.padStart(10)).join('')}`,
    ...options.targets.map(row),
    ...(options.targets.length === targetNames.length
      ? [`Otklik is ${ratio.naive} times the usual stack and ${ratio.noop} of doing nothing`]
      : []),
    `acknowledged and stored: Otklik ${ours.acked} / ${ours.stored}, usual ${theirs.acked} / ${theirs.stored}`,
    `failed requests: ${failed}`,
    `processors busy with other work between the rounds: ${busyElsewhere} %`,
  ].join('\n');
  const ok = ours.acked === ours.stored && theirs.acked === theirs.stored && failed === 0;
  return { figures, table, ok };
}

type Figures = {
  rps: number;
  p50_ms: number;
  p99_ms: number;
};

function medians(rounds: Round[]): Figures {
  return {
    rps: round(median(rounds.map(({ rps }) => rps)), 0),
    p50_ms: round(median(rounds.map(({ p50_ms }) => p50_ms)), 2),
    p99_ms: round(median(rounds.map(({ p99_ms }) => p99_ms)), 2),
  };
}

function total(rounds: Round[], figure: 'acked' | 'stored' | 'failed'): number {
  return rounds.reduce((sum, measured) => sum + measured[figure], 0);
}

/** How busy the processors are while nothing of ours runs: the neighbours' share, in per cent of all processors. */
async function busyPercent(): Promise<number> {
  const before = processorTimes();
  await sleep(400);
  const after = processorTimes();
  return 100 * (1 - (after.idle - before.idle) / (after.total - before.total));
}

function processorTimes(): { idle: number; total: number } {
  const times = cpus().map(processor => processor.times);
  const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
  return { idle: sum(times.map(({ idle }) => idle)), total: sum(times.flatMap(each => Object.values(each))) };
}

function cell(value: number): string {
  return String(value).padStart(10);
}

function describe({ rps, p50_ms, p99_ms, acked, stored, failed }: Round): string {
  return `${cell(rps)} req/s, p50 ${p50_ms} ms, p99 ${p99_ms} ms, acked ${acked}, stored ${stored}, failed ${failed}`;
}

await runBench(flags.json, async bench => {
  const options: Options = {
    rounds: wholeNumber('rounds', flags.rounds, 40),
    durationSeconds: wholeNumber('duration', flags.duration, 60),
    warmUpSeconds: wholeNumber('warm-up', flags['warm-up'], 60),
    connections: wholeNumber('connections', flags.connections, 10_000),
    poolSize: wholeNumber('naive-pool', flags['naive-pool'], 90),
    targets: targetNames.filter(name => flags.targets.split(',').includes(name)),
  };
  return compare(bench, options);
});
