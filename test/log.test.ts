/** What a line says of an error: class and code, and words only where they are ours. */
import assert from 'node:assert/strict';
import { globSync, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { describeError, describeFields } from '../src/log.ts';
import { LINES } from '../src/log-lines.ts';
import { createPool, type Pool } from '../src/store/pool.ts';
import { testDatabase } from './support/database.ts';

test('a full disk is said to be one, whoever met it; an error’s own words are left out', () => {
  for (const code of ['53100', 'ENOSPC', 'EDQUOT']) {
    const { error_code: told, error_says: says } = describeError(
      Object.assign(new Error('+79995554242'), { code }),
    );
    assert.equal(told, code);
    assert.match(
      String(says),
      /^disk full: free space where the database lies; docs\/operations\.md#alert-disk$/,
    );
  }
  const other = describeError(Object.assign(new Error('+79995554242'), { code: '57P01' }));
  assert.equal(other.error_says, undefined);
});

test('a database that hangs, takes no connection or hangs up is said to, though it gives no code', async t => {
  const database = await testDatabase();
  t.after(() => database.close());
  const saysOf = async (pool: Pool) => {
    const error: unknown = await pool.query('SELECT pg_sleep(5)').catch((caught: unknown) => caught);
    await pool.end();
    return describeError(error).error_says ?? describeError(error);
  };
  const deaf = createServer();
  await new Promise<void>(resolve => deaf.listen(0, '127.0.0.1', resolve));
  t.after(() => deaf.close());
  const address = deaf.address();
  const port = typeof address === 'object' ? address?.port : 0;
  const options = { max: 1, name: 'test', statementTimeoutMs: 5_000 };
  const hanging = createPool(database.url, options);
  Object.assign(hanging.options, { query_timeout: 50 });
  const silent = createPool(`postgresql://nobody@127.0.0.1:${port}/none`, options);
  Object.assign(silent.options, { connectionTimeoutMillis: 50 });
  const rude = createPool(`postgresql://nobody@127.0.0.1:${port}/none`, options);
  assert.equal(await saysOf(hanging), 'the database does not answer a statement in time');
  assert.equal(await saysOf(silent), 'the database takes no connection in time');
  deaf.on('connection', socket => socket.destroy());
  assert.equal(await saysOf(rude), 'the database closed the connection');
});

test('every loop that a line may name is among the documented ones', () => {
  const work = new URL('../src/work/', import.meta.url);
  const sources = readdirSync(work).map(name => readFileSync(new URL(name, work), 'utf8'));
  const loops = sources.flatMap(source =>
    [
      ...source.matchAll(/createLoop\(\{\s*(?:\.\.\.\w+,\s*)?name: '(\w+)'/g),
      ...source.matchAll(/\bloop: '(\w+)'/g),
    ].map(match => match[1] ?? ''),
  );
  assert.ok(new Set(loops).size >= 12, `${[...new Set(loops)]}`);
  const { meaning = '' } = describeFields().find(({ name }) => name === 'loop') ?? {};
  const documented = new Set(meaning.match(/\w+/g));
  assert.deepEqual(
    [...new Set(loops)].filter(loop => !documented.has(loop)),
    [],
  );
});

test('every documented line is logged somewhere', () => {
  const root = new URL('../', import.meta.url);
  const source = globSync('src/**/*.ts', { cwd: root })
    .filter(file => !file.endsWith('log-lines.ts'))
    .map(file => readFileSync(new URL(file, root), 'utf8'))
    .join();
  assert.deepEqual(
    Object.keys(LINES).filter(line => !source.includes(`'${line}'`)),
    [],
  );
});
