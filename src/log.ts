/**
 * Logging: one canonical JSON line a unit of work, with the fields listed here and no others. Personal data and
 * secrets stay out by allow-list: an unknown field is dropped, and an error is reduced to its class and code.
 */
import { type DestinationStream, pino } from 'pino';
import { ApiError } from './yclients/api.ts';

/** Everything a line may carry. Add a field only if it can never hold a person's data, a text of a body or a secret. */
type Fields = {
  readonly err?: unknown;
  readonly loop?: string;
  readonly role?: string;
  readonly failures?: number;
  readonly company_id?: number;
  readonly event?: string;
  readonly message?: string;
  readonly channel?: string;
  readonly outcome?: string;
  readonly reason?: string;
  readonly resource?: string;
  readonly effect?: string;
  readonly attempts?: number;
  readonly count?: number;
  readonly shards?: number;
  readonly duration_ms?: number;
  readonly status?: number;
  readonly port?: number;
  readonly pid?: number;
  readonly path?: string;
  readonly kind?: string;
  readonly version?: string;
  readonly request_id?: string;
};

export type Log = {
  info(fields: Fields, text: string): void;
  warn(fields: Fields, text: string): void;
  error(fields: Fields, text: string): void;
  debug(fields: Fields, text: string): void;
};

const ALLOWED = new Set<string>([
  'loop',
  'role',
  'failures',
  'company_id',
  'event',
  'message',
  'channel',
  'outcome',
  'reason',
  'resource',
  'effect',
  'attempts',
  'count',
  'shards',
  'duration_ms',
  'status',
  'port',
  'pid',
  'path',
  'kind',
  'version',
  'request_id',
]);

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

export function createLog(level: LogLevel, destination: DestinationStream = pino.destination(2)): Log {
  const logger = pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
  const at = (name: 'info' | 'warn' | 'error' | 'debug') => (fields: Fields, text: string) =>
    logger[name](allowed(fields), text);
  return { info: at('info'), warn: at('warn'), error: at('error'), debug: at('debug') };
}

function allowed(fields: Fields): Record<string, unknown> {
  const kept = Object.entries(fields).filter(([name]) => ALLOWED.has(name));
  return { ...Object.fromEntries(kept), ...(fields.err === undefined ? {} : describeError(fields.err)) };
}

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
  const says = isPlain(error) ? { error_says: error.message } : {};
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
