/** What could not be understood, as an operator looks at it and puts it back. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { keepAside } from '../../src/store/heard.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { command } from '../support/service.ts';

/** Longer than what an id or a moment may spell. */
const CHAT = '5550001234';

let database: TestDatabase;
before(async () => {
  database = await testDatabase();
});
after(() => database.close());

const listed = z.object({
  items: z.array(
    z.strictObject({
      id: z.number(),
      channel: z.string(),
      heardAt: z.iso.datetime(),
      kind: z.string().nullable(),
      error: z.string(),
    }),
  ),
});
const examined = z.object({
  findings: z.array(z.object({ check: z.string(), state: z.string(), says: z.string() })),
});

test('what could not be understood is counted by doctor, listed without its words, and put back once', async () => {
  const run = (...args: string[]) => command(database.url, args);
  const say = (updateId: string, channel: string) =>
    keepAside(database.pool, {
      ...{ channel, updateId, error: 'TypeError src/domain/phone.ts:1:1' },
      said: { chat: CHAT, kind: 'text', text: 'да, Мила Иванова' },
    });
  await say('first', 'max');
  await say('second', 'max');
  await say('third', 'telegram');

  const [examination, listing, words, unnamed, unknown] = await Promise.all([
    run('doctor', '--json'),
    run('answers', 'aside', '--json'),
    run('answers', 'aside'),
    run('answers', 'retry'),
    run('answers', 'retry', '999'),
  ]);
  const findings = examined
    .parse(JSON.parse(examination.stdout))
    .findings.filter(({ check }) => check === 'answers');
  assert.deepEqual(
    findings.map(({ state, says }) => [state, says.split(' could')[0]]),
    [
      ['note', '2 from max'],
      ['note', '1 from telegram'],
    ],
  );
  assert.match(findings[0]?.says ?? '', /phone\.ts.*`answers aside`.*`answers retry`/);

  const { items } = listed.parse(JSON.parse(listing.stdout));
  assert.deepEqual(
    items.map(({ channel, kind }) => [channel, kind]),
    [
      ['telegram', 'text'],
      ['max', 'text'],
      ['max', 'text'],
    ],
  );
  assert.match(words.stdout, /max +text +TypeError/);
  for (const { stdout } of [examination, listing, words])
    assert.doesNotMatch(stdout, new RegExp(`Мила|${CHAT}`));
  assert.match(unnamed.stderr, /--all/);
  assert.match(unknown.stderr, /nothing is kept aside as 999/);

  const id = String(items[1]?.id);
  const once = await run('answers', 'retry', id, '--json');
  assert.deepEqual(JSON.parse(once.stdout), { putBack: 1 }, once.stderr);
  const [twice, left] = await Promise.all([
    run('answers', 'retry', id),
    run('answers', 'aside', '--limit', '1', '--json'),
  ]);
  assert.notEqual(twice.code, 0);
  assert.match(twice.stderr, /put back or heard already/);
  assert.equal(listed.parse(JSON.parse(left.stdout)).items.length, 1);
  const all = await run('answers', 'retry', '--all');
  assert.match(all.stdout, /^2 put back/);
  const { rows } = await database.pool.query(
    `SELECT subject FROM audit_log WHERE action = 'answers.retry' ORDER BY id`,
  );
  assert.deepEqual(rows, [{ subject: id }, { subject: 'all: 2' }]);
});
