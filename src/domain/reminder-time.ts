/**
 * When a reminder is due: so long before the visit (`24h`, `90m`), days before at the visit's own hour (`1d`), or at
 * an hour of a day (`20:00 the day before`). Hours and minutes are elapsed time; days and clock times are those of the
 * salon's wall clock, and so keep their hour when the clocks change.
 */
import { type EpochMs, instantOf, shiftDays, type Wall } from './time.ts';

export type ReminderTime =
  | { readonly kind: 'before'; readonly ms: number }
  | { readonly kind: 'days'; readonly days: number }
  | { readonly kind: 'clock'; readonly days: number; readonly time: string };

const BEFORE = /^(\d{1,3}) ?(m|h|d)$/;
const CLOCK = /^(\d{1,2}):(\d{2}) (?:the (same day|day before)|(\d{1,2}) days before)$/;
const LONGEST_DAYS = 30;

/** Undefined when it is no such time. */
export function parseReminderTime(text: string): ReminderTime | undefined {
  const [, count, unit] = BEFORE.exec(text) ?? [];
  if (count !== undefined) return offset(Number(count), unit === 'm' ? 60_000 : 3_600_000, unit === 'd');
  const [, hour, minute, word, many] = CLOCK.exec(text) ?? [];
  if (hour === undefined || minute === undefined || Number(hour) > 23 || Number(minute) > 59)
    return undefined;
  const days = many === undefined ? (word === 'same day' ? 0 : 1) : Number(many);
  return days > LONGEST_DAYS
    ? undefined
    : { kind: 'clock', days, time: `${hour.padStart(2, '0')}:${minute}` };
}

function offset(count: number, unitMs: number, inDays: boolean): ReminderTime | undefined {
  if (count === 0) return undefined;
  if (inDays) return count > LONGEST_DAYS ? undefined : { kind: 'days', days: count };
  const ms = count * unitMs;
  return ms > LONGEST_DAYS * 86_400_000 ? undefined : { kind: 'before', ms };
}

/** One spelling for each time, which is also its name: `24h`, `20:00 the day before`. */
export function reminderName(time: ReminderTime): string {
  switch (time.kind) {
    case 'before':
      return time.ms % 3_600_000 === 0 ? `${time.ms / 3_600_000}h` : `${time.ms / 60_000}m`;
    case 'days':
      return `${time.days}d`;
    case 'clock':
      return `${time.time} ${time.days === 0 ? 'the same day' : time.days === 1 ? 'the day before' : `${time.days} days before`}`;
  }
}

/** The moment of a reminder of a visit that begins then. */
export function reminderMoment(time: ReminderTime, startsLocal: Wall, zone: string): EpochMs {
  switch (time.kind) {
    case 'before':
      return instantOf(startsLocal, zone) - time.ms;
    case 'days':
      return instantOf(shiftDays(startsLocal, -time.days), zone);
    case 'clock':
      return instantOf(`${shiftDays(startsLocal, -time.days).slice(0, 10)}T${time.time}:00`, zone);
  }
}
