/**
 * A salon that connects by the marketplace, and one that leaves by it. The salon's number in the link is not signed, so
 * the platform's answer to the activation decides: what it refuses is undone here, down to the state before.
 */

import { randomUUID } from 'node:crypto';
import { isZone } from './domain/time.ts';
import type { ConnectRoute, SalonConnection } from './http/connect.ts';
import type { LifecycleRoute } from './http/lifecycle.ts';
import type { Log } from './log.ts';
import { confirmKey, proposeKey, withdrawKey } from './salon/companies.ts';
import { rezoneBookings } from './store/bookings.ts';
import {
  audit,
  type Brand,
  type CompanyUpdate,
  insertCompany,
  lockStanding,
  removeCompany,
  resumeCompany,
  type Standing,
  stopCompany,
  updateCompany,
  writeStanding,
} from './store/companies.ts';
import { requestReplan } from './store/plans.ts';
import { type Pool, transaction } from './store/pool.ts';
import { endLease, takeLease } from './store/settings.ts';
import type { Vault } from './vault.ts';
import type { Marketplace } from './yclients/marketplace.ts';
import { readCompany } from './yclients/wire.ts';

export type ConnectorDeps = {
  readonly pool: Pool;
  readonly vault: Vault;
  readonly log: Log;
  readonly brand: Brand;
  readonly webhookUrl: (key: string) => string;
  readonly activate: Marketplace['activate'];
  /** The API's answer about a company; rejects where the API cannot be asked. */
  readonly lookUp: (companyId: number) => Promise<unknown>;
};

/** Stands in for a zone that could not be learnt, until a `company` event brings it. */
const DEFAULT_ZONE: Readonly<Record<Brand, string>> = { yclients: 'Europe/Moscow', altegio: 'UTC' };
/** Nobody is told anything before the operator has chosen how: on the console it is only seen. */
const FIRST_ROUTE = ['console'];

/** Longer than two tries of an activation take, and what is written before and after. */
const LEASE_MS = 60_000;

/**
 * Presses for one salon that come while one is under way share its outcome, so that the newest key is the platform's. To
 * another process they come as well: nginx asks it when this one waits for the platform for longer than six seconds.
 */
export function createConnector(deps: ConnectorDeps): ConnectRoute['connect'] {
  const underWay = new Map<number, Promise<SalonConnection>>();
  return salon => {
    const running = underWay.get(salon.salonId);
    if (running !== undefined) return running;
    const started = connectSafely(deps, salon).finally(() => underWay.delete(salon.salonId));
    underWay.set(salon.salonId, started);
    return started;
  };
}

type Salon = { readonly salonId: number; readonly salonName: string };

async function connectSafely(deps: ConnectorDeps, salon: Salon): Promise<SalonConnection> {
  const { salonId } = salon;
  const lease = { key: `connecting ${salonId}`, owner: randomUUID() };
  try {
    if (!(await takeLease(deps.pool, lease, LEASE_MS))) {
      const about = { company_id: salonId, outcome: 'unclear', reason: 'another process is at it' };
      deps.log.info(about, 'marketplace activation');
      return { salonId, outcome: 'unclear' };
    }
    try {
      return await connect(deps, salon);
    } finally {
      await endLease(deps.pool, lease);
    }
  } catch (error) {
    deps.log.error({ company_id: salonId, err: error }, 'a salon could not be connected');
    return { salonId, outcome: 'failed' };
  }
}

/** The company and its key are there before the platform is told, since events may come with its answer. */
async function connect(deps: ConnectorDeps, salon: Salon): Promise<SalonConnection> {
  const { pool, vault, log } = deps;
  const { salonId } = salon;
  const before = await open(deps, salon);
  const operator = { pool, vault, actor: 'marketplace' } as const;
  const key = await proposeKey(operator, salonId);
  const activation = await deps.activate({
    salonId,
    webhookUrl: deps.webhookUrl(key),
    apiKey: vault.hashKey(`marketplace api key of ${salonId}`).toString('hex'),
  });
  const reason = activation.outcome === 'active' ? undefined : activation.reason;
  log.info(
    { company_id: salonId, outcome: activation.outcome, ...(reason === undefined ? {} : { reason }) },
    'marketplace activation',
  );
  switch (activation.outcome) {
    case 'refused':
      await withdrawKey(operator, salonId, key);
      await undo(pool, salonId, before);
      return { salonId, outcome: isWorking(before) ? 'kept' : 'refused' };
    case 'unclear':
      // The platform may have either URL: both keys live on, and another press settles it.
      return { salonId, outcome: 'unclear' };
    case 'active':
      await confirmKey(operator, salonId, key);
      return { salonId, outcome: 'connected', assumedZone: await learn(deps, salonId, before === undefined) };
  }
}

function isWorking(standing: Standing | undefined): boolean {
  return standing !== undefined && standing.removedAt === null && standing.stoppedAt === null;
}

/** Adds the company, or lets it work again with the settings it had; answers how it stood before. */
function open({ pool, brand }: ConnectorDeps, { salonId, salonName }: Salon): Promise<Standing | undefined> {
  return transaction(pool, async db => {
    const standing = await lockStanding(db, salonId);
    if (standing === undefined) {
      await insertCompany(db, {
        companyId: salonId,
        title: salonName === '' ? `${salonId}` : salonName,
        zone: DEFAULT_ZONE[brand],
        brand,
        locale: brand === 'altegio' ? 'en' : 'ru',
        route: FIRST_ROUTE,
        webhookUrl: null,
        botApiPrefix: null,
        signatureRequired: false,
      });
    } else if (!isWorking(standing)) {
      await resumeCompany(db, salonId);
      await requestReplan(db, salonId);
    }
    await audit(db, { actor: 'marketplace', action: 'company.connect', companyId: salonId });
    return standing;
  });
}

async function undo(pool: Pool, companyId: number, before: Standing | undefined): Promise<void> {
  await transaction(pool, async db => {
    // Whoever has switched it off since we asked the platform knows better than how it stood before.
    const isOurs = isWorking(await lockStanding(db, companyId));
    if (before === undefined) await removeCompany(db, companyId);
    else if (!isWorking(before) && isOurs) await writeStanding(db, companyId, before);
    await audit(db, { actor: 'marketplace', action: 'company.connect_refused', companyId });
  });
}

/** Title and zone from the API. The zone that stands in for a new company where it cannot be asked, else undefined. */
async function learn(
  { pool, brand, log, lookUp }: ConnectorDeps,
  companyId: number,
  isNew: boolean,
): Promise<string | undefined> {
  const learnt: CompanyUpdate = await lookUp(companyId).then(readCompany, error => {
    log.warn({ company_id: companyId, err: error }, 'the API does not tell about a salon that connected');
    return {};
  });
  const { title, zone, phone, address } = learnt;
  const update = {
    ...(title === undefined ? {} : { title }),
    ...(zone === undefined || !isZone(zone) ? {} : { zone }),
    ...(phone === undefined ? {} : { phone }),
    ...(address === undefined ? {} : { address }),
  };
  await transaction(pool, async db => {
    if (update.zone !== undefined) await rezoneBookings(db, companyId, update.zone);
    await updateCompany(db, companyId, update);
  });
  if ('zone' in update || !isNew) return undefined;
  await audit(pool, { actor: 'marketplace', action: 'company.zone_assumed', companyId });
  log.warn(
    { company_id: companyId },
    'the zone of a salon is assumed until one of its company events names it',
  );
  return DEFAULT_ZONE[brand];
}

/** A lifecycle event takes effect once; an uninstall outranks a freeze. */
export function createStopper(pool: Pool): LifecycleRoute['stop'] {
  return (companyId, event) =>
    transaction(pool, async db => {
      if ((await lockStanding(db, companyId)) === undefined) return 'unknown';
      if (!(await stopCompany(db, companyId, event))) return 'already';
      await audit(db, { actor: 'marketplace', action: `company.${event}`, companyId });
      return 'stopped';
    });
}
