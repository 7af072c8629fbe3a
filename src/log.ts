/**
 * Logging: one canonical JSON line a unit of work, with the fields listed here and no others. Personal data and
 * secrets stay out by allow-list: an unknown field is dropped, and an error is reduced to its class and code.
 */
import { type DestinationStream, pino } from 'pino';
import type { Level, Line } from './log-lines.ts';
import { ApiError } from './yclients/api.ts';

/**
 * Every text a line may carry, with what it means; docs/logs.md is written from this. Add one only if it can never hold
 * a person's data, a text of a body or a secret.
 */
const TEXTS = {
  role: 'what this process does, or which of its listeners',
  loop: 'the background service: process, plan, dispatch, report, digest, reconcile, listen, act, rejects, upkeep, watch, succession',
  request_id:
    'the id that the request had at the proxy, or ours; the same on every line that follows from it',
  trace_id: 'the trace of it, where tracing is on',
  event: 'id in the inbox: `events show`',
  message: 'id in the outbox: `messages show`',
  channel: 'the channel of a message',
  purpose: 'what a message is for',
  operation: 'of the admin API, as its description names it: a verb and a path without values',
  outcome: 'what the unit of work came to',
  reason: 'why, in words of ours',
  resource:
    'what an event is about, as the platform calls it; of `rows pruned` the table; of an alert what it is about: a company’s id, a channel, a cause',
  effect: 'what an event came to: merged, same, stale, kept, test, erased',
  kind: 'of a sweep: baseline, delta, full; of format drift: what is odd; of an alert: which one, as in docs/operations.md',
  path: 'place in a body where its format drifts',
  version: 'of this program',
} as const;

/** The same for numbers. */
const NUMBERS = {
  company_id: 'the platform’s number of the salon',
  status: 'the answer’s HTTP status',
  report:
    'what the platform was told of its text: 8 taken, 4 sent, 1 delivered, 2 not, 16 refused, 52 no money',
  attempts: 'tries so far, this one included',
  failures: 'failures in a row',
  count: 'how many',
  lag_ms: 'from an event received to its effect committed',
  duration_ms: 'how long the unit of work took; of a sweep put off, how long it waits',
  port: 'of a listener',
  pid: 'of the embedded PostgreSQL',
} as const;

type Fields = { readonly err?: unknown } & { readonly [name in keyof typeof TEXTS]?: string } & {
  readonly [name in keyof typeof NUMBERS]?: number;
};

/** What is said of an error in place of the error: see `describeError`. */
const OF_ERRORS = {
  error: 'the error’s class',
  error_code: 'its code: an SQLSTATE, an errno',
  error_at: 'the place in our code',
  error_says: 'what it means, in words of ours',
} as const;

/** Every field with its type and meaning, for docs/logs.md. */
export function describeFields(): readonly {
  readonly name: string;
  readonly type: 'text' | 'number';
  readonly meaning: string;
}[] {
  const rows = (type: 'text' | 'number', fields: Readonly<Record<string, string>>) =>
    Object.entries(fields).map(([name, meaning]) => ({ name, type, meaning }));
  return [...rows('text', TEXTS), ...rows('number', NUMBERS), ...rows('text', OF_ERRORS)];
}

export type Log = { readonly [L in Level]: (fields: Fields, text: Line<L>) => void };

const ALLOWED = new Set(Object.keys({ ...TEXTS, ...NUMBERS }));

export type LogLevel = Level | 'silent';

export function createLog(level: LogLevel, destination: DestinationStream = pino.destination(2)): Log {
  const logger = pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
  const at = (name: Level) => (fields: Fields, text: string) => {
    if (logger.isLevelEnabled(name)) logger[name](allowed(fields), text);
  };
  return { info: at('info'), warn: at('warn'), error: at('error'), debug: at('debug') };
}

function allowed(fields: Fields): Record<string, unknown> {
  const kept: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) if (ALLOWED.has(name)) kept[name] = value;
  return fields.err === undefined ? kept : Object.assign(kept, describeError(fields.err));
}

const FULL = 'disk full: free space where the database lies; docs/operations.md#alert-disk';
/** What codes mean to the operator whose log would else say no more than that the store is down. */
const WORDS: Readonly<Record<string, string>> = { '53100': FULL, ENOSPC: FULL, EDQUOT: FULL };

/** What the driver throws of a database that says nothing, without a code; the whole message, so that it holds no value. */
const WITHOUT_CODE: Readonly<Record<string, string>> = {
  'Query read timeout': 'the database does not answer a statement in time',
  'timeout exceeded when trying to connect': 'no connection to the database was free in time',
  'Connection terminated due to connection timeout': 'the database takes no connection in time',
  'Connection terminated unexpectedly': 'the database closed the connection',
};

/**
 * What may be said of an error: its class, code and where it was thrown. Its message may quote a value (PostgreSQL's
 * details do), so only messages of our own errors are kept, which are written not to.
 */
export function describeError(error: unknown): {
  error: string;
  error_code?: string;
  error_at?: string;
  error_says?: string;
} {
  if (!(error instanceof Error)) return { error: typeof error };
  const code = 'code' in error && typeof error.code === 'string' ? { error_code: error.code } : {};
  const frame = error.stack?.split('\n').find(line => /\/src\//.test(line));
  const at = frame ? { error_at: frame.replace(/^.*\/(src\/[^)]*)\)?$/, '$1') } : {};
  const { message } = error;
  const words = isPlain(error) ? message : (WORDS[code.error_code ?? ''] ?? WITHOUT_CODE[message]);
  const says = words === undefined ? {} : { error_says: words };
  return { error: error.name, ...code, ...at, ...says };
}

/** Whether an error's message was written for the operator, with no value from outside in it. */
export function isPlain(error: unknown): error is Error {
  return error instanceof PlainError || error instanceof ApiError;
}

/** An error whose message was written for the operator: no value from outside in it but ids and names of settings. */
export class PlainError extends Error {
  override readonly name: string = 'PlainError';
}

/** What was asked for is not there. */
export class MissingError extends PlainError {
  override readonly name = 'MissingError';
}
