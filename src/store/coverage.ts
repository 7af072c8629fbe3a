/** What webhooks left out, counted per company and hour; kept when events are pruned. */
import type { EpochMs } from '../domain/time.ts';
import type { Db } from './pool.ts';

/** What one transaction adds to a company's hour. */
export type HourCounts = {
  readonly companyId: number;
  readonly webhooks: number;
  readonly lagMsSum: number;
  readonly lagMsMax: number;
  readonly missed: number;
  readonly late: number;
  readonly apiCalls: number;
};

export const NO_COUNTS = { webhooks: 0, lagMsSum: 0, lagMsMax: 0, missed: 0, late: 0, apiCalls: 0 } as const;

/**
 * Adds to the hour of `now`. Called last in a transaction: a busy company's row is written by every batch, and is
 * locked from here to the commit. In the order of companies, so that two callers cannot deadlock.
 */
export async function addCounts(db: Db, counts: readonly HourCounts[], now: EpochMs): Promise<void> {
  if (counts.length === 0) return;
  const hour = new Date(Math.floor(now / 3_600_000) * 3_600_000).toISOString();
  const sorted = [...counts].sort((left, right) => left.companyId - right.companyId);
  await db.query({
    name: 'add_counts',
    text: `
      INSERT INTO company_hours AS h (company_id, hour, webhooks, lag_ms_sum, lag_ms_max, missed, late, api_calls)
      SELECT "companyId", $2, webhooks, "lagMsSum", "lagMsMax", missed, late, "apiCalls"
      FROM jsonb_to_recordset($1::jsonb) AS r ("companyId" int, webhooks int, "lagMsSum" bigint, "lagMsMax" bigint,
        missed int, late int, "apiCalls" int)
      ON CONFLICT (company_id, hour) DO UPDATE SET webhooks = h.webhooks + EXCLUDED.webhooks,
        lag_ms_sum = h.lag_ms_sum + EXCLUDED.lag_ms_sum, lag_ms_max = greatest(h.lag_ms_max, EXCLUDED.lag_ms_max),
        missed = h.missed + EXCLUDED.missed, late = h.late + EXCLUDED.late,
        api_calls = h.api_calls + EXCLUDED.api_calls`,
    values: [JSON.stringify(sorted), hour],
  });
}

/** A company's last day, and how its sweeps stand. */
export type Coverage = {
  readonly companyId: number;
  readonly title: string;
  readonly source: string;
  readonly verify: string;
  /** Record webhooks that brought something new. */
  readonly webhooks: number;
  /** Changes that no webhook brought, less those whose webhook came later. */
  readonly missed: number;
  /** Of all changes, what webhooks brought, in percent; null when there were none, or no webhooks are expected. */
  readonly coveragePercent: number | null;
  readonly lagMsMean: number | null;
  readonly lagMsMax: number | null;
  readonly apiCalls: number;
  /** `none`: no access to the API is known. */
  readonly api: 'none' | 'importing' | 'ready';
  /** Of the first import, or of the sweep under way: pages read, records read, differences found. */
  readonly progress: {
    readonly kind: string;
    readonly pages: number;
    readonly read: number;
    readonly found: number;
  } | null;
  /** How often it is asked for changes: as set, and as it really was the last time. */
  readonly intervalMs: number | null;
  readonly lastIntervalMs: number | null;
  readonly lastSweepAt: string | null;
  /** How long the next sweep has been due already. */
  readonly overdueMs: number;
  readonly failures: number;
  readonly error: string | null;
  readonly rereads: number;
};

/** The companies that are active, with the counts of the last 24 hours. */
export async function readCoverage(db: Db, now: EpochMs, companyId?: number): Promise<Coverage[]> {
  const { rows } = await db.query<Coverage>(
    `SELECT c.company_id AS "companyId", c.title, c.source, c.verify, h.webhooks,
       h.missed - h.late AS missed,
       CASE WHEN c.source <> 'poll' AND h.webhooks + h.missed - h.late > 0
         THEN round(100.0 * h.webhooks / (h.webhooks + h.missed - h.late), 1)::float8 END AS "coveragePercent",
       CASE WHEN h.webhooks > 0 THEN round(h.lag_sum / h.webhooks)::float8 END AS "lagMsMean",
       CASE WHEN h.webhooks > 0 THEN h.lag_max END AS "lagMsMax",
       h.api_calls AS "apiCalls",
       CASE WHEN b.company_id IS NULL THEN 'none' WHEN b.finished_at IS NULL THEN 'importing' ELSE 'ready' END AS api,
       (SELECT jsonb_build_object('kind', s.kind, 'pages', s.cursor->'pages', 'read', s.cursor->'read',
          'found', s.cursor->'found')
        FROM sweeps s WHERE s.company_id = c.company_id AND s.cursor IS NOT NULL
        ORDER BY s.kind LIMIT 1) AS progress,
       CASE WHEN d.company_id IS NULL THEN NULL WHEN c.source = 'webhook' THEN c.sweep_ms
         ELSE least(c.poll_ms, c.sweep_ms) END AS "intervalMs",
       (d.last->>'gapMs')::float8 AS "lastIntervalMs",
       to_char(d.finished_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "lastSweepAt",
       coalesce((SELECT greatest(0, round(extract(epoch FROM $1::timestamptz - min(s.due_at)) * 1000))
         FROM sweeps s WHERE s.company_id = c.company_id AND s.failures = 0), 0)::float8 AS "overdueMs",
       coalesce(f.failures, 0) AS failures, f.error,
       (SELECT count(*) FROM rereads r WHERE r.company_id = c.company_id) AS rereads
     FROM companies c
     CROSS JOIN LATERAL (
       SELECT coalesce(sum(webhooks), 0)::int AS webhooks, coalesce(sum(missed), 0)::int AS missed,
         coalesce(sum(late), 0)::int AS late, coalesce(sum(api_calls), 0)::int AS api_calls,
         coalesce(sum(lag_ms_sum), 0) AS lag_sum, coalesce(max(lag_ms_max), 0)::float8 AS lag_max
       FROM company_hours h WHERE h.company_id = c.company_id AND h.hour > $1::timestamptz - interval '24 hours') h
     LEFT JOIN sweeps b ON b.company_id = c.company_id AND b.kind = 'baseline'
     LEFT JOIN sweeps d ON d.company_id = c.company_id AND d.kind = 'delta'
     LEFT JOIN LATERAL (
       SELECT failures, error FROM sweeps s WHERE s.company_id = c.company_id AND s.error IS NOT NULL
       ORDER BY failures DESC, kind LIMIT 1) f ON true
     WHERE c.removed_at IS NULL AND ($2::int IS NULL OR c.company_id = $2)
     ORDER BY c.company_id`,
    [new Date(now).toISOString(), companyId ?? null],
  );
  return rows;
}

/** All companies together. */
export type CoverageSum = Pick<
  Coverage,
  'webhooks' | 'missed' | 'coveragePercent' | 'lagMsMean' | 'lagMsMax' | 'apiCalls' | 'rereads'
> & {
  /** How long the company longest due has waited. */
  readonly overdueMs: number;
  /** Companies whose API cannot be read. */
  readonly failing: number;
};

export function sumCoverage(companies: readonly Coverage[]): CoverageSum {
  const sum = (of: (company: Coverage) => number) =>
    companies.reduce((total, company) => total + of(company), 0);
  const [webhooks, missed] = [sum(company => company.webhooks), sum(company => company.missed)];
  const changes = webhooks + missed;
  const lagMs = sum(company => company.webhooks * (company.lagMsMean ?? 0));
  return {
    webhooks,
    missed,
    coveragePercent: changes === 0 ? null : Math.round((1_000 * webhooks) / changes) / 10,
    lagMsMean: webhooks === 0 ? null : Math.round(lagMs / webhooks),
    lagMsMax: webhooks === 0 ? null : Math.max(...companies.map(company => company.lagMsMax ?? 0)),
    apiCalls: sum(company => company.apiCalls),
    rereads: sum(company => company.rereads),
    overdueMs: Math.max(0, ...companies.map(company => company.overdueMs)),
    failing: companies.filter(company => company.error !== null).length,
  };
}
