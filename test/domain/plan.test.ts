/** The planner alone: any history of a month, on a clock that jumps from one thing that happens to the next. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Temporal } from 'temporal-polyfill';
import { type Booking, merge } from '../../src/domain/booking.ts';
import { concernsPlan, type PlanInput, plan } from '../../src/domain/plan.ts';
import { type PolicyDocument, policyOf } from '../../src/domain/policy.ts';
import { wallOf } from '../../src/domain/time.ts';
import { visitsOf } from '../../src/domain/visit.ts';
import { histories, play, type Salon, type Sent, START, ZONE } from '../support/reminder-history.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** Whether the salon's clock shows an hour in which its clients are left in peace, read off the clock itself. */
function isQuiet({ document, zone }: Salon, now: number): boolean {
  const { from = '21:00', to = '09:00', reminders = 'defer' } = document.quietHours ?? {};
  const time = wallOf(now, zone).slice(11, 16);
  const inside = from > to ? time >= from || time < to : time >= from && time < to;
  return reminders !== 'send' && inside;
}

/** The first hour of which it speaks. */
function beginningOf({ covers }: Pick<Sent, 'covers'>): string {
  return covers.map(({ startsLocal }) => startsLocal).sort()[0] ?? '';
}

test('whatever happens, no reminder of a visit that is off, was moved or has begun; no second; none in quiet hours', () => {
  let total = 0;
  let several = 0;
  fc.assert(
    fc.property(histories, fc.integer({ min: 0, max: 5 }), ({ start, steps }, sleep) => {
      // Down for some hours of each day: what is late by then must obey the same rules.
      const asleep = (now: number) => new Date(now).getUTCHours() < sleep * 3;
      let seen = 0;
      play(
        steps,
        (salon, now, sent) => {
          for (const message of sent.slice(seen)) {
            const { covers, rule, at } = message;
            const begins = beginningOf(message);
            if (covers.length > 1) several += 1;
            assert.equal(at, now);
            assert.ok(!isQuiet(salon, now), 'none in quiet hours');
            assert.ok(!salon.refuses, 'none to a client who refuses');
            assert.ok(
              (salon.document.reminders?.at ?? ['24h', '2h']).includes(rule),
              'none by a rule that is gone',
            );
            for (const { recordId, startsLocal } of covers) {
              const fields = salon.bookings.get(recordId)?.fields;
              assert.equal(fields?.deleted, false, 'the visit is on');
              assert.equal(fields?.startsLocal, startsLocal, 'it is at that hour');
              assert.ok(
                Temporal.PlainDateTime.from(startsLocal).toZonedDateTime(salon.zone).epochMilliseconds > now,
              );
              // Once more only of a visit that has come to begin earlier than was said.
              const same = sent.filter(
                other =>
                  other.rule === rule &&
                  beginningOf(other) <= begins &&
                  other.covers.some(one => one.recordId === recordId && one.startsLocal === startsLocal),
              );
              assert.equal(same.length, 1, 'one a visit and reminder time');
            }
          }
          total += sent.length - seen;
          seen = sent.length;
        },
        { start, asleep },
      );
    }),
    { numRuns: 60 },
  );
  assert.ok(total > 120, `only ${total} reminders were sent`);
  assert.ok(several > 20, `only ${several} of several records`);
});

/** When a reminder is due by the book, for a record that is a visit of its own; null: not at all. */
function byTheBook(salon: Salon, startsLocal: string, createdAt: number, rule: string): number | null {
  const starts = Temporal.PlainDateTime.from(startsLocal).toZonedDateTime(salon.zone);
  const before = /^(\d+)(h|m|d)$/.exec(rule);
  const clock = /^(\d+:\d+) the (day before|same day)$/.exec(rule);
  const days = clock?.[2] === 'same day' ? 0 : clock === null ? 2 : 1;
  const due =
    before === null
      ? starts.subtract({ days }).withPlainTime(clock?.[1] ?? '07:30')
      : before[2] === 'd'
        ? starts.subtract({ days: Number(before[1]) })
        : starts.subtract(before[2] === 'h' ? { hours: Number(before[1]) } : { minutes: Number(before[1]) });
  let moment = due.epochMilliseconds;
  if (isQuiet(salon, moment)) {
    if (salon.document.quietHours?.reminders === 'drop') return null;
    while (isQuiet(salon, moment)) moment += 15 * MINUTE;
  }
  const { minimumLead = '30m', notIfBookedWithin = '3h' } = salon.document.reminders ?? {};
  const latest = starts.epochMilliseconds - (minimumLead === '3h' ? 3 * HOUR : 30 * MINUTE);
  const early = moment >= createdAt + (notIfBookedWithin === '1d' ? 24 * HOUR : 3 * HOUR) && moment <= latest;
  return early && due.epochMilliseconds <= latest ? moment : null;
}

type Due = {
  readonly recordId: number;
  readonly startsLocal: string;
  readonly rule: string;
  readonly at: number;
};

/** How many records stand on the day of that hour. */
function onDayOf({ bookings }: Salon, startsLocal: string): number {
  const day = startsLocal.slice(0, 10);
  return [...bookings.values()].filter(
    ({ fields }) => fields.startsLocal?.startsWith(day) && fields.deleted === false,
  ).length;
}

/** What is due by the book of visits that stand, and that are visits of their own: two on one day have tests of their own. */
function dueByTheBook(salon: Salon): readonly Due[] {
  const rules = salon.document.reminders?.at ?? ['24h', '2h'];
  return [...salon.bookings].flatMap(([recordId, { fields }]) => {
    const { startsLocal = '', createdAt = 0, deleted } = fields;
    if (deleted || onDayOf(salon, startsLocal) > 1) return [];
    const due = rules.map(rule => ({ rule, at: byTheBook(salon, startsLocal, createdAt, rule) }));
    // Of reminders that fall together one is sent, whichever.
    const alone = due.filter(({ at }) => at !== null && due.filter(other => other.at === at).length === 1);
    return alone.map(({ rule, at }) => ({ recordId, startsLocal, rule, at: at ?? 0 }));
  });
}

/** Whether the clocks change between a moment and the hour of a visit. */
function clocksChange(startsLocal: string, moment: number, zone: string): boolean {
  const then = Temporal.PlainDateTime.from(startsLocal).toZonedDateTime(zone).offset;
  return then !== Temporal.Instant.fromEpochMilliseconds(moment).toZonedDateTimeISO(zone).offset;
}

test('otherwise there is exactly one reminder a visit and reminder time', () => {
  let total = 0;
  // Each action makes another salon; between two nothing becomes due that was not.
  let known: { salon: Salon; due: readonly Due[] } | undefined;
  const dueIn = (salon: Salon) => {
    if (known?.salon !== salon) known = { salon, due: dueByTheBook(salon) };
    return known.due;
  };
  const after = { policy: 0, zone: 0, restore: 0, accept: 0 };
  /** Where a change of clocks lies between it and the visit; where it had been said already; where it is refused. */
  const cases = { dst: 0, reopened: 0, refused: 0 };
  fc.assert(
    fc.property(histories, ({ start, steps }) => {
      let seen = 0;
      play(
        steps,
        (salon, now, sent) => {
          for (const { rule, covers } of sent.slice(seen)) {
            const [cover] = covers;
            if (cover === undefined || onDayOf(salon, cover.startsLocal) > 1) continue;
            const { startsLocal, recordId } = cover;
            const createdAt = salon.bookings.get(recordId)?.fields.createdAt ?? 0;
            const due = byTheBook(salon, startsLocal, createdAt, rule);
            // Late where another policy or zone has put back what was planned for later: at once, or after quiet hours.
            const put = steps.some(({ at }) => {
              return due !== null && due < at && (at === now || (at < now && isQuiet(salon, at)));
            });
            assert.ok(due !== null && (due === now || (put && due < now)), `${rule} is due by the book`);
          }
          seen = sent.length;
          for (const { recordId, startsLocal, rule, at } of dueIn(salon)) {
            if (at !== now) continue;
            const told = sent.filter(
              message =>
                message.rule === rule &&
                message.covers.some(one => one.recordId === recordId && one.startsLocal === startsLocal),
            );
            const what = `${rule} of ${recordId} at ${startsLocal}, ${new Date(now).toISOString()}`;
            if (salon.refuses) {
              assert.ok(!told.some(message => message.at === now), what);
              cases.refused += 1;
              continue;
            }
            assert.equal(told.length, 1, what);
            total += 1;
            if (told[0] !== undefined && told[0].at < now) cases.reopened += 1;
            if (clocksChange(startsLocal, now, salon.zone)) cases.dst += 1;
            for (const { action, at: done } of steps)
              if (done < now && action.kind in after) after[action.kind as keyof typeof after] += 1;
          }
        },
        // Also where nothing was planned: what is forgotten would not be missed otherwise.
        { start, moments: salon => dueIn(salon).map(({ at }) => at) },
      );
    }),
    { numRuns: 60 },
  );
  assert.ok(total > 120, `only ${total} reminders were due by the book`);
  for (const [kind, count] of Object.entries(after)) assert.ok(count > 20, `${count} after a ${kind}`);
  for (const [kind, count] of Object.entries(cases)) assert.ok(count > 8, `${count} cases of ${kind}`);
});

const booking = (fields: Partial<Booking['fields']>, version = START): Booking => ({
  fields: { durationSeconds: 3600, attendance: 0, deleted: false, createdAt: 0, ...fields },
  version,
  fieldVersions: {},
});
const ask = (input: Partial<PlanInput>) =>
  plan({
    bookings: [],
    client: { refuses: false, wantsAdvertising: false },
    ...{ policy: policyOf({}), zone: ZONE, now: START, said: [], open: [] },
    ...input,
  });
const moments = (input: Partial<PlanInput>) =>
  ask(input).wanted.map(({ rule, plannedFor }) => `${rule} ${wallOf(plannedFor, ZONE)}`);

test('records that share a visit, or follow each other, are reminded of once', () => {
  const at = (time: string, visitId: number) => booking({ startsLocal: `2026-03-20T${time}:00`, visitId });
  const visits = (...bookings: Booking[]) =>
    ask({ bookings: bookings.map((one, index) => ({ recordId: index + 1, booking: one })) })
      .wanted.filter(({ rule }) => rule === '24h')
      .map(({ covers }) => covers.map(({ recordId }) => recordId));
  assert.deepEqual(visits(at('12:00', 7), at('13:00', 8)), [[1, 2]], 'one after the other');
  assert.deepEqual(visits(at('12:00', 7), at('16:00', 7)), [[1, 2]], 'one visit by its number');
  assert.deepEqual(visits(at('12:00', 7), at('16:00', 8)), [[1], [2]], 'twice on one day');
  assert.deepEqual(visits(at('12:00', 0), at('16:00', 0)), [[1], [2]], '0 is no number');
  const [first, between, third] = [at('10:00', 7), at('14:00', 8), at('15:00', 7)];
  assert.deepEqual(visits(first, between, third), [[1, 2, 3]], 'one of its records touches another visit');
  assert.deepEqual(visits(first, at('13:00', 8), third), [[1, 3], [2]], 'another visit between its records');
});

test('records of one visit by its number are never parted, and what follows what is one, in any order', () => {
  const records = fc.array(
    fc.record({
      day: fc.constantFrom('20', '20', '21'),
      quarter: fc.integer({ min: 32, max: 80 }),
      quarters: fc.integer({ min: 1, max: 8 }),
      visitId: fc.integer({ min: 0, max: 3 }),
    }),
    { minLength: 2, maxLength: 7 },
  );
  let parted = 0;
  fc.assert(
    fc.property(records, fc.infiniteStream(fc.nat()), (list, keys) => {
      const bookings = list.map(({ day, quarter, quarters, visitId }, index) => {
        const time = `${String(Math.floor(quarter / 4)).padStart(2, '0')}:${String((quarter % 4) * 15).padStart(2, '0')}`;
        const fields = { visitId, startsLocal: `2026-03-${day}T${time}:00`, durationSeconds: quarters * 900 };
        return { recordId: index + 1, booking: booking(fields) };
      });
      const groups = visitsOf(bookings, ZONE).map(({ records: theirs }) => theirs.map(one => one.recordId));
      const groupOf = (recordId: number) => groups.find(group => group.includes(recordId));
      for (const [index, one] of list.entries()) {
        for (const [place, other] of list.entries()) {
          if (place === index || one.day !== other.day) continue;
          const gap = other.quarter - (one.quarter + one.quarters);
          const near = other.quarter >= one.quarter && gap <= 1;
          const same = one.visitId > 0 && one.visitId === other.visitId;
          if (near || same) assert.equal(groupOf(index + 1), groupOf(place + 1));
          if (same && !near && gap > 1) parted += 1;
        }
      }
      const shuffled = bookings
        .map(one => ({ one, key: keys.next().value ?? 0 }))
        .sort((left, right) => left.key - right.key)
        .map(({ one }) => one);
      assert.deepEqual(visitsOf(shuffled, ZONE), visitsOf(bookings, ZONE));
      for (const visit of visitsOf(bookings, ZONE)) {
        assert.equal(visit.startsAt, Math.min(...visit.records.map(one => one.startsAt)));
        assert.ok(new Set(visit.records.map(one => one.startsLocal.slice(0, 10))).size === 1, 'of one day');
      }
    }),
    { numRuns: 300 },
  );
  assert.ok(parted > 50, `only ${parted} pairs of one visit lay apart`);
});

test('what was reminded of stays so when the visit loses or gains a record', () => {
  const one = booking({ startsLocal: '2026-03-20T12:00:00' });
  const other = booking({ startsLocal: '2026-03-20T13:00:00' });
  const said = [{ rule: '24h', covers: [{ recordId: 1, startsLocal: '2026-03-20T12:00:00' }] }];
  const rules = (bookings: PlanInput['bookings']) => ask({ bookings, said }).wanted.map(({ rule }) => rule);
  assert.deepEqual(rules([{ recordId: 1, booking: one }]), ['2h']);
  assert.deepEqual(
    rules([
      { recordId: 1, booking: one },
      { recordId: 2, booking: other },
    ]),
    ['2h'],
  );
  assert.deepEqual(rules([{ recordId: 2, booking: other }]), ['24h', '2h'], 'another visit');
  const moved = booking({ startsLocal: '2026-03-25T12:00:00' });
  assert.deepEqual(rules([{ recordId: 1, booking: moved }]), ['24h', '2h'], 'another hour');
});

test('a visit that begins earlier than was said is reminded of at its new beginning, one that begins later is not', () => {
  const at = (recordId: number, time: string) => ({
    recordId,
    booking: booking({ startsLocal: `2026-03-20T${time}:00`, visitId: 7 }),
  });
  const covers = (...records: [number, string][]) =>
    records.map(([recordId, time]) => ({ recordId, startsLocal: `2026-03-20T${time}:00` }));
  const said = [{ rule: '24h', covers: covers([1, '12:00'], [2, '13:00']) }];
  const rules = (bookings: PlanInput['bookings'], also: PlanInput['said'] = []) =>
    ask({ bookings, said: [...said, ...also] }).wanted.map(({ rule }) => rule);
  assert.deepEqual(rules([at(1, '10:00'), at(2, '13:00')]), ['24h', '2h'], 'its first record earlier');
  assert.deepEqual(rules([at(1, '12:00'), at(2, '10:00')]), ['24h', '2h'], 'its second goes first');
  assert.deepEqual(rules([at(3, '11:00'), at(1, '12:00')]), ['24h', '2h'], 'one is added in front');
  assert.deepEqual(rules([at(1, '12:00'), at(2, '16:00')]), ['2h'], 'its second later');
  assert.deepEqual(rules([at(1, '12:30'), at(2, '13:00')]), ['2h'], 'its first later');
  assert.deepEqual(rules([at(2, '13:00'), at(1, '14:00')]), ['2h'], 'the other way round');
  const again = [{ rule: '24h', covers: covers([1, '10:00'], [2, '13:00']) }];
  assert.deepEqual(rules([at(1, '10:00'), at(2, '13:00')], again), ['2h'], 'and once');
  assert.deepEqual(rules([at(1, '12:00'), at(2, '13:00')], again), ['2h'], 'nor when it is put back');
});

test('quiet hours defer a reminder to the morning, and what falls together is said once', () => {
  const bookings = [{ recordId: 1, booking: booking({ startsLocal: '2026-03-20T10:30:00' }) }];
  const policy = policyOf({ reminders: { at: ['24h', '3h', '2h'] } });
  assert.deepEqual(moments({ bookings, policy }), ['24h 2026-03-19T10:30:00', '2h 2026-03-20T09:00:00']);
  const [together] = ask({ bookings, policy }).unwanted;
  assert.deepEqual([together?.rule, together?.why], ['3h', 'the quiet hours put it together with 2h']);
  const early = [{ recordId: 1, booking: booking({ startsLocal: '2026-03-20T09:15:00' }) }];
  assert.deepEqual(
    moments({ bookings: early }),
    ['24h 2026-03-19T09:15:00'],
    'half an hour before at the latest',
  );
  const send = policyOf({ quietHours: { reminders: 'send' } });
  assert.deepEqual(moments({ bookings: early, policy: send }).at(-1), '2h 2026-03-20T07:15:00');
  const drop = policyOf({ quietHours: { reminders: 'drop' } });
  assert.deepEqual(moments({ bookings: early, policy: drop }), ['24h 2026-03-19T09:15:00']);
});

test('who is there already, or was marked as absent, is reminded no more; nor is who booked just before it', () => {
  const at = (attendance: -1 | 0 | 1 | 2, createdAt = 0) => [
    { recordId: 1, booking: booking({ startsLocal: '2026-03-20T15:00:00', attendance, createdAt }) },
  ];
  const both = ['24h 2026-03-19T15:00:00', '2h 2026-03-20T13:00:00'];
  assert.deepEqual(moments({ bookings: at(0) }), both);
  assert.deepEqual(moments({ bookings: at(2) }), both, 'who has confirmed');
  for (const attendance of [1, -1] as const) assert.deepEqual(moments({ bookings: at(attendance) }), []);
  // In Belgrade, an hour ahead of UTC then: four hours before, and two.
  const made = (hour: number) => Date.UTC(2026, 2, 20, hour);
  assert.deepEqual(moments({ bookings: at(0, made(9)), now: made(9) }), ['2h 2026-03-20T13:00:00']);
  assert.deepEqual(moments({ bookings: at(0, made(11)), now: made(11) }), []);
  const visit = [...at(0), ...at(0, made(11)).map(added => ({ ...added, recordId: 2 }))];
  assert.deepEqual(moments({ bookings: visit, now: made(11) }), [], 'nor who has just added to the visit');
  const policy = policyOf({ reminders: { notIfBookedWithin: '1h' } });
  assert.deepEqual(moments({ bookings: at(0, made(10)), now: made(10), policy }), both.slice(1));
});

const AFTER: PolicyDocument = {
  reminders: { at: [] },
  afterVisit: { review: '2h', noShow: '1h', rebook: '30d' },
};

test('after a visit: a review when they came, a follow-up when they did not, an invitation by consent', () => {
  const policy = policyOf(AFTER);
  const now = Date.UTC(2026, 2, 11, 12);
  const visit = (attendance: -1 | 0 | 1) => [
    { recordId: 1, booking: booking({ startsLocal: '2026-03-11T12:00:00', attendance }, now) },
  ];
  const after = (attendance: -1 | 0 | 1, wantsAdvertising = true) =>
    moments({ bookings: visit(attendance), policy, now, client: { refuses: false, wantsAdvertising } });
  assert.deepEqual(after(1), ['review 2026-03-11T15:00:00', 'rebook 2026-04-10T14:00:00']);
  assert.deepEqual(after(1, false), ['review 2026-03-11T15:00:00'], 'no advertising without consent');
  assert.deepEqual(after(-1), ['no_show 2026-03-11T14:00:00'], 'counted from when it was marked');
  assert.deepEqual(after(0), []);
  const again = [...visit(1), { recordId: 2, booking: booking({ startsLocal: '2026-03-25T12:00:00' }) }];
  const client = { refuses: false, wantsAdvertising: true };
  assert.deepEqual(moments({ bookings: again, policy, now, client }), ['review 2026-03-11T15:00:00']);
  const missed = [...visit(-1), ...again.slice(1)];
  assert.deepEqual(
    moments({ bookings: missed, policy, now, client }),
    [],
    'who has booked again was not lost',
  );
});

test('what is said after a visit is not put off, nor made of a cancellation, by bodies that repeat the attendance', () => {
  const policy = policyOf(AFTER);
  const at = (hour: number, minute = 0) => Date.UTC(2026, 2, 11, hour, minute);
  // From noon to one o'clock in Belgrade, an hour ahead of UTC.
  const visit = { startsLocal: '2026-03-11T12:00:00', durationSeconds: 3600, deleted: false };
  const after = (attendance: -1 | 1, marked: number) => {
    const marking = merge(booking({ ...visit }, START), { ...visit, attendance }, marked).booking;
    const edited = merge(marking, { ...visit, attendance, durationSeconds: 3000 }, at(13, 50)).booking;
    const rules = (one: Booking) =>
      moments({ bookings: [{ recordId: 1, booking: one }], policy, now: at(12, 5) });
    assert.deepEqual(rules(edited), rules(marking));
    assert.ok(!concernsPlan(edited, merge(edited, { comment: 'а', attendance }, at(13, 55)).booking));
    return rules(edited);
  };
  assert.deepEqual(after(1, at(12, 5)), ['review 2026-03-11T15:05:00']);
  assert.deepEqual(after(-1, at(12, 5)), ['no_show 2026-03-11T14:05:00']);
  assert.deepEqual(after(-1, at(8)), [], 'called off three hours before');
  const late = merge(booking({ ...visit }, START), { ...visit, attendance: 1 }, at(13, 50)).booking;
  const heard = merge(late, { attendance: 1 }, at(12, 5)).booking;
  assert.ok(concernsPlan(late, heard), 'an older body brings the mark forward');
});

test('after a visit by the quiet hours of each kind, and not more than two days late', () => {
  const after = (document: PolicyDocument, now: number, fields: Partial<Booking['fields']> = {}) => {
    const at = { startsLocal: '2026-03-11T19:00:00', attendance: 1 as const, ...fields };
    const bookings = [{ recordId: 1, booking: booking(at, now) }];
    const policy = policyOf({
      reminders: { at: [] },
      afterVisit: { review: '2h', noShow: '1h', rebook: '10d' },
      ...document,
    });
    return moments({ bookings, policy, now, client: { refuses: false, wantsAdvertising: true } });
  };
  const now = Date.UTC(2026, 2, 11, 19);
  assert.deepEqual(after({}, now), ['review 2026-03-12T09:00:00', 'rebook 2026-03-21T20:00:00']);
  const send = { quietHours: { afterVisit: 'send' as const } };
  assert.deepEqual(after(send, now)[0], 'review 2026-03-11T22:00:00');
  const drop = { quietHours: { afterVisit: 'drop' as const } };
  assert.deepEqual(after(drop, now), ['rebook 2026-03-21T20:00:00']);
  const late = { from: '19:00', to: '10:00' };
  assert.deepEqual(after({ quietHours: late }, now)[1], 'rebook 2026-03-22T10:00:00');
  assert.deepEqual(after({ quietHours: { ...late, advertising: 'drop' } }, now).length, 1);
  assert.deepEqual(
    after({ quietHours: { ...late, advertising: 'send' } }, now)[1],
    'rebook 2026-03-21T20:00:00',
  );
  const noon = { startsLocal: '2026-03-11T12:00:00' };
  const four = Date.UTC(2026, 2, 11, 15);
  assert.equal(after({}, four, noon)[0], 'review 2026-03-11T18:00:00', 'from the mark, where that is later');
  // Marked as having come on the third day only.
  const third = Date.UTC(2026, 2, 14, 9);
  assert.deepEqual(after({}, third), ['rebook 2026-03-21T20:00:00']);
  assert.deepEqual(after({}, third, { attendance: -1 }), []);
});
