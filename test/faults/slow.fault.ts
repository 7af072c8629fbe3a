/**
 * Slow requests by the thousand (slowhttptest: headers, bodies, ranges) against nginx with the site we ship and against
 * the bare port. Honest senders, from another address, go on being answered, as fast as before within a factor of three.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { Agent, request } from 'undici';
import { type House, openHouse } from '../blackbox/harness.ts';
import { record } from '../blackbox/salon.ts';
import { createAuthority } from '../support/authority.ts';
import { type Nginx, startNginx } from '../support/nginx.ts';
import { type Company, freePorts } from '../support/service.ts';
import { until } from '../support/until.ts';

const CONNECTIONS = 1_000;
const CONNECTIONS_PER_SECOND = 200;
/** Connections made before anything is measured. */
const BEGUN = 100;
/** Shorter than every timeout between two reads, so that only limits of the whole end a request. */
const DRIP_SECONDS = 3;
const ATTACK_SECONDS = 60;
const HONEST_PER_SECOND = 50;
const SAMPLES = 300;
const SLOWER_AT_MOST = 3;
/** Below it a p99 is the machine's scheduler: three times nothing is nothing. */
const GRAIN_MS = 10;
const PATIENCE_MS = 20_000;

/** The attacks come from 127.0.0.1; limits by address must not touch others. */
const HONEST_ADDRESS = '127.0.0.2';

const ATTACKS = {
  'slow headers': ['-H', '-t', 'POST'],
  'slow bodies': ['-B', '-f', 'application/json', '-s', '200000'],
  ranges: ['-R', '-t', 'HEAD'],
} as const;

let house: House;
let nginx: Nginx;
let directory: string;
let company: Company;
/** Whose URL the attackers know: the limits of one salon are not another's. */
let rogue: Company;
let dispatcher: Agent;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'otklik-slow-'));
  const authority = await createAuthority(directory);
  const [front, nobody] = [await freePorts(), await freePorts()];
  house = await openHouse({ TRUSTED_PROXIES: '127.0.0.1', LOG_LEVEL: 'warn' });
  [company, rogue] = [await house.company({ route: ['console'] }), await house.company()];
  nginx = await startNginx({
    directory,
    ports: { http: front.admin, https: front.public },
    receivers: [house.service.ports.public, nobody.public],
    certificate: await authority.issue('localhost'),
  });
  dispatcher = new Agent({ connect: { ca: authority.pem }, localAddress: HONEST_ADDRESS, allowH2: false });
});
after(async () => {
  await dispatcher?.close();
  await nginx?.stop();
  await house?.close();
  await rm(directory, { recursive: true, force: true });
});

test('nginx: slow headers, slow bodies and ranges leave honest senders alone', t =>
  underAttack(nginx.url, text => t.diagnostic(`nginx, ${text}`)));

test('the bare port: slow headers, slow bodies and ranges leave honest senders alone', t =>
  underAttack(house.service.publicUrl, text => t.diagnostic(`bare port, ${text}`)));

async function underAttack(base: string, tell: (text: string) => void): Promise<void> {
  const [honest, known] = [company, rogue].map(({ url }) => url.replace(house.service.publicUrl, base));
  assert.ok(honest !== undefined && known !== undefined);
  const quiet = [await measure(honest)];
  const attacked: Figures[] = [];
  for (const [name, flags] of Object.entries(ATTACKS)) {
    const attack = startAttack(known, flags);
    try {
      await until(() => attack.begun() > BEGUN, {
        what: `${name}: the attack is on`,
        timeoutMs: PATIENCE_MS,
      });
      // A machine with other work may stall for a moment, which is no work of the attack: the better of two counts.
      const [one, other] = [await measure(honest), await measure(honest)];
      const better = one.p99Ms < other.p99Ms ? one : other;
      const answers = { ...one.answers, ...other.answers };
      attacked.push({ ...better, answers });
      tell(`${name}, ${attack.begun()} connections, ${attack.open()} at once: ${describe(better)}`);
    } finally {
      await attack.stop();
    }
    quiet.push(await measure(honest));
  }
  const quietMs = Math.max(GRAIN_MS, ...quiet.map(({ p99Ms }) => p99Ms));
  tell(`quiet: ${quiet.map(describe).join('; ')}`);
  for (const { answers, p99Ms } of [...quiet, ...attacked]) {
    assert.deepEqual(Object.keys(answers), ['200']);
    assert.ok(
      p99Ms <= SLOWER_AT_MOST * quietMs,
      `p99 ${p99Ms.toFixed(1)} ms, quiet ${quietMs.toFixed(1)} ms`,
    );
  }
}

type Figures = { answers: Record<string, number>; p50Ms: number; p99Ms: number };

function describe({ answers, p50Ms, p99Ms }: Figures): string {
  return `p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms, ${JSON.stringify(answers)}`;
}

let last = 0;

/** Events at a steady pace, whatever becomes of those before; each is new. */
async function measure(url: string): Promise<Figures> {
  const startedAt = performance.now();
  const sent = Array.from({ length: SAMPLES }, async (_, index) => {
    await wait((index * 1000) / HONEST_PER_SECOND);
    last += 1;
    const body = JSON.stringify(record(company.companyId, last, 'create'));
    const at = performance.now();
    const status = await request(url, {
      ...{ method: 'POST', body, dispatcher, headers: { 'content-type': 'application/json' } },
    }).then(
      async answer => {
        await answer.body.dump();
        return String(answer.statusCode);
      },
      error => (error instanceof Error && 'code' in error ? String(error.code) : String(error)),
    );
    return { status, tookMs: performance.now() - at };
  });
  const answers = await Promise.all(sent);
  assert.ok(performance.now() - startedAt >= (SAMPLES - 1) * (1000 / HONEST_PER_SECOND));
  const times = answers.map(({ tookMs }) => tookMs).sort((a, b) => a - b);
  const counts = Map.groupBy(answers, ({ status }) => status);
  return {
    answers: Object.fromEntries([...counts].map(([status, list]) => [status, list.length])),
    p50Ms: times[Math.floor(SAMPLES * 0.5)] ?? Number.NaN,
    p99Ms: times[Math.floor(SAMPLES * 0.99)] ?? Number.NaN,
  };
}

type Attack = {
  /** Most connections that were seen open at once. */
  open(): number;
  /** Connections made so far, those that were closed included. */
  begun(): number;
  stop(): Promise<void>;
};

const attackers = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of attackers) child.kill('SIGKILL');
});

function startAttack(url: string, flags: readonly string[]): Attack {
  const child = spawn(
    'slowhttptest',
    [
      ...[...flags, '-u', url, '-c', String(CONNECTIONS), '-r', String(CONNECTIONS_PER_SECOND)],
      ...['-i', String(DRIP_SECONDS), '-x', '10', '-l', String(ATTACK_SECONDS), '-p', '5', '-v', '1'],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  attackers.add(child);
  let [most, begun] = [0, 0];
  let failure: string | undefined;
  child.stdout.on('data', (part: Buffer) => {
    const text = stripVTControlCharacters(part.toString());
    const counts = (name: string) =>
      [...text.matchAll(new RegExp(`${name}:\\s+(\\d+)`, 'g'))].map(([, count]) => Number(count));
    most = Math.max(most, ...counts('connected'));
    begun = Math.max(begun, most + Math.max(0, ...counts('closed')));
  });
  child.once('error', error => {
    failure = `${error.message} (scripts/debian.sh installs it)`;
  });
  const ended = new Promise<void>(resolve => {
    child.once('close', () => {
      attackers.delete(child);
      resolve();
    });
  });
  return {
    open: () => most,
    begun() {
      assert.equal(failure, undefined);
      return begun;
    },
    async stop() {
      child.kill('SIGINT');
      await ended;
    },
  };
}
