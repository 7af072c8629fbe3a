/** Whence a message says what it says: the request whose event last changed its booking. */
import { int4Array, int8Array } from './binary.ts';
import { type BookingKey, bookingKey } from './bookings.ts';
import type { Db } from './pool.ts';

export type Origin = {
  /** As the proxy or the receiver named it; the event's own id where it came by no request. */
  readonly requestId: string;
  /** W3C: the span in which the event was processed; null where no traces were kept. */
  readonly traceparent: string | null;
};

/**
 * By `bookingKey`; bookings whose events are pruned are left out. Looked up when a message leaves, not carried from fold
 * to outbox: a burst of events makes one message, and it says what the last of them made true.
 * Indexes: booking_changes_of_record, webhook_events_pkey.
 */
export async function findOrigins(db: Db, keys: readonly BookingKey[]): Promise<Map<string, Origin>> {
  if (keys.length === 0) return new Map();
  const { rows } = await db.query<BookingKey & Origin>({
    name: 'find_origins',
    text: `
      SELECT k.company_id AS "companyId", k.record_id AS "recordId", coalesce(e.request_id, e.id::text) AS "requestId",
        e.traceparent
      FROM unnest($1::int4[], $2::int8[]) AS k (company_id, record_id)
      CROSS JOIN LATERAL (
        SELECT event_id FROM booking_changes c
        WHERE c.company_id = k.company_id AND c.record_id = k.record_id ORDER BY c.id DESC LIMIT 1) c
      JOIN webhook_events e ON e.id = c.event_id`,
    values: [int4Array(keys.map(key => key.companyId)), int8Array(keys.map(key => key.recordId))],
  });
  return new Map(rows.map(row => [bookingKey(row), row]));
}
