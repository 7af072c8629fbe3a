/**
 * Posts webhooks as the platform does: once, with a short patience, following no redirect. Altegio's newer builds try
 * twice more, 1.5 s apart, after a network error, a 429 or a 5xx; that is an option here.
 */
import { Agent, request } from 'undici';
import type { EpochMs } from '../domain/time.ts';
import type { Clock } from './clock.ts';

export type Answer = {
  /** When the first try left. */
  readonly sentAt: EpochMs;
  /** When a 2xx came; null when the listener did not take it, or may have without saying so. */
  readonly answeredAt: EpochMs | null;
  /** How each try ended: an HTTP status, `timeout` or `network`. */
  readonly tries: readonly string[];
};

export type Sender = {
  /** Never rejects. */
  post(body: string): Promise<Answer>;
  close(): Promise<void>;
};

export type SenderOptions = {
  readonly to: string;
  readonly clock: Clock;
  readonly retries?: number | undefined;
  readonly timeoutMs?: number | undefined;
};

/** The platform gives up after 10 to 15 s, and the event is lost. */
const TIMEOUT_MS = 10_000;
const RETRY_PAUSE_MS = 1_500;
const CONNECTIONS = 32;

export function createSender({ to, clock, retries = 0, timeoutMs = TIMEOUT_MS }: SenderOptions): Sender {
  const dispatcher = new Agent({ connections: CONNECTIONS, connect: { timeout: timeoutMs } });
  const headers = { 'content-type': 'application/json', 'user-agent': 'otklik-simulator' };
  const tryOnce = async (body: string): Promise<string> => {
    try {
      const signal = AbortSignal.timeout(timeoutMs);
      const response = await request(to, { method: 'POST', body, headers, dispatcher, signal });
      await response.body.dump();
      return String(response.statusCode);
    } catch (error) {
      return error instanceof Error && error.name === 'TimeoutError' ? 'timeout' : 'network';
    }
  };
  return {
    async post(body) {
      const sentAt = clock.now();
      const tries = [await tryOnce(body)];
      while (tries.length <= retries && deservesRetry(tries.at(-1))) {
        await clock.sleep(RETRY_PAUSE_MS);
        tries.push(await tryOnce(body));
      }
      return { sentAt, answeredAt: isTaken(tries.at(-1)) ? clock.now() : null, tries };
    },
    close: () => dispatcher.close(),
  };
}

function isTaken(outcome: string | undefined): boolean {
  return outcome?.startsWith('2') ?? false;
}

function deservesRetry(outcome: string | undefined): boolean {
  return outcome === 'network' || outcome === '429' || (outcome?.startsWith('5') ?? false);
}
