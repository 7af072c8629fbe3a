import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type HistoryOptions, historyOf } from '../../src/simulator/history.ts';
import { createRandom } from '../../src/simulator/random.ts';
import { compare } from '../../src/simulator/verify.ts';
import { serve, type Vice } from './reference-service.ts';

const START = Date.UTC(2026, 6, 1, 9, 0, 3, 120);
const ZONES = ['Asia/Yekaterinburg', 'Europe/Berlin', 'America/New_York', 'Pacific/Auckland'] as const;

/** A history under every fault, served and judged. */
function judged(seed: number, vices: readonly Vice[] = [], options: Partial<HistoryOptions> = {}) {
  const random = createRandom(seed);
  const zone = random.pick(ZONES);
  const brand = random.pick(['yclients', 'altegio'] as const);
  const startMs = START + seed * 977_000;
  const history = historyOf(random, {
    startMs,
    actions: 80,
    known: 24,
    faults: 'all',
    brand,
    zone,
    ...options,
  });
  const state = serve(history.arrivals, { zone, settleMs: 2_000, vices });
  return compare(history.ledger, state, { checkedAt: history.ledger.endedAt + 60_000, slackMs: 0 });
}

test('a right service is found without fault, whatever the seed', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10_000_000 }), seed => {
      const verdict = judged(seed);
      assert.deepEqual(verdict.details, []);
      assert.ok(verdict.bookings > 20 && verdict.told_once > 10);
    }),
    { numRuns: 40 },
  );
});

test('a right service is found without fault over one record that keeps changing', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10_000_000 }), seed => {
      const options = { actions: 25, known: 0, mostRecords: 1, gapMs: () => 1_300 };
      assert.deepEqual(judged(seed, [], options).details, []);
    }),
    { numRuns: 60 },
  );
});

/** A service without each virtue in turn, and the verdicts that must then be above zero. */
const VICES: readonly (readonly [
  Vice,
  readonly ('state_differs' | 'told_twice' | 'told_wrong' | 'not_told')[],
])[] = [
  ['announces_baseline', ['told_twice']],
  ['ignores_versions', ['state_differs', 'told_wrong', 'not_told']],
  ['announces_every_update', ['told_twice']],
  ['tells_of_begun_visits', ['told_wrong']],
  ['forgets_what_it_told', ['told_twice', 'told_wrong', 'not_told']],
  ['ignores_deletions', ['state_differs', 'not_told']],
  ['freezes_its_words', ['told_wrong', 'not_told']],
  ['never_tells', ['not_told']],
];

for (const [vice, verdicts] of VICES) {
  test(`a service that ${vice.replaceAll('_', ' ')} is caught`, () => {
    const totals = { state_differs: 0, told_twice: 0, told_wrong: 0, not_told: 0 };
    for (let seed = 1; seed <= 10; seed += 1) {
      const verdict = judged(seed, [vice]);
      for (const name of verdicts) totals[name] += verdict[name];
    }
    for (const name of verdicts) assert.ok(totals[name] > 0, `${name} is 0`);
  });
}

test('webhooks that were dropped are missed in the verdict', () => {
  const verdict = judged(3, [], { faults: 'drop', dropChance: 0.3 });
  assert.ok(verdict.state_differs > 0 && verdict.not_told > 0);
  assert.equal(verdict.told_twice, 0);
});

test('the same seed gives the same history', () => {
  const history = (seed: number) =>
    historyOf(createRandom(seed), { startMs: START, actions: 60, known: 10, faults: 'all', others: true });
  assert.deepEqual(history(5), history(5));
});

test('events are in the order of the changes, arrivals in the order of receipt', () => {
  const { events, arrivals } = historyOf(createRandom(6), { startMs: START, actions: 100, faults: 'all' });
  const ascending = (times: readonly number[]) =>
    times.every((time, index) => time >= (times[index - 1] ?? 0));
  assert.ok(ascending(events.map(event => event.webhook.at)));
  assert.ok(ascending(arrivals.map(arrival => arrival.receivedAt)));
  assert.ok(!ascending(arrivals.map(arrival => arrival.webhook.at)));
  assert.ok(arrivals.length > events.length);
});
