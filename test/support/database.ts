/** Gives each test (or test file) a database of its own, cloned from one that is already migrated. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { createPool, type Pool } from '../../src/store/pool.ts';

export type TestDatabase = { url: string; pool: pg.Pool; close(): Promise<void> };

// As files: page by page through the WAL, which is the default, takes five times as much of a processor.
const TEMPLATE = 'otklik_template';
const POOL_SIZE = 10;
/** Of a test. */
const PATIENCE_MS = 60_000;

/** Called once by the test runner. No one may be connected to a template while it is cloned, hence a URL and no pool. */
export async function createTemplate(
  adminUrl: string,
  migrate: (url: string) => Promise<unknown>,
): Promise<void> {
  const client = new pg.Client(adminUrl);
  await client.connect();
  await client.query(`CREATE DATABASE ${TEMPLATE}`).finally(() => client.end());
  await migrate(withDatabase(adminUrl, TEMPLATE));
}

export async function testDatabase(): Promise<TestDatabase> {
  const adminUrl = process.env.OTKLIK_TEST_POSTGRES;
  if (!adminUrl) throw new Error('OTKLIK_TEST_POSTGRES is not set: run this test by "npm test -- <file>"');
  const name = `test_${process.pid}_${randomBytes(4).toString('hex')}`;
  await administer(adminUrl, `CREATE DATABASE ${name} TEMPLATE ${TEMPLATE} STRATEGY FILE_COPY`);
  const url = withDatabase(adminUrl, name);
  const pool = new pg.Pool({ connectionString: url, max: POOL_SIZE });
  // pg-pool's end does not wait for its connections to close: those that are still there when the database is dropped are
  // told so by the server, and nobody asks them anything any more.
  pool.on('connect', client => client.on('error', () => {}));
  pool.on('error', () => {});
  let closing: Promise<void> | undefined;
  const drop = async () => {
    await pool.end();
    // A vacuum at work there is the server's own, which we may not end; without FORCE it makes way by itself.
    await administer(adminUrl, `DROP DATABASE ${name} WITH (FORCE)`).catch(() =>
      administer(adminUrl, `DROP DATABASE IF EXISTS ${name}`),
    );
  };
  return {
    url,
    pool,
    close: () => {
      closing ??= drop();
      return closing;
    },
  };
}

/** A pool as the program has it, but for its limits of time: to a test no machine that stalls is a database that is away. */
export function testPool(url: string, options: { readonly max: number; readonly byKey?: boolean }): Pool {
  const pool = createPool(url, { name: 'test', statementTimeoutMs: PATIENCE_MS, ...options });
  Object.assign(pool.options, { connectionTimeoutMillis: PATIENCE_MS });
  return pool;
}

function withDatabase(url: string, name: string): string {
  const parsed = new URL(url);
  parsed.pathname = `/${name}`;
  return parsed.href;
}

let admin: pg.Pool | undefined;

/** By one connection for all of a file's databases: each takes the server 20 ms of a core. It keeps no process alive. */
function administer(adminUrl: string, sql: string): Promise<unknown> {
  admin ??= new pg.Pool({ connectionString: adminUrl, max: 1, allowExitOnIdle: true });
  return admin.query(sql);
}
