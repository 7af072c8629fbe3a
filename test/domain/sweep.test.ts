/** When to ask: the salon's night, its days, intervals, and how long to wait after a failure. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backoffMs, changedAfter, daysOf, deltaInterval, nextNight } from '../../src/domain/sweep.ts';
import { wallOf } from '../../src/domain/time.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

test('the full sweep comes once in each night of the salon, whatever the zone and the DST change', () => {
  for (const [zone, from] of [
    ['Asia/Almaty', Date.UTC(2031, 2, 28, 12)],
    // Clocks go from 02:00 to 03:00 on 30 March and from 03:00 back to 02:00 on 26 October.
    ['Europe/Belgrade', Date.UTC(2031, 2, 28, 12)],
    ['Europe/Belgrade', Date.UTC(2031, 9, 24, 12)],
    ['America/St_Johns', Date.UTC(2031, 2, 7, 12)],
  ] as const) {
    for (let companyId = 1; companyId <= 300; companyId += 1) {
      let now = from;
      const nights: string[] = [];
      for (let night = 0; night < 4; night += 1) {
        now = nextNight(companyId, zone, now);
        const wall = wallOf(now, zone);
        nights.push(wall.slice(0, 10));
        const hour = Number(wall.slice(11, 13));
        assert.ok(hour >= 1 && hour <= 5, `${zone}: ${wall} is not night`);
      }
      const days = nights.map(day => Date.parse(`${day}T00:00:00Z`) / DAY_MS);
      assert.deepEqual(
        days.map(day => day - (days[0] ?? 0)),
        [0, 1, 2, 3],
        `${zone}, company ${companyId}: ${nights}`,
      );
    }
  }
});

test('salons of one zone are spread over the night', () => {
  const now = Date.UTC(2031, 2, 10, 12);
  const minutes = Array.from({ length: 1_000 }, (_, id) => nextNight(id + 1, 'Europe/Moscow', now));
  const inTenMinutes = Map.groupBy(minutes, moment => Math.floor(moment / 600_000));
  assert.equal(inTenMinutes.size, 24);
  for (const companies of inTenMinutes.values()) assert.ok(companies.length < 100);
});

test('days are those of the salon: the same moment is another day in Almaty and in Belgrade', () => {
  const now = Date.UTC(2031, 2, 29, 20, 30);
  assert.deepEqual(daysOf('full', 'Asia/Almaty', now), { from: '2031-03-30', to: '2031-04-13' });
  assert.deepEqual(daysOf('full', 'Europe/Belgrade', now), { from: '2031-03-29', to: '2031-04-12' });
  assert.deepEqual(daysOf('baseline', 'Europe/Belgrade', now), { from: '2031-02-27', to: '2031-06-27' });
});

test('a delta overlaps by an hour, the first by a day; polling asks at its own interval', () => {
  assert.equal(changedAfter(DAY_MS * 9, false), DAY_MS * 9 - HOUR_MS);
  assert.equal(changedAfter(DAY_MS * 9, true), DAY_MS * 8);
  const every = { sweepMs: 900_000, pollMs: 60_000 };
  assert.equal(deltaInterval({ ...every, source: 'webhook' }), 900_000);
  assert.equal(deltaInterval({ ...every, source: 'poll' }), 60_000);
  assert.equal(deltaInterval({ ...every, source: 'both' }), 60_000);
});

test('a wrong token waits long, an API that is away is asked again soon and never sooner than it asks for', () => {
  assert.equal(backoffMs('wrong', 1, 0), 600_000);
  assert.equal(backoffMs('wrong', 20, 0), 6 * HOUR_MS);
  assert.equal(backoffMs('away', 1, 0), 15_000);
  assert.equal(backoffMs('away', 20, 0), 120_000);
  assert.equal(backoffMs('away', 1, 0, 60_000), 60_000);
  assert.ok(backoffMs('away', 1, 0.99) > 15_000);
});
