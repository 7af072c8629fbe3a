/**
 * What the marketplace puts on the URL when an owner presses "connect": `salon_id` (or `salon_ids[0]`, `salon_ids[1]`…),
 * `user_data` = base64 of a JSON object, `user_data_sign` = hex HMAC-SHA256 under the partner token **over the decoded
 * bytes**. (The vendor's own sample signs the base64 text, which never holds.) The salons' ids are not signed: only the
 * platform's answer to the activation says that a salon really granted it.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { plainLine } from '../domain/plain.ts';

export type ConnectRequest = {
  readonly salonIds: readonly number[];
  /** As the platform says it, plain, or empty. */
  readonly salonName: string;
};

export type ConnectFault = 'malformed' | 'signature' | 'salons';

/** `user_data` is some 200 bytes. */
const DATA = /^[A-Za-z0-9+/_-]{1,6000}={0,2}$/;
const SIGNATURE = /^[0-9a-f]{64}$/i;
const SALON_PARAMETER = /^(?:salon_id|salon_ids(?:\[\d{0,3}\])?)$/;
/** A chain connects its branches at once. */
const MAX_SALONS = 50;
const MAX_SALON_ID = 2_147_483_647;
const NAME_LENGTH = 200;

export function readConnect(
  query: Readonly<Record<string, unknown>>,
  partnerToken: string,
): ConnectRequest | { readonly fault: ConnectFault } {
  const { user_data: data, user_data_sign: sign } = query;
  if (typeof data !== 'string' || typeof sign !== 'string') return { fault: 'malformed' };
  // A plus that was not percent-encoded arrives as a space.
  const encoded = data.replaceAll(' ', '+');
  if (!DATA.test(encoded)) return { fault: 'malformed' };
  if (!SIGNATURE.test(sign)) return { fault: 'signature' };
  const bytes = Buffer.from(encoded, 'base64');
  const expected = createHmac('sha256', partnerToken).update(bytes).digest();
  if (!timingSafeEqual(Buffer.from(sign, 'hex'), expected)) return { fault: 'signature' };
  const user = readObject(bytes);
  if (user === undefined) return { fault: 'malformed' };
  const salonIds = readSalons(query);
  if (salonIds === undefined) return { fault: 'salons' };
  const name = user.salon_name;
  return { salonIds, salonName: typeof name === 'string' ? plainLine(name, NAME_LENGTH) : '' };
}

function readObject(bytes: Buffer): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

/** Each salon once; undefined when there is none, an odd one, or too many. */
function readSalons(query: Readonly<Record<string, unknown>>): readonly number[] | undefined {
  const given = Object.entries(query)
    .filter(([name]) => SALON_PARAMETER.test(name))
    .flatMap(([, value]) => value);
  const ids = [...new Set(given.map(readSalonId))];
  if (ids.length === 0 || ids.length > MAX_SALONS) return undefined;
  const known = ids.filter(id => id !== undefined);
  return known.length === ids.length ? known : undefined;
}

export function readSalonId(value: unknown): number | undefined {
  const text = typeof value === 'number' ? String(value) : value;
  if (typeof text !== 'string' || !/^[1-9]\d{0,9}$/.test(text)) return undefined;
  const id = Number(text);
  return id <= MAX_SALON_ID ? id : undefined;
}
