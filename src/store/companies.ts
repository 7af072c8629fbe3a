/** Companies (a salon branch = a tenant), the keys of their webhook URLs and their secrets. */
import { type Policy, type PolicyDocument, policyOf } from '../domain/policy.ts';
import type { Member } from '../domain/team.ts';
import type { EpochMs } from '../domain/time.ts';
import { int4Array } from './binary.ts';
import type { Db } from './pool.ts';
import { TEAM_COLUMN } from './team.ts';

export type Locale = 'ru' | 'en';
export type Brand = 'yclients' | 'altegio';
/** Where changes come from. Webhooks are reconciled either way. */
export type ChangeSource = 'webhook' | 'poll' | 'both';
/** When a record event is settled by reading the record again. */
export type Verify = 'always' | 'doubt' | 'never';

export type Company = {
  readonly companyId: number;
  readonly title: string;
  /** IANA. */
  readonly zone: string;
  readonly brand: Brand;
  readonly locale: Locale;
  readonly phone: string;
  readonly address: string;
  readonly policy: Policy;
  /** Those of the salon who are told beside the clients; nobody, as a rule. */
  readonly team: readonly Member[];
  readonly route: readonly string[];
  readonly webhookUrl: string | null;
  readonly botApiPrefix: string | null;
  readonly signatureRequired: boolean;
  readonly source: ChangeSource;
  readonly verify: Verify;
  readonly sweepMs: number;
  readonly pollMs: number;
  /** The moment from which a booking made is news. */
  readonly knownSince: EpochMs;
  /** We have read from the platform's API for this company, so that a doubt can be settled there. */
  readonly apiUsable: boolean;
  readonly removed: boolean;
  /** The salon switched us off at the platform: nothing is received, read or sent until it connects again. */
  readonly stopped: boolean;
  /** What is no newer may have been told already, before a backup was restored; null: no backup was. */
  readonly quietUntil: EpochMs | null;
};

const COLUMNS = `company_id AS "companyId", title, zone, brand, locale, phone, address, route,
  webhook_url AS "webhookUrl", bot_api_prefix AS "botApiPrefix", signature_required AS "signatureRequired",
  source, verify, sweep_ms AS "sweepMs", poll_ms AS "pollMs", known_since AS "knownSince",
  EXISTS (SELECT FROM sweeps WHERE sweeps.company_id = companies.company_id) AS "apiUsable",
  removed_at IS NOT NULL AS removed, stopped_at IS NOT NULL AS stopped,
  quiet_until AS "quietUntil", ${TEAM_COLUMN},
  (SELECT document FROM policies p WHERE p.company_id = companies.company_id ORDER BY version DESC LIMIT 1)
    AS "policyDocument"`;

type CompanyRow = Omit<Company, 'policy'> & { readonly policyDocument: PolicyDocument | null };

function companyOf<Row extends CompanyRow>({
  policyDocument,
  ...rest
}: Row): Omit<Row, 'policyDocument'> & { readonly policy: Policy } {
  return { ...rest, policy: policyOf(policyDocument ?? {}) };
}

/** How a company's changes are read. */
export type Reading = Pick<Company, 'source' | 'verify' | 'sweepMs' | 'pollMs'>;

export type NewCompany = Omit<
  Company,
  | 'phone'
  | 'address'
  | 'removed'
  | 'stopped'
  | 'quietUntil'
  | 'knownSince'
  | 'apiUsable'
  | 'policy'
  | 'team'
  | keyof Reading
> &
  Partial<Reading> & {
    readonly policy?: PolicyDocument;
    /** Short for `settle.any` of the policy. */
    readonly settleMs?: number;
    /** Now, unless given: a booking made before is not news. */
    readonly knownSince?: EpochMs;
  };

/**
 * Adds a company, or brings one that was removed back with these settings. False when it is there already. Either way
 * it is a first contact: what was made before is not news, and its journal is to be read from the start.
 */
export async function insertCompany(db: Db, company: NewCompany): Promise<boolean> {
  const { rowCount } = await db.query(
    `WITH added AS (
       INSERT INTO companies AS c (company_id, title, zone, brand, locale, route, webhook_url, bot_api_prefix,
         signature_required, source, verify, sweep_ms, poll_ms, known_since)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, coalesce($10, 'webhook'), coalesce($11, 'doubt'),
         coalesce($12, 900000), coalesce($13, 60000), coalesce($14, now()))
       ON CONFLICT (company_id) DO UPDATE SET title = EXCLUDED.title, zone = EXCLUDED.zone, brand = EXCLUDED.brand,
         locale = EXCLUDED.locale, route = EXCLUDED.route,
         webhook_url = EXCLUDED.webhook_url, bot_api_prefix = EXCLUDED.bot_api_prefix,
         signature_required = EXCLUDED.signature_required, source = EXCLUDED.source, verify = EXCLUDED.verify,
         sweep_ms = EXCLUDED.sweep_ms, poll_ms = EXCLUDED.poll_ms, known_since = EXCLUDED.known_since,
         removed_at = NULL, stopped_at = NULL, stopped_because = NULL
       WHERE c.removed_at IS NOT NULL
       RETURNING company_id)
     INSERT INTO policies (company_id, version, document, actor)
     SELECT company_id, 1 + coalesce((SELECT max(version) FROM policies p WHERE p.company_id = added.company_id), 0),
       $15, 'company.add'
     FROM added`,
    [
      company.companyId,
      company.title,
      company.zone,
      company.brand,
      company.locale,
      company.route,
      company.webhookUrl,
      company.botApiPrefix,
      company.signatureRequired,
      company.source ?? null,
      company.verify ?? null,
      company.sweepMs ?? null,
      company.pollMs ?? null,
      company.knownSince === undefined ? null : new Date(company.knownSince).toISOString(),
      JSON.stringify(firstPolicy(company)),
    ],
  );
  return rowCount === 1;
}

function firstPolicy({ policy = {}, settleMs }: NewCompany): PolicyDocument {
  return settleMs === undefined ? policy : { ...policy, settle: { ...policy.settle, any: `${settleMs}ms` } };
}

/** Changes how a company's changes are read, where given. */
export async function setReading(db: Db, companyId: number, reading: Partial<Reading>): Promise<void> {
  await db.query(
    `UPDATE companies SET source = coalesce($2, source), verify = coalesce($3, verify),
       sweep_ms = coalesce($4, sweep_ms), poll_ms = coalesce($5, poll_ms)
     WHERE company_id = $1`,
    [
      companyId,
      reading.source ?? null,
      reading.verify ?? null,
      reading.sweepMs ?? null,
      reading.pollMs ?? null,
    ],
  );
}

/** What an operator says of a company; the platform's webhooks may say title and zone anew. */
export type Settings = Pick<Company, 'title' | 'zone' | 'locale' | 'route' | 'webhookUrl' | 'botApiPrefix'>;

export async function setSettings(db: Db, companyId: number, settings: Partial<Settings>): Promise<void> {
  const { webhookUrl, botApiPrefix } = settings;
  await db.query(
    `UPDATE companies SET title = coalesce($2, title), zone = coalesce($3, zone), locale = coalesce($4, locale),
       route = coalesce($5, route), webhook_url = CASE WHEN $6 THEN $7 ELSE webhook_url END,
       bot_api_prefix = CASE WHEN $8 THEN $9 ELSE bot_api_prefix END
     WHERE company_id = $1`,
    [
      companyId,
      settings.title ?? null,
      settings.zone ?? null,
      settings.locale ?? null,
      settings.route ?? null,
      // Null is a value of these two.
      ...[webhookUrl !== undefined, webhookUrl ?? null],
      ...[botApiPrefix !== undefined, botApiPrefix ?? null],
    ],
  );
}

/** A company that was polled gets webhooks now. Returns those that moved over by this. */
export async function moveToWebhooks(db: Db, companyIds: readonly number[]): Promise<number[]> {
  const { rows } = await db.query<{ companyId: number }>({
    name: 'move_to_webhooks',
    text: `UPDATE companies SET source = 'webhook' WHERE company_id = ANY($1::int4[]) AND source = 'poll'
      RETURNING company_id AS "companyId"`,
    values: [int4Array(companyIds)],
  });
  return rows.map(row => row.companyId);
}

export async function listCompanies(db: Db): Promise<Company[]> {
  const { rows } = await db.query<CompanyRow>(`SELECT ${COLUMNS} FROM companies ORDER BY company_id`);
  return rows.map(companyOf);
}

export async function findCompanies(db: Db, ids: readonly number[]): Promise<Map<number, Company>> {
  const { rows } = await db.query<CompanyRow>({
    name: 'find_companies',
    text: `SELECT ${COLUMNS} FROM companies WHERE company_id = ANY($1::int4[])`,
    values: [int4Array(ids)],
  });
  return new Map(rows.map(row => [row.companyId, companyOf(row)]));
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

export type StopCause = 'uninstall' | 'freeze';

/** Whether a company is switched off, and how: what `writeStanding` puts back. */
export type Standing = {
  readonly removedAt: EpochMs | null;
  readonly stoppedAt: EpochMs | null;
  readonly stoppedBecause: StopCause | null;
};

/** Undefined when there is no such company. Locks its row until the transaction ends. */
export async function lockStanding(db: Db, companyId: number): Promise<Standing | undefined> {
  const { rows } = await db.query<Standing>(
    `SELECT removed_at AS "removedAt", stopped_at AS "stoppedAt", stopped_because AS "stoppedBecause"
     FROM companies WHERE company_id = $1 FOR NO KEY UPDATE`,
    [companyId],
  );
  return rows[0];
}

/** Stops a company that is not stopped for this cause already; an uninstall outranks a freeze. */
export async function stopCompany(db: Db, companyId: number, because: StopCause): Promise<boolean> {
  const { rowCount } = await db.query(
    `UPDATE companies SET stopped_at = coalesce(stopped_at, now()), stopped_because = $2
     WHERE company_id = $1 AND (stopped_because IS NULL OR (stopped_because = 'freeze' AND $2 = 'uninstall'))`,
    [companyId, because],
  );
  return rowCount === 1;
}

/** A stopped or removed company works again with the settings it had. What was booked meanwhile is not news. */
export async function resumeCompany(db: Db, companyId: number): Promise<boolean> {
  const { rowCount } = await db.query(
    `UPDATE companies SET removed_at = NULL, stopped_at = NULL, stopped_because = NULL, known_since = now()
     WHERE company_id = $1 AND (removed_at IS NOT NULL OR stopped_at IS NOT NULL)`,
    [companyId],
  );
  return rowCount === 1;
}

export async function writeStanding(db: Db, companyId: number, standing: Standing): Promise<void> {
  await db.query(
    `UPDATE companies SET removed_at = to_timestamp($2 / 1000.0), stopped_at = to_timestamp($3 / 1000.0),
       stopped_because = $4
     WHERE company_id = $1`,
    [companyId, standing.removedAt, standing.stoppedAt, standing.stoppedBecause],
  );
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

/** What a URL key is for: a salon's events, or its texts where we are its SMS operator. */
export type KeyUse = 'events' | 'texts';

/** The company whose live key has this hash. Removed companies have no keys; those of a stopped one sleep. */
export async function findKey(db: Db, keyHash: Buffer, use: KeyUse = 'events'): Promise<LiveKey | undefined> {
  const { rows } = await db.query<CompanyRow & { expiresAt: EpochMs | null; sealedSecrets: Buffer[] }>({
    name: 'find_key',
    text: `SELECT k.expires_at AS "expiresAt", ${COLUMNS},
        ARRAY(SELECT sealed FROM company_secrets s WHERE s.company_id = companies.company_id AND purpose = 'inbound'
          AND (s.expires_at IS NULL OR s.expires_at > now())) AS "sealedSecrets"
      FROM company_keys k JOIN companies USING (company_id)
      WHERE key_hash = $1 AND use = $2 AND (k.expires_at IS NULL OR k.expires_at > now()) AND removed_at IS NULL
        AND stopped_at IS NULL`,
    values: [keyHash, use],
  });
  const [row] = rows;
  if (row === undefined) return undefined;
  const { expiresAt, sealedSecrets, ...company } = companyOf(row);
  return { expiresAt, company, sealedSecrets };
}

/**
 * Adds a key. Keys of that use that live already expire after `graceMs`, and only the newest of them is kept until
 * then, so that at most two are live. The caller holds the company's row locked, or has just added it.
 */
export async function addKey(
  db: Db,
  companyId: number,
  keyHash: Buffer,
  graceMs: number,
  use: KeyUse = 'events',
): Promise<void> {
  await db.query(
    `WITH old AS (
       SELECT key_hash, row_number() OVER (ORDER BY created_at DESC) AS age FROM company_keys
       WHERE company_id = $1 AND use = $4),
     dropped AS (
       DELETE FROM company_keys WHERE company_id = $1 AND key_hash IN (SELECT key_hash FROM old WHERE age > 1)),
     expiring AS (
       UPDATE company_keys SET expires_at = least(expires_at, now() + $3 * interval '1 millisecond')
       WHERE company_id = $1 AND key_hash IN (SELECT key_hash FROM old WHERE age = 1))
     INSERT INTO company_keys (company_id, key_hash, use, created_at) VALUES ($1, $2, $4, clock_timestamp())`,
    [companyId, keyHash, graceMs, use],
  );
}

/** Adds a key beside those that live, which stay as they are until `settleKey`. */
export async function putKey(db: Db, companyId: number, keyHash: Buffer): Promise<void> {
  await db.query('INSERT INTO company_keys (company_id, key_hash) VALUES ($1, $2)', [companyId, keyHash]);
}

/**
 * Adds a key that ends by itself. It counts as the oldest of its company, so that a rotation in that time takes this one
 * away and leaves those that are in use.
 */
export async function lendKey(db: Db, companyId: number, keyHash: Buffer, lifeMs: number): Promise<void> {
  await db.query(
    `INSERT INTO company_keys (company_id, key_hash, created_at, expires_at)
     VALUES ($1, $2, 'epoch', now() + $3 * interval '1 millisecond')`,
    [companyId, keyHash, lifeMs],
  );
}

/** The platform has this key: those before it live on for `graceMs` at most, for what is still under way to them. */
export async function settleKey(db: Db, companyId: number, keyHash: Buffer, graceMs: number): Promise<void> {
  await db.query(
    `UPDATE company_keys SET expires_at = least(expires_at, now() + $3 * interval '1 millisecond')
     WHERE company_id = $1 AND use = 'events'
       AND created_at < (SELECT created_at FROM company_keys WHERE key_hash = $2)`,
    [companyId, keyHash, graceMs],
  );
}

/** Ends every key of one use at once. False: there was none. */
export async function dropKeys(db: Db, companyId: number, use: KeyUse): Promise<boolean> {
  const { rowCount } = await db.query('DELETE FROM company_keys WHERE company_id = $1 AND use = $2', [
    companyId,
    use,
  ]);
  return (rowCount ?? 0) > 0;
}

export async function dropKey(db: Db, companyId: number, keyHash: Buffer): Promise<void> {
  await db.query('DELETE FROM company_keys WHERE company_id = $1 AND key_hash = $2', [companyId, keyHash]);
}

/** `user`: the platform's user token. */
export type SecretPurpose = 'inbound' | 'outbound' | 'user';

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
     INSERT INTO company_secrets (company_id, id, purpose, sealed, created_at)
     VALUES ($1, $2, $3, $4, clock_timestamp())`,
    [secret.companyId, secret.id, secret.purpose, secret.sealed, secret.graceMs],
  );
}

export async function dropSecrets(db: Db, companyId: number, purpose: SecretPurpose): Promise<void> {
  await db.query('DELETE FROM company_secrets WHERE company_id = $1 AND purpose = $2', [companyId, purpose]);
}

/** The live secrets of one purpose for each of these companies that has one, the newest first, sealed. */
export async function findSecrets(
  db: Db,
  companyIds: readonly number[],
  purpose: SecretPurpose,
): Promise<Map<number, readonly Buffer[]>> {
  const { rows } = await db.query<{ companyId: number; sealed: Buffer }>({
    name: 'find_secrets',
    text: `SELECT company_id AS "companyId", sealed FROM company_secrets
      WHERE company_id = ANY($1::int4[]) AND purpose = $2 AND (expires_at IS NULL OR expires_at > now())
      ORDER BY company_id, created_at DESC`,
    values: [int4Array(companyIds), purpose],
  });
  const byCompany = [...Map.groupBy(rows, row => row.companyId)];
  return new Map(byCompany.map(([companyId, own]) => [companyId, own.map(({ sealed }) => sealed)]));
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
