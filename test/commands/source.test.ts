/** Files that commands are given. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { readSource } from '../../src/commands/source.ts';

test('a file is read without the mark of Windows, and one that cannot be is named whole, with a way round', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'source-'));
  t.after(() => rm(folder, { recursive: true }));
  const file = join(folder, 'policy.json');
  await writeFile(file, '\ufeff{}');
  assert.equal(await readSource(file), '{}');
  await assert.rejects(readSource('nowhere.json'), {
    name: 'PlainError',
    message: `${resolve('nowhere.json')} cannot be read (ENOENT); - in its place reads standard input`,
  });
});

test('a file in another encoding than UTF-8 is refused, before its letters reach somebody as other signs', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'source-'));
  t.after(() => rm(folder, { recursive: true }));
  const file = join(folder, 'booked.hbs');
  // «Вы» in Windows-1251, and in UTF-16 as Windows writes it.
  for (const bytes of [Buffer.from([0xc2, 0xfb]), Buffer.from('\ufeffВы', 'utf16le'), Buffer.from('a\0b')]) {
    await writeFile(file, bytes);
    await assert.rejects(readSource(file), {
      name: 'PlainError',
      message: `${file} is not text in UTF-8: save it as that`,
    });
  }
  await writeFile(file, 'Вы');
  assert.equal(await readSource(file), 'Вы');
});
