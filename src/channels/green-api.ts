/**
 * WhatsApp by Green-API, which works a phone of the salon's own as WhatsApp Web does.
 *
 * green-api.com/en/docs/api/sending/SendMessage: `POST /waInstance<id>/sendMessage/<token>` puts a text (20,000
 * characters) into a queue; «messages will be kept for 24 hours in the queue until instance will be authorized». A
 * reminder that leaves when somebody links the phone again the next morning is worse than none, and one message cannot
 * be taken out of the queue: so nothing is put in while the instance is not `authorized` (…/account/GetStateInstance,
 * once a second at most; `sleepMode` and `starting` pass by themselves, `yellowCard` is a stop for what WhatsApp takes for spam). /docs/api/ratelimiter: 50 messages a second of one instance, above it 429; 466 is the quota
 * of the tariff. No key that would make a repeat harmless, so an answer that did not come is `unknown`.
 */
import type { AccountState, Channel, SendResult } from './channel.ts';
import {
  type Answer,
  type Caller,
  createCaller,
  createProviderChannel,
  type ProviderConfig,
  phoneDigits,
  refusalOf,
  refused,
  rejected,
  retry,
  rootOf,
  textAt,
  WORKS,
} from './provider.ts';

export type GreenApiConfig = ProviderConfig & {
  /** apiTokenInstance */
  readonly token: string;
  /** idInstance */
  readonly account: string;
  /** apiUrl of the instance, as its console shows it. */
  readonly apiUrl: string;
};

/** An instance found authorized is taken to be so for this long. */
const TRUST_MS = 30_000;

export function createGreenApi({ token, account, apiUrl, ...config }: GreenApiConfig): Channel {
  const root = rootOf(apiUrl, apiUrl);
  const caller = createCaller(config);
  const url = (method: string) => `${root}/waInstance${account}/${method}/${token}`;
  return createProviderChannel(
    {
      name: 'whatsapp',
      provider: 'green-api',
      traits: {
        address: 'phone',
        reaches: 'anybody',
        maxText: 20_000,
        buttons: false,
        receiptWithinMs: 5 * 60_000,
        pace: { everyMs: 25, chatEveryMs: 1000 },
      },
      idempotent: false,
      concurrency: 10,
      readAddress: phoneDigits,
      hindrance: watchState(caller, url('getStateInstance'), config.now ?? Date.now),
      write: (to, text) => ({
        url: url('sendMessage'),
        body: { chatId: `${to}@c.us`, message: text, linkPreview: false },
      }),
      read,
      account: { asked: { url: url('getStateInstance') }, read: readState },
    },
    caller,
  );
}

const TROUBLES: Readonly<Record<string, string>> = {
  blocked: 'WhatsApp has blocked this phone',
  notAuthorized: 'the phone is not linked, see its console',
  yellowCard: 'WhatsApp has stopped this phone for spam',
};

function readState(answer: Answer): AccountState | undefined {
  const state = textAt(answer.json, 'stateInstance');
  if (state === undefined) return refusalOf(read(answer));
  const trouble = Object.hasOwn(TROUBLES, state) ? TROUBLES[state] : undefined;
  if (trouble !== undefined) return refused(`Green-API: ${trouble}`);
  return state === 'authorized' ? WORKS : undefined;
}

/** Looks whether the phone is linked, when that was not seen lately. */
function watchState(
  { ask }: Caller,
  url: string,
  now: () => number,
): (signal: AbortSignal) => Promise<SendResult | undefined> {
  let authorizedUntil = 0;
  let looking: Promise<SendResult | undefined> | undefined;
  async function look(signal: AbortSignal): Promise<SendResult | undefined> {
    const answer = await ask({ url }, signal);
    if ('failed' in answer) return certain(answer.failed);
    const state = textAt(answer.json, 'stateInstance');
    if (state === 'authorized') authorizedUntil = now() + TRUST_MS;
    if (state === 'authorized') return undefined;
    if (state === 'blocked') return rejected('channel', 'Green-API: WhatsApp has blocked this phone');
    if (state !== undefined) return retry('Green-API: the phone is not linked, see its console');
    return certain(read(answer) ?? retry(`Green-API ${answer.status}`));
  }
  return async signal => {
    if (now() < authorizedUntil) return undefined;
    looking ??= look(signal).finally(() => {
      looking = undefined;
    });
    return looking;
  };
}

/** Whatever became of the look, no message has left. */
function certain(result: SendResult): SendResult {
  return result.outcome === 'unknown' ? retry(result.reason) : result;
}

function read({ status, json, retryAfterMs }: Answer): SendResult | undefined {
  const sent = textAt(json, 'idMessage');
  if (status === 200 && sent !== undefined) return { outcome: 'sent', providerId: sent };
  const reason = `Green-API ${status}`;
  switch (status) {
    case 400: {
      // «Validation failed. Details: 'chatId' …»
      const about = /Details: ["']?chatId/.test(textAt(json, 'message') ?? '');
      return rejected(about ? 'address' : 'message', reason);
    }
    case 401:
    case 403:
    case 404:
    case 466:
      return rejected('channel', reason);
    case 429:
      return retry(reason, retryAfterMs, 'limited');
    default:
      return undefined;
  }
}
