/** Numbers as they are read, made into readings: what counts, and how little is too little to count. */
import type { AlertKind, Reading } from './alert.ts';
import type { DriftKind } from './drift.ts';
import type { EpochMs } from './time.ts';
import { type Hours, weekdayOf, workingMsBetween } from './working-time.ts';

/** Fewer changes a day than this say nothing of what webhooks miss. */
export const FEWEST_CHANGES = 20;
/** Fewer tries than this say nothing of a provider, unless they succeeded. */
const FEWEST_ATTEMPTS = 5;
const HOUR_MS = 3_600_000;

export type Depths = {
  readonly inboxSeconds: number;
  readonly outboxSeconds: number;
  readonly deadEvents: number;
  readonly deadMessages: number;
};

export function depthReadings(depths: Depths): Reading[] {
  return [
    { kind: 'backlog', subject: 'inbox', value: depths.inboxSeconds },
    { kind: 'backlog', subject: 'outbox', value: depths.outboxSeconds },
    { kind: 'dead_letters', subject: 'events', value: depths.deadEvents },
    { kind: 'dead_letters', subject: 'messages', value: depths.deadMessages },
  ];
}

export type CompanyNumbers = {
  readonly companyId: number;
  readonly title: string;
  readonly zone: string;
  /** Webhooks are expected. */
  readonly hooked: boolean;
  readonly imported: boolean;
  readonly webhooks: number;
  readonly missed: number;
  /** Why its API could not be read the last time; null: it could. */
  readonly apiError: string | null;
  /** The hour of the last webhook; null: there never was one. */
  readonly lastHour: EpochMs | null;
};

/** What the API says, and what webhooks leave out. */
export function companyReadings(company: CompanyNumbers): Reading[] {
  const { webhooks, missed, apiError, hooked, imported } = company;
  const of = { subject: String(company.companyId), label: company.title };
  const changes = webhooks + missed;
  return [
    ...(apiError === null ? [] : [{ ...of, kind: 'api' as const, value: 1, detail: apiError }]),
    ...(hooked && imported && changes >= FEWEST_CHANGES
      ? [{ ...of, kind: 'missed' as const, value: (100 * missed) / changes }]
      : []),
  ];
}

/** Hours for which a company cannot be silent in working time, by the clock alone: spares looking closer. */
export function mayBeSilent({ hooked, lastHour }: CompanyNumbers, limitHours: number, now: EpochMs): boolean {
  return hooked && lastHour !== null && now - endOfHour(lastHour) >= (limitHours / 2) * HOUR_MS;
}

/** `hours` with webhooks in the four weeks before the silence: it works on the days of the week that are among them. */
export function silenceReading(
  company: CompanyNumbers & { readonly lastHour: EpochMs },
  hours: readonly EpochMs[],
  working: Hours,
  now: EpochMs,
): Reading {
  const { zone, lastHour } = company;
  const from = endOfHour(lastHour);
  const weekdays = new Set(hours.map(hour => weekdayOf(hour, zone)));
  // A company that is here for less than two weeks has not shown its days off yet.
  const young = hours.every(hour => lastHour - hour < 14 * 24 * HOUR_MS);
  const days = young ? new Set([0, 1, 2, 3, 4, 5, 6]) : weekdays;
  return {
    kind: 'silent',
    subject: String(company.companyId),
    label: company.title,
    value: from >= now ? 0 : workingMsBetween(from, now, { zone, hours: working, weekdays: days }) / HOUR_MS,
  };
}

function endOfHour(hour: EpochMs): EpochMs {
  return hour + HOUR_MS;
}

export type ProviderNumbers = {
  readonly channel: string;
  readonly tries: number;
  readonly failed: number;
  readonly reason: string | null;
};

/** A road to the operator. */
export type RoadNumbers = {
  readonly channel: string;
  /** Why it gave up the last alert; null: it did not. */
  readonly gaveUp: string | null;
  /** It took one within the minutes of `ProviderNumbers`. */
  readonly tookLately: boolean;
};

/** The label of a channel that fails as a road to the operator. */
const ROAD = 'road';

/**
 * A channel without tries keeps its alert: that nobody tried does not mean that it works. What else leaves by a road says
 * nothing of the operator's address: a road fails until it takes an alert.
 */
export function providerReadings(
  numbers: readonly ProviderNumbers[],
  channels: readonly string[],
  roads: readonly RoadNumbers[] = [],
): Reading[] {
  return channels.map(channel => {
    const of = { kind: 'provider' as const, subject: channel };
    const road = roads.find(one => one.channel === channel);
    if (road !== undefined && road.gaveUp !== null)
      return { ...of, value: 100, label: ROAD, detail: road.gaveUp };
    const { tries = 0, failed = 0, reason = null } = numbers.find(one => one.channel === channel) ?? {};
    if (tries === 0) return { ...of, value: road?.tookLately ? 0 : null };
    const telling = tries >= FEWEST_ATTEMPTS || failed === 0;
    return { ...of, value: telling ? (100 * failed) / tries : null, detail: reason ?? '' };
  });
}

export type Rejects = { readonly cause: string; readonly count: number };

/** Causes of the marketplace's routes; the others are those of the salons' events. */
const MARKETPLACE = /^(connect_|lifecycle_)|^entity_event_here$/;

/** Not the sender's fault. A salon may send ten events an hour, so that these and the next have limits of their own. */
const UNKEPT = /^(store_down|overloaded|error)$/;

/** Behind a salon's key: no stranger's try but an event that is lost, and the next of this salon most likely with it. */
const REFUSED = /^(company_rate|bodies_under_way|unreadable|event_media_type|event_too_large|signature_.+)$/;

/** Whatever a scanner asks for. Nothing is lost, and nobody can do anything about it. */
const NOTHING = /^(not_found|method)$/;

/** The rules for Prometheus sort the causes in the same way. */
export function rejectReadings(rejects: readonly Rejects[]): Reading[] {
  return rejects
    .filter(({ cause }) => !NOTHING.test(cause))
    .map(({ cause, count }) => ({ kind: kindOf(cause), subject: cause, value: count }));
}

function kindOf(cause: string): AlertKind {
  if (MARKETPLACE.test(cause)) return 'marketplace';
  if (REFUSED.test(cause)) return 'refused';
  return UNKEPT.test(cause) ? 'unkept' : 'rejects';
}

export type BackupNumbers = {
  /** Null: none was made. */
  readonly last: EpochMs | null;
  /** There has been something to back up. */
  readonly since: EpochMs;
};

/** Hours without a backup. Where none was ever made, somebody must have said that there is to be one. */
export function backupReadings({ last, since }: BackupNumbers, expected: boolean, now: EpochMs): Reading[] {
  if (last === null && !expected) return [];
  const label = last === null ? 'never' : '';
  return [{ kind: 'backup', subject: '', label, value: (now - (last ?? since)) / HOUR_MS }];
}

export type DriftNumbers = { readonly kind: DriftKind; readonly bodies: number };

export function driftReadings(numbers: readonly DriftNumbers[]): Reading[] {
  return numbers.map(({ kind, bodies }) => ({ kind: 'drift', subject: kind, value: bodies }));
}
