import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Brand } from '../../src/simulator/cast.ts';
import { historyOf } from '../../src/simulator/history.ts';
import type { TrueState } from '../../src/simulator/ledger.ts';
import { createRandom } from '../../src/simulator/random.ts';
import { readRecord } from '../../src/yclients/wire.ts';

const START = Date.UTC(2026, 6, 1, 9, 0, 3, 120);

function webhooksOf(brand: Brand, zone: string, faults: string, actions = 2500) {
  const options = { startMs: START, actions, known: 36, faults, others: true, brand, zone };
  const { events, ledger } = historyOf(createRandom(11), options);
  const webhooks = events.map(event => {
    const envelope: unknown = JSON.parse(event.body);
    return { ...event.webhook, envelope, data: field(envelope, 'data') };
  });
  return { webhooks, ledger };
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

function at(value: unknown, ...path: string[]): unknown {
  return path.reduce(field, value);
}

const isEmptyList = (value: unknown) => Array.isArray(value) && value.length === 0;
const isEmptyObject = (value: unknown) => JSON.stringify(value) === '{}';
const isAbsent = (value: unknown) => value === undefined;
const holds = (value: unknown, text: string) => typeof value === 'string' && value.includes(text);

/** Every shape that the wire has been seen in, by the data of a record. */
const SHAPES: Readonly<Record<string, (data: unknown, status: string) => boolean>> = {
  'a create': (_data, status) => status === 'create',
  'an update': (_data, status) => status === 'update',
  'a delete with nothing but the id': (data, status) =>
    status === 'delete' && Object.keys(Object(data)).sort().join() === 'company_id,deleted,id',
  'a delete with the full record': (data, status) =>
    status === 'delete' && at(data, 'deleted') === true && typeof at(data, 'client', 'phone') === 'string',
  'a delete without a phone': (data, status) =>
    status === 'delete' && at(data, 'client', 'id') !== undefined && isAbsent(at(data, 'client', 'phone')),
  'a full delete without a client': (data, status) =>
    status === 'delete' && isAbsent(at(data, 'client')) && at(data, 'datetime') !== undefined,
  'an update of a deleted record': (data, status) => status === 'update' && at(data, 'deleted') === true,
  'client null': data => at(data, 'client') === null,
  'client []': data => isEmptyList(at(data, 'client')),
  'a client without a phone': (data, status) =>
    status !== 'delete' && at(data, 'client', 'id') !== undefined && isAbsent(at(data, 'client', 'phone')),
  'custom_fields []': data => isEmptyList(at(data, 'custom_fields')),
  'custom_fields {}': data => isEmptyObject(at(data, 'custom_fields')),
  'custom_fields with codes': data => at(data, 'custom_fields', 'hair_length') === 'long',
  "a client's custom_fields []": data => isEmptyList(at(data, 'client', 'custom_fields')),
  "a client's custom_fields {}": data => isEmptyObject(at(data, 'client', 'custom_fields')),
  'position {}': data => isEmptyObject(at(data, 'staff', 'position')),
  'position []': data => isEmptyList(at(data, 'staff', 'position')),
  'a position': data => at(data, 'staff', 'position', 'id') !== undefined,
  'a rating that is no integer': data => at(data, 'staff', 'rating') === 4.83,
  'a discount that is no integer': data => at(data, 'client', 'discount') === 7.5,
  'sms_remain_hours null': data => at(data, 'sms_remain_hours') === null,
  'visit_id a number': data => typeof at(data, 'visit_id') === 'number',
  'visit_id a string': data => typeof at(data, 'visit_id') === 'string',
  'attendance a string': data => typeof at(data, 'attendance') === 'string',
  'a staff_id in a string': data => typeof at(data, 'staff_id') === 'string',
  'an amount in a string': data => typeof at(data, 'services', '0', 'amount') === 'string',
  'deleted 0': data => at(data, 'deleted') === 0,
  'deleted 1': data => at(data, 'deleted') === 1,
  'deleted false': data => at(data, 'deleted') === false,
  'online 0 or 1': data => at(data, 'online') === 0 || at(data, 'online') === 1,
  'paid_full 1': data => at(data, 'paid_full') === 1,
  'paid_full true': data => at(data, 'paid_full') === true,
  'a prepaid no-show': data => at(data, 'attendance') === -1 && at(data, 'paid_full') === 1,
  'no service': data => isEmptyList(at(data, 'services')),
  'several services': data => at(data, 'services', '1', 'id') !== undefined,
  'a service twice': data => at(data, 'services', '0', 'amount') === 2,
  'an older build': data => isAbsent(at(data, 'short_link')) && at(data, 'date') !== undefined,
  'the fewest fields': data => isAbsent(at(data, 'date')) && at(data, 'datetime') !== undefined,
  'no staff': data => isAbsent(at(data, 'staff')) && at(data, 'staff_id') !== undefined,
  'an unknown field': data => at(data, 'mood') === 'calm',
  'an unknown field within': data => at(data, 'client', 'loyalty') !== undefined,
  'a NUL in a name': data => holds(at(data, 'client', 'name'), '\u0000'),
  'a NUL in a comment': data => holds(at(data, 'comment'), '\u0000'),
  'a high surrogate alone': data => holds(at(data, 'staff', 'name'), '\ud83d'),
  'a low surrogate alone': data => holds(at(data, 'services', '0', 'title'), '\udc4d'),
  'an offset with a colon': data => /\+\d\d:\d\d$/.test(String(at(data, 'datetime'))),
  'an offset without a colon': data => /\+\d{4}$/.test(String(at(data, 'datetime'))),
  milliseconds: data => holds(at(data, 'datetime'), '.000+'),
  'last_change_date without a colon': data => /\+\d{4}$/.test(String(at(data, 'last_change_date'))),
  'last_change_date with a colon': data => /\+\d\d:\d\d$/.test(String(at(data, 'last_change_date'))),
  'made by an administrator': data => at(data, 'online') === false && at(data, 'created_user_id') !== 0,
  'made by a widget': data => holds(at(data, 'record_from'), 'widget'),
  'made by an app': data => /App$/.test(String(at(data, 'record_from'))),
  'made by an aggregator': data => /^(Partners|Партнёры):/.test(String(at(data, 'record_from'))),
};

for (const [brand, zone] of [
  ['yclients', 'Asia/Yekaterinburg'],
  ['altegio', 'Europe/Berlin'],
] as const) {
  test(`every shape of a record occurs within 2500 actions of ${brand}`, () => {
    const records = webhooksOf(brand, zone, 'all').webhooks.filter(one => one.resource === 'record');
    for (const [shape, matches] of Object.entries(SHAPES)) {
      const count = records.filter(one => matches(one.data, one.status)).length;
      assert.ok(count >= 3, `${shape}: ${count}`);
    }
  });

  test(`whatever the shape, a body of ${brand} says what is true`, () => {
    const { webhooks, ledger } = webhooksOf(brand, zone, 'all', 1200);
    const states = new Map(
      ledger.records.flatMap(({ recordId, states: all }) =>
        all.map(state => [`${recordId}/${state.version}`, state] as const),
      ),
    );
    const records = webhooks.flatMap(one => (one.carried ? [{ ...one, carried: one.carried }] : []));
    assert.ok(records.length > 1000);
    for (const { carried, data, status, body } of records) {
      const state = states.get(`${carried.recordId}/${carried.version}`);
      assert.ok(state);
      assert.deepEqual(said(data, status, state), truth(state), body);
    }
  });
}

/** What a tolerant reader understands of a body, with the truth where the body says nothing. */
function said(data: unknown, status: string, state: TrueState) {
  const { fields, version } = readRecord(status, data);
  const { startsLocal, staffId, services, clientId, deleted, attendance, paid } = fields;
  if (state.carries === 'deletion') return { ...truth(state), deleted, version: version ?? state.version };
  const ids = services?.map(({ id, amount }) => ({ id, amount }));
  const client = state.carries === 'everything' && clientId !== undefined ? clientId : state.facts.clientId;
  return { startsLocal, staffId, services: ids, clientId: client, deleted, attendance, paid, version };
}

function truth({ facts, deleted, attendance, paid, version }: TrueState) {
  const { startsLocal, staffId, services, clientId } = facts;
  return { startsLocal, staffId, services, clientId, deleted, attendance, paid, version };
}

test('the offset inside datetime is sometimes wrong in summer, its wall clock never', () => {
  const { webhooks } = webhooksOf('altegio', 'Europe/Berlin', 'all', 800);
  const summer = webhooks
    .map(one => String(at(one.data, 'datetime')))
    .filter(text => /^2026-0[78]/.test(text));
  const wrong = summer.filter(text => /\+01:?00$/.test(text));
  const right = summer.filter(text => /\+02:?00$/.test(text));
  assert.ok(wrong.length > 20 && right.length > wrong.length, `${wrong.length} wrong, ${right.length} right`);
});

test('without faults the bodies are clean', () => {
  const { webhooks } = webhooksOf('yclients', 'Asia/Yekaterinburg', 'none');
  const records = webhooks.filter(one => one.resource === 'record');
  const odd = [
    'a delete with nothing but the id',
    'a delete without a phone',
    'client []',
    'a client without a phone',
    'custom_fields []',
    'position []',
    'attendance a string',
    'deleted 1',
    'an older build',
    'the fewest fields',
    'an unknown field',
    'a NUL in a name',
    'a high surrogate alone',
  ];
  for (const shape of odd) {
    assert.equal(records.filter(one => SHAPES[shape]?.(one.data, one.status)).length, 0, shape);
  }
  assert.ok(webhooks.every(one => !/^(tips|resource_|chain_)/.test(one.resource)));
});

test('the other resources keep their traps', () => {
  const { webhooks } = webhooksOf('yclients', 'Asia/Yekaterinburg', 'all', 2500);
  const of = (resource: string) => webhooks.filter(one => one.resource === resource);
  assert.ok(of('schedule').every(one => isEmptyList(one.data)));
  assert.ok(
    of('good').every(one => isAbsent(at(one.data, 'id')) && at(one.data, 'good_id') === one.resourceId),
  );
  assert.ok(of('goods_operations_sale').every(one => at(one.data, 'type_id') === 1));
  assert.ok(of('goods_operations_move').every(one => at(one.data, 'type_id') === 0));
  assert.ok(of('finances_operation').some(one => isEmptyList(at(one.data, 'master'))));
  assert.ok(of('finances_operation').some(one => isEmptyObject(at(one.data, 'master'))));
  assert.ok(of('client').some(one => at(one.data, 'sms_not') === 1));
  assert.ok(of('client').every(one => holds(at(one.data, 'last_change_date'), '+0400')));
  assert.ok(of('salon').length > 0 && of('company').length > 0);
});
