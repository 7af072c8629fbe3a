/** The course of a salon over time: when its actions happen, and the webhooks that they make. Pure and seeded. */
import type { EpochMs } from '../domain/time.ts';
import { type Fault, type Faults, parseFaults } from './faults.ts';
import type { RecordChange } from './journal.ts';
import { type Action, nextAction } from './next-action.ts';
import type { Random } from './random.ts';
import type { Salon } from './salon.ts';
import type { Carried, Webhook } from './webhook.ts';
import { recordWebhook } from './wire.ts';

export type Course = {
  readonly salon: Salon;
  readonly random: Random;
  /** When the next action happens. */
  readonly nextAt: EpochMs;
};

export type CourseOptions = {
  readonly faults: Faults;
  /** The time from one action to the next. */
  readonly gapMs: (random: Random) => number;
  readonly others: boolean;
  readonly mostRecords?: number | undefined;
};

/** One action, and what the salon sends because of it. */
export type Happening = {
  readonly action: Action;
  readonly salon: Salon;
  readonly webhooks: readonly Webhook[];
  /** Each change of a record, with what its webhook carries; empty for what is not about a record. */
  readonly told: readonly { readonly change: RecordChange; readonly carried: Carried }[];
};

/** The next happening, and the course after it; a null happening when nothing could happen at that moment. */
export function step(
  course: Course,
  options: CourseOptions,
): { course: Course; happening: Happening | null } {
  const { random, nextAt } = course;
  const next = nextAction(course.salon, random, nextAt, {
    bareDeletes: options.faults.has('bare_delete'),
    unknownResources: options.faults.has('unknown'),
    others: options.others,
    mostRecords: options.mostRecords,
  });
  const after = { random, nextAt: nextAt + Math.max(1, Math.round(options.gapMs(random))) };
  if (next === null) return { course: { ...after, salon: course.salon }, happening: null };
  const { salon, action } = next;
  return { course: { ...after, salon }, happening: happeningOf(action, salon, random, options.faults) };
}

/** What the salon sends because of `action`, after which it is `salon`. */
export function happeningOf(action: Action, salon: Salon, random: Random, faults: Faults): Happening {
  if (action.about === 'other') return { action, salon, webhooks: [action.webhook], told: [] };
  const written = action.changes.map(change => ({
    change,
    webhook: recordWebhook(change, salon, random, faults, action.at),
  }));
  const told = written.flatMap(({ change, webhook: { carried } }) => (carried ? [{ change, carried }] : []));
  return { action, salon, webhooks: written.map(({ webhook }) => webhook), told };
}

/** Actions as they come at a real desk: independent of each other, `perSecond` on average. */
export function gapsAt(perSecond: number): (random: Random) => number {
  return random => -Math.log(1 - random.fraction()) * (1000 / perSecond);
}

/** A set, a list of names, or what a command line says. A chance of loss above 0 turns `drop` on. */
export function faultsOf(faults: Faults | readonly Fault[] | string, dropChance = 0): Faults {
  const named = typeof faults === 'string' ? parseFaults(faults) : new Set(faults);
  return dropChance > 0 ? new Set([...named, 'drop']) : named;
}
