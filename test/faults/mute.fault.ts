/** `alerts mute` and `alerts unmute`, as they are typed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { saveAlerts } from '../../src/store/alerts.ts';
import { createPool } from '../../src/store/pool.ts';
import { testDatabase } from '../support/database.ts';
import { command } from '../support/service.ts';

const DAY = 86_400_000;
const listed = z.object({
  items: z.array(z.object({ kind: z.string(), subject: z.string(), mutedUntil: z.string() })),
  muted: z.array(z.object({ kind: z.string(), subject: z.string().nullable(), until: z.string() })),
});

test('an alert is muted for a time and unmuted, and the list says until when', async t => {
  const database = await testDatabase();
  t.after(() => database.close());
  const pool = createPool(database.url, { max: 1, name: 'test', statementTimeoutMs: 60_000 });
  t.after(() => pool.end());
  const now = Date.now();
  await saveAlerts(
    pool,
    ['7', '8'].map(subject => ({
      ...{ kind: 'silent', subject, label: 'Студия Север', detail: '', value: 12, since: now },
      ...{ raisedAt: now, toldAt: now, betterSince: null },
    })),
  );
  const env = { OTKLIK_KEY: Buffer.alloc(32, 1).toString('base64') };
  const run = (...args: string[]) => command(database.url, ['alerts', ...args], env);
  const list = async () => listed.parse(JSON.parse((await run('--json')).stdout));
  const done = async (...args: string[]) => {
    const { code, stdout, stderr } = await run(...args);
    assert.equal(code, 0, stderr);
    return stdout;
  };

  assert.match(await done('mute', 'silent', '7', '--for', '14d'), /^silent of 7 is muted until 20\S+Z\./);
  await done('mute', 'backup', '--for', '1h');
  const { items, muted } = await list();
  assert.deepEqual(
    muted.map(({ kind, subject }) => [kind, subject]),
    [
      ['backup', null],
      ['silent', '7'],
    ],
  );
  const until = Date.parse(muted[1]?.until ?? '') - now;
  assert.ok(until >= 14 * DAY && until < 14 * DAY + 60_000, `${until}`);
  assert.deepEqual(
    items.map(({ subject, mutedUntil }) => [subject, mutedUntil]),
    [
      ['7', muted[1]?.until],
      ['8', ''],
    ],
  );
  assert.match(await done('list'), /^silent +8 .*\nMuted: backup until 20\S+Z, silent of 7 until 20\S+Z$/m);

  await done('unmute', 'silent', '7');
  assert.deepEqual(
    (await list()).muted.map(({ kind }) => kind),
    ['backup'],
  );
  const { rows } = await pool.query(
    "SELECT action, subject FROM audit_log WHERE action LIKE 'alerts.%' ORDER BY id",
  );
  assert.deepEqual(rows, [
    { action: 'alerts.mute', subject: 'silent 7' },
    { action: 'alerts.mute', subject: 'backup' },
    { action: 'alerts.unmute', subject: 'silent 7' },
  ]);

  const refused = [
    [['unmute', 'silent', '7'], /^otklik: silent of 7 is not muted/],
    [['mute', 'silence', '--for', '1d'], /'silence' is invalid .*Allowed choices are silent, /],
    [['mute', 'database', '--for', '1d'], /'database' is invalid/],
    [['mute', 'silent'], /required option '--for <time>' not specified/],
    [['mute', 'silent', '--for', '0'], /^otklik: --for must be from 1m to 366d/],
    [['mute', 'silent', '--for', '400d'], /^otklik: --for must be from 1m to 366d/],
  ] as const;
  await Promise.all(
    refused.map(async ([args, says]) => {
      const { code, stderr } = await run(...args);
      assert.equal(code, 1);
      assert.match(stderr, says);
    }),
  );
});
