/**
 * Histories of a salon as a faulty way delivers them, on the real inbox, processor, outbox and database: the bookings
 * end as those of the clean history, and each difference that a client cares about is told once.
 */
import assert from 'node:assert/strict';
import { historyOf } from '../../src/simulator/history.ts';
import { createRandom } from '../../src/simulator/random.ts';
import { parseServiceState } from '../../src/simulator/verdict.ts';
import { compare, isClean } from '../../src/simulator/verify.ts';
import { listToldNotices, summariseBookings } from '../../src/store/views.ts';
import type { Pipeline } from './pipeline.ts';

const ZONES = ['Asia/Yekaterinburg', 'Europe/Belgrade'] as const;
const START = Date.UTC(2026, 10, 24, 9);
const STEP_MS = 2_000;
/** Longer than any history: everything is told in one go. */
const ONE_GO_MS = 500_000;
const FAULTY = 10_000;
const PATIENT_CLEAN = 20_000;
const PATIENT_FAULTY = 30_000;

type Course = {
  readonly companyId: number;
  readonly arrivals: readonly { body: string; receivedAt: number }[];
};

/** Each of these seeds is a history: as it comes, told as it goes; and told in one go, beside the clean one. */
export async function endAsTheCleanOnes(pipeline: Pipeline, seeds: readonly number[]): Promise<void> {
  const courses: Course[] = [];
  const judged: { companyId: number; ledger: ReturnType<typeof historyOf>['ledger'] }[] = [];
  for (const seed of seeds) {
    // Two zones, and histories of one record as well as of several that share clients.
    const shape = {
      startMs: START,
      actions: 8,
      mostRecords: 1 + (seed % 3),
      gapMs: gap,
      zone: ZONES[seed % 2] ?? ZONES[0],
    };
    for (const [offset, settleMs, way] of [
      [FAULTY, 3_000, 'arrivals'],
      [PATIENT_CLEAN, ONE_GO_MS, 'events'],
      [PATIENT_FAULTY, ONE_GO_MS, 'arrivals'],
    ] as const) {
      const companyId = offset + seed;
      const history = historyOf(createRandom(seed), { ...shape, companyId, faults: 'all' });
      await pipeline.addCompany({ companyId, settleMs, zone: shape.zone });
      courses.push({ companyId, arrivals: history[way] });
      judged.push({ companyId, ledger: history.ledger });
    }
  }
  const end = await run(pipeline, courses);

  let told = 0;
  for (const { companyId, ledger } of judged) {
    const verdict = compare(ledger, await stateOf(pipeline, companyId), {
      checkedAt: end,
      slackMs: 2 * STEP_MS,
    });
    assert.ok(isClean(verdict), `company ${companyId}: ${JSON.stringify(verdict, null, 1)}`);
    told += verdict.told_once;
  }
  assert.ok(told > seeds.length, `only ${told} messages were told: the histories say too little`);
  for (const seed of seeds) {
    const clean = await stateOf(pipeline, PATIENT_CLEAN + seed);
    const faulty = await stateOf(pipeline, PATIENT_FAULTY + seed);
    assert.deepEqual(
      faulty.bookings.map(withoutOrder),
      clean.bookings.map(withoutOrder),
      `bookings of seed ${seed}`,
    );
    assert.deepEqual(saidBy(faulty), saidBy(clean), `messages of seed ${seed}`);
  }
}

function gap(random: { integer(from: number, to: number): number }): number {
  return random.integer(1_000, 9_000);
}

/** All courses side by side on one clock, in steps; returns the moment at which everything was told. */
async function run(pipeline: Pipeline, courses: readonly Course[]): Promise<number> {
  const last = Math.max(...courses.flatMap(({ arrivals }) => arrivals.map(({ receivedAt }) => receivedAt)));
  for (let from = START - STEP_MS; from <= last; from += STEP_MS) {
    const until = from + STEP_MS;
    for (const { companyId, arrivals } of courses) {
      const due = arrivals.filter(({ receivedAt }) => receivedAt >= from && receivedAt < until);
      if (due.length > 0) await pipeline.receive(companyId, due);
    }
    pipeline.now = until;
    await pipeline.settle();
  }
  pipeline.now = last + 11 * ONE_GO_MS;
  await pipeline.settle();
  return pipeline.now;
}

type State = ReturnType<typeof parseServiceState>;

async function stateOf(pipeline: Pipeline, companyId: number): Promise<State> {
  const bookings = await summariseBookings(pipeline.pool, companyId);
  return parseServiceState({ bookings, messages: await listToldNotices(pipeline.pool, companyId) });
}

function withoutOrder(booking: State['bookings'][number]) {
  return {
    ...booking,
    services: [...(booking.services ?? [])].sort((a, b) => a.id - b.id || a.amount - b.amount),
  };
}

function saidBy({ messages }: State) {
  return messages.map(({ recordId, recipient, kind }) => `${recordId} ${recipient} ${kind}`).sort();
}
