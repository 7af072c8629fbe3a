import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';

/** Turns of the event loop in which a run that waits for nothing more has ended: it takes one. */
const TURNS = 100;

/** Insists that a run of which a part has failed sees the other parts through, and rejects only then. */
export async function assertSeenThrough(
  running: Promise<unknown>,
  {
    failed,
    release,
    failure,
  }: { readonly failed: Promise<unknown>; readonly release: () => void; readonly failure: RegExp },
): Promise<void> {
  let isOver = false;
  running
    .finally(() => {
      isOver = true;
    })
    .catch(() => {});
  await failed;
  for (let turn = 0; turn < TURNS; turn += 1) await setImmediate();
  assert.equal(isOver, false, 'the other is still under way');
  release();
  await assert.rejects(running, failure);
}
