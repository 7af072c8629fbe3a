/**
 * Brings a database's schema up to this version: numbered plain SQL, each file once, in one transaction.
 *
 * Processes of an older version may run meanwhile and after: a migration is written so that they survive it. One that
 * they do not survive says so in a line of its own, `-- needs: stop`. It is refused while any process serves, unless
 * the caller insists; and a process that finds such a migration applied that it does not know must stop: `outgrownBy`.
 */
import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createPool, type Db, type Pool, transaction } from './pool.ts';

const FOLDER = join(import.meta.dirname, '../../migrations');
const FILE = /^\d{4}_[a-z0-9_]+\.sql$/;
/**
 * What this process knows: as it was when it started. An upgrade puts a newer tree in the place of the one it runs from, and it
 * would take a migration of the newer for one of its own.
 */
const KNOWN = migrationsIn(FOLDER);
const NEEDS_STOP = /^-- needs: stop$/m;
/** Held while migrating, so that processes that start together do not migrate together. Any constant will do. */
const LOCK = 0x07_4b_11_4b;
/**
 * A table that is in use is waited for so long, and then left alone for a moment: whatever comes after us waits for it
 * too, and the receiver gives a statement 4 s. A backup may hold it for minutes.
 */
const LOCK_WAIT_MS = 1_000;
const PAUSE_MS = 1_000;
const TRIES = 60;
const LOCK_NOT_AVAILABLE = '55P03';
/** The name under which a process that serves is connected, always: its watch asks every few seconds. */
export const SERVING = 'otklik serve';

export type Migrated = {
  readonly applied: readonly string[];
  /** Why nothing was done, in words for the operator. */
  readonly refused?: string;
};

export type MigrateOptions = {
  /** These only, of those that are missing. */
  readonly only?: readonly string[];
  /** Migrations that need a stop too, whoever serves. */
  readonly insist?: boolean;
  readonly folder?: string;
};

/** Applies what is missing. Safe to call from many processes at once. */
export async function migrate(url: string, options: MigrateOptions = {}): Promise<Migrated> {
  const pool = createPool(url, { max: 1, name: 'otklik migrate', statementTimeoutMs: 10 * 60_000 });
  try {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await transaction(pool, db => applyMigrations(db, options));
      } catch (error) {
        if (!isLockRefused(error) || attempt === TRIES) throw error;
        await sleep(PAUSE_MS);
      }
    }
  } finally {
    await pool.end();
  }
}

function isLockRefused(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === LOCK_NOT_AVAILABLE;
}

/**
 * Applies what is missing within the caller's transaction, and returns what was applied. Takes the lock that others who
 * migrate wait for.
 */
export async function applyMigrations(db: Db, options: MigrateOptions = {}): Promise<Migrated> {
  const { only, insist = false, folder = FOLDER } = options;
  await db.query('SELECT pg_advisory_xact_lock($1)', [LOCK]);
  await db.query(`SET LOCAL lock_timeout = ${LOCK_WAIT_MS}`);
  await makeTable(db);
  const outgrown = await outgrownBy(db, folder);
  if (outgrown.length > 0) return { applied: [], refused: tooOld(outgrown) };
  const applied = await appliedMigrations(db);
  const missing = knownMigrations(folder).filter(
    name => !applied.has(name) && (only === undefined || only.includes(name)),
  );
  const texts = await Promise.all(missing.map(name => readFile(join(folder, name), 'utf8')));
  const needStop = missing.filter((_, index) => NEEDS_STOP.test(texts[index] ?? ''));
  if (needStop.length > 0 && applied.size > 0 && !insist) {
    const serving = await countServing(db);
    if (serving > 0) return { applied: [], refused: stillServing(needStop) };
  }
  for (const [index, name] of missing.entries()) {
    await db.query(texts[index] ?? '');
    await db.query('INSERT INTO migrations (name, needs_stop) VALUES ($1, $2)', [
      name,
      needStop.includes(name),
    ]);
  }
  return { applied: missing };
}

function stillServing(names: readonly string[]): string {
  return `${names.join(', ')} cannot be applied while Otklik runs on this database: stop every process of it, then run \`migrate\` or start again; \`migrate --insist\` applies it all the same, and older processes stop by themselves within seconds`;
}

/** What a process says that is older than its database. */
export function tooOld(names: readonly string[]): string {
  return `the database was brought to a newer version by ${names.join(', ')}, with which this one cannot work: run the newer Otklik`;
}

/** `IF NOT EXISTS` on the column would wait for whoever reads the table, a backup for one, at every start. */
async function makeTable(db: Db): Promise<void> {
  await db.query(`CREATE TABLE IF NOT EXISTS migrations (
    name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now(), needs_stop boolean NOT NULL DEFAULT false)`);
  const { rows } = await db.query<{ known: boolean }>(
    `SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'migrations'::regclass AND attname = 'needs_stop') AS known`,
  );
  if (!rows[0]?.known) await db.query('ALTER TABLE migrations ADD needs_stop boolean NOT NULL DEFAULT false');
}

/** The migrations this version knows, in order. */
export function knownMigrations(folder = FOLDER): readonly string[] {
  return folder === FOLDER ? KNOWN : migrationsIn(folder);
}

function migrationsIn(folder: string): readonly string[] {
  return readdirSync(folder)
    .filter(name => FILE.test(name))
    .sort();
}

async function appliedMigrations(db: Db): Promise<Set<string>> {
  const { rows } = await db.query<{ name: string }>('SELECT name FROM migrations');
  return new Set(rows.map(row => row.name));
}

/** Applied migrations that this version does not know and does not survive. */
export async function outgrownBy(db: Db, folder = FOLDER): Promise<string[]> {
  const { rows } = await db.query<{ name: string }>(
    'SELECT name FROM migrations WHERE needs_stop AND name <> ALL($1) ORDER BY name',
    [knownMigrations(folder)],
  );
  return rows.map(row => row.name);
}

/** Connections of processes that serve on this database; those of another role of PostgreSQL cannot be seen. */
async function countServing(db: Db): Promise<number> {
  const { rows } = await db.query<{ serving: number }>(
    `SELECT count(*)::integer AS serving FROM pg_stat_activity
     WHERE datname = current_database() AND application_name = $1`,
    [SERVING],
  );
  return rows[0]?.serving ?? 0;
}

/** The migrations this version has and the database has not; all of them when it was never migrated. */
export async function pendingMigrations(pool: Pool): Promise<readonly string[]> {
  const { rows } = await pool.query<{ known: boolean }>(
    "SELECT to_regclass('migrations') IS NOT NULL AS known",
  );
  const known = knownMigrations();
  if (!rows[0]?.known) return known;
  const applied = await appliedMigrations(pool);
  return known.filter(name => !applied.has(name));
}
