/** The lists and single views that the API and the commands show. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Pool } from '../../src/store/pool.ts';
import { listMessages, showMessage } from '../../src/store/views.ts';
import { type TestDatabase, testDatabase, testPool } from '../support/database.ts';

let database: TestDatabase;
let pool: Pool;
before(async () => {
  database = await testDatabase();
  pool = testPool(database.url, { max: 2 });
});
after(async () => {
  await pool.end();
  await database.close();
});

const idOf = (place: number) => `01900000-0000-7000-8000-${String(place).padStart(12, '0')}`;

test('messages of all companies and of the operator are listed newest first, page by page, each once', async () => {
  await pool.query(
    `INSERT INTO companies (company_id, title, zone, brand) SELECT g, 'Студия', 'Europe/Moscow', 'yclients'
     FROM generate_series(1, 3) AS g`,
  );
  // Of company 0 are alerts.
  await pool.query(
    `INSERT INTO messages (company_id, id, purpose, channel, body, recipient, step, state, due_at)
     SELECT place % 4, format('01900000-0000-7000-8000-%s', lpad(place::text, 12, '0'))::uuid,
       CASE place % 4 WHEN 0 THEN 'alert' ELSE 'test' END, 'console', '-', 'operator', place, CASE place % 3 WHEN 0 THEN 'failed' ELSE 'sent' END, now()
     FROM generate_series(1, 25) AS place`,
  );
  const all: string[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await listMessages(pool, { limit: 7, cursor });
    all.push(...page.items.map(({ id }) => id));
    if (page.next === null) break;
    cursor = page.next;
  }
  const newestFirst = Array.from({ length: 25 }, (_, index) => 25 - index);
  assert.deepEqual(all, newestFirst.map(idOf));
  const failed = await listMessages(pool, { limit: 50, state: 'failed' });
  assert.deepEqual(
    failed.items.map(({ id }) => id),
    newestFirst.filter(place => place % 3 === 0).map(idOf),
  );
  const ofOne = await listMessages(pool, { limit: 50, companyId: 2 });
  assert.deepEqual(
    ofOne.items.map(({ id }) => id),
    newestFirst.filter(place => place % 4 === 2).map(idOf),
  );
  assert.equal((await showMessage(pool, idOf(8)))?.companyId, 0);
  assert.equal((await showMessage(pool, idOf(9)))?.companyId, 1);
  assert.equal(await showMessage(pool, idOf(26)), undefined);
});
