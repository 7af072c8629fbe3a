/** The platform's API for a company: its tokens found and opened, one client a brand, one budget a host. */
import type { Config } from './config.ts';
import { PlainError } from './log.ts';
import type { Opened } from './open.ts';
import { createGate, type GateOptions } from './store/budget.ts';
import { findCompanies, findSecrets } from './store/companies.ts';
import type { Pool } from './store/pool.ts';
import type { Vault } from './vault.ts';
import { ApiError, type Brand, type CompanyApi } from './yclients/api.ts';
import {
  type ApiClient,
  type ApiClientOptions,
  createApiClient,
  DEFAULT_API_URLS,
} from './yclients/client.ts';

export type ApiAccess = {
  /**
   * The API as this company's tokens open it. Where a token is not set its calls reject, saying which; a company that
   * is none of ours is refused at once.
   */
  apiOf(companyId: number): Promise<CompanyApi>;
  /** The same; undefined where a token is not set or the company is none of ours (any more). */
  findApi(companyId: number): Promise<CompanyApi | undefined>;
  /** Asks nothing more; what has left may come back. While the API is paused, calls wait for minutes. */
  stop(): void;
  /** Ends what is under way too. */
  close(): Promise<void>;
};

export type ApiAccessOptions = {
  readonly pool: Pool;
  readonly vault: Vault;
  readonly config: Pick<
    Config,
    | 'YCLIENTS_PARTNER_TOKEN'
    | 'YCLIENTS_USER_TOKEN'
    | 'YCLIENTS_API_URL'
    | 'ALTEGIO_PARTNER_TOKEN'
    | 'ALTEGIO_USER_TOKEN'
    | 'API_ADDRESS'
  >;
  readonly now: () => number;
  readonly random: () => number;
  readonly onCall?: ApiClientOptions['onCall'];
  readonly timeoutMs?: number;
  /** For a command, whose user waits: less than a loop would. */
  readonly maxWaitMs?: number;
  /** Virtual time: also the pauses between tries then pass in it. */
  readonly clock?: GateOptions['clock'];
};

const COMMAND_WAIT_MS = 15_000;

export function createApiAccess(options: ApiAccessOptions): ApiAccess {
  const { pool, vault, config } = options;
  const clients = new Map<Brand, ApiClient>();

  function clientOf(brand: Brand): ApiClient {
    const known = clients.get(brand);
    if (known !== undefined) return known;
    const { now, random, onCall, timeoutMs, maxWaitMs, clock } = options;
    const baseUrl = config.YCLIENTS_API_URL ?? DEFAULT_API_URLS[brand];
    // The platform counts per address that calls; each of its hosts for itself.
    const scope = `${config.API_ADDRESS}/${new URL(baseUrl).host}`;
    const client = createApiClient({
      ...{ brand, baseUrl, now, random },
      partnerToken: tokensOf(config, brand).partner,
      gate: createGate({
        ...{ pool, scope, random },
        ...(maxWaitMs === undefined ? {} : { maxWaitMs }),
        ...(clock === undefined ? {} : { clock }),
      }),
      ...(onCall === undefined ? {} : { onCall }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(clock === undefined ? {} : { sleep: clock.sleep }),
    });
    clients.set(brand, client);
    return client;
  }

  /** What the company has; undefined when there is no such company, or it was removed. */
  async function look(companyId: number): Promise<{ brand: Brand; user: string | undefined } | undefined> {
    const company = (await findCompanies(pool, [companyId])).get(companyId);
    if (company === undefined || company.removed) return undefined;
    const sealed = (await findSecrets(pool, [companyId], 'user')).get(companyId)?.[0];
    const own = sealed === undefined ? undefined : openToken(vault, sealed, companyId);
    return { brand: company.brand, user: own ?? tokensOf(config, company.brand).user };
  }

  return {
    async apiOf(companyId) {
      const found = await look(companyId);
      if (found === undefined) {
        throw new ApiError(
          'forbidden',
          `there is no company ${companyId}; \`company list\` shows those there are`,
        );
      }
      return clientOf(found.brand).company(companyId, found.user);
    },
    async findApi(companyId) {
      const found = await look(companyId);
      if (found?.user === undefined || tokensOf(config, found.brand).partner === undefined) return undefined;
      return clientOf(found.brand).company(companyId, found.user);
    },
    stop() {
      for (const client of clients.values()) client.stop();
    },
    async close() {
      await Promise.all([...clients.values()].map(client => client.close()));
    },
  };
}

/** For a command, whose user waits: it says sooner than a loop would that the API is paused. */
export function commandAccess(config: ApiAccessOptions['config'], { pool, vault }: Opened): ApiAccess {
  return createApiAccess({
    pool,
    vault,
    config,
    now: Date.now,
    random: Math.random,
    maxWaitMs: COMMAND_WAIT_MS,
  });
}

/** Partner tokens by brand. */
export function partnerTokensOf(config: ApiAccessOptions['config']): {
  readonly [brand in Brand]: string | undefined;
} {
  return { yclients: tokensOf(config, 'yclients').partner, altegio: tokensOf(config, 'altegio').partner };
}

/** Altegio's own where they are set, else those of YClients: most serve one brand only, and set the one pair. */
function tokensOf(
  config: ApiAccessOptions['config'],
  brand: Brand,
): { partner: string | undefined; user: string | undefined } {
  const { YCLIENTS_PARTNER_TOKEN: partner, YCLIENTS_USER_TOKEN: user } = config;
  if (brand === 'yclients') return { partner, user };
  return { partner: config.ALTEGIO_PARTNER_TOKEN ?? partner, user: config.ALTEGIO_USER_TOKEN ?? user };
}

function openToken(vault: Vault, sealed: Buffer, companyId: number): string {
  try {
    return vault.open(sealed);
  } catch (cause) {
    if (!(cause instanceof PlainError)) throw cause;
    throw new ApiError('unauthorised', `company ${companyId}, user token: ${cause.message}`, { cause });
  }
}
