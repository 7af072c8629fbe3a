/**
 * The public receiver, on its own port: `POST /webhooks/yclients/{key}` and, for the same, `…/events?key=`. It answers
 * 200 only after the event is durable. The URL holds a secret, so no URL is ever logged.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import type { EpochMs } from '../domain/time.ts';
import { type Appended, type IngestLog, Unstorable } from '../ingest/ingest-log.ts';
import { quarantined, type ReadOptions, readBody, type Unreadable } from '../ingest/read-body.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Company } from '../store/companies.ts';
import { Overloaded } from '../store/group-commit.ts';
import type { NewEvent } from '../store/inbox.ts';
import { type AnswerRoute, addAnswerRoutes } from './answer.ts';
import { addConnectRoute, type ConnectRoute } from './connect.ts';
import type { KeyHolder, KeyRing } from './keys.ts';
import { addLifecycleRoute, isLifecycle, LIFECYCLE_MISPLACED, type LifecycleRoute } from './lifecycle.ts';
import {
  FAILED,
  NOT_FOUND,
  type Problem,
  refuseAsProblems,
  sendProblem,
  TOO_LARGE,
  UNSUPPORTED,
  useProblems,
  writeProblem,
} from './problem.ts';
import { faultOf } from './signature.ts';

/** The largest real body seen is under 20 kB. */
const BODY_LIMIT_BYTES = 256 * 1024;
/** The sender gives up at 10 to 15 s; nobody honest needs that long to send 2 kB. */
const REQUEST_TIMEOUT_MS = 10_000;
const HEADERS_TIMEOUT_MS = 5_000;
/** Longer than a proxy keeps its side open (nginx: 60 s), so that the proxy, not we, closes an idle connection. */
const KEEP_ALIVE_MS = 65_000;
const REQUESTS_PER_CONNECTION = 10_000;
const HEADER_BYTES = 8 * 1024;
const HEADER_COUNT = 64;
const CONNECTIONS = 4_096;
/** How often timeouts are checked. */
const CHECK_INTERVAL_MS = 1_000;
/** A key has 43 characters; a path longer than any key is answered like any unknown one. */
const PATH_LENGTH = 500;
/** Unknown keys from one address in a minute; beyond it the refusal is 429. Known keys are never touched by it. */
const MISSES_PER_MINUTE = 60;
const WINDOW_SECONDS = 10;
const JSON_TYPE = /^\s*application\/json\s*(?:;|$)/i;
/** Of ids and flags only, so a character is a byte. */
const JSON_ANSWER = { 'content-type': 'application/json; charset=utf-8' };

export type ReceiverDeps = {
  readonly keys: KeyRing;
  readonly ingest: IngestLog;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly now: () => EpochMs;
  readonly limits: {
    /** Requests a second, averaged over ten. */
    readonly perCompany: number;
    readonly perAddress: number;
  };
  /** Proxies whose X-Forwarded-For is believed, as CIDR ranges; empty: none. */
  readonly trustedProxies: readonly string[];
  /** Where clients answer messages that have links; undefined: there are no such routes. */
  readonly answers?: AnswerRoute | undefined;
  /** Where salons connect and leave by the marketplace; undefined: there are no such routes. */
  readonly marketplace?: { readonly connect: ConnectRoute; readonly lifecycle: LifecycleRoute } | undefined;
};

export function createReceiver(deps: ReceiverDeps): FastifyInstance {
  const app = Fastify({
    logger: false,
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxRequestsPerSocket: REQUESTS_PER_CONNECTION,
    trustProxy: deps.trustedProxies.length > 0 ? [...deps.trustedProxies] : false,
    exposeHeadRoutes: false,
    // While stopping, what still comes on open connections is served, not refused.
    return503OnClosing: false,
    routerOptions: { maxParamLength: PATH_LENGTH },
    ...refuseAsProblems(cause => deps.metrics.rejected.inc({ cause })),
    http: {
      headersTimeout: HEADERS_TIMEOUT_MS,
      maxHeaderSize: HEADER_BYTES,
      connectionsCheckingInterval: CHECK_INTERVAL_MS,
    },
  });
  app.server.maxHeadersCount = HEADER_COUNT;
  app.server.maxConnections = CONNECTIONS;
  useProblems(app, {
    onRefused: cause => deps.metrics.rejected.inc({ cause }),
    onError: error => deps.log.error({ role: 'receive', err: error }, 'request failed'),
  });
  acceptOnlyPlainJson(app, deps);
  addRoutes(app, deps);
  if (deps.answers !== undefined) addAnswerRoutes(app, deps, deps.answers);
  if (deps.marketplace !== undefined) {
    addConnectRoute(app, deps, deps.marketplace.connect);
    addLifecycleRoute(app, deps, deps.marketplace.lifecycle);
  }
  return app;
}

function acceptOnlyPlainJson(app: FastifyInstance, deps: ReceiverDeps): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) =>
    done(null, body),
  );
  app.addHook('onRequest', (request, reply, done) => {
    const encoding = request.headers['content-encoding'];
    if (encoding === undefined || encoding === 'identity') return done();
    const refusal = { ...UNSUPPORTED, detail: 'Send the body uncompressed.', cause: 'media_type' };
    deps.metrics.rejected.inc({ cause: refusal.cause });
    sendProblem(reply, refusal);
  });
}

type KeyedRequest = FastifyRequest<{ Params: { key?: string }; Querystring: { key?: string | string[] } }>;

function addRoutes(app: FastifyInstance, deps: ReceiverDeps): void {
  const guard = createGuard(deps);
  for (const url of ['/webhooks/yclients/events', '/webhooks/yclients/:key']) {
    app.route<{ Params: { key?: string }; Querystring: { key?: string | string[] } }>({
      method: 'POST',
      url,
      // Fastify finds the route and the sender; from here on it is Node's own request and response. Fastify's body
      // parser, hooks and serialiser took a fifth of what a request costs.
      onRequest: (request, reply) => {
        reply.hijack();
        void take(deps, guard, request, reply.raw);
      },
      handler: () => undefined,
    });
  }
  // Other verbs are refused before any key is looked at.
  app.route({
    method: ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'],
    url: '/webhooks/yclients/*',
    handler: (_request, reply) => {
      reply.header('allow', 'POST');
      deps.metrics.rejected.inc({ cause: 'method' });
      const detail = 'Events are sent here by POST.';
      return sendProblem(reply, { status: 405, title: 'Method not allowed', detail });
    },
  });
}

/** Answers one request; never rejects. Everything that can be refused without the body is refused before it is read. */
async function take(
  deps: ReceiverDeps,
  guard: Guard,
  request: KeyedRequest,
  response: ServerResponse,
): Promise<void> {
  const taken = await admitAndReceive(deps, guard, request).catch((error: unknown): Refusal => {
    deps.log.error({ role: 'receive', err: error }, 'request failed');
    return { ...FAILED, cause: 'error' };
  });
  if (taken === undefined) return;
  if ('status' in taken) {
    deps.metrics.rejected.inc({ cause: taken.cause });
    writeProblem(response, taken);
    return;
  }
  const body = JSON.stringify(taken.length === 1 ? taken[0] : { events: taken });
  response.writeHead(200, { ...JSON_ANSWER, 'content-length': body.length }).end(body);
}

/** Undefined: the sender is gone, and with it the need for an answer. */
async function admitAndReceive(
  deps: ReceiverDeps,
  guard: Guard,
  request: KeyedRequest,
): Promise<readonly Appended[] | Refusal | undefined> {
  const holder = await guard.admit(request);
  if ('status' in holder) return holder;
  const raw = await readBytes(request.raw);
  if (raw === undefined || 'status' in raw) return raw;
  return receive(deps, request, raw, holder);
}

/** The bytes of a body, at most BODY_LIMIT_BYTES, counted and not believed. Undefined when the sender hung up. */
function readBytes(request: IncomingMessage): Promise<Buffer | Refusal | undefined> | Refusal {
  const { 'content-type': type, 'content-length': length, 'transfer-encoding': transfer } = request.headers;
  const isEmpty = transfer === undefined && (length === undefined || length === '0');
  if (type === undefined ? !isEmpty : !JSON_TYPE.test(type)) return { ...UNSUPPORTED, cause: 'media_type' };
  if (Number(length) > BODY_LIMIT_BYTES) return { ...TOO_LARGE, cause: 'too_large' };
  return new Promise(resolve => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= BODY_LIMIT_BYTES) chunks.push(chunk);
      else resolve({ ...TOO_LARGE, cause: 'too_large' });
    });
    request.on('end', () => resolve(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)));
    request.on('close', () => resolve(undefined));
  });
}

type Refusal = Problem & { readonly cause: string };

function tooMany(cause: string, retryAfterSeconds: number): Refusal {
  const detail = 'Slow down, and send again after the time that Retry-After names.';
  return { status: 429, title: 'Too many requests', detail, retryAfterSeconds, cause };
}

const UNAVAILABLE: Problem = {
  status: 503,
  title: 'Temporarily unavailable',
  detail: 'The event was not kept. Send it again.',
  retryAfterSeconds: 2,
};

type Guard = { admit(request: KeyedRequest): Promise<KeyHolder | Refusal> };

/** Rate limits and the key: whether a request may go on to its body. */
function createGuard({ keys, limits, log }: ReceiverDeps): Guard {
  const perAddress = limiter(limits.perAddress * WINDOW_SECONDS, WINDOW_SECONDS);
  const perCompany = limiter(limits.perCompany * WINDOW_SECONDS, WINDOW_SECONDS);
  const misses = limiter(MISSES_PER_MINUTE, 60);

  return {
    async admit(request: KeyedRequest): Promise<KeyHolder | Refusal> {
      const waitForAddress = await spend(perAddress, request.ip);
      if (waitForAddress > 0) return tooMany('address_rate', waitForAddress);
      const key = request.params.key ?? request.query.key;
      try {
        const holder = typeof key === 'string' ? await keys.find(key) : undefined;
        if (holder === undefined) {
          const wait = await spend(misses, request.ip);
          return wait > 0 ? tooMany('unknown_key_rate', wait) : { ...NOT_FOUND, cause: 'unknown_key' };
        }
        const waitForCompany = await spend(perCompany, holder.company.companyId);
        return waitForCompany > 0 ? tooMany('company_rate', waitForCompany) : holder;
      } catch (error) {
        log.error({ role: 'receive', err: error }, 'keys cannot be read');
        return { ...UNAVAILABLE, cause: 'store_down' };
      }
    },
  };
}

function limiter(points: number, duration: number): RateLimiterMemory {
  return new RateLimiterMemory({ points, duration });
}

/** 0, or the whole seconds after which there is room again. */
async function spend(limit: RateLimiterMemory, key: string | number): Promise<number> {
  try {
    await limit.consume(key);
    return 0;
  } catch (refused) {
    if (!(refused instanceof RateLimiterRes)) throw refused;
    return Math.max(1, Math.ceil(refused.msBeforeNext / 1000));
  }
}

async function receive(
  deps: ReceiverDeps,
  request: KeyedRequest,
  raw: Buffer,
  holder: KeyHolder,
): Promise<readonly Appended[] | Refusal> {
  const { company } = holder;
  const { ingest, metrics, now } = deps;
  const receivedAt = now();
  try {
    const signed = checkSignature(deps, request, raw, holder);
    if ('status' in signed) return signed;
    const options: ReadOptions = { companyId: company.companyId, receivedAt, source: 'webhook', ...signed };
    const events = readBody(raw, options);
    if ('unreadable' in events) return await quarantine(deps, raw, options, events.unreadable);
    const end = metrics.appendSeconds.startTimer();
    const appended = await appendAll(ingest, events);
    if ('unreadable' in appended) return await quarantine(deps, raw, options, appended.unreadable);
    end();
    events.forEach((event, index) => {
      if (appended[index]?.duplicate) metrics.duplicates.inc();
      else metrics.received.inc({ resource: metrics.known(event.resource) });
    });
    return appended;
  } catch (error) {
    return unavailable(deps, company, error);
  }
}

function unavailable({ log }: ReceiverDeps, company: Company, error: unknown): Refusal {
  if (error instanceof Overloaded) return { ...UNAVAILABLE, cause: 'overloaded' };
  log.error({ company_id: company.companyId, err: error }, 'event not kept');
  return { ...UNAVAILABLE, cause: 'store_down' };
}

/** What became of each event, or the news that these values can never be stored. */
async function appendAll(ingest: IngestLog, events: readonly NewEvent[]): Promise<Appended[] | Unreadable> {
  try {
    return await Promise.all(events.map(event => ingest.append(event)));
  } catch (error) {
    if (error instanceof Unstorable) return { unreadable: 'the body holds values that cannot be stored' };
    throw error;
  }
}

const UNSIGNED: Problem = {
  status: 401,
  title: 'Signature refused',
  detail: 'The signature is missing or does not hold.',
};

/** The sender's id, if it came authenticated; a refusal where a signature is required or is wrong. */
function checkSignature(
  { now }: ReceiverDeps,
  request: KeyedRequest,
  body: Buffer,
  { company, secrets }: KeyHolder,
): { authenticId?: string } | Refusal {
  const header = headerOf(request, 'x-otklik-signature');
  if (header === undefined) {
    return company.signatureRequired ? { ...UNSIGNED, cause: 'signature_missing' } : {};
  }
  // Where no secret was ever agreed there is nothing to check: the URL's key alone is the proof.
  if (secrets.length === 0 && !company.signatureRequired) return {};
  const id = headerOf(request, 'x-otklik-id');
  const fault = faultOf({ header, id, body, secrets, now: now() });
  if (fault !== undefined) return { ...UNSIGNED, cause: `signature_${fault}` };
  return id === undefined ? {} : { authenticId: id };
}

function headerOf(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' ? value : undefined;
}

/** Keeps the bytes for a person to look at, and tells the sender plainly. */
async function quarantine(
  deps: ReceiverDeps,
  raw: Buffer,
  options: ReadOptions,
  reason: string,
): Promise<Refusal> {
  if (isLifecycle(raw)) return LIFECYCLE_MISPLACED;
  const { id } = await deps.ingest.append(quarantined(raw, options));
  deps.metrics.quarantined.inc();
  deps.log.warn({ company_id: options.companyId, event: id, reason }, 'unreadable body kept in quarantine');
  return {
    status: 400,
    title: 'Unreadable event',
    detail: `The body was kept as ${id} but cannot be read as an event: ${reason}.`,
    cause: 'unreadable',
  };
}
