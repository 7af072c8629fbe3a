/** What is asked of the platform's API, by which path, and what may be asked twice. */
import { type EpochMs, wallOf } from '../domain/time.ts';
import { nameOf } from './answer.ts';
import {
  ApiError,
  type Brand,
  type CompanyApi,
  type Operation,
  type Page,
  type RecordsQuery,
} from './api.ts';

export type Call = {
  readonly operation: Operation;
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Under `/api/v1/`, with its query. */
  readonly path: string;
  readonly body?: unknown;
  /** `always`: a second time makes no difference. `unless_done`: only when the API certainly did nothing. */
  readonly repeat: 'always' | 'unless_done';
  /** The partner token alone will do. */
  readonly anonymous?: boolean;
};

/** The platform's own cap, whatever is asked for. */
const PAGE_SIZE = 200;
/** 100,000 records. A query that does not end by then is not ours: a filter was ignored, or the pages go in circles. */
const MAX_PAGES = 500;

export function companyApi(
  call: (asked: Call) => Promise<unknown>,
  { brand, companyId }: { brand: Brand; companyId: number },
): CompanyApi {
  const unreadable = (operation: Operation, said: string) =>
    new ApiError('unreadable', `${nameOf({ brand, companyId, operation })}: ${said}`);
  const get = (operation: Operation, path: string): Call => ({
    operation,
    method: 'GET',
    path,
    repeat: 'always',
  });

  async function list(asked: Call): Promise<readonly unknown[]> {
    const found = listOf(await call(asked));
    if (found === undefined)
      throw unreadable(asked.operation, 'a list was expected; it is an answer not known yet');
    return found;
  }

  /** One thing; null when the API says that it is not there. Nothing else is taken for that. */
  async function one(asked: Call): Promise<unknown | null> {
    try {
      return filled(asked.operation, await call(asked));
    } catch (error) {
      if (error instanceof ApiError && error.trouble === 'not_found') return null;
      throw error;
    }
  }

  function filled(operation: Operation, data: unknown): unknown {
    if (typeof data === 'object' && data !== null && Object.keys(data).length > 0) return data;
    throw unreadable(operation, 'an answer without anything in it');
  }

  async function* records(query: RecordsQuery): AsyncGenerator<Page> {
    const first = query.fromPage ?? 1;
    let before: string | undefined;
    for (let number = first; number < first + MAX_PAGES; number += 1) {
      const items = await list(get('records', `records/${companyId}?${recordsQuery(query, number)}`));
      const marks = items.map(markOf).join();
      // Asked for a page after the last, some answer the last again: there is nothing new in it, and no end to it.
      const repeated = items.length > 0 && marks === before;
      const last = repeated || items.length < PAGE_SIZE;
      yield { number, items: repeated ? [] : items, last };
      if (last) return;
      before = marks;
    }
    throw unreadable(
      'records',
      `no end after ${MAX_PAGES} pages; ask for fewer days, or go on from page ${first + MAX_PAGES}`,
    );
  }

  return {
    records,
    record: recordId => one(get('record', `record/${companyId}/${recordId}`)),
    company: async () => filled('company', await call(get('company', `company/${companyId}/`))),
    hooks: async () => filled('hooks', await call(get('hooks', `hooks_settings/${companyId}`))),
    saveHooks: settings =>
      call({
        operation: 'save_hooks',
        method: 'POST',
        path: `hooks_settings/${companyId}`,
        body: settings,
        repeat: 'unless_done',
      }),
    searchClients: search =>
      list({
        operation: 'search_clients',
        method: 'POST',
        path: `company/${companyId}/clients/search`,
        body: search,
        // A POST that only reads.
        repeat: 'always',
      }),
    client: clientId => one(get('client', `client/${companyId}/${clientId}`)),
    services: () => list(get('services', `company/${companyId}/services`)),
    staff: () => list(get('staff', `company/${companyId}/staff`)),
    bookTimes: ({ staffId, day, serviceIds }) => {
      const services = new URLSearchParams();
      for (const id of serviceIds) services.append('service_ids[]', String(id));
      const path = `book_times/${companyId}/${staffId}/${encodeURIComponent(day)}?${services}`;
      return list({ ...get('book_times', path), anonymous: true });
    },
    async bookCheck(booking) {
      try {
        await call({
          operation: 'book_check',
          method: 'POST',
          path: `book_check/${companyId}`,
          body: booking,
          // It reserves nothing.
          repeat: 'always',
          anonymous: true,
        });
        return { free: true };
      } catch (error) {
        if (error instanceof ApiError && error.trouble === 'refused') {
          return { free: false, code: error.code ?? error.status };
        }
        throw error;
      }
    },
    createRecord: record =>
      call({
        operation: 'create_record',
        method: 'POST',
        path: `records/${companyId}`,
        body: record,
        repeat: 'unless_done',
      }),
    // Repeated after a doubt, a PUT could overwrite what the salon or the client did meanwhile.
    confirmVisit: ({ visitId, recordId, comment }) =>
      call({
        operation: 'confirm_visit',
        method: 'PUT',
        path: `visits/${visitId}/${recordId}`,
        body: { attendance: 2, comment },
        repeat: 'unless_done',
      }),
    moveRecord: (recordId, to) =>
      call({
        operation: 'move_record',
        method: 'PUT',
        path: `book_record/${companyId}/${recordId}`,
        body: to,
        repeat: 'unless_done',
      }),
    async deleteRecord(recordId) {
      try {
        await call({
          operation: 'delete_record',
          method: 'DELETE',
          path: `record/${companyId}/${recordId}`,
          // An id is not used again: what is deleted twice is deleted.
          repeat: 'always',
        });
        return 'deleted';
      } catch (error) {
        if (error instanceof ApiError && error.trouble === 'not_found') return 'gone';
        throw error;
      }
    },
  };
}

function recordsQuery(query: RecordsQuery, page: number): URLSearchParams {
  const params = new URLSearchParams({ page: String(page), count: String(PAGE_SIZE) });
  const { changedAfter, startDate, endDate, withDeleted } = query;
  if (changedAfter !== undefined) params.set('changed_after', naive(changedAfter));
  if (startDate !== undefined) params.set('start_date', startDate);
  if (endDate !== undefined) params.set('end_date', endDate);
  if (withDeleted === true) params.set('with_deleted', '1');
  return params;
}

/** In UTC and without an offset: the form the platform documents, in a zone it does not. */
function naive(moment: EpochMs): string {
  return wallOf(Math.floor(moment / 1000) * 1000, 'UTC');
}

/** PHP writes a list with holes as an object of numbers. */
function listOf(data: unknown): readonly unknown[] | undefined {
  if (Array.isArray(data)) return data;
  if (typeof data !== 'object' || data === null) return undefined;
  const keys = Object.keys(data);
  return keys.length > 0 && keys.every(key => /^\d+$/.test(key)) ? Object.values(data) : undefined;
}

function markOf(item: unknown): string {
  return typeof item === 'object' && item !== null && 'id' in item ? String(item.id) : JSON.stringify(item);
}
