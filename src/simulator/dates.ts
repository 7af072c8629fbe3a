/** The platform's three ways to write a time. */
import { type EpochMs, type Wall, wallOf } from '../domain/time.ts';

/** `2026-04-20 18:30:00`: naive, the salon's wall clock. */
export function naive(wall: Wall): string {
  return wall.replace('T', ' ');
}

/** `2026-04-20T12:36:27+0500`, or with a colon. */
export function instantText(instant: EpochMs, zone: string, colon: boolean): string {
  return `${wallOf(instant, zone)}${offsetText(offsetMinutes(instant, zone), colon)}`;
}

/** `+0500`, or `+05:00` with a colon. */
export function offsetText(minutes: number, colon: boolean): string {
  const whole = Math.abs(minutes);
  const hours = String(Math.floor(whole / 60)).padStart(2, '0');
  return `${minutes < 0 ? '-' : '+'}${hours}${colon ? ':' : ''}${String(whole % 60).padStart(2, '0')}`;
}

export function offsetMinutes(instant: EpochMs, zone: string): number {
  return Math.round((Date.parse(`${wallOf(instant, zone)}Z`) - instant) / 60_000);
}

/** The offset of the zone's winter, which the platform also writes in summer now and then. */
export function winterOffsetMinutes(instant: EpochMs, zone: string): number {
  const year = new Date(instant).getUTCFullYear();
  return Math.min(offsetMinutes(Date.UTC(year, 0, 1), zone), offsetMinutes(Date.UTC(year, 6, 1), zone));
}
