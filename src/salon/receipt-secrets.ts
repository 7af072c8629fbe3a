/**
 * The secrets in the addresses that providers of channels call: one for each provider, so that none knows another's, and
 * exchanged by counting its generation up; the one before holds for a day. They follow from the vault: only the
 * generation is kept.
 */
import type { EpochMs } from '../domain/time.ts';
import { audit } from '../store/companies.ts';
import { type Db, type Pool, transaction } from '../store/pool.ts';
import { lockSetting, readSetting, saveSetting, settleSetting } from '../store/settings.ts';
import type { Vault } from '../vault.ts';

/** Time to enter the new address, as with the keys of companies. */
const GRACE_MS = 24 * 60 * 60_000;
/** Where installations that gave one secret to all providers go on taking it, until when. */
const SHARED_UNTIL = 'receipts_shared_until';

type Deps = { readonly vault: Vault; readonly now: EpochMs };
type Generation = { readonly number: number; readonly since: EpochMs };

/** Those that a provider may call with at this moment, the one to give it first. */
export async function liveReceiptSecrets(
  db: Db,
  { vault, now }: Deps,
  provider: string,
): Promise<readonly [string, ...string[]]> {
  const { number, since } = readGeneration(await readSetting(db, nameOf(provider)));
  const current = vault.receiptSecret(provider, number);
  if (number > 0 && now >= since + GRACE_MS) return [current];
  const sharedUntil = number > 1 ? undefined : await readSetting(db, SHARED_UNTIL);
  return [
    current,
    ...(number > 0 ? [vault.receiptSecret(provider, number - 1)] : []),
    ...(sharedUntil !== undefined && now < Date.parse(sharedUntil) ? [vault.sharedReceiptSecret] : []),
  ];
}

/** A new secret for a provider; the one before works for another 24 hours, one before that no more. */
export async function rotateReceiptSecret(
  pool: Pool,
  { vault, now }: Deps,
  provider: string,
): Promise<string> {
  return transaction(pool, async db => {
    await settleSetting(db, nameOf(provider), '0 0');
    // Whoever rotates at the same time waits here.
    const { number } = readGeneration(await lockSetting(db, nameOf(provider)));
    await saveSetting(db, nameOf(provider), `${number + 1} ${now}`);
    await audit(db, { actor: 'command', action: 'receipts.rotate', subject: provider });
    return vault.receiptSecret(provider, number + 1);
  });
}

function nameOf(provider: string): string {
  return `receipts ${provider}`;
}

/** `2 1790000000000`: its number, and when it began. */
function readGeneration(kept = '0 0'): Generation {
  const [number, since] = kept.split(' ').map(Number);
  return { number: number ?? 0, since: since ?? 0 };
}
