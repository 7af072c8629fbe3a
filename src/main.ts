/** The composition root: puts the roles of one process together, starts and stops them in order. No logic. */
import { hash, randomBytes } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { type ApiAccess, createApiAccess, partnerTokensOf } from './api-access.ts';
import type { Channel } from './channels/channel.ts';
import { closeChannels, createChannels } from './channels/registry.ts';
import { type Config, isReachable, marketplaceLacks, type Role } from './config.ts';
import { roadsOf, watchSettings } from './configured-alerts.ts';
import { channelsConfig } from './configured-channels.ts';
import { answeredOn, createEars } from './configured-ears.ts';
import { createConnector, createStopper } from './connect.ts';
import { createAlertTexts } from './domain/alert-text.ts';
import { writeLink } from './domain/answer.ts';
import { createTexts } from './domain/text.ts';
import { createAdmin } from './http/admin.ts';
import { createKeyRing } from './http/keys.ts';
import { closeServer } from './http/problem.ts';
import { rememberReceiptSecrets } from './http/receipt-secrets.ts';
import { createReceiver, type ReceiverDeps } from './http/receive.ts';
import { createPostgresLog } from './ingest/postgres-log.ts';
import { type Log, PlainError } from './log.ts';
import {
  createMetrics,
  type Metrics,
  watchBudget,
  watchCoverage,
  watchDepths,
  watchPools,
  watchSweeps,
} from './metrics.ts';
import { type Opened, open } from './open.ts';
import { receiptReaders, receiptUrl } from './receipt-readers.ts';
import { liveReceiptSecrets } from './salon/receipt-secrets.ts';
import { readBudget } from './store/budget.ts';
import { readCoverage, sumCoverage } from './store/coverage.ts';
import { pendingMigrations } from './store/migrate.ts';
import { createPool, inTime, type Pool } from './store/pool.ts';
import { readSetting, settleSetting } from './store/settings.ts';
import { readSweepDepths } from './store/sweeps.ts';
import { readDepths } from './store/views.ts';
import { loadTemplates } from './templates.ts';
import { startTracing, type Tracing } from './tracing.ts';
import type { Vault } from './vault.ts';
import { VERSION } from './version.ts';
import { type Actor, createActor } from './work/act.ts';
import { createWatch, type Watch } from './work/alert.ts';
import { createDigester, type Digester } from './work/digest.ts';
import { createDispatcher, type Dispatcher } from './work/dispatch.ts';
import { createListener, type Listener } from './work/listen.ts';
import { createPlanner, type Planner } from './work/planner.ts';
import { createProcessor, type Processor } from './work/process.ts';
import { createReconciler, type Reconciler } from './work/reconcile.ts';
import { createRejectCounter, type RejectCounter } from './work/rejects.ts';
import { createReporter, type Reporter } from './work/report.ts';
import { createSuccession } from './work/succession.ts';
import { createUpkeep, type Keep, type Upkeep } from './work/upkeep.ts';
import { createMarketplace } from './yclients/marketplace.ts';
import { createStatusTeller, STATUS_URLS } from './yclients/relay-status.ts';

/** A statement of the receiver that takes longer is given up: the sender stops waiting at 10 s. */
const RECEIVE_STATEMENT_TIMEOUT_MS = 4_000;
const INGEST_CONNECTIONS = 4;
/** Generous: a batch of 512 events takes some 50 ms. */
const WORK_STATEMENT_TIMEOUT_MS = 30_000;
const WORK_CONNECTIONS = 8;
/** Health and metrics answer even when the database hangs: a prober waits no longer than this. */
const PROBE_LIMIT_MS = 2_000;
/** A stop that takes longer leaves the rest to the leases. */
const STOP_LIMIT_MS = 25_000;

/** `late`: not all has ended within STOP_LIMIT_MS. What still runs holds the process, which has to be ended. */
export type Stopped = 'in order' | 'late';

export type Service = {
  readonly publicPort: number | undefined;
  readonly adminPort: number;
  readonly opened: Opened;
  /** The token made at this start because none was set; shown once. */
  readonly newAdminToken: string | undefined;
  webhookUrl(key: string): string;
  /** Stops accepting, finishes what is under way, gives leases back. May be called twice. */
  stop(): Promise<Stopped>;
};

export type ServiceOptions = {
  readonly log: Log;
  /** In place of the console channel that prints to standard output. */
  readonly console?: Channel;
  /** The platform's API as a company's tokens open it; that of the configuration unless given. */
  readonly apiOf?: ApiAccess['findApi'];
  /** Called when a newer version has left this process behind: it must stop. Nobody looks unless given. */
  readonly onOutgrown?: (reason: string) => void;
};

export async function startService(
  config: Config,
  { log, console, apiOf: givenApi, onOutgrown }: ServiceOptions,
): Promise<Service> {
  const metrics = createMetrics();
  const opened = await open(config, log);
  const { pool, vault } = opened;
  const has = (role: Role) => config.ROLES.includes(role);
  const now = Date.now;
  const random = Math.random;
  const channels = createChannels(channelsConfig(config));
  const roads = roadsOf(config);
  const templates = loadTemplates();
  const texts = createTexts(templates, {
    gaveWay(kind) {
      metrics.textsGaveWay.inc({ kind });
      log.warn({ purpose: kind }, 'a company’s own text failed, ours was sent: doctor says whose');
    },
  });
  if (console !== undefined) channels.set('console', console);

  const work = createPool(opened.url, {
    max: WORK_CONNECTIONS,
    name: 'otklik work',
    statementTimeoutMs: WORK_STATEMENT_TIMEOUT_MS,
    byKey: true,
  });
  const access = createApiAccess({
    ...{ pool, vault, config, now, random },
    onCall: ({ outcome, durationMs }) => {
      metrics.apiCalls.inc({ outcome });
      metrics.apiSeconds.observe(durationMs / 1000);
    },
  });
  const tracing = await tracingOf(config);
  const dispatcher: Dispatcher | undefined = has('dispatch')
    ? createDispatcher({
        pool: work,
        log,
        metrics,
        now,
        random,
        channels,
        vault,
        texts,
        roads,
        answers: answeredOn(config),
        answerUrl: answerUrlOf(config, vault),
        tracing,
      })
    : undefined;
  const teller = createStatusTeller({
    ...{ partnerTokens: partnerTokensOf(config), baseUrl: config.YCLIENTS_STATUS_URL, now },
  });
  const reporter: Reporter | undefined = has('dispatch')
    ? createReporter({ pool: work, log, metrics, random, teller, tracing })
    : undefined;
  const processor: Processor | undefined = has('process')
    ? createProcessor({
        pool: work,
        log,
        metrics,
        now,
        random,
        vault,
        tracing,
        onNotices: () => dispatcher?.wake(),
      })
    : undefined;
  const planner: Planner | undefined =
    processor && createPlanner({ ...{ pool: work, log, metrics, now }, isBehind: processor.isBehind });
  const digester: Digester | undefined = has('dispatch')
    ? createDigester({ pool: work, log, metrics, now, onMessages: () => dispatcher?.wake() })
    : undefined;
  const reconciler: Reconciler | undefined = has('reconcile')
    ? createReconciler({
        ...{ pool: work, log, metrics, now, random, tracing },
        apiOf: givenApi ?? access.findApi,
        onFound: () => processor?.wake(),
      })
    : undefined;
  const ears = has('listen') ? createEars(config, { sms: channels.get('sms') }) : [];
  const actor: Actor | undefined = has('listen')
    ? createActor({
        ...{ pool: work, log, metrics, now, random, tracing },
        mouths: new Map(ears.map(ear => [ear.channel, ear])),
        apiOf: givenApi ?? access.findApi,
        onFound: () => processor?.wake(),
      })
    : undefined;
  const listeners: readonly Listener[] = ears.map(ear =>
    createListener({
      ...{ pool: work, log, metrics, now, vault, ear },
      updatesUrl: updatesUrlOf(config, pool, ear.channel, vault),
      onAction: () => actor?.wake(),
    }),
  );
  const upkeep: Upkeep | undefined = has('upkeep')
    ? createUpkeep({ pool, log, metrics, now, keep: keepOf(config) })
    : undefined;
  const watch: Watch | undefined = has('upkeep')
    ? createWatch({
        ...{ pool, log, metrics, now, channels, roads },
        ...watchSettings(config, now),
        texts: createAlertTexts(templates),
        onMessages: () => dispatcher?.wake(),
      })
    : undefined;
  const rejects: RejectCounter | undefined = has('receive')
    ? createRejectCounter({ pool, log, metrics, now })
    : undefined;
  const succession = onOutgrown && createSuccession({ pool, log, metrics, onOutgrown });
  const receiver = has('receive')
    ? buildReceiver(config, {
        ...{ log, metrics, opened, access, tracing },
        onAppended: () => processor?.wake(),
        onTexts: () => {
          dispatcher?.wake();
          reporter?.wake();
        },
        onHeard: () => {
          for (const listener of listeners) listener.wake();
        },
      })
    : undefined;
  watchDepths(metrics, () => soon(readDepths(pool)));
  watchSweeps(metrics, () => soon(readSweepDepths(pool)));
  watchBudget(metrics, () => soon(readBudget(pool)), now);
  watchPools(metrics, { main: pool, work, ...(receiver === undefined ? {} : { receive: receiver.pool }) });
  watchCoverage(metrics, () => soon(readCoverage(pool, now()).then(sumCoverage)));

  const token = await adminToken(config, pool);
  const webhookUrl = (key: string) => `${publicUrl(config, receiver?.app)}/webhooks/yclients/${key}`;
  const textsUrl = (key: string) => `${publicUrl(config, receiver?.app)}/operator/yclients/${key}`;
  let stopping = false;
  const admin = createAdmin({
    ...{ pool, vault, log, metrics, webhookUrl, textsUrl, texts, channels },
    version: VERSION,
    tokenHash: token.hash,
    serveApi: has('web'),
    onReplay: () => processor?.wake(),
    unreadyBecause: async () => (stopping ? ['it is stopping'] : await unreadyBecause(pool)),
  });

  const stop = once(async () => {
    stopping = true;
    const orderly = async () => {
      if (receiver !== undefined) await closeServer(receiver.app);
      await receiver?.close();
      await rejects?.stop();
      access.stop();
      await Promise.all(listeners.map(listener => listener.stop()));
      await actor?.stop();
      await Promise.all(ears.map(ear => ear.close()));
      await reconciler?.stop();
      await processor?.stop();
      await planner?.stop();
      await digester?.stop();
      await dispatcher?.stop();
      await reporter?.stop();
      await upkeep?.stop();
      await watch?.stop();
      await succession?.stop();
      await closeChannels(channels);
      await closeServer(admin);
      await access.close();
      await teller.close();
      await work.end();
      await opened.close();
      await tracing?.close();
    };
    return within(STOP_LIMIT_MS, orderly());
  });

  try {
    if (receiver !== undefined) await listen(receiver.app, config, 'PUBLIC_PORT');
    await listen(admin, config, 'ADMIN_PORT');
  } catch (error) {
    await stop();
    throw error;
  }
  processor?.start();
  planner?.start();
  digester?.start();
  dispatcher?.start();
  reporter?.start();
  reconciler?.start();
  for (const listener of listeners) listener.start();
  actor?.start();
  upkeep?.start();
  watch?.start();
  rejects?.start();
  succession?.start();
  return {
    publicPort: portOf(receiver?.app),
    adminPort: portOf(admin) ?? config.ADMIN_PORT,
    opened,
    newAdminToken: token.shown,
    webhookUrl,
    stop,
  };
}

async function listen(
  app: FastifyInstance,
  config: Config,
  setting: 'PUBLIC_PORT' | 'ADMIN_PORT',
): Promise<void> {
  const port = config[setting];
  // The kernel shares connections out among those who listen so. Asked for, since a process left over would take its
  // part of them unnoticed.
  const reusePort = setting === 'PUBLIC_PORT' && config.PUBLIC_PORT_SHARED;
  const place = { host: config.HOST, port, ...(reusePort ? { reusePort } : {}) };
  try {
    await app.listen(place);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    const where = `${config.HOST}:${port}`;
    if (code === 'EADDRINUSE') {
      throw new PlainError(`${where} is taken: is \`serve\` running already? Otherwise set ${setting}`, {
        cause,
      });
    }
    throw new PlainError(`cannot listen on ${where} (${code}): check HOST and ${setting}`, { cause });
  }
}

/** The receiver has connections of its own, so that work behind it cannot starve it. */
function buildReceiver(
  config: Config,
  {
    log,
    metrics,
    opened,
    access,
    tracing,
    onAppended,
    onTexts,
    onHeard,
  }: {
    log: Log;
    metrics: Metrics;
    opened: Opened;
    access: ApiAccess;
    tracing: Tracing | undefined;
    onAppended: () => void;
    onTexts: () => void;
    onHeard: () => void;
  },
): { app: FastifyInstance; pool: Pool; close(): Promise<void> } {
  const pool = createPool(opened.url, {
    max: INGEST_CONNECTIONS,
    name: 'otklik receive',
    statementTimeoutMs: RECEIVE_STATEMENT_TIMEOUT_MS,
    byKey: true,
  });
  const ingest = createPostgresLog({ pool, onAppended });
  const marketplace = marketplaceOf(config, log, opened, access);
  const app = createReceiver({
    ...(marketplace === undefined ? {} : { marketplace: marketplace.routes }),
    keys: createKeyRing({ pool, vault: opened.vault, now: Date.now }),
    ...{ ingest, metrics, log, tracing },
    now: Date.now,
    ...(answerUrlOf(config, opened.vault) === undefined
      ? {}
      : { answers: { pool, vault: opened.vault, now: Date.now } }),
    ...receiptsOf(config, pool, opened.vault, onHeard),
    relay: {
      ...{ pool, onTexts },
      keys: createKeyRing({ pool, vault: opened.vault, now: Date.now, use: 'texts' }),
      statusUrlOf: brand => config.YCLIENTS_STATUS_URL ?? STATUS_URLS[brand],
      names: { id: config.OPERATOR_ID_FIELD, phone: config.OPERATOR_PHONE_FIELD },
    },
    limits: { perCompany: config.RATE_PER_COMPANY, perAddress: config.RATE_PER_ADDRESS },
    trustedProxies: config.TRUSTED_PROXIES,
  });
  return {
    app,
    pool,
    async close() {
      await ingest.flushed();
      await pool.end();
      await marketplace?.close();
    },
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
    webhookUrl: key => `${config.PUBLIC_URL?.replace(/\/+$/, '')}/webhooks/yclients/${key}`,
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

/** Loads OpenTelemetry only where there is somewhere to send traces to. */
async function tracingOf(config: Config): Promise<Tracing | undefined> {
  const endpoint = config.OTEL_EXPORTER_OTLP_ENDPOINT;
  if (endpoint === undefined) return undefined;
  const headers = config.OTEL_EXPORTER_OTLP_HEADERS.map(pair => {
    const at = pair.indexOf('=');
    return [pair.slice(0, at), decodeURIComponent(pair.slice(at + 1))] as const;
  });
  return startTracing({
    endpoint,
    headers: Object.fromEntries(headers),
    ratio: config.OTEL_TRACES_SAMPLER_ARG,
  });
}

function keepOf(config: Config): Keep {
  return {
    eventsDays: config.KEEP_EVENTS_DAYS,
    deadDays: config.KEEP_DEAD_DAYS,
    messagesDays: config.KEEP_MESSAGES_DAYS,
    bookingsDays: config.KEEP_BOOKINGS_DAYS,
    auditDays: config.KEEP_AUDIT_DAYS,
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

/** Where a messenger is to bring what people send. */
function updatesUrlOf(
  { PUBLIC_URL }: Config,
  pool: Pool,
  channel: string,
  vault: Vault,
): (() => Promise<string>) | undefined {
  if (PUBLIC_URL === undefined) return undefined;
  return async () => {
    const [secret] = await liveReceiptSecrets(pool, { vault, now: Date.now() }, channel);
    return receiptUrl(PUBLIC_URL, channel, secret);
  };
}

/** Where a message can be answered by a browser, once we can be reached from outside. */
function answerUrlOf(
  { PUBLIC_URL }: Config,
  vault: Vault,
): ((companyId: number, messageId: string) => string) | undefined {
  if (PUBLIC_URL === undefined || !isReachable(PUBLIC_URL)) return undefined;
  const root = PUBLIC_URL.replace(/\/+$/, '');
  return (companyId, messageId) => {
    const proof = vault.proveLink(companyId, messageId);
    return `${root}/answers/${writeLink({ companyId, messageId, proof })}`;
  };
}

/** ADMIN_TOKEN, or one made at the first start: only its hash is kept. */
async function adminToken(config: Config, pool: Pool): Promise<{ hash: string; shown: string | undefined }> {
  if (config.ADMIN_TOKEN !== undefined) return { hash: hash('sha256', config.ADMIN_TOKEN), shown: undefined };
  const known = await readSetting(pool, 'admin_token_hash');
  if (known !== undefined) return { hash: known, shown: undefined };
  const token = randomBytes(24).toString('base64url');
  const settled = await settleSetting(pool, 'admin_token_hash', hash('sha256', token));
  return { hash: settled, shown: settled === hash('sha256', token) ? token : undefined };
}

function soon<T>(work: Promise<T>): Promise<T> {
  return inTime(work, PROBE_LIMIT_MS, () => new PlainError('the database does not answer in time'));
}

async function unreadyBecause(pool: Pool): Promise<string[]> {
  try {
    const pending = await soon(pendingMigrations(pool));
    return pending.length === 0 ? [] : [`the database lacks ${pending.join(', ')}: run \`migrate\``];
  } catch {
    return ['the database does not answer'];
  }
}

function publicUrl(config: Config, app: FastifyInstance | undefined): string {
  if (config.PUBLIC_URL !== undefined) return config.PUBLIC_URL.replace(/\/+$/, '');
  return `http://${config.HOST}:${portOf(app) ?? config.PUBLIC_PORT}`;
}

function portOf(app: FastifyInstance | undefined): number | undefined {
  const address = app?.server.address();
  return typeof address === 'object' && address !== null ? address.port : undefined;
}

function once<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  return () => {
    running ??= work();
    return running;
  };
}

async function within(limitMs: number, work: Promise<void>): Promise<Stopped> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Stopped>(resolve => {
    timer = setTimeout(() => resolve('late'), limitMs);
  });
  const stopped = await Promise.race([work.then(() => 'in order' as const), late]);
  clearTimeout(timer);
  return stopped;
}
