/**
 * The verdict on a service: what it believes and what it said, against the salon's own ledger.
 *
 * Written apart from `src/domain/notice.ts` on purpose, so that it can catch that module's mistakes.
 *
 * Per record and client, the sent messages are taken in the order of their sending. What the client has *heard* is
 * what the last of them said; before the first it is nothing, or, for a record that existed before the simulation,
 * the state in which it was first delivered whole (the silent baseline). Two things said are *the same* when both mean
 * "you have no visit" (nothing heard, or cancelled), or both mean a visit at the same time, with the same staff and
 * the same services whatever their order. A message is
 * - `told_twice` when it says the same as what was heard;
 * - `told_wrong` when its `before` is not what was heard; when its `kind` is not the difference it states; when what
 *   it says was never true, or not yet, or is older than what was told before; when it was no longer true as it left
 *   (something else had been delivered more than `slackMs` before); or when the visit had begun by more than that;
 * - `told_once` otherwise.
 * A message to a client known for longer than that to want none is `told_wrong` too. A client of a visit that is still
 * ahead, who at the end has heard something else than the truth and has not refused messages, is `not_told`.
 *
 * `state_differs` counts records whose state, start, staff, services, client, attendance, deletion or payment is not
 * the ledger's last, records the service does not have, and records it invented.
 */
import type { EpochMs } from '../domain/time.ts';
import { inventedMessages, type Judge, judgeRecord, saidMessages, servicesInWords } from './judge.ts';
import type { Ledger, LedgerRecord, TrueState } from './ledger.ts';
import type { Finding, ServiceBooking, ServiceState, Verdict } from './verdict.ts';

export type CompareOptions = {
  /** When the service's state was taken, everything in it having settled. */
  readonly checkedAt: EpochMs;
  /**
   * How long a message may be on its way out: from the last look at the booking to `sentAt`, and from an answered
   * webhook to the booking. Not the settle time: what arrives while a notice settles must be in it.
   */
  readonly slackMs?: number;
};

export const SLACK_MS = 2_000;

export function compare(ledger: Ledger, service: ServiceState, options: CompareOptions): Verdict {
  const judge: Judge = {
    slackMs: options.slackMs ?? SLACK_MS,
    checkedAt: options.checkedAt,
    refusals: new Map(ledger.refusals.map(({ clientId, answeredAt }) => [clientId, answeredAt])),
  };
  const said = saidMessages(service.messages);
  const verdicts = ledger.records.map(record => judgeRecord(record, said.get(record.recordId) ?? [], judge));
  const details = [
    ...stateFindings(ledger, service.bookings),
    ...verdicts.flatMap(({ findings }) => findings),
    ...inventedMessages(ledger, said),
  ];
  const count = (verdict: Finding['verdict']) => details.filter(one => one.verdict === verdict).length;
  return {
    bookings: ledger.records.length,
    state_differs: count('state_differs'),
    told_once: verdicts.reduce((sum, verdict) => sum + verdict.toldOnce, 0),
    told_twice: count('told_twice'),
    told_wrong: count('told_wrong'),
    not_told: count('not_told'),
    details,
  };
}

/** Whether everything was as it should be. */
export function isClean(verdict: Verdict): boolean {
  return verdict.state_differs + verdict.told_twice + verdict.told_wrong + verdict.not_told === 0;
}

function stateFindings(ledger: Ledger, bookings: readonly ServiceBooking[]): Finding[] {
  const byRecord = new Map(bookings.map(booking => [booking.recordId, booking]));
  const known = new Set(ledger.records.map(record => record.recordId));
  const differing = ledger.records.flatMap(record => {
    const why = difference(record, byRecord.get(record.recordId));
    return why === null ? [] : [{ verdict: 'state_differs', recordId: record.recordId, why } as const];
  });
  const invented = bookings
    .filter(booking => !known.has(booking.recordId))
    .map(
      ({ recordId }) =>
        ({ verdict: 'state_differs', recordId, why: 'no webhook told of this record' }) as const,
    );
  return [...differing, ...invented];
}

/** In words, or null when the service has the truth of this record. */
function difference(record: LedgerRecord, booking: ServiceBooking | undefined): string | null {
  const last = record.states.at(-1);
  if (last === undefined) return null;
  if (booking === undefined) return 'the service does not have it';
  const onlyDeletion = record.states.every(
    state => state.carries === 'nothing' || state.carries === 'deletion',
  );
  const knowsClient = record.states.some(state => state.carries === 'everything');
  const differing = onlyDeletion
    ? sameOrName('deleted', booking.deleted, last.deleted)
    : differingFields(last, booking, knowsClient);
  return differing.length === 0 ? null : differing.join('; ');
}

function differingFields(last: TrueState, booking: ServiceBooking, knowsClient: boolean): string[] {
  const { facts } = last;
  return [
    ...(acceptedStates(last).includes(booking.state) ? [] : [`state is ${booking.state}, not ${last.state}`]),
    ...sameOrName('startsLocal', booking.startsLocal, facts.startsLocal),
    ...sameOrName('staffId', booking.staffId, facts.staffId),
    ...sameOrName('services', servicesInWords(booking.services ?? []), servicesInWords(facts.services)),
    ...(knowsClient ? sameOrName('clientId', booking.clientId ?? null, facts.clientId) : []),
    ...sameOrName('deleted', booking.deleted ?? false, last.deleted),
    ...sameOrName('attendance', booking.attendance, last.attendance),
    ...sameOrName('paid', booking.paid, last.paid),
  ];
}

/**
 * A cancellation by attendance -1 that is touched again after the visit's hour may be read as a no-show: the wire
 * does not say since when it is -1.
 */
function acceptedStates(last: TrueState): readonly string[] {
  const byAttendance = last.state === 'cancelled' && !last.deleted;
  return byAttendance && last.version >= last.startsAt ? ['cancelled', 'no_show'] : [last.state];
}

function sameOrName(name: string, is: unknown, should: unknown): string[] {
  return is === should ? [] : [`${name} is ${is}, not ${should}`];
}
