/**
 * Who a webhook URL belongs to. All live keys are held in memory under their keyed hashes, so that an unknown key costs
 * the database nothing and takes as long as a disabled or a foreign one; a lookup by keyed hash tells an attacker
 * nothing about any stored key.
 */
import type { EpochMs } from '../domain/time.ts';
import { type Company, findSecrets, listKeys } from '../store/companies.ts';
import type { Pool } from '../store/pool.ts';
import type { Vault } from '../vault.ts';

/** A removed or added key is noticed this much later at most. */
const FRESH_MS = 5_000;
/** An unknown key may be a new one: look again, but no more often than this. */
const RECHECK_MS = 1_000;

export type KeyRing = {
  /** The company of a URL key. Rejects when the database is needed and away. */
  find(urlKey: string): Promise<Company | undefined>;
  /** Live secrets with which a company's senders may sign. */
  secretsOf(companyId: number): Promise<readonly string[]>;
};

type Entry = { readonly company: Company; readonly expiresAt: number | null };

export function createKeyRing({
  pool,
  vault,
  now,
}: {
  pool: Pool;
  vault: Vault;
  now: () => EpochMs;
}): KeyRing {
  let entries = new Map<string, Entry>();
  let loadedAt = Number.NEGATIVE_INFINITY;
  let loading: Promise<void> | undefined;
  let secrets = new Map<number, Promise<readonly string[]>>();

  async function load(): Promise<void> {
    const keys = await listKeys(pool);
    entries = new Map(
      keys.map(({ keyHash, company, expiresAt }) => [keyHash.toString('hex'), { company, expiresAt }]),
    );
    secrets = new Map();
    loadedAt = performance.now();
  }

  function reload(): Promise<void> {
    loading ??= load().finally(() => {
      loading = undefined;
    });
    return loading;
  }

  function lookUp(hash: string): Company | undefined {
    const entry = entries.get(hash);
    if (entry === undefined || (entry.expiresAt !== null && entry.expiresAt <= now())) return undefined;
    return entry.company;
  }

  return {
    async find(urlKey) {
      const hash = vault.hashKey(urlKey).toString('hex');
      const age = performance.now() - loadedAt;
      const found = lookUp(hash);
      if (found !== undefined && age < FRESH_MS) return found;
      if (found === undefined && age < RECHECK_MS) return undefined;
      try {
        await reload();
      } catch (error) {
        // With the database away an event cannot be kept anyway; the append will say so.
        if (found !== undefined) return found;
        throw error;
      }
      return lookUp(hash);
    },
    secretsOf(companyId) {
      const known = secrets.get(companyId);
      if (known !== undefined) return known;
      const opened = findSecrets(pool, companyId, 'inbound').then(sealed => sealed.map(vault.open));
      opened.catch(() => secrets.delete(companyId));
      secrets.set(companyId, opened);
      return opened;
    },
  };
}
