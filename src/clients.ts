/** What an operator sees of a client and keeps for them, by command or API. */
import { requireCompany } from './companies.ts';
import { normalisePhone } from './domain/phone.ts';
import { MissingError, PlainError } from './log.ts';
import {
  findClientIds,
  findShownClients,
  type OperatorConsent,
  recordOperatorConsent,
  type ShownClient,
} from './store/clients.ts';
import { audit } from './store/companies.ts';
import { type Db, type Pool, transaction } from './store/pool.ts';

/** The client with this phone, or with this id; a phone may be that of several. */
export async function showClients(db: Db, companyId: number, who: string): Promise<ShownClient[]> {
  return findShownClients(db, companyId, await clientsOf(db, companyId, who));
}

/** The one client it is. */
export async function oneClient(db: Db, companyId: number, who: string): Promise<number> {
  const [clientId, ...others] = await clientsOf(db, companyId, who);
  if (clientId === undefined || others.length > 0) {
    throw new PlainError(
      `${others.length + 1} clients of company ${companyId} have this phone: name one by its id, ${[clientId, ...others].join(' or ')}`,
    );
  }
  return clientId;
}

async function clientsOf(db: Db, companyId: number, who: string): Promise<number[]> {
  await requireCompany(db, companyId);
  const phone = phoneOf(who);
  // An id has as few digits as no phone has, or no plus before it.
  const clientId = /^[1-9]\d{0,14}$/.test(who) ? Number(who) : null;
  const found = await findClientIds(db, companyId, { phone, clientId });
  if (found.length === 0) {
    throw new MissingError(
      `company ${companyId} has no such client: a phone is written as +79001112233, an id as the platform has it`,
    );
  }
  return found;
}

/** As a card has it: eight before a Russian number is seven. */
function phoneOf(text: string): string {
  const digits = text.replace(/\D/g, '');
  return normalisePhone(/^8\d{10}$/.test(digits) ? `7${digits.slice(1)}` : text.trim());
}

export type ConsentOrder = Pick<OperatorConsent, 'channel' | 'categories' | 'granted'> & {
  /** Whose word it is and how it came: «asked at the desk». Part of the proof. */
  readonly reason: string;
};

/** Keeps that a client allows or refuses messages, on an operator's word. Answers where it counts from now on. */
export async function setConsent(
  { pool, actor }: { readonly pool: Pool; readonly actor: 'command' | 'api' },
  companyId: number,
  who: string,
  { reason, ...order }: ConsentOrder,
): Promise<{ readonly clientIds: readonly number[]; readonly where: readonly string[] }> {
  return transaction(pool, async db => {
    const clientIds = await clientsOf(db, companyId, who);
    const kept = await recordOperatorConsent(db, {
      ...{ companyId, clientIds, ...order },
      words: `operator (${actor}): ${reason}`,
    });
    if (kept.length === 0) {
      throw new PlainError(
        `client ${clientIds.join(', ')} is not reached ${order.channel === undefined ? 'anywhere' : `on ${order.channel}`}: there is nothing to allow or refuse`,
      );
    }
    await audit(db, {
      ...{ actor, companyId, action: order.granted ? 'consent.grant' : 'consent.refuse' },
      subject: clientIds.map(id => `client:${id}`).join(' '),
    });
    return {
      clientIds,
      where: [...new Set(kept.map(({ channel, category }) => `${channel}/${category}`))].sort(),
    };
  });
}
