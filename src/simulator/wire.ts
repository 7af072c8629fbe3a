/**
 * A record of the journal as the platform writes it, in every shape that has been seen on its wire.
 *
 * `faults` choose the pathologies; without any the bodies are clean. What a body says of the booking is always
 * true: only how it is said varies. A field may be missing, a value may come in another type, the offset inside
 * `datetime` may be wrong (its wall clock never is).
 */
import type { EpochMs } from '../domain/time.ts';
import type { Client } from './cast.ts';
import { instantText, naive, offsetMinutes, offsetText, winterOffsetMinutes } from './dates.ts';
import type { Fault, Faults } from './faults.ts';
import type { RecordChange } from './journal.ts';
import type { Random } from './random.ts';
import { type BookedService, clientOf, type Salon, type SalonRecord } from './salon.ts';
import { bodyOf, type Json, type JsonObject, type Webhook, type WebhookStatus } from './webhook.ts';

/** The webhook that tells `change`, made at `at`. */
export function recordWebhook(
  change: RecordChange,
  salon: Salon,
  random: Random,
  faults: Faults,
  at: EpochMs,
): Webhook {
  const { after } = change;
  const pen = penOf(salon, random, faults);
  const status = statusOf(change);
  const data = after.gone ? bareDeletion(after, pen) : shaped(change, status, pen);
  const envelope: JsonObject = {
    company_id: salon.companyId,
    resource: 'record',
    resource_id: pen.number(after.id),
    status,
    data,
    ...(pen.strikes('unknown') ? { trace: { attempt: 1, source: 'journal' } } : {}),
  };
  const told = 'client' in data ? 'everything' : 'all_but_client';
  const carried = {
    recordId: after.id,
    version: after.version,
    what: after.gone ? 'deletion' : told,
  } as const;
  return {
    at,
    resource: 'record',
    resourceId: after.id,
    status,
    envelope,
    body: bodyOf(envelope),
    carried,
    refuser: null,
  };
}

/** The record as the REST API answers it: what a webhook's `data` is, never bare, its services in any order. */
export function recordBody(record: SalonRecord, salon: Salon, random: Random, faults: Faults): JsonObject {
  const services = faults.has('permute') ? random.shuffled(record.services) : record.services;
  const change = { before: null, after: { ...record, services } };
  return shaped(change, 'update', penOf(salon, random, faults));
}

function statusOf({ before, after }: RecordChange): WebhookStatus {
  if (before === null) return 'create';
  return after.deleted && !before.deleted ? 'delete' : 'update';
}

/** How this one body is written. */
type Pen = {
  readonly salon: Salon;
  readonly random: Random;
  strikes(fault: Fault): boolean;
  /** A number, or the same as a string. */
  number(value: number): Json;
  /** true or false, or the same as 1 or 0. */
  boolean(value: boolean): Json;
  text(value: string): string;
  /** `{}` or `[]`: the platform's empty object. */
  emptyObject(): Json;
};

const CHANCES: Readonly<Record<Fault, number>> = {
  bare_delete: 0.5,
  empty_array: 0.4,
  bad_text: 0.06,
  unknown: 0.15,
  loose_types: 0.15,
  missing_fields: 0.2,
  wrong_offset: 0.3,
  duplicate: 0,
  permute: 0,
  reorder: 0,
  delay: 0,
  create_late: 0,
  drop: 0,
};

function penOf(salon: Salon, random: Random, faults: Faults): Pen {
  const strikes = (fault: Fault) => faults.has(fault) && random.chance(CHANCES[fault]);
  const loose = strikes('loose_types');
  return {
    salon,
    random,
    strikes,
    number: value => (loose && random.chance(0.5) ? String(value) : value),
    boolean: value => (loose ? Number(value) : value),
    text: value => (strikes('bad_text') ? spoilt(value, random) : value),
    emptyObject: () => (strikes('empty_array') ? [] : {}),
  };
}

/** A NUL, a high or a low surrogate alone: all three have been seen, and PostgreSQL's JSONB refuses each. */
function spoilt(text: string, random: Random): string {
  const at = random.integer(0, text.length);
  return `${text.slice(0, at)}${random.pick(['\u0000', '\ud83d', '\udc4d'])}${text.slice(at)}`;
}

function bareDeletion(record: SalonRecord, pen: Pen): JsonObject {
  return { id: pen.number(record.id), company_id: pen.salon.companyId, deleted: pen.boolean(true) };
}

function shaped(change: RecordChange, status: WebhookStatus, pen: Pen): JsonObject {
  const full = fullRecord(change.after, pen);
  const whole = status === 'delete' && pen.strikes('bare_delete') ? withoutPhone(full, pen) : full;
  if (!pen.strikes('missing_fields')) return whole;
  if (pen.random.chance(0.6)) return without(whole, NEWER_FIELDS);
  return subset(whole, change);
}

/** What older builds lack. */
const NEWER_FIELDS = ['short_link', 'bookform_id', 'record_from', 'is_mobile', 'composite'];

/** The fewest fields a record has been seen with. */
const FEWEST_FIELDS = [
  'id',
  'company_id',
  'staff_id',
  'attendance',
  'seance_length',
  'deleted',
  'paid_full',
  'online',
  'datetime',
  'create_date',
  'last_change_date',
  'services',
  'client',
];

function subset(data: JsonObject, { before, after }: RecordChange): JsonObject {
  const sameStaff = before?.staffId === after.staffId;
  const names = sameStaff ? FEWEST_FIELDS : [...FEWEST_FIELDS, 'staff'];
  return Object.fromEntries(Object.entries(data).filter(([name]) => names.includes(name)));
}

function without(data: JsonObject, names: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(data).filter(([name]) => !names.includes(name)));
}

/** A deletion that cannot be told from its own body: the client has no phone there, or is not there at all. */
function withoutPhone(data: JsonObject, { random }: Pen): JsonObject {
  const { client, ...rest } = data;
  if (random.chance(0.3) || typeof client !== 'object' || client === null || Array.isArray(client))
    return rest;
  return { ...rest, client: without(Object.fromEntries(Object.entries(client)), ['phone', 'email']) };
}

function fullRecord(record: SalonRecord, pen: Pen): JsonObject {
  return {
    ...identity(record, pen),
    ...timing(record, pen),
    ...state(record, pen),
    ...people(record, pen),
    ...rest(pen),
  };
}

function identity(record: SalonRecord, pen: Pen): JsonObject {
  const { maker } = record;
  return {
    id: pen.number(record.id),
    company_id: pen.salon.companyId,
    staff_id: pen.number(record.staffId),
    visit_id: pen.random.chance(0.2) ? String(record.visitId) : record.visitId,
    activity_id: 0,
    clients_count: 1,
    online: pen.boolean(maker.online),
    record_from: maker.recordFrom,
    bookform_id: maker.bookformId,
    is_mobile: 0,
    from_url: maker.bookformId > 0 ? 'https://salon.example/booking' : '',
    created_user_id: maker.createdUserId,
    // Filled with a UUID even for records made in the journal, so it proves nothing.
    api_id: record.apiId ?? `01effc9e-09da-4db1-98a1-${String(record.id).padStart(12, '0')}`,
  };
}

function timing(record: SalonRecord, pen: Pen): JsonObject {
  const { zone } = pen.salon;
  const changeColon = pen.random.chance(0.15);
  return {
    date: naive(record.startsLocal),
    datetime: datetime(record, pen),
    seance_length: pen.number(record.durationSeconds),
    length: record.durationSeconds,
    create_date: instantText(record.createdAt, zone, changeColon),
    last_change_date: instantText(record.version, zone, changeColon),
  };
}

/** The wall clock is right in every form, the offset is not always. */
function datetime(record: SalonRecord, pen: Pen): string {
  const { zone } = pen.salon;
  const minutes = pen.strikes('wrong_offset')
    ? winterOffsetMinutes(record.startsAt, zone)
    : offsetMinutes(record.startsAt, zone);
  const form = pen.random.weighted([
    ['colon', 6],
    ['plain', 2],
    ['milliseconds', 1],
  ] as const);
  const fraction = form === 'milliseconds' ? '.000' : '';
  return `${record.startsLocal}${fraction}${offsetText(minutes, form !== 'plain')}`;
}

function state(record: SalonRecord, pen: Pen): JsonObject {
  const paidEarly = record.paid && record.attendance !== 1;
  return {
    attendance: pen.number(record.attendance),
    visit_attendance: pen.number(record.attendance),
    confirmed: 1,
    deleted: pen.boolean(record.deleted),
    paid_full: pen.random.chance(0.9) ? pen.number(Number(record.paid)) : record.paid,
    prepaid: pen.boolean(paidEarly),
    prepaid_confirmed: pen.boolean(paidEarly),
    comment: pen.text(record.comment),
    services: record.services.map(service => serviceBody(service, pen)),
  };
}

function serviceBody({ offered, amount }: BookedService, pen: Pen): JsonObject {
  const { cost } = offered;
  const discount = pen.random.chance(0.1) ? 12.5 : 0;
  const toPay = (cost * amount * (100 - discount)) / 100;
  return {
    id: pen.number(offered.id),
    title: pen.text(offered.title),
    cost: toPay,
    cost_to_pay: toPay,
    manual_cost: toPay,
    cost_per_unit: pen.number(cost),
    discount,
    first_cost: cost,
    amount: pen.number(amount),
  };
}

function people(record: SalonRecord, pen: Pen): JsonObject {
  const client = clientOf(pen.salon, record.clientId);
  return {
    staff: staffBody(record.staffId, pen),
    client: client === undefined ? noClient(pen) : clientBody(client, pen),
    comer: null,
  };
}

function noClient(pen: Pen): Json {
  return pen.strikes('empty_array') ? [] : null;
}

function staffBody(staffId: number, pen: Pen): JsonObject {
  const member = pen.salon.cast.staff.find(one => one.id === staffId);
  const title = member?.specialization ?? '';
  return {
    id: pen.number(staffId),
    name: pen.text(member?.name ?? ''),
    specialization: title,
    position: pen.random.chance(0.7) ? { id: 122_084, title } : pen.emptyObject(),
    rating: pen.random.chance(0.3) ? 4.83 : 5,
  };
}

function clientBody(client: Client, pen: Pen): JsonObject {
  const { id, name, surname, phone, email } = client;
  const named = { id: pen.number(id), name: pen.text(name) };
  if (pen.strikes('missing_fields')) return pen.random.chance(0.5) ? named : { ...named, surname, email };
  return {
    ...named,
    surname,
    patronymic: '',
    display_name: [name, surname].filter(part => part !== '').join(' '),
    phone,
    email,
    success_visits_count: pen.number(3),
    fail_visits_count: 0,
    discount: pen.random.chance(0.2) ? 7.5 : 0,
    custom_fields: customFields(pen),
    ...(pen.strikes('unknown') ? { loyalty: { tier: 'silver', since: null } } : {}),
  };
}

/** Three forms of one field: `{code: value}`, and empty as `{}` or `[]`. */
function customFields(pen: Pen): Json {
  return pen.random.chance(0.2) ? { hair_length: 'long', allergies: null } : pen.emptyObject();
}

function rest(pen: Pen): JsonObject {
  return {
    sms_before: 1,
    sms_now: 1,
    sms_remain_hours: pen.random.chance(0.2) ? null : 1,
    email_remain_hours: 1,
    notified: 0,
    master_request: 0,
    record_labels: [],
    custom_fields: customFields(pen),
    documents: [],
    goods_transactions: [],
    composite: [],
    short_link: 'https://salon.example/c/x/',
    ...(pen.strikes('unknown') ? { resource_instances: [{ room: 2, till: 1.5 }], mood: 'calm' } : {}),
  };
}
