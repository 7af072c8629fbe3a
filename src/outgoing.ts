/** What all calls to servers of others share: how a failure is named, and how long a server asks us to wait. */

/** A wait asked for by a receiver, at most an hour: a longer one is asked again then, not trusted now. */
const MAX_WAIT_MS = 60 * 60 * 1000;

/** The system's code in an error or its cause, e.g. ECONNREFUSED. */
export function codeOf(error: unknown): string | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if ('code' in cause && typeof cause.code === 'string' && /^[A-Z][A-Z0-9_]{2,60}$/.test(cause.code)) {
      return cause.code;
    }
  }
  return undefined;
}

/** Rejects when `signal` aborts; undici itself looks at a signal only once it is connected. */
export function rejectionOf(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

/** RFC 9110, 10.2.3: a number of seconds, or a date of the one form that may be generated. */
export function retryAfterMs(value: string | undefined, nowMs: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value)) return boundedWaitMs(Number(value) * 1000);
  if (!/^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/.test(value)) return undefined;
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : boundedWaitMs(at - nowMs);
}

export function boundedWaitMs(waitMs: number): number {
  return Math.min(Math.max(waitMs, 0), MAX_WAIT_MS);
}
