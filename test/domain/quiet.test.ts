/** The end of quiet hours, by the salon's clock, in nights in which the clocks change. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { policyOf } from '../../src/domain/policy.ts';
import { afterQuiet } from '../../src/domain/quiet.ts';

type Row = readonly [zone: string, from: string, to: string, moment: string, leaves: string, why: string];

/** In Berlin clocks go from 2:00 to 3:00 at 01:00Z on 29 March 2026, from 3:00 back to 2:00 at 01:00Z on 25 October. */
const ROWS: readonly Row[] = [
  ['Europe/Berlin', '21:00', '09:00', '2026-03-28T19:59Z', '2026-03-28T19:59Z', 'a minute before they begin'],
  ['Europe/Berlin', '21:00', '09:00', '2026-03-28T20:00Z', '2026-03-29T07:00Z', 'a night of eleven hours'],
  ['Europe/Berlin', '21:00', '09:00', '2026-03-29T00:59Z', '2026-03-29T07:00Z', 'before the gap'],
  ['Europe/Berlin', '21:00', '09:00', '2026-03-29T01:00Z', '2026-03-29T07:00Z', 'after the gap'],
  ['Europe/Berlin', '21:00', '09:00', '2026-03-29T07:00Z', '2026-03-29T07:00Z', 'as they end'],
  ['Europe/Berlin', '21:00', '09:00', '2026-10-24T19:00Z', '2026-10-25T08:00Z', 'a night of thirteen hours'],
  [
    'Europe/Berlin',
    '21:00',
    '09:00',
    '2026-10-25T00:30Z',
    '2026-10-25T08:00Z',
    'half past two for the first time',
  ],
  ['Europe/Berlin', '21:00', '09:00', '2026-10-25T01:30Z', '2026-10-25T08:00Z', 'half past two again'],
  ['Europe/Berlin', '21:00', '09:00', '2026-10-25T07:59Z', '2026-10-25T08:00Z', 'a minute before they end'],
  ['Europe/Moscow', '21:00', '09:00', '2026-03-28T18:00Z', '2026-03-29T06:00Z', 'no change there'],
  ['Europe/London', '21:00', '09:00', '2026-03-28T21:00Z', '2026-03-29T08:00Z', 'at one o’clock there'],
  ['Europe/London', '21:00', '09:00', '2026-10-24T20:00Z', '2026-10-25T09:00Z', 'and at two'],
  // Half past two is skipped: as long after two as it would have been.
  ['Europe/Berlin', '21:00', '02:30', '2026-03-28T21:00Z', '2026-03-29T01:30Z', 'an end within the gap'],
  ['Europe/Berlin', '21:00', '02:30', '2026-03-29T01:00Z', '2026-03-29T01:00Z', 'three o’clock is past it'],
  [
    'Europe/Berlin',
    '21:00',
    '02:30',
    '2026-10-24T20:00Z',
    '2026-10-25T00:30Z',
    'an end that comes twice: the first',
  ],
  ['Europe/Berlin', '21:00', '02:30', '2026-10-25T00:29Z', '2026-10-25T00:30Z', 'a minute before the first'],
  ['Europe/Berlin', '21:00', '02:30', '2026-10-25T00:45Z', '2026-10-25T00:45Z', 'after the first'],
  [
    'Europe/Berlin',
    '21:00',
    '02:30',
    '2026-10-25T01:15Z',
    '2026-10-25T01:15Z',
    'they do not begin once more',
  ],
  [
    'Europe/Berlin',
    '02:30',
    '09:00',
    '2026-10-25T01:15Z',
    '2026-10-25T01:15Z',
    'a beginning that comes twice',
  ],
  ['Europe/Berlin', '02:30', '09:00', '2026-10-25T00:45Z', '2026-10-25T08:00Z', 'and an end that does not'],
];

for (const [zone, from, to, moment, leaves, why] of ROWS) {
  test(`${from} to ${to} in ${zone}, ${moment}: ${why}`, () => {
    const policy = policyOf({ quietHours: { from, to } });
    const end = afterQuiet(policy, 'reminders', Date.parse(moment), zone);
    assert.equal(end === null ? null : new Date(end).toISOString(), new Date(leaves).toISOString());
  });
}
