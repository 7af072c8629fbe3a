/**
 * The guarantee at the heart: whatever the way does to a salon's webhooks (copies, order, lateness, permuted services,
 * deletes without a client, odd shapes), the bookings end as they are and each difference is told once. Hundreds of
 * histories more: test/faults/convergence.fault.ts.
 */
import { after, before, test } from 'node:test';
import { endAsTheCleanOnes } from './histories.ts';
import { createPipeline, type Pipeline } from './pipeline.ts';

const HISTORIES = 40;

let pipeline: Pipeline;
before(async () => {
  pipeline = await createPipeline();
});
after(() => pipeline.close());

test(`${HISTORIES} histories under every fault end as the clean ones, each difference told once`, () =>
  endAsTheCleanOnes(
    pipeline,
    Array.from({ length: HISTORIES }, (_, index) => 1 + index),
  ));
