/**
 * Virtual time over a real database: it stands still while anything is asked of the database or by undici's client,
 * and then jumps to the next moment that somebody waits for. Only what waits by `sleep` and what asks through the
 * pools or undici may take part.
 */
import { subscribe } from 'node:diagnostics_channel';
import { EventEmitter } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import type { Pool } from '../../src/store/pool.ts';

export type VirtualClock = {
  now(): number;
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
  /** Lets time go on until `work` has ended; returns what it came to. */
  run<T>(work: Promise<T>): Promise<T>;
};

/** Requests whose answers have not arrived whole. */
let requests = 0;
const answers = new EventEmitter();
subscribe('undici:request:create', () => {
  requests += 1;
});
for (const end of ['undici:request:trailers', 'undici:request:error']) {
  subscribe(end, () => {
    requests -= 1;
    answers.emit('end');
  });
}
/** Looking again and again takes a processor from the database; what has ended is heard of, or seen this late. */
const LOOK_AGAIN_MS = 20;

export function createVirtualClock(startAt: number, pools: readonly Pool[]): VirtualClock {
  let now = startAt;
  const sleepers: { readonly at: number; wake(): void }[] = [];

  /** No statement and no request under way, and nothing left to do that a finished one set going. */
  async function quiet(): Promise<void> {
    for (let still = 0; still < 3; ) {
      await turn();
      const idle = pools.every(pool => pool.waitingCount === 0 && pool.idleCount === pool.totalCount);
      const done = idle && requests === 0;
      still = done ? still + 1 : 0;
      if (!done) await something();
    }
  }

  /** Until a statement or a request has ended. */
  function something(): Promise<void> {
    return new Promise(resolve => {
      const end = () => {
        clearTimeout(timer);
        for (const pool of pools) pool.off('release', end);
        answers.off('end', end);
        resolve();
      };
      const timer = setTimeout(end, LOOK_AGAIN_MS);
      for (const pool of pools) pool.once('release', end);
      answers.once('end', end);
    });
  }

  return {
    now: () => now,
    sleep(milliseconds, signal) {
      return new Promise((resolve, reject) => {
        const leave = () => {
          if (sleepers.includes(sleeper)) sleepers.splice(sleepers.indexOf(sleeper), 1);
          reject(signal?.reason);
        };
        const sleeper = {
          at: now + milliseconds,
          wake() {
            // One signal may outlive a hundred thousand sleeps.
            signal?.removeEventListener('abort', leave);
            resolve();
          },
        };
        sleepers.push(sleeper);
        signal?.addEventListener('abort', leave, { once: true });
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
