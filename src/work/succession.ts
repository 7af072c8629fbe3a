/**
 * Succession: sees that a newer version has brought the database to where this process cannot follow. Asking every few
 * seconds also keeps a connection by which `migrate` knows that this process serves.
 */
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { outgrownBy, tooOld } from '../store/migrate.ts';
import type { Pool } from '../store/pool.ts';
import { createLoop, type Loop } from './loop.ts';

const WATCH_MS = 3_000;

export function createSuccession({
  onOutgrown,
  ...deps
}: {
  readonly pool: Pool;
  readonly log: Log;
  readonly metrics: Metrics;
  /** With the reason, in words for the operator. May be called again until the process has stopped. */
  readonly onOutgrown: (reason: string) => void;
}): Loop {
  return createLoop({
    ...deps,
    name: 'succession',
    idleMs: WATCH_MS,
    async runOnce() {
      const names = await outgrownBy(deps.pool);
      if (names.length > 0) onOutgrown(tooOld(names));
      return 0;
    },
  });
}
