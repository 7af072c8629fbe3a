/**
 * The plan: which messages one client is to get before and after their visits, and when. A pure function of their
 * bookings, the salon's policy and what was said already, asked again on every change and once more before sending.
 * So a move, a cancellation, a return, another policy, zone or refusal need no case of their own: what is wanted by
 * then is compared with what is stored (`compareWithPlan`).
 *
 * A reminder is one a visit and reminder time: it is wanted until it was said of a record of the visit at its present
 * hour, and again if the visit has come to begin earlier than was said. What was not planned before its moment is not
 * said late, so that nobody who booked at noon is told at once that this is a day ahead; what was planned and could not
 * leave in time leaves later, while it is of use.
 */
import { attendanceSaidAt, type Booking } from './booking.ts';
import type { Category, Policy } from './policy.ts';
import { afterQuiet } from './quiet.ts';
import { parseReminderTime, reminderMoment } from './reminder-time.ts';
import type { EpochMs, Wall } from './time.ts';
import { type Visit, type VisitRecord, visitsOf } from './visit.ts';

export type PlannedPurpose = 'reminder' | 'review' | 'no_show' | 'rebook';

export const CATEGORY_OF: { readonly [purpose in PlannedPurpose]: Category } = {
  reminder: 'reminders',
  review: 'afterVisit',
  no_show: 'afterVisit',
  rebook: 'advertising',
};

/** A record at an hour, of which a message speaks. */
export type Covered = { readonly recordId: number; readonly startsLocal: Wall };

/** A message that was planned: by a reminder's name (`24h`), or the purpose where there is one rule for it. */
export type PlannedMessage = { readonly rule: string; readonly covers: readonly Covered[] };

export type PlanInput = {
  /** All that begin after the plan looks back (`lookBackMs`), one client's. */
  readonly bookings: readonly { readonly recordId: number; readonly booking: Booking }[];
  readonly client: { readonly refuses: boolean; readonly wantsAdvertising: boolean };
  readonly policy: Policy;
  readonly zone: string;
  readonly now: EpochMs;
  /** Told, perhaps told, or leaving at this moment. */
  readonly said: readonly PlannedMessage[];
  /** Planned before and not sent yet. */
  readonly open: readonly PlannedMessage[];
};

export type Wanted = {
  readonly purpose: PlannedPurpose;
  readonly rule: string;
  readonly visit: Visit;
  /** The record that stands for the visit: its first. */
  readonly recordId: number;
  readonly covers: readonly Covered[];
  /** The moment that the rule names. */
  readonly moment: EpochMs;
  /** The moment by the policy, quiet hours included. */
  readonly plannedFor: EpochMs;
  /** The same, or a later one where that has passed without the message leaving. */
  readonly sendAt: EpochMs;
  /** From then on it is of no use. */
  readonly until: EpochMs;
};

/** What a rule came to for a visit without a message, and why. */
export type Unwanted = {
  readonly purpose: PlannedPurpose;
  readonly rule: string;
  readonly recordId: number;
  readonly why: string;
};

export type Plan = { readonly wanted: readonly Wanted[]; readonly unwanted: readonly Unwanted[] };

const DAY_MS = 86_400_000;
/** A message after a visit that could not leave for so long is not sent any more. */
const AFTER_VISIT_USE_MS = 2 * DAY_MS;

/** How far back from now a client's bookings still matter to their plan. */
export function lookBackMs({ afterVisit }: Policy): number {
  const { reviewMs, noShowMs, rebookMs } = afterVisit;
  return Math.max(reviewMs ?? 0, noShowMs ?? 0, rebookMs ?? 0) + AFTER_VISIT_USE_MS + 2 * DAY_MS;
}

/** Whether the policy plans anything at all. */
export function plansAhead({ reminders, afterVisit }: Policy): boolean {
  return reminders.at.length > 0 || Object.values(afterVisit).some(delay => delay !== null);
}

const PLANNED_BY = [
  'startsLocal',
  'durationSeconds',
  'visitId',
  'clientId',
  'attendance',
  'deleted',
  'createdAt',
] as const;

/** Whether a booking has changed in something that its client's plan looks at. */
export function concernsPlan(before: Booking | null, after: Booking): boolean {
  return (
    before === null ||
    PLANNED_BY.some(name => before.fields[name] !== after.fields[name]) ||
    (isMark(after) && attendanceSaidAt(before) !== attendanceSaidAt(after))
  );
}

function isMark({ fields }: Booking): boolean {
  return fields.attendance === 1 || fields.attendance === -1;
}

export function plan(input: PlanInput): Plan {
  const visits = visitsOf(input.bookings, input.zone);
  const candidates = visits.flatMap(visit => [
    ...remindersOf(visit, input),
    ...afterVisit(visit, visits, input),
  ]);
  const wanted: Wanted[] = [];
  const unwanted: Unwanted[] = [];
  for (const candidate of candidates) {
    const result = 'why' in candidate ? candidate : weigh(candidate, input);
    if ('why' in result) unwanted.push(result);
    else wanted.push(result);
  }
  return { wanted, unwanted };
}

/** A message that the policy asks for, whatever was said and whatever the hour. */
type Candidate = Omit<Wanted, 'sendAt'>;

function candidate(
  about: { purpose: PlannedPurpose; rule: string; visit: Visit },
  times: Pick<Wanted, 'moment' | 'plannedFor' | 'until'>,
): Candidate {
  const { records } = about.visit;
  const covers = records.map(({ recordId, startsLocal }) => ({ recordId, startsLocal }));
  return { ...about, ...times, recordId: records[0].recordId, covers };
}

function remindersOf(visit: Visit, { policy, zone }: PlanInput): (Candidate | Unwanted)[] {
  const { reminders } = policy;
  const [{ recordId }] = visit.records;
  const latest = visit.startsAt - reminders.minimumLeadMs;
  const results: (Candidate | Unwanted)[] = [];
  // The least lead itself is still good.
  let next = latest + 1;
  let nextName = '';
  for (const { rule, moment } of reminderMoments(visit, policy, zone)) {
    const not = (why: string) => results.push({ purpose: 'reminder', rule, recordId, why });
    const plannedFor = moment > latest ? null : afterQuiet(policy, 'reminders', moment, zone);
    if (moment > latest) not('too close to the visit for the minimum lead');
    else if (plannedFor === null) not('it would fall into the quiet hours');
    else if (plannedFor > latest) not('the quiet hours end too close to the visit');
    else if (nextName !== '' && plannedFor >= next) not(`the quiet hours put it together with ${nextName}`);
    else if (plannedFor < madeAt(visit) + reminders.notIfBookedWithinMs) not('booked only just before it');
    else {
      // Of two that fall together the nearer one is kept, hence from the last to the first.
      results.push(candidate({ purpose: 'reminder', rule, visit }, { moment, plannedFor, until: next }));
      next = plannedFor;
      nextName = rule;
    }
  }
  return results.reverse();
}

/** The last one first. */
function reminderMoments(
  visit: Visit,
  { reminders }: Policy,
  zone: string,
): { readonly rule: string; readonly moment: EpochMs }[] {
  return reminders.at
    .flatMap(rule => {
      const time = parseReminderTime(rule);
      return time === undefined ? [] : [{ rule, moment: reminderMoment(time, visit.startsLocal, zone) }];
    })
    .sort((left, right) => right.moment - left.moment);
}

/** When the client last booked something of this visit; long ago where no body said it. */
function madeAt({ records }: Visit): EpochMs {
  return Math.max(...records.map(({ booking }) => booking.fields.createdAt ?? 0));
}

function afterVisit(visit: Visit, visits: readonly Visit[], input: PlanInput): (Candidate | Unwanted)[] {
  const { reviewMs, noShowMs, rebookMs } = input.policy.afterVisit;
  const came = visit.records.filter(record => record.state === 'arrived');
  const missed = visit.records.every(record => record.state === 'no_show');
  const later = visits.some(other => other.startsAt > visit.startsAt);
  const results: (Candidate | Unwanted)[] = [];
  if (reviewMs !== null) {
    const why = came.length === 0 ? 'the client was not marked as having come' : null;
    results.push(after('review', reviewMs, Math.max(visit.endsAt, saidAt(came)), why));
  }
  if (noShowMs !== null) {
    const why = !missed
      ? 'the client was not marked as absent'
      : later
        ? 'the client has booked again'
        : null;
    results.push(after('no_show', noShowMs, Math.max(visit.startsAt, saidAt(visit.records)), why));
  }
  if (rebookMs !== null) {
    const consent = input.client.wantsAdvertising ? null : 'advertising without the client’s consent';
    const again = later ? 'the client has booked again' : consent;
    const why = came.length === 0 ? 'the client was not marked as having come' : again;
    results.push(after('rebook', rebookMs, visit.endsAt, why));
  }
  return results;

  function after(
    purpose: Exclude<PlannedPurpose, 'reminder'>,
    delayMs: number,
    from: EpochMs,
    why: string | null,
  ): Candidate | Unwanted {
    const not = (reason: string) => ({
      purpose,
      rule: purpose,
      recordId: visit.records[0].recordId,
      why: reason,
    });
    if (why !== null) return not(why);
    const moment = from + delayMs;
    const plannedFor = afterQuiet(input.policy, CATEGORY_OF[purpose], moment, input.zone);
    if (plannedFor === null) return not('it would fall into the quiet hours');
    const until = visit.endsAt + delayMs + AFTER_VISIT_USE_MS;
    return candidate({ purpose, rule: purpose, visit }, { moment, plannedFor, until });
  }
}

/** When it was first said that they came, or that they did not, of the last record: it is often marked in the evening. */
function saidAt(records: readonly VisitRecord[]): EpochMs {
  return Math.max(0, ...records.map(({ booking }) => attendanceSaidAt(booking)));
}

/** Why one more of this day's is too many for the client, or null. `today`: what left, leaves or would leave before it. */
export function overLimit(
  { perDay, advertisingPerDay }: Policy['limits'],
  today: readonly PlannedPurpose[],
  purpose: PlannedPurpose,
): string | null {
  if (perDay !== null && today.length >= perDay) return 'the limit of messages a day is reached';
  if (CATEGORY_OF[purpose] !== 'advertising' || advertisingPerDay === null) return null;
  const advertising = today.filter(other => CATEGORY_OF[other] === 'advertising').length;
  return advertising >= advertisingPerDay ? 'the limit of advertising a day is reached' : null;
}

/** Whether a candidate is still to be said, and when. */
function weigh(candidate: Candidate, input: PlanInput): Wanted | Unwanted {
  const { purpose, rule, visit, recordId, plannedFor, until } = candidate;
  const not = (why: string): Unwanted => ({ purpose, rule, recordId, why });
  if (input.client.refuses) return not('the client does not want messages');
  if (
    purpose === 'reminder' &&
    visit.records.some(record => record.state !== 'waiting' && record.state !== 'confirmed')
  ) {
    return not('the client is there already, or was marked as absent');
  }
  if (input.said.some(message => message.rule === rule && hasSaid(message, candidate)))
    return not('it was said');
  if (plannedFor >= input.now) {
    return plannedFor < until ? { ...candidate, sendAt: plannedFor } : not('it would be too late');
  }
  const stands = input.open.some(message => message.rule === rule && speaksOf(message, candidate));
  if (!stands) return not('its moment had passed before it was planned');
  const sendAt = afterQuiet(input.policy, CATEGORY_OF[purpose], input.now, input.zone);
  if (sendAt === null || sendAt >= until) return not('it is too late for it');
  return { ...candidate, sendAt };
}

/**
 * Whether a message has told of the visit: of one of its records, and of a beginning no later than it has now. Who was
 * told of noon would miss a visit that has come to begin at ten.
 */
function hasSaid(message: PlannedMessage, candidate: Candidate): boolean {
  const begins = candidate.visit.startsLocal;
  return speaksOf(message, candidate) && message.covers.some(({ startsLocal }) => startsLocal <= begins);
}

/** Whether a message speaks of one of the records at the hour that it has now. */
function speaksOf(message: PlannedMessage, { covers }: Pick<Candidate, 'covers'>): boolean {
  return message.covers.some(said =>
    covers.some(now => now.recordId === said.recordId && now.startsLocal === said.startsLocal),
  );
}

/** A message as it is stored, not sent yet. */
export type StoredPlan = PlannedMessage & {
  readonly id: string;
  readonly plannedFor: EpochMs;
  readonly recordId: number;
};

export type PlanDifference = {
  readonly add: readonly Wanted[];
  /** The same message at another moment, or of other records. */
  readonly move: readonly { readonly id: string; readonly to: Wanted }[];
  readonly withdraw: readonly { readonly id: string; readonly why: string }[];
};

/** What leads from the messages that are stored to those that are wanted. */
export function compareWithPlan(stored: readonly StoredPlan[], { wanted, unwanted }: Plan): PlanDifference {
  const rest = [...stored];
  const add: Wanted[] = [];
  const move: { id: string; to: Wanted }[] = [];
  for (const to of wanted) {
    const index = rest.findIndex(message => message.rule === to.rule && message.recordId === to.recordId);
    const [message] = index < 0 ? [] : rest.splice(index, 1);
    if (message === undefined) add.push(to);
    else if (message.plannedFor !== to.plannedFor || !sameCovers(message.covers, to.covers)) {
      move.push({ id: message.id, to });
    }
  }
  const why = ({ rule, recordId }: StoredPlan) =>
    unwanted.find(other => other.rule === rule && other.recordId === recordId)?.why ??
    'the visit, or the rule, is not what it was';
  return { add, move, withdraw: rest.map(message => ({ id: message.id, why: why(message) })) };
}

export type PlannedDecision =
  | { readonly do: 'send'; readonly wanted: Wanted }
  | { readonly do: 'wait'; readonly until: EpochMs }
  | { readonly do: 'drop'; readonly why: string };

/** What becomes of a message that is due, by a plan made at this moment that was told of it as open. */
export function decidePlanned(
  message: Pick<StoredPlan, 'rule' | 'recordId' | 'covers'>,
  { wanted, unwanted }: Plan,
  now: EpochMs,
): PlannedDecision {
  const one = wanted.find(other => other.rule === message.rule && speaksOf(message, other));
  if (one !== undefined) {
    return one.sendAt <= now ? { do: 'send', wanted: one } : { do: 'wait', until: one.sendAt };
  }
  const why = unwanted.find(other => other.rule === message.rule && other.recordId === message.recordId)?.why;
  return { do: 'drop', why: why ?? 'the visit, or the rule, is not what it was' };
}

function sameCovers(left: readonly Covered[], right: readonly Covered[]): boolean {
  const key = ({ recordId, startsLocal }: Covered) => `${recordId} ${startsLocal}`;
  return left.map(key).sort().join() === right.map(key).sort().join();
}
