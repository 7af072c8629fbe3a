import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseCommand, parseDuration, simulateCommand, USAGE } from '../../src/simulator/command.ts';
import { parseLedger } from '../../src/simulator/ledger.ts';

const MAIN = fileURLToPath(new URL('../../src/simulator/main.ts', import.meta.url));
const NEEDED = ['--to', 'http://127.0.0.1:8080/webhooks/yclients/key', '--company', '5'];

test('options are read from the command line', () => {
  const command = parseCommand([
    ...NEEDED,
    ...['--seed', '7', '--for', '60s', '--rate', '2.5', '--brand', 'altegio', '--zone', 'Europe/Berlin'],
    ...[
      '--staff',
      '3',
      '--faults',
      'duplicate,reorder',
      '--retries',
      '2',
      '--ledger',
      'ledger.json',
      '--json',
    ],
  ]);
  assert.deepEqual(command, {
    options: {
      to: 'http://127.0.0.1:8080/webhooks/yclients/key',
      companyId: 5,
      seed: 7,
      faults: new Set(['duplicate', 'reorder']),
      dropChance: undefined,
      forMs: 60_000,
      perSecond: 2.5,
      brand: 'altegio',
      zone: 'Europe/Berlin',
      staff: 3,
      retries: 2,
    },
    ledgerFile: 'ledger.json',
    json: true,
  });
});

test('without --drop nothing is lost; with it, so much', () => {
  const options = (...args: string[]) => {
    const command = parseCommand([...NEEDED, ...args]);
    assert.ok(typeof command !== 'string');
    return { faults: new Set(command.options.faults), dropChance: command.options.dropChance };
  };
  assert.ok(!options().faults.has('drop'));
  assert.ok(options('--drop', '0.1').faults.has('drop'));
  assert.equal(options('--drop', '0.1').dropChance, 0.1);
});

test('what is wrong on the command line is said with the usage', async () => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [[], /^--to is missing/],
    [['--to', 'ftp://salon.example', '--company', '5'], /^--to is not an http/],
    [['--to', 'http://salon.example'], /^--company is missing/],
    [[...NEEDED, '--for', 'long'], /^"long" is no duration/],
    [[...NEEDED, '--rate', '0'], /^--rate must be above 0/],
    [[...NEEDED, '--seed', 'x'], /^--seed: "x" is no number/],
    [[...NEEDED, '--brand', 'other'], /^--brand/],
    [[...NEEDED, '--zone', 'Mars/Base'], /^--zone/],
    [[...NEEDED, '--faults', 'rain'], /^unknown fault "rain"/],
    [[...NEEDED, '--wind', '1'], /--wind/],
  ];
  for (const [args, expected] of cases) {
    const lines: string[] = [];
    const code = await simulateCommand(args, {
      write: line => lines.push(line),
      signal: AbortSignal.abort(),
    });
    assert.equal(code, 2);
    assert.match(lines.join('\n'), expected);
    assert.ok(lines.join('\n').includes(USAGE));
  }
  assert.equal(parseCommand(['--help']), USAGE);
});

test('durations have a unit', () => {
  assert.deepEqual(['1500ms', '60s', '1.5m', '1h'].map(parseDuration), [1500, 60_000, 90_000, 3_600_000]);
  assert.throws(() => parseDuration('60'));
});

test('as a process it reports each action as a JSON line, and SIGTERM ends it with its ledger written', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'otklik-simulate-'));
  t.after(() => rm(directory, { recursive: true }));
  const server = createServer((request, response) => request.resume().on('end', () => response.end()));
  t.after(() => server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);

  const ledgerFile = join(directory, 'ledger.json');
  const args = ['--to', `http://127.0.0.1:${address.port}/`, '--company', '5', '--rate', '20', '--json'];
  const child = spawn(process.execPath, [MAIN, ...args, '--ledger', ledgerFile], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  const lines: { type: string; kind?: string; records?: number; answers?: unknown }[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(JSON.parse(line));
    if (lines.length === 10) child.kill('SIGTERM');
  }
  assert.deepEqual(await ended, [0, null]);
  assert.equal(lines[0]?.kind, 'create');
  assert.equal(lines.at(-1)?.type, 'summary');
  const ledger = parseLedger(await readFile(ledgerFile, 'utf8'));
  assert.equal(ledger.records.length, lines.at(-1)?.records);
  assert.equal(ledger.counts.actions, lines.length - 1);
  assert.deepEqual(Object.keys(ledger.counts.answers), ['200']);
});
