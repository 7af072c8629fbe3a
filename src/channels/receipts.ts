/**
 * What providers tell of the messages they took, each in its own form and proven in its own way. The address that a
 * provider calls holds a secret of ours; where a provider signs what it sends, that is looked at as well.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { ChannelName } from './channel.ts';
import type { Update } from './ear.ts';
import { at, numberAt, textAt } from './provider.ts';

export type ReceiptStatus = 'delivered' | 'read' | 'failed';

export type Receipt = {
  readonly providerId: string;
  readonly status: ReceiptStatus;
  /** A code of the provider's, for a failure; else empty. */
  readonly reason: string;
  readonly happenedAt: number | null;
};

export type ReceiptReader = {
  readonly channel: ChannelName;
  /** What the provider takes for «received». */
  readonly answer: string;
  /** Undefined: not what the provider sends, or not by the provider. What is no receipt is left out. */
  read(body: Buffer, headers: Readonly<Record<string, unknown>>): readonly Receipt[] | undefined;
  /** The answer to a trial call, where there is one; undefined: refused. */
  challenge?(query: Readonly<Record<string, unknown>>, secret: string): string | undefined;
  /** What people sent back, in a body that `read` has believed; absent where a provider brings none. */
  hear?(body: Buffer): readonly Update[];
  /** In place of `answer`, where it depends on what was brought. */
  answerTo?(body: Buffer): string;
};

/**
 * Meta's Cloud API. …/webhooks/create-webhook-endpoint: a GET with `hub.verify_token` is answered by `hub.challenge`; a
 * POST is signed in X-Hub-Signature-256 by HMAC-SHA256 over the raw body under the app's secret. …/webhooks/reference/
 * messages/status: `entry[].changes[].value.statuses[]`. Without the app's secret nothing is believed.
 */
export function cloudReceipts(appSecret: string): ReceiptReader {
  return {
    channel: 'whatsapp',
    answer: '',
    challenge(query, secret) {
      const genuine = query['hub.mode'] === 'subscribe' && same(String(query['hub.verify_token']), secret);
      const challenge = query['hub.challenge'];
      return genuine && typeof challenge === 'string' && /^\w{1,200}$/.test(challenge)
        ? challenge
        : undefined;
    },
    read(body, headers) {
      const mac = createHmac('sha256', appSecret).update(body).digest('hex');
      if (!same(String(headers['x-hub-signature-256']), `sha256=${mac}`)) return undefined;
      const json = parse(body);
      if (json === undefined) return undefined;
      const values = listAt(json, 'entry').flatMap(entry => listAt(entry, 'changes'));
      return values
        .flatMap(change => listAt(at(change, 'value'), 'statuses'))
        .flatMap(status =>
          receiptOf({
            id: textAt(status, 'id'),
            status: { delivered: 'delivered', read: 'read', failed: 'failed' }[
              textAt(status, 'status') ?? ''
            ],
            reason: textAt(status, 'errors', 0, 'code'),
            seconds: numberAt(status, 'timestamp'),
          }),
        );
    },
  };
}

/**
 * Green-API, green-api.com/en/docs/api/receiving/notifications-format/outgoing-message/OutgoingMessageStatus. It signs
 * nothing; …/account/SetSettings has `webhookUrlToken`, «token to access your notification server», which comes in
 * Authorization: as `Bearer <token>`, or as it was entered where that names a scheme itself. Undefined: none was entered.
 */
export function greenApiReceipts(token?: string): ReceiptReader {
  return {
    ...GREEN_API,
    read: (body, headers) => (bears(headers, token) ? GREEN_API.read(body, headers) : undefined),
  };
}

function bears({ authorization }: Readonly<Record<string, unknown>>, token: string | undefined): boolean {
  const given = String(authorization);
  return token === undefined || same(given, `Bearer ${token}`) || same(given, token);
}

const GREEN_API: ReceiptReader = {
  channel: 'whatsapp',
  answer: '',
  read(body) {
    const json = parse(body);
    if (json === undefined) return undefined;
    if (textAt(json, 'typeWebhook') !== 'outgoingMessageStatus') return [];
    const status = textAt(json, 'status') ?? '';
    const failed = ['failed', 'noAccount', 'notInGroup', 'noActiveSession'].includes(status);
    return receiptOf({
      id: textAt(json, 'idMessage'),
      status: failed ? 'failed' : { delivered: 'delivered', read: 'read' }[status],
      reason: failed ? status : undefined,
      seconds: numberAt(json, 'timestamp'),
    });
  },
};

/** Wazzup, wazzup24.com/help/webhooks: `statuses[]` beside `messages[]`; `{test: true}` when it is set up. It signs nothing. */
export const WAZZUP_RECEIPTS: ReceiptReader = {
  channel: 'whatsapp',
  answer: '',
  read(body) {
    const json = parse(body);
    if (json === undefined) return undefined;
    return listAt(json, 'statuses').flatMap(status =>
      receiptOf({
        id: textAt(status, 'messageId'),
        status: { delivered: 'delivered', read: 'read', error: 'failed' }[textAt(status, 'status') ?? ''],
        reason: textAt(status, 'error', 'error'),
        seconds: secondsOf(textAt(status, 'timestamp')),
      }),
    );
  },
};

/**
 * SMS.ru, sms.ru/api/callback: a form of `data[]`, each «sms_status», id, code, time on lines of their own; `hash` is
 * SHA-256 of the api_id and all of them. It calls again until it reads «100».
 */
export function smsRuReceipts(apiId: string): ReceiptReader {
  return {
    channel: 'sms',
    answer: '100',
    read(body) {
      const form = new URLSearchParams(body.toString());
      const entries = [...form].filter(([name]) => /^data(\[\d*\])?$/.test(name)).map(([, value]) => value);
      const hash = createHash('sha256')
        .update(`${apiId}${entries.join('')}`)
        .digest('hex');
      if (!same(form.get('hash') ?? '', hash)) return undefined;
      return entries.flatMap(entry => {
        const [kind, id, code, seconds] = entry.split('\n');
        if (kind !== 'sms_status') return [];
        const failed = ['104', '105', '106', '107', '108', '150'].includes(code ?? '');
        return receiptOf({
          id,
          status: failed ? 'failed' : { 103: 'delivered', 110: 'read' }[code ?? ''],
          reason: failed ? code : undefined,
          seconds: Number(seconds),
        });
      });
    },
  };
}

/**
 * SMSC, smsc.ru/api/http/miscellaneous/callback: a form with `id` and `status`, which are those of smsc.ru/api/#statuses.
 * «To protect the transmitted data from spoofing» its handler's address may ask for `md5` or `sha1`: over
 * `id:phone:status:secret`, as the package codewiser/smscenter-mailer reads it. Undefined: no secret was agreed.
 */
export function smscReceipts(secret?: string): ReceiptReader {
  return {
    ...SMSC,
    read(body, headers) {
      const form = new URLSearchParams(body.toString());
      return secret === undefined || isHashed(form, secret) ? SMSC.read(body, headers) : undefined;
    },
  };
}

function isHashed(form: URLSearchParams, secret: string): boolean {
  const said = [...['id', 'phone', 'status'].map(name => form.get(name) ?? ''), secret].join(':');
  const algorithm = form.has('sha1') ? 'sha1' : 'md5';
  const mac = createHash(algorithm).update(said).digest('hex');
  return same((form.get(algorithm) ?? '').toLowerCase(), mac);
}

const SMSC: ReceiptReader = {
  channel: 'sms',
  answer: 'OK',
  read(body) {
    const form = new URLSearchParams(body.toString());
    const code = form.get('status');
    if (code === null) return undefined;
    // -1 and 0 are on their way; 3 is expired, 20 and above are not to be delivered.
    const failed = ['-3', '-2', '3', '20', '22', '23', '24', '25'].includes(code);
    return receiptOf({
      id: form.get('id') ?? undefined,
      status: failed ? 'failed' : { 1: 'delivered', 2: 'read', 4: 'read' }[code],
      reason: failed ? code : undefined,
      seconds: Number(form.get('ts') ?? Number.NaN),
    });
  },
};

type Said = {
  readonly id: string | undefined;
  readonly status: string | undefined;
  readonly reason: string | undefined;
  readonly seconds: number | undefined;
};

/** Before 2001 and after 2286 there is no moment of ten digits. */
const SECONDS = /^[1-9]\d{9}$/;

function receiptOf({ id, status, reason, seconds }: Said): Receipt[] {
  if (id === undefined || !/^[\x21-\x7e]{1,200}$/.test(id)) return [];
  if (status !== 'delivered' && status !== 'read' && status !== 'failed') return [];
  const whole = Math.floor(seconds ?? Number.NaN);
  return [
    {
      ...{ providerId: id, status },
      reason: /^[\w.-]{1,60}$/.test(reason ?? '') ? (reason ?? '') : '',
      happenedAt: SECONDS.test(String(whole)) ? whole * 1000 : null,
    },
  ];
}

function secondsOf(written: string | undefined): number | undefined {
  if (written === undefined) return undefined;
  const seconds = /^\d+$/.test(written) ? Number(written) : Date.parse(written) / 1000;
  return seconds > 1e11 ? seconds / 1000 : seconds;
}

export function listAt(json: unknown, name: string): readonly unknown[] {
  const list = at(json, name);
  return Array.isArray(list) ? list : [];
}

/** JSON, or undefined. */
export function parse(body: Buffer): unknown {
  try {
    const json: unknown = JSON.parse(body.toString());
    return typeof json === 'object' && json !== null ? json : undefined;
  } catch {
    return undefined;
  }
}

/** Takes as long for a right beginning as for a wrong one. */
export function same(given: string, expected: string): boolean {
  const [left, right] = [Buffer.from(given), Buffer.from(expected)];
  return left.length === right.length && timingSafeEqual(left, right);
}
