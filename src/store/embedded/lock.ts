/**
 * A lock between processes that the kernel takes back when its holder dies, whatever killed it.
 *
 * Node has no flock(2). A file with a pid in it needs stale detection, which is wrong after a reboot or in a
 * container where every run has the same pids; SQLite, which Node carries, locks by fcntl on every platform.
 */
import { chownSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { EmbeddedError } from './failure.ts';

const POLL_MS = 20;
const SQLITE_BUSY = 5;

type Waiting = { timeoutMs: number; signal: AbortSignal; owner: { uid: number; gid: number } | undefined };

export async function withLock<T>(path: string, waiting: Waiting, work: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + waiting.timeoutMs;
  using lock = new DatabaseSync(path, { timeout: 0 });
  if (waiting.owner) chownSync(path, waiting.owner.uid, waiting.owner.gid);
  while (!tryLock(lock)) {
    if (performance.now() > deadline) {
      throw new EmbeddedError(
        `another process has been starting or stopping PostgreSQL for ${waiting.timeoutMs / 1000} s and still ` +
          `holds ${path}: look for a hanging otklik process and end it`,
      );
    }
    await sleep(POLL_MS, undefined, { signal: waiting.signal });
  }
  return await work();
}

function tryLock(lock: DatabaseSync): boolean {
  try {
    lock.exec('BEGIN EXCLUSIVE');
    return true;
  } catch (error) {
    if (error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY) return false;
    throw error;
  }
}
