import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bodyOf, call, itemsOf, platformFor } from './client.ts';

test('a company tells its zone in the form of its build', async t => {
  const platform = await platformFor(t);
  platform.add(7, { zone: 'Asia/Almaty' });
  const zoneOf = async () => {
    const { data } = JSON.parse((await call(platform, '/api/v1/company/7/')).text);
    return [data.timezone_name, data.timezone];
  };
  assert.deepEqual(await zoneOf(), ['Asia/Almaty', 5]);
  platform.setQuirks({ companyZone: 'timezone' });
  assert.deepEqual(await zoneOf(), [undefined, 'Asia/Almaty']);
  platform.setQuirks({ companyZone: 'hours' });
  assert.deepEqual(await zoneOf(), [undefined, 5]);
});

test('clients are searched by page, field and word', async t => {
  const platform = await platformFor(t);
  const branch = platform.add(7, { clients: 40 });
  const search = async (body: unknown) =>
    call(platform, '/api/v1/company/7/clients/search', { method: 'POST', body });
  const first = await search({ page: 1, page_size: 30 });
  assert.equal(itemsOf(first).length, 30);
  assert.deepEqual(bodyOf(first).meta, { total_count: 40 });
  assert.deepEqual(Object.keys(itemsOf(first)[0] ?? {}), ['id']);
  assert.equal(itemsOf(await search({ page: 2, page_size: 30 })).length, 10);
  const [, client] = branch.salon().cast.clients;
  const filters = [{ type: 'quick_search', state: { value: client?.phone } }];
  const found = itemsOf(await search({ fields: ['id', 'phone', 'sms_not'], filters }));
  assert.deepEqual(found, [{ id: client?.id, phone: client?.phone, sms_not: Number(client?.refuses) }]);
});

test('one client is found by id', async t => {
  const platform = await platformFor(t);
  const [client] = platform.add(7).salon().cast.clients;
  const { data } = JSON.parse((await call(platform, `/api/v1/client/7/${client?.id}`)).text);
  assert.deepEqual([data.id, data.name, data.phone], [client?.id, client?.name, client?.phone]);
  assert.equal((await call(platform, '/api/v1/client/7/1')).status, 404);
});

test('services and staff are listed under their old and new paths', async t => {
  const platform = await platformFor(t);
  const { services, staff } = platform.add(7).salon().cast;
  for (const path of ['/api/v1/company/7/services', '/api/v1/services/7']) {
    const ids = itemsOf(await call(platform, path)).map(item => item.id);
    assert.deepEqual(
      ids,
      services.map(service => service.id),
      path,
    );
  }
  for (const path of ['/api/v1/company/7/staff', '/api/v1/staff/7']) {
    const ids = itemsOf(await call(platform, path)).map(item => item.id);
    assert.deepEqual(
      ids,
      staff.map(member => member.id),
      path,
    );
  }
});
