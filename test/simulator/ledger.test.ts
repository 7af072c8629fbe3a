import assert from 'node:assert/strict';
import { test } from 'node:test';
import { historyOf } from '../../src/simulator/history.ts';
import { openBook, parseLedger } from '../../src/simulator/ledger.ts';
import { createRandom } from '../../src/simulator/random.ts';
import { newRecord, openSalon, type SalonRecord } from '../../src/simulator/salon.ts';

const START = Date.UTC(2026, 6, 1, 9, 0, 3);
const OPTIONS = { companyId: 1, brand: 'yclients', zone: 'Asia/Yekaterinburg' } as const;

/** A record whose visit is on 2026-07-01 at 15:00 in Yekaterinburg: 10:00 UTC. */
function recordOf(given: Partial<SalonRecord> = {}): SalonRecord {
  const random = createRandom(1);
  const salon = openSalon(OPTIONS, random, START);
  const startsLocal = '2026-07-01T15:00:00';
  const seed = { id: 9, visitId: 9, createdAt: START, startsLocal, known: false, clientId: 4 };
  return { ...newRecord(salon, random, seed), ...given };
}

function carriedBy({ id, version }: SalonRecord) {
  return { recordId: id, version, what: 'everything' } as const;
}

function tellingOf(record: SalonRecord) {
  return { carried: carriedBy(record), refuser: null };
}

function bookOf(...states: readonly SalonRecord[]) {
  const book = openBook();
  states.forEach((after, index) => {
    book.changed({ before: states[index - 1] ?? null, after }, carriedBy(after), after.version + 20);
  });
  return book;
}

test('states are kept in order, with what is true in each', () => {
  const first = recordOf();
  const second = { ...first, version: START + 2000, deleted: true };
  const [record] = bookOf(first, second).records();
  assert.equal(record?.known, false);
  assert.deepEqual(
    record?.states.map(({ version, at, state, facts }) => [version, at, state, facts.status]),
    [
      [START, START + 20, 'waiting', 'booked'],
      [START + 2000, START + 2020, 'cancelled', 'cancelled'],
    ],
  );
});

test('a record from before begins with the state that no webhook told', () => {
  const old = recordOf({ known: true });
  const book = openBook();
  const after = { ...old, version: START + 1000, paid: true };
  book.changed({ before: old, after }, carriedBy(after), START + 1000);
  const [record] = book.records();
  assert.equal(record?.known, true);
  assert.deepEqual(
    record?.states.map(({ carries, paid }) => [carries, paid]),
    [
      ['nothing', false],
      ['everything', true],
    ],
  );
});

test('attendance -1 is a cancellation when first said before the hour, a no-show when said after it', () => {
  const hour = Date.UTC(2026, 6, 1, 10);
  const named = (attendanceSince: number, version: number) => {
    const [record] = bookOf(recordOf({ attendance: -1, attendanceSince, version })).records();
    return [record?.states[0]?.state, record?.states[0]?.facts.status];
  };
  assert.deepEqual(named(hour - 1000, hour - 1000), ['cancelled', 'cancelled']);
  assert.deepEqual(named(hour - 1000, hour + 5000), ['cancelled', 'cancelled']);
  assert.deepEqual(named(hour, hour), ['no_show', 'booked']);
});

test('the first and the last delivery are kept, and a refusal is none', () => {
  const record = recordOf();
  const book = bookOf(record);
  const telling = tellingOf(record);
  book.sent(telling, START + 90, null);
  assert.deepEqual(times(book), [START + 90, null, null]);
  book.sent(telling, START + 200, START + 230);
  book.sent(telling, START + 100, START + 240);
  assert.deepEqual(times(book), [START + 90, START + 230, START + 240]);
});

function times(book: ReturnType<typeof openBook>) {
  const [record] = book.records();
  const [state] = record?.states ?? [];
  return [state?.firstSentAt, state?.firstAnsweredAt, state?.lastAnsweredAt];
}

test('a webhook of a change that the ledger does not know is a bug', () => {
  assert.throws(
    () => openBook().sent(tellingOf(recordOf()), START, START),
    /record 9 was sent before it changed/,
  );
});

test('a ledger survives its JSON', () => {
  const { ledger } = historyOf(createRandom(3), { startMs: START, actions: 60, known: 10, faults: 'all' });
  assert.deepEqual(parseLedger(JSON.stringify(ledger)), ledger);
  assert.throws(() => parseLedger('{"records": 1}'));
});
