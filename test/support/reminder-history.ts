/** Histories of a month in a salon, and what the planner alone makes of them. */
import fc from 'fast-check';
import { Temporal } from 'temporal-polyfill';
import type { Booking } from '../../src/domain/booking.ts';
import {
  compareWithPlan,
  decidePlanned,
  overLimit,
  type PlanInput,
  plan,
  type StoredPlan,
} from '../../src/domain/plan.ts';
import { type PolicyDocument, policyOf } from '../../src/domain/policy.ts';
import { instantOf, wallOf } from '../../src/domain/time.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/**
 * Clocks in Belgrade and in London go forward in the night to 29 March 2026 and back in the night to 25 October, in
 * Moscow they do not.
 */
export const ZONE = 'Europe/Belgrade';
const ZONES = [ZONE, 'Europe/London', 'Europe/Moscow'];
export const START = Date.UTC(2026, 2, 10, 6);
const AUTUMN = Date.UTC(2026, 9, 6, 6);
export const LENGTH = 31 * DAY;
/** In both months the clocks change in the night before this day of it. */
const CHANGE = 19 * DAY;

type Action =
  /** Books, or moves what is booked. */
  | { kind: 'put'; record: number; day: number; hour: number; minutes: number; visitId: number }
  | { kind: 'cancel' | 'restore'; record: number }
  | {
      kind: 'policy';
      reminders: string[];
      rule: 'send' | 'defer' | 'drop';
      from: string;
      to: string;
      minimumLead: string;
      notIfBookedWithin: string;
    }
  | { kind: 'refuse' | 'accept' }
  /** The salon was in another zone all along, and somebody has put that right. */
  | { kind: 'zone'; zone: string };
export type Step = { at: number; action: Action };

const TIMES = [
  ...['24h', '2h', '1d', '90m', '20:00 the day before', '09:00 the same day', '07:30 2 days before'],
  // At night, of most visits.
  ...['10h', '23:00 the day before'],
];
const record = fc.integer({ min: 1, max: 3 });
const when = {
  record,
  /** Ahead. */
  day: fc.integer({ min: 0, max: 5 }),
  hour: fc.integer({ min: 7, max: 21 }),
  minutes: fc.constantFrom(0, 15, 30),
  visitId: fc.constantFrom(0, 0, 7),
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
      minimumLead: fc.constantFrom('30m', '30m', '3h'),
      notIfBookedWithin: fc.constantFrom('3h', '3h', '1d'),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('zone' as const), zone: fc.constantFrom(...ZONES) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom('refuse' as const, 'accept' as const, 'accept' as const) }),
  },
);
/**
 * What comes soon after a reminder of a visit that is just booked, and would have it said once more: quiet hours that
 * reach over its moment from before, or a zone farther west.
 */
const echo = fc.option(
  fc.record({
    rule: fc.constantFrom(24, 2),
    halfHours: fc.integer({ min: 1, max: 2 }),
    kind: fc.constantFrom('longer' as const, 'west' as const),
  }),
  { freq: 3 },
);

function echoed(
  at: number,
  action: Action,
  after: typeof echo extends fc.Arbitrary<infer T> ? T : never,
): Step[] {
  if (after === null || action.kind !== 'put') return [{ at, action }];
  const said = instantOf(hourOf(at, action), ZONE) - after.rule * HOUR;
  const then = said + after.halfHours * 30 * MINUTE;
  // To the half hour, as all steps.
  const noticed = then - (then % (30 * MINUTE));
  if (noticed <= at || noticed <= said) return [{ at, action }];
  const from = wallOf(said, ZONE).slice(11, 16);
  const to = wallOf(noticed + 2 * HOUR, ZONE).slice(11, 16);
  const change: Action =
    after.kind === 'west'
      ? { kind: 'zone', zone: 'Europe/London' }
      : {
          ...{ kind: 'policy', reminders: ['24h', '2h'], rule: 'defer', from, to },
          ...{ minimumLead: '30m', notIfBookedWithin: '3h' },
        };
  return [
    { at, action },
    { at: noticed, action: change },
  ];
}

type Put = Extract<Action, { kind: 'put' }>;
const put = (more: Omit<Put, 'kind' | 'minutes'>): Put => ({ kind: 'put', minutes: 0, ...more });

/** A visit soon after the change of clocks, booked before it, so that reminders of all kinds lie on either side. */
const overnight = fc
  .record({
    hours: fc.integer({ min: 28, max: 40 }),
    day: fc.constantFrom(1, 2, 2),
    hour: when.hour,
    reminders: fc.uniqueArray(fc.constantFrom(...TIMES), { minLength: 4, maxLength: 6 }),
  })
  .map(({ hours, day, hour, reminders }): Step[] => {
    const at = CHANGE - hours * HOUR;
    const usual = {
      rule: 'defer',
      from: '21:00',
      to: '09:00',
      minimumLead: '30m',
      notIfBookedWithin: '3h',
    } as const;
    return [
      { at, action: { kind: 'policy', reminders, ...usual } },
      { at, action: { kind: 'accept' } },
      { at, action: put({ record: 4, day, hour, visitId: 0 }) },
    ];
  });
/** Two records of one visit, of which one may move a day and a half later, to the front or back. */
const pair = fc
  .record({
    day: fc.integer({ min: 2, max: 3 }),
    hours: fc.uniqueArray(fc.integer({ min: 9, max: 20 }), { minLength: 3, maxLength: 3 }),
    moves: fc.boolean(),
  })
  .map(({ day, hours: [first = 9, second = 9, third = 9], moves }) => {
    const at = 5 * DAY;
    const steps = [first, second].map((hour, index) => ({
      ...{ at, action: put({ record: 5 + index, day, hour, visitId: 8 }) },
    }));
    const moved = { at: at + 36 * HOUR, action: put({ record: 6, day: day - 2, hour: third, visitId: 8 }) };
    return moves ? [...steps, moved] : steps;
  });

/** To the half hour, as reminders to the quarter are: so that an action may fall on the very moment. */
function historyFrom(start: number): fc.Arbitrary<Step[]> {
  const step = fc.record({ at: fc.integer({ min: 0, max: LENGTH / (30 * MINUTE) }), action, echo });
  return fc
    .tuple(fc.array(step, { minLength: 5, maxLength: 40, size: 'max' }), overnight, pair)
    .map(([steps, ...others]) =>
      [
        ...steps.flatMap(({ at, action, echo: after }) => echoed(start + at * 30 * MINUTE, action, after)),
        ...others.flat().map(({ at, action }) => ({ at: start + at, action })),
      ]
        .filter(({ at }) => at <= start + LENGTH)
        .sort((a, b) => a.at - b.at),
    );
}

export const history = historyFrom(START);
/** The same month in spring or one in autumn. */
export const histories = fc
  .constantFrom(START, AUTUMN)
  .chain(start => historyFrom(start).map(steps => ({ start, steps })));

export type Salon = {
  bookings: Map<number, Booking>;
  document: PolicyDocument;
  refuses: boolean;
  zone: string;
};
export type Sent = { rule: string; covers: StoredPlan['covers']; at: number };

/** The hour for which a `put` at that moment books. */
export function hourOf(at: number, { day, hour, minutes }: Extract<Action, { kind: 'put' }>): string {
  const date = Temporal.PlainDate.from(wallOf(at, ZONE)).add({ days: day });
  return `${date.toString()}T${String(hour).padStart(2, '0')}:${String(minutes).padStart(2, '0')}:00`;
}

function act({ bookings, ...salon }: Salon, { at, action }: Step): Salon {
  switch (action.kind) {
    case 'put': {
      const known = bookings.get(action.record);
      const fields = {
        ...{ durationSeconds: 3600, attendance: 0 as const, deleted: false, createdAt: at },
        ...known?.fields,
        ...{ startsLocal: hourOf(at, action), visitId: action.visitId },
      };
      bookings.set(action.record, { fields, version: at, fieldVersions: {} });
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
    case 'policy':
      return { ...salon, bookings, document: documentOf(action) };
    case 'zone':
      return { ...salon, bookings, zone: action.zone };
    case 'refuse':
      return { ...salon, bookings, refuses: true };
    case 'accept':
      return { ...salon, bookings, refuses: false };
  }
  return { ...salon, bookings };
}

export function documentOf(policy: Extract<Action, { kind: 'policy' }>): PolicyDocument {
  const { reminders, rule, from, to, minimumLead, notIfBookedWithin } = policy;
  // What could never be sent is refused at the door.
  const sound = reminders.filter(time => minimumLead !== '3h' || !['2h', '90m'].includes(time));
  return {
    reminders: { at: sound, minimumLead, notIfBookedWithin },
    quietHours: { from, to, reminders: rule },
  };
}

/**
 * Plays a history; `asleep` says when nothing can be sent, `moments` when else to look: what nothing was planned for is
 * not looked at otherwise.
 */
export function play(
  steps: readonly Step[],
  check: (salon: Salon, now: number, sent: readonly Sent[]) => void,
  {
    start = START,
    perDay = null,
    left = () => false,
    asleep = () => false,
    moments = () => [],
  }: {
    readonly start?: number;
    /** How many may leave on one day of the salon; null: however many. */
    readonly perDay?: number | null;
    /**
     * Which of those that are due at one moment leave before the others. Two processes take them up in any order, so
     * that of more than may leave it is theirs to say which.
     */
    readonly left?: (one: Sent) => boolean;
    readonly asleep?: (now: number) => boolean;
    readonly moments?: (salon: Salon) => readonly number[];
  } = {},
): Sent[] {
  let salon: Salon = { bookings: new Map(), document: {}, refuses: false, zone: ZONE };
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
    ...{ policy: policyOf(salon.document), zone: salon.zone, now, said, open },
  });
  const rest = [...steps];
  for (let now = start; now <= start + LENGTH; ) {
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
      const decide = (message: StoredPlan) => decidePlanned(message, plan(inputAt(now)), now);
      const leaves = (message: StoredPlan) => {
        const decision = decide(message);
        return (
          decision.do === 'send' && left({ rule: message.rule, covers: decision.wanted.covers, at: now })
        );
      };
      const due = open.filter(({ plannedFor }) => plannedFor <= now);
      for (const message of [...due.filter(leaves), ...due.filter(one => !leaves(one))]) {
        const decision = decide(message);
        if (decision.do === 'wait') continue;
        open = open.filter(other => other !== message);
        const today = wallOf(now, salon.zone).slice(0, 10);
        const leftToday = sent.filter(({ at }) => wallOf(at, salon.zone).startsWith(today));
        const limits = { perDay, advertisingPerDay: null };
        const reminders = leftToday.map(() => 'reminder' as const);
        if (decision.do === 'send' && overLimit(limits, reminders, 'reminder') === null)
          sent.push({ rule: message.rule, covers: decision.wanted.covers, at: now });
      }
    }
    check(salon, now, sent);
    const later = [
      ...steps.map(step => step.at),
      ...open.map(message => message.plannedFor),
      ...moments(salon),
      now + 12 * HOUR,
    ];
    now = Math.min(...later.filter(at => at > now));
  }
  return sent;
}
