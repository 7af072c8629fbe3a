/** Readers of the things of a salon that we keep as plain copies: everything but bookings, people and the salon itself. */
import type { Finding } from '../domain/drift.ts';
import type { EpochMs } from '../domain/time.ts';
import { amount, flag, ids, instant, integer, present, type Reader, readerOf, text } from './reader.ts';

/** A copy of a thing of the salon other than bookings and people: what it is called and what of it we use. */
export type EntityBody = {
  readonly title: string | undefined;
  /** Without names, phones and texts of people. */
  readonly data: Record<string, unknown>;
  readonly deleted: boolean;
  readonly version: EpochMs | undefined;
  readonly odd: readonly Finding[];
};

/** Fields that are in every body seen but a delete's. */
const EXPECTED: Readonly<Record<string, readonly string[]>> = {
  staff: ['name'],
  service: ['title'],
  service_category: ['title'],
  good: ['title'],
  goods_operation: ['type_id', 'good', 'amount'],
  finances_operation: ['amount'],
  loyalty_card: ['balance'],
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
  // Its number is its holder's, of whom the body says no more than a phone: kept, it could not be erased with them.
  loyalty_card: reader => ({ data: present({ balance: reader.get('balance', amount) }) }),
};

/** The operation's kind is the numeric `type_id`; the text label beside it changed without notice. */
const GOODS_OPERATION_KINDS: Record<number, string> = { 0: 'move', 1: 'sale', 3: 'receipt', 4: 'write_off' };

function readGoodsOperation(reader: Reader): ReturnType<EntityReader> {
  const typeId = reader.get('type_id', integer);
  if (typeId !== undefined && !(typeId in GOODS_OPERATION_KINDS)) reader.found('enum', 'type_id', typeId);
  const good = reader.into('good');
  return {
    title: good.get('title', text),
    data: present({
      kind: typeId === undefined ? undefined : (GOODS_OPERATION_KINDS[typeId] ?? `type_${typeId}`),
      documentId: reader.get('document_id', integer),
      goodId: good.get('id', integer),
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
  const path = resource.replace(/^(goods_operation)s_.*/, '$1');
  // A schedule has no data.
  const reader = readerOf(data, path, resource === 'schedule' ? 'delete' : status);
  const body = ENTITY_READERS[resource]?.(reader) ?? { data: {} };
  if (status !== 'delete') for (const name of EXPECTED[path] ?? []) reader.expect(name);
  return {
    title: body.title,
    data: body.data,
    deleted: reader.get('deleted', flag) ?? status === 'delete',
    version: reader.get('last_change_date', instant),
    odd: reader.odd,
  };
}
