/**
 * Alerts: what becomes of a number that has passed its limit.
 *
 *     fine ──worse than the limit──▶ suspected ──for long enough──▶ raised ──better, for long enough──▶ fine
 *              (back: forgotten)                      │ told                    │ told once more
 *                                                     └── told again each day   (worse again meanwhile: stays raised)
 *
 * The way back needs a better number than the way in did, and some minutes of it: a number that swings around its limit
 * is told once. Pure; `store/alerts.ts` reads the numbers, `work/alert.ts` tells.
 */
import type { EpochMs } from './time.ts';

export const ALERT_KINDS = [
  'silent',
  'backlog',
  'dead_letters',
  'missed',
  'rejects',
  'refused',
  'marketplace',
  'unkept',
  'certificate',
  'api',
  'disk',
  'database',
  'provider',
  'account',
  'drift',
  'backup',
] as const;
export type AlertKind = (typeof ALERT_KINDS)[number];

export type AlertKey = { readonly kind: AlertKind; readonly subject: string };

/** A number as it is now. `null`: it could not be learnt, so nothing changes. One that is absent is fine. */
export type Reading = AlertKey & {
  readonly value: number | null;
  /** What the subject is called, and what else helps: ours, or a salon's title; never a client's data. */
  readonly label?: string;
  readonly detail?: string;
};

export type AlertState = AlertKey & {
  readonly label: string;
  readonly detail: string;
  readonly value: number;
  /** Worse than the limit since. */
  readonly since: EpochMs;
  /** Null while it is only suspected. */
  readonly raisedAt: EpochMs | null;
  readonly toldAt: EpochMs | null;
  /** Better since, while it is raised. */
  readonly betterSince: EpochMs | null;
};

export type Rule = {
  /** What the operator set, for the text. */
  readonly limit: number;
  readonly worse: (value: number) => boolean;
  readonly better: (value: number) => boolean;
  readonly forMs: number;
};

/** By kind; one that is absent is switched off. */
export type Rules = ReadonlyMap<AlertKind, Rule>;

/** What the operator sets; 0 switches off. */
export type Limits = Readonly<Record<AlertKind, number>>;

export type Told = AlertState & { readonly limit: number };
/** What is told in one message. */
export type Bulletin = {
  readonly raised: readonly Told[];
  readonly lasting: readonly Told[];
  readonly resolved: readonly Told[];
};

const MINUTE_MS = 60_000;
/** One bad minute of a number that is measured anew each time says little. */
const STEADY_MS = 60_000;
const BETTER_FOR_MS = 5 * MINUTE_MS;
const REMIND_MS = 24 * 60 * MINUTE_MS;
/** What no road took is told again so soon: the tries of a message take about as long. */
const UNHEARD_MS = 60 * MINUTE_MS;

export function rulesOf(limits: Limits): Rules {
  const made: Record<AlertKind, Rule> = {
    silent: atLeast(limits.silent),
    backlog: atLeast(limits.backlog),
    dead_letters: atLeast(limits.dead_letters),
    missed: atLeast(limits.missed),
    rejects: atLeast(limits.rejects),
    refused: atLeast(limits.refused),
    marketplace: atLeast(limits.marketplace),
    unkept: atLeast(limits.unkept),
    certificate: atMost(limits.certificate, 0),
    api: lasting(limits.api, limits.api * MINUTE_MS),
    disk: atMost(limits.disk, STEADY_MS),
    database: lasting(limits.database, limits.database * 1000),
    provider: atLeast(limits.provider, STEADY_MS),
    // A provider's word about us is certain; how often it is asked for is the limit.
    account: lasting(limits.account, 0),
    drift: atLeast(limits.drift),
    backup: atLeast(limits.backup),
  };
  return new Map(ALERT_KINDS.flatMap(kind => (limits[kind] === 0 ? [] : [[kind, made[kind]] as const])));
}

function atLeast(limit: number, forMs = 0): Rule {
  return { limit, worse: value => value >= limit, better: value => value < limit / 2, forMs };
}

function atMost(limit: number, forMs: number): Rule {
  return { limit, worse: value => value <= limit, better: value => value > limit * 1.2, forMs };
}

/** Of what either is wrong (1) or is not (0): the limit is how long. */
function lasting(limit: number, forMs: number): Rule {
  return { limit, worse: value => value > 0, better: value => value === 0, forMs };
}

/** A kind that is kept quiet for a time, of one subject or, with null, of all. */
export type Mute = { readonly kind: AlertKind; readonly subject: string | null; readonly until: EpochMs };

/** All but that of the database, which is known and told without it, and so without what it keeps of mutes. */
export const MUTABLE_KINDS = ALERT_KINDS.filter(kind => kind !== 'database');

/** Until when it is muted; undefined: it is not. */
export function mutedUntil(
  mutes: readonly Mute[],
  { kind, subject }: AlertKey,
  now: EpochMs,
): EpochMs | undefined {
  const ends = mutes
    .filter(mute => mute.kind === kind && (mute.subject === null || mute.subject === subject))
    .map(({ until }) => until);
  const last = Math.max(...ends);
  return last > now ? last : undefined;
}

/** What is known beside the numbers. */
export type Circumstances = {
  /** The moments of telling (`toldAt`) of which nobody has heard, since no road took the message. */
  readonly unheard?: ReadonlySet<EpochMs>;
  /** A muted alert is neither raised nor told again, so that what is wrong still when that is over is told then; its end is. */
  readonly muted?: (key: AlertKey) => boolean;
};

/** What is open after looking at these readings, and what there is to tell. */
export function assess(
  rules: Rules,
  states: readonly AlertState[],
  readings: readonly Reading[],
  now: EpochMs,
  { unheard = new Set(), muted = () => false }: Circumstances = {},
): { readonly open: readonly AlertState[]; readonly bulletin: Bulletin } {
  const known = new Map(states.map(state => [keyOf(state), state]));
  const read = new Map(readings.map(reading => [keyOf(reading), reading]));
  const open: AlertState[] = [];
  const told: Record<keyof Bulletin, Told[]> = { raised: [], lasting: [], resolved: [] };
  for (const key of new Set([...known.keys(), ...read.keys()])) {
    const alert = known.get(key) ?? read.get(key);
    const rule = alert && rules.get(alert.kind);
    if (alert === undefined || rule === undefined) continue;
    const { next, tell } = advance(rule, known.get(key), read.get(key), {
      now,
      unheard,
      quiet: muted(alert),
    });
    const state = next ?? known.get(key);
    if (tell !== undefined && state !== undefined) told[tell].push({ ...state, limit: rule.limit });
    if (next !== undefined) open.push(next);
  }
  return { open, bulletin: told };
}

function keyOf({ kind, subject }: AlertKey): string {
  return `${kind} ${subject}`;
}

export function isEmpty({ raised, lasting: reminded, resolved }: Bulletin): boolean {
  return raised.length + reminded.length + resolved.length === 0;
}

type Step = { readonly next: AlertState | undefined; readonly tell?: keyof Bulletin };

/** One number's step. */
function advance(
  rule: Rule,
  state: AlertState | undefined,
  reading: Reading | undefined,
  {
    now,
    unheard,
    quiet,
  }: { readonly now: EpochMs; readonly unheard: ReadonlySet<EpochMs>; readonly quiet: boolean },
): Step {
  const value = reading === undefined ? undefined : reading.value;
  const worse = typeof value === 'number' && rule.worse(value);
  if (state === undefined || state.raisedAt === null) {
    if (value === null && state !== undefined) return { next: state };
    if (!worse || reading === undefined) return { next: undefined };
    const suspected = refresh(state ?? suspect(reading, now), reading);
    if (quiet || now - suspected.since < rule.forMs) return { next: suspected };
    return { next: { ...suspected, raisedAt: now, toldAt: now }, tell: 'raised' };
  }
  const current = worse && reading !== undefined ? refresh(state, reading) : state;
  const better = value === undefined || (value !== null && rule.better(value));
  if (!better) {
    if (quiet) return { next: { ...current, betterSince: null } };
    const afterMs = state.toldAt !== null && unheard.has(state.toldAt) ? UNHEARD_MS : REMIND_MS;
    return remind({ ...current, betterSince: null }, now, afterMs);
  }
  const betterSince = state.betterSince ?? now;
  if (now - betterSince >= BETTER_FOR_MS) return { next: undefined, tell: 'resolved' };
  return { next: { ...current, betterSince } };
}

function suspect({ kind, subject }: Reading, now: EpochMs): AlertState {
  return {
    ...{ kind, subject, label: '', detail: '', value: 0, since: now },
    ...{ raisedAt: null, toldAt: null, betterSince: null },
  };
}

function refresh(state: AlertState, { value, label = '', detail = '' }: Reading): AlertState {
  return { ...state, label, detail, value: value ?? state.value };
}

function remind(state: AlertState, now: EpochMs, afterMs: number): Step {
  if (now - (state.toldAt ?? now) < afterMs) return { next: state };
  return { next: { ...state, toldAt: now }, tell: 'lasting' };
}
