/** What an operator sees of a client and keeps for them, by command or API. */

import { typedPhone } from '../domain/phone.ts';
import { MissingError, PlainError } from '../log.ts';
import {
  findClientIds,
  findShownClients,
  type OperatorConsent,
  recordOperatorConsent,
  type ShownClient,
} from '../store/clients.ts';
import { audit } from '../store/companies.ts';
import { type Db, type Pool, transaction } from '../store/pool.ts';
import { requireCompany } from './companies.ts';

/** Somebody by phone or id as typed, or by id alone. */
export type Who = string | { readonly clientId: number };

/** The client with this phone, or with this id; a phone may be that of several. */
export async function showClients(db: Db, companyId: number, who: Who): Promise<ShownClient[]> {
  return findShownClients(db, companyId, await clientsOf(db, companyId, who));
}

/** The same by phone, where it may be nobody's. */
export async function findClients(db: Db, companyId: number, phone: string): Promise<ShownClient[]> {
  await requireCompany(db, companyId);
  const clientIds = await findClientIds(db, companyId, { phone: typedPhone(phone.trim()), clientId: null });
  return findShownClients(db, companyId, clientIds);
}

/** The one client it is. */
export async function oneClient(db: Db, companyId: number, who: Who): Promise<number> {
  const [clientId, ...others] = await clientsOf(db, companyId, who);
  if (clientId === undefined || others.length > 0) {
    throw new PlainError(
      `${others.length + 1} clients of company ${companyId} have this phone: name one by its id, ${[clientId, ...others].join(' or ')}`,
    );
  }
  return clientId;
}

async function clientsOf(db: Db, companyId: number, who: Who): Promise<number[]> {
  await requireCompany(db, companyId);
  const found = await findClientIds(db, companyId, readWho(who));
  if (found.length === 0) {
    throw new MissingError(
      `company ${companyId} has no such client yet: one comes with a first booking or card; a phone is written as +79001112233, an id as the platform has it`,
    );
  }
  return found;
}

/** Digits alone may be either. No card has an empty phone that were looked for. */
function readWho(who: Who): { readonly phone: string | null; readonly clientId: number | null } {
  if (typeof who !== 'string') return { phone: null, clientId: who.clientId };
  return { phone: typedPhone(who.trim()), clientId: /^[1-9]\d{0,14}$/.test(who) ? Number(who) : null };
}

export type ConsentOrder = Pick<OperatorConsent, 'channel' | 'granted'> & {
  /** Unset: what is refused is refused whole; advertising comes back by a word of its own, as for the client. */
  readonly category: 'service' | 'advertising' | undefined;
  /** Whose word it is and how it came: «asked at the desk». Part of the proof. */
  readonly reason: string;
};

/** Keeps that a client allows or refuses messages, on an operator's word. Answers where it counts from now on, `*` being every channel. */
export async function setConsent(
  { pool, actor }: { readonly pool: Pool; readonly actor: 'command' | 'api' },
  companyId: number,
  who: Who,
  { reason, category, channel, granted }: ConsentOrder,
): Promise<{ readonly clientIds: readonly number[]; readonly where: readonly string[] }> {
  const whole: OperatorConsent['categories'] = granted ? ['service'] : ['service', 'advertising'];
  const categories = category === undefined ? whole : [category];
  return transaction(pool, async db => {
    const clientIds = await clientsOf(db, companyId, who);
    await recordOperatorConsent(db, {
      ...{ companyId, clientIds, channel, categories, granted },
      words: `operator (${actor}): ${reason}`,
    });
    await audit(db, {
      ...{ actor, companyId, action: granted ? 'consent.grant' : 'consent.refuse' },
      subject: clientIds.map(id => `client:${id}`).join(' '),
    });
    return { clientIds, where: categories.map(one => `${channel ?? '*'}/${one}`).sort() };
  });
}
