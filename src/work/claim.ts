/**
 * Claiming: one transaction that looks at the world as it is now, decides what becomes of each due message, fixes
 * what will be said and takes a lease. A message whose sender died is taken up here when its lease ends: it may have
 * left, so it is repeated, word for word, only through a channel that drops repeats; otherwise it is `unknown`.
 */
import type { Button, Channel, ChannelName, Outgoing } from '../channels/channel.ts';
import { writePress } from '../domain/answer.ts';
import { decideNotice, mayHaveBeenTold, mayRepeat } from '../domain/decide.ts';
import { clientIdOf, type Notice } from '../domain/notice.ts';
import { PHRASES } from '../domain/phrases.ts';
import type { Texts } from '../domain/text.ts';
import type { EpochMs } from '../domain/time.ts';
import { bookingKey, lockBookings, type StoredBooking } from '../store/bookings.ts';
import { type Company, findCompanies, findNewestSecrets } from '../store/companies.ts';
import {
  type Attempt,
  type Candidate,
  type Claim,
  type Contact,
  claimMessages,
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
import { type Db, type Pool, transaction, troubleOf } from '../store/pool.ts';
import { findTemplates, templateKey } from '../store/templates.ts';
import type { Vault } from '../vault.ts';
import { followUp, MAX_ATTEMPTS } from './settle.ts';

export type ClaimDeps = {
  readonly pool: Pool;
  readonly now: () => EpochMs;
  readonly channels: ReadonlyMap<ChannelName, Channel>;
  readonly texts: Texts;
  readonly vault: Vault;
  /** Somebody listens to what people answer, so buttons are of use. */
  readonly answers: boolean;
  /** Where a message can be answered by a browser; undefined: we are not to be reached from outside. */
  readonly answerUrl?: ((companyId: number, messageId: string) => string) | undefined;
};

export type ReadyToSend = { readonly channel: Channel; readonly outgoing: Outgoing; readonly step: number };
export type Claimed = { readonly send: readonly ReadyToSend[]; readonly ended: number };

const CONFLICT_TRIES = 3;

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
      readonly notice: Notice | null;
      readonly channel: Channel;
      readonly address: string;
    }
  | {
      readonly do: 'end';
      readonly message: OpenMessage;
      readonly state: MessageEnd['state'];
      readonly error: string | null;
    }
  | { readonly do: 'hush'; readonly message: OpenMessage; readonly notice: Notice };

/** Everything a verdict looks at. */
type Scene = {
  readonly now: EpochMs;
  readonly bookings: ReadonlyMap<string, StoredBooking>;
  readonly companies: ReadonlyMap<number, Company>;
  readonly contacts: ReadonlyMap<string, Contact>;
  readonly channels: ReadonlyMap<ChannelName, Channel>;
  readonly answers: boolean;
  /** Companies' own, by `templateKey`. */
  readonly templates: ReadonlyMap<string, string>;
};

async function claimBatch(
  deps: ClaimDeps,
  db: Db,
  { owner, leaseMs }: { readonly owner: string; readonly leaseMs: number },
  limit: number,
): Promise<Claimed> {
  const now = deps.now();
  const candidates = await findDue(db, now, limit);
  if (candidates.length === 0) return { send: [], ended: 0 };
  const companyIds = [...new Set(candidates.map(candidate => candidate.companyId))];
  const [{ messages, bookings }, companies, contacts, sealed, own] = await Promise.all([
    lockCandidates(db, now, candidates),
    findCompanies(db, companyIds),
    contactsOf(db, candidates),
    findNewestSecrets(db, companyIds, 'outbound'),
    findTemplates(db, companyIds),
  ]);
  const secrets = new Map([...sealed].map(([companyId, secret]) => [companyId, deps.vault.open(secret)]));
  const templates = new Map(own.map(template => [templateKey(template), template.source]));
  const { channels, answers } = deps;
  const scene: Scene = { now, bookings, companies, contacts, templates, channels, answers };

  const verdicts = messages.map(message => judge(scene, message));
  const hushed = verdicts.filter(verdict => verdict.do === 'hush');
  const rendered = verdicts.flatMap(verdict =>
    verdict.do === 'hush' ? [] : [prepare(deps, scene, secrets, verdict)],
  );
  const send = rendered.filter(item => 'outgoing' in item);
  const ends = rendered.filter(item => 'state' in item);

  const abandoned = messages.filter(message => message.state === 'sending');
  const unknown = ends.filter(end => end.state === 'unknown').map(({ message }) => message);
  const silent = hushed.map(({ message, notice }) => ({ ...message, after: notice.after }));
  await Promise.all([
    claimMessages(db, owner, leaseMs, send.map(claimOf)),
    recordAttempts(
      db,
      abandoned.map(message => lostAttempt(message, now)),
    ),
    endMessages(db, ends.map(endOf), now),
    hushMessages(db, hushed.map(hushOf), now),
    followUp(
      db,
      [...unknown, ...silent].map(message => ({ message, heard: true })),
      { bookings, companies, now },
    ),
  ]);
  return { send, ended: ends.length + hushed.length };
}

/** Locks in the order bookings, messages; whatever another transaction holds is left for the next round. */
async function lockCandidates(
  db: Db,
  now: EpochMs,
  candidates: readonly Candidate[],
): Promise<{ messages: OpenMessage[]; bookings: Map<string, StoredBooking> }> {
  const keys = candidates.flatMap(({ companyId, recordId }) =>
    recordId === null ? [] : [{ companyId, recordId }],
  );
  const [bookings, locked] = await Promise.all([
    lockBookings(db, keys, { skipLocked: true }),
    lockDue(db, now, candidates),
  ]);
  const messages = locked.filter(
    ({ companyId, recordId }) => recordId === null || bookings.has(bookingKey({ companyId, recordId })),
  );
  return { messages, bookings };
}

function judge(scene: Scene, message: OpenMessage): Verdict {
  const end = (state: MessageEnd['state'], error: string | null): Verdict => ({
    do: 'end',
    message,
    state,
    error,
  });
  const company = scene.companies.get(message.companyId);
  if (company === undefined) return end('failed', 'the company is unknown');
  if (company.removed) return end('failed', 'the company was removed');
  if (company.stopped) return end('failed', 'the salon switched us off');
  if (message.state === 'sending') return judgeAbandoned(scene, company, message);
  if (message.purpose === 'test') return route(scene, company, message, null);
  const stored = bookingOf(scene, message);
  if (stored === undefined) return end('failed', 'the booking is unknown');
  const { booking, told } = stored;
  const { recipient, step } = message;
  const decision = decideNotice({ booking, told, recipient, step, zone: company.zone, now: scene.now });
  switch (decision.do) {
    case 'expire':
      return end('expired', null);
    case 'supersede':
      return end('superseded', null);
    case 'send':
      if (mayHaveBeenTold(booking, company.quietUntil)) {
        return { do: 'hush', message, notice: decision.notice };
      }
      return route(scene, company, message, decision.notice);
  }
}

function judgeAbandoned(scene: Scene, company: Company, message: OpenMessage): Verdict {
  const channel = message.channel === null ? undefined : scene.channels.get(message.channel);
  const giveUp: Verdict = {
    do: 'end',
    message,
    state: 'unknown',
    error: 'it may have gone out; its outcome was lost',
  };
  if (channel === undefined || message.attempts >= MAX_ATTEMPTS) return giveUp;
  if (message.purpose === 'test') return giveUp;
  const stored = bookingOf(scene, message);
  const { recipient, after, before, kind } = message;
  if (stored === undefined || after === null || kind === null) return giveUp;
  if (mayHaveBeenTold(stored.booking, company.quietUntil)) return giveUp;
  const { zone } = company;
  if (
    !mayRepeat({
      idempotent: channel.idempotent,
      booking: stored.booking,
      recipient,
      after,
      zone,
      now: scene.now,
    })
  ) {
    return giveUp;
  }
  return route(scene, company, message, { kind, before, after });
}

/** The first channel of the company's route that is set up here and for which the recipient has an address. */
function route(scene: Scene, company: Company, message: OpenMessage, notice: Notice | null): Verdict {
  const refuse = (error: string): Verdict => ({ do: 'end', message, state: 'failed', error });
  const contact = contactOf(scene, message);
  if (contact?.refuses) return refuse('the client does not want messages');
  const names = message.channel === null ? company.route : [message.channel];
  const causes: string[] = [];
  for (const name of names) {
    const channel = [...scene.channels.values()].find(candidate => candidate.name === name);
    const address = addressOn(name, company, contact, message);
    if (contact?.refusedOn.includes(name)) causes.push(`they want none on ${name}`);
    else if (channel === undefined) causes.push(`${name} is not configured`);
    else if (address === undefined) causes.push(`no address on ${name}`);
    else return { do: 'send', message, notice, channel, address };
  }
  return refuse(causes.join(', '));
}

/** Undefined: cannot be reached there. Empty: the channel has one destination and needs no address. */
function addressOn(
  name: string,
  company: Company,
  contact: Contact | undefined,
  message: OpenMessage,
): string | undefined {
  if (message.purpose === 'test' && message.recipient !== '') return message.recipient;
  switch (name) {
    case 'console':
      return '';
    case 'webhook':
      return company.webhookUrl ?? undefined;
    case 'email':
      return contact?.addresses.email ?? (contact?.email || undefined);
    default:
      return contact?.addresses[name];
  }
}

type EndedMessage = {
  readonly message: OpenMessage;
  readonly state: MessageEnd['state'];
  readonly error: string | null;
};
type PreparedMessage = ReadyToSend & { readonly message: OpenMessage; readonly notice: Notice | null };

/** Renders what is to be sent. A text that cannot be rendered fails its own message, not the batch. */
function prepare(
  deps: ClaimDeps,
  scene: Scene,
  secrets: ReadonlyMap<number, string>,
  verdict: Exclude<Verdict, { do: 'hush' }>,
): EndedMessage | PreparedMessage {
  const { message } = verdict;
  if (verdict.do === 'end') return { message, state: verdict.state, error: verdict.error };
  const { notice, channel, address } = verdict;
  const company = scene.companies.get(message.companyId);
  const contact = contactOf(scene, message);
  if (company === undefined) return { message, state: 'failed', error: 'the company is unknown' };
  const text = renderSafely(deps.texts, scene, company, contact, notice);
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
    notice,
    buttons: buttonsFor(scene, company, message, notice),
    ...linksFor(deps, company, message, notice),
    ...(secret === undefined ? {} : { secret }),
    attempt: message.attempts + 1,
  };
  return { message, notice, channel, outgoing, step: message.step };
}

/** Can what is said be answered: the visit stands, and the platform's API, where answers are written, is open to us. */
function isAnswerable({ apiUsable }: Company, notice: Notice | null): boolean {
  return apiUsable && notice !== null && notice.after.status !== 'cancelled';
}

function linksFor(
  { answerUrl }: ClaimDeps,
  company: Company,
  { id }: OpenMessage,
  notice: Notice | null,
): Pick<Outgoing, 'links'> {
  if (answerUrl === undefined || notice === null) return {};
  const url = answerUrl(company.companyId, id);
  const answer = { label: PHRASES[company.locale].confirmOrCancel, url };
  return { links: { ...(isAnswerable(company, notice) ? { answer } : {}), stop: `${url}/stop` } };
}

function buttonsFor(
  { answers }: Scene,
  company: Company,
  { id: messageId }: OpenMessage,
  notice: Notice | null,
): readonly Button[] {
  if (!answers || !isAnswerable(company, notice)) return [];
  const { companyId, locale } = company;
  const { confirm, cancel } = PHRASES[locale];
  return [
    { label: confirm, press: writePress({ act: 'confirm', companyId, messageId }) },
    { label: cancel, press: writePress({ act: 'ask_cancel', companyId, messageId }) },
  ];
}

function renderSafely(
  texts: Texts,
  { templates }: Scene,
  company: Company,
  contact: Contact | undefined,
  notice: Notice | null,
): { subject: string; text: string } | undefined {
  try {
    const { companyId, locale } = company;
    const kind = notice?.kind ?? 'test';
    const input = {
      notice,
      client: { name: contact?.name ?? '' },
      company: { title: company.title, address: company.address, phone: company.phone },
    };
    return texts.render(kind, locale, input, templates.get(templateKey({ companyId, locale, kind })));
  } catch {
    return undefined;
  }
}

function claimOf({ message, notice, channel }: PreparedMessage): Claim {
  return {
    companyId: message.companyId,
    id: message.id,
    kind: notice?.kind ?? null,
    channel: channel.name,
    before: notice?.before ?? null,
    after: notice?.after ?? null,
    uncertain: message.uncertain || message.state === 'sending',
  };
}

function hushOf({
  message: { companyId, id },
  notice: { kind, before, after },
}: {
  readonly message: OpenMessage;
  readonly notice: Notice;
}): Hush {
  return { companyId, id, kind, before, after };
}

function endOf({ message, state, error }: EndedMessage): MessageEnd {
  const { companyId, id } = message;
  return { companyId, id, state, error, retryInMs: null, providerId: null, subject: null, body: null };
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
