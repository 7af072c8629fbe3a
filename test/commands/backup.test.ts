/** What `backup` says of the key. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keyName } from '../../src/commands/backup.ts';

test('the key of a backup is called as it is found where it was made', () => {
  assert.equal(keyName({ OTKLIK_KEY: Buffer.alloc(32), DATA_DIR: '/data' }), 'OTKLIK_KEY');
  assert.equal(keyName({ OTKLIK_KEY: undefined, DATA_DIR: '/data' }), 'the key in /data/otklik.key');
});
