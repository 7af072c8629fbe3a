/** What leaves the salon: one webhook, and which true state of which booking it carries. */
import type { EpochMs } from '../domain/time.ts';

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export type JsonObject = { readonly [name: string]: Json };

export type WebhookStatus = 'create' | 'update' | 'delete';

export type Carried = {
  readonly recordId: number;
  readonly version: EpochMs;
  /** `deletion`: only that the record is deleted, with no version and no other field. */
  readonly what: 'everything' | 'all_but_client' | 'deletion';
};

export type Webhook = {
  /** When the salon made the change that it tells. */
  readonly at: EpochMs;
  readonly resource: string;
  readonly resourceId: number;
  readonly status: WebhookStatus;
  readonly envelope: JsonObject;
  /** The bytes as they are posted. NUL and lone surrogates are JSON escapes here. */
  readonly body: string;
  /** null for what is not a booking. */
  readonly carried: Carried | null;
  /** The client of whom it says that they want no messages; null otherwise. */
  readonly refuser: number | null;
};

export function bodyOf(envelope: JsonObject): string {
  return JSON.stringify(envelope);
}
