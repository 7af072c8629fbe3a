/** Transactions whose statements travel together. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createPool, type Db, type Pool, transaction, troubleOf } from '../../src/store/pool.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';

let database: TestDatabase;
let pool: Pool;

before(async () => {
  database = await testDatabase();
  pool = createPool(database.url, { max: 1, name: 'test', statementTimeoutMs: 10_000 });
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
