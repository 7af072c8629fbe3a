/**
 * What a client says in words, in Telegram, MAX, VK and by SMS: that they come, or do not, or want another hour. Of that
 * the salon's own people are told where the client cannot move the visit.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import Fastify from 'fastify';
import { TelegramServer } from 'telegram-test-api/lib/telegramServer.js';
import type { Channel, Outgoing } from '../../src/channels/channel.ts';
import { CONSOLE_TRAITS } from '../../src/channels/console.ts';
import { createMax } from '../../src/channels/max.ts';
import { createMaxEar, maxUpdates } from '../../src/channels/max-ear.ts';
import { createSmsc } from '../../src/channels/smsc.ts';
import { createSmscEar } from '../../src/channels/smsc-ear.ts';
import { createTelegram } from '../../src/channels/telegram.ts';
import { createTelegramEar } from '../../src/channels/telegram-ear.ts';
import { createVk } from '../../src/channels/vk.ts';
import { createVkEar, vkUpdates } from '../../src/channels/vk-ear.ts';
import { writePress } from '../../src/domain/answer.ts';
import { addReceiptRoutes } from '../../src/http/receipts.ts';
import { createLog } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import { addMember, removeMember } from '../../src/salon/team.ts';
import { type AnswerApi, createActor } from '../../src/work/act.ts';
import { createListener } from '../../src/work/listen.ts';
import { personalInvite } from '../../src/work/personal.ts';
import { freePort } from '../support/ports.ts';
import { COMPANY, createAnswering } from './answering.ts';
import { startMax, startSmsc, startVk } from './messengers.ts';

const TOKEN = '7000000003:AAF-not-a-real-token-0123456789abcde';
const VK_SECRET = 'aSecretWord123';
const SECRET = 's'.repeat(43);
const ending = { after: (close: () => Promise<unknown>) => after(close) };

// Messages are read by their places in what it keeps, and for the minute that is usual a busy machine may be too slow.
const telegram = new TelegramServer({ port: await freePort(), host: '127.0.0.1', storeTimeout: 3_600 });
const [max, vk, smsc] = await Promise.all([
  startMax(ending, TOKEN),
  startVk(ending, TOKEN, VK_SECRET),
  startSmsc(ending, TOKEN),
]);
const bot = { token: TOKEN, apiRoot: `http://127.0.0.1:${telegram.config.port}` };
const atMax = { token: TOKEN, apiUrl: max.url };
const atVk = { token: TOKEN, apiUrl: vk.url };
const sms = createSmsc({ token: TOKEN, maxParts: 4, apiUrl: smsc.url });
const ears = [
  createTelegramEar({ ...bot, waitMs: 0 }),
  createMaxEar(atMax),
  createVkEar(atVk),
  createSmscEar({ token: TOKEN, apiUrl: smsc.url, channel: sms, everyMs: 0 }),
];

/** What the administrators got. */
const desk: Outgoing[] = [];
const deskChannel: Channel = {
  ...{ name: 'console', traits: CONSOLE_TRAITS, idempotent: true, concurrency: 1 },
  async send(message) {
    desk.push(message);
    return { outcome: 'sent' };
  },
};
const { pipeline, api, books, tellsOf, settles, stateOf, attendanceOf, isDeleted, close } =
  await createAnswering(createTelegram(bot), {
    answers: true,
    others: [createMax(atMax), createVk(atVk), sms, deskChannel],
  });
const { pool, vault } = pipeline;
const common = { pool, log: createLog('silent'), metrics: createMetrics(), now: () => pipeline.now };
const app = Fastify();
const readers = new Map([
  ['max' as const, maxUpdates(TOKEN)],
  ['vk' as const, vkUpdates({ confirmation: '1a2b3c4d', secret: VK_SECRET })],
]);
addReceiptRoutes(app, common, { pool, secretsOf: async () => [SECRET], readers });
const root = await app.listen({ host: '127.0.0.1', port: 0 });
const addressOf = (channel: string) => `${root}/receipts/${channel}/${SECRET}`;
const listeners = ears.map(ear =>
  createListener({
    ...{ ...common, vault, ear, updatesUrl: async () => addressOf(ear.channel) },
    onAction: () => {},
  }),
);
const linkless: AnswerApi = {
  ...api,
  async record(id) {
    const { short_link: _, ...rest } = (await api.record(id)) as Record<string, unknown>;
    return rest;
  },
};
const actorOf = (given: AnswerApi) =>
  createActor({
    ...{ ...common, mouths: new Map(ears.map(ear => [ear.channel, ear])), random: () => 0.5 },
    ...{ apiOf: async () => given, onFound: () => {} },
  });
const actor = actorOf(linkless);
async function hears() {
  for (const listener of listeners) while ((await listener.runOnce()) > 0);
  while ((await actor.runOnce()) > 0);
  await settles();
}

/** One person wherever they are: says something there, and reads what came. */
type Person = {
  says(text: string): Promise<unknown>;
  opens(invite: string): Promise<unknown>;
  reads(): string[];
};
const PEOPLE: Record<string, (phone: string) => Person> = {
  telegram() {
    const user = telegram.getClient(TOKEN, { userId: 401, chatId: 401, firstName: 'Мила' });
    let read = 0;
    const says = (text: string) =>
      user.sendMessage(user.makeMessage(text, { date: Math.floor(pipeline.now / 1000) }));
    return {
      says,
      opens: invite => says(`/start ${invite}`),
      reads() {
        const all = telegram.storage.botMessages.map(({ message }) => String(message.text));
        const fresh = all.slice(read);
        read = all.length;
        return fresh;
      },
    };
  },
  max() {
    const { writes, opens, chat } = max.person(402);
    return { says: writes, opens, reads: () => max.reads(chat).map(({ text }) => text) };
  },
  vk() {
    const { writes, opens, chat } = vk.person(403);
    return { says: writes, opens, reads: () => vk.reads(chat).map(({ text }) => text) };
  },
  sms: phone => ({
    says: async text => smsc.texts(phone, text),
    opens: async () => {},
    reads: () => smsc.reads(phone).map(({ text }) => text),
  }),
};

const DEPS = { pool, actor: 'command' } as const;
const ADMINISTRATOR = { companyId: COMPANY, role: 'administrator', staffId: null, name: '' } as const;
const join = () => addMember({ ...DEPS, now: 0 }, ADMINISTRATOR, { channel: 'console', address: '' });
const asked = () => desk.filter(({ notice }) => notice?.kind === 'move_asked');
let memberId = 0;

before(async () => {
  await telegram.start();
  for (const [name, { calls }] of [
    ['max', max],
    ['vk', vk],
  ] as const)
    Object.assign(calls, { address: addressOf(name), now: () => pipeline.now });
  for (const listener of listeners) await listener.runOnce();
  max.calls.headers = { 'x-max-bot-api-secret': String(max.subscriptions[0]?.secret ?? '') };
  await pipeline.setPolicy(COMPANY, { team: { administrator: { quietHours: { notices: 'send' } } } });
  await pool.query("UPDATE companies SET phone = '+7 495 000-00-00' WHERE company_id = $1", [COMPANY]);
  ({ memberId } = await join());
});
after(async () => {
  await app.close();
  await Promise.all(ears.map(ear => ear.close()));
  await close();
  await telegram.stop();
});

async function linked(name: string, phone: string): Promise<Person> {
  const mila = PEOPLE[name]?.(phone);
  assert.ok(mila);
  const recordId = await books({ phone });
  const { rows } = await pool.query('SELECT client_id AS id FROM bookings WHERE record_id = $1', [recordId]);
  const client = { companyId: COMPANY, clientId: Number(rows[0].id) };
  await mila.opens(personalInvite(vault, client, pipeline.now).invite);
  await hears();
  mila.reads();
  return mila;
}

/** Linked by the first test of each. */
const people = new Map<string, Person>();

for (const [index, name] of Object.keys(PEOPLE).entries()) {
  test(`${name}: «перенести» is told to an administrator, once, and the client that it was`, async () => {
    const phone = `+7900111660${index}`;
    const mila = await linked(name, phone);
    people.set(name, mila);
    const recordId = await books({ phone }, `2031-05-2${index + 1}T10:00:00`);
    assert.equal(mila.reads().length, 1, `the notice came by ${name}`);
    const before = asked().length;
    await mila.says('Перенести');
    await hears();
    await mila.says('перенести');
    await hears();
    const [request, ...more] = asked().slice(before);
    assert.deepEqual(more, [], 'who asks twice is told of once');
    assert.deepEqual([request?.purpose, request?.recordId], ['request', recordId]);
    assert.match(
      request?.text ?? '',
      new RegExp(`^Клиент просит перенести запись.*\\n\\nКлиент: Мила\\nКогда: 2${index + 1} мая`),
    );
    const said = mila.reads();
    assert.equal(said.length, 2);
    for (const text of said) {
      assert.match(text, new RegExp(`^Передали администратору.*перенести запись \\(2${index + 1} мая`));
      assert.match(text, /\+7 495 000-00-00/);
    }
    assert.deepEqual(await stateOf('move', recordId), { state: 'done', reason: 'passed_on' });
  });
}

/** Says it, and reads what comes back. */
async function replies(mila: Person | undefined, text: string): Promise<string[]> {
  await mila?.says(text);
  await hears();
  return mila?.reads() ?? [];
}
const DAYS = ['воскресенье', 'понедельник', 'вторник', 'среда'];
const QUESTION = /^Отменить запись на .*\? Ответьте: да, отменить$/;
const AGAIN = /^Чтобы отменить запись на .*, ответьте: да, отменить\. Чтобы она осталась: нет$/;

for (const [index, name] of Object.keys(PEOPLE).entries()) {
  test(`${name}: asked whether to cancel, «нет» keeps the visit, «да» does neither, «приду» confirms`, async () => {
    const mila = people.get(name);
    const recordId = await books({ phone: `+7900111660${index}` }, `2031-06-0${index + 1}T10:00:00`);
    mila?.reads();
    assert.match((await replies(mila, 'Отмена'))[0] ?? '', QUESTION);
    assert.deepEqual(await replies(mila, 'Нет'), ['Хорошо, запись остаётся.']);
    assert.match((await replies(mila, 'нет'))[0] ?? '', QUESTION, 'that question was answered');
    for (const text of ['Да', 'подтверждаю']) assert.match((await replies(mila, text))[0] ?? '', AGAIN);
    assert.deepEqual([attendanceOf(recordId), isDeleted(recordId)], [0, false]);
    assert.deepEqual(
      await replies(mila, 'Приду'),
      name === 'sms' ? [] : [`Спасибо, ждём вас: ${index + 1} июня, ${DAYS[index]}, 10:00.`],
    );
    assert.equal(attendanceOf(recordId), 2);
    assert.match((await replies(mila, 'да, отменить'))[0] ?? '', QUESTION, 'that one was, too');
    await replies(mila, 'да');
    assert.match(
      (await replies(mila, 'да, отменить'))[0] ?? '',
      /отменена/,
      'after the second question as well',
    );
    assert.equal(isDeleted(recordId), true);
  });
}

test('a message that came after the question is what a word is about, and not what was asked before', async () => {
  const phone = '+79001116603';
  const mila = people.get('sms');
  const first = await books({ phone }, '2031-06-11T10:00:00');
  await replies(mila, 'отмена');
  pipeline.now += 1_000;
  const second = await books({ phone }, '2031-06-12T10:00:00');
  mila?.reads();
  assert.deepEqual(await replies(mila, 'да'), []);
  assert.deepEqual([attendanceOf(first), attendanceOf(second)], [0, 2]);
  assert.match((await replies(mila, 'отмена'))[0] ?? '', /12 июня/);
  pipeline.now += 1_000;
  const third = await books({ phone }, '2031-06-13T10:00:00');
  mila?.reads();
  assert.match((await replies(mila, 'нет'))[0] ?? '', /13 июня.*\?/);
  pipeline.now += 1_000;
  await books({ phone }, '2031-06-15T10:00:00');
  mila?.reads();
  assert.match((await replies(mila, 'да, отменить'))[0] ?? '', /13 июня.*отменена/);
  assert.deepEqual([first, second, third].map(isDeleted), [false, false, true]);
});

test('confirmed in two messengers at once: it is written once, and answered', async () => {
  const phone = '+79001116600';
  const recordId = await books({ phone }, '2031-06-14T10:00:00');
  const { rows } = await pool.query(
    `SELECT m.id, b.client_id AS "clientId" FROM messages m JOIN bookings b USING (company_id, record_id)
     WHERE record_id = $1 AND purpose = 'notice'`,
    [recordId],
  );
  const inMax = max.person(412);
  const client = { companyId: COMPANY, clientId: Number(rows[0].clientId) };
  await inMax.opens(personalInvite(vault, client, pipeline.now).invite);
  await hears();
  people.get('telegram')?.reads();
  max.reads(inMax.chat);
  const press = writePress({ act: 'confirm', companyId: COMPANY, messageId: rows[0].id });
  const inTelegram = telegram.getClient(TOKEN, { userId: 401, chatId: 401, firstName: 'Мила' });
  await Promise.all([inTelegram.sendCallback(inTelegram.makeCallbackQuery(press)), inMax.presses(press)]);
  await Promise.all(listeners.map(listener => listener.runOnce()));
  let writes = 0;
  const counting: AnswerApi = {
    ...api,
    confirmVisit(visit) {
      writes += 1;
      return api.confirmVisit(visit);
    },
  };
  const actors = [actorOf(counting), actorOf(counting)];
  assert.deepEqual((await Promise.all(actors.map(one => one.runOnce()))).toSorted(), [0, 1]);
  assert.deepEqual([writes, attendanceOf(recordId)], [1, 2]);
  const said = [...(people.get('telegram')?.reads() ?? []), ...max.reads(inMax.chat).map(({ text }) => text)];
  assert.deepEqual(said, ['Спасибо, ждём вас: 14 июня, суббота, 10:00.']);
});

test('what was asked is told no more once the visit was moved or called off', async () => {
  await pipeline.setPolicy(COMPANY, {
    settle: { any: '0ms', move_asked: '10m' },
    team: { administrator: { quietHours: { notices: 'send' } } },
  });
  const phone = '+79001116610';
  const mila = await linked('sms', phone);
  const ends = async (recordId: number) => {
    pipeline.now += 11 * 60_000;
    await settles();
    const { rows } = await pool.query(
      "SELECT state, error FROM messages WHERE purpose = 'request' AND record_id = $1",
      [recordId],
    );
    return rows;
  };
  const before = asked().length;
  const asks = async (datetime: string) => {
    const recordId = await books({ phone }, datetime);
    await mila.says('перенести');
    await hears();
    return recordId;
  };
  const moved = await asks('2031-05-25T10:00:00');
  await api.moveRecord(moved, { datetime: '2031-05-26T10:00:00+03:00' });
  await tellsOf(moved, 'update');
  assert.deepEqual(await ends(moved), [{ state: 'superseded', error: 'the visit was moved since' }]);
  const off = await asks('2031-05-29T10:00:00');
  await api.deleteRecord(off);
  await tellsOf(off, 'delete');
  assert.deepEqual(await ends(off), [{ state: 'superseded', error: 'the visit was called off since' }]);
  assert.equal(asked().length, before);
});

test('where nobody of the salon is told, the client is asked to call', async () => {
  await pipeline.setPolicy(COMPANY, { tell: { move_asked: { any: [] } } });
  const phone = '+79001116620';
  const mila = await linked('sms', phone);
  const asks = async (datetime: string) => {
    await books({ phone }, datetime);
    mila.reads();
    return replies(mila, 'перенести');
  };
  const call = ['Перенести запись может только салон. Позвоните: +7 495 000-00-00.'];
  const before = asked().length;
  assert.deepEqual(await asks('2031-05-27T10:00:00'), call, 'the policy tells nobody');
  await pipeline.setPolicy(COMPANY, {});
  await removeMember({ ...DEPS, now: pipeline.now }, COMPANY, memberId);
  assert.deepEqual(await asks('2031-05-28T10:00:00'), call, 'nobody is in the team');
  assert.equal(asked().length, before);
});
