import assert from 'node:assert/strict';
import { test } from 'node:test';
import { call, itemsOf, platformFor } from './client.ts';

const FORM = '/api/v1/book_dates/7';
const RECORDS = '/api/v1/records/7';

test('a missing or wrong partner half is 401, everywhere', async t => {
  const platform = await platformFor(t);
  platform.add(7);
  for (const authorization of ['', 'Bearer wrong, User simulated-user', 'User simulated-user']) {
    for (const path of [FORM, RECORDS]) {
      const answer = await call(platform, path, { headers: { authorization } });
      assert.equal(answer.status, 401, `${path} with "${authorization}"`);
    }
  }
});

test('without a right user half records are forbidden, while the booking form works', async t => {
  const platform = await platformFor(t);
  platform.add(7);
  for (const user of ['', ', User stranger', ' User simulated-user']) {
    const headers = { authorization: `Bearer ${platform.partnerToken}${user}` };
    assert.equal((await call(platform, RECORDS, { headers })).status, 403, user);
    assert.equal((await call(platform, FORM, { headers })).status, 200, user);
  }
});

test('a user has rights in the companies and to the things that were given', async t => {
  const platform = await platformFor(t);
  platform.add(7);
  platform.add(8);
  platform.setUser('desk', { companies: [7], lacks: ['settings'] });
  const headers = { authorization: `Bearer ${platform.partnerToken}, User desk` };
  const statusOf = async (path: string) => (await call(platform, path, { headers })).status;
  assert.equal(await statusOf(RECORDS), 200);
  assert.equal(await statusOf('/api/v1/records/8'), 403);
  assert.equal(await statusOf('/api/v1/hooks_settings/7'), 403);
});

test('the Accept header of the brand is wanted', async t => {
  const platform = await platformFor(t);
  platform.add(7);
  assert.equal((await call(platform, RECORDS, { headers: { accept: 'application/json' } })).status, 406);
  const altegio = await platformFor(t, { brand: 'altegio' });
  altegio.add(7);
  assert.equal((await call(altegio, RECORDS)).status, 406);
  const headers = { accept: 'application/vnd.api.v2+json' };
  assert.equal((await call(altegio, RECORDS, { headers })).status, 200);
});

test('refusals come in both documented forms, and with 200 when told to', async t => {
  const platform = await platformFor(t);
  platform.add(7);
  const refusal = async (path = '/api/v1/record/7/5') => call(platform, path);
  const message = 'Record not found';
  assert.deepEqual(JSON.parse((await refusal()).text), { success: false, data: null, meta: { message } });
  platform.setQuirks({ errors: 'errors' });
  assert.deepEqual(JSON.parse((await refusal()).text), {
    errors: { code: 404, message },
    meta: { message },
  });
  platform.setQuirks({ refusesWith200: true });
  assert.equal((await refusal()).status, 200);
});

test('an unknown company and an unknown route are not found', async t => {
  const platform = await platformFor(t);
  assert.equal((await call(platform, RECORDS)).status, 404);
  assert.equal((await call(platform, '/api/v1/nothing')).status, 404);
});

test('each company answers for its own records', async t => {
  const platform = await platformFor(t);
  platform.add(7, { records: 2 });
  platform.add(8, { records: 3 });
  assert.equal(itemsOf(await call(platform, '/api/v1/records/8')).length, 3);
  const [record] = platform.salon(7).records();
  assert.equal((await call(platform, `/api/v1/record/8/${record?.id}`)).status, 404);
});
