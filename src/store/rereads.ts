/** Records to be read again, because what a webhook said of them leaves a doubt. One function is one statement. */
import type { EpochMs } from '../domain/time.ts';
import { int4Array, int8Array, textArray } from './binary.ts';
import type { BookingKey } from './bookings.ts';
import type { Db } from './pool.ts';

export type Doubt = BookingKey & {
  readonly reason: 'always' | 'partial' | 'unversioned' | 'contradiction' | 'sweep';
};

/** Asks for records to be read from `dueAt` on. A reading under way does not answer a doubt that is newer than it. */
export async function requestRereads(db: Db, doubts: readonly Doubt[], dueAt: EpochMs): Promise<void> {
  if (doubts.length === 0) return;
  const unique = new Map(doubts.map(doubt => [`${doubt.companyId}:${doubt.recordId}`, doubt]));
  const sorted = [...unique.values()].sort(
    (left, right) => left.companyId - right.companyId || left.recordId - right.recordId,
  );
  await db.query({
    name: 'request_rereads',
    text: `
      INSERT INTO rereads AS r (company_id, record_id, reason, due_at)
      SELECT company_id, record_id, reason, $4
      FROM unnest($1::int4[], $2::int8[], $3::text[]) AS d (company_id, record_id, reason)
      ON CONFLICT (company_id, record_id) DO UPDATE SET reason = EXCLUDED.reason, due_at = EXCLUDED.due_at,
        attempts = 0, leased_by = NULL, leased_until = NULL`,
    values: [
      int4Array(sorted.map(doubt => doubt.companyId)),
      int8Array(sorted.map(doubt => doubt.recordId)),
      textArray(sorted.map(doubt => doubt.reason)),
      new Date(dueAt).toISOString(),
    ],
  });
}

export type Reread = BookingKey & { readonly reason: string; readonly attempts: number };

/** Claims rereads that are due, the oldest first. */
export async function claimRereads(
  db: Db,
  claim: { readonly owner: string; readonly leaseMs: number; readonly now: EpochMs; readonly limit: number },
): Promise<Reread[]> {
  const { rows } = await db.query<Reread>({
    name: 'claim_rereads',
    text: `
      WITH free AS (
        SELECT r.company_id, r.record_id FROM rereads r JOIN companies c USING (company_id)
        WHERE r.due_at <= $1 AND (r.leased_until IS NULL OR r.leased_until < now())
          AND c.removed_at IS NULL AND c.stopped_at IS NULL
        ORDER BY r.due_at LIMIT $4 FOR UPDATE OF r SKIP LOCKED)
      UPDATE rereads r SET attempts = attempts + 1, leased_by = $2,
        leased_until = now() + $3 * interval '1 millisecond'
      FROM free WHERE r.company_id = free.company_id AND r.record_id = free.record_id
      RETURNING r.company_id AS "companyId", r.record_id AS "recordId", r.reason, r.attempts`,
    values: [new Date(claim.now).toISOString(), claim.owner, claim.leaseMs, claim.limit],
  });
  return rows;
}

/** The doubt is answered, or given up. False: a newer one has come meanwhile and stands. */
export async function endReread(
  db: Db,
  { companyId, recordId, owner }: BookingKey & { readonly owner: string },
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'end_reread',
    text: 'DELETE FROM rereads WHERE company_id = $1 AND record_id = $2 AND leased_by = $3',
    values: [companyId, recordId, owner],
  });
  return rowCount === 1;
}

export async function retryReread(
  db: Db,
  { companyId, recordId, owner, dueAt }: BookingKey & { readonly owner: string; readonly dueAt: EpochMs },
): Promise<void> {
  await db.query({
    name: 'retry_reread',
    text: `UPDATE rereads SET due_at = $4, leased_by = NULL, leased_until = NULL
      WHERE company_id = $1 AND record_id = $2 AND leased_by = $3`,
    values: [companyId, recordId, owner, new Date(dueAt).toISOString()],
  });
}
