/**
 * Everything that is looked at to decide what becomes of the messages of one claim, read once for all of them, after
 * they and their bookings are locked: what is read later than that cannot be older than what the locks keep.
 */
import type { Channel, ChannelName, Roads } from '../channels/channel.ts';
import type { Digest } from '../domain/digest.ts';
import { clientIdOf, clientRecipient } from '../domain/notice.ts';
import type { PlannedPurpose } from '../domain/plan.ts';
import { isTeam, memberRecipient } from '../domain/team.ts';
import type { EpochMs } from '../domain/time.ts';
import { type Cancelling, findCancelling } from '../store/actions.ts';
import { bookingKey, type StoredBooking } from '../store/bookings.ts';
import { type Company, findCompanies, findSecrets } from '../store/companies.ts';
import { type Contact, type DueMessage, findContacts, type OpenMessage } from '../store/messages.ts';
import type { ClientKey } from '../store/plans.ts';
import type { Db } from '../store/pool.ts';
import { findReached, lockReceiptGivers, type ReachedRow, type ReceiptGiver } from '../store/reached.ts';
import { findPlaces } from '../store/team.ts';
import { findTemplates, templateKey } from '../store/templates.ts';
import type { Vault } from '../vault.ts';
import { type DueBatch, readBatches } from './batch.ts';
import { readDigests } from './digest.ts';
import { type Known, readKnown } from './plan.ts';
import { isPlanned } from './planned.ts';
import { type DueRelay, readRelays } from './relaying.ts';

/** Everything a verdict looks at. */
export type Scene = {
  readonly now: EpochMs;
  readonly bookings: ReadonlyMap<string, StoredBooking>;
  readonly companies: ReadonlyMap<number, Company>;
  readonly contacts: ReadonlyMap<string, Contact>;
  readonly channels: ReadonlyMap<ChannelName, Channel>;
  /** Companies' own, by `templateKey`. */
  readonly templates: ReadonlyMap<string, string>;
  /** Companies' own, by which machines know that it is us, the newest first. */
  readonly secrets: ReadonlyMap<number, readonly string[]>;
  /** What the plans of those to whom something planned is due are made from. */
  readonly known: Known;
  /** Planned messages of this batch that leave, by company and recipient. */
  readonly leaving: Map<string, PlannedPurpose[]>;
  /** What digests of this batch would say, by company. */
  readonly digests: ReadonlyMap<number, Digest>;
  /** What batches of this claim would say, by message. */
  readonly batches: ReadonlyMap<string, DueBatch>;
  readonly roads: Roads;
  /** Texts of the platform among them, by message. */
  readonly relays: ReadonlyMap<string, DueRelay>;
  /** Where people were reached and where not, by company and recipient. */
  readonly reached: ReadonlyMap<string, readonly ReachedRow[]>;
  readonly givers: readonly ReceiptGiver[];
  /** Who is still to be told what came of the cancellation that they asked for themselves, by `cancellingKey`. */
  readonly cancelling: ReadonlySet<string>;
};

/** A notice waits no longer for what came of an answer: one takes half an hour at most unless nobody does it. */
const CANCELLING_MS = 60 * 60_000;

const NOTHING_KNOWN: Known = { bookings: new Map(), planned: new Map() };

export async function readScene(
  { channels, roads, vault }: Pick<Scene, 'channels' | 'roads'> & { readonly vault: Vault },
  db: Db,
  { messages, bookings }: Pick<Scene, 'bookings'> & { readonly messages: readonly DueMessage[] },
  now: EpochMs,
): Promise<Scene> {
  const companyIds = [...new Set(messages.map(({ companyId }) => companyId))];
  const [companies, contacts, sealed, own, reachedRows] = await Promise.all([
    findCompanies(db, companyIds),
    contactsOf(db, messages),
    findSecrets(db, companyIds, 'outbound'),
    findTemplates(db, companyIds),
    findReached(db, messages),
  ]);
  const secrets = openAll(vault, sealed);
  const templates = new Map(own.map(template => [templateKey(template), template.source]));
  const reached = Map.groupBy(reachedRows, ({ companyId, recipient }) => `${companyId}:${recipient}`);
  const known = await knownOf(db, companies, messages, now);
  const relayed = await readRelays(db, companies, messages);
  const digests = await readDigests(db, companies, messages, now);
  const batches = await readBatches(db, companies, messages, now);
  const spoken = await spokenOf(db, messages, bookings);
  const givers = await giversOf(db, messages);
  const cancelling = await cancellingOf(db, messages, bookings, now);
  return {
    ...{ now, bookings, companies, templates, secrets, channels, roads, known, digests },
    ...{ batches, reached, givers, cancelling },
    relays: relayed.relays,
    contacts: new Map([...contacts, ...relayed.contacts, ...spoken]),
    leaving: new Map(),
  };
}

/** One that cannot be opened is left out: its company's webhook says that it has none, and no other company waits for it. */
function openAll(
  { tryOpen }: Vault,
  sealed: ReadonlyMap<number, readonly Buffer[]>,
): Map<number, readonly string[]> {
  const opened = (secret: Buffer) => tryOpen(secret) ?? [];
  return new Map([...sealed].map(([companyId, secrets]) => [companyId, secrets.flatMap(opened)]));
}

export function bookingOf(scene: Scene, { companyId, recordId }: OpenMessage): StoredBooking | undefined {
  return recordId === null ? undefined : scene.bookings.get(bookingKey({ companyId, recordId }));
}

export function contactOf(scene: Scene, { companyId, recipient }: OpenMessage): Contact | undefined {
  return scene.contacts.get(`${companyId}:${recipient}`);
}

/** The client of the booking that a message is about. */
export function clientOf(scene: Scene, message: OpenMessage): Contact | undefined {
  const clientId = bookingOf(scene, message)?.booking.fields.clientId;
  if (typeof clientId !== 'number') return undefined;
  return scene.contacts.get(`${message.companyId}:${clientRecipient(clientId)}`);
}

export function cancellingKey({ companyId, recordId, recipient }: Cancelling): string {
  return `${companyId}:${recordId}:${recipient}`;
}

/** Our own cancellation deletes the record; no statement where none of those that a client is due to hear of is. */
async function cancellingOf(
  db: Db,
  messages: readonly DueMessage[],
  bookings: ReadonlyMap<string, StoredBooking>,
  now: EpochMs,
): Promise<ReadonlySet<string>> {
  const deleted = messages.flatMap(({ companyId, recordId, recipient, purpose, state }) => {
    if (purpose !== 'notice' || state !== 'due' || recordId === null || isTeam(recipient)) return [];
    const stored = bookings.get(bookingKey({ companyId, recordId }));
    return stored?.booking.fields.deleted === true ? [{ companyId, recordId, recipient }] : [];
  });
  const cancelling = await findCancelling(db, deleted, now - CANCELLING_MS);
  return new Set(cancelling.map(cancellingKey));
}

async function knownOf(
  db: Db,
  companies: ReadonlyMap<number, Company>,
  messages: readonly OpenMessage[],
  now: EpochMs,
): Promise<Known> {
  const clients = plannedClients(messages);
  return clients.length === 0 ? NOTHING_KNOWN : readKnown(db, companies, clients, now);
}

/** To whom the planned ones among these go. */
export function plannedClients(messages: readonly OpenMessage[]): ClientKey[] {
  return messages.flatMap(({ companyId, purpose, recipient }) => {
    const clientId = isPlanned(purpose) ? clientIdOf(recipient) : undefined;
    return clientId === undefined ? [] : [{ companyId, clientId }];
  });
}

/**
 * Who tells of messages, where the next step of one is due; no statement where none is. Held: how often they were silent
 * decides here, and is counted at the end of the claim.
 */
async function giversOf(db: Db, messages: readonly DueMessage[]): Promise<ReceiptGiver[]> {
  const companyIds = messages.flatMap(({ companyId, state }) => (state === 'sent' ? [companyId] : []));
  return lockReceiptGivers(db, [...new Set(companyIds)]);
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

async function contactsOf(db: Db, messages: readonly OpenMessage[]): Promise<Map<string, Contact>> {
  const clients = messages.flatMap(({ companyId, recipient }) => {
    const clientId = clientIdOf(recipient);
    return clientId === undefined ? [] : [{ companyId, clientId }];
  });
  const [contacts, members] = await Promise.all([findContacts(db, clients), membersOf(db, messages)]);
  return new Map([...keyedContacts(contacts), ...members]);
}

function keyedContacts(contacts: readonly Contact[]): Map<string, Contact> {
  return new Map(
    contacts.map(contact => [`${contact.companyId}:${clientRecipient(contact.clientId)}`, contact]),
  );
}

/** Those of the team to whom something is due, as contacts; their addresses are in order. No statement where there is none. */
async function membersOf(db: Db, messages: readonly OpenMessage[]): Promise<[string, Contact][]> {
  const companyIds = messages.flatMap(({ companyId, recipient }) => (isTeam(recipient) ? [companyId] : []));
  const members = await findPlaces(db, [...new Set(companyIds)]);
  return members.map(member => {
    const { companyId, name, places } = member;
    const contact: Contact = {
      ...{ companyId, name, refuses: false, wantsAdvertising: false, refusedAdvertisingOn: [] },
      ...{ clientId: 0, phone: '', email: '' },
      addresses: Object.fromEntries(places.map(({ channel, address }) => [channel, address])),
      refusedOn: places.flatMap(({ channel, refuses }) => (refuses ? [channel] : [])),
    };
    return [`${companyId}:${memberRecipient(member)}`, contact];
  });
}
