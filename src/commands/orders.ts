/** `events replay`, `messages resend` and `messages cancel`. */
import { PlainError } from '../log.ts';
import { cancelOne, replayAll, replayOne, resendAll, resendOne } from '../salon/orders.ts';
import { progressLine } from './progress.ts';
import { type Context, parseUuid, print, withStore } from './run.ts';

/** Of one order, so that their ids fit into memory. */
const MOST = 100_000;

const AGAIN = 'There are more than one order takes: give it again.';

type Options = { readonly json?: boolean; readonly company?: number; readonly dryRun?: boolean };
type ReplayOptions = Options & { readonly state?: 'dead' | 'done'; readonly resource?: string };
type ResendOptions = Options & {
  readonly state?: 'dead' | 'failed';
  readonly channel?: string;
  /** Milliseconds. */
  readonly since: number;
};

export async function eventsReplay(
  context: Context,
  id: string | undefined,
  options: ReplayOptions,
): Promise<void> {
  const eventId = id === undefined ? undefined : parseUuid(id, 'event');
  const { state, company, resource } = options;
  requireOne('event', eventId, { state, company, resource, dryRun: options.dryRun });
  const { dryRun = false } = options;
  await withStore(context, async ({ pool }) => {
    const deps = { pool, actor: 'command' } as const;
    if (eventId !== undefined) {
      await replayOne(deps, eventId);
      print(options, { id: eventId, state: 'pending' }, `Event ${eventId} is put back.`);
      return;
    }
    const line = progressLine();
    const onProgress = (done: number) => line.show(`events put back: ${done}`);
    const filter = { state: state ?? 'dead', companyId: company, resource };
    const order = { dryRun, most: Number.POSITIVE_INFINITY, onProgress };
    const { events } = await replayAll(deps, filter, order).finally(line.clear);
    const text = dryRun ? `${events} events would be put back.` : `${events} events are put back.`;
    print(options, { events, dryRun }, text);
  });
}

export async function messagesResend(
  context: Context,
  id: string | undefined,
  options: ResendOptions,
): Promise<void> {
  const messageId = id === undefined ? undefined : parseUuid(id, 'message');
  const { state, company, channel, since } = options;
  requireOne('message', messageId, { state, company, channel, dryRun: options.dryRun });
  const { dryRun = false } = options;
  await withStore(context, async ({ pool }) => {
    const deps = { pool, actor: 'command' } as const;
    const now = Date.now();
    if (messageId !== undefined) {
      await resendOne(deps, messageId, now);
      const text = `Message ${messageId} is due again: if it is still true and wanted it leaves now.`;
      print(options, { id: messageId, state: 'due' }, text);
      return;
    }
    const line = progressLine();
    const onProgress = (done: number) => line.show(`messages gone through: ${done}`);
    const filter = { state: state ?? 'dead', since: now - since, companyId: company, channel };
    const resent = await resendAll(deps, filter, { dryRun, most: MOST, now, onProgress }).finally(line.clear);
    print(options, { ...resent, dryRun }, inWords(resent, dryRun));
  });
}

export async function messagesCancel(
  context: Context,
  id: string,
  options: { readonly json?: boolean },
): Promise<void> {
  const messageId = parseUuid(id, 'message');
  await withStore(context, async ({ pool }) => {
    await cancelOne({ pool, actor: 'command' }, messageId, Date.now());
    print(
      options,
      { id: messageId, state: 'cancelled' },
      `Message ${messageId} is cancelled: it is not sent, and what it says counts as said.`,
    );
  });
}

function inWords({ due, taken, more }: Awaited<ReturnType<typeof resendAll>>, dryRun: boolean): string {
  const what = dryRun
    ? `${due} messages would be due again.`
    : `${due} messages are due again${due === 0 ? '' : ': what is still true and wanted of them leaves now'}.`;
  const left = `${taken} are left: a newer one stands in their place, which says what there is to say.`;
  return [what, ...(taken > 0 ? [left] : []), ...(more ? [AGAIN] : [])].join('\n');
}

/** One by its id, or all of a state. */
function requireOne(
  what: string,
  id: string | undefined,
  filters: { readonly state: string | undefined; readonly [name: string]: unknown },
): void {
  if (id === undefined && filters.state === undefined) {
    throw new PlainError(`name one ${what} by its id, or all by --state`);
  }
  if (id !== undefined && Object.values(filters).some(value => value !== undefined)) {
    throw new PlainError(`an id names one ${what}: leave the options out that choose among all`);
  }
}
