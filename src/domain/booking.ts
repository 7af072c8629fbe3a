/**
 * A booking: our copy of one YClients record, and how what arrives is merged into it.
 *
 * Each field is a register whose latest writer wins: it holds the value of the highest version that spoke of it.
 * Any order and any number of copies of the same bodies therefore end in the same booking, and a body that lacks
 * a field (a delete without a client, an older build without `record_from`) leaves that field alone.
 */
import { type Attendance, type AttendanceSaid, sayAttendance } from './attendance.ts';
import type { Origin } from './origin.ts';
import { type EpochMs, instantOf, type Wall } from './time.ts';

export type Service = { readonly id: number; readonly title: string; readonly amount: number };

/** What a body says of a booking. A field it does not mention is absent, never null. */
export type BookingFields = {
  readonly visitId: number;
  readonly startsLocal: Wall;
  readonly durationSeconds: number;
  readonly staffId: number;
  readonly staffName: string;
  readonly services: readonly Service[];
  /** null: the record has no client (a blocked hour). */
  readonly clientId: number | null;
  readonly attendance: Attendance;
  readonly deleted: boolean;
  readonly paid: boolean;
  readonly comment: string;
  readonly origin: Origin;
  readonly createdAt: EpochMs;
};

export type FieldName = keyof BookingFields;

/** Which version each field holds; `booking.version` where a field is not listed. */
export type FieldVersions = { readonly [name in FieldName]?: number };

export type Booking = {
  readonly fields: Partial<BookingFields>;
  /** The highest version merged so far: the sender's `last_change_date`, or the receipt of an unversioned body. */
  readonly version: EpochMs;
  readonly fieldVersions: FieldVersions;
  /** Since when a mark (-1, 1) has been said; absent on other bookings, and on rows from before it was kept. */
  readonly attendanceSaid?: AttendanceSaid;
};

export type Merge = {
  readonly booking: Booking;
  /** `stale`: newer news was already here, nothing moved. `same`: nothing differs. */
  readonly effect: 'merged' | 'same' | 'stale';
};

/**
 * The booking after `fields`, spoken at `version`, is merged into what was known. `settles` is for a body that was read
 * from the platform to settle a doubt: it wins over whatever was held up to that moment, later versions included (a
 * deletion without a version holds the moment of its receipt).
 */
export function merge(
  known: Booking | null,
  fields: Partial<BookingFields>,
  version: EpochMs,
  settles: EpochMs = Number.NEGATIVE_INFINITY,
): Merge {
  const before = known ?? { fields: {}, version, fieldVersions: {} };
  const merged: Record<string, unknown> = { ...before.fields };
  const versions: Record<string, number> = {};
  let said = before.attendanceSaid;
  let effect: Merge['effect'] = version < before.version && settles < before.version ? 'stale' : 'same';
  for (const name of fieldNames(before.fields, fields)) {
    const held = heldVersion(before, name);
    const taken =
      fields[name] !== undefined &&
      (wins(name, fields[name], version, held) || (held !== undefined && held <= settles));
    if (name === 'attendance' && fields.attendance !== undefined) {
      said = sayAttendance(attendanceHeld(before), { value: fields.attendance, version, taken });
    }
    if (taken && !sameValue(merged[name], fields[name])) {
      merged[name] = fields[name];
      effect = 'merged';
    }
    versions[name] = taken ? version : (held ?? version);
  }
  if (known === null) effect = 'merged';
  const standing = before.version <= settles ? Object.values(versions) : [before.version];
  const newest = Math.max(version, ...standing);
  const fieldVersions = Object.fromEntries(Object.entries(versions).filter(([, held]) => held !== newest));
  const booking = { fields: merged as Partial<BookingFields>, version: newest, fieldVersions };
  return { booking: said === undefined ? booking : { ...booking, attendanceSaid: said }, effect };
}

function attendanceHeld(booking: Booking): Parameters<typeof sayAttendance>[0] {
  const { fields, attendanceSaid: said } = booking;
  const version = heldVersion(booking, 'attendance');
  if (fields.attendance === undefined || version === undefined) return null;
  return { value: fields.attendance, version, ...(said === undefined ? {} : { said }) };
}

/** Since when the attendance has been what it is, as far as bodies tell. */
export function attendanceSaidAt(booking: Booking): EpochMs {
  const { fields, attendanceSaid: said } = booking;
  if (said !== undefined && said.value === fields.attendance) return said.versions[0];
  return heldVersion(booking, 'attendance') ?? booking.version;
}

function heldVersion(booking: Booking, name: FieldName): EpochMs | undefined {
  return name in booking.fields ? (booking.fieldVersions[name] ?? booking.version) : undefined;
}

/** What older builds of the platform leave out of a record, so that two bodies of one version may differ in it. */
const LEFT_OUT: ReadonlySet<FieldName> = new Set(['origin', 'createdAt']);

/** Whether a body says something else than we hold of the same version: nothing on the wire tells which is right. */
export function contradicts(known: Booking, fields: Partial<BookingFields>, version: EpochMs): boolean {
  return unlike(known, fields).some(name => heldVersion(known, name) === version);
}

/** Whether a body says anything else than we hold, whatever its version. */
export function differs(known: Booking, fields: Partial<BookingFields>): boolean {
  return unlike(known, fields).length > 0;
}

function unlike(known: Booking, fields: Partial<BookingFields>): FieldName[] {
  return [...fieldNames({}, fields)].filter(
    name => !LEFT_OUT.has(name) && fields[name] !== undefined && !sameValue(known.fields[name], fields[name]),
  );
}

const TELLING: readonly FieldName[] = ['startsLocal', 'staffId', 'services', 'clientId', 'attendance'];

/** Whether a body leaves out something on which a message or the booking's state depends. */
export function isPartial(fields: Partial<BookingFields>): boolean {
  return TELLING.some(name => fields[name] === undefined);
}

/** Later versions win; of equal versions a deletion wins, then what arrived later. */
function wins(name: FieldName, value: unknown, version: number, held: number | undefined): boolean {
  if (held === undefined || version > held) return true;
  if (version < held) return false;
  return name !== 'deleted' || value === true;
}

function fieldNames(left: Partial<BookingFields>, right: Partial<BookingFields>): Set<FieldName> {
  return new Set([...Object.keys(left), ...Object.keys(right)] as FieldName[]);
}

function sameValue(left: unknown, right: unknown): boolean {
  if (Array.isArray(left) && Array.isArray(right)) {
    return sameServices(left as Service[], right as Service[], sameServiceToTheLetter);
  }
  return left === right;
}

/** Services as a multiset: the platform permutes them between reads, which is no change. */
export function sameServices(
  left: readonly Service[],
  right: readonly Service[],
  same: (left: Service, right: Service) => boolean = sameServiceAndAmount,
): boolean {
  if (left.length !== right.length) return false;
  const rest = [...right];
  return left.every(service => {
    const index = rest.findIndex(other => same(service, other));
    if (index >= 0) rest.splice(index, 1);
    return index >= 0;
  });
}

function sameServiceAndAmount(left: Service, right: Service): boolean {
  return left.id === right.id && left.amount === right.amount;
}

function sameServiceToTheLetter(left: Service, right: Service): boolean {
  return sameServiceAndAmount(left, right) && left.title === right.title;
}

export type BookingState = 'waiting' | 'confirmed' | 'arrived' | 'no_show' | 'cancelled';

/**
 * The state of a booking: `deleted` first, then attendance. Salons also cancel by attendance -1, so -1 first said
 * before the visit begins is a cancellation and -1 first said afterwards is a no-show.
 */
export function stateOf(booking: Booking, zone: string): BookingState {
  const { deleted, attendance } = booking.fields;
  if (deleted) return 'cancelled';
  switch (attendance) {
    case -1: {
      const starts = startsAt(booking, zone);
      return starts !== undefined && attendanceSaidAt(booking) < starts ? 'cancelled' : 'no_show';
    }
    case 1:
      return 'arrived';
    case 2:
      return 'confirmed';
    default:
      return 'waiting';
  }
}

/** When the visit begins, if a body has said so yet. */
export function startsAt(booking: Booking, zone: string): EpochMs | undefined {
  const { startsLocal } = booking.fields;
  return startsLocal === undefined ? undefined : instantOf(startsLocal, zone);
}
