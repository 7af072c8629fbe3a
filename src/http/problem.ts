/** Problem details (RFC 9457): what a caller sees when something is refused. */

import type { Server, ServerResponse } from 'node:http';
import type {
  FastifyError,
  FastifyHttpOptions,
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
} from 'fastify';
import type { RejectCause } from '../metrics.ts';

export type Problem = {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly retryAfterSeconds?: number;
  /** The rest of a body is not waited for: the connection ends with the answer. */
  readonly hangsUp?: boolean;
};

export function sendProblem(reply: FastifyReply, problem: Problem): FastifyReply {
  if (problem.retryAfterSeconds !== undefined) reply.header('retry-after', problem.retryAfterSeconds);
  return reply.code(problem.status).type(MEDIA_TYPE).send(write(problem));
}

/** The same, byte for byte, on Node's own response, for a request that was taken over from Fastify. */
export function writeProblem(response: ServerResponse, problem: Problem, requestId: string): void {
  if (problem.retryAfterSeconds !== undefined) response.setHeader('retry-after', problem.retryAfterSeconds);
  if (problem.hangsUp) response.setHeader('connection', 'close');
  const body = write(problem);
  const headers = {
    'x-request-id': requestId,
    'content-type': `${MEDIA_TYPE}; charset=utf-8`,
    'content-length': Buffer.byteLength(body),
  };
  response.writeHead(problem.status, headers).end(body);
}

const MEDIA_TYPE = 'application/problem+json';

function write({ status, title, detail }: Problem): string {
  return JSON.stringify({ type: 'about:blank', title, status, detail });
}

/** The one answer to everything that is not there, or not for this caller. */
export const NOT_FOUND: Problem = { status: 404, title: 'Not found', detail: 'There is nothing here.' };

export const TOO_LARGE: Problem = {
  status: 413,
  title: 'Body too large',
  detail: 'The body is larger than this endpoint accepts.',
  hangsUp: true,
};

export const UNSUPPORTED: Problem = {
  status: 415,
  title: 'Unsupported media type',
  detail: 'Send application/json, not compressed.',
};

export const FAILED: Problem = {
  status: 500,
  title: 'Internal error',
  detail: 'The error is in our log.',
};

/** Told of each refusal that is not a route's own. */
export type OnRefused = (refusal: {
  readonly cause: RejectCause;
  readonly status: number;
  readonly requestId: string;
}) => void;

/**
 * Routes and Fastify's own refusals (limits, content types) as problems; anything unforeseen as whoever is told of it
 * says, which is a 500 that says nothing unless it knows better.
 */
export function useProblems(
  app: FastifyInstance,
  { onRefused, onError }: { onRefused: OnRefused; onError: (error: unknown, requestId: string) => Problem },
): void {
  const notFound = (request: FastifyRequest, reply: FastifyReply) => {
    onRefused({ cause: 'not_found', status: NOT_FOUND.status, requestId: request.id });
    return sendProblem(reply, NOT_FOUND);
  };
  app.setNotFoundHandler(notFound);
  app.setErrorHandler((error: FastifyError, request, reply) => {
    // Fastify reads a body for a path that is not there, too: what is wrong with it is nobody's event.
    if (request.is404) return notFound(request, reply);
    const known = REFUSALS[error.code];
    if (known !== undefined) {
      onRefused({ cause: known.cause, status: known.problem.status, requestId: request.id });
      return sendProblem(reply, known.problem);
    }
    if (error.statusCode !== undefined && error.statusCode < 500) {
      onRefused({ cause: 'bad_request', status: error.statusCode, requestId: request.id });
      return sendProblem(reply, {
        status: error.statusCode,
        title: 'Bad request',
        detail: 'The request is malformed.',
      });
    }
    return sendProblem(reply, onError(error, request.id));
  });
}

/** What is refused before there is a request: a path no router takes, a head too large, too slow, or no HTTP at all. */
export function refuseAsProblems(onRefused: (cause: RejectCause) => void): EarlyRefusals {
  return {
    frameworkErrors: (_error, _request, reply) => {
      onRefused('not_found');
      void sendProblem(reply, NOT_FOUND);
    },
    clientErrorHandler: (error, socket) => {
      // Gone, or refused already: what comes after a refusal is an error of its own to the parser.
      if (!socket.writable || error.code === 'ECONNRESET') {
        socket.destroy();
        return;
      }
      const { cause, problem } = HEAD_REFUSALS[error.code ?? ''] ?? MALFORMED;
      onRefused(cause);
      const body = write(problem);
      const head = `HTTP/1.1 ${problem.status} ${problem.title}\r\nConnection: close\r\nContent-Type: ${MEDIA_TYPE}`;
      socket.end(`${head}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
      // No timeout of the server's looks at this connection any more: a sender that stays would keep its place, one of
      // CONNECTIONS, for good. Not at once, for what is still unread then would cost an honest one the answer.
      setTimeout(() => socket.destroy(), STAY_MS).unref();
    },
  };
}

type EarlyRefusals = Required<Pick<FastifyHttpOptions<Server>, 'frameworkErrors' | 'clientErrorHandler'>>;

/** A sender that was refused has read it by then. */
const STAY_MS = 1_000;

type Known = { readonly cause: RejectCause; readonly problem: Problem };

export const MALFORMED: Known = {
  cause: 'malformed',
  problem: { status: 400, title: 'Bad request', detail: 'This is not a request in HTTP.' },
};

export const HEAD_TOO_LARGE: Known = {
  cause: 'head_too_large',
  problem: {
    status: 431,
    title: 'Headers too large',
    detail: 'The headers are larger than accepted here.',
  },
};

const HEAD_REFUSALS: Record<string, Known> = {
  ERR_HTTP_REQUEST_TIMEOUT: {
    cause: 'too_slow',
    problem: {
      status: 408,
      title: 'Request timeout',
      detail: 'The request took too long to arrive.',
    },
  },
  HPE_HEADER_OVERFLOW: HEAD_TOO_LARGE,
};

/** What Fastify refuses by itself, by its error code. */
const REFUSALS: Record<string, Known> = {
  FST_ERR_CTP_BODY_TOO_LARGE: { cause: 'too_large', problem: TOO_LARGE },
  FST_ERR_CTP_INVALID_MEDIA_TYPE: { cause: 'media_type', problem: UNSUPPORTED },
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: {
    cause: 'bad_request',
    problem: { status: 400, title: 'Bad request', detail: 'The body is not as long as Content-Length says.' },
  },
};
