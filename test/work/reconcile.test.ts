/**
 * Reconciliation on the real inbox, processor, outbox and database, against simulated salons whose webhooks are lost,
 * doubled and late: what the mirror, the clients and the counters come to. More days: test/faults/reconcile.fault.ts.
 */
import { after, before, test } from 'node:test';
import { createPipeline, type Pipeline } from './pipeline.ts';
import { checkDay, playDay, salonDay } from './salon-day.ts';

const SEEDS = 4;

let pipeline: Pipeline;
before(async () => {
  pipeline = await createPipeline();
});
after(() => pipeline.close());

test(`${SEEDS} salon days with webhooks lost, doubled and late and an hour of downtime: one reconciliation mends all`, async () => {
  // One of 500 changes as a salon has them, and more of fewer.
  const days = Array.from({ length: SEEDS }, (_, index) => salonDay(index + 1, index === 0 ? 500 : 80));
  await playDay(pipeline, days);
  for (const day of days) await checkDay(pipeline, day);
});
