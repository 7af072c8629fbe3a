/**
 * The wire of YClients and Altegio: tolerant readers of what they send. Nothing here throws on odd input; a field
 * that cannot be understood is absent, and its name is listed in `odd` so that drift is seen.
 *
 * Sources: the vendor's developer documents (2026) and real bodies of 2022-2026; see docs/wire.md.
 */
import type { Attendance, BookingFields, Service } from '../domain/booking.ts';
import { originOf } from '../domain/origin.ts';
import { type EpochMs, isZone, parseInstant, parseWall } from '../domain/time.ts';

// Readers of one value: undefined is "not understood". Plain functions, because a schema library spent more on a
// record's forty fields than everything else that is done with it (bench:process). PHP writes an empty object as `[]`,
// a boolean as 0/1 and a number as a string.

function integer(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value : undefined;
  return typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : undefined;
}

function id(value: unknown): number | undefined {
  const read = integer(value);
  return read !== undefined && read > 0 ? read : undefined;
}

function amount(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  return typeof value === 'string' && /^-?\d{1,15}(\.\d{1,10})?$/.test(value) ? Number(value) : undefined;
}

function flag(value: unknown): boolean | undefined {
  if (typeof value === 'boolean') return value;
  if (value === 'true' || value === 'false') return value === 'true';
  const read = integer(value);
  return read === undefined ? undefined : read !== 0;
}

function text(value: unknown): string | undefined {
  if (typeof value === 'string') return clean(value).trim();
  return typeof value === 'number' ? String(value) : undefined;
}

function instant(value: unknown): EpochMs | undefined {
  return typeof value === 'string' ? parseInstant(value) : undefined;
}

function wall(value: unknown): string | undefined {
  return typeof value === 'string' ? parseWall(value) : undefined;
}

function ids(value: unknown): number[] | undefined {
  return Array.isArray(value) ? value.map(integer).filter(item => item !== undefined) : undefined;
}

/** NUL and lone surrogates occur in names and comments; PostgreSQL's text and JSONB accept neither. */
export function clean(value: string): string {
  return value.replace(/\p{Surrogate}|\0/gu, '');
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

/** Reads fields one by one, so that one odd value costs that value only. */
class Reader {
  /** Paths whose value was not understood, of this reader and of those it led into. */
  readonly odd: string[];
  readonly #source: Record<string, unknown>;
  readonly #path: string;

  constructor(source: unknown, path: string, odd: string[] = []) {
    this.odd = odd;
    this.#source = isObject(source) ? source : {};
    this.#path = path;
  }

  /** The value as it came; undefined when absent. Own properties only: `__proto__` in a body is a key like any other. */
  raw(name: string): unknown {
    return Object.hasOwn(this.#source, name) ? this.#source[name] : undefined;
  }

  /** The value of `name` as `read` understands it; undefined when absent, null, `[]` or odd. */
  get<T>(name: string, read: (value: unknown) => T | undefined): T | undefined {
    const value = this.raw(name);
    if (value === undefined || value === null || isEmptyList(value)) return undefined;
    const understood = read(value);
    if (understood === undefined) this.odd.push(`${this.#path}.${name}`);
    return understood;
  }

  /** The text of `name`, or undefined when it is absent or says nothing. */
  filled(name: string): string | undefined {
    return this.get(name, text) || undefined;
  }

  /** A reader of the object under `name`; its oddities are counted here. */
  into(name: string): Reader {
    return new Reader(this.raw(name), `${this.#path}.${name}`, this.odd);
  }
}

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
};

export type RecordBody = {
  readonly fields: Partial<BookingFields>;
  /** `last_change_date`; undefined when the body carries no version. */
  readonly version: EpochMs | undefined;
  readonly client: { readonly id: number; readonly person: PersonFields } | undefined;
  readonly odd: readonly string[];
};

/** Reads `data` of a `record` webhook, which equals the answer of `GET /record/{company}/{record}`. */
export function readRecord(status: string, data: unknown, botApiPrefix?: string): RecordBody {
  const reader = new Reader(data, 'record');
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
  return {
    fields: present(fields),
    version: reader.get('last_change_date', instant),
    client: clientId === undefined ? undefined : { id: clientId, person: readPerson(client) },
    odd: reader.odd,
  };
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
      reader.odd.push('record.attendance');
      return undefined;
  }
}

/** Absent when the body has no `services`; an empty list is a list. */
function readServices(reader: Reader): readonly Service[] | undefined {
  const list = reader.raw('services');
  if (!Array.isArray(list)) return undefined;
  return list.flatMap(item => {
    const service = new Reader(item, 'record.services[]', reader.odd);
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
  });
}

/** Without the keys whose value is undefined: absent means "not mentioned". */
function present<T extends Record<string, unknown>>(
  fields: T,
): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

export type ClientBody = {
  readonly person: PersonFields;
  readonly deleted: boolean;
  readonly version: EpochMs | undefined;
  readonly odd: readonly string[];
};

/** Reads `data` of a `client` webhook. */
export function readClient(status: string, data: unknown): ClientBody {
  const reader = new Reader(data, 'client');
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
  readonly odd: readonly string[];
};

/** Reads `data` of a `company`/`salon` webhook. Older shapes put the IANA zone, or hours, into `timezone`. */
export function readCompany(data: unknown): CompanyBody {
  const reader = new Reader(data, 'company');
  const zone = reader.filled('timezone_name') ?? reader.filled('timezone');
  const known = zone !== undefined && isZone(zone);
  if (zone !== undefined && !known && Number.isNaN(Number(zone))) reader.odd.push('company.timezone_name');
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

/** A copy of a thing of the salon other than bookings and people: what it is called and what of it we use. */
export type EntityBody = {
  readonly title: string | undefined;
  /** Without names, phones and texts of people. */
  readonly data: Record<string, unknown>;
  readonly deleted: boolean;
  readonly version: EpochMs | undefined;
  readonly odd: readonly string[];
};

type EntityReader = (reader: Reader) => { title?: string | undefined; data: Record<string, unknown> };

/** Resources kept as plain copies, each with the fields it is known to carry. */
const ENTITY_READERS: Record<string, EntityReader> = {
  staff: reader => ({
    title: reader.filled('name'),
    data: present({
      specialization: reader.get('specialization', text),
      position: reader.into('position').get('title', text),
      fired: reader.get('fired', flag),
      hidden: reader.get('hidden', flag),
      rating: reader.get('rating', amount),
    }),
  }),
  service: reader => ({
    title: reader.filled('title'),
    data: present({
      priceMin: reader.get('price_min', amount),
      priceMax: reader.get('price_max', amount),
      durationSeconds: reader.get('duration', integer),
      active: reader.get('active', flag),
      categoryId: reader.get('category_id', integer),
    }),
  }),
  service_category: reader => ({
    title: reader.filled('title'),
    data: present({ weight: reader.get('weight', integer), staffIds: reader.get('staff', ids) }),
  }),
  // `data` is `[]` always; that it came is the whole news: the staff member's working hours changed.
  schedule: () => ({ data: {} }),
  good: reader => ({
    title: reader.filled('title'),
    data: present({
      cost: reader.get('cost', amount),
      actualCost: reader.get('actual_cost', amount),
      article: reader.get('article', text),
      barcode: reader.get('barcode', text),
      category: reader.get('category', text),
    }),
  }),
  goods_operations_sale: readGoodsOperation,
  goods_operations_receipt: readGoodsOperation,
  goods_operations_consumable: readGoodsOperation,
  goods_operations_stolen: readGoodsOperation,
  goods_operations_move: readGoodsOperation,
  // Amounts repeat on update: the copy is keyed by the operation's id, so nothing is counted twice.
  finances_operation: reader => ({
    title: reader.into('expense').get('title', text),
    data: present({
      documentId: reader.get('document_id', integer),
      amount: reader.get('amount', amount),
      date: reader.get('date', instant),
      accountId: reader.into('account').get('id', integer),
      clientId: reader.into('client').get('id', integer),
      recordId: reader.get('record_id', integer),
      visitId: reader.get('visit_id', integer),
      soldItemId: reader.get('sold_item_id', integer),
      soldItemType: reader.get('sold_item_type', text),
    }),
  }),
  loyalty_card: reader => ({
    title: reader.get('number', text),
    data: present({ balance: reader.get('balance', amount) }),
  }),
};

/** The operation's kind is the numeric `type_id`; the text label beside it changed without notice. */
const GOODS_OPERATION_KINDS: Record<number, string> = { 0: 'move', 1: 'sale', 3: 'receipt', 4: 'write_off' };

function readGoodsOperation(reader: Reader): ReturnType<EntityReader> {
  const typeId = reader.get('type_id', integer);
  if (typeId !== undefined && !(typeId in GOODS_OPERATION_KINDS)) reader.odd.push('goods_operation.type_id');
  return {
    title: reader.into('good').get('title', text),
    data: present({
      kind: typeId === undefined ? undefined : (GOODS_OPERATION_KINDS[typeId] ?? `type_${typeId}`),
      documentId: reader.get('document_id', integer),
      goodId: reader.into('good').get('id', integer),
      storageId: reader.into('storage').get('id', integer),
      staffId: reader.into('master').get('id', integer),
      clientId: reader.into('client').get('id', integer),
      amount: reader.get('amount', amount),
      cost: reader.get('cost', amount),
      costPerUnit: reader.get('cost_per_unit', amount),
      discount: reader.get('discount', amount),
      recordId: reader.get('record_id', integer),
      createdAt: reader.get('create_date', instant),
    }),
  };
}

/** Whether we know the shape of a resource that is neither a booking, a client nor a company. */
export function isEntity(resource: string): boolean {
  return Object.hasOwn(ENTITY_READERS, resource);
}

/** Reads `data` of any of the resources kept as plain copies. */
export function readEntity(resource: string, status: string, data: unknown): EntityBody {
  const reader = new Reader(data, resource);
  const body = ENTITY_READERS[resource]?.(reader) ?? { data: {} };
  return {
    title: body.title,
    data: body.data,
    deleted: reader.get('deleted', flag) ?? status === 'delete',
    version: reader.get('last_change_date', instant),
    odd: reader.odd,
  };
}
