/**
 * What is to happen and to be delivered, planned some seconds ahead: a fault may depend on what happens next (a
 * create that arrives after its update). Pure.
 */
import type { EpochMs } from '../domain/time.ts';
import { type Course, type CourseOptions, type Happening, step } from './course.ts';
import { type Delivery, planDeliveries, type WayOptions } from './faults.ts';
import type { Random } from './random.ts';
import type { Salon } from './salon.ts';
import type { Webhook } from './webhook.ts';

/** `madeAt` is when the salon acted: an item whose action has not happened when the run ends is void. */
export type Item = { readonly at: EpochMs; readonly madeAt: EpochMs } & (
  | { readonly kind: 'action'; readonly happening: Happening }
  | { readonly kind: 'delivery'; readonly delivery: Delivery }
  /** The webhook is never sent. */
  | { readonly kind: 'loss'; readonly webhook: Webhook }
);

export type Schedule = {
  readonly course: Course;
  /** The randomness of the way, apart from the salon's. */
  readonly way: Random;
  readonly plannedUntil: EpochMs;
  /** By `at`. */
  readonly items: readonly Item[];
};

export function planAhead(
  schedule: Schedule,
  untilMs: EpochMs,
  options: CourseOptions & WayOptions,
): Schedule {
  const { course, happenings } = happeningsUntil(schedule.course, untilMs, options);
  const webhooks = happenings.flatMap(happening => happening.webhooks);
  const actions = happenings.map(happening => actionItem(happening));
  const planned = withWebhooks({ ...schedule, items: [...schedule.items, ...actions] }, webhooks, options);
  return { ...planned, course, plannedUntil: untilMs };
}

/** With the ways of `webhooks` in it. */
export function withWebhooks(
  schedule: Schedule,
  webhooks: readonly Webhook[],
  options: CourseOptions & WayOptions,
): Schedule {
  const { deliveries, dropped } = planDeliveries(webhooks, schedule.way, options.faults, options);
  const added = [...dropped.map(webhook => lossItem(webhook)), ...deliveries.map(one => deliveryItem(one))];
  const items = [...schedule.items, ...added].sort((left, right) => left.at - right.at);
  return { ...schedule, items };
}

/**
 * After the salon became `salon` by something that was not planned, when all that was due has happened: what was
 * planned to happen is void, and is planned anew from there.
 */
export function replanned(schedule: Schedule, salon: Salon, nowMs: EpochMs): Schedule {
  const { course, items } = schedule;
  const voidFrom = items.find(({ kind }) => kind === 'action')?.madeAt ?? Number.POSITIVE_INFINITY;
  return {
    ...schedule,
    course: { ...course, salon, nextAt: Math.min(voidFrom, course.nextAt) },
    plannedUntil: Math.min(schedule.plannedUntil, nowMs),
    items: items.filter(item => item.madeAt < voidFrom),
  };
}

function actionItem(happening: Happening): Item {
  const { at } = happening.action;
  return { kind: 'action', at, madeAt: at, happening };
}

function deliveryItem(delivery: Delivery): Item {
  return { kind: 'delivery', at: delivery.dueAt, madeAt: delivery.webhook.at, delivery };
}

function lossItem(webhook: Webhook): Item {
  return { kind: 'loss', at: webhook.at, madeAt: webhook.at, webhook };
}

function happeningsUntil(from: Course, untilMs: EpochMs, options: CourseOptions) {
  const happenings: Happening[] = [];
  let course = from;
  while (course.nextAt < untilMs) {
    const next = step(course, options);
    course = next.course;
    if (next.happening !== null) happenings.push(next.happening);
  }
  return { course, happenings };
}
