/**
 * Does what people asked for by an answer, at the platform's API: look at the record as it is there, decide, write, look
 * again. A try whose outcome was lost is settled by the look of the next one, so nothing is written blindly twice.
 *
 * Our own write is not news to whoever asked for it: what it came to enters the inbox like anything read from the API,
 * and `told` moves in the same transaction, so the webhook that follows finds nothing left to tell them. A webhook that
 * is there before that, since the process died or the API was away, finds their notice waiting for the action to end
 * (`cancelling` in scene.ts). Others that the booking concerns are told as of any change.
 */
import { randomUUID } from 'node:crypto';
import type { Mouth } from '../channels/ear.ts';
import { judgeAction, type Standing } from '../domain/answer.ts';
import { concerned, factsFor, type ToldByRecipient } from '../domain/notice.ts';
import { outcomeWords, PASSED_ON } from '../domain/outcome.ts';
import { settleMsOf, tells } from '../domain/policy.ts';
import { backoffMs } from '../domain/sweep.ts';
import { memberRecipient } from '../domain/team.ts';
import { type EpochMs, instantOf } from '../domain/time.ts';
import { newId } from '../ids.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import {
  type Action,
  type ActionEnd,
  type Answered,
  claimActions,
  endAction,
  findAnswered,
  findAnswers,
  lockAnswers,
  type RecordAnswer,
} from '../store/actions.ts';
import { bookingKey, lockBookings, type StoredBooking, saveOwnNews } from '../store/bookings.ts';
import { type Company, findCompanies } from '../store/companies.ts';
import { insertEvents } from '../store/inbox.ts';
import { type Db, type Pool, transaction } from '../store/pool.ts';
import { addRequests } from '../store/requests.ts';
import { findPlaces } from '../store/team.ts';
import type { Tracing } from '../tracing.ts';
import { ApiError, type CompanyApi } from '../yclients/api.ts';
import { apiEvent, type FoundRecord, readAnswer } from './found.ts';
import { allEnded, createLoop, type Loop } from './loop.ts';
import { NO_ACCESS, setbackOf } from './sweep.ts';

/** As much of the API as answers need. */
export type AnswerApi = Pick<CompanyApi, 'record' | 'confirmVisit' | 'deleteRecord'>;

export type ActDeps = {
  readonly pool: Pool;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly now: () => EpochMs;
  readonly random: () => number;
  /** Say what came of an action in the chat it was asked in; where there is none, a page shows it. */
  readonly mouths: ReadonlyMap<string, Mouth>;
  readonly apiOf: (companyId: number) => Promise<AnswerApi | undefined>;
  /** The inbox has news. */
  readonly onFound: () => void;
  /** Undefined: no traces are kept. */
  readonly tracing?: Tracing | undefined;
};

export type Actor = Loop & {
  /** Claims what is due and does it; returns how much was claimed. Once started it begins more before all has ended. */
  runOnce(): Promise<number>;
};

/** In this process: calls wait for one another and for the shared budget, so few are enough. */
const AT_ONCE = 8;
/** Longer than three calls may take with their waiting and their retries. */
const LEASE_MS = 240_000;
const IDLE_MS = 1_000;
/** The last try is some ten minutes after the first: then a person should rather call the salon. */
const MAX_ATTEMPTS = 8;
/** Nobody says it again, so a stop waits for it: less than the 25 s that a stop has. */
const REPLY_LIMIT_MS = 10_000;
/** Until what we wrote has come through the inbox, nobody is told what it makes of the booking. */
const HOLD_MS = 60_000;
/** The platform refuses an empty comment; one that is there stays. */
const COMMENT = 'Клиент подтвердил запись';

export function createActor(deps: ActDeps): Actor {
  const { pool, log, metrics, now } = deps;
  const owner = randomUUID();

  const underWay = new Set<Promise<void>>();

  async function runOnce(): Promise<number> {
    const actions = await claim(AT_ONCE);
    await allEnded(actions.map(perform));
    return actions.length;
  }

  /** Begins what there is room for, and waits for none: an API that hangs for one company holds up no other's. */
  async function begin(): Promise<number> {
    const room = AT_ONCE - underWay.size;
    const actions = room > 0 ? await claim(room) : [];
    for (const action of actions) track(perform(action));
    return actions.length;
  }

  function claim(limit: number): Promise<Action[]> {
    return claimActions(pool, { owner, leaseMs: LEASE_MS, now: now(), limit });
  }

  /** What fails here is not the API's fault: the lease runs out, and another try is made. */
  function track(work: Promise<void>): void {
    const tracked = work
      .catch((error: unknown) => {
        metrics.loopFailures.inc({ loop: 'act' });
        log.error({ loop: 'act', err: error }, 'an answer failed here, will be taken up again');
      })
      .finally(() => {
        underWay.delete(tracked);
        loop.wake();
      });
    underWay.add(tracked);
  }

  async function perform(action: Action): Promise<void> {
    const { companyId, kind, attempts } = action;
    const [companies, answered] = await Promise.all([
      findCompanies(pool, [companyId]),
      findAnswered(pool, action),
    ]);
    const company = companies.get(companyId);
    if (company === undefined || answered === undefined) {
      await endAction(pool, action, { owner, now: now(), end: failed('what was answered is forgotten') });
      return;
    }
    const span = deps.tracing?.start('act', null);
    const { end, found } = await attempt(action, company, answered);
    const reading = found && { ...found, traceparent: span?.traceparent ?? null };
    const answers = await settle(action, company, answered, end, reading);
    const about = { 'otklik.company_id': companyId, 'otklik.message': action.messageId, 'otklik.kind': kind };
    span?.end({ ...about, 'otklik.outcome': end.state }, end.state === 'failed');
    metrics.actions.inc({ kind, outcome: end.state });
    log.info(
      {
        ...{
          loop: 'act',
          company_id: companyId,
          message: action.messageId,
          kind,
          outcome: end.state,
          attempts,
        },
        ...(end.reason === null ? {} : { reason: end.reason }),
      },
      'answer acted on',
    );
    if (found !== undefined) deps.onFound();
    const mouth = deps.mouths.get(action.channel);
    // A visit of several records is answered once, when the last of them has ended.
    if (mouth === undefined || answers === undefined || answers.some(isOpen)) return;
    // That somebody comes is what they said themselves: no SMS is paid for to repeat it.
    if (mouth.costly && kind === 'confirm' && answers.every(({ state }) => state === 'done')) return;
    const text = outcomeWords(answers, answered, company);
    const said = await mouth.reply({ chat: action.chat, text }, AbortSignal.timeout(REPLY_LIMIT_MS));
    if (said.outcome !== 'sent')
      log.warn({ loop: 'act', channel: action.channel, reason: said.reason }, 'a reply did not arrive');
  }

  /** One try. `found` is the record as it was read last, with the moment before that reading. */
  async function attempt(
    { companyId, recordId, kind, attempts }: Action,
    company: Company,
    { records }: Answered,
  ): Promise<{ end: ActionEnd; found?: { record: FoundRecord; readAt: EpochMs } }> {
    const answered = records.find(record => record.recordId === recordId);
    if (answered === undefined) return { end: failed('what was answered is forgotten') };
    // A try that fails counts itself; beyond the last there are only those that took their process along.
    if (attempts > MAX_ATTEMPTS)
      return { end: failed('its processes ended before they knew what came of it') };
    try {
      const api = await deps.apiOf(companyId);
      if (api === undefined) throw new ApiError('unauthorised', NO_ACCESS);
      const read = async () => {
        const readAt = now();
        return { record: readAnswer(await api.record(recordId), companyId, recordId), readAt };
      };
      const before = await read();
      const verdict = judgeAction({
        kind,
        answered,
        standing: standingOf(before.record, company.zone),
        now: now(),
      });
      if (verdict.do === 'refuse')
        return {
          end: { state: 'refused', reason: verdict.because },
          found: before,
        };
      if (verdict.do === 'act') await write(api, kind, before.record);
      const link = kind === 'move' ? linkOf(before.record) : undefined;
      return {
        end: { state: 'done', reason: null, ...(link === undefined ? {} : { link }) },
        found: verdict.do === 'act' ? await read() : before,
      };
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const setback = setbackOf(error);
      if (setback !== 'away' || attempts >= MAX_ATTEMPTS) return { end: failed(error.trouble) };
      const waitMs = backoffMs(setback, attempts, deps.random(), error.retryAfterMs);
      return { end: { state: 'due', reason: error.trouble, dueAt: now() + waitMs } };
    }
  }

  /** Keeps what came of a try. Answers with what has become of the message by now; undefined: the lease had passed on. */
  async function settle(
    action: Action,
    company: Company,
    answered: Answered,
    end: ActionEnd,
    found: { record: FoundRecord; readAt: EpochMs; traceparent: string | null } | undefined,
  ): Promise<RecordAnswer[] | undefined> {
    const { companyId, recordId, recipient } = action;
    return transaction(pool, async db => {
      const key = { companyId, recordId };
      const stored = (await lockBookings(db, [key])).get(bookingKey(key));
      if (found !== undefined) {
        const { record, readAt, traceparent } = found;
        const status = record.body.fields.deleted ? 'delete' : 'update';
        const about = { companyId, status, source: 'verify', readAt, findId: `verify:${newId()}` } as const;
        await insertEvents(db, [apiEvent(record, { ...about, traceparent })]);
      }
      await lockAnswers(db, action);
      const passed = stored !== undefined && (await passOn(db, action, company, { answered, stored, end }));
      const ended = passed ? { ...end, reason: PASSED_ON } : end;
      if (!(await endAction(db, action, { owner, now: now(), end: ended }))) return undefined;
      const facts = stored && factsFor(recipient, stored.booking, company.zone);
      if (stored !== undefined && facts && end.state === 'done' && action.kind === 'cancel') {
        const step = (stored.told[recipient]?.step ?? 0) + 1;
        const told: ToldByRecipient = {
          ...stored.told,
          [recipient]: { facts: { ...facts, status: 'cancelled' }, step, how: 'message' },
        };
        await saveOwnNews(db, { ...key, told, holdUntil: now() + HOLD_MS });
      }
      const answers = await findAnswers(db, action);
      return answers.filter(({ kind }) => kind === action.kind);
    });
  }

  /** A visit that the client cannot move by themselves is the salon's to move. Answers whether anybody there is told. */
  async function passOn(
    db: Db,
    { companyId, kind }: Action,
    company: Company,
    { answered, stored, end }: { answered: Answered; stored: StoredBooking; end: ActionEnd },
  ): Promise<boolean> {
    const [facts] = answered.records;
    if (kind !== 'move' || end.state !== 'done' || end.link !== undefined || facts === undefined)
      return false;
    const { policy, team } = company;
    const origin = stored.booking.fields.origin ?? 'unknown';
    const wanted = concerned(stored.booking, team).filter(({ role }) =>
      tells(policy, 'move_asked', origin, role),
    );
    const members = wanted.length === 0 ? [] : await findPlaces(db, [companyId]);
    const reached = members.filter(({ places }) => places.some(({ refuses }) => !refuses));
    const recipients = wanted
      .filter(({ memberId }) => reached.some(member => member.memberId === memberId))
      .map(memberRecipient);
    if (recipients.length === 0) return false;
    const { recordId: _, ...asked } = facts;
    await addRequests(db, {
      ...{ companyId, recipients, kind: 'move_asked', facts: asked, now: now() },
      recordIds: answered.records.map(({ recordId }) => recordId),
      dueAt: now() + settleMsOf(policy, 'move_asked'),
    });
    return true;
  }

  const loop = createLoop({ name: 'act', log, metrics, idleMs: IDLE_MS, runOnce: begin });
  return {
    ...loop,
    runOnce,
    async stop() {
      await loop.stop();
      await Promise.all(underWay);
    },
  };
}

function failed(reason: string): ActionEnd {
  return { state: 'failed', reason };
}

function isOpen({ state }: RecordAnswer): boolean {
  return state === 'due' || state === 'doing';
}

/**
 * The page at the platform where whoever booked sees their visit, and can move it where the salon lets them. Some
 * builds do not send it.
 */
function linkOf({ data }: FoundRecord): string | undefined {
  const link =
    typeof data === 'object' && data !== null && 'short_link' in data ? data.short_link : undefined;
  return typeof link === 'string' && /^https?:\/\/[\w.~:/?#@!$&'()*+,;=%-]{4,200}$/.test(link)
    ? link
    : undefined;
}

async function write(api: AnswerApi, kind: Action['kind'], record: FoundRecord): Promise<void> {
  const { recordId, body } = record;
  if (kind === 'move') return;
  if (kind === 'cancel') {
    await api.deleteRecord(recordId);
    return;
  }
  const { visitId, comment } = body.fields;
  if (visitId === undefined) throw new ApiError('unreadable', `record ${recordId} names no visit`);
  await api.confirmVisit({ visitId, recordId, comment: comment?.trim() || COMMENT });
}

function standingOf({ body: { fields } }: FoundRecord, zone: string): Standing {
  if (fields.deleted === true) return null;
  const { startsLocal } = fields;
  return {
    startsLocal,
    startsAt: startsLocal === undefined ? undefined : instantOf(startsLocal, zone),
    attendance: fields.attendance ?? 0,
  };
}
