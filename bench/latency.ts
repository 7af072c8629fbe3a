/**
 * From webhook received to channel called: how long after the POST of a new booking the client's message leaves.
 * Otklik runs all its roles in one process; its channel is a webhook that this process receives, so that both ends are
 * read from one clock. The schedule is open: a POST is due when it is due, however the earlier ones fare, and time runs
 * from that moment.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Pool } from 'undici';
import { z } from 'zod';
import { companyId, setUpOtklik } from './otklik.ts';
import { startPostgres } from './postgres.ts';
import { recordWebhook, zone } from './records.ts';
import { type Bench, progress, type Result, runBench, wholeNumber } from './run.ts';
import { percentile, round } from './statistics.ts';

/** How long a message may still come after the last POST, before it counts as lost. */
const patienceMs = 15_000;
const dayMs = 24 * 3_600_000;

type Options = {
  ratePerSecond: number;
  warmUpSeconds: number;
  durationSeconds: number;
};

/** One booking on its way; times are performance.now(). */
type Journey = {
  dueAt: number;
  acknowledgedAt?: number;
  calledAt?: number;
  calls: number;
};

type Journeys = Map<number, Journey>;

async function measure(bench: Bench, options: Options): Promise<Result> {
  const journeys: Journeys = new Map();
  const sinkUrl = await startSink(bench, journeys);
  const postgres = await startPostgres(bench);
  const databaseUrl = await postgres.createDatabase('bench_latency');
  const otklik = await setUpOtklik({ databaseUrl, zone, sinkUrl });
  const server = await otklik.serve();
  bench.onEnd(server.stop);
  await postgres.checkpoint();

  const firstRecordId = 300_000_000;
  const warmUpCount = options.warmUpSeconds * options.ratePerSecond;
  const count = warmUpCount + options.durationSeconds * options.ratePerSecond;
  progress(`${count} new bookings at ${options.ratePerSecond}/s, the first ${warmUpCount} to warm up`);
  await postOnSchedule(bench, otklik.webhookUrl, {
    journeys,
    firstRecordId,
    count,
    rate: options.ratePerSecond,
  });
  await untilAllCalled(journeys);

  const measured = [...journeys].filter(([recordId]) => recordId >= firstRecordId + warmUpCount);
  return report(
    [...journeys.values()],
    measured.map(([, journey]) => journey),
    options,
  );
}

/** The company's webhook channel. Returns its URL. */
async function startSink(bench: Bench, journeys: Journeys): Promise<string> {
  const called = z.object({ recordId: z.number() });
  const sink = createServer((request, response) => {
    const calledAt = performance.now();
    void readBody(request).then(body => {
      response.end();
      const { recordId } = called.parse(JSON.parse(body));
      const journey = journeys.get(recordId);
      if (journey === undefined) return;
      journey.calls += 1;
      journey.calledAt ??= calledAt;
    });
  });
  sink.listen(0, '127.0.0.1');
  await once(sink, 'listening');
  bench.onEnd(() => {
    sink.close();
    sink.closeAllConnections();
  });
  const address = sink.address();
  if (address === null || typeof address === 'string') throw new Error('the sink has no port');
  return `http://127.0.0.1:${address.port}/`;
}

async function readBody(request: IncomingMessage): Promise<string> {
  request.setEncoding('utf8');
  let body = '';
  for await (const chunk of request) body += chunk;
  return body;
}

type Schedule = {
  journeys: Journeys;
  firstRecordId: number;
  count: number;
  rate: number;
};

async function postOnSchedule(bench: Bench, webhookUrl: string, schedule: Schedule): Promise<void> {
  const { origin, pathname } = new URL(webhookUrl);
  const client = new Pool(origin, { connections: 64, pipelining: 1 });
  bench.onEnd(() => client.destroy());

  const post = async (recordId: number, journey: Journey) => {
    const body = newBooking(recordId);
    const headers = { 'content-type': 'application/json' };
    const answer = await client.request({ path: pathname, method: 'POST', headers, body });
    await answer.body.dump();
    if (answer.statusCode === 200) journey.acknowledgedAt = performance.now();
  };

  const startedAt = performance.now();
  const posts: Promise<void>[] = [];
  while (posts.length < schedule.count) {
    const dueAt = startedAt + (posts.length * 1000) / schedule.rate;
    const wait = dueAt - performance.now();
    if (wait > 0) await sleep(wait);
    const recordId = schedule.firstRecordId + posts.length;
    const journey = { dueAt, calls: 0 };
    schedule.journeys.set(recordId, journey);
    posts.push(post(recordId, journey));
  }
  const refused = (await Promise.allSettled(posts)).filter(({ status }) => status === 'rejected').length;
  if (refused > 0) progress(`${refused} POSTs found no answer`);
}

function newBooking(recordId: number): string {
  const now = Date.now();
  return recordWebhook(companyId, {
    recordId,
    clientId: recordId,
    status: 'create',
    staffId: 2_835_418,
    serviceIds: [5_034_676],
    attendance: 0,
    startsAtMs: now + dayMs,
    createdAtMs: now,
    changedAtMs: now,
  });
}

async function untilAllCalled(journeys: Journeys): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (performance.now() < deadline && [...journeys.values()].some(({ calls }) => calls === 0))
    await sleep(50);
}

function report(all: Journey[], measured: Journey[], options: Options): Result {
  const after = (end: 'acknowledgedAt' | 'calledAt') =>
    measured.flatMap(journey => (journey[end] === undefined ? [] : [journey[end] - journey.dueAt]));
  const toChannel = after('calledAt');
  const toAnswer = after('acknowledgedAt');
  const sent = all.filter(({ acknowledgedAt }) => acknowledgedAt !== undefined).length;
  const lost = all.filter(({ calls }) => calls === 0).length;
  const repeated = all.reduce((sum, { calls }) => sum + Math.max(0, calls - 1), 0);
  const figures = {
    rate: options.ratePerSecond,
    p50_ms: round(percentile(toChannel, 50), 1),
    p99_ms: round(percentile(toChannel, 99), 1),
    sent,
    lost,
    repeated,
    refused: all.length - sent,
    answer_p50_ms: round(percentile(toAnswer, 50), 1),
    answer_p99_ms: round(percentile(toAnswer, 99), 1),
    duration_s: options.durationSeconds,
  };
  const table = [
    `${figures.rate} new bookings a second for ${options.durationSeconds} s`,
    `webhook to channel: p50 ${figures.p50_ms} ms, p99 ${figures.p99_ms} ms`,
    `webhook to answer:  p50 ${figures.answer_p50_ms} ms, p99 ${figures.answer_p99_ms} ms`,
    `sent ${sent}, refused ${figures.refused}, lost ${lost}, told twice ${repeated}`,
  ].join('\n');
  return { figures, table, ok: lost === 0 && repeated === 0 && sent === all.length };
}

const { values: flags } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    rate: { type: 'string', default: '200' },
    duration: { type: 'string', default: '20' },
    'warm-up': { type: 'string', default: '5' },
  },
});

await runBench(flags.json, bench =>
  measure(bench, {
    ratePerSecond: wholeNumber('rate', flags.rate, 10_000),
    durationSeconds: wholeNumber('duration', flags.duration, 600),
    warmUpSeconds: wholeNumber('warm-up', flags['warm-up'], 60),
  }),
);
