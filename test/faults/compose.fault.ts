/**
 * `deploy/docker/compose.yaml` by its own first lines, then “In a container” of docs/deploy.md, each command to the
 * letter: both containers on their network, a webhook becomes a message, backup and restore, and what a stop, a crash
 * and an end leave.
 */
import assert from 'node:assert/strict';
import { access, mkdir, mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { keyIsKnown } from '../blackbox/harness.ts';
import { record } from '../blackbox/salon.ts';
import { type Compose, startCompose } from '../support/compose.ts';
import { removeDirectory } from '../support/remove.ts';
import { post, send } from '../support/service.ts';
import { until } from '../support/until.ts';

const PUBLIC = 'http://127.0.0.1:8080';
const ADMIN = 'http://127.0.0.1:8081';
const COMPANY = 4564;
const OTKLIK = 'dc exec otklik node src/cli.ts';
const MISSES = 200;

let directory: string;
let compose: Compose;
/** What the platform would be given, without the proxy in front. */
let url: string;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'otklik-compose-'));
  compose = await startCompose(directory);
});
after(async () => {
  await compose?.close();
  if (directory !== undefined) await removeDirectory(directory);
});

test('by the first lines of the file, typed once or twice, both are up and healthy; a webhook becomes a message', async () => {
  const file = await readFile(join(compose.tree, 'deploy/docker/compose.yaml'), 'utf8');
  const lines = [...file.matchAll(/^# {5}(.+?)(?: {3,}.*)?$/gm)].map(([, line]) => line ?? '');
  assert.deepEqual(
    lines.map(line => /^(?:\[ -e \S+ \] \|\| )?\w+(?: compose)?/.exec(line)?.[0]),
    [
      'umask',
      '[ -e deploy/docker/otklik.env ] || cp',
      '[ -e deploy/docker/.env ] || printf',
      'docker compose',
      'docker compose',
    ],
  );
  const set = "echo 'PUBLIC_URL=https://hooks.example.com' >> deploy/docker/otklik.env";
  const first = lines.toSpliced(2, 0, set);
  assert.match(await compose.sh(first.join('\n')), /✓ service +running and ready/);
  const kept = await operatorsFiles();
  assert.match(kept, /^OTKLIK_KEY=\S{44}$/m);
  assert.match(kept, /^PUBLIC_URL=/m);
  // As somebody does who upgrades by them: the key and the password are not made anew.
  assert.match(await compose.sh(lines.join('\n')), /✓ service +running and ready/);
  assert.equal(await operatorsFiles(), kept);
  assert.match(await compose.sh('dc ps'), /otklik_postgres_1 .*Up \(healthy\)/);
  await until(async () => /otklik_otklik_1 .*Up \(healthy\)/.test(await compose.sh('dc ps')), {
    what: 'the service is healthy',
    timeoutMs: 180_000,
  });
  await assert.rejects(
    send('http://172.30.77.1:8080/', { method: 'GET' }),
    /ECONNREFUSED/,
    'published inside',
  );

  const added = await compose.sh(
    `${OTKLIK} company add ${COMPANY} --title Ромашка --zone Europe/Moscow --settle 0s`,
  );
  const given = new URL(/https:\S+/.exec(added)?.[0] ?? '');
  assert.equal(given.origin, 'https://hooks.example.com');
  url = `${PUBLIC}${given.pathname}`;
  await keyIsKnown(url);
  assert.equal((await post(url, record(COMPANY, 1, 'create'))).status, 200);
  await until(async () => /Ромашка/.test(await compose.sh('dc logs otklik')), {
    what: 'the message is shown',
  });
});

test('the proxy’s word about who asks is believed, for it comes in by the gateway', async () => {
  const miss = async (client: string) =>
    (await post(`${PUBLIC}/webhooks/yclients/none-of-ours-2f1c`, {}, { 'x-forwarded-for': client })).status;
  let last = 0;
  for (let number = 0; number < MISSES && last !== 429; number += 1) last = await miss('203.0.113.9');
  assert.equal(last, 429, 'one that guesses keys is held up');
  assert.notEqual(await miss('203.0.113.10'), 429, 'another address is not');
});

test('what is kept outside comes back by the page: backup, restore, and nothing of what came after', async () => {
  const elsewhere = join(directory, 'elsewhere');
  await mkdir(elsewhere);
  await compose.sh((await blockAfter('**Backup.**')).replace('/mnt/elsewhere/', elsewhere));
  await access(join(elsewhere, 'monday'));
  assert.equal((await post(url, record(COMPANY, 2, 'create'))).status, 200);
  assert.equal(await bookings(), '1,2');
  await compose.sh(await blockAfter('**Restore**'));
  assert.equal(await bookings(), '1');
  assert.equal((await post(url, record(COMPANY, 3, 'create'))).status, 200);
});

test('a crash of the service starts it again; an end stops both in order and leaves the data', async () => {
  const starts = async () => (await compose.sh('dc logs otklik')).split('"msg":"ready"').length;
  const before = await starts();
  // Who asks ends with the container.
  await compose.sh(`dc exec otklik node -e '${KILL_SERVICE}' || true`);
  await until(async () => (await starts()) > before, {
    what: 'the service is ready again',
    timeoutMs: 180_000,
  });
  const stopped = await compose.sh('dc stop\ndc logs');
  assert.match(stopped, /otklik_1 .*"msg":"stopped"/);
  assert.match(stopped, /postgres_1 .*database system is shut down\s*$/m);
  await compose.sh('dc down\ndc up --detach');
  await until(
    async () =>
      (await send(`${ADMIN}/readyz`, { method: 'GET' }).catch(() => ({ status: 0 }))).status === 200,
    {
      what: 'the service is ready',
      timeoutMs: 180_000,
    },
  );
  assert.equal(await bookings(), '1,3');
  assert.equal(
    (await post(url, record(COMPANY, 3, 'create'))).status,
    200,
    'the key of .env opens what it sealed',
  );
});

const PENDING = `SELECT count(*) FROM webhook_events WHERE state IN ('pending', 'waiting')`;

/** The numbers of the bookings that are known, once all that came in is processed. */
async function bookings(): Promise<string> {
  const ask = (query: string) =>
    compose.sh(
      `dc exec postgres psql --username=otklik --dbname=otklik --tuples-only --no-align -c "${query}"`,
    );
  await until(async () => /^0\s*$/.test(await ask(PENDING)), {
    what: 'all events are processed',
  });
  return (await ask(`SELECT string_agg(record_id::text, ',' ORDER BY record_id) FROM bookings`)).trim();
}

const KILL_SERVICE = `
  const { readdirSync, readFileSync } = require("fs");
  for (const id of readdirSync("/proc").filter(Number)) {
    if (/cli\\.ts\\0serve/.test(readFileSync("/proc/" + id + "/cmdline", "utf8"))) process.kill(Number(id), "SIGKILL");
  }`;

/** What a release does not have. */
async function operatorsFiles(): Promise<string> {
  const files = ['.env', 'otklik.env'].map(name => join(compose.tree, 'deploy/docker', name));
  return (await Promise.all(files.map(file => readFile(file, 'utf8')))).join('\n');
}

/** The commands of the page that follow these words. */
async function blockAfter(words: string): Promise<string> {
  const page = await readFile(join(compose.tree, 'docs/deploy.md'), 'utf8');
  const block = page.slice(page.indexOf('## In a container')).split(words)[1]?.split('```')[1];
  assert.ok(block !== undefined, `docs/deploy.md has commands after “${words}”`);
  return block;
}
