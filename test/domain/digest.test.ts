import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BookingFields } from '../../src/domain/booking.ts';
import { digestOf, digestOn, dueDigest, isEmpty, nextDigest } from '../../src/domain/digest.ts';
import { policyOf } from '../../src/domain/policy.ts';
import { wallOf } from '../../src/domain/time.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const at = (hour: string, about: 'today' | 'tomorrow' = 'tomorrow') =>
  policyOf({ team: { digest: { at: hour, about } } });

test('by default it leaves at 20:00 and tells of tomorrow', () => {
  const noon = Date.parse('2026-11-24T09:00:00Z');
  const time = digestOn(policyOf({}), 'Europe/Moscow', noon);
  assert.equal(time?.at, Date.parse('2026-11-24T17:00:00Z'));
  assert.deepEqual([time?.step, time?.about], [20261124, '2026-11-25']);
});

test('none where the policy wants none', () => {
  const policy = policyOf({ team: { digest: { at: null } } });
  assert.equal(dueDigest(policy, 'UTC', 0), null);
  assert.equal(nextDigest(policy, 'UTC', 0), null);
});

test('it is due from its moment on, for three hours, past midnight too', () => {
  const moment = Date.parse('2026-11-24T23:30:00Z');
  const due = (later: number) => dueDigest(at('23:30'), 'UTC', moment + later)?.step;
  assert.deepEqual(
    [due(-1), due(0), due(HOUR), due(3 * HOUR - 1), due(3 * HOUR)],
    [undefined, 20261124, 20261124, 20261124, undefined],
  );
});

test('there is one a day, at its hour of the clock, over every change of clocks', () => {
  for (const zone of ['Europe/Berlin', 'Australia/Lord_Howe']) {
    for (const hour of ['02:30', '20:00', '00:00']) {
      for (const start of ['2026-03-20T12:00:00Z', '2026-09-25T12:00:00Z'].map(Date.parse)) {
        const seen = new Map<number, number>();
        for (let now = start; now < start + 35 * DAY; now += HOUR) {
          const due = dueDigest(at(hour, 'today'), zone, now);
          if (due === null) continue;
          assert.equal(due.at, seen.get(due.step) ?? due.at, `${zone} ${hour} ${due.step}: one moment`);
          seen.set(due.step, due.at);
        }
        assert.ok(seen.size === 35 || seen.size === 36, `${zone} ${hour}: ${seen.size}`);
        for (const [step, moment] of seen) {
          const wall = wallOf(moment, zone);
          assert.equal(Number(wall.slice(0, 10).replaceAll('-', '')), step);
          // An hour that a change of clocks leaves out is the one after it.
          if (wall.slice(11, 16) !== hour) assert.match(`${hour} ${wall}`, /^02:30 .{10}T03:[03]0/);
        }
      }
    }
  }
});

test('the next one is today’s until it has come, then tomorrow’s', () => {
  const moment = Date.parse('2026-11-24T17:00:00Z');
  assert.equal(nextDigest(policyOf({}), 'Europe/Moscow', moment - 1)?.at, moment);
  assert.equal(nextDigest(policyOf({}), 'Europe/Moscow', moment)?.at, moment + DAY);
});

let recordId = 0;
const booking = (fields: Partial<BookingFields>) => {
  recordId += 1;
  const usual: Partial<BookingFields> = {
    startsLocal: '2026-11-25T10:00:00',
    clientId: 9,
    attendance: 0,
    deleted: false,
    staffName: 'Ольга',
  };
  return { recordId, booking: { fields: { ...usual, ...fields }, version: 1, fieldVersions: {} } } as const;
};

test('it counts visits of the day, not records, nor what is called off, nor hours that are blocked', () => {
  const bookings = [
    booking({ clientId: 1, visitId: 7 }),
    booking({ clientId: 1, visitId: 7, startsLocal: '2026-11-25T12:00:00' }),
    booking({ clientId: 2, attendance: 2, startsLocal: '2026-11-25T09:00:00' }),
    booking({ clientId: 3, deleted: true }),
    booking({ clientId: null }),
    booking({ clientId: 4, startsLocal: '2026-11-26T00:00:00' }),
  ];
  const unreached = new Set(bookings.map(one => one.recordId));
  const lately = { booked: 3, moved: 1, cancelled: 2 };
  const digest = digestOf({ day: '2026-11-25', zone: 'UTC', bookings, lately, unreached });
  assert.deepEqual(digest, {
    ...{ day: '2026-11-25', visits: 2, unconfirmed: 1, ...lately },
    unreached: [
      { startsLocal: '2026-11-25T09:00:00', staffName: 'Ольга' },
      { startsLocal: '2026-11-25T10:00:00', staffName: 'Ольга' },
    ],
  });
});

test('there is nothing to say of a day without visits, unless something happened lately', () => {
  const input = { day: '2026-11-25', zone: 'UTC', bookings: [], unreached: new Set<number>() };
  const quiet = { booked: 0, moved: 0, cancelled: 0 };
  assert.ok(isEmpty(digestOf({ ...input, lately: quiet })));
  for (const what of ['booked', 'moved', 'cancelled'])
    assert.ok(!isEmpty(digestOf({ ...input, lately: { ...quiet, [what]: 1 } })), what);
});
