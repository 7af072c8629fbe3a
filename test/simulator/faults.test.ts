import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FAULTS, MAX_LATENESS_MS, parseFaults, planDeliveries } from '../../src/simulator/faults.ts';
import { historyOf } from '../../src/simulator/history.ts';
import { createRandom } from '../../src/simulator/random.ts';
import type { Webhook } from '../../src/simulator/webhook.ts';

const START = Date.UTC(2026, 6, 1, 9, 0, 3, 120);

function webhooksOf(seed: number, actions = 150): Webhook[] {
  const options = { startMs: START, actions, known: 12, faults: 'all', others: true };
  return historyOf(createRandom(seed), options).events.map(event => event.webhook);
}

function plan(seed: number, faults: string, options = {}, actions = 150) {
  const webhooks = webhooksOf(seed, actions);
  const { deliveries, dropped } = planDeliveries(webhooks, createRandom(seed), parseFaults(faults), options);
  return { webhooks, deliveries, dropped };
}

const SEEDS = fc.integer({ min: 1, max: 1_000_000 });

test('without faults everything arrives once, soon', () => {
  const { webhooks, deliveries, dropped } = plan(1, 'none');
  assert.equal(deliveries.length, webhooks.length);
  assert.deepEqual(dropped, []);
  assert.ok(deliveries.every(({ dueAt, webhook, marks }) => dueAt - webhook.at <= 300 && marks.length === 0));
});

test('nothing is dropped unless asked', () => {
  fc.assert(
    fc.property(SEEDS, seed => {
      const { webhooks, deliveries, dropped } = plan(seed, 'all', {}, 60);
      assert.deepEqual(dropped, []);
      assert.deepEqual(new Set(deliveries.map(({ webhook }) => webhook)), new Set(webhooks));
    }),
    { numRuns: 30 },
  );
});

test('when asked, each webhook is dropped or delivered, never both', () => {
  const { webhooks, deliveries, dropped } = plan(2, 'drop', { dropChance: 0.5 });
  const delivered = new Set(deliveries.map(({ webhook }) => webhook));
  assert.ok(dropped.length > webhooks.length / 4);
  assert.ok(dropped.every(webhook => !delivered.has(webhook)));
  assert.equal(dropped.length + delivered.size, webhooks.length);
});

test('a duplicated webhook arrives four times with the same bytes', () => {
  const { deliveries } = plan(3, 'duplicate');
  const copies = [...Map.groupBy(deliveries, ({ webhook }) => webhook).entries()].filter(
    ([, group]) => group.length > 1,
  );
  assert.ok(copies.length > 10);
  for (const [webhook, group] of copies) {
    assert.equal(group.length, 4);
    assert.ok(group.every(({ body }) => body === webhook.body));
  }
});

test('a permuted copy differs in bytes only by the order of its services', () => {
  const permuted = plan(4, 'permute', {}, 400).deliveries.filter(({ marks }) => marks.includes('permute'));
  assert.ok(permuted.length > 10);
  const sorted = (body: string) => [...body].sort().join('');
  for (const { body, webhook } of permuted) {
    assert.notEqual(body, webhook.body);
    assert.equal(sorted(body), sorted(webhook.body));
  }
});

test('order is really permuted, within the bound', () => {
  const { deliveries } = plan(5, 'reorder');
  const pairs = deliveries.flatMap(({ webhook }, index) => {
    const next = deliveries[index + 1];
    return next === undefined ? [] : [webhook.at > next.webhook.at];
  });
  assert.ok(pairs.filter(Boolean).length > 20);
  assert.ok(deliveries.every(({ dueAt, webhook }) => dueAt - webhook.at <= 3_300));
});

test('creates come after the update of their record', () => {
  const { deliveries } = plan(6, 'create_late', {}, 600);
  const late = deliveries.filter(({ marks }) => marks.includes('create_late'));
  assert.ok(late.length > 10);
  for (const { webhook, dueAt } of late) {
    const recordId = webhook.carried?.recordId;
    const update = deliveries.find(
      one => one.webhook.carried?.recordId === recordId && one.webhook.at > webhook.at,
    );
    assert.ok(update && update.dueAt < dueAt);
  }
});

test('whatever the faults, nothing arrives before it happened or later than the bound', () => {
  fc.assert(
    fc.property(SEEDS, seed => {
      const { deliveries } = plan(seed, 'all', {}, 60);
      const lateness = deliveries.map(({ dueAt, webhook }) => dueAt - webhook.at);
      assert.ok(lateness.every(ms => ms > 0 && ms <= MAX_LATENESS_MS));
      assert.ok(deliveries.every(({ dueAt }, index) => dueAt >= (deliveries[index - 1]?.dueAt ?? 0)));
    }),
    { numRuns: 30 },
  );
});

test('every fault of the way strikes within 600 actions', () => {
  const { deliveries, dropped } = plan(7, FAULTS.join(), {}, 600);
  for (const fault of ['duplicate', 'permute', 'reorder', 'delay', 'create_late'] as const) {
    assert.ok(deliveries.filter(({ marks }) => marks.includes(fault)).length >= 5, fault);
  }
  assert.ok(dropped.length >= 5);
});

test('faults are named as on the command line', () => {
  assert.deepEqual([...parseFaults('none')], []);
  assert.deepEqual([...parseFaults('duplicate, drop')], ['duplicate', 'drop']);
  assert.deepEqual(new Set([...parseFaults('all'), 'drop']), new Set(FAULTS));
  assert.ok(!parseFaults('all').has('drop'));
  assert.throws(() => parseFaults('duplicates'), /unknown fault "duplicates": use all, none, or/);
});
