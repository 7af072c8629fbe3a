/** Gives each test (or test file) a database of its own, cloned from one that is already migrated. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';

export type TestDatabase = { url: string; pool: pg.Pool; close(): Promise<void> };

// As files: page by page through the WAL, which is the default, takes five times as much of a processor.
const TEMPLATE = 'otklik_template';
const POOL_SIZE = 10;

/** Called once by the test runner. No one may be connected to a template while it is cloned, hence a URL and no pool. */
export async function createTemplate(
  adminUrl: string,
  migrate: (url: string) => Promise<unknown>,
): Promise<void> {
  await asAdmin(adminUrl, `CREATE DATABASE ${TEMPLATE}`);
  await migrate(withDatabase(adminUrl, TEMPLATE));
}

export async function testDatabase(): Promise<TestDatabase> {
  const adminUrl = process.env.OTKLIK_TEST_POSTGRES;
  if (!adminUrl) throw new Error('OTKLIK_TEST_POSTGRES is not set: run this test by "npm test -- <file>"');
  const name = `test_${process.pid}_${randomBytes(4).toString('hex')}`;
  await asAdmin(adminUrl, `CREATE DATABASE ${name} TEMPLATE ${TEMPLATE} STRATEGY FILE_COPY`);
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
    await asAdmin(adminUrl, `DROP DATABASE ${name} WITH (FORCE)`).catch(() =>
      asAdmin(adminUrl, `DROP DATABASE IF EXISTS ${name}`),
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

function withDatabase(url: string, name: string): string {
  const parsed = new URL(url);
  parsed.pathname = `/${name}`;
  return parsed.href;
}

async function asAdmin(adminUrl: string, sql: string): Promise<void> {
  const client = new pg.Client(adminUrl);
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
