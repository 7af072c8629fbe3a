/**
 * What one event of a record says besides its fields: whether it leaves a doubt, whether it was missed or late. Pure.
 */
import { type Booking, contradicts, isPartial, type Merge } from '../domain/booking.ts';
import type { EpochMs } from '../domain/time.ts';
import type { Company } from '../store/companies.ts';
import { type HourCounts, NO_COUNTS } from '../store/coverage.ts';
import type { PendingEvent } from '../store/inbox.ts';
import type { Doubt } from '../store/rereads.ts';
import type { RecordBody } from '../yclients/wire.ts';

/** What changed within this time before a reading may be missing in it: the platform's moments are whole seconds. */
const READING_MARGIN_MS = 2_000;

/** When we read a body from the API; undefined when it came by webhook. */
export function readAt({ source, payload }: PendingEvent): EpochMs | undefined {
  const ours = source === 'reconcile' || source === 'verify';
  return ours && typeof payload.read_at === 'number' ? payload.read_at : undefined;
}

/** Up to which moment a body read to settle a doubt outweighs whatever else was said. */
export function settledBy(event: PendingEvent): EpochMs | undefined {
  const moment = event.source === 'verify' ? readAt(event) : undefined;
  return moment === undefined ? undefined : moment - READING_MARGIN_MS;
}

/** One event as it met the booking. */
export type Heard = {
  readonly event: PendingEvent;
  readonly body: RecordBody;
  readonly version: EpochMs;
  readonly receivedAt: EpochMs;
  readonly before: Booking | null;
  readonly effect: Merge['effect'];
};

/** Why what a webhook says should be read again, or null. */
export function doubtOf(
  { event, body, version, before, effect }: Heard,
  company: Company,
): Doubt['reason'] | null {
  if (event.source !== 'webhook' || company.verify === 'never' || !company.apiUsable) return null;
  if (company.verify === 'always') return 'always';
  if (before !== null && body.version !== undefined && contradicts(before, body.fields, version))
    return 'contradiction';
  if (effect !== 'merged') return null;
  if (body.version === undefined) return 'unversioned';
  return isPartial(body.fields) ? 'partial' : null;
}

/**
 * Counts what webhooks bring and leave out; returns the version found and not heard of yet. `missed` is by the state of
 * a booking: two webhooks lost and healed by one sweep are one.
 */
export function count(
  heard: Heard,
  foundVersion: EpochMs | null,
  company: Company,
  counts: Map<number, HourCounts>,
): EpochMs | null {
  const { event, body, version, receivedAt, before, effect } = heard;
  const { companyId } = company;
  if (event.source === 'webhook') {
    const theFound = body.version === undefined ? effect === 'same' : version === foundVersion;
    if (foundVersion !== null && theFound) {
      add(counts, companyId, { late: 1 });
      return null;
    }
    const lagMs = body.version === undefined ? 0 : Math.max(0, receivedAt - body.version);
    if (effect === 'merged') add(counts, companyId, { webhooks: 1, lagMsSum: lagMs, lagMsMax: lagMs });
    return foundVersion;
  }
  if (event.source !== 'reconcile' || effect !== 'merged' || company.source === 'poll') return foundVersion;
  // From before us, or no more than what a webhook left out of a state that it did bring.
  if (version < company.knownSince || (before !== null && version <= before.version)) return foundVersion;
  add(counts, companyId, { missed: 1 });
  return version;
}

function add(counts: Map<number, HourCounts>, companyId: number, more: Partial<HourCounts>): void {
  const held = counts.get(companyId) ?? { companyId, ...NO_COUNTS };
  counts.set(companyId, {
    ...held,
    webhooks: held.webhooks + (more.webhooks ?? 0),
    lagMsSum: held.lagMsSum + (more.lagMsSum ?? 0),
    lagMsMax: Math.max(held.lagMsMax, more.lagMsMax ?? 0),
    missed: held.missed + (more.missed ?? 0),
    late: held.late + (more.late ?? 0),
  });
}
