/**
 * The platform: the REST API of any number of companies, on one address, in one process.
 *
 * Its documented ways are always on (tokens, limits, the cap of a page, unknown parameters ignored); what is
 * undocumented is chosen by quirks, and what goes wrong by troubles, both at any time. With a clock that jumps, hours
 * of it pass in a moment.
 */
import type { Brand } from '../cast.ts';
import { type Clock, systemClock } from '../clock.ts';
import type { Happening } from '../course.ts';
import { createRandom } from '../random.ts';
import { openSalon, type Salon } from '../salon.ts';
import type { User } from './access.ts';
import { type Branch, openBranch } from './branch.ts';
import { PLAIN, type Quirks } from './quirks.ts';
import { RECORDS_ROUTES } from './records-routes.ts';
import { createServer, type World } from './server.ts';
import { DOCUMENTED, type Limits, openTraffic, type TrafficStats } from './traffic.ts';
import { openTroubles, type Trouble } from './trouble.ts';

export type PlatformOptions = {
  /** Loopback unless told. */
  readonly host?: string | undefined;
  /** 0 (any) unless told. */
  readonly port?: number | undefined;
  readonly brand?: Brand | undefined;
  readonly partnerToken?: string | undefined;
  /** A user with every right in every company. */
  readonly userToken?: string | undefined;
  /** `sleep` is only asked between a change and its webhook. */
  readonly clock?: Clock | undefined;
  readonly seed?: number | undefined;
  /** The documented ones unless told; null: none. */
  readonly limits?: Limits | null | undefined;
  readonly quirks?: Partial<Quirks> | undefined;
};

export type CompanyOptions = {
  readonly zone?: string;
  /** How many records its journal holds; 0 unless told. */
  readonly records?: number;
  readonly clients?: number;
  readonly staff?: number;
};

export type Platform = {
  /** Without a slash at its end, and without `/api/v1`. */
  readonly url: string;
  readonly partnerToken: string;
  readonly userToken: string;
  /** A new company with an invented salon. Record ids of companies added here do not overlap (up to 90,000 each). */
  add(companyId: number, options?: CompanyOptions): Branch;
  /** The company whose salon this is, at that moment; replaces the one that was there. */
  load(salon: Salon): Branch;
  /** Throws when there is none. */
  salon(companyId: number): Branch;
  setUser(token: string, user: User): void;
  setQuirks(quirks: Partial<Quirks>): void;
  /** Replaces what goes wrong; nothing at all when empty. */
  setFault(...troubles: readonly Trouble[]): void;
  stats(): TrafficStats;
  /** Counts from zero again. */
  forgetStats(): void;
  close(): Promise<void>;
};

const PARTNER_TOKEN = 'simulated-partner';
const USER_TOKEN = 'simulated-user';
const ZONES: Readonly<Record<Brand, string>> = { yclients: 'Asia/Yekaterinburg', altegio: 'Europe/Berlin' };
const FIRST_RECORD_ID = 500_000_000;
const IDS_OF_A_COMPANY = 90_000;

export async function startPlatform(options: PlatformOptions = {}): Promise<Platform> {
  const { host = '127.0.0.1', port = 0, brand = 'yclients', clock = systemClock, seed = 1 } = options;
  const { partnerToken = PARTNER_TOKEN, userToken = USER_TOKEN, limits = DOCUMENTED } = options;
  const random = createRandom(seed);
  const branches = new Map<number, Branch>();
  const users = new Map<string, User>([[userToken, { companies: 'all' }]]);
  const traffic = openTraffic(limits);
  const troubles = openTroubles(random.fork());
  let quirks: Quirks = { ...PLAIN, ...options.quirks };

  const world: World = {
    brand,
    partnerToken,
    users,
    branches,
    clock,
    random: random.fork(),
    traffic,
    troubles,
    quirks: () => quirks,
    changed(_branch: Branch, _happening: Happening) {},
  };
  const server = createServer(world, RECORDS_ROUTES);
  const url = await server.listen({ host, port });

  const load = (salon: Salon): Branch => {
    const branch = openBranch(salon, random.fork());
    branches.set(salon.companyId, branch);
    return branch;
  };

  return {
    url,
    partnerToken,
    userToken,
    add(companyId, { zone = ZONES[brand], records = 0, ...sizes } = {}) {
      const firstId = FIRST_RECORD_ID + branches.size * IDS_OF_A_COMPANY;
      return load(
        openSalon({ companyId, brand, zone, records, firstId, ...sizes }, random.fork(), clock.now()),
      );
    },
    load,
    salon(companyId) {
      const branch = branches.get(companyId);
      if (branch === undefined) throw new Error(`the platform has no company ${companyId}`);
      return branch;
    },
    setUser: (token, user) => users.set(token, user),
    setQuirks(changes) {
      quirks = { ...quirks, ...changes };
    },
    setFault: (...wanted) => troubles.set(wanted),
    stats: traffic.stats,
    forgetStats: traffic.forget,
    close: () => server.close(),
  };
}
