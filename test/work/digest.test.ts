/** The administrators’ digest, through the real outbox and dispatcher. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { createLog } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import { addMember, removeMember } from '../../src/salon/team.ts';
import { createDigester } from '../../src/work/digest.ts';
import { createPipeline, type Pipeline, recordBody } from './pipeline.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** 20:00 in Moscow on the evening before 20 May 2031, the day that `recordBody` speaks of. */
const EVENING = Date.parse('2031-05-19T17:00:00Z');

let pipeline: Pipeline;
beforeEach(async () => {
  pipeline = await createPipeline();
  await pipeline.addCompany({ companyId: 1 });
  pipeline.now = EVENING - 8 * HOUR;
});
afterEach(() => pipeline.close());

const deps = () => ({ pool: pipeline.pool, actor: 'command', now: pipeline.now }) as const;
const administrator = (companyId = 1) =>
  addMember(
    deps(),
    { companyId, role: 'administrator', staffId: null, name: '' },
    { channel: 'console', address: '' },
  );
const digester = () =>
  createDigester({
    ...{ pool: pipeline.pool, log: createLog('silent'), metrics: createMetrics(), onMessages: () => {} },
    now: () => pipeline.now,
  });
async function receive(...bodies: string[]): Promise<void> {
  await pipeline.receive(
    1,
    bodies.map(body => ({ body, receivedAt: pipeline.now })),
  );
  await pipeline.settle();
}
const client = (id: number) => ({ client: { id, name: 'Анна', phone: '79160000001' } });
/** Whatever minute it is looked at in. */
async function evening(at = EVENING): Promise<void> {
  pipeline.now = at;
  await digester().runOnce();
  await pipeline.settle();
}
const digests = () => pipeline.sent.filter(({ purpose }) => purpose === 'digest');
const states = async () => {
  const { rows } = await pipeline.pool.query<{ state: string; error: string | null }>(
    `SELECT state, error FROM messages WHERE purpose = 'digest' ORDER BY step, id`,
  );
  return rows.map(({ state, error }) => (error === null ? state : `${state}: ${error}`));
};

test('it says what tomorrow is like and whom to call, with no client in it', async () => {
  await administrator();
  await receive(
    recordBody({ id: 1, at: pipeline.now, data: client(1) }),
    recordBody({ id: 2, at: pipeline.now, data: { ...client(2), attendance: 2 } }),
    recordBody({ id: 3, at: pipeline.now, data: client(3) }),
  );
  pipeline.answers = [{ outcome: 'rejected', reason: 'no such chat', scope: 'address' }];
  await receive(recordBody({ id: 4, at: pipeline.now, data: { ...client(4), date: '2031-05-20 18:00:00' } }));
  const off = { ...client(3), deleted: true, create_date: '2031-05-01T10:00:00+0300' };
  await receive(recordBody({ id: 3, status: 'update', at: pipeline.now + 1_000, data: off }));
  await evening(EVENING - 1);
  assert.deepEqual(digests(), []);
  await evening();
  const [digest] = digests();
  assert.equal(
    digest?.text,
    `20 мая, вторник: 3 визита.
Не подтверждено: 2
За сутки: новых 3, перенесено 0, отменено 1

Сообщение не дошло, стоит позвонить: 1
18:00, Ольга

Студия Север`,
  );
  assert.deepEqual(digest?.digest?.unreached, [{ startsLocal: '2031-05-20T18:00:00', staffName: 'Ольга' }]);
  await evening(EVENING + 10 * MINUTE);
  assert.equal(digests().length, 1);
});

test('two processes that look at once put one a day and administrator into the outbox and send it once', async () => {
  await pipeline.setPolicy(1, { team: { digest: { whenEmpty: true } } });
  await pipeline.addCompany({ companyId: 2, policy: { team: { digest: { whenEmpty: true } } } });
  await administrator();
  await administrator(2);
  const other = pipeline.another();
  for (let day = 0; day < 5; day += 1) {
    pipeline.now = EVENING + day * DAY;
    await Promise.all([1, 2, 3, 4].map(() => digester().runOnce()));
    await Promise.all([pipeline.dispatcher.drain(), other.dispatcher.drain()]);
  }
  const perDay = Map.groupBy(digests(), ({ companyId, digest }) => `${companyId} ${digest?.day}`);
  assert.equal(perDay.size, 10);
  assert.equal(digests().length, 10);
});

test('it leaves at its hour on both sides of a change of clocks', async () => {
  await pipeline.addCompany({
    ...{ companyId: 3, zone: 'Europe/Berlin' },
    policy: { team: { digest: { at: '20:00', whenEmpty: true } } },
  });
  pipeline.now = Date.parse('2031-03-28T10:00:00Z');
  await administrator(3);
  const sentAt: string[] = [];
  for (; pipeline.now < Date.parse('2031-04-01T00:00:00Z'); pipeline.now += HOUR / 2) {
    await digester().runOnce();
    await pipeline.dispatcher.drain();
    sentAt.push(...digests().map(() => new Date(pipeline.now).toISOString().slice(5, 16)));
    pipeline.sent.length = 0;
  }
  assert.deepEqual(sentAt, ['03-28T19:00', '03-29T19:00', '03-30T18:00', '03-31T18:00']);
});

test('nothing is said when there is nothing to say', async () => {
  await administrator();
  await evening();
  assert.deepEqual(digests(), []);
  assert.deepEqual(await states(), ['superseded: there is nothing to say']);
});

test('one that could not leave for three hours does not leave, and one missed for longer is not made up for', async () => {
  await pipeline.setPolicy(1, { team: { digest: { whenEmpty: true } } });
  await administrator();
  pipeline.now = EVENING;
  await digester().runOnce();
  pipeline.now = EVENING + 3 * HOUR;
  await pipeline.settle();
  assert.deepEqual(await states(), ['expired: it is too late for it']);
  await evening(EVENING + DAY + 3 * HOUR);
  assert.equal((await states()).length, 1);
});

test('whoever joins after its hour, or leaves before it goes out, gets none', async () => {
  await pipeline.setPolicy(1, { team: { digest: { whenEmpty: true } } });
  const { memberId } = await administrator();
  pipeline.now = EVENING;
  await digester().runOnce();
  await removeMember(deps(), 1, memberId);
  pipeline.now = EVENING + MINUTE;
  await administrator();
  await evening(EVENING + 2 * MINUTE);
  assert.deepEqual(digests(), []);
  assert.deepEqual(await states(), ['superseded: they are in the team no more']);
});

test('one whose sender died is not repeated: it would say something else', async () => {
  await pipeline.setPolicy(1, { team: { digest: { whenEmpty: true } } });
  await administrator();
  pipeline.answers = [{ outcome: 'unknown', reason: 'reset' }];
  await evening();
  await pipeline.pool.query(
    `UPDATE messages SET leased_until = now() - interval '1 s' WHERE state = 'sending'`,
  );
  pipeline.now += MINUTE;
  await pipeline.settle();
  assert.equal(digests().length, 1);
  assert.deepEqual(await states(), ['unknown: it may have gone out; its outcome was lost']);
});
