/**
 * The webhook channel: a message as JSON, signed by Standard Webhooks, POSTed to an address of the company's own.
 * For receivers see `docs/webhook-channel.md`. The body:
 *
 *     {
 *       "id": "019…",                 the message's UUID, also in the header webhook-id; the same on every attempt
 *       "type": "notice.booked",      notice.<kind>, "reminder", "review", "no_show", "rebook", "digest", "batch",
 *                                     "test",
 *                                     "relay" (a text of the platform's own), or "alert" (to whoever runs this; companyId is 0)
 *       "companyId": 4564, "recordId": 1 | null, "attempt": 1,
 *       "recipient": { "clientId": 1 | null, "name": "…", "phone": "…", "email": "…",
 *                      "role": "staff" | "administrator", "staffId": 1 | null     of the team only },
 *       "subject": "…", "text": "…",
 *       "before": Facts | null, "after": Facts | null      what the client last heard, and what is true now
 *       "visit": [{ "recordId": 1, …Facts }]              in a message about a visit only: its records
 *       "digest": { … }                                   in a digest only: what it counts
 *       "changes": [{ "recordId": 1, "kind": "booked", "before": …, "after": … }]     in a batch only, with its "visit"
 *     }
 *
 * Signed is `<webhook-id>.<webhook-timestamp>.<body>`, HMAC-SHA256 (github.com/standard-webhooks/standard-webhooks,
 * spec/standard-webhooks.md). A receiver drops an id it has seen, so that an unknown outcome may be tried again.
 */
import { isIPv4 } from 'node:net';
import { Webhook } from 'standardwebhooks';
import { Agent } from 'undici';
import type { BatchChange } from '../domain/batch.ts';
import { retryAfterMs } from '../outgoing.ts';
import type { Channel, Outgoing, RejectedScope, SendResult } from './channel.ts';
import { guardedConnector, RefusedAddress } from './guard.ts';
import { type Posted, post } from './post.ts';

export type WebhookConfig = {
  /** Whether private and loopback addresses may be called: for development and closed networks only. */
  readonly allowPrivate: boolean;
  readonly timeoutMs: number;
  /** The clock of the signature and of a Retry-After date. */
  readonly now?: (() => number) | undefined;
};

const CONCURRENCY = 20;
/** Read so that the connection can be used again, then dropped: the status says all. */
const MAX_ANSWER_BYTES = 16 * 1024;
const MAX_URL_LENGTH = 2048;

export function createWebhook({ allowPrivate, timeoutMs, now = Date.now }: WebhookConfig): Channel {
  const connect = allowPrivate ? { timeout: timeoutMs } : guardedConnector(timeoutMs);
  const dispatcher = new Agent({ connect, allowH2: false });
  return {
    name: 'webhook',
    traits: {
      address: 'url',
      reaches: 'anybody',
      // What a template can come to at most; nothing is cut.
      maxText: 4000,
      buttons: false,
      receiptWithinMs: null,
      pace: null,
    },
    idempotent: true,
    concurrency: CONCURRENCY,
    async send(message, signal) {
      const url = readUrl(message.address);
      if (url === null) return rejected('address', 'not a plain http or https address');
      const body = JSON.stringify(bodyOf(message));
      const headers = signedHeaders(message, body, now());
      if (headers === null) return rejected('channel', 'the company has no usable signing secret');
      const posting = { url, headers, body, dispatcher, timeoutMs, maxAnswerBytes: MAX_ANSWER_BYTES };
      return resultOf(await post(posting, signal), now());
    },
    close: () => dispatcher.destroy(),
  };
}

/** Null unless it is http or https without credentials. `http://0x7f000001` and its like are refused as they stand. */
function readUrl(address: string): URL | null {
  const written = /^https?:\/\/([^/?#\\:]+|\[[^\]]*\])/i.exec(address)?.[1];
  if (written === undefined || address.length > MAX_URL_LENGTH || !URL.canParse(address)) return null;
  const url = new URL(address);
  if (url.username !== '' || url.password !== '') return null;
  if (isIPv4(url.hostname) && url.hostname !== written) return null;
  return url;
}

function bodyOf(message: Outgoing): object {
  const { id, companyId, recordId, purpose, recipient, notice, visit, subject, text, attempt } = message;
  const { digest = null, changes = null } = message;
  return {
    id,
    type: notice === null ? purpose : `notice.${notice.kind}`,
    companyId,
    recordId,
    attempt,
    recipient,
    subject,
    text,
    before: notice?.before ?? null,
    after: notice?.after ?? null,
    ...(visit === null ? {} : { visit }),
    ...(digest === null ? {} : { digest }),
    ...(changes === null ? {} : { changes: changes.map(changeOf) }),
  };
}

function changeOf({ recordId, kind, before, after }: BatchChange): BatchChange {
  return { recordId, kind, before, after };
}

/** While two secrets hold, each signs; the standard has the signatures in one header, separated by spaces. */
function signedHeaders(
  { id, secret, formerSecret }: Outgoing,
  body: string,
  nowMs: number,
): Record<string, string> | null {
  if (!secret?.startsWith('whsec_')) return null;
  const secrets = formerSecret === undefined ? [secret] : [secret, formerSecret];
  try {
    return {
      'content-type': 'application/json',
      'user-agent': 'otklik',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(nowMs / 1000)),
      'webhook-signature': secrets.map(one => new Webhook(one).sign(id, new Date(nowMs), body)).join(' '),
    };
  } catch {
    return null;
  }
}

function resultOf(posted: Posted, nowMs: number): SendResult {
  if (posted.answered) return resultOfStatus(posted.status, retryAfterMs(posted.retryAfter, nowMs));
  if (posted.error instanceof RefusedAddress) return rejected('address', posted.error.message);
  return { outcome: posted.left ? 'unknown' : 'retry', reason: posted.reason };
}

/** A redirect is not followed: it would send what was signed for one address to another, past a look at it. */
function resultOfStatus(status: number, waitMs: number | undefined): SendResult {
  if (status >= 200 && status < 300) return { outcome: 'sent' };
  if (status >= 300 && status < 400) return rejected('address', `HTTP ${status}: redirects are not followed`);
  if (status === 410) return rejected('address', 'HTTP 410: the receiver is gone');
  const again = status >= 500 || [408, 409, 425, 429].includes(status);
  if (!again) return rejected('message', `HTTP ${status}`);
  const reason = `HTTP ${status}`;
  return waitMs === undefined
    ? { outcome: 'retry', reason }
    : { outcome: 'retry', reason, retryAfterMs: waitMs };
}

function rejected(scope: RejectedScope, reason: string): SendResult {
  return { outcome: 'rejected', scope, reason };
}
