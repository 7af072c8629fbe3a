/** The simulator with its API: what it says when asked and what it tells by itself are one salon. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Platform } from '../../../src/simulator/api/platform.ts';
import { parseTroubles } from '../../../src/simulator/api/trouble.ts';
import { simulate } from '../../../src/simulator/command.ts';
import { type Ledger, unheardRecords } from '../../../src/simulator/ledger.ts';
import { runSimulator, type SimulatorOptions } from '../../../src/simulator/simulate.ts';
import { type Sink, startSink } from '../../support/sink.ts';
import { until } from '../../support/until.ts';
import { call, itemsOf } from './client.ts';

type Live = { platform: Platform; sink: Sink; end: () => Promise<Ledger> };

async function liveSalon(t: TestContext, options: Partial<SimulatorOptions> = {}): Promise<Live> {
  const sink = await startSink();
  const stopping = new AbortController();
  const { promise, resolve } = Promise.withResolvers<Platform>();
  const running = runSimulator({
    to: `${sink.url}/to`,
    companyId: 5,
    seed: 7,
    faults: 'none',
    perSecond: 0.001,
    api: {},
    signal: stopping.signal,
    onApi: resolve,
    ...options,
  });
  const end = async () => {
    stopping.abort();
    return running;
  };
  t.after(async () => {
    await end();
    await sink.close();
  });
  return { platform: await promise, sink, end };
}

/** Moves the first record that is still to come; answers its id. */
async function moveOne(platform: Platform): Promise<number> {
  const { data } = JSON.parse((await call(platform, '/api/v1/records/5?count=200')).text);
  const now = Date.now();
  const record = data.find(
    (one: { datetime: string; attendance: number }) => Date.parse(one.datetime) > now && one.attendance === 0,
  );
  const datetime = new Date(now + 40 * 86_400_000).toISOString();
  const body = { datetime, comment: 'позже' };
  const { status, text } = await call(platform, `/api/v1/book_record/5/${record.id}`, {
    method: 'PUT',
    body,
  });
  assert.equal(status, 200, text);
  return record.id;
}

function toldIds({ deliveries }: Sink, path: string): number[] {
  return deliveries
    .filter(delivery => delivery.path === path)
    .map(({ bytes }) => JSON.parse(bytes.toString()).resource_id);
}

test('a change by the API is told at once, though the salon itself does nothing', async t => {
  const { platform, sink, end } = await liveSalon(t);
  await until(() => sink.deliveries.length > 0, { what: 'the first booking was told' });
  const recordId = await moveOne(platform);
  await until(() => toldIds(sink, '/to').includes(recordId), { what: 'the move was told' });
  const ledger = await end();
  const record = ledger.records.find(one => one.recordId === recordId);
  assert.equal(record?.states.length, 2);
  assert.equal(typeof record?.states.at(-1)?.firstAnsweredAt, 'number');
});

test('a listener that registers by the API hears what happens; one that is taken off the list does not', async t => {
  const { platform, sink } = await liveSalon(t);
  await until(() => sink.deliveries.length > 0, { what: 'the first booking was told' });
  const before = toldIds(sink, '/to').length;
  const body = { urls: [`${sink.url}/registered`], active: 1, record: 1 };
  const saved = await call(platform, '/api/v1/hooks_settings/5', { method: 'POST', body });
  assert.equal(saved.status, 200);
  const recordId = await moveOne(platform);
  await until(() => toldIds(sink, '/registered').includes(recordId), { what: 'the newcomer was told' });
  assert.equal(toldIds(sink, '/to').length, before);
});

test('the salon goes on from what callers change, and the API and the books agree', async t => {
  const { platform, sink, end } = await liveSalon(t, {
    perSecond: 60,
    api: {},
    faults: 'all',
    dropChance: 0.2,
  });
  const touched = new Set<number>();
  for (let index = 0; index < 8; index += 1) {
    const { status, text } = await call(platform, '/api/v1/records/5', {
      method: 'POST',
      body: {
        staff_id: platform.salon(5).salon().cast.staff[0]?.id,
        services: [{ id: platform.salon(5).salon().cast.services[0]?.id }],
        client: { phone: `+7900111000${index}`, name: 'Мила' },
        datetime: new Date(Date.now() + (30 + index) * 86_400_000).toISOString(),
        save_if_busy: 1,
      },
    });
    if (status !== 429) touched.add(JSON.parse(text).data.id);
    const count = sink.deliveries.length;
    await until(() => sink.deliveries.length > count + 10, { what: 'the salon went on' });
  }
  const ledger = await end();
  assert.ok(touched.size >= 5);
  for (const { recordId, states } of ledger.records) {
    const versions = states.map(state => state.version);
    assert.deepEqual(
      versions,
      [...new Set(versions)].sort((left, right) => left - right),
      `record ${recordId}`,
    );
    const newest = platform.salon(5).record(recordId);
    assert.equal(newest?.version, versions.at(-1), `record ${recordId}`);
    assert.equal(newest?.startsLocal, states.at(-1)?.facts.startsLocal);
  }
  for (const id of touched) assert.ok(ledger.records.some(({ recordId }) => recordId === Number(id)));
  assert.equal(
    ledger.records.reduce((sum, { states }) => sum + states.filter(state => state.dropped).length, 0) > 0,
    ledger.counts.dropped > 0,
  );
  const unheard = unheardRecords(ledger);
  assert.ok(unheard.length > 0);
  assert.ok(
    unheard.every(({ state }) => state.dropped),
    'what was not told was dropped, all else was told',
  );
});

test('whoever asks finds all that is due, also while the salon sleeps', async t => {
  let now = Date.UTC(2026, 6, 1, 9);
  const clock = {
    now: () => now,
    sleep: (_ms: number, signal?: AbortSignal) =>
      new Promise<void>(done => signal?.addEventListener('abort', () => done())),
  };
  const { platform, end } = await liveSalon(t, { to: undefined, perSecond: 50, clock });
  const branch = platform.salon(5);
  const before = branch.salon().actions;
  now += 4_000;
  const all = await call(platform, '/api/v1/records/5?count=200&with_deleted=1');
  assert.ok(branch.salon().actions > before + 100);
  assert.equal(itemsOf(all).length, Math.min(200, branch.records().length));
  const ledger = await end();
  assert.equal(ledger.counts.actions, branch.salon().actions);
});

test('without a listener it answers for itself alone', async t => {
  const { platform, end } = await liveSalon(t, { to: undefined, perSecond: 50 });
  await until(async () => itemsOf(await call(platform, '/api/v1/records/5?count=200')).length > 36, {
    what: 'the salon booked something',
  });
  const { counts } = await end();
  assert.equal(counts.requests, 0);
});

test('troubles are those of the options', async t => {
  const { platform } = await liveSalon(t, { troubles: parseTroubles('html') });
  assert.match((await call(platform, '/api/v1/records/5')).text, /^<!DOCTYPE html>/);
});

test('the command says where the API is and with which tokens', async () => {
  const stopping = new AbortController();
  const lines: string[] = [];
  await simulate({
    companyId: 5,
    seed: 7,
    api: {},
    signal: stopping.signal,
    write: line => {
      lines.push(line);
      if (lines.length === 3) stopping.abort();
    },
  });
  assert.match(lines[0] ?? '', /^REST API at (http:\/\/127\.0\.0\.1:\d+): set YCLIENTS_API_URL=\1$/);
  assert.equal(lines[1], 'partner token simulated-partner, user token simulated-user');
});
