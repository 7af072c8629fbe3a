/** Upgrades: what older processes survive, what they do not, and how either side notices. */
import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { applyMigrations, knownMigrations, migrate, outgrownBy, SERVING } from '../../src/store/migrate.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { command, send, startService } from '../support/service.ts';
import { until } from '../support/until.ts';

const ROOT = join(import.meta.dirname, '../..');
const MIGRATIONS = join(ROOT, 'migrations');
const GENTLE = '9998_gentle.sql';
const HARD = '9999_hard.sql';

let database: TestDatabase;
let folder: string;
before(async () => {
  database = await testDatabase();
  folder = await mkdtemp(join(tmpdir(), 'otklik-migrations-'));
  for (const name of knownMigrations()) await writeFile(join(folder, name), 'SELECT 1');
  await writeFile(join(folder, GENTLE), 'CREATE TABLE gentle (id integer)');
});
after(async () => {
  await database.close();
  await rm(folder, { recursive: true });
});

test('beside a process that serves a gentle migration is applied, and one that needs a stop is refused', async () => {
  const serving = new pg.Client({ connectionString: database.url, application_name: SERVING });
  await serving.connect();
  try {
    assert.deepEqual(await migrate(database.url, { folder }), { applied: [GENTLE] });
    await writeFile(join(folder, HARD), '-- A table goes.\n-- needs: stop\nDROP TABLE gentle');
    const { applied, refused } = await migrate(database.url, { folder });
    assert.deepEqual(applied, []);
    assert.match(refused ?? '', /9999_hard\.sql cannot be applied while Otklik runs .*stop every process/);
    const { rows } = await database.pool.query("SELECT to_regclass('gentle') IS NOT NULL AS kept");
    assert.deepEqual(rows, [{ kept: true }]);
  } finally {
    await serving.end();
  }
});

test('a process that an applied migration left behind says so, ends with 1, and does not start again', async () => {
  const old = await startService(database.url, { env: { ROLES: 'receive' } });
  assert.match(
    (await migrate(database.url, { folder })).refused ?? '',
    /9999_hard/,
    'an idle receiver is seen',
  );
  assert.deepEqual(await migrate(database.url, { folder, insist: true }), { applied: [HARD] });
  await until(() => old.ended(), { what: 'the old process has ended by itself' });
  assert.match(old.output(), /newer version by 9999_hard\.sql, with which this one cannot work/);
  assert.match(old.output(), /ended by exit code 1/);
  const { code, stderr } = await command(database.url, ['serve']);
  assert.equal(code, 1);
  assert.match(stderr, /brought to a newer version by 9999_hard\.sql.*run the newer Otklik/);
  assert.deepEqual(await outgrownBy(database.pool, folder), [], 'the newer version knows it');
});

test('a process whose tree was exchanged for a newer one knows what it knew: it stays ready, and notices what it cannot survive', async () => {
  const other = await testDatabase();
  const tree = await mkdtemp(join(tmpdir(), 'otklik-tree-'));
  for (const part of ['src', 'migrations', 'templates', 'package.json'])
    await cp(join(ROOT, part), join(tree, part), { recursive: true });
  await symlink(join(ROOT, 'node_modules'), join(tree, 'node_modules'));
  const exchanged = join(tree, 'migrations');
  const old = await startService(other.url, {
    env: { ROLES: 'receive' },
    run: () => [process.execPath, join(tree, 'src/cli.ts'), 'serve'],
  });
  try {
    await writeFile(join(exchanged, GENTLE), 'CREATE TABLE gentle (id integer)');
    await writeFile(join(exchanged, HARD), '-- needs: stop\nDROP TABLE gentle');
    const ready = await send(`${old.adminUrl}/readyz`, { method: 'GET' });
    assert.equal(ready.status, 200, ready.body.toString());
    const { applied } = await migrate(other.url, { folder: exchanged, insist: true });
    assert.deepEqual(applied, [GENTLE, HARD]);
    await until(() => old.ended(), { what: 'the old process has ended by itself' });
    assert.match(old.output(), /newer version by 9999_hard\.sql, with which this one cannot work/);
  } finally {
    await old.kill9();
    await other.close();
    await rm(tree, { recursive: true });
  }
});

test('a table that somebody holds is not waited for at the cost of everybody else', async () => {
  const other = await testDatabase();
  const reader = await other.pool.connect();
  try {
    await reader.query('BEGIN; SELECT FROM companies');
    await writeFile(join(folder, '9997_wants_companies.sql'), 'ALTER TABLE companies ADD whatever integer');
    const writer = await other.pool.connect();
    await writer.query('BEGIN');
    await assert.rejects(applyMigrations(writer, { folder }), { code: '55P03' });
    await writer.query('ROLLBACK');
    writer.release();
  } finally {
    await reader.query('ROLLBACK');
    reader.release();
    await other.close();
  }
});

test('a migration that takes something away, or demands something new, says that it needs a stop', async () => {
  const breaking = [
    /\bDROP (?!CONSTRAINT|DEFAULT|NOT NULL|INDEX|IF EXISTS|TRIGGER)/,
    /\bRENAME\b/,
    /\bALTER (COLUMN )?\w+ TYPE\b/,
    /\bSET NOT NULL\b/,
    /^\s*(ALTER TABLE \w+ )?ADD (COLUMN )?(?!CONSTRAINT)\w+ (?!.*\b(DEFAULT|GENERATED)\b).*\bNOT NULL\b/m,
  ];
  const names = knownMigrations();
  const faults = [];
  for (const name of names.slice(1)) {
    const text = await readFile(join(MIGRATIONS, name), 'utf8');
    const statements = text.replace(/--.*$/gm, '');
    if (breaking.some(pattern => pattern.test(statements)) && !/^-- needs: stop$/m.test(text))
      faults.push(name);
  }
  assert.deepEqual(faults, []);
  assert.ok(names.length > 3);
});
