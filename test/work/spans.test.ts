/** What a collector is told of the calls that answers and texts of the platform lead to. The way of a webhook has its own. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Channel } from '../../src/channels/channel.ts';
import { CONSOLE_TRAITS } from '../../src/channels/console.ts';
import type { ActionKind } from '../../src/domain/answer.ts';
import { newId } from '../../src/ids.ts';
import { createLog } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import { findAnswered, insertActions } from '../../src/store/actions.ts';
import { insertRelays } from '../../src/store/relays.ts';
import { startTracing } from '../../src/tracing.ts';
import { type AnswerApi, createActor } from '../../src/work/act.ts';
import { createReporter } from '../../src/work/report.ts';
import { createStatusTeller } from '../../src/yclients/relay-status.ts';
import { type SeenSpan, startCollector } from '../support/collector.ts';
import { COMPANY, createAnswering } from './answering.ts';

const PHONE = '+79160000001';
const TEXT = 'Ваш код: К-4711';
const CHAT = '5550001234';
const channel: Channel = {
  ...{ name: 'console', traits: CONSOLE_TRAITS, idempotent: true, concurrency: 1 },
  send: async () => ({ outcome: 'sent' }),
};

const collector = await startCollector();
const salon = await createAnswering(channel, {});
const { pipeline, platform } = salon;
let recordId: number;
let messageId: string;
before(async () => {
  recordId = await salon.books({ phone: PHONE });
  const { rows } = await pipeline.pool.query('SELECT id FROM messages WHERE record_id = $1', [recordId]);
  messageId = rows[0].id;
});
after(() => Promise.all([salon.close(), collector.close()]));

const common = () => ({
  ...{ pool: pipeline.pool, log: createLog('silent'), metrics: createMetrics() },
  random: () => 0,
});

/** The spans of some work, as the collector has them once all have been sent. */
async function traced(
  work: (tracing: Awaited<ReturnType<typeof startTracing>>) => Promise<unknown>,
): Promise<SeenSpan[]> {
  const from = collector.spans.length;
  const tracing = await startTracing({ endpoint: collector.endpoint, headers: {}, ratio: 1 });
  await work(tracing);
  await tracing.close();
  return collector.spans.slice(from);
}

async function answer(kind: ActionKind, api: AnswerApi | undefined): Promise<SeenSpan[]> {
  const answered = await findAnswered(pipeline.pool, { companyId: COMPANY, messageId });
  assert.ok(answered);
  const { now } = pipeline;
  await insertActions(pipeline.pool, newId, { kind, answered, channel: 'telegram', chat: CHAT, now });
  return traced(tracing =>
    createActor({
      ...{ ...common(), tracing, mouths: new Map(), onFound: () => {} },
      now: () => pipeline.now,
      apiOf: async () => api,
    }).runOnce(),
  );
}

test('an answer that is acted on is a span of its own, and what was written comes back in its trace', async () => {
  const [span, ...more] = await answer('confirm', salon.api);
  assert.ok(span);
  assert.deepEqual(more, []);
  const { name, parentSpanId, failed, attributes } = span;
  assert.deepEqual(
    { name, parentSpanId, failed, attributes },
    {
      ...{ name: 'act', parentSpanId: undefined, failed: false },
      attributes: {
        'otklik.company_id': COMPANY,
        'otklik.message': messageId,
        'otklik.kind': 'confirm',
        'otklik.outcome': 'done',
      },
    },
  );
  const { rows } = await pipeline.pool.query(
    "SELECT traceparent FROM webhook_events WHERE record_id = $1 AND source = 'verify'",
    [recordId],
  );
  assert.deepEqual(rows, [{ traceparent: `00-${span.traceId}-${span.spanId}-01` }]);
});

test('an answer that could not be acted on is a failed span', async () => {
  const [span, ...more] = await answer('cancel', undefined);
  assert.deepEqual(more, []);
  assert.deepEqual([span?.name, span?.failed, span?.attributes['otklik.outcome']], ['act', true, 'failed']);
});

test('each status that the platform is told is a span, and one that it does not take a failed one', async () => {
  const { id: theirId } = platform.text(COMPANY, { phone: PHONE, text: TEXT });
  const message = newId();
  const [acceptedAt, dueAt] = [pipeline.now, pipeline.now];
  await insertRelays(pipeline.pool, { companyId: COMPANY, acceptedAt, dueAt, requestId: newId() }, [
    {
      ...{ id: message, digest: Buffer.alloc(32, 1), theirId, phone: PHONE, text: TEXT },
      ...{ category: 'service', asked: null },
    },
  ]);
  await pipeline.pool.query("UPDATE messages SET state = 'sent' WHERE id = $1", [message]);
  const report = (partnerToken: string) =>
    traced(async tracing => {
      const partnerTokens = { yclients: partnerToken, altegio: undefined };
      const teller = createStatusTeller({ partnerTokens, baseUrl: platform.url, now: Date.now });
      const reporter = createReporter({ ...common(), teller, tracing });
      while ((await reporter.runOnce()) > 0);
      await teller.close();
    });
  const about = { 'otklik.company_id': COMPANY, 'otklik.message': message };
  const refused = await report('another');
  assert.deepEqual(
    refused.map(({ name, failed, attributes }) => ({ name, failed, attributes })),
    [{ name: 'report', failed: true, attributes: { ...about, 'otklik.outcome': 'later' } }],
  );
  await pipeline.pool.query('UPDATE relays SET due_at = now() WHERE message_id = $1', [message]);
  const told = await report(platform.partnerToken);
  assert.deepEqual(platform.statuses(theirId), [8, 4]);
  assert.deepEqual(
    told.map(({ name, failed, attributes }) => ({ name, failed, attributes })),
    [1, 2].map(() => ({ name: 'report', failed: false, attributes: { ...about, 'otklik.outcome': 'told' } })),
  );
  assert.equal(new Set([...refused, ...told].map(({ traceId }) => traceId)).size, 3, 'each a trace');
});

test('no span holds a phone, a chat, a text, a name or a token', () => {
  const all = collector.requests.map(({ body }) => body).join('');
  assert.ok(collector.spans.length >= 5);
  for (const secret of [PHONE.slice(1), CHAT, 'К-4711', 'Мила', platform.partnerToken, platform.userToken]) {
    assert.ok(!all.includes(secret), secret);
  }
});
