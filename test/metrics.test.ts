/** What a scrape shows of the webhooks. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type CoverageDepths, createMetrics, watchCoverage } from '../src/metrics.ts';

test('each scrape shows coverage and lag by one reading; what is not known is no number', async () => {
  const metrics = createMetrics();
  let readings = 0;
  let depths: CoverageDepths = { coveragePercent: 97.5, lagMsMean: 1_250, lagMsMax: 7_000 };
  watchCoverage(metrics, async () => {
    readings += 1;
    return depths;
  });
  const shown = async () =>
    (await metrics.registry.metrics())
      .split('\n')
      .filter(line => /^otklik_webhooks_(coverage|lag)/.test(line));
  assert.deepEqual(await shown(), [
    'otklik_webhooks_coverage_ratio 0.975',
    'otklik_webhooks_lag_seconds 1.25',
    'otklik_webhooks_lag_max_seconds 7',
  ]);
  assert.equal(readings, 1);
  depths = { coveragePercent: null, lagMsMean: null, lagMsMax: null };
  // Written in its own way by the library; Prometheus reads it in any case.
  assert.ok((await shown()).every(line => / nan$/i.test(line)));
});
