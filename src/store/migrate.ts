/** Brings a database's schema up to this version: numbered plain SQL, each file once, in one transaction. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createPool, type Db, type Pool, transaction } from './pool.ts';

const FOLDER = join(import.meta.dirname, '../../migrations');
const FILE = /^\d{4}_[a-z0-9_]+\.sql$/;
/** Held while migrating, so that processes that start together do not migrate together. Any constant will do. */
const LOCK = 0x07_4b_11_4b;

/** Applies what is missing. Safe to call from many processes at once. */
export async function migrate(url: string): Promise<{ applied: string[] }> {
  const pool = createPool(url, { max: 1, name: 'otklik migrate', statementTimeoutMs: 10 * 60_000 });
  try {
    return { applied: await transaction(pool, db => applyMigrations(db)) };
  } finally {
    await pool.end();
  }
}

/**
 * Applies what is missing within the caller's transaction, `only` these where given, and returns what was applied.
 * Takes the lock that others who migrate wait for.
 */
export async function applyMigrations(db: Db, only?: readonly string[]): Promise<string[]> {
  await db.query('SELECT pg_advisory_xact_lock($1)', [LOCK]);
  await db.query(`CREATE TABLE IF NOT EXISTS migrations (
    name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())`);
  const missing = (await missingMigrations(db)).filter(name => only === undefined || only.includes(name));
  for (const name of missing) {
    await db.query(await readFile(join(FOLDER, name), 'utf8'));
    await db.query('INSERT INTO migrations (name) VALUES ($1)', [name]);
  }
  return missing;
}

/** The migrations this version knows, in order. */
export async function knownMigrations(): Promise<string[]> {
  return (await readdir(FOLDER)).filter(name => FILE.test(name)).sort();
}

async function missingMigrations(db: Db): Promise<string[]> {
  const files = await knownMigrations();
  const { rows } = await db.query<{ name: string }>('SELECT name FROM migrations');
  const applied = new Set(rows.map(row => row.name));
  return files.filter(name => !applied.has(name));
}

/** The migrations this version has and the database has not; all of them when it was never migrated. */
export async function pendingMigrations(pool: Pool): Promise<string[]> {
  const { rows } = await pool.query<{ known: boolean }>(
    "SELECT to_regclass('migrations') IS NOT NULL AS known",
  );
  if (!rows[0]?.known) return knownMigrations();
  return missingMigrations(pool);
}
