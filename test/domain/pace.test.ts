import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Row, takeTurn } from '../../src/domain/pace.ts';

const fresh = (changes: Partial<Row> = {}): Row => ({
  ...{ freeInMs: 0, pausedInMs: 0, queuedInMs: 0 },
  ...changes,
});

/** Turns of messages to these chats, all asked for at this moment. */
function turns(chats: readonly string[], everyMs: number, chatEveryMs: number, row = fresh()) {
  const rows = new Map(chats.map(chat => [chat, fresh()]));
  return chats.map(chat =>
    takeTurn({ row, everyMs }, { row: rows.get(chat) ?? fresh(), everyMs: chatEveryMs }),
  );
}

test('an account sends at its distance for a second ahead, the rest queue behind it, each at its place', () => {
  const chats = Array.from({ length: 40 }, (_, index) => String(index));
  const taken = turns(chats, 40, 1000);
  assert.deepEqual(
    taken.filter(turn => turn.granted).map(turn => turn.inMs),
    Array.from({ length: 26 }, (_, index) => index * 40),
  );
  assert.deepEqual(
    taken.filter(turn => !turn.granted).map(turn => turn.inMs),
    Array.from({ length: 14 }, (_, index) => 1040 + index * 40),
  );
});

test('one chat is not written to twice within its distance, and holds nobody else up', () => {
  const taken = turns(['anna', 'anna', 'anna', 'boris'], 40, 1000);
  assert.deepEqual(taken, [
    { granted: true, inMs: 0 },
    { granted: true, inMs: 1000 },
    { granted: false, inMs: 2000 },
    { granted: true, inMs: 80 },
  ]);
});

test('a pause holds everybody, and lets them go one after the other', () => {
  const taken = turns(['anna', 'boris'], 40, 1000, fresh({ pausedInMs: 5000 }));
  assert.deepEqual(taken, [
    { granted: false, inMs: 5000 },
    { granted: false, inMs: 5040 },
  ]);
});

test('whatever is asked, nothing is granted closer to its chat than allowed, nor sooner than the account is free', () => {
  const chats = fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 60 });
  fc.assert(
    fc.property(
      chats,
      fc.integer({ min: 1, max: 300 }),
      fc.integer({ min: 0, max: 3000 }),
      (names, every, chat) => {
        const taken = turns(names, every, chat).map((turn, index) => ({ ...turn, name: names[index] }));
        for (const name of ['a', 'b', 'c']) {
          const moments = taken.filter(turn => turn.granted && turn.name === name).map(turn => turn.inMs);
          for (const [index, moment] of moments.entries())
            assert.ok(moment - (moments[index - 1] ?? Number.NEGATIVE_INFINITY) >= chat);
        }
        const granted = taken.filter(turn => turn.granted);
        for (const [index, turn] of granted.entries())
          assert.ok(turn.inMs >= index * every || turn.inMs <= 1000);
        assert.ok(granted.length <= Math.floor(1000 / every) + 1);
      },
    ),
  );
});
