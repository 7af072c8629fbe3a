/**
 * What a batch of events comes to: pure, from the events and the state they meet to everything that is to be
 * written. One call folds any number of events; those of one resource in the order given.
 */
import { type Booking, merge, startsAt, stateOf } from '../domain/booking.ts';
import { type Change, changesBetween } from '../domain/change.ts';
import {
  factsFor,
  hasBegun,
  isBaseline,
  noticeBetween,
  recipientsOf,
  sameFacts,
  type ToldByRecipient,
} from '../domain/notice.ts';
import { normalisePhone } from '../domain/phone.ts';
import type { EpochMs } from '../domain/time.ts';
import { type BookingToSave, bookingKey, type NewChange, type StoredBooking } from '../store/bookings.ts';
import type { Company, CompanyUpdate } from '../store/companies.ts';
import type { PendingEvent } from '../store/inbox.ts';
import type { EntityUpdate, PersonUpdate } from '../store/people.ts';
import {
  isEntity,
  type PersonFields,
  type RecordBody,
  readClient,
  readCompany,
  readEntity,
  readRecord,
} from '../yclients/wire.ts';

/**
 * What an event came to; stored with it and counted. `kept`: a resource or status we do not know. `erased`: it spoke of
 * a client who was erased, and nothing else was in it.
 */
export type Effect = 'merged' | 'same' | 'stale' | 'kept' | 'test' | 'erased';

/** Someone is to be told of a booking, if it still differs when the settle time is over. */
export type NoticeWish = {
  readonly companyId: number;
  readonly recordId: number;
  readonly recipient: string;
  readonly step: number;
  readonly dueAt: EpochMs;
};

export type Effects = {
  readonly done: { readonly id: string; readonly resource: string; readonly effect: Effect }[];
  readonly bookings: BookingToSave[];
  readonly changes: NewChange[];
  readonly people: PersonUpdate[];
  readonly entities: EntityUpdate[];
  readonly companies: { readonly companyId: number; readonly update: CompanyUpdate }[];
  readonly notices: NoticeWish[];
  /** Paths of values that could not be understood: format drift. */
  readonly odd: string[];
};

export type World = {
  readonly companies: ReadonlyMap<number, Company>;
  readonly bookings: ReadonlyMap<string, StoredBooking>;
  readonly now: EpochMs;
};

const STATUSES = new Set(['create', 'update', 'delete']);

/** The resource of the event that `send-test` posts. */
export const TEST_RESOURCE = 'otklik_test';

export function fold(events: readonly PendingEvent[], world: World): Effects {
  const effects: Effects = {
    done: [],
    bookings: [],
    changes: [],
    people: [],
    entities: [],
    companies: [],
    notices: [],
    odd: [],
  };
  for (const group of groupByResource(events)) foldGroup(group, world, effects);
  return effects;
}

/** Events of one resource, in order, for each resource. */
export function groupByResource(events: readonly PendingEvent[]): PendingEvent[][] {
  const groups = new Map<string, PendingEvent[]>();
  for (const event of events) {
    const key = `${event.companyId}:${event.resource}:${event.resourceId}`;
    const group = groups.get(key);
    if (group) group.push(event);
    else groups.set(key, [event]);
  }
  return [...groups.values()];
}

function foldGroup(group: readonly PendingEvent[], world: World, effects: Effects): void {
  const [first] = group;
  if (first === undefined) return;
  const company = world.companies.get(first.companyId);
  if (company !== undefined && first.resource === 'record') {
    foldRecord(group, company, world, effects);
    return;
  }
  for (const event of group) {
    const effect = company === undefined ? 'kept' : foldOther(event, effects);
    effects.done.push({ id: event.id, resource: event.resource, effect });
  }
}

function foldRecord(group: readonly PendingEvent[], company: Company, world: World, effects: Effects): void {
  const [first] = group;
  if (first === undefined) return;
  const key = { companyId: company.companyId, recordId: first.resourceId };
  const known = world.bookings.get(bookingKey(key));
  const before = known?.booking ?? null;
  let booking = before;
  let told: ToldByRecipient = known?.told ?? {};

  for (const event of group) {
    if (!STATUSES.has(event.status)) {
      effects.done.push({ id: event.id, resource: event.resource, effect: 'kept' });
      continue;
    }
    const body = readRecord(event.status, event.payload.data, company.botApiPrefix ?? undefined);
    // A body without a version was true when it was received at the latest.
    const version = body.version ?? event.receivedAt;
    const merged = merge(booking, body.fields, version);
    if (becomesKnown(booking, merged.booking) && isBaseline(merged.booking, event.status, event.receivedAt)) {
      told = { ...told, ...baseline(merged.booking, company.zone) };
    }
    for (const change of changesBetween(booking, merged.booking, company.zone)) {
      effects.changes.push({ ...key, eventId: event.id, ...kindAndDetail(change), changedAt: version });
    }
    pushPerson(body, company.companyId, version, effects);
    effects.odd.push(...body.odd);
    effects.done.push({ id: event.id, resource: event.resource, effect: merged.effect });
    booking = merged.booking;
  }

  if (booking === null) return;
  effects.bookings.push({
    ...key,
    booking,
    told,
    state: stateOf(booking, company.zone),
    startsAt: startsAt(booking, company.zone),
  });
  if (!company.removed) pushNotices(key, { before, after: booking, told }, company, world.now, effects);
}

/** Whether a booking's hour and client have just become known: the moment at which it can be baseline or news. */
function becomesKnown(before: Booking | null, after: Booking): boolean {
  return !isKnown(before) && isKnown(after);
}

function isKnown(booking: Booking | null): boolean {
  return (
    booking !== null && booking.fields.startsLocal !== undefined && booking.fields.clientId !== undefined
  );
}

function baseline(booking: Booking, zone: string): ToldByRecipient {
  const told: { [recipient: string]: ToldByRecipient[string] } = {};
  for (const recipient of recipientsOf(booking, {})) {
    const facts = factsFor(recipient, booking, zone);
    if (facts !== null) told[recipient] = { facts, step: 0, how: 'baseline' };
  }
  return told;
}

function kindAndDetail({ kind, ...detail }: Change): { kind: string; detail: Record<string, unknown> } {
  return { kind, detail };
}

function pushPerson(body: RecordBody, companyId: number, version: EpochMs, effects: Effects): void {
  if (body.client === undefined) return;
  effects.people.push({ companyId, clientId: body.client.id, version, ...person(body.client.person) });
}

function person(fields: PersonFields): PersonFields {
  return fields.phone === undefined ? fields : { ...fields, phone: normalisePhone(fields.phone) };
}

function pushNotices(
  key: { companyId: number; recordId: number },
  moved: { before: Booking | null; after: Booking; told: ToldByRecipient },
  company: Company,
  now: EpochMs,
  effects: Effects,
): void {
  const { before, after, told } = moved;
  if (hasBegun(after, company.zone, now)) return;
  for (const recipient of recipientsOf(after, told)) {
    const was = before === null ? null : factsFor(recipient, before, company.zone);
    const is = factsFor(recipient, after, company.zone);
    const heard = told[recipient];
    if (before !== null && sameFacts(was, is)) continue;
    if (noticeBetween(heard?.facts ?? null, is) === null) continue;
    effects.notices.push({ ...key, recipient, step: (heard?.step ?? 0) + 1, dueAt: now + company.settleMs });
  }
}

function foldOther(event: PendingEvent, effects: Effects): Effect {
  const { companyId, resource, resourceId, status, receivedAt } = event;
  const { data } = event.payload;
  if (resource === TEST_RESOURCE) return 'test';
  if (!STATUSES.has(status)) return 'kept';
  // A client's id is above 0; an event of one who was erased has lost it.
  if (resource === 'client' && resourceId > 0) {
    const body = readClient(status, data);
    effects.odd.push(...body.odd);
    effects.people.push({
      companyId,
      clientId: resourceId,
      version: body.version ?? receivedAt,
      ...person(body.person),
      deleted: body.deleted,
    });
    return 'merged';
  }
  if (resource === 'company') {
    const { odd, ...update } = readCompany(data);
    effects.odd.push(...odd);
    effects.companies.push({ companyId, update });
    return 'merged';
  }
  if (!isEntity(resource)) return 'kept';
  const { odd, version, ...body } = readEntity(resource, status, data);
  effects.odd.push(...odd);
  effects.entities.push({ companyId, resource, resourceId, version: version ?? receivedAt, ...body });
  return 'merged';
}
