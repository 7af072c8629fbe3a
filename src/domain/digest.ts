/**
 * The administrators' digest: once a day, what the coming day is like and where a person is needed. Pure; what it says
 * is counted when it leaves.
 */
import type { Booking } from './booking.ts';
import type { DigestRules, Policy } from './policy.ts';
import { type EpochMs, instantOf, shiftDays, type Wall, wallOf } from './time.ts';
import { type Visit, visitsOf } from './visit.ts';

export type Digest = {
  /** `2026-11-25`, of the salon's calendar. */
  readonly day: string;
  readonly visits: number;
  /** Of these, the ones that their clients have not confirmed. */
  readonly unconfirmed: number;
  /** Of what is yet to come, what became of it within a day. */
  readonly booked: number;
  readonly moved: number;
  readonly cancelled: number;
  /** Visits of the day whose client could not be told the last that we had for them. */
  readonly unreached: readonly { readonly startsLocal: Wall; readonly staffName: string }[];
};

/** How late it may still leave: after that its day has another face. */
const USE_MS = 3 * 3_600_000;
/** What counts as lately. */
export const LATELY_MS = 24 * 3_600_000;

export type DigestTime = {
  /** The day it is sent on, as a number: 20261124. One a day and administrator, by whichever policy. */
  readonly step: number;
  readonly at: EpochMs;
  readonly until: EpochMs;
  /** Whose visits it tells of. */
  readonly about: string;
};

/** The digest of the day that it is in the salon at `moment`; null when the policy wants none. */
export function digestOn({ team: { digest } }: Policy, zone: string, moment: EpochMs): DigestTime | null {
  const today = wallOf(moment, zone);
  return digest.at === null ? null : timeOf(digest, digest.at, today, zone);
}

function timeOf({ about }: DigestRules, at: string, today: Wall, zone: string): DigestTime {
  const day = today.slice(0, 10);
  const moment = instantOf(`${day}T${at}:00`, zone);
  return {
    step: Number(day.replaceAll('-', '')),
    at: moment,
    until: moment + USE_MS,
    about: (about === 'today' ? today : shiftDays(today, 1)).slice(0, 10),
  };
}

/** The one that is to leave now, if any: what was missed for longer is not made up for. */
export function dueDigest(policy: Policy, zone: string, now: EpochMs): DigestTime | null {
  // The one of yesterday evening may be due past midnight.
  const candidates = [now, now - USE_MS].map(moment => digestOn(policy, zone, moment));
  return candidates.find(time => time !== null && time.at <= now && now < time.until) ?? null;
}

/** The next one from now on. */
export function nextDigest(policy: Policy, zone: string, now: EpochMs): DigestTime | null {
  const today = digestOn(policy, zone, now);
  if (today === null || today.at > now) return today;
  const { digest } = policy.team;
  return digest.at === null ? null : timeOf(digest, digest.at, shiftDays(wallOf(now, zone), 1), zone);
}

export type DigestInput = {
  readonly day: string;
  readonly zone: string;
  /** At least those of the day. */
  readonly bookings: readonly { readonly recordId: number; readonly booking: Booking }[];
  readonly lately: Pick<Digest, 'booked' | 'moved' | 'cancelled'>;
  /** Records of which the last message to the client did not arrive. */
  readonly unreached: ReadonlySet<number>;
};

export function digestOf({ day, zone, bookings, lately, unreached }: DigestInput): Digest {
  const visits = dayVisits(bookings, day, zone);
  const lost = visits.filter(({ records }) => records.some(({ recordId }) => unreached.has(recordId)));
  return {
    ...{ day, visits: visits.length, ...lately },
    unconfirmed: visits.filter(({ records }) => records.some(({ state }) => state === 'waiting')).length,
    unreached: lost.map(({ startsLocal, records: [{ booking }] }) => ({
      startsLocal,
      staffName: booking.fields.staffName ?? '',
    })),
  };
}

export function isEmpty({ visits, booked, moved, cancelled }: Digest): boolean {
  return visits + booked + moved + cancelled === 0;
}

/** Records of one client that belong together are one; a record without a client is an hour that is blocked. */
function dayVisits(bookings: DigestInput['bookings'], day: string, zone: string): Visit[] {
  const ofDay = bookings.filter(
    ({ booking: { fields } }) => typeof fields.clientId === 'number' && fields.startsLocal?.startsWith(day),
  );
  const byClient = Map.groupBy(ofDay, ({ booking }) => booking.fields.clientId);
  const visits = [...byClient.values()].flatMap(theirs => visitsOf(theirs, zone));
  return visits.sort((left, right) => left.startsAt - right.startsAt);
}
