/**
 * The marketplace's activation callback: `POST /marketplace/partner/callback`, sent within hours of the owner's press on
 * "connect", answered 201. By it the platform learns where to send the salon's events. No body is ever logged: ours
 * holds the URL's key, theirs may repeat it.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { codeOf } from '../outgoing.ts';
import type { Brand } from './api.ts';

export type MarketplaceOptions = {
  readonly partnerToken: string;
  readonly applicationId: number;
  readonly brand: Brand;
  /** Another address than the platform's own, for tests. */
  readonly baseUrl?: string | undefined;
  readonly timeoutMs?: number;
  readonly retryPauseMs?: number;
};

export type ActivationRequest = {
  readonly salonId: number;
  readonly webhookUrl: string;
  /** With which the platform would call an API of ours; there is none yet, but the field is asked for. */
  readonly apiKey: string;
};

/** `refused`: the platform said no, nothing has changed there. `unclear`: it may have taken it. Reasons are fit for a log. */
export type Activation =
  | { readonly outcome: 'active' }
  | { readonly outcome: 'refused' | 'unclear'; readonly reason: string };

export type Marketplace = {
  /** Tried twice: the same body again changes nothing. Never rejects. */
  activate(salon: ActivationRequest): Promise<Activation>;
  close(): Promise<void>;
};

const HOSTS: Readonly<Record<Brand, string>> = {
  yclients: 'https://api.yclients.com',
  altegio: 'https://app.alteg.io',
};
const ACCEPT: Readonly<Record<Brand, string>> = {
  yclients: 'application/vnd.yclients.v2+json',
  altegio: 'application/vnd.api.v2+json',
};
/** A person waits for the page. */
const TIMEOUT_MS = 8_000;
const RETRY_PAUSE_MS = 500;
const TRIES = 2;
const MAX_ANSWER_BYTES = 64 * 1024;

export function createMarketplace(options: MarketplaceOptions): Marketplace {
  const { partnerToken, applicationId, brand } = options;
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
  const dispatcher = new Agent({
    connect: { timeout: timeoutMs },
    allowH2: false,
    maxResponseSize: MAX_ANSWER_BYTES,
  });
  const base = (options.baseUrl ?? HOSTS[brand]).replace(/\/+$/, '');
  const headers = {
    authorization: `Bearer ${partnerToken}`,
    accept: ACCEPT[brand],
    'content-type': 'application/json',
  };

  async function once({ salonId, webhookUrl, apiKey }: ActivationRequest): Promise<Activation> {
    const body = {
      salon_id: salonId,
      application_id: applicationId,
      api_key: apiKey,
      webhook_urls: [webhookUrl],
      channels: [],
    };
    try {
      const { statusCode, body: answer } = await request(`${base}/marketplace/partner/callback`, {
        method: 'POST',
        headers,
        body: JSON.stringify(body),
        dispatcher,
        signal: AbortSignal.timeout(timeoutMs),
      });
      return judge(statusCode, await answer.text());
    } catch (error) {
      const code = codeOf(error);
      const why = code === undefined ? '' : ` (${code})`;
      return { outcome: 'unclear', reason: `no answer of the marketplace${why}` };
    }
  }

  return {
    async activate(salon) {
      let last: Activation = await once(salon);
      for (let tries = 1; tries < TRIES && last.outcome === 'unclear'; tries += 1) {
        await pause(options.retryPauseMs ?? RETRY_PAUSE_MS);
        last = await once(salon);
      }
      return last;
    },
    close: () => dispatcher.destroy(),
  };
}

/** 201 by the documents; any 2xx counts unless its body says `success: false`, as the API's answers may. */
function judge(status: number, text: string): Activation {
  if (status >= 200 && status < 300) {
    return /"success"\s*:\s*false/.test(text)
      ? { outcome: 'refused', reason: `HTTP ${status} with success: false` }
      : { outcome: 'active' };
  }
  const unclear = status >= 500 || status === 429 || status === 408;
  return { outcome: unclear ? 'unclear' : 'refused', reason: `HTTP ${status} of the marketplace` };
}
