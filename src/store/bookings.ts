/** Bookings, their changes, and what each recipient was told of them. */
import type { AttendanceSaid } from '../domain/attendance.ts';
import type { Booking, BookingFields, BookingState, FieldVersions, Service } from '../domain/booking.ts';
import type { ToldByRecipient } from '../domain/notice.ts';
import type { EpochMs } from '../domain/time.ts';
import { int4Array, int8Array, textArray } from './binary.ts';
import type { Db } from './pool.ts';

export type BookingKey = { readonly companyId: number; readonly recordId: number };

export type StoredBooking = BookingKey & {
  readonly booking: Booking;
  readonly told: ToldByRecipient;
  /** The version that reconciliation brought and no webhook has brought yet. */
  readonly foundVersion: EpochMs | null;
  /** Until then nobody is told anything of it unless the record has been read again. */
  readonly doubtUntil: EpochMs | null;
};

export function bookingKey({ companyId, recordId }: BookingKey): string {
  return `${companyId}:${recordId}`;
}

type Row = {
  company_id: number;
  record_id: number;
  visit_id: number | null;
  starts_local: string | null;
  duration_seconds: number | null;
  staff_id: number | null;
  staff_name: string | null;
  services: Service[] | null;
  client_id: number | null;
  client_known: boolean;
  attendance: BookingFields['attendance'] | null;
  deleted: boolean | null;
  paid: boolean | null;
  comment: string | null;
  origin: BookingFields['origin'] | null;
  made_at: EpochMs | null;
  version: EpochMs;
  field_versions: FieldVersions;
  attendance_said: AttendanceSaid | null;
  told: ToldByRecipient;
  found_version: EpochMs | null;
  doubt_until: EpochMs | null;
};

const COLUMNS = `company_id, record_id, visit_id, starts_local, duration_seconds, staff_id, staff_name, services,
  client_id, client_known, attendance, deleted, paid, comment, origin, made_at, version, field_versions,
  attendance_said, told, found_version, doubt_until`;

/**
 * Locks bookings and reads them, in the order of their keys so that two callers cannot deadlock. `skipLocked`
 * leaves out those that another transaction holds.
 *
 * Lock order: shards, bookings, their events and notices, people, and last what many share: who tells of messages, rates
 * of channels, whom they reached, the hours of companies. The planner holds people first, and of messages only those that
 * are planned, which nobody waits for with people held. Erasing takes events first, and people before messages; it is done
 * again when that meets a batch (`retried`).
 */
export async function lockBookings(
  db: Db,
  keys: readonly BookingKey[],
  { skipLocked = false }: { skipLocked?: boolean } = {},
): Promise<Map<string, StoredBooking>> {
  if (keys.length === 0) return new Map();
  const { rows } = await db.query<Row>({
    name: skipLocked ? 'lock_bookings_skip' : 'lock_bookings',
    text: `SELECT ${COLUMNS} FROM bookings
      WHERE (company_id, record_id) IN (SELECT * FROM unnest($1::int4[], $2::int8[]))
      ORDER BY company_id, record_id FOR UPDATE ${skipLocked ? 'SKIP LOCKED' : ''}`,
    values: [int4Array(keys.map(key => key.companyId)), int8Array(keys.map(key => key.recordId))],
  });
  return new Map(
    rows.map(row => [bookingKey({ companyId: row.company_id, recordId: row.record_id }), stored(row)]),
  );
}

/** Bookings as they are at this moment, without a lock. */
export async function findBookings(db: Db, keys: readonly BookingKey[]): Promise<Map<string, StoredBooking>> {
  const { rows } = await db.query<Row>({
    name: 'find_bookings',
    text: `SELECT ${COLUMNS} FROM bookings
      WHERE (company_id, record_id) IN (SELECT * FROM unnest($1::int4[], $2::int8[]))`,
    values: [int4Array(keys.map(key => key.companyId)), int8Array(keys.map(key => key.recordId))],
  });
  return new Map(
    rows.map(row => [bookingKey({ companyId: row.company_id, recordId: row.record_id }), stored(row)]),
  );
}

/**
 * What these clients have booked from `since` on, without a lock, by index (bookings_of_client) whatever the
 * statistics: a client has few.
 */
export async function findClientBookings(
  db: Db,
  clients: readonly { readonly companyId: number; readonly clientId: number }[],
  since: EpochMs,
): Promise<StoredBooking[]> {
  const { rows } = await db.query<Row>({
    name: 'find_client_bookings',
    text: `SELECT ${COLUMNS}
      FROM (SELECT DISTINCT * FROM unnest($1::int4[], $2::int8[])) AS c (company, client)
      CROSS JOIN LATERAL (
        SELECT * FROM bookings WHERE company_id = c.company AND client_id = c.client AND starts_at > $3 OFFSET 0) b
      ORDER BY starts_at, record_id`,
    values: [
      int4Array(clients.map(client => client.companyId)),
      int8Array(clients.map(client => client.clientId)),
      new Date(since).toISOString(),
    ],
  });
  return rows.map(stored);
}

/** All that begin within this time, without a lock. Index: bookings_by_start. */
export async function findDayBookings(
  db: Db,
  companyId: number,
  { from, to }: { readonly from: EpochMs; readonly to: EpochMs },
): Promise<StoredBooking[]> {
  const { rows } = await db.query<Row>(
    `SELECT ${COLUMNS} FROM bookings WHERE company_id = $1 AND starts_at >= $2 AND starts_at < $3
     ORDER BY starts_at, record_id`,
    [companyId, new Date(from).toISOString(), new Date(to).toISOString()],
  );
  return rows.map(stored);
}

/** Bookings of these days (wall clock, both included) that are not among `seen` and not known to be deleted. */
export async function findUnseen(
  db: Db,
  look: {
    readonly companyId: number;
    readonly days: { readonly from: string; readonly to: string };
    readonly seen: readonly number[];
    readonly limit: number;
  },
): Promise<number[]> {
  const { rows } = await db.query<{ recordId: number }>(
    `SELECT record_id AS "recordId" FROM bookings
     WHERE company_id = $1 AND starts_local >= $2::date AND starts_local < $3::date + 1
       AND starts_at BETWEEN $2::date - interval '2 days' AND $3::date + interval '3 days'
       AND NOT coalesce(deleted, false) AND record_id <> ALL ($4::int8[])
     ORDER BY record_id LIMIT $5`,
    [look.companyId, look.days.from, look.days.to, int8Array(look.seen), look.limit],
  );
  return rows.map(row => row.recordId);
}

function stored(row: Row): StoredBooking {
  const fields = {
    visitId: row.visit_id,
    startsLocal: row.starts_local,
    durationSeconds: row.duration_seconds,
    staffId: row.staff_id,
    staffName: row.staff_name,
    services: row.services,
    attendance: row.attendance,
    deleted: row.deleted,
    paid: row.paid,
    comment: row.comment,
    origin: row.origin,
    createdAt: row.made_at,
  };
  const known = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
  const client = row.client_known ? { clientId: row.client_id } : {};
  return {
    companyId: row.company_id,
    recordId: row.record_id,
    booking: {
      fields: { ...known, ...client },
      version: row.version,
      fieldVersions: row.field_versions,
      ...(row.attendance_said === null ? {} : { attendanceSaid: row.attendance_said }),
    },
    told: row.told,
    foundVersion: row.found_version,
    doubtUntil: row.doubt_until,
  };
}

export type BookingToSave = StoredBooking & {
  readonly state: BookingState;
  readonly startsAt: EpochMs | undefined;
};

/** Writes bookings whole. The caller holds their locks or their shards. */
export async function saveBookings(db: Db, bookings: readonly BookingToSave[]): Promise<void> {
  if (bookings.length === 0) return;
  await db.query({
    name: 'save_bookings',
    text: `
      INSERT INTO bookings (company_id, record_id, visit_id, starts_local, starts_at, duration_seconds, staff_id,
        staff_name, services, client_id, client_known, attendance, deleted, paid, comment, origin, made_at, state,
        version, field_versions, attendance_said, told, found_version, doubt_until)
      SELECT company_id, record_id, visit_id, starts_local, starts_at, duration_seconds, staff_id,
        staff_name, services, client_id, client_known, attendance, deleted, paid, comment, origin, made_at, state,
        version, field_versions, attendance_said, told, found_version, doubt_until
      FROM jsonb_to_recordset($1::jsonb) AS r (company_id int, record_id bigint, visit_id bigint,
        starts_local timestamp, starts_at timestamptz, duration_seconds int, staff_id bigint, staff_name text,
        services jsonb, client_id bigint, client_known boolean, attendance smallint, deleted boolean, paid boolean,
        comment text, origin text, made_at timestamptz, state text, version timestamptz, field_versions jsonb,
        attendance_said jsonb, told jsonb, found_version timestamptz, doubt_until timestamptz)
      ON CONFLICT (company_id, record_id) DO UPDATE SET
        visit_id = EXCLUDED.visit_id, starts_local = EXCLUDED.starts_local, starts_at = EXCLUDED.starts_at,
        duration_seconds = EXCLUDED.duration_seconds, staff_id = EXCLUDED.staff_id,
        staff_name = EXCLUDED.staff_name, services = EXCLUDED.services, client_id = EXCLUDED.client_id,
        client_known = EXCLUDED.client_known, attendance = EXCLUDED.attendance, deleted = EXCLUDED.deleted,
        paid = EXCLUDED.paid, comment = EXCLUDED.comment, origin = EXCLUDED.origin, made_at = EXCLUDED.made_at,
        state = EXCLUDED.state, version = EXCLUDED.version, field_versions = EXCLUDED.field_versions,
        attendance_said = EXCLUDED.attendance_said, told = EXCLUDED.told, found_version = EXCLUDED.found_version, doubt_until = EXCLUDED.doubt_until,
        updated_at = now()`,
    values: [JSON.stringify(bookings.map(toRow))],
  });
}

function toRow(stored: BookingToSave): Record<string, unknown> {
  const { fields, version, fieldVersions, attendanceSaid } = stored.booking;
  return {
    company_id: stored.companyId,
    record_id: stored.recordId,
    visit_id: fields.visitId,
    starts_local: fields.startsLocal,
    starts_at: isoOrNull(stored.startsAt),
    duration_seconds: fields.durationSeconds,
    staff_id: fields.staffId,
    staff_name: fields.staffName,
    services: fields.services,
    client_id: fields.clientId,
    client_known: fields.clientId !== undefined,
    attendance: fields.attendance,
    deleted: fields.deleted,
    paid: fields.paid,
    comment: fields.comment,
    origin: fields.origin,
    made_at: isoOrNull(fields.createdAt),
    state: stored.state,
    version: isoOrNull(version),
    field_versions: fieldVersions,
    attendance_said: attendanceSaid,
    told: stored.told,
    found_version: isoOrNull(stored.foundVersion ?? undefined),
    doubt_until: isoOrNull(stored.doubtUntil ?? undefined),
  };
}

function isoOrNull(instant: EpochMs | undefined): string | null {
  return instant === undefined ? null : new Date(instant).toISOString();
}

export type ToldUpdate = BookingKey & { readonly told: ToldByRecipient };

/** Moves what recipients were told. The caller holds the bookings' locks. */
export async function saveTold(db: Db, updates: readonly ToldUpdate[]): Promise<void> {
  if (updates.length === 0) return;
  await db.query({
    name: 'save_told',
    text: `UPDATE bookings b SET told = u.told::jsonb
      FROM unnest($1::int4[], $2::int8[], $3::text[]) AS u (company_id, record_id, told)
      WHERE b.company_id = u.company_id AND b.record_id = u.record_id`,
    values: [
      int4Array(updates.map(update => update.companyId)),
      int8Array(updates.map(update => update.recordId)),
      textArray(updates.map(update => JSON.stringify(update.told))),
    ],
  });
}

/**
 * After we wrote to the platform what a recipient asked for: they have heard it, and until it has come back through the
 * inbox as read, nobody is told what it makes of the booking. The caller holds the booking's lock.
 */
export async function saveOwnNews(
  db: Db,
  { companyId, recordId, told, holdUntil }: ToldUpdate & { readonly holdUntil: EpochMs },
): Promise<void> {
  await db.query({
    name: 'save_own_news',
    text: 'UPDATE bookings SET told = $3, doubt_until = $4 WHERE company_id = $1 AND record_id = $2',
    values: [companyId, recordId, JSON.stringify(told), new Date(holdUntil).toISOString()],
  });
}

export type NewChange = BookingKey & {
  readonly eventId: string;
  readonly kind: string;
  readonly detail: Record<string, unknown>;
  readonly changedAt: EpochMs;
};

export async function appendChanges(db: Db, changes: readonly NewChange[]): Promise<void> {
  if (changes.length === 0) return;
  await db.query({
    name: 'append_changes',
    text: `INSERT INTO booking_changes (company_id, record_id, event_id, kind, detail, changed_at)
      SELECT company_id, record_id, event_id, kind, detail, changed_at
      FROM jsonb_to_recordset($1::jsonb) AS r (company_id int, record_id bigint, event_id uuid, kind text,
        detail jsonb, changed_at timestamptz)`,
    values: [
      JSON.stringify(
        changes.map(change => ({
          company_id: change.companyId,
          record_id: change.recordId,
          event_id: change.eventId,
          kind: change.kind,
          detail: change.detail,
          changed_at: new Date(change.changedAt).toISOString(),
        })),
      ),
    ],
  });
}

/**
 * A company is in this zone: its wall clock readings mean other moments, and its clients are planned anew. Where it was
 * there already, as nearly every `company` event says, nothing is written. Called before the company has it, or with a
 * plan asked for beside it: what batches under way still write by the zone before is moved when its clients are planned.
 * Index: bookings_by_start.
 */
export async function rezoneBookings(db: Db, companyId: number, zone: string): Promise<void> {
  await db.query({
    name: 'rezone_bookings',
    text: `
      WITH moved AS (
        UPDATE bookings SET starts_at = starts_local AT TIME ZONE $2
        WHERE company_id = $1 AND starts_at IS DISTINCT FROM starts_local AT TIME ZONE $2 RETURNING record_id)
      INSERT INTO replans (company_id) SELECT company_id FROM companies
      WHERE company_id = $1 AND (zone <> $2 OR EXISTS (SELECT FROM moved))
      ON CONFLICT (company_id) DO UPDATE SET after_client = 0, ready_xid = NULL, requested_at = now()`,
    values: [companyId, zone],
  });
}
