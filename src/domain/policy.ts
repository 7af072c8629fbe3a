/**
 * A policy: what a salon wants said, to whom, when, and when not. One JSON document a company and version, in which a
 * salon writes only what it wants otherwise; the rest is as DEFAULTS has it. `checkPolicy` in policy-document.ts is the
 * door through which a document comes in, so that what is read here is known to be sound.
 */
import type { NoticeKind } from './notice.ts';
import type { Origin } from './origin.ts';
import type { ChannelName, RouteRules } from './route.ts';
import { type Audience, ROLES, type Role } from './team.ts';

export const NOTICE_KINDS: readonly NoticeKind[] = [
  'booked',
  'rescheduled',
  'staff_changed',
  'services_changed',
  'changed',
  'cancelled',
  'restored',
  'confirmed',
  'move_asked',
];
export const ORIGINS: readonly Origin[] = ['bot', 'widget', 'app', 'aggregator', 'admin', 'unknown'];

/**
 * In quiet hours: `send` all the same; `defer` to their end, and let it go if that is too late; `drop` it.
 */
export type QuietRule = 'send' | 'defer' | 'drop';

/** The channels by which a text of the platform may leave. */
export type RelayBy = 'route' | 'asked';

/** What a message is, in law and in manners. */
export const CATEGORIES = ['notices', 'reminders', 'afterVisit', 'advertising'] as const;
export type Category = (typeof CATEGORIES)[number];

/** A value for each of `Name` that has one of its own, and one for any other. */
export type ByName<Name extends string, Value> = { readonly any: Value } & {
  readonly [name in Name]?: Value;
};

export type PolicyDocument = {
  /** For each kind of change and each origin of a booking, who hears of it. */
  readonly tell?: { readonly [kind in NoticeKind]?: Partial<ByName<Origin, readonly Audience[]>> };
  /** How long a change waits for the next one. Durations: `500ms`, `5s`, `10m`, `2h`, `30d`. */
  readonly settle?: Partial<ByName<NoticeKind, string>>;
  /** `HH:MM` in the salon's zone; `from` equal to `to` means never. */
  readonly quietHours?: { readonly from?: string; readonly to?: string } & {
    readonly [category in Category]?: QuietRule;
  };
  /** Messages to one client in one day of the salon; null: no limit. Notices are counted nowhere: they are facts. */
  readonly limits?: { readonly perDay?: number | null; readonly advertisingPerDay?: number | null };
  readonly reminders?: {
    /** `24h`, `90m`, `1d` before the visit; `20:00 the day before`, `9:00 the same day`, `18:00 2 days before`. */
    readonly at?: readonly string[];
    /** No reminder later than this before the visit. */
    readonly minimumLead?: string;
    /** No reminder to those who booked less than this before it. */
    readonly notIfBookedWithin?: string;
  };
  /** Texts of the platform's own that we send as the salon's SMS operator. */
  readonly relay?: {
    /** `route`: by the salon's route; `asked`: by SMS or WhatsApp alone, where the platform asked for that. */
    readonly by?: RelayBy;
    /** A service text with the hour of a visit that we tell the same person of within an hour: `send` or `drop` it. */
    readonly repeats?: 'send' | 'drop';
  };
  /** How long after the visit; null: not at all. */
  readonly afterVisit?: {
    readonly review?: string | null;
    readonly noShow?: string | null;
    /** An invitation to book again: advertising, to those who consented only. */
    readonly rebook?: string | null;
  };
  /** How a message goes from one channel to the next. */
  readonly routes?: {
    /** Channels in order, for a category that has another order than the company's route. */
    readonly order?: { readonly [category in Category]?: readonly ChannelName[] };
    /** How long a channel may take to bring a message; null: no receipt of it is waited for. */
    readonly within?: { readonly [channel in ChannelName]?: string | null };
    /** The most channels that one message takes. */
    readonly steps?: number;
    /** No second or later step is an SMS to a client who got so many that day; null: no limit. */
    readonly smsPerDay?: number | null;
    /** How long a channel that did not reach a client comes after one that did; null: not at all. */
    readonly remember?: string | null;
  };
  /** How the salon's own people are told what `tell` has for them. */
  readonly team?: {
    readonly [role in Role]?: { readonly quietHours?: Partial<TeamHours>; readonly clientPhone?: boolean };
  } & { readonly administrator?: { readonly gather?: string | null } } & {
    readonly digest?: Partial<DigestRules>;
  };
};

/** A notice to the team is a fact as well: it may wait, and is not dropped. */
export type TeamHours = { readonly from: string; readonly to: string; readonly notices: 'send' | 'defer' };

export type TeamRules = {
  readonly quietHours: TeamHours;
  /** Whether they read the client's phone beside the name. */
  readonly clientPhone: boolean;
};

export type AdministratorRules = TeamRules & {
  /** `15m`: what happens within so long comes in one message; `digest`: in the digest's counts alone; null: at once. */
  readonly gather: string | null;
};

/** One message a day to each administrator. */
export type DigestRules = {
  /** `HH:MM` in the salon's zone; null: none. */
  readonly at: string | null;
  /** Of which day's visits. */
  readonly about: 'today' | 'tomorrow';
  /** Also when there is nothing to say. */
  readonly whenEmpty: boolean;
};

export type Policy = {
  readonly tell: { readonly [kind in NoticeKind]: ByName<Origin, readonly Audience[]> };
  readonly settleMs: ByName<NoticeKind, number>;
  readonly quietHours: { readonly from: string; readonly to: string } & {
    readonly [category in Category]: QuietRule;
  };
  readonly limits: { readonly perDay: number | null; readonly advertisingPerDay: number | null };
  readonly reminders: {
    readonly at: readonly string[];
    readonly minimumLeadMs: number;
    readonly notIfBookedWithinMs: number;
  };
  readonly relay: { readonly by: RelayBy; readonly repeats: 'send' | 'drop' };
  readonly afterVisit: {
    readonly reviewMs: number | null;
    readonly noShowMs: number | null;
    readonly rebookMs: number | null;
  };
  readonly routes: RouteRules & {
    readonly order: { readonly [category in Category]?: readonly ChannelName[] };
  };
  readonly team: {
    readonly staff: TeamRules;
    readonly administrator: AdministratorRules;
    readonly digest: DigestRules;
  };
};

/** Administrators write the journal themselves: of what was made in it they need not hear. */
const NEWS: Partial<ByName<Origin, readonly Audience[]>> & { readonly any: readonly Audience[] } = {
  any: ['client', 'staff', 'administrator'],
  admin: ['client', 'staff'],
};
const WORK: { readonly any: readonly Audience[] } = { any: ['client', 'staff'] };
/** A slot is free, whoever freed it. */
const FREED: { readonly any: readonly Audience[] } = { any: ['client', 'staff', 'administrator'] };

const NIGHT = { from: '22:00', to: '08:00', notices: 'defer' } as const;

/**
 * What a salon would keep: its clients hear of every change at once, are reminded twice and are let sleep. Its team, once
 * somebody is in it: a master of their own visits, an administrator of what clients do by themselves.
 */
export const DEFAULTS = {
  tell: {
    booked: NEWS,
    rescheduled: NEWS,
    staff_changed: WORK,
    services_changed: WORK,
    changed: NEWS,
    cancelled: FREED,
    restored: NEWS,
    // Most clients do, and the digest counts those who have not.
    confirmed: { any: [] },
    // Nobody else can do it for them.
    move_asked: { any: ['administrator'] },
  },
  settle: { any: '5s' },
  // A visit that is called off at 22:00 is called off at 22:00: who has to get up for it wants to know.
  quietHours: {
    from: '21:00',
    to: '09:00',
    notices: 'send',
    reminders: 'defer',
    afterVisit: 'defer',
    advertising: 'defer',
  },
  limits: { perDay: 8, advertisingPerDay: 1 },
  reminders: { at: ['24h', '2h'], minimumLead: '30m', notIfBookedWithin: '3h' },
  relay: { by: 'route', repeats: 'send' },
  afterVisit: { review: null, noShow: null, rebook: null },
  // Each further step may cost money, and reads as pushing: two more than the first are enough for whom they can reach.
  routes: { order: {}, within: {}, steps: 3, smsPerDay: 5, remember: '7d' },
  // Who works tomorrow early wants to know tonight that they need not: hence later than the client's.
  team: {
    staff: { quietHours: NIGHT, clientPhone: false },
    administrator: { quietHours: NIGHT, clientPhone: false, gather: null },
    digest: { at: '20:00', about: 'tomorrow', whenEmpty: false },
  },
} as const satisfies PolicyDocument;

/** A sound document with everything in it that the salon left out. */
export function completePolicy(document: PolicyDocument): typeof DEFAULTS & PolicyDocument {
  const tell = Object.fromEntries(NOTICE_KINDS.map(kind => [kind, toldOf(kind, document)]));
  const team = Object.fromEntries(
    ROLES.map(role => {
      const { quietHours, ...rest } = document.team?.[role] ?? {};
      const usual = DEFAULTS.team[role];
      return [role, { ...usual, ...rest, quietHours: { ...usual.quietHours, ...quietHours } }];
    }),
  );
  const whole = {
    tell,
    settle: { ...DEFAULTS.settle, ...document.settle },
    quietHours: { ...DEFAULTS.quietHours, ...document.quietHours },
    limits: { ...DEFAULTS.limits, ...document.limits },
    reminders: { ...DEFAULTS.reminders, ...document.reminders },
    relay: { ...DEFAULTS.relay, ...document.relay },
    afterVisit: { ...DEFAULTS.afterVisit, ...document.afterVisit },
    routes: { ...DEFAULTS.routes, ...document.routes },
    team: { ...team, digest: { ...DEFAULTS.team.digest, ...document.team?.digest } },
  };
  return whole as typeof DEFAULTS & PolicyDocument;
}

/** A salon that says who hears of `any` means it: an origin of its own is then only what it names itself. */
function toldOf(kind: NoticeKind, { tell }: PolicyDocument): Partial<ByName<Origin, readonly Audience[]>> {
  const own = tell?.[kind];
  return own?.any === undefined ? { ...DEFAULTS.tell[kind], ...own } : own;
}

/** The policy that a sound document stands for. */
export function policyOf(document: PolicyDocument): Policy {
  const whole: PolicyDocument = completePolicy(document);
  const settle = Object.entries(whole.settle ?? {}).map(([name, text]) => [name, durationMs(text)]);
  const { review = null, noShow = null, rebook = null } = whole.afterVisit ?? {};
  const { at, minimumLead, notIfBookedWithin } = { ...DEFAULTS.reminders, ...document.reminders };
  return {
    tell: whole.tell as Policy['tell'],
    settleMs: Object.fromEntries(settle) as Policy['settleMs'],
    quietHours: whole.quietHours as Policy['quietHours'],
    limits: whole.limits as Policy['limits'],
    reminders: {
      at,
      minimumLeadMs: durationMs(minimumLead),
      notIfBookedWithinMs: durationMs(notIfBookedWithin),
    },
    relay: { ...DEFAULTS.relay, ...document.relay },
    afterVisit: {
      reviewMs: review === null ? null : durationMs(review),
      noShowMs: noShow === null ? null : durationMs(noShow),
      rebookMs: rebook === null ? null : durationMs(rebook),
    },
    routes: routesOf(document.routes ?? {}),
    team: whole.team as Policy['team'],
  };
}

function routesOf({
  order = {},
  within = {},
  steps = DEFAULTS.routes.steps,
  smsPerDay = DEFAULTS.routes.smsPerDay,
  remember = DEFAULTS.routes.remember,
}: NonNullable<PolicyDocument['routes']>): Policy['routes'] {
  const limits = Object.entries(within).map(([channel, text]) => [
    channel,
    text === null ? null : durationMs(text),
  ]);
  const rememberMs = remember === null ? null : durationMs(remember);
  return { order, withinMs: Object.fromEntries(limits), steps, smsPerDay, rememberMs };
}

/** `500ms`, `5s`, `10m`, `2h`, `30d`, `0s`: a day is 24 hours here. */
export const DURATION = /^(\d{1,9}) ?(ms|s|m|h|d)$/;
const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Milliseconds of a sound duration; of anything else 0. */
export function durationMs(text: string): number {
  const [, count, unit] = DURATION.exec(text) ?? [];
  return Number(count ?? 0) * (UNITS_MS[unit ?? ''] ?? 0);
}

/** Whether this change of a booking made there is told to such a recipient. */
export function tells(policy: Policy, kind: NoticeKind, origin: Origin, audience: Audience): boolean {
  if (audience === 'administrator' && policy.team.administrator.gather === IN_DIGEST) return false;
  const byOrigin = policy.tell[kind];
  return (byOrigin[origin] ?? byOrigin.any).includes(audience);
}

export function settleMsOf(policy: Policy, kind: NoticeKind): number {
  return policy.settleMs[kind] ?? policy.settleMs.any;
}

/** The longest time that a change waits. */
export function longestSettleMs(policy: Policy): number {
  return Math.max(...Object.values(policy.settleMs));
}

/** News that is not told one by one. */
export const IN_DIGEST = 'digest';

/** How long news for them is gathered into one message; null: each leaves by itself. */
export function gatherMsOf({ team: { administrator } }: Policy, audience: Audience): number | null {
  const { gather } = administrator;
  return audience !== 'administrator' || gather === null || gather === IN_DIGEST ? null : durationMs(gather);
}
