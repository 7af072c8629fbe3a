/** A fake salon: what is in its journal. What happens there next is in `next-action.ts`. */
import { Temporal } from 'temporal-polyfill';
import type { EpochMs, Wall } from '../domain/time.ts';
import { type Brand, type Cast, type Client, castOf, type OfferedService } from './cast.ts';
import { instantAt, wallAt } from './dates.ts';
import type { Random } from './random.ts';

/** 2 confirmed by the client, 1 came, 0 waiting, -1 did not come (or was cancelled by the salon). */
export type Attendance = -1 | 0 | 1 | 2;

export type BookedService = { readonly offered: OfferedService; readonly amount: number };

/** Who made a record, in the platform's fields. */
export type Maker = {
  readonly online: boolean;
  readonly recordFrom: string;
  readonly bookformId: number;
  readonly createdUserId: number;
};

export type SalonRecord = {
  readonly id: number;
  /** Records of one visit (several services, one client) share it. */
  readonly visitId: number;
  readonly createdAt: EpochMs;
  /** `last_change_date`: whole seconds. */
  readonly version: EpochMs;
  readonly startsLocal: Wall;
  /** `startsLocal` in the salon's zone. */
  readonly startsAt: EpochMs;
  readonly durationSeconds: number;
  readonly staffId: number;
  readonly services: readonly BookedService[];
  /** null: a blocked hour. */
  readonly clientId: number | null;
  readonly attendance: Attendance;
  /** The version at which attendance took its present value. */
  readonly attendanceSince: EpochMs;
  readonly deleted: boolean;
  /** Deleted without a version: nothing may follow. */
  readonly gone: boolean;
  readonly paid: boolean;
  readonly comment: string;
  readonly maker: Maker;
  /** What whoever made it by the API calls it; the platform fills in one of its own otherwise. */
  readonly apiId?: string;
  /** Was in the journal before the simulation began. */
  readonly known: boolean;
};

export type Salon = {
  readonly companyId: number;
  readonly brand: Brand;
  /** IANA. */
  readonly zone: string;
  readonly cast: Cast;
  /** Oldest first; what was dropped from the front never changes again. */
  readonly records: readonly SalonRecord[];
  readonly nextId: number;
  readonly actions: number;
};

export type SalonOptions = {
  readonly companyId: number;
  readonly brand: Brand;
  readonly zone: string;
  readonly staff?: number | undefined;
  readonly clients?: number | undefined;
  /** How many records the journal holds before the first action (two years ago, today, next weeks). */
  readonly records?: number | undefined;
  /** The id of its first record; drawn unless told. */
  readonly firstId?: number | undefined;
};

const DEFAULT_STAFF = 5;
const DEFAULT_CLIENTS = 60;
const DEFAULT_RECORDS = 36;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

export function openSalon(options: SalonOptions, random: Random, nowMs: EpochMs): Salon {
  const cast = castOf(options.brand, random, {
    clients: options.clients ?? DEFAULT_CLIENTS,
    staff: options.staff ?? DEFAULT_STAFF,
  });
  const { companyId, brand, zone } = options;
  const drawnId = random.integer(500_000_000, 599_000_000);
  const nextId = options.firstId ?? drawnId;
  const empty: Salon = { companyId, brand, zone, cast, records: [], nextId, actions: 0 };
  const count = options.records ?? DEFAULT_RECORDS;
  return Array.from({ length: count }).reduce<Salon>(salon => withOldRecord(salon, random, nowMs), empty);
}

/** A record from before: two years ago, of the last weeks, under way now, or of the coming weeks. */
function withOldRecord(salon: Salon, random: Random, nowMs: EpochMs): Salon {
  const ago = (ms: number) => quarterHour(wallAt(nowMs - ms, salon.zone));
  const startsLocal = random.weighted([
    [ago(730 * DAY_MS), 1],
    [ago(random.integer(1, 20) * DAY_MS), 3],
    [ago(random.integer(10, 170) * 60_000), 4],
    [slotInDays(salon, random, nowMs, random.integer(1, 20)), 6],
  ]);
  const made = Math.min(nowMs, instantAt(startsLocal, salon.zone)) - random.integer(3, 200) * HOUR_MS;
  const seed = {
    id: salon.nextId,
    visitId: salon.nextId,
    createdAt: wholeSecond(made),
    startsLocal,
    known: true,
  };
  const records = [...salon.records, newRecord(salon, random, seed)];
  return { ...salon, records, nextId: salon.nextId + 1 };
}

export type RecordSeed = Pick<SalonRecord, 'id' | 'visitId' | 'createdAt' | 'startsLocal' | 'known'> &
  Partial<Pick<SalonRecord, 'clientId' | 'maker'>>;

/** A record with everything that was not given drawn at random. */
export function newRecord(salon: Salon, random: Random, seed: RecordSeed): SalonRecord {
  const services = pickServices(salon, random);
  return {
    staffId: random.pick(salon.cast.staff).id,
    startsAt: instantAt(seed.startsLocal, salon.zone),
    services,
    durationSeconds: durationOf(services),
    clientId: random.chance(0.04) ? null : random.pick(salon.cast.clients).id,
    attendance: 0,
    attendanceSince: seed.createdAt,
    version: seed.createdAt,
    deleted: false,
    gone: false,
    paid: false,
    comment: '',
    maker: pickMaker(salon.brand, random),
    ...seed,
  };
}

/** One to three services, rarely none; the same one twice now and then. */
export function pickServices(salon: Salon, random: Random): readonly BookedService[] {
  const count = random.weighted([
    [0, 1],
    [1, 24],
    [2, 10],
    [3, 4],
  ] as const);
  return Array.from({ length: count }, () => ({
    offered: random.pick(salon.cast.services),
    amount: random.chance(0.08) ? 2 : 1,
  }));
}

export function durationOf(services: readonly BookedService[]): number {
  const seconds = services.reduce((sum, { offered, amount }) => sum + offered.durationSeconds * amount, 0);
  return Math.max(seconds, 1800);
}

/** The makers of fifty real records: 37 administrators, 9 widgets, 2 apps, 2 aggregators. */
function pickMaker(brand: Brand, random: Random): Maker {
  const online = { online: true, createdUserId: 0 };
  const app = brand === 'yclients' ? 'YClients App' : 'Altegio.me App';
  const partner = brand === 'yclients' ? 'Партнёры: Карта города' : 'Partners: City Map';
  return random.weighted<Maker>([
    [{ online: false, recordFrom: '', bookformId: 0, createdUserId: 12_795_000 }, 37],
    [{ ...online, recordFrom: 'Main form Online widget', bookformId: 410_001 }, 9],
    [{ ...online, recordFrom: app, bookformId: 410_900 }, 2],
    [{ ...online, recordFrom: partner, bookformId: 0 }, 2],
  ]);
}

export function clientOf(salon: Salon, clientId: number | null): Client | undefined {
  return salon.cast.clients.find(client => client.id === clientId);
}

export function wholeSecond(instant: EpochMs): EpochMs {
  return Math.floor(instant / 1000) * 1000;
}

/** A start in working hours, `days` from today, in the salon's wall clock. */
export function slotInDays(salon: Salon, random: Random, nowMs: EpochMs, days: number): Wall {
  const day = Temporal.PlainDate.from(wallAt(nowMs, salon.zone).slice(0, 10)).add({ days });
  const hour = String(random.integer(9, 20)).padStart(2, '0');
  return `${day}T${hour}:${random.pick(['00', '15', '30', '45', '10'])}:00`;
}

/** The quarter of an hour that `wall` lies in. */
export function quarterHour(wall: Wall): Wall {
  const minute = Math.floor(Number(wall.slice(14, 16)) / 15) * 15;
  return `${wall.slice(0, 14)}${String(minute).padStart(2, '0')}:00`;
}
