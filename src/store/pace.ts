/**
 * The rows of slots by which all processes share a channel's rate: the same table as the budget of calls to the
 * platform. The account of a channel is one row; its chats share 65,536, by a digest of the address cut to 16 bits.
 */
import { createHash } from 'node:crypto';
import type { ChannelName } from '../channels/channel.ts';
import type { Row } from '../domain/pace.ts';
import { addFailure, endFailures, forgetFuture, IMPOSSIBLE_MS } from './budget.ts';
import type { Db } from './pool.ts';

/** A wait that one chat was asked for is not the account's for longer than this; the message itself keeps to it. */
const LONGEST_PAUSE_MS = 60_000;

export function accountScope(channel: ChannelName): string {
  return `send/${channel}`;
}

export function chatScope(channel: ChannelName, address: string): string {
  return `${accountScope(channel)}/${createHash('sha256').update(address).digest('hex').slice(0, 4)}`;
}

export type SlotRow = Row & {
  readonly scope: string;
  /** Failures in a row, after which a success is worth being told. */
  readonly failures: number;
};

/** Locks rows, made where there are none, in the order of their scopes. The caller holds bookings and messages already. */
export async function lockSlots(db: Db, scopes: readonly string[]): Promise<SlotRow[]> {
  const wanted = [...new Set(scopes)].sort();
  const found = await selectSlots(db, wanted);
  if (found.length < wanted.length) {
    await db.query({
      name: 'pace_add_slots',
      text: 'INSERT INTO api_budget (scope) SELECT unnest($1::text[]) ORDER BY 1 ON CONFLICT DO NOTHING',
      values: [wanted],
    });
    return selectSlots(db, wanted);
  }
  const impossible = found.filter(
    ({ freeInMs, pausedInMs, queuedInMs }) => Math.max(freeInMs, pausedInMs, queuedInMs) > IMPOSSIBLE_MS,
  );
  if (impossible.length === 0) return found;
  await forgetFuture(
    db,
    impossible.map(({ scope }) => scope),
    null,
  );
  return selectSlots(db, wanted);
}

async function selectSlots(db: Db, scopes: readonly string[]): Promise<SlotRow[]> {
  const { rows } = await db.query<{
    scope: string;
    free: number;
    paused: number;
    queued: number;
    failures: number;
  }>({
    name: 'pace_lock_slots',
    text: `SELECT scope, failures,
        extract(epoch FROM greatest(next_slot_at, asked.now) - asked.now)::float8 * 1000 AS free,
        extract(epoch FROM greatest(paused_until, asked.now) - asked.now)::float8 * 1000 AS paused,
        extract(epoch FROM greatest(queued_until, asked.now) - asked.now)::float8 * 1000 AS queued
      FROM api_budget, (SELECT clock_timestamp() AS now) AS asked
      WHERE scope = ANY ($1::text[]) ORDER BY scope FOR UPDATE OF api_budget`,
    values: [scopes],
  });
  return rows.map(({ scope, free, paused, queued, failures }) => ({
    ...{ scope, failures },
    ...{ freeInMs: free, pausedInMs: paused, queuedInMs: queued },
  }));
}

/** Writes back what was taken. The rows are locked. */
export async function saveSlots(db: Db, rows: readonly Omit<SlotRow, 'failures'>[]): Promise<void> {
  if (rows.length === 0) return;
  await db.query({
    name: 'pace_save_slots',
    text: `UPDATE api_budget b SET
        next_slot_at = asked.now + r.free * interval '1 millisecond',
        queued_until = asked.now + r.queued * interval '1 millisecond'
      FROM unnest($1::text[], $2::float8[], $3::float8[]) AS r (scope, free, queued),
        (SELECT clock_timestamp() AS now) AS asked
      WHERE b.scope = r.scope`,
    values: [rows.map(row => row.scope), rows.map(row => row.freeInMs), rows.map(row => row.queuedInMs)],
  });
}

/** The provider says that this account sends too often: nobody sends for a while, longer each time. */
export async function pauseSending(
  db: Db,
  channel: ChannelName,
  pause: { readonly askedMs: number; readonly stretch: number },
): Promise<void> {
  const askedMs = Math.min(pause.askedMs, LONGEST_PAUSE_MS);
  const failure = { outcome: 'limited', stretch: pause.stretch, askedMs, now: null } as const;
  await addFailure(db, accountScope(channel), failure);
}

/** A message was taken: the next pause is a short one again. */
export async function resumeSending(db: Db, channel: ChannelName): Promise<void> {
  await endFailures(db, accountScope(channel), null);
}

export type Pause = { readonly channel: string; readonly untilMs: number };

/** Channels that wait because their provider asked for it; for `doctor`. */
export async function readPauses(db: Db): Promise<Pause[]> {
  const { rows } = await db.query<{ scope: string; until: number }>(
    `SELECT scope, extract(epoch FROM paused_until)::float8 * 1000 AS until FROM api_budget
     WHERE scope LIKE 'send/%' AND paused_until > clock_timestamp() ORDER BY scope`,
  );
  return rows.map(({ scope, until }) => ({ channel: scope.slice('send/'.length), untilMs: until }));
}
