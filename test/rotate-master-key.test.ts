/** OTKLIK_KEY is exchanged in three steps, and nothing that stands outside has to change. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createKeyRing } from '../src/http/keys.ts';
import { openVault } from '../src/open.ts';
import { rotateMasterKey } from '../src/rotate-master-key.ts';
import { addCompany, setCompany } from '../src/salon/companies.ts';
import { findSecrets } from '../src/store/companies.ts';
import type { Pool } from '../src/store/pool.ts';
import type { Vault } from '../src/vault.ts';
import { testDatabase, testPool } from './support/database.ts';
import { command } from './support/service.ts';

const [FIRST, SECOND, THIRD] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2), Buffer.alloc(32, 3)];

async function newPool(t: TestContext): Promise<Pool> {
  const own = await testDatabase();
  const pool = testPool(own.url, { max: 4 });
  t.after(async () => {
    await pool.end();
    await own.close();
  });
  return pool;
}

function newCompany(pool: Pool, vault: Vault, companyId: number) {
  return addCompany(
    { pool, vault, actor: 'command' },
    {
      ...{ companyId, brand: 'yclients', title: 'Ромашка', zone: 'Europe/Moscow', locale: 'ru', settleMs: 0 },
      ...{ route: ['console'], webhookUrl: 'https://bot.test/', botApiPrefix: null, signatureRequired: true },
    },
  );
}

/** What a process with this vault knows of a company by its URL key and its secrets. */
async function known(pool: Pool, vault: Vault, companyId: number, key: string) {
  const holder = await createKeyRing({ pool, vault, now: Date.now }).find(key);
  const opened = async (purpose: 'outbound' | 'user') => {
    const sealed = (await findSecrets(pool, [companyId], purpose)).get(companyId)?.[0];
    return sealed && vault.open(sealed);
  };
  return {
    company: holder?.company.companyId,
    inbound: holder?.secrets,
    outbound: await opened('outbound'),
    user: await opened('user'),
  };
}

test('after the exchange, twice over, URLs and secrets are what they were, and the old key opens nothing', async t => {
  const pool = await newPool(t);
  const first = await openVault(pool, FIRST, undefined);
  const { key, inboundSecret, outboundSecret } = await newCompany(pool, first, 1);
  await setCompany({ pool, vault: first, actor: 'command' }, 1, { userToken: 'user-1' });
  const all = { company: 1, inbound: [inboundSecret], outbound: outboundSecret, user: 'user-1' };

  let between = first;
  for (const [old, next] of [
    [FIRST, SECOND],
    [SECOND, THIRD],
  ] as const) {
    await assert.rejects(openVault(pool, next, undefined), /OTKLIK_KEY is not the one/);
    between = await openVault(pool, next, old);
    assert.deepEqual(await known(pool, between, 1, key), all, 'before, with both keys');
    assert.equal(await rotateMasterKey(pool, between), 3);
    assert.equal(await rotateMasterKey(pool, between), 3, 'and again');
    assert.deepEqual(await known(pool, between, 1, key), all, 'a process that goes on with both keys');
    const after = await openVault(pool, next, undefined);
    assert.deepEqual(await known(pool, after, 1, key), all, 'after, with the new key alone');
    await assert.rejects(openVault(pool, old, undefined), /OTKLIK_KEY is not the one/);
    await assert.rejects(openVault(pool, old, Buffer.alloc(32, 9)), /neither/);
  }
  const sealed = (await findSecrets(pool, [1], 'user')).get(1)?.[0];
  assert.ok(sealed);
  assert.throws(() => first.open(sealed), /cannot be opened/);
});

test('what is added between the steps is there after them', async t => {
  const pool = await newPool(t);
  await openVault(pool, FIRST, undefined);
  const both = await openVault(pool, SECOND, FIRST);
  const { key, outboundSecret } = await newCompany(pool, both, 1);
  await rotateMasterKey(pool, both);
  const { company, outbound } = await known(pool, await openVault(pool, SECOND, undefined), 1, key);
  assert.deepEqual([company, outbound], [1, outboundSecret]);
});

test('a secret that neither key opens stops the exchange, and nothing is changed', async t => {
  const pool = await newPool(t);
  const first = await openVault(pool, FIRST, undefined);
  const { key } = await newCompany(pool, first, 1);
  await pool.query(`UPDATE company_secrets SET sealed = '\\x00' WHERE purpose = 'outbound'`);
  await assert.rejects(rotateMasterKey(pool, await openVault(pool, SECOND, FIRST)), /cannot be opened/);
  const again = await openVault(pool, FIRST, undefined);
  const holder = await createKeyRing({ pool, vault: again, now: Date.now }).find(key);
  assert.equal(holder?.company.companyId, 1);
});

test('without an old key the command says that none was exchanged, and names no setting to take away', async t => {
  const own = await testDatabase();
  t.after(() => own.close());
  const { code, stdout } = await command(own.url, ['rotate-master-key']);
  assert.match(stdout, /OTKLIK_KEY_OLD is not set here: no key was exchanged just now\.$/m);
  assert.equal(code, 0);
});
