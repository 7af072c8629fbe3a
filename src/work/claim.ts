/**
 * Claiming: one transaction that looks at the world as it is now, decides what becomes of each due message, fixes
 * what will be said and takes a lease. A message whose sender died is taken up here when its lease ends: it may have
 * left, so it is repeated, word for word, only through a channel that drops repeats; otherwise it is `unknown`.
 */
import { type Channel, type ChannelName, OPERATOR, type Outgoing, type Roads } from '../channels/channel.ts';
import { startsAt } from '../domain/booking.ts';
import { decideNotice, mayHaveBeenTold, mayRepeat } from '../domain/decide.ts';
import type { Digest } from '../domain/digest.ts';
import { clientIdOf, clientRecipient, type Notice } from '../domain/notice.ts';
import { takeTurn } from '../domain/pace.ts';
import type { PlannedPurpose } from '../domain/plan.ts';
import { tells } from '../domain/policy.ts';
import { noticeAfterQuiet } from '../domain/quiet.ts';
import { type Fall, newFalls, stateAtEnd } from '../domain/route.ts';
import { type Audience, audienceOf, isTeam, memberRecipient, staffIdOf } from '../domain/team.ts';
import type { Texts } from '../domain/text.ts';
import type { EpochMs } from '../domain/time.ts';
import { type BookingKey, bookingKey, lockBookings, type StoredBooking } from '../store/bookings.ts';
import { type Company, findCompanies, findNewestSecrets } from '../store/companies.ts';
import {
  type Attempt,
  type Candidate,
  type Claim,
  type Contact,
  claimMessages,
  type DueMessage,
  endMessages,
  findContacts,
  findDue,
  type Hush,
  hushMessages,
  lockDue,
  type MessageEnd,
  type OpenMessage,
  recordAttempts,
} from '../store/messages.ts';
import { findOrigins, type Origin } from '../store/origins.ts';
import { accountScope, chatScope, lockSlots, saveSlots } from '../store/pace.ts';
import { type Db, type Pool, transaction, troubleOf } from '../store/pool.ts';
import {
  countSilence,
  findReached,
  findReceiptGivers,
  noteNotReached,
  type ReachedRow,
  type ReceiptGiver,
} from '../store/reached.ts';
import { findPlaces } from '../store/team.ts';
import { findTemplates, templateKey } from '../store/templates.ts';
import type { Vault } from '../vault.ts';
import { judgeDigest, readDigests } from './digest.ts';
import { judgeFall, providerOf, whyNotAgain } from './fall.ts';
import { type Known, readKnown } from './plan.ts';
import { isPlanned, judgePlanned, type PlannedVerdict, saysTheSame } from './planned.ts';
import { type DueRelay, judgeRelay, readRelays } from './relaying.ts';
import { chooseWay } from './route.ts';
import {
  type Answering,
  buttonsFor,
  factsOf,
  linksFor,
  NOTHING,
  renderSafely,
  type Saying,
  validity,
} from './saying.ts';
import { followUp, MAX_ATTEMPTS } from './settle.ts';

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
/** A message that ends without being sent. */
export type Unsent = {
  readonly message: OpenMessage;
  readonly state: MessageEnd['state'];
  readonly error: string | null;
  /** It only waits on, until it is looked at again. */
  readonly waitMs?: number;
  /** Channels that were left or passed over just now. */
  readonly falls?: readonly Fall[];
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

const CONFLICT_TRIES = 3;
const NOTHING_KNOWN: Known = { bookings: new Map(), planned: new Map() };
const NOTHING_CLAIMED: Claimed = { send: [], unsent: [], falls: [], snoozed: 0, originOf: () => undefined };

/** Claims up to `limit` messages for `owner`. */
export async function claimDue(
  deps: ClaimDeps,
  claims: { readonly owner: string; readonly leaseMs: number },
  limit: number,
): Promise<Claimed> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await transaction(deps.pool, db => claimBatch(deps, db, claims, limit));
    } catch (error) {
      if (troubleOf(error) !== 'conflict' || tries >= CONFLICT_TRIES) throw error;
    }
  }
}

/** What becomes of one message. */
type Verdict =
  | {
      readonly do: 'send';
      readonly message: OpenMessage;
      readonly saying: Saying;
      readonly channel: Channel;
      readonly address: string;
      readonly falls: readonly Fall[];
    }
  | ({ readonly do: 'end' } & Unsent)
  | {
      readonly do: 'hush';
      readonly message: OpenMessage;
      readonly notice: Notice;
      readonly state: Hush['state'];
      readonly error: string;
    };

/** Everything a verdict looks at. */
type Scene = {
  readonly now: EpochMs;
  readonly bookings: ReadonlyMap<string, StoredBooking>;
  readonly companies: ReadonlyMap<number, Company>;
  readonly contacts: ReadonlyMap<string, Contact>;
  readonly channels: ReadonlyMap<ChannelName, Channel>;
  /** Companies' own, by `templateKey`. */
  readonly templates: ReadonlyMap<string, string>;
  /** What the plans of those to whom something planned is due are made from. */
  readonly known: Known;
  /** Planned messages of this batch that leave, by company and recipient. */
  readonly leaving: Map<string, PlannedPurpose[]>;
  /** What digests of this batch would say, by company. */
  readonly digests: ReadonlyMap<number, Digest>;
  readonly roads: Roads;
  /** Texts of the platform among them, by message. */
  readonly relays: ReadonlyMap<string, DueRelay>;
  /** Where people were reached and where not, by company and recipient. */
  readonly reached: ReadonlyMap<string, readonly ReachedRow[]>;
  readonly givers: readonly ReceiptGiver[];
};

async function claimBatch(
  deps: ClaimDeps,
  db: Db,
  { owner, leaseMs }: { readonly owner: string; readonly leaseMs: number },
  limit: number,
): Promise<Claimed> {
  const now = deps.now();
  const candidates = await findDue(db, now, limit);
  if (candidates.length === 0) return NOTHING_CLAIMED;
  const companyIds = [...new Set(candidates.map(candidate => candidate.companyId))];
  const [{ messages, bookings }, companies, contacts, sealed, own, origins, reachedRows] = await Promise.all([
    lockCandidates(db, { now, leaseMs }, candidates),
    findCompanies(db, companyIds),
    contactsOf(db, candidates),
    findNewestSecrets(db, companyIds, 'outbound'),
    findTemplates(db, companyIds),
    findOrigins(db, bookingsOf(candidates)),
    findReached(db, candidates),
  ]);
  const originOf: Claimed['originOf'] = ({ companyId, recordId }) =>
    recordId === null ? undefined : origins.get(bookingKey({ companyId, recordId }));
  const secrets = new Map([...sealed].map(([companyId, secret]) => [companyId, deps.vault.open(secret)]));
  const templates = new Map(own.map(template => [templateKey(template), template.source]));
  const known = await knownOf(db, companies, messages, now);
  const relayed = await readRelays(db, companies, messages);
  const digests = await readDigests(db, companies, messages, now);
  const spoken = await spokenOf(db, messages, bookings);
  const givers = await giversOf(db, messages);
  const reached = Map.groupBy(reachedRows, ({ companyId, recipient }) => `${companyId}:${recipient}`);
  const { channels, roads } = deps;
  const scene: Scene = {
    ...{ now, bookings, companies, templates, channels, roads, known, digests, reached, givers },
    relays: relayed.relays,
    contacts: new Map([...contacts, ...relayed.contacts, ...spoken]),
    leaving: new Map(),
  };

  const verdicts = messages.map(message => judge(scene, message));
  const hushed = verdicts.filter(verdict => verdict.do === 'hush');
  const rendered = verdicts.flatMap(verdict =>
    verdict.do === 'hush' ? [] : [prepare(deps, scene, secrets, verdict)],
  );
  const { send, snoozed } = await takeTurns(
    db,
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
  const silent = hushed.map(({ message, notice }) => ({ ...message, after: notice.after }));
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
    followUp(
      db,
      [...unknown, ...silent].map(message => ({ message, heard: true })),
      { bookings, companies, now },
    ),
  ]);
  await remember(db, fallen, channels);
  const falls = fallen.map(({ fall }) => fall);
  return { send, unsent: [...ends, ...hushed], falls, snoozed: snoozed.length, originOf };
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

/** Who tells of messages, where the next step of one is due; no statement where none is. */
async function giversOf(db: Db, messages: readonly DueMessage[]): Promise<ReceiptGiver[]> {
  const companyIds = messages.flatMap(({ companyId, state }) => (state === 'sent' ? [companyId] : []));
  return findReceiptGivers(db, [...new Set(companyIds)]);
}

/**
 * Gives each message its slot in the rate of its channel, shared by all processes. What has to wait is put off, which
 * is no attempt: nothing was tried. Locks come after those of bookings and messages.
 */
async function takeTurns(
  db: Db,
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

/** Locks in the order bookings, messages; whatever another transaction holds is left for the next round. */
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
  return { messages, bookings };
}

function bookingsOf(candidates: readonly Candidate[]): BookingKey[] {
  return candidates.flatMap(({ companyId, recordId }) =>
    recordId === null ? [] : [{ companyId, recordId }],
  );
}

function judge(scene: Scene, message: DueMessage): Verdict {
  const end = (state: MessageEnd['state'], error: string | null): Verdict => ({
    do: 'end',
    message,
    state,
    error,
  });
  if (message.purpose === 'alert') return judgeAlert(scene, message);
  const company = scene.companies.get(message.companyId);
  if (company === undefined) return end(failed(message), 'the company is unknown');
  if (company.removed) return end(failed(message), 'the company was removed');
  if (company.stopped) return end(failed(message), 'the salon switched us off');
  if (message.state === 'sent') return judgeNextStep(scene, company, message);
  if (message.purpose === 'relay') return judgeText(scene, company, message);
  if (message.state === 'sending') return judgeAbandoned(scene, company, message);
  if (message.purpose === 'test') return route(scene, company, message, NOTHING);
  if (isPlanned(message.purpose)) return judgeVisit(scene, company, message);
  if (isTeam(message.recipient) && contactOf(scene, message) === undefined) {
    return end('superseded', 'they are in the team no more');
  }
  if (message.purpose === 'digest') {
    const verdict = judgeDigest(message, company, scene.digests.get(company.companyId));
    if (verdict.do === 'end') return end(verdict.state, verdict.error);
    return route(scene, company, message, { ...NOTHING, digest: verdict.digest });
  }
  const stored = bookingOf(scene, message);
  if (stored === undefined) return end('failed', 'the booking is unknown');
  return judgeNotice(scene, company, message, stored);
}

/** What nobody took has failed. */
function failed({ state }: OpenMessage): MessageEnd['state'] {
  return state === 'sent' ? 'sent' : 'failed';
}

/** A notice as told and true stand now, and as the policy has it. */
function judgeNotice(scene: Scene, company: Company, message: OpenMessage, stored: StoredBooking): Verdict {
  const end = (state: MessageEnd['state'], error: string | null): Verdict => ({
    do: 'end',
    message,
    state,
    error,
  });
  const { booking, told } = stored;
  const { recipient, step } = message;
  const decision = decideNotice({ booking, told, recipient, step, zone: company.zone, now: scene.now });
  switch (decision.do) {
    case 'expire':
      return end('expired', null);
    case 'supersede':
      return end('superseded', null);
    case 'send':
      break;
  }
  const { notice } = decision;
  const hush = (state: Hush['state'], error: string): Verdict => ({
    do: 'hush',
    message,
    notice,
    state,
    error,
  });
  if (mayHaveBeenTold(booking, company.quietUntil)) {
    return hush('unknown', 'a backup was restored; it may have been told before that');
  }
  // Taken as heard: who is not told of a booking is still to hear that it moves.
  const audience = audienceOf(recipient) ?? 'client';
  if (!tells(company.policy, notice.kind, booking.fields.origin ?? 'unknown', audience)) {
    return hush('superseded', 'the policy tells nobody of it');
  }
  const leaveAt = noticeHour(scene, company, booking, audience);
  if (leaveAt > scene.now) return waiting(message, leaveAt - scene.now);
  return route(scene, company, message, { ...NOTHING, notice });
}

/** A message that a channel took: whether another is to take it, by the same look at the world that any other gets. */
function judgeNextStep(scene: Scene, company: Company, message: DueMessage): Verdict {
  const fall = judgeFall(message, scene);
  if (fall.do === 'stay') return { do: 'end', message, state: fall.state, error: fall.error };
  if (fall.giver !== undefined) fall.giver.silent += 1;
  const verdict = judgeAgain(scene, company, message, fall.left);
  if (verdict.do !== 'end' || verdict.falls !== undefined) return verdict;
  if (verdict.waitMs !== undefined) return { ...verdict, state: 'sent' };
  const falls = newFalls(message.falls, fall.left);
  const error = `not sent by another channel: ${verdict.error ?? 'it is not wanted any more'}`;
  return { ...verdict, state: stateAtEnd([...message.falls, ...falls]), error, falls };
}

function judgeAgain(scene: Scene, company: Company, message: DueMessage, left: readonly Fall[]): Verdict {
  if (message.purpose === 'relay') return judgeText(scene, company, message, left);
  if (isPlanned(message.purpose)) return judgeVisit(scene, company, message, left);
  if (message.purpose === 'digest') return { do: 'end', message, state: 'sent', error: 'it has one channel' };
  return judgeNoticeAgain(scene, company, message, left);
}

/** A notice says what it said by the channel before, while that is true and wanted. */
function judgeNoticeAgain(
  scene: Scene,
  company: Company,
  message: DueMessage,
  left: readonly Fall[],
): Verdict {
  const end = (error: string): Verdict => ({ do: 'end', message, state: 'sent', error });
  const { kind, before, after } = message;
  const stored = bookingOf(scene, message);
  if (stored === undefined || kind === null || after === null) return end('the booking is unknown');
  const { booking } = stored;
  const why = whyNotAgain(message, stored, company, scene.now);
  if (why !== undefined) return end(why);
  if (mayHaveBeenTold(booking, company.quietUntil)) return end('a backup was restored');
  const audience = audienceOf(message.recipient) ?? 'client';
  if (!tells(company.policy, kind, booking.fields.origin ?? 'unknown', audience)) {
    return end('the policy tells nobody of it');
  }
  const leaveAt = noticeHour(scene, company, booking, audience);
  if (leaveAt > scene.now) return waiting(message, leaveAt - scene.now);
  return route(scene, company, message, { ...NOTHING, notice: { kind, before, after } }, left);
}

/** When a notice may leave: in the quiet hours rather than after the visit. */
function noticeHour(
  { now }: Scene,
  { policy, zone }: Company,
  booking: StoredBooking['booking'],
  audience: Audience,
): EpochMs {
  const leaveAt = noticeAfterQuiet(policy, audience, now, zone);
  return (startsAt(booking, zone) ?? 0) <= leaveAt ? now : leaveAt;
}

function waiting(message: OpenMessage, waitMs: number): Verdict {
  return { do: 'end', message, state: 'due', error: null, waitMs };
}

/** A text of the platform. */
function judgeText(scene: Scene, company: Company, message: DueMessage, left: readonly Fall[] = []): Verdict {
  const { channels, now } = scene;
  const [relay, contact] = [scene.relays.get(message.id), contactOf(scene, message)];
  const maxAttempts = MAX_ATTEMPTS;
  const verdict = judgeRelay(message, { relay, company, contact, channels, maxAttempts, now });
  switch (verdict.do) {
    case 'wait':
      return waiting(message, verdict.until - now);
    case 'drop':
      return { do: 'end', message, state: verdict.state, error: verdict.error };
    case 'say':
      return route(scene, { ...company, route: verdict.route }, message, NOTHING, left);
  }
}

/** A message about a visit, as the plan has it now. */
function judgeVisit(
  scene: Scene,
  company: Company,
  message: OpenMessage,
  left: readonly Fall[] = [],
): Verdict {
  const verdict = plannedVerdict(scene, company, message);
  switch (verdict.do) {
    case 'wait':
      return waiting(message, verdict.until - scene.now);
    case 'drop':
      return { do: 'end', message, state: verdict.state, error: verdict.error };
    case 'say': {
      const routed = route(scene, company, message, { ...NOTHING, visit: verdict.visit }, left);
      if (routed.do === 'send' && isPlanned(message.purpose)) leavingTo(scene, message).push(message.purpose);
      return routed;
    }
  }
}

function plannedVerdict(scene: Scene, company: Company, message: OpenMessage): PlannedVerdict {
  const clientId = clientIdOf(message.recipient);
  if (clientId === undefined) return { do: 'drop', state: 'superseded', error: 'it is for no client' };
  const { known, now } = scene;
  const contact = contactOf(scene, message);
  return judgePlanned(message, {
    known,
    company,
    clientId,
    contact,
    now,
    leaving: leavingTo(scene, message),
  });
}

function leavingTo({ leaving }: Scene, { companyId, recipient }: OpenMessage): PlannedPurpose[] {
  const key = `${companyId}:${recipient}`;
  const list = leaving.get(key) ?? [];
  leaving.set(key, list);
  return list;
}

async function knownOf(
  db: Db,
  companies: ReadonlyMap<number, Company>,
  messages: readonly OpenMessage[],
  now: EpochMs,
): Promise<Known> {
  const clients = messages.flatMap(({ companyId, purpose, recipient }) => {
    const clientId = isPlanned(purpose) ? clientIdOf(recipient) : undefined;
    return clientId === undefined ? [] : [{ companyId, clientId }];
  });
  return clients.length === 0 ? NOTHING_KNOWN : readKnown(db, companies, clients, now);
}

/** An alert is repeated where a notice would not be: heard twice is better than not at all. */
function judgeAlert({ channels, roads }: Scene, message: OpenMessage): Verdict {
  const channel = message.channel === null ? undefined : channels.get(message.channel);
  const road = message.channel === null ? undefined : roads.get(message.channel);
  if (channel === undefined || road === undefined) {
    return { do: 'end', message, state: 'failed', error: 'no such road to the operator is set up here' };
  }
  if (message.state === 'sending' && message.tries >= MAX_ATTEMPTS) {
    return { do: 'end', message, state: 'unknown', error: 'it may have gone out; its outcome was lost' };
  }
  return { do: 'send', message, saying: NOTHING, channel, address: road.address, falls: [] };
}

function judgeAbandoned(scene: Scene, company: Company, message: DueMessage): Verdict {
  const channel = message.channel === null ? undefined : scene.channels.get(message.channel);
  const giveUp: Verdict = {
    do: 'end',
    message,
    state: 'unknown',
    error: 'it may have gone out; its outcome was lost',
  };
  if (channel === undefined || message.tries >= MAX_ATTEMPTS) return giveUp;
  if (message.purpose === 'test' || message.purpose === 'digest') return giveUp;
  if (isPlanned(message.purpose)) {
    const verdict = channel.idempotent ? plannedVerdict(scene, company, message) : undefined;
    if (verdict?.do !== 'say' || !saysTheSame(message.visit, verdict.visit)) return giveUp;
    return route(scene, company, message, { ...NOTHING, visit: verdict.visit });
  }
  const stored = bookingOf(scene, message);
  const { recipient, after, before, kind } = message;
  if (stored === undefined || after === null || kind === null) return giveUp;
  if (isTeam(recipient) && contactOf(scene, message) === undefined) return giveUp;
  if (mayHaveBeenTold(stored.booking, company.quietUntil)) return giveUp;
  const { zone } = company;
  if (
    !mayRepeat({
      idempotent: channel.idempotent && (message.doubtMs ?? 0) <= (channel.remembersMs ?? Infinity),
      booking: stored.booking,
      recipient,
      after,
      zone,
      now: scene.now,
    })
  ) {
    return giveUp;
  }
  return route(scene, company, message, { ...NOTHING, notice: { kind, before, after } });
}

/** By the first channel of the route that can take it. */
function route(
  scene: Scene,
  company: Company,
  message: OpenMessage,
  saying: Saying,
  left: readonly Fall[] = [],
): Verdict {
  const way = chooseWay(scene, company, contactOf(scene, message), message, left);
  if (!('refused' in way)) return { do: 'send', message, saying, ...way };
  const { state, refused, falls } = way;
  return { do: 'end', message, state, error: refused, falls };
}

type PreparedMessage = Pick<ReadyToSend, 'channel' | 'outgoing' | 'step'> & {
  readonly message: OpenMessage;
  readonly saying: Saying;
  readonly falls: readonly Fall[];
};

/** Renders what is to be sent. A text that cannot be rendered fails its own message, not the batch. */
function prepare(
  deps: ClaimDeps,
  scene: Scene,
  secrets: ReadonlyMap<number, string>,
  verdict: Exclude<Verdict, { do: 'hush' }>,
): Unsent | PreparedMessage {
  const { message } = verdict;
  if (verdict.do === 'end') return verdict;
  const { saying, channel, address, falls } = verdict;
  if (message.purpose === 'alert') {
    const secret = scene.roads.get(channel.name)?.secret;
    const outgoing: Outgoing = {
      ...OPERATOR,
      ...{ id: message.id, address, subject: message.subject ?? '', text: message.body ?? '' },
      ...(secret === undefined ? {} : { secret }),
      attempt: message.attempts + 1,
    };
    return { message, saying, channel, outgoing, falls, step: message.step };
  }
  const company = scene.companies.get(message.companyId);
  const contact = contactOf(scene, message);
  if (company === undefined) return { message, state: failed(message), error: 'the company is unknown' };
  const booking = bookingOf(scene, message)?.booking;
  const speaking = {
    client: isTeam(message.recipient) ? clientOf(scene, message) : contact,
    origin: booking?.fields.origin ?? 'unknown',
  } as const;
  const text =
    message.purpose === 'relay'
      ? { subject: '', text: message.body ?? '' }
      : renderSafely(deps.texts, scene, company, speaking, message, saying);
  if (text === undefined) return { message, state: failed(message), error: 'its text could not be rendered' };
  const secret = secrets.get(company.companyId);
  const outgoing: Outgoing = {
    id: message.id,
    companyId: message.companyId,
    recordId: message.recordId,
    purpose: message.purpose,
    address,
    ...text,
    recipient: {
      clientId: clientIdOf(message.recipient) ?? null,
      name: contact?.name ?? '',
      phone: contact?.phone ?? '',
      email: contact?.email ?? '',
      ...memberOf(message),
    },
    ...saying,
    buttons: buttonsFor(deps, channel, company, message, saying),
    ...linksFor(deps, company, message, saying),
    ...validity(company, message, saying),
    ...(secret === undefined ? {} : { secret }),
    attempt: message.attempts + 1,
  };
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
function lostAttempt(message: OpenMessage, now: EpochMs): Attempt {
  return {
    companyId: message.companyId,
    id: message.id,
    number: message.attempts,
    channel: message.channel ?? 'none',
    startedAt: now,
    finishedAt: now,
    outcome: 'unknown',
    reason: 'the process that was sending it ended',
    providerId: null,
    scope: null,
  };
}

function bookingOf(scene: Scene, { companyId, recordId }: OpenMessage): StoredBooking | undefined {
  return recordId === null ? undefined : scene.bookings.get(bookingKey({ companyId, recordId }));
}

function contactOf(scene: Scene, { companyId, recipient }: OpenMessage): Contact | undefined {
  return scene.contacts.get(`${companyId}:${recipient}`);
}

/** Of one of the team, for machines. */
function memberOf({ recipient }: OpenMessage): Pick<Outgoing['recipient'], 'role' | 'staffId'> {
  const role = audienceOf(recipient);
  return role === undefined || role === 'client' ? {} : { role, staffId: staffIdOf(recipient) ?? null };
}

/** The client of the booking that a message is about. */
function clientOf(scene: Scene, message: OpenMessage): Contact | undefined {
  const clientId = bookingOf(scene, message)?.booking.fields.clientId;
  if (typeof clientId !== 'number') return undefined;
  return scene.contacts.get(`${message.companyId}:${clientRecipient(clientId)}`);
}

/** The clients of whom messages to the team speak. No statement where there is none. */
async function spokenOf(
  db: Db,
  messages: readonly OpenMessage[],
  bookings: ReadonlyMap<string, StoredBooking>,
): Promise<Map<string, Contact>> {
  const clients = messages.flatMap(({ companyId, recordId, recipient }) => {
    const stored = recordId === null ? undefined : bookings.get(bookingKey({ companyId, recordId }));
    const clientId = isTeam(recipient) ? stored?.booking.fields.clientId : undefined;
    return typeof clientId === 'number' ? [{ companyId, clientId }] : [];
  });
  return keyedContacts(await findContacts(db, clients));
}

async function contactsOf(db: Db, candidates: readonly Candidate[]): Promise<Map<string, Contact>> {
  const clients = candidates.flatMap(({ companyId, recipient }) => {
    const clientId = clientIdOf(recipient);
    return clientId === undefined ? [] : [{ companyId, clientId }];
  });
  const [contacts, members] = await Promise.all([findContacts(db, clients), membersOf(db, candidates)]);
  return new Map([...keyedContacts(contacts), ...members]);
}

function keyedContacts(contacts: readonly Contact[]): Map<string, Contact> {
  return new Map(
    contacts.map(contact => [`${contact.companyId}:${clientRecipient(contact.clientId)}`, contact]),
  );
}

/** Those of the team to whom something is due, as contacts with one address. No statement where there is none. */
async function membersOf(db: Db, candidates: readonly Candidate[]): Promise<[string, Contact][]> {
  const companyIds = candidates.flatMap(({ companyId, recipient }) => (isTeam(recipient) ? [companyId] : []));
  const places = await findPlaces(db, [...new Set(companyIds)]);
  return places.map(place => {
    const { companyId, name, channel, address, refuses } = place;
    const contact: Contact = {
      ...{ companyId, name, refuses: false, wantsAdvertising: false, refusedAdvertisingOn: [] },
      ...{ clientId: 0, phone: '', email: '' },
      addresses: { [channel]: address },
      refusedOn: refuses ? [channel] : [],
    };
    return [`${companyId}:${memberRecipient(place)}`, contact];
  });
}
