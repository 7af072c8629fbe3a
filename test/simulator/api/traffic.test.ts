import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DOCUMENTED, openTraffic } from '../../../src/simulator/api/traffic.ts';
import { bodyOf, call, manualClock, NOW, platformFor } from './client.ts';

test('the sixth call within a second is refused, and the next second serves again', async t => {
  const clock = manualClock();
  const platform = await platformFor(t, { clock, limits: DOCUMENTED });
  platform.add(7);
  const statuses: number[] = [];
  const ask = async () => statuses.push((await call(platform, '/api/v1/records/7')).status);
  for (let index = 0; index < 6; index += 1) await ask();
  clock.set(NOW + 999);
  await ask();
  clock.set(NOW + 1_000);
  await ask();
  assert.deepEqual(statuses, [200, 200, 200, 200, 200, 429, 429, 200]);
  const { calls, limited, maxPerSecond, byCompany } = platform.stats();
  assert.deepEqual({ calls, limited, maxPerSecond }, { calls: 8, limited: 2, maxPerSecond: 7 });
  assert.deepEqual(byCompany.get(7), { records: 8 });
});

test('the 201st call within a minute is refused', () => {
  const traffic = openTraffic(DOCUMENTED);
  const at = (ms: number) => traffic.arrive('a', 'records', 1, NOW + ms);
  for (let index = 0; index < 200; index += 1) assert.ok(at(index * 250), `call ${index}`);
  assert.ok(!at(50_000));
  assert.ok(!at(59_999));
  assert.ok(at(60_000));
  assert.ok(traffic.arrive('b', 'records', 1, NOW + 60_000), 'another address has its own limit');
  assert.equal(traffic.stats().maxPerMinute, 202);
});

test('calls are counted by operation and company, until forgotten', () => {
  const traffic = openTraffic(null);
  for (const [operation, companyId] of [
    ['records', 1],
    ['records', 2],
    ['record', 1],
    ['records', undefined],
  ] as const)
    assert.ok(traffic.arrive('a', operation, companyId, NOW));
  const { calls, byOperation, byCompany, limited } = traffic.stats();
  assert.deepEqual([calls, limited], [4, 0]);
  assert.deepEqual(byOperation, { records: 3, record: 1 });
  assert.deepEqual(
    [...byCompany],
    [
      [1, { records: 1, record: 1 }],
      [2, { records: 1 }],
    ],
  );
  traffic.forget();
  assert.equal(traffic.stats().calls, 0);
});

test('a long run keeps exact windows', () => {
  const traffic = openTraffic(DOCUMENTED);
  for (let index = 0; index < 10_000; index += 1)
    assert.ok(traffic.arrive('a', 'records', 1, NOW + index * 334));
  const { limited, maxPerSecond, maxPerMinute } = traffic.stats();
  assert.deepEqual(
    { limited, maxPerSecond, maxPerMinute },
    { limited: 0, maxPerSecond: 3, maxPerMinute: 180 },
  );
});

test('a 429 has no body, or Retry-After, or an error body', async t => {
  const platform = await platformFor(t, { limits: { perSecond: 0, perMinute: 0 } });
  const ask = () => call(platform, '/api/v1/records/7');
  const empty = await ask();
  assert.deepEqual([empty.status, empty.text, empty.headers.get('retry-after')], [429, '', null]);
  platform.setQuirks({ limited: 'retry_after' });
  assert.equal((await ask()).headers.get('retry-after'), '1');
  platform.setQuirks({ limited: 'error_body' });
  assert.equal(bodyOf(await ask()).success, false);
});
