/**
 * What routes are chosen by: which provider tells of a company's messages, where a recipient was reached and where not,
 * and what was sent to them today. One function is one statement, none for nothing; rows are written in key order.
 */
import type { ChannelName, Reached } from '../domain/route.ts';
import { int4Array, textArray } from './binary.ts';
import type { Db } from './pool.ts';

type RecipientKey = { readonly companyId: number; readonly recipient: string };

export type ReachedRow = RecipientKey & Reached & { readonly day: string | null; readonly sent: number };

export async function findReached(db: Db, recipients: readonly RecipientKey[]): Promise<ReachedRow[]> {
  if (recipients.length === 0) return [];
  const { rows } = await db.query<ReachedRow>({
    name: 'find_reached',
    text: `SELECT company_id AS "companyId", recipient, channel, delivered_at AS "deliveredAt", failed_at AS "failedAt",
        to_char(day, 'YYYY-MM-DD') AS day, sent
      FROM reached WHERE (company_id, recipient) IN (SELECT * FROM unnest($1::int4[], $2::text[]))`,
    values: [
      int4Array(recipients.map(({ companyId }) => companyId)),
      textArray(recipients.map(({ recipient }) => recipient)),
    ],
  });
  return rows;
}

export type NotReached = RecipientKey & { readonly channel: string };

/** By the database's clock, as receipts are noted: which came last is what counts. */
export async function noteNotReached(db: Db, failures: readonly NotReached[]): Promise<void> {
  if (failures.length === 0) return;
  await db.query({
    name: 'note_not_reached',
    text: `INSERT INTO reached AS r (company_id, recipient, channel, failed_at)
      SELECT DISTINCT company_id, recipient, channel, now()
      FROM unnest($1::int4[], $2::text[], $3::text[]) AS f (company_id, recipient, channel) ORDER BY 1, 2, 3
      ON CONFLICT (company_id, recipient, channel) DO UPDATE SET failed_at = EXCLUDED.failed_at`,
    values: [
      int4Array(failures.map(({ companyId }) => companyId)),
      textArray(failures.map(({ recipient }) => recipient)),
      textArray(failures.map(({ channel }) => channel)),
    ],
  });
}

export type SentToday = RecipientKey & {
  readonly channel: ChannelName;
  /** In the salon's zone, `YYYY-MM-DD`. */
  readonly day: string;
};

export async function countSent(db: Db, sent: readonly SentToday[]): Promise<void> {
  if (sent.length === 0) return;
  await db.query({
    name: 'count_sent',
    text: `INSERT INTO reached AS r (company_id, recipient, channel, day, sent)
      SELECT company_id, recipient, channel, day::date, count(*)
      FROM unnest($1::int4[], $2::text[], $3::text[], $4::text[]) AS s (company_id, recipient, channel, day)
      GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
      ON CONFLICT (company_id, recipient, channel) DO UPDATE SET day = EXCLUDED.day,
        sent = EXCLUDED.sent + CASE WHEN r.day = EXCLUDED.day THEN r.sent ELSE 0 END`,
    values: [
      int4Array(sent.map(({ companyId }) => companyId)),
      textArray(sent.map(({ recipient }) => recipient)),
      textArray(sent.map(({ channel }) => channel)),
      textArray(sent.map(({ day }) => day)),
    ],
  });
}

export type ReceiptGiver = {
  readonly companyId: number;
  readonly channel: string;
  readonly provider: string;
  /** Messages in a row of which it told nothing in time; goes on in memory while a batch is judged. */
  silent: number;
};

const GIVERS = `SELECT company_id AS "companyId", channel, provider, silent FROM receipt_givers`;

export async function findReceiptGivers(db: Db, companyIds: readonly number[]): Promise<ReceiptGiver[]> {
  if (companyIds.length === 0) return [];
  const { rows } = await db.query<ReceiptGiver>({
    name: 'find_receipt_givers',
    text: `${GIVERS} WHERE company_id = ANY($1::int4[])`,
    values: [int4Array(companyIds)],
  });
  return rows;
}

/** The same, for whoever counts their silence: until the end of the transaction nobody else does. */
export async function lockReceiptGivers(db: Db, companyIds: readonly number[]): Promise<ReceiptGiver[]> {
  if (companyIds.length === 0) return [];
  const { rows } = await db.query<ReceiptGiver>({
    name: 'lock_receipt_givers',
    text: `${GIVERS} WHERE company_id = ANY($1::int4[])
      ORDER BY company_id, channel, provider FOR NO KEY UPDATE`,
    values: [int4Array(companyIds)],
  });
  return rows;
}

/** One more message each of which these told nothing. */
export async function countSilence(db: Db, silences: readonly Omit<ReceiptGiver, 'silent'>[]): Promise<void> {
  if (silences.length === 0) return;
  await db.query({
    name: 'count_silence',
    text: `UPDATE receipt_givers g SET silent = silent + s.count
      FROM (SELECT company_id, channel, provider, count(*) FROM unnest($1::int4[], $2::text[], $3::text[])
        AS r (company_id, channel, provider) GROUP BY 1, 2, 3) s
      WHERE g.company_id = s.company_id AND g.channel = s.channel AND g.provider = s.provider`,
    values: [
      int4Array(silences.map(({ companyId }) => companyId)),
      textArray(silences.map(({ channel }) => channel)),
      textArray(silences.map(({ provider }) => provider)),
    ],
  });
}
