/** The free hours of a member of staff: nine to nine, each half hour, where no booking that stands is in the way. */
import type { EpochMs, Wall } from '../../domain/time.ts';
import { instantAt, wallAt } from '../dates.ts';
import type { SalonRecord } from '../salon.ts';
import type { Branch } from './branch.ts';

export type Slot = { readonly wall: Wall; readonly startsAt: EpochMs; readonly free: boolean };

const OPENS = 9;
const CLOSES = 21;
const MINUTES = ['00', '30'];

/** Every slot of the day, `2026-11-24`, for a visit of that length. What has begun is not free. */
export function slotsOf(
  branch: Branch,
  staffId: number,
  day: string,
  durationSeconds: number,
  now: EpochMs,
): readonly Slot[] {
  const { zone } = branch.salon();
  const busy = branch.records().filter(one => one.staffId === staffId && one.startsLocal.startsWith(day));
  const hours = Array.from({ length: CLOSES - OPENS }, (_, index) => String(OPENS + index).padStart(2, '0'));
  return hours
    .flatMap(hour => MINUTES.map(minute => `${day}T${hour}:${minute}:00`))
    .map(wall => {
      const startsAt = instantAt(wall, zone);
      return { wall, startsAt, free: startsAt > now && isFree(busy, startsAt, durationSeconds) };
    });
}

/** Whether no booking that stands, but for `exceptId`, overlaps these hours of the member of staff. */
export function isFreeAt(
  branch: Branch,
  staffId: number,
  startsAt: EpochMs,
  durationSeconds: number,
  exceptId?: number,
): boolean {
  const theirs = branch.records().filter(one => one.staffId === staffId && one.id !== exceptId);
  return isFree(theirs, startsAt, durationSeconds);
}

/** The days from today on, as the salon writes them. */
export function daysFrom(now: EpochMs, zone: string, count: number): readonly string[] {
  const today = Date.parse(`${wallAt(now, zone).slice(0, 10)}T00:00:00Z`);
  return Array.from({ length: count }, (_, index) =>
    new Date(today + index * 86_400_000).toISOString().slice(0, 10),
  );
}

function isFree(records: readonly SalonRecord[], startsAt: EpochMs, durationSeconds: number): boolean {
  const endsAt = startsAt + durationSeconds * 1000;
  return !records.some(
    record =>
      !record.deleted &&
      record.attendance !== -1 &&
      record.startsAt < endsAt &&
      record.startsAt + record.durationSeconds * 1000 > startsAt,
  );
}
