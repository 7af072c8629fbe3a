/**
 * Time. Inside, a moment is `EpochMs`; a salon's wall clock is a naive `Wall` string and becomes a moment only
 * together with the salon's zone. Nothing here reads a clock.
 */
import { Temporal } from 'temporal-polyfill';
import { memo } from './memo.ts';

/** A moment: milliseconds since 1970-01-01T00:00:00Z. */
export type EpochMs = number;

/** A naive wall clock reading, always `YYYY-MM-DDTHH:MM:SS`. */
export type Wall = string;

const WALL = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(:\d{2})?/;

/**
 * The wall clock reading of `date` ("2026-04-20 18:30:00") or of `datetime` ("2026-04-20T18:30:00.000+03:00").
 * The offset is dropped on purpose: the platform's own is wrong under DST, its wall clock is right.
 */
export const parseWall = memo((text: string): Wall | undefined => {
  const match = WALL.exec(text);
  if (!match) return undefined;
  const wall = `${match[1]}T${match[2]}${match[3] ?? ':00'}`;
  try {
    return Temporal.PlainDateTime.from(wall, { overflow: 'reject' }).toString({ smallestUnit: 'second' });
  } catch {
    return undefined;
  }
});

/** The moment of an ISO date with an offset, colon or not ("2026-04-20T12:36:27+0500"). */
export function parseInstant(text: string): EpochMs | undefined {
  try {
    return Temporal.Instant.from(text).epochMilliseconds;
  } catch {
    return undefined;
  }
}

/**
 * The moment at which `wall` is read in `zone`. A reading that a DST change skips moves forward, one that occurs
 * twice is the first (Temporal's "compatible").
 */
export const instantOf = memo(
  (wall: Wall, zone: string): EpochMs =>
    Temporal.PlainDateTime.from(wall).toZonedDateTime(zone).epochMilliseconds,
);

/** The wall clock reading in `zone` at a moment. */
export const wallOf = memo(
  (instant: EpochMs, zone: string): Wall =>
    Temporal.Instant.fromEpochMilliseconds(instant)
      .toZonedDateTimeISO(zone)
      .toPlainDateTime()
      .toString({ smallestUnit: 'second' }),
);

/** Whether `zone` is an IANA zone this runtime knows. `+03:00` is none: it knows nothing of summer time. */
export function isZone(zone: string): boolean {
  if (/^[+-]/.test(zone)) return false;
  try {
    Temporal.Instant.fromEpochMilliseconds(0).toZonedDateTimeISO(zone);
    return true;
  } catch {
    return false;
  }
}

/** The same reading some days later, or earlier. */
export const shiftDays = memo(
  (wall: Wall, days: number): Wall =>
    Temporal.PlainDateTime.from(wall).add({ days }).toString({ smallestUnit: 'second' }),
);
