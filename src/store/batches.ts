/** Batches in the outbox and their parts. One function is one statement, none for nothing. */
import type { Part } from '../domain/batch.ts';
import type { Facts, NoticeKind } from '../domain/notice.ts';
import type { EpochMs } from '../domain/time.ts';
import { int4Array, int8Array, textArray, uuidArray } from './binary.ts';
import type { MessageKey } from './messages.ts';
import type { Db } from './pool.ts';

export type OpenBatch = MessageKey & { readonly recipient: string };

/**
 * Sees to it that each of these recipients has a batch that gathers, and holds it locked: whoever claims it afterwards
 * finds what has joined it. `id` and `at` are of one that is new.
 */
export async function openBatches(
  db: Db,
  wanted: readonly (OpenBatch & { readonly at: EpochMs })[],
  now: EpochMs,
): Promise<OpenBatch[]> {
  if (wanted.length === 0) return [];
  const { rows } = await db.query<OpenBatch>({
    name: 'open_batches',
    text: `
      INSERT INTO messages AS m (company_id, id, purpose, recipient, planned_for, due_at, created_at, updated_at)
      SELECT company_id, id, 'batch', recipient, at, at, $5, $5
      FROM unnest($1::int4[], $2::uuid[], $3::text[], $4::timestamptz[]) AS r (company_id, id, recipient, at)
      ORDER BY company_id, recipient
      ON CONFLICT (company_id, recipient) WHERE purpose = 'batch' AND state = 'due' AND attempts = 0
      DO UPDATE SET updated_at = EXCLUDED.updated_at
      RETURNING company_id AS "companyId", id, recipient`,
    values: [
      int4Array(wanted.map(batch => batch.companyId)),
      uuidArray(wanted.map(batch => batch.id)),
      textArray(wanted.map(batch => batch.recipient)),
      wanted.map(batch => new Date(batch.at).toISOString()),
      new Date(now).toISOString(),
    ],
  });
  return rows;
}

export type Joining = MessageKey & {
  readonly partOf: string;
  readonly kind: NoticeKind;
  readonly before: Facts | null;
  readonly after: Facts;
};

/** Ends due notices that are said with others, stated with what they would have said. */
export async function joinBatches(db: Db, joining: readonly Joining[], now: EpochMs): Promise<void> {
  if (joining.length === 0) return;
  await db.query({
    name: 'join_batches',
    text: `
      UPDATE messages m SET state = 'superseded', part_of = r.part_of, kind = r.kind, told_before = r.before,
        told_after = r.after, error = 'said with others in message ' || r.part_of, updated_at = $2
      FROM jsonb_to_recordset($1::jsonb) AS r (company_id int, id uuid, part_of uuid, kind text, before jsonb, after jsonb)
      WHERE m.company_id = r.company_id AND m.id = r.id`,
    values: [
      JSON.stringify(
        joining.map(({ companyId, partOf, ...rest }) => ({
          ...rest,
          company_id: companyId,
          part_of: partOf,
        })),
      ),
      new Date(now).toISOString(),
    ],
  });
}

/** Puts parts from one batch into another. */
export async function moveParts(
  db: Db,
  parts: readonly (MessageKey & { readonly partOf: string })[],
): Promise<void> {
  if (parts.length === 0) return;
  await db.query({
    name: 'move_parts',
    text: `
      UPDATE messages m SET part_of = r.part_of, error = 'said with others in message ' || r.part_of
      FROM unnest($1::int4[], $2::uuid[], $3::uuid[]) AS r (company_id, id, part_of)
      WHERE m.company_id = r.company_id AND m.id = r.id`,
    values: [
      int4Array(parts.map(part => part.companyId)),
      uuidArray(parts.map(part => part.id)),
      uuidArray(parts.map(part => part.partOf)),
    ],
  });
}

export type StoredPart = Part & { readonly companyId: number; readonly partOf: string };

/** The parts of batches; those of one booking in the order in which they were to be told. Index: messages_of_batch. */
export async function findParts(db: Db, batches: readonly MessageKey[]): Promise<StoredPart[]> {
  if (batches.length === 0) return [];
  const { rows } = await db.query<StoredPart>({
    name: 'find_parts',
    text: `
      SELECT company_id AS "companyId", part_of AS "partOf", id, record_id AS "recordId", told_before AS before
      FROM messages WHERE (company_id, part_of) IN (SELECT * FROM unnest($1::int4[], $2::uuid[]))
        AND part_of IS NOT NULL
      ORDER BY part_of, record_id, step`,
    values: [int4Array(batches.map(batch => batch.companyId)), uuidArray(batches.map(batch => batch.id))],
  });
  return rows;
}

export type Concern = {
  readonly companyId: number;
  readonly recordId: number;
  readonly recipient: string;
  /** The batch that is about to say it. */
  readonly partOf: string;
};

/**
 * Those of these of whom another notice waits, or has joined another batch that gathers; one by one, as a booking has few.
 * Index: messages_of_record.
 */
export async function findChanging(db: Db, concerns: readonly Concern[]): Promise<Concern[]> {
  if (concerns.length === 0) return [];
  const { rows } = await db.query<Concern>({
    name: 'find_changing',
    text: `
      SELECT DISTINCT r.company_id AS "companyId", r.record_id AS "recordId", r.recipient, r.part_of AS "partOf"
      FROM unnest($1::int4[], $2::int8[], $3::text[], $4::uuid[]) AS r (company_id, record_id, recipient, part_of)
      CROSS JOIN LATERAL (
        SELECT FROM messages m WHERE m.company_id = r.company_id AND m.record_id = r.record_id
          AND m.recipient = r.recipient AND purpose = 'notice' AND (state IN ('due', 'sending') OR (
            m.part_of <> r.part_of AND (SELECT b.state = 'due' AND b.attempts = 0 FROM messages b
              WHERE b.company_id = m.company_id AND b.id = m.part_of))) LIMIT 1) m`,
    values: [
      int4Array(concerns.map(concern => concern.companyId)),
      int8Array(concerns.map(concern => concern.recordId)),
      textArray(concerns.map(concern => concern.recipient)),
      uuidArray(concerns.map(concern => concern.partOf)),
    ],
  });
  return rows;
}
