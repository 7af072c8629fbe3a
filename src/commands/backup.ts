/** `backup` and `restore`. */
import { resolve } from 'node:path';
import { type BackupSecret, readPassphrase } from '../backup/key.ts';
import type { Manifest } from '../backup/manifest.ts';
import { noteBackup } from '../backup/note.ts';
import { restoreBackup, type Verified, verifyBackup } from '../backup/read.ts';
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
  const { manifest, noted } = await withDatabase(
    config,
    async url => {
      const made = await shown('backing up', onProgress =>
        writeBackup({
          ...{ url, directory, secret, onProgress },
          databaseKey: createVault(key).fingerprint,
        }),
      );
      return { manifest: made, noted: await noteBackup(url, made.createdAt) };
    },
    { make: false },
  );
  print(
    options,
    { directory, ...summary(manifest), noted },
    [
      `Backed up to ${directory}: ${describe(manifest)}, as they were at ${manifest.createdAt}.`,
      options.keyFile === undefined
        ? `It opens with ${keyName(config)} only: keep that elsewhere. A backup without it is lost.`
        : `It opens with the key file; its secrets and webhook URLs need ${keyName(config)} too. Keep both elsewhere.`,
      ...(noted
        ? []
        : ['The database took no note of it: `doctor` and the alert of backups do not know of it.']),
    ].join('\n'),
  );
}

type RestoreOptions = BackupOptions & { readonly resume?: boolean; readonly check?: boolean };

export async function restore(
  { config }: Context,
  directory: string,
  options: RestoreOptions,
): Promise<void> {
  if (options.check) return check(config, directory, options);
  const verified = await verify(directory, options, await requireKey(config));
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

/** Looks through all of it, as `restore` does first. Of the key of its database it needs no more than what it was sealed with. */
async function check(config: Config, directory: string, options: BackupOptions): Promise<void> {
  const key = await knownKey(config);
  const { manifest } = await verify(directory, options, key);
  const { otklik, sealedWith, tables } = manifest;
  const { bytes, ...rest } = summary(manifest);
  const schema = manifest.schema.at(-1);
  const rows = tables.reduce((sum, table) => sum + table.rows, 0);
  const seal = sealedWith === 'OTKLIK_KEY' ? 'OTKLIK_KEY' : 'a key file';
  print(
    options,
    { directory, ...rest, bytes, otklik, schema, sealedWith },
    [
      `${directory} is whole: ${describe(manifest)}, as they were at ${manifest.createdAt}.`,
      `Made by Otklik ${otklik}, schema ${schema}: ${rows} rows in ${tables.length} tables, ${megabytes(bytes)}, sealed with ${seal}.`,
      ...(key === undefined
        ? ['Its secrets and webhook URLs need the OTKLIK_KEY of its database, which is not here to compare.']
        : []),
    ].join('\n'),
  );
}

function verify(directory: string, options: BackupOptions, key: Buffer | undefined): Promise<Verified> {
  return shown('checking', onProgress =>
    verifyBackup({
      directory,
      databaseKey: key && createVault(key).fingerprint,
      onProgress,
      secretFor: async kind => {
        if (kind === 'OTKLIK_KEY') return { kind, key: key ?? missingKey() };
        if (options.keyFile === undefined) {
          throw new PlainError('the backup was made with a key file: name it with --key-file');
        }
        return { kind, passphrase: await readPassphrase(options.keyFile) };
      },
    }),
  );
}

/** Where who runs this finds the key; with the embedded database nobody has set an OTKLIK_KEY. */
export function keyName({ OTKLIK_KEY, DATA_DIR }: Pick<Config, 'OTKLIK_KEY' | 'DATA_DIR'>): string {
  return OTKLIK_KEY === undefined ? `the key in ${resolve(DATA_DIR, 'otklik.key')}` : 'OTKLIK_KEY';
}

async function requireKey(config: Config): Promise<Buffer> {
  return (await knownKey(config)) ?? missingKey();
}

function missingKey(): never {
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

function summary(manifest: Manifest): {
  readonly createdAt: string;
  readonly bytes: number;
  readonly rows: Readonly<Record<string, number>>;
} {
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
    return await work((table, bytes) => line.show(`${doing} ${table}: ${megabytes(bytes)}`));
  } finally {
    line.clear();
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
