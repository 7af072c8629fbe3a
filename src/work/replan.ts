/**
 * Planning anew: after another policy or zone all clients of a company are planned for again, some at a time in short
 * transactions that remember how far they are. A crash goes on from there; another edit meanwhile begins again.
 */
import { lookBackMs } from '../domain/plan.ts';
import type { EpochMs } from '../domain/time.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { findCompanies } from '../store/companies.ts';
import { advanceReplan, endReplan, listClients, lockReplan, readyReplans } from '../store/plans.ts';
import { type Db, type Pool, transaction } from '../store/pool.ts';
import { createLoop, type Loop } from './loop.ts';
import { planClients } from './plan.ts';

/** Some 100 ms of work, and few enough locks that merges do not wait for long. */
const BATCH = 200;
const IDLE_MS = 1_000;

export type ReplanDeps = {
  readonly pool: Pool;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly now: () => EpochMs;
  /** Clients in one transaction; 200 unless given. */
  readonly batch?: number;
};

export type Replanner = Loop & {
  /** Plans for one batch of clients of one company; returns how many there were. */
  runOnce(): Promise<number>;
  /** Plans until no company is left to be. */
  drain(): Promise<void>;
};

export function createReplanner(deps: ReplanDeps): Replanner {
  const { pool, log, metrics, now, batch = BATCH } = deps;

  async function runOnce(): Promise<number> {
    if ((await readyReplans(pool)) === 0) return 0;
    return transaction(pool, replanBatch);
  }

  async function replanBatch(db: Db): Promise<number> {
    const replan = await lockReplan(db);
    if (replan === undefined) return 0;
    const { companyId } = replan;
    const companies = await findCompanies(db, [companyId]);
    const company = companies.get(companyId);
    const moment = now();
    const working = company !== undefined && !company.removed && !company.stopped;
    const since = moment - (company === undefined ? 0 : lookBackMs(company.policy));
    const clients = working ? await listClients(db, replan, since, batch) : [];
    await planClients(
      db,
      companies,
      clients.map(clientId => ({ companyId, clientId })),
      moment,
    );
    const last = clients.at(-1);
    if (last !== undefined && clients.length === batch) await advanceReplan(db, companyId, last);
    else {
      await endReplan(db, companyId);
      log.info({ loop: 'replan', company_id: companyId }, 'all clients are planned for anew');
    }
    // One at least, so that the loop looks for the next company.
    return Math.max(1, clients.length);
  }

  const loop = createLoop({ name: 'replan', log, metrics, idleMs: IDLE_MS, runOnce });
  return {
    ...loop,
    runOnce,
    async drain() {
      while ((await readyReplans(pool)) > 0) await runOnce();
    },
  };
}
