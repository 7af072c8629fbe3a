/** Reading records: the list, and one by its id. Items have the shape that webhooks have. */
import type { SalonRecord } from '../salon.ts';
import type { Json, JsonObject } from '../webhook.ts';
import { recordBody } from '../wire.ts';
import { type Answer, Refusal } from './answers.ts';
import type { Quirks } from './quirks.ts';
import { selectRecords } from './records-query.ts';
import { type Call, idParam, type Route } from './route.ts';

export const RECORDS_ROUTES: readonly Route[] = [
  { method: 'GET', path: '/api/v1/records/:company', operation: 'records', needs: 'records', handle: list },
  {
    method: 'GET',
    path: '/api/v1/record/:company/:record',
    operation: 'record',
    needs: 'records',
    handle: one,
  },
];

function list(call: Call): Answer {
  const { branch, query, quirks } = call;
  const { zone } = branch.salon();
  const naive = quirks.naiveZone === 'salon' ? zone : quirks.naiveZone;
  const { items, total, page } = selectRecords(branch.records(), query, { salon: zone, naive });
  const data = items.map(record => bodyOf(record, call));
  return { data, meta: { page, ...totalOf(total, quirks.totals) } };
}

function one(call: Call): Answer {
  const record = call.branch.record(idParam(call, 'record'));
  if (record === undefined || (record.deleted && call.quirks.deletedRecord === 'not_found'))
    throw new Refusal(404, 'Record not found');
  return { data: bodyOf(record, call), meta: [] };
}

export function bodyOf(
  record: SalonRecord,
  { branch, random, quirks }: Pick<Call, 'branch' | 'random' | 'quirks'>,
): JsonObject {
  return recordBody(record, branch.salon(), random, quirks.bodies);
}

function totalOf(total: number, totals: Quirks['totals']): { readonly [name: string]: Json } {
  switch (totals) {
    case 'true':
      return { total_count: total };
    case 'too_small':
      return { total_count: Math.floor(total / 2) };
    case 'too_large':
      return { total_count: total * 2 + 7 };
    case 'absent':
      return {};
  }
}
