/** A sealed stream comes back as it was, or not at all. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import fc from 'fast-check';
import { DamagedError, opening, SEALED_CHUNK_BYTES, sealing } from '../../src/backup/seal.ts';

const KEY = randomBytes(32);
const CHUNK_BYTES = SEALED_CHUNK_BYTES - 16;

async function through(transform: ReturnType<typeof sealing>, bytes: Buffer, cut = 10_000): Promise<Buffer> {
  const parts = Array.from({ length: Math.ceil(bytes.length / cut) }, (_, index) =>
    bytes.subarray(index * cut, (index + 1) * cut),
  );
  return Buffer.concat(await Readable.from(parts).compose(transform).toArray());
}

const seal = (bytes: Buffer, key = KEY) => through(sealing(key), bytes);
const refused = async (bytes: Buffer, key = KEY) => {
  await assert.rejects(through(opening(key), bytes), DamagedError);
};

test('what was sealed is opened as it was, whatever its length and however it is cut', async () => {
  const lengths = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 200_000];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...lengths),
      fc.integer({ min: 1_000, max: 300_000 }),
      async (length, cut) => {
        const plain = randomBytes(length);
        const sealed = await through(sealing(KEY), plain, cut);
        assert.deepEqual(await through(opening(KEY), sealed, cut), plain);
      },
    ),
    { numRuns: 40 },
  );
});

test('a flipped byte anywhere is refused', async () => {
  const sealed = await seal(randomBytes(150_000));
  await fc.assert(
    fc.asyncProperty(fc.nat(sealed.length - 1), fc.integer({ min: 1, max: 255 }), async (position, mask) => {
      const changed = Buffer.from(sealed);
      changed[position] = (changed[position] ?? 0) ^ mask;
      await refused(changed);
    }),
    { numRuns: 60 },
  );
});

test('an end cut off anywhere is refused, between two chunks too', async () => {
  const sealed = await seal(randomBytes(3 * CHUNK_BYTES));
  for (const length of [0, 15, SEALED_CHUNK_BYTES, 2 * SEALED_CHUNK_BYTES, sealed.length - 1]) {
    await refused(sealed.subarray(0, length));
  }
});

test('chunks that are swapped, repeated, left out, added or from another stream are refused', async () => {
  const sealed = await seal(randomBytes(3 * CHUNK_BYTES));
  const other = await seal(randomBytes(3 * CHUNK_BYTES), randomBytes(32));
  const [one, two, three] = [0, 1, 2].map(index =>
    sealed.subarray(index * SEALED_CHUNK_BYTES, (index + 1) * SEALED_CHUNK_BYTES),
  );
  assert.ok(one && two && three);
  for (const parts of [
    [two, one, three],
    [one, one, two, three],
    [one, three],
    [one, two, three, three],
    [one, two, other.subarray(2 * SEALED_CHUNK_BYTES)],
  ]) {
    await refused(Buffer.concat(parts));
  }
  await refused(sealed, randomBytes(32));
});
