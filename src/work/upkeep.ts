/**
 * Upkeep: forgets what was kept long enough, a bounded batch of each kind at a time, in short transactions. Of several
 * processes one does it at a time.
 */
import type { EpochMs } from '../domain/time.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { type Db, type Pool, transaction } from '../store/pool.ts';
import {
  claimUpkeep,
  type Prune,
  pruneActions,
  pruneAudit,
  pruneBookings,
  pruneChanges,
  pruneDead,
  pruneEvents,
  pruneHeard,
  pruneInvitations,
  pruneMessages,
  prunePeople,
  pruneReached,
  pruneReceipts,
} from '../store/prune.ts';
import { createLoop, inOrder, type Loop } from './loop.ts';

/** Some 100 ms of a statement, and little enough for others to be written in between. */
const BATCH = 1_000;
/** Batches of one kind in one run, some seconds at most: the other kinds have their turn. */
const BATCHES = 20;
/** Finding nothing costs a scan of bookings and people, and nobody waits for what is forgotten. */
const IDLE_MS = 60 * 60_000;
const DAY_MS = 86_400_000;

/** Days each is kept; 0: for ever. */
export type Keep = {
  readonly eventsDays: number;
  /** Of events given up and of bodies in quarantine. */
  readonly deadDays: number;
  readonly messagesDays: number;
  readonly bookingsDays: number;
  readonly auditDays: number;
};

export type UpkeepDeps = {
  readonly pool: Pool;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly now: () => EpochMs;
  readonly keep: Keep;
  /** Rows of one kind in one transaction; 1,000 unless given. */
  readonly batch?: number;
};

export type Upkeep = Loop & {
  /** Some batches of each kind; returns how many rows went. */
  runOnce(): Promise<number>;
};

type Kind = { readonly table: string; readonly days: keyof Keep; readonly prune: Prune };

/** In this order: a booking goes after its messages, people after their bookings. */
const KINDS: readonly Kind[] = [
  { table: 'webhook_events', days: 'eventsDays', prune: pruneEvents },
  { table: 'webhook_events', days: 'deadDays', prune: pruneDead },
  { table: 'messages', days: 'messagesDays', prune: pruneMessages },
  { table: 'receipts', days: 'messagesDays', prune: pruneReceipts },
  { table: 'reached', days: 'messagesDays', prune: pruneReached },
  { table: 'actions', days: 'messagesDays', prune: pruneActions },
  { table: 'heard', days: 'messagesDays', prune: pruneHeard },
  { table: 'team', days: 'messagesDays', prune: pruneInvitations },
  { table: 'bookings', days: 'bookingsDays', prune: pruneBookings },
  { table: 'booking_changes', days: 'bookingsDays', prune: pruneChanges },
  { table: 'people', days: 'bookingsDays', prune: prunePeople },
  { table: 'audit_log', days: 'auditDays', prune: pruneAudit },
];

export function createUpkeep(deps: UpkeepDeps): Upkeep {
  const { pool, log, metrics, keep, batch = BATCH } = deps;
  let goesOn = true;

  async function runOnce(): Promise<number> {
    let total = 0;
    // One that fails, a table too large to be read through in time, keeps none after it from its turn.
    await inOrder(
      KINDS.filter(({ days }) => keep[days] !== 0).map(kind => async () => {
        total += await forget(kind);
      }),
    );
    return total;
  }

  async function forget({ table, days, prune }: Kind): Promise<number> {
    const before = deps.now() - keep[days] * DAY_MS;
    const count = await inBatches(db => prune(db, before, batch));
    if (count === 0) return 0;
    metrics.pruned.inc({ table }, count);
    log.info({ loop: 'upkeep', resource: table, count }, 'rows pruned');
    return count;
  }

  /** Until a batch is not full, or a stop; one transaction each. Zero when another process is at it. */
  async function inBatches(prune: (db: Db) => Promise<number>): Promise<number> {
    let total = 0;
    for (let batches = 0; batches < BATCHES && goesOn; batches += 1) {
      const count = await transaction(pool, async db => ((await claimUpkeep(db)) ? prune(db) : 0));
      total += count;
      if (count < batch) break;
    }
    return total;
  }

  const loop = createLoop({ name: 'upkeep', log, metrics, idleMs: IDLE_MS, runOnce });
  return {
    ...loop,
    runOnce,
    start() {
      goesOn = true;
      loop.start();
    },
    stop() {
      goesOn = false;
      return loop.stop();
    },
  };
}
