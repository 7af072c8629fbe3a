/**
 * The planner: brings what is planned for clients to what the plan says now. A merge notes the clients whose plan may
 * have changed; another policy or zone notes a whole company. Both are planned here, some clients in one transaction, so
 * that a crash goes on where it was.
 *
 * Plans are hours ahead of their moments, so they wait a second for a client's next change, and while the inbox is behind
 * up to ten: a client who changes twelve times in a backlog is planned for once or twice. What is sent meanwhile asks the
 * plan itself.
 */
import { lookBackMs } from '../domain/plan.ts';
import type { EpochMs } from '../domain/time.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { rezoneBookings } from '../store/bookings.ts';
import { findCompanies } from '../store/companies.ts';
import {
  advanceReplan,
  type ClientKey,
  clientKey,
  endReplan,
  listClients,
  lockReplan,
  type PlanRequest,
  readyReplans,
  takePlanRequests,
} from '../store/plans.ts';
import { type Db, type Pool, transaction } from '../store/pool.ts';
import { createLoop, type Loop } from './loop.ts';
import { planClients } from './plan.ts';

/** Some 100 ms of work, and few enough locks that merges do not wait for long. */
const BATCH = 200;
const IDLE_MS = 1_000;
const PATIENCE_MS = 10_000;
const BEFORE_ALL: ClientKey = { companyId: 0, clientId: 0 };

export type PlannerDeps = {
  readonly pool: Pool;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly now: () => EpochMs;
  /** Whether more changes come than are worked off just now; never unless given. */
  readonly isBehind?: () => boolean;
  /** Clients, or requests of theirs, in one transaction; 200 unless given. */
  readonly batch?: number;
};

export type Planner = Loop & {
  /** Plans for one batch; returns how many requests or clients it was. */
  runOnce(): Promise<number>;
  /** Plans until nobody is left to plan for. */
  drain(): Promise<void>;
};

export function createPlanner(deps: PlannerDeps): Planner {
  const { pool, log, metrics, now, isBehind = () => false, batch = BATCH } = deps;
  /** The last client of the pass over all requests that is under way. */
  let after = BEFORE_ALL;
  let restedSince = Number.NEGATIVE_INFINITY;

  async function runOnce(): Promise<number> {
    return (await passOn()) || (await replan());
  }

  async function passOn(): Promise<number> {
    const isResting = after === BEFORE_ALL;
    if (isResting && isBehind() && performance.now() - restedSince < PATIENCE_MS) return 0;
    const taken = await transaction(pool, takeBatch, { durable: false });
    // Fewer than a batch: that was the last. Clients noted meanwhile that sort earlier are met by the next pass.
    after = taken.length < batch ? BEFORE_ALL : taken.reduce(later, BEFORE_ALL);
    if (after === BEFORE_ALL) restedSince = performance.now();
    return taken.length;
  }

  async function takeBatch(db: Db): Promise<readonly PlanRequest[]> {
    const taken = await takePlanRequests(db, after, batch);
    const companies = await findCompanies(db, [...new Set(taken.map(({ companyId }) => companyId))]);
    const working = new Map([...companies].filter(([, { removed, stopped }]) => !removed && !stopped));
    await planClients(db, working, firstOfEach(taken), now());
    return taken;
  }

  async function replan(): Promise<number> {
    if ((await readyReplans(pool)) === 0) return 0;
    return transaction(pool, replanBatch);
  }

  async function replanBatch(db: Db): Promise<number> {
    const replan = await lockReplan(db);
    if (replan === undefined) return 0;
    const { companyId } = replan;
    const companies = await findCompanies(db, [companyId]);
    const company = companies.get(companyId);
    const requestedAt = now();
    // What was written by the zone before while the company moved: whoever did has ended by now.
    if (company !== undefined && replan.afterClient === 0) await rezoneBookings(db, companyId, company.zone);
    const working = company !== undefined && !company.removed && !company.stopped;
    const since = requestedAt - (company === undefined ? 0 : lookBackMs(company.policy));
    const clients = working ? await listClients(db, replan, since, batch) : [];
    const requests = clients.map(clientId => ({ companyId, clientId, requestedAt }));
    await planClients(db, companies, requests, requestedAt);
    const last = clients.at(-1);
    if (last !== undefined && clients.length === batch) await advanceReplan(db, companyId, last);
    else {
      await endReplan(db, companyId);
      log.info({ loop: 'plan', company_id: companyId }, 'all clients are planned for anew');
    }
    // One at least, so that the loop looks for the next company.
    return Math.max(1, clients.length);
  }

  const loop = createLoop({ name: 'plan', log, metrics, idleMs: IDLE_MS, runOnce });
  return {
    ...loop,
    runOnce,
    async drain() {
      while ((await passOn()) > 0 || after !== BEFORE_ALL);
      while ((await readyReplans(pool)) > 0) await replan();
    },
  };
}

function later(one: ClientKey, other: ClientKey): ClientKey {
  if (one.companyId !== other.companyId) return one.companyId > other.companyId ? one : other;
  return one.clientId > other.clientId ? one : other;
}

/** One request a client: since when the plan may have been another. */
function firstOfEach(requests: readonly PlanRequest[]): PlanRequest[] {
  const first = new Map<string, PlanRequest>();
  for (const request of requests) {
    const key = clientKey(request);
    const known = first.get(key);
    if (known === undefined || request.requestedAt < known.requestedAt) first.set(key, request);
  }
  return [...first.values()];
}
