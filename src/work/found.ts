/**
 * What a reading of the API came to: pure, from records as the API lists them and our bookings to the events of what
 * differs. Where nothing differs there is no event.
 */
import { differs, merge } from '../domain/booking.ts';
import type { Days } from '../domain/sweep.ts';
import type { EpochMs } from '../domain/time.ts';
import { readBody } from '../ingest/read-body.ts';
import { bookingKey, type StoredBooking } from '../store/bookings.ts';
import type { NewEvent } from '../store/inbox.ts';
import type { Doubt } from '../store/rereads.ts';
import { ApiError } from '../yclients/api.ts';
import { type ListedRecord, type RecordBody, readListed, readRecord } from '../yclients/wire.ts';

/** Whose records are read, and since when a booking made is news. */
export type Reader = {
  readonly companyId: number;
  readonly knownSince: EpochMs;
  readonly botApiPrefix: string | null;
};

export type FoundRecord = ListedRecord & { readonly body: RecordBody };

/** What was asked for; every answer is held against it. */
export type Asked = { readonly changedAfter?: EpochMs; readonly days?: Days };

/**
 * The records of a page that are what was asked for. The platform ignores a filter it does not know and answers with
 * everything there is: a page most of which was not asked for is an error, before we read through ten years of a salon.
 */
export function sift(items: readonly unknown[], reader: Reader, asked: Asked): FoundRecord[] {
  const fitting = items.flatMap(item => {
    const listed = readListed(item);
    if (listed === undefined || (listed.companyId ?? reader.companyId) !== reader.companyId) return [];
    const record = { ...listed, body: readRecord('update', listed.data, reader.botApiPrefix ?? undefined) };
    return isAsked(record.body, asked) ? [record] : [];
  });
  if (items.length > 0 && fitting.length * 2 < items.length) {
    throw new ApiError(
      'unreadable',
      `of ${items.length} records listed only ${fitting.length} are what was asked for: the platform may have changed its filters`,
    );
  }
  return fitting;
}

function isAsked({ fields, version }: RecordBody, { changedAfter, days }: Asked): boolean {
  const day = fields.startsLocal?.slice(0, 10);
  if (days !== undefined && day !== undefined && (day < days.from || day > days.to)) return false;
  return changedAfter === undefined || version === undefined || version >= changedAfter;
}

export type Findings = { readonly events: readonly NewEvent[]; readonly doubts: readonly Doubt[] };

/** `findId` makes the same body found by another sweep another event. */
export function findingsOf(
  records: readonly FoundRecord[],
  bookings: ReadonlyMap<string, StoredBooking>,
  reader: Reader,
  about: { readonly readAt: EpochMs; readonly findId: string; readonly traceparent: string | null },
): Findings {
  const events: NewEvent[] = [];
  const doubts: Doubt[] = [];
  for (const record of records) {
    const { companyId } = reader;
    const key = { companyId, recordId: record.recordId };
    const known = bookings.get(bookingKey(key))?.booking ?? null;
    const { fields, version = about.readAt } = record.body;
    const { effect } = merge(known, fields, version);
    if (effect === 'merged') {
      const status = statusOf(record.body, known !== null, reader);
      events.push(apiEvent(record, { companyId, status, source: 'reconcile', ...about }));
    } else if (effect === 'stale' && known !== null && differs(known, fields)) {
      // Ours says it is newer and says something else: either the page is old by now, or we hold what was never so.
      doubts.push({ ...key, reason: 'sweep' });
    }
  }
  return { events, doubts };
}

function statusOf({ fields }: RecordBody, known: boolean, { knownSince }: Reader): string {
  if (fields.deleted) return 'delete';
  return !known && fields.createdAt !== undefined && fields.createdAt >= Math.floor(knownSince / 1000) * 1000
    ? 'create'
    : 'update';
}

/** A record read from the API, as an event. */
export function apiEvent(
  { recordId, data }: { readonly recordId: number; readonly data: unknown },
  about: {
    readonly companyId: number;
    readonly status: string;
    readonly source: 'reconcile' | 'verify';
    readonly readAt: EpochMs;
    readonly findId: string;
    /** Of the span that it was read in. */
    readonly traceparent: string | null;
  },
): NewEvent {
  const { companyId, status, source, readAt, findId, traceparent } = about;
  const envelope = {
    company_id: companyId,
    resource: 'record',
    resource_id: recordId,
    status,
    data,
    read_at: readAt,
  };
  const bytes = Buffer.from(JSON.stringify(envelope));
  const events = readBody(bytes, { companyId, receivedAt: readAt, source, findId, traceparent });
  if ('unreadable' in events) throw new ApiError('unreadable', `record ${recordId}: ${events.unreadable}`);
  const [event] = events;
  if (event === undefined) throw new Error(`record ${recordId} gave no event`);
  return event;
}

/** What the platform says of a record that it does not have (any more). */
function goneRecord(companyId: number, recordId: number): { recordId: number; data: unknown } {
  return { recordId, data: { id: recordId, company_id: companyId, deleted: true } };
}

/** The answer about one record, held against the question. */
export function readAnswer(answer: unknown, companyId: number, recordId: number): FoundRecord {
  const listed = answer === null ? { ...goneRecord(companyId, recordId), companyId } : readListed(answer);
  if (listed === undefined || listed.recordId !== recordId || (listed.companyId ?? companyId) !== companyId) {
    throw new ApiError('unreadable', `asked for record ${recordId}, another came`);
  }
  return { ...listed, body: readRecord('update', listed.data) };
}
