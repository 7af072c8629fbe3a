/** `backup` and `restore`. */
import { resolve } from 'node:path';
import { type BackupSecret, readPassphrase } from '../backup/key.ts';
import type { Manifest } from '../backup/manifest.ts';
import { restoreBackup, verifyBackup } from '../backup/read.ts';
import { type Progress, writeBackup } from '../backup/write.ts';
import type { Config } from '../config.ts';
import { createLog, PlainError } from '../log.ts';
import { knownKey, type MakeOptions, openDatabase, reachable, requireDatabase } from '../open.ts';
import { createVault } from '../vault.ts';
import { progressLine } from './progress.ts';
import { type Context, print } from './run.ts';

type Json = { readonly json?: boolean };
type BackupOptions = Json & { readonly keyFile?: string };

export async function backup({ config }: Context, given: string, options: BackupOptions): Promise<void> {
  const directory = resolve(given);
  await requireDatabase(config);
  const key = await requireKey(config);
  const secret: BackupSecret =
    options.keyFile === undefined
      ? { kind: 'OTKLIK_KEY', key }
      : { kind: 'passphrase', passphrase: await readPassphrase(options.keyFile) };
  const manifest = await withDatabase(
    config,
    url =>
      shown('backing up', onProgress =>
        writeBackup({
          ...{ url, directory, secret, onProgress },
          databaseKey: createVault(key).fingerprint,
        }),
      ),
    { make: false },
  );
  print(
    options,
    { directory, ...summary(manifest) },
    [
      `Backed up to ${directory}: ${describe(manifest)}, as they were at ${manifest.createdAt}.`,
      options.keyFile === undefined
        ? `It opens with ${keyName(config)} only: keep that elsewhere. A backup without it is lost.`
        : `It opens with the key file; its secrets and webhook URLs need ${keyName(config)} too. Keep both elsewhere.`,
    ].join('\n'),
  );
}

type RestoreOptions = BackupOptions & { readonly resume?: boolean };

export async function restore(
  { config }: Context,
  directory: string,
  options: RestoreOptions,
): Promise<void> {
  const key = await requireKey(config);
  const verified = await shown('checking', onProgress =>
    verifyBackup({
      directory,
      databaseKey: createVault(key).fingerprint,
      onProgress,
      secretFor: async kind => {
        if (kind === 'OTKLIK_KEY') return { kind, key };
        if (options.keyFile === undefined) {
          throw new PlainError('the backup was made with a key file: name it with --key-file');
        }
        return { kind, passphrase: await readPassphrase(options.keyFile) };
      },
    }),
  );
  const { applied } = await withDatabase(
    config,
    url =>
      shown('restoring', onProgress =>
        restoreBackup({
          url,
          backup: verified,
          quietUntil: options.resume ? undefined : Date.now(),
          onProgress,
        }),
      ),
    { make: true },
  );
  const { manifest } = verified;
  const held = options.resume
    ? 'Messages that were due will be sent.'
    : 'What happened before now counts as told: such messages end as `unknown` and are not sent.';
  print(
    options,
    { directory, ...summary(manifest), applied, resumed: options.resume ?? false },
    [
      `Restored ${describe(manifest)}, as they were at ${manifest.createdAt}.`,
      held,
      ...(config.ADMIN_TOKEN === undefined
        ? ['The API’s ADMIN_TOKEN is again that of the backup; one that was made here since is not valid.']
        : []),
      ...(config.OTKLIK_KEY === undefined
        ? []
        : ['`serve` needs this OTKLIK_KEY from now on: leave it set.']),
    ].join('\n'),
  );
}

/** Where who runs this finds the key; with the embedded database nobody has set an OTKLIK_KEY. */
export function keyName({ OTKLIK_KEY, DATA_DIR }: Pick<Config, 'OTKLIK_KEY' | 'DATA_DIR'>): string {
  return OTKLIK_KEY === undefined ? `the key in ${resolve(DATA_DIR, 'otklik.key')}` : 'OTKLIK_KEY';
}

async function requireKey(config: Config): Promise<Buffer> {
  const key = await knownKey(config);
  if (key !== undefined) return key;
  throw new PlainError(
    'OTKLIK_KEY must be set to the one that the backed-up database lives under, the text of its otklik.key',
  );
}

async function withDatabase<T>(
  config: Config,
  work: (url: string) => Promise<T>,
  options: MakeOptions,
): Promise<T> {
  const database = await openDatabase(config, createLog('silent'), options);
  try {
    return await reachable(database.url, () => work(database.url));
  } finally {
    await database.stop();
  }
}

function summary(manifest: Manifest): Record<string, unknown> {
  const rows = Object.fromEntries(manifest.tables.map(table => [table.name, table.rows]));
  const bytes = manifest.tables.reduce((sum, table) => sum + table.bytes, 0);
  return { createdAt: manifest.createdAt, bytes, rows };
}

function describe({ tables }: Manifest): string {
  const count = (name: string) => tables.find(table => table.name === name)?.rows ?? 0;
  const parts = ['webhook_events', 'bookings', 'messages'].map(
    name => `${count(name)} ${name.replace('webhook_', '')}`,
  );
  return parts.join(', ');
}

/** Does it with a line of progress, which is gone afterwards, also when it fails. */
async function shown<T>(doing: string, work: (onProgress: Progress) => Promise<T>): Promise<T> {
  const line = progressLine();
  try {
    return await work((table, bytes) => line.show(`${doing} ${table}: ${(bytes / 1e6).toFixed(1)} MB`));
  } finally {
    line.clear();
  }
}
