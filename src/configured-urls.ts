/** The public addresses that messages and messengers are given, by the configuration. */
import { type Config, isReachable } from './config.ts';
import { writeLink } from './domain/answer.ts';
import { receiptUrl } from './receipt-readers.ts';
import { liveReceiptSecrets } from './salon/receipt-secrets.ts';
import type { Pool } from './store/pool.ts';
import type { Vault } from './vault.ts';

/** Where a messenger is to bring what people send. */
export function updatesUrlOf(
  { PUBLIC_URL }: Config,
  pool: Pool,
  channel: string,
  vault: Vault,
): (() => Promise<string>) | undefined {
  if (PUBLIC_URL === undefined) return undefined;
  return async () => {
    const [secret] = await liveReceiptSecrets(pool, { vault, now: Date.now() }, channel);
    return receiptUrl(PUBLIC_URL, channel, secret);
  };
}

/** Where a message can be answered by a browser, once we can be reached from outside. */
export function answerUrlOf(
  { PUBLIC_URL }: Config,
  vault: Vault,
): ((companyId: number, messageId: string) => string) | undefined {
  if (PUBLIC_URL === undefined || !isReachable(PUBLIC_URL)) return undefined;
  const root = PUBLIC_URL.replace(/\/+$/, '');
  return (companyId, messageId) => {
    const proof = vault.proveLink(companyId, messageId);
    return `${root}/answers/${writeLink({ companyId, messageId, proof })}`;
  };
}
