/**
 * `X-Otklik-Signature: t=<unix seconds>,v1=<hex>[,v1=<hex>]`: HMAC-SHA256 over `<t>.<body>`, or `<t>.<id>.<body>` when
 * the request carries `X-Otklik-Id`, of the raw bytes. The platform signs nothing; this is for senders who can.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { EpochMs } from '../domain/time.ts';

/** Clocks may differ this much, in both directions. */
const TOLERANCE_MS = 5 * 60_000;
const HEADER = /^t=([1-9]\d{9})((?:,v1=[0-9a-f]{64}){1,4})$/;
/** No dot: it separates what is signed. */
const ID = /^[A-Za-z0-9_-]{1,128}$/;

export type SignatureFault = 'malformed' | 'stale' | 'mismatch';

export type Signed = {
  readonly header: string;
  readonly id: string | undefined;
  readonly body: Buffer;
  /** Live secrets, any of which may have been used. */
  readonly secrets: readonly string[];
  readonly now: EpochMs;
};

/** What is wrong with a signature, for our own count; undefined when it holds. */
export function faultOf({ header, id, body, secrets, now }: Signed): SignatureFault | undefined {
  const match = HEADER.exec(header);
  const [, time, signatures] = match ?? [];
  if (time === undefined || signatures === undefined) return 'malformed';
  if (id !== undefined && !ID.test(id)) return 'malformed';
  if (Math.abs(now - Number(time) * 1000) > TOLERANCE_MS) return 'stale';
  const given = signatures
    .split(',v1=')
    .slice(1)
    .map(hex => Buffer.from(hex, 'hex'));
  // Every pair is compared, whichever matches, so that the time taken tells nothing.
  const matches = secrets.flatMap(secret => {
    const expected = sign(secret, time, id, body);
    return given.map(signature => timingSafeEqual(expected, signature));
  });
  return matches.includes(true) ? undefined : 'mismatch';
}

function sign(secret: string, time: string, id: string | undefined, body: Buffer): Buffer {
  const prefix = id === undefined ? `${time}.` : `${time}.${id}.`;
  return createHmac('sha256', secret).update(prefix).update(body).digest();
}

/** The header a sender puts on `body`; the counterpart of `faultOf`. */
export function signatureHeader(signed: { secret: string; id?: string; body: Buffer; now: EpochMs }): string {
  const time = String(Math.floor(signed.now / 1000));
  return `t=${time},v1=${sign(signed.secret, time, signed.id, signed.body).toString('hex')}`;
}
