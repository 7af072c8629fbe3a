/**
 * Planned messages at the moment of sending: the plan is asked once more, with the world as it is now, and what is said
 * of each record is fixed.
 */
import { type Facts, factsFor, sameFacts } from '../domain/notice.ts';
import {
  CATEGORY_OF,
  type Covered,
  decidePlanned,
  overLimit,
  type PlannedPurpose,
  plan,
} from '../domain/plan.ts';
import { type EpochMs, wallOf } from '../domain/time.ts';
import type { Company } from '../store/companies.ts';
import type { Contact, OpenMessage, SaidRecord } from '../store/messages.ts';
import { inputFor, type Known, plannedOf } from './plan.ts';

export type PlannedVerdict =
  | { readonly do: 'say'; readonly visit: readonly SaidRecord[] }
  | { readonly do: 'wait'; readonly until: EpochMs }
  | { readonly do: 'drop'; readonly state: 'superseded' | 'unknown'; readonly error: string };

export type PlannedScene = {
  readonly known: Known;
  readonly company: Company;
  readonly clientId: number;
  readonly contact: Contact | undefined;
  readonly now: EpochMs;
  /** Planned messages of this batch that leave to this client. */
  readonly leaving: readonly PlannedPurpose[];
};

export function judgePlanned(message: OpenMessage, scene: PlannedScene): PlannedVerdict {
  const { known, company, clientId, contact, now } = scene;
  const drop = (error: string): PlannedVerdict => ({ do: 'drop', state: 'superseded', error });
  const { rule, recordId, plannedFor, purpose } = message;
  if (rule === null || recordId === null || plannedFor === null || !isPlanned(purpose)) {
    return drop('it is not planned');
  }
  if (company.quietUntil !== null && plannedFor <= company.quietUntil) {
    const error = 'a backup was restored; it may have been said before that';
    return { do: 'drop', state: 'unknown', error };
  }
  const client = { companyId: company.companyId, clientId };
  const input = inputFor(known, company, client, contact, now, message.id);
  const decision = decidePlanned({ rule, recordId, covers: message.visit ?? [] }, plan(input), now);
  if (decision.do === 'wait') return { do: 'wait', until: decision.until };
  if (decision.do === 'drop') return drop(decision.why);
  const visit = sayingOf(decision.wanted.covers, scene);
  const doubtUntil = doubtOf(decision.wanted.covers, scene);
  if (doubtUntil > now) return { do: 'wait', until: doubtUntil };
  const limit = overLimit(company.policy.limits, saidToday(message, scene), purpose);
  return limit === null ? { do: 'say', visit } : drop(limit);
}

export function isPlanned(purpose: OpenMessage['purpose']): purpose is PlannedPurpose {
  return purpose in CATEGORY_OF;
}

/** Whether what may have gone out is, word for word, what would be said now. */
export function saysTheSame(visit: OpenMessage['visit'], now: readonly SaidRecord[]): boolean {
  return (
    visit !== null &&
    visit.length === now.length &&
    now.every(record => {
      const said = visit.find(other => other.recordId === record.recordId);
      return said !== undefined && isWhole(said) && sameFacts(said, record);
    })
  );
}

function isWhole(record: Covered & Partial<Facts>): record is SaidRecord {
  return record.status !== undefined && record.services !== undefined && record.staffId !== undefined;
}

function sayingOf(covers: readonly Covered[], { known, company, clientId }: PlannedScene): SaidRecord[] {
  const bookings = known.bookings.get(`${company.companyId}:${clientId}`) ?? [];
  return covers.flatMap(({ recordId }) => {
    const stored = bookings.find(other => other.recordId === recordId);
    const facts = stored && factsFor(`client:${clientId}`, stored.booking, company.zone);
    return facts ? [{ recordId, ...facts }] : [];
  });
}

function doubtOf(covers: readonly Covered[], { known, company, clientId }: PlannedScene): EpochMs {
  const bookings = known.bookings.get(`${company.companyId}:${clientId}`) ?? [];
  const theirs = bookings.filter(({ recordId }) => covers.some(cover => cover.recordId === recordId));
  return Math.max(0, ...theirs.map(({ doubtUntil }) => doubtUntil ?? 0));
}

/** What left for this client today, and leaves in this batch, by whatever channel. */
function saidToday({ id }: OpenMessage, scene: PlannedScene): PlannedPurpose[] {
  const { known, company, clientId, now, leaving } = scene;
  const today = wallOf(now, company.zone).slice(0, 10);
  const sent = plannedOf(known, { companyId: company.companyId, clientId })
    // By another channel it is the same message.
    .filter(row => row.id !== id)
    .filter(({ leftAt }) => leftAt !== null && wallOf(leftAt, company.zone).startsWith(today))
    .map(row => row.purpose);
  return [...sent, ...leaving];
}
