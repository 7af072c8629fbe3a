/** The role `receive`: the public endpoint and what stands behind its routes. */
import type { FastifyInstance } from 'fastify';
import type { ApiAccess } from './api-access.ts';
import { type Config, marketplaceLacks } from './config.ts';
import { answerUrlOf, publicRoot } from './configured-urls.ts';
import { createConnector, createStopper } from './connect.ts';
import { closeServer } from './http/close.ts';
import { createKeyRing } from './http/keys.ts';
import { rememberReceiptSecrets } from './http/receipt-secrets.ts';
import { createReceiver, type ReceiverDeps } from './http/receive.ts';
import { createPostgresLog } from './ingest/postgres-log.ts';
import type { Log } from './log.ts';
import type { Wake } from './loops.ts';
import type { Metrics } from './metrics.ts';
import type { Opened } from './open.ts';
import { receiptReaders } from './receipt-readers.ts';
import { createPool, type Pool } from './store/pool.ts';
import type { Tracing } from './tracing.ts';
import type { Vault } from './vault.ts';
import { inOrder } from './work/loop.ts';
import { createRejectCounter } from './work/rejects.ts';
import { webhookUrl } from './yclients/hooks.ts';
import { createMarketplace } from './yclients/marketplace.ts';
import { STATUS_URLS } from './yclients/relay-status.ts';

/** A statement of the receiver that takes longer is given up: the sender stops waiting at 10 s. */
const STATEMENT_TIMEOUT_MS = 4_000;
const CONNECTIONS = 4;

export type Receiving = {
  readonly app: FastifyInstance;
  readonly pool: Pool;
  /** Begins to write down what it refuses; it answers once its app listens. */
  start(): void;
  /** Accepts no more, answers what is under way, and writes what is left. */
  stop(): Promise<void>;
};

export type ReceivingDeps = {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly opened: Opened;
  readonly access: ApiAccess;
  readonly tracing: Tracing | undefined;
  /** Whom to wake when something came in. */
  readonly wake: Wake;
};

/** It has connections of its own, so that work behind it cannot starve it. */
export function createReceiving(
  config: Config,
  { log, metrics, opened, access, tracing, wake }: ReceivingDeps,
): Receiving {
  const pool = createPool(opened.url, {
    max: CONNECTIONS,
    name: 'otklik receive',
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    byKey: true,
  });
  const ingest = createPostgresLog({ pool, onAppended: wake.events });
  const marketplace = marketplaceOf(config, log, opened, access);
  const app = createReceiver({
    ...(marketplace === undefined ? {} : { marketplace: marketplace.routes }),
    keys: createKeyRing({ pool, vault: opened.vault, now: Date.now }),
    ...{ ingest, metrics, log, tracing },
    now: Date.now,
    ...(answerUrlOf(config, opened.vault) === undefined
      ? {}
      : { answers: { pool, vault: opened.vault, now: Date.now } }),
    ...receiptsOf(config, pool, opened.vault, wake.ears),
    relay: {
      ...{ pool, onTexts: wake.texts },
      keys: createKeyRing({ pool, vault: opened.vault, now: Date.now, use: 'texts' }),
      statusUrlOf: brand => config.YCLIENTS_STATUS_URL ?? STATUS_URLS[brand],
      names: { id: config.OPERATOR_ID_FIELD, phone: config.OPERATOR_PHONE_FIELD },
    },
    limits: { perCompany: config.RATE_PER_COMPANY, perAddress: config.RATE_PER_ADDRESS },
    trustedProxies: config.TRUSTED_PROXIES,
  });
  const rejects = createRejectCounter({ pool: opened.pool, log, metrics, now: Date.now });
  return {
    ...{ app, pool, start: rejects.start },
    stop: () =>
      inOrder([
        () => closeServer(app),
        () => ingest.flushed(),
        () => pool.end(),
        () => marketplace?.close(),
        () => rejects.stop(),
      ]),
  };
}

/** Connecting by the marketplace, where a partner token is set; what else it needs is said when somebody connects. */
function marketplaceOf(
  config: Config,
  log: Log,
  { pool, vault }: Opened,
  access: ApiAccess,
): { routes: NonNullable<ReceiverDeps['marketplace']>; close(): Promise<void> } | undefined {
  const { YCLIENTS_PARTNER_TOKEN: partnerToken, YCLIENTS_APPLICATION_ID: applicationId } = config;
  if (partnerToken === undefined) return undefined;
  const brand = config.YCLIENTS_BRAND;
  const marketplace = createMarketplace({
    ...{ partnerToken, brand, applicationId: applicationId ?? 0 },
    baseUrl: config.YCLIENTS_MARKETPLACE_URL,
  });
  const connect = createConnector({
    ...{ pool, vault, log, brand, activate: marketplace.activate },
    webhookUrl: key => webhookUrl(publicRoot(config), key),
    lookUp: async companyId => (await access.apiOf(companyId)).company(),
  });
  return {
    routes: {
      connect: { partnerToken, brand, connect, lacks: marketplaceLacks(config) },
      lifecycle: { partnerToken, applicationId, stop: createStopper(pool) },
    },
    close: marketplace.close,
  };
}

/** Routes for receipts and updates, where there is a channel whose provider sends any. */
function receiptsOf(
  config: Config,
  pool: Pool,
  vault: Vault,
  onHeard: () => void,
): Pick<ReceiverDeps, 'receipts'> {
  const readers = receiptReaders(config);
  return readers.size === 0
    ? {}
    : {
        receipts: {
          pool,
          secretsOf: rememberReceiptSecrets({ pool, vault, now: Date.now }),
          readers,
          onHeard,
        },
      };
}
