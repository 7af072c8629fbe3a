/** What masters and administrators are told, through the real inbox, processor and dispatcher. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import type { Channel, ChannelName, SendResult } from '../../src/channels/channel.ts';
import { CONSOLE_TRAITS } from '../../src/channels/console.ts';
import type { PolicyDocument } from '../../src/domain/policy.ts';
import { addMember, inviteMember, removeMember, setOthers, showTeam } from '../../src/salon/team.ts';
import { findChatCompanies, findNumberCompanies, recordConsent } from '../../src/store/chats.ts';
import { saveReceipts } from '../../src/store/receipts.ts';
import { joinTeam } from '../../src/store/team.ts';
import { statementsOf } from '../support/statements.ts';
import { createPipeline, type Pipeline, processTogether, recordBody } from './pipeline.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Of the visit at 14:30 on Tuesday, 20 May 2031, that `recordBody` speaks of. */
const VISIT = Date.parse('2031-05-20T11:30:00Z');
const OLGA = 5;
const IRINA = 6;
const QUIET: PolicyDocument = { settle: { any: '0ms' }, reminders: { at: [] } };

let pipeline: Pipeline;
beforeEach(async () => {
  pipeline = await createPipeline();
  await pipeline.addCompany({ companyId: 1, policy: QUIET });
  // At noon: no quiet hours.
  pipeline.now = VISIT - 5 * DAY;
});
afterEach(() => pipeline.close());

const deps = () => ({ pool: pipeline.pool, actor: 'command', now: pipeline.now }) as const;
const console_ = { channel: 'console', address: '' } as const;
const staff = (staffId: number) =>
  addMember(deps(), { companyId: 1, role: 'staff', staffId, name: '' }, console_);
const administrator = () =>
  addMember(deps(), { companyId: 1, role: 'administrator', staffId: null, name: '' }, console_);
/** Merges, and sends nothing. */
async function receiveOnly(...bodies: string[]): Promise<void> {
  await pipeline.receive(
    1,
    bodies.map(body => ({ body, receivedAt: pipeline.now })),
  );
  await pipeline.processor.drain();
}
async function receive(...bodies: string[]): Promise<void> {
  await receiveOnly(...bodies);
  await pipeline.settle();
}
let version = 0;
const WIDGET = { online: true, bookform_id: 3, record_from: 'Form Online widget' };
const created = (id = 100, data: Record<string, unknown> = {}) =>
  recordBody({ id, at: pipeline.now, data: { ...WIDGET, ...data } });
const update = (data: Record<string, unknown>, id = 100) => {
  version += 1;
  const at = pipeline.now + version * 1_000;
  return recordBody({ id, status: 'update', at, data: { ...WIDGET, ...data } });
};
const irinas = { staff_id: IRINA, staff: { id: IRINA, name: 'Ирина' } };
/** What was sent since the last look, in order of who. */
function news(): string[] {
  const said = pipeline.sent.map(({ recipient, notice, purpose }) => {
    const who = recipient.role ?? 'client';
    return `${who}${recipient.staffId == null ? '' : ` ${recipient.staffId}`}: ${notice?.kind ?? purpose}`;
  });
  pipeline.sent.length = 0;
  return said.sort();
}

test('a master hears of their own visits, an administrator of those that clients make and of those called off', async () => {
  await staff(OLGA);
  await staff(IRINA);
  await administrator();
  pipeline.now += MINUTE;
  await receive(created());
  assert.deepEqual(news(), ['administrator: booked', 'client: booked', 'staff 5: booked']);
  await receive(update({ date: '2031-05-20 16:00:00' }));
  assert.deepEqual(news(), ['administrator: rescheduled', 'client: rescheduled', 'staff 5: rescheduled']);
  await receive(update({ date: '2031-05-20 16:00:00', services: [{ id: 7, title: 'Стрижка', amount: 1 }] }));
  assert.deepEqual(news(), ['client: services_changed', 'staff 5: services_changed']);
  await receive(update({ date: '2031-05-20 16:00:00', deleted: true }));
  assert.deepEqual(news(), ['administrator: cancelled', 'client: cancelled', 'staff 5: cancelled']);
});

test('an administrator who wrote a visit into the journal is not told of it, and of its end all the same', async () => {
  await administrator();
  pipeline.now += MINUTE;
  const journal = { online: false, bookform_id: 0, record_from: '' };
  await receive(created(100, journal));
  await receive(update({ ...journal, date: '2031-05-20 16:00:00' }));
  assert.deepEqual(news(), ['client: booked', 'client: rescheduled']);
  await receive(update({ ...journal, date: '2031-05-20 16:00:00', attendance: -1 }));
  assert.deepEqual(news(), ['administrator: cancelled', 'client: cancelled']);
  const { rows } = await pipeline.pool.query(`SELECT FROM messages WHERE recipient LIKE 'administrator:%'`);
  assert.equal(rows.length, 1, 'what the policy does not tell costs no row');
});

test('a visit that is handed over: each master hears their own side, and nothing when it comes back at once', async () => {
  await staff(OLGA);
  await staff(IRINA);
  pipeline.now += MINUTE;
  await receive(created());
  news();
  await receive(update(irinas), update({}));
  assert.deepEqual(news(), [], 'there and back within the settle time');
  await receive(update(irinas));
  const [toOlga] = pipeline.sent.filter(({ recipient }) => recipient.staffId === OLGA);
  const [toIrina] = pipeline.sent.filter(({ recipient }) => recipient.staffId === IRINA);
  assert.match(
    toOlga?.text ?? '',
    /^Запись передана другому мастеру: Ирина\.\n\nКлиент: Анна\nКогда: 20 мая/,
  );
  assert.match(
    toIrina?.text ?? '',
    /^К вам новая запись\.\n\nКлиент: Анна\nКогда: 20 мая, вторник, 14:30\nУслуги: /,
  );
  assert.doesNotMatch(toIrina?.text ?? '', /916/, 'no phone unless the policy has it');
  assert.deepEqual(toIrina?.recipient, {
    clientId: null,
    name: '',
    phone: '',
    email: '',
    role: 'staff',
    staffId: 6,
  });
  assert.deepEqual(news(), ['client: staff_changed', 'staff 5: staff_changed', 'staff 6: booked']);
  await receive(update({ ...irinas, date: '2031-05-20 16:00:00' }));
  assert.deepEqual(news(), ['client: rescheduled', 'staff 6: rescheduled'], 'it is no longer Olga’s');
  await receive(update({ date: '2031-05-20 16:00:00' }));
  assert.deepEqual(news(), ['client: staff_changed', 'staff 5: restored', 'staff 6: staff_changed']);
});

test('that the client has confirmed is told where the policy has it, once', async () => {
  await staff(OLGA);
  await administrator();
  await pipeline.setPolicy(1, { tell: { confirmed: { any: ['administrator'] } } });
  pipeline.now += MINUTE;
  await receive(created());
  news();
  await receive(update({ attendance: 2 }));
  await receive(update({ attendance: 2, comment: 'у окна' }), update({ attendance: 2, paid_full: 1 }));
  assert.deepEqual(news(), ['administrator: confirmed']);
  await receive(update({ attendance: 2, date: '2031-05-20 16:00:00' }));
  assert.deepEqual(news(), ['administrator: rescheduled', 'client: rescheduled', 'staff 5: rescheduled']);
});

test('what is booked when somebody joins the team is no news to them; that it moves is', async () => {
  await receive(created(), created(101));
  news();
  pipeline.now += DAY;
  await staff(OLGA);
  await staff(IRINA);
  await administrator();
  pipeline.now += MINUTE;
  await pipeline.settle();
  assert.deepEqual(news(), []);
  const made = { create_date: `${new Date(pipeline.now - DAY).toISOString().slice(0, 19)}+0000` };
  await receive(update({ ...made, comment: 'просила кофе' }));
  assert.deepEqual(news(), [], 'nothing that anybody is told');
  await receive(update({ ...made, date: '2031-05-20 16:00:00' }));
  assert.deepEqual(news(), ['administrator: rescheduled', 'client: rescheduled', 'staff 5: rescheduled']);
  await receive(update({ ...made, ...irinas }, 101));
  assert.deepEqual(news(), ['client: staff_changed', 'staff 5: staff_changed', 'staff 6: booked']);
});

test('a booking that was made before somebody joined and is first seen afterwards is no news to them', async () => {
  const before = created();
  pipeline.now += MINUTE;
  await administrator();
  await receive(before);
  assert.deepEqual(news(), ['client: booked']);
});

test('who leaves the team is told no more, what is due included, and who comes to their place goes on', async () => {
  const { memberId } = await staff(OLGA);
  pipeline.now += MINUTE;
  await pipeline.receive(1, [{ body: created(), receivedAt: pipeline.now }]);
  await pipeline.processor.drain();
  await removeMember(deps(), 1, memberId);
  await pipeline.settle();
  assert.deepEqual(news(), ['client: booked']);
  await receive(update({ date: '2031-05-20 16:00:00' }));
  assert.deepEqual(news(), ['client: rescheduled']);
  const { rows } = await pipeline.pool.query<{ state: string; error: string }>(
    `SELECT state, error FROM messages WHERE recipient = 'staff:5'`,
  );
  assert.deepEqual(rows, [{ state: 'superseded', error: 'they are in the team no more' }]);
});

test('each audience has quiet hours of its own; a visit that begins before they end is told of in them', async () => {
  await staff(OLGA);
  await pipeline.setPolicy(1, { team: { staff: { quietHours: { from: '20:00', to: '09:00' } } } });
  // 20:30 in Moscow, the evening before.
  pipeline.now = VISIT - 18 * HOUR;
  await receive(created(100), created(101, { date: '2031-05-20 08:30:00' }));
  assert.deepEqual(news(), ['client: booked', 'client: booked', 'staff 5: booked']);
  pipeline.now += 12 * HOUR + 31 * MINUTE;
  await pipeline.settle();
  assert.deepEqual(news(), ['staff 5: booked']);
});

test('whom the first place does not reach is told at the next, as clients are; who takes over is told there no more', async () => {
  const sent: string[] = [];
  let refusal: SendResult | undefined;
  const channel = (name: ChannelName, address: Channel['traits']['address']): Channel => ({
    ...{ name, traits: { ...CONSOLE_TRAITS, address }, idempotent: false, concurrency: 1 },
    async send({ address: to, recipient, purpose }) {
      const answer = name === 'telegram' ? refusal : undefined;
      if (answer === undefined && recipient.role !== undefined) sent.push(`${name} ${to}: ${purpose}`);
      return answer ?? { outcome: 'sent' };
    },
  });
  const names = { telegram: 'chat', sms: 'phone', email: 'email', console: 'none' } as const;
  const channels = new Map(
    Object.entries(names).map(([name, address]) => [
      name as ChannelName,
      channel(name as ChannelName, address),
    ]),
  );
  const { dispatcher } = pipeline.another({ channels });
  const reads = async (...bodies: string[]) => {
    await receiveOnly(...bodies);
    await dispatcher.drain();
    return sent.splice(0);
  };
  const chat = { channel: 'telegram', address: '77' } as const;
  const who = { companyId: 1, role: 'staff', staffId: OLGA, name: '' } as const;
  const { memberId } = await addMember(deps(), who, chat);
  const sms = { channel: 'sms', address: '8 916 000-00-99' } as const;
  const set = (...others: Parameters<typeof setOthers>[2]) =>
    setOthers(deps(), { companyId: 1, memberId }, others);
  await set(sms, { channel: 'email', address: 'olga@salon.test' });
  pipeline.now += MINUTE;
  assert.deepEqual(await reads(created(1)), ['telegram 77: notice']);
  refusal = { outcome: 'rejected', scope: 'person', reason: 'blocked' };
  assert.deepEqual(await reads(created(2)), ['sms +79160000099: notice']);
  const { rows } = await pipeline.pool.query(
    `SELECT falls -> 0 ->> 'channel' AS channel, falls -> 0 ->> 'why' AS why FROM messages
     WHERE record_id = 2 AND recipient = 'staff:5'`,
  );
  assert.deepEqual(rows, [{ channel: 'telegram', why: 'rejected' }]);
  refusal = undefined;

  const stop = (on: string, address: string) =>
    recordConsent(pipeline.pool, {
      ...{ channel: on, chat: address, companyIds: [1], categories: ['service'], granted: false },
      ...{ words: 'стоп', at: pipeline.now },
    });
  assert.deepEqual(
    (await findNumberCompanies(pipeline.pool, { channel: 'sms', chat: '+79160000099' })).map(
      one => one.companyId,
    ),
    [1],
    'and a «стоп» by SMS is theirs',
  );
  await stop('telegram', '77');
  assert.deepEqual(await reads(created(3)), ['sms +79160000099: notice']);
  await stop('sms', '+79160000099');
  assert.deepEqual(await reads(created(4)), ['email olga@salon.test: notice']);
  const [shown] = await showTeam(pipeline.pool, 1);
  assert.deepEqual([shown?.channel, shown?.others, shown?.refuses], ['telegram', ['sms', 'email'], false]);
  await stop('email', 'olga@salon.test');
  assert.deepEqual(await reads(created(5)), []);
  assert.equal((await showTeam(pipeline.pool, 1))[0]?.refuses, true);

  const renamed = await addMember(deps(), { ...who, name: 'Ольга' }, chat);
  assert.deepEqual(renamed, { memberId, others: ['sms', 'email'] }, 'the same place is the same person');
  await assert.rejects(set({ channel: 'telegram', address: '79' }), /is on telegram already/);
  assert.deepEqual((await showTeam(pipeline.pool, 1))[0]?.others, ['sms', 'email']);
  const moved = await addMember(deps(), who, { channel: 'telegram', address: '78' });
  assert.deepEqual(moved.others, []);
  assert.deepEqual((await showTeam(pipeline.pool, 1))[0]?.others, []);
  assert.deepEqual(await reads(created(6)), ['telegram 78: notice']);
  await assert.rejects(set(sms, sms), /each channel once/);
  await assert.rejects(set({ channel: 'sms', address: 'Ольга' }), /a phone like/);
  await assert.rejects(setOthers(deps(), { companyId: 1, memberId: 999_999 }, []), /no member 999999/);
  await dispatcher.stop();
});

test('a digest or a batch which a channel took is not said again by another, though it was not delivered', async () => {
  const sent: string[] = [];
  const channel = (name: ChannelName, address: Channel['traits']['address']): Channel => ({
    ...{ name, traits: { ...CONSOLE_TRAITS, address }, idempotent: false, concurrency: 1 },
    async send({ purpose }) {
      sent.push(`${name}: ${purpose}`);
      return { outcome: 'sent', providerId: purpose };
    },
  });
  const channels = new Map<ChannelName, Channel>([
    ['sms', channel('sms', 'phone')],
    ['email', channel('email', 'email')],
  ]);
  const { dispatcher } = pipeline.another({ channels });
  const { memberId } = await addMember(
    deps(),
    { companyId: 1, role: 'administrator', staffId: null, name: '' },
    { channel: 'sms', address: '+79160000099' },
  );
  await setOthers(deps(), { companyId: 1, memberId }, [{ channel: 'email', address: 'desk@salon.test' }]);
  for (const purpose of ['digest', 'batch']) {
    await pipeline.pool.query(
      `INSERT INTO messages (company_id, id, purpose, recipient, state, due_at, planned_for, fall_at, channel, provider_id, attempts)
       VALUES (1, gen_random_uuid(), $1, $2, 'sent', now(), now(), '-infinity', 'sms', $1, 1)`,
      [purpose, `administrator:${memberId}`],
    );
    await pipeline.pool.query(
      `INSERT INTO attempts (company_id, message_id, number, channel, started_at, finished_at, outcome, provider_id)
       SELECT 1, id, 1, 'sms', now(), now(), 'sent', $1 FROM messages WHERE purpose = $1`,
      [purpose],
    );
  }
  const failed = {
    channel: 'sms',
    provider: 'sms',
    status: 'failed',
    reason: '20',
    happenedAt: null,
  } as const;
  await saveReceipts(pipeline.pool, [
    { ...failed, providerId: 'digest' },
    { ...failed, providerId: 'batch' },
  ]);
  await dispatcher.drain();
  assert.deepEqual(sent, []);
  const { rows } = await pipeline.pool.query(
    `SELECT DISTINCT error FROM messages WHERE purpose IN ('digest', 'batch')`,
  );
  assert.deepEqual(rows, [{ error: 'not sent by another channel: it is said once' }]);
  await dispatcher.stop();
});

test('one who was invited keeps the places set meanwhile when they come; who takes over is told there no more', async () => {
  const who = { companyId: 1, role: 'staff', staffId: OLGA, name: '' } as const;
  const joins = async (chat: string) => {
    const { memberId, invite } = await inviteMember(deps(), who);
    const join = () => joinTeam(pipeline.pool, { channel: 'telegram', chat, invite, now: pipeline.now });
    return { memberId, join };
  };
  const others = async () => (await showTeam(pipeline.pool, 1))[0]?.others;
  const { memberId, join } = await joins('77');
  await setOthers(deps(), { companyId: 1, memberId }, [{ channel: 'sms', address: '+79160000099' }]);
  assert.equal((await join())?.companyId, 1);
  assert.deepEqual(await others(), ['sms']);
  await (await joins('78')).join();
  assert.deepEqual(await others(), []);
});

test('who writes from a chat that is a place of theirs after the first is of that company', async () => {
  const { memberId } = await administrator();
  await setOthers(deps(), { companyId: 1, memberId }, [{ channel: 'max', address: '5001' }]);
  const of = async (channel: ChannelName, chat: string) =>
    (await findChatCompanies(pipeline.pool, { channel, chat })).map(one => [one.companyId, one.linked]);
  assert.deepEqual(await of('max', '5001'), [[1, true]]);
  assert.deepEqual(await of('max', '5002'), []);
  assert.deepEqual(await of('telegram', '5001'), []);
});

test('the client’s phone is read by those whom the policy lets, and neither it nor the name is kept', async () => {
  await administrator();
  await staff(OLGA);
  await pipeline.setPolicy(1, { team: { administrator: { clientPhone: true } } });
  pipeline.now += MINUTE;
  await receive(created());
  const textTo = (role: string) => pipeline.sent.find(({ recipient }) => recipient.role === role)?.text ?? '';
  assert.match(textTo('administrator'), /Клиент: Анна, \+79160000001\n/);
  assert.match(textTo('staff'), /Клиент: Анна\n/);
  const { rows } = await pipeline.pool.query<{ row: string }>(
    `SELECT to_jsonb(m)::text AS row FROM messages m WHERE recipient !~ '^client:'`,
  );
  assert.equal(rows.length, 2);
  // Three digits alone may be of an id or a moment.
  for (const { row } of rows) assert.doesNotMatch(row, /Анна|916\D{0,3}000/);
});

test('a move while a retry is awaited is told as it is then, once', async () => {
  await staff(OLGA);
  pipeline.now += MINUTE;
  pipeline.answers = [
    { outcome: 'retry', reason: 'later' },
    { outcome: 'retry', reason: 'later' },
  ];
  await receive(created());
  await receive(update({ date: '2031-05-20 16:00:00' }));
  news();
  pipeline.now += MINUTE;
  await pipeline.settle();
  assert.deepEqual(
    pipeline.sent.map(({ notice }) => notice?.after.startsLocal),
    ['2031-05-20T16:00:00', '2031-05-20T16:00:00'],
  );
  assert.deepEqual(news(), ['client: booked', 'staff 5: booked']);
});

test('two pairs of processes tell each of the team each change once', async () => {
  await staff(OLGA);
  await staff(IRINA);
  await administrator();
  const other = pipeline.another();
  pipeline.now += MINUTE;
  const ids = Array.from({ length: 30 }, (_, index) => 200 + index);
  await pipeline.receive(
    1,
    ids.map(id => ({ body: created(id, id % 2 === 0 ? {} : irinas), receivedAt: pipeline.now })),
  );
  await processTogether(pipeline, other);
  await other.processor.stop();
  await Promise.all([pipeline.dispatcher.drain(), other.dispatcher.drain()]);
  await pipeline.settle();
  const said = Map.groupBy(news(), one => one);
  const counts = [...said].map(([what, all]) => `${what} ${all.length}`);
  assert.deepEqual(counts, [
    'administrator: booked 30',
    'client: booked 30',
    'staff 5: booked 15',
    'staff 6: booked 15',
  ]);
});

test('without a team nothing is added: no statement, no row, nothing in what is told', async () => {
  const statements = await statementsOf(() => receive(created(), update({ date: '2031-05-20 16:00:00' })));
  assert.ok(statements.length > 10, `${statements.length} statements were seen`);
  const ofTeam = statements.filter(({ text }) => /\bteam\b/.test(text));
  // The company's row is read once a batch, whatever is in it.
  assert.deepEqual(
    ofTeam.filter(({ name }) => name !== 'find_companies'),
    [],
  );
  const { rows } = await pipeline.pool.query<{ told: object }>('SELECT told FROM bookings');
  assert.deepEqual(Object.keys(rows[0]?.told ?? {}), ['client:9']);
  const { rows: messages } = await pipeline.pool.query('SELECT FROM messages');
  assert.equal(messages.length, 1);
});
