/** Receipts on their way in: who may bring them, and what they make of a message. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { FastifyInstance } from 'fastify';
import { fastify } from 'fastify';
import { cloudReceipts, WAZZUP_RECEIPTS } from '../../src/channels/receipts.ts';
import { addReceiptRoutes } from '../../src/http/receipts.ts';
import { createMetrics } from '../../src/metrics.ts';
import { meetReceipts } from '../../src/store/receipts.ts';
import { showMessage } from '../../src/store/views.ts';
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
  ]);
  addReceiptRoutes(app, { metrics: createMetrics() }, { pool: pipeline.pool, secret: SECRET, readers });
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
