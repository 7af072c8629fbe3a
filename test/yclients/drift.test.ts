/** What the readers find odd, and what they know too well to find it odd. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Finding } from '../../src/domain/drift.ts';
import { historyOf } from '../../src/simulator/history.ts';
import { createRandom } from '../../src/simulator/random.ts';
import { isEntity, readEntity } from '../../src/yclients/entities.ts';
import { readClient, readCompany, readRecord } from '../../src/yclients/wire.ts';
import { recordBody } from '../work/pipeline.ts';

const SAMPLES = new URL('../../../shared/samples/', import.meta.url).pathname;

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

function findingsOf(body: unknown): readonly Finding[] {
  const resource = String(field(body, 'resource'));
  const status = String(field(body, 'status'));
  const data = field(body, 'data');
  if (resource === 'record') return readRecord(status, data).odd;
  if (resource === 'client') return readClient(status, data).odd;
  if (resource === 'company' || resource === 'salon') return readCompany(data).odd;
  return isEntity(resource) ? readEntity(resource, status, data).odd : [];
}

const places = (findings: readonly Finding[]) => findings.map(({ kind, path }) => `${kind} ${path}`);
const record = (data: Record<string, unknown>, status = 'update') =>
  places(findingsOf(JSON.parse(recordBody({ status, data }))));

test('every value that is not understood is found with its place and its shape', () => {
  const data = {
    ...{ date: '20.05.2031', attendance: 7, deleted: 'perhaps', staff: 'Ольга', visit_id: 'v-12' },
    services: [{ id: 'seven', title: 'Стрижка' }, 'Укладка'],
    client: { id: 9, name: ['Анна'] },
  };
  const body: unknown = JSON.parse(recordBody({ data }));
  assert.deepEqual(
    [...findingsOf(body)].sort((one, other) => (one.path < other.path ? -1 : 1)),
    [
      { kind: 'enum', path: 'record.attendance', sample: '9' },
      { kind: 'type', path: 'record.client.name', sample: '["aaaa"]' },
      { kind: 'type', path: 'record.date', sample: '"99.99.9999"' },
      { kind: 'type', path: 'record.deleted', sample: '"aaaaaaa"' },
      { kind: 'type', path: 'record.services[]', sample: '"aaaaaaa"' },
      { kind: 'type', path: 'record.services[].id', sample: '"aaaaa"' },
      { kind: 'type', path: 'record.staff', sample: '"aaaaa"' },
      { kind: 'type', path: 'record.visit_id', sample: '"a-99"' },
    ],
  );
});

for (const name of [
  ...['seance_length', 'staff_id', 'services', 'client', 'attendance', 'deleted', 'paid_full', 'online'],
  ...['create_date', 'last_change_date'],
]) {
  test(`a record that has all but ${name} lacks it`, () => {
    // An absent staff_id is made up for by `staff`, an absent date by `datetime`.
    assert.deepEqual(record({ [name]: undefined, staff: undefined }), [`missing record.${name}`]);
  });
}

test('a start or a specialist said in the other way is not missing; said in neither it is', () => {
  assert.deepEqual(record({ datetime: undefined }), []);
  assert.deepEqual(record({ date: undefined }), []);
  assert.deepEqual(record({ staff_id: undefined }), []);
  assert.deepEqual(record({ date: undefined, datetime: undefined }), ['missing record.date']);
});

test('null where a value must be is missing, but no client and no services are news', () => {
  assert.deepEqual(record({ attendance: null }), ['missing record.attendance']);
  assert.deepEqual(record({ client: null, services: [] }), []);
  assert.deepEqual(record({ client: [], services: null }), ['missing record.services']);
});

test('a large record that lacks much lacks all of it; a small one is an excerpt', () => {
  const gone = { attendance: undefined, deleted: undefined, paid_full: undefined, online: undefined };
  assert.deepEqual(record(gone), []);
  const more = Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`new_${index}`, index]));
  assert.deepEqual(record({ ...gone, ...more }), [
    ...['attendance', 'deleted', 'paid_full', 'online'].map(name => `missing record.${name}`),
    ...['visit_id', 'created_user_id', 'api_id'].map(name => `missing record.${name}`),
  ]);
});

test('parts without what we use of them lack it', () => {
  assert.deepEqual(record({ client: { name: 'Анна' } }), ['missing record.client.id']);
  assert.deepEqual(record({ client: { id: 9 } }), ['missing record.client.name']);
  assert.deepEqual(record({ staff: { id: 5 } }), ['missing record.staff.name']);
  assert.deepEqual(record({ services: [{ id: 7 }] }), ['missing record.services[].title']);
});

test('a bare delete, or one without a client, lacks nothing', () => {
  assert.deepEqual(places(readRecord('delete', { id: 1, company_id: 1, deleted: true }).odd), []);
  assert.deepEqual(places(readRecord('delete', []).odd), []);
  assert.deepEqual(record({ client: undefined, deleted: true }, 'delete'), []);
  assert.deepEqual(places(readRecord('update', undefined).odd), ['missing record']);
  assert.deepEqual(places(readRecord('update', 'text').odd), ['type record']);
});

test('other resources: a new kind of operation, a zone that is none, a title that is gone', () => {
  const operation = { id: 1, type_id: 9, good: { id: 2, title: 'Шампунь' }, amount: -1 };
  assert.deepEqual(readEntity('goods_operations_sale', 'create', operation).odd, [
    { kind: 'enum', path: 'goods_operation.type_id', sample: '9' },
  ]);
  assert.deepEqual(places(readCompany({ title: 'Север', timezone_name: 'Mars/Base' }).odd), [
    'enum company.timezone_name',
  ]);
  assert.deepEqual(places(readEntity('service', 'update', { id: 7 }).odd), ['missing service.title']);
  assert.deepEqual(places(readEntity('service', 'delete', { id: 7 }).odd), []);
  assert.deepEqual(places(readEntity('schedule', 'update', []).odd), []);
  assert.deepEqual(places(readClient('update', { id: 9, phone: '+79160000001' }).odd), [
    'missing client.name',
  ]);
});

test('nothing that the wire is known to do is drift', () => {
  for (const brand of ['yclients', 'altegio'] as const) {
    for (let seed = 1; seed <= 4; seed += 1) {
      const options = { actions: 1_000, known: 36, faults: 'all', others: true, zone: 'Asia/Almaty' };
      const { events } = historyOf(createRandom(seed), { ...options, brand, startMs: Date.UTC(2026, 6, 1) });
      assert.ok(events.length > 900, `only ${events.length} events`);
      for (const { body } of events) assert.deepEqual(findingsOf(JSON.parse(body)), [], body);
    }
  }
});

test('bodies published by others are of a form we know', {
  skip: existsSync(SAMPLES) ? false : 'no samples beside the project',
}, () => {
  const files = readdirSync(SAMPLES, { recursive: true, encoding: 'utf8' }).filter(name =>
    name.endsWith('.json'),
  );
  assert.ok(files.length >= 15, `only ${files.length} files`);
  for (const file of files) {
    const body: unknown = JSON.parse(readFileSync(`${SAMPLES}${file}`, 'utf8'));
    assert.deepEqual(findingsOf(body), [], file);
  }
});
