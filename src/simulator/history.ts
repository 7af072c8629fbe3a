/** A whole history at once, with no clock and no network: for property tests and for benches. */
import type { EpochMs } from '../domain/time.ts';
import type { Brand } from './cast.ts';
import { faultsOf, gapsAt, type Happening, step } from './course.ts';
import { type Fault, type Faults, planDeliveries } from './faults.ts';
import { type Ledger, openBook } from './ledger.ts';
import type { Random } from './random.ts';
import { openSalon, type Salon } from './salon.ts';
import type { Webhook } from './webhook.ts';

export type HistoryOptions = {
  readonly startMs: EpochMs;
  /** How many actions. */
  readonly actions: number;
  readonly companyId?: number;
  readonly brand?: Brand;
  readonly zone?: string;
  readonly faults?: Faults | readonly Fault[] | string;
  readonly dropChance?: number | undefined;
  /** Records in the journal from before; 0 unless told. */
  readonly known?: number;
  /** No more records than this, the known included; unlimited unless told. */
  readonly mostRecords?: number | undefined;
  /** Whether resources other than `record` are told too; not unless told. */
  readonly others?: boolean;
  /** The time from one action to the next; about half a second, at random, unless told. */
  readonly gapMs?: (random: Random) => number;
};

/** One request as it arrives. */
export type Arrival = {
  readonly webhook: Webhook;
  readonly body: string;
  readonly receivedAt: EpochMs;
};

export type History = {
  /** Before the first action. */
  readonly salon: Salon;
  /** What happened, in order. */
  readonly happenings: readonly Happening[];
  /** In the order in which the salon made them, each received at once. */
  readonly events: readonly Arrival[];
  /** The same as they arrive under the faults of the way: copies, order, lateness, loss. */
  readonly arrivals: readonly Arrival[];
  /** Its delivery times are those of `arrivals`. */
  readonly ledger: Ledger;
};

export function historyOf(random: Random, options: HistoryOptions): History {
  const { startMs, companyId = 1, brand = 'yclients', zone = 'Asia/Yekaterinburg' } = options;
  const faults = faultsOf(options.faults ?? 'none', options.dropChance);
  const way = random.fork();
  const salon = openSalon({ companyId, brand, zone, records: options.known ?? 0 }, random, startMs);
  const book = openBook();
  const webhooks: Webhook[] = [];
  const happenings: Happening[] = [];
  const courseOptions = {
    faults,
    gapMs: options.gapMs ?? gapsAt(2),
    others: options.others ?? false,
    mostRecords: options.mostRecords,
  };
  let course = { salon, random, nextAt: startMs };
  for (let index = 0; index < options.actions; index += 1) {
    const { course: after, happening } = step(course, courseOptions);
    course = after;
    if (happening === null) continue;
    happenings.push(happening);
    webhooks.push(...happening.webhooks);
    for (const { change, carried } of happening.told) book.changed(change, carried, happening.action.at);
  }
  const plan = planDeliveries(webhooks, way, faults, options);
  for (const { webhook, dueAt } of plan.deliveries) {
    book.sent(webhook, dueAt, dueAt);
  }
  for (const webhook of plan.dropped) book.lost(webhook);
  const arrivals = plan.deliveries.map(({ webhook, body, dueAt }) => ({ webhook, body, receivedAt: dueAt }));
  return {
    salon,
    happenings,
    events: webhooks.map(webhook => ({ webhook, body: webhook.body, receivedAt: webhook.at })),
    arrivals,
    ledger: {
      companyId,
      zone,
      seed: 0,
      startedAt: startMs,
      endedAt: course.nextAt,
      records: book.records(),
      refusals: book.refusals(),
      counts: {
        actions: options.actions,
        webhooks: webhooks.length,
        dropped: plan.dropped.length,
        requests: arrivals.length,
        answers: { 200: arrivals.length },
      },
    },
  };
}
