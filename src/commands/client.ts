/** `client …`: what is known of a client, what they allowed and refused, and what they were told. */
import { CHANNEL_NAMES } from '../channels/channel.ts';
import { PlainError } from '../log.ts';
import { setConsent, showClients } from '../salon/clients.ts';
import type { ShownClient } from '../store/clients.ts';
import { type Context, parseId, print, table, withStore } from './run.ts';

type Json = { readonly json?: boolean };

export async function clientShow(context: Context, id: string, who: string, options: Json): Promise<void> {
  const companyId = parseId(id, 'company');
  await withStore(context, async ({ pool }) => {
    const clients = await showClients(pool, companyId, who);
    print(options, clients, clients.map(describe).join('\n\n'));
  });
}

function describe(client: ShownClient): string {
  const { clientId, name, phone, email, refuses, wantsAdvertising, deleted } = client;
  const card = [
    refuses ? 'no messages at all (sms_not)' : 'messages welcome',
    wantsAdvertising ? 'advertising welcome' : 'no advertising (is_newsletter_allowed)',
    ...(deleted ? ['the card was deleted'] : []),
  ];
  const reached = [
    ...client.addresses.map(({ channel, address, setAt }) => [channel, address, `set ${setAt}`]),
    ...client.chats.map(({ channel, chat, linkedAt }) => [
      channel,
      chat,
      `linked by their number ${linkedAt}`,
    ]),
  ];
  const consents = client.consents.map(({ at, granted, category, channel, address, words }) => [
    ...[at, granted ? 'allowed' : 'refused', category],
    ...[channel === '*' ? 'all' : channel, address === '*' ? 'wherever' : address, words],
  ]);
  const messages = client.messages.map(({ at, purpose, recordId, channel, state, text, error }) => [
    ...[at, purpose, recordId === null ? '' : String(recordId), channel ?? '', state],
    oneLine(text ?? error ?? ''),
  ]);
  return [
    `Client ${clientId}: ${[name, phone, email].filter(part => part !== '').join(', ')}`,
    `The salon's card says: ${card.join('; ')}`,
    '',
    table(['channel', 'address', 'since'], reached, 'No address but those of the card.'),
    '',
    table(
      ['when', 'word', 'category', 'channel', 'where', 'in which words'],
      consents,
      'They have allowed and refused nothing.',
    ),
    '',
    table(['when', 'message', 'record', 'channel', 'state', 'text'], messages, 'They were told nothing yet.'),
  ].join('\n');
}

const SHOWN_TEXT = 100;

function oneLine(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length <= SHOWN_TEXT ? line : `${line.slice(0, SHOWN_TEXT - 1)}…`;
}

type ConsentOptions = Json & {
  readonly channel?: string;
  readonly category?: 'service' | 'advertising';
  readonly reason: string;
};

export async function clientOptOut(
  context: Context,
  id: string,
  who: string,
  options: ConsentOptions,
): Promise<void> {
  await keep(context, id, who, options, false);
}

export async function clientOptIn(
  context: Context,
  id: string,
  who: string,
  options: ConsentOptions,
): Promise<void> {
  await keep(context, id, who, options, true);
}

async function keep(
  context: Context,
  id: string,
  who: string,
  { channel, category, reason, ...options }: ConsentOptions,
  granted: boolean,
): Promise<void> {
  const companyId = parseId(id, 'company');
  if (channel !== undefined && !CHANNEL_NAMES.some(name => name === channel)) {
    throw new PlainError(`there is no channel "${channel}"; there are ${CHANNEL_NAMES.join(', ')}`);
  }
  await withStore(context, async ({ pool }) => {
    const kept = await setConsent({ pool, actor: 'command' }, companyId, who, {
      ...{ channel, category, granted, reason },
    });
    const word = granted ? 'allowed' : 'refused';
    print(
      options,
      { companyId, ...kept, granted },
      `Kept with its proof: client ${kept.clientIds.join(', ')} has ${word} ${kept.where.join(', ').replaceAll('*', 'all channels')}.`,
    );
  });
}
