/**
 * Notices: a client is told the difference between what they last heard (`told`) and what is true now.
 *
 * Duplicates, bursts, create-then-update, A→B→A and out-of-order arrival need no case of their own here, because
 * nothing below looks at events: only at two sets of facts.
 */
import { type Booking, type Service, sameServices, startsAt, stateOf } from './booking.ts';
import { audienceOf, isTeam, type Member, memberRecipient, staffIdOf } from './team.ts';
import type { EpochMs, Wall } from './time.ts';

/** What a client cares about, and the team. Came, paid and comments are not among it. */
export type Facts = {
  /** `passed`: it stands, but to the master who is told it is another's now. */
  readonly status: 'booked' | 'cancelled' | 'passed';
  readonly startsLocal: Wall;
  readonly staffId: number | null;
  readonly staffName: string;
  readonly services: readonly Service[];
  /** To the team: the client has said that they will come. */
  readonly confirmed?: true;
};

/** What one recipient last heard of one booking. `step` counts how often it moved. */
export type Told = {
  readonly facts: Facts;
  readonly step: number;
  /**
   * `baseline`: known from before we began to speak; `policy`, `operator`: not told, as the policy has it or by an
   * operator's word. All taken as heard.
   */
  readonly how: 'baseline' | 'policy' | 'operator' | 'message';
};

/** By recipient, e.g. `client:169711586`. */
export type ToldByRecipient = { readonly [recipient: string]: Told };

export type NoticeKind =
  | 'booked'
  | 'rescheduled'
  | 'staff_changed'
  | 'services_changed'
  | 'changed'
  | 'cancelled'
  | 'restored'
  /** Of the team only. */
  | 'confirmed'
  /** Of the team only, and no difference: the client wants another hour and cannot move the visit by themselves. */
  | 'move_asked';

/** One message's meaning: the recipient last heard `before` (null: nothing), and now `after` is true. */
export type Notice = { readonly kind: NoticeKind; readonly before: Facts | null; readonly after: Facts };

/** The difference worth telling, or null when what was heard is still true. */
export function noticeBetween(before: Facts | null, after: Facts | null): Notice | null {
  if (after === null) return null;
  if (before === null || before.status !== 'booked') {
    if (after.status !== 'booked') return null;
    return { kind: before === null ? 'booked' : 'restored', before, after };
  }
  if (after.status === 'cancelled') return { kind: 'cancelled', before, after };
  if (after.status === 'passed') return { kind: 'staff_changed', before, after };
  const kinds: NoticeKind[] = [];
  if (before.startsLocal !== after.startsLocal) kinds.push('rescheduled');
  if (before.staffId !== after.staffId) kinds.push('staff_changed');
  if (!sameServices(before.services, after.services)) kinds.push('services_changed');
  const [kind, ...more] = kinds;
  if (kind === undefined) {
    return after.confirmed && !before.confirmed ? { kind: 'confirmed', before, after } : null;
  }
  return { kind: more.length > 0 ? 'changed' : kind, before, after };
}

/** Whether two sets of facts say the same to a client. */
export function sameFacts(left: Facts | null, right: Facts | null): boolean {
  if (left === null || right === null) return left === right;
  return noticeBetween(left, right) === null;
}

export function clientRecipient(clientId: number): string {
  return `client:${clientId}`;
}

/** The client's id in a recipient, or undefined when the recipient is not a client. */
export function clientIdOf(recipient: string): number | undefined {
  const match = /^client:(\d+)$/.exec(recipient);
  return match ? Number(match[1]) : undefined;
}

/**
 * Everyone a booking concerns: its client, its master and the administrators where they are in the team, and those who
 * were told of it before it was handed to another. Who left the team is told no more.
 */
export function recipientsOf(
  booking: Booking,
  told: ToldByRecipient,
  team: readonly Member[] = NOBODY,
): string[] {
  const { clientId } = booking.fields;
  const current = clientId === undefined || clientId === null ? [] : [clientRecipient(clientId)];
  const members = concerned(booking, team).map(memberRecipient);
  const before = Object.keys(told).filter(
    recipient => !isTeam(recipient) || team.some(member => memberRecipient(member) === recipient),
  );
  return [...new Set([...current, ...members, ...before])];
}

const NOBODY: readonly Member[] = [];

/** Those of the team to whom a booking belongs: nobody, of a record without a client, which is an hour that is blocked. */
export function concerned({ fields }: Booking, team: readonly Member[]): readonly Member[] {
  if (team.length === 0 || typeof fields.clientId !== 'number') return NOBODY;
  return team.filter(({ role, staffId }) => role === 'administrator' || staffId === fields.staffId);
}

/**
 * The facts of a booking for one recipient; null while no body has said when the visit is. To a client whose
 * booking now belongs to another, it is cancelled; to a master whose visit does, it has passed to the other.
 */
export function factsFor(recipient: string, booking: Booking, zone: string): Facts | null {
  const { startsLocal, staffId, staffName, services, attendance } = booking.fields;
  if (startsLocal === undefined) return null;
  return {
    status: stateOf(booking, zone) === 'cancelled' ? 'cancelled' : statusFor(recipient, booking),
    startsLocal,
    staffId: staffId ?? null,
    staffName: staffName ?? '',
    services: services ?? [],
    ...(attendance === 2 && isTeam(recipient) ? { confirmed: true } : {}),
  };
}

/** Of a booking that is not called off. */
function statusFor(recipient: string, { fields: { clientId, staffId } }: Booking): Facts['status'] {
  switch (audienceOf(recipient)) {
    case 'administrator':
      return 'booked';
    case 'staff':
      return staffIdOf(recipient) === staffId ? 'booked' : 'passed';
    case 'client':
    case undefined:
      return typeof clientId === 'number' && clientRecipient(clientId) === recipient ? 'booked' : 'cancelled';
  }
}

/**
 * Whether the visit has begun, after which nobody is told of changes: administrators correct services and staff at
 * the checkout, and editing a visit of two years ago fires its webhook today.
 */
export function hasBegun(booking: Booking, zone: string, now: EpochMs): boolean {
  const starts = startsAt(booking, zone);
  return starts !== undefined && starts <= now;
}

/** How long after its creation a booking first seen by an `update` still counts as new: an out-of-order create. */
const FRESH_MS = 60 * 60 * 1000;

/** How a booking first came to be known. */
export type FirstSight = {
  readonly status: string;
  readonly receivedAt: EpochMs;
  /** From when on a booking made is news to this company's clients. */
  readonly knownSince: EpochMs;
  /**
   * We read from the platform's API, so that whatever was there before us is known or will be: nothing made since can
   * be old without our knowing.
   */
  readonly imported: boolean;
};

/**
 * Whether a booking seen for the first time is taken as already known to its client. What was made before we began is;
 * of the rest a `create` is news, and so is an `update` of a booking made within the last hour (its create is late or
 * lost). Where nothing but webhooks tells us what there was, an older one is taken as known.
 */
export function isBaseline(booking: Booking, sight: FirstSight): boolean {
  const { createdAt } = booking.fields;
  if (createdAt !== undefined && createdAt < wholeSecond(sight.knownSince)) return true;
  if (sight.status === 'create') return false;
  if (createdAt === undefined) return true;
  return !sight.imported && createdAt < sight.receivedAt - FRESH_MS;
}

/** The platform's moments are whole seconds. */
function wholeSecond(instant: EpochMs): EpochMs {
  return Math.floor(instant / 1000) * 1000;
}
