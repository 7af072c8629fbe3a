/** The simulator's time, so that tests can run a day of it in a moment. */
import { setTimeout as timeout } from 'node:timers/promises';
import type { EpochMs } from '../domain/time.ts';

export type Clock = {
  now(): EpochMs;
  /** Returns early, without an error, when `signal` aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
};

export const systemClock: Clock = {
  now: Date.now,
  async sleep(ms, signal) {
    try {
      await timeout(ms, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      if (!signal?.aborted) throw error;
    }
  },
};
