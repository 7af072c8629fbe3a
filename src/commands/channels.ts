/** `channels`: which are on, what each can, and where its provider is to send receipts. */
import { closeChannels, createChannels } from '../channels/registry.ts';
import { channelsConfig } from '../configured-channels.ts';
import { receiptReaders, receiptUrl } from '../receipt-readers.ts';
import { type Context, print, table, withStore } from './run.ts';

export async function listChannels(context: Context, options: { readonly json?: boolean }): Promise<void> {
  const { config } = context;
  const readers = receiptReaders(config);
  const channels = createChannels(channelsConfig(config));
  await closeChannels(channels);
  const secret = await withStore(context, async ({ vault }) => vault.receiptSecret);
  const rows = [...channels.values()].map(({ name, provider = '', traits }) => ({
    ...{ channel: name, provider, address: traits.address, reaches: traits.reaches },
    receipts:
      !readers.has(provider || name) || config.PUBLIC_URL === undefined
        ? null
        : receiptUrl(config.PUBLIC_URL, provider || name, secret),
  }));
  const shown = rows.map(({ channel, provider, address, reaches, receipts }) => [
    ...[channel, provider, address, reaches],
    receipts ?? '',
  ]);
  print(options, rows, table(['channel', 'provider', 'address', 'reaches', 'receipts to'], shown, 'none'));
}
