/** The public addresses that messages and messengers are given, by the configuration. */
import { type Config, isReachable } from './config.ts';
import { writeLink } from './domain/answer.ts';
import { receiptUrl } from './receipt-readers.ts';
import { liveReceiptSecrets } from './salon/receipt-secrets.ts';
import type { Pool } from './store/pool.ts';
import type { Vault } from './vault.ts';

/** How we are reached as far as we know: from outside where that is set, else at `port` of this machine. */
export function publicRoot({ PUBLIC_URL, HOST, PUBLIC_PORT }: Config, port = PUBLIC_PORT): string {
  return PUBLIC_URL ?? `http://${HOST}:${port}`;
}

/** Where the platform gives us a salon's own texts, as its SMS operator. */
export function textsUrl(root: string, key: string): string {
  return `${root}/operator/yclients/${key}`;
}

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
  return (companyId, messageId) => {
    const proof = vault.proveLink(companyId, messageId);
    return `${PUBLIC_URL}/answers/${writeLink({ companyId, messageId, proof })}`;
  };
}
