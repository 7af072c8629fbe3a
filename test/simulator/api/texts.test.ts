/** The platform's side of SMS-operator mode: whose statuses it hears, and what it refuses. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Platform, startPlatform } from '../../../src/simulator/api/platform.ts';
import { post } from '../../support/service.ts';

let platform: Platform;
before(async () => {
  platform = await startPlatform({ limits: null });
  platform.add(1);
});
after(() => platform.close());

test('a text has an id of its own, and a status counts only whole, known and by the right token', async () => {
  const [first, second] = [
    platform.text(1, { phone: '+79160000001', text: 'a' }),
    platform.text(1, { phone: '+79160000001', text: 'a' }),
  ];
  assert.notEqual(first.id, second.id);
  assert.deepEqual(JSON.parse(first.body).destination_params, { id: first.id, phone: '+79160000001' });
  const headers = {
    authorization: `Bearer ${platform.partnerToken}`,
    accept: 'application/vnd.yclients.v2+json',
  };
  const say = async (
    fields: object,
    token = platform.partnerToken,
    sent: Record<string, string> = headers,
  ) => {
    const body = { id: first.id, status: 8, payment_sum: 0, currency_iso: 'RUB', parts_amount: 1, ...fields };
    return (await post(`${platform.url}/smsprovider/status/callback/${token}`, body, sent)).status;
  };
  assert.equal(await say({}), 200);
  assert.equal(await say({ status: 1 }), 200);
  assert.equal(await say({ status: 3 }), 400);
  assert.equal(await say({ parts_amount: 0 }), 400);
  assert.equal(await say({ id: 'unknown' }), 404);
  assert.equal(await say({}, 'another'), 401);
  assert.equal(await say({}, platform.partnerToken, { ...headers, authorization: 'Bearer another' }), 401);
  assert.deepEqual([platform.statuses(first.id), platform.statuses(second.id)], [[8, 1], []]);
});

test('its body is that of the documents, with the address for statuses', () => {
  const { body } = platform.text(1, {
    phone: '+79160000002',
    text: 'b',
    channel: 'whatsapp',
    dispatchType: 'adds',
  });
  const { destination_params: _, ...rest } = JSON.parse(body);
  assert.deepEqual(rest, {
    ...{ from: 'Salon', text: 'b', type: 'whatsapp', dispatch_type: 'adds' },
    delivery_callback_url: `${platform.url}/smsprovider/status/callback/${platform.partnerToken}`,
  });
});
