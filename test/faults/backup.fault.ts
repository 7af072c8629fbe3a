/** The commands for looking after a database, as an operator types them: 25 processes, and two servers of their own. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { type Company, command, json, post, type Service, send, startService } from '../support/service.ts';
import { until } from '../support/until.ts';
import { recordBody } from '../work/pipeline.ts';

let source: TestDatabase;
let folder: string;
let service: Service;
let company: Company;

const report = z.object({ createdAt: z.string(), rows: z.record(z.string(), z.number()) });
const stats = z.object({ events: z.record(z.string(), z.number()), bookings: z.number() });

before(async () => {
  source = await testDatabase();
  folder = await mkdtemp(join(tmpdir(), 'backup-commands-'));
  service = await startService(source.url, { env: { KEEP_EVENTS_DAYS: '1' } });
  company = await service.addCompany({ companyId: 1 });
  for (const id of [1, 2, 3]) assert.equal((await post(company.url, recordBody({ id }))).status, 200);
  await done(service, 3);
});
after(async () => {
  await service.stop();
  await source.close();
  await rm(folder, { recursive: true, force: true });
});

/** A process whose errors are read by somebody at a terminal, as it takes it. */
const AT_TERMINAL = { NODE_OPTIONS: '--import=data:text/javascript,process.stderr.isTTY=true' };

function elsewhere(change: (url: URL) => void): string {
  const url = new URL(source.url);
  change(url);
  return url.href;
}

async function done(of: Service, count: number): Promise<void> {
  await until(async () => stats.parse(json(await of.api('GET', '/stats'))).events.done === count, {
    what: `${count} events are done`,
  });
}

test('backup from a running service, restore elsewhere, and a service starts on it with the same URLs', async () => {
  const directory = join(folder, 'one');
  const backedUp = await command(source.url, ['backup', directory, '--json']);
  assert.equal(backedUp.code, 0, backedUp.stderr);
  const { rows } = report.parse(JSON.parse(backedUp.stdout));
  assert.equal(rows.webhook_events, 3);
  assert.equal(rows.bookings, 3);

  const target = await testDatabase();
  const restored = await command(target.url, ['restore', directory, '--json']);
  assert.equal(restored.code, 0, restored.stderr);
  assert.deepEqual(report.parse(JSON.parse(restored.stdout)).rows, rows);
  const there = await startService(target.url);
  assert.equal(stats.parse(json(await there.api('GET', '/stats'))).bookings, 3);
  const url = company.url.replace(service.publicUrl, there.publicUrl);
  assert.equal((await post(url, recordBody({ id: 4 }))).status, 200);
  await done(there, 4);
  assert.equal(await there.stop(), 0);

  const again = await command(target.url, ['restore', directory]);
  assert.equal(again.code, 1);
  assert.match(
    again.stderr,
    /the database is in use: its table audit_log has rows\. Restore into an empty one/,
  );
  await target.close();
});

test('the embedded database is backed up and restored in the same way', async () => {
  const [one, other] = ['here', 'there'].map(name => ({ DATA_DIR: join(folder, name) }));
  const added = await command('', ['company', 'add', '7', '--title', 'Полынь', '--zone', 'Asia/Omsk'], one);
  assert.equal(added.code, 0, added.stderr);
  const directory = join(folder, 'embedded');
  assert.equal((await command('', ['backup', directory], one)).code, 0);
  const restored = await command('', ['restore', directory, '--resume'], { ...other, ADMIN_TOKEN: '' });
  assert.match(restored.stdout, /Messages that were due will be sent\./, restored.stderr);
  assert.match(restored.stdout, /ADMIN_TOKEN is again that of the backup/);
  assert.match((await command('', ['company', 'list'], other)).stdout, /7 +Полынь +Asia\/Omsk/);
});

test('a missing key, a wrong one and a database that is away, missing or closed to us are one plain line', async () => {
  const directory = join(folder, 'two');
  const phrase = join(folder, 'phrase');
  await writeFile(phrase, 'correct horse battery');
  const target = await testDatabase();
  assert.equal((await command(source.url, ['backup', directory, '--key-file', phrase])).code, 0);
  const refusals: [args: string[], says: RegExp, env?: Record<string, string>][] = [
    [['restore', directory], /name it with --key-file/],
    [['restore', directory, '--key-file', phrase], /another OTKLIK_KEY/, { OTKLIK_KEY: 'ab'.repeat(32) }],
    [['backup', join(folder, 'none')], /OTKLIK_KEY must be set/, { OTKLIK_KEY: '' }],
    [['backup', join(folder, 'none')], /cannot be used/, { DATABASE_URL: 'postgresql://127.0.0.1:1/none' }],
    [['stats'], /has no database of that name/, { DATABASE_URL: elsewhere(url => (url.pathname = '/none')) }],
    [['stats'], /refuses the user/, { DATABASE_URL: elsewhere(url => (url.username = 'nobody')) }],
  ];
  for (const [args, says, env] of refusals) {
    const { code, stderr } = await command(target.url, args, env ?? {});
    assert.equal(code, 1, args.join(' '));
    assert.match(stderr, says);
    assert.equal(stderr.trim().split('\n').length, 1, stderr);
  }
  await target.close();
});

test('a damaged file and a place that is no backup are one plain line', async () => {
  const directory = join(folder, 'three');
  assert.equal((await command(source.url, ['backup', directory])).code, 0);
  assert.match((await command(source.url, ['restore', folder])).stderr, /is not a backup/);
  const file = join(directory, 'webhook_events.copy.gz.sealed');
  const bytes = await readFile(file);
  bytes[100] = (bytes[100] ?? 0) ^ 1;
  await writeFile(file, bytes);
  const damaged = await command(source.url, ['restore', directory]);
  assert.match(
    damaged.stderr,
    /webhook_events\.copy\.gz\.sealed is damaged or was altered; nothing was restored/,
  );
});

test('erase-person says what it would do, does it, and takes it back for the future', async () => {
  const erase = (...args: string[]) => command(source.url, ['erase-person', '1', ...args]);
  const would = await command(source.url, ['erase-person', '1', '--client', '9', '--dry-run'], AT_TERMINAL);
  const shown = would.stderr.split('\r\u001b[K');
  assert.deepEqual(
    [shown[0], shown[1], shown.at(-1)],
    ['', 'finding what the person is called', ''],
    'written over, gone at the end',
  );
  assert.match(would.stdout, /^Would erase a person known as 1 client\.\ntable +rows\n/);
  assert.match(would.stdout, /A scan of every column for id, phone(, [^.]+)? finds them nowhere\./);
  const { rows } = await source.pool.query('SELECT count(*)::int AS n FROM people');
  assert.deepEqual(rows, [{ n: 1 }]);
  const did = await erase('--phone', '+7 916 000-00-01', '--json');
  assert.equal(did.code, 0, did.stderr);
  assert.equal(did.stderr, '', 'nobody sits at a terminal');
  const { rows: left } = await source.pool.query('SELECT count(*)::int AS n FROM people');
  assert.deepEqual(left, [{ n: 0 }]);
  assert.match((await erase('--client', '9', '--readmit')).stdout, /may be known again/);
  const nothing = await erase('--client', '77');
  assert.match(nothing.stdout, /^Nothing was kept of client 77; the id is barred from now on\.$/m);
  assert.match(nothing.stdout, /No phone, e-mail or address is known to scan for/);
  const nowhere = await command(source.url, ['erase-person', '99', '--client', '5']);
  assert.equal(nowhere.code, 1);
  assert.match(nowhere.stderr, /there is no company 99/);
  assert.match((await erase()).stderr, /--client <id> or by --phone/);
  assert.match((await erase('--phone', '12')).stderr, /at least 7 digits/);
});

test('the service that runs forgets by itself', async () => {
  await source.pool.query(
    "UPDATE webhook_events SET created_at = now() - interval '2 days', processed_at = now() - interval '2 days' WHERE state = 'done'",
  );
  const keeper = await startService(source.url, { env: { ROLES: 'upkeep', KEEP_EVENTS_DAYS: '1' } });
  await until(async () => (await source.pool.query('SELECT FROM webhook_events')).rowCount === 0, {
    what: 'the old events are gone',
  });
  await until(
    async () => {
      const { body } = await send(`${keeper.adminUrl}/metrics`, { method: 'GET' });
      return /otklik_rows_pruned_total\{table="webhook_events"\} 3/.test(body.toString());
    },
    { what: 'they are counted' },
  );
  await keeper.stop();
});
