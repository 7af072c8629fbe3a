/** The composition root: puts one process together from what its roles need, starts and stops it in order. No logic. */
import { hash, randomBytes } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { type ApiAccess, createApiAccess } from './api-access.ts';
import type { Channel } from './channels/channel.ts';
import { closeChannels, createChannels } from './channels/registry.ts';
import type { Config, Role } from './config.ts';
import { roadsOf } from './configured-alerts.ts';
import { channelsConfig } from './configured-channels.ts';
import { publicRoot, textsUrl } from './configured-urls.ts';
import { createTexts } from './domain/text.ts';
import { createAdmin } from './http/admin.ts';
import { closeServer } from './http/close.ts';
import { type Log, PlainError } from './log.ts';
import { createLoops } from './loops.ts';
import {
  createMetrics,
  watchAlerts,
  watchBackup,
  watchBudget,
  watchCoverage,
  watchDepths,
  watchPools,
  watchSweeps,
} from './metrics.ts';
import { type Opened, open } from './open.ts';
import { createReceiving } from './receiving.ts';
import { countRaised, readLastBackup } from './store/alerts.ts';
import { readBudget } from './store/budget.ts';
import { readCoverage, sumCoverage } from './store/coverage.ts';
import { pendingMigrations } from './store/migrate.ts';
import { createPool, inTime, type Pool, transaction } from './store/pool.ts';
import { readSetting, settleSetting } from './store/settings.ts';
import { readSweepDepths } from './store/sweeps.ts';
import { readDepths } from './store/views.ts';
import { loadTemplates } from './templates.ts';
import { startTracing, type Tracing } from './tracing.ts';
import { VERSION } from './version.ts';
import { inOrder } from './work/loop.ts';
import { webhookUrl } from './yclients/hooks.ts';

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
  /** Told the token made at this start because none was set: once, and before it counts. */
  readonly onAdminToken?: (token: string) => void | Promise<void>;
  /** Called when a newer version has left this process behind: it must stop. Nobody looks unless given. */
  readonly onOutgrown?: (reason: string) => void;
};

/** Rejects with nothing left behind: a connection that is still held would keep the process from its end. */
export async function startService(config: Config, options: ServiceOptions): Promise<Service> {
  const opened = await open(config, options.log);
  try {
    return await startOn(opened, config, options);
  } catch (error) {
    await opened.close().catch(() => {});
    throw error;
  }
}

async function startOn(
  opened: Opened,
  config: Config,
  { log, console, apiOf: givenApi, onAdminToken, onOutgrown }: ServiceOptions,
): Promise<Service> {
  const metrics = createMetrics();
  const { pool, vault } = opened;
  const has = (role: Role) => config.ROLES.includes(role);
  const [now, random] = [Date.now, Math.random];
  const channels = createChannels(channelsConfig(config));
  if (console !== undefined) channels.set('console', console);
  const templates = loadTemplates();
  const texts = createTexts(templates, {
    gaveWay(kind) {
      metrics.textsGaveWay.inc({ kind });
      log.warn({ purpose: kind }, 'a company’s own text failed, ours was sent: doctor says whose');
    },
  });

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
  const loops = createLoops(config, {
    ...{ log, metrics, opened, work, tracing, channels, texts, templates, now, random, onOutgrown },
    roads: roadsOf(config),
    apiOf: givenApi ?? access.findApi,
  });
  const receiving = has('receive')
    ? createReceiving(config, { ...{ log, metrics, opened, access, tracing }, wake: loops.wake })
    : undefined;
  watchDepths(metrics, () => soon(readDepths(pool)));
  watchAlerts(metrics, () => soon(countRaised(pool, now())));
  watchBackup(metrics, () => soon(readLastBackup(pool).then(({ last }) => last)), now);
  watchSweeps(metrics, () => soon(readSweepDepths(pool)));
  watchBudget(metrics, () => soon(readBudget(pool)), now);
  watchPools(metrics, { main: pool, work, ...(receiving && { receive: receiving.pool }) });
  watchCoverage(metrics, () => soon(readCoverage(pool, now()).then(sumCoverage)));

  const tokenHash = await adminTokenHash(config, pool, onAdminToken);
  const root = () => publicRoot(config, portOf(receiving?.app));
  const hookUrl = (key: string) => webhookUrl(root(), key);
  let stopping = false;
  const admin = createAdmin({
    ...{ pool, vault, log, metrics, texts, channels },
    webhookUrl: hookUrl,
    textsUrl: key => textsUrl(root(), key),
    version: VERSION,
    tokenHash,
    serveApi: has('web'),
    onReplay: loops.wake.events,
    onResend: loops.wake.messages,
    unreadyBecause: async () => (stopping ? ['it is stopping'] : await unreadyBecause(pool)),
  });

  const stop = once(async () => {
    stopping = true;
    const steps = [
      () => receiving?.stop(),
      () => access.stop(),
      () => loops.stop(),
      () => closeChannels(channels),
      () => closeServer(admin),
      () => access.close(),
      () => work.end(),
      () => opened.close(),
      () => tracing?.close(),
    ];
    return within(STOP_LIMIT_MS, inOrder(steps));
  });

  try {
    if (receiving !== undefined) await listen(receiving.app, config, 'PUBLIC_PORT');
    await listen(admin, config, 'ADMIN_PORT');
  } catch (error) {
    await stop().catch(() => {});
    throw error;
  }
  loops.start();
  receiving?.start();
  return {
    publicPort: portOf(receiving?.app),
    adminPort: portOf(admin) ?? config.ADMIN_PORT,
    opened,
    webhookUrl: hookUrl,
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

/**
 * Of ADMIN_TOKEN, or of one made at the first start, of which no more is kept. Its owner has it before it counts: a start
 * that is killed, or finds its port taken, leaves none that nobody was told. Of two first starts at once one makes it.
 */
async function adminTokenHash(
  config: Config,
  pool: Pool,
  onMade: ServiceOptions['onAdminToken'],
): Promise<string> {
  if (config.ADMIN_TOKEN !== undefined) return hash('sha256', config.ADMIN_TOKEN);
  const known = await readSetting(pool, 'admin_token_hash');
  if (known !== undefined) return known;
  const token = randomBytes(24).toString('base64url');
  return transaction(pool, async db => {
    const settled = await settleSetting(db, 'admin_token_hash', hash('sha256', token));
    if (settled === hash('sha256', token)) await onMade?.(token);
    return settled;
  });
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
  try {
    return await Promise.race([work.then(() => 'in order' as const), late]);
  } finally {
    clearTimeout(timer);
  }
}
