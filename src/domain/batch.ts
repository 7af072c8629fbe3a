/**
 * Batches: many changes for an administrator as one message. A notice whose moment has come joins a batch in place of
 * leaving, and is its part from then on; what the batch says of a booking is the difference between what was known before
 * its first part and what is true when it leaves. Pure.
 */
import type { Booking } from './booking.ts';
import { type Facts, factsFor, hasBegun, type Notice, noticeBetween } from './notice.ts';
import { gatherMsOf, type Policy, tells } from './policy.ts';
import { noticeAfterQuiet } from './quiet.ts';
import { audienceOf } from './team.ts';
import type { EpochMs } from './time.ts';

/** One notice that was gathered: what they knew of a booking before it. */
export type Part = { readonly id: string; readonly recordId: number; readonly before: Facts | null };

export type BatchChange = Notice & { readonly recordId: number };

/** One with the client of whom it speaks. */
export type SpokenChange = BatchChange & {
  readonly client: { readonly name: string; readonly phone: string };
};

export type Batch<Change = BatchChange> = {
  /** In the order of the visits. */
  readonly changes: readonly Change[];
  /** Parts of bookings that are changing just now: they go with the next one, and with what the change comes to. */
  readonly later: readonly string[];
};

/** When news that comes now leaves, by the policy; null: by itself. */
export function batchHour(policy: Policy, recipient: string, zone: string, now: EpochMs): EpochMs | null {
  const audience = audienceOf(recipient) ?? 'client';
  const ms = gatherMsOf(policy, audience);
  return ms === null ? null : noticeAfterQuiet(policy, audience, now + ms, zone);
}

export function batchOf({
  parts,
  bookings,
  changing,
  ...about
}: {
  /** Of one recipient; those of one booking in their order. */
  readonly parts: readonly Part[];
  readonly bookings: ReadonlyMap<number, Booking>;
  /** Bookings of which another notice to them waits. */
  readonly changing: ReadonlySet<number>;
  readonly recipient: string;
  readonly policy: Policy;
  readonly zone: string;
  readonly now: EpochMs;
}): Batch {
  const later = parts.filter(({ recordId }) => changing.has(recordId)).map(({ id }) => id);
  const changes: BatchChange[] = [];
  for (const [recordId, [first]] of Map.groupBy(parts, part => part.recordId)) {
    const booking = bookings.get(recordId);
    if (first === undefined || booking === undefined || changing.has(recordId)) continue;
    const notice = stillNews(first.before, booking, about);
    if (notice !== null) changes.push({ recordId, ...notice });
  }
  return { changes: changes.sort(byHour), later };
}

/** What is left of it: a visit that was moved and moved back is no news, nor is one that has begun. */
function stillNews(
  before: Facts | null,
  booking: Booking,
  about: { recipient: string; policy: Policy; zone: string; now: EpochMs },
): Notice | null {
  const { recipient, policy, zone, now } = about;
  if (hasBegun(booking, zone, now)) return null;
  const notice = noticeBetween(before, factsFor(recipient, booking, zone));
  const audience = audienceOf(recipient) ?? 'client';
  const wanted = notice && tells(policy, notice.kind, booking.fields.origin ?? 'unknown', audience);
  return wanted ? notice : null;
}

function byHour(left: BatchChange, right: BatchChange): number {
  return left.after.startsLocal.localeCompare(right.after.startsLocal) || left.recordId - right.recordId;
}
