/** Many companies and one budget of calls, in hours of virtual time: see bench/efficiency.ts for a thousand of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Fleet, runFleet } from '../../bench/fleet.ts';
import { testDatabase } from '../support/database.ts';

async function live(fleet: Pick<Fleet, 'companies' | 'source'>) {
  const database = await testDatabase();
  try {
    return await runFleet({ ...fleet, databaseUrl: database.url, hours: 1, changesADay: 100, seed: 7 });
  } finally {
    await database.close();
  }
}

test('50 companies by webhooks and reconciliation: each compared within its interval, at a tenth of the calls of polling', {
  timeout: 600_000,
}, async () => {
  const webhooks = await live({ companies: 50, source: 'webhook' });
  const polling = await live({ companies: 50, source: 'poll' });
  for (const way of [webhooks, polling]) {
    assert.deepEqual([way.refused, way.unknown, way.companiesLate], [0, 0, 0]);
    assert.ok(way.maxPerSecond <= 3 && way.maxPerMinute <= 180, JSON.stringify(way));
  }
  assert.equal(webhooks.changes, polling.changes);
  assert.ok(webhooks.webhooksLost > 0);
  assert.ok(webhooks.calls * 10 < polling.calls, `${webhooks.calls} and ${polling.calls} calls`);
});

test('250 companies polled each minute want more than the budget: it holds, all wait the same, and none is forgotten', {
  timeout: 600_000,
}, async () => {
  const { refused, unknown, maxPerMinute, calls, meanIntervalMs, longestIntervalMs, companiesLate } =
    await live({
      companies: 250,
      source: 'poll',
    });
  assert.deepEqual([refused, unknown], [0, 0]);
  assert.ok(maxPerMinute <= 180 && calls > 10_500, `${calls} calls, ${maxPerMinute} in a minute`);
  assert.equal(companiesLate, 250);
  // 250 slots of 340 ms are 85 s.
  assert.ok(
    meanIntervalMs > 80_000 && longestIntervalMs < 95_000,
    `${meanIntervalMs} and ${longestIntervalMs} ms`,
  );
});
