/** `company add` and `company set`: what is said beforehand of a setting under which nothing would leave. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testDatabase } from '../support/database.ts';
import { command } from '../support/service.ts';

const NOTE =
  'otklik: note: the host of --webhook-url is not on the public internet: webhook calls it only with WEBHOOK_ALLOW_PRIVATE=true in the environment of `serve`\n';

test('a webhook URL that is private by its text is noted, unless private ones are allowed', async t => {
  const { url, close } = await testDatabase();
  t.after(close);
  const run = (allow: string, args: string[]) => command(url, args, { WEBHOOK_ALLOW_PRIVATE: allow });
  const about = ['--title', 'Ромашка', '--zone', 'Europe/Moscow', '--route', 'webhook', '--webhook-url'];
  const add = (id: string, allow: string, hook: string) => run(allow, ['company', 'add', id, ...about, hook]);
  const set = (hook: string) => run('false', ['company', 'set', '1', '--webhook-url', hook]);
  const added = await add('1', 'false', 'http://127.0.0.1:3000/');
  assert.deepEqual([added.code, added.stderr], [0, NOTE]);
  assert.match(added.stdout, /Our webhook channel signs with whsec_/);
  const [allowed, far] = await Promise.all([
    add('2', 'true', 'http://127.0.0.1:3000/'),
    add('3', 'false', 'https://localhost.example/'),
  ]);
  assert.deepEqual([allowed.stderr, far.stderr], ['', '']);
  const [local, bracketed, title] = await Promise.all([
    set('http://LOCALHOST.:3000/'),
    set('http://[::1]:3000/'),
    run('false', ['company', 'set', '1', '--title', 'Астра']),
  ]);
  assert.deepEqual([local.stderr, bracketed.stderr, title.stderr], [NOTE, NOTE, '']);
});
