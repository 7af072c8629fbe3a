/** The key that is generated beside an embedded database. */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readConfig } from '../src/config.ts';
import { masterKey, reachable } from '../src/open.ts';
import { readSetting, settleSetting } from '../src/store/settings.ts';
import { fingerprintOf } from '../src/vault.ts';
import { testDatabase } from './support/database.ts';

test('a key is generated for a new database, and none for one that has lost its own', async () => {
  const database = await testDatabase();
  const folder = await mkdtemp(join(tmpdir(), 'open-'));
  const config = readConfig({ DATA_DIR: folder });
  try {
    const key = await masterKey(config, database.pool);
    await settleSetting(database.pool, 'key_fingerprint', fingerprintOf(key));
    assert.deepEqual(await masterKey(config, database.pool), key);

    await rm(join(folder, 'otklik.key'));
    await assert.rejects(masterKey(config, database.pool), /otklik\.key is not there.*: put it back, or set/);
    assert.deepEqual(await readdir(folder), []);
  } finally {
    await database.close();
    await rm(folder, { recursive: true, force: true });
  }
});

test('a key of which a crash has left half is no key, and two who make one at once have the same', async () => {
  const database = await testDatabase();
  const folder = await mkdtemp(join(tmpdir(), 'open-'));
  const config = readConfig({ DATA_DIR: folder });
  const file = join(folder, 'otklik.key');
  try {
    for (const half of ['', 'c2hvcnQ=']) {
      await writeFile(file, half);
      await assert.rejects(masterKey(config, database.pool), /otklik\.key holds no key of 32 bytes/);
    }
    assert.equal(
      await readSetting(database.pool, 'key_fingerprint'),
      undefined,
      'nothing is sealed under it',
    );

    await rm(file);
    const keys = await Promise.all([1, 2, 3].map(() => masterKey(config, database.pool)));
    assert.equal(keys[0]?.length, 32);
    assert.equal(new Set(keys.map(String)).size, 1);
    assert.deepEqual(await readdir(folder), ['otklik.key']);
  } finally {
    await database.close();
    await rm(folder, { recursive: true, force: true });
  }
});

test('a database whose disk is full is said to be that, and the settings are not blamed', async () => {
  const database = await testDatabase();
  const fill = () =>
    database.pool.query(`DO $$ BEGIN RAISE 'could not extend file' USING ERRCODE = 'disk_full'; END $$`);
  try {
    await assert.rejects(
      reachable(database.url, fill),
      ({ name, message }: Error) =>
        name === 'PlainError' &&
        /^PostgreSQL at \S+ has a full disk, and nothing was changed: free space where/.test(message),
    );
  } finally {
    await database.close();
  }
});
