import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { OWNER } from '../../../src/simulator/api/marketplace.ts';
import type { Platform } from '../../../src/simulator/api/platform.ts';
import { startSink } from '../../support/sink.ts';
import { bodyOf, call, manualClock, NOW, platformFor } from './client.ts';

const OURS = 'https://ours.example/in';
const FOREIGN = 'https://foreign.example/in';

async function activate(platform: Platform, changes: { readonly [name: string]: unknown } = {}) {
  const body = {
    salon_id: 7,
    application_id: platform.applicationId,
    api_key: 'simulated',
    webhook_urls: [OURS],
    channels: [],
    ...changes,
  };
  return call(platform, '/marketplace/partner/callback', { method: 'POST', body });
}

async function urlsOf(platform: Platform): Promise<unknown> {
  return JSON.parse((await call(platform, '/api/v1/hooks_settings/7')).text).data.urls;
}

test('the signature is the HMAC of the bytes before base64, under the partner token', async t => {
  const platform = await platformFor(t, { partnerToken: 'a partner token' });
  const query = platform.connect([7]);
  const data = query.get('user_data') ?? '';
  const signed = createHmac('sha256', 'a partner token').update(Buffer.from(data, 'base64')).digest('hex');
  assert.equal(query.get('user_data_sign'), signed);
  const wrong = createHmac('sha256', 'a partner token').update(data).digest('hex');
  assert.notEqual(query.get('user_data_sign'), wrong);
  assert.deepEqual(JSON.parse(Buffer.from(data, 'base64').toString('utf8')), OWNER);
});

test('a known vector: the signature does not depend on how we make it', async t => {
  const platform = await platformFor(t, { partnerToken: 'key' });
  const owner = { id: 1, name: 'Юлия', phone: '79000000000', email: '', is_approved: true, salon_name: 'X' };
  // printf '%s' 'the JSON of owner' | openssl dgst -sha256 -hmac key
  const expected = '47d4e5ae6f388d15a5dd30edddf771718d0257d6001d00417f35004ac16b9091';
  assert.equal(platform.connect([7], owner).get('user_data_sign'), expected);
});

test('one salon comes as salon_id, several as a list', async t => {
  const platform = await platformFor(t);
  const names = (ids: readonly number[]) => [...platform.connect(ids)].slice(0, -2);
  assert.deepEqual(names([7]), [['salon_id', '7']]);
  assert.deepEqual(names([7, 8]), [
    ['salon_ids[0]', '7'],
    ['salon_ids[1]', '8'],
  ]);
});

test('a callback within the grant activates the application beside what was there', async t => {
  const platform = await platformFor(t);
  platform.add(7);
  const body = { urls: [FOREIGN], active: 1, record: 1 };
  await call(platform, '/api/v1/hooks_settings/7', { method: 'POST', body });
  platform.connect([7]);
  assert.equal((await activate(platform)).status, 201);
  assert.ok(platform.isInstalled(7));
  assert.deepEqual(await urlsOf(platform), [FOREIGN, OURS]);
  assert.deepEqual(platform.listeners(7, 'client', false), [OURS], 'the salon wished for records alone');
});

test('a callback too late, without a grant, of another application or by a stranger is refused', async t => {
  const clock = manualClock();
  const platform = await platformFor(t, { clock });
  platform.add(7);
  const refused = async (status: number, changes = {}) => {
    const answer = await activate(platform, changes);
    assert.equal(answer.status, status, answer.text);
    assert.equal(bodyOf(answer).success, false);
  };
  await refused(403);
  platform.connect([7]);
  await refused(404, { application_id: 1 });
  await refused(404, { salon_id: 8 });
  await refused(422, { webhook_urls: 'x' });
  clock.set(NOW + 3_600_000);
  await refused(403);
  const stranger = await call(platform, '/marketplace/partner/callback', {
    method: 'POST',
    body: { salon_id: 7 },
    headers: { authorization: 'Bearer other' },
  });
  assert.equal(stranger.status, 401);
  assert.ok(!platform.isInstalled(7));
});

test('a salon that leaves says so with the partner token, and its webhooks end', async t => {
  const platform = await platformFor(t);
  platform.add(7);
  const sink = await startSink();
  t.after(() => sink.close());
  platform.connect([7]);
  await activate(platform);
  assert.equal(await platform.lifecycle('uninstall', 7, `${sink.url}/lifecycle`), '204');
  const [delivery] = sink.deliveries;
  assert.deepEqual(JSON.parse(delivery?.bytes.toString() ?? ''), {
    salon_id: 7,
    application_id: platform.applicationId,
    event: 'uninstall',
    partner_token: platform.partnerToken,
  });
  assert.equal(delivery?.path, '/lifecycle');
  assert.deepEqual(await urlsOf(platform), ['']);
  assert.ok(!platform.isInstalled(7));
});
