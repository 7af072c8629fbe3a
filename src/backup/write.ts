/**
 * Writing a backup: one snapshot of all tables, each table one sealed file, then the manifest. It is made beside its
 * place under a temporary name and appears whole, synced, or not at all.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdtemp, open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { PlainError } from '../log.ts';
import { type CopyClient, inSnapshot, readCut, readTable, type TableShape } from '../store/copy.ts';
import { makeDirectory, syncDirectory } from '../store/directory.ts';
import { VERSION } from '../version.ts';
import { type BackupKeys, type BackupSecret, backupKeys, SALT_BYTES } from './key.ts';
import { type BackupTable, FORMAT, MANIFEST, type Manifest, writeManifest } from './manifest.ts';
import { sealing } from './seal.ts';

/** Longer than any backup that is worth waiting for; a hanging database must not hold its old rows for ever. */
export const MOVE_LIMIT_MS = 12 * 60 * 60_000;
/** Webhook bodies shrink to a fifth at this level; higher ones cost more than the disk they save. */
const GZIP = { level: 3 };

/** The migrations have a place of their own in the manifest. */
export const NOT_COPIED = 'migrations';

/** `bytes` of the table's file so far. */
export type Progress = (table: string, bytes: number) => void;

export type BackupRequest = {
  readonly url: string;
  readonly directory: string;
  readonly secret: BackupSecret;
  /** Fingerprint of the OTKLIK_KEY at hand: a backup whose secrets nobody could open is refused. */
  readonly databaseKey: string;
  readonly onProgress?: Progress;
};

/** Throws a `PlainError` when the place is taken or the key is not the database's. */
export async function writeBackup(request: BackupRequest): Promise<Manifest> {
  const place = resolve(request.directory);
  await refuseTaken(place);
  const draft = await makeDraft(place).catch((error: unknown) => {
    throw plainly(error, place);
  });
  try {
    const manifest = await fill(draft, request);
    await syncDirectory(draft);
    await rename(draft, place);
    await syncDirectory(dirname(place));
    return manifest;
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    throw plainly(error, place);
  }
}

/** mkdtemp makes it 0700: bodies of people are in there, sealed or not. */
async function makeDraft(place: string): Promise<string> {
  await makeDirectory(dirname(place));
  return mkdtemp(join(dirname(place), `.${basename(place)}.partial-`));
}

/** What the disk is to blame for, said without a stack. */
function plainly(error: unknown, place: string): unknown {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (!/^(ENOSPC|EDQUOT|EACCES|EPERM|EROFS|EIO|ENOENT|ENOTDIR|EEXIST|ENAMETOOLONG)$/.test(code)) return error;
  return new PlainError(`the backup cannot be written to ${place} (${code})`, { cause: error });
}

async function refuseTaken(place: string): Promise<void> {
  const found = await stat(place).catch(() => undefined);
  if (found !== undefined)
    throw new PlainError(`${place} is there already; a backup gets a directory of its own`);
}

async function fill(draft: string, request: BackupRequest): Promise<Manifest> {
  const salt = randomBytes(SALT_BYTES);
  const keys = backupKeys(request.secret, salt);
  const read = await inSnapshot(request.url, async (client, tables) => {
    const cut = await readCut(client);
    if (cut.databaseKey !== null && cut.databaseKey !== request.databaseKey) {
      throw new PlainError('OTKLIK_KEY is not the one this database was set up with; set the right one');
    }
    const written: BackupTable[] = [];
    for (const table of tables.filter(({ name }) => name !== NOT_COPIED)) {
      written.push(await writeTable(client, { draft, table, keys, onProgress: request.onProgress }));
    }
    return { cut, written };
  });
  if (read === undefined) throw new PlainError('the database was never set up: there is nothing to back up');
  const manifest: Manifest = {
    format: FORMAT,
    otklik: VERSION,
    createdAt: read.cut.at,
    schema: [...read.cut.migrations],
    sealedWith: request.secret.kind,
    salt: salt.toString('hex'),
    keyCheck: keys.check,
    databaseKey: request.databaseKey,
    tables: read.written,
  };
  await writeSynced(join(draft, MANIFEST), writeManifest(manifest, keys));
  return manifest;
}

async function writeTable(
  client: CopyClient,
  work: {
    readonly draft: string;
    readonly table: TableShape;
    readonly keys: BackupKeys;
    readonly onProgress: Progress | undefined;
  },
): Promise<BackupTable> {
  const { draft, table, keys, onProgress } = work;
  const file = `${table.name}.copy.gz.sealed`;
  const meter = createMeter(bytes => onProgress?.(table.name, bytes));
  const { stream, rows } = readTable(client, table);
  await pipeline(
    stream,
    createGzip(GZIP),
    sealing(keys.file(file)),
    meter.stream,
    createWriteStream(join(draft, file), { flags: 'wx', mode: 0o600, flush: true }),
    { signal: AbortSignal.timeout(MOVE_LIMIT_MS) },
  );
  const { name, columns } = table;
  return { name, columns: [...columns], rows: await rows(), file, ...meter.total() };
}

/** Hands bytes on as they are, counted and digested. `total` is asked once, when all have passed. */
export function createMeter(onBytes: (soFar: number) => void): {
  readonly stream: Transform;
  total(): { readonly bytes: number; readonly sha256: string };
} {
  const digest = createHash('sha256');
  let bytes = 0;
  const stream = new Transform({
    transform(part: Buffer, _encoding, done) {
      digest.update(part);
      bytes += part.length;
      onBytes(bytes);
      done(null, part);
    },
  });
  return { stream, total: () => ({ bytes, sha256: digest.digest('hex') }) };
}

async function writeSynced(path: string, text: string): Promise<void> {
  const handle = await open(path, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}
