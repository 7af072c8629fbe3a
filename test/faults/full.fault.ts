/**
 * The disk of the embedded database is full: when it is to be made, when it is to be started, and while it is in use.
 * What an operator reads says so and what to do; no event is acknowledged that is not kept, and with space again the
 * service goes on by itself.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { WEBHOOK_SECRET } from '../channels/counterparts.ts';
import { command, freePorts, json, post, send, startService } from '../support/service.ts';
import { startSink } from '../support/sink.ts';
import { until } from '../support/until.ts';

/** A new database is 49 MB. */
const SIZE = '160m';
const PATIENCE_MS = 60_000;
const COMPANY = 1;
/** Larger than what is free within PostgreSQL's files, by far. */
const LONG = 'x'.repeat(100_000);
const SAYS =
  /disk full while starting the embedded PostgreSQL: free space for \S+, or move DATA_DIR to a larger disk/;

let disk: string;
before(async () => {
  disk = await mkdtemp(join(tmpdir(), 'otklik-full-'));
  asRoot('mount', '-t', 'tmpfs', '-o', `size=${SIZE},mode=1777`, 'tmpfs', disk);
});
after(async () => {
  // A server that is just leaving holds it for a moment.
  await until(() => spawnSync('umount', [disk]).status === 0, { what: 'the disk is free' });
  await rm(disk, { recursive: true });
});

function asRoot(program: string, ...args: string[]): void {
  const line = process.getuid?.() === 0 ? [program, ...args] : ['sudo', '-n', program, ...args];
  const { status, stderr, error } = spawnSync(line[0] ?? '', line.slice(1), { encoding: 'utf8' });
  assert.equal(status, 0, `${line.join(' ')}: ${stderr || error}`);
}

/** Leaves nothing, or so much. */
async function fill(leftBytes = 0): Promise<() => Promise<void>> {
  const path = join(disk, 'ballast');
  const file = await open(path, 'w');
  const block = Buffer.alloc(64 * 1024);
  try {
    for (;;) await file.write(block);
  } catch (error) {
    assert.ok(error instanceof Error && 'code' in error && error.code === 'ENOSPC');
  }
  const { size } = await file.stat();
  await file.truncate(size - leftBytes);
  await file.close();
  return () => rm(path, { force: true });
}

const at = (dataDir: string) => ({ DATA_DIR: join(disk, dataDir) });
const examined = z.object({
  healthy: z.boolean(),
  findings: z.array(z.object({ check: z.string(), state: z.string(), says: z.string() })),
});

async function examine(dataDir: string): Promise<Map<string, string>> {
  const { code, stdout } = await command('', ['doctor', '--json'], at(dataDir));
  const { healthy, findings } = examined.parse(JSON.parse(stdout));
  assert.equal(code, healthy ? 0 : 1);
  return new Map(findings.filter(({ state }) => state === 'fault').map(({ check, says }) => [check, says]));
}

test('a start on a full disk says so, where there is a database and where there is none', async () => {
  assert.equal((await command('', ['migrate'], at('kept'))).code, 0);
  const empty = await fill();
  for (const dataDir of ['kept', 'new']) {
    const { code, stdout, stderr } = await command('', ['serve'], at(dataDir));
    assert.match(stderr, SAYS);
    assert.equal(`${stdout}${stderr}`.trim().split('\n').length, 1);
    assert.equal(code, 1);
    const found = (await examine(dataDir)).get('database') ?? '';
    // Where none was made, `doctor` makes none either.
    assert.match(found, dataDir === 'kept' ? SAYS : /there is no database in DATA_DIR/);
  }
  await empty();
  // Full in the middle of making it.
  const less = await fill(20 * 1024 * 1024);
  assert.match((await command('', ['migrate'], at('new'))).stderr, SAYS);
  await less();
  for (const dataDir of ['kept', 'new']) assert.equal((await command('', ['migrate'], at(dataDir))).code, 0);
  await rm(join(disk, 'new'), { recursive: true });
});

test('a disk nearly full is told before it is full', async () => {
  const ample = await examine('kept');
  assert.equal(ample.get('disk'), undefined);
  const empty = await fill(8 * 1024 * 1024);
  assert.match(
    (await examine('kept')).get('disk') ?? '',
    /^[1-9] % of the disk of \S+ is free; full, no webhook is taken any more: free space, or move DATA_DIR to a larger disk/,
  );
  await empty();
});

test('a disk that fills while it serves: nothing is acknowledged that is not kept, and it goes on by itself', {
  timeout: 6 * PATIENCE_MS,
}, async t => {
  const ports = await freePorts();
  const sink = await startSink();
  const env = {
    ...{
      ALERT_WEBHOOK_URL: `${sink.url}/operator`,
      ALERT_WEBHOOK_SECRET: WEBHOOK_SECRET,
      ALERT_LOCALE: 'en',
    },
    // That the disk of DATA_DIR is full is told apart: the database's may be another machine's.
    ALERT_DISK_PERCENT: '0',
  };
  const service = await startService('', { env: { ...at('kept'), ...env }, ports });
  let empty = async () => {};
  t.after(async () => {
    await empty();
    await service.stop();
    await sink.close();
  });
  const { url } = await service.addCompany({ companyId: COMPANY });
  const event = (id: number) => ({
    ...{ company_id: COMPANY, resource: 'record', resource_id: id, status: 'create' },
    data: { id, company_id: COMPANY, date: '2031-01-01 10:00:00', comment: `${id} ${LONG}` },
  });
  const kept = new Set<string>();
  let id = 0;
  const sendNext = async () => {
    id += 1;
    const answer = await post(url, event(id));
    if (answer.status === 200) kept.add(z.object({ id: z.string() }).parse(json(answer)).id);
    else assert.equal(answer.status, 503, answer.body.toString());
    return answer.status;
  };

  empty = await fill();
  await until(async () => (await sendNext()) === 503, {
    what: 'the disk is full',
    timeoutMs: PATIENCE_MS,
  });
  assert.equal((await send(`${service.adminUrl}/livez`, { method: 'GET' })).status, 200);
  await until(() => /"error_says":"disk full: free space where the database lies/.test(service.output()), {
    what: 'the log says what is full',
  });
  const { status } = await send(`${service.adminUrl}/readyz`, { method: 'GET' });
  const told = await until(
    async () => {
      if (status === 200) await sendNext();
      return sink.deliveries.at(-1)?.bytes.toString();
    },
    { what: 'the operator is told', timeoutMs: 3 * PATIENCE_MS },
  );
  assert.match(told, /#alert-(unkept|database)/);
  t.diagnostic(
    `/readyz answered ${status}; told: ${z.object({ text: z.string() }).parse(JSON.parse(told)).text}`,
  );
  await empty();
  await until(async () => (await sendNext()) === 200, {
    what: 'events are taken again',
    timeoutMs: PATIENCE_MS,
  });

  for (const eventId of kept) assert.equal((await service.api('GET', `/events/${eventId}`)).status, 200);
  t.diagnostic(`${id} sent, ${kept.size} acknowledged, all kept`);
});
