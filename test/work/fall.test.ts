/** Whether a message that a channel took is to be taken by another: every reason to stay, one by one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Channel, ChannelName } from '../../src/channels/channel.ts';
import { CONSOLE_TRAITS } from '../../src/channels/console.ts';
import { type Facts, factsFor } from '../../src/domain/notice.ts';
import type { Fall } from '../../src/domain/route.ts';
import type { StoredBooking } from '../../src/store/bookings.ts';
import type { Company } from '../../src/store/companies.ts';
import type { DueMessage } from '../../src/store/messages.ts';
import { judgeFall, whyNotAgain } from '../../src/work/fall.ts';

const NOW = Date.parse('2031-05-01T09:00:00Z');
const ZONE = 'Europe/Moscow';
const RECIPIENT = 'client:9';
const channels = new Map<ChannelName, Channel>([
  [
    'whatsapp',
    {
      ...{ name: 'whatsapp', provider: 'cloud', traits: CONSOLE_TRAITS, idempotent: false, concurrency: 1 },
      send: async () => ({ outcome: 'sent' }),
    },
  ],
]);

/** Taken by WhatsApp, whose receipt has not come in time. */
const SILENT = {
  ...{ companyId: 5, recipient: RECIPIENT, step: 2, channel: 'whatsapp', lastOutcome: 'sent' },
  ...{ heard: false, undelivered: null, falls: [] as readonly Fall[], after: null },
} as unknown as DueMessage;

function fall(message: Partial<DueMessage>, silent: number | null = 0) {
  const givers = silent === null ? [] : [{ companyId: 5, channel: 'whatsapp', provider: 'cloud', silent }];
  return judgeFall({ ...SILENT, ...message }, { now: NOW, channels, givers });
}

const left = (why: Fall['why']): Fall => ({ channel: 'whatsapp', why, at: NOW - 1 });

test('silence and a failure are falls, each by its name', () => {
  const silent = fall({});
  assert.ok(silent.do === 'fall');
  assert.deepEqual(silent.left, [{ channel: 'whatsapp', why: 'silent', at: NOW }]);
  assert.equal(silent.giver?.silent, 0, 'who was silent is told');
  const failed = fall({ undelivered: '131026' }, null);
  assert.ok(failed.do === 'fall');
  assert.deepEqual(failed.left, [{ channel: 'whatsapp', why: 'undelivered', at: NOW, detail: '131026' }]);
  assert.equal(failed.giver, undefined, 'a failure is a word, and not a silence');
});

test('whoever has heard it hears it no second time, whatever else was told of it', () => {
  for (const message of [{}, { undelivered: '131026' }, { falls: [left('silent')] }, { channel: null }]) {
    assert.deepEqual(fall({ ...message, heard: true }), { do: 'stay', state: 'delivered', error: null });
  }
});

test('what was judged before falls on without a second reason, and so does what was not taken at all', () => {
  for (const why of ['rejected', 'exhausted', 'unreachable', 'undelivered', 'silent'] as const) {
    assert.deepEqual(fall({ falls: [left(why)], undelivered: '131026' }), { do: 'fall', left: [] }, why);
  }
  for (const lastOutcome of ['retry', 'rejected', 'unknown', null] as const) {
    assert.deepEqual(fall({ lastOutcome }), { do: 'fall', left: [] }, String(lastOutcome));
  }
  assert.equal(fall({ falls: [left('no_address')] }).do, 'fall');
});

test('a provider that has told nothing yet, or of ten in a row nothing, is not taken for a person', () => {
  assert.equal(fall({}, 9).do, 'fall');
  for (const silent of [null, 10, 11]) {
    const verdict = fall({}, silent);
    assert.ok(verdict.do === 'stay' && verdict.state === 'sent', String(silent));
    assert.match(verdict.error ?? '', /^no receipt came/);
  }
  assert.deepEqual(fall({ channel: null }), { do: 'stay', state: 'sent', error: null });
  const theirs = { companyId: 5, channel: 'whatsapp', provider: 'cloud', silent: 0 };
  for (const other of [{ companyId: 6 }, { channel: 'sms' }, { provider: 'wazzup' }]) {
    const givers = [{ ...theirs, ...other }];
    assert.equal(judgeFall(SILENT, { now: NOW, channels, givers }).do, 'stay', JSON.stringify(other));
  }
});

/** A visit at 14:30 as the salon has it, and what the client was told of it. */
function stored(startsLocal: `${string}T${string}` = '2031-05-20T14:30:00', step = 2): StoredBooking {
  const booking = {
    fields: { startsLocal, clientId: 9, staffId: 1, staffName: 'Ольга', services: [], deleted: false },
    version: 1,
    fieldVersions: {},
  };
  const facts = factsFor(RECIPIENT, booking as unknown as StoredBooking['booking'], ZONE);
  return {
    ...{ companyId: 5, recordId: 100, booking, doubtUntil: null },
    told: { [RECIPIENT]: { facts, step, how: 'message' } },
  } as unknown as StoredBooking;
}

const after = factsFor(RECIPIENT, stored().booking, ZONE) as Facts;
const again = (booking: StoredBooking, now = NOW, message: Partial<DueMessage> = {}) =>
  whyNotAgain({ ...SILENT, after, ...message }, booking, { zone: ZONE } as Company, now);

test('a notice is said by the next channel while it is true and the newest, and before the visit', () => {
  assert.equal(again(stored()), undefined);
  const starts = Date.parse('2031-05-20T14:30:00+03:00');
  assert.equal(again(stored(), starts - 1), undefined);
  assert.equal(again(stored(), starts), 'the visit has begun');
  assert.equal(again(stored('2031-05-21T10:00:00')), 'something newer is told', 'it is true no more');
  assert.equal(again(stored(undefined, 3)), 'something newer is told', 'there and back was told since');
  assert.equal(again(stored(undefined, 1)), undefined, 'told moves when it has left');
});
