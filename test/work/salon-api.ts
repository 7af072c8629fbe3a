/**
 * A simulated salon with both its sides on a clock of the test's: the webhooks that it sends, and its journal as the
 * platform's API lists it at any moment.
 */
import type { Brand } from '../../src/simulator/cast.ts';
import { faultsOf, type Happening, step } from '../../src/simulator/course.ts';
import type { Fault } from '../../src/simulator/faults.ts';
import { type Ledger, openBook } from '../../src/simulator/ledger.ts';
import { createRandom, type Random } from '../../src/simulator/random.ts';
import { openSalon, type Salon, type SalonRecord } from '../../src/simulator/salon.ts';
import type { Webhook } from '../../src/simulator/webhook.ts';
import { recordWebhook } from '../../src/simulator/wire.ts';
import type { ApiError, JournalApi, Page, RecordsQuery } from '../../src/yclients/api.ts';

export type SalonStory = {
  readonly companyId: number;
  readonly zone: string;
  readonly webhooks: readonly Webhook[];
  /** Every state of every record, in order; those there were before have `at` −∞. */
  readonly states: ReadonlyMap<number, readonly { readonly at: number; readonly record: SalonRecord }[]>;
  readonly endsAt: number;
  /** The salon before its first action, and each action: for a platform of its own. */
  readonly opened: Salon;
  readonly happenings: readonly Happening[];
  /** The salon's own books, with the times at which these webhooks were answered. */
  ledger(deliveries: readonly Delivered[]): Ledger;
  /** A record as the platform writes it. */
  body(record: SalonRecord): Record<string, unknown>;
};

export type Delivered = { readonly webhook: Webhook; readonly receivedAt: number };

export function tellStory(options: {
  readonly seed: number;
  readonly companyId: number;
  readonly startMs: number;
  readonly actions: number;
  readonly gapMs: (random: Random) => number;
  readonly zone?: string;
  readonly known?: number;
  readonly mostRecords?: number;
  readonly faults?: string | readonly Fault[];
}): SalonStory {
  const { companyId, startMs, zone = 'Europe/Moscow', known = 20 } = options;
  const random = createRandom(options.seed);
  const brand: Brand = 'yclients';
  const opened = openSalon({ companyId, brand, zone, records: known }, random, startMs);
  const states = new Map<number, { at: number; record: SalonRecord }[]>();
  for (const record of opened.records) states.set(record.id, [{ at: Number.NEGATIVE_INFINITY, record }]);
  const book = openBook();
  const webhooks: Webhook[] = [];
  const happenings: Happening[] = [];
  const faults = faultsOf(options.faults ?? 'none');
  const habits = { faults, gapMs: options.gapMs, others: false, mostRecords: options.mostRecords };
  let course = { salon: opened, random, nextAt: startMs };
  for (let index = 0; index < options.actions; index += 1) {
    const { course: after, happening } = step(course, habits);
    course = after;
    if (happening === null || happening.action.about !== 'record') continue;
    webhooks.push(...happening.webhooks);
    happenings.push(happening);
    const { at } = happening.action;
    for (const { change, carried } of happening.told) {
      book.changed(change, carried, at);
      states.set(change.after.id, [...(states.get(change.after.id) ?? []), { at, record: change.after }]);
    }
  }
  const { salon } = course;
  return {
    ...{ companyId, zone, webhooks, states, opened, happenings },
    endsAt: course.nextAt,
    ledger: deliveries => ledgerOf(companyId, zone, startMs, course.nextAt, book, deliveries),
    body: record => bodyOfRecord(record, salon),
  };
}

function ledgerOf(
  companyId: number,
  zone: string,
  startedAt: number,
  endedAt: number,
  book: ReturnType<typeof openBook>,
  deliveries: readonly Delivered[],
): Ledger {
  for (const { webhook, receivedAt } of deliveries) book.sent(webhook, receivedAt, receivedAt);
  const counts = { actions: 0, webhooks: 0, dropped: 0, requests: 0, answers: {} };
  return { companyId, zone, seed: 0, startedAt, endedAt, records: book.records(), refusals: [], counts };
}

/** What the API may write as oddly as a webhook, always whole. */
export const API_FAULTS = faultsOf(['loose_types', 'empty_array', 'bad_text', 'unknown', 'wrong_offset']);

function bodyOfRecord(record: SalonRecord, salon: Salon): Record<string, unknown> {
  const random = createRandom(record.id + record.version / 1000);
  const whole = { before: record, after: { ...record, gone: false } };
  const { data } = recordWebhook(whole, salon, random, API_FAULTS, record.version).envelope;
  if (typeof data !== 'object' || data === null || Array.isArray(data)) throw new Error('no record body');
  return { ...data };
}

export type SalonApi = JournalApi & {
  /** What was asked, in order: `records 1`, `record 42`. */
  readonly asked: string[];
  /** Before each call: an error to fail with. */
  trouble: (() => ApiError | undefined) | undefined;
  /** Instead of the journal's own answer about a record. */
  readonly answers: Map<number, unknown>;
  /** Records that the platform has no more: in no list, and null when asked for. */
  readonly gone: Set<number>;
  /** Filters that the platform does not know and ignores. */
  readonly ignores: Set<keyof RecordsQuery>;
};

export function apiOver(
  story: Pick<SalonStory, 'states' | 'body'>,
  now: () => number,
  { pageSize = 200 }: { pageSize?: number } = {},
): SalonApi {
  const current = (recordId: number): SalonRecord | undefined =>
    story.states.get(recordId)?.findLast(({ at }) => at <= now())?.record;
  const ask = (what: string) => {
    api.asked.push(what);
    const error = api.trouble?.();
    if (error !== undefined) throw error;
  };
  const listed = (query: RecordsQuery) => {
    const use = (name: keyof RecordsQuery) => query[name] !== undefined && !api.ignores.has(name);
    return [...story.states.keys()]
      .sort((left, right) => left - right)
      .flatMap(id => (api.gone.has(id) ? [] : (current(id) ?? [])))
      .filter(record => !use('changedAfter') || record.version >= (query.changedAfter ?? 0))
      .filter(record => !use('startDate') || record.startsLocal.slice(0, 10) >= (query.startDate ?? ''))
      .filter(record => !use('endDate') || record.startsLocal.slice(0, 10) <= (query.endDate ?? ''))
      .filter(record => query.withDeleted === true || !record.deleted);
  };
  const api: SalonApi = {
    asked: [],
    trouble: undefined,
    answers: new Map(),
    gone: new Set(),
    ignores: new Set(),
    async *records(query): AsyncGenerator<Page> {
      for (let number = query.fromPage ?? 1; ; number += 1) {
        ask(`records ${number}`);
        const slice = listed(query).slice((number - 1) * pageSize, number * pageSize);
        const last = slice.length < pageSize;
        yield { number, items: slice.map(record => story.body(record)), last };
        if (last) return;
      }
    },
    async record(recordId) {
      ask(`record ${recordId}`);
      if (api.answers.has(recordId)) return api.answers.get(recordId) ?? null;
      const record = api.gone.has(recordId) ? undefined : current(recordId);
      return record === undefined ? null : story.body(record);
    },
  };
  return api;
}
