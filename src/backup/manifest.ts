/** What a backup says of itself: `manifest.json`, readable without the key, unchangeable without it. No secrets. */
import { timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { PlainError } from '../log.ts';
import { type BackupKeys, type BackupSecret, backupKeys, SALT_BYTES } from './key.ts';

/** Of the files. Another number is another reader. */
export const FORMAT = 1;
export const MANIFEST = 'manifest.json';
const MANIFEST_LIMIT = 1 << 20;

const name = z.string().regex(/^[a-z_][a-z0-9_]{0,62}$/);
const hex = (bytes: number) => z.string().regex(new RegExp(`^[0-9a-f]{${bytes * 2}}$`));

const schema = z.strictObject({
  format: z.literal(FORMAT),
  /** Version of Otklik that wrote it. */
  otklik: z.string(),
  /** The moment of the cut: everything committed before it is in the backup, nothing after. */
  createdAt: z.string(),
  /** Migrations the database had. */
  schema: z.array(z.string().regex(/^\d{4}_[a-z0-9_]+\.sql$/)).min(1),
  sealedWith: z.enum(['OTKLIK_KEY', 'passphrase']),
  salt: hex(SALT_BYTES),
  keyCheck: hex(16),
  /** Which OTKLIK_KEY the database lives under: its secrets and webhook URLs work with no other. */
  databaseKey: z.string(),
  tables: z.array(
    z.strictObject({
      name,
      columns: z.array(name).min(1),
      rows: z.number().int().min(0),
      file: z.string().regex(/^[a-z_][a-z0-9_]{0,62}\.copy\.gz\.sealed$/),
      bytes: z.number().int().min(0),
      /** Of the file as it lies there. */
      sha256: hex(32),
    }),
  ),
});

export type Manifest = z.infer<typeof schema>;
export type BackupTable = Manifest['tables'][number];

/** The text of the file, with the mark that it is ours. */
export function writeManifest(manifest: Manifest, keys: BackupKeys): string {
  const mac = keys.mac(JSON.stringify(manifest));
  return `${JSON.stringify({ ...manifest, mac }, null, 2)}\n`;
}

/** Reads and authenticates. Throws a `PlainError` that tells no backup, other format, wrong key and altered apart. */
export async function readManifest(
  directory: string,
  secretFor: (kind: BackupSecret['kind']) => Promise<BackupSecret>,
): Promise<{ readonly manifest: Manifest; readonly keys: BackupKeys }> {
  const { mac, ...rest } = await load(directory);
  if (rest.format !== undefined && rest.format !== FORMAT) {
    throw new PlainError(`the backup has format ${String(rest.format)}; this version reads ${FORMAT}`);
  }
  const parsed = schema.safeParse(rest);
  if (!parsed.success || typeof mac !== 'string') throw altered();
  const manifest = parsed.data;
  const keys = backupKeys(await secretFor(manifest.sealedWith), Buffer.from(manifest.salt, 'hex'));
  if (!same(keys.check, manifest.keyCheck)) {
    const which = manifest.sealedWith === 'OTKLIK_KEY' ? 'this OTKLIK_KEY' : 'this passphrase';
    throw new PlainError(`the backup was not made with ${which}`);
  }
  if (!same(keys.mac(JSON.stringify(rest)), mac)) throw altered();
  return { manifest, keys };
}

async function load(directory: string): Promise<Record<string, unknown>> {
  const bytes = await readFile(join(directory, MANIFEST)).catch((cause: unknown) => {
    throw new PlainError(`${directory} is not a backup: it has no readable ${MANIFEST}`, { cause });
  });
  if (bytes.length > MANIFEST_LIMIT) throw altered();
  try {
    return z.record(z.string(), z.unknown()).parse(JSON.parse(bytes.toString('utf8')));
  } catch {
    throw altered();
  }
}

function altered(): PlainError {
  return new PlainError(`${MANIFEST} is damaged or was altered; nothing was restored`);
}

function same(left: string, right: string): boolean {
  const [one, other] = [Buffer.from(left), Buffer.from(right)];
  return one.length === other.length && timingSafeEqual(one, other);
}
