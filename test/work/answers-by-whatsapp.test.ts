/** «Стоп» in WhatsApp: each provider brings it in a body of its own, quoted from its documents, to the route of receipts. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, test } from 'node:test';
import Fastify from 'fastify';
import type { Channel } from '../../src/channels/channel.ts';
import { CONSOLE_TRAITS } from '../../src/channels/console.ts';
import { createWhatsappEar, type WhatsappProvider } from '../../src/channels/whatsapp-ear.ts';
import { readConfig } from '../../src/config.ts';
import { addReceiptRoutes } from '../../src/http/receipts.ts';
import { createLog } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import { receiptReaders } from '../../src/receipt-readers.ts';
import { createListener } from '../../src/work/listen.ts';
import { COMPANY, createAnswering } from './answering.ts';

const ACCOUNT = '106540352242922';
const APP_SECRET = 'app-secret';
const SECRET = 's'.repeat(43);

const sent: string[] = [];
const whatsapp: Channel = {
  ...{ name: 'whatsapp', traits: { ...CONSOLE_TRAITS, address: 'phone' }, idempotent: true, concurrency: 1 },
  async send({ address }) {
    sent.push(address);
    return { outcome: 'sent' };
  },
};
const { pipeline, books, attendanceOf, close } = await createAnswering(whatsapp, { answers: true });
const { pool, vault } = pipeline;
const common = { pool, log: createLog('silent'), metrics: createMetrics(), now: () => pipeline.now };

type Said = {
  readonly text: string;
  readonly echo?: boolean;
  readonly group?: boolean;
  readonly to?: string;
};

/** A message as each provider writes it. */
const BODIES: Record<WhatsappProvider, (phone: string, id: string, said: Said) => object> = {
  cloud: (phone, id, { text, to = ACCOUNT, echo, group }) => ({
    object: 'whatsapp_business_account',
    entry: [
      {
        id: '1',
        changes: [
          {
            field: 'messages',
            value: {
              messaging_product: 'whatsapp',
              metadata: { display_phone_number: '15550783881', phone_number_id: to },
              contacts: [{ profile: { name: 'Мила' }, wa_id: phone }],
              // Neither groups nor what the salon wrote come under this name.
              [echo || group ? 'message_echoes' : 'messages']: [
                {
                  ...{ from: phone, id, timestamp: String(Math.floor(pipeline.now / 1000)) },
                  ...(text === 'resume'
                    ? { type: 'button', button: { payload: 'x', text } }
                    : { type: 'text', text: { body: text } }),
                },
              ],
            },
          },
        ],
      },
    ],
  }),
  'green-api': (phone, id, { text, echo, group }) => ({
    typeWebhook: echo ? 'outgoingMessageReceived' : 'incomingMessageReceived',
    instanceData: { idInstance: 7_103_000_000, wid: '79876543210@c.us', typeInstance: 'whatsapp' },
    ...{ timestamp: Math.floor(pipeline.now / 1000), idMessage: id },
    senderData: { chatId: group ? `${phone}-1581234048@g.us` : `${phone}@c.us`, sender: `${phone}@c.us` },
    messageData:
      text === 'resume'
        ? { typeMessage: 'quotedMessage', extendedTextMessageData: { text, stanzaId: '3EB' } }
        : { typeMessage: 'textMessage', textMessageData: { textMessage: text } },
  }),
  wazzup: (phone, id, { text, echo = false, group, to = ACCOUNT }) => ({
    messages: [
      {
        ...{ messageId: id, channelId: to, chatType: group ? 'whatsgroup' : 'whatsapp', chatId: phone },
        ...{ dateTime: new Date(pipeline.now).toISOString(), type: 'text', isEcho: echo, text },
        ...{ status: echo ? 'sent' : 'inbound', contact: { name: 'Мила' } },
      },
    ],
  }),
};

const app = Fastify();
after(async () => {
  await app.close();
  await close();
});
const readers = new Map(
  (Object.keys(BODIES) as WhatsappProvider[]).flatMap(provider => [
    ...receiptReaders(
      readConfig({
        ...{ WHATSAPP_PROVIDER: provider, WHATSAPP_TOKEN: 'token', WHATSAPP_ACCOUNT: ACCOUNT },
        ...{ WHATSAPP_APP_SECRET: APP_SECRET, WHATSAPP_API_URL: 'https://whatsapp.test' },
      }),
    ),
  ]),
);
addReceiptRoutes(app, common, { pool, secretsOf: async () => [SECRET], readers });

for (const [index, provider] of (Object.keys(BODIES) as WhatsappProvider[]).entries()) {
  test(`${provider}: «стоп» ends WhatsApp with its proof, its like takes it back, and nothing else is kept`, async () => {
    const listener = createListener({
      ...{ ...common, vault, ear: createWhatsappEar(provider) },
      onAction: () => assert.fail('nothing is done at the platform'),
    });
    const phone = `7900111770${index}`;
    let ids = 0;
    async function brings(said: Said, times = 1): Promise<void> {
      ids += 1;
      const body = JSON.stringify(BODIES[provider](phone, `${provider}-${ids}`, said));
      const mac = createHmac('sha256', APP_SECRET).update(body).digest('hex');
      const headers = { 'content-type': 'application/json', 'x-hub-signature-256': `sha256=${mac}` };
      const url = `/receipts/${provider}/${SECRET}`;
      for (let time = 0; time < times; time += 1) {
        const { statusCode } = await app.inject({ method: 'POST', url, headers, body });
        assert.equal(statusCode, 200);
      }
    }
    const hears = async () => {
      let heard = 0;
      for (;;) {
        const count = await listener.runOnce();
        if (count === 0) return heard;
        heard += count;
      }
    };
    const recordId = await books({ phone: `+${phone}` });
    assert.deepEqual(sent.splice(0), [`+${phone}`]);

    for (const text of ['да', 'нет', 'Да, отменить', 'Можно к Ольге? Стоп, я не договорила'])
      await brings({ text });
    await brings({ text: 'стоп', echo: true });
    await brings({ text: 'стоп', group: true });
    if (provider !== 'green-api') await brings({ text: 'стоп', to: 'another' });
    assert.equal(await hears(), 0);
    assert.equal(attendanceOf(recordId), 0);
    const { rows: kept } = await pool.query(
      "SELECT said FROM heard WHERE channel = 'whatsapp' AND said IS NOT NULL",
    );
    assert.deepEqual(kept, [], 'what people say to the salon is not kept');

    await brings({ text: 'СТОП!' }, 2);
    assert.equal(await hears(), 1, 'brought twice, heard once');
    await books({ phone: `+${phone}` }, '2031-05-21T10:00:00');
    assert.deepEqual(sent.splice(0), [], 'and nothing is said back');
    const { rows } = await pool.query(
      'SELECT category, granted, words FROM consents WHERE company_id = $1 AND channel = $2 AND address = $3 ORDER BY id',
      [COMPANY, 'whatsapp', `+${phone}`],
    );
    assert.deepEqual(rows, [
      { category: 'service', granted: false, words: 'СТОП!' },
      { category: 'advertising', granted: false, words: 'СТОП!' },
    ]);

    await brings({ text: 'resume' });
    assert.equal(await hears(), 1);
    await books({ phone: `+${phone}` }, '2031-05-22T10:00:00');
    assert.deepEqual(sent.splice(0), [`+${phone}`]);
    await listener.stop();
  });
}

test('whatever comes from those three, nothing breaks', async () => {
  for (const [provider, { hear }] of readers)
    for (const body of [
      '',
      '{',
      'null',
      '[]',
      '{"entry":7}',
      '{"messages":[null,1,{"messageId":{}}]}',
      '\0\xff',
    ])
      assert.deepEqual(hear?.(Buffer.from(body, 'latin1')), [], `${provider} ${body}`);
});
