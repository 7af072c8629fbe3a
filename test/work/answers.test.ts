/** A client and the bot: telegram-test-api is Telegram, the simulator's platform is the salon's system. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { TelegramClient } from 'telegram-test-api/lib/modules/telegramClient.js';
import { TelegramServer } from 'telegram-test-api/lib/telegramServer.js';
import type { Ear, Heard } from '../../src/channels/ear.ts';
import { createTelegram } from '../../src/channels/telegram.ts';
import { createTelegramEar } from '../../src/channels/telegram-ear.ts';
import { newId } from '../../src/ids.ts';
import { createLog } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import { setConsent } from '../../src/salon/clients.ts';
import { inviteMember, removeMember, showTeam } from '../../src/salon/team.ts';
import { claimActions, insertActions } from '../../src/store/actions.ts';
import { settleInvite } from '../../src/store/chats.ts';
import { listAside, putBackAside, readAside } from '../../src/store/heard.ts';
import { findContacts } from '../../src/store/messages.ts';
import { type AnswerApi, createActor } from '../../src/work/act.ts';
import { createListener } from '../../src/work/listen.ts';
import { ApiError, type CompanyApi } from '../../src/yclients/api.ts';
import { httpServer } from '../channels/counterparts.ts';
import { freePort } from '../support/ports.ts';
import { assertSeenThrough } from '../support/seen-through.ts';
import { until } from '../support/until.ts';
import { COMPANY, createAnswering } from './answering.ts';

const TOKEN = '7000000001:AAF-not-a-real-token-0123456789abcde';
const INVITE = 'a1b2c3d4e5f6';
const PHONE = '79001112233';

// Messages are read by their places in what it keeps, and for the minute that is usual a busy machine may be too slow.
const telegram = new TelegramServer({ port: await freePort(), host: '127.0.0.1', storeTimeout: 3_600 });
const bot = { token: TOKEN, apiRoot: `http://127.0.0.1:${telegram.config.port}` };
const channel = createTelegram(bot);
const ear = createTelegramEar({ ...bot, waitMs: 0 });
const { pipeline, branch, api, books, tellsOf, settles, attendanceOf, isDeleted, stateOf, close } =
  await createAnswering(channel, { answers: true });
const common = {
  ...{ pool: pipeline.pool, log: createLog('silent'), metrics: createMetrics() },
  now: () => pipeline.now,
};
const hearing = { ...common, vault: pipeline.vault, ear };
const listener = createListener({ ...hearing, onAction: () => {} });
const actorWith = (given: AnswerApi) =>
  createActor({
    ...{ ...common, mouths: new Map([[ear.channel, ear]]), random: () => 0.5 },
    ...{ apiOf: async () => given, onFound: () => {} },
  });
const actor = actorWith(api);

before(async () => {
  await telegram.start();
  await settleInvite(pipeline.pool, COMPANY, INVITE);
});
after(async () => {
  await ear.close();
  await close();
  await telegram.stop();
});

type Said = { readonly text: string; readonly buttons: readonly { text: string; callback_data: string }[] };

type Person = ReturnType<typeof person>;

/** One person with a phone in the hand. */
function person(id: number) {
  const user: TelegramClient = telegram.getClient(TOKEN, { userId: id, chatId: id, firstName: 'Мила' });
  let read = 0;
  const hear = async () => {
    while ((await listener.runOnce()) > 0);
    while ((await actor.runOnce()) > 0);
  };
  return {
    /** `saidAt`: some time ago, and the Bot API brings it now. */
    async writes(text: string, { saidAt = pipeline.now } = {}) {
      await user.sendMessage(user.makeMessage(text, { date: Math.floor(saidAt / 1000) }));
      await hear();
    },
    async shares(phone: string, owner = id) {
      const contact = { phone_number: phone, first_name: 'Мила', user_id: owner };
      await user.sendMessage(user.makeMessage('', { contact, date: Math.floor(pipeline.now / 1000) }));
      await hear();
    },
    async presses(data: string, { alone = false } = {}) {
      await user.sendCallback(user.makeCallbackQuery(data));
      if (alone) while ((await listener.runOnce()) > 0);
      else await hear();
    },
    /** What the bot said since the last look. */
    reads(): Said[] {
      const all = telegram.storage.botMessages.filter(({ message }) => Number(message.chat_id) === id);
      const fresh = all.slice(read);
      read = all.length;
      return fresh.map(({ message }) => {
        const markup = message.reply_markup;
        const rows = markup !== undefined && 'inline_keyboard' in markup ? markup.inline_keyboard : [];
        return {
          text: message.text,
          buttons: rows.flat().map((button: { text: string; callback_data?: string }) => ({
            text: button.text,
            callback_data: button.callback_data ?? '',
          })),
        };
      });
    },
  };
}

async function linked(id: number, phone: string) {
  const mila = person(id);
  await mila.writes(`/start ${INVITE}`);
  await mila.shares(phone);
  mila.reads();
  return mila;
}

function button(said: Said | undefined, text: string): string {
  const found = said?.buttons.find(one => one.text === text);
  assert.ok(found, `no button “${text}” under “${said?.text}”`);
  return found.callback_data;
}

test('a client links the chat by the own number, gets a notice and confirms: attendance is 2, and it is no news', async () => {
  const mila = person(101);
  await mila.writes(`/start ${INVITE}`);
  const [welcome] = mila.reads();
  assert.match(welcome?.text ?? '', /Студия Север/);
  await mila.shares(PHONE);
  assert.match(mila.reads()[0]?.text ?? '', /Готово/);

  const recordId = await books({ phone: `+${PHONE}` });
  const [notice, ...more] = mila.reads();
  assert.match(notice?.text ?? '', /20 мая/);
  assert.deepEqual(more, []);
  await mila.presses(button(notice, 'Подтверждаю'));
  assert.equal(attendanceOf(recordId), 2);
  assert.equal(branch.record(recordId)?.comment, 'у окна', 'what the salon wrote there stays');
  assert.deepEqual(
    mila.reads().map(({ text }) => text),
    ['Спасибо, ждём вас: 20 мая, вторник, 14:30.'],
  );
  await settles();
  await tellsOf(recordId, 'update');
  assert.deepEqual(mila.reads(), [], 'our own write is no news');
  const { rows } = await pipeline.pool.query('SELECT attendance FROM bookings WHERE record_id = $1', [
    recordId,
  ]);
  assert.deepEqual(rows, [{ attendance: 2 }], 'and it is known without waiting for the webhook');

  await mila.presses(button(notice, 'Подтверждаю'));
  assert.deepEqual(await stateOf('confirm', recordId), { state: 'done', reason: null });
  assert.equal(mila.reads().length, 1, 'pressed again, it is answered again and written once');

  await pipeline.pool.query("UPDATE messages SET channel = 'sms' WHERE record_id = $1", [recordId]);
  await mila.presses(button(notice, 'Подтверждаю'));
  assert.equal(mila.reads().length, 1, 'also when the message has gone on to another channel');
});

test('a visit is cancelled only after a second press; whoever pressed hears of it once', async () => {
  const mila = await linked(102, '79001112244');
  const recordId = await books({ phone: '+79001112244' });
  const [notice] = mila.reads();
  await mila.presses(button(notice, 'Отменить запись'));
  assert.equal(isDeleted(recordId), false);
  const [question] = mila.reads();
  assert.equal(question?.text, 'Отменить запись на 20 мая, вторник, 14:30?');
  await mila.presses(button(question, 'Нет, приду'));
  assert.equal(isDeleted(recordId), false);
  assert.equal(mila.reads().length, 1);
  await mila.presses(button(question, 'Да, отменить'));
  assert.equal(isDeleted(recordId), true);
  assert.deepEqual(
    mila.reads().map(({ text }) => text),
    ['Запись на 20 мая, вторник, 14:30 отменена.'],
  );
  await settles();
  await tellsOf(recordId, 'delete');
  assert.deepEqual(mila.reads(), [], 'no notice of what they did themselves');
  const { rows } = await pipeline.pool.query('SELECT state FROM bookings WHERE record_id = $1', [recordId]);
  assert.deepEqual(rows, [{ state: 'cancelled' }]);
});

test('between our write and its return through the inbox, older news of the visit tells nothing', async () => {
  const mila = await linked(103, '79001112255');
  const recordId = await books({ phone: '+79001112255' });
  const [notice] = mila.reads();
  const stale = await api.record(recordId);
  await mila.presses(button(notice, 'Отменить запись'));
  const [question] = mila.reads();
  await mila.presses(button(question, 'Да, отменить'), { alone: true });
  const body = JSON.stringify({
    ...{ company_id: COMPANY, resource: 'record', resource_id: recordId, status: 'update' },
    data: { ...(stale as object), comment: 'пришло поздно' },
  });
  await pipeline.receive(COMPANY, [{ body, receivedAt: pipeline.now }]);
  await actor.runOnce();
  await settles();
  assert.deepEqual(
    mila.reads().map(({ text }) => text),
    ['Запись на 20 мая, вторник, 14:30 отменена.'],
  );
});

test('a number of somebody else links nothing, and the button of a message moves nothing from another chat', async () => {
  const mila = await linked(104, '79001112266');
  const stranger = person(105);
  await stranger.writes(`/start ${INVITE}`);
  stranger.reads();
  await stranger.shares('79001112266', 104);
  assert.match(stranger.reads()[0]?.text ?? '', /другого человека/);
  const recordId = await books({ phone: '+79001112266' });
  const [notice] = mila.reads();
  assert.deepEqual(stranger.reads(), []);
  await stranger.presses(button(notice, 'Подтверждаю'));
  await stranger.presses(button(notice, 'Отменить запись').replace('x.', 'X.'));
  assert.equal(attendanceOf(recordId), 0);
  assert.equal(isDeleted(recordId), false);
  assert.deepEqual(stranger.reads(), []);
});

test('whoever is a client of another salon by the same id, or chat, moves nothing of this one’s', async () => {
  const elsewhere = COMPANY + 2;
  await pipeline.addCompany({ companyId: elsewhere });
  const mila = await linked(130, '79001112301');
  const recordId = await books({ phone: '+79001112301' });
  const [notice] = mila.reads();
  const { rows } = await pipeline.pool.query('SELECT client_id AS id FROM bookings WHERE record_id = $1', [
    recordId,
  ]);
  const clientId = rows[0].id;
  const theirs = [person(131), person(132)];
  for (const one of theirs) await one.writes(`/start ${INVITE}`);
  await pipeline.pool.query(
    `WITH people AS (INSERT INTO people (company_id, client_id, name, phone) VALUES ($1, $2, 'Вера', '+79001112302')),
      chats AS (INSERT INTO chats (company_id, channel, chat, phone) VALUES ($1, 'telegram', '131', '+79001112302'))
     INSERT INTO addresses (company_id, client_id, channel, address) VALUES ($1, $2, 'telegram', '132')`,
    [elsewhere, clientId],
  );
  for (const one of theirs) {
    one.reads();
    await one.presses(button(notice, 'Отменить запись').replace('x.', 'X.'));
    assert.deepEqual(one.reads(), []);
  }
  assert.equal(isDeleted(recordId), false);
});

test('«стоп» is a word to each salon that the chat was opened for', async () => {
  const mila = await linked(133, '79001112303');
  const elsewhere = COMPANY + 3;
  await pipeline.addCompany({ companyId: elsewhere });
  await settleInvite(pipeline.pool, elsewhere, 'b1b2b3b4b5b6');
  await mila.writes('/start b1b2b3b4b5b6');
  mila.reads();
  await pipeline.pool.query(
    `INSERT INTO consents (company_id, channel, address, category, granted, words, given_at)
     VALUES ($1, 'telegram', '133', 'service', false, 'at their desk', now())`,
    [elsewhere],
  );
  await books({ phone: '+79001112303' });
  assert.equal(mila.reads().length, 1, 'what was said to another salon is said to that one');
  await mila.writes('стоп');
  const { rows } = await pipeline.pool.query(
    `SELECT company_id AS "companyId", array_agg(category ORDER BY category) AS refused FROM consents
     WHERE address = '133' AND words = 'стоп' GROUP BY 1 ORDER BY 1`,
  );
  const refused = ['advertising', 'service'];
  assert.deepEqual(rows, [
    { companyId: COMPANY, refused },
    { companyId: elsewhere, refused },
  ]);
});

test('a «стоп» stands until it is taken back at that salon: by another’s link, the number or the bot opened again it is not', async () => {
  const phone = '79001112315';
  const mila = await linked(145, phone);
  const elsewhere = COMPANY + 6;
  await pipeline.addCompany({ companyId: elsewhere, title: 'Юг' });
  await settleInvite(pipeline.pool, elsewhere, 'e1e2e3e4e5e6');
  await mila.writes('стоп');
  mila.reads();
  const last = async (companyId: number) => {
    const { rows } = await pipeline.pool.query(
      `SELECT granted, words FROM consents WHERE address = '145' AND company_id = $1 AND category = 'service'
       ORDER BY id DESC LIMIT 1`,
      [companyId],
    );
    return rows[0];
  };
  const stop = { granted: false, words: 'стоп' };
  const bookedInSilence = async (day: string) => {
    await books({ phone: `+${phone}` }, `2031-06-${day}T10:00:00`);
    return mila.reads().length === 0;
  };
  await mila.writes('/start e1e2e3e4e5e6');
  assert.match(mila.reads()[0]?.text ?? '', /Готово/);
  assert.deepEqual(await last(COMPANY), stop);
  assert.deepEqual(await last(elsewhere), { granted: true, words: '/start e1e2e3e4e5e6' });
  assert.ok(await bookedInSilence('01'));

  await mila.shares(phone);
  assert.match(mila.reads()[0]?.text ?? '', /Готово/, 'of the salon whose link was opened last');
  assert.deepEqual(await last(COMPANY), stop);
  assert.deepEqual(await last(elsewhere), { granted: true, words: 'shared their number' });

  await pipeline.pool.query("DELETE FROM chats WHERE chat = '145' AND company_id = $1", [elsewhere]);
  for (const text of ['/start', '/start zzzzzzzzzzzz']) {
    await mila.writes(text);
    assert.match(mila.reads()[0]?.text ?? '', /Больше не пишем/, 'and it is said so');
  }
  await mila.shares(phone);
  assert.match(mila.reads()[0]?.text ?? '', /Больше не пишем/);
  assert.deepEqual(await last(COMPANY), stop);
  assert.ok(await bookedInSilence('02'));

  await mila.writes(`/start ${INVITE}`);
  mila.reads();
  assert.equal(await bookedInSilence('03'), false, 'their own salon’s link takes it back');
});

test('who shares the number of somebody for whom the salon has kept a refusal is not written to until they say so', async () => {
  const phone = '79001112316';
  await books({ phone: `+${phone}` });
  await setConsent({ pool: pipeline.pool, actor: 'command' }, COMPANY, phone, {
    ...{ channel: undefined, category: undefined, granted: false, reason: 'said so by phone' },
  });
  const mila = person(148);
  await pipeline.pool.query("INSERT INTO chats (company_id, channel, chat) VALUES ($1, 'telegram', '148')", [
    COMPANY,
  ]);
  await mila.shares(phone);
  assert.match(mila.reads()[0]?.text ?? '', /Больше не пишем/);
  await books({ phone: `+${phone}` }, '2031-06-04T10:00:00');
  assert.deepEqual(mila.reads(), []);
  await mila.writes('возобновить');
  mila.reads();
  await books({ phone: `+${phone}` }, '2031-06-05T10:00:00');
  assert.equal(mila.reads().length, 1);

  // Who opens the link first and says only then who they are has asked for messages after that refusal.
  const vera = '79001112317';
  await books({ phone: `+${vera}` });
  await setConsent({ pool: pipeline.pool, actor: 'command' }, COMPANY, vera, {
    ...{ channel: undefined, category: undefined, granted: false, reason: 'said so by phone' },
  });
  await linked(149, vera);
  await books({ phone: `+${vera}` }, '2031-06-06T10:00:00');
  assert.equal(person(149).reads().at(-1)?.buttons.length, 3);
});

test('who blocked the bot and opens it again is written to; who had said «стоп» before that is not', async () => {
  const blocks = async (chat: string) => {
    await pipeline.pool.query(`INSERT INTO heard (channel, update_id, said) VALUES ('telegram', $1, $2)`, [
      `left ${chat}`,
      { chat, kind: 'left' },
    ]);
    await listener.runOnce();
  };
  const told: number[] = [];
  for (const id of [146, 147]) {
    const mila = await linked(id, `79001112${id}`);
    if (id === 147) await mila.writes('стоп');
    await blocks(String(id));
    await mila.writes('/start');
    mila.reads();
    await books({ phone: `+79001112${id}` });
    told.push(mila.reads().length);
  }
  assert.deepEqual(told, [1, 0]);
});

test('without the salon’s link a chat is nobody’s; a wrong invite is no link', async () => {
  const lost = person(106);
  const closed = 'c1o5edc1o5ed';
  await pipeline.addCompany({ companyId: COMPANY + 1 });
  await settleInvite(pipeline.pool, COMPANY + 1, closed);
  await pipeline.pool.query('UPDATE companies SET removed_at = now() WHERE company_id = $1', [COMPANY + 1]);
  for (const text of ['/start', '/start zzzzzzzzzzzz', `/start ${closed}`, 'стоп', 'привет'])
    await lost.writes(text);
  const said = lost.reads();
  assert.equal(said.length, 5);
  for (const { text } of said) assert.match(text, /ссылке или QR-коду/);
  const { rows } = await pipeline.pool.query("SELECT chat FROM chats WHERE chat = '106'");
  assert.deepEqual(rows, []);
});

test('one of the team follows a link of their own, once: is told there, and no more after «стоп»', async () => {
  const who = { companyId: COMPANY, role: 'administrator', staffId: null, name: '' } as const;
  // The clock of the salon's platform is the real one, from which the pipeline's runs ahead.
  const ahead = 3_600_000;
  pipeline.now -= ahead;
  const deps = { pool: pipeline.pool, actor: 'command', now: pipeline.now } as const;
  const { memberId, invite } = await inviteMember(deps, who);
  const [olga, stranger] = [person(120), person(121)];
  await olga.writes(`/start ${invite}`);
  assert.match(olga.reads()[0]?.text ?? '', /^Студия Север: сюда будут приходить сообщения о записях салона/);
  await stranger.writes(`/start ${invite}`);
  assert.match(stranger.reads()[0]?.text ?? '', /Откройте бота по ссылке/);
  pipeline.now += ahead;
  await pipeline.setPolicy(COMPANY, {
    tell: { booked: { any: ['administrator'] } },
    team: { administrator: { quietHours: { notices: 'send' } } },
  });
  await books({ phone: '+79001112288' });
  const [notice, ...more] = olga.reads();
  assert.match(notice?.text ?? '', /^Новая запись\.\n\nКлиент: Мила\nКогда: 20 мая/);
  assert.deepEqual([notice?.buttons, more, stranger.reads()], [[], [], []]);
  await olga.writes('стоп');
  assert.match(olga.reads()[0]?.text ?? '', /Больше не пишем/);
  await books({ phone: '+79001112289' });
  assert.deepEqual(olga.reads(), []);
  const [member] = await showTeam(pipeline.pool, COMPANY);
  assert.deepEqual([member?.channel, member?.refuses, member?.invitedUntil], ['telegram', true, null]);
  await removeMember(deps, COMPANY, memberId);
  await pipeline.setPolicy(COMPANY, {});
});

async function withOlga(id: number, tell: Record<string, object>, work: (olga: Person) => Promise<void>) {
  const who = { companyId: COMPANY, role: 'administrator', staffId: null, name: '' } as const;
  // The clock of the salon's platform is the real one, from which the pipeline's runs ahead.
  const ahead = 86_400_000;
  pipeline.now -= ahead;
  const deps = { pool: pipeline.pool, actor: 'command', now: pipeline.now } as const;
  const { memberId, invite } = await inviteMember(deps, who);
  const olga = person(id);
  await olga.writes(`/start ${invite}`);
  pipeline.now += ahead;
  const team = { administrator: { quietHours: { notices: 'send' } } } as const;
  await pipeline.setPolicy(COMPANY, { tell, team });
  await work(olga);
  await removeMember(deps, COMPANY, memberId);
  await pipeline.setPolicy(COMPANY, {});
}

test('what a client does by a button is news to the salon’s own people, once, whether its webhook comes or not', () =>
  withOlga(122, { confirmed: { any: ['administrator'] } }, async olga => {
    const mila = await linked(123, '79001112290');
    const recordId = await books({ phone: '+79001112290' });
    const [notice] = mila.reads();
    olga.reads();
    const told = async (webhook: string) => {
      await settles();
      const first = olga.reads();
      await tellsOf(recordId, webhook);
      return [first.map(({ text }) => text.split('\n')[0]), olga.reads()];
    };
    await mila.presses(button(notice, 'Подтверждаю'));
    assert.deepEqual(await told('update'), [['Клиент подтвердил запись.'], []]);
    await mila.presses(button(notice, 'Отменить запись').replace('x.', 'X.'));
    assert.deepEqual(await told('delete'), [['Запись отменена, время свободно.'], []]);
  }));

test('«стоп» is kept with its proof and ends messages there; «возобновить» brings those of visits back', async () => {
  const mila = await linked(107, '79001112277');
  await mila.writes('Стоп!');
  assert.match(mila.reads()[0]?.text ?? '', /Больше не пишем/);
  const recordId = await books({ phone: '+79001112277' });
  assert.deepEqual(mila.reads(), []);
  const { rows: messages } = await pipeline.pool.query(
    'SELECT state, error FROM messages WHERE record_id = $1',
    [recordId],
  );
  assert.deepEqual(messages, [{ state: 'failed', error: 'they want none on telegram' }]);
  await mila.writes('возобновить');
  mila.reads();
  await books({ phone: '+79001112277' }, '2031-05-21T10:00:00');
  assert.equal(mila.reads().length, 1);
  const { rows: proof } = await pipeline.pool.query(
    `SELECT category, granted, words FROM consents WHERE address = '107' ORDER BY id`,
  );
  assert.deepEqual(
    proof.slice(-3),
    [
      { category: 'service', granted: false, words: 'Стоп!' },
      { category: 'advertising', granted: false, words: 'Стоп!' },
      { category: 'service', granted: true, words: 'возобновить' },
    ],
    'advertising stays refused',
  );
});

test('who answers a time that has changed since is told so, and nothing is written', async () => {
  const mila = await linked(108, '79001112288');
  const recordId = await books({ phone: '+79001112288' });
  const [notice] = mila.reads();
  await api.moveRecord(recordId, { datetime: '2031-05-22T16:00:00+03:00' });
  await mila.presses(button(notice, 'Подтверждаю'));
  assert.equal(attendanceOf(recordId), 0);
  assert.match(mila.reads()[0]?.text ?? '', /изменилось/);
  assert.deepEqual(await stateOf('confirm', recordId), { state: 'refused', reason: 'moved' });
});

test('whether to cancel was asked, and the visit was moved meanwhile: their yes is to an hour that is no more', async () => {
  const mila = await linked(155, '79001112325');
  const recordId = await books({ phone: '+79001112325' });
  const [notice] = mila.reads();
  await mila.writes('отмена');
  assert.match(mila.reads()[0]?.text ?? '', /Ответьте/);
  await api.moveRecord(recordId, { datetime: '2031-05-24T18:00:00+03:00' });
  await mila.writes('да, отменить');
  await mila.presses(button(notice, 'Отменить запись').replace('x.', 'X.'));
  assert.equal(isDeleted(recordId), false);
  for (const { text } of mila.reads()) assert.match(text, /изменилось/);
  assert.deepEqual(await stateOf('cancel', recordId), { state: 'refused', reason: 'moved' });
});

test('a word said before the question is no answer to it; a button pressed after it is one', async () => {
  const mila = await linked(156, '79001112326');
  const recordId = await books({ phone: '+79001112326' });
  const [notice] = mila.reads();
  pipeline.now += 300_000;
  await mila.writes('отмена');
  for (const text of ['нет', 'да, отменить']) await mila.writes(text, { saidAt: pipeline.now - 120_000 });
  await mila.presses(button(notice, 'Подтверждаю'));
  await mila.writes('нет');
  assert.deepEqual(
    mila.reads().map(({ text }) => text.split(' ')[0]),
    ['Отменить', 'Отменить', 'Отменить', 'Спасибо,', 'Отменить'],
  );
  assert.deepEqual([attendanceOf(recordId), isDeleted(recordId)], [2, false]);
});

test('a write whose outcome was lost is looked at before it is tried again', async () => {
  const mila = await linked(109, '79001112299');
  const recordId = await books({ phone: '+79001112299' });
  const [notice] = mila.reads();
  let writes = 0;
  const unlucky: AnswerApi = {
    record: api.record,
    deleteRecord: api.deleteRecord,
    async confirmVisit(visit) {
      writes += 1;
      await api.confirmVisit(visit);
      throw new ApiError('unavailable', 'no answer', { outcomeUnknown: true });
    },
  };
  await mila.presses(button(notice, 'Подтверждаю'), { alone: true });
  assert.equal(await actorWith(unlucky).runOnce(), 1);
  assert.equal((await stateOf('confirm', recordId))?.state, 'due');
  assert.deepEqual(mila.reads(), [], 'nothing is promised before it is known');
  pipeline.now += 3_600_000;
  assert.equal(await actorWith(unlucky).runOnce(), 1);
  assert.equal(writes, 1);
  assert.equal((await stateOf('confirm', recordId))?.state, 'done');
  assert.match(mila.reads()[0]?.text ?? '', /Спасибо/);
});

/** What it writes is written, and the process is gone before it hears so; or only seems to be, and comes back. */
function dyingActor() {
  const written = Promise.withResolvers<void>();
  const back = Promise.withResolvers<void>();
  async function last<T>(writing: Promise<T>): Promise<T> {
    const answer = await writing;
    written.resolve();
    await back.promise;
    return answer;
  }
  const dying = actorWith({
    record: api.record,
    confirmVisit: visit => last(api.confirmVisit(visit)),
    deleteRecord: id => last(api.deleteRecord(id)),
  });
  let running: Promise<unknown>;
  return {
    async dies() {
      running = dying.runOnce();
      await written.promise;
    },
    async comesBack() {
      back.resolve();
      await running;
    },
  };
}

async function endLease(recordId: number): Promise<void> {
  await pipeline.pool.query(
    "UPDATE actions SET leased_until = now() - interval '1 s' WHERE record_id = $1 AND state = 'doing'",
    [recordId],
  );
}

test('a process that dies after it cancelled: the next one tells it, once; until then the client hears nothing, the salon does', () =>
  withOlga(150, {}, async olga => {
    const mila = await linked(151, '79001112321');
    const recordId = await books({ phone: '+79001112321' });
    const [notice] = mila.reads();
    olga.reads();
    await mila.presses(button(notice, 'Отменить запись').replace('x.', 'X.'), { alone: true });
    const { dies, comesBack } = dyingActor();
    await dies();
    assert.equal(isDeleted(recordId), true);
    await tellsOf(recordId, 'delete');
    assert.deepEqual(
      olga.reads().map(({ text }) => text.split('\n')[0]),
      ['Запись отменена, время свободно.'],
    );
    for (const _ of [1, 2, 3]) {
      pipeline.now += 120_000;
      await settles();
    }
    assert.equal(await actor.runOnce(), 0, 'its lease runs yet');
    assert.deepEqual(mila.reads(), []);
    await endLease(recordId);
    assert.equal(await actor.runOnce(), 1);
    pipeline.now += 120_000;
    await settles();
    assert.deepEqual(
      mila.reads().map(({ text }) => text),
      ['Запись на 20 мая, вторник, 14:30 отменена.'],
    );
    assert.deepEqual(await stateOf('cancel', recordId), { state: 'done', reason: null });
    const told = () => pipeline.pool.query('SELECT told FROM bookings WHERE record_id = $1', [recordId]);
    const { rows } = await told();
    await comesBack();
    assert.deepEqual((await told()).rows, rows, 'whose lease has passed on moves nothing');
    assert.deepEqual([mila.reads(), olga.reads()], [[], []]);
  }));

test('a process that dies after it confirmed: the next one finds it so, writes nothing and says it', async () => {
  const mila = await linked(152, '79001112322');
  const recordId = await books({ phone: '+79001112322' });
  const [notice] = mila.reads();
  await mila.presses(button(notice, 'Подтверждаю'), { alone: true });
  await dyingActor().dies();
  assert.equal(attendanceOf(recordId), 2);
  await tellsOf(recordId, 'update');
  const looks: AnswerApi = {
    record: api.record,
    confirmVisit: () => assert.fail('written twice'),
    deleteRecord: () => assert.fail('nobody asked for it'),
  };
  assert.equal(await actorWith(looks).runOnce(), 0, 'its lease runs yet');
  assert.deepEqual(mila.reads(), []);
  await endLease(recordId);
  assert.equal(await actorWith(looks).runOnce(), 1);
  await settles();
  assert.deepEqual(
    mila.reads().map(({ text }) => text),
    ['Спасибо, ждём вас: 20 мая, вторник, 14:30.'],
  );
});

test('an answer to the cancellation that was lost, and an API that is away for minutes: it is told once, when it is known', async () => {
  const mila = await linked(153, '79001112323');
  const recordId = await books({ phone: '+79001112323' });
  const [notice] = mila.reads();
  await mila.presses(button(notice, 'Отменить запись').replace('x.', 'X.'), { alone: true });
  let away = false;
  const unlucky = actorWith({
    confirmVisit: api.confirmVisit,
    async record(id) {
      if (away) throw new ApiError('unavailable', 'no answer');
      return api.record(id);
    },
    async deleteRecord(id) {
      await api.deleteRecord(id);
      away = true;
      throw new ApiError('unavailable', 'no answer', { outcomeUnknown: true });
    },
  });
  assert.equal(await unlucky.runOnce(), 1);
  await tellsOf(recordId, 'delete');
  for (const _ of [1, 2, 3]) {
    pipeline.now += 120_000;
    assert.equal(await unlucky.runOnce(), 1);
    await settles();
  }
  assert.deepEqual(mila.reads(), []);
  away = false;
  pipeline.now += 300_000;
  assert.equal(await unlucky.runOnce(), 1);
  pipeline.now += 120_000;
  await settles();
  assert.deepEqual(
    mila.reads().map(({ text }) => text),
    ['Запись на 20 мая, вторник, 14:30 отменена.'],
  );
});

test('of a cancellation that nobody comes to do, or that ends its process each time, there is an end', async () => {
  const mila = await linked(154, '79001112324');
  const recordId = await books({ phone: '+79001112324' });
  const [notice] = mila.reads();
  await mila.presses(button(notice, 'Отменить запись').replace('x.', 'X.'), { alone: true });
  await api.deleteRecord(recordId);
  await tellsOf(recordId, 'delete');
  pipeline.now += 50 * 60_000;
  await settles();
  assert.deepEqual(mila.reads(), []);
  pipeline.now += 11 * 60_000;
  await settles();
  assert.match(mila.reads()[0]?.text ?? '', /отмен/, 'the salon’s word reaches them after an hour');

  await pipeline.pool.query('UPDATE actions SET attempts = 8 WHERE record_id = $1', [recordId]);
  const deadly = actorWith({ ...api, record: () => assert.fail('it is tried no more') });
  assert.equal(await deadly.runOnce(), 1);
  assert.deepEqual(await stateOf('cancel', recordId), {
    ...{ state: 'failed', reason: 'its processes ended before they knew what came of it' },
  });
  assert.match(mila.reads()[0]?.text ?? '', /Не получилось/);
});

test('one action that fails leaves no other under way; an actor that was stopped goes on once it is started', async () => {
  const [mila, vera] = [await linked(155, '79001112325'), await linked(156, '79001112326')];
  const recordId = await books({ phone: '+79001112325' });
  const [notice] = mila.reads();
  const failing = await books({ phone: '+79001112326' });
  await mila.presses(button(notice, 'Подтверждаю'), { alone: true });
  await vera.presses(button(vera.reads()[0], 'Подтверждаю'), { alone: true });
  const asked = Promise.withResolvers<void>();
  const failed = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const slow = actorWith({
    ...api,
    async record(id) {
      if (id === failing) {
        failed.resolve();
        throw new TypeError('a bug');
      }
      asked.resolve();
      await held.promise;
      return api.record(id);
    },
  });
  await assertSeenThrough(slow.runOnce(), {
    failed: Promise.all([asked.promise, failed.promise]),
    release: held.resolve,
    failure: /a bug/,
  });
  assert.match(mila.reads()[0]?.text ?? '', /Спасибо/);

  const again = actorWith(api);
  again.start();
  await again.stop();
  await mila.presses(button(notice, 'Отменить запись'), { alone: true });
  await mila.presses(button(mila.reads()[0], 'Да, отменить'), { alone: true });
  again.start();
  await until(() => isDeleted(recordId), { what: 'the visit is cancelled' });
  await again.stop();
  assert.match(mila.reads()[0]?.text ?? '', /отменена/);
});

test('an API that hangs for one visit keeps nobody else’s answer waiting', async () => {
  const [mila, vera] = [await linked(157, '79001112327'), await linked(158, '79001112328')];
  const hanging = await books({ phone: '+79001112327' });
  const other = await books({ phone: '+79001112328' });
  const asked = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const slow = actorWith({
    ...api,
    async record(id) {
      if (id === hanging) {
        asked.resolve();
        await held.promise;
      }
      return api.record(id);
    },
  });
  slow.start();
  try {
    await mila.presses(button(mila.reads()[0], 'Подтверждаю'), { alone: true });
    await asked.promise;
    await vera.presses(button(vera.reads()[0], 'Подтверждаю'), { alone: true });
    await until(() => attendanceOf(other) === 2, { what: 'the other visit is confirmed' });
    assert.equal(attendanceOf(hanging), 0);
  } finally {
    held.resolve();
    await slow.stop();
  }
  assert.equal(attendanceOf(hanging), 2, 'a stop sees through what has begun');
});

test('an API that says no is told to the client at once, with the salon’s phone to call', async () => {
  const mila = await linked(110, '79001112300');
  await pipeline.pool.query("UPDATE companies SET phone = '+7 495 000-00-00' WHERE company_id = $1", [
    COMPANY,
  ]);
  const recordId = await books({ phone: '+79001112300' });
  const [notice] = mila.reads();
  const forbidding: Pick<CompanyApi, keyof AnswerApi> = {
    ...api,
    confirmVisit: async () => {
      throw new ApiError('forbidden', 'the user lacks the right');
    },
  };
  await mila.presses(button(notice, 'Подтверждаю'), { alone: true });
  await actorWith(forbidding).runOnce();
  assert.match(mila.reads()[0]?.text ?? '', /Не получилось.*495/);
  assert.deepEqual(await stateOf('confirm', recordId), { state: 'failed', reason: 'forbidden' });
});

test('a word is about what they had read when they wrote it, however late it is brought', async () => {
  const mila = await linked(140, '79001112310');
  const read = await books({ phone: '+79001112310' });
  const saidAt = pipeline.now + 60_000;
  pipeline.now += 2 * 3_600_000;
  const later = await books({ phone: '+79001112310' }, '2031-05-21T10:00:00');
  mila.reads();
  await mila.writes('да', { saidAt });
  assert.deepEqual([attendanceOf(read), attendanceOf(later)], [2, 0]);
  assert.match(mila.reads()[0]?.text ?? '', /20 мая/);

  await mila.writes('стоп');
  await mila.writes('возобновить', { saidAt });
  const { rows } = await pipeline.pool.query(
    `SELECT granted, words FROM consents WHERE address = '140' AND category = 'service' ORDER BY id DESC LIMIT 1`,
  );
  assert.deepEqual(rows, [{ granted: false, words: 'стоп' }], 'what they said since stands');
});

test('a press put back after days: what has passed is not confirmed, and whether to cancel is asked again', async () => {
  const mila = await linked(141, '79001112311');
  const recordId = await books({ phone: '+79001112311' });
  const [notice] = mila.reads();
  const heardAt = new Date(pipeline.now - 3 * 86_400_000).toISOString();
  async function putBack(press: string) {
    await pipeline.pool.query(
      `INSERT INTO heard (channel, update_id, said, heard_at, error) VALUES ('telegram', $1, $2, $3, 'TypeError')`,
      [press, { chat: '141', kind: 'press', press, pressId: '' }, heardAt],
    );
    await putBackAside(pipeline.pool, null);
    while ((await listener.runOnce()) > 0);
    while ((await actor.runOnce()) > 0);
  }
  await putBack(button(notice, 'Отменить запись').replace('x.', 'X.'));
  assert.equal(isDeleted(recordId), false);
  const [question, ...more] = mila.reads();
  assert.equal(question?.text, 'Отменить запись на 20 мая, вторник, 14:30?');
  assert.deepEqual(more, []);

  const { now } = pipeline;
  pipeline.now = Date.parse('2031-05-20T12:00:00Z');
  await putBack(button(notice, 'Подтверждаю'));
  pipeline.now = now;
  assert.equal(attendanceOf(recordId), 0);
  assert.deepEqual(await stateOf('confirm', recordId), { state: 'refused', reason: 'over' });
  assert.match(mila.reads()[0]?.text ?? '', /уже/);
});

test('what a process whose clock is behind was asked for waits for what is being done to the record', async () => {
  const { pool, now } = pipeline;
  const facts = {
    status: 'booked',
    startsLocal: '2031-05-20T14:30:00',
    staffId: 5,
    staffName: '',
    services: [],
  } as const;
  const answered = {
    companyId: COMPANY,
    messageId: newId(),
    recipient: 'client:1',
    records: [{ recordId: 990, ...facts }],
  };
  const asks = async (kind: 'confirm' | 'cancel', id: string) => {
    await insertActions(pool, () => id, { kind, answered, channel: 'telegram', chat: '1', now });
  };
  const claims = async (owner: string) => {
    const claimed = await claimActions(pool, { owner, leaseMs: 60_000, now, limit: 8 });
    return claimed.map(({ kind }) => kind);
  };
  const [one, other, behind] = [newId(), newId(), newId()];
  await asks('confirm', newId());
  assert.deepEqual(await claims(one), ['confirm']);
  await asks('cancel', behind.replace(/^..../, '0000'));
  assert.deepEqual(await claims(other), []);
  await pool.query("UPDATE actions SET leased_until = now() - interval '1 second' WHERE leased_by = $1", [
    one,
  ]);
  assert.deepEqual(await claims(other), ['cancel'], 'whoever did it is gone');
  await pool.query('DELETE FROM actions WHERE record_id = 990');
});

test('pressed at once, again and otherwise: written once each, in the order in which it was pressed', async () => {
  const mila = await linked(142, '79001112312');
  const recordId = await books({ phone: '+79001112312' });
  const [notice] = mila.reads();
  const writes: string[] = [];
  const slow: AnswerApi = {
    record: api.record,
    async confirmVisit(visit) {
      // Time enough for others to overtake it, as they must not.
      for (let looks = 0; looks < 100 && writes.length === 0; looks += 1) await actor.runOnce();
      await api.confirmVisit(visit);
      writes.push('confirm');
    },
    async deleteRecord(id) {
      writes.push('cancel');
      return api.deleteRecord(id);
    },
  };
  const confirm = button(notice, 'Подтверждаю');
  const cancel = button(notice, 'Отменить запись').replace('x.', 'X.');
  for (const press of [confirm, confirm, cancel, cancel]) await mila.presses(press, { alone: true });
  const actors = [actorWith(slow), actorWith(slow), actorWith(slow)];
  let claimed: number[];
  do claimed = await Promise.all(actors.map(one => one.runOnce()));
  while (claimed.some(count => count > 0));
  assert.deepEqual(writes, ['confirm', 'cancel']);
  assert.deepEqual(
    mila.reads().map(({ text }) => text),
    ['Спасибо, ждём вас: 20 мая, вторник, 14:30.', 'Запись на 20 мая, вторник, 14:30 отменена.'],
  );
  assert.equal(isDeleted(recordId), true);
});

test('one person at two salons: a button is answered to the salon whose message it is under', async () => {
  const phone = '+79001112314';
  const mila = await linked(144, phone);
  const elsewhere = COMPANY + 4;
  await pipeline.addCompany({ companyId: elsewhere });
  await settleInvite(pipeline.pool, elsewhere, 'd1d2d3d4d5d6');
  await mila.writes('/start d1d2d3d4d5d6');
  assert.match(mila.reads()[0]?.text ?? '', /Готово/, 'the number was shared before');
  const recordId = await books({ phone });
  const [notice] = mila.reads();
  await pipeline.pool.query(
    `WITH person AS (INSERT INTO people (company_id, client_id, name, phone) VALUES ($1, 7, 'Мила', $2))
     INSERT INTO messages (company_id, id, purpose, recipient, step, record_id, state, due_at, channel, kind, told_after)
     SELECT $1, id, purpose, 'client:7', step, record_id, state, due_at, channel, kind, told_after
     FROM messages WHERE company_id = $3 AND record_id = $4`,
    [elsewhere, phone, COMPANY, recordId],
  );
  const theirs = button(notice, 'Подтверждаю').replace(`.${COMPANY}.`, `.${elsewhere}.`);
  await mila.presses(theirs, { alone: true });
  const { rows } = await pipeline.pool.query('SELECT company_id AS id FROM actions WHERE record_id = $1', [
    recordId,
  ]);
  assert.deepEqual(rows, [{ id: elsewhere }]);
  await pipeline.pool.query('DELETE FROM companies WHERE company_id = $1', [elsewhere]);
  await mila.presses(button(notice, 'Подтверждаю'));
  assert.equal(attendanceOf(recordId), 2);
});

test('two clients with one phone, as a mother and her child: both are told in the chat, each is answered by itself', async () => {
  const phone = '+79001112313';
  const mila = await linked(143, phone);
  const [mother, child] = [await books({ phone }), await books({ phone }, '2031-05-21T10:00:00')];
  const [, second] = mila.reads();
  // The simulator has one client a phone.
  const clientId = 990_001;
  await pipeline.pool.query(
    `WITH child AS (INSERT INTO people (company_id, client_id, name, phone) VALUES ($1, $2, 'Аня', $3))
     UPDATE messages SET recipient = 'client:' || $2 WHERE company_id = $1 AND record_id = $4`,
    [COMPANY, clientId, phone, child],
  );
  const contacts = await findContacts(pipeline.pool, [{ companyId: COMPANY, clientId }]);
  assert.deepEqual(contacts[0]?.addresses.telegram, '143');
  await mila.presses(button(second, 'Подтверждаю'));
  assert.deepEqual([attendanceOf(mother), attendanceOf(child)], [0, 2]);
});

test('one process listens at a time; given back, the bot passes on at once', async () => {
  const other = createListener({ ...hearing, onAction: () => {} });
  const mila = person(111);
  const user = telegram.getClient(TOKEN, { userId: 111, chatId: 111 });
  assert.equal(await listener.runOnce(), 0);
  await user.sendMessage(user.makeMessage(`/start ${INVITE}`));
  assert.equal(await other.runOnce(), 0, 'the bot is listened to already');
  await listener.stop();
  assert.equal(await other.runOnce(), 1);
  assert.equal(mila.reads().length, 1);
  await other.stop();
});

test('what a process heard and could not keep is heard by the next, once', async () => {
  const replies: string[] = [];
  let steal = true;
  const account = '8000000002';
  const patient: Ear = {
    ...ear,
    account,
    // As the Bot API does: what is at or after the position comes again until a later one is asked for.
    async listen(position) {
      if (steal)
        await pipeline.pool.query(
          "UPDATE ears SET leased_until = now() - interval '1 s', leased_by = NULL WHERE account = $1",
          [account],
        );
      return position > 7
        ? { heard: [], position }
        : { heard: [{ chat: '112', kind: 'start', invite: INVITE }], position: 8 };
    },
    async reply({ text }) {
      replies.push(text);
      return { outcome: 'sent' };
    },
  };
  const slow = createListener({ ...hearing, ear: patient, onAction: () => {} });
  assert.equal(await slow.runOnce(), 0);
  const { rows } = await pipeline.pool.query("SELECT chat FROM chats WHERE chat = '112'");
  assert.deepEqual([rows, replies], [[], []], 'whoever lost the bot keeps nothing and says nothing');
  steal = false;
  const next = createListener({ ...hearing, ear: patient, onAction: () => {} });
  assert.deepEqual([await next.runOnce(), await next.runOnce()], [1, 0]);
  assert.equal(replies.length, 1);
  await Promise.all([slow.stop(), next.stop()]);
});

test('what cannot be understood is kept aside with its error, and holds up nobody, in their order', async () => {
  const replies: string[] = [];
  // A NUL, which no column of text can hold; a shape that no reader knew; a number that is none.
  const heard = [
    { chat: '113', kind: 'start', invite: INVITE },
    { chat: '114', kind: 'start', invite: 'a\0b' },
    { chat: '', kind: 'unread', raw: { message: { text: 'да' } }, error: 'TypeError' },
    { chat: '113', kind: 'contact', own: true } as unknown as Heard,
    { chat: '113', kind: 'text', text: 'стоп' },
  ] as const satisfies readonly Heard[];
  const account = '8000000003';
  const troubled: Ear = {
    ...ear,
    account,
    listen: async position => (position > 0 ? { heard: [], position } : { heard, position: heard.length }),
    async reply({ chat, text }) {
      replies.push(`${chat} ${text.slice(0, 12)}`);
      return { outcome: 'sent' };
    },
  };
  const metrics = createMetrics();
  const one = createListener({ ...hearing, metrics, ear: troubled, onAction: () => {} });
  let tries = 0;
  const fails = async () => {
    await one.runOnce();
  };
  for (
    ;
    tries < 10 &&
    (await fails().then(
      () => false,
      () => true,
    ));
    tries += 1
  );
  assert.deepEqual(replies, ['113 Студия Север', '113 Больше не пи'], 'all the others, once, in their order');
  assert.ok(tries >= 2 && tries < 10, `${tries} failures before each was known for what it is`);
  const { rows } = await pipeline.pool.query(
    "SELECT said ->> 'kind' AS kind, error FROM heard WHERE error IS NOT NULL ORDER BY id",
  );
  assert.deepEqual(
    rows.map(({ kind, error }) => `${kind}: ${error.replace(/:\d+:\d+$/, '')}`),
    ['start: error 22021', 'unread: unread: TypeError', 'contact: TypeError src/domain/phone.ts'],
  );
  assert.match(await metrics.registry.metrics(), /answers_aside_total\{channel="telegram"\} 3/);
  const [aside] = await readAside(pipeline.pool);
  assert.deepEqual([aside?.channel, aside?.count], ['telegram', 3]);
  assert.equal(await one.runOnce(), 0, 'and it is not heard again');
  await one.stop();

  // A later version of ours can read one of them.
  const kept = await listAside(pipeline.pool, 10);
  assert.deepEqual(
    kept.map(({ channel: from, kind }) => [from, kind]),
    [
      ['telegram', 'contact'],
      ['telegram', 'unread'],
      ['telegram', 'start'],
    ],
  );
  const wiser: Ear = { ...troubled, readAgain: () => [{ chat: '113', kind: 'text', text: 'старт' }] };
  const two = createListener({ ...hearing, ear: wiser, onAction: () => {} });
  const [, unread] = kept.map(({ id }) => id);
  assert.equal(await putBackAside(pipeline.pool, unread ?? 0), 1);
  assert.equal(await putBackAside(pipeline.pool, unread ?? 0), 0, 'it waits already');
  replies.length = 0;
  assert.equal(await two.runOnce(), 1);
  assert.deepEqual([replies.length, replies[0]?.slice(0, 4)], [1, '113 ']);
  assert.equal(await putBackAside(pipeline.pool, unread ?? 0), 0, 'what was heard is not heard twice');
  assert.equal(await two.runOnce(), 0);

  // A number that is none is none still; the third was erased since.
  const [contact, , start] = kept.map(({ id }) => id);
  await pipeline.pool.query('UPDATE heard SET said = NULL WHERE id = $1', [start]);
  assert.equal(await putBackAside(pipeline.pool, null), 1, 'all there is, but for what is gone');
  const failures: unknown[] = [];
  for (let round = 0; round < 3; round += 1) await two.runOnce().catch(error => failures.push(error));
  assert.equal(failures.length, 2);
  const left = await listAside(pipeline.pool, 10);
  assert.deepEqual(
    left.map(({ id, kind }) => [id, kind]),
    [
      [contact, 'contact'],
      [start, null],
    ],
  );
  assert.equal(replies.length, 1);
  await two.stop();
});

test('an update of a form that Telegram never had is not the end of what it brings', async () => {
  const updates = [
    { update_id: 7, message: { text: 'да' } },
    { update_id: 8, message: { chat: { id: 113, type: 'private' }, text: 'да' } },
  ];
  const server = await httpServer({ after: close => after(close) }, (_request, _raw, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ ok: true, result: updates }));
  });
  const odd = createTelegramEar({ token: TOKEN, apiRoot: `http://127.0.0.1:${server.port}`, waitMs: 0 });
  const { heard, position } = await odd.listen(0, new AbortController().signal);
  assert.deepEqual(
    heard.map(({ chat, kind }) => [chat, kind]),
    [
      ['', 'unread'],
      ['113', 'text'],
    ],
  );
  assert.equal(position, 9);
  assert.deepEqual(
    updates.map(update => odd.readAgain(update).map(({ kind }) => kind)),
    [['unread'], ['text']],
    'anew, as it was kept',
  );
  await odd.close();
});
