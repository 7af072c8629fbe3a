/** Problem details (RFC 9457): what a caller sees when something is refused. */
import type { FastifyError, FastifyInstance, FastifyReply } from 'fastify';

export type Problem = {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly retryAfterSeconds?: number;
};

export function sendProblem(
  reply: FastifyReply,
  { status, title, detail, retryAfterSeconds }: Problem,
): FastifyReply {
  if (retryAfterSeconds !== undefined) reply.header('retry-after', retryAfterSeconds);
  return reply
    .code(status)
    .type('application/problem+json')
    .send(JSON.stringify({ type: 'about:blank', title, status, detail }));
}

/** The one answer to everything that is not there, or not for this caller. */
export const NOT_FOUND: Problem = { status: 404, title: 'Not found', detail: 'There is nothing here.' };

/** Routes and Fastify's own refusals (limits, content types) as problems; anything unforeseen as a 500 that says nothing. */
export function useProblems(
  app: FastifyInstance,
  { onRefused, onError }: { onRefused: (cause: string) => void; onError: (error: unknown) => void },
): void {
  app.setNotFoundHandler((_request, reply) => {
    onRefused('not_found');
    return sendProblem(reply, NOT_FOUND);
  });
  app.setErrorHandler((error: FastifyError, _request, reply) => {
    const known = REFUSALS[error.code];
    if (known !== undefined) {
      onRefused(known.cause);
      return sendProblem(reply, known.problem);
    }
    if (error.statusCode !== undefined && error.statusCode < 500) {
      onRefused('bad_request');
      return sendProblem(reply, {
        status: error.statusCode,
        title: 'Bad request',
        detail: 'The request is malformed.',
      });
    }
    onRefused('error');
    onError(error);
    return sendProblem(reply, { status: 500, title: 'Internal error', detail: 'The error is in our log.' });
  });
}

/** What Fastify refuses by itself, by its error code. */
const REFUSALS: Record<string, { cause: string; problem: Problem }> = {
  FST_ERR_CTP_BODY_TOO_LARGE: {
    cause: 'too_large',
    problem: {
      status: 413,
      title: 'Body too large',
      detail: 'The body is larger than this endpoint accepts.',
    },
  },
  FST_ERR_CTP_INVALID_MEDIA_TYPE: {
    cause: 'media_type',
    problem: {
      status: 415,
      title: 'Unsupported media type',
      detail: 'Send application/json, not compressed.',
    },
  },
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: {
    cause: 'bad_request',
    problem: { status: 400, title: 'Bad request', detail: 'The body is not as long as Content-Length says.' },
  },
};
