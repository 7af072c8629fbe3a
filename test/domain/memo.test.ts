import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memo } from '../../src/domain/memo.ts';

test('what a function came to is remembered, but not of a text that is long: who sent it chose its length', () => {
  let made = 0;
  const length = memo((text: string) => {
    made += 1;
    return text.length;
  });
  for (const [text, times] of [
    ['+79160000012', 1],
    ['9'.repeat(100_000), 2],
  ] as const) {
    made = 0;
    assert.equal(length(text), text.length);
    assert.equal(length(text), text.length);
    assert.equal(made, times, `${text.length} characters`);
  }
});
