import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createGuard } from '../../src/http/guard.ts';

/** Two requests a second, averaged over ten: twenty at once. */
const ALLOWED = 20;

test('an address that sends too much is asked to wait, known key or not, and others are served', async t => {
  t.mock.timers.enable({ apis: ['Date', 'setTimeout'] });
  let asked = 0;
  const keys = {
    find: async () => {
      asked += 1;
      return undefined;
    },
  };
  const guard = createGuard({ keys, limits: { perCompany: 1_000, perAddress: ALLOWED / 10 } });
  for (let number = 1; number <= ALLOWED; number += 1) {
    assert.partialDeepStrictEqual(await guard.admit('192.0.2.1', 'key'), { status: 404 });
  }
  const refused = await guard.admit('192.0.2.1', 'key');
  assert.partialDeepStrictEqual(refused, { status: 429, cause: 'address_rate' });
  assert.ok('retryAfterSeconds' in refused && Number(refused.retryAfterSeconds) >= 1);
  assert.equal(asked, ALLOWED, 'beyond the limit no key is looked up');
  assert.partialDeepStrictEqual(await guard.admit('192.0.2.2', 'key'), { status: 404 });
});
