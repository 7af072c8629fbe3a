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

/** What a slot is asked for with; `datetime` and the like are the platform's own. */
export type SlotQuery = {
  readonly staffId: number;
  /** `2026-11-24`, in the salon's zone. */
  readonly day: string;
  /** Never empty: without services the platform answers hours that cannot be booked. */
  readonly serviceIds: readonly number[];
};

/**
 * The API as one company's tokens open it. Every method rejects with an `ApiError` and nothing else. Calls of one
 * company leave one after another, however many are asked for at once: so it has one place in the queue for the
 * shared budget, and a thousand calls of one do not stand before the one call of another.
 *
 * What reads, and what may be done twice without a difference, is tried again by itself. What is not is tried again
 * only when the API certainly did nothing; else the error says `outcomeUnknown`: look first, then decide.
 */
export type CompanyApi = {
  /** Pages of at most 200, ending with a short one. */
  records(query: RecordsQuery): AsyncIterable<Page>;
  /** The record, deleted or not; null when there is none (any more). */
  record(recordId: number): Promise<unknown | null>;
  company(): Promise<unknown>;
  hooks(): Promise<unknown>;
  /** Replaces the settings whole. Not repeated by itself. */
  saveHooks(settings: unknown): Promise<unknown>;
  /** One page of clients; `search` is the platform's own body (`fields`, `filters`, `page`, `page_size`). */
  searchClients(search: unknown): Promise<readonly unknown[]>;
  /** The client; null when there is none (any more). */
  client(clientId: number): Promise<unknown | null>;
  services(): Promise<readonly unknown[]>;
  staff(): Promise<readonly unknown[]>;
  /** Free times of one person on one day. Needs no user token. */
  bookTimes(query: SlotQuery): Promise<readonly unknown[]>;
  /** Whether a booking could be made so now; `code` is the platform's reason, 433 for a taken slot. */
  bookCheck(
    booking: unknown,
  ): Promise<{ readonly free: true } | { readonly free: false; readonly code: number }>;
  /** Never repeated blindly: the platform knows no idempotency key. */
  createRecord(record: unknown): Promise<unknown>;
  /** The client confirms: attendance 2. The platform refuses an empty comment. */
  confirmVisit(visit: {
    readonly visitId: number;
    readonly recordId: number;
    readonly comment: string;
  }): Promise<unknown>;
  /** `datetime` as the platform takes it, ISO with the salon's offset. */
  moveRecord(
    recordId: number,
    to: { readonly datetime: string; readonly comment?: string },
  ): Promise<unknown>;
  /** `gone`: it was not there (any more), which is the same for whoever wanted it away. */
  deleteRecord(recordId: number): Promise<'deleted' | 'gone'>;
};

/** What a call is named in metrics and messages: a closed set. */
export type Operation =
  | 'records'
  | 'record'
  | 'company'
  | 'hooks'
  | 'save_hooks'
  | 'search_clients'
  | 'client'
  | 'services'
  | 'staff'
  | 'book_times'
  | 'book_check'
  | 'create_record'
  | 'confirm_visit'
  | 'move_record'
  | 'delete_record';

/** As much of it as reconciliation reads. */
export type JournalApi = Pick<CompanyApi, 'records' | 'record'>;

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
  /** The code in the body, where it has one: the platform's finer reason, e.g. 433. */
  readonly code: number | undefined;
  /** A change was asked for and may have been made: look before asking again. */
  readonly outcomeUnknown: boolean;

  constructor(
    trouble: ApiTrouble,
    message: string,
    about: {
      readonly status?: number;
      readonly retryAfterMs?: number | undefined;
      readonly code?: number | undefined;
      readonly outcomeUnknown?: boolean;
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, { cause: about.cause });
    this.trouble = trouble;
    this.status = about.status ?? 0;
    this.retryAfterMs = about.retryAfterMs;
    this.code = about.code;
    this.outcomeUnknown = about.outcomeUnknown ?? false;
  }
}

/** The budget that all processes behind one address share; `store/budget.ts` keeps it. */
export type Gate = {
  /**
   * Resolves when one call may leave. Rejects with `ApiError` `paused` when that would be too long to wait, and with
   * the signal's reason when it is aborted.
   */
  enter(signal: AbortSignal): Promise<void>;
  /** What the call came to: `limited` and `unavailable` hold everyone back, `fine` ends a row of failures. */
  report(outcome: 'fine' | 'limited' | 'unavailable', retryAfterMs?: number): Promise<void>;
};
