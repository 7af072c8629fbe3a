import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  type ProcessLine,
  parseProcessLine,
  parseProcessOptions,
  simulate,
} from '../../src/simulator/command.ts';
import { parseLedger } from '../../src/simulator/ledger.ts';

const MAIN = fileURLToPath(new URL('../../src/simulator/main.ts', import.meta.url));

/** A listener that takes everything; its URL. */
async function listen(t: TestContext): Promise<string> {
  const server = createServer((request, response) => request.resume().on('end', () => response.end()));
  t.after(() => server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return `http://127.0.0.1:${address.port}/`;
}

test('it says each action in a line for people, sums up, and writes the ledger', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'otklik-simulate-'));
  t.after(() => rm(directory, { recursive: true }));
  const ledgerFile = join(directory, 'ledger.json');
  const lines: string[] = [];
  const stopping = new AbortController();
  const ledger = await simulate({
    to: await listen(t),
    companyId: 5,
    seed: 7,
    perSecond: 50,
    ledgerFile,
    signal: stopping.signal,
    write: line => {
      lines.push(line);
      if (lines.length === 20) stopping.abort();
    },
  });
  assert.match(lines[0] ?? '', /^\d\d:\d\d:\d\d {2}\d+ {2}.+: booked /);
  assert.match(lines.at(-1) ?? '', /^seed 7, bookings \d+, actions \d+, .*answers \{"200":\d+\}/);
  assert.deepEqual(parseLedger(await readFile(ledgerFile, 'utf8')), ledger);
  assert.equal(ledger.counts.actions, lines.length - 1);
});

test('as a process it says a JSON line for each action, and SIGTERM ends it with its ledger', async t => {
  const child = spawn(process.execPath, [MAIN], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  child.stdin.end(JSON.stringify({ to: await listen(t), companyId: 5, seed: 7, perSecond: 20 }));
  const lines: ProcessLine[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(parseProcessLine(line));
    if (lines.length === 10) child.kill('SIGTERM');
  }
  assert.deepEqual(await ended, [0, null]);
  const actions = lines.filter(line => line.type === 'action');
  assert.equal(actions[0]?.kind, 'create');
  const last = lines.at(-1);
  assert.ok(last?.type === 'ledger');
  assert.equal(last.ledger.counts.actions, actions.length);
  assert.deepEqual(Object.keys(last.ledger.counts.answers), ['200']);
});

test('options that it does not understand are refused', () => {
  assert.throws(() => parseProcessOptions('{"to": "ftp://salon.example", "companyId": 5, "seed": 1}'));
  assert.throws(() => parseProcessOptions('{"to": "http://salon.example", "seed": 1}'));
  assert.throws(() => parseProcessOptions('to'));
});
