/**
 * Claiming: one transaction that looks at the world as it is now, decides what becomes of each due message, fixes
 * what will be said and takes a lease. A message whose sender died is taken up here when its lease ends: it may have
 * left, so it is repeated, word for word, only through a channel that drops repeats; otherwise it is `unknown`.
 */
import { type Channel, type ChannelName, OPERATOR, type Outgoing, type Roads } from '../channels/channel.ts';
import { startsAt } from '../domain/booking.ts';
import { decideNotice, mayHaveBeenTold, mayRepeat } from '../domain/decide.ts';
import { clientIdOf, type Notice } from '../domain/notice.ts';
import { takeTurn } from '../domain/pace.ts';
import { CATEGORY_OF, type PlannedPurpose } from '../domain/plan.ts';
import { tells } from '../domain/policy.ts';
import { afterQuiet } from '../domain/quiet.ts';
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
import { findTemplates, templateKey } from '../store/templates.ts';
import type { Vault } from '../vault.ts';
import { type Known, readKnown } from './plan.ts';
import { isPlanned, judgePlanned, type PlannedVerdict, saysTheSame } from './planned.ts';
import { type DueRelay, judgeRelay, readRelays } from './relaying.ts';
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
};
/** A message that ends without being sent. */
export type Unsent = {
  readonly message: OpenMessage;
  readonly state: MessageEnd['state'];
  readonly error: string | null;
  /** For `due`: it only waits on, until it is looked at again. */
  readonly waitMs?: number;
};
export type Claimed = {
  readonly send: readonly ReadyToSend[];
  readonly unsent: readonly Unsent[];
  /** How many were put off until their channel's rate lets them leave. */
  readonly snoozed: number;
  /** Whence what is said of a booking came; undefined of a test, and when its event is pruned. */
  originOf(about: { readonly companyId: number; readonly recordId: number | null }): Origin | undefined;
};

const CONFLICT_TRIES = 3;
const NOTHING_KNOWN: Known = { bookings: new Map(), planned: new Map() };
const NOTHING_CLAIMED: Claimed = { send: [], unsent: [], snoozed: 0, originOf: () => undefined };

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
    }
  | {
      readonly do: 'end';
      readonly message: OpenMessage;
      readonly state: MessageEnd['state'];
      readonly error: string | null;
      /** For `due`: when to look at it again. */
      readonly waitMs?: number;
    }
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
  readonly roads: Roads;
  /** Texts of the platform among them, by message. */
  readonly relays: ReadonlyMap<string, DueRelay>;
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
  const [{ messages, bookings }, companies, contacts, sealed, own, origins] = await Promise.all([
    lockCandidates(db, { now, leaseMs }, candidates),
    findCompanies(db, companyIds),
    contactsOf(db, candidates),
    findNewestSecrets(db, companyIds, 'outbound'),
    findTemplates(db, companyIds),
    findOrigins(db, bookingsOf(candidates)),
  ]);
  const originOf: Claimed['originOf'] = ({ companyId, recordId }) =>
    recordId === null ? undefined : origins.get(bookingKey({ companyId, recordId }));
  const secrets = new Map([...sealed].map(([companyId, secret]) => [companyId, deps.vault.open(secret)]));
  const templates = new Map(own.map(template => [templateKey(template), template.source]));
  const known = await knownOf(db, companies, messages, now);
  const texts = await readRelays(db, companies, messages);
  const { channels, roads } = deps;
  const scene: Scene = {
    ...{ now, bookings, companies, templates, channels, roads, known, relays: texts.relays },
    contacts: new Map([...contacts, ...texts.contacts]),
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
  );
  const ends = rendered.filter(item => 'state' in item);

  const abandoned = messages.filter(message => message.state === 'sending');
  const unknown = ends.filter(end => end.state === 'unknown').map(({ message }) => message);
  const silent = hushed.map(({ message, notice }) => ({ ...message, after: notice.after }));
  await Promise.all([
    claimMessages(
      db,
      owner,
      leaseMs,
      send.map(prepared => claimOf(prepared, originOf(prepared.message))),
    ),
    recordAttempts(
      db,
      abandoned.map(message => lostAttempt(message, now)),
    ),
    endMessages(db, [...ends.map(endOf), ...snoozed], now),
    hushMessages(db, hushed.map(hushOf), now),
    followUp(
      db,
      [...unknown, ...silent].map(message => ({ message, heard: true })),
      { bookings, companies, now },
    ),
  ]);
  return { send, unsent: [...ends, ...hushed], snoozed: snoozed.length, originOf };
}

/**
 * Gives each message its slot in the rate of its channel, shared by all processes. What has to wait is put off, which
 * is no attempt: nothing was tried. Locks come after those of bookings and messages.
 */
async function takeTurns(
  db: Db,
  prepared: readonly PreparedMessage[],
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
    if (turn.granted) send.push({ ...item, inMs: turn.inMs, recovering });
    else snoozed.push(snoozeOf(item.message, name, turn.inMs));
  }
  await saveSlots(db, locked);
  return { send, snoozed };
}

/** Back to where it was, until its turn comes. What may have gone out stays claimed in form. */
function snoozeOf({ companyId, id, state }: OpenMessage, channel: ChannelName, inMs: number): MessageEnd {
  return {
    ...{ companyId, id, state, retryInMs: Math.ceil(inMs) },
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
  if (company === undefined) return end('failed', 'the company is unknown');
  if (company.removed) return end('failed', 'the company was removed');
  if (company.stopped) return end('failed', 'the salon switched us off');
  if (message.purpose === 'relay') return judgeText(scene, company, message);
  if (message.state === 'sending') return judgeAbandoned(scene, company, message);
  if (message.purpose === 'test') return route(scene, company, message, NOTHING);
  if (isPlanned(message.purpose)) return judgeVisit(scene, company, message);
  const stored = bookingOf(scene, message);
  if (stored === undefined) return end('failed', 'the booking is unknown');
  return judgeNotice(scene, company, message, stored);
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
  if (!tells(company.policy, notice.kind, booking.fields.origin ?? 'unknown', 'client')) {
    return hush('superseded', 'the policy tells nobody of it');
  }
  const leaveAt = afterQuiet(company.policy, 'notices', scene.now, company.zone) ?? scene.now;
  const startsBefore = (startsAt(booking, company.zone) ?? 0) <= leaveAt;
  // Told in the quiet hours rather than after the visit.
  if (leaveAt > scene.now && !startsBefore) return waiting(message, leaveAt - scene.now);
  return route(scene, company, message, { notice, visit: null });
}

function waiting(message: OpenMessage, waitMs: number): Verdict {
  return { do: 'end', message, state: 'due', error: null, waitMs };
}

/** A text of the platform. */
function judgeText(scene: Scene, company: Company, message: DueMessage): Verdict {
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
      return route(scene, { ...company, route: verdict.route }, message, NOTHING);
  }
}

/** A message about a visit, as the plan has it now. */
function judgeVisit(scene: Scene, company: Company, message: OpenMessage): Verdict {
  const verdict = plannedVerdict(scene, company, message);
  switch (verdict.do) {
    case 'wait':
      return waiting(message, verdict.until - scene.now);
    case 'drop':
      return { do: 'end', message, state: verdict.state, error: verdict.error };
    case 'say': {
      const routed = route(scene, company, message, { notice: null, visit: verdict.visit });
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
  if (message.state === 'sending' && message.attempts >= MAX_ATTEMPTS) {
    return { do: 'end', message, state: 'unknown', error: 'it may have gone out; its outcome was lost' };
  }
  return { do: 'send', message, saying: NOTHING, channel, address: road.address };
}

function judgeAbandoned(scene: Scene, company: Company, message: DueMessage): Verdict {
  const channel = message.channel === null ? undefined : scene.channels.get(message.channel);
  const giveUp: Verdict = {
    do: 'end',
    message,
    state: 'unknown',
    error: 'it may have gone out; its outcome was lost',
  };
  if (channel === undefined || message.attempts >= MAX_ATTEMPTS) return giveUp;
  if (message.purpose === 'test') return giveUp;
  if (isPlanned(message.purpose)) {
    const verdict = channel.idempotent ? plannedVerdict(scene, company, message) : undefined;
    if (verdict?.do !== 'say' || !saysTheSame(message.visit, verdict.visit)) return giveUp;
    return route(scene, company, message, { notice: null, visit: verdict.visit });
  }
  const stored = bookingOf(scene, message);
  const { recipient, after, before, kind } = message;
  if (stored === undefined || after === null || kind === null) return giveUp;
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
  return route(scene, company, message, { notice: { kind, before, after }, visit: null });
}

/** The first channel of the company's route that is set up here and for which the recipient has an address. */
function route(scene: Scene, company: Company, message: OpenMessage, saying: Saying): Verdict {
  const refuse = (error: string): Verdict => ({ do: 'end', message, state: 'failed', error });
  const contact = contactOf(scene, message);
  if (contact?.refuses) return refuse('the client does not want messages');
  const advertising =
    scene.relays.get(message.id)?.category === 'advertising' ||
    (isPlanned(message.purpose) && CATEGORY_OF[message.purpose] === 'advertising');
  const refused = new Set([
    ...(contact?.refusedOn ?? []),
    ...(advertising ? (contact?.refusedAdvertisingOn ?? []) : []),
  ]);
  const names = message.channel === null ? company.route : [message.channel];
  const causes: string[] = [];
  for (const name of names) {
    const channel = [...scene.channels.values()].find(candidate => candidate.name === name);
    const address = channel && addressOn(channel, company, contact, message);
    if (refused.has(name)) causes.push(`they want none on ${name}`);
    else if (channel === undefined) causes.push(`${name} is not configured`);
    else if (address === undefined) causes.push(`no address on ${name}`);
    else return { do: 'send', message, saying, channel, address };
  }
  return refuse(causes.join(', '));
}

/** A phone that could not be read as a number is kept as it came, and is nobody's address. */
const E164 = /^\+[1-9]\d{6,14}$/;

/** Undefined: cannot be reached there. Empty: the channel has one destination and needs no address. */
function addressOn(
  { name, traits }: Channel,
  company: Company,
  contact: Contact | undefined,
  message: OpenMessage,
): string | undefined {
  if (message.purpose === 'test' && message.recipient !== '') return message.recipient;
  const set = contact?.addresses[name];
  switch (traits.address) {
    case 'none':
      return '';
    case 'url':
      return company.webhookUrl ?? undefined;
    case 'email':
      return set ?? (contact?.email || undefined);
    case 'phone':
      return set ?? (E164.test(contact?.phone ?? '') ? contact?.phone : undefined);
    case 'chat':
      return set;
  }
}

type PreparedMessage = Pick<ReadyToSend, 'channel' | 'outgoing' | 'step'> & {
  readonly message: OpenMessage;
  readonly saying: Saying;
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
  const { saying, channel, address } = verdict;
  if (message.purpose === 'alert') {
    const secret = scene.roads.get(channel.name)?.secret;
    const outgoing: Outgoing = {
      ...OPERATOR,
      ...{ id: message.id, address, subject: message.subject ?? '', text: message.body ?? '' },
      ...(secret === undefined ? {} : { secret }),
      attempt: message.attempts + 1,
    };
    return { message, saying, channel, outgoing, step: message.step };
  }
  const company = scene.companies.get(message.companyId);
  const contact = contactOf(scene, message);
  if (company === undefined) return { message, state: 'failed', error: 'the company is unknown' };
  const text =
    message.purpose === 'relay'
      ? { subject: '', text: message.body ?? '' }
      : renderSafely(deps.texts, scene, company, contact, message.purpose, saying);
  if (text === undefined) return { message, state: 'failed', error: 'its text could not be rendered' };
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
    },
    ...saying,
    buttons: buttonsFor(deps, channel, company, message, saying),
    ...linksFor(deps, company, message, saying),
    ...validity(company, message, saying),
    ...(secret === undefined ? {} : { secret }),
    attempt: message.attempts + 1,
  };
  return { message, saying, channel, outgoing, step: message.step };
}

function claimOf({ message, saying, channel }: PreparedMessage, origin: Origin | undefined): Claim {
  const { notice, visit } = saying;
  return {
    companyId: message.companyId,
    id: message.id,
    kind: notice?.kind ?? null,
    channel: channel.name,
    before: notice?.before ?? null,
    after: factsOf(saying),
    visit,
    uncertain: message.uncertain || message.state === 'sending',
    requestId: origin?.requestId ?? null,
    traceparent: origin?.traceparent ?? null,
  };
}

function hushOf(verdict: Extract<Verdict, { do: 'hush' }>): Hush {
  const { message, notice, state, error } = verdict;
  return { companyId: message.companyId, id: message.id, state, error, ...notice };
}

function endOf({ message, state, error, waitMs }: Unsent): MessageEnd {
  const { companyId, id } = message;
  return {
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

async function contactsOf(db: Db, candidates: readonly Candidate[]): Promise<Map<string, Contact>> {
  const clients = candidates.flatMap(({ companyId, recipient }) => {
    const clientId = clientIdOf(recipient);
    return clientId === undefined ? [] : [{ companyId, clientId }];
  });
  const contacts = await findContacts(db, clients);
  return new Map(contacts.map(contact => [`${contact.companyId}:client:${contact.clientId}`, contact]));
}
