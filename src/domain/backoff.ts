/** How long after a try that failed the next one is: what leaves the house waits by one rule, whoever takes it. */
const FIRST_RETRY_MS = 2_000;
const LONGEST_RETRY_MS = 30 * 60_000;

/** 2, 4, 8 … s with up to 25 % jitter, half an hour at most; never sooner than the other side asks, who may ask for longer. */
export function retryAfterTriesMs(tries: number, random: number, wantedMs = 0): number {
  const own = FIRST_RETRY_MS * 2 ** (tries - 1) * (1 + random / 4);
  return Math.round(Math.max(Math.min(LONGEST_RETRY_MS, own), wantedMs));
}
