/**
 * The one place that knows OTKLIK_KEY. Keys of webhook URLs are kept as keyed hashes (a stolen database gives no
 * working URL), secrets we must use ourselves are sealed with AES-256-GCM. Each use has its own key, derived by HKDF.
 *
 * OTKLIK_KEY can be exchanged: what is sealed is sealed anew. A hash cannot be made anew, as nobody has the URL keys; so
 * the hashing key of the first OTKLIK_KEY goes on, sealed among the settings. Known to somebody, it would still not
 * lead from a hash to a key of 256 random bits.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hkdfSync,
  randomBytes,
} from 'node:crypto';
import { PlainError } from './log.ts';

export type Vault = {
  /** The keyed hash, 32 bytes, under which a URL key is stored and looked up. */
  hashKey(urlKey: string): Buffer;
  /** The keyed hash, 32 bytes, by which an erased client is recognised. */
  hashClient(companyId: number, clientId: number): Buffer;
  /** The proof, 43 characters, that a link to answer this message was written by us. */
  proveLink(companyId: number, messageId: string): string;
  /** The proof, 22 characters, that a link into a chat was made by us for this client and is good until this day. */
  proveInvite(companyId: number, clientId: number, day: number): string;
  /** 43 characters in the address that we give to a provider of a channel for its receipts. */
  receiptSecret(provider: string, generation: number): string;
  /** The same of installations that gave one to all providers. */
  readonly sharedReceiptSecret: string;
  seal(secret: string): Buffer;
  /** Throws when the secret was sealed under another OTKLIK_KEY (and no old one that is known) or altered. */
  open(sealed: Buffer): string;
  /** Undefined in place of throwing: for one of many, so that one that cannot be opened stops nothing else. */
  tryOpen(sealed: Buffer): string | undefined;
  /** Tells two values of OTKLIK_KEY apart without saying anything about either. */
  readonly fingerprint: string;
  /** The hashing key as base64: to be kept, sealed, when OTKLIK_KEY is exchanged. */
  readonly hashingKey: string;
};

export type VaultOptions = {
  /** OTKLIK_KEY before the exchange that is under way: what is sealed under it can still be opened. */
  readonly old?: Buffer | undefined;
  /** `hashingKey` of an earlier vault; undefined: the one that belongs to `masterKey`. */
  readonly hashingKey?: string | undefined;
};

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** `masterKey` is the 32 bytes of OTKLIK_KEY. */
export function createVault(masterKey: Buffer, options: VaultOptions = {}): Vault {
  const hashingKey = options.hashingKey ?? derive(masterKey, 'url-key').toString('base64');
  const hashing = createSecretKey(hashingKey, 'base64');
  const sealingKey = derive(masterKey, 'seal');
  const openingKeys = [sealingKey, ...(options.old === undefined ? [] : [derive(options.old, 'seal')])];
  const tryOpen = (sealed: Buffer): string | undefined => {
    for (const key of openingKeys) {
      const secret = openWith(key, sealed);
      if (secret !== undefined) return secret;
    }
    return undefined;
  };

  return {
    hashKey: urlKey => createHmac('sha256', hashing).update(urlKey).digest(),
    // By the key that outlives an exchange of OTKLIK_KEY; no URL key begins so.
    hashClient: (companyId, clientId) =>
      createHmac('sha256', hashing).update(`erased client ${companyId}:${clientId}`).digest(),
    proveLink: (companyId, messageId) =>
      createHmac('sha256', hashing).update(`answer ${companyId}:${messageId}`).digest('base64url'),
    proveInvite: (companyId, clientId, day) =>
      createHmac('sha256', hashing)
        .update(`invite ${companyId}:${clientId}:${day}`)
        .digest('base64url')
        .slice(0, 22),
    receiptSecret: (provider, generation) =>
      createHmac('sha256', hashing).update(`receipts ${provider} ${generation}`).digest('base64url'),
    sharedReceiptSecret: createHmac('sha256', hashing).update('receipts').digest('base64url'),
    seal(secret) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', sealingKey, nonce);
      return Buffer.concat([nonce, cipher.update(secret, 'utf8'), cipher.final(), cipher.getAuthTag()]);
    },
    tryOpen,
    open(sealed) {
      const secret = tryOpen(sealed);
      if (secret !== undefined) return secret;
      throw new PlainError('a stored secret cannot be opened: OTKLIK_KEY is not the one it was stored under');
    },
    fingerprint: fingerprintOf(masterKey),
    hashingKey,
  };
}

function openWith(key: Buffer, sealed: Buffer): string | undefined {
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE_BYTES));
    decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
    const bytes = sealed.subarray(NONCE_BYTES, -TAG_BYTES);
    return decipher.update(bytes, undefined, 'utf8') + decipher.final('utf8');
  } catch {
    return undefined;
  }
}

export function fingerprintOf(masterKey: Buffer): string {
  return derive(masterKey, 'fingerprint').toString('hex').slice(0, 16);
}

function derive(masterKey: Buffer, use: string): Buffer {
  if (masterKey.length !== 32) throw new PlainError('OTKLIK_KEY must be 32 bytes, written as base64 or hex');
  return Buffer.from(hkdfSync('sha256', masterKey, '', `otklik ${use}`, 32));
}

/** 256 bits for a webhook URL, 43 characters that need no escaping. */
export function newUrlKey(): string {
  return randomBytes(32).toString('base64url');
}

/** A secret for signing, in the form Standard Webhooks prescribes. */
export function newSigningSecret(): string {
  return `whsec_${randomBytes(32).toString('base64')}`;
}
