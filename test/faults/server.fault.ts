/** The embedded server's life, started as a process of its own, under every user: `embedded.fault.ts` kills one under load. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, readFile, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, type TestContext, test } from 'node:test';
import pg from 'pg';
import { explain } from '../../src/store/embedded/failure.ts';
import { type Embedded, startEmbedded } from '../../src/store/embedded.ts';
import { until } from '../support/until.ts';

const HOLDER = join(import.meta.dirname, '../support/holder.ts');
const NOBODY = 65_534;
const NAMELESS = 54_321;
const AS_ROOT = process.getuid?.() === 0;

type Event = { event: string; [field: string]: unknown };

/** A stopped data directory with one row in it, made by a cold start; tests that do not test that start from a copy. */
let seed: string;
before(async () => {
  seed = await passableDirectory('otklik-seed-');
  const server = await startEmbedded({ dataDir: join(seed, 'data'), log: () => {} });
  await query(server.url, 'CREATE TABLE kept (word text)');
  await query(server.url, "INSERT INTO kept VALUES ('seed')");
  await server.stop();
});
after(() => rm(seed, { recursive: true, force: true }));

test('a cold start makes a server that only the owner can reach, and a warm one keeps port, password and data', async t => {
  const box = await sandbox(t);
  const first = await box.start();
  await query(first.url, 'CREATE TABLE kept (word text)');
  await query(first.url, "INSERT INTO kept VALUES ('мир')");
  assert.match(first.url, /^postgres:\/\/otklik:[\w-]{32}@127\.0\.0\.1:\d+\/otklik$/);
  assert.deepEqual(await settings(first.url), {
    data_checksums: 'on',
    fsync: 'on',
    listen_addresses: '127.0.0.1',
    max_connections: '100',
    max_wal_size: '2GB',
    min_wal_size: '1GB',
    password_encryption: 'scram-sha-256',
    server_encoding: 'UTF8',
    shared_buffers: '256MB',
    TimeZone: 'UTC',
  });
  // Group's x is the one thing that may be added, so that `nobody` can pass where namespaces are refused.
  assert.equal((await stat(box.dataDir)).mode & 0o767, 0o700);
  assert.equal((await stat(join(box.dataDir, 'postgres.json'))).mode & 0o777, 0o600);
  await first.stop();
  await first.stop();
  assert.equal(await box.runningPid(), undefined);

  const second = await box.start();
  assert.equal(second.url, first.url);
  assert.deepEqual(await query(second.url, 'SELECT word FROM kept'), [{ word: 'мир' }]);
});

test('the role of the application is no superuser, the superuser may not log in, and a wrong password is refused', async t => {
  const box = await sandbox(t, { from: seed });
  const { url } = await box.start();
  assert.deepEqual(await query(url, 'SELECT rolsuper FROM pg_roles WHERE rolname = current_user'), [
    { rolsuper: false },
  ]);
  await assert.rejects(query(changed(url, { username: 'postgres' }), 'SELECT 1'), { code: '28000' });
  await assert.rejects(query(changed(url, { password: 'wrong' }), 'SELECT 1'), { code: '28P01' });
});

test('text of any script is compared and folded the same everywhere', async t => {
  const box = await sandbox(t, { from: seed });
  const { url } = await box.start();
  assert.deepEqual(await query(url, "SELECT lower('ЁЖИК') AS lower, 'Привет' ILIKE 'ПРИ%' AS alike"), [
    { lower: 'ёжик', alike: true },
  ]);
});

test('the log of the server holds no data of a failed statement', async t => {
  const box = await sandbox(t, { from: seed });
  const { url } = await box.start();
  await query(url, 'CREATE UNIQUE INDEX ON kept (word)');
  await assert.rejects(query(url, 'INSERT INTO kept VALUES ($1)', ['seed']), { code: '23505' });
  await assert.rejects(query(url, "SELECT 'canary-79991234567'::int"), { code: '22P02' });
  const log = await readFile(join(box.dataDir, 'postgres.log'), 'utf8');
  assert.match(log, /ready to accept connections/);
  assert.doesNotMatch(log, /canary|kept/);
});

test('a postmaster killed with SIGKILL comes back under the same URL with its data', async t => {
  const box = await sandbox(t, { from: seed });
  const { url } = await box.start();
  await query(url, "INSERT INTO kept VALUES ('committed')");
  const killed = await box.killServer('SIGKILL');
  await answers(url);
  assert.notEqual(await box.runningPid(), killed);
  assert.deepEqual(await query(url, 'SELECT word FROM kept ORDER BY word'), [
    { word: 'committed' },
    { word: 'seed' },
  ]);
  await until(() => box.names('postgres.back').length > 0, { what: 'the return is told' });
  assert.deepEqual(box.names('postgres.lost', 'postgres.back'), ['postgres.lost', 'postgres.back']);
});

test('a server told to stop by somebody else is finished and started again', async t => {
  const box = await sandbox(t, { from: seed });
  const { url } = await box.start();
  await box.killServer('SIGTERM');
  await until(() => box.names('postgres.back').length > 0, {
    what: 'the holder restarts it',
    timeoutMs: 60_000,
  });
  await answers(url);
});

test('a holder stopped while the server is down does not bring it back', async t => {
  const box = await sandbox(t, { from: seed });
  const server = await box.start();
  await box.killServer('SIGKILL');
  await server.stop();
  assert.equal(await box.runningPid(), undefined);
});

test('a server whose holder was killed with SIGKILL is adopted, supervised and stopped by the next', async t => {
  const box = await sandbox(t, { from: seed });
  const child = await box.hold();
  const pid = await box.runningPid();
  await query(child.url, "INSERT INTO kept VALUES ('orphan')");
  child.process.kill('SIGKILL');
  await once(child.process, 'exit');

  const heir = await box.start();
  assert.equal(heir.url, child.url);
  assert.equal(await box.runningPid(), pid);
  assert.equal(box.events.find(({ event }) => event === 'postgres.ready')?.adopted, true);
  await box.killServer('SIGKILL');
  await answers(heir.url);
  assert.deepEqual(await query(heir.url, 'SELECT word FROM kept ORDER BY word'), [
    { word: 'orphan' },
    { word: 'seed' },
  ]);
  await heir.stop();
  assert.equal(await box.runningPid(), undefined);
});

test('two processes that start at the same moment in an empty directory end with one server', async t => {
  const box = await sandbox(t);
  const [one, two] = await Promise.all([box.hold(), box.hold()]);
  assert.equal(one.url, two.url);
  const created = [...one.events, ...two.events].filter(({ event }) => event === 'postgres.created');
  assert.equal(created.length, 1);
  await Promise.all([one.stop(), two.stop()]);
  assert.equal(await box.runningPid(), undefined);
});

test('of two holders the first to stop leaves the server running, the last stops it', async t => {
  const box = await sandbox(t, { from: seed });
  const child = await box.hold();
  const server = await box.start();
  const pid = await box.runningPid();
  await child.stop();
  assert.deepEqual(await query(server.url, 'SELECT word FROM kept'), [{ word: 'seed' }]);
  assert.equal(await box.runningPid(), pid);
  await server.stop();
  assert.equal(await box.runningPid(), undefined);
});

test('when the server dies under two holders one restarts it and the other joins', async t => {
  const box = await sandbox(t, { from: seed });
  const child = await box.hold();
  const server = await box.start();
  await box.killServer('SIGKILL');
  const back = (events: Event[]) => events.find(({ event }) => event === 'postgres.back');
  const both = await until(
    () => back(child.events) && back(box.events) && [back(child.events), back(box.events)],
    {
      what: 'both holders are back',
    },
  );
  assert.deepEqual(both.map(event => event?.adopted).sort(), [false, true]);
  assert.equal(new Set(both.map(event => event?.pid)).size, 1);
  await answers(server.url);
});

test("a terminal's Ctrl-C reaches the holder alone, which then stops the server in order", async t => {
  const box = await sandbox(t, { from: seed });
  const child = await box.hold({ ownGroup: true });
  process.kill(-(child.process.pid ?? Number.NaN), 'SIGINT');
  const [code] = await once(child.process, 'exit');
  assert.equal(code, 0);
  assert.ok(child.events.some(({ event }) => event === 'stopped'));
  assert.equal(await box.runningPid(), undefined);
});

test('a remembered port that somebody else took meanwhile is given up for another', async t => {
  const box = await sandbox(t, { from: seed });
  const { port, password } = JSON.parse(await readFile(join(box.dataDir, 'postgres.json'), 'utf8'));
  const squatter = createServer().listen(port, '127.0.0.1');
  t.after(() => squatter.close());
  await once(squatter, 'listening');
  const { url } = await box.start();
  assert.notEqual(new URL(url).port, String(port));
  assert.equal(new URL(url).password, password);
  assert.deepEqual(await query(url, 'SELECT word FROM kept'), [{ word: 'seed' }]);
});

test('a lost postgres.json costs a new password, not the data', async t => {
  const box = await sandbox(t, { from: seed });
  await unlink(join(box.dataDir, 'postgres.json'));
  const { url } = await box.start();
  assert.deepEqual(await query(url, 'SELECT word FROM kept'), [{ word: 'seed' }]);
});

test("a postmaster.pid left behind, with a number that is now another program's, does not stand in the way", async t => {
  const box = await sandbox(t, { from: seed });
  const lines = [
    process.pid,
    join(box.dataDir, 'postgres'),
    1_700_000_000,
    5432,
    '',
    '127.0.0.1',
    '',
    'ready',
  ];
  await writeFile(join(box.dataDir, 'postgres/postmaster.pid'), `${lines.join('\n')}\n`, { mode: 0o600 });
  const { url } = await box.start();
  await answers(url);
});

test('a half-made cluster is made anew', async t => {
  const box = await sandbox(t);
  await mkdir(join(box.dataDir, 'postgres.tmp'), { recursive: true });
  await writeFile(join(box.dataDir, 'postgres.tmp/PG_VERSION'), '18\n');
  const { url } = await box.start();
  await answers(url);
});

test("another major version's directory is refused and left as it was", async t => {
  const box = await sandbox(t, { from: seed });
  await writeFile(join(box.dataDir, 'postgres/PG_VERSION'), '17\n');
  await assert.rejects(box.start(), {
    name: 'EmbeddedError',
    message: /made by PostgreSQL 17, and this Otklik brings PostgreSQL 18.*backup.*DATABASE_URL/,
  });
  assert.equal(await box.runningPid(), undefined);
});

test('a setting that PostgreSQL refuses is reported in its own words', async t => {
  const box = await sandbox(t, { from: seed });
  await assert.rejects(box.start({ shared_buffers: 'plenty' }), {
    name: 'EmbeddedError',
    message: /invalid value for parameter "shared_buffers": "plenty"/,
  });
});

test('a platform without a package is told to set DATABASE_URL', async t => {
  const box = await sandbox(t);
  const arch = Object.getOwnPropertyDescriptor(process, 'arch');
  assert.ok(arch);
  Object.defineProperty(process, 'arch', { ...arch, value: 'abacus' });
  try {
    await assert.rejects(box.start(), {
      name: 'EmbeddedError',
      message: /-abacus is not installed.*DATABASE_URL/,
    });
  } finally {
    Object.defineProperty(process, 'arch', arch);
  }
});

test('a full disk is called so', () => {
  const error = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  assert.match(
    explain(error, 'starting', '/srv/data').message,
    /^disk full while starting: free space for \/srv\/data/,
  );
  const initdb = new Error('initdb: could not extend file: No space left on device');
  assert.match(explain(initdb, 'starting', '/srv/data').message, /^disk full/);
});

test('a file system that is mounted read-only is called so', () => {
  const error = Object.assign(new Error('EROFS: read-only file system, mkdir'), { code: 'EROFS' });
  const { message } = explain(error, 'starting', '/srv/data');
  assert.match(message, /mounted read-only; mount it for writing, or point DATA_DIR elsewhere/);
  assert.doesNotMatch(message, /own/);
});

test('a directory that the user may not write is named', async t => {
  const box = await sandbox(t);
  await mkdir(box.dataDir, { mode: 0o555 });
  if (AS_ROOT && !(await ordinaryUserCanRun(t))) return;
  const child = await box.attempt(AS_ROOT ? { uid: NOBODY } : {});
  assert.match(
    String(child.failure?.message),
    /may not write .*let this user own .*data, or point DATA_DIR elsewhere/,
  );
});

test('a place where no directory can be is refused, by a program that goes on: a file, below one, /proc', async t => {
  const box = await sandbox(t);
  await writeFile(box.dataDir, '');
  const places = [
    box.dataDir,
    join(box.dataDir, 'below'),
    ...(process.platform === 'linux' ? ['/proc/data'] : []),
  ];
  for (const dataDir of places) {
    await assert.rejects(startEmbedded({ dataDir, log: () => {} }), {
      name: 'EmbeddedError',
      message: /^DATA_DIR cannot be a directory at \S+ \(ENO\w+\): name a place where one can be made$/,
    });
  }
});

test('an ordinary user runs the server as itself', async t => {
  const box = await sandbox(t);
  await mkdir(box.dataDir, { mode: 0o700 });
  if (AS_ROOT && !(await ordinaryUserCanRun(t))) return;
  const uid = AS_ROOT ? NOBODY : (process.getuid?.() ?? Number.NaN);
  await chown(box.dataDir, uid, process.platform === 'linux' && AS_ROOT ? NOBODY : -1);
  const child = await box.hold({ uid });
  assert.equal((await stat(join(box.dataDir, 'postgres/PG_VERSION'))).uid, uid);
  await child.stop();
  assert.equal(await box.runningPid(), undefined);
});

if (AS_ROOT) {
  test('root runs the server below a directory that only root may enter', async t => {
    if (!namespacesWork(t)) return;
    const box = await sandbox(t);
    await chmod(box.root, 0o700);
    const child = await box.hold({ env: { HOME: box.root } });
    assert.equal((await stat(join(box.dataDir, 'postgres/PG_VERSION'))).uid, 0);
    await box.killServer('SIGKILL');
    await answers(child.url);
    await child.stop();
    assert.equal(await box.runningPid(), undefined);
  });

  test('a user without a name, as in a container, runs the server all the same', async t => {
    if (!namespacesWork(t) || !(await ordinaryUserCanRun(t))) return;
    const box = await sandbox(t);
    await mkdir(box.dataDir, { mode: 0o700 });
    await chown(box.dataDir, NAMELESS, NAMELESS);
    const child = await box.hold({ uid: NAMELESS });
    assert.equal((await stat(join(box.dataDir, 'postgres/PG_VERSION'))).uid, NAMELESS);
    await child.stop();
  });

  test("root runs the server of an ordinary user's directory as that user, who can go on with it", async t => {
    const box = await sandbox(t);
    if (!(await ordinaryUserCanRun(t))) return;
    await mkdir(box.dataDir, { mode: 0o700 });
    await chown(box.dataDir, NOBODY, NOBODY);
    const server = await box.start();
    assert.equal((await stat(join(box.dataDir, 'postgres/PG_VERSION'))).uid, NOBODY);
    const child = await box.hold({ uid: NOBODY });
    await server.stop();
    await child.stop();
    await (await box.hold({ uid: NOBODY })).stop();
  });

  test('where user namespaces are refused, root hands the directory to nobody and keeps the secrets', async t => {
    const box = await sandbox(t, { from: seed });
    if (!(await ordinaryUserCanRun(t))) return;
    const child = await box.hold({ env: { PATH: '/nonexistent' } });
    assert.deepEqual(await query(child.url, 'SELECT word FROM kept'), [{ word: 'seed' }]);
    assert.equal((await stat(join(box.dataDir, 'postgres/PG_VERSION'))).uid, NOBODY);
    assert.equal((await stat(join(box.dataDir, 'postgres.json'))).uid, 0);
    await child.stop();
    await (await box.start()).stop();
  });

  test('where user namespaces are refused and nobody cannot reach the directory, root is told what to do', async t => {
    const box = await sandbox(t, { from: seed });
    await chmod(box.root, 0o700);
    const child = await box.attempt({ env: { PATH: '/nonexistent' } });
    assert.match(
      String(child.failure?.message),
      /refuses to run as root.*ordinary user, or set DATABASE_URL/,
    );
  });
}

type Child = {
  process: ChildProcess;
  events: Event[];
  url: string;
  failure: Event | undefined;
  stop(): Promise<void>;
};
type ChildOptions = { uid?: number; env?: Record<string, string>; ownGroup?: boolean };

/** A directory, and everything that is started on it; at the test's end all of it is stopped and removed. */
async function sandbox(t: TestContext, { from }: { from?: string } = {}) {
  const root = await passableDirectory('otklik-box-');
  const dataDir = join(root, 'data');
  if (from) cpSync(join(from, 'data'), dataDir, { recursive: true }); // five times as fast as the promised one
  const events: Event[] = [];
  const holders: Embedded[] = [];
  const children: ChildProcess[] = [];

  const runningPid = async (): Promise<number | undefined> => {
    const text = await readFile(join(dataDir, 'postgres/postmaster.pid'), 'utf8').catch(() => '');
    const pid = Number(text.split('\n')[0]);
    return pid > 0 && isAlive(pid) ? pid : undefined;
  };

  t.after(async () => {
    for (const child of children) child.kill('SIGKILL');
    await Promise.all(holders.map(holder => holder.stop()));
    const pid = await runningPid();
    if (pid) process.kill(pid, 'SIGQUIT');
    await until(async () => !(await runningPid()), { what: 'the server of the test is gone' });
    await rm(root, { recursive: true, force: true });
  });

  const start = async (settings: Record<string, string> = {}): Promise<Embedded> => {
    const log = (event: string, fields: Record<string, unknown>) => events.push({ event, ...fields });
    const server = await startEmbedded({ dataDir, log, settings });
    holders.push(server);
    return server;
  };

  /** Comes back when the child holds the server or has failed to. */
  const attempt = async ({ uid, env = {}, ownGroup = false }: ChildOptions = {}): Promise<Child> => {
    const child = spawn(process.execPath, [HOLDER, dataDir], {
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: ownGroup,
      env: { ...process.env, ...env },
      ...(uid === undefined ? {} : { uid, gid: uid }),
    });
    children.push(child);
    const said: Event[] = [];
    createInterface({ input: child.stdout }).on('line', line => said.push(JSON.parse(line)));
    const outcome = await until(() => said.find(({ event }) => event === 'held' || event === 'failed'), {
      what: 'a child process holds the server',
      timeoutMs: 90_000,
    });
    const stop = async () => {
      child.kill('SIGTERM');
      const [code] = await once(child, 'exit');
      assert.equal(code, 0);
    };
    const failure = outcome.event === 'failed' ? outcome : undefined;
    return { process: child, events: said, url: String(outcome.url), failure, stop };
  };

  const hold = async (options: ChildOptions = {}): Promise<Child> => {
    const child = await attempt(options);
    assert.equal(child.failure, undefined);
    return child;
  };

  /** Comes back when a SIGKILL has done its work; the processes of a SIGTERM may live on. */
  const killServer = async (signal: 'SIGKILL' | 'SIGTERM'): Promise<number> => {
    const pid = await runningPid();
    assert.ok(pid);
    process.kill(pid, signal);
    if (signal === 'SIGKILL') await until(() => !isAlive(pid), { what: 'the killed server is gone' });
    return pid;
  };

  const names = (...wanted: string[]) =>
    events.map(({ event }) => event).filter(event => wanted.includes(event));
  return { root, dataDir, events, start, hold, attempt, runningPid, killServer, names };
}

/** Where root has to run the server as `nobody`, that user must be able to pass through to the data directory. */
async function passableDirectory(prefix: string): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), prefix));
  await chmod(path, 0o711);
  return path;
}

/** A checkout that an ordinary user cannot read makes the tests that run as one impossible. */
async function ordinaryUserCanRun(t: TestContext): Promise<boolean> {
  const probe = spawn(process.execPath, ['-e', `fs.readFileSync(${JSON.stringify(HOLDER)})`], {
    uid: NOBODY,
    gid: NOBODY,
    stdio: 'ignore',
  });
  const readable = await new Promise<boolean>(resolve => {
    probe.on('error', () => resolve(false));
    probe.on('exit', code => resolve(code === 0));
  });
  if (!readable) t.skip(`this checkout is not readable by an ordinary user: ${HOLDER}`);
  return readable;
}

function namespacesWork(t: TestContext): boolean {
  const works = spawnSync('unshare', ['--user', `--map-user=${NOBODY}`, 'true']).status === 0;
  if (!works) t.skip('user namespaces are refused on this machine');
  return works;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function query(url: string, sql: string, values: unknown[] = []): Promise<unknown[]> {
  const client = new pg.Client(url);
  client.on('error', () => {});
  await client.connect();
  try {
    return (await client.query(sql, values)).rows;
  } finally {
    await client.end();
  }
}

async function answers(url: string): Promise<void> {
  await until(() => query(url, 'SELECT 1').catch(() => false), { what: `the server of ${url} answers` });
}

async function settings(url: string): Promise<Record<string, string>> {
  const names = `{data_checksums,fsync,listen_addresses,max_connections,max_wal_size,min_wal_size,password_encryption,
    server_encoding,shared_buffers,TimeZone}`;
  const rows = await query(
    url,
    `SELECT jsonb_object_agg(name, current_setting(name)) AS settings FROM unnest($1::text[]) AS name`,
    [names.replace(/\s/g, '')],
  );
  return (rows as { settings: Record<string, string> }[])[0]?.settings ?? {};
}

function changed(url: string, change: { username?: string; password?: string }): string {
  return Object.assign(new URL(url), change).href;
}
