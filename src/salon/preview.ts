/** What a policy would say of a booking, to whom, when, and why not: nothing is written and nothing is sent. */

import { batchHour } from '../domain/batch.ts';
import type { Booking } from '../domain/booking.ts';
import { nextDigest } from '../domain/digest.ts';
import { concerned } from '../domain/notice.ts';
import type { Origin } from '../domain/origin.ts';
import { overLimit, type PlanInput, type PlannedPurpose, plan, type Wanted } from '../domain/plan.ts';
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
import { type Visit, visitsOf } from '../domain/visit.ts';
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
    /** What it counts from, and what put it off. */
    readonly why: string;
    /** What has to come first, of a message after a visit that is still to come; null: nothing. */
    readonly if: string | null;
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
  return previewOf(company, 0, booking, input, { ofBooking: [], left: [] });
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
      { ofBooking: [], left: [] },
    );
  }
  const client = { companyId, clientId };
  const read = await readKnown(db, new Map([[companyId, company]]), [client], now);
  const wishes = (await findWishes(db, [client]))[0];
  const rows = plannedOf(read, client).filter(row => !row.open);
  const ofBooking = rows.filter(row => row.covers.some(one => one.recordId === recordId));
  const left = rows.flatMap(({ purpose, leftAt }) => (leftAt === null ? [] : [{ purpose, leftAt }]));
  const input = inputFor(read, company, client, wishes, now);
  return previewOf(company, recordId, stored.booking, input, { ofBooking, left });
}

/** What was said of the booking, and what left for its client of any. */
type Said = {
  readonly ofBooking: readonly {
    readonly purpose: string;
    readonly rule: string;
    readonly sentAt: EpochMs | null;
  }[];
  readonly left: readonly { readonly purpose: PlannedPurpose; readonly leftAt: EpochMs }[];
};

function previewOf(
  company: Company,
  recordId: number,
  booking: Booking,
  input: PlanInput,
  { ofBooking, left }: Said,
): Preview {
  const { companyId, policy, zone } = company;
  const visit = visitsOf(input.bookings, zone).find(({ records }) =>
    records.some(one => one.recordId === recordId),
  );
  const origin = booking.fields.origin ?? 'unknown';
  const { wanted, unwanted } = plan(input);
  const first = visit?.records[0].recordId;
  const ahead = [...withinLimits(wanted, left, company), ...afterwards(input, visit)];
  const ours = ahead.filter(message => message.recordId === first);
  const not = [
    ...unwanted,
    ...ours.flatMap(message => (message.over === null ? [] : [{ ...message, why: message.over }])),
  ];
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
    messages: ours
      .filter(({ over }) => over === null)
      .map(message => ({
        ...{ purpose: message.purpose, rule: message.rule, at: new Date(message.sendAt).toISOString() },
        ...{ atLocal: wallOf(message.sendAt, zone), why: whyOf(message, zone), if: message.if },
      })),
    said: ofBooking.map(({ purpose, rule, sentAt }) => ({
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
        : not
            .filter(message => message.recordId === first)
            // What a visit to come is wanted for after it is said above, with what has to come first.
            .filter(({ rule }) => !ours.some(message => message.rule === rule && message.if !== null))
            .map(({ purpose, rule, why }) => ({ purpose, rule, why })),
  };
}

type Ahead = Wanted & { readonly if: string | null; readonly over: string | null };

/** In the order of their moments, as the day's limits of the client are used up. */
function withinLimits(
  wanted: readonly Wanted[],
  left: Said['left'],
  { policy, zone }: Company,
): readonly Ahead[] {
  const dayOf = (at: EpochMs) => wallOf(at, zone).slice(0, 10);
  const days = new Map<string, PlannedPurpose[]>();
  const said = (day: string, purpose: PlannedPurpose) => days.set(day, [...(days.get(day) ?? []), purpose]);
  for (const { purpose, leftAt } of left) said(dayOf(leftAt), purpose);
  return wanted
    .toSorted((one, other) => one.sendAt - other.sendAt)
    .map(message => {
      const day = dayOf(message.sendAt);
      const over = overLimit(policy.limits, days.get(day) ?? [], message.purpose);
      if (over === null) said(day, message.purpose);
      return { ...message, if: null, over };
    });
}

const IFS = [
  {
    attendance: 1,
    purposes: { review: 'they come', rebook: 'they come, allow advertising and do not book again' },
  },
  { attendance: -1, purposes: { no_show: 'they are marked as absent and do not book again' } },
] as const;

/** What would follow a visit that is still to come: the plan as it would be once its end was marked. */
function afterwards(input: PlanInput, visit: Visit | undefined): readonly Ahead[] {
  if (
    visit === undefined ||
    !visit.records.every(({ state }) => state === 'waiting' || state === 'confirmed')
  )
    return [];
  const ours = new Set(visit.records.map(({ recordId }) => recordId));
  return IFS.flatMap(({ attendance, purposes }) => {
    const bookings = input.bookings.map(({ recordId, booking }) => {
      if (!ours.has(recordId)) return { recordId, booking };
      const { fields, fieldVersions } = booking;
      const marked = { ...fieldVersions, attendance: visit.endsAt };
      return {
        recordId,
        booking: { fields: { ...fields, attendance }, version: visit.endsAt, fieldVersions: marked },
      };
    });
    const client = { ...input.client, wantsAdvertising: true };
    return plan({ ...input, bookings, client }).wanted.flatMap(message => {
      const words = Object.entries(purposes).find(([purpose]) => purpose === message.purpose)?.[1];
      return words === undefined ? [] : [{ ...message, if: words, over: null }];
    });
  });
}

const COUNTED_FROM: { readonly [purpose in PlannedPurpose]: string } = {
  reminder: '',
  review: 'after the visit, or the mark that they came',
  no_show: 'after the hour of the visit, or the mark that they are absent',
  rebook: 'after the visit',
};

function whyOf({ purpose, rule, moment, plannedFor, sendAt }: Wanted, zone: string): string {
  const counted =
    purpose === 'reminder' ? (/ /.test(rule) ? rule : `${rule} before it`) : COUNTED_FROM[purpose];
  const off =
    plannedFor > moment ? `; put off by the quiet hours, from ${wallOf(moment, zone).slice(11, 16)}` : '';
  return `${counted}${off}${sendAt > plannedFor ? '; it could not leave in time' : ''}`;
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
