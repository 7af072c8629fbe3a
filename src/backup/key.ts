/** The keys of one backup: from OTKLIK_KEY, or from a passphrase in a file. Each use has its own, by HKDF. */
import { createHmac, hkdfSync, scryptSync } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { PlainError } from '../log.ts';

/** What a backup is sealed with; `kind` is written into its manifest, the secret nowhere. */
export type BackupSecret =
  | { readonly kind: 'OTKLIK_KEY'; readonly key: Buffer }
  | { readonly kind: 'passphrase'; readonly passphrase: string };

export type BackupKeys = {
  /** The key of one file. */
  file(name: string): Buffer;
  /** 32 bytes, hex: that a manifest is the one that was written. */
  mac(text: string): string;
  /** Tells a wrong key from a damaged backup, and says nothing of either. */
  readonly check: string;
};

export const SALT_BYTES = 32;
/** 128 MiB and some 0.4 s a guess: a passphrase has less in it than a key. */
const SCRYPT = { N: 2 ** 17, r: 8, p: 1, maxmem: 256 * 2 ** 20 };
const PASSPHRASE_MIN = 12;

/** `salt` is new for each backup, so that no key ever seals twice. */
export function backupKeys(secret: BackupSecret, salt: Buffer): BackupKeys {
  const root =
    secret.kind === 'OTKLIK_KEY' ? secret.key : scryptSync(secret.passphrase.normalize(), salt, 32, SCRYPT);
  const derive = (use: string) => Buffer.from(hkdfSync('sha256', root, salt, `otklik backup 1 ${use}`, 32));
  return {
    file: name => derive(`file ${name}`),
    mac: text => createHmac('sha256', derive('manifest')).update(text).digest('hex'),
    check: derive('check').toString('hex').slice(0, 32),
  };
}

/** The passphrase in a file, without the line's end. */
export async function readPassphrase(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new PlainError(`the key file ${file} cannot be read`, { cause });
  });
  const passphrase = text.trim();
  if (passphrase.length < PASSPHRASE_MIN) {
    throw new PlainError(`the key file must hold at least ${PASSPHRASE_MIN} characters`);
  }
  return passphrase;
}
