/** What a policy would say of a booking, to whom, when, and why not: nothing is written and nothing is sent. */

import { batchHour } from '../domain/batch.ts';
import type { Booking } from '../domain/booking.ts';
import { nextDigest } from '../domain/digest.ts';
import { concerned } from '../domain/notice.ts';
import type { Origin } from '../domain/origin.ts';
import { type PlanInput, plan } from '../domain/plan.ts';
import {
  IN_DIGEST,
  NOTICE_KINDS,
  type Policy,
  type PolicyDocument,
  policyOf,
  settleMsOf,
  tells,
} from '../domain/policy.ts';
import { noticeAfterQuiet } from '../domain/quiet.ts';
import { AUDIENCES, type Audience, memberRecipient, type Role } from '../domain/team.ts';
import { type EpochMs, wallOf } from '../domain/time.ts';
import { visitsOf } from '../domain/visit.ts';
import { MissingError } from '../log.ts';
import { bookingKey, findBookings, type StoredBooking } from '../store/bookings.ts';
import type { Company } from '../store/companies.ts';
import { findWishes } from '../store/plans.ts';
import type { Db } from '../store/pool.ts';
import { inputFor, plannedOf, readKnown } from '../work/plan.ts';
import { requireCompany } from './companies.ts';

/** A booking that there is, or one that there might be. */
export type PreviewOf =
  | { readonly recordId: number }
  | {
      readonly startsLocal: string;
      readonly durationSeconds: number;
      readonly origin: Origin;
      /** With this master, by the platform's id. */
      readonly staffId?: number | undefined;
      /** Now, unless given. */
      readonly madeAt?: EpochMs | undefined;
    };

export type Preview = {
  readonly companyId: number;
  readonly zone: string;
  readonly booking: {
    readonly startsLocal: string | null;
    readonly origin: Origin;
    readonly records: readonly number[];
  };
  /** Of each change that might come: who would hear of it, and how long it waits for the next. */
  readonly changes: readonly {
    readonly kind: string;
    readonly to: readonly Audience[];
    readonly settleMs: number;
  }[];
  /** Those of the team whom it concerns, and until when they would wait for news of it that came now. */
  readonly team: readonly {
    readonly memberId: number;
    readonly role: Role;
    readonly staffId: number | null;
    readonly notBefore: string;
    /** With what else happens until then in one message (`15m`), or in the `digest` alone; null: each by itself. */
    readonly gather: string | null;
  }[];
  /** The administrators' next one; null where the policy wants none or there is nobody to read it. */
  readonly digest: { readonly at: string; readonly atLocal: string; readonly about: string } | null;
  readonly messages: readonly {
    readonly purpose: string;
    readonly rule: string;
    readonly at: string;
    readonly atLocal: string;
  }[];
  /** Sent, or leaving now. */
  readonly said: readonly { readonly purpose: string; readonly rule: string; readonly at: string | null }[];
  readonly not: readonly { readonly purpose: string; readonly rule: string; readonly why: string }[];
};

export async function previewPolicy(
  db: Db,
  companyId: number,
  about: PreviewOf,
  { document, now }: { readonly document?: PolicyDocument | undefined; readonly now: EpochMs },
): Promise<Preview> {
  const known = await requireCompany(db, companyId);
  const company: Company = document === undefined ? known : { ...known, policy: policyOf(document) };
  if ('recordId' in about) return previewStored(db, company, about.recordId, now);
  const { startsLocal, durationSeconds, origin, staffId, madeAt = now } = about;
  const fields = {
    startsLocal,
    durationSeconds,
    origin,
    createdAt: madeAt,
    attendance: 0,
    deleted: false,
    // Somebody's: an hour that is blocked is told nobody.
    clientId: 0,
    ...(staffId === undefined ? {} : { staffId }),
  } as const;
  const booking: Booking = { fields, version: now, fieldVersions: {} };
  const input: PlanInput = {
    bookings: [{ recordId: 0, booking }],
    client: { refuses: false, wantsAdvertising: false },
    ...{ policy: company.policy, zone: company.zone, now, said: [], open: [] },
  };
  return previewOf(company, 0, booking, input, []);
}

async function previewStored(db: Db, company: Company, recordId: number, now: EpochMs): Promise<Preview> {
  const { companyId, policy, zone } = company;
  const key = { companyId, recordId };
  const stored: StoredBooking | undefined = (await findBookings(db, [key])).get(bookingKey(key));
  if (stored === undefined) throw new MissingError(`there is no booking ${recordId} in company ${companyId}`);
  const { clientId } = stored.booking.fields;
  if (typeof clientId !== 'number') {
    const client = { refuses: false, wantsAdvertising: false };
    return previewOf(
      company,
      recordId,
      stored.booking,
      { bookings: [], client, policy, zone, now, said: [], open: [] },
      [],
    );
  }
  const client = { companyId, clientId };
  const read = await readKnown(db, new Map([[companyId, company]]), [client], now);
  const wishes = (await findWishes(db, [client]))[0];
  const rows = plannedOf(read, client).filter(
    row => !row.open && row.covers.some(one => one.recordId === recordId),
  );
  return previewOf(company, recordId, stored.booking, inputFor(read, company, client, wishes, now), rows);
}

function previewOf(
  company: Company,
  recordId: number,
  booking: Booking,
  input: PlanInput,
  said: readonly { readonly purpose: string; readonly rule: string; readonly sentAt: EpochMs | null }[],
): Preview {
  const { companyId, policy, zone } = company;
  const visit = visitsOf(input.bookings, zone).find(({ records }) =>
    records.some(one => one.recordId === recordId),
  );
  const origin = booking.fields.origin ?? 'unknown';
  const { wanted, unwanted } = plan(input);
  const first = visit?.records[0].recordId;
  const ours = wanted.filter(message => message.recordId === first);
  return {
    ...{ companyId, zone },
    booking: {
      startsLocal: booking.fields.startsLocal ?? null,
      origin,
      records: visit?.records.map(one => one.recordId) ?? [],
    },
    changes: NOTICE_KINDS.map(kind => ({
      kind,
      to: audienceOf(policy, kind, origin),
      settleMs: settleMsOf(policy, kind),
    })),
    ...teamPreview(company, booking, input.now),
    messages: ours.map(({ purpose, rule, sendAt }) => ({
      ...{ purpose, rule, at: new Date(sendAt).toISOString() },
      atLocal: wallOf(sendAt, zone),
    })),
    said: said.map(({ purpose, rule, sentAt }) => ({
      ...{ purpose, rule },
      at: sentAt === null ? null : new Date(sentAt).toISOString(),
    })),
    not:
      visit === undefined
        ? [
            {
              purpose: 'any',
              rule: 'any',
              why: 'it is called off, is long over, or has no client or no hour',
            },
          ]
        : unwanted
            .filter(message => message.recordId === first)
            .map(({ purpose, rule, why }) => ({ purpose, rule, why })),
  };
}

function teamPreview(
  { policy, zone, team }: Company,
  booking: Booking,
  now: EpochMs,
): Pick<Preview, 'team' | 'digest'> {
  const next = team.some(({ role }) => role === 'administrator') ? nextDigest(policy, zone, now) : null;
  return {
    team: concerned(booking, team).map(member => {
      const { memberId, role, staffId } = member;
      const gather = role === 'administrator' ? policy.team.administrator.gather : null;
      const alone =
        batchHour(policy, memberRecipient(member), zone, now) ?? noticeAfterQuiet(policy, role, now, zone);
      const notBefore = gather === IN_DIGEST && next !== null ? next.at : alone;
      return { memberId, role, staffId, notBefore: new Date(notBefore).toISOString(), gather };
    }),
    digest: next && {
      at: new Date(next.at).toISOString(),
      ...{ atLocal: wallOf(next.at, zone), about: next.about },
    },
  };
}

function audienceOf(policy: Policy, kind: (typeof NOTICE_KINDS)[number], origin: Origin): Audience[] {
  return AUDIENCES.filter(audience => tells(policy, kind, origin, audience));
}
