/**
 * Format drift: one row a kind and path. Its rows are bounded: paths of `resource` and `status` hold words of the
 * sender's, so what comes beyond `ROWS_PER_KIND` is counted in one row, `…others`.
 *
 * Locks: rows are locked in the order of (kind, path), or not waited for.
 */
import type { DriftKind, Finding } from '../domain/drift.ts';
import type { EpochMs } from '../domain/time.ts';
import type { Db } from './pool.ts';

/** Our own paths are about a hundred. Two processes that meet in the same moment may each fill up what was free. */
export const ROWS_PER_KIND = 200;
export const OTHERS = '…others';

export type CountedFinding = Finding & {
  readonly count: number;
  readonly firstAt: EpochMs;
  readonly lastAt: EpochMs;
};

/** Adds to the counts; the latest sample stays. Each kind and path at most once in `findings`. */
export async function addDrift(db: Db, findings: readonly CountedFinding[]): Promise<void> {
  await db.query({
    name: 'add_drift',
    text: `
      WITH given AS (
        SELECT kind, path, count, to_timestamp(first_at / 1000.0) AS first_at,
          to_timestamp(last_at / 1000.0) AS last_at, sample
        FROM unnest($1::text[], $2::text[], $3::bigint[], $4::float8[], $5::float8[], $6::text[])
          AS g (kind, path, count, first_at, last_at, sample)),
      held AS (SELECT kind, count(*) AS rows FROM drift GROUP BY kind),
      ranked AS (
        SELECT g.*, d.path IS NOT NULL AS known,
          row_number() OVER (PARTITION BY g.kind, d.path IS NULL ORDER BY g.path) AS place
        FROM given g LEFT JOIN drift d ON d.kind = g.kind AND d.path = g.path),
      bounded AS (
        SELECT r.kind, CASE WHEN known OR place + coalesce(rows, 0) <= $7 THEN path ELSE $8 END AS path,
          r.count, first_at, last_at, sample
        FROM ranked r LEFT JOIN held h ON h.kind = r.kind)
      INSERT INTO drift AS d (kind, path, count, first_at, last_at, sample, latest_day, latest_count)
      SELECT kind, path, sum(count), min(first_at), max(last_at), max(sample),
        (max(last_at) AT TIME ZONE 'UTC')::date, sum(count)
      FROM bounded GROUP BY kind, path ORDER BY kind, path
      ON CONFLICT (kind, path) DO UPDATE SET count = d.count + EXCLUDED.count,
        first_at = least(d.first_at, EXCLUDED.first_at), last_at = greatest(d.last_at, EXCLUDED.last_at),
        sample = EXCLUDED.sample, latest_day = greatest(d.latest_day, EXCLUDED.latest_day),
        latest_count = EXCLUDED.latest_count + CASE WHEN EXCLUDED.latest_day <= d.latest_day THEN d.latest_count ELSE 0 END,
        before_count = CASE WHEN EXCLUDED.latest_day <= d.latest_day THEN d.before_count
          WHEN EXCLUDED.latest_day = d.latest_day + 1 THEN d.latest_count ELSE 0 END`,
    values: [
      findings.map(one => one.kind),
      findings.map(one => one.path),
      findings.map(one => one.count),
      findings.map(one => one.firstAt),
      findings.map(one => one.lastAt),
      findings.map(one => one.sample),
      ROWS_PER_KIND,
      OTHERS,
    ],
  });
}

export type DriftAlert = { readonly kind: DriftKind; readonly path: string; readonly count: number };

/**
 * What is to be told now: seen since it was last told, and that was at least `everyMs` ago. Claimed by this call, so
 * that of several processes one tells.
 */
export async function claimDriftAlerts(db: Db, now: EpochMs, everyMs: number): Promise<DriftAlert[]> {
  const { rows } = await db.query<DriftAlert>(
    `WITH due AS MATERIALIZED (
       SELECT kind, path FROM drift
       WHERE told_at IS NULL OR (last_at > told_at AND told_at <= to_timestamp(($1::float8 - $2::float8) / 1000))
       FOR UPDATE SKIP LOCKED)
     UPDATE drift SET told_at = to_timestamp($1::float8 / 1000)
     WHERE (kind, path) IN (SELECT kind, path FROM due)
     RETURNING kind, path, count`,
    [now, everyMs],
  );
  return rows;
}

export type DriftRow = {
  readonly kind: DriftKind;
  readonly path: string;
  readonly count: number;
  readonly firstAt: string;
  readonly lastAt: string;
  readonly sample: string;
};

/** All of it, what came last first. */
export async function listDrift(db: Db): Promise<DriftRow[]> {
  const { rows } = await db.query<DriftRow>(
    `SELECT kind, path, count, ${iso('first_at')} AS "firstAt", ${iso('last_at')} AS "lastAt", sample
     FROM drift ORDER BY last_at DESC, kind, path`,
  );
  return rows;
}

/** Forgets all of it; what still occurs is found, and told, anew. Returns how many rows there were. */
export async function clearDrift(db: Db): Promise<number> {
  const { rowCount } = await db.query('DELETE FROM drift');
  return rowCount ?? 0;
}

function iso(column: string): string {
  return `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
}
