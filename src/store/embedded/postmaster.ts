/** The server process: who it is by `postmaster.pid`, how it is started and how it is stopped. */
import { type ChildProcess, spawn } from 'node:child_process';
import { copyFile, open, readFile, readlink, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { commandFor, run } from './account.ts';
import { errorCode } from './failure.ts';
import type { Site } from './site.ts';

export type Postmaster = { pid: number; port: number; status: string };

const POLL_MS = 20;
const FAST_SHUTDOWN_TIMEOUT_MS = 60_000; // its checkpoint writes at most shared_buffers
const IMMEDIATE_SHUTDOWN_TIMEOUT_MS = 15_000; // PostgreSQL itself kills what is left after 5 s
const LOG_LIMIT_BYTES = 8 * 1024 * 1024;
const TAIL_BYTES = 4096;

const SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '100',
  shared_buffers: '256MB',
  min_wal_size: '1GB',
  max_wal_size: '2GB',
  // Not to fill a new segment with 16 MB of zeros in the middle of a commit: p99 of a 32-row insert 19.3 ms, so 8.4 ms.
  wal_init_zero: 'off',
  // Plans made while a table was new are replaced once it has been analysed. From webhook to channel over the first
  // 25 s of a new database: p99 228 ms at every 10 s, 49-74 ms at every 2 s.
  autovacuum_naptime: '2s',
  timezone: 'UTC',
  log_timezone: 'UTC',
  // Client statements' errors carry personal data and go to the client anyway; "log" leaves the server's own life
  // (starts, crashes, recoveries, checkpoints), "terse" takes the details and statements off it.
  log_min_messages: 'log',
  log_error_verbosity: 'terse',
  log_min_error_statement: 'panic',
};

/** The live server of this directory, or undefined. A pid that by now is another program's does not count. */
export async function readPostmaster(pgdata: string): Promise<Postmaster | undefined> {
  const lines = await readPidFile(pgdata);
  const pid = Number(lines?.[0]);
  if (!lines || !(pid > 0) || (await identify(pid, pgdata)) === 'other') return undefined;
  return { pid, port: Number(lines[3]), status: (lines[7] ?? '').trim() };
}

/** Starts the server; it leads a session of its own, so a terminal's Ctrl-C reaches us alone and we stop it in order. */
export async function spawnPostmaster(site: Site, port: number): Promise<Launched> {
  await removeStalePidFile(site.pgdata);
  const logFile = await open(site.logPath, 'a', 0o600);
  try {
    if (site.owner) await logFile.chown(site.owner.uid, site.owner.gid);
    const { size } = await logFile.stat();
    const settings = { ...SETTINGS, port: String(port), ...site.settings };
    const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const { command, options } = commandFor(site.account, site.binaries.postgres, [
      '-D',
      site.pgdata,
      ...flags,
    ]);
    const [file, ...args] = command;
    const stdio = ['ignore', logFile.fd, logFile.fd] as const;
    const child = spawn(file, args, { ...options, detached: true, stdio: [...stdio] });
    child.on('error', () => {});
    child.unref();
    return { exited: () => hasExited(child), output: () => readFrom(site.logPath, size) };
  } finally {
    await logFile.close();
  }
}

export type Launched = { exited: () => boolean; output: () => Promise<string> };

/** Fast shutdown, then immediate (which costs a recovery, not data). Answers false when it outlived both. */
export async function shutDown({ pgdata }: Site, { pid }: Postmaster): Promise<boolean> {
  signal(pid, 'SIGINT');
  if (await isGone(pid, pgdata, FAST_SHUTDOWN_TIMEOUT_MS)) return true;
  signal(pid, 'SIGQUIT');
  return isGone(pid, pgdata, IMMEDIATE_SHUTDOWN_TIMEOUT_MS);
}

/** SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one. */
export function signal(pid: number, name: 'SIGINT' | 'SIGQUIT'): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (errorCode(error) !== 'ESRCH') throw error;
  }
}

/** PostgreSQL appends, so the file may be cut under it; one older part is kept. */
export async function boundLog({ logPath }: Site): Promise<void> {
  const { size } = await stat(logPath);
  if (size < LOG_LIMIT_BYTES) return;
  await copyFile(logPath, `${logPath}.1`);
  await truncate(logPath, 0);
}

async function isGone(pid: number, pgdata: string, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (performance.now() < deadline) {
    if ((await readPostmaster(pgdata))?.pid !== pid) return true;
    await sleep(POLL_MS);
  }
  return false;
}

async function readPidFile(pgdata: string): Promise<string[] | undefined> {
  const text = await readFile(join(pgdata, 'postmaster.pid'), 'utf8').catch(error => {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  });
  return text?.split('\n');
}

/**
 * PostgreSQL refuses to start while the pid in its file is anybody's of the same user, which after a reboot, or in a
 * container where pids repeat, is likely enough. Its shared memory check still guards a live cluster.
 */
async function removeStalePidFile(pgdata: string): Promise<void> {
  const lines = await readPidFile(pgdata);
  const pid = Number(lines?.[0]);
  if (lines && pid > 0 && (await identify(pid, pgdata)) === 'other') await rm(join(pgdata, 'postmaster.pid'));
}

/** A postmaster's working directory is its data directory. 'unknown' when the system does not let us look. */
async function identify(pid: number, pgdata: string): Promise<'ours' | 'other' | 'unknown'> {
  try {
    if (process.platform === 'linux')
      return (await readlink(`/proc/${pid}/cwd`)) === pgdata ? 'ours' : 'other';
    const ps = await run({ prefix: [] }, 'ps', ['-o', 'command=', '-p', String(pid)], { timeoutMs: 5000 });
    return ps.output.includes(pgdata) ? 'ours' : 'other';
  } catch (error) {
    const code = errorCode(error);
    return code === 'ENOENT' || code === 'ESRCH' ? 'other' : 'unknown';
  }
}

function hasExited(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

async function readFrom(path: string, offset: number): Promise<string> {
  const text = (await readFile(path)).subarray(offset).subarray(-TAIL_BYTES).toString();
  return text.trim();
}
