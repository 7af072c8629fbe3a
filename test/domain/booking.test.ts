import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  attendanceSaidAt,
  type Booking,
  type BookingFields,
  merge,
  sameServices,
  stateOf,
} from '../../src/domain/booking.ts';
import { changesBetween } from '../../src/domain/change.ts';
import { type Facts, isBaseline, noticeBetween } from '../../src/domain/notice.ts';
import { originOf } from '../../src/domain/origin.ts';
import { maskPhone, normalisePhone } from '../../src/domain/phone.ts';
import { instantOf, isZone, parseInstant, parseWall } from '../../src/domain/time.ts';

const ZONE = 'Europe/Moscow';
const STARTS = Date.parse('2031-05-20T11:30:00Z');
const BASE: Partial<BookingFields> = {
  startsLocal: '2031-05-20T14:30:00',
  staffId: 5,
  clientId: 9,
  attendance: 0,
  deleted: false,
  paid: false,
  services: [{ id: 7, title: 'Стрижка', amount: 1 }],
};

const booking = (fields: Partial<BookingFields> = {}, version = 1): Booking =>
  merge(null, { ...BASE, ...fields }, version).booking;
const kinds = (before: Booking | null, after: Booking) =>
  changesBetween(before, after, ZONE).map(({ kind }) => kind);

test('any order and any copies of the same bodies end in the same booking', () => {
  const fields = fc.record(
    {
      staffId: fc.integer({ min: 1, max: 3 }),
      comment: fc.constantFrom('а', 'б'),
      paid: fc.boolean(),
      attendance: fc.constantFrom(-1, 0, 1, 2) as fc.Arbitrary<BookingFields['attendance']>,
    },
    { requiredKeys: [] },
  );
  const bodies = fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 50 }), fields), {
    minLength: 1,
    maxLength: 8,
    selector: ([version]) => version,
  });
  const fold = (list: readonly (readonly [number, Partial<BookingFields>])[]) =>
    list.reduce<Booking | null>((known, [version, body]) => merge(known, body, version).booking, null);
  fc.assert(
    fc.property(bodies, fc.infiniteStream(fc.nat()), (clean, keys) => {
      const copies = [...clean, ...clean].map(body => ({ body, key: keys.next().value ?? 0 }));
      const shuffled = copies.sort((a, b) => a.key - b.key).map(({ body }) => body);
      const inOrder = clean.toSorted((a, b) => a[0] - b[0]);
      const folded = fold(shuffled);
      assert.deepEqual(folded, fold(inOrder));
      const said = inOrder.flatMap(([version, { attendance }]) =>
        attendance === undefined ? [] : [{ version, attendance }],
      );
      const last = said.at(-1)?.attendance;
      if (folded === null || (last !== -1 && last !== 1)) return;
      const first = said.findLastIndex(({ attendance }) => attendance !== last) + 1;
      assert.equal(attendanceSaidAt(folded), said[first]?.version, 'said since it was last another');
    }),
    { numRuns: 1_000, seed: 7 },
  );
});

test('of two bodies of one version a deletion wins whichever comes first', () => {
  const deleted = merge(booking({}, 5), { deleted: true }, 5).booking;
  assert.equal(merge(deleted, { deleted: false }, 5).booking.fields.deleted, true);
  assert.equal(merge(booking({ deleted: true }, 5), { deleted: false }, 6).booking.fields.deleted, false);
});

test('services are a multiset', () => {
  const service = (id: number, amount = 1) => ({ id, title: '', amount });
  assert.ok(sameServices([service(1), service(2)], [service(2), service(1)]));
  assert.ok(!sameServices([service(1), service(1)], [service(1), service(2)]));
  assert.ok(!sameServices([service(1)], [service(1, 2)]));
});

test('attendance -1 is a cancellation before the visit and a no-show after it', () => {
  assert.equal(stateOf(booking({ attendance: -1 }, STARTS - 1), ZONE), 'cancelled');
  assert.equal(stateOf(booking({ attendance: -1 }, STARTS), ZONE), 'no_show');
  assert.equal(stateOf(booking({ attendance: 1, deleted: true }), ZONE), 'cancelled');
});

test('an attendance counts from when it was first said, whatever repeats it and in whatever order', () => {
  const cancelled = booking({ attendance: -1 }, STARTS - 30);
  const edited = merge(cancelled, { ...BASE, attendance: -1, durationSeconds: 60 }, STARTS + 10).booking;
  assert.equal(stateOf(edited, ZONE), 'cancelled');
  const back = merge(edited, { attendance: 0 }, STARTS + 20).booking;
  assert.equal(stateOf(merge(back, { attendance: -1 }, STARTS + 30).booking, ZONE), 'no_show', 'said anew');
  const late = merge(edited, { attendance: 0 }, STARTS - 20).booking;
  assert.equal(stateOf(late, ZONE), 'no_show', 'an older body shows that it was taken back between');
  const older = merge(booking({ attendance: -1 }, STARTS + 10), { attendance: -1 }, STARTS - 30).booking;
  assert.equal(stateOf(older, ZONE), 'cancelled', 'an older body shows that it was there already');
  assert.equal(stateOf(merge(late, { attendance: -1 }, STARTS - 30).booking, ZONE), 'no_show');
});

test('a row from before the moment was kept has that of its version, and keeps it', () => {
  const row: Booking = { fields: { ...BASE, attendance: -1 }, version: STARTS - 5, fieldVersions: {} };
  assert.equal(attendanceSaidAt(row), STARTS - 5);
  assert.equal(stateOf(merge(row, { attendance: -1 }, STARTS + 5).booking, ZONE), 'cancelled');
});

test('what was read to settle a doubt says since when, too', () => {
  const doubtful = merge(booking({ attendance: 0 }, 10), { attendance: -1 }, 50).booking;
  const settled = merge(doubtful, { attendance: 1 }, 40, 60).booking;
  assert.deepEqual([settled.fields.attendance, attendanceSaidAt(settled)], [1, 40]);
  const again = merge(settled, { attendance: 1 }, 70).booking;
  assert.equal(attendanceSaidAt(again), 40);
});

test('of very many repeats the first are kept, and the moment with them', () => {
  let known = booking({ attendance: 1 }, 10);
  for (let version = 11; version < 200; version += 1)
    known = merge(known, { attendance: 1 }, version).booking;
  assert.equal(attendanceSaidAt(known), 10);
  assert.ok(JSON.stringify(known.attendanceSaid).length < 400);
  const late = merge(known, { attendance: 0 }, 150).booking;
  assert.equal(attendanceSaidAt(late), 199, 'the newest, where those between were let go');
});

test('every change has its name', () => {
  const before = booking();
  assert.deepEqual(kinds(null, before), ['created']);
  assert.deepEqual(kinds(before, booking({ startsLocal: '2031-05-21T10:00:00' })), ['rescheduled']);
  assert.deepEqual(kinds(before, booking({ staffId: 6 })), ['staff_changed']);
  assert.deepEqual(kinds(before, booking({ services: [] })), ['services_changed']);
  assert.deepEqual(kinds(before, booking({ clientId: 10 })), ['client_changed']);
  assert.deepEqual(kinds(before, booking({ deleted: true })), ['cancelled']);
  assert.deepEqual(kinds(booking({ deleted: true }), before), ['restored']);
  assert.deepEqual(kinds(before, booking({ attendance: 2 })), ['confirmed']);
  assert.deepEqual(kinds(before, booking({ attendance: 1, paid: true })), ['arrived', 'paid']);
  assert.deepEqual(kinds(before, booking({ attendance: -1 }, STARTS)), ['no_show']);
  assert.deepEqual(kinds(before, booking({ comment: 'окно' })), []);
});

test('a cancellation touched again after its hour does not become a no-show in the history', () => {
  const cancelled = booking({ attendance: -1 }, STARTS - 10);
  assert.deepEqual(kinds(cancelled, merge(cancelled, { attendance: -1 }, STARTS + 10).booking), []);
});

const facts = (more: Partial<Facts> = {}): Facts => ({
  status: 'booked',
  startsLocal: '2031-05-20T14:30:00',
  staffId: 5,
  staffName: 'Ольга',
  services: [{ id: 7, title: 'Стрижка', amount: 1 }],
  ...more,
});

test('a notice is the difference between what was heard and what is true', () => {
  const kind = (before: Facts | null, after: Facts) => noticeBetween(before, after)?.kind ?? null;
  const cancelled = facts({ status: 'cancelled' });
  assert.equal(kind(null, facts()), 'booked');
  assert.equal(kind(facts(), facts()), null);
  assert.equal(kind(facts(), facts({ staffName: 'Оля' })), null);
  assert.equal(kind(facts(), facts({ startsLocal: '2031-05-21T10:00:00' })), 'rescheduled');
  assert.equal(kind(facts(), facts({ startsLocal: '2031-05-21T10:00:00', staffId: 6 })), 'changed');
  assert.equal(kind(facts(), cancelled), 'cancelled');
  assert.equal(kind(cancelled, facts({ startsLocal: '2031-05-21T10:00:00' })), 'restored');
  assert.equal(kind(null, cancelled), null);
  assert.equal(kind(cancelled, facts({ status: 'cancelled', startsLocal: '2031-05-21T10:00:00' })), null);
});

test('a booking of long ago first seen by an update is from before us; a fresh one, or a create, is news', () => {
  const hour = 3_600_000;
  const made = (createdAt: number) => booking({ createdAt });
  const sight = { status: 'update', knownSince: 0, imported: false };
  assert.ok(isBaseline(made(0), { ...sight, receivedAt: 2 * hour }));
  assert.ok(!isBaseline(made(2 * hour), { ...sight, receivedAt: 2.5 * hour }));
  assert.ok(!isBaseline(made(0), { ...sight, status: 'create', receivedAt: 2 * hour }));
});

test('whatever was made before we began is from before us; once the journal was read, all that was made since is news', () => {
  const hour = 3_600_000;
  const made = (createdAt: number) => booking({ createdAt });
  const sight = { receivedAt: 10 * hour, knownSince: 2 * hour + 700 };
  assert.ok(isBaseline(made(hour), { ...sight, status: 'create', imported: false }));
  assert.ok(isBaseline(made(hour), { ...sight, status: 'create', imported: true }));
  assert.ok(isBaseline(made(3 * hour), { ...sight, status: 'update', imported: false }));
  assert.ok(!isBaseline(made(3 * hour), { ...sight, status: 'update', imported: true }));
  // The platform's moments are whole seconds: what was made in the second of our beginning is not from before it.
  assert.ok(!isBaseline(made(2 * hour), { ...sight, status: 'create', imported: false }));
});

test('makers are known by the record where it tells', () => {
  const maker = { online: true, recordFrom: '', bookformId: 0, createdUserId: 0, apiId: '' };
  assert.equal(originOf({ ...maker, online: false, apiId: '01effc9e-09da' }), 'admin');
  assert.equal(originOf({ ...maker, recordFrom: '"Сайт" Online widget', bookformId: 12 }), 'widget');
  assert.equal(originOf({ ...maker, recordFrom: 'Altegio.me App', bookformId: 3 }), 'app');
  assert.equal(originOf({ ...maker, recordFrom: 'Partners: Яндекс Карты' }), 'aggregator');
  assert.equal(originOf({ ...maker, online: false, apiId: 'bot-1' }, 'bot-'), 'bot');
  assert.equal(originOf({ ...maker, online: undefined }), 'unknown');
});

test('a wall clock keeps its reading whatever offset stands beside it', () => {
  assert.equal(parseWall('2026-04-20 18:30:00'), '2026-04-20T18:30:00');
  assert.equal(parseWall('2026-04-20T18:30:00.000+03:00'), '2026-04-20T18:30:00');
  assert.equal(parseWall('2026-02-30 10:00:00'), undefined);
  assert.equal(parseWall('вчера'), undefined);
  assert.equal(parseInstant('2026-04-20T12:36:27+0500'), Date.parse('2026-04-20T07:36:27Z'));
  assert.equal(parseInstant('2026-04-20'), undefined);
});

test('an hour that a DST change skips moves forward, one that occurs twice is the first', () => {
  assert.equal(instantOf('2026-03-29T02:30:00', 'Europe/Belgrade'), Date.parse('2026-03-29T01:30:00Z'));
  assert.equal(instantOf('2026-10-25T02:30:00', 'Europe/Belgrade'), Date.parse('2026-10-25T00:30:00Z'));
});

test('a zone is a name of IANA’s: an offset knows nothing of summer time', () => {
  assert.deepEqual(['Europe/Moscow', 'UTC', '+03:00', '-0300', 'Europe/Nowhere', ''].filter(isZone), [
    'Europe/Moscow',
    'UTC',
  ]);
});

test('phones are brought to one form, and masked for eyes', () => {
  assert.equal(normalisePhone('79160000001'), '+79160000001');
  assert.equal(normalisePhone('+7 (916) 000-00-01'), '+79160000001');
  assert.equal(normalisePhone('звонить после шести'), 'звонить после шести');
  assert.equal(maskPhone('+7 916 000-00-01'), '+7••••••••01');
  assert.equal(maskPhone('4567890'), '•••••••');
});
