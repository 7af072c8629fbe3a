/**
 * Visits: what a client comes for, which may be several records of the platform (a haircut with one, nails with
 * another). The records of one client on one day that share a `visit_id`, or follow each other, are one visit, and so is
 * what hangs together by both.
 */
import { type Booking, type BookingState, startsAt, stateOf } from './booking.ts';
import type { Facts } from './notice.ts';
import { type EpochMs, instantOf, type Wall } from './time.ts';

/** A booking of whom the hour is known, and that is not called off. */
export type VisitRecord = {
  readonly recordId: number;
  readonly booking: Booking;
  readonly state: BookingState;
  readonly startsLocal: Wall;
  readonly startsAt: EpochMs;
  readonly endsAt: EpochMs;
};

export type Visit = {
  /** By their beginning. */
  readonly records: readonly [VisitRecord, ...VisitRecord[]];
  readonly startsLocal: Wall;
  readonly startsAt: EpochMs;
  readonly endsAt: EpochMs;
};

/** Between two records of one visit: a client who waits longer has come twice. */
const LONGEST_GAP_MS = 15 * 60_000;
/** Where a record does not say how long it takes. */
const USUAL_MS = 60 * 60_000;

/** The visits that a client's bookings make, by their beginning. */
export function visitsOf(
  bookings: readonly { readonly recordId: number; readonly booking: Booking }[],
  zone: string,
): Visit[] {
  const records = bookings.flatMap(({ recordId, booking }) => recordOf(recordId, booking, zone));
  records.sort(byBeginning);
  let groups: VisitRecord[][] = [];
  for (const record of records) {
    // It may touch one visit and share the number of another: then all of them are one.
    const { own = [], others = [] } = Object.groupBy(groups, group =>
      belongs(record, group) ? 'own' : 'others',
    );
    groups = [...others, [...own.flat(), record]];
  }
  return groups.flatMap(visitOf).sort((left, right) => byBeginning(left.records[0], right.records[0]));
}

function byBeginning(left: VisitRecord, right: VisitRecord): number {
  return left.startsAt - right.startsAt || left.recordId - right.recordId;
}

function visitOf(group: readonly VisitRecord[]): Visit[] {
  const [first, ...more] = group.toSorted(byBeginning);
  if (first === undefined) return [];
  return [
    {
      records: [first, ...more],
      startsLocal: first.startsLocal,
      startsAt: first.startsAt,
      endsAt: Math.max(...group.map(record => record.endsAt)),
    },
  ];
}

function recordOf(recordId: number, booking: Booking, zone: string): VisitRecord[] {
  const { startsLocal, durationSeconds } = booking.fields;
  const state = stateOf(booking, zone);
  if (startsLocal === undefined || state === 'cancelled') return [];
  const begins = startsAt(booking, zone) ?? instantOf(startsLocal, zone);
  const lastsMs = durationSeconds === undefined ? USUAL_MS : durationSeconds * 1000;
  return [{ recordId, booking, state, startsLocal, startsAt: begins, endsAt: begins + lastsMs }];
}

function belongs(record: VisitRecord, group: readonly VisitRecord[]): boolean {
  const { visitId } = record.booking.fields;
  return group.some(other => {
    if (other.startsLocal.slice(0, 10) !== record.startsLocal.slice(0, 10)) return false;
    const shared = visitId !== undefined && visitId > 0 && other.booking.fields.visitId === visitId;
    return shared || record.startsAt <= other.endsAt + LONGEST_GAP_MS;
  });
}

/** What a client is told of a whole visit: when it begins, everything it is for, everyone they will see. */
export function factsOfVisit(records: readonly Facts[]): Facts | null {
  const [first] = records;
  if (first === undefined) return null;
  const names = [...new Set(records.map(facts => facts.staffName).filter(name => name !== ''))];
  return {
    ...first,
    staffName: names.join(', '),
    services: records.flatMap(facts => facts.services),
  };
}
