/** Administrators who want many changes in one message, or in the digest alone, through the real outbox and dispatcher. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import type { Outgoing } from '../../src/channels/channel.ts';
import type { PolicyDocument } from '../../src/domain/policy.ts';
import { resendAll } from '../../src/salon/orders.ts';
import { previewPolicy } from '../../src/salon/preview.ts';
import { addMember, removeMember, showTeam } from '../../src/salon/team.ts';
import { createRandom } from '../../src/simulator/random.ts';
import { statementsOf } from '../support/statements.ts';
import { createPipeline, type Pipeline, processTogether, recordBody } from './pipeline.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Of the visit at 14:30 on Tuesday, 20 May 2031, that `recordBody` speaks of. */
const VISIT = Date.parse('2031-05-20T11:30:00Z');
const OLGA = 5;

let pipeline: Pipeline;
beforeEach(async () => {
  pipeline = await createPipeline();
  await pipeline.addCompany({ companyId: 1 });
  // At noon: no quiet hours.
  pipeline.now = VISIT - 5 * DAY;
  await gathers('15m');
});
afterEach(() => pipeline.close());

const gathers = (gather: string | null, more: PolicyDocument = {}) =>
  pipeline.setPolicy(1, { ...more, team: { administrator: { gather } } });
const deps = () => ({ pool: pipeline.pool, actor: 'command', now: pipeline.now }) as const;
const joins = (role: 'staff' | 'administrator', staffId: number | null) =>
  addMember(deps(), { companyId: 1, role, staffId, name: '' }, { channel: 'console', address: '' });
async function administrator() {
  const added = await joins('administrator', null);
  pipeline.now += MINUTE;
  return added;
}
async function receive(...bodies: string[]): Promise<void> {
  await pipeline.receive(
    1,
    bodies.map(body => ({ body, receivedAt: pipeline.now })),
  );
  await pipeline.settle();
}
async function after(ms: number): Promise<void> {
  pipeline.now += ms;
  await pipeline.settle();
}
let version = 0;
const WIDGET = { online: true, bookform_id: 3, record_from: 'Form Online widget' };
const created = (id = 100, data: Record<string, unknown> = {}) =>
  recordBody({ id, at: pipeline.now, data: { ...WIDGET, ...data } });
const update = (data: Record<string, unknown>, id = 100) => {
  version += 1;
  return recordBody({
    id,
    status: 'update',
    at: pipeline.now + version * SECOND,
    data: { ...WIDGET, ...data },
  });
};
const at = (hour: number) => ({ date: `2031-05-20 ${hour}:00:00` });

const said = ({ changes }: Outgoing) => (changes ?? []).map(({ recordId, kind }) => `${recordId} ${kind}`);
/** What the administrators were sent since the last look: a batch as its changes, anything else as what it is. */
function news(): (string | string[])[] {
  const theirs = pipeline.sent.filter(({ recipient }) => recipient.role === 'administrator');
  pipeline.sent.length = 0;
  return theirs.map(one => (one.purpose === 'batch' ? said(one) : (one.notice?.kind ?? one.purpose)));
}
const states = async () => {
  const { rows } = await pipeline.pool.query<{ state: string; error: string | null }>(
    `SELECT state, error FROM messages WHERE purpose = 'batch' ORDER BY created_at, id`,
  );
  return rows.map(({ state, error }) => (error === null ? state : `${state}: ${error}`));
};
const senderDies = () =>
  pipeline.pool.query(`UPDATE messages SET leased_until = now() - interval '1 s' WHERE state = 'sending'`);

test('what happens within a quarter of an hour is one message: each visit once, as it is then', async () => {
  await administrator();
  await joins('staff', OLGA);
  await receive(created(100), created(101, at(10)), created(102, at(11)));
  await after(5 * MINUTE);
  await receive(update(at(16), 101), update({ ...at(11), deleted: true }, 102));
  await receive(created(103, { ...at(12), online: false, bookform_id: 0, record_from: '' }));
  const masters = pipeline.sent.filter(({ recipient }) => recipient.role === 'staff');
  assert.equal(masters.length, 6, 'a master hears at once');
  await after(10 * MINUTE - 1);
  assert.deepEqual(news(), []);
  await after(1);
  const [batch] = pipeline.sent;
  assert.equal(
    batch?.text,
    `Изменения в записях: 2

Новая: 20 мая, вторник, 14:30, Анна, мастер Ольга
Новая: 20 мая, вторник, 16:00, Анна, мастер Ольга

Студия Север`,
  );
  assert.deepEqual(news(), [['100 booked', '101 booked']]);
  await receive(update({ deleted: true }), update(at(17), 101), update(at(16), 101));
  await after(15 * MINUTE);
  assert.deepEqual(news(), [['100 cancelled']], 'what was moved and moved back is none');
  await after(DAY);
  assert.deepEqual(news(), []);
  const { rows } = await pipeline.pool.query(`SELECT FROM messages WHERE state IN ('due', 'sending')`);
  assert.equal(rows.length, 0);
});

test('a batch that reached nobody is sent after all, with what is true then', async () => {
  await administrator();
  await receive(created(100), created(101, at(10)));
  pipeline.answers = [{ outcome: 'rejected', scope: 'channel', reason: 'the token was taken back' }];
  await after(15 * MINUTE);
  news();
  assert.match((await states())[0] ?? '', /^failed/);
  await receive(update({ deleted: true }, 101));
  const filter = { state: 'failed', since: 0 } as const;
  const order = { dryRun: false, most: 9, now: pipeline.now };
  const resent = await resendAll({ pool: pipeline.pool, actor: 'command' }, filter, order);
  assert.deepEqual(resent, { due: 1, taken: 0, more: false });
  await pipeline.settle();
  assert.deepEqual(news(), [['100 booked']]);
  await after(DAY);
  assert.deepEqual(news(), [], 'who never heard of it hears of no cancellation');
});

test('each administrator has a batch of their own, and what was said in it is not kept', async () => {
  await administrator();
  await pipeline.pool.query(
    `INSERT INTO team (company_id, role, channel, address, since) VALUES (1, 'administrator', 'console', 'other', $1)`,
    [new Date(pipeline.now - MINUTE).toISOString()],
  );
  await receive(created());
  await after(15 * MINUTE);
  assert.deepEqual(news(), [['100 booked'], ['100 booked']]);
  const { rows } = await pipeline.pool.query<{ row: string }>(
    'SELECT to_jsonb(m)::text AS row FROM messages m WHERE recipient !~ $1',
    ['^client'],
  );
  assert.equal(rows.length, 4);
  // Three digits alone may be of an id or a moment.
  for (const { row } of rows) assert.doesNotMatch(row, /Анна|916\D{0,3}000/);
});

test('a visit that changes just as the batch leaves goes with the next one, as it is then', async () => {
  await gathers('15m', { settle: { any: '5s' } });
  await administrator();
  await receive(created(100), created(101, at(10)));
  await after(5 * SECOND);
  pipeline.now += 15 * MINUTE - SECOND;
  await receive(update(at(16), 101));
  await after(SECOND);
  assert.deepEqual(news(), [['100 booked']]);
  await after(15 * MINUTE);
  const [batch] = pipeline.sent.filter(({ purpose }) => purpose === 'batch');
  assert.equal(batch?.changes?.[0]?.after.startsLocal, '2031-05-20T16:00:00');
  assert.deepEqual(news(), [['101 booked']], 'told once, and of the hour that is true');
});

test('a batch of nothing but a visit that is changing waits for it', async () => {
  await gathers('15m', { settle: { any: '5s' } });
  await administrator();
  await receive(created());
  await after(5 * SECOND);
  pipeline.now += 15 * MINUTE - SECOND;
  await receive(update(at(16)));
  await after(SECOND);
  assert.deepEqual(news(), []);
  await after(15 * MINUTE);
  assert.deepEqual(news(), [['100 booked']]);
});

test('a visit that begins before the batch leaves is told at once; one that has begun meanwhile is not', async () => {
  await administrator();
  pipeline.now = VISIT - 10 * MINUTE;
  await receive(created(100), created(101, at(16)));
  assert.deepEqual(news(), ['booked']);
  await receive(update(at(15), 101));
  await pipeline.pool.query(`UPDATE messages SET due_at = $1 WHERE purpose = 'batch'`, [
    new Date(VISIT + HOUR).toISOString(),
  ]);
  await after(DAY);
  assert.deepEqual(news(), []);
  assert.deepEqual(await states(), ['superseded: there is nothing left to say']);
});

test('one that would fall into the quiet hours leaves at their end', async () => {
  await administrator();
  // 21:50 in Moscow.
  pipeline.now = Date.parse('2031-05-17T18:50:00Z');
  await receive(created());
  pipeline.now += HOUR;
  await receive(created(101, at(10)));
  pipeline.now = Date.parse('2031-05-18T04:59:59Z');
  await pipeline.settle();
  assert.deepEqual(news(), []);
  await after(SECOND);
  assert.deepEqual(news(), [['101 booked', '100 booked']]);
});

test('another policy holds for what is gathered already', async () => {
  await administrator();
  await receive(created(100), created(101, at(10)));
  await gathers('15m', { tell: { booked: { any: ['client'] } } });
  await after(15 * MINUTE);
  assert.deepEqual(news(), []);
  await gathers(null);
  await receive(update(at(16)));
  assert.deepEqual(news(), ['rescheduled'], 'at once');
});

test('in the digest alone: no message of a change, and no backlog when it is told again', async () => {
  await administrator();
  await gathers('digest');
  await receive(created(100), created(101, at(10)));
  await receive(update(at(16)), update({ ...at(10), deleted: true }, 101));
  await after(DAY);
  assert.deepEqual(news(), []);
  const { rows } = await pipeline.pool.query(`SELECT FROM messages WHERE recipient LIKE 'administrator:%'`);
  assert.equal(rows.length, 0, 'what is told nobody costs no row');
  await gathers(null);
  await receive(update({ ...at(16), comment: 'у окна' }));
  assert.deepEqual(news(), []);
  await receive(update(at(17)));
  assert.deepEqual(news(), ['rescheduled']);
});

test('a sender that died: said again word for word by a channel that drops repeats, else in doubt', async () => {
  await administrator();
  await receive(created(100), created(101, at(10)));
  pipeline.answers = [{ outcome: 'unknown', reason: 'reset' }];
  await after(15 * MINUTE);
  await senderDies();
  await after(SECOND);
  const [first, again, ...more] = pipeline.sent.filter(({ purpose }) => purpose === 'batch');
  assert.ok(first !== undefined && again !== undefined && more.length === 0);
  assert.deepEqual({ ...again, attempt: 1 }, first);
  assert.deepEqual(await states(), ['sent']);

  news();
  await receive(update(at(16)));
  pipeline.answers = [{ outcome: 'unknown', reason: 'reset' }];
  await after(15 * MINUTE);
  await receive(update(at(17)));
  await senderDies();
  await after(SECOND);
  assert.deepEqual(news(), [['100 rescheduled']], 'it is not true any more');
  await after(15 * MINUTE);
  const [batch] = pipeline.sent.filter(({ purpose }) => purpose === 'batch');
  assert.equal(batch?.changes?.[0]?.before?.startsLocal, '2031-05-20T16:00:00', 'it may have been heard');
  assert.deepEqual(news(), [['100 rescheduled']]);
  assert.deepEqual(await states(), ['sent', 'unknown: it may have gone out; its outcome was lost', 'sent']);
});

test('while one waits for a retry another gathers, and each is said once', async () => {
  await administrator();
  await receive(created());
  pipeline.answers = [
    { outcome: 'retry', reason: 'later' },
    { outcome: 'retry', reason: 'later' },
  ];
  await after(15 * MINUTE);
  await receive(created(101, at(10)));
  news();
  await after(MINUTE);
  assert.deepEqual(news(), [['100 booked']]);
  await after(15 * MINUTE);
  assert.deepEqual(news(), [['101 booked']]);
});

test('what joins another batch while one waits for a retry is said by that one alone', async () => {
  await administrator();
  await receive(created());
  pipeline.answers = [{ outcome: 'retry', reason: 'later', retryAfterMs: 5 * MINUTE }];
  await after(15 * MINUTE);
  news();
  await receive(update(at(16)));
  await after(5 * MINUTE);
  assert.deepEqual(news(), []);
  await after(15 * MINUTE);
  const [batch] = pipeline.sent.filter(({ purpose }) => purpose === 'batch');
  assert.deepEqual(
    batch?.changes?.map(({ before, after: now }) => [before, now.startsLocal]),
    [[null, '2031-05-20T16:00:00']],
  );
  assert.deepEqual(news(), [['100 booked']]);
});

test('who leaves the team gets no batch either', async () => {
  const { memberId } = await administrator();
  await receive(created());
  await removeMember(deps(), 1, memberId);
  await after(15 * MINUTE);
  assert.deepEqual(news(), []);
  assert.deepEqual(await states(), ['superseded: they are in the team no more']);
});

test('two pairs of processes and a storm of changes: every change in one batch, and the last is what is true', async () => {
  await gathers('1m');
  const { memberId } = await administrator();
  const other = pipeline.another();
  const random = createRandom(7);
  const hours = new Map<number, number>();
  for (let minute = 0; minute < 25; minute += 1) {
    const bodies = Array.from({ length: random.integer(1, 6) }, () => {
      const id = random.integer(200, 215);
      const known = hours.has(id);
      const hour = random.integer(9, 20);
      hours.set(id, hour);
      const date = { date: `2031-05-20 ${String(hour).padStart(2, '0')}:00:00` };
      return known ? update(date, id) : created(id, date);
    });
    await pipeline.receive(
      1,
      bodies.map(body => ({ body, receivedAt: pipeline.now })),
    );
    await processTogether(pipeline, other);
    await other.processor.stop();
    await Promise.all([pipeline.dispatcher.drain(), other.dispatcher.drain()]);
    pipeline.now += random.integer(10, 50) * SECOND;
  }
  // What one process left because the other held it is gathered now, and leaves after that.
  await after(HOUR);
  await after(HOUR);
  const batches = pipeline.sent.filter(({ purpose }) => purpose === 'batch');
  const changes = batches.flatMap(batch => batch.changes ?? []);
  assert.ok(batches.length > 4 && changes.length > batches.length, `${batches.length}, ${changes.length}`);
  for (const [id, hour] of hours) {
    const theirs = changes.filter(({ recordId }) => recordId === id);
    const heard = theirs.map(({ after: { startsLocal } }) => startsLocal);
    assert.deepEqual(
      theirs.map(({ before }) => before?.startsLocal),
      [undefined, ...heard.slice(0, -1)],
      `${id} goes on from what was said`,
    );
    assert.equal(heard.at(-1), `2031-05-20T${String(hour).padStart(2, '0')}:00:00`);
  }
  const { rows } = await pipeline.pool.query(
    `SELECT FROM messages WHERE recipient = $1 AND state NOT IN ('sent', 'superseded')`,
    [`administrator:${memberId}`],
  );
  assert.equal(rows.length, 0);
  await other.dispatcher.stop();
});

test('how an administrator is told is shown by the team and by the preview', async () => {
  await administrator();
  const about = { startsLocal: '2031-05-20T14:30:00', durationSeconds: 3600, origin: 'widget' } as const;
  const shown = async () => {
    const [member] = await showTeam(pipeline.pool, 1);
    const { team, changes } = await previewPolicy(pipeline.pool, 1, about, { now: pipeline.now });
    const told = changes.find(({ kind }) => kind === 'booked')?.to.includes('administrator');
    const inMs = Date.parse(team[0]?.notBefore ?? '') - pipeline.now;
    return [member?.gather, team[0]?.gather, inMs / MINUTE, told];
  };
  assert.deepEqual(await shown(), ['15m', '15m', 15, true]);
  await gathers('digest');
  // 14:31 in Moscow; the digest leaves at 20:00.
  assert.deepEqual(await shown(), ['digest', 'digest', 5 * 60 + 29, false]);
  await gathers(null);
  assert.deepEqual(await shown(), [null, null, 0, true]);
});

test('where nobody gathers, no statement is made for it', async () => {
  await gathers(null);
  await administrator();
  const statements = await statementsOf(() => receive(created(), update(at(16))));
  const names = statements.map(({ name }) => name).filter(name => /batch|parts|changing/.test(name));
  assert.deepEqual([...new Set(names)], []);
  assert.ok(statements.length > 10);
});
