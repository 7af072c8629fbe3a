/**
 * Where somebody is written to on a channel, as an operator sets it by command or API: read once here, so that what is
 * kept is of the form by which answers, stops and erasing look for it.
 */
import type { ChannelName } from '../channels/channel.ts';
import { normalisePhone } from '../domain/phone.ts';
import { PlainError } from '../log.ts';
import { audit, saveAddress } from '../store/companies.ts';
import { type Pool, transaction } from '../store/pool.ts';
import { requireCompany } from './companies.ts';

export type Place = { readonly channel: ChannelName; readonly address: string };

/** Sets where a client is reached on a channel, in the place of what was set there before. */
export async function setClientAddress(
  { pool, actor }: { readonly pool: Pool; readonly actor: 'command' | 'api' },
  { companyId, clientId, ...place }: { readonly companyId: number; readonly clientId: number } & Place,
): Promise<void> {
  const { channel } = place;
  const address = soundAddress(place);
  await transaction(pool, async db => {
    await requireCompany(db, companyId);
    await saveAddress(db, { companyId, clientId, channel, address });
    await audit(db, { actor, action: 'address.set', companyId, subject: `client:${clientId}` });
  });
}

const E164 = /^\+[1-9]\d{6,14}$/;

/** The address as it is kept. Throws a `PlainError` for one that the channel could never use. */
export function soundAddress({ channel, address }: Place): string {
  switch (channel) {
    case 'console':
    case 'webhook':
      if (address === '') return '';
      throw new PlainError(`${channel} has one destination: leave the address out`);
    case 'sms':
    case 'whatsapp': {
      const phone = normalisePhone(address);
      if (E164.test(phone)) return phone;
      throw new PlainError(`an address on ${channel} is a phone like +79160000000`);
    }
    case 'email':
      if (/^[^\s@]+@[^\s@]+$/.test(address)) return address;
      throw new PlainError('an address on email is like olga@example.com');
    case 'telegram':
    case 'max':
    case 'vk':
      if (/^-?\d{1,20}$/.test(address)) return address;
      throw new PlainError(`an address on ${channel} is the number of a chat; \`invite\` finds it by itself`);
  }
}
