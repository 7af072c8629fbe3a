/** What people sent while nobody listened is heard in the end, however much it is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSmsc } from '../../src/channels/smsc.ts';
import { createSmscEar } from '../../src/channels/smsc-ear.ts';
import { createTelegramEar } from '../../src/channels/telegram-ear.ts';
import { httpServer } from './counterparts.ts';

const TOKEN = '7000000001:AAF-0123456789abcdefghijklmnopqrstu';
const never = new AbortController().signal;

test('SMSC: the answers of days come at once, and are heard', async t => {
  const answers = Array.from({ length: 2_000 }, (_, index) => ({
    ...{ id: index + 1, received: '01.03.2026 10:00:00', phone: '79001112233' },
    ...{ message: 'ДА', to_phone: '79990000000' },
  }));
  const { port } = await httpServer(t, (_request, _body, response) => response.end(JSON.stringify(answers)));
  const config = { token: 'not-a-real-apikey', apiUrl: `http://127.0.0.1:${port}` };
  const channel = createSmsc({ ...config, maxParts: 4 });
  const ear = createSmscEar({ ...config, channel, everyMs: 0 });
  t.after(() => Promise.all([ear.close(), channel.close?.()]));
  const { heard, position } = await ear.listen(1, never);
  assert.deepEqual([heard.length, position], [1_999, 2_000]);
});

test('Telegram: of updates that are too long together fewer are asked for, until all are heard', async t => {
  const text = 'я'.repeat(4_096);
  const chat = { id: 1, type: 'private' };
  const updates = Array.from({ length: 100 }, (_, index) => ({
    update_id: index + 1,
    message: { message_id: index, date: 1, chat, text, reply_to_message: { text, quote: { text } } },
  }));
  const { port } = await httpServer(t, (_request, body, response) => {
    const { offset, limit } = JSON.parse(body.toString());
    const result = updates.filter(({ update_id }) => update_id >= offset).slice(0, limit);
    // As the Bot API writes what is not ASCII.
    const json = JSON.stringify({ ok: true, result }).replaceAll('я', '\\u044f');
    response.writeHead(200, { 'content-type': 'application/json' }).end(json);
  });
  const ear = createTelegramEar({ token: TOKEN, apiRoot: `http://127.0.0.1:${port}`, waitMs: 0 });
  t.after(() => ear.close());
  await assert.rejects(ear.listen(1, never), /Telegram could not be asked/);
  let position = 1;
  for (let calls = 0; calls < 10 && position <= 100; calls += 1) {
    const news = await ear.listen(position, never).catch(() => undefined);
    position = news?.position ?? position;
  }
  assert.equal(position, 101);
});
