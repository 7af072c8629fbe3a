/** Many salon days at once: see test/work/reconcile.test.ts for what each must come to. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPipeline } from '../work/pipeline.ts';
import { apisOverHttp, checkDay, playDay, salonDay } from '../work/salon-day.ts';

const SEEDS = 44;
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

const HTTP_SEEDS = 12;

test(`${HTTP_SEEDS} such days read by the real client from the platform over HTTP, its answers as odd as its webhooks`, {
  timeout: 900_000,
}, async () => {
  const pipeline = await createPipeline();
  const days = Array.from({ length: HTTP_SEEDS }, (_, index) => salonDay(300 + index, CHANGES));
  const { apis, platform, close } = await apisOverHttp(pipeline, days);
  try {
    await playDay(pipeline, days, apis);
    for (const day of days) await checkDay(pipeline, day);
    assert.ok(platform.stats().calls >= 2 * HTTP_SEEDS, 'each was asked over HTTP');
  } finally {
    await close();
    await pipeline.close();
  }
});
