/**
 * What becomes of a message at the moment of sending: pure, from the message and the world as it is then.
 */
import type { Booking } from './booking.ts';
import {
  type Facts,
  factsFor,
  hasBegun,
  type Notice,
  noticeBetween,
  sameFacts,
  type ToldByRecipient,
} from './notice.ts';
import type { EpochMs } from './time.ts';

export type Decision =
  | { readonly do: 'send'; readonly notice: Notice }
  /** It was told meanwhile, or what was heard by `heardStep` is true again. */
  | { readonly do: 'supersede'; readonly heardStep?: number }
  /** The visit has begun. */
  | { readonly do: 'expire' };

/** What to say to a recipient now, if anything. */
export function decideNotice(about: {
  readonly booking: Booking;
  readonly told: ToldByRecipient;
  readonly recipient: string;
  readonly step: number;
  readonly zone: string;
  readonly now: EpochMs;
}): Decision {
  const { booking, told, recipient, step, zone, now } = about;
  if (hasBegun(booking, zone, now)) return { do: 'expire' };
  const heard = told[recipient];
  if ((heard?.step ?? 0) >= step) return { do: 'supersede' };
  const notice = noticeBetween(heard?.facts ?? null, factsFor(recipient, booking, zone));
  if (notice !== null) return { do: 'send', notice };
  return { do: 'supersede', ...(heard && { heardStep: heard.step }) };
}

/**
 * Whether the news of a booking may have been told before a backup was restored at `quietUntil`: by the service that
 * made the backup, which went on after it. A version is the salon's own moment of change, so news that came late, or
 * was found by comparing, is judged by when it happened.
 */
export function mayHaveBeenTold(booking: Booking, quietUntil: EpochMs | null): boolean {
  return quietUntil !== null && booking.version <= quietUntil;
}

/**
 * What becomes of a message that was claimed by a process that is gone: it may or may not have left. It is sent again,
 * word for word, only through a channel that drops repeats and only while it is still true.
 */
export function mayRepeat(about: {
  readonly idempotent: boolean;
  readonly booking: Booking;
  readonly recipient: string;
  readonly after: Facts;
  readonly zone: string;
  readonly now: EpochMs;
}): boolean {
  const { idempotent, booking, recipient, after, zone, now } = about;
  return idempotent && !hasBegun(booking, zone, now) && sameFacts(after, factsFor(recipient, booking, zone));
}
