/**
 * One turn of a sweep: a few calls, each followed by one transaction that puts what differs into the inbox and moves
 * the cursor. A turn that ends before its sweep goes to the back of the line, so that a company with many pages does
 * not keep the others waiting.
 */
import {
  backoffMs,
  changedAfter,
  daysOf,
  deltaInterval,
  nextNight,
  type Setback,
  widened,
} from '../domain/sweep.ts';
import type { EpochMs } from '../domain/time.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { findBookings, findUnseen } from '../store/bookings.ts';
import { addCounts, NO_COUNTS } from '../store/coverage.ts';
import { insertEvents } from '../store/inbox.ts';
import { type Db, type Pool, transaction } from '../store/pool.ts';
import { requestRereads } from '../store/rereads.ts';
import {
  advanceSweep,
  type Cursor,
  finishSweep,
  parkSweep,
  planSweeps,
  type Sweep,
} from '../store/sweeps.ts';
import type { Tracing } from '../tracing.ts';
import { ApiError, type ApiTrouble, type JournalApi, type Page, type RecordsQuery } from '../yclients/api.ts';
import { type Asked, type FoundRecord, findingsOf, readAnswer, sift } from './found.ts';

/** What reading from the platform's API needs. */
export type ReadDeps = {
  readonly pool: Pool;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly now: () => EpochMs;
  /** 0 ≤ x < 1, for jitter. */
  readonly random: () => number;
  /** The API as a company's tokens open it; undefined when we have none. */
  readonly apiOf: (companyId: number) => Promise<JournalApi | undefined>;
  /** Something was put into the inbox: the processor may have work. */
  readonly onFound: () => void;
  /** Undefined: no traces are kept. */
  readonly tracing?: Tracing | undefined;
};

export type SweepDeps = ReadDeps & {
  readonly owner: string;
  readonly leaseMs: number;
  /** Begin no further call. */
  readonly isStopping: () => boolean;
};

/** Pages of 200 records, or single records whose absence is to be confirmed. */
const CALLS_A_TURN = 5;
const ERROR_LENGTH = 500;
/** The zone in which the platform reads `changed_after` is undocumented: so much earlier may an answer reach back. */
const FILTER_SLACK_MS = 24 * 3_600_000;
/**
 * A company is swept so much sooner than its interval asks: never the same, so that a thousand do not come in step; and
 * never nothing, so that waiting for a slot of the budget (10 s of 15 minutes were measured with a thousand companies in
 * their night) does not make it late.
 */
const EARLY_SHARE = { least: 0.02, most: 0.05 };

export const HOW_TO_READ =
  'set YCLIENTS_PARTNER_TOKEN, and the user token by `company set <id> --user-token-stdin`';
export const NO_ACCESS = `no access to the API: ${HOW_TO_READ}`;

export type TurnState = 'finished' | 'unfinished' | 'failed' | 'lost';

/** Where a sweep stands after a turn. */
export type Turn = { readonly state: TurnState; readonly cursor: Cursor; readonly error?: string };

/** The sweep passed to another process while this one was at it. */
class LeaseLost extends Error {
  override readonly name = 'LeaseLost';
}

/** Takes a turn at a claimed sweep and lets it go. Rejects only for what is not the API's fault. */
export async function takeTurn(deps: SweepDeps, sweep: Sweep): Promise<Turn> {
  const { companyId, kind } = sweep;
  const span = deps.tracing?.start('reconcile', null);
  const turn = await takeTraced(deps, sweep, span?.traceparent ?? null);
  const { found, pages } = turn.cursor;
  const counts = { 'otklik.pages': pages, 'otklik.found': found };
  span?.end(
    { 'otklik.company_id': companyId, 'otklik.kind': kind, 'otklik.outcome': turn.state, ...counts },
    turn.state === 'failed',
  );
  return turn;
}

async function takeTraced(deps: SweepDeps, sweep: Sweep, traceparent: string | null): Promise<Turn> {
  const cursor = sweep.cursor ?? begin(sweep, deps.now());
  const walk: Walk = { cursor, callsLeft: CALLS_A_TURN, traceparent };
  try {
    const api = await deps.apiOf(sweep.companyId);
    if (api === undefined) throw new ApiError('unauthorised', NO_ACCESS);
    const whole =
      (await readPages(deps, sweep, api, walk)) && (await confirmAbsences(deps, sweep, api, walk));
    if (whole) await finish(deps, sweep, walk.cursor);
    else await park(deps, sweep, { dueAt: deps.now(), failures: 0, error: null });
    return { state: whole ? 'finished' : 'unfinished', cursor: walk.cursor };
  } catch (error) {
    if (error instanceof LeaseLost) {
      deps.log.warn(
        { loop: 'reconcile', company_id: sweep.companyId },
        'the sweep passed to another process',
      );
      return { state: 'lost', cursor: walk.cursor };
    }
    if (!(error instanceof ApiError)) throw error;
    if (deps.isStopping() && error.trouble === 'paused') {
      await park(deps, sweep, { dueAt: sweep.dueAt, failures: sweep.failures, error: null });
      return { state: 'unfinished', cursor: walk.cursor };
    }
    await fail(deps, sweep, error);
    return { state: 'failed', cursor: walk.cursor, error: error.message };
  }
}

/** Moves on with every call. */
type Walk = { cursor: Cursor; callsLeft: number; readonly traceparent: string | null };

function begin(sweep: Sweep, now: EpochMs): Cursor {
  const { kind, zone, watermark, finishedAt, startedAt } = sweep;
  return {
    startedAt: now,
    lateMs: Math.max(0, now - sweep.dueAt),
    gapMs: startedAt === null ? null : now - startedAt,
    since: kind === 'delta' ? changedAfter(watermark ?? now, finishedAt === null) : null,
    days: kind === 'delta' ? null : daysOf(kind, zone, now),
    page: 1,
    pages: 0,
    read: 0,
    found: 0,
    seen: [],
  };
}

/** True when all pages are read. */
async function readPages(deps: SweepDeps, sweep: Sweep, api: JournalApi, walk: Walk): Promise<boolean> {
  const { page } = walk.cursor;
  if (page === null) return true;
  const pages = api.records(queryOf(walk.cursor, page))[Symbol.asyncIterator]();
  try {
    while (walk.cursor.page !== null) {
      if (mustRest(deps, walk)) return false;
      const readAt = deps.now();
      const { value, done } = await pages.next();
      if (done) walk.cursor = { ...walk.cursor, page: null };
      else walk.cursor = await takePage(deps, sweep, walk, value, readAt);
    }
    return true;
  } finally {
    await pages.return?.();
  }
}

function mustRest(deps: SweepDeps, walk: Walk): boolean {
  walk.callsLeft -= 1;
  return walk.callsLeft < 0 || deps.isStopping();
}

function queryOf({ since, days }: Cursor, fromPage: number): RecordsQuery {
  return {
    fromPage,
    withDeleted: true,
    ...(since === null ? {} : { changedAfter: since }),
    ...(days === null ? {} : { startDate: days.from, endDate: days.to }),
  };
}

async function takePage(
  deps: SweepDeps,
  sweep: Sweep,
  { cursor, traceparent }: Walk,
  { number, items, last }: Page,
  readAt: EpochMs,
): Promise<Cursor> {
  const asked: Asked = {
    ...(cursor.since === null ? {} : { changedAfter: cursor.since - FILTER_SLACK_MS }),
    ...(cursor.days === null ? {} : { days: widened(cursor.days) }),
  };
  const records = sift(items, sweep, asked);
  const seen = sweep.kind === 'full' ? [...cursor.seen, ...records.map(record => record.recordId)] : [];
  const moved = {
    ...cursor,
    page: last ? null : number + 1,
    pages: cursor.pages + 1,
    read: cursor.read + records.length,
    seen,
  };
  return commit(deps, sweep, moved, records, { readAt, traceparent });
}

/**
 * Puts what differs into the inbox and moves the cursor, in one transaction. The bookings are read without a lock: one
 * that moves meanwhile makes an event that comes to nothing.
 */
async function commit(
  deps: SweepDeps,
  sweep: Sweep,
  cursor: Cursor,
  records: readonly FoundRecord[],
  reading: { readonly readAt: EpochMs; readonly traceparent: string | null },
): Promise<Cursor> {
  const { companyId, kind } = sweep;
  const { owner, leaseMs } = deps;
  const keys = records.map(({ recordId }) => ({ companyId, recordId }));
  const findId = `found:${kind}:${cursor.startedAt}`;
  const moved = await transaction(deps.pool, async db => {
    const bookings = keys.length === 0 ? new Map() : await findBookings(db, keys);
    const { events, doubts } = findingsOf(records, bookings, sweep, { ...reading, findId });
    const next = { ...cursor, found: cursor.found + events.length };
    if (!(await advanceSweep(db, { companyId, kind, owner, leaseMs, cursor: next }))) throw new LeaseLost();
    if (events.length > 0) await insertEvents(db, events);
    if (doubts.length > 0) await requestRereads(db, doubts, deps.now());
    await countCall(db, companyId, deps.now());
    return next;
  });
  if (moved.found > cursor.found) deps.onFound();
  return moved;
}

/**
 * Bookings that we know and a full sweep did not show are read one by one: absence is no proof of deletion, a record
 * may have moved out of the days or between two pages. True when none is left.
 */
async function confirmAbsences(deps: SweepDeps, sweep: Sweep, api: JournalApi, walk: Walk): Promise<boolean> {
  const { companyId, kind } = sweep;
  const { days } = walk.cursor;
  if (kind !== 'full' || days === null) return true;
  const look = { companyId, days, seen: walk.cursor.seen, limit: CALLS_A_TURN };
  for (const recordId of await findUnseen(deps.pool, look)) {
    if (mustRest(deps, walk)) return false;
    const readAt = deps.now();
    const answer = await api.record(recordId);
    const record = readAnswer(answer, companyId, recordId);
    const moved = { ...walk.cursor, read: walk.cursor.read + 1, seen: [...walk.cursor.seen, recordId] };
    walk.cursor = await commit(deps, sweep, moved, [record], { readAt, traceparent: walk.traceparent });
  }
  return (await findUnseen(deps.pool, { ...look, seen: walk.cursor.seen, limit: 1 })).length === 0;
}

async function finish(deps: SweepDeps, sweep: Sweep, cursor: Cursor): Promise<void> {
  const { companyId, kind, zone, dueAt: wasDueAt } = sweep;
  const { owner } = deps;
  const finishedAt = deps.now();
  const fullAt = nextNight(companyId, zone, finishedAt);
  const early = EARLY_SHARE.least + (EARLY_SHARE.most - EARLY_SHARE.least) * deps.random();
  const interval = deltaInterval(sweep) * (1 - early);
  const dueAt = {
    baseline: Number.POSITIVE_INFINITY,
    delta: cursor.startedAt + Math.round(interval),
    full: fullAt,
  }[kind];
  await transaction(deps.pool, async db => {
    if (!(await finishSweep(db, { companyId, kind, owner, wasDueAt, cursor, finishedAt, dueAt })))
      throw new LeaseLost();
    if (kind !== 'baseline') return;
    const { startedAt: watermark } = cursor;
    await planSweeps(db, { companyId, watermark, deltaAt: finishedAt, fullAt });
  });
  deps.metrics.sweeps.inc({ kind, outcome: 'finished' });
  const level = cursor.found > 0 || kind === 'baseline' ? 'info' : 'debug';
  deps.log[level](
    {
      loop: 'reconcile',
      company_id: companyId,
      outcome: kind,
      count: cursor.found,
      duration_ms: finishedAt - cursor.startedAt,
    },
    'company compared with the platform; count is what differed',
  );
}

const SETBACKS: Record<ApiTrouble, Setback> = {
  unauthorised: 'wrong',
  forbidden: 'wrong',
  not_found: 'refused',
  refused: 'refused',
  unreadable: 'refused',
  limited: 'away',
  unavailable: 'away',
  paused: 'away',
};

export function setbackOf({ trouble }: ApiError): Setback {
  return SETBACKS[trouble];
}

/** The cursor stays, the next try waits; a wrong token is not tried again and again. */
async function fail(deps: SweepDeps, sweep: Sweep, error: ApiError): Promise<void> {
  const { companyId, kind } = sweep;
  const now = deps.now();
  const failures = sweep.failures + 1;
  const waitMs = backoffMs(setbackOf(error), failures, deps.random(), error.retryAfterMs);
  await park(deps, sweep, { dueAt: now + waitMs, failures, error: error.message.slice(0, ERROR_LENGTH) });
  if (error.trouble !== 'paused') await countCall(deps.pool, companyId, now);
  deps.metrics.sweeps.inc({ kind, outcome: error.trouble });
  deps.log.warn(
    { loop: 'reconcile', company_id: companyId, outcome: error.trouble, failures, duration_ms: waitMs },
    'sweep put off; `stats` says why',
  );
}

async function park(
  deps: SweepDeps,
  { companyId, kind, dueAt: wasDueAt }: Sweep,
  until: { readonly dueAt: EpochMs; readonly failures: number; readonly error: string | null },
): Promise<void> {
  await parkSweep(deps.pool, { companyId, kind, owner: deps.owner, wasDueAt, ...until });
}

export async function countCall(db: Db, companyId: number, now: EpochMs): Promise<void> {
  await addCounts(db, [{ companyId, ...NO_COUNTS, apiCalls: 1 }], now);
}
