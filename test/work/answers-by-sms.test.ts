/** What is answered to an SMS: words, of which each that we say back is paid for. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { Channel } from '../../src/channels/channel.ts';
import { CONSOLE_TRAITS } from '../../src/channels/console.ts';
import { createSmsc } from '../../src/channels/smsc.ts';
import { createSmscEar } from '../../src/channels/smsc-ear.ts';
import { createLog } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import { oneClient, setConsent, showClients } from '../../src/salon/clients.ts';
import { findContacts } from '../../src/store/messages.ts';
import { createActor } from '../../src/work/act.ts';
import { createListener } from '../../src/work/listen.ts';
import { COMPANY, createAnswering } from './answering.ts';
import { startSmsc } from './messengers.ts';

const TOKEN = 'not-a-real-apikey';
const smsc = await startSmsc({ after: close => after(close) }, TOKEN);
const channel = createSmsc({ token: TOKEN, maxParts: 4, apiUrl: smsc.url });
const ear = createSmscEar({ token: TOKEN, apiUrl: smsc.url, channel, everyMs: 0 });
/** Where a message goes on to when nothing is heard of its SMS. */
const next: Channel = {
  ...{ name: 'console', traits: CONSOLE_TRAITS, idempotent: true, concurrency: 1 },
  send: async () => ({ outcome: 'sent' }),
};
const { pipeline, api, books, settles, attendanceOf, isDeleted, stateOf, close } = await createAnswering(
  channel,
  { answers: true, others: [next] },
);
const routeBy = (...route: string[]) =>
  pipeline.pool.query('UPDATE companies SET route = $2 WHERE company_id = $1', [COMPANY, route]);
await routeBy('sms');
const common = {
  ...{ pool: pipeline.pool, log: createLog('silent'), metrics: createMetrics() },
  now: () => pipeline.now,
};
const listener = createListener({ ...common, vault: pipeline.vault, ear, onAction: () => {} });
const actor = createActor({
  ...{ ...common, mouths: new Map([[ear.channel, ear]]), random: () => 0.5 },
  ...{ apiOf: async () => api, onFound: () => {} },
});
async function hears() {
  while ((await listener.runOnce()) > 0);
  while ((await actor.runOnce()) > 0);
}
after(async () => {
  await ear.close();
  await close();
});
const texts = (phone: string) => smsc.reads(phone).map(({ text }) => text);

test('ДА confirms the visit that the last SMS told of, and costs no SMS back', async () => {
  const phone = '+79001115511';
  const recordId = await books({ phone });
  assert.equal(texts(phone).length, 1);
  smsc.texts(phone, 'ДА');
  await hears();
  assert.equal(attendanceOf(recordId), 2);
  assert.deepEqual(texts(phone), []);
  assert.deepEqual(
    [smsc.asked[0]?.hour, smsc.asked.at(-1)?.after_id],
    ['1', '1001'],
    'each is asked for once',
  );
});

test('НЕТ asks first; the visit is cancelled only by a second SMS, and that it is cancelled is said', async () => {
  const phone = '+79001115522';
  const recordId = await books({ phone });
  smsc.reads(phone);
  smsc.texts(phone, 'нет');
  await hears();
  assert.equal(isDeleted(recordId), false);
  assert.deepEqual(texts(phone), ['Отменить запись на 20 мая, вторник, 14:30? Ответьте: да, отменить']);
  smsc.texts(phone, 'Да, отменить');
  await hears();
  assert.equal(isDeleted(recordId), true);
  assert.deepEqual(texts(phone), ['Запись на 20 мая, вторник, 14:30 отменена.']);
  assert.deepEqual(await stateOf('cancel', recordId), { state: 'done', reason: null });
});

test('a word is about the last message by SMS, to whoever writes, of a visit that is to come', async () => {
  const [phone, another, third] = ['+79001115566', '+79001115577', '+79001115599'];
  const days = ['20', '21', '22', '23'].map(day => `2031-05-${day}T14:30:00`);
  const theirs: number[] = [];
  for (const day of days) theirs.push(await books({ phone }, day));
  const others = await books({ phone: another });
  const nowhere = await books({ phone: third });
  const [asked, over, calledOff, elsewhere] = theirs;
  const { pool } = pipeline;
  await pool.query(
    `UPDATE messages SET told_after = told_after || '{"startsLocal": "2020-05-20T14:30:00"}' WHERE record_id = $1`,
    [over],
  );
  await pool.query("UPDATE bookings SET state = 'cancelled' WHERE record_id = $1", [calledOff]);
  await pool.query(
    "UPDATE attempts SET channel = 'email' WHERE message_id IN (SELECT id FROM messages WHERE record_id = ANY ($1))",
    [[elsewhere, nowhere]],
  );
  smsc.texts(phone, 'да');
  smsc.texts(third, 'да');
  await hears();
  assert.deepEqual(
    [...theirs, others, nowhere].filter(recordId => attendanceOf(recordId) === 2),
    [asked],
  );
  for (const one of [phone, another, third]) smsc.reads(one);
});

test('an SMS is answered, late as it may come, when its message has gone on to the next channel meanwhile', async () => {
  const phone = '+79001115588';
  await pipeline.pool.query(
    'INSERT INTO receipt_givers (company_id, channel, provider) VALUES ($1, $2, $3)',
    [...[COMPANY, 'sms', channel.provider ?? 'sms']],
  );
  await routeBy('sms', 'console');
  const recordId = await books({ phone });
  assert.equal(texts(phone).length, 1);
  pipeline.now += 3_600_000;
  await settles();
  const { rows } = await pipeline.pool.query('SELECT channel, state FROM messages WHERE record_id = $1', [
    recordId,
  ]);
  assert.deepEqual(rows, [{ channel: 'console', state: 'sent' }], 'it has gone on');
  await routeBy('sms');
  smsc.texts(phone, 'отмена');
  await hears();
  assert.match(texts(phone)[0] ?? '', /^Отменить запись на 20 мая/);
  smsc.texts(phone, 'да, отменить');
  await hears();
  assert.equal(isDeleted(recordId), true);
  smsc.reads(phone);
});

test('what nobody reads, what has no visit to it, and who is nobody’s client is answered by nothing', async () => {
  smsc.texts('+79001115533', 'да');
  const phone = '+79001115522';
  smsc.texts(phone, 'Добрый день! А можно к Ольге?');
  smsc.texts(phone, 'да');
  await hears();
  assert.deepEqual([texts('+79001115533'), texts(phone)], [[], []]);
});

test('СТОП ends SMS to this number and is shown with its proof; an operator’s word brings them back, with its own', async () => {
  const phone = '+79001115544';
  await books({ phone });
  smsc.reads(phone);
  const stoppedAt = Math.floor(pipeline.now / 1000) * 1000;
  smsc.texts(phone, 'СТОП');
  await hears();
  assert.deepEqual(texts(phone), []);
  await books({ phone }, '2031-05-22T10:00:00');
  assert.deepEqual(texts(phone), []);
  const { rows } = await pipeline.pool.query(
    'SELECT state, error FROM messages ORDER BY created_at DESC LIMIT 1',
  );
  assert.deepEqual(rows, [{ state: 'failed', error: 'they want none on sms' }]);

  const [shown] = await showClients(pipeline.pool, COMPANY, '8 900 111-55-44');
  assert.equal(shown?.phone, phone);
  assert.deepEqual(
    shown?.consents.map(({ at, channel: on, address, category, granted, words }) => [
      ...[Date.parse(at), on, address, category, granted, words],
    ]),
    [
      [stoppedAt, 'sms', phone, 'advertising', false, 'СТОП'],
      [stoppedAt, 'sms', phone, 'service', false, 'СТОП'],
    ],
  );
  assert.deepEqual(shown?.messages.map(({ state, channel: on }) => [state, on]).sort(), [
    ['failed', null],
    ['sent', 'sms'],
  ]);

  const order = { channel: 'sms', category: undefined, granted: true };
  const kept = await setConsent({ pool: pipeline.pool, actor: 'command' }, COMPANY, phone, {
    ...{ ...order, reason: 'asked at the desk' },
  });
  assert.deepEqual(kept.where, ['sms/service']);
  await books({ phone }, '2031-05-23T10:00:00');
  assert.equal(texts(phone).length, 1);
  const { rows: audited } = await pipeline.pool.query(
    "SELECT action, subject FROM audit_log WHERE action LIKE 'consent.%'",
  );
  assert.deepEqual(audited, [{ action: 'consent.grant', subject: `client:${shown?.clientId}` }]);
  const [again] = await showClients(pipeline.pool, COMPANY, String(shown?.clientId));
  assert.equal(again?.consents[0]?.words, 'operator (command): asked at the desk');
  await assert.rejects(showClients(pipeline.pool, COMPANY, '+79990000000'), /no such client/);
  assert.equal(await oneClient(pipeline.pool, COMPANY, phone), shown?.clientId);
  await pipeline.pool.query(
    `INSERT INTO people (company_id, client_id, name, phone) VALUES ($1, 987654, 'Вера', $2)`,
    [COMPANY, phone],
  );
  await assert.rejects(oneClient(pipeline.pool, COMPANY, phone), /2 clients .* name one by its id/);
});

test('СТОП holds for the person when their card got another number; theirs is also who takes it back', async () => {
  const [phone, another] = ['+79001115588', '+79001115599'];
  await books({ phone });
  smsc.reads(phone);
  smsc.texts(phone, 'СТОП, не пишите мне');
  await hears();
  const clientId = await oneClient(pipeline.pool, COMPANY, phone);
  await pipeline.pool.query('UPDATE people SET phone = $3 WHERE company_id = $1 AND client_id = $2', [
    ...[COMPANY, clientId, another],
  ]);
  const contact = async () => (await findContacts(pipeline.pool, [{ companyId: COMPANY, clientId }]))[0];
  const refused = await contact();
  assert.deepEqual([refused?.addresses.sms, refused?.refusedOn], [another, ['sms']]);
  smsc.texts(another, 'возобновить');
  await hears();
  assert.deepEqual((await contact())?.refusedOn, []);
});

test('what SMSC refuses is an error that says so, and nothing is lost', async () => {
  const wrong = createSmscEar({ token: 'wrong', apiUrl: smsc.url, channel, everyMs: 0 });
  await assert.rejects(wrong.listen(0, new AbortController().signal), /SMSC could not be asked: error 2/);
  assert.deepEqual(wrong.readAgain({ id: 1, phone: '79001112233', message: 'да' }), [
    { chat: '+79001112233', kind: 'text', text: 'да' },
  ]);
  await wrong.close();
});
