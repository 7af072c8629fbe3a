import assert from 'node:assert/strict';
import { test } from 'node:test';
import { instantOf, wallOf } from '../../src/domain/time.ts';
import { instantAt, offsetMinutes, wallAt } from '../../src/simulator/dates.ts';

const ZONES = [
  'Asia/Yekaterinburg',
  'Europe/Berlin',
  'America/St_Johns',
  'Asia/Kathmandu',
  'Pacific/Apia',
  'UTC',
];
const HOUR_MS = 3_600_000;

test('the remembered arithmetic of zones is that of the domain, at every change of the clock too', () => {
  for (const zone of ZONES) {
    for (let ms = Date.UTC(2026, 0, 1); ms < Date.UTC(2027, 0, 1); ms += 7.25 * HOUR_MS) agree(ms, zone);
    for (const day of [
      Date.UTC(2026, 2, 8),
      Date.UTC(2026, 2, 29),
      Date.UTC(2026, 9, 25),
      Date.UTC(2026, 10, 1),
    ])
      for (let ms = day - 24 * HOUR_MS; ms < day + 24 * HOUR_MS; ms += HOUR_MS / 2) agree(ms, zone);
  }
});

function agree(ms: number, zone: string): void {
  const wall = wallOf(ms, zone);
  assert.equal(wallAt(ms, zone), wall, `${ms} ${zone}`);
  assert.equal(instantAt(wall, zone), instantOf(wall, zone), `${wall} ${zone}`);
  // A reading of UTC too, so that hours which the zone skips are among them.
  const other = wallOf(ms, 'UTC');
  assert.equal(instantAt(other, zone), instantOf(other, zone), `${other} ${zone}`);
}

test('offsets are whole minutes of the zone at that moment', () => {
  assert.equal(offsetMinutes(Date.UTC(2026, 2, 29, 0, 59), 'Europe/Berlin'), 60);
  assert.equal(offsetMinutes(Date.UTC(2026, 2, 29, 1), 'Europe/Berlin'), 120);
  assert.equal(offsetMinutes(Date.UTC(2026, 6, 1), 'America/St_Johns'), -150);
});
