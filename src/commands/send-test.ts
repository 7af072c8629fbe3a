/** `send-test`: a test event through the receiver, or a test message through a channel, watched to its end. */

import { closeChannels, createChannels } from '../channels/registry.ts';
import { channelsConfig } from '../configured-channels.ts';
import { newId } from '../ids.ts';
import { PlainError } from '../log.ts';
import { requireCompany } from '../salon/companies.ts';
import { findKey } from '../store/companies.ts';
import { insertTestMessage } from '../store/messages.ts';
import type { Pool } from '../store/pool.ts';
import { showEvent, showMessage } from '../store/views.ts';
import { TEST_RESOURCE } from '../work/fold.ts';
import { type Context, print, withStore } from './run.ts';

type Options = {
  readonly company?: number;
  readonly channel?: string;
  readonly to?: string;
  readonly json?: boolean;
};

const WAIT_MS = 15_000;
const POLL_MS = 100;
const POST_TIMEOUT_MS = 10_000;

export async function sendTest(context: Context, url: string | undefined, options: Options): Promise<void> {
  if (url !== undefined) return testReceiver(context, url, options);
  if (options.company === undefined)
    throw new PlainError('say a webhook URL, or --company for a test message');
  return testChannel(context, options.company, options);
}

async function testReceiver(context: Context, url: string, options: Options): Promise<void> {
  await withStore(context, async ({ pool, vault }) => {
    const companyId = await companyOf(pool, vault.hashKey(keyIn(url)));
    const startedAt = performance.now();
    const answer = await post(url, {
      company_id: companyId,
      resource: TEST_RESOURCE,
      resource_id: Date.now(),
      status: 'create',
      data: {},
    });
    const answeredMs = Math.round(performance.now() - startedAt);
    await settled(`event ${answer.id}`, async () => {
      const event = await showEvent(pool, answer.id);
      return event?.state === 'done' ? event : undefined;
    });
    const processedMs = Math.round(performance.now() - startedAt);
    const text = `Received, durable and processed: event ${answer.id}, answered in ${answeredMs} ms, processed in ${processedMs} ms.`;
    print(options, { id: answer.id, companyId, answeredMs, processedMs }, text);
  });
}

/** The key in either form of the URL. */
function keyIn(url: string): string {
  if (!URL.canParse(url))
    throw new PlainError('that is not a URL; `company add` and `company rotate-key` print one');
  const { pathname, searchParams } = new URL(url);
  return searchParams.get('key') ?? pathname.split('/').at(-1) ?? '';
}

async function companyOf(pool: Pool, keyHash: Buffer): Promise<number> {
  const key = await findKey(pool, keyHash);
  if (key !== undefined) return key.company.companyId;
  throw new PlainError(
    'this is no webhook URL of a company here: its last part must be a key that lives; `company rotate-key` prints a new URL',
  );
}

async function post(url: string, body: unknown): Promise<{ id: string }> {
  let response: Response;
  try {
    response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      redirect: 'error',
      signal: AbortSignal.timeout(POST_TIMEOUT_MS),
    });
  } catch {
    throw new PlainError(
      `nobody answers at ${new URL(url).origin}; is \`serve\` running, and is the address right?`,
    );
  }
  const answer: unknown = await response.json().catch(() => undefined);
  if (response.ok && typeof answer === 'object' && answer !== null && 'id' in answer)
    return { id: String(answer.id) };
  const { origin } = new URL(url);
  // We know the key, so whoever does not is somebody else.
  if (response.ok || response.status === 404) {
    throw new PlainError(
      `${origin} answers ${response.status}, and is not this Otklik: the key is in use here. Check the address, the proxy's route, and that \`serve\` there has this database`,
    );
  }
  const detail =
    typeof answer === 'object' && answer !== null && 'detail' in answer ? `: ${String(answer.detail)}` : '';
  throw new PlainError(`${origin} answered ${response.status}${detail}`);
}

async function testChannel(context: Context, companyId: number, options: Options): Promise<void> {
  await withStore(context, async ({ pool }) => {
    const company = await requireCompany(pool, companyId);
    const channel = options.channel ?? company.route[0] ?? 'console';
    const id = newId();
    await insertTestMessage(pool, { companyId, id, recipient: options.to ?? '', channel, now: Date.now() });
    const message = await settled(`message ${id}`, async () => {
      const found = await showMessage(pool, id);
      return found === undefined || ['due', 'sending'].includes(found.state) ? undefined : found;
    });
    if (message.state !== 'sent' && message.state !== 'delivered') {
      throw new PlainError(
        `the test message was not sent through ${channel}: ${message.state}, ${message.error ?? 'no reason given'}`,
      );
    }
    const cost = await costOf(context, channel, { address: options.to ?? '', text: message.text ?? '' });
    const text = `A test message was sent through ${channel}.`;
    print(options, { ...message, ...cost }, cost === undefined ? text : `${text} ${describeCost(cost)}`);
  });
}

type Cost = { readonly parts: number; readonly price: number | undefined };

/** What this text costs where texts cost; undefined elsewhere. */
async function costOf(
  { config }: Context,
  name: string,
  message: { readonly address: string; readonly text: string },
): Promise<Cost | undefined> {
  const channels = createChannels(channelsConfig(config));
  try {
    const channel = [...channels.values()].find(candidate => candidate.name === name);
    return await channel?.quote?.(message, AbortSignal.timeout(POST_TIMEOUT_MS));
  } finally {
    await closeChannels(channels);
  }
}

function describeCost({ parts, price }: Cost): string {
  const sms = `It is ${parts} SMS`;
  return price === undefined ? `${sms}; the provider does not tell the price.` : `${sms}, ${price} in all.`;
}

/** Waits until `look` finds something, for `WAIT_MS` at most. */
async function settled<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  const until = performance.now() + WAIT_MS;
  while (performance.now() < until) {
    const found = await look();
    if (found !== undefined) return found;
    await new Promise(resolve => setTimeout(resolve, POLL_MS));
  }
  throw new PlainError(
    `${what} is stored but not processed yet; is \`serve\` running with the roles process and dispatch?`,
  );
}
