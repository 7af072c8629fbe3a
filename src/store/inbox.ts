/**
 * The inbox, `webhook_events`: everything that comes in, whatever its source.
 * One function is one statement.
 */
import type { EpochMs } from '../domain/time.ts';
import { byteaArray, int4Array, int8Array, jsonArray, textArray, uuidArray } from './binary.ts';
import type { Db } from './pool.ts';

/** `reconcile`: a sweep found it. `verify`: a record read again to settle a doubt. */
export type EventSource = 'webhook' | 'reconcile' | 'verify' | 'replay' | 'test';

/** An event on its way into the inbox. */
export type NewEvent = {
  /** UUIDv7 chosen by the receiver. */
  readonly id: string;
  /** The dedupe key, unique for ever. */
  readonly eventId: string;
  readonly eventType: string;
  readonly companyId: number;
  readonly resource: string;
  readonly resourceId: number;
  readonly status: string;
  readonly source: EventSource;
  /** JSON text, acceptable to JSONB: the table's `body`, of which its `payload` is made when somebody asks. */
  readonly payload: Buffer;
  /** The bytes as they came, where `payload` is not the same. */
  readonly raw: Buffer | null;
  readonly state: 'pending' | 'quarantined';
  /** As the request was called that brought it; null: it came by none. */
  readonly requestId: string | null;
  /** W3C: the span that received it; null: no traces are kept. */
  readonly traceparent: string | null;
};

/**
 * Stores events in the order given and returns how many were new. An event whose `event_id` is known is left out; one
 * that another transaction is just inserting is waited for. Which were new is seldom asked: it is the ids that
 * `findIds` knows.
 */
export async function insertEvents(db: Db, events: readonly NewEvent[]): Promise<number> {
  const { rowCount } = await db.query({
    name: 'insert_events',
    text: `
      INSERT INTO webhook_events
        (id, event_id, event_type, company_id, resource, resource_id, status, source, body, raw, state,
         request_id, traceparent)
      SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int4[], $5::text[], $6::int8[], $7::text[],
        $8::text[], $9::json[], $10::bytea[], $11::text[], $12::text[], $13::text[])
      ON CONFLICT (event_id) DO NOTHING`,
    values: [
      uuidArray(events.map(event => event.id)),
      textArray(events.map(event => event.eventId)),
      textArray(events.map(event => event.eventType)),
      int4Array(events.map(event => event.companyId)),
      textArray(events.map(event => event.resource)),
      int8Array(events.map(event => event.resourceId)),
      textArray(events.map(event => event.status)),
      textArray(events.map(event => event.source)),
      jsonArray(events.map(event => event.payload)),
      byteaArray(events.map(event => event.raw)),
      textArray(events.map(event => event.state)),
      textArray(events.map(event => event.requestId)),
      textArray(events.map(event => event.traceparent)),
    ],
  });
  return rowCount ?? 0;
}

/** The ids under which events are kept, by `event_id`. */
export async function findIds(db: Db, eventIds: readonly string[]): Promise<Map<string, string>> {
  const { rows } = await db.query<{ event_id: string; id: string }>({
    name: 'find_ids',
    text: 'SELECT event_id, id FROM webhook_events WHERE event_id = ANY($1::text[])',
    values: [textArray(eventIds)],
  });
  return new Map(rows.map(row => [row.event_id, row.id]));
}

/** An event to be processed. */
export type PendingEvent = {
  readonly id: string;
  readonly seq: number;
  readonly shard: number;
  readonly companyId: number;
  readonly resource: string;
  readonly resourceId: number;
  readonly status: string;
  readonly source: EventSource;
  /** `read_at`: when we read it from the platform's API; of events that did not come by webhook. */
  readonly payload: { readonly data?: unknown; readonly read_at?: unknown };
  readonly attempts: number;
  readonly receivedAt: EpochMs;
  /** Its own id where it came by no request. */
  readonly requestId: string;
  readonly traceparent: string | null;
};

/**
 * Pending events of the given shards, oldest first within a shard. An event behind a waiting one of the same
 * resource is passed over, so that order holds and other resources go on.
 * Index: webhook_events_pending, then webhook_events_waiting for the test.
 */
export async function fetchPending(
  db: Db,
  { shards, perShard, total }: { shards: readonly number[]; perShard: number; total: number },
): Promise<PendingEvent[]> {
  const { rows } = await db.query<PendingEvent>({
    name: 'fetch_pending',
    text: `
      SELECT e.* FROM unnest($1::smallint[]) WITH ORDINALITY AS s (shard, place)
      CROSS JOIN LATERAL (
        SELECT id, seq, w.shard, company_id AS "companyId", resource, resource_id AS "resourceId", status, source,
          body AS payload, attempts, created_at AS "receivedAt", coalesce(request_id, id::text) AS "requestId", traceparent
        FROM webhook_events w
        WHERE w.shard = s.shard AND w.state = 'pending' AND NOT EXISTS (
          SELECT FROM webhook_events b
          WHERE b.state = 'waiting' AND b.company_id = w.company_id AND b.resource = w.resource
            AND b.resource_id = w.resource_id AND b.seq < w.seq)
        ORDER BY w.seq LIMIT $2) e
      ORDER BY s.place, e.seq
      LIMIT $3`,
    values: [shards, perShard, total],
  });
  return rows;
}

/**
 * Marks events done, with what each came to, and the span it was done in where there is one. Returns how many were still
 * pending.
 */
export async function completeEvents(
  db: Db,
  done: readonly { readonly id: string; readonly effect: string; readonly traceparent: string | null }[],
): Promise<number> {
  const { rowCount } = await db.query({
    name: 'complete_events',
    text: `
      UPDATE webhook_events e SET state = 'done', processed_at = now(), effect = d.effect, error = NULL,
        traceparent = coalesce(d.traceparent, e.traceparent)
      FROM unnest($1::uuid[], $2::text[], $3::text[]) AS d (id, effect, traceparent)
      WHERE e.id = d.id AND e.state = $4`,
    values: [
      uuidArray(done.map(event => event.id)),
      textArray(done.map(event => event.effect)),
      textArray(done.map(event => event.traceparent)),
      // A parameter: by its name the index of all that is pending would look as good as the key.
      'pending',
    ],
  });
  return rowCount ?? 0;
}

/** Puts a failed event aside until `delayMs` from now, one attempt burnt. */
export async function retryEvent(db: Db, id: string, error: string, delayMs: number): Promise<void> {
  await db.query(
    `UPDATE webhook_events
     SET state = 'waiting', attempts = attempts + 1, error = $2, next_at = now() + $3 * interval '1 millisecond'
     WHERE id = $1 AND state = 'pending'`,
    [id, error, delayMs],
  );
}

/** Gives an event up: kept, visible, open to replay. */
export async function buryEvent(db: Db, id: string, error: string): Promise<void> {
  await db.query(
    `UPDATE webhook_events SET state = 'dead', attempts = attempts + 1, error = $2 WHERE id = $1 AND state = 'pending'`,
    [id, error],
  );
}

/** Waiting events of these shards whose time has come are pending again. Returns how many. */
export async function wakeEvents(db: Db, shards: readonly number[]): Promise<number> {
  const { rowCount } = await db.query({
    name: 'wake_events',
    text: `UPDATE webhook_events SET state = 'pending', next_at = NULL
      WHERE state = 'waiting' AND next_at <= now() AND shard = ANY($1::smallint[])`,
    values: [shards],
  });
  return rowCount ?? 0;
}

const PUT_BACK = `state = 'pending', attempts = 0, next_at = NULL, processed_at = NULL, error = NULL, effect = NULL`;

/** Puts an event back, whatever became of it, except a quarantined one. False when there is none to put back. */
export async function replayEvent(db: Db, id: string): Promise<boolean> {
  const { rowCount } = await db.query(
    `UPDATE webhook_events SET ${PUT_BACK} WHERE id = $1 AND state <> 'quarantined'`,
    [id],
  );
  return rowCount === 1;
}

export type ReplayFilter = {
  readonly state: 'dead' | 'done';
  readonly companyId?: number | undefined;
  readonly resource?: string | undefined;
};

/** SQL: of $1 to $3. */
const FILTERED = `state = $1 AND ($2::int IS NULL OR company_id = $2) AND ($3::text IS NULL OR resource = $3)`;

/** Puts back up to `limit` of these events, the oldest behind `after` first. Answers their ids, in order. */
export async function replayEvents(
  db: Db,
  { state, companyId, resource }: ReplayFilter,
  { after, limit }: { readonly after: string | undefined; readonly limit: number },
): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `UPDATE webhook_events SET ${PUT_BACK}
     WHERE state = $1 AND id IN (
       SELECT id FROM webhook_events WHERE ${FILTERED} AND ($4::uuid IS NULL OR id > $4) ORDER BY id LIMIT $5)
     RETURNING id`,
    [state, companyId, resource, after, limit],
  );
  return rows.map(({ id }) => id).sort();
}

/** How many it would be. */
export async function countReplayable(db: Db, { state, companyId, resource }: ReplayFilter): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    `SELECT count(*) FROM webhook_events WHERE ${FILTERED}`,
    [state, companyId, resource],
  );
  return rows[0]?.count ?? 0;
}

/** Whether anything is left to process: pending or waiting. */
export async function countOpenEvents(db: Db, companyId?: number): Promise<number> {
  const { rows } = await db.query<{ open: number }>(
    `SELECT count(*) AS open FROM webhook_events
     WHERE state IN ('pending', 'waiting') AND ($1::int IS NULL OR company_id = $1)`,
    [companyId ?? null],
  );
  return rows[0]?.open ?? 0;
}
