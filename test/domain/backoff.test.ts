/** How long is waited after a try that failed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { retryAfterTriesMs } from '../../src/domain/backoff.ts';

test('the wait doubles up to ten minutes, and is never shorter than the other side asks', () => {
  const minute = 60_000;
  assert.deepEqual(
    [1, 2, 3, 30].map(tries => retryAfterTriesMs(tries, 0)),
    [2_000, 4_000, 8_000, 10 * minute],
  );
  assert.equal(retryAfterTriesMs(1, 1), 2_500);
  assert.equal(retryAfterTriesMs(30, 1), 12.5 * minute, 'what failed together does not come back together');
  assert.equal(retryAfterTriesMs(1, 0, 5_000), 5_000);
  assert.equal(retryAfterTriesMs(30, 0, 60 * minute), 60 * minute, 'an hour is the most that is believed');
});
