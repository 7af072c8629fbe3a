/** Opens what every command and role stands on: the database (ours or yours), its schema, and the vault. */
import { randomBytes } from 'node:crypto';
import { link, open as openFile, readFile, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Config } from './config.ts';
import { type Log, PlainError } from './log.ts';
import { syncDirectory } from './store/directory.ts';
import { startEmbedded } from './store/embedded.ts';
import { migrate, SERVING } from './store/migrate.ts';
import { createPool, type Pool, troubleOf } from './store/pool.ts';
import { readSetting, settleSetting } from './store/settings.ts';
import { createVault, fingerprintOf, type Vault } from './vault.ts';

export type Opened = {
  readonly url: string;
  readonly pool: Pool;
  readonly vault: Vault;
  readonly embedded: boolean;
  /** Migrations applied just now. */
  readonly applied: readonly string[];
  /** May be called twice. */
  close(): Promise<void>;
};

const KEY_BYTES = 32;
const POOL_MAX = 16;
/** Generous: one statement of a batch takes some 50 ms, a view of a large table a second. */
const STATEMENT_TIMEOUT_MS = 30_000;

export type OpenOptions = {
  /** The name of its connections; that of a process that serves unless given. */
  readonly name?: string;
  /** Apply also migrations that older processes do not survive, though some run. */
  readonly insist?: boolean;
} & MakeOptions;

export type MakeOptions = {
  /** Make the embedded database where DATA_DIR has none; unless it is false. */
  readonly make?: boolean;
};

export async function open(
  config: Config,
  log: Log,
  { name = SERVING, insist = false, make = true }: OpenOptions = {},
): Promise<Opened> {
  const database = await openDatabase(config, log, { make });
  const { url } = database;
  const pool = createPool(url, { max: POOL_MAX, name, statementTimeoutMs: STATEMENT_TIMEOUT_MS });
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= pool.end().then(() => database.stop());
    return closing;
  };
  try {
    const { applied, refused } = await migrate(url, { insist });
    if (refused !== undefined) throw new PlainError(refused);
    const vault = await openVault(pool, await masterKey(config, pool), config.OTKLIK_KEY_OLD);
    return { url, pool, vault, embedded: config.DATABASE_URL === undefined, applied, close };
  } catch (error) {
    await close();
    throw plainly(url, error);
  }
}

/** Runs `work` on the database at `url`; that it cannot be reached, or lets us not in, is said plainly. */
export async function reachable<T>(url: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw plainly(url, error);
  }
}

/** The database as it is: nothing is migrated and nothing checked. */
export async function openDatabase(
  config: Config,
  log: Log,
  { make = true }: MakeOptions = {},
): Promise<{ url: string; stop(): Promise<void> }> {
  if (config.DATABASE_URL !== undefined) return { url: config.DATABASE_URL, stop: async () => {} };
  if (!make) await requireDatabase(config);
  return startEmbedded({
    dataDir: config.DATA_DIR,
    log: (event, fields) => log.info({ ...pick(fields), reason: event }, 'embedded PostgreSQL'),
  });
}

/**
 * Throws where DATA_DIR has no embedded database. A command that only reads was then started elsewhere, by cron say, and
 * a new empty database would be backed up, or called healthy, every day.
 */
export async function requireDatabase({ DATABASE_URL, DATA_DIR }: Config): Promise<void> {
  if (DATABASE_URL !== undefined) return;
  const missing = await stat(join(DATA_DIR, 'postgres')).then(
    () => false,
    (error: unknown) =>
      error instanceof Error && 'code' in error && /^(ENOENT|ENOTDIR)$/.test(String(error.code)),
  );
  if (!missing) return;
  throw new PlainError(
    `there is no database in DATA_DIR (${resolve(DATA_DIR)}): set it to the one that \`serve\` has, or DATABASE_URL; \`serve\`, \`migrate\` and \`company add\` make a new one`,
  );
}

function pick(fields: Record<string, unknown>): { pid?: number; port?: number } {
  const { pid, port } = fields;
  return { ...(typeof pid === 'number' ? { pid } : {}), ...(typeof port === 'number' ? { port } : {}) };
}

/** OTKLIK_KEY, or the key that was generated beside the embedded database; undefined when there is neither. */
export async function knownKey(config: Config): Promise<Buffer | undefined> {
  if (config.OTKLIK_KEY !== undefined || config.DATABASE_URL !== undefined) return config.OTKLIK_KEY;
  const file = join(config.DATA_DIR, 'otklik.key');
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const key = Buffer.from(text.trim(), 'base64');
  if (key.length === KEY_BYTES) return key;
  throw new PlainError(
    `${resolve(file)} holds no key of ${KEY_BYTES} bytes: put back the one that this database was set up with; delete the file if it was never set up`,
  );
}

/**
 * OTKLIK_KEY, or the key generated beside the embedded database. None is generated for a database that has one already,
 * which was restored or lost its file: whoever kept the new one would hold a key that opens nothing.
 */
export async function masterKey(config: Config, pool: Pool): Promise<Buffer> {
  if (config.OTKLIK_KEY !== undefined) return config.OTKLIK_KEY;
  if (config.DATABASE_URL !== undefined) {
    throw new PlainError(
      'OTKLIK_KEY must be set when DATABASE_URL is: make one with `openssl rand -base64 32` and keep it',
    );
  }
  const known = await knownKey(config);
  if (known !== undefined) return known;
  const file = join(config.DATA_DIR, 'otklik.key');
  if ((await readSetting(pool, 'key_fingerprint')) !== undefined) {
    throw new PlainError(
      `${resolve(file)} is not there, or not for us to read: put it back, or set OTKLIK_KEY to the key that this database was set up with`,
    );
  }
  await makeKey(file);
  return Buffer.from((await readFile(file, 'utf8')).trim(), 'base64');
}

/**
 * On the disk, whole, before it has its name, and before anything is sealed under it: no crash leaves half a key, or a
 * database whose key is lost. Of two who come at once the first stays.
 */
async function makeKey(file: string): Promise<void> {
  const draft = `${file}.${randomBytes(6).toString('hex')}`;
  const handle = await openFile(draft, 'wx', 0o600);
  try {
    await handle.writeFile(`${randomBytes(KEY_BYTES).toString('base64')}\n`);
    await handle.sync();
    await link(draft, file);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  } finally {
    await handle.close();
    await rm(draft);
  }
  await syncDirectory(dirname(file));
}

/**
 * The vault of this database. Refused with a key that is neither its own nor the next after `old`: every webhook URL
 * would be unknown, better to say so at once.
 */
export async function openVault(pool: Pool, masterKey: Buffer, old: Buffer | undefined): Promise<Vault> {
  const known = await settleSetting(pool, 'key_fingerprint', fingerprintOf(masterKey));
  const exchanging = old !== undefined && known === fingerprintOf(old);
  if (known !== fingerprintOf(masterKey) && !exchanging) {
    throw new PlainError(
      old === undefined
        ? 'OTKLIK_KEY is not the one this database was set up with; set the right one (to exchange it, set OTKLIK_KEY_OLD too)'
        : 'neither OTKLIK_KEY nor OTKLIK_KEY_OLD is the one this database was set up with; set the right one',
    );
  }
  const kept = await readSetting(pool, 'url_hashing_key');
  if (kept !== undefined) {
    const hashingKey = createVault(masterKey, { old }).open(Buffer.from(kept, 'base64'));
    return createVault(masterKey, { old, hashingKey });
  }
  const owner = createVault(exchanging ? old : masterKey);
  return createVault(masterKey, { old, hashingKey: owner.hashingKey });
}

/** What PostgreSQL answers to whom it does not let in, or cannot serve. Its own words name the user and the database. */
const REFUSALS: ReadonlyMap<string, string> = new Map([
  ['3D000', 'has no database of that name: create it, or correct DATABASE_URL'],
  ['28P01', 'refuses the user or the password: correct DATABASE_URL'],
  ['28000', 'refuses the user: correct DATABASE_URL, or let the user in (pg_hba.conf)'],
  ['42501', 'does not let this user make tables: make the user of DATABASE_URL the owner of the database'],
  [
    '53100',
    'has a full disk, and nothing was changed: free space where the database lies, then do this again',
  ],
]);

function plainly(url: string, cause: unknown): unknown {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const refusal = REFUSALS.get(code);
  if (refusal === undefined && troubleOf(cause) !== 'unavailable') return cause;
  const { hostname, port } = new URL(url);
  const place = `PostgreSQL at ${hostname}:${port || '5432'}`;
  if (refusal !== undefined) return new PlainError(`${place} ${refusal}`, { cause });
  const why = code === '' ? '' : ` (${code})`;
  return new PlainError(`${place} cannot be used${why}; check DATABASE_URL and that it is running`, {
    cause,
  });
}
