/** News to the operator that goes without the outbox. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Channel, Outgoing, SendResult } from '../../src/channels/channel.ts';
import { CONSOLE_TRAITS } from '../../src/channels/console.ts';
import { createLog } from '../../src/log.ts';
import { createDirectRoad } from '../../src/work/direct.ts';

const LOOK = 20_000;
const MINUTE = 60_000;
const RETRY: SendResult = { outcome: 'retry', reason: 'busy' };

function rig() {
  let now = 0;
  let answer: SendResult = { outcome: 'sent' };
  const sent: Outgoing[] = [];
  const channel: Channel = {
    ...{ name: 'console', traits: CONSOLE_TRAITS, idempotent: true, concurrency: 1 },
    async send(outgoing) {
      sent.push(outgoing);
      return answer;
    },
  };
  const road = createDirectRoad({
    ...{ channels: new Map([['console', channel]]), roads: new Map([['console', { address: 'a' }]]) },
    ...{ log: createLog('silent'), now: () => now },
  });
  return {
    tell: (text: string) => road.tell({ subject: '', text }),
    answers: (next: SendResult) => {
      answer = next;
    },
    /** What left, or was tried, at a look so much later. */
    async look(milliseconds = LOOK) {
      now += milliseconds;
      sent.length = 0;
      await road.flush(new AbortController().signal);
      return sent.map(({ text }) => text);
    },
    sent,
  };
}

test('what a channel does not take is tried at each look, then now and then, until it is taken; under one id', async () => {
  const { tell, answers, look, sent } = rig();
  answers(RETRY);
  tell('down');
  const ids = new Set<string>();
  for (let tries = 1; tries <= 40; tries += 1) {
    assert.deepEqual(await look(), ['down'], `try ${tries}`);
    assert.equal(sent[0]?.attempt, tries);
    ids.add(sent[0]?.id ?? '');
  }
  for (let hours = 0; hours < 24; hours += 1) {
    assert.deepEqual(await look(9 * MINUTE), []);
    assert.deepEqual(await look(51 * MINUTE), ['down']);
    ids.add(sent[0]?.id ?? '');
  }
  answers({ outcome: 'sent' });
  assert.deepEqual(await look(10 * MINUTE), ['down']);
  assert.deepEqual(await look(60 * MINUTE), []);
  assert.equal(ids.size, 1);
});

test('what may have arrived, or was refused, is said again at the slow pace', async () => {
  for (const result of [
    { outcome: 'unknown', reason: 'timeout' },
    { outcome: 'rejected', scope: 'address', reason: 'no such chat' },
  ] as const) {
    const { tell, answers, look } = rig();
    answers(result);
    tell('down');
    assert.deepEqual(await look(), ['down']);
    assert.deepEqual(await look(9 * MINUTE), []);
    answers({ outcome: 'sent' });
    assert.deepEqual(await look(MINUTE), ['down']);
    assert.deepEqual(await look(60 * MINUTE), []);
  }
});

test('only the newest goes on for ever; an older one ends with its quick tries', async () => {
  const { tell, answers, look } = rig();
  answers(RETRY);
  tell('down');
  await look();
  tell('up again');
  for (let tries = 2; tries <= 40; tries += 1) assert.deepEqual(await look(), ['down', 'up again']);
  assert.deepEqual(await look(), ['up again']);
  assert.deepEqual(await look(), []);
  assert.deepEqual(await look(10 * MINUTE), ['up again']);
});
