/**
 * Slow requests by the thousand (slowhttptest: headers, bodies, ranges) against nginx with the site we ship and against
 * the bare port. Honest senders, from another address, go on being answered, as fast as in the quiet rounds before each
 * attack within a factor of three.
 *
 * The attackers run at the lowest priority, for they share this machine's cores and no attacker shares a server's. As an
 * equal the tool takes 0.7 of a core at the bare port (it polls what it has closed itself in a loop, the faster the more
 * is hung up on), 0.25 before nginx, while the receiver's own use of time does not grow; aimed at another port that
 * never answers, as many connections cost it 0.01 and honest senders nothing.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { z } from 'zod';
import { type House, openHouse } from '../blackbox/harness.ts';
import { record } from '../blackbox/salon.ts';
import { type Authority, createAuthority } from '../support/authority.ts';
import { type Nginx, startNginx } from '../support/nginx.ts';
import { type Company, freePorts } from '../support/service.ts';
import { until } from '../support/until.ts';

const CONNECTIONS = 2_000;
const CONNECTIONS_PER_SECOND = 200;
/**
 * Connections made before anything is measured, or it is no attack yet. The tool tells every 5 s, so measured are its 6th to
 * 13th second, on a busy machine later ones.
 */
const BEGUN_AT_LEAST = 500;
/** Shorter than every timeout between two reads, so that only limits of the whole end a request. */
const DRIP_SECONDS = 3;
/** Ended when the round is over. */
const ATTACK_SECONDS = 300;
/**
 * Of each attack, with a quiet one before it, so that whatever else the machine does meets both. All are taken, however
 * they come out: to go on until it looks well would find a good stretch in the end.
 */
const ROUNDS = 3;
/** Received, processed and dispatched here: 100 a second take 1.4 of two cores, and then p99 is the queue for them. */
const HONEST_PER_SECOND = 50;
/** Requests of a round: of all rounds 1,800 quiet ones and 1,200 of each attack. */
const QUIET_SAMPLES = 200;
const ATTACKED_SAMPLES = 400;
const SLOWER_AT_MOST = 3;
/**
 * p99 within three times its quiet value means: of 100 attacked requests one may be slower than that. Of 1,200 that is 12,
 * and counting alone spreads it: other work stops this machine for 25 to 60 ms at a time, which takes some 3 requests
 * together, so the standard deviation is √(12 × 3) = 6. Two of them above is the limit, 2 of 100. Where p99 is three times
 * the quiet one exactly, one run in forty fails; where 4 of 100 are slower (a loop stopped for 45 ms each second, which this
 * found once), one run in forty passes.
 */
const CLUSTER = 3;
const PATIENCE_MS = 120_000;

/** The attacks come from 127.0.0.1; limits by address must not touch others. */
const HONEST_ADDRESS = '127.0.0.2';

const ATTACKS = {
  'slow headers': ['-H', '-t', 'POST'],
  'slow bodies': ['-B', '-f', 'application/json', '-s', '200000'],
  ranges: ['-R', '-t', 'HEAD'],
} as const;

const NAMES = ['slow headers', 'slow bodies', 'ranges'] as const satisfies readonly (keyof typeof ATTACKS)[];
/**
 * Open at once, at least: heads have 5 s at 200 a second; of large bodies 256 are held, by nginx for an address, by a
 * receiver for a company; a request for ranges is answered at once.
 */
const HELD_AT_LEAST: Readonly<Record<keyof typeof ATTACKS, number>> = {
  'slow headers': 300,
  'slow bodies': 200,
  ranges: 1,
};

let house: House;
let nginx: Nginx;
let directory: string;
let company: Company;
/** Whose URL the attackers know: the limits of one salon are not another's. */
let rogue: Company;
let authority: Authority;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'otklik-slow-'));
  authority = await createAuthority(directory);
  const front = await freePorts();
  house = await openHouse({ TRUSTED_PROXIES: '127.0.0.1', LOG_LEVEL: 'warn', RATE_PER_COMPANY: '1000' });
  [company, rogue] = [await house.company({ route: ['console'] }), await house.company()];
  nginx = await startNginx({
    directory,
    ports: { http: front.admin, https: front.public },
    receivers: [house.service.ports.public],
    certificate: await authority.issue('localhost'),
  });
});
after(async () => {
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
  const sender = startSender(honest);
  const figures = new Map<string, Figures[]>();
  const note = (name: string, round: Figures) => {
    figures.set(name, [...(figures.get(name) ?? []), round]);
    tell(`${name}: ${describe(round)}`);
  };
  const timesOf = (name: string) => (figures.get(name) ?? []).flatMap(({ times }) => times);
  try {
    await sender.round(QUIET_SAMPLES);
    for (let round = 1; round <= ROUNDS; round += 1) {
      for (const name of NAMES) {
        note('quiet', await sender.round(QUIET_SAMPLES));
        const attack = startAttack(known, ATTACKS[name]);
        try {
          await until(() => attack.begun() >= BEGUN_AT_LEAST, {
            what: `${name}: the attack is on`,
            timeoutMs: PATIENCE_MS,
          });
          note(name, await sender.round(ATTACKED_SAMPLES));
          const text = `${name}: ${attack.begun()} connections, ${attack.open()} at once`;
          tell(text);
          assert.ok(attack.open() >= HELD_AT_LEAST[name], text);
        } finally {
          await attack.stop();
        }
      }
    }
  } finally {
    await sender.stop();
  }
  const limit = SLOWER_AT_MOST * quantile(timesOf('quiet'), 0.99);
  for (const name of NAMES) {
    const times = timesOf(name);
    const slower = times.filter(time => time > limit).length;
    const expected = times.length / 100;
    const atMost = expected + 2 * Math.sqrt(expected * CLUSTER);
    const p99 = quantile(times, 0.99);
    const text =
      `${name}: p99 ${p99.toFixed(1)} ms, ${((SLOWER_AT_MOST * p99) / limit).toFixed(2)} times the quiet one; ` +
      `${slower} of ${times.length} over ${limit.toFixed(1)} ms, at most ${atMost.toFixed(0)}`;
    tell(text);
    assert.ok(slower <= atMost, text);
  }
  for (const { answers, times } of [...figures.values()].flat())
    assert.deepEqual(answers, { 200: times.length });
}

function quantile(values: readonly number[], share: number): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length * share)] ?? Number.NaN;
}

type Figures = { answers: Record<string, number>; times: readonly number[] };

function describe({ times }: Figures): string {
  return `p50 ${quantile(times, 0.5).toFixed(1)}, p99 ${quantile(times, 0.99).toFixed(1)} ms`;
}

let last = 0;

type Sender = { round(samples: number): Promise<Figures>; stop(): Promise<void> };

/** The honest salon, a process of its own: this one is busy with the attack's output. */
function startSender(url: string): Sender {
  const child = fork(join(import.meta.dirname, '../support/sender.ts'), {
    env: { ...process.env, NODE_EXTRA_CA_CERTS: authority.file },
  });
  const ended = once(child, 'exit');
  return {
    async round(samples) {
      await house.settled(company);
      const bodies = Array.from({ length: samples }, () => {
        last += 1;
        return JSON.stringify(record(company.companyId, last, 'create'));
      });
      const answered = once(child, 'message', { signal: AbortSignal.timeout(PATIENCE_MS) });
      child.send({ url, localAddress: HONEST_ADDRESS, perSecond: HONEST_PER_SECOND, bodies });
      const answers = rounds.parse((await answered)[0]);
      const counts = Map.groupBy(answers, ({ status }) => status);
      return {
        answers: Object.fromEntries([...counts].map(([status, list]) => [status, list.length])),
        times: answers.map(({ tookMs }) => tookMs),
      };
    },
    async stop() {
      child.disconnect();
      await ended;
    },
  };
}

const rounds = z.array(z.object({ status: z.string(), tookMs: z.number() }));

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
    'nice',
    [
      ...['-n', '19', 'stdbuf', '-oL', 'slowhttptest'],
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
