/**
 * Erasing a person from one company (152-FZ, art. 21; GDPR, art. 17). What they are called and how they are reached is
 * removed everywhere; that something came in or went out, of which kind, when and with what outcome, is kept.
 *
 * A keyed hash of the client's id stays, so that the platform, which may go on speaking of the client, does not bring
 * them back: such events lose their people as they are processed (work/forget.ts). Without OTKLIK_KEY the hash says
 * nothing, and with it only whether an id one already has was erased.
 */

import { normalisePhone, phoneInBase64, phonePattern, typedPhone } from '../domain/phone.ts';
import { MissingError } from '../log.ts';
import { audit } from '../store/companies.ts';
import {
  addErased,
  awaitBatches,
  countEvents,
  dropErased,
  ERASURES,
  type EventSearch,
  findClientsByPhone,
  findPageEnd,
  findRecords,
  findSuspects,
  findTraces,
  type SuspectEvent,
  scrubEvents,
  type Traces,
} from '../store/erase.ts';
import { type Leftover, readLastSeq, scanAll } from '../store/leftovers.ts';
import { type Db, type Pool, retried, transaction } from '../store/pool.ts';
import type { Vault } from '../vault.ts';
import { clientsIn, withoutPeople } from '../yclients/scrub.ts';
import { requireEverCompany } from './companies.ts';

export type EraseDeps = {
  /** Its statements may take as long as reading all events of the company. */
  readonly pool: Pool;
  readonly vault: Vault;
  readonly actor: 'command' | 'api';
};

export type Whom =
  | { readonly companyId: number; readonly clientId: number }
  | { readonly companyId: number; readonly phone: string };

export type Erasure = {
  /** Clients of the platform that were this person. */
  readonly clients: number;
  /** Rows touched, by table. */
  readonly rows: { readonly [table: string]: number };
  /** What the scan looked for: an id is in fewer places than a phone, and a name is looked for nowhere. */
  readonly scannedFor: readonly ('id' | 'phone' | 'email' | 'address')[];
  /** Where something was found that we do not know how to remove; empty as it should be. */
  readonly left: readonly Leftover[];
};

/** Some 200 ms of reading. */
const PAGE = 2_000;
const FIRST_ID = '00000000-0000-0000-0000-000000000000';
const LAST_ID = 'ffffffff-ffff-ffff-ffff-ffffffffffff';

/**
 * What is done at the moment, and how much of it: `search` finds what the person is called, `wait` lets events under way
 * end, `events` and `tables` take the person out of them, `scan` looks through every column.
 */
export type EraseStep = 'search' | 'wait' | 'events' | 'tables' | 'scan';
export type EraseProgress = (step: EraseStep, done?: number, of?: number) => void;

export type EraseOptions = {
  /** Does it all and takes it back. */
  readonly dryRun?: boolean;
  readonly onProgress?: EraseProgress;
};

/** Throws `MissingError` when there is no such company, or nothing is known of somebody with this phone. */
export async function erasePerson(
  { pool, vault, actor }: EraseDeps,
  whom: Whom,
  { dryRun = false, onProgress = () => {} }: EraseOptions = {},
): Promise<Erasure> {
  const { companyId } = whom;
  onProgress('search');
  // One that was removed has its data still.
  await requireEverCompany(pool, companyId);
  const lastSeq = await readLastSeq(pool);
  const traces = await tracesOf(pool, whom);
  if (!dryRun && traces.clientIds.length > 0) {
    const hashes = traces.clientIds.map(id => vault.hashClient(companyId, id));
    onProgress('wait');
    await retried(() => transaction(pool, db => addErased(db, companyId, hashes)));
    await retried(() => transaction(pool, awaitBatches));
  }
  const left = { companyId, traces, lastSeq, onProgress };
  const work = async (db: Db) => {
    const erasure = await eraseTraces(db, companyId, traces, onProgress);
    const total = Object.values(erasure.rows).reduce((sum, count) => sum + count, 0);
    if (total === 0 && !('clientId' in whom)) throw unknown(companyId);
    await audit(db, { actor, action: 'person.erase', companyId, subject: `${total} rows` });
    if (dryRun) throw new DryRun({ ...erasure, left: await leftOf(db, left) });
    return erasure;
  };
  try {
    const erasure = await retried(() => transaction(pool, work));
    // Afterwards: it takes the longest, and what was erased is locked until the end of its transaction.
    return { ...erasure, left: await leftOf(pool, left) };
  } catch (error) {
    if (error instanceof DryRun) return error.erasure;
    throw error;
  }
}

/** Rolls back what was only tried. */
class DryRun extends Error {
  override readonly name = 'DryRun';
  readonly erasure: Erasure;
  constructor(erasure: Erasure) {
    super('a dry run is taken back');
    this.erasure = erasure;
  }
}

function unknown(companyId: number): MissingError {
  return new MissingError(`nothing is known of this person in company ${companyId}`);
}

/** Lets a client who was erased be known again, from the next event on. */
export async function readmitPerson(
  { pool, vault, actor }: EraseDeps,
  { companyId, clientId }: { readonly companyId: number; readonly clientId: number },
): Promise<void> {
  await transaction(pool, async db => {
    if (!(await dropErased(db, companyId, vault.hashClient(companyId, clientId)))) {
      throw new MissingError(`company ${companyId} has no such erased client`);
    }
    await audit(db, { actor, action: 'person.readmit', companyId });
  });
}

async function tracesOf(db: Db, whom: Whom): Promise<Traces> {
  const { companyId } = whom;
  if ('clientId' in whom) return findTraces(db, companyId, [whom.clientId]);
  const spellings = [whom.phone, normalisePhone(whom.phone), typedPhone(whom.phone)];
  const clientIds = await findClientsByPhone(db, companyId, spellings);
  return findTraces(db, companyId, clientIds, [typedPhone(whom.phone)]);
}

/** Events come first: reading them takes long, and a booking is locked from its change to the end. */
async function eraseTraces(
  db: Db,
  companyId: number,
  traces: Traces,
  onProgress: EraseProgress,
): Promise<Omit<Erasure, 'left'>> {
  const { clientIds, phones, emails, addresses } = traces;
  const pattern = patternOf(traces);
  const encoded = encodedOf(traces);
  const recordIds = await findRecords(db, companyId, clientIds);
  const recipients = clientIds.map(id => `client:${id}`);
  const rows: Record<string, number> = {};
  rows.webhook_events = await scrubAll(db, { companyId, clientIds, recordIds, pattern }, onProgress);
  for (const [done, { table, erase }] of ERASURES.entries()) {
    onProgress('tables', done, ERASURES.length);
    rows[table] =
      (rows[table] ?? 0) + (await erase(db, { companyId, clientIds, recipients, pattern, encoded }));
  }
  const sought = { id: clientIds, phone: phones.filter(isPhone), email: emails, address: addresses };
  const kinds = ['id', 'phone', 'email', 'address'] as const;
  return { clients: clientIds.length, rows, scannedFor: kinds.filter(kind => sought[kind].length > 0) };
}

async function leftOf(
  db: Db,
  {
    companyId,
    traces,
    lastSeq,
    onProgress,
  }: {
    readonly companyId: number;
    readonly traces: Traces;
    readonly lastSeq: number;
    readonly onProgress: EraseProgress;
  },
): Promise<readonly Leftover[]> {
  const { clientIds } = traces;
  return scanAll(db, {
    ...{ companyId, clientIds, lastSeq },
    ...{ pattern: patternOf(traces), encoded: encodedOf(traces) },
    onColumn: (done, of) => onProgress('scan', done, of),
  });
}

/** Finds any phone, e-mail or address of the person; null when none is known. Addresses are whole words. */
function patternOf({ phones, emails, addresses }: Traces): string | null {
  const parts = [
    ...phones.map(phonePattern).filter(part => part !== undefined),
    ...[...emails, ...addresses].map(text => `(^|[^[:alnum:]])${literal(text)}($|[^[:alnum:]])`),
  ];
  return parts.length === 0 ? null : parts.join('|');
}

/** Finds their phones in base64, as the ids that Meta gives to messages hold the receiver's; null when none is known. */
function encodedOf({ phones }: Traces): string | null {
  return (
    phones
      .map(phoneInBase64)
      .filter(part => part !== undefined)
      .join('|') || null
  );
}

/** What the platform keeps as a phone may be a word. */
function isPhone(text: string): boolean {
  return phonePattern(text) !== undefined;
}

function literal(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}

async function scrubAll(db: Db, search: EventSearch, onProgress: EraseProgress): Promise<number> {
  const isErased = (id: number) => search.clientIds.includes(id);
  const of = await countEvents(db, search.companyId);
  let count = 0;
  let after: string | undefined = FIRST_ID;
  for (let done = 0; after !== undefined; done += PAGE) {
    onProgress('events', Math.min(done, of), of);
    const end = await findPageEnd(db, search.companyId, after, PAGE);
    const suspects = await findSuspects(db, search, { after, until: end ?? LAST_ID });
    const theirs = suspects.filter(event => speaksOf(event, search));
    if (theirs.length > 0) {
      await scrubEvents(
        db,
        theirs.map(({ id, resource, payload }) => ({
          id,
          payload: withoutPeople(resource, payload, isErased),
        })),
      );
    }
    count += theirs.length;
    after = end;
  }
  return count;
}

/** A body of a booking that once was theirs is theirs too, unless it is of its client since. */
function speaksOf(event: SuspectEvent, search: EventSearch): boolean {
  const { clientIds, recordIds, pattern } = search;
  if (event.matches) return true;
  if (event.resource === 'client' && clientIds.includes(event.resourceId)) return true;
  const clients = clientsIn(event.payload);
  if (clients.some(id => clientIds.includes(id))) return true;
  if (event.raw !== null && rawSpeaksOf(event.raw, clientIds, pattern)) return true;
  return event.resource === 'record' && recordIds.includes(event.resourceId) && clients.length === 0;
}

/** Bytes that nobody could read as JSON: searched as text, with its escapes undone. */
function rawSpeaksOf(raw: Buffer, clientIds: readonly number[], pattern: string | null): boolean {
  const text = raw
    .toString('latin1')
    .replace(/\\u([0-9a-f]{4})/gi, (_escape, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
  if (clientIds.some(id => new RegExp(`client(_id)?\\W[^]*\\b${id}\\b`).test(text))) return true;
  return pattern !== null && new RegExp(pattern.replaceAll('[:alnum:]', '0-9A-Za-z'), 'i').test(text);
}
