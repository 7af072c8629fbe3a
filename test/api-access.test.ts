/** Which tokens a company's calls carry, and what is said where there are none. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type ApiAccessOptions, createApiAccess } from '../src/api-access.ts';
import { readConfig } from '../src/config.ts';
import { addCompany, dropCompany, setCompany } from '../src/salon/companies.ts';
import { readBudget } from '../src/store/budget.ts';
import { createVault } from '../src/vault.ts';
import { ApiError } from '../src/yclients/api.ts';
import { testDatabase, testPool } from './support/database.ts';
import { platform } from './yclients/platform.ts';

async function house(t: TestContext) {
  const database = await testDatabase();
  const pool = testPool(database.url, { max: 4 });
  t.after(async () => {
    await pool.end();
    await database.close();
  });
  const vault = createVault(Buffer.alloc(32, 1));
  const operator = { pool, vault, actor: 'command' } as const;
  const side = await platform(t, () => ({ body: { success: true, data: { id: 1 } } }));
  const add = (companyId: number, brand: 'yclients' | 'altegio' = 'yclients') =>
    addCompany(operator, {
      ...{ companyId, brand, title: 'Ромашка', zone: 'Europe/Moscow', locale: 'ru', settleMs: 0 },
      ...{ route: ['console'], webhookUrl: null, botApiPrefix: null, signatureRequired: false },
    });
  const access = (environment: Record<string, string>, changes: Partial<ApiAccessOptions> = {}) => {
    const config = readConfig({ YCLIENTS_API_URL: side.url, ...environment });
    const opened = createApiAccess({
      ...{ pool, vault, config, now: Date.now, random: Math.random },
      ...changes,
    });
    t.after(() => opened.close());
    return opened;
  };
  return { pool, operator, side, add, access };
}

const BOTH = { YCLIENTS_PARTNER_TOKEN: 'partner-1', YCLIENTS_USER_TOKEN: 'user-for-all' };

test('a company’s own user token goes before the one for all, and comes and goes at once', async t => {
  const { operator, side, add, access, pool } = await house(t);
  await add(1);
  const { apiOf } = access({ ...BOTH, API_ADDRESS: '192.0.2.1' });
  await (await apiOf(1)).company();
  await setCompany(operator, 1, { userToken: 'user-of-one' });
  await (await apiOf(1)).company();
  await setCompany(operator, 1, { userToken: 'user-of-one-anew' });
  await (await apiOf(1)).company();
  await setCompany(operator, 1, { userToken: null });
  await (await apiOf(1)).company();
  assert.deepEqual(
    side.seen.map(({ headers }) => headers.authorization),
    ['user-for-all', 'user-of-one', 'user-of-one-anew', 'user-for-all'].map(
      user => `Bearer partner-1, User ${user}`,
    ),
  );
  const { rows } = await pool.query('SELECT sealed FROM company_secrets');
  assert.equal(rows.length, 0, 'what was taken away is gone');
  const budgets = await readBudget(pool);
  assert.deepEqual(
    budgets.map(({ scope }) => scope),
    [`192.0.2.1/${new URL(side.url).host}`],
  );
});

test('Altegio takes its own tokens where there are some, else the one pair', async t => {
  const { side, add, access } = await house(t);
  await add(2, 'altegio');
  await (await access(BOTH).apiOf(2)).company();
  const own = { ALTEGIO_PARTNER_TOKEN: 'partner-2', ALTEGIO_USER_TOKEN: 'user-2' };
  await (await access({ ...BOTH, ...own }).apiOf(2)).company();
  assert.deepEqual(
    side.seen.map(({ headers }) => [headers.authorization, headers.accept]),
    [
      ['Bearer partner-1, User user-for-all', 'application/vnd.api.v2+json'],
      ['Bearer partner-2, User user-2', 'application/vnd.api.v2+json'],
    ],
  );
});

test('without a token the API is not usable, and a call says which is not set', async t => {
  const { operator, side, add, access } = await house(t);
  await add(1);
  const says = async (environment: Record<string, string>) => {
    const opened = access(environment);
    assert.equal(await opened.findApi(1), undefined);
    const api = await opened.apiOf(1);
    return api.company().then(
      () => assert.fail('it was asked'),
      (error: unknown) => {
        assert.ok(error instanceof ApiError && error.trouble === 'unauthorised', String(error));
        return error.message;
      },
    );
  };
  assert.match(await says({}), /set YCLIENTS_PARTNER_TOKEN/);
  assert.match(await says({ YCLIENTS_PARTNER_TOKEN: 'partner-1' }), /set YCLIENTS_USER_TOKEN/);
  await setCompany(operator, 1, { userToken: 'user-of-one' });
  assert.ok((await access({ YCLIENTS_PARTNER_TOKEN: 'partner-1' }).findApi(1)) !== undefined);
  assert.equal(side.seen.length, 0);
});

test('a company that is none of ours is not asked about', async t => {
  const { operator, add, access } = await house(t);
  await add(1);
  await dropCompany(operator, 1);
  const opened = access(BOTH);
  for (const companyId of [1, 77]) {
    assert.equal(await opened.findApi(companyId), undefined);
    await assert.rejects(opened.apiOf(companyId), /there is no company/);
  }
});

test('a token sealed under another key is an error of that company, in the API’s own words', async t => {
  const { operator, add, access } = await house(t);
  await add(1);
  await setCompany(operator, 1, { userToken: 'user-of-one' });
  const opened = access(BOTH, { vault: createVault(Buffer.alloc(32, 2)) });
  await assert.rejects(
    opened.apiOf(1),
    error => error instanceof ApiError && error.trouble === 'unauthorised',
  );
});

test('tokens that could not stand in a header are refused at the start, without being shown', () => {
  for (const token of ['two words', 'line\nbreak', 'a,b', 'кириллица']) {
    assert.throws(
      () => readConfig({ YCLIENTS_PARTNER_TOKEN: token }),
      error =>
        error instanceof Error &&
        /YCLIENTS_PARTNER_TOKEN/.test(error.message) &&
        !error.message.includes(token),
    );
  }
});
