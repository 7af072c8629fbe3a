/**
 * Restoring: the whole backup is verified before the database is touched, then everything happens in one transaction:
 * the schema as the backup had it, the rows, nobody's leases, and the migrations since.
 */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import type { EpochMs } from '../domain/time.ts';
import { PlainError } from '../log.ts';
import { type CopyClient, inOneTransaction, listTables, writeTable } from '../store/copy.ts';
import { applyMigrations, knownMigrations } from '../store/migrate.ts';
import {
  dropOwnership,
  hush,
  makeSchema,
  orderOfTables,
  raiseSequences,
  whyNotFresh,
} from '../store/restore.ts';
import type { BackupKeys, BackupSecret } from './key.ts';
import { type BackupTable, type Manifest, readManifest } from './manifest.ts';
import { DamagedError, opening } from './seal.ts';
import { createMeter, MOVE_LIMIT_MS, NOT_COPIED, type Progress } from './write.ts';

/** A backup of which every byte was looked at. */
export type Verified = {
  readonly directory: string;
  readonly manifest: Manifest;
  readonly keys: BackupKeys;
};

export type VerifyRequest = {
  readonly directory: string;
  readonly secretFor: (kind: BackupSecret['kind']) => Promise<BackupSecret>;
  /** Fingerprint of the OTKLIK_KEY at hand; undefined: none is, and whether the backup needs another is not looked at. */
  readonly databaseKey: string | undefined;
  readonly onProgress?: Progress;
};

/** Reads all of it, writes nothing. Throws a `PlainError` that says what is wrong. */
export async function verifyBackup(request: VerifyRequest): Promise<Verified> {
  const { directory, secretFor, databaseKey, onProgress } = request;
  const { manifest, keys } = await readManifest(directory, secretFor);
  if (databaseKey !== undefined && manifest.databaseKey !== databaseKey) {
    throw new PlainError(
      'the backup is of a database that lives under another OTKLIK_KEY: set that one, or its secrets are lost',
    );
  }
  const known = knownMigrations();
  const newer = manifest.schema.filter(name => !known.includes(name));
  if (newer.length > 0) {
    throw new PlainError(
      `the backup is of a newer version (${manifest.otklik}, ${newer.join(', ')}): update first, then restore`,
    );
  }
  for (const table of manifest.tables) {
    const nothing = new Writable({ write: (_part, _encoding, done) => done() });
    await readFile({ directory, keys, table, into: nothing, onProgress });
  }
  return { directory, manifest, keys };
}

/** Streams a table's file, decrypted and unpacked. Any difference to the manifest ends it with a `PlainError`. */
async function readFile(from: {
  readonly directory: string;
  readonly keys: BackupKeys;
  readonly table: BackupTable;
  readonly into: Writable;
  readonly onProgress: Progress | undefined;
}): Promise<void> {
  const { directory, keys, table, into, onProgress } = from;
  const path = join(directory, table.file);
  const size = (await stat(path).catch(() => undefined))?.size;
  if (size === undefined) throw new PlainError(`${table.file} is missing from the backup`);
  if (size !== table.bytes) throw damaged(table);
  const meter = createMeter(bytes => onProgress?.(table.name, bytes));
  try {
    await pipeline(
      createReadStream(path),
      meter.stream,
      opening(keys.file(table.file)),
      createGunzip(),
      into,
      {
        signal: AbortSignal.timeout(MOVE_LIMIT_MS),
      },
    );
  } catch (cause) {
    if (isDamage(cause)) throw damaged(table, cause);
    throw cause;
  }
  if (meter.total().sha256 !== table.sha256) throw damaged(table);
}

/** What the bytes are to blame for, as opposed to the database, the disk or the time. */
function isDamage(error: unknown): boolean {
  if (error instanceof DamagedError) return true;
  return error instanceof Error && 'code' in error && String(error.code).startsWith('Z_');
}

function damaged(table: BackupTable, cause?: unknown): PlainError {
  return new PlainError(`${table.file} is damaged or was altered; nothing was restored`, { cause });
}

export type RestoreRequest = {
  readonly url: string;
  readonly backup: Verified;
  /** The moment up to which what happened may have been told already; undefined: nothing was told since the backup. */
  readonly quietUntil: EpochMs | undefined;
  readonly onProgress?: Progress;
};

/** All or nothing. Throws a `PlainError` when the database is not empty. Returns the migrations applied on top. */
export async function restoreBackup(
  request: RestoreRequest,
): Promise<{ readonly applied: readonly string[] }> {
  return { applied: await inOneTransaction(request.url, client => fill(client, request)) };
}

async function fill(client: CopyClient, request: RestoreRequest): Promise<readonly string[]> {
  const { manifest, directory, keys } = request.backup;
  const reason = await whyNotFresh(client);
  if (reason !== undefined) {
    throw new PlainError(`the database is in use: ${reason}. Restore into an empty one`);
  }
  await makeSchema(client, manifest.schema);
  const shapes = new Map((await listTables(client)).map(table => [table.name, table]));
  const byName = new Map(manifest.tables.map(table => [table.name, table]));
  for (const name of await orderOfTables(client)) {
    if (name === NOT_COPIED) continue;
    const table = byName.get(name);
    const columns = new Set(shapes.get(name)?.columns);
    if (table === undefined || table.columns.some(column => !columns.has(column))) {
      throw new PlainError(`the backup does not fit its own schema level: table ${name}`);
    }
    const { stream, rows } = writeTable(client, table);
    await readFile({ directory, keys, table, into: stream, onProgress: request.onProgress });
    if (rows() !== table.rows) throw new PlainError(`${name}: ${rows()} rows instead of ${table.rows}`);
  }
  await raiseSequences(client);
  // The database was found free of rows and of services.
  const { applied } = await applyMigrations(client, { insist: true });
  await dropOwnership(client);
  if (request.quietUntil !== undefined) await hush(client, request.quietUntil);
  return applied;
}
