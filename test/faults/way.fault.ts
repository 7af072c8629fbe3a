/**
 * One id and one trace for the whole way: from the proxy to the message, through three processes that come and go. The
 * test is the proxy, one that traces: those of `deploy/` hand no trace on (front.fault.ts, caddy.fault.ts).
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { startPlatform } from '../../src/simulator/api/platform.ts';
import { keyIsKnown } from '../blackbox/harness.ts';
import { record } from '../blackbox/salon.ts';
import { type Collector, startCollector } from '../support/collector.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { type Company, command, json, post, type Service, startService } from '../support/service.ts';
import { type Sink, startSink } from '../support/sink.ts';
import { until } from '../support/until.ts';

const BY_PROXY = '5f2b8c1d9e0a4b7c8d6e5f4a3b2c1d0e';
const TRACE_ID = '0af7651916cd43dd8448eb211c80319c';
const PROXY_SPAN = 'b7ad6b7169203331';
const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

let database: TestDatabase;
let sink: Sink;
let collector: Collector;
before(async () => {
  [database, sink, collector] = await Promise.all([testDatabase(), startSink(), startCollector()]);
});
after(() => Promise.all([database.close(), sink.close(), collector.close()]));

function start(roles: string, env: Readonly<Record<string, string>> = {}): Promise<Service> {
  return startService(database.url, {
    env: {
      ROLES: roles,
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20collector',
      ...env,
    },
  });
}

async function company(service: Service, companyId: number): Promise<Company> {
  const added = await service.addCompany({
    companyId,
    settleMs: 0,
    route: ['webhook'],
    webhookUrl: `${sink.url}/${companyId}`,
  });
  await keyIsKnown(added.url);
  return added;
}

const line = z.looseObject({
  msg: z.string(),
  request_id: z.string().optional(),
  trace_id: z.string().optional(),
});

/** What a process logged of this request, the texts of its lines in their order. */
function linesOf(service: Service, requestId: string): z.infer<typeof line>[] {
  const lines = service.output().split('\n');
  return lines
    .filter(text => text.startsWith('{'))
    .map(text => line.parse(JSON.parse(text)))
    .filter(({ request_id }) => request_id === requestId);
}

test('one id and one trace from the proxy to the message, each step in a process of its own', async () => {
  const receiver = await start('receive,web', { TRUSTED_PROXIES: '127.0.0.1' });
  const salon = await company(receiver, 1);
  const answer = await post(salon.url, record(1, 100, 'create'), {
    'x-request-id': BY_PROXY,
    traceparent: `00-${TRACE_ID}-${PROXY_SPAN}-01`,
  });
  assert.equal(answer.status, 200, answer.body.toString());
  assert.equal(answer.headers['x-request-id'], BY_PROXY);
  const { id } = z.object({ id: z.string() }).parse(json(answer));
  assert.equal(await receiver.stop(), 0);
  assert.deepEqual(
    linesOf(receiver, BY_PROXY).map(({ msg, event: about }) => [msg, about]),
    [['event received', id]],
  );

  const processor = await start('process');
  await until(() => linesOf(processor, BY_PROXY).length > 0, { what: 'the event is processed' });
  assert.equal(await processor.stop(), 0);
  const dispatcher = await start('dispatch,web');
  await until(() => linesOf(dispatcher, BY_PROXY).length > 0, { what: 'the message is sent' });
  const [delivery] = sink.deliveries;
  assert.ok(delivery);

  const messages = z.object({ items: z.array(z.object({ id: z.string(), requestId: z.string() })) });
  const listed = messages.parse(json(await dispatcher.api('GET', '/messages?company=1')));
  assert.deepEqual(listed.items, [{ id: delivery.id, requestId: BY_PROXY }]);
  assert.equal(await dispatcher.stop(), 0);
  const shown = await command(database.url, ['events', 'show', id, '--json']);
  assert.equal(z.object({ requestId: z.string() }).parse(JSON.parse(shown.stdout)).requestId, BY_PROXY);
  const told = [...linesOf(processor, BY_PROXY), ...linesOf(dispatcher, BY_PROXY)];
  assert.deepEqual(
    told.map(({ msg, event: of, message }) => [msg, of ?? message]),
    [
      ['event processed', id],
      ['message attempted', delivery.id],
    ],
  );

  // Each process sent its spans before it ended.
  const spans = collector.spans.filter(({ traceId }) => traceId === TRACE_ID);
  const [received, processed, dispatched] = ['receive', 'process', 'dispatch'].map(name =>
    spans.find(span => span.name === name),
  );
  assert.equal(spans.length, 3);
  assert.equal(received?.parentSpanId, PROXY_SPAN);
  assert.equal(processed?.parentSpanId, received?.spanId);
  assert.equal(dispatched?.parentSpanId, processed?.spanId);
  for (const span of spans) assert.equal(span.attributes['otklik.request_id'], BY_PROXY);
  for (const { trace_id } of told) assert.equal(trace_id, TRACE_ID);
  for (const { authorization } of collector.requests) assert.equal(authorization, 'Bearer collector');
});

test('what reconciliation finds is traced from the call that found it', async t => {
  const platform = await startPlatform({ limits: null });
  t.after(() => platform.close());
  const records = 3;
  platform.add(3, { records });
  const { userToken } = platform;
  const service = await start('process,reconcile,web', {
    YCLIENTS_API_URL: platform.url,
    YCLIENTS_PARTNER_TOKEN: platform.partnerToken,
  });
  await service.addCompany({ companyId: 3, userToken });
  const swept = await until(
    () => collector.spans.find(({ name, attributes }) => name === 'reconcile' && attributes['otklik.found']),
    { what: 'the first import is traced' },
  );
  const { 'otklik.pages': pages, ...attributes } = swept.attributes;
  assert.ok(Number(pages) >= 1);
  assert.deepEqual(attributes, {
    ...{ 'otklik.company_id': 3, 'otklik.kind': 'baseline', 'otklik.outcome': 'finished' },
    'otklik.found': records,
  });
  assert.equal(swept.parentSpanId, undefined);
  assert.equal(swept.failed, false);
  const processed = () =>
    collector.spans.filter(({ name, parentSpanId }) => name === 'process' && parentSpanId === swept.spanId);
  await until(() => processed().length === records, { what: 'what it found is processed in its trace' });
  for (const { traceId } of processed()) assert.equal(traceId, swept.traceId);

  await platform.close();
  await service.api('PATCH', '/companies/3', { source: 'poll', pollMs: 10_000 });
  await until(() => collector.spans.some(({ name, failed }) => name === 'reconcile' && failed), {
    what: 'a sweep that fails is traced as failed',
    timeoutMs: 120_000,
  });
  await service.stop();
});

test('an id is believed in its strict form only, and from a trusted proxy only', async () => {
  const [near, far] = await Promise.all([
    start('receive,web', { TRUSTED_PROXIES: '127.0.0.0/8' }),
    start('receive,web', { TRUSTED_PROXIES: '10.0.0.0/8', OTEL_EXPORTER_OTLP_ENDPOINT: '' }),
  ]);
  const salon = await company(near, 2);
  let records = 0;
  const ask = async (service: Service, id: string) => {
    const url = salon.url.replace(near.publicUrl, service.publicUrl);
    records += 1;
    return post(url, record(2, records, 'create'), {
      'x-request-id': id,
      traceparent: `00-${TRACE_ID}-${PROXY_SPAN}-01`,
    });
  };
  const uuid = '0190f1c2-0000-7000-8000-00000000abcd';
  assert.equal((await ask(near, uuid)).headers['x-request-id'], uuid);
  for (const odd of [
    '+79161234567',
    BY_PROXY.toUpperCase(),
    `${BY_PROXY}0`,
    `${BY_PROXY} x`,
    'a'.repeat(500),
  ]) {
    const { status, headers } = await ask(near, odd);
    assert.equal(status, 200);
    assert.match(String(headers['x-request-id']), UUID_V7);
  }
  const stranger = await ask(far, BY_PROXY);
  assert.equal(stranger.status, 200, stranger.body.toString());
  assert.match(String(stranger.headers['x-request-id']), UUID_V7);
  const refused = await post(`${far.publicUrl}/webhooks/yclients/${'x'.repeat(43)}`, '{}');
  assert.match(String(refused.headers['x-request-id']), UUID_V7);
  const { rows } = await database.pool.query(
    `SELECT count(*) FILTER (WHERE request_id = $1)::int AS given, count(*) FILTER (WHERE request_id = $2)::int AS foreign,
       count(*) FILTER (WHERE traceparent LIKE $3)::int AS traced, count(traceparent)::int AS "tracedAtAll"
     FROM webhook_events WHERE company_id = 2`,
    [uuid, BY_PROXY, `00-${TRACE_ID}-%`],
  );
  assert.deepEqual(rows, [{ given: 1, foreign: 0, traced: 6, tracedAtAll: 6 }]);
  await Promise.all([near.stop(), far.stop()]);
});
