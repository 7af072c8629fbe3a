/** Working time of a company: some hours of the day, on the days of the week on which it seems to work. */
import { type EpochMs, instantOf, shiftDays, wallOf } from './time.ts';

/** Whole hours of the wall clock, `closes` not included: 9 and 21. */
export type Hours = { readonly opens: number; readonly closes: number };

/** Longer silences all look alike. */
const LONGEST_DAYS = 60;
const DAY_MS = 86_400_000;

/** `9-21`; undefined when it is not that. */
export function readHours(text: string): Hours | undefined {
  const match = /^(\d{1,2})-(\d{1,2})$/.exec(text);
  const [opens, closes] = [Number(match?.[1]), Number(match?.[2])];
  return match !== null && opens < closes && closes <= 24 ? { opens, closes } : undefined;
}

/** Day of the week of a moment in a zone, 0 is Sunday. */
export function weekdayOf(instant: EpochMs, zone: string): number {
  return new Date(`${wallOf(instant, zone).slice(0, 10)}T00:00:00Z`).getUTCDay();
}

/** Working time between two moments, in milliseconds. */
export function workingMsBetween(
  from: EpochMs,
  to: EpochMs,
  {
    zone,
    hours,
    weekdays,
  }: { readonly zone: string; readonly hours: Hours; readonly weekdays: ReadonlySet<number> },
): number {
  const start = Math.max(from, to - LONGEST_DAYS * DAY_MS);
  let total = 0;
  let midnight = `${wallOf(start, zone).slice(0, 10)}T00:00:00`;
  for (let dayStart = instantOf(midnight, zone); dayStart < to; dayStart = instantOf(midnight, zone)) {
    const next = shiftDays(midnight, 1);
    if (weekdays.has(weekdayOf(dayStart + DAY_MS / 2, zone))) {
      const opens = Math.max(start, instantOf(atHour(midnight, hours.opens), zone));
      const closes = Math.min(
        to,
        instantOf(hours.closes === 24 ? next : atHour(midnight, hours.closes), zone),
      );
      total += Math.max(0, closes - opens);
    }
    midnight = next;
  }
  return total;
}

function atHour(midnight: string, hour: number): string {
  return `${midnight.slice(0, 11)}${String(hour).padStart(2, '0')}:00:00`;
}
