import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 10;

/**
 * Polls until the condition answers something truthy, and returns that.
 * `what` completes "timed out waiting until …" in the failure.
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  { timeoutMs = 60_000, what }: { timeoutMs?: number; what: string },
): Promise<Exclude<T, undefined | null | false>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const result = await condition();
    if (isThere(result)) return result;
    if (performance.now() > deadline)
      throw new Error(`timed out after ${timeoutMs} ms waiting until ${what}`);
    await sleep(POLL_MS);
  }
}

function isThere<T>(result: T): result is Exclude<T, undefined | null | false> {
  return Boolean(result);
}
