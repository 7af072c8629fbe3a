/**
 * The image that `deploy/docker/Dockerfile` makes, built and run with the restrictions of compose.yaml (read-only, no
 * capability, no new privileges) on the real PostgreSQL: it becomes ready and healthy as nobody in particular, makes a
 * message of a webhook, keeps its backup outside, and ends in order when it is asked to.
 */
import assert from 'node:assert/strict';
import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { keyIsKnown } from '../blackbox/harness.ts';
import { record } from '../blackbox/salon.ts';
import { buildImage, type Containers } from '../support/container.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { removeDirectory } from '../support/remove.ts';
import { freePorts, post, type Service, startService } from '../support/service.ts';
import { type Sink, startSink } from '../support/sink.ts';
import { until } from '../support/until.ts';

const COMPANY = 4564;

let directory: string;
let containers: Containers;
let database: TestDatabase;
let sink: Sink;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'otklik-container-'));
  [containers, database, sink] = await Promise.all([buildImage(directory), testDatabase(), startSink()]);
});
after(async () => {
  await containers?.close();
  await Promise.all([sink?.close(), database?.close()]);
  if (directory !== undefined) await removeDirectory(directory);
});

function start(name: string): Promise<Service> {
  return startService(database.url, {
    // Published ports are for a network of containers; on this machine's own nothing listens but on the loopback.
    env: { HOST: '127.0.0.1' },
    run: env => containers.run(name, env),
  });
}

test('the container is ready and healthy, without rights; a webhook becomes a message; it ends in order', async () => {
  const service = await start('otklik');
  const inside = async (script: string) =>
    (await containers.podman('exec', 'otklik', 'node', '-e', script)).says.trim();

  assert.match(await inside('console.log(process.version)'), /^v24\./);
  const status = await inside('console.log(require("fs").readFileSync("/proc/1/status", "utf8"))');
  assert.match(status, /^Uid:\s+1000\s+1000\s+1000\s+1000$/m);
  assert.match(status, /^CapEff:\s+0+$/m);
  assert.match(status, /^NoNewPrivs:\s+1$/m);
  assert.match(await inside('require("fs").writeFileSync("/opt/otklik/src/cli.ts", "")'), /EROFS/);
  await until(async () => (await containers.podman('healthcheck', 'run', 'otklik')).code === 0, {
    what: 'it is healthy',
  });

  const company = await service.addCompany({
    ...{ companyId: COMPANY, settleMs: 0, route: ['webhook'], webhookUrl: sink.url },
  });
  await keyIsKnown(company.url);
  assert.equal((await post(company.url, record(COMPANY, 1, 'create'))).status, 200);
  await until(() => sink.deliveries.length === 1, { what: 'the salon’s event is told' });
  const { says, code } = await containers.podman('exec', 'otklik', 'node', 'src/cli.ts', 'doctor');
  assert.equal(code, 0, says);
  assert.match(says, /service +running and ready/);

  const made = await containers.podman('exec', 'otklik', 'node', 'src/cli.ts', 'backup', '/backups/monday');
  assert.equal(made.code, 0, made.says);

  assert.equal(await service.stop(), 0, service.output());
  assert.match(service.output(), /"msg":"stopped"/);
  assert.notEqual(
    (await containers.podman('healthcheck', 'run', 'otklik')).code,
    0,
    'a container that is gone',
  );
  const kept = await containers.node({}, '-e', 'console.log(require("fs").readdirSync("/backups").join())');
  assert.equal(kept.says.trim(), 'monday', 'the backup outlives the container');
});

test('nothing but the program is in the image, and the healthcheck fails where the service does not answer', async () => {
  const list = await containers.node({}, '-e', LIST);
  const copied = ['LICENSE', 'migrations', 'node_modules', 'package.json', 'src', 'templates'];
  assert.deepEqual(list.says.trim().split('\n'), copied);
  const check = ['inspect', '--format', '{{json .HealthCheck.Test}}', 'localhost/otklik'];
  const [kind, node, ...args] = z
    .array(z.string())
    .parse(JSON.parse((await containers.podman(...check)).says));
  assert.deepEqual([kind, node], ['CMD', 'node']);
  const { admin } = await freePorts();
  const alone = await containers.node({ ADMIN_PORT: String(admin) }, ...args);
  assert.equal(alone.code, 1, alone.says);
  const compose = await readFile(new URL('../../deploy/docker/compose.yaml', import.meta.url), 'utf8');
  for (const part of [
    'read_only: true',
    'cap_drop: [ALL]',
    'no-new-privileges:true',
    'tmpfs: [/tmp]',
    'backups:/backups',
  ]) {
    assert.ok(
      compose.includes(part),
      `the container is run here with ${part}, and compose.yaml is without it`,
    );
  }
});

const LIST = 'for (const name of require("fs").readdirSync(".").sort()) console.log(name)';
