import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRandom } from '../../src/simulator/random.ts';

const NUMBERS = Array.from({ length: 1000 }, (_, index) => index);

test('the same seed draws the same, another seed something else', () => {
  const draw = (seed: number) => {
    const random = createRandom(seed);
    return NUMBERS.map(() => random.fraction());
  };
  assert.deepEqual(draw(7), draw(7));
  assert.notDeepEqual(draw(7), draw(8));
});

test('integers stay within both ends and reach them', () => {
  const random = createRandom(1);
  const drawn = new Set(NUMBERS.map(() => random.integer(3, 6)));
  assert.deepEqual([...drawn].sort(), [3, 4, 5, 6]);
});

test('weights are proportions, and a weight of zero is never', () => {
  const random = createRandom(2);
  const drawn = Map.groupBy(
    NUMBERS.map(() =>
      random.weighted([
        ['rare', 1],
        ['never', 0],
        ['often', 9],
      ]),
    ),
    name => name,
  );
  assert.equal(drawn.get('never'), undefined);
  const rare = drawn.get('rare')?.length ?? 0;
  assert.ok(rare > 60 && rare < 150, `rare came ${rare} times of 1000`);
});

test('a shuffle loses nothing and does move', () => {
  const shuffled = createRandom(3).shuffled(NUMBERS);
  assert.notDeepEqual(shuffled, NUMBERS);
  assert.deepEqual(
    shuffled.toSorted((left, right) => left - right),
    NUMBERS,
  );
});

test('what is drawn from a fork does not shift what follows', () => {
  const [left, right] = [createRandom(4), createRandom(4)];
  left.fork().fraction();
  right.fork();
  assert.equal(left.fraction(), right.fraction());
});

test('to pick from nothing is a bug', () => {
  assert.throws(() => createRandom(5).pick([]), RangeError);
});
