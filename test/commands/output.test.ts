/** Output that nobody reads, `| head` or a `less` that was left, and output that finds no room. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { endsWithUs } from '../support/children.ts';

const PROGRAM = new URL('../../src/cli.ts', import.meta.url).pathname;
/** It would print for an hour. */
const SIMULATED = ['simulate', '--company', '1', '--api-port', '0', '--for', '1h'];

/** Runs a command whose standard output is that; of a pipe the reader leaves at once. */
async function printingInto(stdout: 'pipe' | number, args: readonly string[]) {
  const child = endsWithUs(
    spawn(process.execPath, [PROGRAM, ...args], { stdio: ['ignore', stdout, 'pipe'] }),
  );
  child.stdout?.destroy();
  assert.ok(child.stderr);
  const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, 'close')]);
  return { code, stderr };
}

test('a reader that leaves is no fault, and what only shows something ends in order', async () => {
  assert.deepEqual(await printingInto('pipe', SIMULATED), { code: 0, stderr: '' });
});

test('a full disk behind the output is told plainly, once', async () => {
  const full = openSync('/dev/full', 'w');
  try {
    const { code, stderr } = await printingInto(full, SIMULATED);
    assert.equal(stderr, 'otklik: standard output cannot be written (ENOSPC)\n');
    assert.equal(code, 1);
  } finally {
    closeSync(full);
  }
});
