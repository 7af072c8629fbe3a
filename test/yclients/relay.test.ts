/** The platform's texts as they come: whom they are for, in every form that an undocumented field may have. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MOST_DESTINATIONS, readRelay } from '../../src/yclients/relay.ts';

const PHONE = '+79160000001';
const OTHER = '+79160000002';

function read(fields: Readonly<Record<string, unknown>>) {
  const result = readRelay({ text: 'Ждём вас в 14:30', dispatch_type: 'service', ...fields });
  assert.ok(!('unreadable' in result), 'unreadable' in result ? result.unreadable : '');
  return result;
}

const FORMS: readonly [string, unknown, readonly (readonly [string | null, string | null])[]][] = [
  ['a phone', '79160000001', [[null, PHONE]]],
  ['a phone with a plus and signs', '+7 (916) 000-00-01', [[null, PHONE]]],
  ['a phone as a number', 79160000001, [[null, PHONE]]],
  [
    'phones in a row',
    '79160000001, 79160000002',
    [
      [null, PHONE],
      [null, OTHER],
    ],
  ],
  ['an object of an id and a phone', { id: '232674', phone: '79160000001' }, [['232674', PHONE]]],
  ['an id as a number', { id: 232674, phone: 79160000001 }, [['232674', PHONE]]],
  ['other names', { sms_id: 'a-1', number: '79160000001' }, [['a-1', PHONE]]],
  [
    'one id and several phones',
    { id: 1, phones: ['79160000001', '79160000002'] },
    [
      ['1', PHONE],
      ['1', OTHER],
    ],
  ],
  [
    'a list with an id each',
    [
      { id: 1, phone: '79160000001' },
      { id: 2, phone: '79160000002' },
    ],
    [
      ['1', PHONE],
      ['2', OTHER],
    ],
  ],
  [
    'phones by id',
    { 1: '79160000001', 2: '79160000002' },
    [
      ['1', PHONE],
      ['2', OTHER],
    ],
  ],
  ['objects by id', { 7: { phone: '79160000001' } }, [['7', PHONE]]],
  ['objects under phones', { phones: [{ id: 3, phone: '79160000001' }] }, [['3', PHONE]]],
  ['JSON within a string', '[{"id":1,"phone":"79160000001"}]', [['1', PHONE]]],
  ['no phone at all', { id: 5, name: 'Анна' }, [['5', null]]],
  ['a phone of nowhere', { id: 6, phone: '12' }, [['6', null]]],
  [
    'some of both',
    [
      { id: 1, phone: '79160000001' },
      { id: 2, phone: 'нет' },
    ],
    [
      ['1', PHONE],
      ['2', null],
    ],
  ],
  ['an id that is no id', { id: 'a b <c>', phone: '79160000001' }, [[null, PHONE]]],
];

for (const [name, given, expected] of FORMS) {
  test(`destination_params: ${name}`, () => {
    const { destinations } = read({ destination_params: given });
    assert.deepEqual(
      destinations.map(({ theirId, phone }) => [theirId, phone]),
      expected,
    );
  });
}

test('what names nobody, says nothing or names too many is unreadable, and why is said', () => {
  const why = (value: unknown) => {
    const result = readRelay(value);
    return 'unreadable' in result ? result.unreadable : undefined;
  };
  assert.match(why([]) ?? '', /object is expected/);
  assert.match(why({ text: '  ', destination_params: '79160000001' }) ?? '', /text is missing/);
  for (const nobody of [undefined, null, [], {}, ' , ']) {
    assert.match(why({ text: 'x', destination_params: nobody }) ?? '', /names nobody/);
  }
  const many = Array.from({ length: MOST_DESTINATIONS + 1 }, (_, id) => ({ id, phone: '79160000001' }));
  assert.match(why({ text: 'x', destination_params: many }) ?? '', /more than/);
  let deep: unknown = '79160000001';
  for (let depth = 0; depth < 5_000; depth += 1) deep = { phone: deep };
  assert.deepEqual(read({ destination_params: deep }).destinations, [{ theirId: null, phone: null }]);
});

test('a word for the kind that is not known is advertising; none is from before there were two', () => {
  const kind = (dispatch_type: unknown) => read({ destination_params: PHONE, dispatch_type }).category;
  assert.deepEqual(['service', undefined, null, ''].map(kind), Array(4).fill('service'));
  assert.deepEqual(['adds', 'ads', 'promo', 7].map(kind), Array(4).fill('advertising'));
});

test('the channel is read under both of its names, and the text loses what hides in it', () => {
  const asked = (fields: object) => read({ destination_params: PHONE, ...fields }).asked;
  assert.equal(asked({ channel: 'whatsapp' }), 'whatsapp');
  assert.equal(asked({ type: 'sms' }), 'sms');
  assert.equal(asked({ type: 'viber' }), null);
  assert.equal(read({ destination_params: PHONE, text: 'Код\0 12\u202e34\ud800' }).text, 'Код 1234');
});

test('a name that the operator has given is read before those that are known', () => {
  const value = { text: 'Ждём вас', destination_params: [{ ref: 'a-7', id: '1', tel: '79160000001' }] };
  const told = (names = {}) => {
    const read = readRelay(value, names);
    return 'unreadable' in read ? read.unreadable : read.destinations;
  };
  assert.deepEqual(told(), [{ theirId: '1', phone: null }]);
  assert.deepEqual(told({ id: 'ref', phone: 'tel' }), [{ theirId: 'a-7', phone: PHONE }]);
});
