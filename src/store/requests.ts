/** Requests of clients to the salon's own people, as messages of the outbox. One function is one statement. */
import type { Facts, NoticeKind } from '../domain/notice.ts';
import type { EpochMs } from '../domain/time.ts';
import { newId } from '../ids.ts';
import type { Db } from './pool.ts';

export type NewRequest = {
  readonly companyId: number;
  /** The visit's records; it is about the first. */
  readonly recordIds: readonly number[];
  readonly recipients: readonly string[];
  readonly kind: NoticeKind;
  /** The visit as whoever asks knows it. */
  readonly facts: Facts;
  readonly dueAt: EpochMs;
  readonly now: EpochMs;
};

/**
 * Puts a request into the outbox, once for all records of a visit, and again only an hour later: who presses twice asked
 * once. The caller holds the visit's answers locked. Index: messages_of_record.
 */
export async function addRequests(db: Db, request: NewRequest): Promise<void> {
  const { companyId, recordIds, recipients, kind, facts } = request;
  await db.query({
    name: 'add_requests',
    text: `
      INSERT INTO messages (company_id, id, record_id, purpose, recipient, kind, told_after, due_at, created_at, updated_at)
      SELECT $1, r.id, ($2::int8[])[1], 'request', r.recipient, $5, $6, $7, $8, $8
      FROM unnest($3::uuid[], $4::text[]) AS r (id, recipient)
      WHERE NOT EXISTS (SELECT FROM messages m WHERE m.company_id = $1 AND m.record_id = ANY($2::int8[])
        AND m.purpose = 'request' AND m.recipient = r.recipient AND m.kind = $5
        AND m.created_at > $8::timestamptz - interval '1 hour')`,
    values: [
      ...[companyId, recordIds, recipients.map(newId), recipients, kind, JSON.stringify(facts)],
      ...[new Date(request.dueAt).toISOString(), new Date(request.now).toISOString()],
    ],
  });
}
