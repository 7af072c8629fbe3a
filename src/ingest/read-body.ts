/**
 * From the bytes of a request to events for the inbox. The envelope is read, the payload is left alone but for what
 * JSONB cannot hold; the bytes are kept beside it whenever the two differ.
 */
import { isUtf8 } from 'node:buffer';
import { hash } from 'node:crypto';
import type { EpochMs } from '../domain/time.ts';
import { newId } from '../ids.ts';
import type { EventSource, NewEvent } from '../store/inbox.ts';
import { clean } from '../yclients/reader.ts';
import { carriesVersion, type Envelope, readEnvelope } from '../yclients/wire.ts';

/** Far deeper than any real body (7), far shallower than what exhausts a stack. */
const DEPTH_LIMIT = 256;
/** Nobody has seen a list of events; one is accepted up to this length. */
const LIST_LIMIT = 100;
/** How long two equal bodies without a version are one event. A false duplicate loses news, a missed one costs nothing. */
const UNVERSIONED_MS = 60_000;

/** The body cannot be taken; `reason` is fit for the sender's eyes. */
export type Unreadable = { readonly unreadable: string };

export type ReadOptions = {
  /** The company whose key was used. */
  readonly companyId: number;
  readonly receivedAt: EpochMs;
  readonly source: EventSource;
  /** The sender's id, when it came authenticated. */
  readonly authenticId?: string;
  /** Makes of equal bytes another event: whoever reads a body from the API has found it, however it came before. */
  readonly findId?: string;
};

/** The events in a body: one, unless it is a list. */
export function readBody(raw: Buffer, options: ReadOptions): readonly NewEvent[] | Unreadable {
  const parsed = parse(raw);
  if ('unreadable' in parsed) return parsed;
  const { value, text } = parsed;
  if (!Array.isArray(value)) {
    const event = readEvent(value, raw, text, options);
    return 'unreadable' in event ? event : [event];
  }
  if (value.length === 0 || value.length > LIST_LIMIT)
    return { unreadable: `a list must hold 1 to ${LIST_LIMIT} events` };
  const events: NewEvent[] = [];
  for (const item of value) {
    const bytes = Buffer.from(JSON.stringify(item));
    const event = readEvent(item, bytes, bytes, options);
    if ('unreadable' in event) return event;
    events.push(event);
  }
  return events;
}

/** A row that keeps bytes nobody can read as an event. */
export function quarantined(raw: Buffer, { companyId, receivedAt }: ReadOptions): NewEvent {
  const minute = Math.floor(receivedAt / UNVERSIONED_MS);
  return {
    id: newId(),
    eventId: `${companyId}:unreadable:${hash('sha256', raw, 'base64url')}:${minute}`,
    eventType: 'unreadable',
    companyId,
    resource: 'unreadable',
    resourceId: 0,
    status: 'unreadable',
    source: 'webhook',
    payload: Buffer.from('{}'),
    raw,
    state: 'quarantined',
  };
}

function readEvent(value: unknown, bytes: Buffer, text: Buffer, options: ReadOptions): NewEvent | Unreadable {
  const envelope = readEnvelope(value);
  if (envelope === undefined) {
    return { unreadable: 'not an event: company_id, resource, resource_id and status are expected' };
  }
  if (envelope.companyId !== options.companyId) {
    return { unreadable: `company_id ${envelope.companyId} does not belong to this URL` };
  }
  return {
    id: newId(),
    eventId: dedupeKey(envelope, value, bytes, options),
    eventType: eventType(envelope),
    companyId: envelope.companyId,
    resource: envelope.resource,
    resourceId: envelope.resourceId,
    status: envelope.status,
    source: options.source,
    payload: text,
    raw: text === bytes ? null : bytes,
    state: 'pending',
  };
}

/**
 * Bytes that differ are different events, which is harmless: the merge is idempotent. Equal bytes are one event for
 * ever when they carry a version, and within a minute when they do not.
 */
function dedupeKey(envelope: Envelope, value: unknown, bytes: Buffer, options: ReadOptions): string {
  const { companyId, resource, resourceId, status } = envelope;
  if (options.authenticId !== undefined) return `${companyId}:id:${options.authenticId}`;
  const key = `${companyId}:${resource}:${resourceId}:${status}:${hash('sha256', bytes, 'base64url')}`;
  if (options.findId !== undefined) return `${key}:${options.findId}`;
  return carriesVersion(value) ? key : `${key}:${Math.floor(options.receivedAt / UNVERSIONED_MS)}`;
}

const PAST: Record<string, string> = { create: 'created', update: 'updated', delete: 'deleted' };

function eventType({ resource, status }: Envelope): string {
  return `${resource}.${PAST[status] ?? status}`.slice(0, 50);
}

/** A \u escape of NUL or of a surrogate: JSONB refuses the first, and the second where it stands alone. */
const DOUBTFUL_ESCAPE = /\\u(?:0000|d[89a-f])/i;
/** PostgreSQL's numbers end at 131,072 digits before the point and 16,383 after it. Inside a text it is no number. */
const HUGE_NUMBER = /(?<!\d)\d{9999}|\de[+-]?\d{4}/i;
const TEXT_OR_HUGE_NUMBER = new RegExp(`"(?:[^"\\\\]|\\\\.)*"|${HUGE_NUMBER.source}`, 'gi');
/** NaN and Infinity outside of strings, as some senders write them. */
const NOT_A_NUMBER = /"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b/g;

/** The value, and JSON text of it that JSONB accepts: the very buffer `raw` where it is that already. */
function parse(raw: Buffer): { value: unknown; text: Buffer } | Unreadable {
  if (raw.length === 0) return { unreadable: 'the body is empty' };
  if (depthOf(raw) > DEPTH_LIMIT)
    return { unreadable: `the body is nested deeper than ${DEPTH_LIMIT} levels` };
  const source = raw.toString('utf8');
  const strict = parseJson(source);
  if (strict !== undefined && isUtf8(raw) && !DOUBTFUL_ESCAPE.test(source) && !hasHugeNumber(source))
    return { value: strict.value, text: raw };
  const tolerant =
    strict ?? parseJson(source.replace(NOT_A_NUMBER, found => (found.startsWith('"') ? found : 'null')));
  if (tolerant === undefined) return { unreadable: 'the body is not JSON' };
  const value = cleanAll(tolerant.value);
  return { value, text: Buffer.from(JSON.stringify(value)) };
}

function hasHugeNumber(source: string): boolean {
  if (!HUGE_NUMBER.test(source)) return false;
  return source.match(TEXT_OR_HUGE_NUMBER)?.some(found => !found.startsWith('"')) ?? false;
}

function parseJson(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

/** Every string, keys included, without NUL and lone surrogates. The depth is bounded already. */
function cleanAll(value: unknown): unknown {
  if (typeof value === 'string') return clean(value);
  if (Array.isArray(value)) return value.map(cleanAll);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [clean(key), cleanAll(inner)]));
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPENING = new Set([0x5b, 0x7b]);
const CLOSING = new Set([0x5d, 0x7d]);

/** How deep brackets nest, strings passed over; for malformed text an upper bound is enough. */
function depthOf(raw: Buffer): number {
  let depth = 0;
  let deepest = 0;
  let quoted = false;
  for (let index = 0; index < raw.length; index += 1) {
    const byte = raw[index] ?? 0;
    if (quoted && byte === BACKSLASH) index += 1;
    else if (byte === QUOTE) quoted = !quoted;
    else if (quoted) continue;
    else if (OPENING.has(byte)) deepest = Math.max(deepest, ++depth);
    else if (CLOSING.has(byte)) depth -= 1;
  }
  return deepest;
}
