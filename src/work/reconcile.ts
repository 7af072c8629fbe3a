/**
 * The reconciler: asks the platform's API what its webhooks left out. Sweeps and rereads that are due are claimed with a
 * lease by whichever process comes first; what they find goes into the inbox and takes the way of any event.
 *
 * Run often, the same loop is the polling mode of a salon whose webhook is not approved yet. When the shared budget
 * cannot carry all companies at their intervals, the longest due goes first: each is late by the same, and `stats` and
 * metrics say by how much.
 */
import { randomUUID } from 'node:crypto';
import type { SweepKind } from '../domain/sweep.ts';
import type { EpochMs } from '../domain/time.ts';
import { PlainError } from '../log.ts';
import { claimRereads } from '../store/rereads.ts';
import { claimSweeps, findUnplanned, hastenFailed, planBaseline, releaseSweeps } from '../store/sweeps.ts';
import { createLoop, type Loop } from './loop.ts';
import { readAgain } from './reread.ts';
import { NO_ACCESS, type ReadDeps, type SweepDeps, type Turn, takeTurn } from './sweep.ts';

/** Companies asked at once in this process: calls wait for one another and for the shared budget, so few are enough. */
const MAX_SWEEPS = 8;
const MAX_REREADS = 8;
/** Longer than one call may take with its waiting, its retries and its transaction. */
const LEASE_MS = 120_000;
const IDLE_MS = 500;
/** How soon a new company is seen, and how soon one without access is asked about again. */
const ADOPT_MS = 5_000;
const ASK_AGAIN_MS = 60_000;
const ADOPT_BATCH = 1_000;

export type ReconcileDeps = ReadDeps & {
  /** How long a claim lasts without its process; 120 s unless given. */
  readonly leaseMs?: number;
};

export type Reconciler = Loop & {
  /** Claims what is due and begins it; returns how much was claimed. */
  runOnce(): Promise<number>;
  /**
   * Runs until nothing is due and nothing is under way; begins nothing at or after `until`. Where calls take time and
   * there is more to ask than time for it, something is always due.
   */
  drain(until?: EpochMs): Promise<void>;
  /** Sweeps one company now, due or not, and tells of each turn. Rejects with a `PlainError` when it cannot. */
  sweepNow(
    companyId: number,
    options: { readonly full: boolean; readonly onTurn?: (kind: SweepKind, turn: Turn) => void },
  ): Promise<void>;
};

export function createReconciler(given: ReconcileDeps): Reconciler {
  const { pool, log, metrics, now } = given;
  const owner = randomUUID();
  const leaseMs = given.leaseMs ?? LEASE_MS;
  let stopping = false;
  const deps: SweepDeps = { ...given, owner, leaseMs, isStopping: () => stopping };
  const sweeping = new Set<Promise<void>>();
  const rereading = new Set<Promise<void>>();
  const adopt = createAdoption(given);

  async function runOnce(): Promise<number> {
    if (stopping) return 0;
    await adopt();
    const claim = { owner, leaseMs, now: now() };
    const rereads = await within(MAX_REREADS - rereading.size, limit =>
      claimRereads(pool, { ...claim, limit }),
    );
    for (const reread of rereads) track(rereading, readAgain(deps, reread));
    const sweeps = await within(MAX_SWEEPS - sweeping.size, limit => claimSweeps(pool, { ...claim, limit }));
    for (const sweep of sweeps) track(sweeping, takeTurn(deps, sweep));
    return rereads.length + sweeps.length;
  }

  /** What fails here is not the API's fault: the lease runs out, and the work is taken up again. */
  function track(underWay: Set<Promise<void>>, work: Promise<unknown>): void {
    const tracked = work
      .then(
        () => undefined,
        (error: unknown) => {
          metrics.loopFailures.inc({ loop: 'reconcile' });
          log.error({ loop: 'reconcile', err: error }, 'a sweep failed here, will be taken up again');
        },
      )
      .finally(() => {
        underWay.delete(tracked);
        loop.wake();
      });
    underWay.add(tracked);
  }

  async function sweepKind(
    companyId: number,
    kind: SweepKind,
    onTurn: (turn: Turn) => void,
  ): Promise<boolean> {
    for (;;) {
      const only = { companyId, kind };
      const [sweep] = await claimSweeps(pool, { owner, leaseMs, now: now(), limit: 1, only });
      if (sweep === undefined) return false;
      const turn = await takeTurn(deps, sweep);
      onTurn(turn);
      if (turn.state === 'finished') return true;
      if (turn.state === 'failed') throw new PlainError(turn.error ?? 'the API could not be read');
      if (turn.state === 'lost' || stopping) return false;
    }
  }

  const loop = createLoop({ name: 'reconcile', log, metrics, idleMs: IDLE_MS, runOnce });
  return {
    ...loop,
    runOnce,
    start() {
      stopping = false;
      // What failed may have been set right by whoever started us; one call a company tells.
      void hastenFailed(pool, now()).catch(() => undefined);
      loop.start();
    },
    async drain(until = Number.POSITIVE_INFINITY) {
      const begin = async () => (now() < until ? runOnce() : 0);
      while ((await begin()) > 0 || sweeping.size + rereading.size > 0) {
        const underWay = [...sweeping, ...rereading];
        // All may have ended while more was claimed, and a race of none never ends.
        if (underWay.length > 0) await Promise.race(underWay);
      }
    },
    async sweepNow(companyId, { full, onTurn = () => {} }) {
      if ((await given.apiOf(companyId)) === undefined) throw new PlainError(NO_ACCESS);
      await planBaseline(pool, companyId, now());
      const kinds: readonly SweepKind[] = full ? ['baseline', 'delta', 'full'] : ['baseline', 'delta'];
      let swept = false;
      for (const kind of kinds)
        swept = (await sweepKind(companyId, kind, turn => onTurn(kind, turn))) || swept;
      if (!swept) {
        throw new PlainError(
          `company ${companyId} is being read by a process right now: \`stats\` shows how far it is`,
        );
      }
    },
    async stop() {
      stopping = true;
      await loop.stop();
      await Promise.all([...sweeping, ...rereading]);
      await releaseSweeps(pool, owner).catch((error: unknown) => {
        log.warn(
          { loop: 'reconcile', err: error },
          'could not give sweeps back; they pass on when the lease ends',
        );
      });
    },
  };
}

async function within<T>(room: number, claim: (limit: number) => Promise<T[]>): Promise<T[]> {
  return room > 0 ? claim(room) : [];
}

/** Plans the first import of each company whose API is open to us. */
function createAdoption({ pool, now, apiOf, log }: ReconcileDeps): () => Promise<void> {
  const askAgainAt = new Map<number, EpochMs>();
  let nextLookAt = Number.NEGATIVE_INFINITY;
  /** The last company of the pass that is under way: those without access stay, and must not hide those behind them. */
  let after = 0;
  return async () => {
    const moment = now();
    if (moment < nextLookAt) return;
    nextLookAt = moment + ADOPT_MS;
    const unplanned = await findUnplanned(pool, after, ADOPT_BATCH);
    after = unplanned.length < ADOPT_BATCH ? 0 : (unplanned.at(-1) ?? 0);
    for (const companyId of unplanned) {
      if (moment < (askAgainAt.get(companyId) ?? moment)) continue;
      if ((await apiOf(companyId)) === undefined) {
        askAgainAt.set(companyId, moment + ASK_AGAIN_MS);
        continue;
      }
      askAgainAt.delete(companyId);
      await planBaseline(pool, companyId, moment);
      log.info({ loop: 'reconcile', company_id: companyId }, 'first import begins');
    }
  };
}
