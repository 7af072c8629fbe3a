/** Histories beyond those of test/work/convergence.test.ts, which says what each must come to. */
import { test } from 'node:test';
import { endAsTheCleanOnes } from '../work/histories.ts';
import { createPipeline } from '../work/pipeline.ts';

const FIRST = 41;
const HISTORIES = 560;

test(`${HISTORIES} histories under every fault end as the clean ones, each difference told once`, {
  timeout: 300_000,
}, async t => {
  const pipeline = await createPipeline();
  t.after(() => pipeline.close());
  await endAsTheCleanOnes(
    pipeline,
    Array.from({ length: HISTORIES }, (_, index) => FIRST + index),
  );
});
