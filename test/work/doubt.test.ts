/** Truth on doubt: what a webhook leaves unclear is read again, and its client hears what the platform says then. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { summariseBookings } from '../../src/store/views.ts';
import type { Reconciler } from '../../src/work/reconcile.ts';
import { ApiError } from '../../src/yclients/api.ts';
import { createPipeline, type Pipeline, type RecordOverrides, recordBody } from './pipeline.ts';
import { apiOver, type SalonApi } from './salon-api.ts';

const SECOND_MS = 1_000;
const START = Date.UTC(2031, 2, 10, 8);
const SETTLE_MS = 5_000;

let pipeline: Pipeline;
let api: SalonApi;
let reconciler: Reconciler;

beforeEach(async () => {
  pipeline = await createPipeline();
  pipeline.now = START - 10_000;
  api = apiOver({ states: new Map(), body: () => ({}) }, () => pipeline.now);
  reconciler = pipeline.reconciler(async () => api);
  await begin();
});
afterEach(async () => {
  await reconciler.stop();
  await pipeline.close();
});

/** A company that is read from the API and knows one booking, told to its client. */
async function begin(verify: 'always' | 'doubt' | 'never' = 'doubt', companyId = 1): Promise<void> {
  await pipeline.addCompany({ companyId, settleMs: SETTLE_MS, verify, knownSince: START - 10_000 });
  await reconciler.drain();
  pipeline.now = START;
  const first = recordBody({ companyId, at: START - 2_000 });
  api.answers.set(100, dataOf(first));
  await receive(companyId, first);
  await pass(40);
  assert.deepEqual(kinds(), ['booked']);
  pipeline.sent.length = 0;
  api.asked.length = 0;
}

async function receive(companyId: number, ...bodies: string[]): Promise<void> {
  await pipeline.receive(
    companyId,
    bodies.map(body => ({ body, receivedAt: pipeline.now })),
  );
  await pipeline.settle();
}

/** Lets seconds pass, with everything running. */
async function pass(seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second += 1) {
    pipeline.now += SECOND_MS;
    await reconciler.drain();
    await pipeline.settle();
  }
}

const kinds = () => pipeline.sent.map(message => message.notice?.kind);
const dataOf = (body: string): unknown => JSON.parse(body).data;
const moved = { date: '2031-05-21 10:00:00', datetime: '2031-05-21T10:00:00+03:00' };
const update = (overrides: RecordOverrides = {}) =>
  recordBody({ status: 'update', at: pipeline.now, ...overrides });
const bareDelete = JSON.stringify({
  company_id: 1,
  resource: 'record',
  resource_id: 100,
  status: 'delete',
  data: { id: 100, company_id: 1, deleted: true },
});

async function booking() {
  const [found] = await summariseBookings(pipeline.pool, 1);
  assert.ok(found);
  return found;
}

test('a bare delete that the platform confirms is told once, when it is confirmed', async () => {
  api.gone.add(100);
  api.answers.delete(100);
  await receive(1, bareDelete);
  await pass(2);
  assert.deepEqual([api.asked, kinds()], [[], []]);
  await pass(10);
  assert.deepEqual(api.asked, ['record 100']);
  assert.deepEqual(kinds(), ['cancelled']);
  await pass(60);
  assert.equal(pipeline.sent.length, 1);
});

test('a bare delete of a booking that the platform still has is told to nobody, and the booking stands', async () => {
  await receive(1, bareDelete);
  assert.equal((await booking()).deleted, true);
  await pass(60);
  assert.equal((await booking()).deleted, false);
  assert.equal((await booking()).state, 'waiting');
  assert.deepEqual(kinds(), []);
  // The next change of the platform counts again, though its moment lies before the delete's receipt.
  await receive(1, update({ at: pipeline.now, data: moved }));
  await pass(10);
  assert.deepEqual(kinds(), ['rescheduled']);
});

test('an update that leaves out what a message depends on is told as the whole record says', async () => {
  const at = pipeline.now;
  const whole = update({ at, data: { ...moved, staff_id: 6, staff: { id: 6, name: 'Мария' } } });
  api.answers.set(100, dataOf(whole));
  const { services: _services, staff: _staff, staff_id: _id, ...partial } = JSON.parse(whole).data;
  await receive(1, JSON.stringify({ ...JSON.parse(whole), data: partial }));
  await pass(60);
  assert.deepEqual(api.asked, ['record 100']);
  assert.deepEqual(kinds(), ['changed']);
  assert.equal(pipeline.sent[0]?.notice?.after.staffName, 'Мария');
});

for (const first of ['true', 'other'] as const) {
  test(`of two bodies with one version the platform's is told, once, when the ${first} one comes first`, async () => {
    const at = pipeline.now;
    const truth = update({ at, data: moved });
    const other = update({
      at,
      data: { date: '2031-05-25 18:00:00', datetime: '2031-05-25T18:00:00+03:00' },
    });
    api.answers.set(100, dataOf(truth));
    await receive(1, ...(first === 'true' ? [truth, other] : [other, truth]));
    await pass(60);
    assert.equal((await booking()).startsLocal, '2031-05-21T10:00:00');
    assert.deepEqual(
      pipeline.sent.map(({ notice }) => [notice?.kind, notice?.after.startsLocal]),
      [['rescheduled', '2031-05-21T10:00:00']],
    );
    assert.deepEqual(api.asked, ['record 100']);
  });
}

test('while the record cannot be read its client waits half a minute, then hears what we know; the truth is told when it comes', async () => {
  api.trouble = () => new ApiError('unavailable', 'the API is down');
  await receive(1, bareDelete);
  await pass(25);
  assert.deepEqual(kinds(), []);
  await pass(15);
  assert.deepEqual(kinds(), ['cancelled']);
  api.trouble = undefined;
  await pass(130);
  assert.deepEqual(kinds(), ['cancelled', 'restored']);
});

test('a record that cannot be read for ten minutes is given up, and asked for no more', async () => {
  api.trouble = () => new ApiError('unavailable', 'the API is down');
  await receive(1, bareDelete);
  for (let minute = 0; minute < 30; minute += 1) {
    pipeline.now += 60_000;
    await reconciler.drain();
  }
  const { rows } = await pipeline.pool.query('SELECT FROM rereads');
  assert.equal(rows.length, 0);
  assert.equal(api.asked.filter(what => what === 'record 100').length, 8);
});

test('a change during a doubt does not bring the held notice forward', async () => {
  api.trouble = () => new ApiError('unavailable', 'the API is down');
  await receive(1, bareDelete);
  await pass(2);
  await receive(1, update({ at: pipeline.now + 1_000, data: { ...moved, deleted: false } }));
  await pass(20);
  assert.deepEqual(kinds(), []);
  await pass(20);
  assert.deepEqual(kinds(), ['rescheduled']);
});

test('a doubt that comes while the record is being read is not answered by that reading', async () => {
  await receive(1, bareDelete);
  pipeline.now += 3_000;
  const read = api.record;
  api.record = async recordId => {
    api.record = read;
    const answer = await read(recordId);
    await receive(1, update({ at: pipeline.now, data: { ...moved, services: undefined } }));
    api.answers.set(100, dataOf(update({ at: pipeline.now, data: { ...moved, attendance: 2 } })));
    return answer;
  };
  await reconciler.drain();
  const { rows } = await pipeline.pool.query('SELECT FROM rereads');
  assert.equal(rows.length, 1);
  await pass(60);
  assert.deepEqual(api.asked, ['record 100', 'record 100']);
  assert.equal((await booking()).state, 'confirmed');
  assert.deepEqual(kinds(), ['rescheduled']);
});

test('a stale copy that leaves something out, or a second bare delete, is no doubt', async () => {
  await receive(1, update({ at: START - 60_000, data: { services: undefined } }));
  await pass(10);
  assert.deepEqual(api.asked, []);
});

test('never: a bare delete is taken at its word; always: every record is read again', async () => {
  await pipeline.pool.query("UPDATE companies SET verify = 'never'");
  await receive(1, bareDelete);
  await pass(7);
  assert.deepEqual([api.asked, kinds()], [[], ['cancelled']]);

  await pipeline.pool.query("UPDATE companies SET verify = 'always'");
  const back = update({ at: pipeline.now + 1_000, data: moved });
  api.answers.set(100, dataOf(back));
  await receive(1, back);
  await pass(10);
  assert.deepEqual([api.asked, kinds()], [['record 100'], ['cancelled', 'restored']]);
});

test('what we hold to be newer and is not what the platform lists is read again by a sweep, even where webhooks are not doubted', async () => {
  await pipeline.pool.query("UPDATE companies SET verify = 'never'");
  await receive(1, bareDelete);
  await pass(7);
  assert.deepEqual(kinds(), ['cancelled']);
  api.records = async function* () {
    yield { number: 1, items: [api.answers.get(100)], last: true };
  };
  await reconciler.sweepNow(1, { full: false });
  await pass(10);
  assert.equal((await booking()).deleted, false);
  assert.deepEqual(kinds(), ['cancelled', 'restored']);
});

test('a company whose API is not read keeps a notice no longer than its settle time', async () => {
  await pipeline.addCompany({ companyId: 2, settleMs: SETTLE_MS });
  await receive(2, recordBody({ companyId: 2, id: 200, at: pipeline.now }));
  await receive(2, recordBody({ companyId: 2, id: 201, at: pipeline.now, data: { services: undefined } }));
  pipeline.now += SETTLE_MS;
  await pipeline.settle();
  assert.equal(kinds().length, 2);
});
