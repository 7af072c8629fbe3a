/** What `backup` says of the key, and that it remembers what it made; and what the timer keeps of it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { noteBackup } from '../../src/backup/note.ts';
import { backup, keyName } from '../../src/commands/backup.ts';
import { readConfig } from '../../src/config.ts';
import { createLog } from '../../src/log.ts';
import { LAST_BACKUP, readSetting } from '../../src/store/settings.ts';
import { testDatabase } from '../support/database.ts';

const DAY = 86_400_000;
const log = createLog('silent');

test('the key of a backup is called as it is found where it was made', () => {
  assert.equal(keyName({ OTKLIK_KEY: Buffer.alloc(32), DATA_DIR: '/data' }), 'OTKLIK_KEY');
  assert.equal(keyName({ OTKLIK_KEY: undefined, DATA_DIR: '/data' }), 'the key in /data/otklik.key');
});

test('a backup that is whole is remembered in the database, with the moment of its cut; one that failed is not', async t => {
  const database = await testDatabase();
  t.after(() => database.close());
  const folder = await folderOf(t);
  const config = readConfig({
    DATABASE_URL: database.url,
    OTKLIK_KEY: Buffer.alloc(32, 1).toString('base64'),
  });
  const noted = () => readSetting(database.pool, LAST_BACKUP);
  await mkdir(join(folder, 'taken'));
  await assert.rejects(backup({ config, log }, join(folder, 'taken'), { json: true }), /is there already/);
  assert.equal(await noted(), undefined);
  await backup({ config, log }, join(folder, 'one'), { json: true });
  const manifest = JSON.parse(await readFile(join(folder, 'one/manifest.json'), 'utf8'));
  assert.equal(await noted(), manifest.createdAt);
});

test('a backup of a database that takes no note is a backup all the same, and that it is not noted is said', async t => {
  const database = await testDatabase();
  t.after(() => database.close());
  assert.equal(
    await noteBackup(`${database.url}?options=-c%20default_transaction_read_only=on`, 'now'),
    false,
  );
  assert.equal(await readSetting(database.pool, LAST_BACKUP), undefined);
});

test('the timer’s backups of the last fourteen days are kept, and what it has not made is not touched', async t => {
  const folder = await folderOf(t);
  const unit = await readFile(new URL('../../deploy/systemd/otklik-backup.service', import.meta.url), 'utf8');
  const [program = '', ...words] = (/^ExecStartPost=(.+)$/m.exec(unit)?.[1] ?? '').split(' ');
  const kept = [
    '2026-03-16-030102',
    '2026-03-01',
    'by-hand',
    'move',
    '2026-03-01-030000.tar',
    'x2026-03-01-030000',
  ];
  const gone = ['2026-03-01-030411', '2025-12-31-235959', '.2026-03-01-030411.partial-aB3_x9'];
  for (const name of [...kept, ...gone]) {
    await mkdir(join(folder, name, 'inside'), { recursive: true });
    const days = name === '2026-03-16-030102' ? 13 : 15;
    const at = new Date(Date.now() - days * DAY);
    await utimes(join(folder, name), at, at);
  }
  await promisify(execFile)(
    program,
    words.map(word => (word === '/var/backups/otklik' ? folder : word)),
  );
  assert.deepEqual((await readdir(folder)).sort(), [...kept].sort());
});

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'backup-test-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}
