/** Commands started where there is no database: by cron, or with a DATA_DIR that is not the service's. */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { backup } from '../../src/commands/backup.ts';
import { withStore } from '../../src/commands/run.ts';
import { readConfig } from '../../src/config.ts';
import { createLog, PlainError } from '../../src/log.ts';
import { OTKLIK_KEY } from '../support/service.ts';

test('backup and what only looks make no database where DATA_DIR has none, and name it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'elsewhere-'));
  const dataDir = join(folder, 'data');
  const refusal = (error: unknown) => {
    assert.ok(error instanceof PlainError);
    assert.match(error.message, /^there is no database in DATA_DIR \(\S+\/data\): set it to the one/);
    return true;
  };
  try {
    for (const key of [{}, { OTKLIK_KEY }]) {
      const context = { config: readConfig({ DATA_DIR: dataDir, ...key }), log: createLog('silent') };
      await assert.rejects(backup(context, join(folder, 'one'), {}), refusal);
      await assert.rejects(
        withStore(context, async () => assert.fail('it was opened')),
        refusal,
      );
    }
    assert.deepEqual(await readdir(folder), []);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
