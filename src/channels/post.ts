/**
 * One HTTP request, a POST unless it is said to be another, with a limit on everything, for the channels that speak HTTP.
 * Its answer settles what a sender must know afterwards: did the request leave, or may it be sent again without a doubt?
 */
import { Readable } from 'node:stream';
import { type Dispatcher, request } from 'undici';
import { codeOf, rejectionOf } from '../outgoing.ts';

export type Posting = {
  readonly url: string | URL;
  readonly method?: 'POST' | 'GET' | 'DELETE';
  readonly headers: Readonly<Record<string, string>>;
  /** Sent with a POST only. */
  readonly body: string;
  readonly dispatcher: Dispatcher;
  /** For the whole exchange: name, connection, request, answer. */
  readonly timeoutMs: number;
  /** An answer longer than this is dropped, with its connection. */
  readonly maxAnswerBytes: number;
};

export type Posted =
  | {
      readonly answered: true;
      readonly status: number;
      readonly retryAfter: string | undefined;
      /** null: it was too long, or broke off. */
      readonly text: string | null;
    }
  | {
      readonly answered: false;
      /** Whether a byte of the body was given to a socket. When not, the receiver knows nothing of it. */
      readonly left: boolean;
      /** Fit for a log: a code, never a word of the error's message. */
      readonly reason: string;
      readonly error: unknown;
    };

export async function post(posting: Posting, signal: AbortSignal): Promise<Posted> {
  const { url, method = 'POST', headers, body, dispatcher, timeoutMs, maxAnswerBytes } = posting;
  const bytes = Buffer.from(body);
  const deadline = AbortSignal.timeout(timeoutMs);
  const ended = AbortSignal.any([signal, deadline]);
  let left = false;
  // A stream is read only once the connection stands, which a Buffer would not tell.
  const stream = new Readable({
    read() {
      left = true;
      this.push(bytes);
      this.push(null);
    },
  });
  try {
    ended.throwIfAborted();
    const answering = request(url, {
      method,
      ...(method !== 'POST'
        ? { headers }
        : { headers: { ...headers, 'content-length': String(bytes.length) }, body: stream }),
      dispatcher,
      signal: ended,
    });
    // undici looks at the signal only once it is connected.
    const answer = await Promise.race([answering, rejectionOf(ended)]);
    const retryAfter = [answer.headers['retry-after'] ?? []].flat()[0];
    return {
      answered: true,
      status: answer.statusCode,
      retryAfter,
      text: await readText(answer.body, maxAnswerBytes),
    };
  } catch (error) {
    // What is said not to have left must not leave later.
    stream.destroy();
    return { answered: false, left, reason: reasonOf(error, signal, deadline, timeoutMs), error };
  }
}

async function readText(body: Readable, maxBytes: number): Promise<string | null> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of body) {
      const bytes = Buffer.from(chunk);
      length += bytes.length;
      if (length > maxBytes) return null;
      chunks.push(bytes);
    }
    return Buffer.concat(chunks).toString('utf8');
  } catch {
    return null;
  }
}

function reasonOf(error: unknown, signal: AbortSignal, deadline: AbortSignal, timeoutMs: number): string {
  if (signal.aborted) return 'stopped by us';
  if (deadline.aborted) return `no answer within ${timeoutMs} ms`;
  return codeOf(error) ?? 'network error';
}
