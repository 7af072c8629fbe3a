/** The routes over HTTP: limits, troubles, tokens, the company, and then the route itself. */
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Brand } from '../cast.ts';
import type { Clock } from '../clock.ts';
import type { Happening } from '../course.ts';
import type { Random } from '../random.ts';
import { checkPartner, checkUser, type User } from './access.ts';
import { answerText, type ErrorForm, Refusal, refusalText } from './answers.ts';
import type { Branch } from './branch.ts';
import type { Quirks } from './quirks.ts';
import type { Route } from './route.ts';
import type { Traffic } from './traffic.ts';
import type { TroubleKind, Troubles } from './trouble.ts';

/** All that a call may look at. */
export type World = {
  readonly brand: Brand;
  readonly partnerToken: string;
  readonly users: ReadonlyMap<string, User>;
  readonly branches: ReadonlyMap<number, Branch>;
  readonly clock: Clock;
  readonly random: Random;
  readonly traffic: Traffic;
  readonly troubles: Troubles;
  quirks(): Quirks;
  /** The company that a text, by its id, is of. */
  companyOfText(id: string): number | undefined;
  /** A call is about to be served. */
  due(): void;
  /** A call changed the salon. */
  changed(branch: Branch, happening: Happening): void;
};

type Reply = {
  readonly status: number;
  readonly body: string;
  readonly headers?: { readonly [name: string]: string };
};

const JSON_TYPE = 'application/json; charset=utf-8';
const HTML =
  '<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body><h1>502</h1></body></html>';
const MOST_BODY_BYTES = 1_048_576;

const textParams = z.record(z.string(), z.string());

export function createServer(world: World, routes: readonly Route[]): FastifyInstance {
  const server = fastify({
    bodyLimit: MOST_BODY_BYTES,
    forceCloseConnections: true,
    routerOptions: { ignoreTrailingSlash: true },
  });
  // The platform wants a Content-Type on every call, also where there is no body.
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body));
  server.setNotFoundHandler(async (_request, reply) =>
    send(reply, refused(new Refusal(404, 'Not found'), world)),
  );
  for (const route of routes) {
    server.route({
      method: route.method,
      url: route.path,
      handler: (request, reply) => serve(world, route, request, reply),
    });
  }
  return server;
}

async function serve(
  world: World,
  route: Route,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  world.due();
  const params = textParams.parse(request.params);
  const body = readBody(request.body);
  const companyId = companyOf(params, body, world);
  const now = world.clock.now();
  const admitted = world.traffic.arrive(request.ip, route.operation, companyId, now);
  const trouble = world.troubles.strike(route.operation, companyId, now);
  if (trouble !== undefined && !trouble.obeyed && trouble.kind !== 'truncated')
    return afflict(reply, trouble.kind, world);
  if (!admitted) return send(reply, limited(world));
  const answer = answerOf(world, route, request, { params, body, companyId });
  if (trouble === undefined) return send(reply, answer);
  return trouble.kind === 'truncated' ? truncate(reply, answer) : afflict(reply, trouble.kind, world);
}

type Input = {
  readonly params: { readonly [name: string]: string };
  readonly body: unknown;
  readonly companyId: number | undefined;
};

/** What is no JSON is told apart by being no value at all. */
function readBody(text: unknown): unknown {
  if (typeof text !== 'string') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const salonBody = z.object({ salon_id: z.coerce.number() });
const textBody = z.object({ id: z.string() });

/** The company in the path, the one that holds the record in the path, or the one in the body or of the text there. */
function companyOf(params: Input['params'], body: unknown, world: World): number | undefined {
  const { company, record, visit } = params;
  if (company !== undefined) return world.branches.get(Number(company))?.companyId;
  if (params.token !== undefined) return world.companyOfText(textBody.safeParse(body).data?.id ?? '');
  if (record === undefined)
    return world.branches.get(salonBody.safeParse(body).data?.salon_id ?? 0)?.companyId;
  const holds = (branch: Branch) => branch.record(Number(record))?.visitId === Number(visit);
  return [...world.branches.values()].find(holds)?.companyId;
}

function answerOf(
  world: World,
  route: Route,
  request: FastifyRequest,
  { params, body, companyId }: Input,
): Reply {
  try {
    checkPartner(request.headers, world.partnerToken, world.brand);
    const branch = companyId === undefined ? undefined : world.branches.get(companyId);
    if (route.needs !== 'partner') checkUser(request.headers, world.users, route.needs, companyId);
    if (branch === undefined) throw new Refusal(404, 'Company not found');
    const { status = 200, ...answer } = route.handle({
      branch,
      params,
      query: new URL(request.url, 'http://platform.example').searchParams,
      body,
      now: world.clock.now(),
      quirks: world.quirks(),
      random: world.random,
      write: write => world.changed(branch, branch.write(write, world.quirks().bodies)),
    });
    return { status, body: status === 204 ? '' : answerText(answer) };
  } catch (error) {
    if (error instanceof Refusal) return refused(error, world);
    throw error;
  }
}

function refused(refusal: Refusal, { quirks, random }: World): Reply {
  const { errors, refusesWith200 } = quirks();
  const either: ErrorForm = random.chance(0.5) ? 'success' : 'errors';
  const ofToken = refusal.status === 401 || refusal.status === 403;
  const status = refusesWith200 && !ofToken ? 200 : refusal.status;
  return { status, body: refusalText(refusal, errors === 'either' ? either : errors) };
}

function limited(world: World): Reply {
  switch (world.quirks().limited) {
    case 'empty':
      return { status: 429, body: '' };
    case 'retry_after':
      return { status: 429, body: '', headers: { 'retry-after': '1' } };
    case 'error_body':
      return { status: 429, body: refusalText(new Refusal(429, 'Too many requests'), 'success') };
  }
}

function send(reply: FastifyReply, { status, body, headers = {} }: Reply): FastifyReply {
  reply.code(status).headers(headers);
  return body === '' ? reply.send() : reply.type(JSON_TYPE).send(body);
}

function afflict(reply: FastifyReply, kind: Exclude<TroubleKind, 'truncated'>, world: World): FastifyReply {
  switch (kind) {
    case 'error':
      return send(reply, { status: 502, body: '' });
    case 'html':
      return reply.code(200).type('text/html').send(HTML);
    case 'limited':
      return send(reply, limited(world));
    case 'hang':
      return reply.hijack();
    case 'down':
      reply.hijack().raw.destroy();
      return reply;
  }
}

/** A whole answer as HTTP sees it, but half of its JSON. */
function truncate(reply: FastifyReply, answer: Reply): FastifyReply {
  return send(reply, { ...answer, body: answer.body.slice(0, Math.ceil(answer.body.length / 2)) });
}
