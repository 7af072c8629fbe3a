/** How long after a try that failed the next one is: what leaves the house waits by one rule, whoever takes it. */
const FIRST_RETRY_MS = 2_000;
/** Whoever was away for hours is back for what waits within some ten minutes. */
const LONGEST_RETRY_MS = 10 * 60_000;

/**
 * 2, 4, 8 … s up to ten minutes, and up to 25 % more, so that what failed together does not come back together; never
 * sooner than the other side asks, who may ask for longer.
 */
export function retryAfterTriesMs(tries: number, random: number, wantedMs = 0): number {
  const own = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** (tries - 1)) * (1 + random / 4);
  return Math.round(Math.max(own, wantedMs));
}
