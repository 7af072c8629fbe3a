/**
 * The wire of YClients and Altegio: tolerant readers of what they send. Nothing here throws on odd input; a field
 * that cannot be understood is absent, and its name is listed in `odd` so that drift is seen.
 *
 * Sources: the vendor's developer documents (2026) and real bodies of 2022-2026; see docs/wire.md.
 */
import { z } from 'zod';
import type { Attendance, BookingFields, Service } from '../domain/booking.ts';
import { originOf } from '../domain/origin.ts';
import { type EpochMs, isZone, parseInstant, parseWall } from '../domain/time.ts';

/** PHP writes an empty object as `[]`, a boolean as 0/1 and a number as a string. */
const emptyAsAbsent = (value: unknown) => (Array.isArray(value) && value.length === 0 ? undefined : value);
const absentWhenNull = (value: unknown) => (value === null ? undefined : value);

const integer = z.union([
  z.int(),
  z
    .string()
    .regex(/^-?\d{1,15}$/)
    .transform(Number),
]);
const id = integer.refine(value => value > 0);
const amount = z.union([
  z.number(),
  z
    .string()
    .regex(/^-?\d+(\.\d+)?$/)
    .transform(Number),
]);
const flag = z.union([z.boolean(), integer.transform(value => value !== 0), z.stringbool()]);
const text = z.string().transform(value => clean(value).trim());
const filledText = text.refine(value => value !== '');
const instant = z
  .string()
  .transform(parseInstant)
  .refine(value => value !== undefined);
const wall = z
  .string()
  .transform(parseWall)
  .refine(value => value !== undefined);

/** NUL and lone surrogates occur in names and comments; PostgreSQL's text and JSONB accept neither. */
export function clean(value: string): string {
  return value.replaceAll('\u0000', '').toWellFormed();
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
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

  /** The value of `name` as `schema` reads it; undefined when absent, null or odd. */
  get<T>(name: string, schema: z.ZodType<T>): T | undefined {
    const value = absentWhenNull(emptyAsAbsent(this.raw(name)));
    if (value === undefined) return undefined;
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    this.odd.push(`${this.#path}.${name}`);
    return undefined;
  }

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

const envelope = z.object({
  company_id: id,
  resource: z.string().regex(/^[a-z][a-z0-9_]{0,39}$/i),
  resource_id: integer.optional().catch(undefined),
  status: z.string().regex(/^[a-z][a-z0-9_]{0,19}$/i),
  data: z.unknown(),
});

/**
 * The envelope of a parsed body, or undefined when it is none. `company` and `salon` are one resource under two
 * names. A good has `good_id` and may lack `resource_id`; an event without any id is keyed by 0.
 */
export function readEnvelope(body: unknown): Envelope | undefined {
  const parsed = envelope.safeParse(body);
  if (!parsed.success) return undefined;
  const { company_id: companyId, resource_id, status, data } = parsed.data;
  const resource = parsed.data.resource.toLowerCase();
  const inner = new Reader(data, 'data');
  const resourceId = resource_id ?? inner.get('id', integer) ?? inner.get('good_id', integer) ?? 0;
  return {
    companyId,
    resource: resource === 'salon' ? 'company' : resource,
    resourceId,
    status: status.toLowerCase(),
  };
}

/** Whether a body carries the sender's own order mark; without one, two equal bodies may be two events. */
export function carriesVersion(body: unknown): boolean {
  const parsed = z.object({ data: z.object({ last_change_date: z.string() }) }).safeParse(body);
  return parsed.success && parseInstant(parsed.data.data.last_change_date) !== undefined;
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
  const client = reader.raw('client');
  if (status === 'delete' || client === undefined) return false;
  return absentWhenNull(emptyAsAbsent(client)) === undefined;
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

const service = z.object({
  id: integer,
  title: text.catch(''),
  amount: amount.catch(1),
});

/** Absent when the body has no `services`; an empty list is a list. */
function readServices(reader: Reader): readonly Service[] | undefined {
  const list = z.array(z.unknown()).safeParse(reader.raw('services'));
  if (!list.success) return undefined;
  const services: Service[] = [];
  for (const item of list.data) {
    const parsed = service.safeParse(item);
    if (parsed.success) services.push(parsed.data);
    else reader.odd.push('record.services[]');
  }
  return services;
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
  const whole = ['surname', 'name', 'patronymic'].map(name => reader.get(name, text) ?? '');
  return present({
    // The given name is what a message addresses; the rest only where there is no given name.
    name:
      reader.get('name', filledText) ??
      reader.get('display_name', filledText) ??
      filled(whole.join(' ').trim()),
    phone: reader.get('phone', filledText),
    email: reader.get('email', filledText),
    refuses: reader.get('sms_not', flag),
  });
}

function filled(value: string): string | undefined {
  return value === '' ? undefined : value;
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
  const zone = reader.get('timezone_name', filledText) ?? reader.get('timezone', filledText);
  const known = zone !== undefined && isZone(zone);
  if (zone !== undefined && !known && Number.isNaN(Number(zone))) reader.odd.push('company.timezone_name');
  return {
    ...present({
      title: reader.get('public_title', filledText) ?? reader.get('title', filledText),
      zone: known ? zone : undefined,
      phone: reader.get('phone', filledText),
      address: reader.get('address', filledText),
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
    title: reader.get('name', filledText),
    data: present({
      specialization: reader.get('specialization', text),
      position: reader.into('position').get('title', text),
      fired: reader.get('fired', flag),
      hidden: reader.get('hidden', flag),
      rating: reader.get('rating', amount),
    }),
  }),
  service: reader => ({
    title: reader.get('title', filledText),
    data: present({
      priceMin: reader.get('price_min', amount),
      priceMax: reader.get('price_max', amount),
      durationSeconds: reader.get('duration', integer),
      active: reader.get('active', flag),
      categoryId: reader.get('category_id', integer),
    }),
  }),
  service_category: reader => ({
    title: reader.get('title', filledText),
    data: present({ weight: reader.get('weight', integer), staffIds: reader.get('staff', z.array(integer)) }),
  }),
  // `data` is `[]` always; that it came is the whole news: the staff member's working hours changed.
  schedule: () => ({ data: {} }),
  good: reader => ({
    title: reader.get('title', filledText),
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
