import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Platform, PlatformOptions } from '../../../src/simulator/api/platform.ts';
import { parseFaults } from '../../../src/simulator/faults.ts';
import { type Sink, startSink } from '../../support/sink.ts';
import { call, NOW, platformFor } from './client.ts';

const PATH = '/api/v1/hooks_settings/7';
const FOREIGN = ['https://one.example/in', 'https://two.example/in?key=1', 'https://three.example/'];

async function salonFor(t: TestContext, options: PlatformOptions = {}): Promise<Platform> {
  const platform = await platformFor(t, options);
  platform.add(7, { records: 5 });
  return platform;
}

async function sinkFor(t: TestContext): Promise<Sink> {
  const sink = await startSink();
  t.after(() => sink.close());
  return sink;
}

async function read(platform: Platform) {
  return JSON.parse((await call(platform, PATH)).text).data;
}

async function save(platform: Platform, body: unknown): Promise<number> {
  return (await call(platform, PATH, { method: 'POST', body })).status;
}

/** A change by the API of the first record that stands. */
async function change(platform: Platform): Promise<void> {
  const record = platform
    .salon(7)
    .records()
    .find(one => !one.deleted);
  const { status } = await call(platform, `/api/v1/record/7/${record?.id}`, { method: 'DELETE' });
  assert.equal(status, 204);
  await platform.settled();
}

function told({ deliveries }: Sink) {
  return deliveries.map(({ bytes }) => JSON.parse(bytes.toString()));
}

test('a salon without a URL reads as one empty text', async t => {
  const platform = await salonFor(t);
  const { urls, active, record, self_sending } = await read(platform);
  assert.deepEqual([urls, active, record, self_sending], [[''], 0, 0, 1]);
});

test('a POST replaces the whole list, and all that it does not name is off', async t => {
  const platform = await salonFor(t);
  assert.equal(await save(platform, { urls: FOREIGN, active: 1, record: 1, client: 1 }), 200);
  assert.deepEqual((await read(platform)).urls, FOREIGN);
  assert.equal(await save(platform, { urls: ['https://ours.example/'], active: 1, record: 1 }), 200);
  const after = await read(platform);
  assert.deepEqual([after.urls, after.record, after.client], [['https://ours.example/'], 1, 0]);
});

test('what is not a list of at most ten URLs is refused, and nothing changes', async t => {
  const platform = await salonFor(t);
  await save(platform, { urls: FOREIGN, active: 1 });
  const eleven = Array.from({ length: 11 }, (_, index) => `https://${index}.example/`);
  for (const body of [{ urls: eleven }, { urls: ['ftp://x.example'] }, 'nothing'])
    assert.equal(await save(platform, body), 422);
  assert.deepEqual((await read(platform)).urls, FOREIGN);
});

test('newer builds keep the wishes of each URL apart, unless a POST forgets them', async t => {
  const platform = await salonFor(t, { quirks: { hooks: 'url_settings' } });
  const [first, second] = FOREIGN;
  const url_settings = [
    { url: first, active: 1, record: 1 },
    { url: second, active: 0, client: 1 },
  ];
  await save(platform, { urls: [first, second], active: 1, good: 1, url_settings });
  const wishes = async () => {
    const { url_settings: each } = await read(platform);
    return each.map((one: Record<string, unknown>) => [
      one.url,
      one.active,
      one.record,
      one.client,
      one.good,
    ]);
  };
  assert.deepEqual(await wishes(), [
    [first, 1, 1, 0, 0],
    [second, 0, 0, 1, 0],
  ]);
  await save(platform, { urls: [first, second], active: 1, good: 1 });
  assert.deepEqual(await wishes(), [
    [first, 1, 0, 0, 1],
    [second, 1, 0, 0, 1],
  ]);
});

test('a new URL may be ignored in silence, or refused, without an application', async t => {
  const platform = await salonFor(t);
  await save(platform, { urls: FOREIGN, active: 1 });
  platform.setQuirks({ newHooks: 'silently_ignored' });
  assert.equal(await save(platform, { urls: [...FOREIGN, 'https://ours.example/'], active: 1 }), 200);
  assert.deepEqual((await read(platform)).urls, FOREIGN);
  platform.setQuirks({ newHooks: 'refused' });
  assert.equal(await save(platform, { urls: ['https://ours.example/'] }), 403);
  assert.deepEqual((await read(platform)).urls, FOREIGN);
});

test('a change by the API is told to each URL that listens to records', async t => {
  const [platform, listening, deaf] = [await salonFor(t), await sinkFor(t), await sinkFor(t)];
  const url_settings = [{ url: `${deaf.url}/b`, active: 1, client: 1 }];
  const urls = [`${listening.url}/a`, `${deaf.url}/b`, `${listening.url}/c`];
  await save(platform, { urls, active: 1, record: 1, url_settings });
  await change(platform);
  assert.deepEqual(listening.deliveries.map(({ path }) => path).sort(), ['/a', '/c']);
  assert.deepEqual(deaf.deliveries, []);
  const [webhook] = told(listening);
  assert.deepEqual([webhook.company_id, webhook.resource, webhook.status], [7, 'record', 'delete']);
  assert.equal(webhook.data.deleted, true);
});

test('without self_sending the partner does not hear of its own calls, but of all others', async t => {
  const [platform, sink] = [await salonFor(t), await sinkFor(t)];
  await save(platform, { urls: [sink.url], active: 1, record: 1, self_sending: 0 });
  await change(platform);
  assert.deepEqual(sink.deliveries, []);
  const happening = platform.salon(7).act(NOW + 5_000);
  assert.ok(happening);
  platform.tell(7, happening);
  await platform.settled();
  assert.equal(sink.deliveries.length, happening.webhooks.length);
});

test('inactive settings tell nobody', async t => {
  const [platform, sink] = [await salonFor(t), await sinkFor(t)];
  await save(platform, { urls: [sink.url], active: 0, record: 1 });
  await change(platform);
  assert.deepEqual(sink.deliveries, []);
});

test('the way of these webhooks has its faults, while the API tells the truth', async t => {
  const dropping = { faults: parseFaults('drop'), dropChance: 1 };
  const platform = await salonFor(t, { way: dropping });
  const sink = await sinkFor(t);
  await save(platform, { urls: [sink.url], active: 1, record: 1 });
  await change(platform);
  assert.deepEqual(sink.deliveries, []);
  assert.deepEqual(platform.stats().webhooks, { requests: 0, dropped: 1, answers: {} });
  const deleted = platform
    .salon(7)
    .records()
    .filter(one => one.deleted);
  assert.equal(deleted.length, 1);
  const { data } = JSON.parse((await call(platform, `/api/v1/record/7/${deleted[0]?.id}`)).text);
  assert.equal(data.deleted, true);
});
