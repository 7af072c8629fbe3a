/** Settings of the installation, and what is sealed under OTKLIK_KEY as a whole. */
import type { Db } from './pool.ts';

/** When the last good backup was made, ISO 8601. */
export const LAST_BACKUP = 'last_backup';

export async function readSetting(db: Db, key: string): Promise<string | undefined> {
  const { rows } = await db.query<{ value: string }>('SELECT value FROM settings WHERE key = $1', [key]);
  return rows[0]?.value;
}

/** Writes a setting unless it is there; returns the value that holds. */
export async function settleSetting(db: Db, key: string, value: string): Promise<string> {
  await db.query('INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING', [
    key,
    value,
  ]);
  return (await readSetting(db, key)) ?? value;
}

export async function saveSetting(db: Db, key: string, value: string): Promise<void> {
  await db.query(
    'INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value',
    [key, value],
  );
}

/** Holds a setting until the transaction ends; undefined when it is not there. */
export async function lockSetting(db: Db, key: string): Promise<string | undefined> {
  const { rows } = await db.query<{ value: string }>('SELECT value FROM settings WHERE key = $1 FOR UPDATE', [
    key,
  ]);
  return rows[0]?.value;
}

/** Work of which there is one at a time, whichever process does it. */
export type Lease = { readonly key: string; readonly owner: string };

/** False: somebody else has it, and has not had it for longer than `leaseMs`. */
export async function takeLease(db: Db, { key, owner }: Lease, leaseMs: number): Promise<boolean> {
  const { rowCount } = await db.query(
    `INSERT INTO settings AS s (key, value)
     VALUES ($1, $2 || ' ' || extract(epoch FROM now() + $3 * interval '1 millisecond'))
     ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value
     WHERE split_part(s.value, ' ', 2)::numeric < extract(epoch FROM now())`,
    [key, owner, leaseMs],
  );
  return rowCount === 1;
}

export async function endLease(db: Db, { key, owner }: Lease): Promise<void> {
  await db.query(`DELETE FROM settings WHERE key = $1 AND split_part(value, ' ', 1) = $2`, [key, owner]);
}

export type SealedSecret = { readonly companyId: number; readonly id: string; readonly sealed: Buffer };

/** Every sealed secret of every company, expired ones too, held until the transaction ends. */
export async function lockSecrets(db: Db): Promise<SealedSecret[]> {
  const { rows } = await db.query<SealedSecret>(
    'SELECT company_id AS "companyId", id, sealed FROM company_secrets ORDER BY company_id, id FOR UPDATE',
  );
  return rows;
}

export async function replaceSecrets(db: Db, secrets: readonly SealedSecret[]): Promise<void> {
  await db.query(
    `UPDATE company_secrets AS s SET sealed = new.sealed
     FROM unnest($1::int4[], $2::uuid[], $3::bytea[]) AS new (company_id, id, sealed)
     WHERE s.company_id = new.company_id AND s.id = new.id`,
    [
      secrets.map(secret => secret.companyId),
      secrets.map(secret => secret.id),
      secrets.map(secret => secret.sealed),
    ],
  );
}
