/** How far a bot's updates were heard, and which process listens. One function is one statement. */
import type { Db } from './pool.ts';

export type EarKey = { readonly channel: string; readonly account: string };

/** Takes or renews the right to listen; answers from where to go on, or undefined while another process has it. */
export async function takeEar(
  db: Db,
  { channel, account }: EarKey,
  { owner, leaseMs }: { readonly owner: string; readonly leaseMs: number },
): Promise<number | undefined> {
  const { rows } = await db.query<{ position: number }>({
    name: 'take_ear',
    text: `
      INSERT INTO ears AS e (channel, account, leased_by, leased_until)
      VALUES ($1, $2, $3, now() + $4 * interval '1 millisecond')
      ON CONFLICT (channel, account) DO UPDATE SET leased_by = EXCLUDED.leased_by, leased_until = EXCLUDED.leased_until
      WHERE e.leased_by IS NOT DISTINCT FROM EXCLUDED.leased_by OR e.leased_until IS NULL OR e.leased_until < now()
      RETURNING position`,
    values: [channel, account, owner, leaseMs],
  });
  return rows[0]?.position;
}

/** Moves on, in the transaction that keeps what was heard. False: another process listens by now, so nothing may be kept. */
export async function moveEar(
  db: Db,
  { channel, account }: EarKey,
  { owner, position }: { readonly owner: string; readonly position: number },
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'move_ear',
    text: `UPDATE ears SET position = $4 WHERE channel = $1 AND account = $2 AND leased_by = $3 AND leased_until > now()`,
    values: [channel, account, owner, position],
  });
  return rowCount === 1;
}

export async function releaseEars(db: Db, owner: string): Promise<void> {
  await db.query('UPDATE ears SET leased_by = NULL, leased_until = NULL WHERE leased_by = $1', [owner]);
}
