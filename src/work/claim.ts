/**
 * Claiming: one transaction that locks what is due, has each judged by the world as it is now, fixes what will be said
 * and takes a lease. A message whose sender died is taken up here when its lease ends.
 */
import type { Channel, ChannelName, Outgoing, Roads } from '../channels/channel.ts';
import { takeTurn } from '../domain/pace.ts';
import type { Fall } from '../domain/route.ts';
import type { Texts } from '../domain/text.ts';
import type { EpochMs } from '../domain/time.ts';
import { type BookingKey, bookingKey, lockBookings, type StoredBooking } from '../store/bookings.ts';
import {
  type Attempt,
  type Candidate,
  type Claim,
  claimMessages,
  type DueMessage,
  endMessages,
  findDue,
  type Hush,
  hushMessages,
  lockDue,
  type MessageEnd,
  type OpenMessage,
  recordAttempts,
  takeUpAgain,
} from '../store/messages.ts';
import { findOrigins, type Origin } from '../store/origins.ts';
import { accountScope, chatScope, lockSlots, saveSlots } from '../store/pace.ts';
import { clientKey, holdClients } from '../store/plans.ts';
import { type Db, type Pool, retried, transaction } from '../store/pool.ts';
import { countSilence, noteNotReached } from '../store/reached.ts';
import type { Vault } from '../vault.ts';
import { gather, leaveForNext } from './batch.ts';
import { providerOf } from './fall.ts';
import { failed, judge, type Unsent, type Verdict } from './judge.ts';
import { type Lines, receiverOf } from './lines.ts';
import { type Answering, compose, factsOf, type Saying } from './saying.ts';
import { plannedClients, readScene, type Scene } from './scene.ts';
import { followUp } from './settle.ts';

export type ClaimDeps = Answering & {
  readonly pool: Pool;
  readonly now: () => EpochMs;
  readonly channels: ReadonlyMap<ChannelName, Channel>;
  readonly texts: Texts;
  readonly vault: Vault;
  /** How whoever runs this is reached, for alerts. */
  readonly roads: Roads;
};

export type ReadyToSend = {
  readonly channel: Channel;
  readonly outgoing: Outgoing;
  readonly step: number;
  /** When it may leave, from now: its slot in the channel's rate. */
  readonly inMs: number;
  /** The channel was told lately that it sends too often: a success is worth being told. */
  readonly recovering: boolean;
  /** Another channel took it before. */
  readonly fell: boolean;
};
export type Claimed = {
  readonly send: readonly ReadyToSend[];
  readonly unsent: readonly Unsent[];
  /** Channels that were left or passed over just now. */
  readonly falls: readonly Fall[];
  /** How many were put off until their channel's rate lets them leave. */
  readonly snoozed: number;
  /** Whence what is said of a booking came; undefined of a test, and when its event is pruned. */
  originOf(about: { readonly companyId: number; readonly recordId: number | null }): Origin | undefined;
};

const NOTHING_CLAIMED: Claimed = { send: [], unsent: [], falls: [], snoozed: 0, originOf: () => undefined };

export type Claims = {
  readonly owner: string;
  readonly leaseMs: number;
  /** What this process still sends, or is about to settle: though its lease may have passed, its sender is not gone. */
  readonly underWay: ReadonlySet<string>;
  readonly lines: Pick<Lines, 'putOffMs'>;
};

/** Claims up to `limit` messages for `owner`. */
export async function claimDue(deps: ClaimDeps, claims: Claims, limit: number): Promise<Claimed> {
  return retried(() => transaction(deps.pool, db => claimBatch(deps, db, claims, limit)));
}

async function claimBatch(
  deps: ClaimDeps,
  db: Db,
  { owner, leaseMs, underWay, lines }: Claims,
  limit: number,
): Promise<Claimed> {
  const now = deps.now();
  const due = await findDue(db, now, limit);
  const candidates = due.filter(({ id }) => !underWay.has(id));
  if (candidates.length === 0) return NOTHING_CLAIMED;
  const [{ messages, bookings }, origins] = await Promise.all([
    lockCandidates(db, { now, leaseMs }, candidates),
    findOrigins(db, bookingsOf(candidates)),
  ]);
  if (messages.length === 0) return NOTHING_CLAIMED;
  const originOf: Claimed['originOf'] = ({ companyId, recordId }) =>
    recordId === null ? undefined : origins.get(bookingKey({ companyId, recordId }));
  const scene = await readScene(deps, db, { messages, bookings }, now);

  const judged = messages.map(message => judge(scene, message));
  const gathered = judged.filter(verdict => verdict.do === 'gather');
  // Before the channels' rates are locked: whoever holds a batch waits for those.
  await gather(db, gathered, now);
  const verdicts = judged.flatMap(verdict =>
    verdict.do === 'gather' ? [] : [afterGathering(verdict, gathered)],
  );
  const hushed = verdicts.filter(verdict => verdict.do === 'hush');
  const rendered = verdicts.flatMap(verdict =>
    verdict.do === 'hush' ? [] : [prepare(deps, scene, verdict)],
  );
  const { send, snoozed } = await takeTurns(
    db,
    lines,
    rendered.filter(item => 'outgoing' in item),
    now,
  );
  const ends = rendered.filter(item => 'state' in item);
  const fallen = [...send, ...ends].flatMap(({ message, falls = [] }) =>
    falls.map(fall => ({ message, fall })),
  );

  const abandoned = messages.filter(message => message.state === 'sending');
  const unknown = ends
    .filter(end => end.state === 'unknown' && end.message.sentAt === null)
    .map(({ message }) => message);
  const trueAgain = ends.flatMap(({ message, heardStep }) =>
    heardStep === undefined ? [] : [{ ...message, step: heardStep }],
  );
  const repeatable = [...deps.channels.values()].filter(({ idempotent }) => idempotent);
  const silent = [...hushed, ...gathered].map(({ message, notice }) => ({ ...message, after: notice.after }));
  await Promise.all([
    claimMessages(
      db,
      owner,
      leaseMs,
      send.map(prepared => claimOf(prepared, originOf(prepared.message))),
      now,
    ),
    recordAttempts(
      db,
      abandoned.map(message => lostAttempt(message, now)),
    ),
    endMessages(db, [...ends.map(end => endOf(end, now)), ...snoozed], now),
    hushMessages(db, hushed.map(hushOf), now),
    takeUpAgain(
      db,
      trueAgain,
      repeatable.map(({ name }) => name),
    ),
    followUp(
      db,
      [...unknown, ...silent].map(message => ({ message, heard: true })),
      { bookings, companies: scene.companies, now },
    ),
  ]);
  // What only waits on keeps its parts.
  const said = [...send, ...ends.filter(({ state }) => state === 'superseded')];
  const left = said.map(({ message }) => ({ message, batch: scene.batches.get(message.id) }));
  await leaveForNext(db, left, scene.companies, now);
  await remember(db, fallen, deps.channels);
  const falls = fallen.map(({ fall }) => fall);
  const joined = gathered.map(({ message }) => ({ message, state: 'superseded', error: null }) as const);
  return { send, unsent: [...ends, ...hushed, ...joined], falls, snoozed: snoozed.length, originOf };
}

/** A batch that something has joined since it was read is read again, at once. */
function afterGathering(
  verdict: Exclude<Verdict, { do: 'gather' }>,
  gathered: readonly { readonly message: OpenMessage }[],
): Exclude<Verdict, { do: 'gather' }> {
  const { companyId, recipient, purpose, state } = verdict.message;
  if (purpose !== 'batch' || state !== 'due') return verdict;
  const joined = gathered.some(
    ({ message }) => message.companyId === companyId && message.recipient === recipient,
  );
  return joined ? { do: 'end', message: verdict.message, state: 'due', error: null, waitMs: 0 } : verdict;
}

/** Whom a channel did not reach, and of how many its provider told nothing. */
async function remember(
  db: Db,
  fallen: readonly { readonly message: OpenMessage; readonly fall: Fall }[],
  channels: Scene['channels'],
): Promise<void> {
  const failed = fallen.filter(({ fall: { why } }) => why === 'silent' || why === 'undelivered');
  const keyed = failed.map(({ message: { companyId, recipient }, fall: { channel, why } }) => ({
    ...{ companyId, recipient, channel, why },
    provider: providerOf([...channels.values()].find(({ name }) => name === channel)),
  }));
  await noteNotReached(db, keyed);
  await countSilence(
    db,
    keyed.filter(({ why }) => why === 'silent'),
  );
}

/**
 * Gives each message its slot in the rate of its channel, shared by all processes, where its line here has room. What has
 * to wait is put off, which is no attempt: nothing was tried. Locks come after those of bookings and messages.
 */
async function takeTurns(
  db: Db,
  lines: Claims['lines'],
  prepared: readonly PreparedMessage[],
  now: EpochMs,
): Promise<{ send: (PreparedMessage & ReadyToSend)[]; snoozed: MessageEnd[] }> {
  const scopes = prepared.flatMap(({ channel: { name, traits }, outgoing }) =>
    traits.pace === null ? [] : [accountScope(name), chatScope(name, outgoing.address)],
  );
  const locked = scopes.length === 0 ? [] : await lockSlots(db, scopes);
  const rows = new Map(locked.map(row => [row.scope, row]));
  const send: (PreparedMessage & ReadyToSend)[] = [];
  const snoozed: MessageEnd[] = [];
  for (const item of prepared) {
    const { name, traits } = item.channel;
    const receiver = receiverOf(item);
    const putOffMs = lines.putOffMs(item, send.filter(other => receiverOf(other) === receiver).length);
    if (putOffMs !== undefined) {
      snoozed.push(snoozeOf(item.message, name, putOffMs, now));
      continue;
    }
    const account = rows.get(accountScope(name));
    const chat = rows.get(chatScope(name, item.outgoing.address));
    const turn =
      traits.pace === null || account === undefined || chat === undefined
        ? { granted: true, inMs: 0 }
        : takeTurn(
            { row: account, everyMs: traits.pace.everyMs },
            { row: chat, everyMs: traits.pace.chatEveryMs },
          );
    const recovering = (account?.failures ?? 0) > 0;
    const fell = item.message.sentAt !== null;
    if (turn.granted) send.push({ ...item, inMs: turn.inMs, recovering, fell });
    else snoozed.push(snoozeOf(item.message, name, turn.inMs, now));
  }
  await saveSlots(db, locked);
  return { send, snoozed };
}

/** Back to where it was, until its turn comes. What may have gone out stays claimed in form. */
function snoozeOf(
  { companyId, id, state }: OpenMessage,
  channel: ChannelName,
  inMs: number,
  now: EpochMs,
): MessageEnd {
  return {
    ...{ companyId, id, state, retryInMs: Math.ceil(inMs), falls: null },
    fallAt: state === 'sent' ? now + Math.ceil(inMs) : null,
    error: `waits for its turn: ${channel} takes no more at once`,
    ...{ providerId: null, subject: null, body: null },
  };
}

/** Locks in the order bookings, messages, clients; whatever another transaction holds is left for the next round. */
async function lockCandidates(
  db: Db,
  clock: { readonly now: EpochMs; readonly leaseMs: number },
  candidates: readonly Candidate[],
): Promise<{ messages: DueMessage[]; bookings: Map<string, StoredBooking> }> {
  const [bookings, locked] = await Promise.all([
    lockBookings(db, bookingsOf(candidates), { skipLocked: true }),
    lockDue(db, clock, candidates),
  ]);
  const messages = locked.filter(
    ({ companyId, recordId }) => recordId === null || bookings.has(bookingKey({ companyId, recordId })),
  );
  return { messages: await withClientsHeld(db, messages), bookings };
}

/** Of what is planned for one client, processes decide one after the other: they count towards one limit of a day. */
async function withClientsHeld(db: Db, messages: readonly DueMessage[]): Promise<DueMessage[]> {
  const clients = new Map(plannedClients(messages).map(client => [clientKey(client), client]));
  const held = new Set((await holdClients(db, [...clients.values()])).map(clientKey));
  return messages.filter(message => plannedClients([message]).every(client => held.has(clientKey(client))));
}

function bookingsOf(candidates: readonly Candidate[]): BookingKey[] {
  return candidates.flatMap(({ companyId, recordId }) =>
    recordId === null ? [] : [{ companyId, recordId }],
  );
}

type PreparedMessage = Pick<ReadyToSend, 'channel' | 'outgoing' | 'step'> & {
  readonly message: OpenMessage;
  readonly saying: Saying;
  readonly falls: readonly Fall[];
};

/** A text that cannot be rendered fails its own message, not the batch. */
function prepare(
  deps: ClaimDeps,
  scene: Scene,
  verdict: Exclude<Verdict, { do: 'hush' | 'gather' }>,
): Unsent | PreparedMessage {
  const { message } = verdict;
  if (verdict.do === 'end') return verdict;
  const { saying, channel, falls } = verdict;
  const outgoing = compose(deps, scene, verdict);
  if (outgoing === undefined) {
    return { message, state: failed(message), error: 'its text could not be rendered' };
  }
  return { message, saying, channel, outgoing, falls, step: message.step };
}

function claimOf({ message, saying, channel, falls }: PreparedMessage, origin: Origin | undefined): Claim {
  const { notice, visit } = saying;
  return {
    companyId: message.companyId,
    id: message.id,
    kind: notice?.kind ?? null,
    channel: channel.name,
    before: notice?.before ?? null,
    after: factsOf(saying),
    visit,
    // Of another channel there is no doubt.
    uncertain: message.state === 'sending' || (message.uncertain && message.channel === channel.name),
    falls: [...message.falls, ...falls],
    requestId: origin?.requestId ?? null,
    traceparent: origin?.traceparent ?? null,
  };
}

function hushOf(verdict: Extract<Verdict, { do: 'hush' }>): Hush {
  const { message, notice, state, error } = verdict;
  return { companyId: message.companyId, id: message.id, state, error, ...notice };
}

function endOf({ message, state, error, waitMs, falls }: Unsent, now: EpochMs): MessageEnd {
  const { companyId, id } = message;
  return {
    fallAt: state === 'sent' && waitMs !== undefined ? now + waitMs : null,
    falls: falls === undefined ? null : [...message.falls, ...falls],
    companyId,
    id,
    state,
    error,
    retryInMs: waitMs ?? null,
    providerId: null,
    subject: null,
    body: null,
  };
}

/** The attempt of a sender that is gone. Where its outcome was recorded after all, this changes nothing. */
function lostAttempt(message: DueMessage, now: EpochMs): Attempt {
  return {
    companyId: message.companyId,
    id: message.id,
    number: message.attempts,
    channel: message.channel ?? 'none',
    startedAt: now - (message.doubtMs ?? 0),
    finishedAt: now,
    outcome: 'unknown',
    reason: 'the process that was sending it ended',
    providerId: null,
    scope: null,
    address: null,
  };
}
