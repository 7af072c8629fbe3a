/**
 * The public receiver, on its own port: `POST /webhooks/yclients/{key}` and, for the same, `…/events?key=`. It answers
 * 200 only after the event is durable. The URL holds a secret, so no URL is ever logged.
 */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import type { EpochMs } from '../domain/time.ts';
import { type Appended, type IngestLog, Unstorable } from '../ingest/ingest-log.ts';
import { quarantined, type ReadOptions, readBody, type Unreadable } from '../ingest/read-body.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { Overloaded } from '../store/group-commit.ts';
import type { NewEvent } from '../store/inbox.ts';
import { troubleOf } from '../store/pool.ts';
import { type Tracing, traceIdOf } from '../tracing.ts';
import { type AnswerRoute, addAnswerRoutes } from './answer.ts';
import { closeAfterReading } from './close.ts';
import { addConnectRoute, type ConnectRoute } from './connect.ts';
import {
  createGuard,
  type Guard,
  type Limits,
  noteRefusal,
  type Refusal,
  UNAVAILABLE,
  type Way,
} from './guard.ts';
import type { KeyHolder, KeyRing } from './keys.ts';
import { addLifecycleRoute, isLifecycle, LIFECYCLE_MISPLACED, type LifecycleRoute } from './lifecycle.ts';
import {
  FAILED,
  type Problem,
  refuseAsProblems,
  sendProblem,
  TOO_LARGE,
  UNSUPPORTED,
  useProblems,
  writeProblem,
} from './problem.ts';
import { addReceiptRoutes, type ReceiptRoute } from './receipts.ts';
import { addRelayRoute, type RelayRoute } from './relay.ts';
import { createTrust, requestIdOf, type Trust, traceparentOf } from './request-id.ts';
import { faultOf } from './signature.ts';

/** The largest real body seen is under 20 kB. */
export const BODY_LIMIT_BYTES = 256 * 1024;
/** The sender gives up at 10 to 15 s; nobody honest needs that long to send 2 kB. */
export const REQUEST_TIMEOUT_MS = 10_000;
export const HEADERS_TIMEOUT_MS = 5_000;
/** Longer than a proxy keeps its side open (nginx: 60 s), so that the proxy, not we, closes an idle connection. */
export const KEEP_ALIVE_MS = 65_000;
export const REQUESTS_PER_CONNECTION = 10_000;
export const HEADER_BYTES = 8 * 1024;
const HEADER_COUNT = 64;
export const CONNECTIONS = 4_096;
/**
 * How often timeouts are checked: what ran out since is refused in one go, and everybody else waits for it. With 200 slow
 * heads a second a check once a second stopped the loop for 29 to 46 ms each time, this one for 1 to 2, at the same cost.
 */
const CHECK_INTERVAL_MS = 100;
/** A key has 43 characters; a path longer than any key is answered like any unknown one. */
const PATH_LENGTH = 500;
/** No answer: in a trace only, as nginx writes it. */
const HUNG_UP = 499;
const JSON_TYPE = /^\s*application\/json\s*(?:;|$)/i;
/** Of ids and flags only, so a character is a byte. */
const JSON_ANSWER = { 'content-type': 'application/json; charset=utf-8' };

export type ReceiverDeps = {
  readonly keys: KeyRing;
  readonly ingest: IngestLog;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly now: () => EpochMs;
  readonly limits: Limits;
  /** Proxies whose X-Forwarded-For is believed, as CIDR ranges; empty: none. */
  readonly trustedProxies: readonly string[];
  /** Where clients answer messages that have links; undefined: there are no such routes. */
  readonly answers?: AnswerRoute | undefined;
  readonly tracing?: Tracing | undefined;
  /** Where providers of channels tell what became of messages; undefined: there are no such routes. */
  readonly receipts?: ReceiptRoute | undefined;
  /** Where the platform hands over texts of salons whose SMS operator we are; undefined: there is no such route. */
  readonly relay?: RelayRoute | undefined;
  /** Where salons connect and leave by the marketplace; undefined: there are no such routes. */
  readonly marketplace?: { readonly connect: ConnectRoute; readonly lifecycle: LifecycleRoute } | undefined;
};

export function createReceiver(deps: ReceiverDeps): FastifyInstance {
  const trust = createTrust(deps.trustedProxies);
  const app = Fastify({
    logger: false,
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxRequestsPerSocket: REQUESTS_PER_CONNECTION,
    trustProxy: deps.trustedProxies.length > 0 ? trust : false,
    genReqId: requestIdOf(trust),
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
    onRefused: refusal => noteRefusal(deps, refusal),
    onError: (err, requestId) => {
      const refusal = refusalOf(err);
      noteRefusal(deps, { requestId, ...refusal });
      return refusal;
    },
  });
  closeAfterReading(app);
  acceptOnlyPlainJson(app, deps);
  addRoutes(app, deps, trust);
  if (deps.answers !== undefined) addAnswerRoutes(app, deps, deps.answers);
  if (deps.receipts !== undefined) addReceiptRoutes(app, deps, deps.receipts);
  if (deps.relay !== undefined) addRelayRoute(app, deps, deps.relay);
  if (deps.marketplace !== undefined) {
    addConnectRoute(app, deps, deps.marketplace.connect);
    addLifecycleRoute(app, deps, deps.marketplace.lifecycle);
  }
  return app;
}

/** Of a route whose work failed: with the database away whoever calls is to come again, whatever they brought. */
function refusalOf(err: unknown): Refusal {
  const away = troubleOf(err) === 'unavailable';
  return away
    ? { ...UNAVAILABLE, detail: 'Nothing was done. Try again.', cause: 'store_down', about: { err } }
    : { ...FAILED, cause: 'error', about: { err } };
}

function acceptOnlyPlainJson(app: FastifyInstance, deps: ReceiverDeps): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) =>
    done(null, body),
  );
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id);
    // A path that is not there is that, whatever is sent; and of an event its key is looked at first, so that what a salon
    // sends and loses is not counted with what strangers send.
    if (request.is404 || EVENT_ROUTES.includes(request.routeOptions.url ?? '')) return done();
    if (isPlain(request.headers)) return done();
    noteRefusal(deps, { requestId: request.id, cause: 'media_type', status: UNSUPPORTED.status });
    sendProblem(reply, COMPRESSED);
  });
}

const COMPRESSED: Problem = { ...UNSUPPORTED, detail: 'Send the body uncompressed.' };

function isPlain({ 'content-encoding': encoding }: IncomingHttpHeaders): boolean {
  return encoding === undefined || encoding === 'identity';
}

const EVENT_ROUTES = ['/webhooks/yclients/events', '/webhooks/yclients/:key'];

type KeyedRequest = FastifyRequest<{ Params: { key?: string }; Querystring: { key?: string | string[] } }>;

function addRoutes(app: FastifyInstance, deps: ReceiverDeps, trust: Trust): void {
  const guard = createGuard(deps);
  for (const url of EVENT_ROUTES) {
    app.route<{ Params: { key?: string }; Querystring: { key?: string | string[] } }>({
      method: 'POST',
      url,
      // Fastify finds the route and the sender; from here on it is Node's own request and response. Fastify's body
      // parser, hooks and serialiser took a fifth of what a request costs.
      onRequest: (request, reply) => {
        reply.hijack();
        const parent = deps.tracing === undefined ? null : traceparentOf(trust, request.raw);
        void take(deps, guard, request, reply.raw, parent);
      },
      handler: () => undefined,
    });
  }
  // Other verbs are refused before any key is looked at.
  app.route({
    method: ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'],
    url: '/webhooks/yclients/*',
    handler: (request, reply) => {
      reply.header('allow', 'POST');
      noteRefusal(deps, { requestId: request.id, cause: 'method', status: 405 });
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
  parent: string | null,
): Promise<void> {
  const startedAt = performance.now();
  const { id: requestId } = request;
  const span = deps.tracing?.start('receive', parent);
  const way: Way = { requestId, traceparent: span?.traceparent ?? null };
  const taken = await admitAndReceive(deps, guard, request, way).catch(refusalOf);
  const status = taken === undefined ? HUNG_UP : 'status' in taken ? taken.status : 200;
  span?.end({ 'otklik.request_id': requestId, 'http.response.status_code': status }, status >= 500);
  if (taken === undefined) return;
  if ('status' in taken) {
    noteRefusal(deps, { ...way, ...taken });
    writeProblem(response, taken, requestId);
    return;
  }
  const { appended, companyId } = taken;
  const body = JSON.stringify(appended.length === 1 ? appended[0] : { events: appended });
  const headers = { ...JSON_ANSWER, 'x-request-id': requestId, 'content-length': body.length };
  response.writeHead(200, headers).end(body);
  noteReceived(deps, { ...way, companyId, appended, durationMs: performance.now() - startedAt });
}

function noteReceived(
  { log }: ReceiverDeps,
  {
    requestId,
    traceparent,
    companyId,
    appended,
    durationMs,
  }: Way & {
    readonly companyId: number;
    readonly appended: readonly Appended[];
    readonly durationMs: number;
  },
): void {
  for (const { id, duplicate } of appended) {
    log.info(
      {
        role: 'receive',
        request_id: requestId,
        ...(traceparent === null ? {} : { trace_id: traceIdOf(traceparent) }),
        company_id: companyId,
        event: id,
        outcome: duplicate ? 'duplicate' : 'stored',
        status: 200,
        duration_ms: Math.round(durationMs),
      },
      'event received',
    );
  }
}

type Taken = { readonly companyId: number; readonly appended: readonly Appended[] };

/** Undefined: the sender is gone, and with it the need for an answer. */
async function admitAndReceive(
  deps: ReceiverDeps,
  guard: Guard,
  request: KeyedRequest,
  way: Way,
): Promise<Taken | Refusal | undefined> {
  const holder = await guard.admit(request.ip, request.params.key ?? request.query.key);
  if ('status' in holder) return holder;
  const { companyId } = holder.company;
  const raw = await guard.oneOfFew(companyId, () => readBytes(request.raw));
  if (raw === undefined) return undefined;
  const result = 'status' in raw ? raw : await receive(deps, request, raw, holder, way);
  if (!('status' in result)) return { companyId, appended: result };
  return { ...result, about: { company_id: companyId, ...result.about } };
}

/** The bytes of a body, at most BODY_LIMIT_BYTES, counted and not believed. Undefined when the sender hung up. */
async function readBytes(request: IncomingMessage): Promise<Buffer | Refusal | undefined> {
  const { 'content-type': type, 'content-length': length, 'transfer-encoding': transfer } = request.headers;
  if (!isPlain(request.headers)) return { ...COMPRESSED, cause: 'event_media_type' };
  const isEmpty = transfer === undefined && (length === undefined || length === '0');
  if (type === undefined ? !isEmpty : !JSON_TYPE.test(type))
    return { ...UNSUPPORTED, cause: 'event_media_type' };
  if (Number(length) > BODY_LIMIT_BYTES) return { ...TOO_LARGE, cause: 'event_too_large' };
  return new Promise(resolve => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= BODY_LIMIT_BYTES) chunks.push(chunk);
      else resolve({ ...TOO_LARGE, cause: 'event_too_large' });
    });
    request.on('end', () => resolve(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)));
    request.on('close', () => resolve(undefined));
  });
}

async function receive(
  deps: ReceiverDeps,
  request: KeyedRequest,
  raw: Buffer,
  holder: KeyHolder,
  way: Way,
): Promise<readonly Appended[] | Refusal> {
  const { company } = holder;
  const { ingest, metrics, now } = deps;
  const receivedAt = now();
  try {
    const signed = checkSignature(deps, request, raw, holder);
    if ('status' in signed) return signed;
    const { companyId } = company;
    const options: ReadOptions = { companyId, receivedAt, source: 'webhook', ...way, ...signed };
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
    const cause = error instanceof Overloaded ? 'overloaded' : 'store_down';
    return { ...UNAVAILABLE, cause, about: { err: error } };
  }
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
  return {
    status: 400,
    title: 'Unreadable event',
    detail: `The body was kept as ${id} but cannot be read as an event: ${reason}.`,
    cause: 'unreadable',
    about: { event: id, reason },
  };
}
