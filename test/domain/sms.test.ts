import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fitSms, smsParts } from '../../src/domain/sms.ts';

test('a text is as many SMS as its alphabet makes it', () => {
  const cases: ReadonlyArray<readonly [string, number]> = [
    ['', 1],
    ['a'.repeat(160), 1],
    ['a'.repeat(161), 2],
    ['a'.repeat(306), 2],
    ['a'.repeat(307), 3],
    // Two septets each.
    ['€'.repeat(80), 1],
    ['€'.repeat(81), 2],
    // 76 of them fill 152 of 153 septets: a pair is not broken over two parts.
    ['€'.repeat(152), 2],
    ['€'.repeat(153), 3],
    ['ж'.repeat(70), 1],
    ['ж'.repeat(71), 2],
    ['ж'.repeat(134), 2],
    ['ж'.repeat(135), 3],
    // One letter of another alphabet makes all of it UCS-2.
    [`${'a'.repeat(69)}ж`, 1],
    [`${'a'.repeat(70)}ж`, 2],
    ['😀'.repeat(35), 1],
    ['😀'.repeat(36), 2],
    // 33 of them fill 66 of 67 units.
    ['😀'.repeat(66), 2],
    ['😀'.repeat(67), 3],
  ];
  for (const [text, parts] of cases)
    assert.equal(smsParts(text), parts, `${text.slice(0, 4)} × ${text.length}`);
});

test('a text is cut to so many SMS, ends in a sign that there was more, and keeps its alphabet', () => {
  assert.equal(fitSms('короткий', 1), 'короткий');
  assert.equal(fitSms('ж'.repeat(71), 1), `${'ж'.repeat(69)}…`);
  assert.equal(fitSms('ж'.repeat(500), 2), `${'ж'.repeat(133)}…`);
  assert.equal(fitSms('a'.repeat(161), 1), `${'a'.repeat(157)}...`, 'the ellipsis is not of this alphabet');
});

test('whatever the text, the cut one fits, and nothing is cut that fits', () => {
  const letters = fc.constantFrom('a', 'é', '€', 'ж', '😀', '\n', ' ', '[');
  fc.assert(
    fc.property(fc.array(letters, { maxLength: 700 }), fc.integer({ min: 1, max: 6 }), (parts, most) => {
      const text = parts.join('');
      const cut = fitSms(text, most);
      assert.ok(smsParts(cut) <= most);
      if (smsParts(text) <= most) assert.equal(cut, text);
      else assert.ok(text.startsWith(cut.replace(/(…|\.\.\.)$/, '')));
    }),
  );
});
