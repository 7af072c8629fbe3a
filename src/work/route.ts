/**
 * Routes at the claim: which channel takes a message to a person, and where they are reached on it; and, before there is
 * a message, by which channels one would go. Pure.
 */
import type { Channel, ChannelName } from '../channels/channel.ts';
import { CATEGORY_OF } from '../domain/plan.ts';
import type { Category } from '../domain/policy.ts';
import {
  type Fall,
  type FallReason,
  newFalls,
  nextStep,
  type Obstacle,
  patienceMs,
  receiptWithinMs,
  stateAtEnd,
} from '../domain/route.ts';
import { passingOf } from '../domain/route-trail.ts';
import { isTeam } from '../domain/team.ts';
import { type EpochMs, wallOf } from '../domain/time.ts';
import type { Company } from '../store/companies.ts';
import type { Contact, OpenMessage } from '../store/messages.ts';
import type { ReachedRow } from '../store/reached.ts';
import { isPlanned } from './planned.ts';

export type RouteScene = {
  readonly now: EpochMs;
  readonly channels: ReadonlyMap<ChannelName, Channel>;
  /** By company and recipient. */
  readonly reached: ReadonlyMap<string, readonly ReachedRow[]>;
  /** Texts of the platform, by message. */
  readonly relays: ReadonlyMap<string, { readonly category: 'service' | 'advertising' }>;
};

/** A channel that can take it, or why none can and what becomes of the message; `falls` are new ones. */
export type Way =
  | { readonly channel: Channel; readonly address: string; readonly falls: readonly Fall[] }
  | {
      readonly refused: string;
      readonly state: 'sent' | 'failed' | 'dead';
      readonly falls: readonly Fall[];
    };

/**
 * The next channel of the route that is set up here and on which the recipient has an address. `left` is what the
 * message falls from just now.
 */
export function chooseWay(
  scene: RouteScene,
  company: Company,
  contact: Contact | undefined,
  message: OpenMessage,
  left: readonly Fall[] = [],
): Way {
  const known = [...message.falls, ...left];
  if (contact?.refuses) {
    return { refused: 'the client does not want messages', state: stateAtEnd(known), falls: left };
  }
  const channels = byName(scene.channels);
  const category = categoryOf(message);
  const advertising = category === 'advertising' || scene.relays.get(message.id)?.category === 'advertising';
  const { channel: present } = message;
  const usual = isTeam(message.recipient)
    ? Object.keys(contact?.addresses ?? {})
    : routeOf(company, category);
  const order = isFixed(message) && present !== null ? [present] : usual;
  const addressed = (name: string) => {
    const channel = channels.get(name);
    return channel && addressOn(channel, company, contact, message);
  };
  const reached = scene.reached.get(`${message.companyId}:${message.recipient}`) ?? [];
  const { channel: name, falls } = nextStep({
    ...{ order, falls: known, reached, rules: company.policy.routes, now: scene.now },
    obstacle: obstacles({ channels, contact, advertising }, addressed),
    present:
      present === null || isFixed(message)
        ? null
        : { channel: present, late: isLate(scene, company, message) },
    smsToday: smsOn(wallOf(scene.now, company.zone).slice(0, 10), reached),
  });
  const more = [...left, ...newFalls(known, falls)];
  const [channel, address] = name === null ? [] : [channels.get(name), addressed(name)];
  if (channel !== undefined && address !== undefined) return { channel, address, falls: more };
  // What the last try came to is said last, and in the provider's words.
  const tried = known.length > 0 ? [errorOf(message, left)] : [];
  const causes = [...falls.map(passingOf), ...tried].filter(cause => cause !== '');
  return { refused: causes.join(', '), state: stateAtEnd(known), falls: more };
}

/** A step that would be taken while those before it come to nothing. */
export type StepAhead = {
  readonly channel: ChannelName;
  readonly provider: string;
  /** How long a receipt is waited for before the next step; null: it goes on only where the channel refuses it. */
  readonly withinMs: number | null;
  /** It did not reach them lately, so others come before it. */
  readonly failedBefore: boolean;
};
export type RouteAhead = {
  readonly steps: readonly StepAhead[];
  /** Channels of the order that would not be taken, and why. */
  readonly leftOut: readonly { readonly channel: string; readonly why: FallReason }[];
};

/**
 * The whole way that a message of this category would go from now on if no step reached them. Of nobody in particular
 * (`null`) it is taken that they have an address everywhere, and want all of it.
 */
export function routeAhead(
  scene: Pick<RouteScene, 'now' | 'channels'> & { readonly reached: readonly ReachedRow[] },
  company: Company,
  category: Category,
  contact: Contact | null,
): RouteAhead {
  const { now, reached } = scene;
  const channels = byName(scene.channels);
  const { routes } = company.policy;
  const known = contact ?? undefined;
  const advertising = category === 'advertising';
  const addressed = (name: string) => {
    const channel = channels.get(name);
    return contact === null ? '' : channel && addressOn(channel, company, known);
  };
  const order = routeOf(company, category);
  const smsToday = smsOn(wallOf(now, company.zone).slice(0, 10), reached);
  const obstacle = obstacles({ channels, contact: known, advertising }, addressed);
  const steps: StepAhead[] = [];
  let falls: readonly Fall[] = [];
  for (;;) {
    const next = nextStep({ order, falls, obstacle, present: null, reached, smsToday, rules: routes, now });
    falls = [...falls, ...newFalls(falls, next.falls)];
    const channel = next.channel === null ? undefined : channels.get(next.channel);
    if (channel === undefined) break;
    const { name, traits, provider = name } = channel;
    const failedBefore = falls.some(fall => fall.channel === name && fall.why === 'failed_before');
    const withinMs = receiptWithinMs(routes, name, traits.receiptWithinMs);
    steps.push({ channel: name, provider, withinMs, failedBefore });
    falls = [...falls, { channel: name, why: 'silent', at: now }];
  }
  const taken = new Set<string>(steps.map(({ channel }) => channel));
  return {
    steps,
    leftOut: falls.filter(({ channel }) => !taken.has(channel)).map(({ channel, why }) => ({ channel, why })),
  };
}

function byName(channels: RouteScene['channels']): Map<string, Channel> {
  return new Map([...channels.values()].map(one => [one.name, one]));
}

/** What stands between a person and a channel. */
function obstacles(
  {
    channels,
    contact,
    advertising,
  }: {
    readonly channels: ReadonlyMap<string, Channel>;
    readonly contact: Contact | undefined;
    readonly advertising: boolean;
  },
  addressed: (channel: string) => string | undefined,
): (channel: string) => Obstacle | null {
  const refused = new Set([
    ...(contact?.refusedOn ?? []),
    ...(advertising ? (contact?.refusedAdvertisingOn ?? []) : []),
  ]);
  return channel => {
    if (refused.has(channel)) return 'opted_out';
    if (!channels.has(channel)) return 'not_configured';
    return addressed(channel) === undefined ? 'no_address' : null;
  };
}

/** A message that has one channel: it was asked for, or may have gone out by it. */
function isFixed({ purpose, state }: OpenMessage): boolean {
  return purpose === 'test' || purpose === 'alert' || state === 'sending';
}

function routeOf(company: Company, category: Category | undefined): readonly string[] {
  const own = category === undefined ? undefined : company.policy.routes.order[category];
  return own ?? company.route;
}

function categoryOf({ purpose }: OpenMessage): Category | undefined {
  if (isPlanned(purpose)) return CATEGORY_OF[purpose];
  return purpose === 'notice' ? 'notices' : undefined;
}

/** The present channel could not take it for longer than it may. */
function isLate({ channels, now }: RouteScene, { policy }: Company, message: OpenMessage): boolean {
  const { channel, tries, triedSince } = message;
  if (channel === null || tries === 0 || triedSince === null) return false;
  const usualMs = channels.get(channel)?.traits.receiptWithinMs ?? null;
  return now - triedSince >= patienceMs(policy.routes, channel, usualMs);
}

function smsOn(today: string, reached: readonly ReachedRow[]): number {
  const sms = reached.find(({ channel }) => channel === 'sms');
  return sms?.day === today ? sms.sent : 0;
}

function errorOf({ error }: OpenMessage, left: readonly Fall[]): string {
  const last = left.at(-1);
  if (last?.why === 'silent') return 'no receipt came in time';
  return last?.why === 'undelivered' ? `not delivered ${last.detail ?? ''}`.trim() : (error ?? '');
}

/** A phone that could not be read as a number is kept as it came, and is nobody's address. */
const E164 = /^\+[1-9]\d{6,14}$/;

/** Undefined: cannot be reached there. Empty: the channel has one destination and needs no address. */
function addressOn(
  { name, traits }: Channel,
  company: Company,
  contact: Contact | undefined,
  message?: OpenMessage,
): string | undefined {
  if (message?.purpose === 'test' && message.recipient !== '') return message.recipient;
  const set = contact?.addresses[name];
  switch (traits.address) {
    case 'none':
      return '';
    case 'url':
      return company.webhookUrl ?? undefined;
    case 'email':
      return set ?? (contact?.email || undefined);
    case 'phone':
      return set ?? (E164.test(contact?.phone ?? '') ? contact?.phone : undefined);
    case 'chat':
      return set;
  }
}
