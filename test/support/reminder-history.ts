/** Histories of a month in a salon, and what the planner alone makes of them. */
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
/** Clocks in Belgrade and in London go forward in the night to 29 March 2026, in Moscow they do not. */
export const ZONE = 'Europe/Belgrade';
const ZONES = [ZONE, 'Europe/London', 'Europe/Moscow'];
export const START = Date.UTC(2026, 2, 10, 6);
export const LENGTH = 31 * DAY;

type Action =
  /** Books, or moves what is booked. */
  | { kind: 'put'; record: number; day: number; hour: number; minutes: number }
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
/** To the minute, as is every reminder: so that an action may fall on the very moment. */
export const history = fc
  .array(fc.record({ at: fc.integer({ min: 0, max: LENGTH / (30 * MINUTE) }), action }), {
    minLength: 5,
    maxLength: 40,
    size: 'max',
  })
  .map(steps =>
    steps.map(({ at, action }) => ({ at: START + at * 30 * MINUTE, action })).sort((a, b) => a.at - b.at),
  );

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
        startsLocal: hourOf(at, action),
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
  return {
    reminders: { at: reminders, minimumLead, notIfBookedWithin },
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
    asleep = () => false,
    moments = () => [],
  }: {
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
      ...moments(salon),
      now + 12 * HOUR,
    ];
    now = Math.min(...later.filter(at => at > now));
  }
  return sent;
}
