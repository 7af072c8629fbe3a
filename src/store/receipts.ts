/**
 * Receipts: what providers tell of messages they took. They may come twice, late, in any order, before we know the id.
 *
 * Each is kept under a digest of the provider's id: Meta's has the phone of whoever received the message in it, and a
 * receipt may come after they were erased, or of a message whose id never came. The attempt has the id itself, until then.
 */
import type { ChannelName } from '../channels/channel.ts';
import type { Db, Pool } from './pool.ts';

export type NewReceipt = {
  readonly channel: ChannelName;
  /** Who tells. */
  readonly provider: string;
  readonly providerId: string;
  readonly status: 'delivered' | 'read' | 'failed';
  readonly reason: string;
  readonly happenedAt: number | null;
};

/** What a receipt is kept under in place of the provider's id. */
export const digestOf = (id: string) => `encode(sha256(convert_to(${id}, 'UTF8')), 'hex')`;

/** Attempts with what was told of each. Earlier builds kept receipts under the id as it came, and one may run beside this. */
export const TOLD_ATTEMPTS = `attempts a JOIN receipts r ON r.channel = a.channel
  AND r.provider_id IN (${digestOf('a.provider_id')}, a.provider_id)`;

/**
 * What follows from receipts that have `met` attempts (company_id, message_id, number, channel, provider, status): the
 * message is delivered, whichever of its steps was told of; a failure of its latest step lets it fall at once; the
 * provider is known to tell; and a person whom another channel did not reach is known to have been reached by this one.
 */
const FOLLOWS = `
  givers AS (
    INSERT INTO receipt_givers (company_id, channel, provider)
    SELECT DISTINCT company_id, channel, provider FROM met WHERE provider IS NOT NULL AND NOT EXISTS (
      -- Known for a minute is known: the row is not to be locked by every receipt.
      SELECT FROM receipt_givers g WHERE g.company_id = met.company_id AND g.channel = met.channel
        AND g.provider = met.provider AND g.silent = 0 AND g.last_at > now() - interval '1 minute')
    ORDER BY 1, 2, 3
    ON CONFLICT (company_id, channel, provider) DO UPDATE SET last_at = now(), silent = 0
  ), reaching AS (
    INSERT INTO reached (company_id, recipient, channel, delivered_at)
    SELECT DISTINCT m.company_id, m.recipient, met.channel, now() FROM met
    JOIN messages m ON m.company_id = met.company_id AND m.id = met.message_id
    WHERE met.status <> 'failed' AND EXISTS (SELECT FROM reached r
      WHERE r.company_id = m.company_id AND r.recipient = m.recipient AND r.failed_at IS NOT NULL)
    ORDER BY 1, 2, 3
    ON CONFLICT (company_id, recipient, channel) DO UPDATE SET delivered_at = now()
  )
  UPDATE messages m SET state = CASE WHEN t.heard THEN 'delivered' ELSE m.state END,
    fall_at = CASE WHEN t.heard THEN NULL ELSE '-infinity'::timestamptz END, updated_at = now()
  FROM (SELECT company_id, message_id, bool_or(status <> 'failed') AS heard, max(number) AS number
    FROM met GROUP BY company_id, message_id) t
  WHERE m.company_id = t.company_id AND m.id = t.message_id
    AND (t.heard AND m.state IN ('sent', 'unknown')
      OR m.state = 'sent' AND m.attempts = t.number AND m.purpose NOT IN ('test', 'alert'))`;

const GIVEN = `
  given AS (
    SELECT channel, provider, provider_id, status, reason, happened_at
    FROM jsonb_to_recordset($1::jsonb) AS r (channel text, provider text, provider_id text, status text, reason text,
      happened_at timestamptz)
    ORDER BY channel, provider_id, status)`;

/**
 * Keeps them; of several of one kind the first stays. A message that was sent is delivered by the first that says so.
 *
 * They are kept for others to see before the attempts are looked at, as an attempt is before `meetReceipts` looks at them:
 * of the two that come at once the later sees the other. One statement, or a transaction, would look too early.
 */
export async function saveReceipts(pool: Pool, receipts: readonly NewReceipt[]): Promise<void> {
  if (receipts.length === 0) return;
  const values = [
    JSON.stringify(
      receipts.map(({ channel, provider, providerId, status, reason, happenedAt }) => ({
        ...{ channel, provider, status, reason },
        provider_id: providerId,
        happened_at: happenedAt === null ? null : new Date(happenedAt).toISOString(),
      })),
    ),
  ];
  await pool.query({
    name: 'keep_receipts',
    text: `
      WITH ${GIVEN}
      INSERT INTO receipts (channel, provider_id, status, reason, happened_at)
      SELECT channel, ${digestOf('provider_id')}, status, reason, happened_at FROM given
      ON CONFLICT DO NOTHING`,
    values,
  });
  await pool.query({
    name: 'meet_attempts',
    text: `
      WITH ${GIVEN}, met AS (
        SELECT a.company_id, a.message_id, a.number, a.channel, g.provider, g.status
        FROM given g JOIN attempts a USING (channel, provider_id)
      ), ${FOLLOWS}`,
    values,
  });
}

/** A message was sent: whatever was told of it before we knew the id, or while it was being sent again, counts now. */
export async function meetReceipts(
  db: Db,
  { companyId, id }: { readonly companyId: number; readonly id: string },
  { channel, provider }: { readonly channel: ChannelName; readonly provider: string },
): Promise<void> {
  await db.query({
    name: 'meet_receipts',
    text: `
      WITH met AS (
        SELECT a.company_id, a.message_id, a.number, a.channel, CASE WHEN a.channel = $3 THEN $4 END AS provider, r.status
        FROM ${TOLD_ATTEMPTS} WHERE a.company_id = $1 AND a.message_id = $2
      ), ${FOLLOWS}`,
    values: [companyId, id, channel, provider],
  });
}
