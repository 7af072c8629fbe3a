/** Receipts on their way in: who may bring them, and what they make of a message. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:http';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { FastifyInstance } from 'fastify';
import { fastify } from 'fastify';
import { maxUpdates } from '../../src/channels/max-ear.ts';
import { cloudReceipts, smscReceipts, smsRuReceipts, WAZZUP_RECEIPTS } from '../../src/channels/receipts.ts';
import { vkUpdates } from '../../src/channels/vk-ear.ts';
import { addReceiptRoutes } from '../../src/http/receipts.ts';
import { createReceiver } from '../../src/http/receive.ts';
import { createLog } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import { liveReceiptSecrets, rotateReceiptSecret } from '../../src/salon/receipt-secrets.ts';
import { createPool } from '../../src/store/pool.ts';
import { meetReceipts } from '../../src/store/receipts.ts';
import { saveSetting } from '../../src/store/settings.ts';
import { showMessage } from '../../src/store/views.ts';
import { until } from '../support/until.ts';
import { createPipeline, type Pipeline } from '../work/pipeline.ts';

const SECRET = 's'.repeat(43);
let pipeline: Pipeline;
let app: FastifyInstance;

before(async () => {
  pipeline = await createPipeline();
  await pipeline.addCompany({ companyId: 1 });
  app = fastify();
  const readers = new Map([
    ['wazzup', WAZZUP_RECEIPTS],
    ['cloud', cloudReceipts('app-secret')],
    ['sms.ru', smsRuReceipts('api-id')],
    ['max', maxUpdates('token')],
    ['vk', vkUpdates({ confirmation: '1a2b3c4d', secret: 'word' })],
  ]);
  addReceiptRoutes(
    app,
    { metrics: createMetrics() },
    { pool: pipeline.pool, secretsOf: async () => [SECRET], readers },
  );
  await app.ready();
});
after(async () => {
  await app.close();
  await pipeline.close();
});

let numbers = 0;
/** A message that was sent by WhatsApp under this id. */
async function sentAs(providerId: string, state = 'sent'): Promise<string> {
  numbers += 1;
  const id = `00000000-0000-4000-8000-${String(numbers).padStart(12, '0')}`;
  await pipeline.pool.query(
    `INSERT INTO messages (company_id, id, purpose, recipient, state, due_at, channel, provider_id)
     VALUES (1, $1, 'test', '', $2, now(), 'whatsapp', $3)`,
    [id, state, providerId],
  );
  await pipeline.pool.query(
    `INSERT INTO attempts (company_id, message_id, number, channel, started_at, finished_at, outcome, provider_id)
     VALUES (1, $1, 1, 'whatsapp', now(), now(), 'sent', $2)`,
    [id, providerId],
  );
  return id;
}

const bring = (statuses: readonly object[], path = `/receipts/wazzup/${SECRET}`) =>
  app.inject({ method: 'POST', url: path, payload: { statuses } });

async function stateOf(id: string) {
  const message = await showMessage(pipeline.pool, id);
  return { state: message?.state, receipts: message?.receipts.map(({ status }) => status) };
}

test('a receipt makes a sent message delivered; a second, or a late other one, changes nothing more', async () => {
  const id = await sentAs('a');
  assert.equal((await bring([{ messageId: 'a', status: 'delivered' }])).statusCode, 200);
  assert.deepEqual(await stateOf(id), { state: 'delivered', receipts: ['delivered'] });
  await bring([{ messageId: 'a', status: 'delivered' }]);
  await bring([
    { messageId: 'a', status: 'read' },
    { messageId: 'a', status: 'error', error: { error: 'LATE' } },
  ]);
  const { state, receipts } = await stateOf(id);
  assert.equal(state, 'delivered');
  assert.deepEqual(new Set(receipts), new Set(['delivered', 'read', 'failed']));
});

test('a receipt that comes before the id is known counts when it is', async () => {
  await bring([{ messageId: 'early', status: 'read' }]);
  const id = await sentAs('early');
  assert.equal((await stateOf(id)).state, 'sent');
  await meetReceipts(pipeline.pool, { companyId: 1, id }, { channel: 'whatsapp', provider: 'wazzup' });
  assert.deepEqual(await stateOf(id), { state: 'delivered', receipts: ['read'] });
});

test('a receipt that is being kept while the id is noted counts, though neither knows of the other yet', async () => {
  const copy = await pipeline.pool.connect();
  await copy.query(
    `BEGIN; INSERT INTO receipts (channel, provider_id, status) 
     VALUES ('whatsapp', encode(sha256('crossing'), 'hex'), 'read')`,
  );
  const brought = bring([{ messageId: 'crossing', status: 'read' }]);
  await until(
    async () => {
      const { rows } = await pipeline.pool.query(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      );
      return rows.length === 1;
    },
    { what: 'the receipt waits for a copy of it' },
  );
  const id = await sentAs('crossing');
  await meetReceipts(pipeline.pool, { companyId: 1, id }, { channel: 'whatsapp', provider: 'wazzup' });
  await copy.query('ROLLBACK');
  copy.release();
  assert.equal((await brought).statusCode, 200);
  assert.deepEqual(await stateOf(id), { state: 'delivered', receipts: ['read'] });
});

test('a receipt that an earlier build kept under the id itself counts', async () => {
  await pipeline.pool.query(
    `INSERT INTO receipts (channel, provider_id, status) VALUES ('whatsapp', 'as-it-came', 'read')`,
  );
  const id = await sentAs('as-it-came');
  await meetReceipts(pipeline.pool, { companyId: 1, id }, { channel: 'whatsapp', provider: 'wazzup' });
  assert.deepEqual(await stateOf(id), { state: 'delivered', receipts: ['read'] });
});

test('a failure is kept beside the message, which stays as it was', async () => {
  const id = await sentAs('gone');
  await bring([{ messageId: 'gone', status: 'error', error: { error: 'BAD_CONTACT' } }]);
  const message = await showMessage(pipeline.pool, id);
  assert.equal(message?.state, 'sent');
  assert.deepEqual(
    message?.receipts.map(({ status, reason }) => [status, reason]),
    [['failed', 'BAD_CONTACT']],
  );
});

test('a message that was given up is not brought back by a receipt', async () => {
  const id = await sentAs('dead', 'failed');
  await bring([{ messageId: 'dead', status: 'delivered' }]);
  assert.deepEqual(await stateOf(id), { state: 'failed', receipts: ['delivered'] });
});

test('who does not know the address, or cannot sign, meets the same 404 as anybody', async () => {
  const id = await sentAs('secret');
  for (const path of [
    `/receipts/wazzup/${'x'.repeat(43)}`,
    '/receipts/wazzup/short',
    `/receipts/unknown/${SECRET}`,
    `/receipts/cloud/${SECRET}`,
  ]) {
    const answer = await bring([{ messageId: 'secret', status: 'read' }], path);
    assert.equal(answer.statusCode, 404, path);
    assert.equal(answer.json().detail, 'There is nothing here.');
  }
  assert.deepEqual(await stateOf(id), { state: 'sent', receipts: [] });
  const challenge = (token: string) =>
    app.inject(`/receipts/cloud/${SECRET}?hub.mode=subscribe&hub.verify_token=${token}&hub.challenge=42`);
  assert.equal((await challenge(SECRET)).body, '42');
  assert.equal((await challenge('x')).statusCode, 404);
  assert.equal((await app.inject(`/receipts/wazzup/${SECRET}`)).statusCode, 404);
});

test('a body that is huge, packed, of another encoding or another kind is refused or says nothing, and the next is heard', async () => {
  const genuine = Buffer.from(JSON.stringify({ statuses: [{ messageId: 'hostile', status: 'read' }] }));
  const id = await sentAs('hostile');
  const send = (provider: string, body: Buffer, headers: Record<string, string> = {}) =>
    app.inject({
      ...{ method: 'POST', url: `/receipts/${provider}/${SECRET}`, payload: body },
      headers: { 'content-type': 'application/json', ...headers },
    });
  const huge = Buffer.alloc(10 * 1024 * 1024, ' ');
  for (const provider of ['wazzup', 'cloud', 'sms.ru', 'max', 'vk'])
    assert.equal((await send(provider, huge)).statusCode, 413, provider);
  const odd: readonly (readonly [Buffer, Record<string, string>?])[] = [
    [gzipSync(genuine), { 'content-encoding': 'gzip' }],
    [Buffer.from(genuine.toString(), 'utf16le'), { 'content-type': 'application/json; charset=utf-16le' }],
    [Buffer.concat([Buffer.from([0xff, 0xfe, 0]), genuine])],
    [Buffer.from(`${'['.repeat(100_000)}`)],
    [Buffer.alloc(0)],
    [genuine.subarray(0, -3)],
  ];
  for (const [body, headers] of odd)
    for (const provider of ['wazzup', 'cloud', 'sms.ru', 'max', 'vk'])
      assert.equal(
        (await send(provider, body, headers)).statusCode,
        404,
        `${provider} ${body.subarray(0, 20)}`,
      );
  // Signed by whoever knows the secret, and no receipts all the same.
  for (const [body] of odd.slice(1)) {
    const mac = createHmac('sha256', 'app-secret').update(body).digest('hex');
    assert.equal((await send('cloud', body, { 'x-hub-signature-256': `sha256=${mac}` })).statusCode, 404);
  }
  assert.deepEqual(await stateOf(id), { state: 'sent', receipts: [] });
  assert.equal((await send('wazzup', genuine, { 'content-type': 'text/weird' })).statusCode, 200);
  assert.equal((await stateOf(id)).state, 'delivered');
});

test('a wrong secret is refused before its body comes; many of one address are asked to wait, and good ones pass', async () => {
  const id = await sentAs('guarded');
  const root = await app.listen({ host: '127.0.0.1', port: 0 });
  const begun = request(`${root}/receipts/wazzup/${'x'.repeat(43)}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'content-length': '1000000' },
    signal: AbortSignal.timeout(30_000),
  });
  begun.flushHeaders();
  const [refused] = await once(begun, 'response');
  assert.equal(refused.statusCode, 404);
  begun.on('error', () => {}).destroy();

  const miss = (path: string) => app.inject({ method: 'POST', url: path, remoteAddress: '192.0.2.1' });
  const statuses = new Map<number, number>();
  let last = await miss('/receipts/unknown/x');
  for (let tries = 0; tries < 99; tries += 1) {
    last = await miss(`/receipts/wazzup/${String(tries).padStart(43, 'x')}`);
    statuses.set(last.statusCode, (statuses.get(last.statusCode) ?? 0) + 1);
  }
  assert.deepEqual(Object.fromEntries(statuses), { 404: 59, 429: 40 });
  assert.ok(Number(last.headers['retry-after']) >= 1);
  const good = await app.inject({
    ...{ method: 'POST', url: `/receipts/wazzup/${SECRET}`, remoteAddress: '192.0.2.1' },
    payload: { statuses: [{ messageId: 'guarded', status: 'read' }] },
  });
  assert.equal(good.statusCode, 200);
  assert.equal((await stateOf(id)).state, 'delivered');
});

test('each provider has a secret of its own, which opens nobody else’s door; exchanged, the old one holds for a day', async () => {
  const { pool, vault } = pipeline;
  let now = Date.parse('2031-05-01T00:00:00Z');
  const doors = fastify();
  const readers = new Map([
    ['wazzup', WAZZUP_RECEIPTS],
    ['smsc', smscReceipts()],
  ]);
  const secretsOf = (provider: string) => liveReceiptSecrets(pool, { vault, now }, provider);
  addReceiptRoutes(doors, { metrics: createMetrics() }, { pool, secretsOf, readers });
  const opens = async (provider: string, secret: string) => {
    const url = `/receipts/${provider}/${secret}`;
    return (await doors.inject({ method: 'POST', url, payload: { statuses: [] } })).statusCode === 200;
  };
  const [first] = await secretsOf('wazzup');
  const [foreign] = await secretsOf('smsc');
  assert.deepEqual([first.length, await opens('wazzup', first)], [43, true]);
  assert.equal(await opens('wazzup', foreign), false);
  assert.equal(await opens('smsc', first), false);
  assert.equal(
    await opens('wazzup', vault.sharedReceiptSecret),
    false,
    'a new installation has none for all',
  );

  const second = await rotateReceiptSecret(pool, { vault, now }, 'wazzup');
  assert.deepEqual(await secretsOf('smsc'), [foreign], 'the others keep theirs');
  now += 24 * 3_600_000 - 1;
  assert.deepEqual([await opens('wazzup', first), await opens('wazzup', second)], [true, true]);
  now += 1;
  assert.deepEqual([await opens('wazzup', first), await opens('wazzup', second)], [false, true]);
  const third = await rotateReceiptSecret(pool, { vault, now }, 'wazzup');
  const fourth = await rotateReceiptSecret(pool, { vault, now }, 'wazzup');
  assert.deepEqual(await secretsOf('wazzup'), [fourth, third], 'the third retires the first');
  await doors.close();
});

test('where one secret was given to all, it goes on for a while, and a day after its provider has another', async () => {
  const { pool, vault } = pipeline;
  let now = Date.parse('2031-05-01T00:00:00Z');
  const secretsOf = (provider: string) => liveReceiptSecrets(pool, { vault, now }, provider);
  await saveSetting(pool, 'receipts_shared_until', '2031-05-31T00:00:00Z');
  const shared = vault.sharedReceiptSecret;
  assert.ok((await secretsOf('cloud')).includes(shared));
  assert.notEqual((await secretsOf('cloud'))[0], shared, 'what is printed is the new one');
  await rotateReceiptSecret(pool, { vault, now }, 'cloud');
  assert.ok((await secretsOf('cloud')).includes(shared));
  now += 24 * 3_600_000;
  assert.equal((await secretsOf('cloud')).length, 1);
  assert.ok((await secretsOf('max')).includes(shared));
  now = Date.parse('2031-05-31T00:00:00Z');
  assert.equal((await secretsOf('max')).length, 1);
});

test('with the database away a provider is asked to come again, which is no fault of ours', async () => {
  const away = createPool('postgresql://127.0.0.1:1/none', {
    max: 1,
    name: 'test',
    statementTimeoutMs: 1_000,
  });
  const metrics = createMetrics();
  const receiver = createReceiver({
    keys: { find: async () => undefined },
    ingest: { append: () => Promise.reject(new Error('no event comes')), flushed: async () => {} },
    ...{ metrics, log: createLog('silent'), now: Date.now, trustedProxies: [] },
    limits: { perCompany: 1, perAddress: 1 },
    receipts: {
      pool: away,
      secretsOf: async () => [SECRET],
      readers: new Map([['wazzup', WAZZUP_RECEIPTS]]),
    },
  });
  const answer = await receiver.inject({
    method: 'POST',
    url: `/receipts/wazzup/${SECRET}`,
    payload: { statuses: [{ messageId: 'a', status: 'delivered' }] },
  });
  assert.deepEqual([answer.statusCode, answer.headers['retry-after']], [503, '2']);
  const { values } = await metrics.rejected.get();
  const causes = values.filter(({ value }) => value > 0).map(({ labels }) => labels.cause);
  assert.deepEqual(causes, ['store_down']);
  await receiver.close();
  await away.end();
});
