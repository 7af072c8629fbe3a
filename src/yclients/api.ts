/**
 * What we ask of the platform's REST API, as the rest of the project sees it; `client.ts` speaks it over HTTP.
 *
 * Bodies come back as they are (`unknown`): `wire.ts` reads them, as it reads those of webhooks.
 */
import type { EpochMs } from '../domain/time.ts';

export type Brand = 'yclients' | 'altegio';

/** Which records to list. Every filter must be checked again on the answer: the platform ignores those it does not know. */
export type RecordsQuery = {
  /** Created or changed since. The platform reads it in a zone it does not document: allow for a day. */
  readonly changedAfter?: EpochMs;
  /** Visit days in the salon's zone, `2026-11-24`, both included. */
  readonly startDate?: string;
  readonly endDate?: string;
  readonly withDeleted?: boolean;
  /** The first page to read, from 1. */
  readonly fromPage?: number;
};

export type Page = { readonly number: number; readonly items: readonly unknown[]; readonly last: boolean };

/** The API as one company's tokens open it. Every method rejects with an `ApiError` and nothing else. */
export type CompanyApi = {
  /** Pages of at most 200, ending with a short one. */
  records(query: RecordsQuery): AsyncIterable<Page>;
  /** The record, deleted or not; null when there is none (any more). */
  record(recordId: number): Promise<unknown | null>;
  company(): Promise<unknown>;
  hooks(): Promise<unknown>;
  /** Replaces the settings whole. Not repeated by itself. */
  saveHooks(settings: unknown): Promise<unknown>;
};

/**
 * - `unauthorised`: a token is wrong, or a half of the header is missing; `forbidden`: the user lacks a right
 * - `limited`: too many calls; `unavailable`: down, hanging, or a body that is not the API's
 * - `refused`: the API understood and said no; `unreadable`: an answer of no known shape
 * - `paused`: not even asked, because the address is paused after the above
 */
export type ApiTrouble =
  | 'unauthorised'
  | 'forbidden'
  | 'not_found'
  | 'limited'
  | 'unavailable'
  | 'refused'
  | 'unreadable'
  | 'paused';

/** Its message says what was asked, what came back and what to do; never a token, a name or a phone. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly trouble: ApiTrouble;
  /** The HTTP status; 0 when there was none. */
  readonly status: number;
  /** When asking again may help; undefined when the API did not say. */
  readonly retryAfterMs: number | undefined;

  constructor(
    trouble: ApiTrouble,
    message: string,
    about: {
      readonly status?: number;
      readonly retryAfterMs?: number | undefined;
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, { cause: about.cause });
    this.trouble = trouble;
    this.status = about.status ?? 0;
    this.retryAfterMs = about.retryAfterMs;
  }
}

/** The budget that all processes behind one address share; `store/budget.ts` keeps it. */
export type Gate = {
  /** Resolves when one call may leave. Rejects with `ApiError` `paused` when that would be too long to wait. */
  enter(signal: AbortSignal): Promise<void>;
  /** What the call came to: `limited` and `unavailable` hold everyone back, `fine` ends a row of failures. */
  report(outcome: 'fine' | 'limited' | 'unavailable', retryAfterMs?: number): Promise<void>;
};
