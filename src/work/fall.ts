/**
 * Falls: a message that a channel took and that has to be looked at again, because no receipt came in time, because one
 * told that it failed, or because its next step was put off. Pure.
 */
import type { Channel, ChannelName } from '../channels/channel.ts';
import { factsFor, hasBegun, sameFacts } from '../domain/notice.ts';
import { type Fall, isLeft } from '../domain/route.ts';
import type { EpochMs } from '../domain/time.ts';
import type { StoredBooking } from '../store/bookings.ts';
import type { Company } from '../store/companies.ts';
import type { DueMessage } from '../store/messages.ts';
import type { ReceiptGiver } from '../store/reached.ts';

/**
 * So many messages of a company in a row without a receipt in time are the provider's silence, not the people's: its
 * way to us is broken. They stand as sent until it tells again, else every client would be told twice meanwhile.
 */
const SILENCE_LIMIT = 10;

export type FallVerdict =
  /** What it falls from just now; nothing, where that was judged before and its next step was put off. */
  | {
      readonly do: 'fall';
      readonly left: readonly Fall[];
      /** Who was silent. */
      readonly giver?: ReceiptGiver;
    }
  /** It stays with what it has. */
  | { readonly do: 'stay'; readonly state: 'delivered' | 'sent'; readonly error: string | null };

export function judgeFall(
  message: DueMessage,
  scene: {
    readonly now: EpochMs;
    readonly channels: ReadonlyMap<ChannelName, Channel>;
    readonly givers: readonly ReceiptGiver[];
  },
): FallVerdict {
  const { channel, falls, lastOutcome, undelivered } = message;
  if (message.heard) return { do: 'stay', state: 'delivered', error: null };
  if (channel === null) return { do: 'stay', state: 'sent', error: null };
  const judged = falls.some(fall => fall.channel === channel && isLeft(fall));
  if (judged || lastOutcome !== 'sent') return { do: 'fall', left: [] };
  const fall = (why: 'undelivered' | 'silent', detail = '') =>
    ({
      do: 'fall',
      left: [{ channel, why, at: scene.now, ...(detail === '' ? {} : { detail }) }],
    }) as const;
  if (undelivered !== null) return fall('undelivered', undelivered);
  const giver = giverOf(message, scene);
  if (giver !== undefined && giver.silent < SILENCE_LIMIT) return { ...fall('silent'), giver };
  const error =
    giver === undefined
      ? 'no receipt came, and its provider has told of none here yet: it may have arrived'
      : 'no receipt came, nor did one for those before it: it may have arrived';
  return { do: 'stay', state: 'sent', error };
}

/** Undefined: its provider has told nothing of this company's messages yet. */
function giverOf(
  { companyId, channel }: DueMessage,
  { channels, givers }: Parameters<typeof judgeFall>[1],
): ReceiptGiver | undefined {
  const provider = providerOf(channel === null ? undefined : channels.get(channel));
  return givers.find(
    giver => giver.companyId === companyId && giver.channel === channel && giver.provider === provider,
  );
}

export function providerOf(channel: Pick<Channel, 'name' | 'provider'> | undefined): string {
  return channel?.provider ?? channel?.name ?? '';
}

/** Why a notice that one channel took is not to be said again by another; undefined where it still is. */
export function whyNotAgain(
  { recipient, step, after }: DueMessage,
  { booking, told }: StoredBooking,
  { zone }: Company,
  now: EpochMs,
): string | undefined {
  if (hasBegun(booking, zone, now)) return 'the visit has begun';
  const newer = (told[recipient]?.step ?? 0) > step || !sameFacts(after, factsFor(recipient, booking, zone));
  return newer ? 'something newer is told' : undefined;
}
