/** The public receiver on a database of its own, with the marketplace's side on loopback. */
import { createHmac } from 'node:crypto';
import type { InjectOptions, LightMyRequestResponse } from 'fastify';
import { createConnector, createStopper } from '../../src/connect.ts';
import { createKeyRing } from '../../src/http/keys.ts';
import { createReceiver } from '../../src/http/receive.ts';
import { createPostgresLog } from '../../src/ingest/postgres-log.ts';
import { createLog } from '../../src/log.ts';
import { createMetrics, type Metrics } from '../../src/metrics.ts';
import type { Brand } from '../../src/store/companies.ts';
import type { Pool } from '../../src/store/pool.ts';
import { createVault } from '../../src/vault.ts';
import { createMarketplace } from '../../src/yclients/marketplace.ts';
import { testDatabase, testPool } from '../support/database.ts';
import { type SalonHooks, startSalonHooks } from '../support/salon-hooks.ts';

export const PARTNER_TOKEN = 'canary-partner-token-77';
export const APPLICATION_ID = 4242;
const PUBLIC_URL = 'https://otklik.test';

export type Rig = {
  readonly platform: SalonHooks;
  readonly pool: Pool;
  readonly metrics: Metrics;
  /** Everything that was logged. */
  logged(): string;
  request(options: InjectOptions): Promise<LightMyRequestResponse>;
  /** The owner's browser, back from the marketplace. */
  press(query: Readonly<Record<string, string>>): Promise<LightMyRequestResponse>;
  lifecycle(body: unknown): Promise<LightMyRequestResponse>;
  /** An event of a salon, to a URL as the platform got it. */
  event(url: string, body: unknown): Promise<LightMyRequestResponse>;
  company(companyId: number): Promise<Record<string, unknown> | undefined>;
  /** The URLs activated for a salon, in order. */
  urls(salonId: number): string[];
  rejected(cause: string): Promise<number>;
  close(): Promise<void>;
};

export async function createRig({
  brand = 'yclients',
  lacks = [],
  lookUp,
}: {
  brand?: Brand;
  lacks?: readonly string[];
  lookUp?: (companyId: number) => Promise<unknown>;
} = {}): Promise<Rig> {
  const database = await testDatabase();
  const platform = await startSalonHooks({ urls: [''] });
  const pool = testPool(database.url, { max: 4 });
  const vault = createVault(Buffer.alloc(32, 7));
  const lines: string[] = [];
  const log = createLog('debug', { write: line => lines.push(line) });
  const metrics = createMetrics();
  const ingest = createPostgresLog({ pool, onAppended: () => {} });
  const marketplace = createMarketplace({
    ...{ partnerToken: PARTNER_TOKEN, applicationId: APPLICATION_ID, brand, baseUrl: platform.url },
    ...{ timeoutMs: 30_000, retryPauseMs: 1 },
  });
  const connect = createConnector({
    ...{ pool, vault, log, brand, activate: marketplace.activate },
    webhookUrl: key => `${PUBLIC_URL}/webhooks/yclients/${key}`,
    lookUp: lookUp ?? (async () => platform.company),
  });
  const app = createReceiver({
    keys: createKeyRing({ pool, vault, now: Date.now }),
    ...{ ingest, metrics, log, now: Date.now, trustedProxies: [] },
    limits: { perCompany: 1_000, perAddress: 1_000 },
    marketplace: {
      connect: { partnerToken: PARTNER_TOKEN, brand, lacks, connect },
      lifecycle: {
        partnerToken: PARTNER_TOKEN,
        applicationId: APPLICATION_ID,
        stop: createStopper(pool),
      },
    },
  });
  const post = (url: string, body: unknown) =>
    app.inject({
      method: 'POST',
      url,
      headers: { 'content-type': 'application/json' },
      payload: typeof body === 'string' ? body : JSON.stringify(body),
    });
  return {
    platform,
    pool,
    metrics,
    logged: () => lines.join(''),
    request: options => app.inject(options),
    press: query => app.inject({ method: 'GET', url: `/connect/yclients?${new URLSearchParams(query)}` }),
    lifecycle: body => post('/webhooks/yclients/lifecycle', body),
    event: (url, body) => post(new URL(url).pathname, body),
    company: async companyId => {
      const { rows } = await pool.query(
        `SELECT title, zone, locale, route, removed_at IS NOT NULL AS removed, stopped_because,
           (SELECT count(*) FROM company_keys k WHERE k.company_id = c.company_id AND expires_at IS NULL) AS keys
         FROM companies c WHERE company_id = $1`,
        [companyId],
      );
      return rows[0];
    },
    urls: salonId =>
      platform.activations
        .filter(({ body }) => body.salon_id === salonId)
        .flatMap(({ body }) => (Array.isArray(body.webhook_urls) ? body.webhook_urls.map(String) : [])),
    rejected: async cause => {
      const { values } = await metrics.rejected.get();
      return values.find(({ labels }) => labels.cause === cause)?.value ?? 0;
    },
    close: async () => {
      await app.close();
      await marketplace.close();
      await pool.end();
      await platform.close();
      await database.close();
    },
  };
}

/** `user_data` and its signature, as the platform really makes them. Invented person. */
export function userData(changes: Readonly<Record<string, unknown>> = {}): {
  user_data: string;
  user_data_sign: string;
} {
  const user = {
    ...{ id: '17', name: 'Зоя Пример', phone: '79000000001', email: 'zoya@mail.test', is_approved: true },
    salon_name: 'Салон «Полынь»',
    ...changes,
  };
  const bytes = Buffer.from(JSON.stringify(user));
  return { user_data: bytes.toString('base64'), user_data_sign: hmac(bytes) };
}

export function hmac(message: string | Buffer): string {
  return createHmac('sha256', PARTNER_TOKEN).update(message).digest('hex');
}
