/** What providers send about messages, quoted from their documents. */
import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { test } from 'node:test';
import {
  cloudReceipts,
  greenApiReceipts,
  type ReceiptReader,
  smscReceipts,
  smsRuReceipts,
  WAZZUP_RECEIPTS,
} from '../../src/channels/receipts.ts';

const APP_SECRET = 'app-secret';
const cloud = cloudReceipts(APP_SECRET);
const signed = (body: string, secret = APP_SECRET) => ({
  'x-hub-signature-256': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`,
});
const read = (reader: ReceiptReader, body: string, headers = {}) => reader.read(Buffer.from(body), headers);
const brief = (receipts: ReturnType<ReceiptReader['read']>) =>
  receipts?.map(({ providerId, status, reason }) => [providerId, status, reason].filter(Boolean).join(' '));

const META = JSON.stringify({
  object: 'whatsapp_business_account',
  entry: [
    {
      id: '1',
      changes: [
        {
          value: {
            messaging_product: 'whatsapp',
            statuses: [
              { id: 'wamid.1', status: 'sent', timestamp: '1764000000', recipient_id: '79000000001' },
              { id: 'wamid.1', status: 'delivered', timestamp: '1764000001', recipient_id: '79000000001' },
              { id: 'wamid.1', status: 'read', timestamp: '1764000002', recipient_id: '79000000001' },
              {
                ...{ id: 'wamid.2', status: 'failed', timestamp: '1764000003' },
                errors: [{ code: 131026, title: 'Message undeliverable' }],
              },
            ],
          },
          field: 'messages',
        },
        { value: { messages: [{ id: 'wamid.in', text: { body: 'привет' } }] }, field: 'messages' },
      ],
    },
  ],
});

test('Meta: statuses of a signed body, and nothing of one that is not', () => {
  assert.deepEqual(brief(read(cloud, META, signed(META))), [
    'wamid.1 delivered',
    'wamid.1 read',
    'wamid.2 failed 131026',
  ]);
  assert.equal(read(cloud, META, signed(META))?.[0]?.happenedAt, 1_764_000_001_000);
  for (const headers of [
    {},
    signed(META, 'another'),
    signed(`${META} `),
    { 'x-hub-signature-256': 'sha256=' },
  ])
    assert.equal(read(cloud, META, headers), undefined);
});

test('Meta: its trial call is answered by its challenge, to who knows the secret', () => {
  const asked = { 'hub.mode': 'subscribe', 'hub.verify_token': 'secret', 'hub.challenge': '1158201444' };
  assert.equal(cloud.challenge?.(asked, 'secret'), '1158201444');
  for (const wrong of [
    { ...asked, 'hub.verify_token': 'Secret' },
    { ...asked, 'hub.mode': 'unsubscribe' },
    { ...asked, 'hub.challenge': '<script>' },
    { ...asked, 'hub.challenge': ['1'] },
    {},
  ]) {
    assert.equal(cloud.challenge?.(wrong, 'secret'), undefined, JSON.stringify(wrong));
  }
});

test('Green-API: the status of a message, and other notifications are none', () => {
  const said = (status: string, typeWebhook = 'outgoingMessageStatus') =>
    JSON.stringify({
      ...{ typeWebhook, chatId: '79000000001@c.us', timestamp: 1_764_000_000 },
      ...{ idMessage: '3EB0C767D097B7C7C030', status, sendByApi: true },
    });
  const bodies = ['sent', 'delivered', 'read', 'failed', 'noAccount', 'yellowCard'].map(status =>
    said(status),
  );
  assert.deepEqual(
    bodies.map(body => brief(read(greenApiReceipts(), body))),
    [
      [],
      ['3EB0C767D097B7C7C030 delivered'],
      ['3EB0C767D097B7C7C030 read'],
      ['3EB0C767D097B7C7C030 failed failed'],
      ['3EB0C767D097B7C7C030 failed noAccount'],
      [],
    ],
  );
  assert.deepEqual(read(greenApiReceipts(), said('delivered', 'incomingMessageReceived')), []);
});

test('Wazzup: statuses beside messages, and its trial call', () => {
  const statuses = [
    { messageId: 'a', timestamp: '2025-11-24T16:00:00.000Z', status: 'delivered' },
    {
      messageId: 'b',
      timestamp: '2025-11-24T16:00:00.000Z',
      status: 'error',
      error: { error: 'BAD_CONTACT' },
    },
    { messageId: 'c', timestamp: '2025-11-24T16:00:00.000Z', status: 'edited' },
  ];
  const receipts = read(WAZZUP_RECEIPTS, JSON.stringify({ messages: [{ messageId: 'in' }], statuses }));
  assert.deepEqual(brief(receipts), ['a delivered', 'b failed BAD_CONTACT']);
  assert.equal(receipts?.[0]?.happenedAt, Date.parse('2025-11-24T16:00:00Z'));
  assert.deepEqual(read(WAZZUP_RECEIPTS, '{"test":true}'), []);
});

test('SMS.ru: entries whose hash is right', () => {
  const entries = [
    'sms_status\n1-1\n103\n1764000000',
    'sms_status\n1-2\n104\n1764000000',
    'callcheck_status\n9\n401\n1',
  ];
  const body = (hash: string) => {
    const form = new URLSearchParams();
    for (const [index, entry] of entries.entries()) form.append(`data[${index}]`, entry);
    form.set('hash', hash);
    return form.toString();
  };
  const hash = createHash('sha256')
    .update(`api-id${entries.join('')}`)
    .digest('hex');
  assert.deepEqual(brief(read(smsRuReceipts('api-id'), body(hash))), ['1-1 delivered', '1-2 failed 104']);
  assert.equal(read(smsRuReceipts('another'), body(hash)), undefined);
  assert.equal(read(smsRuReceipts('api-id'), body('')), undefined);
});

test('SMSC: one status a call', () => {
  const said = (status: string) =>
    brief(read(smscReceipts(), `id=77&phone=79000000001&status=${status}&ts=1764000000`));
  assert.deepEqual(['-1', '0', '1', '2', '3', '20', '25'].map(said), [
    [],
    [],
    ['77 delivered'],
    ['77 read'],
    ['77 failed 3'],
    ['77 failed 20'],
    ['77 failed 25'],
  ]);
  assert.equal(read(smscReceipts(), 'something=else'), undefined);
});

test('whatever comes, nothing breaks and nothing but receipts is read', () => {
  const bodies = [
    '',
    'null',
    '[]',
    '"text"',
    '{',
    '{"statuses":{}}',
    '{"entry":[null,{"changes":[{"value":7}]}]}',
    '\u0000',
    '%',
  ];
  const odd = ['{"statuses":[null,1,{"messageId":{},"status":"read"},{"messageId":"a b","status":"read"}]}'];
  for (const body of [...bodies, ...odd]) {
    for (const reader of [greenApiReceipts(), WAZZUP_RECEIPTS, smscReceipts(), smsRuReceipts('x')])
      assert.deepEqual(read(reader, body) ?? [], [], body);
    assert.deepEqual(read(cloud, body, signed(body)) ?? [], [], body);
  }
});

test('Green-API: with a token that was entered there, only what brings it', () => {
  const body = Buffer.from('{"typeWebhook":"outgoingMessageStatus","idMessage":"a","status":"read"}');
  const brings = (authorization?: string) =>
    greenApiReceipts('t0ken').read(body, authorization === undefined ? {} : { authorization })?.length;
  assert.deepEqual([brings('Bearer t0ken'), brings('t0ken')], [1, 1]);
  assert.deepEqual(
    [brings(), brings('Bearer other'), brings('Basic t0ken')],
    [undefined, undefined, undefined],
  );
});

test('SMSC: with a secret that was agreed, only what is hashed under it', () => {
  const hash = (algorithm: string, status = '1', secret = 'word') =>
    createHash(algorithm).update(`77:79000000001:${status}:${secret}`).digest('hex');
  const says = (more: string) =>
    read(smscReceipts('word'), `id=77&phone=79000000001&status=1&ts=1764000000${more}`)?.length;
  assert.deepEqual([says(`&md5=${hash('md5')}`), says(`&sha1=${hash('sha1').toUpperCase()}`)], [1, 1]);
  for (const wrong of [
    '',
    '&md5=',
    `&sha1=${hash('md5')}`,
    `&md5=${hash('md5', '2')}`,
    `&md5=${hash('md5', '1', 'other')}`,
  ])
    assert.equal(says(wrong), undefined, wrong);
});
