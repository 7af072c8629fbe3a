/** `backup` and `restore`. */
import { type BackupSecret, readPassphrase } from '../backup/key.ts';
import type { Manifest } from '../backup/manifest.ts';
import { restoreBackup, verifyBackup } from '../backup/read.ts';
import { type Progress, writeBackup } from '../backup/write.ts';
import type { Config } from '../config.ts';
import { createLog, PlainError } from '../log.ts';
import { knownKey, openDatabase, reachable } from '../open.ts';
import { createVault } from '../vault.ts';
import { type Context, print } from './run.ts';

type Json = { readonly json?: boolean };
type BackupOptions = Json & { readonly keyFile?: string };

/** How often the line of progress is written anew. */
const PROGRESS_MS = 200;

export async function backup({ config }: Context, directory: string, options: BackupOptions): Promise<void> {
  const key = await requireKey(config);
  const secret: BackupSecret =
    options.keyFile === undefined
      ? { kind: 'OTKLIK_KEY', key }
      : { kind: 'passphrase', passphrase: await readPassphrase(options.keyFile) };
  const progress = showProgress('backing up');
  const manifest = await withDatabase(config, url =>
    writeBackup({
      ...{ url, directory, secret },
      databaseKey: createVault(key).fingerprint,
      onProgress: progress.show,
    }),
  );
  progress.clear();
  print(
    options,
    { directory, ...summary(manifest) },
    [
      `Backed up to ${directory}: ${describe(manifest)}, as they were at ${manifest.createdAt}.`,
      options.keyFile === undefined
        ? 'It opens with OTKLIK_KEY only: keep that elsewhere. A backup without it is lost.'
        : 'It opens with the key file; its secrets and webhook URLs need OTKLIK_KEY too. Keep both elsewhere.',
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
  const progress = showProgress('checking');
  const verified = await verifyBackup({
    directory,
    databaseKey: createVault(key).fingerprint,
    onProgress: progress.show,
    secretFor: async kind => {
      if (kind === 'OTKLIK_KEY') return { kind, key };
      if (options.keyFile === undefined) {
        throw new PlainError('the backup was made with a key file: name it with --key-file');
      }
      return { kind, passphrase: await readPassphrase(options.keyFile) };
    },
  });
  const restoring = showProgress('restoring');
  const { applied } = await withDatabase(config, url =>
    restoreBackup({
      url,
      backup: verified,
      quietUntil: options.resume ? undefined : Date.now(),
      onProgress: restoring.show,
    }),
  );
  restoring.clear();
  const { manifest } = verified;
  const held = options.resume
    ? 'Messages that were due will be sent.'
    : 'What happened before now counts as told: such messages end as `unknown` and are not sent.';
  print(
    options,
    { directory, ...summary(manifest), applied, resumed: options.resume ?? false },
    `Restored ${describe(manifest)}, as they were at ${manifest.createdAt}.\n${held}`,
  );
}

async function requireKey(config: Config): Promise<Buffer> {
  const key = await knownKey(config);
  if (key !== undefined) return key;
  throw new PlainError('OTKLIK_KEY must be set to the one that the backed-up database lives under');
}

async function withDatabase<T>(config: Config, work: (url: string) => Promise<T>): Promise<T> {
  const database = await openDatabase(config, createLog('silent'));
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

/** One line that is written over, on a terminal only. */
function showProgress(doing: string): { readonly show: Progress; clear(): void } {
  const { stderr } = process;
  let last = 0;
  return {
    show(table, bytes) {
      if (!stderr.isTTY || Date.now() - last < PROGRESS_MS) return;
      last = Date.now();
      stderr.write(`\r\u001b[K${doing} ${table}: ${(bytes / 1e6).toFixed(1)} MB`);
    },
    clear() {
      if (stderr.isTTY && last > 0) stderr.write('\r\u001b[K');
    },
  };
}
