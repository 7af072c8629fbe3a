/** What MAX and VK bring, through the route they call, to the salon's system; and a visit of several records. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import Fastify from 'fastify';
import type { ToldEar } from '../../src/channels/ear.ts';
import { createMax } from '../../src/channels/max.ts';
import { createMaxEar, maxUpdates } from '../../src/channels/max-ear.ts';
import type { ReceiptReader } from '../../src/channels/receipts.ts';
import { createVk } from '../../src/channels/vk.ts';
import { createVkEar, vkUpdates } from '../../src/channels/vk-ear.ts';
import { readPersonalInvite, writePersonalInvite } from '../../src/domain/answer.ts';
import { addReceiptRoutes } from '../../src/http/receipts.ts';
import { createLog } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import { inviteMember, removeMember, showTeam, type Who } from '../../src/salon/team.ts';
import { settleInvite } from '../../src/store/chats.ts';
import { listAside, putBackAside } from '../../src/store/heard.ts';
import { type AnswerApi, createActor } from '../../src/work/act.ts';
import { createListener } from '../../src/work/listen.ts';
import { personalInvite } from '../../src/work/personal.ts';
import { ApiError } from '../../src/yclients/api.ts';
import { COMPANY, createAnswering } from './answering.ts';
import { type Button, type Said, startMax, startVk } from './messengers.ts';

const MAX_TOKEN = 'f9LHodD0cOKpR-not-a-real-token-0123456789';
const VK_TOKEN = 'vk1.a.not-a-real-token-0123456789';
const VK_SECRET = 'aSecretWord123';
const INVITE = 'a1b2c3d4e5f6';
const ending = { after: (close: () => Promise<unknown>) => after(close) };
const never = new AbortController().signal;

const max = await startMax(ending, MAX_TOKEN);
const maxConfig = { token: MAX_TOKEN, apiUrl: max.url };
const inMax = await setUp(createMax(maxConfig), createMaxEar(maxConfig), maxUpdates(MAX_TOKEN));
const vk = await startVk(ending, VK_TOKEN, VK_SECRET);
const vkConfig = { token: VK_TOKEN, apiUrl: vk.url };
const inVk = await setUp(
  createVk(vkConfig),
  createVkEar(vkConfig),
  vkUpdates({ confirmation: '1a2b3c4d', secret: VK_SECRET }),
);
vk.calls.address = inVk.address;
vk.calls.now = () => inVk.pipeline.now;
max.calls.now = () => inMax.pipeline.now;

async function setUp(channel: ReturnType<typeof createMax>, ear: ToldEar, reader: ReceiptReader) {
  const salon = await createAnswering(channel, { answers: true });
  const { pipeline, api } = salon;
  await settleInvite(pipeline.pool, COMPANY, INVITE);
  const metrics = createMetrics();
  const app = Fastify();
  const secret = 's'.repeat(43);
  const readers = new Map([[ear.channel, reader]]);
  addReceiptRoutes(app, { metrics }, { pool: pipeline.pool, secretsOf: async () => [secret], readers });
  const root = await app.listen({ host: '127.0.0.1', port: 0 });
  const address = `${root}/receipts/${ear.channel}/${secret}`;
  const common = { pool: pipeline.pool, log: createLog('silent'), metrics, now: () => pipeline.now };
  const listener = createListener({
    ...{ ...common, vault: pipeline.vault, ear, updatesUrl: async () => address },
    onAction: () => {},
  });
  const actorWith = (given: AnswerApi) =>
    createActor({
      ...{ ...common, mouths: new Map([[ear.channel, ear]]), random: () => 0.5 },
      ...{ apiOf: async () => given, onFound: () => {} },
    });
  const actor = actorWith(api);
  after(async () => {
    await app.close();
    await ear.close();
    await salon.close();
  });
  return {
    ...{ ...salon, ear, address, listener, actorWith },
    async hears() {
      while ((await listener.runOnce()) > 0);
      while ((await actor.runOnce()) > 0);
    },
  };
}

function button(said: Said | undefined, label: string): Button {
  const found = said?.buttons.find(one => one.label === label);
  assert.ok(found, `no button “${label}” under “${said?.text}”: ${said?.buttons.map(one => one.label)}`);
  return found;
}
const pressOf = (said: Said | undefined, label: string) => button(said, label).press ?? '';

async function linkedInMax(userId: number, phone: string) {
  const mila = max.person(userId);
  await mila.opens(INVITE);
  await mila.shares(phone);
  await inMax.hears();
  max.reads(mila.chat);
  return mila;
}

test('MAX is told once where to bring updates, and calls with a secret that only we two know', async () => {
  await inMax.listener.runOnce();
  await inMax.listener.runOnce();
  const [subscription, ...more] = max.subscriptions;
  assert.deepEqual(more, []);
  assert.equal(subscription?.url, inMax.address);
  assert.match(String(subscription?.secret), /^[\w-]{5,256}$/);
  max.calls.address = inMax.address;
  const answer = await fetch(inMax.address, {
    method: 'POST',
    headers: { 'x-max-bot-api-secret': 'wrong' },
    body: JSON.stringify({ update_type: 'bot_started', chat_id: 1, payload: INVITE }),
  });
  assert.equal(answer.status, 404);
  max.calls.headers = { 'x-max-bot-api-secret': String(subscription?.secret) };
  assert.equal(await inMax.ear.inviteUrl(INVITE, never), `https://max.ru/sever_bot?start=${INVITE}`);
});

test('MAX is told again after a start, since its secret follows from the token, and an address of before is taken back', async () => {
  const server = await startMax(ending, MAX_TOKEN);
  const [url, next] = ['https://o.example/receipts/max/first', 'https://o.example/receipts/max/second'];
  const foreign = { url: 'https://o.example/other/max/first', secret: 'theirs' };
  server.subscriptions.push({ url, secret: 'of the token before' }, foreign);
  const ear = createMaxEar({ token: MAX_TOKEN, apiUrl: server.url });
  after(() => ear.close());
  assert.equal(await ear.subscribe?.(url, never), undefined);
  assert.deepEqual(
    server.subscriptions.map(one => one.url),
    [foreign.url, url],
  );
  const [, ours] = server.subscriptions;
  assert.notEqual(ours?.secret, 'of the token before');
  await ear.subscribe?.(url, never);
  assert.equal(server.subscriptions[1], ours, 'and is left alone until the next start');
  assert.equal(await ear.subscribe?.(next, never), undefined);
  assert.deepEqual(
    server.subscriptions.map(one => one.url),
    [foreign.url, next],
  );
});

test('a subscription that failed is tried again within a minute, one that holds every ten', async () => {
  const { pool, vault } = inMax.pipeline;
  const faults: (string | undefined)[] = ['MAX 503', undefined, undefined];
  let asked = 0;
  let now = 0;
  const ear: ToldEar = {
    ...inMax.ear,
    subscribe: async () => {
      asked += 1;
      return faults.shift();
    },
  };
  const { runOnce } = createListener({
    ...{ pool, vault, ear, log: createLog('silent'), metrics: createMetrics(), now: () => now },
    updatesUrl: async () => inMax.address,
    onAction: () => {},
  });
  const times: number[] = [];
  for (; now <= 15 * 60_000; now += 10_000) {
    const before = asked;
    await runOnce();
    if (asked > before) times.push(now / 1_000);
  }
  assert.deepEqual(times, [0, 30, 630]);
});

test('MAX: the own number links the chat; a notice is confirmed by its button, brought twice and done once', async () => {
  const mila = max.person(201);
  await mila.opens(INVITE);
  await inMax.hears();
  const [welcome] = max.reads(mila.chat);
  assert.match(welcome?.text ?? '', /Студия Север/);
  assert.deepEqual(
    welcome?.buttons.map(({ label }) => label),
    ['[Поделиться номером]'],
  );
  await mila.shares('79001113311');
  await inMax.hears();
  assert.match(max.reads(mila.chat)[0]?.text ?? '', /Готово/);
  const recordId = await inMax.books({ phone: '+79001113311' });
  const [notice] = max.reads(mila.chat);
  assert.match(notice?.text ?? '', /20 мая/);
  max.calls.times = 2;
  await mila.presses(pressOf(notice, 'Подтверждаю'));
  max.calls.times = 1;
  await inMax.hears();
  assert.equal(inMax.attendanceOf(recordId), 2);
  assert.deepEqual(
    max.reads(mila.chat).map(({ text }) => text),
    ['Спасибо, ждём вас: 20 мая, вторник, 14:30.'],
  );
  assert.equal(max.answered.length, 1, 'the button stops turning');
  const { rows } = await inMax.pipeline.pool.query('SELECT said FROM heard WHERE said IS NOT NULL');
  assert.deepEqual(rows, [], 'nothing of what was said is kept there');
});

test('MAX: a card of somebody else, or signed under another token, links nothing', async () => {
  const mila = max.person(202);
  await mila.opens(INVITE);
  await mila.shares('79001113322', { owner: 999 });
  await mila.shares('79001113322', { under: 'another token' });
  await inMax.hears();
  const [, ...refusals] = max.reads(mila.chat);
  assert.equal(refusals.length, 2);
  for (const { text } of refusals) assert.match(text, /другого человека/);
  await inMax.books({ phone: '+79001113322' });
  assert.deepEqual(max.reads(mila.chat), []);
});

test('MAX: “move” leads to the visit’s page at the platform, and where there is none to the salon’s phone', async () => {
  const mila = await linkedInMax(203, '79001113333');
  const recordId = await inMax.books({ phone: '+79001113333' });
  const [notice] = max.reads(mila.chat);
  await mila.presses(pressOf(notice, 'Перенести'));
  await inMax.hears();
  assert.deepEqual(
    max.reads(mila.chat).map(({ text }) => text),
    ['Перенести запись можно здесь: https://salon.example/c/x/'],
  );
  assert.deepEqual(await inMax.stateOf('move', recordId), { state: 'done', reason: null });
  assert.equal(inMax.attendanceOf(recordId), 0, 'nothing is written');

  const linkless: AnswerApi = {
    ...inMax.api,
    async record(id) {
      const { short_link: _, ...rest } = (await inMax.api.record(id)) as Record<string, unknown>;
      return rest;
    },
  };
  await mila.presses(pressOf(notice, 'Перенести'));
  await inMax.listener.runOnce();
  await inMax.actorWith(linkless).runOnce();
  assert.match(max.reads(mila.chat)[0]?.text ?? '', /может только салон/);
});

test('MAX: a yes in words is a confirmation, a no asks first; «стоп» and leaving end it', async () => {
  const mila = await linkedInMax(204, '79001113344');
  await mila.writes('да');
  await inMax.hears();
  assert.match(max.reads(mila.chat)[0]?.text ?? '', /отвечать не на что/);
  const recordId = await inMax.books({ phone: '+79001113344' });
  max.reads(mila.chat);
  await mila.writes('Да, отменить');
  await mila.writes('Отмена!');
  await inMax.hears();
  assert.equal(inMax.isDeleted(recordId), false);
  const questions = max.reads(mila.chat);
  assert.equal(questions.length, 2, 'who says yes before the question is asked it');
  assert.match(
    questions[1]?.text ?? '',
    /Отменить запись на 20 мая, вторник, 14:30\? Ответьте: да, отменить/,
  );
  for (const text of ['Нет.', 'Подтверждаю.']) await mila.writes(text);
  await inMax.hears();
  assert.equal(inMax.attendanceOf(recordId), 2);
  max.reads(mila.chat);
  await mila.writes('отменить');
  await inMax.hears();
  max.reads(mila.chat);
  await mila.writes('ДА, ОТМЕНИТЬ');
  await inMax.hears();
  assert.equal(inMax.isDeleted(recordId), true);
  assert.match(max.reads(mila.chat)[0]?.text ?? '', /отменена/);
  await mila.stops();
  await inMax.hears();
  const { rows } = await inMax.pipeline.pool.query(
    `SELECT granted, words FROM consents WHERE address = $1 AND category = 'service' ORDER BY id DESC LIMIT 1`,
    [mila.chat],
  );
  assert.deepEqual(rows, [{ granted: false, words: 'blocked the bot' }]);
});

test('a question is answered within the hour or asked again', async () => {
  const mila = await linkedInMax(205, '79001113355');
  const recordId = await inMax.books({ phone: '+79001113355' });
  await mila.writes('отменить');
  await inMax.hears();
  inMax.pipeline.now += 61 * 60_000;
  await mila.writes('да, отменить');
  await inMax.hears();
  assert.equal(inMax.isDeleted(recordId), false);
  assert.match(max.reads(mila.chat).at(-1)?.text ?? '', /Ответьте: да, отменить/);
});

test('a visit of several records is confirmed and cancelled whole; what fails is tried again, and one reply tells', async () => {
  const { pipeline, api } = inMax;
  const phone = '+79001113366';
  const mila = await linkedInMax(206, phone);
  const first = await inMax.books({ phone }, '2031-06-10T14:00:00');
  const second = await inMax.books({ phone }, '2031-06-10T15:00:00');
  max.reads(mila.chat);
  await pipeline.setPolicy(COMPANY, { reminders: { at: ['24h'] } });
  await pipeline.planner.drain();
  pipeline.now = Date.parse('2031-06-09T11:05:00Z');
  await inMax.settles();
  const [reminder, ...more] = max.reads(mila.chat);
  assert.deepEqual(more, []);
  let failures = 1;
  const unlucky: AnswerApi = {
    ...api,
    async confirmVisit(visit) {
      if (visit.recordId === second && failures-- > 0) throw new ApiError('unavailable', 'no answer');
      return api.confirmVisit(visit);
    },
  };
  await mila.presses(pressOf(reminder, 'Подтверждаю весь визит'));
  await inMax.listener.runOnce();
  await inMax.actorWith(unlucky).runOnce();
  assert.equal(inMax.attendanceOf(first), 2);
  assert.equal(inMax.attendanceOf(second), 0);
  assert.deepEqual(max.reads(mila.chat), [], 'nothing is promised while one of them is open');
  pipeline.now += 600_000;
  await inMax.actorWith(unlucky).runOnce();
  assert.equal(inMax.attendanceOf(second), 2);
  assert.deepEqual(
    max.reads(mila.chat).map(({ text }) => text),
    ['Спасибо, ждём вас: 10 июня, вторник, 14:00.'],
  );

  await api.moveRecord(second, { datetime: '2031-06-11T15:00:00+03:00' });
  await mila.presses(pressOf(reminder, 'Отменить весь визит'));
  await inMax.hears();
  const [question] = max.reads(mila.chat);
  await mila.presses(pressOf(question, 'Да, отменить'));
  await inMax.hears();
  assert.deepEqual([inMax.isDeleted(first), inMax.isDeleted(second)], [true, false]);
  assert.equal(
    max.reads(mila.chat)[0]?.text,
    [
      '10 июня, вторник, 14:00: Запись на 10 июня, вторник, 14:00 отменена.',
      '10 июня, вторник, 15:00: Время этой записи изменилось: новое придёт отдельным сообщением.',
    ].join('\n'),
  );
});

test('VK: its trial call is answered by the string, and what has another secret is refused', async () => {
  assert.equal(await vk.tells('confirmation', {}), '1a2b3c4d');
  await assert.rejects(vk.tells('message_new', {}, 'another'), /404/);
  assert.equal(await inVk.ear.inviteUrl(INVITE, never), `https://vk.me/sever_studio?ref=${INVITE}`);
});

test('VK: the salon’s link opens the chat, one’s own makes it an address; a button confirms', async () => {
  const mila = vk.person(301);
  await mila.opens(INVITE);
  await inVk.hears();
  assert.match(vk.reads(mila.chat)[0]?.text ?? '', /личную ссылку/);
  const { pool, vault, now } = inVk.pipeline;
  const earlier = await inVk.books({ phone: '+79001114411' });
  assert.deepEqual(vk.reads(mila.chat), [], 'nobody knows whose the chat is');
  const { rows } = await pool.query('SELECT client_id AS id FROM bookings WHERE record_id = $1', [earlier]);
  const client = { companyId: COMPANY, clientId: Number(rows[0].id) };
  const { invite } = personalInvite(vault, client, now);
  const { invite: old } = personalInvite(vault, client, now - 9 * 86_400_000);
  const parts = readPersonalInvite(invite);
  assert.ok(parts !== undefined);
  const elsewhere = COMPANY + 1;
  await inVk.pipeline.addCompany({ companyId: elsewhere });
  const altered = [{ day: parts.day + 7 }, { clientId: parts.clientId + 1 }, { companyId: elsewhere }].map(
    other => writePersonalInvite({ ...parts, ...other }),
  );
  for (const wrong of [old, ...altered, invite.replace(/.$/, last => (last === 'A' ? 'B' : 'A'))])
    await mila.opens(wrong);
  await inVk.hears();
  for (const { text } of vk.reads(mila.chat)) assert.match(text, /личную ссылку/);
  await mila.opens(invite);
  await inVk.hears();
  assert.match(vk.reads(mila.chat)[0]?.text ?? '', /Готово/);
  const { rows: words } = await pool.query('SELECT words FROM consents ORDER BY id DESC LIMIT 1');
  assert.deepEqual(words, [{ words: 'opened their own link' }], 'a link that is good yet is not kept');
  const recordId = await inVk.books({ phone: '+79001114411' }, '2031-05-21T10:00:00');
  const [notice] = vk.reads(mila.chat);
  vk.calls.times = 2;
  await mila.presses(button(notice, 'Подтверждаю'));
  vk.calls.times = 1;
  await inVk.hears();
  assert.equal(inVk.attendanceOf(recordId), 2);
  assert.equal(vk.reads(mila.chat).length, 1);
  await mila.writes('стоп', INVITE);
  await inVk.hears();
  assert.match(vk.reads(mila.chat)[0]?.text ?? '', /Больше не пишем/, 'a word stays a word behind a link');
});

test('VK: what was brought and cannot be understood is kept aside, and what came after it is answered', async () => {
  const { pool } = inVk.pipeline;
  const mila = vk.person(390);
  await mila.opens(INVITE);
  await inVk.hears();
  vk.reads(mila.chat);
  await pool.query(
    `INSERT INTO heard (channel, update_id, said) VALUES ('vk', 'poison', '{"chat": "390", "kind": "contact", "own": true}')`,
  );
  await mila.writes('стоп');
  const failures: unknown[] = [];
  for (let tries = 0; tries < 3; tries += 1) await inVk.hears().catch(error => failures.push(error));
  assert.equal(failures.length, 2, 'tried again first: the fault may be ours, and over');
  assert.deepEqual(
    vk.reads(mila.chat).map(({ text }) => text.slice(0, 15)),
    ['Больше не пишем'],
  );
  const { rows } = await pool.query(
    'SELECT update_id AS id, said IS NULL AS gone FROM heard WHERE error IS NOT NULL',
  );
  assert.deepEqual(rows, [{ id: 'poison', gone: false }]);
});

test('what was of no known form is read anew by the messenger it came from', async () => {
  const { pool } = inVk.pipeline;
  const mila = vk.person(391);
  await mila.opens(INVITE);
  await inVk.hears();
  vk.reads(mila.chat);
  const raw = {
    type: 'message_new',
    object: { message: { from_id: 391, peer_id: 391, text: 'стоп' } },
  };
  await pool.query(
    `INSERT INTO heard (channel, update_id, said, error) VALUES ('vk', 'odd', $1, 'unread: TypeError')`,
    [JSON.stringify({ chat: '', kind: 'unread', raw, error: 'TypeError' })],
  );
  await inVk.hears();
  assert.deepEqual(vk.reads(mila.chat), [], 'what is aside stays there');
  const [odd] = await listAside(pool, 1);
  assert.equal(await putBackAside(pool, odd?.id ?? 0), 1);
  await inVk.hears();
  assert.deepEqual(
    vk.reads(mila.chat).map(({ text }) => text.slice(0, 15)),
    ['Больше не пишем'],
  );

  const ears = createMaxEar(maxConfig);
  const inDialog = { recipient: { chat_id: 5, chat_type: 'dialog' }, body: { text: 'да' } };
  assert.deepEqual(ears.readAgain({ update_type: 'message_created', message: inDialog }), [
    { chat: '5', kind: 'text', text: 'да' },
  ]);
  await ears.close();
});

const WEEK_MS = 7 * 86_400_000;
/** Whoever opens the bot by what a link carries. */
const opening = {
  max: { ...inMax, said: max, person: (id: number) => max.person(id) },
  vk: { ...inVk, said: vk, person: (id: number) => vk.person(id) },
};

for (const [channel, { pipeline, books, settles, hears, said, person }] of Object.entries(opening)) {
  test(`one of the team follows a link of their own into ${channel}, once; a wrong, an old and a used one open nothing`, async () => {
    const { pool } = pipeline;
    // What the tests before have left.
    await settles();
    // The clock of the salon's platform is the real one; the tests before have left the pipeline's far ahead.
    pipeline.now = Date.now();
    const invites = (who: Pick<Who, 'role' | 'staffId'>, now = pipeline.now) =>
      inviteMember({ pool, actor: 'command', now }, { companyId: COMPANY, name: '', ...who });
    const opens = async (id: number, invite: string) => {
      const somebody = person(id);
      await somebody.opens(invite);
      await hears();
      return said.reads(somebody.chat).map(({ text }) => text);
    };
    const desk = { role: 'administrator', staffId: null } as const;
    const { memberId, invite } = await invites(desk);
    const old = await invites(desk, pipeline.now - WEEK_MS);
    const taken = await invites(desk);
    await removeMember({ pool, actor: 'command', now: pipeline.now }, COMPANY, taken.memberId);
    for (const useless of [`${invite.slice(1)}0`, invite.toUpperCase(), '', old.invite, taken.invite]) {
      const answer = await opens(401, useless);
      assert.ok(answer.length === 1 && /ссылке или QR-коду/.test(answer[0] ?? ''), `${useless}: ${answer}`);
    }
    assert.deepEqual(
      (await showTeam(pool, COMPANY)).map(member => member.since),
      [null, null],
    );

    assert.match(
      (await opens(402, invite)).join(),
      /^Студия Север: сюда будут приходить сообщения о записях/,
    );
    assert.match((await opens(403, invite)).join(), /ссылке или QR-коду/, 'it works once');
    // A messenger repeats what it was not answered in time; it is no stranger who asks.
    assert.doesNotMatch((await opens(402, invite)).join(), /ссылке или QR-коду/);
    pipeline.now = Date.now() + 1_000;
    await pipeline.setPolicy(COMPANY, {
      tell: { booked: { any: ['administrator'] } },
      team: { administrator: { quietHours: { notices: 'send' } } },
    });
    await books({ phone: '+79001114499' }, '2031-05-22T10:00:00');
    const reads = (id: number) => said.reads(person(id).chat).map(({ text }) => text);
    const [notice, ...more] = reads(402);
    assert.match(notice ?? '', /^Новая запись\.\n\nКлиент: Мила\nКогда: 22 мая/);
    assert.deepEqual([...more, ...reads(401), ...reads(403)], []);
    const members = await showTeam(pool, COMPANY);
    const places = members.map(member => [member.memberId, member.channel, member.invitedUntil]);
    assert.deepEqual(places, [
      [memberId, channel, null],
      [old.memberId, null, null],
    ]);
    for (const member of members)
      await removeMember({ pool, actor: 'command', now: pipeline.now }, COMPANY, member.memberId);
    await pipeline.setPolicy(COMPANY, {});
  });
}
