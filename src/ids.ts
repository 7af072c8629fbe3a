/** Ids of ours: UUIDv7, so that their order is the order of creation and new rows meet the same index pages. */
import { randomFillSync } from 'node:crypto';
import { v7 } from 'uuid';

const RANDOM_BYTES = 16;
/** Random bytes are drawn for 256 ids at a time; one draw an id was 5 % of the receiver's time. */
const pool = Buffer.alloc(256 * RANDOM_BYTES);
let used = pool.length;

export function newId(): string {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const random = pool.subarray(used, used + RANDOM_BYTES);
  used += RANDOM_BYTES;
  return v7({ random });
}
