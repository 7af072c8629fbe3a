/**
 * Batches at the claim. What joins one has been heard, as far as `told` is concerned: it is said once, with the batch.
 * A batch that is due is locked from before its parts are read until it is claimed, so that nothing joins it unseen.
 */
import { type Batch, type BatchChange, batchHour, batchOf, type SpokenChange } from '../domain/batch.ts';
import type { Booking } from '../domain/booking.ts';
import type { Notice } from '../domain/notice.ts';
import { noticeAfterQuiet } from '../domain/quiet.ts';
import { audienceOf } from '../domain/team.ts';
import type { EpochMs } from '../domain/time.ts';
import { newId } from '../ids.ts';
import {
  type Concern,
  findChanging,
  findParts,
  joinBatches,
  moveParts,
  openBatches,
  type StoredPart,
} from '../store/batches.ts';
import { bookingKey, findBookings, type StoredBooking } from '../store/bookings.ts';
import type { Company } from '../store/companies.ts';
import { type Contact, findContacts, type OpenMessage, type SaidRecord } from '../store/messages.ts';
import { clientKey } from '../store/plans.ts';
import type { Db } from '../store/pool.ts';

/** A batch of a company that gathers no more lets what is changing settle. */
const AFTERWARDS_MS = 60_000;

export type DueBatch = Batch<SpokenChange>;
const NOTHING: DueBatch = { changes: [], later: [] };

export type Gathered = { readonly message: OpenMessage; readonly notice: Notice; readonly at: EpochMs };

/** Notices join the batches of their recipients in place of leaving. */
export async function gather(db: Db, gathered: readonly Gathered[], now: EpochMs): Promise<void> {
  const batchOfEach = await openFor(
    db,
    gathered.map(({ message, at }) => ({ ...message, at })),
    now,
  );
  const joining = gathered.map(({ message, notice }) => ({
    ...{ companyId: message.companyId, id: message.id, ...notice },
    partOf: batchOfEach(message),
  }));
  await joinBatches(db, joining, now);
}

/** Parts that the batch which leaves could not say go with the next one. */
export async function leaveForNext(
  db: Db,
  left: readonly { readonly message: OpenMessage; readonly batch: DueBatch | undefined }[],
  companies: ReadonlyMap<number, Company>,
  now: EpochMs,
): Promise<void> {
  const some = left.filter(({ batch }) => batch !== undefined && batch.later.length > 0);
  const batchOfEach = await openFor(
    db,
    some.map(({ message }) => ({ ...message, at: nextHour(message, companies.get(message.companyId), now) })),
    now,
  );
  const parts = some.flatMap(({ message, batch }) =>
    (batch?.later ?? []).map(id => ({ companyId: message.companyId, id, partOf: batchOfEach(message) })),
  );
  await moveParts(db, parts);
}

function nextHour(
  { recipient }: Pick<OpenMessage, 'recipient'>,
  company: Company | undefined,
  now: EpochMs,
): EpochMs {
  return (company && batchHour(company.policy, recipient, company.zone, now)) ?? now + AFTERWARDS_MS;
}

type Whose = Pick<OpenMessage, 'companyId' | 'recipient'>;
const keyOf = ({ companyId, recipient }: Whose) => `${companyId}:${recipient}`;

async function openFor(
  db: Db,
  wanted: readonly (Whose & { readonly at: EpochMs })[],
  now: EpochMs,
): Promise<(whose: Whose) => string> {
  const each = new Map(wanted.map(one => [keyOf(one), one]));
  const rows = [...each.values()].map(({ companyId, recipient, at }) => ({
    companyId,
    recipient,
    at,
    id: newId(),
  }));
  const open = new Map((await openBatches(db, rows, now)).map(batch => [keyOf(batch), batch.id]));
  return whose => {
    const id = open.get(keyOf(whose));
    if (id === undefined) throw new Error(`no batch gathers for ${whose.recipient}`);
    return id;
  };
}

/** What batches that are due would say, by message. No statement where none is due. */
export async function readBatches(
  db: Db,
  companies: ReadonlyMap<number, Company>,
  messages: readonly OpenMessage[],
  now: EpochMs,
): Promise<Map<string, DueBatch>> {
  const due = messages.filter(({ purpose }) => purpose === 'batch');
  const parts = await findParts(db, due);
  if (parts.length === 0) return new Map();
  // Read in this order: what changes after its booking was read has its notice when those are looked for.
  const stored = await findBookings(db, parts);
  const changing = await findChanging(db, concernsOf(due, parts));
  const clients = await clientsOf(db, [...stored.values()]);
  return new Map(
    due.flatMap((message): [string, DueBatch][] => {
      const company = companies.get(message.companyId);
      if (company === undefined) return [];
      const read = { parts, stored, changing: changing.filter(({ partOf }) => partOf === message.id) };
      const { changes, later } = dueBatch(message, company, read, now);
      const spoken = changes.map(change => ({
        ...change,
        client: clientOf(clients, stored, company, change),
      }));
      return [[message.id, { changes: spoken, later }]];
    }),
  );
}

type Read = {
  readonly parts: readonly StoredPart[];
  readonly stored: ReadonlyMap<string, StoredBooking>;
  /** Of this batch's recipient. */
  readonly changing: readonly Concern[];
};

function dueBatch(
  { id, recipient }: OpenMessage,
  { companyId, policy, zone }: Company,
  { parts, stored, changing }: Read,
  now: EpochMs,
): Batch {
  const theirs = parts.filter(({ partOf }) => partOf === id);
  const bookings = theirs.flatMap(({ recordId }): [number, Booking][] => {
    const found = stored.get(bookingKey({ companyId, recordId }));
    return found === undefined ? [] : [[recordId, found.booking]];
  });
  return batchOf({
    ...{ parts: theirs, bookings: new Map(bookings), changing: new Set(changing.map(one => one.recordId)) },
    ...{ recipient, policy, zone, now },
  });
}

function concernsOf(due: readonly OpenMessage[], parts: readonly StoredPart[]): Concern[] {
  const recipients = new Map(due.map(({ id, recipient }) => [id, recipient]));
  return parts.map(({ companyId, recordId, partOf }) => ({
    ...{ companyId, recordId, partOf, recipient: recipients.get(partOf) ?? '' },
  }));
}

async function clientsOf(db: Db, bookings: readonly StoredBooking[]): Promise<Map<string, Contact>> {
  const clients = bookings.flatMap(({ companyId, booking: { fields } }) =>
    typeof fields.clientId === 'number' ? [{ companyId, clientId: fields.clientId }] : [],
  );
  const contacts = await findContacts(db, clients);
  return new Map(contacts.map(contact => [clientKey(contact), contact]));
}

function clientOf(
  clients: ReadonlyMap<string, Contact>,
  stored: ReadonlyMap<string, StoredBooking>,
  { companyId }: Company,
  { recordId }: BatchChange,
): SpokenChange['client'] {
  const clientId = stored.get(bookingKey({ companyId, recordId }))?.booking.fields.clientId;
  const contact = typeof clientId === 'number' ? clients.get(clientKey({ companyId, clientId })) : undefined;
  return { name: contact?.name ?? '', phone: contact?.phone ?? '' };
}

export type BatchVerdict =
  | { readonly do: 'say'; readonly changes: readonly SpokenChange[]; readonly visit: readonly SaidRecord[] }
  | { readonly do: 'wait'; readonly until: EpochMs }
  | { readonly do: 'end'; readonly state: 'unknown' | 'superseded'; readonly error: string };

/** What becomes of a batch that is due; `batch` is what it would say. */
export function judgeBatch(
  message: Pick<OpenMessage, 'plannedFor' | 'recipient'>,
  company: Company,
  batch: DueBatch = NOTHING,
  now: EpochMs,
): BatchVerdict {
  const { plannedFor, recipient } = message;
  const { policy, zone, quietUntil } = company;
  if (quietUntil !== null && plannedFor !== null && plannedFor <= quietUntil) {
    const error = 'a backup was restored; it may have been said before that';
    return { do: 'end', state: 'unknown', error };
  }
  const { changes, later } = batch;
  if (changes.length === 0) {
    const error = later.length > 0 ? 'all of it goes with the next one' : 'there is nothing left to say';
    return { do: 'end', state: 'superseded', error };
  }
  const leaveAt = noticeAfterQuiet(policy, audienceOf(recipient) ?? 'client', now, zone);
  if (leaveAt > now) return { do: 'wait', until: leaveAt };
  return { do: 'say', changes, visit: changes.map(({ recordId, after }) => ({ recordId, ...after })) };
}
