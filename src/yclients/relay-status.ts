/**
 * Tells the platform what became of a text it gave us: `POST /smsprovider/status/callback/{partner_token}` with
 * `{id, status, payment_sum, currency_iso, parts_amount}` (developer.alteg.io, "Getting message statuses"; the amount,
 * its currency and the number of parts are demanded of an operator in its marketplace, zero where it charges nothing,
 * as we do: the salon pays its provider itself).
 *
 * The address is made of the token that is configured, never taken from a request: whoever knows a salon's key could
 * have us call any host. It holds a secret, so no URL and no body is ever logged.
 */
import { Agent, request } from 'undici';
import type { RelayStatus } from '../domain/relay.ts';
import { codeOf, retryAfterMs } from '../outgoing.ts';
import type { Brand } from './api.ts';

export type StatusReport = {
  readonly brand: Brand;
  /** The platform's id of the text. */
  readonly id: string;
  readonly status: RelayStatus;
  readonly parts: number;
};

/**
 * `told`: it was taken. `refused`: it never will be, as it stands. `later`: it may be. Reasons are fit for a log.
 */
export type Told =
  | { readonly outcome: 'told' }
  | { readonly outcome: 'refused'; readonly reason: string }
  | { readonly outcome: 'later'; readonly reason: string; readonly retryAfterMs?: number | undefined };

export type StatusTeller = {
  /** Never rejects. */
  tell(report: StatusReport, signal: AbortSignal): Promise<Told>;
  close(): Promise<void>;
};

export type StatusTellerOptions = {
  readonly partnerTokens: { readonly [brand in Brand]: string | undefined };
  /** In place of the platform's own address. */
  readonly baseUrl?: string | undefined;
  readonly now: () => number;
  readonly timeoutMs?: number;
};

/** Altegio's is documented, that of YClients is its counterpart. */
export const STATUS_URLS: Readonly<Record<Brand, string>> = {
  yclients: 'https://yclients.com',
  altegio: 'https://app.alteg.io',
};
const ACCEPT: Readonly<Record<Brand, string>> = {
  yclients: 'application/vnd.yclients.v2+json',
  altegio: 'application/vnd.api.v2+json',
};
/** Of an amount of nothing; the field is demanded. */
const CURRENCY: Readonly<Record<Brand, string>> = { yclients: 'RUB', altegio: 'EUR' };
const TIMEOUT_MS = 10_000;
const CONNECTIONS = 8;
const MAX_ANSWER_BYTES = 16 * 1024;
/** Of our account there, or of the moment, rather than of this text. */
const MAY_PASS = new Set([401, 403, 408, 409, 425, 429]);

export function createStatusTeller(options: StatusTellerOptions): StatusTeller {
  const { partnerTokens, now, timeoutMs = TIMEOUT_MS } = options;
  const dispatcher = new Agent({
    connections: CONNECTIONS,
    connect: { timeout: timeoutMs },
    allowH2: false,
    maxResponseSize: MAX_ANSWER_BYTES,
  });
  return {
    async tell({ brand, id, status, parts }, signal) {
      const token = partnerTokens[brand];
      if (token === undefined) return { outcome: 'later', reason: 'no partner token is set' };
      const root = (options.baseUrl ?? STATUS_URLS[brand]).replace(/\/+$/, '');
      const deadline = AbortSignal.timeout(timeoutMs);
      try {
        const answer = await request(`${root}/smsprovider/status/callback/${encodeURIComponent(token)}`, {
          method: 'POST',
          headers: {
            authorization: `Bearer ${token}`,
            accept: ACCEPT[brand],
            'content-type': 'application/json',
            'user-agent': 'otklik',
          },
          body: JSON.stringify({
            ...{ id, status, payment_sum: 0 },
            ...{ currency_iso: CURRENCY[brand], parts_amount: parts },
          }),
          dispatcher,
          signal: AbortSignal.any([signal, deadline]),
        });
        const waitMs = retryAfterMs([answer.headers['retry-after'] ?? []].flat()[0], now());
        const text = await answer.body.text().catch(() => '');
        return judge(answer.statusCode, text, waitMs);
      } catch (error) {
        const late = deadline.aborted ? `no answer within ${timeoutMs} ms` : undefined;
        const stopped = signal.aborted ? 'stopped by us' : undefined;
        return { outcome: 'later', reason: stopped ?? late ?? codeOf(error) ?? 'network error' };
      }
    },
    close: () => dispatcher.destroy(),
  };
}

/** Any 2xx counts unless its body says `success: false`, as the platform's answers may. */
function judge(status: number, text: string, waitMs: number | undefined): Told {
  const reason = `HTTP ${status} of the platform`;
  if (status >= 200 && status < 300) {
    return /"success"\s*:\s*false/.test(text)
      ? { outcome: 'refused', reason: `${reason} with success: false` }
      : { outcome: 'told' };
  }
  // A redirect is not followed, and comes of an address that is wrong or of one that changes.
  if (status < 400 || status >= 500 || MAY_PASS.has(status))
    return { outcome: 'later', reason, retryAfterMs: waitMs };
  return { outcome: 'refused', reason };
}
