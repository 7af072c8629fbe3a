import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wallOf } from '../../../src/domain/time.ts';
import type { Platform } from '../../../src/simulator/api/platform.ts';
import { FAULTS, parseFaults } from '../../../src/simulator/faults.ts';
import { type History, historyOf } from '../../../src/simulator/history.ts';
import { createRandom } from '../../../src/simulator/random.ts';
import type { SalonRecord } from '../../../src/simulator/salon.ts';
import { bodyOf, call, itemsOf, NOW, platformFor } from './client.ts';

const HOUR_MS = 3_600_000;
const ZONE = 'Asia/Yekaterinburg';

async function idsOf(platform: Platform, query: string): Promise<unknown[]> {
  const answer = await call(platform, `/api/v1/records/7?count=200&${query}`);
  assert.equal(answer.status, 200);
  return itemsOf(answer).map(item => item.id);
}

function idsWhere(platform: Platform, where: (record: SalonRecord) => boolean): number[] {
  const ids = platform.salon(7).records().filter(where);
  return ids.map(record => record.id);
}

/** A salon with some deleted records: 60 actions after its 100 records of before. */
async function busyPlatform(t: Parameters<typeof platformFor>[0]): Promise<Platform> {
  const platform = await platformFor(t);
  const branch = platform.add(7, { records: 100 });
  for (let index = 0; index < 60; index += 1) branch.act(NOW + index * 10_000);
  assert.ok(idsWhere(platform, record => record.deleted).length > 1);
  return platform;
}

test('pages are complete, in one order, and end with a short one', async t => {
  const platform = await platformFor(t);
  platform.add(7, { records: 57 });
  const pages = [1, 2, 3, 4].map(page => call(platform, `/api/v1/records/7?page=${page}&count=25`));
  const items = (await Promise.all(pages)).map(itemsOf);
  assert.deepEqual(
    items.map(page => page.length),
    [25, 25, 7, 0],
  );
  assert.deepEqual(
    items.flat().map(item => item.id),
    idsWhere(platform, () => true),
  );
});

test('a page holds 25 unless told, and never more than 200', async t => {
  const platform = await platformFor(t);
  platform.add(7, { records: 230 });
  assert.equal(itemsOf(await call(platform, '/api/v1/records/7')).length, 25);
  const most = await call(platform, '/api/v1/records/7?count=1000');
  assert.equal(itemsOf(most).length, 200);
  assert.deepEqual(bodyOf(most).meta, { page: 1, total_count: 230 });
});

test('deleted records are there only when asked for, and say so', async t => {
  const platform = await busyPlatform(t);
  assert.deepEqual(
    await idsOf(platform, ''),
    idsWhere(platform, record => !record.deleted),
  );
  const all = itemsOf(await call(platform, '/api/v1/records/7?count=200&with_deleted=1'));
  assert.deepEqual(
    all.filter(item => item.deleted).map(item => item.id),
    idsWhere(platform, record => record.deleted),
  );
});

test('each filter selects what it says', async t => {
  const platform = await busyPlatform(t);
  const live = (where: (record: SalonRecord) => boolean) =>
    idsWhere(platform, record => !record.deleted && where(record));
  const [staff] = platform.salon(7).salon().cast.staff;
  const clientId = platform
    .salon(7)
    .records()
    .find(record => record.clientId !== null)?.clientId;
  const day = (record: SalonRecord) => record.startsLocal.slice(0, 10);
  const made = (record: SalonRecord) => wallOf(record.createdAt, ZONE).slice(0, 10);
  const cases: readonly (readonly [string, (record: SalonRecord) => boolean])[] = [
    [`staff_id=${staff?.id}`, record => record.staffId === staff?.id],
    [`client_id=${clientId}`, record => record.clientId === clientId],
    ['created_user_id=12795000', record => record.maker.createdUserId === 12_795_000],
    ['start_date=2026-07-02', record => day(record) >= '2026-07-02'],
    ['end_date=2026-07-01', record => day(record) <= '2026-07-01'],
    ['start_date=2026-07-01&end_date=2026-07-01', record => day(record) === '2026-07-01'],
    ['c_start_date=2026-07-01', record => made(record) >= '2026-07-01'],
    ['c_end_date=2026-06-30', record => made(record) <= '2026-06-30'],
    ['changed_after=2026-07-01T14:05:00', record => record.version >= NOW + 300_000],
    ['changed_before=2026-07-01+14:05:00', record => record.version <= NOW + 300_000],
  ];
  for (const [query, where] of cases) {
    const expected = live(where);
    assert.deepEqual(await idsOf(platform, query), expected, query);
    assert.ok(expected.length > 0 && expected.length < live(() => true).length, `${query} tells nothing`);
  }
});

test('a moment without an offset is read in the zone that was chosen', async t => {
  const platform = await busyPlatform(t);
  const since = (ms: number) => idsWhere(platform, record => !record.deleted && record.version >= ms);
  const cases: readonly (readonly [string, number])[] = [
    ['salon', NOW - 5 * HOUR_MS],
    ['UTC', NOW],
    ['Europe/Moscow', NOW - 3 * HOUR_MS],
  ];
  for (const [naiveZone, ms] of cases) {
    platform.setQuirks({ naiveZone });
    assert.deepEqual(await idsOf(platform, 'changed_after=2026-07-01 09:00:00'), since(ms), naiveZone);
    assert.deepEqual(await idsOf(platform, 'changed_after=2026-07-01T09:00:00Z'), since(NOW));
  }
});

test('unknown parameters and unreadable values filter nothing', async t => {
  const platform = await busyPlatform(t);
  const everything = await idsOf(platform, '');
  for (const query of ['client_ids=1', 'changed_since=2099-01-01', 'staff_id=x', 'changed_after=soon']) {
    assert.deepEqual(await idsOf(platform, query), everything, query);
  }
});

test('totals lie when told to', async t => {
  const platform = await platformFor(t, { quirks: { totals: 'too_small' } });
  platform.add(7, { records: 30 });
  const metaOf = async () => bodyOf(await call(platform, '/api/v1/records/7')).meta;
  assert.deepEqual(await metaOf(), { page: 1, total_count: 15 });
  platform.setQuirks({ totals: 'absent' });
  assert.deepEqual(await metaOf(), { page: 1 });
});

test('one record is what its webhook said of it', async t => {
  const platform = await platformFor(t);
  const branch = platform.add(7);
  const happening = branch.act(NOW);
  const [webhook] = happening?.webhooks ?? [];
  const { data: told } = JSON.parse(webhook?.body ?? '{}');
  const { data: asked } = JSON.parse((await call(platform, `/api/v1/record/7/${told.id}`)).text);
  assert.deepEqual(Object.keys(asked), Object.keys(told));
  for (const name of ['id', 'date', 'staff_id', 'attendance', 'deleted', 'seance_length', 'create_date']) {
    assert.equal(String(asked[name]).slice(0, 19), String(told[name]).slice(0, 19), name);
  }
  assert.equal(asked.client?.id, told.client?.id);
});

test('a deleted record is told as deleted, or is not found', async t => {
  const platform = await busyPlatform(t);
  const [id] = idsWhere(platform, record => record.deleted);
  const told = await call(platform, `/api/v1/record/7/${id}`);
  assert.equal(JSON.parse(told.text).data.deleted, true);
  platform.setQuirks({ deletedRecord: 'not_found' });
  assert.equal((await call(platform, `/api/v1/record/7/${id}`)).status, 404);
  assert.equal((await call(platform, '/api/v1/record/7/1')).status, 404);
});

test('bodies come in every shape of the wire when told to', async t => {
  const platform = await platformFor(t, { quirks: { bodies: parseFaults(FAULTS.join()) } });
  platform.add(7, { records: 200 });
  const items = itemsOf(await call(platform, '/api/v1/records/7?count=200'));
  assert.ok(items.some(item => typeof item.id === 'string'));
  assert.ok(items.some(item => item.deleted === 0));
  assert.ok(items.some(item => !('short_link' in item)));
  assert.ok(items.every(item => 'last_change_date' in item));
});

test('a history moves the platform happening by happening, and nothing is forgotten', async t => {
  const platform = await platformFor(t);
  const history = historyOf(createRandom(3), { startMs: NOW, actions: 700, companyId: 7, known: 500 });
  const branch = platform.load(history.salon);
  for (const happening of history.happenings) branch.apply(happening);
  const newest = new Map(history.ledger.records.map(({ recordId, states }) => [recordId, states.at(-1)]));
  assert.ok(newest.size > 200);
  for (const [recordId, state] of newest) {
    assert.equal(branch.record(recordId)?.version, state?.version, `record ${recordId}`);
  }
  const ids = new Set([...newest.keys(), ...history.salon.records.map(record => record.id)]);
  assert.equal(branch.records().length, ids.size);
  assert.ok(ids.size > 600, 'more than the salon itself remembers');
});

test('a happening that knows nothing of what a caller wrote is refused', async t => {
  const platform = await platformFor(t);
  const history = historyOf(createRandom(3), { startMs: NOW, actions: 30, companyId: 7, known: 5 });
  const branch = platform.load(history.salon);
  const [first] = history.salon.records;
  const removed = await call(platform, `/api/v1/record/7/${first?.id}`, { method: 'DELETE' });
  assert.equal(removed.status, 204);
  const applyAll = ({ happenings }: History) => {
    for (const happening of happenings) branch.apply(happening);
  };
  assert.throws(() => applyAll(history), {
    message: `company 7: record ${first?.id} is not as it was when this happened`,
  });
  const strangers = historyOf(createRandom(3), { startMs: NOW, actions: 1, companyId: 8 });
  assert.throws(() => applyAll(strangers), /company 7 cannot take/);
});

test('a thousand companies and a company of five thousand records are opened in seconds', async t => {
  const platform = await platformFor(t);
  for (let companyId = 1; companyId <= 1_000; companyId += 1) platform.add(companyId, { records: 3 });
  platform.add(5_000, { records: 5_000 });
  const last = await call(platform, '/api/v1/records/5000?page=25&count=200');
  assert.equal(itemsOf(last).length, 200);
  assert.equal(itemsOf(await call(platform, '/api/v1/records/1000')).length, 3);
  const ids = [1, 2, 1_000].flatMap(id =>
    platform
      .salon(id)
      .records()
      .map(record => record.id),
  );
  assert.equal(new Set(ids).size, 9);
});
