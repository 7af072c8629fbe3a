/**
 * Erasing a person: who and what it is about, and every place where something of them is kept. That nothing was forgotten
 * here is for leftovers.ts to show.
 */
import { jsonArray, uuidArray } from './binary.ts';
import type { Db } from './pool.ts';
import { digestOf } from './receipts.ts';

/**
 * A body as text without the escapes that could hide something. Reading all as JSON takes three times as long as looking
 * whether there is one: 2.8 s against 1.0 s for 60,000 bodies.
 */
export const BODY_TEXT = String.raw`CASE WHEN strpos(body::text, '\u') > 0 THEN payload::text
  ELSE replace(body::text, '\/', '/') END`;

/** Patterns of LIKE: they cost less than a regular expression, which is then for the few that have one. */
export const likeIds = (clientIds: readonly number[]): string[] => clientIds.map(id => `%${id}%`);

const DIGITS = (column: string) => String.raw`regexp_replace(${column}, '\D', '', 'g')`;

/** A client who was erased, known by a keyed hash alone. */
export type ErasedClient = { readonly companyId: number; readonly hash: Buffer };

/** Those of these companies. Mostly none. */
export async function findErased(db: Db, companyIds: readonly number[]): Promise<readonly ErasedClient[]> {
  const { rows } = await db.query<ErasedClient>({
    name: 'find_erased',
    text: `SELECT company_id AS "companyId", client_hash AS hash FROM erased_people
      WHERE company_id = ANY($1::int4[])`,
    values: [companyIds],
  });
  return rows;
}

/** Remembers that these clients were erased. */
export async function addErased(db: Db, companyId: number, hashes: readonly Buffer[]): Promise<void> {
  await db.query(
    `INSERT INTO erased_people (company_id, client_hash) SELECT $1, unnest($2::bytea[]) ON CONFLICT DO NOTHING`,
    [companyId, hashes],
  );
}

/** Forgets it again, for a client who has come back and wants to be known. False when there was nothing to forget. */
export async function dropErased(db: Db, companyId: number, hash: Buffer): Promise<boolean> {
  const { rowCount } = await db.query(
    'DELETE FROM erased_people WHERE company_id = $1 AND client_hash = $2',
    [companyId, hash],
  );
  return rowCount === 1;
}

/**
 * Waits until every batch of events under way has ended: each holds its shards' rows. A batch that begins later sees
 * what was committed before this.
 */
export async function awaitBatches(db: Db): Promise<void> {
  await db.query('SELECT shard FROM shards ORDER BY shard FOR UPDATE');
}

/** What a person is known by in one company. */
export type Traces = {
  readonly clientIds: readonly number[];
  readonly phones: readonly string[];
  readonly emails: readonly string[];
  readonly addresses: readonly string[];
};

/** Clients whose phone is one of these spellings. */
export async function findClientsByPhone(
  db: Db,
  companyId: number,
  phones: readonly string[],
): Promise<number[]> {
  const { rows } = await db.query<{ clientId: number }>(
    `SELECT client_id AS "clientId" FROM people WHERE company_id = $1 AND phone = ANY($2::text[]) ORDER BY client_id`,
    [companyId, phones],
  );
  return rows.map(row => row.clientId);
}

/**
 * Everything these clients, and whoever has these phones, were ever called by: as known now, and as the events that are
 * kept said. Phones are compared by their digits: events have them as the platform wrote them.
 */
export async function findTraces(
  db: Db,
  companyId: number,
  clientIds: readonly number[],
  phones: readonly string[] = [],
): Promise<Traces> {
  const { rows } = await db.query<{ phones: string[]; emails: string[]; addresses: string[] }>(
    `WITH said AS (
       SELECT phone, email FROM people WHERE company_id = $1 AND client_id = ANY($2::int8[])
       UNION
       SELECT unnest($4::text[]), NULL
       UNION
       SELECT d ->> 'phone', d ->> 'email' FROM (
         SELECT CASE WHEN resource = 'client' THEN payload -> 'data' ELSE payload -> 'data' -> 'client' END AS d,
           resource = 'client' AND resource_id = ANY($2::int8[]) AS own
         FROM webhook_events WHERE company_id = $1 AND (resource = 'client' AND resource_id = ANY($2::int8[])
           OR ${BODY_TEXT} LIKE ANY($3::text[]) AND ${BODY_TEXT} ~ ('\\m(' || array_to_string($2::int8[], '|') || ')\\M'))) e
       WHERE own OR d ->> 'id' = ANY($2::int8[]::text[]))
     SELECT ARRAY(SELECT DISTINCT phone FROM said WHERE phone <> '') AS phones,
       ARRAY(SELECT DISTINCT email FROM said WHERE email <> '') AS emails,
       ARRAY(SELECT address FROM addresses WHERE company_id = $1 AND client_id = ANY($2::int8[])
         UNION
         SELECT chat FROM chats WHERE company_id = $1
           AND ${DIGITS('phone')} IN (SELECT ${DIGITS('phone')} FROM said WHERE phone <> '')) AS addresses`,
    [companyId, clientIds, likeIds(clientIds), phones],
  );
  return { clientIds, ...(rows[0] ?? { phones: [], emails: [], addresses: [] }) };
}

/** Bookings these clients have, or were told of. */
export async function findRecords(
  db: Db,
  companyId: number,
  clientIds: readonly number[],
): Promise<number[]> {
  const { rows } = await db.query<{ recordId: number }>(
    `SELECT record_id AS "recordId" FROM bookings WHERE company_id = $1
       AND (client_id = ANY($2::int8[]) OR told ?| $3::text[])`,
    [companyId, clientIds, clientIds.map(id => `client:${id}`)],
  );
  return rows.map(row => row.recordId);
}

/** What events are looked for by. `pattern` is a regular expression of phones and e-mails; null: there are none. */
export type EventSearch = {
  readonly companyId: number;
  readonly clientIds: readonly number[];
  readonly recordIds: readonly number[];
  readonly pattern: string | null;
};

export type SuspectEvent = {
  readonly id: string;
  readonly resource: string;
  readonly resourceId: number;
  readonly payload: Record<string, unknown>;
  readonly raw: Buffer | null;
  readonly matches: boolean;
};

/** How many events a company has. */
export async function countEvents(db: Db, companyId: number): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    'SELECT count(*) AS count FROM webhook_events WHERE company_id = $1',
    [companyId],
  );
  return rows[0]?.count ?? 0;
}

/** The id that ends the next `size` events after this one; undefined: there are fewer. Index: webhook_events_of_company. */
export async function findPageEnd(
  db: Db,
  companyId: number,
  after: string,
  size: number,
): Promise<string | undefined> {
  const { rows } = await db.query<{ id: string }>(
    'SELECT id FROM webhook_events WHERE company_id = $1 AND id > $2 ORDER BY id OFFSET $3 LIMIT 1',
    [companyId, after, size - 1],
  );
  return rows[0]?.id;
}

/** Events of a page that may speak of the person. Whoever asked looks closer; `matches`: the pattern was found. */
export async function findSuspects(
  db: Db,
  search: EventSearch,
  { after, until }: { readonly after: string; readonly until: string },
): Promise<SuspectEvent[]> {
  const { rows } = await db.query<SuspectEvent>(
    `SELECT id, resource, "resourceId", payload, raw, matches FROM (
       SELECT id, resource, resource_id AS "resourceId", payload, raw,
         coalesce(text ~* $4, false) AS matches, record_id, text
       FROM webhook_events, LATERAL (SELECT ${BODY_TEXT} AS text OFFSET 0) t
       WHERE company_id = $1 AND id > $5 AND id <= $6) e
     WHERE matches OR raw IS NOT NULL OR record_id = ANY($3::int8[])
       OR (resource = 'client' AND "resourceId" = ANY($2::int8[]))
       OR text LIKE ANY($7::text[]) AND text ~ ('client(_id)?".*\\m(' || array_to_string($2::int8[], '|') || ')\\M')`,
    [
      search.companyId,
      search.clientIds,
      search.recordIds,
      search.pattern,
      after,
      until,
      likeIds(search.clientIds),
    ],
  );
  return rows;
}

/**
 * Puts bodies without people in the place of those there were. An event that is not a record's has nothing left to be
 * processed, and is done. A client's own event loses the client's id, and with it the key that told copies apart.
 */
export async function scrubEvents(
  db: Db,
  events: readonly { readonly id: string; readonly payload: unknown }[],
): Promise<void> {
  await db.query({
    name: 'scrub_events',
    text: `
      UPDATE webhook_events e SET body = s.body, raw = NULL, error = NULL,
        resource_id = CASE WHEN resource = 'client' THEN 0 ELSE resource_id END,
        event_id = CASE WHEN resource = 'client' THEN 'erased:' || e.id ELSE event_id END,
        state = CASE WHEN resource = 'record' THEN state ELSE 'done' END,
        effect = CASE WHEN resource = 'record' OR state = 'done' THEN effect ELSE 'erased' END,
        next_at = CASE WHEN resource = 'record' THEN next_at END,
        processed_at = CASE WHEN resource = 'record' THEN processed_at ELSE coalesce(processed_at, now()) END
      FROM unnest($1::uuid[], $2::json[]) AS s (id, body)
      WHERE e.id = s.id`,
    values: [
      uuidArray(events.map(event => event.id)),
      jsonArray(events.map(event => Buffer.from(JSON.stringify(event.payload)))),
    ],
  });
}

/** How a person is looked for in rows other than events. */
export type RowSearch = {
  readonly companyId: number;
  readonly clientIds: readonly number[];
  readonly recipients: readonly string[];
  readonly pattern: string | null;
  /** Finds their phones in base64; unlike the pattern it is told by case. Ids of providers are looked through by it. */
  readonly encoded: string | null;
};

type Erase = (db: Db, search: RowSearch) => Promise<number>;

/** Each removes the person from one table and returns how many rows it touched. */
export const ERASURES: readonly { readonly table: string; readonly erase: Erase }[] = [
  {
    table: 'bookings',
    erase: (db, { companyId, clientIds, recipients, pattern }) =>
      touched(
        db,
        `UPDATE bookings SET told = told - $3::text[],
           client_id = CASE WHEN client_id = ANY($2::int8[]) THEN NULL ELSE client_id END,
           comment = CASE WHEN comment IS NULL THEN NULL
             WHEN client_id = ANY($2::int8[]) OR comment ~* $4 THEN '' ELSE comment END
         WHERE company_id = $1 AND (client_id = ANY($2::int8[]) OR told ?| $3::text[] OR comment ~* $4)`,
        [companyId, clientIds, recipients, pattern],
      ),
  },
  {
    table: 'booking_changes',
    erase: (db, { companyId, clientIds, pattern }) =>
      touched(
        db,
        `UPDATE booking_changes SET detail = '{}' WHERE company_id = $1 AND (detail::text ~* $3
           OR kind = 'client_changed' AND (detail ->> 'from' = ANY($2::text[]) OR detail ->> 'to' = ANY($2::text[])))`,
        [companyId, clientIds.map(String), pattern],
      ),
  },
  // Before messages: whoever plans for a client holds their row, and what it put into the outbox is there by then.
  {
    table: 'people',
    erase: (db, { companyId, clientIds }) =>
      touched(db, 'DELETE FROM people WHERE company_id = $1 AND client_id = ANY($2::int8[])', [
        companyId,
        clientIds,
      ]),
  },
  // With the phone goes what was asked: a text that waits is not sent, and nothing more is told of it.
  {
    table: 'relays',
    erase: (db, { companyId, pattern }) =>
      touched(
        db,
        `DELETE FROM relays r USING messages m WHERE r.company_id = $1 AND m.company_id = $1 AND m.id = r.message_id
           AND (m.recipient ~* $2 OR m.body ~* $2 OR r.their_id ~* $2)`,
        [companyId, pattern],
      ),
  },
  // Those that an earlier build kept under the provider's id, of whichever company: under a digest each is found as before.
  // Before the attempts, which tell whose they are.
  {
    table: 'receipts',
    erase: (db, { companyId, recipients, pattern, encoded }) =>
      touched(
        db,
        `WITH theirs AS (
           DELETE FROM receipts r WHERE (length(r.provider_id) <> 64 OR r.provider_id ~ '[^0-9a-f]')
             AND (r.provider_id ~ $4 OR EXISTS (
             SELECT FROM attempts a JOIN messages m ON m.company_id = a.company_id AND m.id = a.message_id
             WHERE a.company_id = $1 AND a.channel = r.channel AND a.provider_id = r.provider_id
               AND (m.recipient = ANY($2::text[]) OR m.recipient ~* $3)))
           RETURNING channel, provider_id, status, reason, happened_at, created_at)
         INSERT INTO receipts (channel, provider_id, status, reason, happened_at, created_at)
         SELECT channel, ${digestOf('provider_id')}, status, reason, happened_at, created_at FROM theirs
         ON CONFLICT DO NOTHING`,
        [companyId, recipients, pattern, encoded],
      ),
  },
  // Its attempts come first: afterwards nothing tells whose they were.
  {
    table: 'attempts',
    erase: (db, { companyId, recipients, pattern, encoded }) =>
      touched(
        db,
        `UPDATE attempts a SET reason = '', provider_id = NULL, address = NULL FROM messages m
         WHERE a.company_id = $1 AND m.company_id = $1 AND m.id = a.message_id AND (m.recipient = ANY($2::text[])
           OR m.recipient ~* $3 OR m.body ~* $3 OR m.subject ~* $3 OR a.reason ~* $3
           OR a.address ~* $3 OR a.provider_id ~ $4)`,
        [companyId, recipients, pattern, encoded],
      ),
  },
  {
    table: 'messages',
    erase: (db, { companyId, recipients, pattern }) =>
      touched(
        db,
        `UPDATE messages SET recipient = 'erased:' || id, subject = NULL, body = NULL, told_before = NULL,
           told_after = NULL, visit = NULL, provider_id = NULL, error = NULL, leased_by = NULL, leased_until = NULL,
           fall_at = NULL, falls = '[]',
           state = CASE state WHEN 'due' THEN 'cancelled' WHEN 'sending' THEN 'unknown' ELSE state END
         WHERE company_id = $1 AND (recipient = ANY($2::text[]) OR recipient ~* $3 OR body ~* $3 OR subject ~* $3)`,
        [companyId, recipients, pattern],
      ),
  },
  // Another client's message that went to a phone of theirs is the other's, and loses the id alone.
  {
    table: 'messages',
    erase: (db, { companyId, encoded }) =>
      touched(db, 'UPDATE messages SET provider_id = NULL WHERE company_id = $1 AND provider_id ~ $2', [
        companyId,
        encoded,
      ]),
  },
  {
    table: 'plan_requests',
    erase: (db, { companyId, clientIds }) =>
      touched(db, 'DELETE FROM plan_requests WHERE company_id = $1 AND client_id = ANY($2::int8[])', [
        companyId,
        clientIds,
      ]),
  },
  {
    table: 'reached',
    erase: (db, { companyId, recipients, pattern }) =>
      touched(
        db,
        'DELETE FROM reached WHERE company_id = $1 AND (recipient = ANY($2::text[]) OR recipient ~* $3)',
        [companyId, recipients, pattern],
      ),
  },
  {
    table: 'addresses',
    erase: (db, { companyId, clientIds, pattern }) =>
      touched(
        db,
        'DELETE FROM addresses WHERE company_id = $1 AND (client_id = ANY($2::int8[]) OR address ~* $3)',
        [companyId, clientIds, pattern],
      ),
  },
  {
    table: 'chats',
    erase: (db, { companyId, pattern }) =>
      touched(db, 'DELETE FROM chats WHERE company_id = $1 AND (phone ~* $2 OR chat ~* $2)', [
        companyId,
        pattern,
      ]),
  },
  // Of no company yet: a person is the same to all of them.
  {
    table: 'heard',
    erase: (db, { pattern }) => touched(db, 'UPDATE heard SET said = NULL WHERE said::text ~* $1', [pattern]),
  },
  {
    table: 'consents',
    erase: (db, { companyId, clientIds, pattern }) =>
      touched(
        db,
        `DELETE FROM consents
         WHERE company_id = $1 AND (client_id = ANY($2::int8[]) OR address ~* $3 OR words ~* $3)`,
        [companyId, clientIds, pattern],
      ),
  },
  {
    table: 'actions',
    erase: (db, { companyId, recipients, pattern }) =>
      touched(
        db,
        'DELETE FROM actions WHERE company_id = $1 AND (recipient = ANY($2::text[]) OR chat ~* $3)',
        [companyId, recipients, pattern],
      ),
  },
  // One of the team who is erased is told nothing any more; what they were told names clients, and is not kept.
  {
    table: 'team',
    erase: (db, { companyId, pattern }) =>
      touched(
        db,
        'DELETE FROM team WHERE company_id = $1 AND (address ~* $2 OR name ~* $2 OR others::text ~* $2)',
        [companyId, pattern],
      ),
  },
  // Earlier builds kept the numbers of loyalty cards, and not whose they are: all of them go. Nothing looks at them.
  {
    table: 'entities',
    erase: (db, { companyId, clientIds, pattern }) =>
      touched(
        db,
        `UPDATE entities SET data = CASE WHEN data::text ~* $3 THEN '{}' ELSE data - 'clientId' END,
           title = CASE WHEN title ~* $3 OR resource = 'loyalty_card' THEN '' ELSE title END
         WHERE company_id = $1 AND (data ->> 'clientId' = ANY($2::text[]) OR data::text ~* $3 OR title ~* $3
           OR resource = 'loyalty_card' AND title <> '')`,
        [companyId, clientIds.map(String), pattern],
      ),
  },
  {
    table: 'audit_log',
    erase: (db, { companyId, recipients, pattern }) =>
      touched(
        db,
        `UPDATE audit_log SET subject = 'erased' WHERE company_id = $1
           AND (string_to_array(subject, ' ') && $2::text[] OR subject ~* $3)`,
        [companyId, recipients, pattern],
      ),
  },
];

async function touched(db: Db, statement: string, values: readonly unknown[]): Promise<number> {
  const { rowCount } = await db.query(statement, [...values]);
  return rowCount ?? 0;
}
