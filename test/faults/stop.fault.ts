/** The stop of a service whose database hangs: it cannot end in order, and ends all the same, within what is promised. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { startEmbedded } from '../../src/store/embedded.ts';
import { inOwnTime } from '../support/own-time.ts';
import { startService } from '../support/service.ts';
import { until } from '../support/until.ts';

/** docs/operations.md promises 25 s; the rest is for the machine, whose stalls do not count. */
const GONE_WITHIN_MS = 27_000;
const PATIENCE_MS = 90_000;

test('a service whose database hangs is gone within 25 s of SIGTERM, and says that it did not end in order', async t => {
  const dataDir = await mkdtemp(join(tmpdir(), 'otklik-hung-'));
  const database = await startEmbedded({ dataDir, log: () => {} });
  let hung: readonly number[] = [];
  const thaw = () => {
    for (const pid of hung) process.kill(pid, 'SIGCONT');
  };
  const service = await startService(database.url);
  t.after(async () => {
    thaw();
    await service.kill9();
    await database.stop();
    await rm(dataDir, { recursive: true, force: true });
  });
  hung = await serverPids(dataDir);
  assert.ok(hung.length > 5, 'a server and its connections');
  for (const pid of hung) process.kill(pid, 'SIGSTOP');

  process.kill(service.pid, 'SIGTERM');
  const { ownMs } = await inOwnTime(() =>
    until(service.ended, { what: 'the process is gone', timeoutMs: PATIENCE_MS }),
  );
  t.diagnostic(`gone after ${ownMs} ms`);
  assert.ok(ownMs <= GONE_WITHIN_MS, `gone after ${ownMs} ms`);
  const said = service.output();
  assert.match(said, /"msg":"the stop took too long/);
  assert.match(said, /\(ended by exit code 1\)/);
  assert.doesNotMatch(said, /"msg":"stopped"/);
});

/** The server first, so that no process comes after those that were counted. */
async function serverPids(dataDir: string): Promise<readonly number[]> {
  const [line = ''] = (await readFile(join(dataDir, 'postgres/postmaster.pid'), 'utf8')).split('\n');
  const children = await readFile(`/proc/${line}/task/${line}/children`, 'utf8');
  return [line, ...children.trim().split(' ')].map(Number);
}
