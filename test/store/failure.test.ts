/** What an operator is told when the embedded server cannot be started. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explain } from '../../src/store/embedded/failure.ts';

test('a full disk is said to be one, whoever met it', () => {
  for (const text of [
    'could not write to file "pg_wal/xlogtemp.1": No space left on device',
    'database or disk is full',
  ]) {
    assert.equal(
      explain(new Error(text), 'starting the embedded PostgreSQL', '/srv/data').message,
      'disk full while starting the embedded PostgreSQL: free space for /srv/data, or move DATA_DIR to a larger disk',
    );
  }
});
