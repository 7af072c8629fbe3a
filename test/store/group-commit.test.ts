import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createGroupCommit, Overloaded } from '../../src/store/group-commit.ts';

function gate() {
  let open: () => void = () => {};
  const opened = new Promise<void>(resolve => {
    open = resolve;
  });
  return { open, opened };
}

test('what arrives during a flush is the next one, in order', async () => {
  const first = gate();
  const batches: number[][] = [];
  const group = createGroupCommit<number, number>({
    flush: async batch => {
      batches.push([...batch]);
      if (batches.length === 1) await first.opened;
      return batch.map(item => item * 2);
    },
    batchLimit: 3,
    waitingLimit: 100,
  });
  const results = Promise.all([1, 2, 3, 4, 5, 6].map(group.add));
  first.open();
  assert.deepEqual(await results, [2, 4, 6, 8, 10, 12]);
  assert.deepEqual(batches, [[1], [2, 3, 4], [5, 6]]);
  await group.idle();
});

test('the next flush begins before those who waited for the last are told', async () => {
  const order: string[] = [];
  const told = gate();
  const group = createGroupCommit<number, number>({
    flush: async batch => {
      // As a pool does it that gives out its connections in the next tick.
      await new Promise<void>(resolve => process.nextTick(resolve));
      order.push(`flush ${batch.join()}`);
      if (order.length > 1) await told.opened;
      return batch;
    },
    batchLimit: 1,
    waitingLimit: 10,
  });
  const all = [1, 2].map(async item => {
    order.push(`told ${await group.add(item)}`);
    told.open();
  });
  await Promise.all(all);
  assert.deepEqual(order, ['flush 1', 'flush 2', 'told 1', 'told 2']);
});

test('a failed flush fails its own items and the next goes on', async () => {
  let flushes = 0;
  const group = createGroupCommit<number, number>({
    flush: async batch => {
      flushes += 1;
      if (flushes === 1) throw new Error('disk');
      return batch;
    },
    batchLimit: 10,
    waitingLimit: 10,
  });
  const [one, two] = await Promise.allSettled([group.add(1), group.add(2)]);
  assert.equal(one?.status, 'rejected');
  assert.deepEqual(two, { status: 'fulfilled', value: 2 });
});

test('what waits too long is given up, in the flush and behind it, and the next goes on', async t => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const first = gate();
  const group = createGroupCommit<number, number>({
    flush: async batch => {
      await first.opened;
      return batch;
    },
    batchLimit: 1,
    waitingLimit: 10,
    limitMs: 0,
  });
  const late = Promise.allSettled([group.add(1), group.add(2)]);
  t.mock.timers.tick(250);
  for (const { status } of await late) assert.equal(status, 'rejected');
  first.open();
  assert.equal(await group.add(3), 3);
  await group.idle();
});

test('beyond the limit it refuses at once', async () => {
  const first = gate();
  const group = createGroupCommit<number, number>({
    flush: async batch => {
      await first.opened;
      return batch;
    },
    batchLimit: 1,
    waitingLimit: 2,
  });
  const kept = Promise.all([group.add(1), group.add(2), group.add(3)]);
  await assert.rejects(group.add(4), Overloaded);
  first.open();
  assert.deepEqual(await kept, [1, 2, 3]);
});
