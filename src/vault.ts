/**
 * The one place that knows OTKLIK_KEY. Keys of webhook URLs are kept as keyed hashes (a stolen database gives no
 * working URL), secrets we must use ourselves are sealed with AES-256-GCM. Each use has its own key, derived by HKDF.
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
  seal(secret: string): Buffer;
  /** Throws when the secret was sealed under another OTKLIK_KEY or altered. */
  open(sealed: Buffer): string;
  /** Tells two values of OTKLIK_KEY apart without saying anything about either. */
  readonly fingerprint: string;
};

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** `masterKey` is the 32 bytes of OTKLIK_KEY. */
export function createVault(masterKey: Buffer): Vault {
  if (masterKey.length !== 32) throw new PlainError('OTKLIK_KEY must be 32 bytes, written as base64 or hex');
  const derive = (use: string) => Buffer.from(hkdfSync('sha256', masterKey, '', `otklik ${use}`, 32));
  const hashingKey = createSecretKey(derive('url-key'));
  const erasedKey = createSecretKey(derive('erased-client'));
  const sealingKey = derive('seal');

  return {
    hashKey: urlKey => createHmac('sha256', hashingKey).update(urlKey).digest(),
    hashClient: (companyId, clientId) =>
      createHmac('sha256', erasedKey).update(`${companyId}:${clientId}`).digest(),
    seal(secret) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', sealingKey, nonce);
      return Buffer.concat([nonce, cipher.update(secret, 'utf8'), cipher.final(), cipher.getAuthTag()]);
    },
    open(sealed) {
      const decipher = createDecipheriv('aes-256-gcm', sealingKey, sealed.subarray(0, NONCE_BYTES));
      decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
      try {
        return (
          decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES), undefined, 'utf8') +
          decipher.final('utf8')
        );
      } catch {
        throw new PlainError(
          'a stored secret cannot be opened: OTKLIK_KEY is not the one it was stored under',
        );
      }
    },
    fingerprint: derive('fingerprint').toString('hex').slice(0, 16),
  };
}

/** 256 bits for a webhook URL, 43 characters that need no escaping. */
export function newUrlKey(): string {
  return randomBytes(32).toString('base64url');
}

/** A secret for signing, in the form Standard Webhooks prescribes. */
export function newSigningSecret(): string {
  return `whsec_${randomBytes(32).toString('base64')}`;
}
