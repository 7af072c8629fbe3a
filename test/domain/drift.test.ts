import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { closedPath, redact, shapeOf, unknownResource, unknownStatus } from '../../src/domain/drift.ts';
import { HOSTILE_TEXTS } from '../support/hostile-text.ts';

/** ASCII marks, spaces, `…`, `?`, and of letters and digits none but the two that stand for all. */
const SHAPE_ONLY = /^[a9…!-/:-@[-`{-~ ]*$/;

/** Lone halves of a character too. The unit `binary` of fast-check lists all but them beforehand: 1.5 s of a core. */
const ANY_CHARACTER = fc.integer({ min: 0, max: 0x10ffff }).map(
  code => String.fromCodePoint(code),
  text => String(text).codePointAt(0) ?? -1,
);

test('no letter, digit, accent, emoji or control character of a text survives', () => {
  const text = fc.oneof(
    fc.string({ unit: ANY_CHARACTER }),
    fc.string({ unit: 'grapheme' }),
    fc.constantFrom(...HOSTILE_TEXTS),
  );
  fc.assert(
    fc.property(text, value => {
      assert.match(redact(value), SHAPE_ONLY);
    }),
    { numRuns: 2_000 },
  );
});

test('nothing of any value survives, names of fields included, and the shape is short', () => {
  fc.assert(
    fc.property(fc.anything({ key: fc.string({ unit: ANY_CHARACTER }), maxDepth: 4 }), value => {
      const shape = shapeOf(value);
      assert.match(shape, SHAPE_ONLY);
      assert.ok(shape.length <= 120, shape);
    }),
    { numRuns: 2_000 },
  );
});

test('texts that differ in letters and digits only have one shape', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'Z', 'ж', 'é', '漢'), minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(letters, value => {
      assert.equal(shapeOf(value), shapeOf('x'.repeat(value.length)));
    }),
  );
});

test('what is left tells the form', () => {
  assert.equal(shapeOf('2026-05-20 14:30'), '"9999-99-99 99:99"');
  assert.equal(shapeOf('+79160000001'), '"+99999999…"');
  assert.equal(shapeOf(12.5), '99.9');
  assert.equal(shapeOf({ Анна: [1, 'x', {}] }), '{"aaaa":[9,"a",{}]}');
  assert.equal(shapeOf({ a: { b: { c: 1 } } }), '{"a":{"a":{…}}}');
});

test('an unknown event keeps its name without digits, and in a closed set has none', () => {
  const resource = unknownResource('tips_79160000001', { id: 5 });
  assert.deepEqual(resource, { kind: 'resource', path: 'tips_99999999999', sample: '{"aa":9}' });
  const status = unknownStatus('record', 'archive', []);
  assert.deepEqual(status, { kind: 'status', path: 'record.archive', sample: '[]' });
  assert.deepEqual([resource, status].map(closedPath), ['event.resource', 'event.status']);
  assert.equal(closedPath({ kind: 'type', path: 'record.date' }), 'record.date');
});
