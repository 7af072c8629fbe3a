/**
 * One HTTP exchange with the platform's API, with a limit on everything. What a caller must know afterwards: the
 * answer, or whether the API may have acted on a request that got none.
 */
import type { Readable } from 'node:stream';
import { Agent, request } from 'undici';
import type { EpochMs } from '../domain/time.ts';
import { codeOf, rejectionOf, retryAfterMs } from '../outgoing.ts';

export type Exchange = {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
};

export type Exchanged =
  | {
      readonly answered: true;
      readonly status: number;
      readonly retryAfterMs: number | undefined;
      /** `cut`: it broke off or came too slowly. `huge`: longer than any answer of the API. */
      readonly body: { readonly text: string } | 'cut' | 'huge';
    }
  | {
      readonly answered: false;
      /** Whether a byte may have reached the API. When not, nothing was done there. */
      readonly left: boolean;
      /** Fit for a message: a code, never a word of the error's own. */
      readonly reason: string;
      readonly error: unknown;
    };

export type Line = {
  exchange(asked: Exchange, signal: AbortSignal): Promise<Exchanged>;
  close(): Promise<void>;
};

/** The budget lets three calls a second begin; of slow ones this many are under way at once. */
const CONNECTIONS = 16;
const CONNECT_TIMEOUT_MS = 5_000;
/** A page of 200 records with everything in it has some 3 MB. */
const ANSWER_BYTES = 16 * 1024 * 1024;
/** Shorter than the idle time of usual front ends, so that a connection is not lost under a request. */
const KEEP_ALIVE_MS = 4_000;
/** Codes that say that no connection stood: nothing has left. */
const NOT_CONNECTED = /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT)$/;

/** `timeoutMs` is for the whole exchange: name, connection, request, answer. Redirects are not followed. */
export function createLine({ timeoutMs, now }: { timeoutMs: number; now: () => EpochMs }): Line {
  const agent = new Agent({
    connections: CONNECTIONS,
    pipelining: 1,
    connect: { timeout: Math.min(CONNECT_TIMEOUT_MS, timeoutMs) },
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
    allowH2: false,
  });
  return {
    async exchange({ url, ...asked }, stopped) {
      const deadline = AbortSignal.timeout(timeoutMs);
      const signal = AbortSignal.any([stopped, deadline]);
      try {
        signal.throwIfAborted();
        const answering = request(url, { ...asked, body: asked.body ?? null, dispatcher: agent, signal });
        // undici looks at the signal only once it is connected.
        const answer = await Promise.race([answering, rejectionOf(signal)]);
        const [asksFor] = [answer.headers['retry-after'] ?? []].flat();
        return {
          answered: true,
          status: answer.statusCode,
          retryAfterMs: retryAfterMs(asksFor, now()),
          body: await readBody(answer.body),
        };
      } catch (error) {
        const code = codeOf(error);
        const left = code === undefined || !NOT_CONNECTED.test(code);
        if (stopped.aborted) return { answered: false, left, reason: 'stopped by us', error };
        if (deadline.aborted)
          return { answered: false, left, reason: `no answer within ${timeoutMs} ms`, error };
        return { answered: false, left, reason: code ?? 'network error', error };
      }
    },
    close: () => agent.destroy(),
  };
}

async function readBody(body: Readable): Promise<{ text: string } | 'cut' | 'huge'> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of body) {
      const bytes = Buffer.from(chunk);
      length += bytes.length;
      // Leaving the loop drops the connection.
      if (length > ANSWER_BYTES) return 'huge';
      chunks.push(bytes);
    }
    return { text: Buffer.concat(chunks).toString('utf8') };
  } catch {
    return 'cut';
  }
}
