/**
 * The wire of YClients and Altegio: tolerant readers of what they send. Nothing here throws on odd input; a field
 * that cannot be understood is absent, and a finding in `odd` names it so that drift is seen.
 *
 * Sources: the vendor's developer documents (2026) and real bodies of 2022-2026; see docs/wire.md.
 */
import type { Attendance } from '../domain/attendance.ts';
import type { BookingFields, Service } from '../domain/booking.ts';
import type { Finding } from '../domain/drift.ts';
import { originOf } from '../domain/origin.ts';
import { type EpochMs, isZone } from '../domain/time.ts';
import {
  amount,
  flag,
  id,
  instant,
  integer,
  isEmptyList,
  present,
  Reader,
  readerOf,
  saysNothing,
  text,
  wall,
} from './reader.ts';

/** What a webhook says about itself, before its payload is looked at. */
export type Envelope = {
  readonly companyId: number;
  readonly resource: string;
  readonly resourceId: number;
  readonly status: string;
};

const RESOURCE_LENGTH = 40;
const STATUS_LENGTH = 20;

function word(value: unknown): string | undefined {
  return typeof value === 'string' && /^[a-z][a-z0-9_]*$/i.test(value) ? value : undefined;
}

/**
 * The envelope of a parsed body, or undefined when it is none. `company` and `salon` are one resource under two
 * names. Where `resource_id` is missing the id in `data` serves, which for a good is `good_id`.
 */
export function readEnvelope(body: unknown): Envelope | undefined {
  const reader = new Reader(body, 'event');
  const companyId = reader.get('company_id', id);
  const resource = reader.get('resource', word)?.toLowerCase();
  const status = reader.get('status', word)?.toLowerCase();
  const resourceId = readResourceId(reader);
  if (companyId === undefined || resource === undefined || status === undefined || resourceId === undefined) {
    return undefined;
  }
  if (resource.length > RESOURCE_LENGTH || status.length > STATUS_LENGTH) return undefined;
  return { companyId, resource: resource === 'salon' ? 'company' : resource, resourceId, status };
}

function readResourceId(reader: Reader): number | undefined {
  const given = reader.raw('resource_id');
  if (given !== undefined && given !== null) return integer(given);
  const data = reader.into('data');
  return data.get('id', integer) ?? data.get('good_id', integer);
}

/** Whether a body carries the sender's own order mark; without one, two equal bodies may be two events. */
export function carriesVersion(body: unknown): boolean {
  const version = new Reader(body, 'event').into('data').get('last_change_date', text);
  return version !== undefined && /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}/.test(version);
}

/** A record as the API lists it: whose it is, and what it says. */
export type ListedRecord = {
  readonly recordId: number;
  readonly companyId: number | undefined;
  readonly data: unknown;
};

/** Undefined when it is no record. */
export function readListed(item: unknown): ListedRecord | undefined {
  const reader = new Reader(item, 'record');
  const recordId = reader.get('id', id);
  if (recordId === undefined) return undefined;
  return { recordId, companyId: reader.get('company_id', id), data: item };
}

/** A person as a client or record body describes them. A field the body does not mention is absent. */
export type PersonFields = {
  readonly name?: string;
  readonly phone?: string;
  readonly email?: string;
  /** `sms_not`: does not want messages. */
  readonly refuses?: boolean;
  /** `is_newsletter_allowed`: agreed to advertising. */
  readonly newsletter?: boolean;
};

export type RecordBody = {
  readonly fields: Partial<BookingFields>;
  /** `last_change_date`; undefined when the body carries no version. */
  readonly version: EpochMs | undefined;
  readonly client: { readonly id: number; readonly person: PersonFields } | undefined;
  readonly odd: readonly Finding[];
};

/** Reads `data` of a `record` webhook, which equals the answer of `GET /record/{company}/{record}`. */
export function readRecord(status: string, data: unknown, botApiPrefix?: string): RecordBody {
  const reader = readerOf(data, 'record', status);
  const staff = reader.into('staff');
  const client = reader.into('client');
  const clientId = client.get('id', id);
  const fields: { -readonly [name in keyof BookingFields]?: BookingFields[name] | undefined } = {
    visitId: reader.get('visit_id', integer),
    startsLocal: reader.get('date', wall) ?? reader.get('datetime', wall),
    durationSeconds: reader.get('seance_length', integer) ?? reader.get('length', integer),
    staffId: reader.get('staff_id', integer) ?? staff.get('id', integer),
    staffName: staff.get('name', text),
    services: readServices(reader),
    clientId: clientId ?? (saysNoClient(status, reader) ? null : undefined),
    attendance: readAttendance(reader),
    // State is `deleted`, never the event's type; only a delete that says nothing else is taken at its word.
    deleted: reader.get('deleted', flag) ?? (status === 'delete' ? true : undefined),
    paid: reader.get('paid_full', flag),
    comment: reader.get('comment', text),
    createdAt: reader.get('create_date', instant),
    origin: readOrigin(reader, botApiPrefix),
  };
  expectRecord(status, reader);
  staff.expect('name');
  client.expect('id');
  if (status !== 'delete') client.expect('name', 'display_name', 'surname');
  return {
    fields: present(fields),
    version: reader.get('last_change_date', instant),
    client: clientId === undefined ? undefined : { id: clientId, person: readPerson(client) },
    odd: reader.odd,
  };
}

/** Together the fewest fields that the body of a record was seen with, bare deletes and excerpts apart. */
const FEWEST: readonly (readonly [string, ...string[]])[] = [
  ['date', 'datetime'],
  ['seance_length', 'length'],
  ['staff_id', 'staff'],
  ['services'],
  ['client'],
  ['attendance'],
  ['deleted'],
  ['paid_full'],
  ['online'],
  ['create_date'],
  ['last_change_date'],
];
/** What we use besides and every full body has, those of older builds too. */
const FULL = ['date', 'visit_id', 'staff', 'comment', 'created_user_id', 'api_id'];
/** Full bodies have some fifty fields, the fewest seen are thirteen. */
const FULL_SIZE = 25;
/** A body that lacks more is an excerpt and says nothing of the format, unless it is large. */
const LACKING_LIMIT = 3;

/**
 * Finds what a record should have said. A body without a field is known (a bare delete, an excerpt in a document, an
 * older build), so the absence tells only where the body has nearly everything or is large.
 */
function expectRecord(status: string, reader: Reader): void {
  const lacking = FEWEST.filter(names => !names.some(name => tells(reader, name)));
  const asked = status === 'delete' ? lacking.filter(([name]) => name !== 'client') : lacking;
  const full = reader.size >= FULL_SIZE;
  if (!full && asked.length > LACKING_LIMIT) return;
  for (const [name] of asked) reader.found('missing', name);
  if (!full) return;
  const named = new Set(asked.map(([name]) => name));
  for (const name of FULL) if (!reader.has(name) && !named.has(name)) reader.found('missing', name);
}

/** No client and no service are something to say. */
function tells(reader: Reader, name: string): boolean {
  const value = reader.raw(name);
  if (name === 'client') return value !== undefined;
  return name === 'services' && isEmptyList(value) ? true : !saysNothing(value);
}

/** `client: null` or `[]` in a create or update says that there is none; in a delete it says nothing. */
function saysNoClient(status: string, reader: Reader): boolean {
  if (status === 'delete') return false;
  const client = reader.raw('client');
  return client === null || isEmptyList(client);
}

function readAttendance(reader: Reader): Attendance | undefined {
  const value = reader.get('attendance', integer);
  switch (value) {
    case -1:
    case 0:
    case 1:
    case 2:
      return value;
    case undefined:
      return undefined;
    default:
      reader.found('enum', 'attendance', value);
      return undefined;
  }
}

/** Absent when the body has no `services`; an empty list is a list. */
function readServices(reader: Reader): readonly Service[] | undefined {
  const list = reader.raw('services');
  if (!Array.isArray(list)) {
    if (!saysNothing(list)) reader.found('type', 'services', list);
    return undefined;
  }
  return list.flatMap(item => {
    const service = reader.item('services', item);
    service.expect('id');
    service.expect('title');
    const serviceId = service.get('id', integer);
    if (serviceId === undefined) return [];
    return [
      { id: serviceId, title: service.get('title', text) ?? '', amount: service.get('amount', amount) ?? 1 },
    ];
  });
}

function readOrigin(reader: Reader, botApiPrefix: string | undefined): BookingFields['origin'] | undefined {
  const maker = {
    online: reader.get('online', flag),
    recordFrom: reader.get('record_from', text),
    bookformId: reader.get('bookform_id', integer),
    createdUserId: reader.get('created_user_id', integer),
    apiId: reader.get('api_id', text),
  };
  if (maker.online === undefined && maker.apiId === undefined) return undefined;
  return originOf(maker, botApiPrefix);
}

function readPerson(reader: Reader): PersonFields {
  return present({
    // The given name is what a message addresses; the rest only where there is no given name.
    name: reader.filled('name') ?? reader.filled('display_name') ?? reader.filled('surname'),
    phone: reader.filled('phone'),
    email: reader.filled('email'),
    refuses: reader.get('sms_not', flag),
    newsletter: reader.get('is_newsletter_allowed', flag),
  });
}

export type ClientBody = {
  readonly person: PersonFields;
  readonly deleted: boolean;
  readonly version: EpochMs | undefined;
  readonly odd: readonly Finding[];
};

/** Reads `data` of a `client` webhook. */
export function readClient(status: string, data: unknown): ClientBody {
  const reader = readerOf(data, 'client', status);
  if (status !== 'delete') {
    reader.expect('name', 'display_name', 'surname');
    reader.expect('phone');
  }
  return {
    person: readPerson(reader),
    deleted: reader.get('deleted', flag) ?? status === 'delete',
    version: reader.get('last_change_date', instant),
    odd: reader.odd,
  };
}

export type CompanyBody = {
  readonly title?: string;
  readonly zone?: string;
  readonly phone?: string;
  readonly address?: string;
  readonly odd: readonly Finding[];
};

/** Reads `data` of a `company`/`salon` webhook. Older shapes put the IANA zone, or hours, into `timezone`. */
export function readCompany(data: unknown): CompanyBody {
  const reader = readerOf(data, 'company', 'update');
  reader.expect('title', 'public_title');
  reader.expect('timezone_name', 'timezone');
  const zone = reader.filled('timezone_name') ?? reader.filled('timezone');
  const known = zone !== undefined && isZone(zone);
  if (zone !== undefined && !known && Number.isNaN(Number(zone))) reader.found('enum', 'timezone_name', zone);
  return {
    ...present({
      title: reader.filled('public_title') ?? reader.filled('title'),
      zone: known ? zone : undefined,
      phone: reader.filled('phone'),
      address: reader.filled('address'),
    }),
    odd: reader.odd,
  };
}
