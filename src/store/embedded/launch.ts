/** Brings a directory's server up, or joins the one that runs there, and comes back with a holder's connection to it. */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { checkCluster, prepareCluster } from './cluster.ts';
import { complaints, EmbeddedError, errorCode } from './failure.ts';
import { isFree, pickPort } from './port.ts';
import { type Launched, readPostmaster, spawnPostmaster } from './postmaster.ts';
import type { Site } from './site.ts';
import { readState, type State, urlOf, writeState } from './state.ts';

export type Hold = { client: pg.Client; state: State; pid: number; adopted: boolean };

const POLL_MS = 20;
const ATTEMPTS = 5;
const RETRY_MS = 200;
const CONNECT_TIMEOUT_MS = 5_000;
const READY_TIMEOUT_MS = 300_000; // a recovery may have to replay max_wal_size from a slow disk

/** 57P03: starting up or shutting down; 57P01, 57P02: it just went down; 53300: every connection is taken. */
const PASSING = new Set([
  '57P03',
  '57P01',
  '57P02',
  '53300',
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
]);

/**
 * Called under the lock. `port` is set once a URL has been handed out: a restart must keep it.
 * A start is tried a few times: its port may be taken between the look and the bind, and the processes of a killed
 * postmaster need a moment to leave the shared memory.
 */
export async function bringUp(site: Site, port: number | undefined, abort: AbortSignal): Promise<Hold> {
  await checkCluster(site);
  for (let attempt = 1; ; attempt += 1) {
    abort.throwIfAborted();
    try {
      return (await adopt(site, abort)) ?? (await start(site, port, abort));
    } catch (error) {
      if (!(error instanceof Died) || attempt === ATTEMPTS) throw error;
      await sleep(RETRY_MS, undefined, { signal: abort });
    }
  }
}

class Died extends Error {}

async function adopt(site: Site, abort: AbortSignal): Promise<Hold | undefined> {
  const running = await readPostmaster(site.pgdata);
  if (!running) return undefined;
  const known = await readState(site);
  if (!known) {
    throw new EmbeddedError(
      `a PostgreSQL (pid ${running.pid}) runs in ${site.pgdata}, but ${site.statePath} with its password is missing or ` +
        `unreadable: stop it with "kill -INT ${running.pid}" and start again, the password is then made anew`,
    );
  }
  const state = { ...known, port: running.port };
  const alive = async () => (await readPostmaster(site.pgdata))?.pid === running.pid;
  const client = await connectWhenReady(site, state, alive, abort);
  if (!client) throw new Died(`the PostgreSQL (pid ${running.pid}) that ran in ${site.pgdata} ended`);
  if (known.port !== running.port) await writeState(site, state);
  return { client, state, pid: running.pid, adopted: true };
}

async function start(site: Site, fixedPort: number | undefined, abort: AbortSignal): Promise<Hold> {
  const known = await prepareCluster(site);
  const port = fixedPort ?? ((await isFree(known.port)) ? known.port : await pickPort());
  const state = { ...known, port };
  if (port !== known.port) await writeState(site, state);
  const launched = await spawnPostmaster(site, port);
  const client = await connectWhenReady(site, state, async () => !launched.exited(), abort);
  const running = client && (await readPostmaster(site.pgdata));
  if (!client || !running) throw new Died(await lastWords(launched, site));
  return { client, state, pid: running.pid, adopted: false };
}

async function lastWords(launched: Launched, site: Site): Promise<string> {
  return `PostgreSQL did not start: ${complaints(await launched.output()) || `see ${site.logPath}`}`;
}

/** Undefined when the server is no longer alive. Its log is spared refused attempts: we ask once it says it is ready. */
async function connectWhenReady(
  site: Site,
  state: State,
  alive: () => Promise<boolean>,
  abort: AbortSignal,
): Promise<pg.Client | undefined> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  while (await alive()) {
    const running = await readPostmaster(site.pgdata);
    const client = running?.status === 'ready' ? await tryConnect(state) : undefined;
    if (client) return client;
    if (performance.now() > deadline) {
      throw new EmbeddedError(
        `PostgreSQL (pid ${running?.pid}) in ${site.pgdata} took no connection within ${READY_TIMEOUT_MS / 1000} s ` +
          `(it says "${running?.status}"): see ${site.logPath}`,
      );
    }
    await sleep(POLL_MS, undefined, { signal: abort });
  }
  return undefined;
}

async function tryConnect(state: State): Promise<pg.Client | undefined> {
  try {
    return await connect(state);
  } catch (error) {
    if (PASSING.has(errorCode(error) ?? '')) return undefined;
    throw error;
  }
}

/** The connection by which a process shows that it uses the server; the kernel takes it back when the process dies. */
export async function connect(state: State): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString: urlOf(state),
    application_name: HOLDER,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: CONNECT_TIMEOUT_MS,
  });
  client.on('error', () => {}); // 'end' follows, and is what we act on
  await client.connect();
  return client;
}

const HOLDER = 'otklik-holder';

/** How many other holders the server has, in whatever process. */
export async function countOthers(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ others: number }>(
    'SELECT count(*)::int AS others FROM pg_stat_activity WHERE application_name = $1 AND pid <> pg_backend_pid()',
    [HOLDER],
  );
  return rows[0]?.others ?? 0;
}
