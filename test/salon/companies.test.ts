/** What an operator sets of a company: how it is read, and the token it is read with. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createKeyRing } from '../../src/http/keys.ts';
import {
  addCompany,
  dropCompany,
  resume,
  rotateKey,
  rotateSecret,
  setCompany,
} from '../../src/salon/companies.ts';
import { findCompanies, findSecrets, stopCompany } from '../../src/store/companies.ts';
import type { Pool } from '../../src/store/pool.ts';
import { parkSweep, planBaseline } from '../../src/store/sweeps.ts';
import { createVault } from '../../src/vault.ts';
import { type TestDatabase, testDatabase, testPool } from '../support/database.ts';
import { until } from '../support/until.ts';

const TOKEN = 'canary-user-token-1a2b3c';
const vault = createVault(Buffer.alloc(32, 1));
let database: TestDatabase;
let pool: Pool;
before(async () => {
  database = await testDatabase();
  pool = testPool(database.url, { max: 4 });
});
after(async () => {
  await pool.end();
  await database.close();
});

const deps = () => ({ pool, vault, actor: 'command' }) as const;
const salon = (companyId: number) => ({
  companyId,
  title: 'Студия Север',
  zone: 'Europe/Moscow',
  brand: 'yclients' as const,
  locale: 'ru' as const,
  settleMs: 0,
  route: ['console'],
  webhookUrl: null,
  botApiPrefix: null,
  signatureRequired: false,
});

test('a company is read as it is set, with a token that is kept sealed and written down nowhere', async () => {
  const { companyId } = await addCompany(deps(), { ...salon(1), source: 'poll' }, TOKEN);
  const set = await setCompany(deps(), companyId, {
    source: 'both',
    pollMs: 30_000,
    userToken: `${TOKEN}-2`,
  });
  assert.deepEqual([set.source, set.pollMs, set.sweepMs, set.verify], ['both', 30_000, 900_000, 'doubt']);
  const sealed = (await findSecrets(pool, [companyId], 'user')).get(companyId)?.[0];
  assert.ok(sealed);
  assert.equal(vault.open(sealed), `${TOKEN}-2`);
  assert.ok(!sealed.includes(TOKEN));
  const { rows } = await pool.query<{ action: string; subject: string }>(
    'SELECT action, subject FROM audit_log ORDER BY id',
  );
  assert.deepEqual(rows.at(-1), { action: 'company.set', subject: 'source,pollMs,userToken' });
  assert.ok(!JSON.stringify(rows).includes('canary'));
});

test('a company is reached and spoken to as it is set, and its clients are planned for anew', async () => {
  const { companyId } = await addCompany(deps(), salon(30));
  await pool.query(
    `INSERT INTO bookings (company_id, record_id, starts_local, starts_at, state, version)
     VALUES (30, 1, '2031-05-20T14:30', '2031-05-20T11:30Z', 'waiting', now())`,
  );
  const waiting = async () => (await pool.query('DELETE FROM replans WHERE company_id = 30')).rowCount === 1;
  const named = await setCompany(deps(), companyId, { title: 'Василёк', locale: 'en' });
  assert.deepEqual([named.title, named.locale, named.route], ['Василёк', 'en', ['console']]);
  assert.equal(await waiting(), false, 'nothing is planned otherwise');

  await setCompany(deps(), companyId, { zone: 'Asia/Almaty' });
  const { rows } = await pool.query<{ startsAt: number }>(
    'SELECT starts_at AS "startsAt" FROM bookings WHERE company_id = 30',
  );
  assert.deepEqual(rows, [{ startsAt: Date.parse('2031-05-20T09:30Z') }], 'the hour on the wall stays');
  assert.equal(await waiting(), true);

  await assert.rejects(
    setCompany(deps(), companyId, { route: ['console', 'webhook'] }),
    /route of company 30 names webhook, and it has no webhook URL/,
  );
  const url = 'https://bot.example/hook';
  const reached = await setCompany(deps(), companyId, { route: ['webhook'], webhookUrl: url });
  assert.deepEqual([reached.route, reached.webhookUrl], [['webhook'], url]);
  assert.match(reached.outboundSecret ?? '', /^whsec_/);
  assert.equal(await waiting(), true);
  const moved = await setCompany(deps(), companyId, { webhookUrl: `${url}/2` });
  assert.deepEqual(
    [moved.webhookUrl, moved.outboundSecret],
    [`${url}/2`, undefined],
    'one secret, told once',
  );
  await assert.rejects(setCompany(deps(), companyId, { webhookUrl: null }), /has no webhook URL/);
  await assert.rejects(addCompany(deps(), { ...salon(31), route: ['webhook'] }), /31 names webhook/);
  // As it could once be added: what has nothing to do with it can be changed all the same.
  await addCompany(deps(), salon(31));
  await pool.query("UPDATE companies SET route = '{webhook}' WHERE company_id = 31");
  assert.equal((await setCompany(deps(), 31, { verify: 'always' })).verify, 'always');
  const kept = (await findCompanies(pool, [companyId])).get(companyId);
  assert.equal(kept?.webhookUrl, `${url}/2`, 'what is refused changes nothing');
});

test('a key that was looked up just now is none from the moment it ends', async () => {
  const { key } = await addCompany(deps(), salon(20));
  const [now, hourMs] = [Date.now(), 3_600_000];
  let passedMs = 0;
  const ring = createKeyRing({ pool, vault, now: () => now + passedMs });
  await pool.query('UPDATE company_keys SET expires_at = to_timestamp($1 / 1000.0) WHERE company_id = 20', [
    now + hourMs,
  ]);
  assert.equal((await ring.find(key))?.company.companyId, 20);
  passedMs = hourMs;
  assert.equal(await ring.find(key), undefined);
});

test('a signing secret that cannot be opened leaves the webhooks of its company their key', async () => {
  const { key, companyId } = await addCompany(deps(), { ...salon(21), signatureRequired: true });
  const find = () => createKeyRing({ pool, vault, now: Date.now }).find(key);
  assert.equal((await find())?.secrets.length, 1);
  await pool.query("UPDATE company_secrets SET sealed = '\\x00' WHERE company_id = $1", [companyId]);
  assert.deepEqual((await find())?.secrets, []);
});

test('a company that is removed while it is resumed stays removed', async () => {
  const { companyId } = await addCompany(deps(), salon(9));
  await stopCompany(pool, companyId, 'freeze');
  const removing = await pool.connect();
  await removing.query(`BEGIN; UPDATE companies SET removed_at = now() WHERE company_id = ${companyId}`);
  const resumed = resume(deps(), companyId).catch((error: Error) => error.message);
  await until(
    async () => {
      const { rows } = await pool.query(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      );
      return rows.length === 1;
    },
    { what: 'whoever resumes it waits for whoever removes it' },
  );
  await removing.query('COMMIT');
  removing.release();
  assert.match(String(await resumed), /was removed/);
  assert.equal((await findCompanies(pool, [companyId])).get(companyId)?.removed, true);
});

test('of two rotations at once one key lives without end, and one secret', async () => {
  const { companyId } = await addCompany(deps(), { ...salon(8), signatureRequired: true });
  for (const [table, rotate] of [
    ['company_keys', () => rotateKey(deps(), companyId)],
    ['company_secrets', () => rotateSecret(deps(), companyId, 'inbound')],
  ] as const) {
    const first = await pool.connect();
    await first.query(`BEGIN; SELECT FROM ${table} FOR UPDATE`);
    const rotations = [rotate(), rotate()];
    await until(
      async () => {
        const { rows } = await pool.query(
          `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
        );
        return rows.length === 2;
      },
      { what: 'both wait for what there is' },
    );
    await first.query('ROLLBACK');
    first.release();
    await Promise.all(rotations);
    const { rows } = await pool.query(
      `SELECT count(*)::int AS live, count(*) FILTER (WHERE expires_at IS NULL)::int AS endless FROM ${table}
       WHERE company_id = $1`,
      [companyId],
    );
    assert.deepEqual(rows, [{ live: 2, endless: 1 }], table);
  }
});

test('a new token is tried at once, however long the wrong one had to wait', async () => {
  const { companyId } = await addCompany(deps(), salon(2));
  const wasDueAt = Date.now();
  await planBaseline(pool, companyId, wasDueAt);
  const owner = '0193b3b0-0000-7000-8000-000000000000';
  await pool.query('UPDATE sweeps SET leased_by = $2 WHERE company_id = $1', [companyId, owner]);
  const dueAt = Date.now() + 6 * 3_600_000;
  await parkSweep(pool, {
    ...{ companyId, kind: 'baseline', owner, wasDueAt, dueAt },
    ...{ failures: 7, error: 'wrong token' },
  });
  await setCompany(deps(), companyId, { userToken: TOKEN });
  const { rows } = await pool.query<{ due: boolean; failures: number }>(
    'SELECT due_at <= now() AS due, failures FROM sweeps WHERE company_id = $1',
    [companyId],
  );
  assert.deepEqual(rows, [{ due: true, failures: 0 }]);
});

test('a company that comes back is met for the first time: its journal is read anew, what was made before is no news', async () => {
  const { companyId } = await addCompany(deps(), { ...salon(3), knownSince: 0 });
  await planBaseline(pool, companyId, Date.now());
  await dropCompany(deps(), companyId);
  const removed = new RegExp(
    `company ${companyId} was removed; \`company add ${companyId} …\` takes it up again`,
  );
  await assert.rejects(dropCompany(deps(), companyId), removed);
  await assert.rejects(setCompany(deps(), companyId, { title: 'Василёк' }), removed);
  await addCompany(deps(), salon(3));
  const company = (await findCompanies(pool, [companyId])).get(companyId);
  assert.ok(company && company.knownSince > Date.now() - 60_000);
  assert.equal(company.apiUsable, false);
});

test('a company that is read only long after it was added does not take a month of bookings for news', async () => {
  const { companyId } = await addCompany(deps(), { ...salon(4), knownSince: Date.now() - 30 * 86_400_000 });
  const now = Date.now();
  await planBaseline(pool, companyId, now);
  const known = async () => (await findCompanies(pool, [companyId])).get(companyId)?.knownSince;
  assert.equal(await known(), now - 3_600_000);
  await planBaseline(pool, companyId, now + 3_600_000);
  assert.equal(await known(), now - 3_600_000, 'planned once');
});
