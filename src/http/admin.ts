/** The admin listener, on a port of its own: health, metrics, and the API behind a bearer token. */
import { hash, timingSafeEqual } from 'node:crypto';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { z } from 'zod';
import { newId } from '../ids.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { inTime, troubleOf } from '../store/pool.ts';
import { ROUTES, refusalOf } from './api.ts';
import { closeAfterReading } from './close.ts';
import { createLimit } from './guard.ts';
import { describeApi } from './openapi.ts';
import { FAILED, NOT_FOUND, type Problem, refuseAsProblems, sendProblem, useProblems } from './problem.ts';
import { type ApiDeps, companyId, type Input, type Route } from './route.ts';

const BODY_LIMIT_BYTES = 64 * 1024;
const REQUEST_TIMEOUT_MS = 30_000;
/** Wrong tokens from one address in a minute. */
const WRONG_TOKENS_PER_MINUTE = 20;

export type AdminDeps = ApiDeps & {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly version: string;
  /** SHA-256 of the admin token, in hex. */
  readonly tokenHash: string;
  /** Why this process cannot do its work now; empty when it can. */
  readonly unreadyBecause: () => Promise<readonly string[]>;
  /** Whether the API is served here (role web), or health and metrics only. */
  readonly serveApi: boolean;
};

export function createAdmin(deps: AdminDeps): FastifyInstance {
  const app = Fastify({
    logger: false,
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    exposeHeadRoutes: false,
    genReqId: newId,
    ...refuseAsProblems(() => {}),
  });
  closeAfterReading(app);
  // JSON only: the other parser that Fastify brings would hand a text to handlers that expect an object.
  app.removeContentTypeParser('text/plain');
  useProblems(app, {
    onRefused: () => {},
    onError: (error, request_id) => {
      deps.log.error({ role: 'web', request_id, err: error }, 'request failed');
      return FAILED;
    },
  });
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id);
    done();
  });
  app.get('/livez', async (_request, reply) => reply.send({ alive: true }));
  app.get('/readyz', async (_request, reply) => {
    const reasons = await deps.unreadyBecause();
    return reply.code(reasons.length === 0 ? 200 : 503).send({ ready: reasons.length === 0, reasons });
  });
  app.get('/metrics', async (_request, reply) =>
    reply.type(deps.metrics.registry.contentType).send(await deps.metrics.registry.metrics()),
  );
  if (deps.serveApi) addApi(app, deps);
  return app;
}

function addApi(app: FastifyInstance, deps: AdminDeps): void {
  const description = describeApi(deps.version);
  const authenticate = createAuthentication(deps.tokenHash);
  app.get('/api/v1/openapi.json', async (_request, reply) => reply.send(description));
  for (const route of ROUTES) {
    app.route({
      method: route.method,
      url: `/api/v1${route.path.replace(/\{(\w+)\}/g, ':$1')}`,
      onRequest: async (request, reply) => {
        const refusal = await authenticate(request);
        if (refusal === undefined) return;
        noteRefused(deps.log, route, request, refusal);
        await sendProblem(reply, refusal);
      },
      handler: (request, reply) => answer(deps, route, request, reply),
    });
  }
}

async function answer(
  deps: AdminDeps,
  route: Route,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  // `/events/` is not the event without an id.
  if (Object.values(request.params ?? {}).includes('')) return sendProblem(reply, NOT_FOUND);
  const input: Input = { params: request.params, query: request.query, body: request.body };
  if (holdsNul(input)) return sendProblem(reply, UNSTORABLE);
  try {
    const late = () => new LateError(`no answer within ${ANSWER_LIMIT_MS} ms`);
    const result = await inTime(route.handle(deps, input), ANSWER_LIMIT_MS, late);
    noteChange(deps.log, route, request, result);
    return reply.send(result);
  } catch (error) {
    const refusal = refusalOf(error);
    if (refusal !== undefined) return sendProblem(reply, refusal);
    const isLate = error instanceof LateError;
    if (!isLate && troubleOf(error) !== 'unavailable') throw error;
    deps.log.error({ role: 'web', request_id: request.id, err: error }, 'the database does not answer');
    const detail = isLate
      ? 'The database does not answer in time. What was asked for may be done all the same: look before you repeat it.'
      : 'The database does not answer; try again later.';
    return sendProblem(reply, {
      status: 503,
      title: 'Temporarily unavailable',
      detail,
      retryAfterSeconds: 2,
    });
  }
}

const UNSTORABLE: Problem = {
  status: 400,
  title: 'Not valid',
  detail: 'A text holds the character U+0000, which cannot be stored.',
};

/** PostgreSQL takes U+0000 in no text. Looked for in all of a request, so that no field is forgotten. */
function holdsNul(input: Input): boolean {
  // A list, since a body nested as deeply as its limit allows would be too deep for calls.
  const left: unknown[] = [input];
  while (left.length > 0) {
    const one = left.pop();
    if (typeof one === 'string' && one.includes('\0')) return true;
    if (typeof one === 'object' && one !== null)
      for (const [name, value] of Object.entries(one)) left.push(name, value);
  }
  return false;
}

/**
 * A database that hangs is told of before whoever asks gives up; a statement of ours may take 30 s. Not Fastify's
 * `handlerTimeout` (5.12): that ends with the body, so a request that has one would have no limit.
 */
const ANSWER_LIMIT_MS = 10_000;

class LateError extends Error {
  override readonly name = 'LateError';
}

/**
 * One line a change, successful. There is one token, so not by whom. A client's number is a person's, and with the other
 * particulars in the audit log alone.
 */
function noteChange(log: Log, route: Route, { id, params }: FastifyRequest, result: unknown): void {
  const told = telling.safeParse(result).data;
  if (route.method === 'GET' || route.changesNothing || told?.dryRun) return;
  const { company = told?.companyId, id: one } = target.parse(params);
  const about = {
    ...(company === undefined ? {} : { company_id: company }),
    ...(one === undefined ? {} : { [route.path.startsWith('/messages/') ? 'message' : 'event']: one }),
  };
  log.info(
    { role: 'web', request_id: id, operation: operationOf(route), outcome: 'done', ...about },
    'changed by the API',
  );
}

const target = z.object({ company: companyId.optional(), id: z.uuid().optional() });
/** Of what is added, and of what was only tried. */
const telling = z.object({ companyId: companyId.optional(), dryRun: z.boolean().optional() });

/** A stranger's try. Of those beyond the limit, who may be many, for debugging only. */
function noteRefused(log: Log, route: Route, { id }: FastifyRequest, { status }: Problem): void {
  const level = status === UNAUTHORISED.status ? 'warn' : 'debug';
  const reason = 'wrong_token';
  log[level](
    { role: 'web', request_id: id, operation: operationOf(route), outcome: 'refused', reason, status },
    'request refused',
  );
}

function operationOf({ method, path }: Route): string {
  return `${method} ${path}`;
}

const UNAUTHORISED: Problem = {
  status: 401,
  title: 'Unauthorised',
  detail: 'Send "Authorization: Bearer <ADMIN_TOKEN>".',
};

/** The refusal of a request without the right token; guesses are slowed down by address. */
function createAuthentication(tokenHash: string): (request: FastifyRequest) => Promise<Problem | undefined> {
  const expected = Buffer.from(tokenHash, 'hex');
  const wrong = createLimit(WRONG_TOKENS_PER_MINUTE, 60);
  return async request => {
    const token = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    if (timingSafeEqual(Buffer.from(hash('sha256', token), 'hex'), expected)) return undefined;
    const waitSeconds = await wrong(request.ip);
    if (waitSeconds === 0) return UNAUTHORISED;
    const detail = 'Too many wrong tokens from this address; wait a minute.';
    return { status: 429, title: 'Too many requests', detail, retryAfterSeconds: waitSeconds };
  };
}
