/** What texts cost as SMS, asked of the provider that is set up. */
import { closeChannels, createChannels } from '../channels/registry.ts';
import { channelsConfig } from '../configured-channels.ts';
import { normalisePhone } from '../domain/phone.ts';
import { PlainError } from '../log.ts';
import type { Context } from './run.ts';

const TIMEOUT_MS = 10_000;

/** Each text with its price to this number; null where the provider does not tell. Parts are those that are sent. */
export async function smsCosts<T extends { readonly text: string }>(
  { config }: Context,
  to: string,
  texts: readonly T[],
): Promise<(T & { readonly smsParts: number; readonly price: number | null })[]> {
  const address = normalisePhone(to);
  if (!/^\+[1-9]\d{6,14}$/.test(address))
    throw new PlainError('--sms-to is a phone, written as +79001112233');
  const channels = createChannels(channelsConfig(config));
  try {
    const sms = channels.get('sms');
    if (sms?.quote === undefined)
      throw new PlainError('no SMS provider is set up: SMS_PROVIDER and SMS_TOKEN');
    const costs = [];
    for (const text of texts) {
      const cost = await sms.quote({ address, text: text.text }, AbortSignal.timeout(TIMEOUT_MS));
      costs.push({ ...text, smsParts: cost.parts, price: cost.price ?? null });
    }
    return costs;
  } finally {
    await closeChannels(channels);
  }
}
