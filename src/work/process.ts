/**
 * The processor: drains the inbox, 64 leased shards, each in the order of arrival.
 *
 * A batch is one transaction: fence the shards, lock the bookings, fold, write, mark done. When it fails for a reason
 * that lies in the data, the batch is halved along its resources until the poison event stands alone; that one is
 * retried with backoff and finally dead-lettered, and later events of its own resource wait behind it. Nothing else does.
 */
import { randomUUID } from 'node:crypto';
import type { EpochMs } from '../domain/time.ts';
import { newId } from '../ids.ts';
import type { Log } from '../log.ts';
import { describeError } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { appendChanges, lockBookings, rezoneBookings, saveBookings } from '../store/bookings.ts';
import { audit, findCompanies, moveToWebhooks, updateCompany } from '../store/companies.ts';
import { addCounts } from '../store/coverage.ts';
import { findErased, scrubEvents } from '../store/erase.ts';
import {
  buryEvent,
  completeEvents,
  fetchPending,
  type PendingEvent,
  retryEvent,
  wakeEvents,
} from '../store/inbox.ts';
import { holdNotices, openNotices, releaseNotices } from '../store/messages.ts';
import { saveEntities, savePeople } from '../store/people.ts';
import { requestPlans } from '../store/plans.ts';
import { type Db, type Pool, retried, tookTooLong, transaction, troubleOf } from '../store/pool.ts';
import { requestRereads } from '../store/rereads.ts';
import {
  announceWorker,
  fenceShards,
  releaseShards,
  renewShards,
  retireWorker,
  takeShards,
} from '../store/shards.ts';
import type { Tracing } from '../tracing.ts';
import type { Vault } from '../vault.ts';
import { createDriftReport, type DriftReport } from './drift.ts';
import { type Effects, fold, groupByResource } from './fold.ts';
import { forgetErased } from './forget.ts';
import { allEnded, createLoop, type Loop } from './loop.ts';
import { beginTrail, type Trail } from './trail.ts';

const SHARDS = 64;
/** Events in one transaction. */
const BATCH = 512;
/** Batches under way at once in one process. */
const LANES = 2;
/** Of one shard in one fetch. */
const PER_SHARD = 128;
/** A process that stops renewing loses its shards after this long. */
const LEASE_MS = 15_000;
const RENEW_MS = 5_000;
const IDLE_MS = 200;
/** Tries of one event; with the backoff below the last is a minute and a half after the first. */
const MAX_ATTEMPTS = 5;
const FIRST_RETRY_MS = 1_000;
/**
 * From a doubt to the reading: the platform's own copies may lag, and what was said within two seconds before a reading
 * is not settled by it.
 */
const REREAD_AFTER_MS = 2_500;

export type ProcessDeps = {
  readonly pool: Pool;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly now: () => EpochMs;
  /** 0 ≤ x < 1, for jitter. */
  readonly random: () => number;
  /** Recognises clients who were erased. */
  readonly vault: Pick<Vault, 'hashClient'>;
  readonly tracing?: Tracing | undefined;
  /** Notices were opened: the dispatcher may have work. */
  readonly onNotices: () => void;
};

type BatchDeps = ProcessDeps & { readonly drift: DriftReport };

export type Processor = Loop & {
  /** Processes one batch of the shards held and returns its size. */
  runOnce(): Promise<number>;
  /** Whether the last look found as much as it takes at once: there is more. */
  isBehind(): boolean;
  /** Processes until nothing is pending in the shards held. */
  drain(): Promise<number>;
};

export function createProcessor(deps: ProcessDeps): Processor {
  const { pool, log } = deps;
  const drift = createDriftReport(deps);
  const owner = randomUUID();
  let held: number[] = [];
  let renewAt = 0;
  let turn = 0;
  let behind = false;
  let goesOn = true;

  /** Renews and balances the leases: an even share for every living process. */
  async function keepShards(): Promise<void> {
    if (performance.now() < renewAt) return;
    const alive = await announceWorker(pool, owner, LEASE_MS);
    held = await renewShards(pool, owner, LEASE_MS);
    const share = Math.ceil(SHARDS / alive);
    if (held.length > share) {
      const surplus = held.slice(share);
      await releaseShards(pool, owner, surplus);
      held = held.slice(0, share);
    }
    if (held.length < share)
      held = [...held, ...(await takeShards(pool, owner, share - held.length, LEASE_MS))];
    await wakeEvents(pool, held);
    deps.metrics.shardsHeld.set(held.length);
    // Short of the share, others are about to hand theirs over: look again soon.
    renewAt = performance.now() + (held.length < share ? RENEW_MS / 10 : RENEW_MS);
  }

  async function runOnce(): Promise<number> {
    await keepShards();
    const first = await processFrom(held);
    behind = first === BATCH;
    if (!behind || !goesOn) return first;
    // More than one batch: lanes with shards of their own. While one folds here, another writes in the database.
    const counts = await allEnded(
      Array.from({ length: LANES }, (_, lane) => workOff(held.filter(shard => shard % LANES === lane))),
    );
    return counts.reduce((sum, count) => sum + count, first);
  }

  /** One lane: batch after batch until there is less than one, or until the leases are to be looked after. */
  async function workOff(shards: readonly number[]): Promise<number> {
    let total = 0;
    for (let count = BATCH; count === BATCH && goesOn && performance.now() < renewAt; total += count) {
      count = await processFrom(shards);
    }
    return total;
  }

  async function processFrom(shards: readonly number[]): Promise<number> {
    if (shards.length === 0) return 0;
    // Another shard goes first each time, so that a full one does not starve the others.
    const from = rotate(shards, turn++);
    const events = await fetchPending(pool, { shards: from, perShard: PER_SHARD, total: BATCH });
    const count = events.length === 0 ? 0 : await processBatch({ ...deps, drift }, owner, events);
    drift.tick();
    return count;
  }

  const loop = createLoop({ name: 'process', log, metrics: deps.metrics, idleMs: IDLE_MS, runOnce });
  return {
    ...loop,
    runOnce,
    isBehind: () => behind,
    async drain() {
      let total = 0;
      for (let count = await runOnce(); count > 0; count = await runOnce()) total += count;
      await drift.flush();
      return total;
    },
    start() {
      goesOn = true;
      loop.start();
    },
    async stop() {
      goesOn = false;
      await loop.stop();
      await drift.flush();
      await retireWorker(pool, owner).catch((error: unknown) => {
        log.warn(
          { loop: 'process', err: error },
          'could not give the shards back; they pass on when the lease ends',
        );
      });
      held = [];
      renewAt = 0;
    },
  };
}

function rotate(shards: readonly number[], by: number): number[] {
  const place = shards.length === 0 ? 0 : by % shards.length;
  return [...shards.slice(place), ...shards.slice(0, place)];
}

/** Processes events, isolating those that cannot be. Returns how many were dealt with. */
async function processBatch(
  deps: BatchDeps,
  owner: string,
  events: readonly PendingEvent[],
): Promise<number> {
  const startedAt = performance.now();
  const trail = beginTrail(deps, events);
  try {
    const effects = await commit(deps, owner, events, trail);
    report(deps, effects, performance.now() - startedAt);
    trail.committed(effects.done);
    return effects.done.length;
  } catch (error) {
    const trouble = troubleOf(error);
    const mayBeHalved = events.length > 1 && tookTooLong(error);
    if (trouble === 'conflict' || (trouble === 'unavailable' && !mayBeHalved)) throw error;
    return isolate(deps, owner, events, error, trail);
  }
}

async function isolate(
  deps: BatchDeps,
  owner: string,
  events: readonly PendingEvent[],
  error: unknown,
  trail: Trail,
): Promise<number> {
  const groups = groupByResource(events);
  const [only, ...others] = groups;
  if (only === undefined) return 0;
  if (others.length > 0) {
    const half = Math.ceil(groups.length / 2);
    const first = await processBatch(deps, owner, groups.slice(0, half).flat());
    return first + (await processBatch(deps, owner, groups.slice(half).flat()));
  }
  const [head, ...rest] = only;
  if (head === undefined) return 0;
  if (rest.length === 0) {
    trail.failed(head.id);
    await setAside(deps, head, error);
    return 1;
  }
  // One resource: its events one by one, and none past the first that fails.
  return processBatch(deps, owner, [head]);
}

async function setAside(deps: ProcessDeps, event: PendingEvent, error: unknown): Promise<void> {
  const attempts = event.attempts + 1;
  const { error: name, error_code, error_at } = describeError(error);
  const reason = [name, error_code, error_at].filter(Boolean).join(' ');
  const fields = {
    loop: 'process',
    request_id: event.requestId,
    event: event.id,
    company_id: event.companyId,
    resource: event.resource,
    attempts,
    err: error,
  };
  if (attempts >= MAX_ATTEMPTS) {
    await buryEvent(deps.pool, event.id, reason);
    deps.metrics.deadEvents.inc();
    deps.log.error(fields, 'event is dead: look at it with `events show`, put it back with `events replay`');
    return;
  }
  await retryEvent(deps.pool, event.id, reason, backoffMs(attempts, deps.random()));
  deps.metrics.retriedEvents.inc();
  deps.log.warn(fields, 'event failed, will be retried');
}

/** 1, 4, 16, 64 s, each ± 25 %. */
function backoffMs(attempts: number, random: number): number {
  return Math.round(FIRST_RETRY_MS * 4 ** (attempts - 1) * (0.75 + random / 2));
}

/**
 * Not durable by itself: after a crash the events are pending again and come to the same. Whatever follows from them (a
 * message claimed) is committed durably later, and takes this along.
 */
function commit(
  deps: ProcessDeps,
  owner: string,
  events: readonly PendingEvent[],
  trail: Trail,
): Promise<Outcome> {
  return retried(() =>
    transaction(deps.pool, db => commitBatch(deps, db, owner, events, trail), { durable: false }),
  );
}

async function commitBatch(
  deps: ProcessDeps,
  db: Db,
  owner: string,
  fetched: readonly PendingEvent[],
  trail: Trail,
): Promise<Outcome> {
  const now = deps.now();
  const keys = fetched
    .filter(event => event.resource === 'record')
    .map(event => ({ companyId: event.companyId, recordId: event.resourceId }));
  const companyIds = [...new Set(fetched.map(event => event.companyId))];
  const [ours, bookings, companies, erased] = await Promise.all([
    fenceShards(db, owner, [...new Set(fetched.map(event => event.shard))]),
    lockBookings(db, keys),
    findCompanies(db, companyIds),
    findErased(db, companyIds),
  ]);
  const events = fetched.filter(event => ours.has(event.shard));
  const { events: left, scrubbed } = forgetErased(deps.vault, erased, events);
  const effects = fold(left, { bookings, companies, now });
  await write(db, effects, now, trail);
  const movedOver = await moveOver(db, effects);
  if (scrubbed.length > 0) await scrubEvents(db, scrubbed);
  const ended = scrubbed.filter(event => event.resource !== 'record');
  return { ...effects, done: [...effects.done, ...ended.map(erasedEffect)], movedOver };
}

function erasedEffect({ id, resource }: PendingEvent): Effects['done'][number] {
  return { id, resource, effect: 'erased' };
}

/** What a batch came to, and the companies that moved from polling to webhooks by it. */
type Outcome = Effects & { readonly movedOver: readonly number[] };

/**
 * Everything, in one go. People come late, and the hour's counts, one row of the company, last: they are held until the
 * commit, and the other lane, which may have visits of the same clients, waits for them.
 */
async function write(db: Db, effects: Effects, now: EpochMs, trail: Trail): Promise<void> {
  const [completed] = await Promise.all([
    completeEvents(
      db,
      effects.done.map(event => ({ ...event, traceparent: trail.traceparentOf(event.id) })),
    ),
    saveBookings(db, effects.bookings),
    appendChanges(db, effects.changes),
    saveEntities(db, effects.entities),
    ...effects.companies.flatMap(({ companyId, update }) => [
      ...(update.zone === undefined ? [] : [rezoneBookings(db, companyId, update.zone)]),
      updateCompany(db, companyId, update),
    ]),
    openNotices(
      db,
      effects.notices.map(notice => ({ ...notice, id: newId(), now })),
    ),
    requestRereads(db, effects.doubts, now + REREAD_AFTER_MS),
    holdNotices(
      db,
      effects.doubts.map(doubt => ({ ...doubt, dueAt: doubt.until })),
    ),
    releaseNotices(db, effects.settled),
    requestPlans(db, [...effects.clients.values()], now),
    savePeople(db, effects.people),
    addCounts(db, [...effects.counts.values()], now),
  ]);
  if (completed !== effects.done.length) {
    throw new Error(`${effects.done.length} events were processed but ${completed} were still pending`);
  }
}

async function moveOver(db: Db, { webhooksBegan }: Effects): Promise<readonly number[]> {
  const movedOver = webhooksBegan.size === 0 ? [] : await moveToWebhooks(db, [...webhooksBegan]);
  for (const companyId of movedOver) {
    await audit(db, { actor: 'otklik', action: 'company.webhooks_began', companyId });
  }
  return movedOver;
}

function report(deps: BatchDeps, effects: Outcome, durationMs: number): void {
  const { metrics, log } = deps;
  for (const { resource, effect } of effects.done)
    metrics.processed.inc({ resource: metrics.known(resource), effect });
  for (const { missed, late } of effects.counts.values()) {
    metrics.missed.inc(missed);
    metrics.late.inc(late);
  }
  deps.drift.add(effects.odd);
  if (effects.notices.length > 0 || effects.settled.length > 0) deps.onNotices();
  for (const companyId of effects.movedOver) {
    log.info({ company_id: companyId }, 'webhooks have begun: polled no more, reconciled from now on');
  }
  if (effects.done.length === 0) return;
  log.debug(
    { loop: 'process', count: effects.done.length, duration_ms: Math.round(durationMs) },
    'batch processed',
  );
}
