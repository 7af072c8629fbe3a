/** Each number that an operator is promised, provoked and read from a scrape; and its labels, whatever comes in. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CHANNEL_NAMES, type SendResult } from '../../src/channels/channel.ts';
import { createKeyRing } from '../../src/http/keys.ts';
import { createReceiver } from '../../src/http/receive.ts';
import { newId } from '../../src/ids.ts';
import { createPostgresLog } from '../../src/ingest/postgres-log.ts';
import { createLog } from '../../src/log.ts';
import { createMetrics, REJECT_CAUSES, watchBudget, watchDepths, watchPools } from '../../src/metrics.ts';
import { putKey } from '../../src/store/companies.ts';
import { insertTestMessage } from '../../src/store/messages.ts';
import { readDepths } from '../../src/store/views.ts';
import { createPipeline, recordBody } from './pipeline.ts';

const KEY = 'k'.repeat(43);
const HOSTILE = 'x"} 1\notklik_up{a="+79160000001';

test('each promised number counts what was provoked, and no label holds what a sender chose', async t => {
  const pipeline = await createPipeline();
  t.after(() => pipeline.close());
  const { pool, vault } = pipeline;
  const metrics = createMetrics();
  const log = createLog('silent');
  await pipeline.addCompany({ companyId: 1 });
  await putKey(pool, 1, vault.hashKey(KEY));
  const app = createReceiver({
    ...{ metrics, log, now: () => pipeline.now, trustedProxies: [] },
    keys: createKeyRing({ pool, vault, now: () => pipeline.now }),
    ingest: createPostgresLog({ pool, onAppended: () => {} }),
    limits: { perCompany: 1_000, perAddress: 1_000 },
  });
  t.after(() => app.close());
  await app.listen({ host: '127.0.0.1', port: 0 });
  const address = app.server.address();
  const root = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/webhooks/yclients`;
  const post = async (body: string, key = KEY) =>
    (
      await fetch(`${root}/${encodeURIComponent(key)}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      })
    ).status;
  watchDepths(metrics, () => readDepths(pool));
  watchBudget(
    metrics,
    async () => [{ nextSlotAt: pipeline.now + 3_000, pausedUntil: pipeline.now + 60_000 }],
    () => pipeline.now,
  );
  watchPools(metrics, { main: pool });
  const read = async () => {
    const lines = (await metrics.registry.metrics()).split('\n').filter(line => /^otklik_/.test(line));
    return new Map(
      lines.map(line => [
        line.slice('otklik_'.length, line.lastIndexOf(' ')),
        Number(line.slice(line.lastIndexOf(' '))),
      ]),
    );
  };
  const expect = async (wanted: Readonly<Record<string, number>>) => {
    const shown = await read();
    for (const [name, value] of Object.entries(wanted)) assert.equal(shown.get(name), value, name);
  };

  const booked = recordBody({ id: 1, at: pipeline.now });
  assert.deepEqual([await post(booked), await post(booked)], [200, 200]);
  assert.equal(
    await post(JSON.stringify({ ...JSON.parse(booked), resource: 'of_79160000001', status: 'x' })),
    200,
  );
  assert.equal(await post(HOSTILE), 400);
  assert.equal(await post(booked, HOSTILE), 404);
  const waiting = await read();
  const perShard = [...waiting].filter(([name]) => name.startsWith('shard_events'));
  assert.equal(
    perShard.reduce((sum, [, count]) => sum + count, 0),
    2,
    'two wait',
  );
  assert.ok((waiting.get('events_oldest_seconds') ?? 0) > 0);
  await expect({
    'events_received_total{resource="record"}': 1,
    'events_received_total{resource="other"}': 1,
    events_duplicate_total: 1,
    events_quarantined_total: 1,
    'requests_rejected_total{cause="unreadable"}': 1,
    'requests_rejected_total{cause="unknown_key"}': 1,
    'rows{state="pending"}': 2,
    api_wait_seconds: 3,
    api_paused_seconds: 60,
    'pool{pool="main",state="waiting"}': 0,
    messages_oldest_seconds: 0,
  });

  // One that should have left an hour ago, and one that leaves in an hour.
  for (const hours of [-1, 1]) {
    const at = Date.now() + hours * 3_600_000;
    await insertTestMessage(pool, { companyId: 1, id: newId(), recipient: '', channel: 'console', now: at });
  }
  const age = (await read()).get('messages_oldest_seconds') ?? 0;
  assert.ok(age >= 3_600 && age < 3_700, `${age}`);
  await pool.query('DELETE FROM messages WHERE due_at < now()');
  await expect({ messages_oldest_seconds: 0 });
  await pool.query('DELETE FROM messages');

  const { dispatcher, ...first } = pipeline.another({ metrics });
  const answers: SendResult[] = [
    { outcome: 'retry', reason: 'busy' },
    { outcome: 'rejected', scope: 'channel', reason: 'revoked' },
  ];
  for (const answer of answers) {
    pipeline.answers = [answer];
    await first.processor.drain();
    await dispatcher.drain();
    pipeline.now += 3_600_000;
  }
  await first.processor.stop();
  const attempts = 'messages_total{purpose="notice",channel="console",outcome=';
  await expect({
    event_lag_seconds_count: 2,
    'events_processed_total{resource="record",effect="merged"}': 1,
    [`${attempts}"retry"}`]: 1,
    [`${attempts}"refused"}`]: 1,
    'send_seconds_count{channel="console"}': 2,
  });
  await dispatcher.drain();
  await expect({ 'messages_ended_total{purpose="notice",channel="console",state="failed"}': 1 });

  // A record whose booking the database refuses, until it is given up.
  await pool.query('ALTER TABLE bookings ADD CONSTRAINT poison CHECK (record_id <> 666)');
  await pipeline.receive(1, [{ body: recordBody({ id: 666, at: pipeline.now }), receivedAt: pipeline.now }]);
  for (let tries = 0; tries < 5; tries += 1) {
    const { processor } = pipeline.another({ metrics });
    await processor.drain();
    await processor.stop();
    await pool.query("UPDATE webhook_events SET next_at = now() WHERE state = 'waiting'");
  }
  await expect({ events_retried_total: 4, events_dead_total: 1, 'rows{state="dead"}': 1 });

  // Found by reconciliation, and its webhook came afterwards.
  const foundAt = pipeline.now;
  const missed = { body: recordBody({ id: 2, at: foundAt }), receivedAt: foundAt };
  const last = pipeline.another({ metrics });
  await pipeline.receive(1, [missed], 'reconcile');
  await last.processor.drain();
  await pipeline.receive(1, [{ ...missed, body: recordBody({ id: 2, status: 'update', at: foundAt }) }]);
  await last.processor.drain();
  await last.processor.stop();
  await expect({ webhooks_missed_total: 1, webhooks_late_total: 1 });

  const shown = await read();
  assert.ok([...shown.keys()].some(name => name.startsWith('nodejs_eventloop_lag_p99_seconds')));
  const closed: Readonly<Record<string, readonly string[]>> = {
    cause: REJECT_CAUSES,
    channel: CHANNEL_NAMES,
    purpose: ['notice'],
    outcome: ['retry', 'refused'],
    state: [...['pending', 'waiting', 'dead', 'due', 'sending', 'unplanned', 'failed'], ...['open', 'idle']],
    effect: ['merged', 'same', 'kept'],
    reason: ['rejected'],
    kind: ['resource'],
    path: ['event.resource'],
    pool: ['main'],
  };
  for (const name of shown.keys()) {
    assert.doesNotMatch(
      name,
      /company\w*=|79160000001|Анна|up\{/,
      'no label of a salon, a person or a sender',
    );
    if (/^(nodejs|process)_/.test(name)) continue;
    for (const [, label = '', value = ''] of name.matchAll(/(\w+)="([^"]*)"/g)) {
      if (label === 'resource') assert.equal(metrics.known(value), value);
      else if (label === 'shard' || label === 'le') assert.match(value, /^(\d+(\.\d+)?|\+Inf)$/);
      else assert.ok(closed[label]?.includes(value), `${label}=${value}`);
    }
  }
});
