/**
 * Digests: one loop puts the digest of the day into the outbox when its hour has come, the claim counts what it says. Any
 * number of processes may do either: a digest is one row a day and administrator.
 */
import { type Digest, digestOf, dueDigest, isEmpty, LATELY_MS } from '../domain/digest.ts';
import { memberRecipient } from '../domain/team.ts';
import { type EpochMs, instantOf, shiftDays } from '../domain/time.ts';
import { newId } from '../ids.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { findDayBookings } from '../store/bookings.ts';
import { type Company, findCompanies } from '../store/companies.ts';
import { addDigests, countLately, findUnreached, listDigested } from '../store/digests.ts';
import type { OpenMessage } from '../store/messages.ts';
import type { Db, Pool } from '../store/pool.ts';
import { createLoop, type Loop } from './loop.ts';

/** A digest is asked for by the minute. */
const IDLE_MS = 30_000;

export type DigestDeps = {
  readonly pool: Pool;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly now: () => EpochMs;
  /** Something was put into the outbox. */
  readonly onMessages: () => void;
};

export type Digester = Loop & {
  /** Puts what is due into the outbox; returns how many digests were new. */
  runOnce(): Promise<number>;
};

export function createDigester(deps: DigestDeps): Digester {
  const { pool, log, metrics, onMessages } = deps;

  async function runOnce(): Promise<number> {
    const now = deps.now();
    const companies = await findCompanies(pool, await listDigested(pool));
    const added = await addDigests(
      pool,
      [...companies.values()].flatMap(company => dueOf(company, now)),
      now,
    );
    if (added > 0) onMessages();
    return added;
  }

  return { ...createLoop({ name: 'digest', log, metrics, idleMs: IDLE_MS, runOnce }), runOnce };
}

function dueOf({ companyId, policy, zone, team }: Company, now: EpochMs) {
  const due = dueDigest(policy, zone, now);
  if (due === null) return [];
  return team
    .filter(({ role, since }) => role === 'administrator' && since <= due.at)
    .map(member => ({
      ...{ companyId, id: newId(), recipient: memberRecipient(member) },
      ...{ step: due.step, at: due.at },
    }));
}

/** What digests that are due would say, by company. No statement where none is. */
export async function readDigests(
  db: Db,
  companies: ReadonlyMap<number, Company>,
  messages: readonly Pick<OpenMessage, 'companyId' | 'purpose'>[],
  now: EpochMs,
): Promise<Map<number, Digest>> {
  const due = messages.filter(({ purpose }) => purpose === 'digest').map(({ companyId }) => companyId);
  const digests = new Map<number, Digest>();
  for (const companyId of new Set(due)) {
    const company = companies.get(companyId);
    const time = company && dueDigest(company.policy, company.zone, now);
    if (company && time) digests.set(companyId, await readDigest(db, company, time.about, now));
  }
  return digests;
}

async function readDigest(db: Db, { companyId, zone }: Company, day: string, now: EpochMs): Promise<Digest> {
  const midnight = `${day}T00:00:00` as const;
  const from = instantOf(midnight, zone);
  const bookings = await findDayBookings(db, companyId, {
    from,
    to: instantOf(shiftDays(midnight, 1), zone),
  });
  const lately = await countLately(db, companyId, now - LATELY_MS, now);
  const unreached = await findUnreached(db, companyId, bookings);
  return digestOf({ day, zone, bookings, lately, unreached });
}

export type DigestVerdict =
  | { readonly do: 'say'; readonly digest: Digest }
  | { readonly do: 'end'; readonly state: 'unknown' | 'superseded' | 'expired'; readonly error: string };

/** What becomes of a digest that is due; `digest` is what it would say, absent when its time is over. */
export function judgeDigest(
  { plannedFor }: Pick<OpenMessage, 'plannedFor'>,
  { policy, quietUntil }: Company,
  digest: Digest | undefined,
): DigestVerdict {
  if (quietUntil !== null && plannedFor !== null && plannedFor <= quietUntil) {
    const error = 'a backup was restored; it may have been said before that';
    return { do: 'end', state: 'unknown', error };
  }
  if (digest === undefined) return { do: 'end', state: 'expired', error: 'it is too late for it' };
  if (isEmpty(digest) && !policy.team.digest.whenEmpty) {
    return { do: 'end', state: 'superseded', error: 'there is nothing to say' };
  }
  return { do: 'say', digest };
}
