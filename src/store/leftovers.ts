/**
 * What of an erased person is still there. It knows the schema by asking for it, and not what erase.ts removes: a table that
 * is forgotten there is found here.
 */
import pg from 'pg';
import { BODY_TEXT, likeIds } from './erase.ts';
import type { Db } from './pool.ts';

/** The number of the last event there is; those that come from now on have larger ones. */
export async function readLastSeq(db: Db): Promise<number> {
  const { rows } = await db.query<{ seq: number | null }>(
    `SELECT pg_sequence_last_value(pg_get_serial_sequence('webhook_events', 'seq')::regclass) AS seq`,
  );
  return rows[0]?.seq ?? 0;
}

export type Scan = {
  readonly companyId: number;
  /** A regular expression of phones, e-mails and chats; null: none is known. */
  readonly pattern: string | null;
  /** A regular expression, told by case, of the phones in base64; null: none is known. */
  readonly encoded: string | null;
  readonly clientIds: readonly number[];
  readonly lastSeq: number;
  readonly onColumn?: (done: number, of: number) => void;
};

export type Leftover = { readonly table: string; readonly column: string; readonly rows: number };

type Place = {
  readonly table: string;
  readonly column: string;
  readonly type: string;
  readonly owned: boolean;
};

/** Where a client's id is a number, by the column's name. */
const OWN_ID = 'client_id';

/** Where it is one in rows of some kind only. */
const ID_PLACES: readonly (Pick<Place, 'table' | 'column'> & { readonly holds: string })[] = [
  {
    table: 'webhook_events',
    column: 'resource_id',
    holds: `resource = 'client' AND resource_id = ANY($1::int8[])`,
  },
  {
    table: 'booking_changes',
    column: 'detail',
    holds: `kind = 'client_changed' AND (detail ->> 'from' = ANY($1::int8[]::text[]) OR detail ->> 'to' = ANY($1::int8[]::text[]))`,
  },
];

/**
 * Looks for a pattern, and for the phones in base64, in every column of the schema that can hold text, JSON or bytes, and
 * for the clients' ids in every one that has them as text (`client:9`, `"client_id": 9`) or is called `client_id`; of one
 * company where the table says whose its rows are: an id is a client's of that company alone. Also in tables that did not
 * exist when the erasures were written. Of events that wait to be processed those that came after `lastSeq` are left out:
 * they lose the person then.
 */
export async function scanAll(db: Db, { onColumn, ...search }: Scan): Promise<Leftover[]> {
  const places = await findPlaces(db);
  const of = places.length + ID_PLACES.length;
  const left: Leftover[] = [];
  for (const [index, place] of places.entries()) {
    onColumn?.(index, of);
    left.push(...(await scanPlace(db, place, search)));
  }
  for (const [index, { table, column, holds }] of ID_PLACES.entries()) {
    onColumn?.(places.length + index, of);
    left.push(...(await scanIds(db, { table, column }, holds, search)));
  }
  return merged(left);
}

async function findPlaces(db: Db): Promise<Place[]> {
  const { rows } = await db.query<Place>(
    `SELECT c.table_name AS "table", c.column_name AS "column", c.data_type AS type, EXISTS (
       SELECT FROM information_schema.columns o WHERE o.table_schema = c.table_schema AND o.table_name = c.table_name
         AND o.column_name = 'company_id') AS owned
     FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
     WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE'
       -- Payload is the body, read.
       AND (c.table_name, c.column_name) <> ('webhook_events', 'body')
       AND (c.data_type IN ('text', 'character varying', 'character', 'json', 'jsonb', 'bytea', 'ARRAY')
         OR c.column_name = $1 AND c.data_type IN ('bigint', 'integer'))
     ORDER BY 1, 2`,
    [OWN_ID],
  );
  return rows;
}

type Sought = Omit<Scan, 'onColumn'>;

async function scanPlace(db: Db, place: Place, search: Sought): Promise<Leftover[]> {
  const { table, column, type, owned } = place;
  const name = pg.escapeIdentifier(column);
  if (/^(bigint|integer)$/.test(type)) {
    return owned ? scanIds(db, place, `${name} = ANY($1::int8[])`, search) : [];
  }
  const readable = type === 'bytea' ? `encode(${name}, 'escape')` : `${name}::text`;
  const text = table === 'webhook_events' && column === 'payload' ? BODY_TEXT : readable;
  const { companyId, pattern, encoded, clientIds, lastSeq } = search;
  const { rows } = await db.query<{ found: number }>(
    `SELECT count(*) AS found FROM ${pg.escapeIdentifier(table)}, LATERAL (SELECT ${text} AS read OFFSET 0) t
     WHERE (read ~* $1 OR read ~ $7 OR $4::boolean AND read LIKE ANY($5::text[]) AND read ~* $6)
       AND ${owned ? 'company_id = $2' : '$2::int IS NOT NULL'}
       AND ${table === 'webhook_events' ? "(state <> 'pending' OR seq <= $3::int8)" : '$3::int8 IS NOT NULL'}`,
    [
      ...[pattern, companyId, lastSeq, owned && clientIds.length > 0],
      ...[likeIds(clientIds), idPattern(clientIds), encoded],
    ],
  );
  return leftover(place, rows[0]?.found);
}

/** Rows of the company that `holds`, whose `$1` is the ids, says to have one. */
async function scanIds(
  db: Db,
  place: Pick<Place, 'table' | 'column'>,
  holds: string,
  { companyId, clientIds, lastSeq }: Sought,
): Promise<Leftover[]> {
  const { table } = place;
  const { rows } = await db.query<{ found: number }>(
    `SELECT count(*) AS found FROM ${pg.escapeIdentifier(table)} WHERE company_id = $2 AND ${holds}
       AND ${table === 'webhook_events' ? "(state <> 'pending' OR seq <= $3::int8)" : '$3::int8 IS NOT NULL'}`,
    [clientIds, companyId, lastSeq],
  );
  return leftover(place, rows[0]?.found);
}

/** A recipient of ours, or the platform's ways to name a client. */
function idPattern(clientIds: readonly number[]): string {
  const id = `(${clientIds.join('|')})\\M`;
  return [
    `\\mclient:${id}`,
    `"client_?id"\\s*:\\s*"?${id}`,
    `"client"\\s*:\\s*\\{[^{}]*"id"\\s*:\\s*"?${id}`,
  ].join('|');
}

function leftover({ table, column }: Pick<Place, 'table' | 'column'>, found = 0): Leftover[] {
  return found > 0 ? [{ table, column, rows: found }] : [];
}

/** A column that was looked through in two ways is named once, with the larger count: they may be the same rows. */
function merged(left: readonly Leftover[]): Leftover[] {
  const most = new Map<string, Leftover>();
  for (const found of left) {
    const key = `${found.table}.${found.column}`;
    if ((most.get(key)?.rows ?? 0) < found.rows) most.set(key, found);
  }
  return [...most.values()];
}
