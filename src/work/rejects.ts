/**
 * Counts what the public port refuses where every process can see it, by cause. It takes the numbers from the metric,
 * so that a refusal costs no statement and no route knows of this. A crash loses the counts of the last seconds.
 */
import type { EpochMs } from '../domain/time.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { addRejects } from '../store/alerts.ts';
import type { Pool } from '../store/pool.ts';
import { createLoop, type Loop } from './loop.ts';

const IDLE_MS = 10_000;

export type RejectCounter = Loop & {
  /** Writes what was refused since the last time. */
  runOnce(): Promise<number>;
};

export function createRejectCounter(deps: {
  readonly pool: Pool;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly now: () => EpochMs;
}): RejectCounter {
  const { pool, log, metrics, now } = deps;
  let written = new Map<string, number>();

  async function runOnce(): Promise<number> {
    const { values } = await metrics.rejected.get();
    const totals = new Map(values.map(({ labels, value }) => [String(labels.cause), value]));
    const rejects = [...totals].flatMap(([cause, total]) => {
      const count = total - (written.get(cause) ?? 0);
      return count > 0 ? [{ cause, count }] : [];
    });
    if (rejects.length > 0) await addRejects(pool, rejects, now());
    written = totals;
    return 0;
  }

  const loop = createLoop({ name: 'rejects', log, metrics, idleMs: IDLE_MS, runOnce });
  return {
    ...loop,
    runOnce,
    async stop() {
      await loop.stop();
      await runOnce().catch((error: unknown) =>
        log.warn({ loop: 'rejects', err: error }, 'refusals not counted'),
      );
    },
  };
}
