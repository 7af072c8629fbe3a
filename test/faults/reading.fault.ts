/** How a company is read: set, compared with the platform and looked at, as an operator types it. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { companySet } from '../../src/commands/company.ts';
import { reconcileCommand } from '../../src/commands/reconcile.ts';
import { readConfig } from '../../src/config.ts';
import { createLog } from '../../src/log.ts';
import { type Platform, startPlatform } from '../../src/simulator/api/platform.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { command, OTKLIK_KEY } from '../support/service.ts';

const COMPANY = 7_001;
const RECORDS = 12;
const DAY_MS = 86_400_000;

let database: TestDatabase;
let platform: Platform;
before(async () => {
  database = await testDatabase();
  platform = await startPlatform({ limits: null });
  platform.add(COMPANY, { records: RECORDS });
});
after(async () => {
  await platform.close();
  await database.close();
});

const set = z.object({
  source: z.string(),
  verify: z.string(),
  sweepMs: z.number(),
  pollMs: z.number(),
});
const reconciled = z.object({
  companyId: z.number(),
  found: z.number(),
  sweeps: z.record(z.string(), z.unknown()),
});
const coverage = z.object({
  missed: z.number(),
  apiCalls: z.number(),
  api: z.string(),
  error: z.string().nullable(),
});
const stats = z.object({
  reconciliation: z.object({ missed: z.number(), apiCalls: z.number(), failing: z.number() }),
  coverage: z.array(coverage),
});
const examined = z.object({
  findings: z.array(z.object({ check: z.string(), state: z.string(), says: z.string() })),
});

const environment = () => ({
  YCLIENTS_API_URL: platform.url,
  YCLIENTS_PARTNER_TOKEN: platform.partnerToken,
});

/** For what only fails: a process of its own would show no more. */
const context = () => ({
  config: readConfig({ ...environment(), DATABASE_URL: database.url, OTKLIK_KEY }),
  log: createLog('silent'),
});

async function run(args: readonly string[], input = '') {
  const ran = await command(database.url, args, environment(), input);
  assert.ok(!`${ran.stdout}${ran.stderr}`.includes('canary'), 'a token is never printed');
  return ran;
}

async function answered<T>(schema: z.ZodType<T>, args: readonly string[], input = ''): Promise<T> {
  const { code, stdout, stderr } = await run([...args, '--json'], input);
  assert.equal(code, 0, stderr);
  return schema.parse(JSON.parse(stdout));
}

async function reconciliationSays(code: 0 | 1): Promise<string[]> {
  const { code: ended, stdout } = await run(['doctor', '--json']);
  assert.equal(ended, code, stdout);
  const { findings } = examined.parse(JSON.parse(stdout));
  return findings
    .filter(({ check }) => check === 'reconciliation')
    .map(({ state, says }) => `${state}: ${says}`);
}

test('a company is added, set, compared and looked at; what goes wrong says what to do', {
  timeout: 180_000,
}, async () => {
  const company = String(COMPANY);
  const added = await run(
    [
      ...['company', 'add', company, '--title', 'Ромашка', '--zone', 'Asia/Yekaterinburg'],
      ...['--source', 'poll', '--sweep', '10m', '--poll', '30s', '--user-token-stdin', '--json'],
    ],
    'canary-wrong-token\n',
  );
  assert.equal(added.code, 0, added.stderr);

  await assert.rejects(reconcileCommand(context(), company, {}), /company 7001.*(user token|right)/i);
  const [fault = ''] = await reconciliationSays(1);
  assert.match(fault, /^fault: YClients, company 7001, .*(user token|right)/i);

  const token = `${platform.userToken}\n`;
  const every = [
    '--source',
    'both',
    '--verify',
    'always',
    '--sweep',
    '20m',
    '--poll',
    '45s',
    '--user-token-stdin',
  ];
  assert.deepEqual(await answered(set, ['company', 'set', company, ...every], token), {
    ...{ source: 'both', verify: 'always', sweepMs: 1_200_000, pollMs: 45_000 },
  });

  const imported = await answered(reconciled, ['reconcile', company]);
  assert.deepEqual(Object.keys(imported.sweeps), ['baseline', 'delta']);
  assert.ok(imported.found > 0);
  // What is imported is known only once it is processed: the inbox holds it.
  const made = platform.salon(COMPANY).act(Date.now() - DAY_MS / 24);
  assert.equal(made?.action.about, 'record');
  const again = await answered(reconciled, ['reconcile', company, '--full']);
  assert.deepEqual(Object.keys(again.sweeps), ['delta', 'full']);
  assert.ok(again.found >= 1);

  const counted = await answered(stats, ['stats']);
  assert.equal(counted.coverage[0]?.api, 'ready');
  assert.equal(counted.coverage[0]?.error, null);
  assert.equal(counted.reconciliation.failing, 0);
  assert.equal(counted.reconciliation.apiCalls, platform.stats().byCompany.get(COMPANY)?.records);
  const [lines, fine] = await Promise.all([run(['stats']), reconciliationSays(0)]);
  assert.match(
    lines.stdout,
    /last 24 hours\ncompany +source +webhooks +missed +coverage +lag +API calls +compared\n7001 /,
  );
  assert.match(lines.stdout, /every 45 s/);
  assert.deepEqual(fine, ['ok: 1 compared with the platform']);

  const said = await run(['company', 'set', company, '--source', 'webhook', '--remove-user-token']);
  assert.equal(
    said.stdout,
    'Company 7001, Ромашка, Asia/Yekaterinburg, ru: route console; source webhook, compared every 1200 s, verify always.\n',
  );
  await assert.rejects(
    reconcileCommand(context(), company, {}),
    /no access to the API: set YCLIENTS_PARTNER_TOKEN, and the user token by `company set/,
  );
});

test('wrong values are refused in the words that were typed, and change nothing', async () => {
  const company = '1';
  const typed = await Promise.all([
    run(['company', 'set', company, '--source', 'email']),
    run(['company', 'set', company, '--sweep', 'soon']),
    run(['company', 'set', company, '--user-token-stdin'], 'canary two words'),
    run(['company', 'set', company, '--user-token-stdin']),
  ]);
  const says = [
    /'--source <source>'.*Allowed choices are webhook, poll, both/,
    /'--sweep <time>'.*Write it like 500ms, 60s, 5m, 1h or 14d/,
    /--user-token-stdin: must be the token alone, without blanks/,
    /--user-token-stdin: must be the token alone, without blanks/,
  ];
  for (const [index, { code, stderr }] of typed.entries()) {
    assert.equal(code, 1);
    assert.match(stderr, says[index] ?? /./);
  }
  for (const [options, message] of [
    [{}, /nothing to change: name at least one option/],
    [{ sweep: 5_000 }, /--sweep: must be from a minute to a day/],
    [{ sweep: 2 * DAY_MS }, /--sweep: must be from a minute to a day/],
    [{ poll: 9_999 }, /--poll: must be from 10 seconds to a day/],
    [{ userTokenStdin: true, removeUserToken: true }, /name one of them/],
    [{ source: 'poll' }, /there is no company 1;.*company list/],
  ] as const)
    await assert.rejects(companySet(context(), company, options), message);
  await assert.rejects(reconcileCommand(context(), '77', {}), /there is no company 77;.*company list/);
  const { rows } = await database.pool.query(
    "SELECT FROM audit_log WHERE subject LIKE '%sweep%' AND company_id = 1",
  );
  assert.equal(rows.length, 0);
});
