/** Which channel takes a message next: a table of reasons, and what holds whatever comes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type Fall,
  type FallReason,
  isLeft,
  nextStep,
  patienceMs,
  type Reached,
  type RouteRules,
  receiptWithinMs,
  type StepInput,
  stateAtEnd,
} from '../../src/domain/route.ts';
import { writeTrail } from '../../src/domain/route-trail.ts';

const NOW = Date.parse('2026-12-01T09:00:00Z');
const DAY = 86_400_000;
const RULES: RouteRules = { steps: 3, smsPerDay: 5, rememberMs: 7 * DAY, withinMs: {} };

function step(input: Partial<StepInput>) {
  const { channel, falls } = nextStep({
    order: ['telegram', 'whatsapp', 'sms', 'email'],
    falls: [],
    obstacle: () => null,
    present: null,
    reached: [],
    smsToday: 0,
    rules: RULES,
    now: NOW,
    ...input,
  });
  return { channel, falls: falls.map(fall => `${fall.channel} ${fall.why}`) };
}

const left = (channel: string, why: FallReason): Fall => ({ channel, why, at: NOW });
const reached = (channel: string, delivered: number | null, failed: number | null): Reached => ({
  channel,
  deliveredAt: delivered === null ? null : NOW - delivered,
  failedAt: failed === null ? null : NOW - failed,
});

test('a channel is passed over for each reason by its name', () => {
  const obstacles = { telegram: 'no_address', whatsapp: 'opted_out', sms: 'not_configured' } as const;
  assert.deepEqual(
    step({ obstacle: name => (name in obstacles ? obstacles[name as keyof typeof obstacles] : null) }),
    {
      channel: 'email',
      falls: ['telegram no_address', 'whatsapp opted_out', 'sms not_configured'],
    },
  );
});

for (const why of ['rejected', 'exhausted', 'unreachable', 'undelivered', 'silent'] as const) {
  test(`a channel that was left because it was ${why} is never taken again`, () => {
    assert.deepEqual(step({ falls: [left('telegram', why)] }), { channel: 'whatsapp', falls: [] });
  });
}

test('what is being tried goes on, until it is late and another can', () => {
  const present = { channel: 'whatsapp', late: false };
  assert.deepEqual(step({ present }), { channel: 'whatsapp', falls: [] });
  assert.deepEqual(step({ present: { ...present, late: true } }), {
    channel: 'telegram',
    falls: ['whatsapp unreachable'],
  });
  assert.deepEqual(
    step({
      present: { ...present, late: true },
      obstacle: name => (name === 'whatsapp' ? null : 'no_address'),
    }).channel,
    'whatsapp',
    'nothing else can: it is tried on',
  );
});

test('the budget: so many channels a message, and so many SMS a day beyond a first step', () => {
  const falls = [left('telegram', 'silent'), left('whatsapp', 'silent')];
  assert.equal(step({ falls }).channel, 'sms');
  assert.deepEqual(step({ falls, rules: { ...RULES, steps: 2 } }), {
    channel: null,
    falls: ['sms budget', 'email budget'],
  });
  assert.deepEqual(step({ falls, smsToday: 5 }), { channel: 'email', falls: ['sms budget'] });
  assert.equal(step({ order: ['sms'], smsToday: 50 }).channel, 'sms', 'a first step is no fall');
  assert.equal(step({ falls, smsToday: 50, rules: { ...RULES, smsPerDay: null } }).channel, 'sms');
  const present = { channel: 'sms', late: false };
  assert.equal(step({ falls, smsToday: 5, present }).channel, 'sms', 'what is being tried is within it');
});

test('what reached them comes before what did not, for a while, and is explained', () => {
  const known = [reached('telegram', null, 2 * DAY), reached('sms', 2 * DAY - 1_000, null)];
  assert.deepEqual(step({ reached: known }), {
    channel: 'whatsapp',
    falls: ['telegram failed_before'],
  });
  assert.deepEqual(step({ order: ['telegram', 'sms'], reached: known }), {
    channel: 'sms',
    falls: ['telegram failed_before'],
  });
  const twoWays = { order: ['telegram', 'sms'], reached: known };
  assert.equal(step({ ...twoWays, now: NOW + 6 * DAY }).channel, 'telegram', 'forgotten after a week');
  assert.equal(
    step({ ...twoWays, rules: { ...RULES, rememberMs: null } }).channel,
    'telegram',
    'switched off',
  );
  const back = [...known.slice(1), reached('telegram', 1_000, 2 * DAY)];
  assert.equal(step({ ...twoWays, reached: back }).channel, 'telegram', 'it has reached them since');
  const failing = [reached('telegram', null, DAY), reached('sms', 2 * DAY, DAY)];
  assert.equal(step({ ...twoWays, reached: failing }).channel, 'telegram', 'no other did better');
  assert.equal(
    step({ ...twoWays, falls: [left('sms', 'silent')], reached: known }).channel,
    'telegram',
    'behind, not left out',
  );
});

test('the policy sets how long a channel may take; one that sends no receipt is never silent', () => {
  const rules = { ...RULES, withinMs: { sms: 60_000, whatsapp: null, telegram: 60_000 } };
  assert.equal(receiptWithinMs(rules, 'sms', 600_000), 60_000);
  assert.equal(receiptWithinMs(rules, 'whatsapp', 300_000), null);
  assert.equal(receiptWithinMs(rules, 'telegram', null), null);
  assert.equal(receiptWithinMs(RULES, 'sms', 600_000), 600_000);
  assert.deepEqual(
    [
      patienceMs(rules, 'telegram', null),
      patienceMs(RULES, 'telegram', null),
      patienceMs(rules, 'whatsapp', 300_000),
    ],
    [60_000, 600_000, 300_000],
  );
});

test('at its end a message that may have arrived is sent; else it is failed, or dead when tries were used up', () => {
  assert.equal(stateAtEnd([]), 'failed');
  assert.equal(stateAtEnd([left('sms', 'no_address')]), 'failed');
  assert.equal(stateAtEnd([left('max', 'rejected'), left('sms', 'undelivered')]), 'failed');
  assert.equal(stateAtEnd([left('max', 'rejected'), left('sms', 'exhausted')]), 'dead');
  assert.equal(stateAtEnd([left('max', 'silent'), left('sms', 'rejected')]), 'sent');
});

test('whatever comes: no channel twice, none with an obstacle, no more than the budget, and an end', () => {
  const names = ['telegram', 'max', 'whatsapp', 'sms', 'email'];
  const reasons = ['rejected', 'exhausted', 'unreachable', 'undelivered', 'silent'] as const;
  fc.assert(
    fc.property(
      fc.shuffledSubarray(names, { minLength: 1 }),
      fc.array(fc.constantFrom(null, 'no_address', 'opted_out', 'not_configured'), {
        minLength: 5,
        maxLength: 5,
      }),
      fc.array(fc.constantFrom(...reasons), { minLength: 6, maxLength: 6 }),
      fc.array(
        fc.tuple(fc.constantFrom(...names), fc.integer({ min: 0, max: 10 }), fc.integer({ min: 0, max: 10 })),
      ),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 0, max: 6 }),
      (order, obstacles, ends, history, steps, smsToday) => {
        const obstacle = (name: string) => obstacles[names.indexOf(name)] ?? null;
        const known = history.map(([name, delivered, failed]) =>
          reached(name, delivered * DAY, failed * DAY),
        );
        const rules = { ...RULES, steps };
        const falls: Fall[] = [];
        const taken: string[] = [];
        for (const why of ends) {
          const next = nextStep({
            order,
            falls,
            obstacle,
            present: null,
            reached: known,
            smsToday,
            rules,
            now: NOW,
          });
          if (next.channel === null) break;
          assert.equal(obstacle(next.channel), null);
          assert.ok(order.includes(next.channel));
          assert.ok(next.channel !== 'sms' || taken.length === 0 || smsToday < 5);
          assert.ok(next.falls.every(fall => !isLeft(fall)));
          taken.push(next.channel);
          falls.push(...next.falls, left(next.channel, why));
        }
        assert.equal(new Set(taken).size, taken.length);
        assert.ok(taken.length <= steps);
        const free = order.filter(name => obstacle(name) === null);
        if (smsToday < 5)
          assert.equal(taken.length, Math.min(free.length, steps), 'none that could is forgotten');
      },
    ),
    { numRuns: 2_000 },
  );
});

test('the trail tells why each step was taken', () => {
  const at = (clock: string) => Date.parse(`2026-12-01T${clock}+03:00`);
  assert.equal(
    writeTrail({
      zone: 'Europe/Moscow',
      falls: [
        { channel: 'telegram', why: 'no_address', at: at('12:00:00') },
        { channel: 'max', why: 'silent', at: at('12:05:01') },
      ],
      attempts: [
        { channel: 'max', outcome: 'sent', reason: '', finishedAt: at('12:00:01') },
        { channel: 'sms', outcome: 'sent', reason: '', finishedAt: at('12:05:02') },
      ],
      receipts: [{ channel: 'sms', status: 'delivered', at: at('12:05:09') }],
      error: null,
    }),
    'telegram: no address → max: sent 12:00:01, no receipt in 5 min → sms: sent 12:05:02, delivered 12:05:09',
  );
  assert.equal(
    writeTrail({
      zone: 'Europe/Moscow',
      falls: [{ channel: 'max', why: 'silent', at: at('12:05:01') }],
      attempts: [
        { channel: 'max', outcome: 'sent', reason: '', finishedAt: at('12:00:01') },
        { channel: 'sms', outcome: 'sent', reason: '', finishedAt: at('12:05:02') },
      ],
      receipts: [
        { channel: 'max', status: 'read', at: at('12:07:00') },
        { channel: 'max', status: 'delivered', at: at('12:06:00') },
      ],
      error: null,
    }),
    'max: sent 12:00:01, no receipt in 5 min, delivered late 12:06:00 → sms: sent 12:05:02',
  );
  assert.equal(
    writeTrail({
      zone: 'Europe/Moscow',
      falls: [{ channel: 'max', why: 'rejected', at: at('12:00:01'), detail: 'MAX 403' }],
      attempts: [{ channel: 'max', outcome: 'rejected', reason: 'MAX 403', finishedAt: at('12:00:01') }],
      receipts: [],
      error: 'MAX 403, no address on sms',
    }),
    'max: refused 12:00:01 (MAX 403) → no address on sms',
  );
  const never = { zone: 'Europe/Moscow', attempts: [], receipts: [] };
  assert.equal(
    writeTrail({
      ...never,
      falls: [
        { channel: 'whatsapp', why: 'not_configured', at: at('12:00:00') },
        { channel: 'sms', why: 'not_configured', at: at('12:00:00') },
      ],
      error: 'whatsapp is not configured, sms is not configured',
    }),
    'whatsapp: not configured → sms: not configured',
    'nothing is said twice',
  );
  assert.equal(
    writeTrail({
      ...never,
      falls: [{ channel: 'sms', why: 'no_address', at: at('12:00:00') }],
      error: 'not sent by another channel: something newer is told, as it is',
    }),
    'sms: no address → not sent by another channel: something newer is told, as it is',
  );
});
