/**
 * Seeded randomness: the same seed gives the same salon, the same faults and the same failure again.
 * Mulberry32 (32 bits of state, period 2^32): small, fast, good enough to pick from lists; never for secrets.
 */
export type Random = {
  /** In [0, 1). */
  fraction(): number;
  /** Between both ends, inclusive. */
  integer(min: number, max: number): number;
  chance(probability: number): boolean;
  /** Throws on an empty list: nothing to pick is a bug of the caller. */
  pick<T>(items: readonly T[]): T;
  /** Picks by weight: `[['rain', 1], ['sun', 3]]` is sunny three times of four. */
  weighted<T>(choices: readonly (readonly [T, number])[]): T;
  shuffled<T>(items: readonly T[]): T[];
  /** An independent stream, so that drawing more here does not shift what is drawn there. */
  fork(): Random;
};

export function createRandom(seed: number): Random {
  const fraction = mulberry32(seed);
  const integer = (min: number, max: number) => min + Math.floor(fraction() * (max - min + 1));
  const random: Random = {
    fraction,
    integer,
    chance: probability => fraction() < probability,
    pick: items => itemAt(items, integer(0, items.length - 1)),
    weighted: choices => weighted(choices, fraction()),
    shuffled: items => {
      const rest = [...items];
      return items.map(() => itemAt(rest.splice(integer(0, rest.length - 1), 1), 0));
    },
    fork: () => createRandom(integer(0, 0xffffffff)),
  };
  return random;
}

function mulberry32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function weighted<T>(choices: readonly (readonly [T, number])[], fraction: number): T {
  const total = choices.reduce((sum, [, weight]) => sum + weight, 0);
  let left = fraction * total;
  for (const [choice, weight] of choices) {
    left -= weight;
    if (left < 0) return choice;
  }
  return itemAt(choices, choices.length - 1)[0];
}

function itemAt<T>(items: readonly T[], index: number): T {
  if (index < 0 || index >= items.length)
    throw new RangeError(`no item ${index} in a list of ${items.length}`);
  const [item] = items.slice(index, index + 1);
  return item as T; // the index was checked above; T itself may be undefined
}
