/** The live secrets of providers, remembered for a moment: a call with a wrong one must not cost a statement each. */
import type { EpochMs } from '../domain/time.ts';
import { liveReceiptSecrets } from '../salon/receipt-secrets.ts';
import type { Pool } from '../store/pool.ts';
import type { Vault } from '../vault.ts';

/** A secret that was exchanged twice goes on working this long at most, as with the keys of companies. */
const FRESH_MS = 5_000;

export type ReceiptSecrets = (provider: string) => Promise<readonly string[]>;

export function rememberReceiptSecrets(deps: {
  readonly pool: Pool;
  readonly vault: Vault;
  readonly now: () => EpochMs;
}): ReceiptSecrets {
  const known = new Map<string, { readonly loading: Promise<readonly string[]>; readonly at: number }>();
  return provider => {
    const remembered = known.get(provider);
    if (remembered !== undefined && performance.now() - remembered.at < FRESH_MS) return remembered.loading;
    const loading = liveReceiptSecrets(deps.pool, { vault: deps.vault, now: deps.now() }, provider);
    known.set(provider, { loading, at: performance.now() });
    // Not remembered: with the database back the next call finds it.
    loading.catch(() => known.delete(provider));
    return loading;
  };
}
