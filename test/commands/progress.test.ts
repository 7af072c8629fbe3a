/** What somebody at a terminal sees of a long command, and what is seen by nobody else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { progressLine } from '../../src/commands/progress.ts';

function terminal(isTTY: boolean) {
  const written: string[] = [];
  return { isTTY, written, write: (text: string) => written.push(text.replaceAll('\r\u001b[K', '<')) };
}

test('the line is written over at its pace; what came last is shown, and at the end nothing', t => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const at = terminal(true);
  const line = progressLine(at);
  for (const count of [1, 2, 3]) line.show(`events read: ${count}`);
  assert.deepEqual(at.written, ['<events read: 1']);
  t.mock.timers.tick(200);
  assert.deepEqual(at.written, ['<events read: 1', '<events read: 3']);
  t.mock.timers.tick(1_000);
  line.show('columns read: 1');
  line.show('columns read: 2');
  line.clear();
  t.mock.timers.tick(1_000);
  assert.deepEqual(at.written.slice(2), ['<columns read: 1', '<']);
});

test('where there is no terminal nothing is written', () => {
  const at = terminal(false);
  const line = progressLine(at);
  line.show('events read: 1');
  line.clear();
  assert.deepEqual(at.written, []);
});
