/**
 * The budget of calls to the platform's API that all processes behind one address share: the platform counts per
 * address, 5 a second and 200 a minute. Here at most one call in 340 ms leaves: 3 in any second, 177 in any minute.
 *
 * One row holds the next free slot. A process takes one slot at a time, for the first in its own queue, and waits for
 * it; so it is fair between companies (a company has one call in the queue) and between processes (each takes its
 * turn, and a command is not put behind the thousand companies of `serve`).
 *
 * The slots are 340 ms apart where they are given out, and a caller that comes more than 400 ms late to its slot takes
 * another. Six calls of one second would be 1,700 ms of slots: lateness (400) and the ways of the network may differ by
 * 700 ms before five a second is passed, and by 8 s before 200 a minute is.
 *
 * A 429 pauses everybody, at once. Three answers in a row that say that the platform is down do the same (the
 * breaker); each further one doubles the pause. After it one call at a time probes, until one is answered.
 */
import { setTimeout } from 'node:timers/promises';
import type { EpochMs } from '../domain/time.ts';
import { ApiError, type Gate } from '../yclients/api.ts';
import type { Db, Pool } from './pool.ts';

export type BudgetClock = {
  now(): EpochMs;
  /** Resolves not before `milliseconds` have passed; rejects when the signal is aborted. */
  sleep(milliseconds: number, signal: AbortSignal): Promise<void>;
};

const REAL: BudgetClock = {
  now: () => performance.now(),
  sleep: (milliseconds, signal) => setTimeout(milliseconds, undefined, { signal }),
};

export type GateOptions = {
  readonly pool: Pool;
  /** Names the address we call from and whom we call, e.g. `default/api.yclients.com`. */
  readonly scope: string;
  readonly random: () => number;
  /** Who would have to wait longer is told so at once. */
  readonly maxWaitMs?: number;
  /** In place of the database's clock, which all processes share: virtual time, the same in all of them. */
  readonly clock?: BudgetClock;
};

const SLOT_MS = 340;
const LATE_MS = 400;
/** A slot is taken at most this long ahead, so that a pause meets hardly anybody who holds one. */
const AHEAD_MS = 1_000;
/** Failures in a row that open the breaker: one is an accident, three tries of one call are not. */
const BREAKER = 3;
const FIRST_PAUSE_MS = 2_000;
const LONGEST_PAUSE_MS = 5 * 60_000;
/** A wait asked for by the platform is believed up to here. */
const LONGEST_ASKED_MS = 15 * 60_000;
/** While the breaker is open a call has this long to bring news before another may try. */
const PROBE_MS = 30_000;
const MAX_WAIT_MS = 2 * 60_000;
/** A pause that ends early, because a probe was answered, is noticed within this. */
const RECHECK_MS = 1_000;
/** No pause and no slot behind a probe is that far ahead: the clock of the database was, and has been set back. */
export const IMPOSSIBLE_MS = 20 * 60_000;
/** Slots missed in a row: then this machine or the database is too slow to keep any budget. */
const MAX_MISSED = 5;

export function createGate(options: GateOptions): Gate {
  const { pool, scope, random, maxWaitMs = MAX_WAIT_MS } = options;
  const virtual = options.clock;
  const clock: BudgetClock = virtual ?? REAL;
  const given = () => (virtual === undefined ? null : new Date(virtual.now()));
  let queue: Promise<unknown> = Promise.resolve();
  let waiting = 0;

  /** Takes a slot and waits for it. Runs for one caller at a time. */
  async function pass(signal: AbortSignal, since: number): Promise<void> {
    for (let missed = 0; missed < MAX_MISSED; ) {
      signal.throwIfAborted();
      const askedAt = clock.now();
      const slot = await takeSlot(pool, scope, given());
      if (slot !== undefined) {
        await sleepUntil(clock.now() + slot.inMs, signal);
        if (clock.now() - askedAt - slot.inMs <= LATE_MS) return;
        missed += 1;
        continue;
      }
      const state = (await readScope(pool, scope, given())) ?? (await addScope(pool, scope));
      if (state === undefined) continue;
      if (state.freeInMs > IMPOSSIBLE_MS) {
        await forgetFuture(pool, [scope], given());
        continue;
      }
      const waited = clock.now() - since;
      if (waited + state.freeInMs > maxWaitMs) throw paused(state);
      const worthwhile = Math.max(state.freeInMs - AHEAD_MS / 2, 1);
      await sleepUntil(clock.now() + Math.min(worthwhile, RECHECK_MS), signal);
    }
    throw new ApiError(
      'paused',
      'not asked: this machine or its database is too slow to keep the budget of calls',
    );
  }

  async function sleepUntil(moment: number, signal: AbortSignal): Promise<void> {
    for (let left = moment - clock.now(); left > 0; left = moment - clock.now()) {
      await clock.sleep(Math.ceil(left), signal);
    }
  }

  return {
    async enter(signal) {
      if (waiting * SLOT_MS > maxWaitMs) {
        throw new ApiError(
          'paused',
          `not asked: ${waiting} calls of this process wait for the budget already`,
          {
            retryAfterMs: waiting * SLOT_MS,
          },
        );
      }
      const since = clock.now();
      waiting += 1;
      const turn = queue.then(() => pass(signal, since));
      queue = turn.catch(() => {});
      try {
        await turn;
      } finally {
        waiting -= 1;
      }
    },
    async report(outcome, retryAfterMs) {
      if (outcome === 'fine') {
        await endFailures(pool, scope, given());
        return;
      }
      const asked = Math.min(retryAfterMs ?? 0, LONGEST_ASKED_MS);
      await addFailure(pool, scope, { outcome, askedMs: asked, stretch: 1 + random() / 4, now: given() });
    },
  };
}

function paused({ freeInMs, pausedBecause, until }: ScopeState): ApiError {
  const why = WHY[pausedBecause] ?? 'the queue is long';
  return new ApiError(
    'paused',
    `not asked: calls are paused until ${new Date(until).toISOString()}, because ${why}`,
    {
      retryAfterMs: freeInMs,
    },
  );
}

const WHY: Record<string, string> = {
  limited: 'the platform said that we call too often',
  unavailable: 'the platform does not answer, or not as it should',
};

/**
 * Takes the next slot and says in how many milliseconds it comes; undefined when none comes soon. With the breaker open
 * a slot is a probe's, and the next one far behind it.
 */
async function takeSlot(db: Db, scope: string, now: Date | null): Promise<{ inMs: number } | undefined> {
  const { rows } = await db.query<{ inMs: string }>({
    name: 'budget_take_slot',
    text: `UPDATE api_budget
      SET next_slot_at = greatest(coalesce($2, clock_timestamp()), next_slot_at, paused_until)
        + CASE WHEN failures >= ${BREAKER} THEN ${PROBE_MS} ELSE ${SLOT_MS} END * interval '1 millisecond'
      WHERE scope = $1
        AND greatest(next_slot_at, paused_until) <= coalesce($2, clock_timestamp()) + ${AHEAD_MS} * interval '1 millisecond'
      RETURNING extract(epoch FROM next_slot_at - coalesce($2::timestamptz, clock_timestamp())) * 1000
        - CASE WHEN failures >= ${BREAKER} THEN ${PROBE_MS} ELSE ${SLOT_MS} END AS "inMs"`,
    values: [scope, now],
  });
  return rows[0] === undefined ? undefined : { inMs: Number(rows[0].inMs) };
}

type ScopeState = {
  readonly freeInMs: number;
  readonly until: EpochMs;
  readonly pausedBecause: string;
};

async function readScope(db: Db, scope: string, now: Date | null): Promise<ScopeState | undefined> {
  const { rows } = await db.query<{ freeInMs: string; until: string; pausedBecause: string }>({
    name: 'budget_read_scope',
    text: `SELECT extract(epoch FROM free_at - coalesce($2::timestamptz, clock_timestamp())) * 1000 AS "freeInMs",
        extract(epoch FROM free_at) * 1000 AS until, paused_because AS "pausedBecause"
      FROM (SELECT greatest(next_slot_at, paused_until, coalesce($2, clock_timestamp())) AS free_at, paused_because
        FROM api_budget WHERE scope = $1) AS budget`,
    values: [scope, now],
  });
  const [row] = rows;
  if (row === undefined) return undefined;
  return { freeInMs: Number(row.freeInMs), until: Number(row.until), pausedBecause: row.pausedBecause };
}

/** Of a clock that was an hour ahead each row would hold everybody for an hour. */
export async function forgetFuture(db: Db, scopes: readonly string[], now: Date | null): Promise<void> {
  await db.query({
    name: 'budget_forget_future',
    text: `UPDATE api_budget SET next_slot_at = least(next_slot_at, asked.now),
        paused_until = least(paused_until, asked.now), queued_until = least(queued_until, asked.now)
      FROM (SELECT coalesce($2::timestamptz, clock_timestamp()) AS now) AS asked WHERE scope = ANY ($1::text[])`,
    values: [scopes, now],
  });
}

async function addScope(db: Db, scope: string): Promise<undefined> {
  await db.query('INSERT INTO api_budget (scope) VALUES ($1) ON CONFLICT DO NOTHING', [scope]);
}

/** The next slot once a probe has ended: not kept free for it any longer. */
const BEHIND_PROBE = `CASE
  -- Further ahead than any slot but one behind a probe.
  WHEN next_slot_at > asked.now + ${AHEAD_MS + SLOT_MS} * interval '1 millisecond'
  THEN greatest(asked.now, next_slot_at - ${PROBE_MS} * interval '1 millisecond') + ${SLOT_MS} * interval '1 millisecond'
  ELSE next_slot_at END`;

/**
 * An answer came. The breaker closes, and what waits behind a probe goes on at once. A pause that was asked for stays,
 * and so does one that began while this call was under way.
 */
export async function endFailures(db: Db, scope: string, now: Date | null): Promise<void> {
  await db.query({
    name: 'budget_end_failures',
    text: `UPDATE api_budget SET failures = 0,
        paused_because = CASE WHEN paused_until > asked.now THEN paused_because ELSE '' END,
        next_slot_at = ${BEHIND_PROBE}
      FROM (SELECT coalesce($2::timestamptz, clock_timestamp()) AS now) AS asked
      WHERE scope = $1 AND failures > 0`,
    values: [scope, now],
  });
}

/**
 * A 429, or an answer that says that the platform is down. Those of calls that left before a pause began say nothing
 * new while it lasts, and do not make it longer.
 */
export async function addFailure(
  db: Db,
  scope: string,
  failure: {
    readonly outcome: 'limited' | 'unavailable';
    readonly askedMs: number;
    readonly stretch: number;
    readonly now: Date | null;
  },
): Promise<void> {
  await db.query({
    name: 'budget_add_failure',
    text: `UPDATE api_budget SET
        failures = CASE WHEN paused_until > asked.now THEN failures ELSE failures + 1 END,
        paused_until = greatest(paused_until, asked.now + interval '1 millisecond' * greatest($4::float8,
          CASE WHEN paused_until > asked.now THEN 0
            WHEN $2 = 'limited' THEN least(${LONGEST_PAUSE_MS}, ${FIRST_PAUSE_MS} * 2.0 ^ least(failures, 20)) * $5::float8
            WHEN failures + 1 >= ${BREAKER}
            THEN least(${LONGEST_PAUSE_MS}, ${FIRST_PAUSE_MS} * 2.0 ^ least(failures + 1 - ${BREAKER}, 20)) * $5::float8
            ELSE 0 END)),
        paused_because = $2,
        next_slot_at = ${BEHIND_PROBE}
      FROM (SELECT coalesce($3::timestamptz, clock_timestamp()) AS now) AS asked
      WHERE scope = $1`,
    values: [scope, failure.outcome, failure.now, failure.askedMs, failure.stretch],
  });
}

export type Budget = {
  readonly scope: string;
  /** When the next call may leave; in the past when it may at once. */
  readonly nextSlotAt: EpochMs;
  readonly pausedUntil: EpochMs | null;
  /** Why it is paused, or what the last failures were; empty when there is nothing. */
  readonly because: '' | 'limited' | 'unavailable';
  /** In a row. */
  readonly failures: number;
  /** Three failures: one call at a time until one is answered. */
  readonly breakerOpen: boolean;
};

/** How the budgets of calls stand, one for each address we call from and host we call; for `doctor` and `stats`. */
export async function readBudget(db: Db): Promise<Budget[]> {
  const { rows } = await db.query<Budget>(
    `SELECT scope, greatest(next_slot_at, paused_until) AS "nextSlotAt",
       CASE WHEN paused_until > now() THEN paused_until END AS "pausedUntil",
       CASE WHEN paused_until > now() OR failures > 0 THEN paused_because ELSE '' END AS because,
       failures, failures >= ${BREAKER} AS "breakerOpen"
     FROM api_budget WHERE scope NOT LIKE 'send/%' ORDER BY scope`,
  );
  return rows;
}
