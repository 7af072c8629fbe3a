/**
 * The PostgreSQL that comes with Otklik, for when there is no DATABASE_URL.
 *
 * It promises: one server for a data directory, however many processes ask; the URL stays good for as long as a process
 * holds it, through a kill -9 of the server or of any other holder; nothing listens but 127.0.0.1.
 *
 *   start    a server runs here already → join it; else make the directory if it is new, and start one.
 *            Under a lock of the directory, so that two who start at once end with the same server.
 *   hold     one idle connection. When it breaks, the holder takes the lock and starts again: the first one restarts
 *            the server, the others find it running.
 *   stop     under the same lock: other holders' connections → leave it running; none → shut it down.
 *   killed   a holder that dies takes nothing along: the server leads a session of its own, and the next start joins it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { checkCluster } from './embedded/cluster.ts';
import { EmbeddedError, explain } from './embedded/failure.ts';
import { bringUp, connect, countOthers, type Hold } from './embedded/launch.ts';
import { withLock } from './embedded/lock.ts';
import { boundLog, readPostmaster, shutDown, signal } from './embedded/postmaster.ts';
import { openSite, type Site } from './embedded/site.ts';
import { readState, type State, urlOf, writeState } from './embedded/state.ts';

export type Embedded = { url: string; stop(): Promise<void> };

type Options = {
  dataDir: string;
  log: (event: string, fields: Record<string, unknown>) => void;
  /** PostgreSQL settings over ours, used when this call is the one that starts the server. */
  settings?: Record<string, string>;
};

const LOCK_TIMEOUT_MS = 330_000; // outlasts a start that has to recover
const WATCH_MS = 5_000;
const BACKOFF_MS = { first: 100, most: 5_000 };
const STEADY_MS = 2_000; // a server that lived this long is restarted at once; sooner, it may be in a crash loop

/** Throws EmbeddedError, whose message says what to do. */
export async function startEmbedded(options: Options): Promise<Embedded> {
  const startedAt = performance.now();
  try {
    const site = await openSite({ ...options, settings: options.settings ?? {} });
    const never = new AbortController().signal;
    const hold = await underLock(site, never, () => bringUp(site, undefined, never));
    const { pid, adopted, state } = hold;
    site.log('postgres.ready', { pid, adopted, port: state.port, durationMs: since(startedAt) });
    return new Holder(site, hold);
  } catch (error) {
    throw explain(error, 'starting the embedded PostgreSQL', options.dataDir);
  }
}

class Holder implements Embedded {
  readonly url: string;
  readonly #site: Site;
  readonly #state: State;
  readonly #abort = new AbortController();
  readonly #watch: NodeJS.Timeout;
  #client: pg.Client | undefined;
  #recovery: Promise<void> = Promise.resolve();
  #stop: Promise<void> | undefined;
  #failures = 0;
  #upAt = 0;

  constructor(site: Site, { client, state }: Hold) {
    this.url = urlOf(state);
    this.#site = site;
    this.#state = state;
    this.#attach(client);
    this.#watch = setInterval(() => void this.#look(), WATCH_MS).unref();
  }

  stop(): Promise<void> {
    this.#stop ??= this.#release();
    return this.#stop;
  }

  #attach(client: pg.Client): void {
    this.#client = client;
    this.#upAt = performance.now();
    client.once('end', () => {
      this.#client = undefined;
      if (!this.#abort.signal.aborted) this.#recovery = this.#recover();
    });
  }

  /** Never rejects: it goes on until the server is back or we are stopped. */
  async #recover(): Promise<void> {
    const lostAt = performance.now();
    const abort = this.#abort.signal;
    const { port } = this.#state;
    this.#failures = lostAt - this.#upAt < STEADY_MS ? this.#failures + 1 : 0;
    this.#site.log('postgres.lost', { port });
    while (!abort.aborted) {
      try {
        await sleep(this.#delayMs(), undefined, { signal: abort });
        const hold = await underLock(this.#site, abort, () => this.#restart());
        this.#attach(hold.client);
        this.#site.log('postgres.back', {
          pid: hold.pid,
          adopted: hold.adopted,
          port,
          durationMs: since(lostAt),
        });
        return;
      } catch (error) {
        if (abort.aborted) return;
        this.#failures += 1;
        const { message } = explain(error, 'restarting the embedded PostgreSQL', this.#site.dataDir);
        this.#site.log('postgres.restart_failed', { error: message, retryMs: this.#delayMs() });
      }
    }
  }

  async #restart(): Promise<Hold> {
    const { port, password } = this.#state;
    if (!(await checkCluster(this.#site)))
      throw new EmbeddedError(`${this.#site.pgdata} is gone: restore it`);
    if (!(await readState(this.#site))) await writeState(this.#site, this.#state);
    const hold = await bringUp(this.#site, port, this.#abort.signal);
    if (hold.state.port === port && hold.state.password === password) return hold;
    await hold.client.end();
    throw new EmbeddedError(
      `PostgreSQL moved to port ${hold.state.port} while we held ${port}: restart this process`,
    );
  }

  #delayMs(): number {
    return this.#failures === 0 ? 0 : Math.min(BACKOFF_MS.first * 2 ** (this.#failures - 1), BACKOFF_MS.most);
  }

  /**
   * A SIGTERM from outside (systemd stopping a whole group) puts PostgreSQL in its smart shutdown: old connections go
   * on, new ones are refused, for as long as we hold ours. Cut it short, and the recovery brings it back.
   */
  async #look(): Promise<void> {
    try {
      await boundLog(this.#site);
      const running = await readPostmaster(this.#site.pgdata);
      if (running?.status === 'stopping' && this.#client && !this.#stop) signal(running.pid, 'SIGINT');
    } catch (error) {
      this.#site.log('postgres.watch_failed', { error: String(error) });
    }
  }

  async #release(): Promise<void> {
    clearInterval(this.#watch);
    this.#abort.abort();
    await this.#recovery;
    const never = new AbortController().signal;
    try {
      await underLock(this.#site, never, () => this.#leave());
    } catch (error) {
      throw explain(error, 'stopping the embedded PostgreSQL', this.#site.dataDir);
    }
  }

  async #leave(): Promise<void> {
    const startedAt = performance.now();
    const running = await readPostmaster(this.#site.pgdata);
    if (!running) return;
    const others = await this.#letGo();
    if (others > 0) return this.#site.log('postgres.left_running', { pid: running.pid, holders: others });
    if (!(await shutDown(this.#site, running))) {
      throw new EmbeddedError(
        `PostgreSQL (pid ${running.pid}) does not stop: see ${this.#site.logPath}, then kill it`,
      );
    }
    this.#site.log('postgres.stopped', { pid: running.pid, durationMs: since(startedAt) });
  }

  /** Waits until the server has seen us go, or the next one to stop would take us for a holder. */
  async #letGo(): Promise<number> {
    try {
      const client = this.#client ?? (await connect(this.#state));
      const others = await countOthers(client);
      await client.end();
      return others;
    } catch {
      return 0; // it does not answer: nobody is served by it
    }
  }
}

function underLock<T>(site: Site, abort: AbortSignal, work: () => Promise<T>): Promise<T> {
  return withLock(site.lockPath, { timeoutMs: LOCK_TIMEOUT_MS, signal: abort, owner: site.owner }, work);
}

function since(start: number): number {
  return Math.round(performance.now() - start);
}
