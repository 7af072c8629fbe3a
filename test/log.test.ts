/** What a line says of an error: class and code, and words only where they are ours. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeError } from '../src/log.ts';

test('a full disk is said to be one, whoever met it; an error’s own words are left out', () => {
  for (const code of ['53100', 'ENOSPC', 'EDQUOT']) {
    const { error_code: told, error_says: says } = describeError(
      Object.assign(new Error('+79995554242'), { code }),
    );
    assert.equal(told, code);
    assert.match(
      String(says),
      /^disk full: free space where the database lies; docs\/operations\.md#alert-disk$/,
    );
  }
  const other = describeError(Object.assign(new Error('+79995554242'), { code: '57P01' }));
  assert.equal(other.error_says, undefined);
});
