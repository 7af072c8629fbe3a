/** Transactions whose statements travel together. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Db, type Pool, retried, savepoint, transaction, troubleOf } from '../../src/store/pool.ts';
import { type TestDatabase, testDatabase, testPool } from '../support/database.ts';

let database: TestDatabase;
let pool: Pool;

before(async () => {
  database = await testDatabase();
  pool = testPool(database.url, { max: 1 });
  await pool.query('CREATE TABLE things (id integer PRIMARY KEY)');
});

after(async () => {
  await pool.end();
  await database.close();
});

const insert = (db: Db, id: number) => db.query('INSERT INTO things VALUES ($1)', [id]);

async function stored(): Promise<number[]> {
  const { rows } = await pool.query<{ id: number }>('SELECT id FROM things ORDER BY id');
  return rows.map(row => row.id);
}

test('statements given together are one transaction', async () => {
  await transaction(pool, db => Promise.all([insert(db, 1), insert(db, 2)]));
  assert.deepEqual(await stored(), [1, 2]);
});

test('of statements given together the one that failed is named, not those that failed after it', async () => {
  const nested = async (db: Db) => Promise.all([Promise.all([insert(db, 3), insert(db, 1)])]);
  const failing = transaction(pool, async db => {
    const first = nested(db);
    await Promise.all([insert(db, 4), first]);
  });
  await assert.rejects(failing, error => {
    assert.match(String(error), /duplicate key/);
    assert.equal(troubleOf(error), 'data');
    return true;
  });
  assert.deepEqual(await stored(), [1, 2], 'nothing of it stays, and the connection goes on');
});

test('a failure of the work itself is told as it is, and nothing stays', async () => {
  const failing = transaction(pool, async db => {
    await insert(db, 5);
    throw new RangeError('not so');
  });
  await assert.rejects(failing, RangeError);
  assert.deepEqual(await stored(), [1, 2]);
});

test('what was taken back to a savepoint is not what a later failure is named by', async () => {
  const failing = transaction(pool, async db => {
    await assert.rejects(
      savepoint(db, () => insert(db, 1)),
      /duplicate key/,
    );
    await db.query('SELECT * FROM nothing_of_that_name');
  });
  await assert.rejects(failing, /nothing_of_that_name/);
});

test('a branch of the work that goes on after another has failed writes nothing', async () => {
  const failed = Promise.withResolvers<void>();
  let late: Promise<unknown> | undefined;
  const failing = transaction(pool, async db => {
    const goesOn = async () => {
      await failed.promise;
      late = insert(db, 6);
      await late;
    };
    await Promise.all([insert(db, 1), goesOn()]);
  });
  await assert.rejects(failing, /duplicate key/);
  failed.resolve();
  await new Promise(resolve => setImmediate(resolve));
  await assert.rejects(late ?? Promise.resolve(), /transaction that has ended/);
  assert.deepEqual(await stored(), [1, 2]);
});

test('work that goes on after a failed statement, as if it were done, has not been done', async () => {
  const failing = transaction(pool, async db => {
    await insert(db, 7);
    await insert(db, 1).catch(() => undefined);
  });
  await assert.rejects(failing, /rolled back/);
  assert.deepEqual(await stored(), [1, 2]);
});

test('work that met another transaction is done again, five times in all, and nothing else is', async () => {
  let tries = 0;
  const fail = (code: string, times: number) =>
    retried(async () => {
      tries += 1;
      if (tries <= times) await pool.query(`DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '${code}'; END $$`);
      return tries;
    });
  assert.equal(await fail('40P01', 4), 5);
  tries = 0;
  await assert.rejects(fail('40P01', 5), error => troubleOf(error) === 'conflict');
  assert.equal(tries, 5);
  tries = 0;
  await assert.rejects(fail('23505', 1), error => troubleOf(error) === 'data');
  assert.equal(tries, 1);
});

test('a connection that is gone is the database away; a bug is none, whatever word of it the message holds', async () => {
  const gone = transaction(pool, db =>
    db.query('SELECT pg_terminate_backend(pg_backend_pid())').catch(() => db.query('SELECT 1')),
  );
  await assert.rejects(gone, error => troubleOf(error) === 'unavailable');
  const ended = await transaction(pool, db => Promise.resolve(db));
  await assert.rejects(ended.query('SELECT 1'), error => troubleOf(error) === 'bug');
  for (const field of ['endedAt', 'timeout', 'connection']) {
    const bug = new TypeError(`Cannot read properties of undefined (reading '${field}')`);
    assert.equal(troubleOf(bug), 'bug', field);
  }
});
