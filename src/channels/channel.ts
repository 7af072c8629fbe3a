/** A channel carries one message to one address. Each lives in its own file beside this one. */
import type { BatchChange } from '../domain/batch.ts';
import type { Digest } from '../domain/digest.ts';
import type { Facts, Notice } from '../domain/notice.ts';
import type { PlannedPurpose } from '../domain/plan.ts';
import { CHANNEL_NAMES, type ChannelName } from '../domain/route.ts';
import type { Role } from '../domain/team.ts';
import type { EpochMs } from '../domain/time.ts';

export { CHANNEL_NAMES, type ChannelName };

/** Those on which an address can be set for a client. */
export const ADDRESSED = [
  'telegram',
  'max',
  'whatsapp',
  'sms',
  'vk',
  'email',
] as const satisfies readonly ChannelName[];

/** A button under a message, for channels that have them; the others leave it out. */
export type Button = { readonly label: string } & (
  | {
      /** What comes back when it is pressed, at most 64 bytes: see `domain/answer.ts`. */
      readonly press: string;
    }
  /** A page that it opens. */
  | { readonly url: string }
);

/** A message ready to leave: rendered, addressed, claimed by this process. */
export type Outgoing = {
  /** UUID of the message; the same on every attempt, so that an idempotent receiver can drop a repeat. */
  readonly id: string;
  readonly companyId: number;
  /** null for a message about no booking (a test). */
  readonly recordId: number | null;
  readonly purpose: 'notice' | 'request' | 'test' | 'alert' | 'digest' | 'batch' | 'relay' | PlannedPurpose;
  /** Chat id, phone, e-mail, URL; empty where the channel has one fixed destination. */
  readonly address: string;
  readonly subject: string;
  readonly text: string;
  /** For machines: who it is for and what it tells. */
  readonly recipient: {
    readonly clientId: number | null;
    readonly name: string;
    readonly phone: string;
    readonly email: string;
    /** Of one of the salon's team, whose phone and e-mail are not said; `staffId` is the platform's. */
    readonly role?: Role;
    readonly staffId?: number | null;
  };
  readonly notice: Notice | null;
  /** Of an administrator's daily digest, and nothing else. */
  readonly digest?: Digest | null;
  /** Of a batch for an administrator, and nothing else. */
  readonly changes?: readonly BatchChange[] | null;
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
  /** The one before it, while that holds yet: a receiver may have either. */
  readonly formerSecret?: string;
  /** From then on it need not arrive any more: the visit has begun. Absent for a message about no visit. */
  readonly validUntil?: EpochMs;
  /** 1 for the first try. */
  readonly attempt: number;
};

/** Where whoever runs this is reached, by channel; `secret` for one that signs. */
export type Roads = ReadonlyMap<
  ChannelName,
  { readonly address: string; readonly secret?: string | undefined }
>;

/** What messages to them have in common: they are of no company, whose number is 0 then. */
export const OPERATOR = {
  companyId: 0,
  recordId: null,
  purpose: 'alert',
  recipient: { clientId: null, name: '', phone: '', email: '' },
  notice: null,
  visit: null,
} as const;

/**
 * How one attempt ended.
 * - `sent`: the provider took it.
 * - `retry`: it certainly did not go out, and may later (429 with its Retry-After, 5xx before acceptance, refused connection).
 * - `rejected`: it never will. `address`: this address is wrong or gone; `person`: they want nothing from us there;
 *   `message`: this text; `channel`: our account or set-up.
 * - `unknown`: it may have gone out (timeout or reset after the request left).
 */
export type SendResult =
  | { readonly outcome: 'sent'; readonly providerId?: string }
  | {
      readonly outcome: 'retry';
      readonly reason: string;
      readonly retryAfterMs?: number;
      /** The provider says that this account sends too often: all its messages wait. */
      readonly limited?: true;
    }
  | { readonly outcome: 'rejected'; readonly reason: string; readonly scope: RejectedScope }
  | { readonly outcome: 'unknown'; readonly reason: string };

/**
 * What a provider says of our account when it is asked.
 * - `soon`: it works, and its money or its term is about to end.
 * - `unknown`: nobody answered, or not in a way that says anything of the account.
 */
export type AccountState =
  | { readonly state: 'ok' }
  | { readonly state: 'refused' | 'soon' | 'unknown'; readonly reason: string };

export type RejectedScope = 'address' | 'person' | 'message' | 'channel';

/** What a channel can and cannot, by its provider's documents; docs/channels.md shows the same. */
export type Traits = {
  /** What an address on it is. A phone is the person's own unless another was set for them. */
  readonly address: 'none' | 'chat' | 'phone' | 'email' | 'url';
  /** Whom it may write to: anybody, those who have written to us once, those who wrote within a day. */
  readonly reaches: 'anybody' | 'those who wrote' | 'those who wrote within a day';
  /** The longest text, in characters; a longer one is cut. */
  readonly maxText: number;
  readonly buttons: boolean;
  /**
   * A receipt that has not come by then counts as a message not delivered; null: the provider sends none, or it cannot
   * reach us.
   */
  readonly receiptWithinMs: number | null;
  /** At most one message in so many milliseconds, from this account and to one chat; null: no limit is kept. */
  readonly pace: { readonly everyMs: number; readonly chatEveryMs: number } | null;
};

export type Channel = {
  readonly name: ChannelName;
  /** Who carries it, where one channel can be carried by several. */
  readonly provider?: string;
  readonly traits: Traits;
  /** Whether the receiver drops a repeat of the same id, so that an unknown outcome may be tried again. */
  readonly idempotent: boolean;
  /** For how long it remembers an id; absent: for good. */
  readonly remembersMs?: number;
  /** How many sends may be under way at once; to each of its addresses, where these are programs of their own (`url`). */
  readonly concurrency: number;
  /** Never throws; never logs or returns an address, a text or a secret in `reason`. Ends within its own timeout or when `signal` aborts. */
  send(message: Outgoing, signal: AbortSignal): Promise<SendResult>;
  /** What a text to an address would cost; where it costs. The price is undefined when the provider does not tell. */
  quote?(
    message: Pick<Outgoing, 'address' | 'text'>,
    signal: AbortSignal,
  ): Promise<{ readonly parts: number; readonly price: number | undefined }>;
  /**
   * Asks the provider whether it still takes our account, with nothing sent and nothing paid; absent where nothing can be
   * asked. Of reasons and time the same holds as of `send`.
   */
  check?(signal: AbortSignal): Promise<AccountState>;
  /** Ends what is kept open between sends; absent where nothing is. */
  close?(): Promise<void>;
};

/**
 * Whether the receiver still drops a repeat of what may have left `doubtMs` ago; null: just now, as far as is known. Only
 * then may a message be sent again whose outcome is not known.
 */
export function dropsRepeat(
  { idempotent, remembersMs = Number.POSITIVE_INFINITY }: Pick<Channel, 'idempotent' | 'remembersMs'>,
  doubtMs: number | null,
): boolean {
  return idempotent && (doubtMs ?? 0) <= remembersMs;
}
