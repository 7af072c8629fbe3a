/** The data directory itself: made once and whole, never mixed with another major version's. */
import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../directory.ts';
import { run } from './account.ts';
import { complaints, EmbeddedError, errorCode } from './failure.ts';
import { pickPort } from './port.ts';
import type { Site } from './site.ts';
import { readState, type State, writeState } from './state.ts';

const PROGRAM_TIMEOUT_MS = 120_000;

/**
 * Throws when the directory holds another major version's cluster, or something that is none.
 * Returns whether there is a cluster.
 */
export async function checkCluster({ pgdata, binaries }: Site): Promise<boolean> {
  const found = await readFile(join(pgdata, 'PG_VERSION'), 'utf8').catch(error => {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (found === undefined) {
    if (await stat(pgdata).catch(() => undefined)) {
      throw new EmbeddedError(
        `${pgdata} is not a PostgreSQL data directory (no PG_VERSION): move it away, or restore it`,
      );
    }
    return false;
  }
  if (Number.parseInt(found, 10) !== binaries.major) {
    throw new EmbeddedError(
      `${pgdata} was made by PostgreSQL ${found.trim()}, and this Otklik brings PostgreSQL ${binaries.major}: ` +
        'take a backup with the Otklik that made it and restore it here into a new DATA_DIR, or set DATABASE_URL',
    );
  }
  return true;
}

/** Called under the lock, with no server running: makes what is missing, answers the port and password to use. */
export async function prepareCluster(site: Site): Promise<State> {
  const state = await readState(site);
  if (!(await checkCluster(site))) return create(site);
  await chmod(site.pgdata, 0o700); // PostgreSQL insists, and a directory put back from a copy may have lost it
  if (state) return state;
  const fresh = await newState();
  await singleUser(site, site.pgdata, [`ALTER ROLE otklik PASSWORD '${fresh.password}'`]);
  await writeState(site, fresh);
  site.log('postgres.password_reset', { reason: 'postgres.json was missing or unreadable' });
  return fresh;
}

async function newState(): Promise<State> {
  return { port: await pickPort(), password: randomBytes(24).toString('base64url') };
}

/**
 * The rename is the last step, so a half-made cluster is never taken for one.
 *
 * The superuser may not log in at all (there is no pg_hba.conf line for it): the application's role owns its database and
 * no more, so an SQL injection is not a shell, and row security binds it.
 */
async function create(site: Site): Promise<State> {
  const startedAt = performance.now();
  const building = `${site.pgdata}.tmp`;
  const { account } = site;
  await rm(building, { recursive: true, force: true });
  await mkdir(building, { mode: 0o700 });
  if (account.uid !== undefined) await chown(building, account.uid, account.gid ?? account.uid);

  const flags = ['--auth=reject', '--encoding=UTF8', '--data-checksums', '--username=postgres'];
  // The builtin provider: same order and case rules on every system, and no dependence on its libc version.
  flags.push('--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C');
  const initdb = await run(account, site.binaries.initdb, ['-D', building, ...flags], {
    timeoutMs: PROGRAM_TIMEOUT_MS,
  });
  if (!initdb.ok) throw new Error(complaints(initdb.output));

  const state = await newState();
  await singleUser(site, building, [
    `CREATE ROLE otklik LOGIN CREATEDB PASSWORD '${state.password}'`,
    'CREATE DATABASE otklik OWNER otklik',
  ]);
  await writeFile(join(building, 'pg_hba.conf'), 'host all otklik 127.0.0.1/32 scram-sha-256\n');
  await writeState(site, state);
  await rename(building, site.pgdata);
  await syncDirectory(site.dataDir);
  site.log('postgres.created', {
    major: site.binaries.major,
    durationMs: Math.round(performance.now() - startedAt),
  });
  return state;
}

/** One statement a line; this mode reports errors on stderr only, and goes on. */
async function singleUser(site: Site, pgdata: string, statements: string[]): Promise<void> {
  const { ok, output } = await run(
    site.account,
    site.binaries.postgres,
    ['--single', '-D', pgdata, 'postgres'],
    {
      timeoutMs: PROGRAM_TIMEOUT_MS,
      input: `${statements.join('\n')}\n`,
    },
  );
  if (!ok || /ERROR|FATAL|PANIC/.test(output)) throw new Error(complaints(output));
}
