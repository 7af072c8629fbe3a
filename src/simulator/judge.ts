/** Judges the messages of one record: `verify.ts` says what the verdicts mean. */
import type { EpochMs } from '../domain/time.ts';
import type { Ledger, LedgerRecord, TrueState } from './ledger.ts';
import type { Finding, SaidFacts, SaidService, ServiceMessage } from './verdict.ts';

const SAID_STATES: readonly string[] = ['sent', 'delivered', 'unknown'];

export type Judge = {
  readonly slackMs: number;
  readonly checkedAt: EpochMs;
  /** By client: when it was first known that they want no messages. */
  readonly refusals: ReadonlyMap<number, EpochMs>;
};
export type Said = Omit<ServiceMessage, 'sentAt'> & { readonly sentAt: EpochMs; readonly clientId: number };
type RecordVerdict = { readonly toldOnce: number; readonly findings: readonly Finding[] };

/** By record, in the order of sending. */
export function saidMessages(messages: readonly ServiceMessage[]): Map<number, Said[]> {
  const said = messages
    .flatMap(message => {
      const clientId = clientIdOf(message.recipient);
      if (clientId === undefined || !SAID_STATES.includes(message.state) || message.sentAt === null)
        return [];
      return [{ ...message, sentAt: message.sentAt, clientId }];
    })
    .sort((left, right) => left.sentAt - right.sentAt);
  return Map.groupBy(said, message => message.recordId);
}

function clientIdOf(recipient: string): number | undefined {
  const [kind, id] = recipient.split(':');
  return kind === 'client' && id !== undefined ? Number(id) : undefined;
}

export function inventedMessages(ledger: Ledger, said: ReadonlyMap<number, readonly Said[]>): Finding[] {
  const known = new Set(ledger.records.map(record => record.recordId));
  return [...said.values()]
    .flat()
    .filter(message => !known.has(message.recordId))
    .map(({ recordId, recipient }) => ({
      verdict: 'told_wrong',
      recordId,
      recipient,
      why: 'no webhook told of this record',
    }));
}

export function judgeRecord(record: LedgerRecord, said: readonly Said[], judge: Judge): RecordVerdict {
  const owners = record.states.flatMap(({ facts }) => facts.clientId ?? []);
  const clients = new Set([...owners, ...said.map(message => message.clientId)]);
  const verdicts = [...clients].map(clientId => {
    const theirs = said.filter(message => message.clientId === clientId);
    return judgeClient(record, clientId, theirs, judge);
  });
  return {
    toldOnce: verdicts.reduce((sum, verdict) => sum + verdict.toldOnce, 0),
    findings: verdicts.flatMap(verdict => verdict.findings),
  };
}

/** What a client has heard: nothing, or the facts last said. */
type Heard = SaidFacts | null;

function judgeClient(
  record: LedgerRecord,
  clientId: number,
  said: readonly Said[],
  judge: Judge,
): RecordVerdict {
  const { recordId } = record;
  const findings: Finding[] = [];
  let toldOnce = 0;
  let told = -1;
  /** More than one only at the baseline, when it cannot be known which of several deliveries came first. */
  let heard = heardAtFirst(record, clientId);
  for (const message of said) {
    const { verdict, why, index } = judgeMessage(message, record, heard, told, judge);
    if (verdict === 'told_once') toldOnce += 1;
    else findings.push({ verdict, recordId, recipient: message.recipient, why });
    heard = [message.after];
    told = Math.max(told, index ?? -1);
  }
  const missed = missedBy(record, clientId, heard, judge);
  return { toldOnce, findings: missed === null ? findings : [...findings, missed] };
}

type MessageVerdict = {
  readonly verdict: 'told_once' | 'told_twice' | 'told_wrong';
  readonly why: string;
  /** The true state that it told. */
  readonly index?: number;
};

function judgeMessage(
  message: Said,
  record: LedgerRecord,
  heard: readonly Heard[],
  told: number,
  judge: Judge,
): MessageVerdict {
  const { before, after, kind } = message;
  const wrong = (why: string): MessageVerdict => ({ verdict: 'told_wrong', why });
  if (heard.every(one => saysTheSame(one, after))) {
    return { verdict: 'told_twice', why: `${kind}: ${inWords(after)} had been heard already` };
  }
  if (!heard.some(one => isWhatWasHeard(one, before))) {
    return wrong(`${kind}: before is ${inWords(before)}, heard was ${heard.map(inWords).join(' or ')}`);
  }
  const expected = kindOf(before, after);
  if (kind !== expected)
    return wrong(`said as ${kind}, but ${inWords(before)} to ${inWords(after)} is ${expected}`);
  return judgeTruth(message, record, told, judge);
}

/** Whether what the message says was true as it left. */
function judgeTruth(message: Said, record: LedgerRecord, told: number, judge: Judge): MessageVerdict {
  const { after, clientId, sentAt, kind } = message;
  const wrong = (why: string): MessageVerdict => ({
    verdict: 'told_wrong',
    why: `${kind}: ${inWords(after)} ${why}`,
  });
  const refusedAt = judge.refusals.get(clientId);
  if (refusedAt !== undefined && refusedAt < sentAt - judge.slackMs)
    return wrong('was told to one who had refused messages');
  const matching = record.states.flatMap((state, index) =>
    saysTheSame(viewOf(state, clientId), after) ? [{ state, index }] : [],
  );
  if (matching.length === 0) return wrong('was never true');
  const made = matching.filter(({ state }) => state.at <= sentAt);
  if (made.length === 0) return wrong('was not yet true');
  const forward = made.filter(({ index }) => index >= told);
  if (forward.length === 0) return wrong('is older than what was told before');
  const known = lastKnown(record.states, sentAt - judge.slackMs);
  const current = forward.filter(({ index }) => index >= known);
  const [oldest] = current;
  if (oldest === undefined) {
    const late = sentAt - (record.states[known]?.firstAnsweredAt ?? sentAt);
    return wrong(`was no longer true: something else had been delivered ${late} ms before`);
  }
  if (current.every(({ state }) => state.startsAt < sentAt - judge.slackMs)) {
    return wrong('was told after the visit had begun');
  }
  return { verdict: 'told_once', why: '', index: oldest.index };
}

/** The latest state that the service had surely been told of before `moment`; -1 when none. */
function lastKnown(states: readonly TrueState[], moment: EpochMs): number {
  return states.findLastIndex(({ firstAnsweredAt }) => firstAnsweredAt !== null && firstAnsweredAt < moment);
}

/**
 * What was heard before the first message. A known record's baseline is what the service knew as it first heard whose
 * and when the visit is: of deliveries that overlap in time any may have been first.
 */
function heardAtFirst({ known, states }: LedgerRecord, clientId: number): readonly Heard[] {
  if (!known) return [null];
  const telling = states.filter(state => state.carries === 'everything' && state.firstAnsweredAt !== null);
  const earliest = Math.min(...telling.map(({ firstSentAt }) => firstSentAt ?? Number.POSITIVE_INFINITY));
  const latest = Math.min(
    ...telling.map(({ firstAnsweredAt }) => firstAnsweredAt ?? Number.POSITIVE_INFINITY),
  );
  const surely = lastKnown(states, earliest);
  const candidates = states.filter(
    (state, index) => index >= surely && state.firstSentAt !== null && state.firstSentAt <= latest,
  );
  const [before] = states;
  return (candidates.length > 0 ? candidates : before ? [before] : []).map(state =>
    baselineOf(state, clientId),
  );
}

/** A baseline is taken as heard by the record's client; it means nothing to anyone else. */
function baselineOf(state: TrueState, clientId: number): Heard {
  return state.facts.clientId === clientId ? viewOf(state, clientId) : null;
}

function missedBy(
  record: LedgerRecord,
  clientId: number,
  heard: readonly Heard[],
  judge: Judge,
): Finding | null {
  const last = record.states.at(-1);
  if (last === undefined || last.startsAt <= judge.checkedAt || judge.refusals.has(clientId)) return null;
  const truth = viewOf(last, clientId);
  if (heard.some(one => saysTheSame(one, truth))) return null;
  const why = `heard ${heard.map(inWords).join(' or ')}, true is ${inWords(truth)}`;
  return { verdict: 'not_told', recordId: record.recordId, recipient: `client:${clientId}`, why };
}

/** A state as it concerns one client: to one whose visit belongs to another by now, it is cancelled. */
function viewOf({ facts }: TrueState, clientId: number): SaidFacts {
  const { startsLocal, staffId, services } = facts;
  const status = facts.clientId === clientId ? facts.status : 'cancelled';
  return { status, startsLocal, staffId, services };
}

function saysTheSame(left: Heard, right: Heard): boolean {
  if (!isVisit(left) || !isVisit(right)) return isVisit(left) === isVisit(right);
  return (
    left.startsLocal === right.startsLocal &&
    left.staffId === right.staffId &&
    servicesInWords(left.services) === servicesInWords(right.services)
  );
}

function isVisit(heard: Heard): heard is SaidFacts {
  return heard !== null && heard.status === 'booked';
}

/** Stricter than `saysTheSame`: nothing heard is not the same as a cancellation heard. */
function isWhatWasHeard(heard: Heard, before: Heard): boolean {
  return (heard === null) === (before === null) && saysTheSame(heard, before);
}

/** What kind of message leads from `before` to `after`. */
function kindOf(before: Heard, after: SaidFacts): string {
  if (after.status === 'cancelled') return 'cancelled';
  if (before === null) return 'booked';
  if (before.status === 'cancelled') return 'restored';
  const moved = before.startsLocal !== after.startsLocal;
  const staff = before.staffId !== after.staffId;
  const services = servicesInWords(before.services) !== servicesInWords(after.services);
  if (Number(moved) + Number(staff) + Number(services) > 1) return 'changed';
  if (moved) return 'rescheduled';
  return staff ? 'staff_changed' : 'services_changed';
}

/** The same for any order of the same services. */
export function servicesInWords(services: readonly SaidService[]): string {
  return services
    .map(({ id, amount }) => `${id}×${amount}`)
    .sort()
    .join('+');
}

function inWords(heard: Heard): string {
  if (heard === null) return 'nothing';
  if (heard.status === 'cancelled') return 'cancelled';
  return `${heard.startsLocal} with ${heard.staffId} for ${servicesInWords(heard.services) || 'no service'}`;
}
