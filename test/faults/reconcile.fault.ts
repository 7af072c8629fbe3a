/** Many salon days at once: see test/work/reconcile.test.ts for what each must come to. */
import { test } from 'node:test';
import { createPipeline } from '../work/pipeline.ts';
import { checkDay, playDay, salonDay } from '../work/salon-day.ts';

const SEEDS = 40;
const CHANGES = 500;

test(`${SEEDS} salon days of ${CHANGES} changes with webhooks lost, doubled and late: one reconciliation mends all`, {
  timeout: 900_000,
}, async () => {
  const pipeline = await createPipeline();
  try {
    const days = Array.from({ length: SEEDS }, (_, index) => salonDay(100 + index, CHANGES));
    await playDay(pipeline, days);
    for (const day of days) await checkDay(pipeline, day);
  } finally {
    await pipeline.close();
  }
});
