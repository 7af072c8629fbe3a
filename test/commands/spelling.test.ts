/** What an operator reads who mistyped a command. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
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

test('a state or channel that there is none of, or a page of nothing, is refused before anything is done', async () => {
  const [state, limit, channel] = await Promise.all([
    command('', ['messages', 'list', '--state', 'faild']),
    command('', ['events', 'list', '--limit', '0']),
    command('', ['send-test', '--company', '1', '--channel', 'telegramm']),
  ]);
  assert.match(state?.stderr ?? '', /'faild' is invalid\. Allowed choices are due, .*failed/);
  assert.match(limit?.stderr ?? '', /'0' is invalid\. It must be a whole number above 0\./);
  assert.match(channel?.stderr ?? '', /'telegramm' is invalid\. Allowed choices are console, telegram/);
  assert.deepEqual([state?.code, limit?.code, channel?.code], [1, 1, 1]);
});

test('help says what is required, and a time as it is typed', async () => {
  const [added, preview] = await Promise.all([
    command('', ['company', 'add', '--help']),
    command('', ['policy', 'preview', '--help']),
  ]);
  assert.match(added?.stdout ?? '', /--zone <zone> .*\(required\)/);
  assert.match(preview?.stdout ?? '', /--lasts <time> .*\(default: 1h\)/);
});

test('what cannot be previewed is named as it was typed', async () => {
  const { code, stderr } = await command('', [
    ...[
      'policy',
      'preview',
      '1',
      '--starts',
      'tomorrow',
      '--lasts',
      '10s',
      '--origin',
      'widgit',
      '--made',
      'now',
    ],
  ]);
  assert.match(stderr, /^ {2}--starts must be like 2026-12-01T14:30$/m);
  assert.match(stderr, /^ {2}--lasts in seconds must be at least 60$/m);
  assert.match(stderr, /^ {2}--origin must be one of bot,/m);
  assert.match(stderr, /^ {2}--made must be a moment like/m);
  assert.equal(code, 1);
});

test('what the fake salon cannot have is said before it opens, and in words', async t => {
  const server = createServer().listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const simulate = (...args: string[]) => command('', ['simulate', '--company', '1', '--for', '1h', ...args]);
  const [ledger, port, drop] = await Promise.all([
    simulate('--api-port', '0', '--ledger', '/nowhere/ledger.json'),
    simulate('--api-port', String(address.port)),
    simulate('--api-port', '0', '--drop', '5'),
  ]);
  assert.equal(ledger?.stderr, 'otklik: --ledger: /nowhere/ledger.json cannot be written (ENOENT)\n');
  assert.equal(port?.stderr, `otklik: port ${address.port} is taken: give --api-port another\n`);
  assert.equal(drop?.stderr, 'otklik: --drop is a share of the webhooks, from 0 to 1\n');
});

test('a required option is still asked for', async () => {
  const { code, stderr } = await command('', ['company', 'add', '1', '--title', 'x']);
  assert.match(stderr, /^error: required option '--zone <zone>' not specified/);
  assert.equal(code, 1);
});

test('a word behind a group that lists when it is alone is a misspelt command', async () => {
  const [misspelt, unlike] = await Promise.all([
    command('', ['alerts', 'tset']),
    command('', ['drift', 'everything']),
  ]);
  assert.match(misspelt?.stderr ?? '', /^error: unknown command 'tset'\n\(Did you mean test\?\)/);
  assert.match(unlike?.stderr ?? '', /^error: unknown command 'everything'\n\(add --help/);
  assert.deepEqual([misspelt?.code, unlike?.code], [1, 1]);
});

test('help goes as deep as it is asked, and says of a misspelt command which was meant', async () => {
  const [deep, whole, misspelt] = await Promise.all([
    command('', ['help', 'company', 'add']),
    command('', ['help']),
    command('', ['help', 'company', 'ad']),
  ]);
  assert.match(deep?.stdout ?? '', /^Usage: otklik company add \[options\] <id>/);
  assert.match(whole?.stdout ?? '', /^Usage: otklik \[options\] \[command\]/);
  assert.match(misspelt?.stderr ?? '', /^error: unknown command 'ad'\n\(Did you mean add\?\)/);
  assert.deepEqual([deep?.code, whole?.code, misspelt?.code], [0, 0, 1]);
});

test('the commands fit into a terminal of 80 columns', async () => {
  const { code, stdout } = await command('', ['--help']);
  assert.equal(code, 0);
  assert.match(stdout, /^ {2}address {2,}where a client/m);
  assert.ok(
    stdout.split('\n').every(line => line.length <= 80),
    stdout,
  );
});
