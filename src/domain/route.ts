/**
 * Routes: a person's channels in order, and which of them takes a message next. A message that one channel could not
 * bring is a *fall*: it goes to the next, and never again by the one that was left. Pure.
 */
import type { EpochMs } from './time.ts';

export const CHANNEL_NAMES = [
  'console',
  'telegram',
  'max',
  'whatsapp',
  'sms',
  'vk',
  'email',
  'webhook',
] as const;
export type ChannelName = (typeof CHANNEL_NAMES)[number];

/** A channel that was tried and came to nothing; the message does not go by it again. */
const LEFT = ['rejected', 'exhausted', 'unreachable', 'undelivered', 'silent'] as const;
/** Why a channel is passed over without a try; looked at anew at each step. */
export type Obstacle = 'not_configured' | 'no_address' | 'opted_out';

/**
 * - `rejected`: the provider said that it never will; `exhausted`: all tries used up; `unreachable`: it could not be
 *   tried with success for as long as the channel may take, and another can.
 * - `undelivered`: the provider told later that it failed; `silent`: it told nothing in time.
 * - `failed_before`: put behind a channel that reached this person, where this one did not.
 * - `budget`: the policy lets it take no further step.
 */
export type FallReason = (typeof LEFT)[number] | Obstacle | 'failed_before' | 'budget';

export type Fall = {
  readonly channel: string;
  readonly why: FallReason;
  readonly at: EpochMs;
  /** The provider's code, where it gave one. */
  readonly detail?: string;
};

export type RouteRules = {
  /** How many channels one message may take. */
  readonly steps: number;
  /** Second and later steps are no SMS to a client who got so many that day; null: no limit. */
  readonly smsPerDay: number | null;
  /** How long it is remembered that a channel did not reach a person; null: not at all. */
  readonly rememberMs: number | null;
  /** How long a channel may take; null: its receipts are not waited for. */
  readonly withinMs: { readonly [channel in ChannelName]?: number | null };
};

/** What is known of a person on one channel. */
export type Reached = {
  readonly channel: string;
  readonly deliveredAt: EpochMs | null;
  readonly failedAt: EpochMs | null;
};

export type StepInput = {
  readonly order: readonly string[];
  readonly falls: readonly Fall[];
  readonly obstacle: (channel: string) => Obstacle | null;
  /** The channel that is being tried, and whether it has taken too long to take it. */
  readonly present: { readonly channel: string; readonly late: boolean } | null;
  readonly reached: readonly Reached[];
  readonly smsToday: number;
  readonly rules: RouteRules;
  readonly now: EpochMs;
};

/** The channel to try, or null; and those that were left or passed over for it. */
export type Step = { readonly channel: string | null; readonly falls: readonly Fall[] };

export function isLeft({ why }: Fall): boolean {
  return LEFT.some(reason => reason === why);
}

/** Which channel takes a message next. */
export function nextStep(input: StepInput): Step {
  const { falls, obstacle, present, rules, smsToday, now } = input;
  const left = new Set(falls.filter(isLeft).map(fall => fall.channel));
  const { order, behind } = rememberedOrder(input, left);
  const passed: Fall[] = behind.map(channel => ({ channel, why: 'failed_before', at: now }));
  let waiting: string | null = null;
  for (const channel of order) {
    const obstructed = obstacle(channel);
    const taken = left.size + (waiting === null ? 0 : 1);
    const over =
      taken >= rules.steps ||
      (channel === 'sms' && taken > 0 && rules.smsPerDay !== null && smsToday >= rules.smsPerDay);
    if (obstructed !== null) passed.push({ channel, why: obstructed, at: now });
    else if (channel !== present?.channel && over) passed.push({ channel, why: 'budget', at: now });
    else if (channel === present?.channel && present.late) waiting = channel;
    else if (waiting === null) return { channel, falls: passed };
    else return { channel, falls: [{ channel: waiting, why: 'unreachable', at: now }, ...passed] };
  }
  return { channel: waiting, falls: passed };
}

/**
 * The order for this person: what is being tried first, and a channel that failed them behind those that have reached
 * them since, for a while. Only failures move a channel: one that is new to them, though it be free of charge and better,
 * keeps the place that the salon gave it.
 */
function rememberedOrder(
  { order, present, reached, rules: { rememberMs }, now }: StepInput,
  left: ReadonlySet<string>,
): { order: readonly string[]; behind: string[] } {
  const byChannel = new Map(reached.map(row => [row.channel, row]));
  const recent = (moment: EpochMs | null | undefined): number =>
    rememberMs !== null && typeof moment === 'number' && moment > now - rememberMs ? moment : -1;
  const delivered = (channel: string) => recent(byChannel.get(channel)?.deliveredAt);
  const fails = (channel: string) => recent(byChannel.get(channel)?.failedAt) > delivered(channel);
  const free = order.filter(channel => !left.has(channel));
  const behind = free.filter(
    (channel, place) =>
      fails(channel) && free.slice(place + 1).some(other => delivered(other) > 0 && !fails(other)),
  );
  const last = free.findLastIndex(channel => delivered(channel) > 0 && !fails(channel));
  const remembered = [
    ...free.slice(0, last + 1).filter(channel => !behind.includes(channel)),
    ...behind,
    ...free.slice(last + 1),
  ];
  if (present === null || !remembered.includes(present.channel)) return { order: remembered, behind };
  return {
    order: [present.channel, ...remembered.filter(channel => channel !== present.channel)],
    behind: behind.filter(channel => channel !== present.channel),
  };
}

/** What a message is when its route has come to its end: one that was taken and not confirmed may have arrived. */
export function stateAtEnd(falls: readonly Fall[]): 'sent' | 'failed' | 'dead' {
  const left = falls.filter(isLeft);
  if (left.some(({ why }) => why === 'silent')) return 'sent';
  return left.at(-1)?.why === 'exhausted' ? 'dead' : 'failed';
}

/** Those of `more` that tell something new. */
export function newFalls(known: readonly Fall[], more: readonly Fall[]): Fall[] {
  return more.filter(fall => !known.some(({ channel, why }) => channel === fall.channel && why === fall.why));
}

/** How long a channel may take to bring a message; null: no receipt of it is waited for. */
export function receiptWithinMs(
  { withinMs }: RouteRules,
  channel: ChannelName,
  usualMs: number | null,
): number | null {
  const own = withinMs[channel];
  return usualMs === null || own === null ? null : (own ?? usualMs);
}

/** A channel that tells nothing of its messages: how long it may be out of reach. */
const OUT_OF_REACH_MS = 600_000;

/** How long a channel may be out of reach before another is tried. */
export function patienceMs({ withinMs }: RouteRules, channel: ChannelName, usualMs: number | null): number {
  return withinMs[channel] ?? usualMs ?? OUT_OF_REACH_MS;
}
