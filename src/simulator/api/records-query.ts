/** `GET /records/{company}`: which records a query selects, and which page of them. */
import { type EpochMs, parseInstant, parseWall } from '../../domain/time.ts';
import { instantAt } from '../dates.ts';
import type { SalonRecord } from '../salon.ts';

export type Page = {
  /** By id: the platform's order is undocumented, and this one is stable while records move. */
  readonly items: readonly SalonRecord[];
  readonly total: number;
  readonly page: number;
};

const DEFAULT_COUNT = 25;
/** A larger `count` is not refused, just not obeyed. */
const MOST_COUNT = 200;

export type QueryZones = {
  /** Of visit and creation days. */
  readonly salon: string;
  /** Of moments without an offset. */
  readonly naive: string;
};

/** Values that cannot be read, and names that the platform does not know, filter nothing. */
export function selectRecords(
  records: readonly SalonRecord[],
  query: URLSearchParams,
  zones: QueryZones,
): Page {
  const filters = filtersOf(query, zones);
  const selected = records.filter(record => filters.every(passes => passes(record)));
  const page = wholeFrom1(query.get('page')) ?? 1;
  const count = Math.min(wholeFrom1(query.get('count')) ?? DEFAULT_COUNT, MOST_COUNT);
  return { items: selected.slice((page - 1) * count, page * count), total: selected.length, page };
}

type Filter = (record: SalonRecord) => boolean;

function filtersOf(query: URLSearchParams, zones: QueryZones): Filter[] {
  const filters: Filter[] = [];
  const add = <T>(value: T | undefined, filter: (value: T) => Filter) => {
    if (value !== undefined) filters.push(filter(value));
  };
  const whole = (name: string) => wholeFrom1(query.get(name));
  const day = (name: string) => dayOf(query.get(name));
  const moment = (name: string) => momentOf(query.get(name), zones.naive);
  const midnight = (name: string, days: number) => midnightOf(query.get(name), zones.salon, days);

  if (!isOn(query.get('with_deleted'))) filters.push(record => !record.deleted);
  add(whole('staff_id'), id => record => record.staffId === id);
  add(whole('client_id'), id => record => record.clientId === id);
  add(whole('created_user_id'), id => record => record.maker.createdUserId === id);
  add(day('start_date'), first => record => record.startsLocal.slice(0, 10) >= first);
  add(day('end_date'), last => record => record.startsLocal.slice(0, 10) <= last);
  add(midnight('c_start_date', 0), from => record => record.createdAt >= from);
  add(midnight('c_end_date', 1), until => record => record.createdAt < until);
  add(moment('changed_after'), from => record => record.version >= from);
  add(moment('changed_before'), until => record => record.version <= until);
  return filters;
}

function wholeFrom1(text: string | null): number | undefined {
  const value = Number(text ?? '');
  return Number.isSafeInteger(value) && value >= 1 ? value : undefined;
}

function isOn(text: string | null): boolean {
  return text === '1' || text === 'true';
}

function dayOf(text: string | null): string | undefined {
  return parseWall(`${text} 00:00`)?.slice(0, 10);
}

function midnightOf(text: string | null, zone: string, days: number): EpochMs | undefined {
  const day = dayOf(text);
  if (day === undefined) return undefined;
  const moved = new Date(Date.parse(`${day}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10);
  return instantAt(`${moved}T00:00:00`, zone);
}

/**
 * With an offset it is an instant; without one it is read in `zone`; a day alone is its midnight. A `+` that the caller
 * did not encode arrives as a space, and then the offset is not seen: as over there.
 */
function momentOf(text: string | null, zone: string): EpochMs | undefined {
  if (text === null) return undefined;
  const instant = parseInstant(text);
  if (instant !== undefined) return instant;
  const wall = parseWall(text) ?? parseWall(`${text} 00:00`);
  return wall === undefined ? undefined : instantAt(wall, zone);
}
