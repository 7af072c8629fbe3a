/** `channels …`: which are on, what each can, and where its provider is to send receipts. */
import type { Channel } from '../channels/channel.ts';
import { closeChannels, createChannels } from '../channels/registry.ts';
import { channelsConfig } from '../configured-channels.ts';
import { PlainError } from '../log.ts';
import { receiptReaders, receiptUrl } from '../receipt-readers.ts';
import { liveReceiptSecrets, rotateReceiptSecret } from '../salon/receipt-secrets.ts';
import { type Context, print, table, withStore } from './run.ts';

type Json = { readonly json?: boolean };

export async function listChannels(context: Context, options: Json): Promise<void> {
  const { PUBLIC_URL } = context.config;
  const readers = receiptReaders(context.config);
  const rows = await withStore(context, async ({ pool, vault }) =>
    Promise.all(
      (await channelsOf(context)).map(async channel => {
        const { name, provider = '', traits } = channel;
        const caller = callerOf(channel);
        const told = PUBLIC_URL !== undefined && readers.has(caller);
        const secret = told ? (await liveReceiptSecrets(pool, { vault, now: Date.now() }, caller))[0] : '';
        return {
          ...{ channel: name, provider, address: traits.address, reaches: traits.reaches },
          receipts: told ? receiptUrl(PUBLIC_URL, caller, secret) : null,
        };
      }),
    ),
  );
  const shown = rows.map(({ channel, provider, address, reaches, receipts }) => [
    ...[channel, provider, address, reaches],
    receipts ?? '',
  ]);
  print(options, rows, table(['channel', 'provider', 'address', 'reaches', 'receipts to'], shown, 'none'));
}

export async function rotateSecret(context: Context, name: string, options: Json): Promise<void> {
  const { PUBLIC_URL } = context.config;
  const channel = (await channelsOf(context)).find(one => one.name === name);
  if (channel === undefined || !receiptReaders(context.config).has(callerOf(channel)))
    throw new PlainError(`nothing calls us for ${name}: \`channels\` shows which have an address`);
  if (PUBLIC_URL === undefined)
    throw new PlainError('set PUBLIC_URL first: without it there is no address to give');
  const provider = callerOf(channel);
  const secret = await withStore(context, ({ pool, vault }) =>
    rotateReceiptSecret(pool, { vault, now: Date.now() }, provider),
  );
  const receipts = receiptUrl(PUBLIC_URL, provider, secret);
  const how =
    name === 'max'
      ? 'MAX is told by `serve`, within ten minutes'
      : `give it to ${provider} where it has the old one, which works for another 24 hours`;
  print(options, { channel: name, provider, receipts }, `The new address (${how}):\n  ${receipts}`);
}

/** As they are configured; nothing is sent by them. */
async function channelsOf({ config }: Context): Promise<readonly Channel[]> {
  const channels = createChannels(channelsConfig(config));
  await closeChannels(channels);
  return [...channels.values()];
}

/** Who is named in the address: the provider, or the channel where it has one only. */
function callerOf({ name, provider }: Channel): string {
  return provider || name;
}
