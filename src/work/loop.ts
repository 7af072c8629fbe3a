/**
 * The one shape of a background service: `runOnce` does what there is to do now and says how much that was; the loop
 * calls it until nothing is left, then waits for a wake-up or an idle time. Start and stop may be called twice.
 */
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';

export type Loop = {
  start(): void;
  /** Resolves when the run under way has ended. */
  stop(): Promise<void>;
  /** There may be work: do not wait for the idle time. */
  wake(): void;
};

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 10_000;

export function createLoop(options: {
  readonly name: string;
  readonly log: Log;
  readonly metrics: Metrics;
  /** How long to wait when there was nothing to do: the most that work from another process waits to be seen. */
  readonly idleMs: number;
  readonly runOnce: () => Promise<number>;
}): Loop {
  const { name, log, metrics, idleMs, runOnce } = options;
  let running: Promise<void> | undefined;
  let stopped = false;
  let woken = false;
  let interrupt: (() => void) | undefined;

  function pause(milliseconds: number): Promise<void> {
    return new Promise(resolve => {
      const timer = setTimeout(finish, milliseconds);
      interrupt = finish;
      function finish(): void {
        clearTimeout(timer);
        interrupt = undefined;
        resolve();
      }
    });
  }

  async function run(): Promise<void> {
    let failures = 0;
    while (!stopped) {
      woken = false;
      try {
        const done = await runOnce();
        failures = 0;
        if (done === 0 && !woken && !stopped) await pause(idleMs);
      } catch (error) {
        failures += 1;
        metrics.loopFailures.inc({ loop: name });
        log.error({ loop: name, failures, err: error }, 'loop failed, will go on');
        if (!stopped) await pause(Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures));
      }
    }
  }

  return {
    start() {
      if (running !== undefined) return;
      stopped = false;
      running = run();
    },
    async stop() {
      stopped = true;
      interrupt?.();
      await running;
      running = undefined;
    },
    wake() {
      woken = true;
      interrupt?.();
    },
  };
}

/** Waits until each has ended, and only then throws the first failure: a run that is over has left nothing under way. */
export async function allEnded<T>(work: readonly Promise<T>[]): Promise<T[]> {
  const ended = await Promise.allSettled(work);
  return ended.map(one => {
    if (one.status === 'rejected') throw one.reason;
    return one.value;
  });
}

/** A step that fails keeps none after it from its turn: what stays open would hold the process. The first failure is thrown. */
export async function inOrder(steps: readonly (() => unknown)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}
