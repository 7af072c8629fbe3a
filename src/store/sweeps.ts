/**
 * Sweeps of each company: how far each is certain, when it is due, who is at it. One function is one statement.
 *
 * Moments of the salon (`due_at`, `started_at`, the watermark) come from the caller's clock, leases from the database's.
 */
import type { SweepKind } from '../domain/sweep.ts';
import type { EpochMs } from '../domain/time.ts';
import type { ChangeSource } from './companies.ts';
import type { Db } from './pool.ts';

/** An unfinished sweep: what it asks, and where it goes on. */
export type Cursor = {
  readonly startedAt: EpochMs;
  /** `lateMs`: how long after it was due. `gapMs`: how long after the one before it began. */
  readonly lateMs: number;
  readonly gapMs: number | null;
  /** What a delta asks for. */
  readonly since: EpochMs | null;
  /** What the others ask for. */
  readonly days: { readonly from: string; readonly to: string } | null;
  /** The next page; null when all are read and only absences are left to confirm. */
  readonly page: number | null;
  readonly pages: number;
  readonly read: number;
  readonly found: number;
  /** Ids seen, of a full sweep. */
  readonly seen: readonly number[];
};

export type Sweep = {
  readonly companyId: number;
  readonly kind: SweepKind;
  readonly dueAt: EpochMs;
  readonly watermark: EpochMs | null;
  readonly cursor: Cursor | null;
  readonly startedAt: EpochMs | null;
  readonly finishedAt: EpochMs | null;
  readonly failures: number;
  readonly zone: string;
  readonly source: ChangeSource;
  readonly sweepMs: number;
  readonly pollMs: number;
  readonly knownSince: EpochMs;
  readonly botApiPrefix: string | null;
};

const at = (moment: EpochMs) => new Date(moment).toISOString();

/** Active companies behind `after` of which no sweep is planned: nothing is known yet of their access to the API. */
export async function findUnplanned(db: Db, after: number, limit: number): Promise<number[]> {
  const { rows } = await db.query<{ companyId: number }>(
    `SELECT company_id AS "companyId" FROM companies c
     WHERE company_id > $1 AND removed_at IS NULL AND stopped_at IS NULL
       AND NOT EXISTS (SELECT FROM sweeps s WHERE s.company_id = c.company_id)
     ORDER BY company_id LIMIT $2`,
    [after, limit],
  );
  return rows.map(row => row.companyId);
}

/**
 * Plans the first import of a company. What was made before the last hour is old news by then, however long the
 * company has been here: we never read its journal.
 */
export async function planBaseline(db: Db, companyId: number, now: EpochMs): Promise<void> {
  await db.query(
    `WITH planned AS (
       INSERT INTO sweeps (company_id, kind, due_at) VALUES ($1, 'baseline', $2) ON CONFLICT DO NOTHING
       RETURNING company_id)
     UPDATE companies c SET known_since = greatest(known_since, $2::timestamptz - interval '1 hour')
     FROM planned WHERE c.company_id = planned.company_id`,
    [companyId, at(now)],
  );
}

/**
 * Claims sweeps that are due, the longest due first, one a company: the platform counts calls per address, so a company
 * that asks for two pages at once takes another's turn. `only` claims those of one company, due or not.
 */
export async function claimSweeps(
  db: Db,
  claim: {
    readonly owner: string;
    readonly leaseMs: number;
    readonly now: EpochMs;
    readonly limit: number;
    readonly only?: { readonly companyId: number; readonly kind: SweepKind };
  },
): Promise<Sweep[]> {
  const { rows } = await db.query<Sweep>({
    name: 'claim_sweeps',
    text: `
      WITH free AS (
        SELECT s.company_id, s.kind FROM sweeps s JOIN companies c USING (company_id)
        WHERE (s.due_at <= $1 OR $5::int IS NOT NULL) AND (s.leased_until IS NULL OR s.leased_until < now())
          AND ($5::int IS NULL OR (s.company_id = $5 AND s.kind = $6)) AND s.due_at <> 'infinity'
          AND c.removed_at IS NULL AND c.stopped_at IS NULL
          AND NOT EXISTS (
            SELECT FROM sweeps o WHERE o.company_id = s.company_id AND o.kind <> s.kind
              AND (o.leased_until >= now() OR ($5::int IS NULL AND (o.due_at, o.kind) < (s.due_at, s.kind))))
        ORDER BY s.due_at LIMIT $4 FOR UPDATE OF s SKIP LOCKED)
      UPDATE sweeps s SET leased_by = $2, leased_until = now() + $3 * interval '1 millisecond'
      FROM free JOIN companies c USING (company_id)
      WHERE s.company_id = free.company_id AND s.kind = free.kind
      RETURNING s.company_id AS "companyId", s.kind, s.due_at AS "dueAt", s.watermark, s.cursor,
        s.started_at AS "startedAt", s.finished_at AS "finishedAt", s.failures, c.zone, c.source,
        c.sweep_ms AS "sweepMs", c.poll_ms AS "pollMs", c.known_since AS "knownSince",
        c.bot_api_prefix AS "botApiPrefix"`,
    values: [
      at(claim.now),
      claim.owner,
      claim.leaseMs,
      claim.limit,
      claim.only?.companyId ?? null,
      claim.only?.kind ?? null,
    ],
  });
  return rows;
}

type Held = { readonly companyId: number; readonly kind: SweepKind; readonly owner: string };

/** Moves an unfinished sweep on and renews its lease. False: the lease passed to another, nothing was written. */
export async function advanceSweep(
  db: Db,
  { companyId, kind, owner, cursor, leaseMs }: Held & { readonly cursor: Cursor; readonly leaseMs: number },
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'advance_sweep',
    text: `UPDATE sweeps SET cursor = $4, started_at = $5, failures = 0, error = NULL,
        leased_until = now() + $6 * interval '1 millisecond'
      WHERE company_id = $1 AND kind = $2 AND leased_by = $3`,
    values: [companyId, kind, owner, JSON.stringify(cursor), at(cursor.startedAt), leaseMs],
  });
  return rowCount === 1;
}

/** Ends a sweep: everything changed before `watermark` is known. False as above. */
export async function finishSweep(
  db: Db,
  end: Held & {
    readonly wasDueAt: EpochMs;
    readonly cursor: Cursor;
    readonly finishedAt: EpochMs;
    /** Infinity: never again by itself. */
    readonly dueAt: EpochMs;
  },
): Promise<boolean> {
  const { pages, read, found, lateMs, gapMs, startedAt } = end.cursor;
  const { rowCount } = await db.query({
    name: 'finish_sweep',
    text: `UPDATE sweeps SET cursor = NULL, started_at = $4, watermark = $4, finished_at = $5, last = $7,
        due_at = CASE WHEN kind = 'delta' AND due_at <> $8 THEN due_at ELSE $6 END, failures = 0, error = NULL, leased_by = NULL, leased_until = NULL
      WHERE company_id = $1 AND kind = $2 AND leased_by = $3`,
    values: [
      end.companyId,
      end.kind,
      end.owner,
      at(startedAt),
      at(end.finishedAt),
      end.dueAt === Number.POSITIVE_INFINITY ? 'infinity' : at(end.dueAt),
      JSON.stringify({ pages, read, found, lateMs, gapMs }),
      at(end.wasDueAt),
    ],
  });
  return rowCount === 1;
}

/** After the baseline: changes from its beginning on are read, and each night the coming days. */
export async function planSweeps(
  db: Db,
  plan: {
    readonly companyId: number;
    readonly watermark: EpochMs;
    readonly deltaAt: EpochMs;
    readonly fullAt: EpochMs;
  },
): Promise<void> {
  await db.query(
    `INSERT INTO sweeps (company_id, kind, due_at, watermark)
     VALUES ($1, 'delta', $3, $2), ($1, 'full', $4, NULL) ON CONFLICT DO NOTHING`,
    [plan.companyId, at(plan.watermark), at(plan.deltaAt), at(plan.fullAt)],
  );
}

/**
 * Lets a sweep go, unfinished, until `dueAt`; where it goes on stays. One that was made due since it was claimed is due
 * then all the same: what it failed of may be right by now.
 */
export async function parkSweep(
  db: Db,
  park: Held & {
    readonly wasDueAt: EpochMs;
    readonly dueAt: EpochMs;
    readonly failures: number;
    readonly error: string | null;
  },
): Promise<void> {
  await db.query({
    name: 'park_sweep',
    text: `UPDATE sweeps SET due_at = CASE WHEN due_at = $7 THEN $4 ELSE due_at END,
        failures = CASE WHEN due_at = $7 THEN $5 ELSE 0 END, error = $6, leased_by = NULL, leased_until = NULL
      WHERE company_id = $1 AND kind = $2 AND leased_by = $3`,
    values: [
      ...[park.companyId, park.kind, park.owner],
      ...[at(park.dueAt), park.failures, park.error, at(park.wasDueAt)],
    ],
  });
}

/**
 * Makes a company's sweeps due now: its tokens or its intervals have changed. One that is under way asks by what was
 * before: it gets another hour than it was claimed with, by which whoever is at it leaves it due.
 */
export async function hastenSweeps(db: Db, companyId: number, now: EpochMs): Promise<void> {
  await db.query(
    `UPDATE sweeps SET failures = 0,
       due_at = CASE WHEN leased_until >= now() THEN $2::timestamptz ELSE least(due_at, $2::timestamptz) END
     WHERE company_id = $1 AND kind <> 'full' AND due_at <> 'infinity'`,
    [companyId, at(now)],
  );
}

/** Makes due now what failed: its cause may be gone. */
export async function hastenFailed(db: Db, now: EpochMs): Promise<void> {
  await db.query('UPDATE sweeps SET due_at = $1, failures = 0 WHERE error IS NOT NULL AND due_at > $1', [
    at(now),
  ]);
}

/** Forgets how far a company was read: it is taken up anew. */
export async function forgetSweeps(db: Db, companyId: number): Promise<void> {
  await db.query('DELETE FROM sweeps WHERE company_id = $1', [companyId]);
}

/** Gives back what a process that stops was at, for others to take at once. */
export async function releaseSweeps(db: Db, owner: string): Promise<void> {
  await db.query('UPDATE sweeps SET leased_by = NULL, leased_until = NULL WHERE leased_by = $1', [owner]);
}

/** Of metrics: how long the sweep longest due has been so, in seconds, and how many records wait to be read again. */
export async function readSweepDepths(
  db: Db,
): Promise<{ readonly overdueSeconds: number; readonly rereads: number }> {
  const { rows } = await db.query<{ overdueSeconds: number; rereads: number }>(
    `SELECT
       coalesce((SELECT extract(epoch FROM now() - min(s.due_at)) FROM sweeps s JOIN companies c USING (company_id)
         WHERE s.due_at < now() AND s.failures = 0 AND c.removed_at IS NULL AND c.stopped_at IS NULL), 0)::float8
         AS "overdueSeconds",
       (SELECT count(*) FROM rereads) AS rereads`,
  );
  return rows[0] ?? { overdueSeconds: 0, rereads: 0 };
}
