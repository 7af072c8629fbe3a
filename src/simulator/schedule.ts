/**
 * What is to happen and to be delivered, planned some seconds ahead: a fault may depend on what happens next (a
 * create that arrives after its update). Pure.
 */
import type { EpochMs } from '../domain/time.ts';
import { type Course, type CourseOptions, type Happening, step } from './course.ts';
import { type Delivery, planDeliveries, type WayOptions } from './faults.ts';
import type { Random } from './random.ts';

/** `madeAt` is when the salon acted: an item whose action has not happened when the run ends is void. */
export type Item = { readonly at: EpochMs; readonly madeAt: EpochMs } & (
  | { readonly kind: 'action'; readonly happening: Happening }
  | { readonly kind: 'delivery'; readonly delivery: Delivery }
);

export type Schedule = {
  readonly course: Course;
  /** The randomness of the way, apart from the salon's. */
  readonly way: Random;
  readonly plannedUntil: EpochMs;
  /** By `at`. */
  readonly items: readonly Item[];
  readonly dropped: number;
};

export function planAhead(
  schedule: Schedule,
  untilMs: EpochMs,
  options: CourseOptions & WayOptions,
): Schedule {
  const { course, happenings } = happeningsUntil(schedule.course, untilMs, options);
  const webhooks = happenings.flatMap(happening => happening.webhooks);
  const { deliveries, dropped } = planDeliveries(webhooks, schedule.way, options.faults, options);
  const added: Item[] = [
    ...happenings.map(happening => actionItem(happening)),
    ...deliveries.map(delivery => deliveryItem(delivery)),
  ];
  const items = [...schedule.items, ...added].sort((left, right) => left.at - right.at);
  return { ...schedule, course, items, plannedUntil: untilMs, dropped: schedule.dropped + dropped.length };
}

function actionItem(happening: Happening): Item {
  const { at } = happening.action;
  return { kind: 'action', at, madeAt: at, happening };
}

function deliveryItem(delivery: Delivery): Item {
  return { kind: 'delivery', at: delivery.dueAt, madeAt: delivery.webhook.at, delivery };
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
