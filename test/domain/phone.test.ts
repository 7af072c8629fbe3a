import assert from 'node:assert/strict';
import { test } from 'node:test';
import { normalisePhone, phoneInBase64, phonePattern, typedPhone } from '../../src/domain/phone.ts';

test('a number is one however it is written, the Russian 8 included; what could be another country’s is left', () => {
  for (const text of ['+79160000012', '79160000012', '8 (916) 000-00-12', '89160000012']) {
    assert.equal(normalisePhone(text), '+79160000012', text);
  }
  assert.equal(normalisePhone('81312345678'), '+81312345678', 'Tokyo');
  for (const text of ['8916000001', '+89160000012', 'Olga', '']) assert.equal(normalisePhone(text), text);
});

test('who looks for a person may leave the country out, or write 8; a plus says which country it is', () => {
  for (const text of [
    '+7 916 000-00-12',
    '8 (916) 000-00-12',
    '+8 916 000 00 12',
    '916 000-00-12',
    '79160000012',
  ]) {
    assert.equal(typedPhone(text), '+79160000012', text);
  }
  assert.equal(typedPhone('8 495 000-00-12'), '+74950000012');
  assert.equal(typedPhone('+84912345678'), '+84912345678');
});

test('a number is found in a text however either is written', () => {
  for (const asked of ['+79160000012', '89160000012']) {
    const pattern = new RegExp(phonePattern(asked) ?? '$^');
    for (const text of ['тел. 8 916 000-00-12', '"+79160000012"']) assert.match(text, pattern, asked);
    assert.doesNotMatch('+79160000013', pattern);
  }
});

test('a number is found in base64 wherever in it it stands, and its neighbours are not', () => {
  for (let last = 0; last <= 9; last += 1) {
    const pattern = new RegExp(phoneInBase64(`+7916000001${last}`) ?? '$^');
    for (const before of ['', 'x', 'x'.repeat(2), '\xff'.repeat(3)]) {
      for (const after of ['', '\x15', '\xff\xff', 'no']) {
        for (const alphabet of ['base64', 'base64url'] as const) {
          const coded = (digit: number) =>
            Buffer.from(`${before}7916000001${digit}${after}`, 'latin1').toString(alphabet);
          assert.match(coded(last), pattern);
          for (const other of [last + 1, last + 9]) assert.doesNotMatch(coded(other % 10), pattern);
        }
      }
    }
  }
  assert.equal(phoneInBase64('12345'), undefined);
});
