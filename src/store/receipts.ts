/** Receipts: what providers tell of messages they took. They may come twice, late, in any order, before we know the id. */
import type { ChannelName } from '../channels/channel.ts';
import type { Db } from './pool.ts';

export type NewReceipt = {
  readonly channel: ChannelName;
  readonly providerId: string;
  readonly status: 'delivered' | 'read' | 'failed';
  readonly reason: string;
  readonly happenedAt: number | null;
};

/** Keeps them; of several of one kind the first stays. A message that was sent is delivered by the first that says so. */
export async function saveReceipts(db: Db, receipts: readonly NewReceipt[]): Promise<void> {
  if (receipts.length === 0) return;
  await db.query({
    name: 'save_receipts',
    text: `
      WITH given AS (
        SELECT channel, provider_id, status, reason, happened_at
        FROM jsonb_to_recordset($1::jsonb) AS r (channel text, provider_id text, status text, reason text,
          happened_at timestamptz)
        ORDER BY channel, provider_id, status
      ), kept AS (
        INSERT INTO receipts (channel, provider_id, status, reason, happened_at) SELECT * FROM given
        ON CONFLICT DO NOTHING
      )
      UPDATE messages m SET state = 'delivered', updated_at = now()
      FROM given g JOIN attempts a ON a.channel = g.channel AND a.provider_id = g.provider_id
      WHERE g.status IN ('delivered', 'read') AND m.company_id = a.company_id AND m.id = a.message_id
        AND m.state = 'sent'`,
    values: [
      JSON.stringify(
        receipts.map(({ channel, providerId, status, reason, happenedAt }) => ({
          ...{ channel, status, reason },
          provider_id: providerId,
          happened_at: happenedAt === null ? null : new Date(happenedAt).toISOString(),
        })),
      ),
    ],
  });
}

/** A message was sent under this id: whatever was told of it before we knew the id counts now. */
export async function meetReceipts(
  db: Db,
  { companyId, id }: { readonly companyId: number; readonly id: string },
  { channel, providerId }: { readonly channel: ChannelName; readonly providerId: string },
): Promise<void> {
  await db.query({
    name: 'meet_receipts',
    text: `UPDATE messages SET state = 'delivered', updated_at = now()
      WHERE company_id = $1 AND id = $2 AND state = 'sent' AND EXISTS (
        SELECT FROM receipts WHERE channel = $3 AND provider_id = $4 AND status IN ('delivered', 'read'))`,
    values: [companyId, id, channel, providerId],
  });
}
