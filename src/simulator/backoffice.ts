/** What happens at a salon outside its journal: clients, staff, goods, payments, and what no document knows. */
import type { EpochMs } from '../domain/time.ts';
import type { Client, OfferedService, StaffMember } from './cast.ts';
import { instantText } from './dates.ts';
import type { Random } from './random.ts';
import type { Salon } from './salon.ts';
import { bodyOf, type Json, type JsonObject, type Webhook, type WebhookStatus } from './webhook.ts';

export type OtherAction = {
  readonly about: 'other';
  readonly kind: string;
  readonly at: EpochMs;
  readonly webhook: Webhook;
  readonly idsTaken: number;
};

type Told = {
  readonly id: number;
  readonly data: Json;
  readonly statuses: readonly WebhookStatus[];
  readonly refuser?: number | null;
};
type Desk = {
  readonly salon: Salon;
  readonly random: Random;
  readonly date: string;
  /** `{}` or `[]`. */
  readonly nothing: () => Json;
  readonly newId: number;
};

const CREATE_OR_UPDATE: readonly WebhookStatus[] = ['create', 'update'];
const ANY_STATUS: readonly WebhookStatus[] = ['create', 'update', 'update', 'delete'];

const RESOURCES: readonly (readonly [string, number, (desk: Desk) => Told])[] = [
  ['client', 8, clientTold],
  ['staff', 2, staffTold],
  ['service', 3, serviceTold],
  ['service_category', 1, categoryTold],
  ['company', 1, companyTold],
  ['salon', 1, companyTold],
  ['schedule', 4, scheduleTold],
  ['good', 2, goodTold],
  ['goods_operations_sale', 3, desk => operationTold(desk, 1, 'Продажа товара')],
  ['goods_operations_receipt', 1, desk => operationTold(desk, 3, 'Приход')],
  ['goods_operations_consumable', 1, desk => operationTold(desk, 4, 'Списание расходников')],
  ['goods_operations_stolen', 1, desk => operationTold(desk, 4, 'Списание')],
  ['goods_operations_move', 1, desk => operationTold(desk, 0, 'Перемещение')],
  ['finances_operation', 6, paymentTold],
  ['loyalty_card', 2, cardTold],
];

/** Resources that no document lists; a newer platform may send anything. */
const UNKNOWN: readonly string[] = ['tips_payment', 'resource_instance', 'chain_report'];
const UNKNOWN_WEIGHT = 3;

export function otherAction(salon: Salon, random: Random, nowMs: EpochMs, unknown: boolean): OtherAction {
  const desk: Desk = {
    salon,
    random,
    date: officeDate(nowMs),
    nothing: () => nothingOf(random),
    newId: salon.nextId,
  };
  const [resource, , tell] = random.weighted([
    ...RESOURCES.map(row => [row, row[1]] as const),
    [[random.pick(UNKNOWN), 0, unknownTold] as const, unknown ? UNKNOWN_WEIGHT : 0],
  ]);
  const { id, data, statuses, refuser = null } = tell(desk);
  const status = random.pick(statuses);
  const envelope = { company_id: salon.companyId, resource, resource_id: id, status, data };
  const webhook = {
    at: nowMs,
    resource,
    resourceId: id,
    status,
    envelope,
    body: bodyOf(envelope),
    carried: null,
    refuser,
  };
  return { about: 'other', kind: resource, at: nowMs, webhook, idsTaken: 2 };
}

/** The platform writes these dates in its own offset, whatever the salon's. */
export function officeDate(instant: EpochMs): string {
  return instantText(instant, 'Asia/Dubai', false);
}

/** The platform's empty object. */
export function nothingOf(random: Random): Json {
  return random.chance(0.5) ? [] : {};
}

function clientTold(desk: Desk): Told {
  const client = desk.random.pick(desk.salon.cast.clients);
  const { id, refuses } = client;
  const data = clientBody(client, desk);
  return { id, data, statuses: CREATE_OR_UPDATE, refuser: refuses ? id : null };
}

/** A client as both a webhook and the API write it. */
export function clientBody(
  { id, name, surname, phone, email, refuses }: Client,
  { random, date, nothing }: Pick<Desk, 'random' | 'date' | 'nothing'>,
): JsonObject {
  const spent = random.integer(0, 40) * 100;
  return {
    id,
    name,
    surname,
    patronymic: '',
    display_name: `${name} ${surname}`.trim(),
    phone,
    email,
    card: '',
    birth_date: '',
    comment: '',
    discount: random.chance(0.2) ? 7.5 : 0,
    visits: random.integer(0, 20),
    sex_id: 0,
    sms_check: 0,
    sms_bot: 0,
    sms_not: refuses ? 1 : 0,
    spent,
    paid: spent,
    balance: 0,
    importance_id: 0,
    categories: [],
    last_change_date: date,
    custom_fields: nothing(),
  };
}

function staffTold({ salon, random }: Desk): Told {
  const member = random.pick(salon.cast.staff);
  return { id: member.id, data: staffBody(member), statuses: CREATE_OR_UPDATE };
}

export function staffBody({ id, name, specialization }: StaffMember): JsonObject {
  return { id, name, specialization, rating: 4.8, fired: 0, hidden: 0 };
}

function serviceTold({ salon, random }: Desk): Told {
  const offered = random.pick(salon.cast.services);
  return { id: offered.id, data: serviceBody(offered), statuses: ANY_STATUS };
}

export function serviceBody({ id, title, cost, durationSeconds }: OfferedService): JsonObject {
  return {
    id,
    title,
    price_min: cost,
    price_max: cost,
    duration: durationSeconds,
    active: 1,
    category_id: 10,
  };
}

function categoryTold({ salon }: Desk): Told {
  const staff = salon.cast.staff.map(member => member.id);
  return { id: 301, data: { id: 301, title: 'Hair', weight: 1, staff }, statuses: CREATE_OR_UPDATE };
}

function companyTold({ salon }: Desk): Told {
  const { companyId: id, zone, cast } = salon;
  const data = { id, title: cast.title, public_title: cast.title, active: 1, timezone_name: zone };
  return { id, data, statuses: ['update'] };
}

/** A schedule tells nothing but whose it is: `resource_id` is the member of staff. */
function scheduleTold({ salon, random }: Desk): Told {
  return { id: random.pick(salon.cast.staff).id, data: [], statuses: ['update'] };
}

/** Keyed by `good_id`, without an `id`. */
function goodTold({ salon, random }: Desk): Told {
  const { id, title, cost } = random.pick(salon.cast.goods);
  const data = { good_id: id, title, cost, article: '', barcode: '', actual_cost: cost, category: '' };
  return { id, data, statuses: ANY_STATUS };
}

function operationTold({ salon, random, date, nothing, newId }: Desk, typeId: number, type: string): Told {
  const good = random.pick(salon.cast.goods);
  const data = {
    id: newId,
    document_id: newId + 1,
    type_id: typeId,
    type,
    good: { id: good.id, title: good.title },
    storage: { id: 1, title: 'Main' },
    unit: { id: 216_760, title: 'Piece' },
    amount: typeId === 3 ? 5 : -1,
    create_date: date,
    cost_per_unit: good.cost,
    cost: good.cost,
    discount: 0,
    master: random.chance(0.5) ? personOf(random.pick(salon.cast.staff)) : nothing(),
    supplier: nothing(),
    record_id: 0,
    service: nothing(),
    client: nothing(),
    last_change_date: date,
  };
  return { id: newId, data, statuses: ANY_STATUS };
}

function personOf({ id, name }: { readonly id: number; readonly name: string }): JsonObject {
  return { id, title: name };
}

function paymentTold({ salon, random, date, nothing, newId }: Desk): Told {
  const record = random.pick(salon.records);
  const client = salon.cast.clients.find(one => one.id === record.clientId);
  const data = {
    id: newId,
    document_id: newId + 1,
    expense: { id: 5, title: 'Services' },
    date,
    amount: random.integer(5, 60) * 100,
    comment: '',
    master: nothing(),
    supplier: nothing(),
    account: { id: 9, title: 'Till' },
    client: client ? { id: client.id, name: client.name, phone: client.phone } : nothing(),
    record_id: record.id,
    visit_id: record.visitId,
    sold_item_id: 0,
    sold_item_type: 'service',
  };
  return { id: newId, data, statuses: ANY_STATUS };
}

function cardTold({ salon, random, newId }: Desk): Told {
  const { phone } = random.pick(salon.cast.clients);
  const data = { id: newId, balance: random.integer(0, 900), number: `LC-${newId}`, phone };
  return { id: newId, data, statuses: CREATE_OR_UPDATE };
}

function unknownTold({ random, nothing, newId }: Desk): Told {
  const data = random.pick<Json>([
    nothing(),
    { id: newId, kind: { nested: [1, [2, { three: null }]] } },
    'pending',
  ]);
  return { id: newId, data, statuses: CREATE_OR_UPDATE };
}
