/** The administrators' digests in the outbox, and what they are counted from. One function is one statement. */
import type { Digest } from '../domain/digest.ts';
import type { EpochMs } from '../domain/time.ts';
import { int8Array } from './binary.ts';
import type { StoredBooking } from './bookings.ts';
import type { Db } from './pool.ts';

/** Companies at work that have an administrator who can be reached. */
export async function listDigested(db: Db): Promise<number[]> {
  const { rows } = await db.query<{ companyId: number }>(
    `SELECT DISTINCT company_id AS "companyId" FROM team JOIN companies USING (company_id)
     WHERE role = 'administrator' AND since IS NOT NULL AND removed_at IS NULL AND stopped_at IS NULL`,
  );
  return rows.map(row => row.companyId);
}

export type NewDigest = {
  readonly companyId: number;
  readonly id: string;
  readonly recipient: string;
  readonly step: number;
  readonly at: EpochMs;
};

/** Puts digests into the outbox, one a recipient and day whoever asks and however often. Returns how many were new. */
export async function addDigests(db: Db, digests: readonly NewDigest[], now: EpochMs): Promise<number> {
  if (digests.length === 0) return 0;
  const { rowCount } = await db.query(
    `INSERT INTO messages (company_id, id, purpose, recipient, step, planned_for, due_at, created_at, updated_at)
     SELECT company_id, id, 'digest', recipient, step, at, at, $2, $2
     FROM jsonb_to_recordset($1::jsonb) AS r (company_id int, id uuid, recipient text, step int, at timestamptz)
     ON CONFLICT (company_id, recipient, step) WHERE purpose = 'digest' DO NOTHING`,
    [
      JSON.stringify(
        digests.map(({ companyId, at, ...rest }) => ({
          ...rest,
          company_id: companyId,
          at: new Date(at).toISOString(),
        })),
      ),
      new Date(now).toISOString(),
    ],
  );
  return rowCount ?? 0;
}

/**
 * How many bookings yet to come were made since then, moved, and called off, and still are so. Indexes:
 * bookings_by_start, booking_changes_of_record.
 */
export async function countLately(
  db: Db,
  companyId: number,
  since: EpochMs,
  now: EpochMs,
): Promise<Pick<Digest, 'booked' | 'moved' | 'cancelled'>> {
  const { rows } = await db.query<Pick<Digest, 'booked' | 'moved' | 'cancelled'>>(
    `SELECT count(*) FILTER (WHERE state <> 'cancelled' AND made_at > $2 AND made_at <= $3) AS booked,
       count(*) FILTER (WHERE state <> 'cancelled' AND made_at <= $2 AND c.moved) AS moved,
       count(*) FILTER (WHERE state = 'cancelled' AND c.cancelled) AS cancelled
     FROM bookings b CROSS JOIN LATERAL (
       SELECT coalesce(bool_or(kind = 'rescheduled'), false) AS moved,
         coalesce(bool_or(kind = 'cancelled'), false) AS cancelled
       FROM booking_changes c WHERE c.company_id = b.company_id AND c.record_id = b.record_id
         AND c.changed_at > $2 AND c.changed_at <= $3) c
     WHERE company_id = $1 AND starts_at > $2 AND version > $2 AND client_id IS NOT NULL`,
    [companyId, new Date(since).toISOString(), new Date(now).toISOString()],
  );
  return rows[0] ?? { booked: 0, moved: 0, cancelled: 0 };
}

/** Of these bookings those whose last message to the client came to nothing. Index: messages_of_record. */
export async function findUnreached(
  db: Db,
  companyId: number,
  bookings: readonly StoredBooking[],
): Promise<Set<number>> {
  if (bookings.length === 0) return new Set();
  const { rows } = await db.query<{ recordId: number }>(
    `SELECT r.record_id AS "recordId" FROM unnest($2::int8[]) AS r (record_id)
     CROSS JOIN LATERAL (
       SELECT state FROM messages m WHERE m.company_id = $1 AND m.record_id = r.record_id
         AND m.recipient LIKE 'client:%' AND state IN ('sent', 'delivered', 'unknown', 'failed', 'dead')
       ORDER BY updated_at DESC, id DESC LIMIT 1) last
     WHERE last.state IN ('failed', 'dead')`,
    [companyId, int8Array(bookings.map(booking => booking.recordId))],
  );
  return new Set(rows.map(row => row.recordId));
}
