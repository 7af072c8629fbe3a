/**
 * What a batch of events comes to: pure, from the events and the state they meet to everything that is to be
 * written. One call folds any number of events; those of one resource in the order given.
 */
import { type Booking, merge, startsAt, stateOf } from '../domain/booking.ts';
import { type Change, changesBetween } from '../domain/change.ts';
import { type Finding, unknownResource, unknownStatus } from '../domain/drift.ts';
import {
  concerned,
  type FirstSight,
  factsFor,
  hasBegun,
  isBaseline,
  noticeBetween,
  recipientsOf,
  sameFacts,
  type ToldByRecipient,
} from '../domain/notice.ts';
import { normalisePhone } from '../domain/phone.ts';
import { concernsPlan, plansAhead } from '../domain/plan.ts';
import { longestSettleMs, settleMsOf, tells } from '../domain/policy.ts';
import { audienceOf, memberRecipient } from '../domain/team.ts';
import type { EpochMs } from '../domain/time.ts';
import {
  type BookingKey,
  type BookingToSave,
  bookingKey,
  type NewChange,
  type StoredBooking,
} from '../store/bookings.ts';
import type { Company, CompanyUpdate } from '../store/companies.ts';
import type { HourCounts } from '../store/coverage.ts';
import type { PendingEvent } from '../store/inbox.ts';
import type { EntityUpdate, PersonUpdate } from '../store/people.ts';
import { type ClientKey, clientKey } from '../store/plans.ts';
import type { Doubt } from '../store/rereads.ts';
import { isEntity, readEntity } from '../yclients/entities.ts';
import { type PersonFields, type RecordBody, readClient, readCompany, readRecord } from '../yclients/wire.ts';
import { count, doubtOf, readAt, settledBy } from './heard.ts';

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
  /** Clients whose plan may have changed. */
  readonly clients: Map<string, ClientKey>;
  /** Records to be read again, and until when their notices wait for it. */
  readonly doubts: (Doubt & { readonly until: EpochMs })[];
  /** Records that were read again: their notices wait no longer than the settle time. */
  readonly settled: (BookingKey & { readonly dueAt: EpochMs })[];
  /** By company. */
  readonly counts: Map<number, HourCounts>;
  /** Companies that were polled and got a webhook. */
  readonly webhooksBegan: Set<number>;
  /** What was not as we know it: format drift. */
  readonly odd: Finding[];
};

export type World = {
  readonly companies: ReadonlyMap<number, Company>;
  readonly bookings: ReadonlyMap<string, StoredBooking>;
  readonly now: EpochMs;
};

const STATUSES = new Set(['create', 'update', 'delete']);

/** How long a notice waits for its record to be read again; then it goes out with what we know. */
const HOLD_MS = 30_000;
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
    clients: new Map(),
    doubts: [],
    settled: [],
    counts: new Map(),
    webhooksBegan: new Set(),
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
    const effect = company === undefined ? 'kept' : foldOther(event, company, effects);
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
  let told: ToldByRecipient =
    known === undefined ? {} : { ...heardBefore(known.booking, company), ...known.told };
  let foundVersion = known?.foundVersion ?? null;
  let doubtUntil = known?.doubtUntil ?? null;
  let readAgain = false;

  for (const event of group) {
    if (!STATUSES.has(event.status)) {
      effects.odd.push(unknownStatus(event.resource, event.status, event.payload.data));
      effects.done.push({ id: event.id, resource: event.resource, effect: 'kept' });
      continue;
    }
    const body = readRecord(event.status, event.payload.data, company.botApiPrefix ?? undefined);
    const receivedAt = readAt(event) ?? event.receivedAt;
    // A body without a version was true when it was received at the latest.
    const version = body.version ?? receivedAt;
    const merged = merge(booking, body.fields, version, settledBy(event));
    const sight = {
      status: event.status,
      receivedAt,
      knownSince: company.knownSince,
      imported: company.apiUsable || event.source === 'reconcile',
    };
    if (becomesKnown(booking, merged.booking)) {
      told = { ...told, ...baseline(merged.booking, company, sight) };
    }
    const heard = { event, body, version, receivedAt, before: booking, effect: merged.effect };
    foundVersion = count(heard, foundVersion, company, effects.counts);
    if (event.source === 'webhook' && company.source === 'poll') effects.webhooksBegan.add(company.companyId);
    const reason = doubtOf(heard, company);
    if (reason !== null) {
      doubtUntil = doubtUntil !== null && doubtUntil > world.now ? doubtUntil : world.now + HOLD_MS;
      effects.doubts.push({ ...key, reason, until: doubtUntil });
    } else if (event.source === 'verify') {
      doubtUntil = null;
      readAgain = true;
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
  const working = !company.removed && !company.stopped;
  if (working) {
    told = notice(key, { before, after: booking, told, doubtUntil }, company, world.now, effects);
  }
  effects.bookings.push({
    ...key,
    booking,
    told,
    foundVersion,
    doubtUntil,
    state: stateOf(booking, company.zone),
    startsAt: startsAt(booking, company.zone),
  });
  if (readAgain && doubtUntil === null) {
    effects.settled.push({ ...key, dueAt: world.now + longestSettleMs(company.policy) });
  }
  if (!working || !plansAhead(company.policy) || !concernsPlan(before, booking)) return;
  for (const { fields } of [before ?? booking, booking]) {
    if (typeof fields.clientId === 'number') pushClient(company.companyId, fields.clientId, effects);
  }
}

function pushClient(companyId: number, clientId: number, effects: Effects): void {
  effects.clients.set(clientKey({ companyId, clientId }), { companyId, clientId });
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

type Told = { [recipient: string]: ToldByRecipient[string] };

/** Those to whom a booking that is seen for the first time is no news. Each of the team has a beginning of their own. */
function baseline(booking: Booking, company: Company, sight: FirstSight): ToldByRecipient {
  const known = isBaseline(booking, sight);
  const news = company.team
    .filter(({ since }) => !isBaseline(booking, { ...sight, knownSince: Math.max(sight.knownSince, since) }))
    .map(memberRecipient);
  const told: Told = {};
  for (const recipient of recipientsOf(booking, {}, company.team)) {
    if (!known && (audienceOf(recipient) === 'client' || news.includes(recipient))) continue;
    hear(told, recipient, booking, company);
  }
  return told;
}

/** What those of the team who came after a booking's last change are taken to know of it. */
function heardBefore(booking: Booking, company: Company): ToldByRecipient {
  const told: Told = {};
  for (const member of concerned(booking, company.team)) {
    if (booking.version < member.since) hear(told, memberRecipient(member), booking, company);
  }
  return told;
}

function hear(told: Told, recipient: string, booking: Booking, { zone }: Company): void {
  const facts = factsFor(recipient, booking, zone);
  if (facts !== null) told[recipient] = { facts, step: 0, how: 'baseline' };
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

/**
 * Opens notices for those to whom a change is news; returns what is told then. What the policy does not tell somebody of
 * the team they are taken to have heard at once, without a message that would only say so.
 */
function notice(
  key: BookingKey,
  moved: { before: Booking | null; after: Booking; told: ToldByRecipient; doubtUntil: EpochMs | null },
  company: Company,
  now: EpochMs,
  effects: Effects,
): ToldByRecipient {
  const { before, after, told, doubtUntil } = moved;
  if (hasBegun(after, company.zone, now)) return told;
  const silent: Told = {};
  for (const recipient of recipientsOf(after, told, company.team)) {
    const was = before === null ? null : factsFor(recipient, before, company.zone);
    const is = factsFor(recipient, after, company.zone);
    const heard = told[recipient];
    if (before !== null && sameFacts(was, is)) continue;
    const news = noticeBetween(heard?.facts ?? null, is);
    if (news === null) continue;
    const step = heard?.step ?? 0;
    const audience = audienceOf(recipient) ?? 'client';
    if (
      audience !== 'client' &&
      !tells(company.policy, news.kind, after.fields.origin ?? 'unknown', audience)
    ) {
      silent[recipient] = { facts: news.after, step, how: 'policy' };
      continue;
    }
    const dueAt = Math.max(now + settleMsOf(company.policy, news.kind), doubtUntil ?? 0);
    effects.notices.push({ ...key, recipient, step: step + 1, dueAt });
  }
  return { ...told, ...silent };
}

function foldOther(event: PendingEvent, company: Company, effects: Effects): Effect {
  const { companyId, resource, resourceId, status, receivedAt } = event;
  const { data } = event.payload;
  if (resource === TEST_RESOURCE) return 'test';
  if (resource !== 'client' && resource !== 'company' && !isEntity(resource)) {
    effects.odd.push(unknownResource(resource, data));
    return 'kept';
  }
  if (!STATUSES.has(status)) {
    effects.odd.push(unknownStatus(resource, status, data));
    return 'kept';
  }
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
    const { removed, stopped, policy } = company;
    if (!removed && !stopped && plansAhead(policy)) pushClient(companyId, resourceId, effects);
    return 'merged';
  }
  if (resource === 'company') {
    const { odd, ...update } = readCompany(data);
    effects.odd.push(...odd);
    effects.companies.push({ companyId, update });
    return 'merged';
  }
  const { odd, version, ...body } = readEntity(resource, status, data);
  effects.odd.push(...odd);
  effects.entities.push({ companyId, resource, resourceId, version: version ?? receivedAt, ...body });
  return 'merged';
}
