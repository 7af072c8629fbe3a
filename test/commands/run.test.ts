/** How rows are shown. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ofCompany, print, table } from '../../src/commands/run.ts';
import { HOSTILE_TEXTS } from '../support/hostile-text.ts';

test('a cell is one line and drives no terminal, whatever a stranger typed', () => {
  const shown = table(
    ['id', 'title'],
    [...HOSTILE_TEXTS, 'Line\nbreak \u001b[31mred'].map(title => ['1', title]),
    '',
  );
  assert.equal(shown.split('\n').length, HOSTILE_TEXTS.length + 2);
  assert.doesNotMatch(shown.replaceAll('\n', ''), /\p{Cc}|\p{Cf}/u);
  assert.match(shown, /^1 {3}Line break \[31mred$/m);
});

test('what is printed for people keeps its lines and tabs and no other control character', t => {
  const { mock } = t.mock.method(process.stdout, 'write', () => true);
  print({}, {}, 'Анна\u001b]0;x\u0007\n\tтекст');
  mock.restore();
  assert.deepEqual(mock.calls[0]?.arguments, ['Анна]0;x\n\tтекст\n']);
});

test('a fault names its company once', () => {
  assert.equal(ofCompany(5, 'no token'), 'company 5: no token');
  const theirs = 'YClients, company 5, records: HTTP 502';
  assert.equal(ofCompany(5, theirs), theirs);
  assert.equal(ofCompany(5, 'no company 55'), 'company 5: no company 55');
});
