/** What the platform is told of a text, for every way it can go. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NO_MONEY, nextStatus, type RelayStanding, type RelayStatus } from '../../src/domain/relay.ts';

const at = (state: string, attempts = 1, error: string | null = null): RelayStanding => ({
  ...{ state, attempts, error },
});

/** All that is told while a text goes this way, the platform taking each at once. */
function told(...way: readonly RelayStanding[]): RelayStatus[] {
  const heard: RelayStatus[] = [];
  for (const standing of way) {
    for (;;) {
      const next = nextStatus(heard.at(-1) ?? null, standing);
      if (next === null) break;
      heard.push(next);
      assert.ok(heard.length < 10, `no end of ${heard.join()}`);
    }
  }
  return heard;
}

const WAYS: readonly [string, readonly RelayStanding[], readonly RelayStatus[]][] = [
  ['it waits', [at('due', 0), at('sending', 1), at('due', 1)], [8]],
  ['it is sent and delivered', [at('due', 0), at('sent'), at('delivered')], [8, 4, 1]],
  ['all that was missed is told in its order', [at('delivered')], [8, 4, 1]],
  ['sent is the last word where no receipt comes', [at('sent')], [8, 4]],
  ['an outcome that is not known is never told as a loss', [at('unknown')], [8, 4]],
  ['it was refused for the person’s sake', [at('superseded', 0, 'no consent')], [8, 16]],
  ['there was no way to the phone', [at('failed', 0, 'no address on sms')], [8, 16]],
  ['the person was erased while it waited', [at('cancelled', 0)], [8, 16]],
  ['the provider refused it', [at('failed', 1, 'SMS.ru 202')], [8, 2]],
  ['it was given up', [at('dead', 8, 'HTTP 502')], [8, 2]],
  ['it waited for too long', [at('expired', 0)], [8, 2]],
  ['the account was empty', [at('failed', 1, `SMS.ru 201: ${NO_MONEY}`)], [8, 52]],
  [
    'it fell back on another channel',
    [at('sent'), at('due', 1), at('sent', 2), at('delivered', 2)],
    [8, 4, 1],
  ],
  ['it was sent and lost', [at('sent'), at('failed', 1, 'no receipt')], [8, 4, 2]],
  ['a late receipt corrects a loss', [at('failed', 1, 'gone'), at('delivered')], [8, 2, 1]],
];

for (const [name, way, expected] of WAYS) {
  test(name, () => assert.deepEqual(told(...way), expected));
}
