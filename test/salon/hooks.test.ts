/** Registration step by step, against a salon's settings in memory: what fails midway, and what becomes of the keys. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { type HooksDeps, type InstallOptions, installHook } from '../../src/salon/hooks.ts';
import { insertCompany } from '../../src/store/companies.ts';
import type { Pool } from '../../src/store/pool.ts';
import { createVault } from '../../src/vault.ts';
import { ApiError } from '../../src/yclients/api.ts';
import { DEFAULT_RESOURCES } from '../../src/yclients/hooks.ts';
import { type TestDatabase, testDatabase, testPool } from '../support/database.ts';
import { type Settings, threeForeign } from '../support/salon-hooks.ts';

const BASE = 'https://otklik.test';
const options: InstallOptions = {
  ...{ resources: DEFAULT_RESOURCES, replace: false, activate: false, dryRun: false, onChanges: () => {} },
};

let database: TestDatabase;
let pool: Pool;
let settings: Settings;
let writes: number;
let save: (written: Settings) => void;
let read: () => Settings;
let deps: HooksDeps;

beforeEach(async () => {
  database = await testDatabase();
  pool = testPool(database.url, { max: 2 });
  await insertCompany(pool, {
    ...{ companyId: 1, title: 'Север', zone: 'Europe/Moscow', brand: 'yclients', locale: 'ru', settleMs: 0 },
    ...{ route: ['console'], webhookUrl: null, botApiPrefix: null, signatureRequired: false },
  });
  settings = threeForeign();
  writes = 0;
  read = () => structuredClone(settings);
  save = written => {
    settings = structuredClone(written);
  };
  const api: HooksDeps['api'] = {
    hooks: async () => read(),
    saveHooks: async written => {
      writes += 1;
      save({ ...Object(written) });
      return null;
    },
  };
  deps = { pool, vault: createVault(Buffer.alloc(32, 3)), companyId: 1, api, base: BASE };
});
afterEach(async () => {
  await pool.end();
  await database.close();
});

/** Live keys, and those of them that end. */
async function keys(): Promise<{ live: number; ending: number }> {
  const { rows } = await pool.query('SELECT count(*) AS live, count(expires_at) AS ending FROM company_keys');
  return rows[0];
}

test('a second installation finds the URL of the first and writes nothing', async () => {
  const first = await installHook(deps, options);
  assert.deepEqual([first.written, first.faults], [true, []]);
  const second = await installHook(deps, options);
  assert.deepEqual([second.written, second.url], [false, first.url]);
  assert.equal(writes, 1);
  assert.deepEqual(await keys(), { live: 1, ending: 0 });
});

test('a new URL in place of an older one lets the older key end only once the platform has the new', async () => {
  const first = await installHook(deps, options);
  settings = threeForeign();
  const kept = save;
  save = () => {};
  const ignored = await installHook(deps, options);
  assert.ok(
    ignored.faults.some(fault => fault === `URL ${ignored.url} is missing`),
    String(ignored.faults),
  );
  assert.deepEqual(await keys(), { live: 1, ending: 0 }, 'what was not taken leaves no key and ends none');
  save = kept;
  const second = await installHook(deps, options);
  assert.notEqual(second.url, first.url);
  assert.deepEqual(await keys(), { live: 2, ending: 1 });
});

test('a platform that drops what is not ours is caught, and our URL that did arrive keeps its key', async () => {
  save = ({ url_settings: _, ...written }) => {
    settings = { ...written, urls: [written.urls].flat().slice(1) };
  };
  const { faults } = await installHook(deps, options);
  assert.ok(faults.includes('URL https://crm.test/hook?token=abc is missing'), String(faults));
  assert.ok(faults.includes('record of https://crm.test/hook?token=abc was on and is gone'), String(faults));
  assert.deepEqual(await keys(), { live: 1, ending: 0 });
});

test('an eleventh URL is refused before anything is written, and leaves no key', async () => {
  settings = { urls: Array.from({ length: 10 }, (_, index) => `https://v${index}.test/`), active: 1 };
  await assert.rejects(installHook(deps, options), /has 10 webhook URLs already/);
  assert.equal(writes, 0);
  assert.deepEqual(await keys(), { live: 0, ending: 0 });
});

test('settings of no known shape are not written over', async () => {
  read = () => ({ urls: 'x' });
  await assert.rejects(installHook(deps, options), /no known shape/);
  assert.equal(writes, 0);
});

test('a write that the API refuses leaves no key; one whose answer is lost is read back', async () => {
  const take = save;
  save = () => {
    throw new ApiError('forbidden', 'no right', { status: 403 });
  };
  await assert.rejects(installHook(deps, options), /no right/);
  assert.deepEqual(await keys(), { live: 0, ending: 0 });
  save = written => {
    take(written);
    throw new ApiError('unavailable', 'no answer');
  };
  assert.deepEqual((await installHook(deps, options)).faults, []);
  assert.deepEqual(await keys(), { live: 1, ending: 0 });
});

test('where nothing can be read back it is said to be unknown, and the new key works on', async () => {
  save = written => {
    settings = written;
    read = () => {
      throw new ApiError('unavailable', 'no answer');
    };
  };
  await assert.rejects(installHook(deps, options), /is not known: `hooks show` tells/);
  assert.deepEqual(await keys(), { live: 1, ending: 0 });
});
