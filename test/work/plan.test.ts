/** What is said before and after a visit, through the real inbox, processor, planner and dispatcher. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import type { Channel } from '../../src/channels/channel.ts';
import { CONSOLE_TRAITS } from '../../src/channels/console.ts';
import type { PolicyDocument } from '../../src/domain/policy.ts';
import { wallOf } from '../../src/domain/time.ts';
import { addCompany, dropCompany, setCompany } from '../../src/salon/companies.ts';
import { setPolicy, showPolicy } from '../../src/salon/policies.ts';
import { previewPolicy } from '../../src/salon/preview.ts';
import { accountScope, chatScope, lockSlots } from '../../src/store/pace.ts';
import { until } from '../support/until.ts';
import { createPipeline, type Pipeline, processTogether, recordBody } from './pipeline.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const ZONE = 'Europe/Moscow';
/** Of the visit at 14:30 on Tuesday, 20 May 2031, that `recordBody` speaks of. */
const VISIT = Date.parse('2031-05-20T11:30:00Z');
const MADE = new Date(VISIT - 5 * DAY).toISOString();
const REMINDED: PolicyDocument = { settle: { any: '0ms' }, reminders: { at: ['24h', '2h'] } };

let pipeline: Pipeline;
beforeEach(async () => {
  pipeline = await createPipeline();
  await pipeline.addCompany({ companyId: 1, policy: REMINDED });
  pipeline.now = VISIT - 5 * DAY;
});
afterEach(() => pipeline.close());

async function receive(...bodies: string[]): Promise<void> {
  await inbox(...bodies);
  await pipeline.settle();
}
/** Merges without planning or sending. */
async function inbox(...bodies: string[]): Promise<void> {
  await pipeline.receive(
    1,
    bodies.map(body => ({ body, receivedAt: pipeline.now })),
  );
  await pipeline.processor.drain();
}
async function requests(): Promise<number> {
  const { rows } = await pipeline.pool.query<{ count: number }>('SELECT count(*) FROM plan_requests');
  return rows[0]?.count ?? 0;
}
const update = (data: Record<string, unknown>, id = 100) =>
  recordBody({ id, status: 'update', at: pipeline.now + 1_000, data: { create_date: MADE, ...data } });
const created = (id = 100, data: Record<string, unknown> = {}) => recordBody({ id, at: pipeline.now, data });
/** Lets time pass until `until`, stopping wherever something is due. */
async function pass(until: number): Promise<void> {
  for (;;) {
    const { rows } = await pipeline.pool.query<{ at: number | null }>(
      `SELECT min(due_at) AS at FROM messages WHERE state = 'due' AND due_at > to_timestamp($1 / 1000.0)`,
      [pipeline.now],
    );
    const at = rows[0]?.at ?? Number.POSITIVE_INFINITY;
    pipeline.now = Math.min(until, at);
    await pipeline.settle();
    if (at >= until) return;
  }
}
/** Of what was sent: what it is, and the salon's hour. */
const planned = async () => {
  const { rows } = await pipeline.pool.query<{ rule: string; at: number; records: number[] }>(
    `SELECT rule, sent_at AS at, jsonb_path_query_array(visit, '$[*].recordId') AS records FROM messages
     WHERE rule IS NOT NULL AND state = 'sent' ORDER BY sent_at, rule, record_id`,
  );
  return rows.map(
    ({ rule, at, records }) => `${rule} ${wallOf(at, ZONE).slice(5, 16)} of ${records.join('+')}`,
  );
};
const endings = async () => {
  const { rows } = await pipeline.pool.query<{ state: string; error: string | null }>(
    `SELECT state, error FROM messages WHERE rule IS NOT NULL ORDER BY planned_for, created_at, id`,
  );
  return rows.map(({ state, error }) => (error === null ? state : `${state}: ${error}`));
};

test('a visit is reminded of a day and two hours before, with what is true then', async () => {
  await receive(created());
  await pass(VISIT - 3 * HOUR);
  await receive(update({ staff: { id: 6, name: 'Ирина' }, staff_id: 6 }));
  await pass(VISIT + DAY);
  assert.deepEqual(await planned(), ['24h 05-19T14:30 of 100', '2h 05-20T12:30 of 100']);
  const [first, last] = pipeline.sent.filter(({ purpose }) => purpose === 'reminder');
  assert.match(
    first?.text ?? '',
    /^Анна, напоминаем о вашей записи\.\n\nКогда: 20 мая, вторник, 14:30\nУслуги: Стрижка, Укладка\nМастер: Ольга/,
  );
  assert.match(last?.text ?? '', /Мастер: Ирина/);
  assert.equal(last?.visit?.[0]?.staffName, 'Ирина');
});

test('a visit that moves, is called off and comes back is reminded of as it is in the end', async () => {
  await receive(created());
  await receive(update({ date: '2031-05-22 14:30:00' }));
  await receive(update({ date: '2031-05-22 14:30:00', deleted: true }));
  await pass(VISIT);
  assert.deepEqual(await planned(), []);
  await receive(update({ date: '2031-05-23 18:00:00', deleted: false }));
  await pass(VISIT + 4 * DAY);
  assert.deepEqual(await planned(), ['24h 05-22T18:00 of 100', '2h 05-23T16:00 of 100']);
});

test('two records of one visit, merged and planned by two processes at once, are one reminder', async () => {
  const other = pipeline.another();
  const bodies = Array.from({ length: 20 }, (_, index) => {
    const client = { id: 50 + Math.floor(index / 2), name: 'Анна', phone: '79160000001' };
    const date = index % 2 === 0 ? '2031-05-20 14:30:00' : '2031-05-20 15:30:00';
    return created(200 + index, { client, date });
  });
  await pipeline.receive(
    1,
    bodies.map(body => ({ body, receivedAt: pipeline.now })),
  );
  await processTogether(pipeline, other);
  await other.processor.stop();
  await Promise.all([pipeline.planner.drain(), other.planner.drain()]);
  await pipeline.settle();
  await pass(VISIT + DAY);
  const said = await planned();
  assert.equal(said.length, 20, 'two for each of ten visits');
  assert.ok(said.every(one => /of \d+\+\d+$/.test(one)));
});

test('a visit of several records is one message before it and one after, of everything and everyone', async () => {
  await pipeline.setPolicy(1, { ...REMINDED, reminders: { at: ['2h'] }, afterVisit: { review: '1h' } });
  const nails = {
    date: '2031-05-20 15:30:00',
    services: [{ id: 9, title: 'Маникюр', amount: 1 }],
    ...{ staff_id: 6, staff: { id: 6, name: 'Ирина' } },
  };
  await receive(created(101, nails), created(100));
  await pass(VISIT);
  await receive(update({ attendance: 1 }, 100), update({ ...nails, attendance: 1 }, 101));
  await pass(VISIT + DAY);
  assert.deepEqual(await planned(), ['2h 05-20T12:30 of 100+101', 'review 05-20T17:30 of 100+101']);
  const reminder = pipeline.sent.find(({ purpose }) => purpose === 'reminder');
  assert.match(
    reminder?.text ?? '',
    /Когда: 20 мая, вторник, 14:30\nУслуги: Стрижка, Укладка, Маникюр\nМастер: Ольга, Ирина/,
  );
});

test('a client who changes twice before the planner comes is planned for once, as it is in the end', async () => {
  await inbox(created(), update({ date: '2031-05-22 14:30:00' }));
  await inbox(update({ date: '2031-05-23 14:30:00' }));
  assert.equal(await requests(), 2);
  await pipeline.planner.drain();
  assert.equal(await requests(), 0);
  const { rows } = await pipeline.pool.query(
    'SELECT updated_at = created_at AS once FROM messages WHERE rule IS NOT NULL',
  );
  assert.deepEqual(rows, [{ once: true }, { once: true }], 'neither was moved');
  await pass(VISIT + 4 * DAY);
  assert.deepEqual(await planned(), ['24h 05-22T14:30 of 100', '2h 05-23T12:30 of 100']);
});

test('while the inbox is behind the planner waits up to ten seconds, and loses no reminder due meanwhile', async () => {
  const planner = pipeline.another({ isBehind: () => true }).planner;
  pipeline.now = VISIT - DAY - 5_000;
  assert.equal(await planner.runOnce(), 0, 'a pass with nothing to do');
  await inbox(created(100, { create_date: MADE }));
  assert.equal(await planner.runOnce(), 0);
  assert.equal(await requests(), 1);
  // Its moment passes before it is planned: it counts as of when the visit was merged.
  pipeline.now += 9_000;
  await pipeline.settle();
  assert.deepEqual(await planned(), ['24h 05-19T14:30 of 100']);
});

test('a visit that is called off is not reminded of, though the planner has not come yet', async () => {
  await receive(created());
  pipeline.now = VISIT - DAY;
  await inbox(update({ deleted: true }));
  await pipeline.dispatcher.drain();
  assert.deepEqual(await planned(), []);
});

test('two visits of one client that are due at one moment are two reminders, each of its own', async () => {
  await pipeline.setPolicy(1, { ...REMINDED, reminders: { at: ['20:00 the day before'] } });
  await receive(created(1, { date: '2031-05-20 10:00:00' }), created(2, { date: '2031-05-20 17:00:00' }));
  await pass(VISIT + DAY);
  assert.deepEqual(await planned(), [
    '20:00 the day before 05-19T20:00 of 1',
    '20:00 the day before 05-19T20:00 of 2',
  ]);
});

test('another policy reaches visits that are booked already', async () => {
  await receive(created());
  await pipeline.setPolicy(1, { ...REMINDED, reminders: { at: ['20:00 the day before'] } });
  await pass(VISIT + DAY);
  assert.deepEqual(await planned(), ['20:00 the day before 05-19T20:00 of 100']);
});

test('another zone of the salon moves its reminders', async () => {
  await receive(created());
  const zone = JSON.stringify({
    ...{ company_id: 1, resource: 'company', resource_id: 1, status: 'update' },
    data: { id: 1, timezone_name: 'Asia/Yekaterinburg' },
  });
  await receive(zone);
  await pass(VISIT);
  assert.deepEqual(
    await planned(),
    ['24h 05-19T12:30 of 100', '2h 05-20T10:30 of 100'],
    'by the clock of Moscow',
  );
});

test('who refuses gets none, and who wants them again gets those to come', async () => {
  const client = (sms_not: number, at: number) =>
    JSON.stringify({
      ...{ company_id: 1, resource: 'client', resource_id: 9, status: 'update' },
      data: {
        id: 9,
        name: 'Анна',
        phone: '79160000001',
        sms_not,
        last_change_date: new Date(at).toISOString(),
      },
    });
  await receive(created());
  pipeline.now += HOUR;
  await receive(client(1, pipeline.now));
  await pass(VISIT - 12 * HOUR);
  assert.deepEqual(await planned(), []);
  await receive(client(0, pipeline.now));
  await pass(VISIT);
  assert.deepEqual(await planned(), ['2h 05-20T12:30 of 100']);
});

test('a dispatcher that was down sends late what is of use yet, outside the quiet hours, and no more', async () => {
  await receive(created());
  pipeline.now = VISIT - 15 * HOUR;
  await pipeline.settle();
  assert.deepEqual(await planned(), [], 'at 23:30 the salon sleeps');
  await pass(VISIT);
  assert.deepEqual(await planned(), ['24h 05-20T09:00 of 100', '2h 05-20T12:30 of 100']);
});

test('down until the visit, nothing is said of it', async () => {
  await receive(created());
  pipeline.now = VISIT - 10 * MINUTE;
  await pipeline.settle();
  assert.deepEqual(await planned(), []);
  assert.deepEqual(await endings(), [
    'superseded: it is too late for it',
    'superseded: it is too late for it',
  ]);
});

test('a reminder whose sender died is repeated word for word, and stated as unknown once it is not true', async () => {
  const hanging: Channel = {
    name: 'console',
    traits: CONSOLE_TRAITS,
    idempotent: true,
    concurrency: 9,
    send: () => new Promise(() => {}),
  };
  await receive(created(), created(101, { client: { id: 10, name: 'Ева', phone: '79160000002' } }));
  await pipeline.dispatcher.drain();
  pipeline.now = VISIT - DAY;
  await pipeline.another({ channel: hanging }).dispatcher.runOnce();
  await receive(update({ date: '2031-05-20 18:00:00' }, 101));
  await pipeline.pool.query(
    `UPDATE messages SET leased_until = now() - interval '1 second' WHERE state = 'sending'`,
  );
  await pipeline.settle();
  const { rows } = await pipeline.pool.query(
    `SELECT record_id AS id, state FROM messages WHERE rule = '24h' AND state <> 'due' ORDER BY 1`,
  );
  assert.deepEqual(rows, [
    { id: 100, state: 'sent' },
    { id: 101, state: 'unknown' },
  ]);
});

test('a reminder that may have left is not sent again once its provider has forgotten it', async () => {
  const forgetful: Channel = {
    ...{ name: 'console', traits: CONSOLE_TRAITS, idempotent: true, remembersMs: 45_000, concurrency: 9 },
    async send(message) {
      pipeline.sent.push(message);
      return { outcome: 'unknown', reason: 'no answer' };
    },
  };
  await receive(created());
  pipeline.sent.length = 0;
  pipeline.now = VISIT - DAY;
  const { dispatcher } = pipeline.another({ channel: forgetful });
  await dispatcher.drain();
  pipeline.now += MINUTE;
  await pipeline.pool.query(
    `UPDATE messages SET leased_until = now() - interval '1 second' WHERE state = 'sending'`,
  );
  await dispatcher.drain();
  assert.equal(pipeline.sent.length, 1);
  assert.deepEqual((await endings())[0], 'unknown: it may have gone out; its outcome was lost');
});

test('retries keep their hour when the client’s plan is made again', async () => {
  await receive(created());
  pipeline.answers = [{ outcome: 'retry', reason: 'busy', retryAfterMs: 10 * MINUTE }];
  pipeline.now = VISIT - DAY;
  await pipeline.settle();
  await receive(update({ seance_length: 5400 }));
  assert.deepEqual(await planned(), []);
  pipeline.now += 11 * MINUTE;
  await pipeline.settle();
  assert.deepEqual(await planned(), ['24h 05-19T14:41 of 100']);
});

test('a client gets no more a day than the policy allows', async () => {
  await pipeline.setPolicy(1, {
    ...REMINDED,
    reminders: { at: ['3h', '2h', '1h'] },
    limits: { perDay: 2 },
  });
  await receive(created());
  await pass(VISIT);
  assert.deepEqual(await planned(), ['3h 05-20T11:30 of 100', '2h 05-20T12:30 of 100']);
  assert.ok((await endings()).includes('superseded: the limit of messages a day is reached'));
});

/** Reminders of two visits are due at one moment of a day that has room for one. */
async function twoAtOnce(): Promise<void> {
  await pipeline.setPolicy(1, {
    ...REMINDED,
    reminders: { at: ['20:00 the day before'] },
    limits: { perDay: 1 },
  });
  await receive(created(1, { date: '2031-05-20 10:00:00' }), created(2, { date: '2031-05-20 17:00:00' }));
  pipeline.now = Date.parse('2031-05-19T20:00:00+03:00');
}

test('two that are taken up together count against each other', async () => {
  await twoAtOnce();
  assert.equal(await pipeline.dispatcher.runOnce(), 2, 'one batch');
  await pipeline.dispatcher.drain();
  assert.deepEqual((await endings()).sort(), ['sent', 'superseded: the limit of messages a day is reached']);
});

test('two that two processes take up at once count against each other', async () => {
  await twoAtOnce();
  const traits = { ...CONSOLE_TRAITS, pace: { everyMs: 1, chatEveryMs: 1 } };
  const channel: Channel = {
    ...{ name: 'console', traits, idempotent: true, concurrency: 9 },
    send: async () => ({ outcome: 'sent' }),
  };
  const [first, second] = [pipeline.another({ channel }), pipeline.another({ channel })];
  const [visit, slots] = [await pipeline.pool.connect(), await pipeline.pool.connect()];
  await visit.query(`BEGIN; SELECT FROM bookings WHERE record_id = 2 FOR UPDATE;
    SELECT FROM messages WHERE record_id = 2 FOR UPDATE`);
  await slots.query('BEGIN');
  await lockSlots(slots, [accountScope('console'), chatScope('console', '')]);
  const waiting = async () => {
    const { rows } = await pipeline.pool.query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    );
    return rows.length;
  };
  const taken = first.dispatcher.runOnce();
  await until(async () => (await waiting()) === 1, {
    what: 'the first has judged one and waits for its slot',
  });
  await visit.query('ROLLBACK');
  let looked = false;
  const other = second.dispatcher.runOnce().finally(() => {
    looked = true;
  });
  await until(async () => looked || (await waiting()) === 2, { what: 'the second has looked at the other' });
  await slots.query('COMMIT');
  for (const client of [visit, slots]) client.release();
  await Promise.all([taken, other]);
  await Promise.all([first.dispatcher.drain(), second.dispatcher.drain()]);
  // Each may have left the other one to whoever held its client or its row just then.
  await first.dispatcher.drain();
  assert.deepEqual((await endings()).sort(), ['sent', 'superseded: the limit of messages a day is reached']);
});

test('what is booked while a company moves to another zone moves with it', async () => {
  await inbox(created(1));
  const person = await pipeline.pool.connect();
  await person.query('BEGIN; SELECT FROM people WHERE client_id = 9 FOR UPDATE');
  const booking = inbox(created(2));
  await until(
    async () => {
      const { rows } = await pipeline.pool.query(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      );
      return rows.length === 1;
    },
    { what: 'the second visit is written, by the old zone' },
  );
  const { pool, vault } = pipeline;
  await setCompany({ pool, vault, actor: 'command' }, 1, { zone: 'Asia/Almaty' });
  await person.query('ROLLBACK');
  person.release();
  await booking;
  await pipeline.planner.drain();
  const { rows } = await pipeline.pool.query(
    `SELECT record_id AS id, starts_at = starts_local AT TIME ZONE 'Asia/Almaty' AS moved FROM bookings ORDER BY 1`,
  );
  assert.deepEqual(rows, [
    { id: 1, moved: true },
    { id: 2, moved: true },
  ]);
});

test('a company that comes back with another policy and zone has its clients planned for by these', async () => {
  await pipeline.setPolicy(1, { reminders: { at: [] } });
  await receive(created());
  const deps = { pool: pipeline.pool, vault: pipeline.vault, actor: 'command' } as const;
  await dropCompany(deps, 1);
  await addCompany(deps, {
    ...{ companyId: 1, title: 'Студия Север', zone: 'Asia/Almaty', brand: 'yclients', locale: 'ru' },
    ...{ route: ['console'], webhookUrl: null, botApiPrefix: null, signatureRequired: false },
    policy: { ...REMINDED, reminders: { at: ['24h'] } },
  });
  await pipeline.planner.drain();
  const { rows } = await pipeline.pool.query(
    "SELECT visit_at AS visit, due_at AS due FROM messages WHERE purpose = 'reminder' AND state = 'due'",
  );
  const visit = Date.parse('2031-05-20T14:30:00+05:00');
  assert.deepEqual(rows, [{ visit, due: visit - DAY }]);
});

test('one that is being sent counts, so does one that may have left; the next day is another', async () => {
  await pipeline.setPolicy(1, { ...REMINDED, reminders: { at: ['26h', '3h', '2h'] }, limits: { perDay: 1 } });
  await receive(created());
  const held: Channel = {
    ...{ name: 'console', traits: CONSOLE_TRAITS, idempotent: false, concurrency: 9 },
    send: async () => {
      if (pipeline.now === VISIT - 3 * HOUR) {
        // The next one falls due meanwhile.
        pipeline.now = VISIT - 2 * HOUR;
        await pipeline.dispatcher.drain();
      }
      return { outcome: 'unknown', reason: 'nobody answered' };
    },
  };
  const { dispatcher } = pipeline.another({ channel: held });
  for (const hours of [26, 3]) {
    pipeline.now = VISIT - hours * HOUR;
    await dispatcher.drain();
  }
  assert.deepEqual(await endings(), [
    'unknown: nobody answered',
    'unknown: nobody answered',
    'superseded: the limit of messages a day is reached',
  ]);
});

test('a client gets no more advertising a day than the policy allows, and reviews all the same', async () => {
  const at = (hour: number, minute = 0) =>
    Date.parse('2031-05-20T00:00:00+03:00') + hour * HOUR + minute * MINUTE;
  const clients = [0, 1, 2].map(id => ({
    client: { id: 20 + id, name: 'Анна', phone: '79160000001', is_newsletter_allowed: 1 },
  }));
  const document = { ...REMINDED, reminders: { at: [] }, afterVisit: { review: '10m', rebook: '20m' } };
  const day = async (advertisingPerDay: number | null, first: number, whose: object | undefined) => {
    await pipeline.setPolicy(1, { ...document, limits: { advertisingPerDay } });
    pipeline.now = at(9);
    await receive(created(first, { ...whose, date: '2031-05-20 10:00:00' }));
    await pass(at(11));
    await receive(update({ ...whose, date: '2031-05-20 10:00:00', attendance: 1 }, first));
    await pass(at(12));
    // They come once more on the same day.
    const again = {
      ...whose,
      date: '2031-05-20 15:00:00',
      create_date: new Date(pipeline.now).toISOString(),
    };
    await receive(created(first + 1, again));
    await pass(at(16));
    await receive(update({ ...again, attendance: 1 }, first + 1));
    await pass(at(17));
    return (await planned())
      .map(one => one.replace(/ 05-20T.* of/, ''))
      .filter(one => one.match(`${first}|${first + 1}`));
  };
  assert.deepEqual(await day(1, 1, clients[0]), ['review 1', 'rebook 1', 'review 2']);
  assert.deepEqual(await day(null, 3, clients[1]), ['review 3', 'rebook 3', 'review 4', 'rebook 4']);
  assert.deepEqual(await day(0, 5, clients[2]), ['review 5', 'review 6']);
});

test('after the visit: a review where the client came, by the policy', async () => {
  await pipeline.setPolicy(1, {
    ...REMINDED,
    reminders: { at: [] },
    afterVisit: { review: '2h', noShow: '1h' },
  });
  const eva = { id: 10, name: 'Ева', phone: '79160000002' };
  await receive(created(), created(101, { client: eva }));
  pipeline.now = VISIT + 10 * MINUTE;
  await receive(update({ attendance: 1 }), update({ attendance: -1, client: eva }, 101));
  await pass(VISIT + 2 * DAY);
  assert.deepEqual(await planned(), ['no_show 05-20T15:40 of 101', 'review 05-20T17:30 of 100']);
});

test('who called off by attendance -1 is not told that they did not come, whatever is edited afterwards', async () => {
  const document = { ...REMINDED, reminders: { at: [] }, afterVisit: { noShow: '1h' } };
  await pipeline.setPolicy(1, document);
  const eva = { id: 10, name: 'Ева', phone: '79160000002' };
  await receive(created(), created(101, { client: eva }));
  await pass(VISIT - 3 * HOUR);
  await receive(update({ attendance: -1 }), update({ attendance: -1, client: eva }, 101));
  assert.deepEqual(
    pipeline.sent.map(({ notice }) => notice?.kind),
    ['booked', 'booked', 'cancelled', 'cancelled'],
  );
  pipeline.now = VISIT + HOUR;
  await receive(
    update({ attendance: -1, seance_length: 5400 }),
    update({ attendance: -1, client: eva, comment: 'заболела' }, 101),
  );
  // Plans for everybody anew.
  await pipeline.setPolicy(1, { ...document, settle: { any: '1s' } });
  await pipeline.settle();
  await pass(VISIT + 2 * DAY);
  assert.deepEqual(await planned(), []);
  const { rows } = await pipeline.pool.query('SELECT DISTINCT state FROM bookings');
  assert.deepEqual(rows, [{ state: 'cancelled' }]);
});

test('a review counts from the mark, not from what is edited after it', async () => {
  await pipeline.setPolicy(1, { ...REMINDED, reminders: { at: [] }, afterVisit: { review: '2h' } });
  await receive(created());
  pipeline.now = VISIT + 65 * MINUTE;
  await receive(update({ attendance: 1 }));
  await pass(VISIT + 2 * HOUR);
  await receive(update({ attendance: 1, seance_length: 3000, comment: 'чай' }));
  await pass(VISIT + 2 * DAY);
  assert.deepEqual(await planned(), ['review 05-20T17:35 of 100']);
});

test('an invitation to book again is for those who agreed, and for none who has booked', async () => {
  await pipeline.setPolicy(1, { ...REMINDED, reminders: { at: [] }, afterVisit: { rebook: '20d' } });
  const client = (id: number, agreed: number) =>
    ({ client: { id, name: 'Анна', phone: '79160000001', is_newsletter_allowed: agreed } }) as const;
  await receive(created(1, client(21, 1)), created(2, client(22, 0)), created(3, client(23, 1)));
  pipeline.now = VISIT + HOUR;
  await receive(...[1, 2, 3].map(id => update({ attendance: 1, ...client(20 + id, id % 2) }, id)));
  await receive(created(4, { ...client(23, 1), date: '2031-07-01 12:00:00' }));
  await pass(VISIT + 25 * DAY);
  assert.deepEqual(await planned(), ['rebook 06-09T15:30 of 1']);
  assert.match(pipeline.sent.at(-1)?.text ?? '', /Реклама/);
});

test('who refuses advertising alone is told of their visits and invited no more; who refuses the rest gets neither', async () => {
  await pipeline.setPolicy(1, { ...REMINDED, reminders: { at: ['24h'] }, afterVisit: { rebook: '20d' } });
  const client = (id: number) =>
    ({ client: { id, name: 'Анна', phone: `7916000000${id}`, is_newsletter_allowed: 1 } }) as const;
  const refused = { 1: ['advertising'], 2: ['service'], 3: [] };
  for (const [id, categories] of Object.entries(refused)) {
    await pipeline.pool.query(
      `WITH place AS (INSERT INTO addresses (company_id, client_id, channel, address) VALUES (1, $1, 'console', $2))
       INSERT INTO consents (company_id, channel, address, category, granted, words, given_at)
       SELECT 1, 'console', $2, unnest($3::text[]), false, 'at the desk', now()`,
      [id, `place of ${id}`, categories],
    );
  }
  await receive(...[1, 2, 3].map(id => created(id, client(id))));
  await pass(VISIT + HOUR);
  await receive(...[1, 2, 3].map(id => update({ attendance: 1, ...client(id) }, id)));
  await pass(VISIT + 25 * DAY);
  const told = (id: number) =>
    pipeline.sent
      .filter(({ recipient }) => recipient.clientId === id)
      .map(({ purpose }) => purpose)
      .sort();
  assert.deepEqual([1, 2, 3].map(told), [['notice', 'reminder'], [], ['notice', 'rebook', 'reminder']]);
});

test('a change that the policy tells nobody of counts as heard', async () => {
  await pipeline.setPolicy(1, { settle: { any: '0ms' }, tell: { booked: { admin: [] } } });
  await receive(created());
  await receive(update({ date: '2031-05-21 10:00:00' }));
  assert.deepEqual(
    pipeline.sent.map(message => message.notice?.kind),
    ['rescheduled'],
  );
  assert.equal(pipeline.sent[0]?.notice?.before?.startsLocal, '2031-05-20T14:30:00');
});

test('notices wait for the morning where the policy says so, but not past the visit', async () => {
  await pipeline.setPolicy(1, { settle: { any: '0ms' }, quietHours: { notices: 'defer' } });
  pipeline.now = Date.parse('2031-05-19T20:00:00Z');
  await receive(created(1), created(2, { date: '2031-05-20 08:00:00' }));
  assert.deepEqual(
    pipeline.sent.map(message => message.recordId),
    [2],
  );
  await pass(VISIT);
  assert.deepEqual(
    pipeline.sent.map(message => message.recordId),
    [2, 1],
  );
});

test('a preview says what will be said of a booking and what will not, and why', async () => {
  await pipeline.setPolicy(1, {
    ...REMINDED,
    afterVisit: { rebook: '30d' },
    tell: { booked: { admin: [] } },
  });
  await receive(created());
  await pass(VISIT - 20 * HOUR);
  const preview = await previewPolicy(pipeline.pool, 1, { recordId: 100 }, { now: pipeline.now });
  assert.deepEqual(preview.messages, [
    {
      ...{ purpose: 'reminder', rule: '2h', at: '2031-05-20T09:30:00.000Z', atLocal: '2031-05-20T12:30:00' },
      ...{ why: '2h before it', if: null },
    },
    {
      ...{
        purpose: 'rebook',
        rule: 'rebook',
        at: '2031-06-19T12:30:00.000Z',
        atLocal: '2031-06-19T15:30:00',
      },
      ...{ why: 'after the visit', if: 'they come, allow advertising and do not book again' },
    },
  ]);
  assert.deepEqual(preview.said, [{ purpose: 'reminder', rule: '24h', at: '2031-05-19T11:30:00.000Z' }]);
  assert.deepEqual(preview.not, [{ purpose: 'reminder', rule: '24h', why: 'it was said' }]);
  assert.deepEqual(preview.changes[0], { kind: 'booked', to: [], settleMs: 0 });
});

test('a preview of a booking that there might be, by a policy that is not kept', async () => {
  const about = { startsLocal: '2031-05-20T09:30:00', durationSeconds: 3600, origin: 'widget' } as const;
  const document = { reminders: { at: ['1d', '90m'], minimumLead: '1h' } };
  const preview = await previewPolicy(pipeline.pool, 1, about, { document, now: pipeline.now });
  assert.deepEqual(
    preview.messages.map(({ rule, atLocal }) => `${rule} ${atLocal}`),
    ['1d 2031-05-19T09:30:00'],
  );
  assert.deepEqual(preview.not, [
    { purpose: 'reminder', rule: '90m', why: 'the quiet hours end too close to the visit' },
  ]);
  assert.deepEqual(pipeline.sent, []);
  assert.equal((await showPolicy(pipeline.pool, 1)).version, 1);
});

test('a preview says what put a message off, what the day has no room for, and what follows if they come', async () => {
  const about = { startsLocal: '2031-05-20T10:30:00', durationSeconds: 3600, origin: 'widget' } as const;
  const document = {
    ...{ reminders: { at: ['3h', '2h', '1h'] }, limits: { perDay: 2 } },
    afterVisit: { review: '2h', noShow: '1h', rebook: '30d' },
  };
  const preview = await previewPolicy(pipeline.pool, 1, about, { document, now: pipeline.now });
  assert.deepEqual(
    preview.messages.map(({ rule, atLocal, why, if: condition }) => [
      rule,
      atLocal.slice(5, 16),
      why,
      condition,
    ]),
    [
      ['2h', '05-20T09:00', '2h before it; put off by the quiet hours, from 08:30', null],
      ['1h', '05-20T09:30', '1h before it', null],
      ['review', '05-20T13:30', 'after the visit, or the mark that they came', 'they come'],
      ['rebook', '06-19T11:30', 'after the visit', 'they come, allow advertising and do not book again'],
      [
        ...['no_show', '05-20T12:30', 'after the hour of the visit, or the mark that they are absent'],
        'they are marked as absent and do not book again',
      ],
    ],
  );
  const limited = await previewPolicy(pipeline.pool, 1, about, {
    document: { ...document, limits: { perDay: 1 } },
    now: pipeline.now,
  });
  assert.deepEqual(
    limited.not.map(({ rule, why }) => `${rule}: ${why}`),
    ['3h: the quiet hours put it together with 2h', '1h: the limit of messages a day is reached'],
  );
  assert.deepEqual(pipeline.sent, []);
});

test('every version of a policy is kept, and a document with a fault changes nothing', async () => {
  const deps = { pool: pipeline.pool, actor: 'api' } as const;
  const set = await setPolicy(deps, 1, { reminders: { at: ['24 h'] } });
  assert.deepEqual([set.version, set.document], [2, { reminders: { at: ['24h'] } }]);
  assert.equal(set.effective.reminders?.minimumLead, '30m');
  await assert.rejects(setPolicy(deps, 1, { reminders: { att: [] } }), {
    message: 'the policy is refused:\n  reminders.att is not known; did you mean at?',
  });
  const shown = await showPolicy(pipeline.pool, 1);
  assert.deepEqual(
    shown.versions.map(({ version, actor }) => `${version} by ${actor}`),
    ['2 by api', '1 by company.add'],
  );
});
