/** Companies (a salon branch = a tenant), the keys of their webhook URLs and their secrets. */
import type { EpochMs } from '../domain/time.ts';
import { int4Array } from './binary.ts';
import type { Db } from './pool.ts';

export type Locale = 'ru' | 'en';
export type Brand = 'yclients' | 'altegio';

export type Company = {
  readonly companyId: number;
  readonly title: string;
  /** IANA. */
  readonly zone: string;
  readonly brand: Brand;
  readonly locale: Locale;
  readonly phone: string;
  readonly address: string;
  readonly settleMs: number;
  readonly route: readonly string[];
  readonly webhookUrl: string | null;
  readonly botApiPrefix: string | null;
  readonly signatureRequired: boolean;
  readonly removed: boolean;
  /** What is no newer may have been told already, before a backup was restored; null: no backup was. */
  readonly quietUntil: EpochMs | null;
};

const COLUMNS = `company_id AS "companyId", title, zone, brand, locale, phone, address, settle_ms AS "settleMs", route,
  webhook_url AS "webhookUrl", bot_api_prefix AS "botApiPrefix", signature_required AS "signatureRequired",
  removed_at IS NOT NULL AS removed, quiet_until AS "quietUntil"`;

export type NewCompany = Omit<Company, 'phone' | 'address' | 'removed' | 'quietUntil'>;

/** Adds a company, or brings one that was removed back with these settings. False when it is there already. */
export async function insertCompany(db: Db, company: NewCompany): Promise<boolean> {
  const { rowCount } = await db.query(
    `INSERT INTO companies AS c (company_id, title, zone, brand, locale, settle_ms, route, webhook_url, bot_api_prefix,
       signature_required)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
     ON CONFLICT (company_id) DO UPDATE SET title = EXCLUDED.title, zone = EXCLUDED.zone, brand = EXCLUDED.brand,
       locale = EXCLUDED.locale, settle_ms = EXCLUDED.settle_ms, route = EXCLUDED.route,
       webhook_url = EXCLUDED.webhook_url, bot_api_prefix = EXCLUDED.bot_api_prefix,
       signature_required = EXCLUDED.signature_required, removed_at = NULL
     WHERE c.removed_at IS NOT NULL`,
    [
      company.companyId,
      company.title,
      company.zone,
      company.brand,
      company.locale,
      company.settleMs,
      company.route,
      company.webhookUrl,
      company.botApiPrefix,
      company.signatureRequired,
    ],
  );
  return rowCount === 1;
}

export async function listCompanies(db: Db): Promise<Company[]> {
  const { rows } = await db.query<Company>(`SELECT ${COLUMNS} FROM companies ORDER BY company_id`);
  return rows;
}

export async function findCompanies(db: Db, ids: readonly number[]): Promise<Map<number, Company>> {
  const { rows } = await db.query<Company>({
    name: 'find_companies',
    text: `SELECT ${COLUMNS} FROM companies WHERE company_id = ANY($1::int4[])`,
    values: [int4Array(ids)],
  });
  return new Map(rows.map(row => [row.companyId, row]));
}

/** Stops a company: its keys die at once, its data stays. False when there is none. */
export async function removeCompany(db: Db, companyId: number): Promise<boolean> {
  const { rowCount } = await db.query(
    `WITH keys AS (DELETE FROM company_keys WHERE company_id = $1)
     UPDATE companies SET removed_at = now() WHERE company_id = $1 AND removed_at IS NULL`,
    [companyId],
  );
  return rowCount === 1;
}

/** What a `company` webhook says, where it says it. */
export type CompanyUpdate = {
  readonly title?: string;
  readonly zone?: string;
  readonly phone?: string;
  readonly address?: string;
};

export async function updateCompany(db: Db, companyId: number, update: CompanyUpdate): Promise<void> {
  await db.query(
    `UPDATE companies SET title = coalesce($2, title), zone = coalesce($3, zone), phone = coalesce($4, phone),
       address = coalesce($5, address)
     WHERE company_id = $1`,
    [companyId, update.title, update.zone, update.phone, update.address],
  );
}

export type LiveKey = {
  readonly expiresAt: EpochMs | null;
  readonly company: Company;
  /** Secrets with which the company's senders may sign, sealed. */
  readonly sealedSecrets: readonly Buffer[];
};

/** The company whose live key has this hash. Removed companies have no keys. */
export async function findKey(db: Db, keyHash: Buffer): Promise<LiveKey | undefined> {
  const { rows } = await db.query<Company & { expiresAt: EpochMs | null; sealedSecrets: Buffer[] }>({
    name: 'find_key',
    text: `SELECT k.expires_at AS "expiresAt", ${COLUMNS},
        ARRAY(SELECT sealed FROM company_secrets s WHERE s.company_id = c.company_id AND purpose = 'inbound'
          AND (s.expires_at IS NULL OR s.expires_at > now())) AS "sealedSecrets"
      FROM company_keys k JOIN companies c USING (company_id)
      WHERE key_hash = $1 AND (k.expires_at IS NULL OR k.expires_at > now()) AND removed_at IS NULL`,
    values: [keyHash],
  });
  const [row] = rows;
  if (row === undefined) return undefined;
  const { expiresAt, sealedSecrets, ...company } = row;
  return { expiresAt, company, sealedSecrets };
}

/**
 * Adds a key. Keys that live already expire after `graceMs`, and only the newest of them is kept until then, so that
 * at most two are live.
 */
export async function addKey(db: Db, companyId: number, keyHash: Buffer, graceMs: number): Promise<void> {
  await db.query(
    `WITH old AS (
       SELECT key_hash, row_number() OVER (ORDER BY created_at DESC) AS age FROM company_keys WHERE company_id = $1),
     dropped AS (
       DELETE FROM company_keys WHERE company_id = $1 AND key_hash IN (SELECT key_hash FROM old WHERE age > 1)),
     expiring AS (
       UPDATE company_keys SET expires_at = least(expires_at, now() + $3 * interval '1 millisecond')
       WHERE company_id = $1 AND key_hash IN (SELECT key_hash FROM old WHERE age = 1))
     INSERT INTO company_keys (company_id, key_hash) VALUES ($1, $2)`,
    [companyId, keyHash, graceMs],
  );
}

export type SecretPurpose = 'inbound' | 'outbound';

/** Adds a sealed secret with the same rule as `addKey`: two live at most. */
export async function addSecret(
  db: Db,
  secret: { companyId: number; id: string; purpose: SecretPurpose; sealed: Buffer; graceMs: number },
): Promise<void> {
  await db.query(
    `WITH old AS (
       SELECT id, row_number() OVER (ORDER BY created_at DESC) AS age FROM company_secrets
       WHERE company_id = $1 AND purpose = $3),
     dropped AS (
       DELETE FROM company_secrets WHERE company_id = $1 AND id IN (SELECT id FROM old WHERE age > 1)),
     expiring AS (
       UPDATE company_secrets SET expires_at = least(expires_at, now() + $5 * interval '1 millisecond')
       WHERE company_id = $1 AND id IN (SELECT id FROM old WHERE age = 1))
     INSERT INTO company_secrets (company_id, id, purpose, sealed) VALUES ($1, $2, $3, $4)`,
    [secret.companyId, secret.id, secret.purpose, secret.sealed, secret.graceMs],
  );
}

/** The newest live secret of one purpose for each of these companies that has one, sealed. */
export async function findNewestSecrets(
  db: Db,
  companyIds: readonly number[],
  purpose: SecretPurpose,
): Promise<Map<number, Buffer>> {
  const { rows } = await db.query<{ companyId: number; sealed: Buffer }>({
    name: 'find_newest_secrets',
    text: `SELECT DISTINCT ON (company_id) company_id AS "companyId", sealed FROM company_secrets
      WHERE company_id = ANY($1::int4[]) AND purpose = $2 AND (expires_at IS NULL OR expires_at > now())
      ORDER BY company_id, created_at DESC`,
    values: [int4Array(companyIds), purpose],
  });
  return new Map(rows.map(row => [row.companyId, row.sealed]));
}

/** Where a client can be reached on a channel that needs an address of its own. */
export async function saveAddress(
  db: Db,
  {
    companyId,
    clientId,
    channel,
    address,
  }: { companyId: number; clientId: number; channel: string; address: string },
): Promise<void> {
  await db.query(
    `INSERT INTO addresses (company_id, client_id, channel, address) VALUES ($1, $2, $3, $4)
     ON CONFLICT (company_id, client_id, channel) DO UPDATE SET address = EXCLUDED.address, created_at = now()`,
    [companyId, clientId, channel, address],
  );
}

/** Writes a line into the audit log. `subject` is an id, never a person's data or a secret. */
export async function audit(
  db: Db,
  line: { actor: string; action: string; companyId?: number; subject?: string },
): Promise<void> {
  await db.query('INSERT INTO audit_log (actor, action, company_id, subject) VALUES ($1, $2, $3, $4)', [
    line.actor,
    line.action,
    line.companyId ?? null,
    line.subject ?? '',
  ]);
}

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
