/**
 * What the platform posts when we are a salon's SMS operator (developer.alteg.io, "Sending SMS through operators"):
 *
 *     {"destination_params": {…}, "from": "Salon", "text": "…", "type" | "channel": "sms" | "whatsapp" | "viber",
 *      "dispatch_type": "service" | "adds", "delivery_callback_url": "https://…"}
 *
 * and expects `[{"id": <its id>, "ext_id": <ours>} | {"id", "error_code", "error_message"}]`. `destination_params` is
 * documented as "an object containing the send ID and phone number parameters", without a name or an example; so any
 * form is read in which an id and a phone can be told apart. What cannot is said to be unreadable, never guessed.
 */
import { normalisePhone } from '../domain/phone.ts';
import { plainText } from '../domain/plain.ts';
import type { RelayCategory } from '../domain/relay.ts';
import { clean } from './reader.ts';

export type Destination = {
  /** As the platform wrote it; null: it gave none. */
  readonly theirId: string | null;
  /** E.164; null: what stood there cannot be called. */
  readonly phone: string | null;
};

export type RelayRequest = {
  readonly destinations: readonly Destination[];
  readonly text: string;
  readonly category: RelayCategory;
  readonly asked: 'sms' | 'whatsapp' | null;
  /** Where it says that it wants to hear of them. Never called: see `relay-status.ts`. */
  readonly callbackUrl: string | null;
};

/** Phones of one request; nobody has seen more than one. */
export const MOST_DESTINATIONS = 500;
/** What most channels carry at most. A longer text is cut. */
const MOST_TEXT = 4_000;
const ID_NAMES = ['id', 'sms_id', 'send_id', 'message_id', 'delivery_id', 'external_id', 'ext_id', 'guid'];
const PHONE_NAMES = ['phone', 'phones', 'phone_number', 'number', 'to', 'recipient', 'destination', 'msisdn'];

/** Names under which the id and the phone of a destination may stand besides those. */
export type DestinationNames = { readonly id?: string | undefined; readonly phone?: string | undefined };

const ID = /^[\w.:-]{1,100}$/;
const E164 = /^\+[1-9]\d{6,14}$/;
/** A list in an object in a list: nobody goes deeper. */
const DEEPEST = 4;

/** Undefined, or why it cannot be read, in words fit for the sender. */
export function readRelay(
  value: unknown,
  names: DestinationNames = {},
): RelayRequest | { readonly unreadable: string } {
  if (!isObject(value)) return { unreadable: 'an object is expected' };
  const text = typeof value.text === 'string' ? plainText(clean(value.text), MOST_TEXT) : '';
  if (text === '') return { unreadable: 'text is missing' };
  const destinations = readDestinations(value.destination_params, {
    ids: [names.id ?? [], ID_NAMES].flat(),
    phones: [names.phone ?? [], PHONE_NAMES].flat(),
  });
  if (destinations.length === 0) return { unreadable: 'destination_params names nobody' };
  if (destinations.length > MOST_DESTINATIONS) {
    return { unreadable: `destination_params names more than ${MOST_DESTINATIONS}` };
  }
  return {
    destinations,
    text,
    category: categoryOf(value.dispatch_type),
    asked: askedOf(value.channel ?? value.type),
    callbackUrl: typeof value.delivery_callback_url === 'string' ? value.delivery_callback_url : null,
  };
}

/** A word that we do not know may be a new kind of advertising; no word at all is from before there were two. */
function categoryOf(value: unknown): RelayCategory {
  return value === undefined || value === null || value === '' || value === 'service'
    ? 'service'
    : 'advertising';
}

function askedOf(value: unknown): RelayRequest['asked'] {
  return value === 'sms' || value === 'whatsapp' ? value : null;
}

type Names = { readonly ids: readonly string[]; readonly phones: readonly string[] };

function readDestinations(
  value: unknown,
  names: Names,
  theirId: string | null = null,
  depth = 0,
): Destination[] {
  if (depth > DEEPEST) return [{ theirId, phone: null }];
  const inner = (next: unknown, id = theirId) => readDestinations(next, names, id, depth + 1);
  if (typeof value === 'number') return [destination(theirId, String(value))];
  if (typeof value === 'string') {
    const parsed = parsedList(value);
    if (parsed !== undefined) return inner(parsed);
    return value
      .split(/[,;]/)
      .filter(part => part.trim() !== '')
      .map(part => destination(theirId, part));
  }
  if (Array.isArray(value)) return value.flatMap(item => inner(item));
  if (!isObject(value)) return [];
  const id = idOf(first(value, names.ids)) ?? theirId;
  const phones = first(value, names.phones);
  if (phones !== undefined) return inner(phones, id);
  // By id: {"232674": "79160000001"}, or {"232674": {"phone": …}}.
  const entries = Object.entries(value);
  if (entries.length > 0 && entries.every(([name]) => /^\d{1,20}$/.test(name))) {
    return entries.flatMap(([name, next]) => inner(next, name));
  }
  return entries.length === 0 ? [] : [{ theirId: id, phone: null }];
}

/** A list or an object written into a string, as a form would send it. */
function parsedList(value: string): unknown {
  if (!/^\s*[[{]/.test(value)) return undefined;
  try {
    return JSON.parse(value);
  } catch {
    return undefined;
  }
}

function destination(theirId: string | null, phone: string): Destination {
  const normal = normalisePhone(phone.trim());
  return { theirId, phone: E164.test(normal) ? normal : null };
}

function idOf(value: unknown): string | null {
  const text = typeof value === 'number' ? String(value) : value;
  return typeof text === 'string' && ID.test(text) ? text : null;
}

function first(object: Readonly<Record<string, unknown>>, names: readonly string[]): unknown {
  const name = names.find(candidate => Object.hasOwn(object, candidate) && object[candidate] !== null);
  return name === undefined ? undefined : object[name];
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
