/** What an operator orders: what was given up is put back and judged anew; what is due is not sent. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import type { SendResult } from '../../src/channels/channel.ts';
import { cancelOne, replayAll, resendAll, resendOne } from '../../src/salon/orders.ts';
import type { ResendFilter } from '../../src/store/orders.ts';
import { createPipeline, type Pipeline, recordBody } from './pipeline.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Of the visit that `recordBody` speaks of. */
const VISIT = Date.parse('2031-05-20T11:30:00Z');
const REFUSED: SendResult = { outcome: 'rejected', scope: 'channel', reason: 'the token was taken back' };

let pipeline: Pipeline;
beforeEach(async () => {
  pipeline = await createPipeline();
  await pipeline.addCompany({ companyId: 1 });
  pipeline.now = VISIT - 5 * DAY;
});
afterEach(() => pipeline.close());

async function receive(...bodies: string[]): Promise<void> {
  await pipeline.receive(
    1,
    bodies.map(body => ({ body, receivedAt: pipeline.now })),
  );
  await pipeline.settle();
}
const booked = (id = 100) => recordBody({ id, at: pipeline.now });
const moved = (id = 100, date = '2031-05-21 10:00:00') =>
  recordBody({ id, status: 'update', at: pipeline.now + 2_000, data: { date } });
/** A notice that the channel refused. */
async function refused(id = 100): Promise<void> {
  pipeline.answers = [REFUSED];
  await receive(booked(id));
}
const messages = async () => {
  const { rows } = await pipeline.pool.query<{
    id: string;
    state: string;
    error: string | null;
    attempts: number;
  }>('SELECT id, state, error, attempts FROM messages ORDER BY created_at, id');
  return rows;
};
const states = async () => (await messages()).map(({ state }) => state);
const deps = () => ({ pool: pipeline.pool, actor: 'command' }) as const;
async function resend(index = 0): Promise<void> {
  await resendOne(deps(), (await messages())[index]?.id ?? '', pipeline.now);
}
const resendMany = (filter: Partial<ResendFilter> = {}, order: { dryRun?: boolean; most?: number } = {}) =>
  resendAll(
    deps(),
    { state: 'failed', since: pipeline.now - DAY, ...filter },
    { dryRun: false, most: 100, now: pipeline.now, ...order },
  );

test('a notice that reached nobody is told once it is put back, as the booking is then', async () => {
  await refused();
  assert.deepEqual(await states(), ['failed']);
  pipeline.now += HOUR;
  await resend();
  await pipeline.settle();
  assert.deepEqual(await states(), ['sent']);
  assert.equal((await messages())[0]?.attempts, 2);
  assert.equal(pipeline.sent[1]?.id, pipeline.sent[0]?.id);
  await receive(moved());
  assert.deepEqual(
    pipeline.sent.map(({ notice }) => notice?.kind),
    ['booked', 'booked', 'rescheduled'],
    'what was told has moved',
  );
  const { rows } = await pipeline.pool.query('SELECT actor, action, company_id, subject FROM audit_log');
  const subject = (await messages())[0]?.id;
  assert.deepEqual(
    rows.filter(({ action }) => action === 'message.resend'),
    [{ actor: 'command', action: 'message.resend', company_id: 1, subject }],
  );
});

test('one whose tries were used up has all of them again', async () => {
  pipeline.answers = Array.from({ length: 49 }, () => ({ outcome: 'retry' as const, reason: 'busy' }));
  await receive(booked());
  for (let tries = 0; tries < 50; tries += 1) {
    pipeline.now += 13 * MINUTE;
    await pipeline.settle();
  }
  assert.deepEqual(await states(), ['dead']);
  await resend();
  await pipeline.settle();
  assert.deepEqual(await states(), ['due'], 'the next try is one more of many');
  pipeline.now += HOUR;
  await pipeline.settle();
  assert.deepEqual(await states(), ['sent']);
});

test('what is over by then, or called off, is not said', async () => {
  await refused();
  pipeline.now = VISIT + HOUR;
  await resend();
  await pipeline.settle();
  assert.deepEqual(await states(), ['expired']);
  assert.equal(pipeline.sent.length, 1);
});

test('a reminder leaves late where it is of use yet', async () => {
  await pipeline.setPolicy(1, { reminders: { at: ['24h'] } });
  await receive(booked());
  pipeline.now = VISIT - DAY;
  pipeline.answers = [REFUSED];
  await pipeline.settle();
  assert.deepEqual(await states(), ['sent', 'failed']);
  pipeline.now += HOUR;
  await resend(1);
  await pipeline.settle();
  assert.deepEqual(await states(), ['sent', 'sent']);
  assert.equal(pipeline.sent.at(-1)?.purpose, 'reminder');
});

test('what was sent, may have been, or is still to be is not sent again; it is said why', async () => {
  await receive(booked());
  await assert.rejects(resend(), {
    name: 'PlainError',
    message: /is not sent again: console took it, so it counts as told$/,
  });
  // Every channel of its route has told that it did not arrive.
  await pipeline.pool.query(`UPDATE messages SET state = 'failed'`);
  await assert.rejects(resend(), /is not sent again: console took it, so it counts as told$/);
  assert.deepEqual(await resendMany({ since: 0 }), { due: 0, taken: 0, more: false });
  await pipeline.pool.query(`UPDATE messages SET state = 'unknown', sent_at = NULL`);
  await assert.rejects(resend(), /is not sent again: it may have gone out, and would be heard twice$/);
  await pipeline.pool.query(`UPDATE messages SET state = 'due'`);
  await assert.rejects(resend(), /is not sent again: it has not ended yet$/);
  await pipeline.pool.query(`UPDATE messages SET state = 'failed', recipient = 'erased:1'`);
  await assert.rejects(resend(), /is not sent again: its recipient was erased$/);
  await pipeline.pool.query(`UPDATE messages SET recipient = '', purpose = 'test', channel = 'console'`);
  await assert.rejects(resend(), /is not sent again: a test is of its moment$/);
  await assert.rejects(resendOne(deps(), '01900000-0000-7000-8000-000000000001', pipeline.now), {
    name: 'MissingError',
    message: 'there is no message 01900000-0000-7000-8000-000000000001',
  });
  assert.equal(pipeline.sent.length, 1);
});

test('a newer notice stands in the place of one that failed, so that nobody hears twice', async () => {
  await refused();
  await receive(moved());
  assert.deepEqual(await states(), ['failed', 'sent']);
  await assert.rejects(resend(), /is not sent again: a newer one stands in its place/);
  assert.deepEqual(await resendMany(), { due: 0, taken: 1, more: false });
  assert.deepEqual(await states(), ['failed', 'sent']);
});

test('all of a state: those that ended lately, of a company, of a channel; the newest first, no more than asked', async () => {
  await pipeline.addCompany({ companyId: 2 });
  await refused(100);
  pipeline.now += 2 * DAY;
  await refused(101);
  await refused(102);
  assert.deepEqual(await resendMany({}, { dryRun: true }), { due: 2, taken: 0, more: false });
  assert.deepEqual(await resendMany({ since: 0 }, { dryRun: true }), { due: 3, taken: 0, more: false });
  assert.deepEqual(await resendMany({ companyId: 2 }), { due: 0, taken: 0, more: false });
  assert.deepEqual(await resendMany({ channel: 'sms' }), { due: 0, taken: 0, more: false });
  assert.deepEqual(await resendMany({ state: 'dead' }), { due: 0, taken: 0, more: false });
  assert.deepEqual(await states(), ['failed', 'failed', 'failed'], 'nothing was put back yet');
  assert.deepEqual(await resendMany({ channel: 'console' }, { most: 1 }), { due: 1, taken: 0, more: true });
  assert.deepEqual(await states(), ['failed', 'failed', 'due']);
  assert.deepEqual(await resendMany(), { due: 1, taken: 0, more: false });
  await pipeline.settle();
  assert.deepEqual(await states(), ['failed', 'sent', 'sent']);
});

test('all events that were given up are put back, those of another company or resource are not', async () => {
  await pipeline.addCompany({ companyId: 2 });
  await receive(booked(100), booked(101), booked(102));
  await pipeline.receive(2, [{ body: recordBody({ companyId: 2 }), receivedAt: pipeline.now }]);
  await pipeline.settle();
  await pipeline.pool.query(
    `UPDATE webhook_events SET state = 'dead', processed_at = NULL WHERE resource_id <> 101`,
  );
  const replay = (filter: { companyId?: number; resource?: string }, dryRun = false, most = 100) =>
    replayAll(deps(), { state: 'dead', ...filter }, { dryRun, most });
  assert.deepEqual(await replay({}, true), { events: 3, more: false });
  assert.deepEqual(await replay({ resource: 'client' }), { events: 0, more: false });
  assert.deepEqual(await replay({ companyId: 1, resource: 'record' }, false, 1), { events: 1, more: true });
  const dead = async () => {
    const { rows } = await pipeline.pool.query<{ company: number }>(
      `SELECT company_id AS company FROM webhook_events WHERE state = 'dead' ORDER BY 1`,
    );
    return rows.map(({ company }) => company);
  };
  assert.deepEqual(await dead(), [1, 2]);
  assert.deepEqual(await replay({}), { events: 2, more: false });
  const sent = pipeline.sent.length;
  await pipeline.settle();
  assert.deepEqual(await dead(), []);
  assert.equal(pipeline.sent.length, sent, 'their effect had happened');
});

test('events that are done are put back of one resource at a time', async () => {
  await receive(booked(100));
  const replay = (resource?: string) =>
    replayAll(deps(), { state: 'done', resource }, { dryRun: false, most: 100 });
  await assert.rejects(replay(), /of one resource at a time/);
  assert.deepEqual(await replay('record'), { events: 1, more: false });
  await pipeline.settle();
  assert.equal(pipeline.sent.length, 1);
});

const cancel = async (index = 0) => cancelOne(deps(), (await messages())[index]?.id ?? '', pipeline.now);

test('a notice that was cancelled is not sent, and counts as told: later changes are told from there', async () => {
  await pipeline.setPolicy(1, { settle: { any: '10m' } });
  await receive(booked());
  assert.deepEqual(await states(), ['due']);
  await cancel();
  assert.deepEqual(await messages(), [
    {
      id: (await messages())[0]?.id,
      state: 'cancelled',
      error: 'cancelled by the operator (command)',
      attempts: 0,
    },
  ]);
  pipeline.now += HOUR;
  await receive(recordBody({ status: 'update', at: pipeline.now, data: { comment: 'у окна' } }));
  pipeline.now += HOUR;
  await pipeline.settle();
  assert.equal(pipeline.sent.length, 0, 'what else is edited brings it not back');
  await receive(moved());
  pipeline.now += HOUR;
  await pipeline.settle();
  assert.deepEqual(
    pipeline.sent.map(({ notice }) => notice?.kind),
    ['rescheduled'],
  );
});

test('a reminder that was cancelled is not planned again, unless its visit moves; the day’s limit is not touched', async () => {
  await pipeline.setPolicy(1, { reminders: { at: ['24h'] }, limits: { perDay: 1 } });
  await receive(booked());
  assert.deepEqual(await states(), ['sent', 'due']);
  pipeline.now = VISIT - DAY;
  pipeline.answers = [{ outcome: 'retry', reason: 'busy', retryAfterMs: HOUR }];
  await pipeline.settle();
  await cancel(1);
  await receive(recordBody({ status: 'update', at: pipeline.now + 1_000, data: { seance_length: 5_400 } }));
  assert.deepEqual(await states(), ['sent', 'cancelled']);
  await receive(moved(100, '2031-05-20 19:30:00'));
  assert.deepEqual((await states()).sort(), ['cancelled', 'due', 'sent', 'sent']);
  pipeline.now += 5 * HOUR;
  await pipeline.settle();
  assert.equal(pipeline.sent.at(-1)?.purpose, 'reminder');
});

test('what is being sent, has ended or has its moment is not cancelled; it is said why', async () => {
  await receive(booked());
  await assert.rejects(cancel(), { name: 'PlainError', message: /is not cancelled: it is sent already$/ });
  await pipeline.pool.query(`UPDATE messages SET state = 'sending', leased_until = now() + interval '1 h'`);
  await assert.rejects(cancel(), /is not cancelled: it is being sent$/);
  await pipeline.pool.query(`UPDATE messages SET state = 'due', leased_until = NULL, purpose = 'test'`);
  await assert.rejects(cancel(), /is not cancelled: a test cannot be$/);
  await assert.rejects(cancelOne(deps(), '01900000-0000-7000-8000-000000000001', pipeline.now), {
    name: 'MissingError',
  });
});
