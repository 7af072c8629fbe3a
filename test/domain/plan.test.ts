/** The planner alone: any history of a month, on a clock that jumps from one thing that happens to the next. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Temporal } from 'temporal-polyfill';
import type { Booking } from '../../src/domain/booking.ts';
import {
  compareWithPlan,
  decidePlanned,
  type PlanInput,
  plan,
  type StoredPlan,
} from '../../src/domain/plan.ts';
import { type PolicyDocument, policyOf } from '../../src/domain/policy.ts';
import { wallOf } from '../../src/domain/time.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Clocks in Belgrade go forward in the night to 29 March 2026. */
const ZONE = 'Europe/Belgrade';
const START = Date.UTC(2026, 2, 10, 6);
const LENGTH = 31 * DAY;

type Action =
  /** Books, or moves what is booked. */
  | { kind: 'put'; record: number; day: number; hour: number; minutes: number }
  | { kind: 'cancel' | 'restore'; record: number }
  | { kind: 'policy'; reminders: string[]; rule: 'send' | 'defer' | 'drop'; from: string; to: string }
  | { kind: 'refuse' | 'accept' };
type Step = { at: number; action: Action };

const TIMES = ['24h', '2h', '1d', '90m', '20:00 the day before', '09:00 the same day', '07:30 2 days before'];
const record = fc.integer({ min: 1, max: 3 });
const when = {
  record,
  /** Ahead. */
  day: fc.integer({ min: 0, max: 5 }),
  hour: fc.integer({ min: 7, max: 21 }),
  minutes: fc.constantFrom(0, 15, 30),
};
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ kind: fc.constant('put' as const), ...when }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom('cancel' as const, 'restore' as const), record }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('policy' as const),
      reminders: fc.uniqueArray(fc.constantFrom(...TIMES), { maxLength: 4 }),
      rule: fc.constantFrom('send' as const, 'defer' as const, 'drop' as const),
      from: fc.constantFrom('21:00', '22:30', '13:00'),
      to: fc.constantFrom('09:00', '08:00', '14:00'),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom('refuse' as const, 'accept' as const, 'accept' as const) }),
  },
);
/** To the minute, as is every reminder: so that an action may fall on the very moment. */
const history = fc
  .array(fc.record({ at: fc.integer({ min: 0, max: LENGTH / (30 * MINUTE) }), action }), {
    minLength: 5,
    maxLength: 40,
    size: 'max',
  })
  .map(steps =>
    steps.map(({ at, action }) => ({ at: START + at * 30 * MINUTE, action })).sort((a, b) => a.at - b.at),
  );

type Salon = {
  bookings: Map<number, Booking>;
  document: PolicyDocument;
  refuses: boolean;
};
type Sent = { rule: string; covers: StoredPlan['covers']; at: number };

function act({ bookings, ...salon }: Salon, { at, action }: Step): Salon {
  switch (action.kind) {
    case 'put': {
      const known = bookings.get(action.record);
      const day = Temporal.PlainDate.from(wallOf(at, ZONE)).add({ days: action.day });
      const time = `${String(action.hour).padStart(2, '0')}:${String(action.minutes).padStart(2, '0')}:00`;
      const fields = {
        ...{ startsLocal: `${day.toString()}T${time}`, durationSeconds: 3600, attendance: 0 as const },
        ...{ deleted: false, createdAt: at, ...known?.fields },
      };
      const moved = { ...fields, startsLocal: `${day.toString()}T${time}` };
      bookings.set(action.record, { fields: moved, version: at, fieldVersions: {} });
      break;
    }
    case 'cancel':
    case 'restore': {
      const known = bookings.get(action.record);
      if (known === undefined) break;
      const fields = { ...known.fields, deleted: action.kind === 'cancel' };
      bookings.set(action.record, { ...known, fields, version: at });
      break;
    }
    case 'policy': {
      const { reminders, rule, from, to } = action;
      return {
        ...salon,
        bookings,
        document: { reminders: { at: reminders }, quietHours: { from, to, reminders: rule } },
      };
    }
    case 'refuse':
      return { ...salon, bookings, refuses: true };
    case 'accept':
      return { ...salon, bookings, refuses: false };
  }
  return { ...salon, bookings };
}

/** Plays a history; `asleep` says when nothing can be sent. */
function play(
  steps: readonly Step[],
  check: (salon: Salon, now: number, sent: readonly Sent[]) => void,
  asleep: (now: number) => boolean = () => false,
): Sent[] {
  let salon: Salon = { bookings: new Map(), document: {}, refuses: false };
  let open: StoredPlan[] = [];
  const sent: Sent[] = [];
  let ids = 0;
  const newId = () => {
    ids += 1;
    return String(ids);
  };
  const inputAt = (now: number, said: readonly Sent[] = sent): PlanInput => ({
    bookings: [...salon.bookings].map(([recordId, booking]) => ({ recordId, booking })),
    client: { refuses: salon.refuses, wantsAdvertising: false },
    ...{ policy: policyOf(salon.document), zone: ZONE, now, said, open },
  });
  const rest = [...steps];
  for (let now = START; now <= START + LENGTH; ) {
    while (rest[0] !== undefined && rest[0].at <= now) {
      salon = act(salon, rest.shift() as Step);
      const { add, move, withdraw } = compareWithPlan(open, plan(inputAt(now)));
      const gone = new Set(withdraw.map(({ id }) => id));
      open = open.flatMap(message => {
        if (gone.has(message.id)) return [];
        const to = move.find(({ id }) => id === message.id)?.to;
        return [to === undefined ? message : { ...message, ...to }];
      });
      open.push(...add.map(wanted => ({ ...wanted, id: newId() })));
    }
    if (!asleep(now)) {
      for (const message of open.filter(({ plannedFor }) => plannedFor <= now)) {
        const decision = decidePlanned(message, plan(inputAt(now)), now);
        if (decision.do === 'wait') continue;
        open = open.filter(other => other !== message);
        if (decision.do === 'send')
          sent.push({ rule: message.rule, covers: decision.wanted.covers, at: now });
      }
    }
    check(salon, now, sent);
    const later = [
      ...steps.map(step => step.at),
      ...open.map(message => message.plannedFor),
      now + 12 * HOUR,
    ];
    now = Math.min(...later.filter(at => at > now));
  }
  return sent;
}

/** Whether the salon's clock shows an hour in which its clients are left in peace, read off the clock itself. */
function isQuiet({ document }: Salon, now: number): boolean {
  const { from = '21:00', to = '09:00', reminders = 'defer' } = document.quietHours ?? {};
  const time = wallOf(now, ZONE).slice(11, 16);
  const inside = from > to ? time >= from || time < to : time >= from && time < to;
  return reminders !== 'send' && inside;
}

test('whatever happens, no reminder of a visit that is off, was moved or has begun; no second; none in quiet hours', () => {
  let total = 0;
  fc.assert(
    fc.property(history, fc.integer({ min: 0, max: 5 }), (steps, sleep) => {
      // Down for some hours of each day: what is late by then must obey the same rules.
      const asleep = (now: number) => new Date(now).getUTCHours() < sleep * 3;
      let seen = 0;
      play(
        steps,
        (salon, now, sent) => {
          for (const { covers, rule, at } of sent.slice(seen)) {
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
                Temporal.PlainDateTime.from(startsLocal).toZonedDateTime(ZONE).epochMilliseconds > now,
              );
              const same = sent.filter(
                other =>
                  other.rule === rule &&
                  other.covers.some(one => one.recordId === recordId && one.startsLocal === startsLocal),
              );
              assert.equal(same.length, 1, 'one a visit and reminder time');
            }
          }
          total += sent.length - seen;
          seen = sent.length;
        },
        asleep,
      );
    }),
    { numRuns: 80 },
  );
  assert.ok(total > 200, `only ${total} reminders were sent`);
});

/** When a reminder is due by the book, for a record that is a visit of its own; null: not at all. */
function byTheBook(salon: Salon, startsLocal: string, createdAt: number, rule: string): number | null {
  const starts = Temporal.PlainDateTime.from(startsLocal).toZonedDateTime(ZONE);
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
  const early = moment >= createdAt + 3 * HOUR && moment <= starts.epochMilliseconds - 30 * MINUTE;
  return early && due.epochMilliseconds <= starts.epochMilliseconds - 30 * MINUTE ? moment : null;
}

test('otherwise there is exactly one reminder a visit and reminder time', () => {
  let total = 0;
  fc.assert(
    fc.property(history, steps => {
      play(steps, (salon, now, sent) => {
        if (salon.refuses) return;
        const rules = salon.document.reminders?.at ?? ['24h', '2h'];
        for (const [recordId, { fields }] of salon.bookings) {
          const { startsLocal = '', createdAt = 0, deleted } = fields;
          const day = startsLocal.slice(0, 10);
          const sameDay = [...salon.bookings.values()].filter(
            other => other.fields.startsLocal?.startsWith(day) && other.fields.deleted === false,
          );
          // Two on one day may be one visit: that has tests of its own.
          if (deleted || sameDay.length > 1) continue;
          const due = rules.map(rule => ({ rule, at: byTheBook(salon, startsLocal, createdAt, rule) }));
          for (const { rule, at } of due) {
            // Of reminders that fall together one is sent, whichever.
            if (at !== now || due.filter(other => other.at === now).length > 1) continue;
            const told = sent.filter(
              message =>
                message.rule === rule &&
                message.covers.some(one => one.recordId === recordId && one.startsLocal === startsLocal),
            );
            assert.equal(
              told.length,
              1,
              `${rule} of ${recordId} at ${startsLocal}, ${new Date(now).toISOString()}`,
            );
            total += 1;
          }
        }
      });
    }),
    { numRuns: 80 },
  );
  assert.ok(total > 200, `only ${total} reminders were due by the book`);
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

test('quiet hours defer a reminder to the morning, and what falls together is said once', () => {
  const bookings = [{ recordId: 1, booking: booking({ startsLocal: '2026-03-20T10:30:00' }) }];
  const policy = policyOf({ reminders: { at: ['24h', '3h', '2h'] } });
  assert.deepEqual(moments({ bookings, policy }), ['24h 2026-03-19T10:30:00', '2h 2026-03-20T09:00:00']);
  const early = [{ recordId: 1, booking: booking({ startsLocal: '2026-03-20T09:15:00' }) }];
  assert.deepEqual(
    moments({ bookings: early }),
    ['24h 2026-03-19T09:15:00'],
    'half an hour before at the latest',
  );
  const send = policyOf({ quietHours: { reminders: 'send' } });
  assert.deepEqual(moments({ bookings: early, policy: send }).at(-1), '2h 2026-03-20T07:15:00');
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
});
