/**
 * What an operator orders of events and messages, by command or API: to process or send again what was given up, once its
 * cause is mended, and not to send what is due.
 */
import { factsFor, type Notice, noticeBetween } from '../domain/notice.ts';
import type { EpochMs } from '../domain/time.ts';
import { MissingError, PlainError } from '../log.ts';
import { lockBookings, type StoredBooking, saveTold } from '../store/bookings.ts';
import { audit, findCompanies } from '../store/companies.ts';
import { countReplayable, type ReplayFilter, replayEvent, replayEvents } from '../store/inbox.ts';
import {
  cancelMessage,
  findUnsent,
  lockToCancel,
  mayBeOrdered,
  type ResendFilter,
  resendMessage,
} from '../store/orders.ts';
import { type Db, isTaken, type Pool, transaction } from '../store/pool.ts';
import { type MessageDetail, showEvent, showMessage } from '../store/views.ts';

type OrderDeps = { readonly pool: Pool; readonly actor: 'command' | 'api' };

const BATCH = 500;

/** Puts an event back, whatever became of it; its effect still happens once. */
export async function replayOne({ pool, actor }: OrderDeps, id: string): Promise<void> {
  const put = await transaction(pool, async db => {
    const done = await replayEvent(db, id);
    if (done) await audit(db, { actor, action: 'event.replay', subject: id });
    return done;
  });
  if (put) return;
  if ((await showEvent(pool, id)) === undefined) throw new MissingError(`there is no event ${id}`);
  throw new PlainError(`event ${id} is in quarantine: its body cannot be read as an event`);
}

/** How an order for many is carried out. */
type Order = {
  /** It only counts them. */
  readonly dryRun: boolean;
  /** Of one order; the next takes the rest. */
  readonly most: number;
  readonly onProgress?: (done: number) => void;
};

/** Puts these events back, the oldest first. Answers how many, and whether there are more. */
export async function replayAll(
  { pool, actor }: OrderDeps,
  filter: ReplayFilter,
  { dryRun, most, onProgress }: Order,
): Promise<{ readonly events: number; readonly more: boolean }> {
  if (filter.state === 'done' && filter.resource === undefined) {
    throw new PlainError('events that are done are put back of one resource at a time: name it');
  }
  const total = await countReplayable(pool, filter);
  const wanted = Math.min(total, most);
  if (dryRun) return { events: wanted, more: total > wanted };
  const about = filter.companyId === undefined ? {} : { companyId: filter.companyId };
  let events = 0;
  let after: string | undefined;
  while (events < wanted) {
    const limit = Math.min(BATCH, wanted - events);
    const ids = await transaction(pool, async db => {
      const put = await replayEvents(db, filter, { after, limit });
      const subject = `${put.length} of state ${filter.state}, ${put[0]} to ${put.at(-1)}`;
      if (put.length > 0) await audit(db, { ...about, actor, action: 'event.replay', subject });
      return put;
    });
    if (ids.length === 0) break;
    events += ids.length;
    after = ids.at(-1);
    onProgress?.(events);
  }
  return { events, more: total > wanted };
}

/** Has a message that failed or was given up sent after all, if what it says is still true and wanted when it leaves. */
export async function resendOne({ pool, actor }: OrderDeps, id: string, now: EpochMs): Promise<void> {
  const message = await showMessage(pool, id);
  if (message === undefined) throw new MissingError(`there is no message ${id}`);
  const came = await resend({ pool, actor }, message, now);
  if (came === 'taken') throw new PlainError(`message ${id} is not sent again: ${TAKEN}`);
  if (came === 'gone') throw new PlainError(`message ${id} is not sent again: ${whyNot(message)}`);
}

const TAKEN = 'a newer one stands in its place, which says what there is to say';

function whyNot({ state, purpose, recipient, channel, sentAt, error }: MessageDetail): string {
  if (state === 'due' || state === 'sending') return 'it has not ended yet';
  if (state === 'unknown') return 'it may have gone out, and would be heard twice';
  if (sentAt !== null) return `${channel ?? 'a channel'} took it, so it counts as told`;
  if (state === 'superseded' || state === 'expired') return `it was no more to be said (${error ?? state})`;
  if (recipient.startsWith('erased:')) return 'its recipient was erased';
  return mayBeOrdered(purpose) ? 'it was put back just now' : `a ${purpose} is of its moment`;
}

export type Resent = {
  /** Put back, or, of a dry run, those that would be tried. */
  readonly due: number;
  /** Left, since a newer one stands in their place. */
  readonly taken: number;
  /** There are more than one order takes. */
  readonly more: boolean;
};

/** The same for all of these, the newest first. */
export async function resendAll(
  { pool, actor }: OrderDeps,
  filter: ResendFilter,
  { dryRun, most, now, onProgress }: Order & { readonly now: EpochMs },
): Promise<Resent> {
  const found = await findUnsent(pool, filter, most + 1);
  const keys = found.slice(0, most);
  const more = found.length > keys.length;
  if (dryRun) return { due: keys.length, taken: 0, more };
  const counts = { due: 0, taken: 0, gone: 0 };
  for (const [index, key] of keys.entries()) {
    counts[await resend({ pool, actor }, key, now)] += 1;
    onProgress?.(index + 1);
  }
  return { due: counts.due, taken: counts.taken, more };
}

async function resend(
  { pool, actor }: OrderDeps,
  { companyId, id }: { readonly companyId: number; readonly id: string },
  now: EpochMs,
): Promise<'due' | 'taken' | 'gone'> {
  try {
    const put = await transaction(pool, async db => {
      const done = await resendMessage(db, { companyId, id }, now);
      if (done) await audit(db, { companyId, actor, action: 'message.resend', subject: id });
      return done;
    });
    return put ? 'due' : 'gone';
  } catch (error) {
    if (isTaken(error)) return 'taken';
    throw error;
  }
}

/**
 * Has a message that is due not be sent. What a notice would have said counts as told, so that no later change brings it
 * back; a planned message is not planned again unless its visit moves.
 */
export async function cancelOne({ pool, actor }: OrderDeps, id: string, now: EpochMs): Promise<void> {
  const message = await showMessage(pool, id);
  if (message === undefined) throw new MissingError(`there is no message ${id}`);
  const not = (why: string) => new PlainError(`message ${id} is not cancelled: ${why}`);
  if (!mayBeOrdered(message.purpose)) throw not(`a ${message.purpose} cannot be`);
  const cancelled = await transaction(pool, async db => {
    const bookings = await lockBookings(db, keysOf(message));
    if (!(await lockToCancel(db, message))) return false;
    const [stored] = bookings.values();
    const notice = stored === undefined ? null : await countAsTold(db, message, stored);
    await cancelMessage(db, message, { reason: `cancelled by the operator (${actor})`, notice, now });
    await audit(db, { companyId: message.companyId, actor, action: 'message.cancel', subject: id });
    return true;
  });
  if (cancelled) return;
  const { state = 'gone' } = (await showMessage(pool, id)) ?? {};
  throw not(state === 'sending' ? 'it is being sent' : `it is ${state} already`);
}

function keysOf({ companyId, recordId }: MessageDetail) {
  return recordId === null ? [] : [{ companyId, recordId }];
}

/** Of a notice: what it would have said now, which has been told from now on. */
async function countAsTold(
  db: Db,
  { companyId, recipient, step, purpose }: MessageDetail,
  { recordId, booking, told }: StoredBooking,
): Promise<Notice | null> {
  const company = (await findCompanies(db, [companyId])).get(companyId);
  if (purpose !== 'notice' || company === undefined) return null;
  const facts = factsFor(recipient, booking, company.zone);
  const notice = noticeBetween(told[recipient]?.facts ?? null, facts);
  if (notice === null) return null;
  const now = { ...told, [recipient]: { facts: notice.after, step, how: 'operator' as const } };
  await saveTold(db, [{ companyId, recordId, told: now }]);
  return notice;
}
