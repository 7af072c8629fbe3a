/**
 * Virtual time over a real database: it stands still while anything is asked of the database, and then jumps to the
 * next moment that somebody waits for. Only what waits by `sleep` and what asks through the pools may take part.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { Pool } from '../../src/store/pool.ts';

export type VirtualClock = {
  now(): number;
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
  /** Lets time go on until `work` has ended; returns what it came to. */
  run<T>(work: Promise<T>): Promise<T>;
};

export function createVirtualClock(startAt: number, pools: readonly Pool[]): VirtualClock {
  let now = startAt;
  const sleepers: { readonly at: number; wake(): void }[] = [];

  /** No statement under way, and nothing left to do that a finished one set going. */
  async function quiet(): Promise<void> {
    for (let still = 0; still < 3; ) {
      await turn();
      const idle = pools.every(pool => pool.waitingCount === 0 && pool.idleCount === pool.totalCount);
      still = idle ? still + 1 : 0;
    }
  }

  return {
    now: () => now,
    sleep(milliseconds, signal) {
      return new Promise((resolve, reject) => {
        const sleeper = { at: now + milliseconds, wake: resolve };
        sleepers.push(sleeper);
        signal?.addEventListener(
          'abort',
          () => {
            if (sleepers.includes(sleeper)) sleepers.splice(sleepers.indexOf(sleeper), 1);
            reject(signal.reason);
          },
          { once: true },
        );
      });
    },
    async run(work) {
      let ended = false;
      const end = work.finally(() => {
        ended = true;
      });
      end.catch(() => {});
      for (;;) {
        await quiet();
        if (ended) return end;
        sleepers.sort((one, other) => one.at - other.at);
        const next = sleepers.shift();
        if (next === undefined) throw new Error('nobody waits for anything, and the work has not ended');
        now = Math.max(now, next.at);
        next.wake();
      }
    },
  };
}
