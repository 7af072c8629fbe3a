/**
 * Who a webhook URL belongs to. Keys are looked up by their keyed hash, which tells an attacker who times the lookup
 * nothing about any stored key; an unknown, an expired and a removed company's key take the same way to the same answer.
 */
import { hash } from 'node:crypto';
import type { EpochMs } from '../domain/time.ts';
import { type Company, findKey, type KeyUse } from '../store/companies.ts';
import type { Pool } from '../store/pool.ts';
import type { Vault } from '../vault.ts';

/** A removed key goes on working this long at most. A new one works at once. */
const FRESH_MS = 5_000;
/** Companies remembered; beyond it the oldest is looked up again. */
const REMEMBERED = 20_000;

export type KeyHolder = {
  readonly company: Company;
  /** Live secrets with which the company's senders may sign. */
  readonly secrets: readonly string[];
};

export type KeyRing = {
  /** The holder of a URL key. Rejects when the database is needed and away. */
  find(urlKey: string): Promise<KeyHolder | undefined>;
};

type Entry = { readonly holder: KeyHolder; readonly expiresAt: EpochMs | null; readonly loadedAt: number };

export function createKeyRing({
  pool,
  vault,
  now,
  use = 'events',
}: {
  pool: Pool;
  vault: Vault;
  now: () => EpochMs;
  use?: KeyUse;
}): KeyRing {
  const entries = new Map<string, Entry>();
  const loading = new Map<string, Promise<Entry | undefined>>();

  async function load(keyHash: Buffer, name: string): Promise<Entry | undefined> {
    const key = await findKey(pool, keyHash, use);
    entries.delete(name);
    if (key === undefined) return undefined;
    const { company, expiresAt, sealedSecrets } = key;
    // One that cannot be opened checks no signature; what is unsigned needs none, and comes once.
    const secrets = sealedSecrets.map(vault.tryOpen).filter(secret => secret !== undefined);
    const holder = { company, secrets };
    const entry = { holder, expiresAt, loadedAt: performance.now() };
    const [oldest] = entries.keys();
    if (entries.size >= REMEMBERED && oldest !== undefined) entries.delete(oldest);
    entries.set(name, entry);
    return entry;
  }

  /** Requests that come together ask once. */
  function loadOnce(keyHash: Buffer, name: string): Promise<Entry | undefined> {
    const underWay = loading.get(name);
    if (underWay !== undefined) return underWay;
    const started = load(keyHash, name).finally(() => loading.delete(name));
    loading.set(name, started);
    return started;
  }

  const live = (entry: Entry | undefined) =>
    entry === undefined || (entry.expiresAt !== null && entry.expiresAt <= now()) ? undefined : entry.holder;

  return {
    async find(urlKey) {
      // Remembered by a digest of their own: it costs 2 µs, the keyed hash that the database knows 11 µs.
      const name = hash('sha256', urlKey, 'base64url');
      const known = entries.get(name);
      if (known !== undefined && performance.now() - known.loadedAt < FRESH_MS) return live(known);
      try {
        return live(await loadOnce(vault.hashKey(urlKey), name));
      } catch (error) {
        // With the database away an event cannot be kept anyway; the append will say so.
        if (known !== undefined) return live(known);
        throw error;
      }
    },
  };
}
