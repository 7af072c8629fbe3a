/** The processor: order, leases, isolation of what cannot be processed. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { createPipeline, type Pipeline, recordBody } from './pipeline.ts';

let pipeline: Pipeline;

beforeEach(async () => {
  pipeline = await createPipeline();
  await pipeline.addCompany({ companyId: 1 });
});
afterEach(() => pipeline.close());

const receive = (...bodies: string[]) =>
  pipeline.receive(
    1,
    bodies.map(body => ({ body, receivedAt: pipeline.now })),
  );

async function events(): Promise<
  { resource_id: number; state: string; effect: string | null; attempts: number }[]
> {
  const { rows } = await pipeline.pool.query(
    'SELECT resource_id, state, effect, attempts FROM webhook_events ORDER BY seq',
  );
  return rows;
}

async function changes(): Promise<string[]> {
  const { rows } = await pipeline.pool.query('SELECT kind FROM booking_changes ORDER BY id');
  return rows.map(row => row.kind);
}

/** A record whose booking the database refuses, as a poison event would. */
async function poison(recordId: number): Promise<void> {
  await pipeline.pool.query(`ALTER TABLE bookings ADD CONSTRAINT poison CHECK (record_id <> ${recordId})`);
}

test('a poison event is put aside alone: others flow, its own record waits in order behind it', async () => {
  await poison(666);
  const at = pipeline.now;
  const moved = { date: '2031-05-21 10:00:00' };
  await receive(
    ...Array.from({ length: 40 }, (_, index) => recordBody({ id: 1_000 + index, at })),
    recordBody({ id: 666, at }),
    recordBody({ id: 666, status: 'update', at: at + 2_000, data: moved }),
    recordBody({ id: 2_000, at }),
  );
  await pipeline.processor.drain();
  const rows = await events();
  assert.equal(rows.filter(row => row.state === 'done').length, 41);
  assert.deepEqual(
    rows.filter(row => row.resource_id === 666).map(row => row.state),
    ['waiting', 'pending'],
  );

  await pipeline.pool.query('ALTER TABLE bookings DROP CONSTRAINT poison');
  await pipeline.pool.query("UPDATE webhook_events SET next_at = now() WHERE state = 'waiting'");
  const heir = pipeline.another();
  await pipeline.processor.stop();
  await heir.processor.drain();
  assert.ok((await events()).every(row => row.state === 'done'));
  const { rows: history } = await pipeline.pool.query(
    'SELECT kind FROM booking_changes WHERE record_id = 666 ORDER BY id',
  );
  assert.deepEqual(history, [{ kind: 'created' }, { kind: 'rescheduled' }]);
  await heir.processor.stop();
});

test('a poison event is dead after five tries, and then its record goes on', async () => {
  await poison(666);
  await receive(recordBody({ id: 666, at: pipeline.now }));
  for (let tries = 0; tries < 5; tries += 1) {
    const { processor } = pipeline.another();
    await processor.drain();
    await processor.stop();
    await pipeline.pool.query("UPDATE webhook_events SET next_at = now() WHERE state = 'waiting'");
  }
  const [event] = await events();
  assert.deepEqual([event?.state, event?.attempts], ['dead', 5]);
  await pipeline.pool.query('ALTER TABLE bookings DROP CONSTRAINT poison');
  await receive(recordBody({ id: 666, status: 'update', at: pipeline.now + 2_000 }));
  await pipeline.processor.drain();
  assert.equal((await events()).at(-1)?.state, 'done');
});

test('two processes share the shards evenly and each event is processed by one of them, in order', async () => {
  const other = pipeline.another();
  await pipeline.processor.runOnce();
  await other.processor.runOnce();
  await pipeline.pool.query("UPDATE workers SET alive_until = now() + interval '1 minute'");
  const bodies = Array.from({ length: 300 }, (_, index) => {
    const at = pipeline.now + Math.floor(index / 30) * 2_000;
    const date = `2031-05-${10 + Math.floor(index / 30)} 10:00:00`;
    return recordBody({ id: 1 + (index % 30), status: index < 30 ? 'create' : 'update', at, data: { date } });
  });
  await receive(...bodies);
  await Promise.all([pipeline.processor.drain(), other.processor.drain()]);
  // A lease changes hands at the next renewal only; a process that starts anew takes what is left.
  await other.processor.stop();
  await pipeline.processor.stop();
  const heir = pipeline.another();
  await heir.processor.drain();
  await heir.processor.stop();
  const rows = await events();
  assert.ok(rows.every(row => row.state === 'done' && row.effect === 'merged'));
  assert.equal((await changes()).filter(kind => kind === 'rescheduled').length, 270);
});

test('a process that lost its lease commits nothing', async () => {
  await pipeline.processor.runOnce();
  await receive(recordBody());
  await pipeline.pool.query(
    "UPDATE shards SET owner = gen_random_uuid(), leased_until = now() + interval '1 hour'",
  );
  assert.equal(await pipeline.processor.runOnce(), 0);
  assert.equal((await events())[0]?.state, 'pending');
});

test('came, paid, confirmed and an edited comment are changes, and nobody is told', async () => {
  const at = pipeline.now;
  await receive(
    recordBody({ at }),
    recordBody({ status: 'update', at: at + 2_000, data: { attendance: 2, comment: 'окно' } }),
    recordBody({ status: 'update', at: at + 4_000, data: { attendance: 1, paid_full: 1, comment: 'окно' } }),
  );
  await pipeline.settle();
  assert.deepEqual(await changes(), ['created', 'confirmed', 'arrived', 'paid']);
  assert.deepEqual(
    pipeline.sent.map(message => message.notice?.kind),
    ['booked'],
  );
});

test('a booking of long ago first seen by an update is silent; what changes afterwards is told', async () => {
  const at = pipeline.now;
  const old = { create_date: '2026-01-01T10:00:00+0300' };
  await receive(recordBody({ status: 'update', at, data: old }));
  await pipeline.settle();
  assert.equal(pipeline.sent.length, 0);
  await receive(
    recordBody({ status: 'update', at: at + 2_000, data: { ...old, date: '2031-05-21 10:00:00' } }),
  );
  await pipeline.settle();
  assert.deepEqual(
    pipeline.sent.map(message => message.notice?.kind),
    ['rescheduled'],
  );
});

test('a create that arrives after its own update changes nothing and is known as stale', async () => {
  const at = pipeline.now;
  await receive(
    recordBody({ status: 'update', at: at + 2_000, data: { date: '2031-05-21 10:00:00' } }),
    recordBody({ at }),
  );
  await pipeline.settle();
  assert.deepEqual(
    (await events()).map(row => row.effect),
    ['merged', 'stale'],
  );
  assert.equal(pipeline.sent[0]?.notice?.after.startsLocal, '2031-05-21T10:00:00');
});

test('a bare delete tells the right person of the visit they knew', async () => {
  const at = pipeline.now;
  const bare = {
    company_id: 1,
    resource: 'record',
    resource_id: 100,
    status: 'delete',
    data: { id: 100, deleted: true },
  };
  await receive(recordBody({ at }));
  await pipeline.settle();
  await receive(JSON.stringify(bare));
  await pipeline.settle();
  const [, cancelled] = pipeline.sent;
  assert.equal(cancelled?.notice?.kind, 'cancelled');
  assert.equal(cancelled?.recipient.phone, '+79160000001');
});

test('an unknown resource or status is kept, not fought over', async () => {
  const odd = { company_id: 1, resource: 'robot', resource_id: 1, status: 'create', data: {} };
  await receive(JSON.stringify(odd), recordBody({ status: 'archive' }));
  await pipeline.processor.drain();
  assert.deepEqual(
    (await events()).map(row => [row.state, row.effect]),
    [
      ['done', 'kept'],
      ['done', 'kept'],
    ],
  );
});

test('a company that moves to another zone keeps its wall clock and moves its moments', async () => {
  await receive(recordBody());
  await pipeline.processor.drain();
  const move = {
    company_id: 1,
    resource: 'salon',
    resource_id: 1,
    status: 'update',
    data: { timezone_name: 'Asia/Almaty' },
  };
  await receive(JSON.stringify(move));
  await pipeline.processor.drain();
  const { rows } = await pipeline.pool.query(
    "SELECT starts_local::text, starts_at = timestamp '2031-05-20 14:30' AT TIME ZONE 'Asia/Almaty' AS right FROM bookings",
  );
  assert.deepEqual(rows, [{ starts_local: '2031-05-20 14:30:00', right: true }]);
});

test('a company that says once more where it is leaves its bookings and its plans as they are', async () => {
  await receive(recordBody());
  await pipeline.settle();
  const rows = async () => (await pipeline.pool.query('SELECT xmin::text, ctid::text FROM bookings')).rows;
  const before = await rows();
  const data = { title: 'Студия Юг', timezone_name: 'Europe/Moscow' };
  const renamed = { company_id: 1, resource: 'company', resource_id: 1, status: 'update', data };
  await receive(JSON.stringify(renamed));
  await pipeline.processor.drain();
  const { rows: companies } = await pipeline.pool.query('SELECT title FROM companies');
  assert.deepEqual(companies, [{ title: 'Студия Юг' }]);
  assert.deepEqual(await rows(), before);
  assert.equal((await pipeline.pool.query('SELECT FROM replans')).rowCount, 0);
});

test('a batch that takes the database too long is halved until it does not; one event is not blamed for it', async () => {
  const slow = (over: number) =>
    pipeline.pool.query(`
      CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF (SELECT count(*) FROM made) > ${over} THEN
          RAISE EXCEPTION 'canceling statement due to statement timeout' USING ERRCODE = '57014';
        END IF; RETURN NULL; END $$`);
  await slow(3);
  await pipeline.pool.query(`
    CREATE TRIGGER slow AFTER INSERT ON bookings REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION slow()`);
  await receive(...Array.from({ length: 40 }, (_, index) => recordBody({ id: 1_000 + index })));
  await pipeline.processor.drain();
  assert.deepEqual(
    (await events()).filter(({ state, attempts }) => state !== 'done' || attempts > 1),
    [],
  );
  await slow(0);
  await receive(recordBody({ id: 2_000 }));
  await assert.rejects(pipeline.processor.drain(), { code: '57014' });
  assert.deepEqual((await events()).at(-1), {
    ...{ resource_id: 2_000, state: 'pending', effect: null, attempts: 0 },
  });
});
