/** What was backed up is there again elsewhere, or nothing is; and nobody hears anything twice. */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { promisify } from 'node:util';
import { type BackupSecret, readPassphrase } from '../../src/backup/key.ts';
import type { Manifest } from '../../src/backup/manifest.ts';
import { restoreBackup, type Verified, verifyBackup } from '../../src/backup/read.ts';
import { type Progress, writeBackup } from '../../src/backup/write.ts';
import type { Channel } from '../../src/channels/channel.ts';
import { CONSOLE_TRAITS } from '../../src/channels/console.ts';
import { PlainError } from '../../src/log.ts';
import { inOneTransaction } from '../../src/store/copy.ts';
import { applyMigrations, knownMigrations } from '../../src/store/migrate.ts';
import { LEASED_TABLES } from '../../src/store/restore.ts';
import { settleSetting } from '../../src/store/settings.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { command } from '../support/service.ts';
import { until } from '../support/until.ts';
import { createPipeline, type Pipeline, recordBody } from '../work/pipeline.ts';

const DAY = 86_400_000;
const KEY = Buffer.alloc(32, 1);
const SECRET: BackupSecret = { kind: 'OTKLIK_KEY', key: KEY };

let source: Pipeline;
let target: TestDatabase;
let folder: string;
let directory: string;

beforeEach(async () => {
  source = await createPipeline();
  await source.addCompany({ companyId: 1 });
  await settleSetting(source.pool, 'key_fingerprint', source.vault.fingerprint);
  target = await testDatabase();
  folder = await mkdtemp(join(tmpdir(), 'backup-test-'));
  directory = join(folder, 'one');
});
afterEach(async () => {
  await source.close();
  await target.close();
  await rm(folder, { recursive: true, force: true });
});

const write = (
  options: { secret?: BackupSecret; url?: string; directory?: string; onProgress?: Progress } = {},
): Promise<Manifest> =>
  writeBackup({
    url: options.url ?? source.url,
    directory: options.directory ?? directory,
    secret: options.secret ?? SECRET,
    databaseKey: source.vault.fingerprint,
    ...(options.onProgress && { onProgress: options.onProgress }),
  });
const verify = (secret: BackupSecret = SECRET): Promise<Verified> =>
  verifyBackup({ directory, secretFor: async () => secret, databaseKey: source.vault.fingerprint });
const restore = async (quietUntil?: number): Promise<readonly string[]> =>
  (await restoreBackup({ url: target.url, backup: await verify(), quietUntil })).applied;

async function receive(pipeline: Pipeline, ...bodies: string[]): Promise<void> {
  await pipeline.receive(
    1,
    bodies.map(body => ({ body, receivedAt: pipeline.now })),
  );
}

/** Rows by table, as they are in the target. */
async function targetRows(): Promise<Record<string, number>> {
  const { rows: tables } = await target.pool.query<{ name: string }>(
    "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
  );
  const counts: Record<string, number> = {};
  for (const { name } of tables) {
    const { rows } = await target.pool.query(`SELECT count(*)::int AS n FROM ${name}`);
    counts[name] = rows[0].n;
  }
  return counts;
}

test('everything is there again: each row to the letter, and the numbers go on', async () => {
  await receive(
    source,
    recordBody({ id: 1, data: { comment: 'tab\t\\N "ё" 👩‍🦰\nline' } }),
    recordBody({ id: 2 }),
  );
  await source.settle();
  const manifest = await write();
  await restore();
  for (const { name, rows } of manifest.tables) {
    if (name === 'shards' || name === 'workers') continue;
    const read = `SELECT t.* FROM ${name} t ORDER BY t::text`;
    const [was, is] = [await source.pool.query(read), await target.pool.query(read)];
    const columns = (fields: readonly { name: string }[]) => fields.map(field => field.name);
    assert.deepEqual(columns(is.fields), columns(was.fields));
    const text = `SELECT t::text AS row FROM ${name} t ORDER BY 1`;
    const [before, after] = [await source.pool.query(text), await target.pool.query(text)];
    assert.deepEqual(after.rows, before.rows, name);
    assert.equal(after.rows.length, rows, name);
  }
  const { rows } = await target.pool.query(
    `INSERT INTO audit_log (actor, action) VALUES ('test', 'test') RETURNING id::int`,
  );
  assert.equal(rows[0].id, 1);
  const again = await createPipeline({ database: target });
  await receive(again, recordBody({ id: 3 }));
  const { rows: seqs } = await target.pool.query('SELECT seq::int FROM webhook_events ORDER BY seq');
  assert.deepEqual(
    seqs.map(row => row.seq),
    [1, 2, 3],
  );
  await again.close();
});

/** Connections to the server of `url` that can be told to say nothing to us for a while. */
async function pausable(
  url: string,
): Promise<{ url: string; pause(): void; resume(): void; close(): Promise<void> }> {
  const { hostname, port } = new URL(url);
  const sockets: Socket[] = [];
  const server = createServer(near => {
    const far = connect(Number(port), hostname);
    sockets.push(near, far);
    near.pipe(far).pipe(near);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.on('error', () => other.destroy());
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  const through = new URL(url);
  through.host = `127.0.0.1:${address.port}`;
  return {
    url: through.href,
    pause: () => {
      for (const socket of sockets) socket.cork();
    },
    resume: () => {
      for (const socket of sockets) socket.uncork();
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await promisify(server.close.bind(server))();
    },
  };
}

const COUNTS = `SELECT (SELECT count(*)::int FROM webhook_events WHERE state = 'done') AS events,
  (SELECT count(*)::int FROM bookings) AS bookings,
  (SELECT count(*)::int FROM booking_changes) AS changes,
  (SELECT count(*)::int FROM messages) AS messages`;

test('a backup under load is one moment: events, bookings and messages belong together', async () => {
  let running = true;
  let made = 0;
  const load = async () => {
    while (running) {
      await receive(source, ...Array.from({ length: 5 }, () => recordBody({ id: 1_000 + made++ })));
      await source.settle();
    }
  };
  const settled = async () => (await source.pool.query(COUNTS)).rows[0];
  const loading = load();
  const link = await pausable(source.url);
  try {
    await until(async () => (await settled()).messages >= 15, { what: 'three batches are told' });
    const before = await settled();
    // Bookings come early among the tables, events last: in between the server is not heard until more was made.
    let paused = false;
    const writing = write({
      url: link.url,
      onProgress: table => {
        if (table !== 'bookings' || paused) return;
        paused = true;
        link.pause();
      },
    });
    await until(() => paused, { what: 'the backup is at the bookings' });
    const then = await settled();
    await until(async () => (await settled()).messages >= then.messages + 15, {
      what: 'three more batches are told meanwhile',
    });
    link.resume();
    const manifest = await writing;
    running = false;
    await loading;
    const after = await settled();
    await restore();
    const counts = await targetRows();
    for (const { name, rows } of manifest.tables) {
      if (name !== 'workers') assert.equal(counts[name], rows, name);
    }
    const { events, ...others } = (await target.pool.query(COUNTS)).rows[0];
    assert.deepEqual(others, { bookings: events, changes: events, messages: events });
    assert.ok(before.messages > 0 && events >= before.messages, `${events}, ${before.messages} before`);
    for (const [what, count] of Object.entries(after)) {
      assert.ok(Number(count) >= events + 15, `${count} ${what}, ${events} in the backup`);
    }
  } finally {
    running = false;
    link.resume();
    await loading;
    await link.close();
  }
});

test('the directory is for its owner only, has no secret or name in it, and nothing is left beside it', async () => {
  await receive(source, recordBody({ data: { client: { id: 9, name: 'Евстолия', phone: '79160000001' } } }));
  await source.settle();
  await write();
  assert.equal((await stat(directory)).mode & 0o777, 0o700);
  assert.deepEqual(await readdir(folder), ['one']);
  for (const file of await readdir(directory)) {
    assert.equal((await stat(join(directory, file))).mode & 0o777, 0o600, file);
    const bytes = await readFile(join(directory, file));
    for (const word of ['Евстолия', '79160000001', KEY.toString('hex'), KEY.toString('base64')]) {
      assert.ok(!bytes.includes(word), file);
    }
  }
  await assert.rejects(write(), /is there already/);
});

test('a place that cannot be made is named, without a stack', async () => {
  await writeFile(join(folder, 'file'), '');
  await assert.rejects(write({ directory: join(folder, 'file', 'one') }), error => {
    assert.ok(error instanceof PlainError);
    assert.match(error.message, /cannot be written to .+ \((ENOTDIR|EEXIST)\)/);
    return true;
  });
});

test('a backup that fails leaves nothing behind', async () => {
  await source.pool.query("UPDATE settings SET value = 'another' WHERE key = 'key_fingerprint'");
  await assert.rejects(write(), /OTKLIK_KEY is not the one/);
  assert.deepEqual(await readdir(folder), []);
});

test('a flipped byte at any place, in any file, is refused and the database stays as it was', async () => {
  await receive(source, ...Array.from({ length: 100 }, (_, index) => recordBody({ id: index + 1 })));
  await source.settle();
  await write();
  const before = await targetRows();
  const files = await readdir(directory);
  for (const file of files) {
    const path = join(directory, file);
    const bytes = await readFile(path);
    const position = randomInt(bytes.length);
    const changed = Buffer.from(bytes);
    changed[position] = (changed[position] ?? 0) ^ 1;
    await writeFile(path, changed);
    await assert.rejects(
      restore(),
      /damaged|altered|was not made with|has format|another OTKLIK_KEY/,
      `${file} at ${position}`,
    );
    await writeFile(path, bytes);
  }
  assert.deepEqual(await targetRows(), before);
  await restore();
});

test('a file cut off, missing, or in the place of another is refused', async () => {
  await receive(source, recordBody());
  await source.settle();
  await write();
  const [events, bookings] = ['webhook_events', 'bookings'].map(name =>
    join(directory, `${name}.copy.gz.sealed`),
  );
  assert.ok(events && bookings);
  const bytes = await readFile(events);
  await truncate(events, bytes.length - 1);
  await assert.rejects(restore(), /webhook_events.* is damaged/);
  await writeFile(events, await readFile(bookings));
  await assert.rejects(restore(), /webhook_events.* is damaged/);
  await rm(events);
  await assert.rejects(restore(), /webhook_events.* is missing/);
});

test('a file that changes between the check and the restore takes everything back', async () => {
  await receive(source, recordBody());
  await source.settle();
  await write();
  const before = await targetRows();
  const backup = await verify();
  const last = join(directory, 'webhook_events.copy.gz.sealed');
  const bytes = await readFile(last);
  bytes[20] = (bytes[20] ?? 0) ^ 1;
  await writeFile(last, bytes);
  await assert.rejects(restoreBackup({ url: target.url, backup, quietUntil: undefined }), /damaged/);
  assert.deepEqual(await targetRows(), before);
});

test('a wrong key is refused and said to be that', async () => {
  await write();
  await assert.rejects(
    verify({ kind: 'OTKLIK_KEY', key: Buffer.alloc(32, 2) }),
    /not made with this OTKLIK_KEY/,
  );
  const foreign = verifyBackup({ directory, secretFor: async () => SECRET, databaseKey: 'another' });
  await assert.rejects(foreign, /another OTKLIK_KEY/);
});

test('a passphrase from a file seals and opens it, another does not', async () => {
  const file = join(folder, 'phrase');
  await writeFile(file, 'correct horse battery\n');
  const secret: BackupSecret = { kind: 'passphrase', passphrase: await readPassphrase(file) };
  await write({ secret });
  await assert.rejects(
    verify({ kind: 'passphrase', passphrase: 'wrong horse battery' }),
    /not made with this passphrase/,
  );
  assert.equal((await verify(secret)).manifest.sealedWith, 'passphrase');
  await writeFile(file, 'short');
  await assert.rejects(readPassphrase(file), /at least 12/);
});

test('`restore --check` says what is in a backup without a database, and refuses a damaged one or a wrong key in one line', async () => {
  await receive(source, recordBody());
  await source.settle();
  const manifest = await write();
  const nowhere = 'postgresql://127.0.0.1:1/none';
  const check = (args: readonly string[], key: Buffer = KEY) =>
    command(nowhere, ['restore', directory, '--check', ...args], { OTKLIK_KEY: key.toString('hex') });
  const refused = async (says: RegExp, key?: Buffer) => {
    const { code, stderr } = await check([], key);
    assert.match(stderr, says);
    assert.equal(stderr.trim().split('\n').length, 1, stderr);
    assert.equal(code, 1);
  };
  const { code, stdout, stderr } = await check(['--json']);
  assert.equal(code, 0, stderr);
  const said = JSON.parse(stdout);
  assert.deepEqual(said, {
    ...{ directory, createdAt: manifest.createdAt, otklik: manifest.otklik, sealedWith: 'OTKLIK_KEY' },
    ...{ schema: knownMigrations().at(-1), bytes: said.bytes, rows: said.rows },
  });
  assert.equal(said.rows.webhook_events, 1);
  assert.ok(said.bytes > 1_000);
  assert.match((await check([])).stdout, / is whole: 1 events, 1 bookings, .* as they were at .*\n.*schema/);
  await refused(/not made with this OTKLIK_KEY/, Buffer.alloc(32, 2));
  const file = join(directory, 'bookings.copy.gz.sealed');
  const bytes = await readFile(file);
  bytes[20] = (bytes[20] ?? 0) ^ 1;
  await writeFile(file, bytes);
  await refused(/bookings\.copy\.gz\.sealed is damaged or was altered/);
});

test('`restore --check` opens what a key file sealed where the OTKLIK_KEY is not, and says that it is needed', async () => {
  const file = join(folder, 'phrase');
  await writeFile(file, 'correct horse battery\n');
  await write({ secret: { kind: 'passphrase', passphrase: await readPassphrase(file) } });
  const args = ['restore', directory, '--check', '--key-file', file];
  const { stdout, stderr } = await command('', args, { OTKLIK_KEY: '', DATA_DIR: folder });
  assert.match(stdout, /sealed with a key file.*\n.* need the OTKLIK_KEY of its database/, stderr);
  assert.deepEqual((await readdir(folder)).sort(), ['one', 'phrase'], 'no database was made');
});

test('a database with rows is refused, and so are tables of someone else', async () => {
  await write();
  await target.pool.query(
    "INSERT INTO companies (company_id, title, zone) VALUES (5, 'Салон', 'Europe/Moscow')",
  );
  await assert.rejects(restore(), /its table companies has rows/);
  await target.pool.query('DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE theirs (id int)');
  await assert.rejects(restore(), /tables that are not Otklik's/);
  await target.pool.query('CREATE TABLE migrations (id int, migration text, batch int)');
  await assert.rejects(restore(), /tables that are not Otklik's/, 'another program has a table of that name');
  await target.pool.query('DROP TABLE theirs, migrations');
  assert.deepEqual(await restore(), [], 'a database without any table is the usual case');
});

test('a database on which a service runs is refused', async () => {
  await write();
  await target.pool.query(
    "INSERT INTO workers (id, alive_until) VALUES (gen_random_uuid(), now() + interval '1 minute')",
  );
  await assert.rejects(restore(), /a service is running/);
});

test('a backup of an older version is brought up to this one; one of a newer is refused', async () => {
  const old = await testDatabase();
  const [first = '', ...later] = knownMigrations();
  await old.pool.query('DROP SCHEMA public CASCADE; CREATE SCHEMA public');
  await inOneTransaction(old.url, client => applyMigrations(client, { only: [first] }));
  await old.pool.query(
    "INSERT INTO companies (company_id, title, zone) VALUES (5, 'Салон', 'Europe/Moscow')",
  );
  await write({ url: old.url });
  assert.deepEqual(await restore(Date.now()), later);
  const { rows } = await target.pool.query(
    'SELECT title, source, quiet_until IS NOT NULL AS quiet FROM companies',
  );
  assert.deepEqual(rows, [{ title: 'Салон', source: 'webhook', quiet: true }]);
  await old.pool.query("INSERT INTO migrations (name) VALUES ('9999_future.sql')");
  await rm(directory, { recursive: true });
  await write({ url: old.url });
  await assert.rejects(verify(), /of a newer version .*9999_future/);
  await old.close();
});

test('nobody holds anything after a restore, in any table with leases', async () => {
  const { rows: leased } = await source.pool.query(
    "SELECT table_name AS name FROM information_schema.columns WHERE column_name = 'leased_until' AND table_schema = 'public' ORDER BY 1",
  );
  assert.deepEqual(
    leased.map(row => row.name),
    [...LEASED_TABLES],
  );
  await receive(source, recordBody());
  await source.processor.drain();
  await source.pool.query(
    `INSERT INTO sweeps (company_id, kind, due_at, leased_by, leased_until) VALUES (1, 'delta', now(), gen_random_uuid(), now() + interval '1 hour');
     INSERT INTO rereads (company_id, record_id, reason, due_at, leased_until) VALUES (1, 5, 'partial', now(), now() + interval '1 hour')`,
  );
  await write();
  await restore();
  const { rows } = await target.pool.query(
    `SELECT (SELECT count(*)::int FROM shards WHERE owner IS NOT NULL OR leased_until > now()) AS shards,
       (SELECT count(*)::int FROM workers) AS workers,
       (SELECT count(*)::int FROM sweeps WHERE leased_by IS NOT NULL OR leased_until IS NOT NULL) AS sweeps,
       (SELECT count(*)::int FROM rereads WHERE leased_until IS NOT NULL) AS rereads`,
  );
  assert.deepEqual(rows[0], { shards: 0, workers: 0, sweeps: 0, rereads: 0 });
});

const move = (id: number, at: number) =>
  recordBody({
    id,
    status: 'update',
    at,
    data: { date: '2031-06-01 09:00:00', create_date: '2026-01-01T00:00:00+0000' },
  });

/** One booking told, one due, one being sent, one whose event was not even looked at. */
async function openEnds(): Promise<void> {
  await receive(source, recordBody({ id: 1, at: source.now }));
  await source.settle();
  const hanging: Channel = {
    name: 'console',
    traits: CONSOLE_TRAITS,
    idempotent: true,
    concurrency: 9,
    send: () => new Promise(() => {}),
  };
  await receive(source, recordBody({ id: 2, at: source.now }));
  await source.processor.drain();
  await source.another({ channel: hanging }).dispatcher.runOnce();
  await source.setPolicy(1, { settle: { any: '1m' } });
  await receive(source, recordBody({ id: 3, at: source.now }));
  await source.processor.drain();
  await receive(source, recordBody({ id: 4, at: source.now }));
  await write();
}

async function resumeAt(now: number): Promise<Pipeline> {
  const pipeline = await createPipeline({ database: target });
  await pipeline.setPolicy(1, {});
  pipeline.now = now;
  return pipeline;
}

test('restored a day later, nothing of yesterday is sent; what happens then is told as a change', async () => {
  await openEnds();
  const restoredAt = source.now + DAY;
  await restore(restoredAt);
  const later = await resumeAt(restoredAt + 60_000);
  await later.settle();
  // Changed while the service was away: it may be that the old one told it.
  await receive(later, move(1, restoredAt - 3_600_000));
  await later.settle();
  assert.equal(later.sent.length, 0);
  const { rows } = await target.pool.query(
    'SELECT record_id::int AS id, state, kind FROM messages ORDER BY record_id, created_at',
  );
  assert.deepEqual(rows, [
    { id: 1, state: 'sent', kind: 'booked' },
    { id: 1, state: 'unknown', kind: 'rescheduled' },
    { id: 2, state: 'unknown', kind: 'booked' },
    { id: 3, state: 'unknown', kind: 'booked' },
    { id: 4, state: 'unknown', kind: 'booked' },
  ]);
  later.now += 60_000;
  await receive(
    later,
    ...[2, 3, 4].map(id => move(id, later.now)),
    recordBody({ id: 5, at: later.now }),
    recordBody({ id: 1, status: 'update', at: later.now, data: { date: '2031-06-02 09:00:00' } }),
  );
  await later.settle();
  const said = later.sent.map(({ recordId, notice }) => `${recordId} ${notice?.kind}`);
  assert.deepEqual(said.sort(), [
    '1 rescheduled',
    '2 rescheduled',
    '3 rescheduled',
    '4 rescheduled',
    '5 booked',
  ]);
  await later.close();
});

test('moved with the service stopped, what was due is sent there, once', async () => {
  await openEnds();
  await restore();
  const there = await resumeAt(source.now + 120_000);
  await there.settle();
  const said = there.sent.map(({ recordId, notice }) => `${recordId} ${notice?.kind}`);
  assert.deepEqual(said.sort(), ['2 booked', '3 booked', '4 booked']);
  await there.settle();
  assert.equal(there.sent.length, 3);
  await there.close();
});
