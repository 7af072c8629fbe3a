/** The budget of calls over a real database: two pools stand for two processes, and hours pass in virtual time. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createGate, type GateOptions, readBudget } from '../../src/store/budget.ts';
import type { Pool } from '../../src/store/pool.ts';
import { ApiError, type Gate } from '../../src/yclients/api.ts';
import { testDatabase, testPool } from '../support/database.ts';
import { createVirtualClock, type VirtualClock } from '../support/virtual-clock.ts';
import { clientOf, platform, USER } from '../yclients/platform.ts';

const START = Date.UTC(2026, 10, 24, 12);
const never = new AbortController().signal;

type House = {
  readonly pools: readonly [Pool, Pool];
  readonly clock: VirtualClock;
  gate(process: 0 | 1, changes?: Partial<GateOptions>): Gate;
};

async function house(t: TestContext): Promise<House> {
  const database = await testDatabase();
  const open = () => testPool(database.url, { max: 4 });
  const pools = [open(), open()] as const;
  t.after(async () => {
    await Promise.all(pools.map(pool => pool.end()));
    await database.close();
  });
  const clock = createVirtualClock(START, pools);
  return {
    pools,
    clock,
    gate: (process, changes = {}) =>
      createGate({
        pool: pools[process],
        scope: 'test/api.test',
        random: () => 0,
        maxWaitMs: 60 * 60_000,
        clock,
        ...changes,
      }),
  };
}

/** The most that lie within any stretch of this length. */
function mostWithin(moments: readonly number[], lengthMs: number): number {
  const sorted = [...moments].sort((one, other) => one - other);
  let first = 0;
  return sorted.reduce((most, moment, index) => {
    while ((sorted[first] ?? moment) <= moment - lengthMs) first += 1;
    return Math.max(most, index - first + 1);
  }, 0);
}

/** A row of numbers from 0 to 1 that is the same each time. */
function drawing(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state / 2 ** 31;
  };
}

async function refusal(work: Promise<unknown>): Promise<ApiError> {
  const error = await work.then(
    () => assert.fail('it was let through'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof ApiError, String(error));
  assert.equal(error.trouble, 'paused');
  return error;
}

test('a clock of the database that was an hour ahead holds no call once it is set back', async t => {
  const { pools, gate } = await house(t);
  const one = gate(0, { maxWaitMs: 10_000 });
  await one.enter(never);
  await pools[0].query("UPDATE api_budget SET next_slot_at = next_slot_at + interval '1 hour'");
  await one.enter(never);
});

test('two processes with sixty companies never leave more than 3 a second and 180 a minute, and lose little', async t => {
  const { clock, gate } = await house(t);
  const draw = drawing(7);
  const departures: number[] = [];
  const minutes = 4;
  const company = async (own: Gate) => {
    while (clock.now() < START + minutes * 60_000) {
      await own.enter(never);
      departures.push(clock.now());
      await clock.sleep(30 + draw() * 900);
      await own.report('fine');
    }
  };
  const gates = [gate(0), gate(1)];
  await clock.run(Promise.all(gates.flatMap(own => Array.from({ length: 30 }, () => company(own)))));
  assert.ok(mostWithin(departures, 1_000) <= 3);
  assert.ok(mostWithin(departures, 60_000) <= 180);
  assert.ok(departures.length > minutes * 170, `only ${departures.length} left`);

  // The way to the platform differs from call to call, and a caller may leave up to 400 ms late.
  const arrivals = departures.map(moment => moment + draw() * 400 + draw() * 290);
  assert.ok(mostWithin(arrivals, 1_000) <= 5, 'the platform’s own limit a second');
  assert.ok(mostWithin(arrivals, 60_000) <= 200, 'the platform’s own limit a minute');
});

test('on the database’s own clock two processes at once keep their distance too', async t => {
  const { pools } = await house(t);
  await Promise.all(pools.map(pool => pool.query('SELECT 1')));
  const own = pools.map(pool => createGate({ pool, scope: 'test/real', random: Math.random }));
  // From before the first of them: that one may leave up to 400 ms late, and the last one on time.
  const asked = performance.now();
  await Promise.all(own.flatMap(gate => Array.from({ length: 4 }, () => gate.enter(never))));
  const tookMs = performance.now() - asked;
  assert.ok(tookMs > 7 * 340 - 10, `eight calls within ${Math.round(tookMs)} ms`);
});

test('a company with one call is not put behind the thousand of another', async t => {
  const { pools } = await house(t);
  const side = await platform(t, () => ({ body: { success: true, data: { id: 1 } } }));
  const { client } = clientOf(t, side.url, {
    gate: createGate({ pool: pools[0], scope: 'test/fair', random: Math.random, maxWaitMs: 60 * 60_000 }),
  });
  const busy = Array.from({ length: 1_000 }, () => client.company(1, USER).company());
  const ends = Promise.allSettled(busy);
  await client.company(2, USER).company();
  assert.ok(side.seen.length <= 3, `${side.seen.length} calls came first`);
  await client.close();
  await ends;
});

test('a command of another process takes every other slot, whatever the queue of the first', async t => {
  const { clock, gate } = await house(t);
  const [serve, command] = [gate(0), gate(1)];
  const queue = Promise.allSettled(Array.from({ length: 300 }, () => serve.enter(never)));
  const asked = async () => {
    await clock.sleep(5_000);
    const from = clock.now();
    for (let call = 0; call < 5; call += 1) await command.enter(never);
    return clock.now() - from;
  };
  const [tookMs] = await clock.run(Promise.all([asked(), queue]));
  assert.ok(tookMs <= 5 * 2 * 340 + 1_000, `five calls took ${tookMs} ms`);
});

test('after a 429 nobody of either process leaves before the wait it asked for is over', async t => {
  const { clock, gate, pools } = await house(t);
  const [one, other] = [gate(0), gate(1)];
  const departures: number[] = [];
  const leave = async (own: Gate) => {
    await own.enter(never);
    departures.push(clock.now() - START);
  };
  await clock.run(leave(one));
  await one.report('limited', 20_000);
  await clock.run(Promise.all([leave(one), leave(other)]));
  assert.deepEqual(departures, [0, 20_000, 20_340]);
  await one.report('limited', 24 * 60 * 60_000);
  const [budget] = await readBudget(pools[1]);
  assert.equal(budget?.because, 'limited');
  const error = await clock.run(refusal(gate(1, { maxWaitMs: 60_000 }).enter(never)));
  assert.match(
    error.message,
    /paused until 2026-11-24T12:15:20.\d+Z, because .*too often/,
    'a day is not believed',
  );
  assert.ok((error.retryAfterMs ?? 0) > 14 * 60_000);
});

test('429s without a wait pause longer and longer, up to five minutes', async t => {
  const { clock, gate } = await house(t);
  const own = gate(0);
  const pauses: number[] = [];
  await clock.run(own.enter(never));
  for (let storm = 0; storm < 10; storm += 1) {
    await own.report('limited');
    const from = clock.now();
    await clock.run(own.enter(never));
    pauses.push(Math.round((clock.now() - from) / 1_000));
  }
  assert.deepEqual(pauses.slice(0, 4), [2, 4, 8, 16]);
  assert.deepEqual(pauses.slice(-2), [300, 300]);
});

test('two failures pause nobody; the third opens the breaker, and an answer between them starts the count anew', async t => {
  const { clock, gate } = await house(t);
  const own = gate(0);
  const waitMs = async () => {
    const from = clock.now();
    await clock.run(own.enter(never));
    return clock.now() - from;
  };
  await waitMs();
  await own.report('unavailable');
  await own.report('unavailable');
  assert.ok((await waitMs()) <= 340);
  await own.report('fine');
  await own.report('unavailable');
  await own.report('unavailable');
  assert.ok((await waitMs()) <= 340);
  await own.report('unavailable');
  assert.equal(await waitMs(), 2_000);
});

test('with the breaker open one call probes; its failure pauses all for longer, its success lets all go on', async t => {
  const { clock, gate, pools } = await house(t);
  const gates = [gate(0), gate(1)];
  const [one] = gates;
  assert.ok(one !== undefined);
  await clock.run(one.enter(never));
  for (let failures = 0; failures < 3; failures += 1) await one.report('unavailable');
  const opened = clock.now();
  const left: number[] = [];
  const answers: ('unavailable' | 'fine')[] = ['unavailable', 'unavailable', 'fine'];
  const company = async (own: Gate) => {
    await own.enter(never);
    left.push(clock.now() - opened);
    await clock.sleep(1_000);
    await own.report(answers.shift() ?? 'fine');
  };
  await clock.run(Promise.all([...gates, ...gates, ...gates].map(company)));
  // 2 s of pause, a probe of 1 s, 4 s, a probe, 8 s, a probe that is answered: and the rest without another pause.
  assert.deepEqual(left.slice(0, 3), [2_000, 7_000, 16_000]);
  const rest = left.slice(3);
  assert.equal(rest.length, 3);
  assert.ok(
    rest.every(moment => moment > 17_000 && moment < 20_000),
    rest.join(),
  );
  assert.ok(mostWithin(left, 1_000) <= 3);
  const [budget] = await readBudget(pools[0]);
  assert.deepEqual([budget?.failures, budget?.breakerOpen], [0, false]);
});

test('the failures of calls that left before the pause do not make it longer', async t => {
  const { clock, gate } = await house(t);
  const own = gate(0);
  await clock.run(own.enter(never));
  for (let failures = 0; failures < 40; failures += 1) await own.report('unavailable');
  const from = clock.now();
  await clock.run(own.enter(never));
  assert.equal(clock.now() - from, 2_000);
});

test('a probe that never comes back holds the others half a minute', async t => {
  const { clock, gate } = await house(t);
  const own = gate(0);
  await clock.run(own.enter(never));
  for (let failures = 0; failures < 3; failures += 1) await own.report('unavailable');
  await clock.run(own.enter(never));
  const from = clock.now();
  await clock.run(gate(1).enter(never));
  assert.equal(clock.now() - from, 30_000);
});

test('who would wait too long is told so at once: for a pause, and for a long queue', async t => {
  const { clock, gate } = await house(t);
  const own = gate(0, { maxWaitMs: 3_400 });
  const ends = await clock.run(Promise.allSettled(Array.from({ length: 20 }, () => own.enter(never))));
  const refused = ends.flatMap(end => (end.status === 'rejected' ? [end.reason] : []));
  assert.ok(refused.length >= 8 && refused.length <= 10, `${refused.length} were refused`);
  assert.ok(refused.every(error => error instanceof ApiError && /wait for the budget/.test(error.message)));
  for (let failures = 0; failures < 4; failures += 1) await own.report('unavailable', 60_000);
  const error = await clock.run(refusal(own.enter(never)));
  assert.match(error.message, /because the platform does not answer/);
});

test('a caller that comes late to its slot takes another', async t => {
  const { clock, gate } = await house(t);
  let late = true;
  const slow = gate(0, {
    clock: {
      now: clock.now,
      async sleep(milliseconds, signal) {
        // A process that stood still, as under a debugger or a full machine.
        await clock.sleep(late ? milliseconds + 2_000 : milliseconds, signal);
        late = false;
      },
    },
  });
  await clock.run(gate(1).enter(never));
  const departures: number[] = [];
  const leave = async (own: Gate) => {
    await own.enter(never);
    departures.push(clock.now());
  };
  const other = gate(1);
  await clock.run(Promise.all([leave(slow), ...Array.from({ length: 12 }, () => leave(other))]));
  departures.sort((one, next) => one - next);
  const gaps = departures.slice(1).map((moment, index) => moment - (departures[index] ?? 0));
  assert.ok(Math.min(...gaps) >= 340, gaps.join());
});

test('a machine that is late each time is told so instead of trying for ever', async t => {
  const { clock, gate } = await house(t);
  const slow = gate(0, {
    clock: { now: clock.now, sleep: (milliseconds, signal) => clock.sleep(milliseconds + 1_000, signal) },
  });
  const other = gate(1);
  const work = async () => {
    for (let call = 0; call < 60; call += 1) await other.enter(never);
  };
  const [error] = await clock.run(
    Promise.all([refusal(slow.enter(never).then(() => slow.enter(never))), work()]),
  );
  assert.match(error.message, /too slow/);
});

test('a caller that is stopped while it waits holds up nobody behind it', async t => {
  const { clock, gate } = await house(t);
  const own = gate(0);
  await clock.run(own.enter(never));
  await own.report('limited', 10_000);
  const stop = new AbortController();
  const stopped = own.enter(stop.signal).then(
    () => 'left',
    (error: unknown) => error,
  );
  const behind = own.enter(never);
  const stopping = async () => {
    await clock.sleep(3_000);
    stop.abort(new Error('stop'));
    return stopped;
  };
  const [end] = await clock.run(Promise.all([stopping(), behind]));
  assert.ok(end instanceof Error && end.message === 'stop');
  assert.equal(clock.now(), START + 10_000);
});

test('addresses and hosts do not share a budget; the report lists each', async t => {
  const { pools, clock, gate } = await house(t);
  const scopes = ['a/api.yclients.com', 'a/api.alteg.io', 'b/api.yclients.com'];
  for (const scope of scopes) await clock.run(gate(0, { scope }).enter(never));
  assert.equal(clock.now(), START, 'nobody waited for another');
  const [limited = ''] = scopes;
  await createGate({ pool: pools[0], scope: limited, random: Math.random }).report('limited', 60_000);
  const budgets = await readBudget(pools[1]);
  assert.deepEqual(
    budgets.map(({ scope, because, failures }) => [scope, because, failures]),
    [
      ['a/api.alteg.io', '', 0],
      ['a/api.yclients.com', 'limited', 1],
      ['b/api.yclients.com', '', 0],
    ],
  );
  const [free, paused] = budgets;
  assert.equal(free?.pausedUntil, null);
  assert.ok((paused?.pausedUntil ?? 0) > Date.now() + 50_000);
  assert.equal(paused?.nextSlotAt, paused?.pausedUntil);
});
