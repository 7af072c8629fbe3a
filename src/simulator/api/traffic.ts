/**
 * Counts the calls, and refuses those beyond the documented limits: 5 a second and 200 a minute from one address.
 *
 * The windows slide. A refused call takes no room in them, so that who waits is served; `stats` counts every call
 * that arrived, so that a test can say "the limit was never touched".
 */
import type { EpochMs } from '../../domain/time.ts';

export type Limits = { readonly perSecond: number; readonly perMinute: number };
export const DOCUMENTED: Limits = { perSecond: 5, perMinute: 200 };

export type Counts = { readonly [operation: string]: number };

export type TrafficStats = {
  readonly calls: number;
  readonly byOperation: Counts;
  /** Calls that named no company of the platform are not here. */
  readonly byCompany: ReadonlyMap<number, Counts>;
  /** How many calls were refused for being too many. */
  readonly limited: number;
  /** The most calls from one address within any second, and within any minute. */
  readonly maxPerSecond: number;
  readonly maxPerMinute: number;
};

export type Traffic = {
  /** A call from `address`; false when it is one too many. */
  arrive(address: string, operation: string, companyId: number | undefined, now: EpochMs): boolean;
  stats(): TrafficStats;
  /** Counts from zero again. The windows stay. */
  forget(): void;
};

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;

export function openTraffic(limits: Limits | null): Traffic {
  const addresses = new Map<string, ReturnType<typeof openWindows>>();
  let counted = openCounts();
  return {
    arrive(address, operation, companyId, now) {
      const windows = addresses.get(address) ?? openWindows();
      addresses.set(address, windows);
      counted.count(operation, companyId);
      counted.most(windows.second.enter(now), windows.minute.enter(now));
      if (limits === null) return true;
      const tooMany =
        windows.admittedSecond.size(now) >= limits.perSecond ||
        windows.admittedMinute.size(now) >= limits.perMinute;
      if (tooMany) counted.refuse();
      else {
        windows.admittedSecond.enter(now);
        windows.admittedMinute.enter(now);
      }
      return !tooMany;
    },
    stats: () => counted.stats(),
    forget() {
      counted = openCounts();
    },
  };
}

function openWindows() {
  return {
    second: openWindow(SECOND_MS),
    minute: openWindow(MINUTE_MS),
    admittedSecond: openWindow(SECOND_MS),
    admittedMinute: openWindow(MINUTE_MS),
  };
}

/** How many entered within the last `spanMs`; the moments never go back. */
function openWindow(spanMs: number) {
  let moments: EpochMs[] = [];
  let first = 0;
  const size = (now: EpochMs) => {
    while ((moments[first] ?? Number.POSITIVE_INFINITY) <= now - spanMs) first += 1;
    if (first > 1_000) {
      moments = moments.slice(first);
      first = 0;
    }
    return moments.length - first;
  };
  return {
    size,
    enter(now: EpochMs) {
      moments.push(now);
      return size(now);
    },
  };
}

function openCounts() {
  const byOperation: Record<string, number> = {};
  const byCompany = new Map<number, Record<string, number>>();
  let [calls, limited, maxPerSecond, maxPerMinute] = [0, 0, 0, 0];
  return {
    count(operation: string, companyId: number | undefined) {
      calls += 1;
      byOperation[operation] = (byOperation[operation] ?? 0) + 1;
      if (companyId === undefined) return;
      const counts = byCompany.get(companyId) ?? {};
      counts[operation] = (counts[operation] ?? 0) + 1;
      byCompany.set(companyId, counts);
    },
    most(inSecond: number, inMinute: number) {
      maxPerSecond = Math.max(maxPerSecond, inSecond);
      maxPerMinute = Math.max(maxPerMinute, inMinute);
    },
    refuse() {
      limited += 1;
    },
    stats: (): TrafficStats => ({
      calls,
      byOperation: { ...byOperation },
      byCompany: new Map([...byCompany].map(([id, counts]) => [id, { ...counts }])),
      limited,
      maxPerSecond,
      maxPerMinute,
    }),
  };
}
