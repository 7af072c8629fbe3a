/** `address`, which may come before the client does. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testDatabase } from '../support/database.ts';
import { command } from '../support/service.ts';

test('an address of a client of whom nothing is known is kept, and a mistyped id is noticed', async t => {
  const { url, pool, close } = await testDatabase();
  t.after(close);
  await command(url, ['company', 'add', '1', '--title', 'Ромашка', '--zone', 'Europe/Moscow']);
  await pool.query("INSERT INTO people (company_id, client_id, name) VALUES (1, 7, 'Анна')");
  const give = (client: string) => command(url, ['address', '1', client, 'telegram', '123456789']);
  const [known, unknown] = await Promise.all([give('7'), give('77')]);
  assert.deepEqual([known?.code, known?.stderr], [0, '']);
  assert.equal(unknown?.code, 0);
  assert.equal(
    unknown?.stderr,
    'otklik: note: nothing else is known of client 77 yet: is it the id that the platform has?\n',
  );
});
