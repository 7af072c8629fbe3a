/** Who may bring a body: rate limits and the key of a URL, both before the body is read. Refusals and how they are noted. */
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import type { Log } from '../log.ts';
import type { Metrics, RejectCause } from '../metrics.ts';
import { traceIdOf } from '../tracing.ts';
import type { KeyHolder, KeyRing } from './keys.ts';
import { NOT_FOUND, type Problem } from './problem.ts';

/** Unknown keys, secrets or links from one address in a minute; beyond it the refusal is 429. Good ones are never touched by it. */
const MISSES_PER_MINUTE = 60;
export const WINDOW_SECONDS = 10;
/**
 * Bodies of one company that have begun and are not whole: as many large ones as nginx leaves an address. The platform sends a body
 * in one piece, some tens at a time. Beyond it somebody has the URL and drips: 1,600 such bodies raised the p99 of all
 * others from 8 to 22 ms, and 4,096, which are the receiver's connections, could hold a gigabyte.
 */
export const BODIES_UNDER_WAY = 256;

export type Refusal = Problem & { readonly cause: RejectCause; readonly about?: About };

/** What may be said of a refused request. */
type About = {
  readonly company_id?: number;
  readonly event?: string;
  readonly reason?: string;
  readonly err?: unknown;
};

/** What a request is called, and the span it is received in; null: no traces are kept. */
export type Way = { readonly requestId: string; readonly traceparent: string | null };

export type Limits = {
  /** Requests a second, averaged over ten. */
  readonly perCompany: number;
  readonly perAddress: number;
};

export type Guard = {
  /** The holder of the key that a request from `ip` names. */
  admit(ip: string, key: unknown): Promise<KeyHolder | Refusal>;
  /** What `read` resolves to, unless too many bodies of this company are being read. */
  oneOfFew<T>(companyId: number, read: () => Promise<T>): Promise<T | Refusal>;
};

export const UNAVAILABLE: Problem = {
  status: 503,
  title: 'Temporarily unavailable',
  detail: 'The event was not kept. Send it again.',
  retryAfterSeconds: 2,
};

export function createGuard({ keys, limits }: { readonly keys: KeyRing; readonly limits: Limits }): Guard {
  const perAddress = createLimit(limits.perAddress * WINDOW_SECONDS, WINDOW_SECONDS);
  const perCompany = createLimit(limits.perCompany * WINDOW_SECONDS, WINDOW_SECONDS);
  const misses = countMisses();
  const underWay = new Map<number, number>();

  return {
    async admit(ip, key) {
      const waitForAddress = await perAddress(ip);
      if (waitForAddress > 0) return tooMany('address_rate', waitForAddress);
      try {
        const holder = typeof key === 'string' ? await keys.find(key) : undefined;
        if (holder === undefined) {
          const wait = await misses(ip);
          return wait > 0 ? tooMany('unknown_key_rate', wait) : { ...NOT_FOUND, cause: 'unknown_key' };
        }
        const waitForCompany = await perCompany(holder.company.companyId);
        if (waitForCompany === 0) return holder;
        const about = { company_id: holder.company.companyId };
        return { ...tooMany('company_rate', waitForCompany), about };
      } catch (error) {
        return { ...UNAVAILABLE, cause: 'store_down', about: { err: error } };
      }
    },
    async oneOfFew(companyId, read) {
      const others = underWay.get(companyId) ?? 0;
      if (others >= BODIES_UNDER_WAY) return { ...tooMany('bodies_under_way', 1), hangsUp: true };
      underWay.set(companyId, others + 1);
      try {
        return await read();
      } finally {
        const left = (underWay.get(companyId) ?? 1) - 1;
        if (left > 0) underWay.set(companyId, left);
        else underWay.delete(companyId);
      }
    },
  };
}

export function tooMany(cause: RejectCause, retryAfterSeconds: number): Refusal {
  return { ...TOO_MANY, retryAfterSeconds, cause };
}

export const TOO_MANY: Problem = {
  status: 429,
  title: 'Too many requests',
  detail: 'Slow down, and send again after the time that Retry-After names.',
};

/** Spends one of so many in so many seconds: 0, or the whole seconds after which there is room again. */
export type Limit = (key: string | number) => Promise<number>;

export function createLimit(points: number, durationSeconds: number): Limit {
  const limiter = new RateLimiterMemory({ points, duration: durationSeconds });
  return async key => {
    try {
      await limiter.consume(key);
      return 0;
    } catch (refused) {
      if (!(refused instanceof RateLimiterRes)) throw refused;
      return Math.max(1, Math.ceil(refused.msBeforeNext / 1000));
    }
  };
}

/** To be spent by an address whose key, secret or link was none, and never by one that was good. */
export function countMisses(): Limit {
  return createLimit(MISSES_PER_MINUTE, 60);
}

/** One line a refusal: of strangers, who may be many, for debugging only; where a company's event was at stake, always. */
export function noteRefusal(
  { metrics, log }: { readonly metrics: Metrics; readonly log: Log },
  refusal: Partial<Way> & Pick<Refusal, 'cause' | 'status' | 'about'>,
): void {
  const { requestId, traceparent, cause, status, about = {} } = refusal;
  metrics.rejected.inc({ cause });
  const level = status >= 500 ? 'error' : about.company_id === undefined ? 'debug' : 'warn';
  log[level](
    {
      role: 'receive',
      ...(requestId === undefined ? {} : { request_id: requestId }),
      ...(traceparent ? { trace_id: traceIdOf(traceparent) } : {}),
      outcome: 'refused',
      reason: cause,
      status,
      ...about,
    },
    'request refused',
  );
}
