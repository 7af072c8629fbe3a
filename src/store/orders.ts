/** Messages that an operator has sent after all, or not at all. */
import type { Notice } from '../domain/notice.ts';
import { CATEGORY_OF } from '../domain/plan.ts';
import type { EpochMs } from '../domain/time.ts';
import type { MessageKey } from './messages.ts';
import type { Db } from './pool.ts';

/** What is judged anew when it leaves. A digest is of its day; the platform is told what comes of its texts. */
const ORDERED: readonly string[] = ['notice', 'request', 'batch', ...Object.keys(CATEGORY_OF)];

export function mayBeOrdered(purpose: string): boolean {
  return ORDERED.includes(purpose);
}

/** SQL: of $3, ORDERED. What a channel took counts as told. Of erased people nothing is known. */
const RESENDABLE = `purpose = ANY ($3::text[]) AND sent_at IS NULL AND recipient NOT LIKE 'erased:%'`;

export type ResendFilter = {
  readonly state: 'dead' | 'failed';
  /** Ended since then. */
  readonly since: EpochMs;
  readonly companyId?: number | undefined;
  /** Tried by it, or passed over it. */
  readonly channel?: string | undefined;
};

/** The newest first: of two that would say the same the newer one takes the place. Index of the dead: messages_dead. */
export async function findUnsent(
  db: Db,
  { state, since, companyId, channel }: ResendFilter,
  limit: number,
): Promise<MessageKey[]> {
  const { rows } = await db.query<MessageKey>(
    `SELECT company_id AS "companyId", id FROM messages
     WHERE state = $1 AND updated_at >= to_timestamp($2 / 1000.0) AND ${RESENDABLE}
       AND ($4::int IS NULL OR company_id = $4)
       AND ($5::text IS NULL OR channel = $5 OR falls @> jsonb_build_array(jsonb_build_object('channel', $5)))
     ORDER BY id DESC LIMIT $6`,
    [state, since, ORDERED, companyId, channel, limit],
  );
  return rows;
}

/**
 * Puts one back as if it had not been tried, but for the count of its attempts: all channels of its route are open to it
 * again, and without one its tries begin anew. False: its state is another by now, or it is none that is sent again. Rejects with a unique violation
 * (messages_once, messages_planned_once, messages_batch_open) where another stands in its place.
 */
export async function resendMessage(db: Db, { companyId, id }: MessageKey, now: EpochMs): Promise<boolean> {
  const { rowCount } = await db.query(
    `UPDATE messages SET state = 'due', due_at = $4, updated_at = $4, error = NULL, channel = NULL, falls = '[]'
     WHERE company_id = $1 AND id = $2 AND ${RESENDABLE} AND state IN ('failed', 'dead')`,
    [companyId, id, ORDERED, new Date(now).toISOString()],
  );
  return rowCount === 1;
}

/** Whether it is still to be sent; locks it then. The caller holds its booking. */
export async function lockToCancel(db: Db, { companyId, id }: MessageKey): Promise<boolean> {
  const { rowCount } = await db.query(
    `SELECT FROM messages WHERE company_id = $1 AND id = $2 AND state = 'due' AND recipient NOT LIKE 'erased:%' FOR UPDATE`,
    [companyId, id],
  );
  return rowCount === 1;
}

/**
 * Ends it unsent, with what a notice would have said. The caller holds it locked. A planned one counts as said: see
 * `findPlanned`.
 */
export async function cancelMessage(
  db: Db,
  { companyId, id }: MessageKey,
  { reason, notice, now }: { readonly reason: string; readonly notice: Notice | null; readonly now: EpochMs },
): Promise<void> {
  await db.query(
    `UPDATE messages SET state = 'cancelled', error = $3, updated_at = $4, kind = coalesce($5, kind),
       told_before = coalesce($6, told_before), told_after = coalesce($7, told_after)
     WHERE company_id = $1 AND id = $2`,
    [
      ...[companyId, id, reason, new Date(now).toISOString()],
      ...[notice?.kind, notice?.before, notice?.after],
    ],
  );
}
