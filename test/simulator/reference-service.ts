/**
 * A small service in memory, with a clock that jumps: what a right listener makes of a history. Each of its virtues
 * can be taken away, so that tests can see the verifier notice.
 */
import { type Booking, merge, stateOf } from '../../src/domain/booking.ts';
import {
  clientRecipient,
  type Facts,
  factsFor,
  hasBegun,
  isBaseline,
  noticeBetween,
  recipientsOf,
} from '../../src/domain/notice.ts';
import type { SaidFacts, ServiceMessage, ServiceState } from '../../src/simulator/verdict.ts';
import { readClient, readEnvelope, readRecord } from '../../src/yclients/wire.ts';

export type Vice =
  | 'announces_baseline'
  | 'ignores_versions'
  | 'announces_every_update'
  | 'tells_of_begun_visits'
  | 'forgets_what_it_told'
  | 'ignores_deletions'
  | 'freezes_its_words'
  | 'never_tells';

type Entry = {
  booking: Booking;
  told: Map<string, Facts>;
  dueAt: number | null;
  /** The booking as it was when the notice was opened. */
  frozen: Booking;
};

export type ReferenceOptions = {
  readonly zone: string;
  readonly settleMs: number;
  readonly vices?: readonly Vice[];
};

export type Received = { readonly body: string; readonly receivedAt: number };

/** To clients a booking is booked or cancelled. */
function forClient(facts: Facts): SaidFacts {
  return { ...facts, status: facts.status === 'booked' ? 'booked' : 'cancelled' };
}

export function serve(arrivals: readonly Received[], options: ReferenceOptions): ServiceState {
  const { zone, settleMs } = options;
  const has = (vice: Vice) => options.vices?.includes(vice) ?? false;
  const entries = new Map<number, Entry>();
  const messages: ServiceMessage[] = [];
  /** Clients who want no messages. The simulator's never change their minds. */
  const refusing = new Set<string>();

  const settle = (recordId: number, entry: Entry, now: number) => {
    entry.dueAt = null;
    if (hasBegun(entry.booking, zone, now) && !has('tells_of_begun_visits')) return;
    for (const recipient of new Set([...recipientsOf(entry.booking, {}), ...entry.told.keys()])) {
      const before = has('forgets_what_it_told') ? null : (entry.told.get(recipient) ?? null);
      const booking = has('freezes_its_words') ? entry.frozen : entry.booking;
      const after = factsFor(recipient, booking, zone);
      if (has('never_tells') || after === null) continue;
      const notice = noticeBetween(before, after);
      const again = has('announces_every_update') && before !== null;
      if (notice === null && !again) continue;
      if (refusing.has(recipient)) continue;
      entry.told.set(recipient, after);
      const kind = notice?.kind ?? 'changed';
      messages.push({
        ...{ recordId, recipient, kind, state: 'sent' },
        ...{ before: before && forClient(before), after: forClient(after), sentAt: now },
      });
    }
  };
  const settleUntil = (moment: number) => {
    const due = [...entries].filter(([, { dueAt }]) => dueAt !== null && dueAt <= moment);
    due.sort(([, left], [, right]) => (left.dueAt ?? 0) - (right.dueAt ?? 0));
    for (const [recordId, entry] of due) settle(recordId, entry, entry.dueAt ?? moment);
  };

  let clock = 0;
  for (const { body, receivedAt } of arrivals) {
    settleUntil(receivedAt);
    clock = receivedAt;
    const event = readEvent(body);
    if (event.resource === 'client' && readClient(event.status, event.data).person.refuses)
      refusing.add(clientRecipient(event.resourceId));
    if (event.resource !== 'record') continue;
    const { fields, version } = readRecord(event.status, event.data);
    if (has('ignores_deletions') && fields.deleted) continue;
    const entry = entries.get(event.resourceId);
    const known = entry?.booking ?? null;
    const order = has('ignores_versions') ? (known?.version ?? 0) + 1000 : (version ?? receivedAt);
    const { booking } = merge(known, fields, order);
    const next: Entry = entry ?? { booking, frozen: booking, told: new Map(), dueAt: null };
    if (next.dueAt === null) next.frozen = booking;
    next.booking = booking;
    next.dueAt ??= receivedAt + settleMs;
    entries.set(event.resourceId, next);
    const isFirst = !isKnown(known) && isKnown(booking);
    const sight = { status: event.status, receivedAt, knownSince: 0, imported: false };
    if (!isFirst || has('announces_baseline') || !isBaseline(booking, sight)) continue;
    for (const recipient of recipientsOf(booking, {})) {
      const facts = factsFor(recipient, booking, zone);
      if (facts !== null) next.told.set(recipient, facts);
    }
  }
  settleUntil(clock + settleMs);

  const bookings = [...entries].map(([recordId, { booking }]) => ({
    recordId,
    state: stateOf(booking, zone),
    startsLocal: booking.fields.startsLocal ?? null,
    staffId: booking.fields.staffId ?? null,
    services: booking.fields.services ?? null,
    clientId: booking.fields.clientId ?? null,
    deleted: booking.fields.deleted ?? null,
    attendance: booking.fields.attendance ?? null,
    paid: booking.fields.paid ?? null,
  }));
  return { bookings, messages };
}

function isKnown(booking: Booking | null): boolean {
  return booking?.fields.startsLocal !== undefined && booking.fields.clientId !== undefined;
}

function readEvent(text: string) {
  const body: unknown = JSON.parse(text);
  const envelope = readEnvelope(body);
  if (envelope === undefined) throw new Error(`not an envelope: ${text}`);
  const data = typeof body === 'object' && body !== null && 'data' in body ? body.data : undefined;
  return { ...envelope, data };
}
