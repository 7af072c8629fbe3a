/** All that is said around a salon's week: see bench/month.ts for a month of twenty chairs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countExpected, salonMonth } from '../../bench/month-model.ts';
import { countSent, playMonth } from '../../bench/month-play.ts';
import { createPipeline } from '../work/pipeline.ts';

const SALON = { chairs: 6, days: 7 };
const SEED = 20_310_401;

test('a week of a salon: of each purpose as many messages as the model counts', async () => {
  const month = salonMonth(SEED, SALON);
  const expected = countExpected(month);
  for (const [what, count] of Object.entries(expected)) assert.ok(count > 3, `${count} of ${what}`);
  const pipeline = await createPipeline();
  try {
    await playMonth(pipeline, month);
    assert.deepEqual(await countSent(pipeline), expected);
  } finally {
    await pipeline.close();
  }
});
