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
import { parseFaults } from '../faults.ts';
import { createRandom } from '../random.ts';
import { openSalon, type Salon } from '../salon.ts';
import type { Answer } from '../sender.ts';
import type { User } from './access.ts';
import { BOOKING_FORM_ROUTES } from './booking-form-routes.ts';
import { type Branch, openBranch } from './branch.ts';
import { type CourierStats, openCourier, type Way } from './courier.ts';
import { DIRECTORY_ROUTES } from './directory-routes.ts';
import { listenersOf } from './hooks.ts';
import { HOOKS_ROUTES } from './hooks-routes.ts';
import { connectQuery, type LifecycleEvent, type Owner, openMarketplace } from './marketplace.ts';
import { PLAIN, type Quirks } from './quirks.ts';
import { RECORDS_ROUTES } from './records-routes.ts';
import { createServer, type World } from './server.ts';
import { openTexts, type Text } from './texts.ts';
import { DOCUMENTED, type Limits, openTraffic, type TrafficStats } from './traffic.ts';
import { openTroubles, type Trouble } from './trouble.ts';
import { WRITING_ROUTES } from './writing-routes.ts';

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
  /** What befalls the webhooks that the platform sends by itself; nothing unless told. */
  readonly way?: Way | undefined;
  /** Before each call is served: the time to make true what is due. */
  readonly onCall?: (() => void) | undefined;
  /** Takes over what a call of the API did to a salon: the platform then sends no webhook of it. */
  readonly onWrite?: ((branch: Branch, happening: Happening) => void) | undefined;
  readonly applicationId?: number | undefined;
  /** How long after "connect" the application may call back; an hour unless told. */
  readonly grantMs?: number | undefined;
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
  /** Of our application in the marketplace. */
  readonly applicationId: number;
  /** A new company with an invented salon. Record ids of companies added here do not overlap (up to 90,000 each). */
  add(companyId: number, options?: CompanyOptions): Branch;
  /** The company whose salon this is, at that moment; replaces the one that was there. */
  load(salon: Salon): Branch;
  /** Throws when there is none. */
  salon(companyId: number): Branch;
  /** Sends the webhooks of a happening (which `apply` or `act` made true) to the URLs of the company's settings. */
  tell(companyId: number, happening: Happening): void;
  /** The URLs that hear of `resource`; `own`: it was caused by the partner's own call. */
  listeners(companyId: number, resource: string, own: boolean): readonly string[];
  /** A text of the company's for its SMS operator: its id, and the body to post. */
  text(companyId: number, text: Text): { readonly id: string; readonly body: string };
  /** What the operator said of a text, in the order in which it came. */
  statuses(id: string): readonly number[];
  /** One request to a listener, now. Never rejects. */
  post(url: string, body: string): Promise<Answer>;
  /** When all webhooks so far have been answered or given up. */
  settled(): Promise<void>;
  /** The owner of these salons presses "connect": what the browser brings to the application's redirect URL. */
  connect(companyIds: readonly number[], owner?: Owner): URLSearchParams;
  isInstalled(companyId: number): boolean;
  /** The salon removes or freezes the application, which hears of it at `url`; answers how: a status, or what failed. */
  lifecycle(event: LifecycleEvent, companyId: number, url: string): Promise<string>;
  setUser(token: string, user: User): void;
  setQuirks(quirks: Partial<Quirks>): void;
  /** Replaces what goes wrong; nothing at all when empty. */
  setFault(...troubles: readonly Trouble[]): void;
  stats(): TrafficStats & { readonly webhooks: CourierStats };
  /** Counts from zero again. */
  forgetStats(): void;
  /** Serves no call any more, while webhooks still go out. */
  stopAnswering(): Promise<void>;
  close(): Promise<void>;
};

const PARTNER_TOKEN = 'simulated-partner';
const USER_TOKEN = 'simulated-user';
const ZONES: Readonly<Record<Brand, string>> = { yclients: 'Asia/Yekaterinburg', altegio: 'Europe/Berlin' };
const APPLICATION_ID = 5_001;
const GRANT_MS = 3_600_000;
const FIRST_RECORD_ID = 500_000_000;
const IDS_OF_A_COMPANY = 90_000;

const ROUTES = [
  ...RECORDS_ROUTES,
  ...DIRECTORY_ROUTES,
  ...BOOKING_FORM_ROUTES,
  ...WRITING_ROUTES,
  ...HOOKS_ROUTES,
];

export async function startPlatform(options: PlatformOptions = {}): Promise<Platform> {
  const { host = '127.0.0.1', port = 0, brand = 'yclients', clock = systemClock, seed = 1 } = options;
  const { partnerToken = PARTNER_TOKEN, userToken = USER_TOKEN, limits = DOCUMENTED } = options;
  const { applicationId = APPLICATION_ID, grantMs = GRANT_MS } = options;
  const random = createRandom(seed);
  const branches = new Map<number, Branch>();
  const users = new Map<string, User>([[userToken, { companies: 'all' }]]);
  const traffic = openTraffic(limits);
  const troubles = openTroubles(random.fork());
  let quirks: Quirks = { ...PLAIN, ...options.quirks };

  const way = options.way ?? { faults: parseFaults('none') };
  const courier = openCourier(clock, random.fork(), way);
  const market = openMarketplace({ applicationId, partnerToken, grantMs });
  const texts = openTexts({ partnerToken, url: () => url });
  const tell = (branch: Branch, { webhooks }: Happening, own: boolean) =>
    courier.send(webhooks, ({ resource }) => listenersOf(branch.hooks(), resource, own));

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
    companyOfText: texts.companyOf,
    due: options.onCall ?? (() => {}),
    changed: options.onWrite ?? ((branch, happening) => tell(branch, happening, true)),
  };
  const server = createServer(world, [...ROUTES, ...market.routes, ...texts.routes]);
  const url = await server.listen({ host, port });

  const companyOf = (companyId: number): Branch => {
    const branch = branches.get(companyId);
    if (branch === undefined) throw new Error(`the platform has no company ${companyId}`);
    return branch;
  };
  const load = (salon: Salon): Branch => {
    const branch = openBranch(salon, random.fork());
    branches.set(salon.companyId, branch);
    return branch;
  };

  return {
    url,
    partnerToken,
    userToken,
    applicationId,
    add(companyId, { zone = ZONES[brand], records = 0, ...sizes } = {}) {
      const firstId = FIRST_RECORD_ID + branches.size * IDS_OF_A_COMPANY;
      return load(
        openSalon({ companyId, brand, zone, records, firstId, ...sizes }, random.fork(), clock.now()),
      );
    },
    load,
    salon: companyOf,
    tell: (companyId, happening) => tell(companyOf(companyId), happening, false),
    listeners: (companyId, resource, own) => listenersOf(companyOf(companyId).hooks(), resource, own),
    text: (companyId, text) => texts.write(companyOf(companyId).companyId, text),
    statuses: texts.statuses,
    post: courier.post,
    settled: courier.settled,
    connect(companyIds, owner) {
      market.grant(companyIds, clock.now());
      return connectQuery(companyIds, partnerToken, owner);
    },
    isInstalled: market.isInstalled,
    async lifecycle(event, companyId, url) {
      const { tries } = await courier.post(url, market.leave(companyOf(companyId), event));
      return tries.join();
    },
    setUser: (token, user) => users.set(token, user),
    setQuirks(changes) {
      quirks = { ...quirks, ...changes };
    },
    setFault: (...wanted) => troubles.set(wanted),
    stats: () => ({ ...traffic.stats(), webhooks: courier.stats() }),
    forgetStats: traffic.forget,
    stopAnswering: () => server.close(),
    async close() {
      await server.close();
      await courier.close();
    },
  };
}
