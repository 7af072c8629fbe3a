/**
 * Sweeps: asking the platform's API what there is, and comparing. What to ask, and when.
 *
 * - `baseline`, once: the bookings that were there before us, in silence
 * - `delta`, every few minutes: what was changed since the watermark
 * - `full`, each night of the salon: the coming days whole, which also shows what is gone
 */
import { Temporal } from 'temporal-polyfill';
import { type EpochMs, instantOf, wallOf } from './time.ts';

export type SweepKind = 'baseline' | 'delta' | 'full';

const HOUR_MS = 3_600_000;

/** A change may become visible, or be stamped, a little late; and the zone in which the filter is read is undocumented. */
const OVERLAP_MS = HOUR_MS;
const FIRST_OVERLAP_MS = 24 * HOUR_MS;

/** Where a delta sweep begins to ask. */
export function changedAfter(watermark: EpochMs, first: boolean): EpochMs {
  return watermark - (first ? FIRST_OVERLAP_MS : OVERLAP_MS);
}

/** Days of visits in the salon's zone, both included. */
export type Days = { readonly from: string; readonly to: string };

const BASELINE_DAYS = { back: 30, ahead: 90 };
const FULL_DAYS = { back: 0, ahead: 14 };

export function daysOf(kind: 'baseline' | 'full', zone: string, now: EpochMs): Days {
  const { back, ahead } = kind === 'baseline' ? BASELINE_DAYS : FULL_DAYS;
  const today = dayOf(now, zone);
  return { from: today.subtract({ days: back }).toString(), to: today.add({ days: ahead }).toString() };
}

/** Days widened by one on both sides: what an answer may hold and still be an answer to the question. */
export function widened({ from, to }: Days): Days {
  return {
    from: Temporal.PlainDate.from(from).subtract({ days: 1 }).toString(),
    to: Temporal.PlainDate.from(to).add({ days: 1 }).toString(),
  };
}

function dayOf(moment: EpochMs, zone: string): Temporal.PlainDate {
  return Temporal.PlainDate.from(wallOf(moment, zone).slice(0, 10));
}

/** The salon's night: no one edits the journal, and the budget is free. Minutes after midnight. */
const NIGHT = { from: 60, minutes: 240 };

/**
 * The next full sweep after `now`: once in each night of the salon's zone, at a minute that is the company's own so
 * that a thousand salons of one zone do not come at once. An hour that a DST change skips moves forward, one that
 * occurs twice is the first.
 */
export function nextNight(companyId: number, zone: string, now: EpochMs): EpochMs {
  // Knuth's multiplicative hash: neighbouring ids lie far apart.
  const minute = NIGHT.from + ((Math.imul(companyId, 2_654_435_761) >>> 0) % NIGHT.minutes);
  const clock = `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}:00`;
  const today = dayOf(now, zone);
  const moments = [0, 1].map(days => instantOf(`${today.add({ days })}T${clock}`, zone));
  return moments.find(moment => moment > now) ?? now + 24 * HOUR_MS;
}

/** How often a company is asked for changes. */
export function deltaInterval(company: {
  readonly source: 'webhook' | 'poll' | 'both';
  readonly sweepMs: number;
  readonly pollMs: number;
}): number {
  return company.source === 'webhook' ? company.sweepMs : Math.min(company.pollMs, company.sweepMs);
}

/** `wrong`: somebody must set something right. `refused`: asking the same again will hardly help. `away`: it may at any time. */
export type Setback = 'wrong' | 'refused' | 'away';

const BACKOFF: Record<Setback, { readonly firstMs: number; readonly longestMs: number }> = {
  wrong: { firstMs: 10 * 60_000, longestMs: 6 * HOUR_MS },
  refused: { firstMs: 5 * 60_000, longestMs: HOUR_MS },
  // The shared budget holds everyone back while the platform is down, so asking again costs nothing.
  away: { firstMs: 15_000, longestMs: 2 * 60_000 },
};

/** When to ask again after `failures` in a row: doubled each time, up to a quarter later by `random` (0 ≤ x < 1). */
export function backoffMs(setback: Setback, failures: number, random: number, wantedMs = 0): number {
  const { firstMs, longestMs } = BACKOFF[setback];
  const own = Math.min(longestMs, firstMs * 2 ** (failures - 1));
  return Math.round(Math.max(own, wantedMs) * (1 + random / 4));
}
