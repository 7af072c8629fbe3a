import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { countTurn, type Row, takeTurn } from '../../src/domain/pace.ts';

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

test('a backlog of more than ten minutes leaves at the rate that is allowed, to its end', () => {
  const everyMs = 1000;
  const waiting = Array.from({ length: 2_000 }, () => 0);
  const row = fresh();
  let sent = 0;
  for (let second = 0; second < 2_000; second += 1) {
    for (const [index, at] of waiting.entries()) {
      if (at > second * 1000) continue;
      const turn = takeTurn({ row, everyMs }, { row: fresh(), everyMs });
      if (turn.granted) sent += 1;
      waiting[index] = turn.granted ? Number.POSITIVE_INFINITY : second * 1000 + turn.inMs;
    }
    row.freeInMs = Math.max(0, row.freeInMs - 1000);
    row.queuedInMs = Math.max(0, row.queuedInMs - 1000);
  }
  assert.equal(sent, 2_000);
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

test('what has left without asking moves the next one behind it, and nobody for longer than a minute', () => {
  const [account, chat] = [fresh({ freeInMs: 500 }), fresh()];
  countTurn({ row: account, everyMs: 40 });
  countTurn({ row: chat, everyMs: 1000 });
  assert.deepEqual([account.freeInMs, chat.freeInMs], [540, 1000]);
  for (let count = 0; count < 100; count += 1) countTurn({ row: chat, everyMs: 1000 });
  assert.equal(chat.freeInMs, 60_000);
  const busy = fresh({ freeInMs: 90_000 });
  countTurn({ row: busy, everyMs: 1000 });
  assert.equal(busy.freeInMs, 90_000, 'it is never moved forward');
});
