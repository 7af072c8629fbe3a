/** Whole tables, moved by COPY over a connection of its own: for backups. Table and column names come from the catalog. */
import type { Readable, Writable } from 'node:stream';
import pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';

export type CopyClient = pg.Client;

/** How long a lock is waited for: a migration that is under way. */
const LOCK_TIMEOUT_MS = 60_000;
/** How long a goodbye may take: a server that lives answers it at once. */
const END_LIMIT_MS = 2_000;

/** A connection with no limit on a statement, since a large table takes its time; the caller bounds the whole. */
async function connected<T>(url: string, work: (client: CopyClient) => Promise<T>): Promise<T> {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'otklik backup',
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
    lock_timeout: LOCK_TIMEOUT_MS,
    options: '-c TimeZone=UTC',
  });
  // Heard by the query that was running; unheard here, it would end the process.
  client.on('error', () => {});
  await client.connect();
  try {
    return await work(client);
  } finally {
    // By then all is committed or lost; a server that hangs never closes its side.
    const cut = setTimeout(() => client.connection.stream.destroy(), END_LIMIT_MS);
    await client.end().finally(() => clearTimeout(cut));
  }
}

export type TableShape = { readonly name: string; readonly columns: readonly string[] };

/** Every table of the schema with its columns in order, without those that are computed from others. */
export async function listTables(client: CopyClient): Promise<TableShape[]> {
  const { rows } = await client.query<{ name: string; columns: string[] }>(
    `SELECT c.relname AS name, array_agg(a.attname::text ORDER BY a.attnum) AS columns
     FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
     WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
       AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
     GROUP BY c.relname ORDER BY c.relname COLLATE "C"`,
  );
  return rows;
}

/**
 * Reads everything in one transaction: one snapshot of all tables. The locks come before the snapshot, so that no
 * migration changes a table between it and the table's turn. Undefined when there are no tables of ours.
 */
export async function inSnapshot<T>(
  url: string,
  work: (client: CopyClient, tables: readonly TableShape[]) => Promise<T>,
): Promise<T | undefined> {
  return connected(url, async client => {
    const tables = await listTables(client);
    if (!tables.some(table => table.name === 'migrations')) return undefined;
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const names = tables.map(table => pg.escapeIdentifier(table.name)).join(', ');
    await client.query(`LOCK TABLE ${names} IN ACCESS SHARE MODE`);
    const result = await work(client, tables);
    await client.query('COMMIT');
    return result;
  });
}

/** Writes everything in one transaction: when `work` rejects, the connection ends and takes all of it back. */
export async function inOneTransaction<T>(url: string, work: (client: CopyClient) => Promise<T>): Promise<T> {
  return connected(url, async client => {
    await client.query('BEGIN');
    const result = await work(client);
    await client.query('COMMIT');
    return result;
  });
}

export type Cut = {
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly migrations: readonly string[];
  readonly databaseKey: string | null;
};

/** The moment of the snapshot, the schema's level and the key the database lives under. */
export async function readCut(client: CopyClient): Promise<Cut> {
  const { rows } = await client.query<Cut>(
    `SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS at,
       (SELECT array_agg(name ORDER BY name) FROM migrations) AS migrations,
       (SELECT value FROM settings WHERE key = 'key_fingerprint') AS "databaseKey"`,
  );
  const [cut] = rows;
  if (cut === undefined) throw new Error('the cut gave no row');
  return cut;
}

/** The rows of a table as COPY's text. `rows()` is right once the stream has ended. */
export function readTable(
  client: CopyClient,
  table: TableShape,
): { readonly stream: Readable; rows(): Promise<number> } {
  const stream = client.query(copyTo(`COPY ${target(table)} TO STDOUT`));
  return {
    stream,
    async rows() {
      // The count comes after the last row; a further statement is answered after it.
      await client.query('SELECT');
      return stream.rowCount;
    },
  };
}

/** Takes COPY's text into a table. Identity columns get the values that are given. */
export function writeTable(
  client: CopyClient,
  table: TableShape,
): { readonly stream: Writable; rows(): number } {
  const stream = client.query(copyFrom(`COPY ${target(table)} FROM STDIN`));
  return { stream, rows: () => stream.rowCount };
}

function target({ name, columns }: TableShape): string {
  return `${pg.escapeIdentifier(name)} (${columns.map(column => pg.escapeIdentifier(column)).join(', ')})`;
}
