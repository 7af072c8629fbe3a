/**
 * The short way to the public side, for real: Caddy with the file of `deploy/`, a certificate of a test's own authority.
 * What it lets through, what it refuses, what it writes down, whether `doctor --public-url` is content, and what a restart
 * of the receiver is to the senders.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { z } from 'zod';
import { BODY_LIMIT_BYTES as RECEIPTS_BYTES } from '../../src/http/receipts.ts';
import { BODY_LIMIT_BYTES } from '../../src/http/receive.ts';
import { type House, keyIsKnown, openHouse } from '../blackbox/harness.ts';
import { event, record } from '../blackbox/salon.ts';
import { type Authority, createAuthority } from '../support/authority.ts';
import { type Caddy, startCaddy } from '../support/caddy.ts';
import { type Company, command, freePorts, startService } from '../support/service.ts';
import { startSink } from '../support/sink.ts';
import { until } from '../support/until.ts';

const PATIENCE_MS = 60_000;
const EVENTS_PER_SECOND = 300;
const WRITERS = 24;
const RESTARTS = 3;
/** Answers between two restarts. */
const ANSWERED = 600;

let directory: string;
let authority: Authority;
let house: House;
let caddy: Caddy;
/** HTTP/1.1 and HTTP/2. */
let dispatchers: Agent[];

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'otklik-caddy-'));
  authority = await createAuthority(directory);
  house = await openHouse({ TRUSTED_PROXIES: '127.0.0.1', LOG_LEVEL: 'debug', RATE_PER_COMPANY: '100000' });
  caddy = await front('front', house.service.ports.public);
  dispatchers = [false, true].map(allowH2 => new Agent({ connect: { ca: authority.pem }, allowH2 }));
});
after(async () => {
  await Promise.all((dispatchers ?? []).map(one => one.close()));
  await caddy?.stop();
  await house?.close();
  await rm(directory, { recursive: true, force: true });
});

async function front(name: string, receiver: number): Promise<Caddy> {
  const certificate = await authority.issue('localhost');
  return startCaddy({ directory: join(directory, name), receiver, certificate });
}

/** A company's URL as the platform has it. */
function outside({ url }: Company): string {
  return url.replace(house.service.publicUrl, caddy.url);
}

async function send(
  url: string,
  body: string | Readable,
  headers: Record<string, string> = {},
  dispatcher = dispatchers[0],
) {
  const answer = await request(url, {
    ...{ method: 'POST', body, ...(dispatcher && { dispatcher }) },
    headers: { 'content-type': 'application/json', ...headers },
  });
  return { status: answer.statusCode, headers: answer.headers, text: await answer.body.text() };
}

test('doctor is content with the whole way, to an event processed', async () => {
  const company = await house.company({ signatureRequired: true });
  const flags = ['--json', '--public-url', caddy.url, '--company', String(company.companyId)];
  const ran = await command(house.databaseUrl, ['doctor', ...flags], {
    NODE_EXTRA_CA_CERTS: authority.file,
    TRUSTED_PROXIES: '127.0.0.1',
    ADMIN_PORT: String(house.service.ports.admin),
  });
  const said = ran.stdout + ran.stderr;
  assert.equal(ran.code, 0, said);
  assert.match(said, /good for another (89|90) days, TLSv1\.3/);
  assert.match(said, /the receiver answers behind it/);
  assert.match(said, /signed: answered in \d+ ms, in the inbox as [0-9a-f-]{36}/);
});

test('by HTTP/1.1 and HTTP/2 a body up to the receiver’s own limit passes, and no other', async () => {
  const company = await house.company();
  const [head, tail] = JSON.stringify(
    event(company.companyId, 'record', 1, 'create', { comment: '…' }),
  ).split('…');
  const filled = (bytes: number) => `${head}${'x'.repeat(bytes - `${head}${tail}`.length)}${tail}`;
  for (const dispatcher of dispatchers) {
    const status = async (body: string | Readable, headers = {}) =>
      (await send(outside(company), body, headers, dispatcher)).status;
    assert.equal(await status(filled(BODY_LIMIT_BYTES)), 200);
    for (const bytes of [BODY_LIMIT_BYTES + 1, 20 * BODY_LIMIT_BYTES]) {
      assert.equal(await status(filled(bytes)), 413);
    }
    assert.equal(await status(Readable.from([filled(BODY_LIMIT_BYTES)])), 200, 'in chunks, without a length');
    const endless = await status(Readable.from([filled(BODY_LIMIT_BYTES + 1)]));
    assert.ok([413, 502].includes(endless), `${endless}`);
    // By HTTP/2 Caddy ends the connection.
    const long = await status('{}', { 'x-long': 'x'.repeat(20_000) }).catch(() => 'closed');
    assert.ok([431, 'closed'].includes(long), `${long}`);
  }
});

test('what a provider tells at once passes up to the receiver’s limit for it, with a length and without', async t => {
  const sink = await startSink();
  t.after(() => sink.close());
  const told = await front('told-much', Number(new URL(sink.url).port));
  t.after(() => told.stop());
  const status = async (path: string, body: string | Readable) =>
    (await send(`${told.url}${path}`, body)).status;
  const [most, more] = ['x'.repeat(RECEIPTS_BYTES), 'x'.repeat(RECEIPTS_BYTES + 1)];
  assert.equal(await status('/receipts/cloud/secret', most), 204);
  assert.equal(await status('/receipts/cloud/secret', Readable.from([most])), 204);
  assert.equal(await status('/receipts/cloud/secret', more), 413);
  const endless = await status('/receipts/cloud/secret', Readable.from([more]));
  assert.ok([413, 502].includes(endless), `${endless}`);
  // A name that only begins so is any other path.
  assert.equal(await status('/receiptsx', most), 413);
});

test('neither the admin API nor the metrics are to be had from outside', async () => {
  for (const path of [
    '/livez',
    '/readyz',
    '/metrics',
    '/api/v1/companies',
    '/api/v1/openapi.json',
    '/config/',
  ]) {
    assert.equal((await send(`${caddy.url}${path}`, '{}')).status, 404, path);
  }
});

test('no key and no query is in a log of Caddy or ours, whatever comes of the request', async () => {
  const company = await house.company();
  const path = `/webhooks/yclients/${company.key}`;
  const alone = await front('alone', (await freePorts()).public);
  const answers = [
    await send(outside(company), JSON.stringify(record(company.companyId, 1, 'create'))),
    await send(`${caddy.url}/webhooks/yclients/events?key=${company.key}`, '{}'),
    await send(`${caddy.url}/${company.key}`, '{}'),
    await send(`${caddy.url}${path}?x=${company.key}`, 'x'.repeat(BODY_LIMIT_BYTES + 1)),
    await send(`${caddy.plainUrl}${path}`, '{}'),
    await send(`${alone.url}${path}`, '{}'),
  ];
  await alone.stop();
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 400, 404, 413, 404, 502],
  );
  assert.match(alone.log(), /connection refused/);
  const logs = caddy.log() + alone.log() + house.service.output();
  assert.ok(!logs.includes(company.key), 'the key is in a log');
});

test('a receiver is told the sender’s own address and an id for the request, whatever the sender wrote', async () => {
  const sink = await startSink();
  const port = Number(new URL(sink.url).port);
  const told = await front('told', port);
  const lies = {
    ...{ 'x-forwarded-for': '203.0.113.77', 'x-request-id': 'mine', 'x-forwarded-proto': 'gopher' },
    ...{ 'x-forwarded-host': 'elsewhere.example', forwarded: 'for=203.0.113.77', tracestate: 'mine=1' },
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  };
  await send(`${told.url}/webhooks/yclients/key`, '{}', lies);
  await Promise.all([told.stop(), sink.close()]);
  const headers = sink.deliveries[0]?.headers ?? {};
  assert.deepEqual([headers['x-forwarded-for'], headers['x-forwarded-proto']], ['127.0.0.1', 'https']);
  for (const name of ['x-forwarded-host', 'forwarded', 'traceparent', 'tracestate']) {
    assert.equal(headers[name], undefined, name);
  }
  assert.match(String(headers['x-request-id']), /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
});

test('a receiver is restarted under load: what was answered 200 is kept, and 502 ends when it is back', async t => {
  const company = await house.company();
  const ports = await freePorts();
  const env = {
    ROLES: 'receive',
    TRUSTED_PROXIES: '127.0.0.1',
    LOG_LEVEL: 'warn',
    RATE_PER_COMPANY: '100000',
  };
  const start = () => startService(house.databaseUrl, { env, ports });
  let receiver = await start();
  const alone = await front('restarted', ports.public);
  const url = company.url.replace(house.service.publicUrl, alone.url);
  await keyIsKnown(company.url.replace(house.service.publicUrl, receiver.publicUrl));

  const answers = new Map<string, number>();
  const acknowledged = new Set<string>();
  let [over, sent] = [false, 0];
  const startedAt = performance.now();
  const writers = Array.from({ length: WRITERS }, async (_, index) => {
    const paceMs = (WRITERS * 1000) / EVENTS_PER_SECOND;
    for (let next = startedAt + (index * paceMs) / WRITERS; !over; next += paceMs) {
      await wait(Math.max(0, next - performance.now()));
      sent += 1;
      const body = JSON.stringify(record(company.companyId, sent, 'create'));
      const { status, text } = await send(url, body, {}, dispatchers[index % 2]);
      if (status === 200) acknowledged.add(accepted.parse(JSON.parse(text)).id);
      answers.set(String(status), (answers.get(String(status)) ?? 0) + 1);
    }
  });
  const answerMore = (what: string) => {
    const goal = acknowledged.size + ANSWERED;
    return until(() => acknowledged.size >= goal, { what, timeoutMs: PATIENCE_MS });
  };
  try {
    await answerMore('it answers');
    for (let restart = 1; restart <= RESTARTS; restart += 1) {
      assert.equal(await receiver.stop(), 0);
      receiver = await start();
      await answerMore(`it answers after restart ${restart}`);
    }
    answers.clear();
    await answerMore('all is as before');
    assert.deepEqual([...answers.keys()], ['200']);
  } finally {
    over = true;
    await Promise.all(writers);
    await alone.stop();
    await receiver.stop();
  }
  t.diagnostic(`${sent} requests, ${RESTARTS} restarts, ${acknowledged.size} acknowledged`);
  const { rows } = await house.pool.query<{ id: string }>(
    'SELECT id FROM webhook_events WHERE company_id = $1',
    [company.companyId],
  );
  const kept = new Set(rows.map(({ id }) => id));
  assert.equal([...acknowledged].filter(id => !kept.has(id)).length, 0, 'acknowledged and lost');
});

const accepted = z.object({ id: z.string() });
