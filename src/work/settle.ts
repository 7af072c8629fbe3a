/**
 * Settling: what an attempt came to. One transaction records the attempt, ends the message or puts it back, moves
 * what the recipient was told, and opens a new notice if the booking has moved on meanwhile. Outcomes that arrive
 * together are settled together.
 */

import type { Channel, Outgoing, SendResult } from '../channels/channel.ts';
import { retryAfterTriesMs } from '../domain/backoff.ts';
import { factsFor, hasBegun, noticeBetween, sameFacts, type ToldByRecipient } from '../domain/notice.ts';
import { settleMsOf } from '../domain/policy.ts';
import { type Fall, type FallReason, receiptWithinMs } from '../domain/route.ts';
import { isTeam } from '../domain/team.ts';
import { type EpochMs, wallOf } from '../domain/time.ts';
import { newId } from '../ids.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { bookingKey, lockBookings, type StoredBooking, saveTold } from '../store/bookings.ts';
import { type Company, findCompanies } from '../store/companies.ts';
import { createGroupCommit } from '../store/group-commit.ts';
import {
  type Attempt,
  type DueNotice,
  endMessages,
  lockClaimed,
  type MessageEnd,
  type OpenMessage,
  openNotices,
  recordAttempts,
} from '../store/messages.ts';
import { type Db, type Pool, retried, transaction } from '../store/pool.ts';
import { countSent, noteNotReached } from '../store/reached.ts';

/** Tries by one channel, the last some seven hours after the first: what is true and wanted until then is still worth telling. */
const MAX_TRIES = 48;
/** Of an alert, which then goes by another road, and of a test: five minutes. */
const MAX_TRIES_FIXED = 8;
const SETTLE_BATCH = 256;
const UNTRIED_AGAIN_MS = 1_000;
/** While the database is away, what is known of a sent message lives here only: hold on to it. */
const SETTLE_PAUSE_MS = 250;
const SETTLE_PAUSE_LIMIT_MS = 5_000;

/** It was never given to its channel, which is the first of its route. */
type Untried = { readonly outcome: 'untried'; readonly reason: string };

/** One attempt that has ended, or did not come about. */
export type Sent = {
  readonly outgoing: Outgoing;
  readonly step: number;
  readonly channel: Channel;
  readonly result: SendResult | Untried;
  readonly startedAt: EpochMs;
  readonly finishedAt: EpochMs;
};

export type SettleDeps = {
  readonly pool: Pool;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly now: () => EpochMs;
  readonly random: () => number;
  readonly owner: string;
};

type Settled = {
  readonly ended: readonly { readonly purpose: string; readonly channel: string; readonly state: string }[];
  readonly falls: readonly Fall[];
};

export type Settler = {
  /** Resolves when the outcome is committed, however long the database is away, or when the settler is stopped. */
  settle(sent: Sent): Promise<void>;
  stop(): void;
};

export function createSettler(deps: SettleDeps): Settler {
  let stopped = false;
  const group = createGroupCommit<Sent, void>({
    flush: async batch => {
      const { ended, falls } = await retried(() =>
        transaction(deps.pool, db => settleBatch(deps, db, batch)),
      );
      for (const end of ended) deps.metrics.ended.inc(end);
      for (const { channel, why } of falls) deps.metrics.falls.inc({ channel, reason: why });
      return batch.map(() => undefined);
    },
    batchLimit: SETTLE_BATCH,
    waitingLimit: Number.POSITIVE_INFINITY,
  });
  return {
    async settle(sent) {
      for (let tries = 0; !stopped; tries += 1) {
        try {
          return await group.add(sent);
        } catch (error) {
          const { id, companyId } = sent.outgoing;
          deps.log.error(
            { message: id, company_id: companyId, err: error },
            'outcome not recorded yet, will try again',
          );
          await pause(Math.min(SETTLE_PAUSE_LIMIT_MS, SETTLE_PAUSE_MS * 2 ** tries));
        }
      }
    },
    stop() {
      stopped = true;
    },
  };
}

function pause(milliseconds: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, milliseconds));
}

/** Settles and returns what ended and what fell, as the metrics count them. */
async function settleBatch(deps: SettleDeps, db: Db, batch: readonly Sent[]): Promise<Settled> {
  const now = deps.now();
  const keys = batch.flatMap(({ outgoing: { companyId, recordId } }) =>
    recordId === null ? [] : [{ companyId, recordId }],
  );
  const outgoing = batch.map(sent => sent.outgoing);
  const [bookings, messages, companies] = await Promise.all([
    lockBookings(db, keys),
    lockClaimed(db, deps.owner, outgoing),
    findCompanies(db, [...new Set(outgoing.map(({ companyId }) => companyId))]),
    recordAttempts(db, batch.flatMap(attemptsOf)),
  ]);
  const held = new Map(messages.map(message => [message.id, message]));

  const ended = batch.flatMap(sent => {
    const message = held.get(sent.outgoing.id);
    // Not held any more: the lease ended and another process decided; its word stands.
    const company = companies.get(sent.outgoing.companyId);
    return message === undefined ? [] : [{ message, sent, end: endOf(deps, message, sent, company, now) }];
  });
  // One that a channel took before has ended then, and was heard then, as far as anybody can tell.
  const final = ended.filter(
    ({ message, end }) => end.state !== 'due' && end.state !== 'sending' && message.sentAt === null,
  );
  await Promise.all([
    endMessages(
      db,
      ended.map(({ end }) => end),
      now,
    ),
    followUp(
      db,
      final.map(({ message, end }) => ({ message, heard: end.state === 'sent' || end.state === 'unknown' })),
      { bookings, companies, now },
    ),
  ]);
  await noteNotReached(
    db,
    ended.flatMap(({ message, sent, end }) =>
      isTheirs(sent, end) ? [{ ...message, channel: sent.channel.name }] : [],
    ),
  );
  await countSent(
    db,
    ended.flatMap(({ message, sent }) => smsOf(message, sent, companies.get(message.companyId), now)),
  );
  return {
    ended: final.map(({ message, end }) => ({
      purpose: message.purpose,
      channel: message.channel ?? 'none',
      state: end.state,
    })),
    falls: ended.flatMap(({ message, end }) => (end.falls ?? []).slice(message.falls.length)),
  };
}

/** It fell because of the person or the address, not because of us. */
function isTheirs({ result }: Sent, { falls }: MessageEnd): boolean {
  if (falls === null || result.outcome !== 'rejected') return false;
  return result.scope === 'address' || result.scope === 'person';
}

/** What it costs them today: an SMS that went out, or may have. */
function smsOf(
  { recipient }: OpenMessage,
  { channel, outgoing, result }: Sent,
  company: Company | undefined,
  now: EpochMs,
) {
  if (channel.name !== 'sms' || company === undefined || outgoing.purpose === 'test') return [];
  if (result.outcome !== 'sent' && result.outcome !== 'unknown') return [];
  const day = wallOf(now, company.zone).slice(0, 10);
  return [{ companyId: company.companyId, recipient, channel: channel.name, day }];
}

function attemptsOf({ outgoing, channel, result, startedAt, finishedAt }: Sent): Attempt[] {
  if (result.outcome === 'untried') return [];
  const attempt: Attempt = {
    companyId: outgoing.companyId,
    id: outgoing.id,
    number: outgoing.attempt,
    channel: channel.name,
    startedAt,
    finishedAt,
    outcome: result.outcome,
    reason: 'reason' in result ? result.reason : '',
    providerId: 'providerId' in result ? (result.providerId ?? null) : null,
    scope: 'scope' in result ? result.scope : null,
    // The link in it is of this address. Others are not kept: nothing needs them.
    address: channel.name === 'email' && outgoing.links !== undefined ? outgoing.address : null,
  };
  return [attempt];
}

function endOf(
  deps: SettleDeps,
  message: OpenMessage,
  { outgoing, channel, result, finishedAt }: Sent,
  company: Company | undefined,
  now: EpochMs,
): MessageEnd {
  const { companyId, id } = message;
  const base = {
    companyId,
    id,
    providerId: null,
    // To the team it names a client, whom erasing would not find there: it is not kept.
    subject: isTeam(message.recipient) ? null : outgoing.subject,
    body: isTeam(message.recipient) ? null : outgoing.text,
    ...{ retryInMs: null, fallAt: null, falls: null },
  };
  if (result.outcome === 'untried') {
    // What may have gone out before keeps its claim's form.
    const state = message.uncertain ? 'sending' : 'due';
    return { ...base, state, error: result.reason, untried: true, retryInMs: UNTRIED_AGAIN_MS };
  }
  if (result.outcome === 'sent') {
    const { providerId = null } = result;
    const withinMs =
      company === undefined || isFixed(message)
        ? null
        : receiptWithinMs(company.policy.routes, channel.name, channel.traits.receiptWithinMs);
    // A message without an id can be told nothing of.
    const fallAt = withinMs === null || providerId === null ? null : finishedAt + withinMs;
    return { ...base, state: 'sent', error: null, providerId, fallAt };
  }
  const uncertain = message.uncertain || result.outcome === 'unknown';
  const error = result.reason;
  // Put back with the channel left: the next claim finds another, or ends it. Taken by an earlier one, it stays sent.
  const taken = message.sentAt !== null;
  const putBack = (retryInMs: number): MessageEnd =>
    taken
      ? { ...base, state: 'sent', error, fallAt: now + retryInMs }
      : { ...base, state: 'due', error, retryInMs };
  const fall = (why: FallReason): MessageEnd => ({
    ...putBack(0),
    falls: [...message.falls, { channel: channel.name, why, at: now, detail: error }],
  });
  if (result.outcome === 'rejected') {
    if (uncertain) return { ...base, state: 'unknown', error };
    return isFixed(message) ? { ...base, state: 'failed', error } : fall('rejected');
  }
  const wanted = result.outcome === 'retry' ? result.retryAfterMs : undefined;
  const retryInMs = retryAfterTriesMs(message.tries, deps.random(), wanted);
  // What may have gone out keeps its words and its claim's form until it is repeated or given up.
  if (uncertain) {
    if (!channel.idempotent || triesUsedUp(message)) return { ...base, state: 'unknown', error };
    return { ...base, state: 'sending', error, retryInMs };
  }
  if (!triesUsedUp(message)) return putBack(retryInMs);
  return isFixed(message) ? { ...base, state: 'dead', error } : fall('exhausted');
}

export function triesUsedUp(message: OpenMessage): boolean {
  return message.tries >= (isFixed(message) ? MAX_TRIES_FIXED : MAX_TRIES);
}

/** Sent by one channel, whatever becomes of it there. */
function isFixed({ purpose }: OpenMessage): boolean {
  return purpose === 'test' || purpose === 'alert';
}

/**
 * After messages have ended for good: moves `told` for those that were heard, or may have been, and opens a notice
 * where the booking differs by now from what the message said. The caller holds the bookings' locks.
 */
export async function followUp(
  db: Db,
  ended: readonly { readonly message: OpenMessage; readonly heard: boolean }[],
  scene: {
    readonly bookings: ReadonlyMap<string, StoredBooking>;
    readonly companies: ReadonlyMap<number, Company>;
    readonly now: EpochMs;
  },
): Promise<void> {
  const told = new Map<string, ToldByRecipient>();
  const notices: DueNotice[] = [];
  for (const { message, heard } of ended) {
    const { companyId, recordId, recipient, step, after } = message;
    const company = scene.companies.get(companyId);
    if (message.purpose !== 'notice' || recordId === null || after === null || company === undefined)
      continue;
    const key = bookingKey({ companyId, recordId });
    const stored = scene.bookings.get(key);
    if (stored === undefined) continue;
    const before = told.get(key) ?? stored.told;
    const moved = heard
      ? { ...before, [recipient]: { facts: after, step, how: 'message' as const } }
      : before;
    if (heard) told.set(key, moved);
    const facts = factsFor(recipient, stored.booking, company.zone);
    if (hasBegun(stored.booking, company.zone, scene.now) || sameFacts(after, facts)) continue;
    const last = moved[recipient];
    const notice = noticeBetween(last?.facts ?? null, facts);
    if (notice === null) continue;
    const dueAt = Math.max(scene.now + settleMsOf(company.policy, notice.kind), stored.doubtUntil ?? 0);
    notices.push({
      companyId,
      recordId,
      recipient,
      id: newId(),
      step: (last?.step ?? 0) + 1,
      dueAt,
      now: scene.now,
    });
  }
  const updates = [...told].flatMap(([key, value]) => {
    const stored = scene.bookings.get(key);
    return stored === undefined
      ? []
      : [{ companyId: stored.companyId, recordId: stored.recordId, told: value }];
  });
  await Promise.all([saveTold(db, updates), openNotices(db, notices)]);
}
