/**
 * Forgetting what was kept long enough: one bounded DELETE each, oldest of their kind by creation, in any order. What
 * is still to be done is never among them; what a person should have looked at has a time of its own, a year.
 *
 * What is old is chosen once, MATERIALIZED: as a subquery it may be asked for each row, and skips each time what is gone
 * already, so that more than `limit` goes.
 */
import type { EpochMs } from '../domain/time.ts';
import type { Db } from './pool.ts';

/** Deletes up to `limit` rows whose time was before `before`; returns how many. */
export type Prune = (db: Db, before: EpochMs, limit: number) => Promise<number>;

/** Whether this transaction is the only one that prunes; held until it ends. Any constant will do. */
const LOCK = 0x07_4b_11_4c;

export async function claimUpkeep(db: Db): Promise<boolean> {
  const { rows } = await db.query<{ held: boolean }>('SELECT pg_try_advisory_xact_lock($1) AS held', [LOCK]);
  return rows[0]?.held ?? false;
}

/**
 * Processed events with their payloads. Bookings hold what they came to. A copy of one that comes again later is a new
 * event, and changes nothing, because its version is no newer than what it meets.
 */
export const pruneEvents: Prune = (db, before, limit) =>
  deleted(
    db,
    `WITH old AS MATERIALIZED (
       SELECT id FROM webhook_events WHERE state = 'done' AND created_at < $1 AND processed_at < $1
       LIMIT $2 FOR UPDATE SKIP LOCKED)
     DELETE FROM webhook_events WHERE id IN (SELECT * FROM old)`,
    before,
    limit,
  );

/**
 * Events given up and bodies in quarantine: nothing will become of them, and they hold people's data as it came. Index:
 * webhook_events_troubled.
 */
export const pruneDead: Prune = (db, before, limit) =>
  deleted(
    db,
    `WITH old AS MATERIALIZED (
       SELECT id FROM webhook_events WHERE state IN ('dead', 'quarantined') AND created_at < $1
       LIMIT $2 FOR UPDATE SKIP LOCKED)
     DELETE FROM webhook_events WHERE id IN (SELECT * FROM old)`,
    before,
    limit,
  );

/**
 * Ended messages with their attempts. The guarantee "once" rests on the booking's `told` as well as on the row: a
 * message that was told, or may have been, is forgotten only when `told` has its step, so that no later notice can be
 * the same telling; or when the booking is gone, or the recipient was erased. A planned
 * message is kept until its visit is as old, so that it is not planned a second time.
 */
export const pruneMessages: Prune = (db, before, limit) =>
  deleted(
    db,
    `WITH old AS MATERIALIZED (
       SELECT company_id, id FROM messages m
       WHERE created_at < $1 AND updated_at < $1 AND state NOT IN ('due', 'sending')
         AND (rule IS NULL OR visit_at < $1)
         AND (purpose <> 'notice' OR state NOT IN ('sent', 'delivered', 'unknown') OR recipient LIKE 'erased:%'
           OR coalesce((SELECT (b.told -> m.recipient ->> 'step')::int FROM bookings b
               WHERE b.company_id = m.company_id AND b.record_id = m.record_id), -1) >= step
           OR NOT EXISTS (SELECT FROM bookings b WHERE b.company_id = m.company_id AND b.record_id = m.record_id))
       LIMIT $2 FOR UPDATE SKIP LOCKED)
     DELETE FROM messages WHERE (company_id, id) IN (SELECT * FROM old)`,
    before,
    limit,
  );

/** What people asked for by an answer, once it has ended. */
export const pruneActions: Prune = (db, before, limit) =>
  deleted(
    db,
    `WITH old AS MATERIALIZED (
       SELECT company_id, id FROM actions WHERE updated_at < $1 AND state NOT IN ('due', 'doing')
       LIMIT $2 FOR UPDATE SKIP LOCKED)
     DELETE FROM actions WHERE (company_id, id) IN (SELECT * FROM old)`,
    before,
    limit,
  );

/** What messengers brought: none of them brings the same again after so long. */
export const pruneHeard: Prune = (db, before, limit) =>
  deleted(
    db,
    `WITH old AS MATERIALIZED (
       SELECT channel, update_id FROM heard WHERE heard_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)
     DELETE FROM heard WHERE (channel, update_id) IN (SELECT * FROM old)`,
    before,
    limit,
  );

/** The history of bookings, older than any booking that is kept. */
export const pruneChanges: Prune = (db, before, limit) =>
  deleted(
    db,
    `WITH old AS MATERIALIZED (
       SELECT company_id, id FROM booking_changes c
       WHERE created_at < $1 AND NOT EXISTS (
         SELECT FROM bookings b WHERE b.company_id = c.company_id AND b.record_id = c.record_id
           AND b.starts_at >= $1)
       LIMIT $2)
     DELETE FROM booking_changes WHERE (company_id, id) IN (SELECT * FROM old)`,
    before,
    limit,
  );

/**
 * Bookings whose visit is long over and which nothing has touched since, with no message left: should one come to
 * life again its steps begin anew, and must not meet those of old messages.
 */
export const pruneBookings: Prune = (db, before, limit) =>
  deleted(
    db,
    `WITH old AS MATERIALIZED (
       SELECT company_id, record_id FROM bookings b
       WHERE starts_at < $1 AND updated_at < $1 AND NOT EXISTS (
         SELECT FROM messages m WHERE m.company_id = b.company_id AND m.record_id = b.record_id)
       LIMIT $2 FOR UPDATE SKIP LOCKED)
     DELETE FROM bookings WHERE (company_id, record_id) IN (SELECT * FROM old)`,
    before,
    limit,
  );

/**
 * People of whom nothing was said for so long, without a booking and without an address that was given to us. Never
 * those who do not want messages: the next booking might not repeat it.
 */
export const prunePeople: Prune = (db, before, limit) =>
  deleted(
    db,
    `WITH old AS MATERIALIZED (
       SELECT company_id, client_id FROM people p
       WHERE NOT refuses AND NOT deleted
         AND greatest(name_version, phone_version, email_version, refuses_version, newsletter_version, deleted_version) < $1
         AND NOT EXISTS (SELECT FROM bookings b WHERE b.company_id = p.company_id AND b.client_id = p.client_id)
         AND NOT EXISTS (SELECT FROM addresses a WHERE a.company_id = p.company_id AND a.client_id = p.client_id)
         AND NOT EXISTS (SELECT FROM messages m WHERE m.company_id = p.company_id AND state IN ('due', 'sending')
           AND m.recipient = 'client:' || p.client_id)
       LIMIT $2 FOR UPDATE SKIP LOCKED)
     DELETE FROM people WHERE (company_id, client_id) IN (SELECT * FROM old)`,
    before,
    limit,
  );

/** What is remembered of a recipient on a channel, when nothing was added to it for so long. */
export const pruneReached: Prune = (db, before, limit) =>
  deleted(
    db,
    `WITH old AS MATERIALIZED (
       SELECT company_id, recipient, channel FROM reached
       WHERE greatest(delivered_at, failed_at, day::timestamptz) < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)
     DELETE FROM reached WHERE (company_id, recipient, channel) IN (SELECT * FROM old)`,
    before,
    limit,
  );

/** Invitations into the team that nobody followed. */
export const pruneInvitations: Prune = (db, before, limit) =>
  deleted(
    db,
    `WITH old AS MATERIALIZED (
       SELECT company_id, member_id FROM team WHERE since IS NULL AND invited_until < $1
       LIMIT $2 FOR UPDATE SKIP LOCKED)
     DELETE FROM team WHERE (company_id, member_id) IN (SELECT * FROM old)`,
    before,
    limit,
  );

/** Who did what. No index by time: it has some rows a day, those of commands and of the API. */
export const pruneAudit: Prune = (db, before, limit) =>
  deleted(
    db,
    `WITH old AS MATERIALIZED (
       SELECT id FROM audit_log WHERE created_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)
     DELETE FROM audit_log WHERE id IN (SELECT * FROM old)`,
    before,
    limit,
  );

/** Receipts of messages that are as old. */
export const pruneReceipts: Prune = (db, before, limit) =>
  deleted(
    db,
    `WITH old AS MATERIALIZED (
       SELECT channel, provider_id, status FROM receipts WHERE created_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)
     DELETE FROM receipts WHERE (channel, provider_id, status) IN (SELECT * FROM old)`,
    before,
    limit,
  );

async function deleted(db: Db, statement: string, before: EpochMs, limit: number): Promise<number> {
  const { rowCount } = await db.query(statement, [new Date(before).toISOString(), limit]);
  return rowCount ?? 0;
}
