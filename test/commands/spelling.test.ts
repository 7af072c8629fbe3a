/** What an operator reads who mistyped a command. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { command } from '../support/service.ts';

test('a misspelt option is told before the required one that it leaves missing', async () => {
  const typed = [
    ['company', 'add', '1', '--titel', 'x'],
    ['client', 'opt-out', '1', '2', '--reson', 'x'],
    ['simulate', '--compny', '1'],
  ];
  const [added, refused, simulated] = await Promise.all(typed.map(args => command('', args)));
  assert.match(added?.stderr ?? '', /^error: unknown option '--titel'\n\(Did you mean --title\?\)/);
  assert.match(refused?.stderr ?? '', /^error: unknown option '--reson'\n\(Did you mean --reason\?\)/);
  assert.match(simulated?.stderr ?? '', /^error: unknown option '--compny'\n\(Did you mean --company\?\)/);
  for (const { code, stdout } of [added, refused, simulated].filter(ran => ran !== undefined)) {
    assert.equal(code, 1);
    assert.equal(stdout, '');
  }
});

test('a required option is still asked for', async () => {
  const { code, stderr } = await command('', ['company', 'add', '1', '--title', 'x']);
  assert.match(stderr, /^error: required option '--zone <zone>' not specified/);
  assert.equal(code, 1);
});
