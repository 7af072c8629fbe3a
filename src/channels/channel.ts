/** A channel carries one message to one address. Each lives in its own file beside this one. */
import type { Facts, Notice } from '../domain/notice.ts';
import type { PlannedPurpose } from '../domain/plan.ts';

export type ChannelName = 'console' | 'telegram' | 'email' | 'webhook';

/** A button under a message, for channels that have them; the others leave it out. */
export type Button = {
  readonly label: string;
  /** What comes back when it is pressed, at most 64 bytes: see `domain/answer.ts`. */
  readonly press: string;
};

/** A message ready to leave: rendered, addressed, claimed by this process. */
export type Outgoing = {
  /** UUID of the message; the same on every attempt, so that an idempotent receiver can drop a repeat. */
  readonly id: string;
  readonly companyId: number;
  /** null for a message about no booking (a test). */
  readonly recordId: number | null;
  readonly purpose: 'notice' | 'test' | PlannedPurpose;
  /** Chat id, e-mail, URL; empty where the channel has one fixed destination. */
  readonly address: string;
  readonly subject: string;
  readonly text: string;
  /** For machines: who it is for and what it tells. */
  readonly recipient: {
    readonly clientId: number | null;
    readonly name: string;
    readonly phone: string;
    readonly email: string;
  };
  readonly notice: Notice | null;
  readonly buttons?: readonly Button[];
  /** Pages of ours where the recipient can answer, for channels that have links in place of buttons. */
  readonly links?: {
    readonly answer?: { readonly label: string; readonly url: string };
    /** Takes a POST without any question: RFC 8058. */
    readonly stop: string;
  };
  /** Of a planned message: the records of the visit. */
  readonly visit: readonly (Facts & { readonly recordId: number })[] | null;
  /** The company's own signing secret, where the channel signs (webhook). */
  readonly secret?: string;
  /** 1 for the first try. */
  readonly attempt: number;
};

/**
 * How one attempt ended.
 * - `sent`: the provider took it.
 * - `retry`: it certainly did not go out, and may later (429 with its Retry-After, 5xx before acceptance, refused connection).
 * - `rejected`: it never will. `address`: this address is wrong or blocked; `message`: this text; `channel`: our account or set-up.
 * - `unknown`: it may have gone out (timeout or reset after the request left).
 */
export type SendResult =
  | { readonly outcome: 'sent'; readonly providerId?: string }
  | { readonly outcome: 'retry'; readonly reason: string; readonly retryAfterMs?: number }
  | {
      readonly outcome: 'rejected';
      readonly reason: string;
      readonly scope: 'address' | 'message' | 'channel';
    }
  | { readonly outcome: 'unknown'; readonly reason: string };

export type Channel = {
  readonly name: ChannelName;
  /** Whether the receiver drops a repeat of the same id, so that an unknown outcome may be tried again. */
  readonly idempotent: boolean;
  /** How many sends may be under way at once. */
  readonly concurrency: number;
  /** Never throws; never logs or returns an address, a text or a secret in `reason`. Ends within its own timeout or when `signal` aborts. */
  send(message: Outgoing, signal: AbortSignal): Promise<SendResult>;
  /** Ends what is kept open between sends; absent where nothing is. */
  close?(): Promise<void>;
};
