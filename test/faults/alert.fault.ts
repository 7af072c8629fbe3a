/** PostgreSQL really killed, and nobody there to start it again: the operator hears of it all the same, once. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { z } from 'zod';
import { rulesOf } from '../../src/domain/alert.ts';
import { createAlertTexts } from '../../src/domain/alert-text.ts';
import { createLog } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import { migrate } from '../../src/store/migrate.ts';
import { createPool } from '../../src/store/pool.ts';
import { loadTemplates } from '../../src/templates.ts';
import { createWatch } from '../../src/work/alert.ts';
import { WEBHOOK_SECRET, WELL_KNOWN } from '../channels/counterparts.ts';
import { LIMITS } from '../support/alert-limits.ts';
import { until } from '../support/until.ts';

const HOLDER = join(import.meta.dirname, '../support/holder.ts');
const MINUTE = 60_000;
const PATIENCE_MS = 60_000;

test('a database that is killed is told of without it, by every road, and when it is back', async t => {
  const dataDir = await mkdtemp(join(tmpdir(), 'otklik-fault-'));
  const holders: ChildProcess[] = [];
  t.after(async () => {
    for (const holder of holders) holder.kill('SIGTERM');
    await Promise.all(holders.map(ended));
    await rm(dataDir, { recursive: true, force: true });
  });
  const start = async () => {
    const holder = spawn(process.execPath, [HOLDER, dataDir], { stdio: ['ignore', 'pipe', 'ignore'] });
    holders.push(holder);
    return heldUrl(holder);
  };
  const url = await start();
  await migrate(url);
  const pool = createPool(url, { max: 2, name: 'test', statementTimeoutMs: 60_000 });
  t.after(() => pool.end());
  const sides = await Promise.all(
    WELL_KNOWN.filter(({ name }) => ['telegram', 'email', 'webhook'].includes(name)).map(({ open }) =>
      open(t, 'accept'),
    ),
  );
  const roads = new Map(
    sides.map(({ channel, address }) => [channel.name, { address, secret: WEBHOOK_SECRET }]),
  );
  let now = Date.now();
  const watch = createWatch({
    ...{ pool, roads, log: createLog('silent'), metrics: createMetrics(), now: () => now },
    ...{ channels: new Map(sides.map(({ channel }) => [channel.name, channel])), locale: 'ru' },
    ...{
      texts: createAlertTexts(loadTemplates()),
      rules: rulesOf(LIMITS),
      working: { opens: 9, closes: 21 },
      backupExpected: false,
    },
    outside: { host: '', certificateDays: async () => null, freePercent: async () => 50 },
    onMessages: () => {},
  });
  const told = () => sides.map(({ received }) => received.map(({ text }) => text));
  await watch.runOnce();

  // First whoever would start it again.
  for (const holder of holders.splice(0)) {
    holder.kill('SIGKILL');
    await ended(holder);
  }
  process.kill(await postmasterPid(dataDir), 'SIGKILL');
  await until(
    () =>
      pool.query('SELECT 1').then(
        () => false,
        () => true,
      ),
    {
      what: 'the database is gone',
      timeoutMs: PATIENCE_MS,
    },
  );
  await watch.runOnce();
  for (let minute = 1; minute <= 3; minute += 1) {
    now += MINUTE;
    await watch.runOnce();
  }
  for (const texts of told()) {
    assert.equal(texts.length, 1);
    assert.match(texts[0] ?? '', /^🔴 База данных не отвечает дольше 60 с или.*\n.*#alert-database$/);
  }

  assert.equal(await start(), url, 'it comes back where it was');
  await until(
    () =>
      pool.query('SELECT 1').then(
        () => true,
        () => false,
      ),
    {
      what: 'the database is back',
      timeoutMs: PATIENCE_MS,
    },
  );
  // Some looks may find a database that has just come back too slow.
  for (let minute = 1; minute <= 15 && told().some(texts => texts.length < 2); minute += 1) {
    now += MINUTE;
    await watch.runOnce();
  }
  for (const texts of told()) {
    assert.equal(texts.length, 2);
    assert.match(texts[1] ?? '', /^🟢 в порядке: база данных/);
  }
  await watch.stop();
});

async function heldUrl(holder: ChildProcess): Promise<string> {
  if (holder.stdout === null) throw new Error('the holder says nothing');
  for await (const line of createInterface(holder.stdout)) {
    const said = z.looseObject({ event: z.string(), url: z.string().optional() }).parse(JSON.parse(line));
    if (said.event === 'held' && said.url !== undefined) return said.url;
  }
  throw new Error('the holder could not start the database');
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise(resolve => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once('exit', () => resolve());
  });
}

async function postmasterPid(dataDir: string): Promise<number> {
  const [pid] = (await readFile(join(dataDir, 'postgres/postmaster.pid'), 'utf8')).split('\n');
  return Number(pid);
}
