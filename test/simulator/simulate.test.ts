import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ActionReport } from '../../src/simulator/describe.ts';
import { MAX_LATENESS_MS } from '../../src/simulator/faults.ts';
import { unheardRecords } from '../../src/simulator/ledger.ts';
import { runSimulator, type SimulatorOptions } from '../../src/simulator/simulate.ts';
import { compare } from '../../src/simulator/verify.ts';
import { serve } from './reference-service.ts';

const START = Date.UTC(2026, 6, 1, 9, 0, 3, 120);

/** A run in a clock that jumps: an hour takes a moment. */
async function run(
  options: Partial<SimulatorOptions> = {},
  answer: (body: string, now: number) => boolean = () => true,
) {
  let now = START;
  const received: { body: string; receivedAt: number }[] = [];
  const reports: ActionReport[] = [];
  const clock = {
    now: () => now,
    sleep: async (ms: number) => {
      now += Math.max(1, ms);
    },
  };
  let closed = false;
  const sender = {
    async post(body: string) {
      const taken = answer(body, now);
      if (taken) received.push({ body, receivedAt: now });
      return { sentAt: now, answeredAt: taken ? now : null, tries: [taken ? '200' : '503'] };
    },
    close: async () => {
      closed = true;
    },
  };
  const onAction = (report: ActionReport) => reports.push(report);
  const ledger = await runSimulator({
    to: 'http://salon.example/',
    companyId: 5,
    seed: 7,
    forMs: 60_000,
    onAction,
    clock,
    sender,
    ...options,
  });
  return { ledger, received, reports, endedAt: now, isClosed: () => closed };
}

test('a minute of the salon, served rightly, is told once each', async () => {
  const { ledger, received } = await run();
  const state = serve(received, { zone: ledger.zone, settleMs: 2_000 });
  const { details, ...counts } = compare(ledger, state, { checkedAt: ledger.endedAt + 60_000, slackMs: 0 });
  assert.deepEqual(details, []);
  assert.ok(counts.bookings > 30 && counts.told_once > 20);
});

test('the same seed makes the same run', async () => {
  const [left, right, other] = [await run(), await run(), await run({ seed: 8 })];
  assert.deepEqual(left.received, right.received);
  assert.deepEqual(left.ledger, right.ledger);
  assert.notDeepEqual(left.received, other.received);
});

test('it makes about two changes a second for as long as told, then waits for what is under way', async () => {
  const { ledger, reports, endedAt, isClosed } = await run();
  assert.ok(reports.length > 90 && reports.length < 150, String(reports.length));
  assert.ok(reports.every(({ at }) => at < START + 60_000));
  assert.ok(endedAt <= START + 60_000 + MAX_LATENESS_MS);
  assert.equal(ledger.endedAt, endedAt);
  assert.ok(isClosed());
});

test('it counts what it did', async () => {
  const { ledger, received, reports } = await run();
  const { counts } = ledger;
  assert.equal(counts.actions, reports.length);
  assert.equal(counts.requests, received.length);
  assert.deepEqual(counts.answers, { 200: received.length });
  assert.ok(counts.requests > counts.webhooks && counts.webhooks > counts.actions);
  assert.equal(counts.dropped, 0);
});

test('told to stop, it tells at once what has happened, and nothing that has not', async () => {
  const stopping = new AbortController();
  const onAction = ({ at }: ActionReport) => {
    if (at > START + 20_000) stopping.abort();
  };
  const { ledger, received, endedAt } = await run({ signal: stopping.signal, forMs: undefined, onAction });
  assert.ok(endedAt < START + 25_000);
  const states = ledger.records.flatMap(record => record.states.filter(state => state.carries !== 'nothing'));
  assert.ok(states.every(state => state.at <= endedAt && state.firstAnsweredAt !== null));
  const state = serve(received, { zone: ledger.zone, settleMs: 2_000 });
  assert.deepEqual(compare(ledger, state, { checkedAt: endedAt + 60_000, slackMs: 0 }).details, []);
});

test('a refused webhook is sent once, and was not delivered', async () => {
  const { ledger } = await run({ faults: 'none', forMs: 20_000 }, () => false);
  assert.equal(ledger.counts.requests, ledger.counts.webhooks);
  assert.deepEqual(ledger.counts.answers, { 503: ledger.counts.requests });
  const states = ledger.records.flatMap(record => record.states);
  assert.ok(states.every(state => state.firstAnsweredAt === null));
});

test('what was lost on the way is counted, and found missing by the verdict', async () => {
  const { ledger, received } = await run({ faults: ['drop'], dropChance: 0.4 });
  assert.ok(ledger.counts.dropped > 20);
  const state = serve(received, { zone: ledger.zone, settleMs: 2_000 });
  const verdict = compare(ledger, state, { checkedAt: ledger.endedAt + 60_000 });
  assert.ok(verdict.state_differs > 0 && verdict.not_told > 0);
});

test('the books know which records only asking can tell of', async () => {
  const { ledger, received } = await run({
    faults: ['drop', 'bare_delete'],
    dropChance: 0.4,
    forMs: 120_000,
  });
  const told = received.map(({ body }) => JSON.parse(body)).filter(({ resource }) => resource === 'record');
  const isTold = (recordId: number, version: number) =>
    told.some(({ resource_id, data }) => {
      const dated = data.last_change_date?.replace(/(\d\d)$/, ':$1').replace('::', ':');
      return Number(resource_id) === recordId && (dated === undefined || Date.parse(dated) === version);
    });
  const untold = ledger.records.filter(
    ({ recordId, states }) => !isTold(recordId, states.at(-1)?.version ?? 0),
  );
  const unheard = unheardRecords(ledger);
  assert.deepEqual(
    unheard.map(({ recordId }) => recordId),
    untold.map(({ recordId }) => recordId),
  );
  assert.ok(unheard.length > 10 && unheard.every(({ state }) => state.dropped));
  const states = ledger.records.flatMap(record => record.states);
  const dropped = states.filter(state => state.dropped);
  assert.ok(dropped.every(state => state.firstSentAt === null));
  assert.ok(dropped.length > unheard.length, 'some losses were made good by a later webhook');
});

test('each action is reported in words', async () => {
  const { reports } = await run({ forMs: 300_000 });
  const texts = new Map(reports.map(report => [report.kind, report]));
  assert.match(texts.get('create')?.text ?? '', /^booked \d\d\.\d\d \d\d:\d\d, .+, .+$/);
  assert.match(texts.get('reschedule')?.text ?? '', /^moved .+ → .+$/);
  assert.match(texts.get('client')?.text ?? '', /^client (create|update)$/);
  assert.ok(reports.every(report => report.resource !== 'record' || report.recordIds.length > 0));
});
