/**
 * The month of a salon, and how many messages it calls for: worked out from the salon's own course of events by asking,
 * at the moment of each possible message, how things stand then. Times are half hours in a zone without summer
 * time, so that an hour of the salon is arithmetic.
 */
import type { PolicyDocument } from '../src/domain/policy.ts';
import { createRandom, type Random } from '../src/simulator/random.ts';

export const ZONE = 'Europe/Moscow';
export const POLICY: PolicyDocument = {
  settle: { any: '0ms' },
  reminders: { at: ['24h', '2h'] },
  afterVisit: { review: '2h', noShow: '1h', rebook: '14d' },
  limits: { perDay: null, advertisingPerDay: null },
};

const ZONE_MS = 3 * 3_600_000;
const MINUTE = 60_000;
/** Everything falls on one of these, so that a month has few moments and each has much to do. */
const STEP = 30 * MINUTE;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const CHAIRS = 20;
const DAYS = 30;
const VISITS_A_CHAIR = 15;
const CLIENTS = 4_000;
/** Midnight in the salon. */
const FIRST_DAY = Date.UTC(2031, 3, 1) - ZONE_MS;

export type Event = { readonly at: number; readonly body: string };
export type Counts = Readonly<Record<string, number>>;

/** How a record stands from `at` on. */
type Turn = {
  readonly at: number;
  readonly startsAt: number;
  readonly cancelled: boolean;
  /** Called off by attendance -1 rather than deleted. */
  readonly byAttendance?: boolean;
};
type Visit = {
  readonly clientId: number;
  readonly madeAt: number;
  /** One record, or two that follow each other and share whatever happens. */
  readonly recordIds: readonly number[];
  readonly turns: Turn[];
  /** Said when the visit is over, or half an hour after its last record has begun. */
  outcome: { readonly at: number; readonly came: boolean } | null;
  /** The administrator comes back to it when it is over: nothing is said of that. */
  readonly editedAt: number | null;
};

export type Month = {
  readonly events: readonly Event[];
  readonly visits: number;
  readonly records: number;
  readonly courses: readonly Visit[];
  /** Clients who agreed to advertising. */
  readonly agreed: ReadonlySet<number>;
};

/** The month, or the first `days` of it, of the salon or of one of fewer chairs. */
export function salonMonth(seed: number, { chairs = CHAIRS, days = DAYS } = {}): Month {
  const random = createRandom(seed);
  const agreed = new Set(Array.from({ length: CLIENTS }, (_, id) => id + 1).filter(() => random.chance(0.4)));
  const busy = new Set<string>();
  const courses: Visit[] = [];
  let recordId = 0;
  for (let day = 0; day < days; day += 1) {
    for (let number = 0; number < chairs * VISITS_A_CHAIR; number += 1) {
      const recordIds = random.chance(0.05) ? [recordId + 1, recordId + 2] : [recordId + 1];
      recordId += recordIds.length;
      courses.push(courseOf(random, day, recordIds, busy));
    }
  }
  const events = courses.flatMap(visit => eventsOf(visit, agreed)).sort((left, right) => left.at - right.at);
  return { events, visits: courses.length, records: recordId, courses, agreed };
}

/**
 * Booked up to two weeks ahead; every eighth moves, every twelfth is called off, one in two of these by attendance -1, some
 * come back. One in four is touched once more when it is over, whatever became of it.
 */
function courseOf(random: Random, day: number, recordIds: readonly number[], busy: Set<string>): Visit {
  const clientId = freeClient(random, busy, day);
  const startsAt = hourOf(random, day);
  const ahead = random.chance(0.2) ? random.integer(1, 8) * STEP : random.integer(8, 14 * 48) * STEP;
  const madeAt = waking(startsAt - ahead, startsAt);
  const turns: Turn[] = [{ at: madeAt, startsAt, cancelled: false }];
  const later = () => {
    const last = turns.at(-1) ?? { at: madeAt, startsAt, cancelled: false };
    const room = Math.floor((last.startsAt - last.at) / STEP) - 1;
    return room < 2 ? undefined : { last, at: last.at + random.integer(1, room) * STEP };
  };
  const move = random.chance(0.125) ? later() : undefined;
  if (move !== undefined) {
    const to = Math.min(DAYS - 1, day + random.integer(1, 5));
    if (!busy.has(`${clientId}:${to}`)) {
      busy.add(`${clientId}:${to}`);
      turns.push({ at: move.at, startsAt: hourOf(random, to), cancelled: false });
    }
  }
  const end = random.chance(0.08) ? later() : undefined;
  const byAttendance = random.chance(0.5);
  if (end !== undefined) turns.push({ ...end.last, at: end.at, cancelled: true, byAttendance });
  const back = end !== undefined && random.chance(0.25) ? later() : undefined;
  if (back !== undefined) turns.push({ ...back.last, at: back.at, cancelled: false });
  const last = turns.at(-1);
  const came = random.chance(0.93);
  const outcome =
    last === undefined || last.cancelled
      ? null
      : { at: last.startsAt + (recordIds.length - 1) * HOUR + (came ? HOUR : STEP), came };
  const overAt = outcome?.at ?? (last?.startsAt ?? startsAt) + recordIds.length * HOUR;
  const editedAt = random.chance(0.25) ? overAt + random.integer(1, 3) * STEP : null;
  return { clientId, madeAt, recordIds, turns, outcome, editedAt };
}

/** No client comes twice on a day, so that which records are one visit is known without looking. */
function freeClient(random: Random, busy: Set<string>, day: number): number {
  for (;;) {
    const clientId = random.integer(1, CLIENTS);
    if (busy.has(`${clientId}:${day}`)) continue;
    busy.add(`${clientId}:${day}`);
    return clientId;
  }
}

function hourOf(random: Random, day: number): number {
  return FIRST_DAY + day * DAY + random.integer(18, 38) * STEP;
}

/** Nobody books at night: the evening before, then. */
function waking(moment: number, startsAt: number): number {
  const inDay = (moment + ZONE_MS) % DAY;
  const moved = inDay < 8 * HOUR ? moment - inDay - HOUR : moment;
  return Math.min(moved, startsAt - STEP);
}

type Change = Turn & { readonly status: string; readonly attendance: number; readonly comment: string };

function eventsOf(visit: Visit, agreed: ReadonlySet<number>): Event[] {
  const { turns, outcome, recordIds, editedAt } = visit;
  const changes: Change[] = turns.map((turn, index) => ({
    ...turn,
    status: index === 0 ? 'create' : 'update',
    attendance: turn.cancelled && turn.byAttendance ? -1 : 0,
    comment: '',
  }));
  const last = changes.at(-1);
  const ending =
    outcome === null || last === undefined
      ? []
      : [{ ...last, at: outcome.at, status: 'update', attendance: outcome.came ? 1 : -1 }];
  const known = ending[0] ?? last;
  const edit =
    editedAt === null || known === undefined
      ? []
      : [{ ...known, at: editedAt, status: 'update', comment: 'чай' }];
  return [...changes, ...ending, ...edit].flatMap(change =>
    recordIds.map((recordId, index) => ({
      at: change.at,
      body: bodyOf(visit, recordId, index, change, agreed),
    })),
  );
}

function bodyOf(
  { clientId, madeAt, recordIds }: Visit,
  recordId: number,
  index: number,
  change: Change,
  agreed: ReadonlySet<number>,
): string {
  const wall = new Date(change.startsAt + index * HOUR + ZONE_MS)
    .toISOString()
    .slice(0, 19)
    .replace('T', ' ');
  const moment = (at: number) => `${new Date(at).toISOString().slice(0, 19)}+0000`;
  return JSON.stringify({
    ...{ company_id: 1, resource: 'record', resource_id: recordId, status: change.status },
    data: {
      ...{
        id: recordId,
        company_id: 1,
        visit_id: recordIds[0],
        staff_id: 1 + (recordId % CHAIRS),
        date: wall,
      },
      ...{ create_date: moment(madeAt), last_change_date: moment(change.at) },
      // Of a visit that was off its length is edited too: of one that was kept it would be another end.
      seance_length: change.comment !== '' && (change.cancelled || change.attendance === -1) ? 4200 : 3600,
      ...{
        attendance: change.attendance,
        deleted: change.cancelled && change.byAttendance !== true,
        online: false,
        paid_full: 0,
        comment: change.comment,
      },
      services: [{ id: 7, title: 'Стрижка', amount: 1 }],
      staff: { id: 1 + (recordId % CHAIRS), name: 'Ольга' },
      client: {
        ...{ id: clientId, name: 'Анна', phone: `7916${String(clientId).padStart(7, '0')}` },
        is_newsletter_allowed: agreed.has(clientId),
      },
    },
  });
}

/** How many messages there must be, by kind of change, reminder and purpose. */
export function countExpected({ courses, agreed }: Month): Counts {
  const counts = new Map<string, number>();
  const add = (what: string, count: number) => {
    if (count > 0) counts.set(what, (counts.get(what) ?? 0) + count);
  };
  const ofClient = Map.groupBy(courses, visit => visit.clientId);
  for (const visit of courses) {
    const { turns, recordIds, outcome, madeAt } = visit;
    for (const [index, turn] of turns.entries()) {
      const before = turns[index - 1];
      const kind = kindOf(before, turn);
      // One record a notice; nothing is told of a visit that has begun.
      if (kind !== null) add(kind, recordIds.length);
    }
    for (const startsAt of new Set(turns.map(turn => turn.startsAt))) {
      for (const [name, before] of [
        ['24h', 24 * HOUR],
        ['2h', 2 * HOUR],
      ] as const) {
        const at = awake(startsAt - before);
        const stands = standsAt(visit, at);
        const good = stands?.startsAt === startsAt && !stands.cancelled && at <= startsAt - 30 * MINUTE;
        if (good && at >= madeAt + 3 * HOUR) add(name, 1);
      }
    }
    if (outcome === null) continue;
    const endsAt = outcome.came ? outcome.at : outcome.at - STEP + HOUR;
    const startsAt = endsAt - recordIds.length * HOUR;
    /** Whether the client has another visit after this one, as of that moment. */
    const again = (at: number) =>
      (ofClient.get(visit.clientId) ?? []).some(other => {
        const stands = standsAt(other, at);
        return other !== visit && stands !== undefined && !stands.cancelled && stands.startsAt > startsAt;
      });
    if (outcome.came) add('review', 1);
    else if (!again(awake(outcome.at + HOUR))) add('no_show', 1);
    const nudge = awake(endsAt + 14 * DAY);
    if (outcome.came && agreed.has(visit.clientId) && !again(nudge)) add('rebook', 1);
  }
  return Object.fromEntries([...counts].sort(([left], [right]) => (left < right ? -1 : 1)));
}

function kindOf(before: Turn | undefined, turn: Turn): string | null {
  if (before === undefined) return 'booked';
  if (before.cancelled !== turn.cancelled) return turn.cancelled ? 'cancelled' : 'restored';
  return before.startsAt === turn.startsAt ? null : 'rescheduled';
}

function standsAt({ turns }: Visit, at: number): Turn | undefined {
  return turns.findLast(turn => turn.at <= at);
}

/** The moment itself, or nine in the morning where it lies between nine in the evening and then. */
function awake(at: number): number {
  const inDay = (at + ZONE_MS) % DAY;
  if (inDay >= 21 * HOUR) return at - inDay + DAY + 9 * HOUR;
  return inDay < 9 * HOUR ? at - inDay + 9 * HOUR : at;
}
