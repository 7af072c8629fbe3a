import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Branch } from '../../../src/simulator/api/branch.ts';
import type { Platform } from '../../../src/simulator/api/platform.ts';
import { FAULTS, parseFaults } from '../../../src/simulator/faults.ts';
import { bodyOf, call, itemsOf, manualClock, NOW, platformFor } from './client.ts';

const DAY = '2026-07-03';
const WHEN = `${DAY} 12:00:00`;

async function emptySalon(t: TestContext) {
  const clock = manualClock();
  const platform = await platformFor(t, { clock });
  const branch = platform.add(7);
  const [staff] = branch.salon().cast.staff;
  const [service, other] = branch.salon().cast.services;
  const wish = {
    staff_id: staff?.id,
    services: [{ id: service?.id }],
    client: { phone: '+7 900 111-22-33', name: 'Мила' },
    datetime: WHEN,
    seance_length: 3600,
    comment: 'у окна',
    api_id: 'bot-17',
  };
  return { clock, platform, branch, staffId: staff?.id, serviceId: service?.id, otherId: other?.id, wish };
}

async function make(platform: Platform, branch: Branch, body: unknown) {
  const { status, text } = await call(platform, '/api/v1/records/7', { method: 'POST', body });
  assert.equal(status, 201, text);
  const record = branch.records().at(-1);
  assert.ok(record);
  return record;
}

test('a created record has what was asked for, and its new client is in the card index', async t => {
  const { platform, branch, wish, serviceId } = await emptySalon(t);
  const { status, text } = await call(platform, '/api/v1/records/7', { method: 'POST', body: wish });
  assert.equal(status, 201);
  const { data } = JSON.parse(text);
  assert.equal(data.date, WHEN);
  assert.equal(data.api_id, 'bot-17');
  assert.equal(data.comment, 'у окна');
  assert.equal(data.client.phone, '+79001112233');
  assert.deepEqual(
    data.services.map((service: { id: number }) => service.id),
    [serviceId],
  );
  assert.equal(branch.record(data.id)?.startsAt, Date.UTC(2026, 6, 3, 7));
  const again = await make(platform, branch, { ...wish, datetime: `${DAY}T16:00:00+05:00` });
  assert.equal(again.startsLocal, `${DAY}T16:00:00`);
  assert.equal(again.clientId, data.client.id, 'a known phone is a known client');
});

test('a taken hour is refused with 433 unless saved all the same; nonsense with 422', async t => {
  const { platform, branch, wish } = await emptySalon(t);
  await make(platform, branch, wish);
  const statusOf = async (body: unknown) =>
    (await call(platform, '/api/v1/records/7', { method: 'POST', body })).status;
  assert.equal(await statusOf({ ...wish, datetime: `${DAY} 12:30:00` }), 433);
  assert.equal(await statusOf({ ...wish, datetime: `${DAY} 12:30:00`, save_if_busy: true }), 201);
  assert.equal(await statusOf({ ...wish, services: [{ id: 1 }] }), 422);
  assert.equal(await statusOf({ ...wish, staff_id: 1 }), 422);
  assert.equal(await statusOf({ ...wish, datetime: 'soon' }), 422);
  assert.equal(await statusOf('nothing'), 422);
});

test('free hours, days and checks know what is booked', async t => {
  const { platform, branch, wish, staffId, serviceId } = await emptySalon(t);
  const timesOf = async () => {
    const path = `/api/v1/book_times/7/${staffId}/${DAY}?service_ids[]=${serviceId}`;
    return itemsOf(await call(platform, path)).map(item => item.time);
  };
  const check = async (datetime: string) => {
    const body = { appointments: [{ id: 1, staff_id: staffId, services: [serviceId], datetime }] };
    return (await call(platform, '/api/v1/book_check/7', { method: 'POST', body })).status;
  };
  const before = await timesOf();
  assert.ok(['9:00', '11:30', '12:00', '12:30', '20:30'].every(time => before.includes(time)));
  assert.equal(await check(WHEN), 201);
  const record = await make(platform, branch, wish);
  const after = await timesOf();
  assert.deepEqual(
    before.filter(time => !after.includes(time)),
    ['11:30', '12:00', '12:30'],
  );
  assert.equal(await check(WHEN), 433);
  assert.equal(await check('2026-06-01 12:00:00'), 422);
  await call(platform, `/api/v1/record/7/${record.id}`, { method: 'DELETE' });
  assert.deepEqual(await timesOf(), before);
  const { data } = JSON.parse((await call(platform, '/api/v1/book_dates/7')).text);
  assert.ok(data.booking_dates.includes(DAY));
  const seances = JSON.parse((await call(platform, `/api/v1/book_staff_seances/7/${staffId}`)).text);
  assert.equal(seances.data.seance_date, '2026-07-01');
  assert.equal(seances.data.seances[0].time, '14:30');
  const grid = itemsOf(await call(platform, `/api/v1/timetable/seances/7/${staffId}/${DAY}`));
  assert.deepEqual(grid[0], { time: '9:00', is_free: true });
});

test('the hour of a slot is ISO, or seconds in looser builds', async t => {
  const { platform, staffId } = await emptySalon(t);
  const first = async () => {
    const slots = await call(platform, `/api/v1/book_times/7/${staffId}/${DAY}`);
    return itemsOf(slots)[0]?.datetime;
  };
  assert.equal(await first(), `${DAY}T09:00:00+05:00`);
  platform.setQuirks({ bodies: parseFaults(FAULTS.join()) });
  assert.equal(await first(), Date.UTC(2026, 6, 3, 4) / 1000);
});

test('the client flow books without a user', async t => {
  const { platform, branch, staffId, serviceId } = await emptySalon(t);
  const appointment = { id: 1, staff_id: staffId, services: [serviceId], datetime: WHEN };
  const body = { phone: '79001112233', fullname: 'Мила', appointments: [appointment] };
  const headers = { authorization: `Bearer ${platform.partnerToken}` };
  const answer = await call(platform, '/api/v1/book_record/7', { method: 'POST', body, headers });
  assert.equal(answer.status, 201);
  const record = branch.record(Number(itemsOf(answer)[0]?.record_id));
  assert.equal(record?.maker.online, true);
  assert.equal(record?.startsLocal, `${DAY}T12:00:00`);
});

test('a moved record keeps its id, and cannot move onto another', async t => {
  const { platform, branch, wish } = await emptySalon(t);
  const record = await make(platform, branch, wish);
  await make(platform, branch, { ...wish, datetime: `${DAY} 15:00:00` });
  const move = async (datetime: string) => {
    const body = { datetime, comment: 'позже' };
    return (await call(platform, `/api/v1/book_record/7/${record.id}`, { method: 'PUT', body })).status;
  };
  assert.equal(await move(`${DAY} 15:30:00`), 433);
  assert.equal(await move('2026-07-01 10:00:00'), 422);
  assert.equal(await move(`${DAY} 12:30:00`), 200);
  const moved = branch.record(record.id);
  assert.deepEqual([moved?.startsLocal, moved?.comment], [`${DAY}T12:30:00`, 'позже']);
  assert.equal(moved?.startsAt, record.startsAt + 1_800_000);
});

test('attendance needs a comment, and dates the whole visit anew', async t => {
  const { clock, platform } = await emptySalon(t);
  const branch = platform.add(8);
  while (!branch.records().some(one => companions(branch, one.id).length > 0)) branch.act(clock.now());
  const record = branch.records().find(one => companions(branch, one.id).length > 0 && one.attendance === 0);
  const path = `/api/v1/visits/${record?.visitId}/${record?.id}`;
  assert.equal((await call(platform, path, { method: 'PUT', body: { attendance: 2 } })).status, 422);
  clock.set(NOW + 60_000);
  const body = { attendance: 2, comment: 'подтвердил' };
  assert.equal((await call(platform, path, { method: 'PUT', body })).status, 200);
  const after = branch.record(record?.id ?? 0);
  assert.deepEqual(
    [after?.attendance, after?.attendanceSince, after?.version],
    [2, NOW + 60_000, NOW + 60_000],
  );
  assert.ok(
    companions(branch, record?.id ?? 0).every(one => one.version === NOW + 60_000 && one.attendance === 0),
  );
});

function companions(branch: Branch, recordId: number) {
  const visit = branch.record(recordId)?.visitId;
  return branch.records().filter(one => one.visitId === visit && one.id !== recordId && !one.deleted);
}

test('a replaced record loses what the body leaves out', async t => {
  const { platform, branch, wish, staffId, otherId } = await emptySalon(t);
  const record = await make(platform, branch, wish);
  const path = `/api/v1/record/7/${record.id}`;
  const body = { staff_id: staffId, services: [{ id: otherId, amount: 2 }], datetime: WHEN };
  assert.equal((await call(platform, path, { method: 'PUT', body: { comment: 'x' } })).status, 422);
  assert.equal((await call(platform, path, { method: 'PUT', body })).status, 200);
  const after = branch.record(record.id);
  assert.deepEqual([after?.clientId, after?.comment], [null, '']);
  assert.deepEqual(
    after?.services.map(({ offered, amount }) => [offered.id, amount]),
    [[otherId, 2]],
  );
});

test('a deleted record answers 204 once, and 404 from then on', async t => {
  const { platform, branch, wish } = await emptySalon(t);
  const record = await make(platform, branch, wish);
  const remove = () => call(platform, `/api/v1/record/7/${record.id}`, { method: 'DELETE' });
  const first = await remove();
  assert.deepEqual([first.status, first.text], [204, '']);
  assert.equal(branch.record(record.id)?.deleted, true);
  assert.equal((await remove()).status, 404);
});

test('two changes within a second have two dates of change, and the course goes on from them', async t => {
  const { platform, branch, wish } = await emptySalon(t);
  const record = await make(platform, branch, wish);
  for (const [index, time] of ['13:00', '14:00'].entries()) {
    const body = { datetime: `${DAY} ${time}:00` };
    assert.equal(
      (await call(platform, `/api/v1/book_record/7/${record.id}`, { method: 'PUT', body })).status,
      200,
    );
    assert.equal(branch.record(record.id)?.version, NOW + (index + 1) * 1_000);
  }
  for (let index = 1; index < 40; index += 1) branch.act(NOW + index * 5_000);
  const items = itemsOf(await call(platform, '/api/v1/records/7?count=200&with_deleted=1'));
  assert.ok(items.length > 10);
  assert.equal(new Set(items.map(item => item.id)).size, items.length);
  assert.ok(bodyOf(await call(platform, `/api/v1/record/7/${record.id}`)).success);
});
