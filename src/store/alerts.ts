/**
 * Alerts: what is open, who looks out, and the numbers that are looked at. One function is one statement.
 *
 * Moments come from the caller's clock, the lease from the database's.
 */
import type { AlertKind, AlertState, Mute } from '../domain/alert.ts';
import type {
  BackupNumbers,
  CompanyNumbers,
  Depths,
  DriftNumbers,
  ProviderNumbers,
  Rejects,
  RoadNumbers,
} from '../domain/readings.ts';
import type { EpochMs } from '../domain/time.ts';
import { int4Array } from './binary.ts';
import type { Db } from './pool.ts';
import { LAST_BACKUP, saveSetting } from './settings.ts';

const at = (moment: EpochMs | null) => (moment === null ? null : new Date(moment).toISOString());

/** Whether `owner` is the one that looks out, now and for the lease; locks the watch until the transaction ends. */
export async function takeWatch(db: Db, owner: string, leaseMs: number): Promise<boolean> {
  const { rowCount } = await db.query(
    `INSERT INTO alert_watch AS w (owner, leased_until) VALUES ($1, now() + $2 * interval '1 millisecond')
     ON CONFLICT (id) DO UPDATE SET owner = EXCLUDED.owner, leased_until = EXCLUDED.leased_until
     WHERE w.owner = EXCLUDED.owner OR w.leased_until < now()`,
    [owner, leaseMs],
  );
  return rowCount === 1;
}

export async function leaveWatch(db: Db, owner: string): Promise<void> {
  await db.query('DELETE FROM alert_watch WHERE owner = $1', [owner]);
}

/** Suspected and raised, the oldest first. */
export async function listAlerts(db: Db): Promise<AlertState[]> {
  const { rows } = await db.query<AlertState>(
    `SELECT kind, subject, label, detail, value, since, raised_at AS "raisedAt", told_at AS "toldAt",
       better_since AS "betterSince"
     FROM alerts ORDER BY since, kind, subject`,
  );
  return rows;
}

/** When the last backup was made, and since when there has been anything to back up. */
export async function readLastBackup(db: Db): Promise<BackupNumbers> {
  const { rows } = await db.query<BackupNumbers>(
    `SELECT (SELECT value::timestamptz FROM settings WHERE key = $1) AS last, min(applied_at) AS since FROM migrations`,
    [LAST_BACKUP],
  );
  const [row] = rows;
  if (row === undefined) throw new Error('the last backup gave no row');
  return row;
}

/** How many are raised of each kind that has any, but for those that are muted; undefined: nobody looks, so nobody knows. */
export async function countRaised(db: Db, now: EpochMs): Promise<ReadonlyMap<AlertKind, number> | undefined> {
  const { rows } = await db.query<{ kind: AlertKind | null; count: number | null }>(
    `SELECT a.kind, a.count FROM alert_watch w
     LEFT JOIN (
       SELECT kind, count(*)::int AS count FROM alerts r
       WHERE raised_at IS NOT NULL AND NOT EXISTS (SELECT FROM settings s
         WHERE s.key IN ('alert_mute:' || r.kind, 'alert_mute:' || r.kind || ':' || r.subject)
           AND s.value COLLATE "C" > $1)
       GROUP BY kind) a ON true
     WHERE w.leased_until >= now()`,
    [at(now)],
  );
  if (rows.length === 0) return undefined;
  return new Map(rows.flatMap(({ kind, count }) => (kind === null ? [] : [[kind, count ?? 0] as const])));
}

/** By kind, as settings: there are few. Their moments are compared as texts, so they are all in the one form of `at`. */
export async function readMutes(db: Db): Promise<Mute[]> {
  const { rows } = await db.query<{ kind: AlertKind; subject: string | null; until: string }>(
    `SELECT split_part(key, ':', 2) AS kind, substring(key FROM '^alert_mute:[^:]*:(.*)$') AS subject, value AS until
     FROM settings WHERE key LIKE 'alert\\_mute:%' ORDER BY key COLLATE "C"`,
  );
  return rows.map(({ until, ...mute }) => ({ ...mute, until: Date.parse(until) }));
}

export async function saveMute(db: Db, { kind, subject, until }: Mute): Promise<void> {
  await saveSetting(db, muteKey(kind, subject), new Date(until).toISOString());
}

/** False: there is none. */
export async function removeMute(db: Db, { kind, subject }: Omit<Mute, 'until'>): Promise<boolean> {
  const { rowCount } = await db.query('DELETE FROM settings WHERE key = $1', [muteKey(kind, subject)]);
  return rowCount === 1;
}

export async function forgetMutes(db: Db, until: EpochMs): Promise<void> {
  await db.query(`DELETE FROM settings WHERE key LIKE 'alert\\_mute:%' AND value COLLATE "C" <= $1`, [
    at(until),
  ]);
}

function muteKey(kind: AlertKind, subject: string | null): string {
  return `alert_mute:${kind}${subject === null ? '' : `:${subject}`}`;
}

/** Replaces what is open by this. */
export async function saveAlerts(db: Db, open: readonly AlertState[]): Promise<void> {
  await db.query(
    `WITH given AS (
       SELECT * FROM jsonb_to_recordset($1::jsonb) AS g (kind text, subject text, label text, detail text,
         value float8, since timestamptz, raised_at timestamptz, told_at timestamptz, better_since timestamptz)),
     gone AS (
       DELETE FROM alerts a
       WHERE NOT EXISTS (SELECT FROM given g WHERE g.kind = a.kind AND g.subject = a.subject))
     INSERT INTO alerts AS a (kind, subject, label, detail, value, since, raised_at, told_at, better_since)
     SELECT kind, subject, label, detail, value, since, raised_at, told_at, better_since FROM given
     ON CONFLICT (kind, subject) DO UPDATE SET label = EXCLUDED.label, detail = EXCLUDED.detail,
       value = EXCLUDED.value, since = EXCLUDED.since, raised_at = EXCLUDED.raised_at, told_at = EXCLUDED.told_at,
       better_since = EXCLUDED.better_since`,
    [
      JSON.stringify(
        open.map(({ kind, subject, label, detail, value, since, raisedAt, toldAt, betterSince }) => ({
          ...{ kind, subject, label, detail, value, since: at(since) },
          ...{ raised_at: at(raisedAt), told_at: at(toldAt), better_since: at(betterSince) },
        })),
      ),
    ],
  );
}

export type AlertMessage = {
  readonly id: string;
  readonly channel: string;
  readonly subject: string;
  readonly body: string;
};

/**
 * Puts an alert into the outbox, once for each road. The caller holds the watch, so the number is taken by no other;
 * should two hold it all the same, the unique index lets one of them through.
 */
export async function insertAlertMessages(
  db: Db,
  messages: readonly AlertMessage[],
  now: EpochMs,
): Promise<void> {
  await db.query(
    `INSERT INTO messages (company_id, id, purpose, recipient, step, channel, subject, body, due_at, created_at,
       updated_at)
     SELECT 0, id, 'alert', 'operator', (SELECT coalesce(max(step), 0) + 1 FROM messages WHERE purpose = 'alert'),
       channel, subject, body, $2, $2, $2
     FROM jsonb_to_recordset($1::jsonb) AS r (id uuid, channel text, subject text, body text)`,
    [JSON.stringify(messages), at(now)],
  );
}

/** Indexes: webhook_events_pending, messages_due, webhook_events_troubled, messages_dead. */
export async function readAlertDepths(db: Db, now: EpochMs): Promise<Depths> {
  const { rows } = await db.query<Depths>(
    `SELECT
       coalesce((SELECT extract(epoch FROM $1::timestamptz - min(created_at)) FROM webhook_events
         WHERE state = 'pending'), 0)::float8 AS "inboxSeconds",
       coalesce((SELECT extract(epoch FROM $1::timestamptz - min(due_at)) FROM messages
         WHERE state = 'due' AND due_at <= $1), 0)::float8 AS "outboxSeconds",
       (SELECT count(*) FROM webhook_events WHERE state = 'dead') AS "deadEvents",
       (SELECT count(*) FROM messages WHERE state = 'dead' AND purpose <> 'alert'
         AND updated_at > $1::timestamptz - interval '1 day') AS "deadMessages"`,
    [at(now)],
  );
  const [depths] = rows;
  if (depths === undefined) throw new Error('depths gave no row');
  return depths;
}

/** The companies that are active. */
export async function readCompanyNumbers(db: Db, now: EpochMs): Promise<CompanyNumbers[]> {
  const { rows } = await db.query<CompanyNumbers>(
    `SELECT c.company_id AS "companyId", c.title, c.zone, c.source <> 'poll' AS hooked,
       EXISTS (SELECT FROM sweeps b WHERE b.company_id = c.company_id AND b.kind = 'baseline'
         AND b.finished_at IS NOT NULL) AS imported,
       h.webhooks, h.missed, f.error AS "apiError", l.hour AS "lastHour"
     FROM companies c
     CROSS JOIN LATERAL (
       SELECT coalesce(sum(webhooks), 0)::int AS webhooks, coalesce(sum(missed - late), 0)::int AS missed
       FROM company_hours h WHERE h.company_id = c.company_id AND h.hour > $1::timestamptz - interval '24 hours') h
     LEFT JOIN LATERAL (
       SELECT error FROM sweeps s WHERE s.company_id = c.company_id AND s.error IS NOT NULL
       ORDER BY failures DESC, kind LIMIT 1) f ON true
     LEFT JOIN LATERAL (
       SELECT hour FROM company_hours h WHERE h.company_id = c.company_id AND h.webhooks > 0
       ORDER BY hour DESC LIMIT 1) l ON true
     WHERE c.removed_at IS NULL AND c.stopped_at IS NULL`,
    [at(now)],
  );
  return rows;
}

/** Of each company, the hours with webhooks in the four weeks before its last one. */
export async function readWebhookHours(
  db: Db,
  companies: readonly { readonly companyId: number; readonly lastHour: EpochMs }[],
): Promise<Map<number, EpochMs[]>> {
  if (companies.length === 0) return new Map();
  const { rows } = await db.query<{ companyId: number; hours: EpochMs[] }>(
    `SELECT h.company_id AS "companyId", array_agg((extract(epoch FROM h.hour) * 1000)::float8) AS hours
     FROM company_hours h
     JOIN unnest($1::int4[], $2::timestamptz[]) AS r (company_id, last) ON r.company_id = h.company_id
     WHERE h.webhooks > 0 AND h.hour > r.last - interval '28 days' AND h.hour <= r.last
     GROUP BY h.company_id`,
    [int4Array(companies.map(one => one.companyId)), companies.map(one => at(one.lastHour))],
  );
  return new Map(rows.map(({ companyId, hours }) => [companyId, hours]));
}

/**
 * Tries of the last 15 minutes that say something of the provider: a wrong address or a refused text is not its fault.
 * Our own alerts do not count, or one that cannot leave would keep its own alert alive. Index: attempts_finished_at.
 */
export async function readProviderNumbers(db: Db, now: EpochMs): Promise<ProviderNumbers[]> {
  const { rows } = await db.query<ProviderNumbers>(
    `SELECT channel, count(*) AS tries, count(*) FILTER (WHERE failed) AS failed,
       (array_agg(reason ORDER BY finished_at DESC) FILTER (WHERE failed))[1] AS reason
     FROM (
       SELECT channel, reason, finished_at, outcome IN ('retry', 'unknown') OR scope = 'channel' AS failed
       FROM attempts
       WHERE finished_at > $1::timestamptz - interval '15 minutes' AND company_id <> 0
         AND (scope IS NULL OR scope = 'channel')) a
     GROUP BY channel`,
    [at(now)],
  );
  return rows.map(row => ({ ...row, tries: Number(row.tries), failed: Number(row.failed) }));
}

/** What became of the newest alert that has ended, of each road. */
export async function readRoadNumbers(db: Db, now: EpochMs): Promise<RoadNumbers[]> {
  const { rows } = await db.query<RoadNumbers>(
    `SELECT channel, CASE WHEN state IN ('dead', 'failed') THEN coalesce(error, '') END AS "gaveUp",
       state IN ('sent', 'delivered') AND updated_at > $1::timestamptz - interval '15 minutes' AS "tookLately"
     FROM (
       SELECT DISTINCT ON (channel) channel, state, error, updated_at FROM (
         SELECT channel, state, error, updated_at, step FROM messages
         WHERE purpose = 'alert' AND state NOT IN ('due', 'sending') ORDER BY step DESC LIMIT 100) newest
       ORDER BY channel, step DESC) last`,
    [at(now)],
  );
  return rows;
}

/** Of these moments of telling, those whose message was given up on every road. */
export async function readUnheard(db: Db, toldAt: readonly EpochMs[]): Promise<Set<EpochMs>> {
  const { rows } = await db.query<{ toldAt: EpochMs }>(
    `SELECT created_at AS "toldAt" FROM messages
     WHERE purpose = 'alert' AND created_at = ANY($1::timestamptz[])
     GROUP BY created_at HAVING bool_and(state IN ('dead', 'failed', 'unknown'))`,
    [toldAt.map(at)],
  );
  return new Set(rows.map(row => row.toldAt));
}

/** What was refused within the last hour. */
export async function readRejects(db: Db, now: EpochMs): Promise<Rejects[]> {
  const { rows } = await db.query<Rejects>(
    `SELECT cause, sum(count)::int AS count FROM rejects WHERE minute > $1::timestamptz - interval '1 hour'
     GROUP BY cause`,
    [at(now)],
  );
  return rows;
}

/** Adds to the minute of `now`. In the order of causes, so that two callers cannot deadlock. */
export async function addRejects(db: Db, rejects: readonly Rejects[], now: EpochMs): Promise<void> {
  const sorted = [...rejects].sort((left, right) => (left.cause < right.cause ? -1 : 1));
  await db.query(
    `INSERT INTO rejects AS r (minute, cause, count)
     SELECT $3, cause, count FROM unnest($1::text[], $2::int4[]) AS g (cause, count)
     ON CONFLICT (minute, cause) DO UPDATE SET count = r.count + EXCLUDED.count`,
    [
      sorted.map(one => one.cause),
      int4Array(sorted.map(one => one.count)),
      at(Math.floor(now / 60_000) * 60_000),
    ],
  );
}

export async function forgetRejects(db: Db, before: EpochMs): Promise<void> {
  await db.query('DELETE FROM rejects WHERE minute < $1', [at(before)]);
}

/**
 * By kind, the place where most was odd on this day and the one before, if it was within a day: two days, so that the
 * number does not begin at nothing each midnight.
 */
export async function readDriftNumbers(db: Db, now: EpochMs): Promise<DriftNumbers[]> {
  const { rows } = await db.query<DriftNumbers>(
    `SELECT kind, max(latest_count + before_count)::float8 AS bodies FROM drift
     WHERE last_at > $1::timestamptz - interval '1 day' GROUP BY kind`,
    [at(now)],
  );
  return rows;
}
