/** Where a generated ADMIN_TOKEN is told: never in a journal, where it would stay. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { tellAdminToken } from '../../src/commands/admin-token.ts';

const TOKEN = 'a-token-made-just-now-0000000000';

test('a generated token is shown at a terminal, elsewhere written to a file of its owner, and never lost', async t => {
  const dataDir = await mkdtemp(join(tmpdir(), 'otklik-token-'));
  t.after(() => rm(dataDir, { recursive: true }));
  const said: string[] = [];
  const tell = (terminal: boolean, where = dataDir) =>
    tellAdminToken(TOKEN, { terminal, dataDir: where, print: line => said.push(line) });
  const file = join(dataDir, 'admin-token');

  await tell(true);
  assert.match(said.pop() ?? '', new RegExp(`shown only now: ${TOKEN}`));
  await assert.rejects(stat(file), 'nothing is written at a terminal');

  await writeFile(file, 'an older one\n', { mode: 0o644 });
  await tell(false);
  const line = said.pop() ?? '';
  assert.ok(line.includes(file) && !line.includes(TOKEN), line);
  assert.equal(await readFile(file, 'utf8'), `${TOKEN}\n`);
  assert.equal((await stat(file)).mode & 0o777, 0o600);

  await tell(false, join(dataDir, 'absent'));
  assert.match(said.pop() ?? '', new RegExp(`shown only now: ${TOKEN}`));
});
