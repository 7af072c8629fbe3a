/**
 * The public side as we ship it, for real: nginx with the site of `deploy/`, a certificate of a test's own authority,
 * one receiver behind. What it lets through, what it refuses, what it writes down; and whether `doctor --public-url`
 * names each thing that can be wrong with it.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import { connect } from 'node:http2';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { Agent, request } from 'undici';
import { z } from 'zod';
import { BODIES_UNDER_WAY, TOO_MANY } from '../../src/http/guard.ts';
import { BODY_LIMIT_BYTES as RECEIPTS_BYTES } from '../../src/http/receipts.ts';
import { BODY_LIMIT_BYTES, HEADER_BYTES } from '../../src/http/receive.ts';
import { type House, openHouse } from '../blackbox/harness.ts';
import { event, record } from '../blackbox/salon.ts';
import { type Authority, createAuthority } from '../support/authority.ts';
import { testDatabase } from '../support/database.ts';
import { type Nginx, startNginx } from '../support/nginx.ts';
import { type Company, command, freePorts, startService } from '../support/service.ts';
import { startSink } from '../support/sink.ts';
import { until } from '../support/until.ts';

let house: House;
let directory: string;
let authority: Authority;
let nginx: Nginx;
let dispatcher: Agent;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'otklik-front-'));
  authority = await createAuthority(directory);
  const front = await freePorts();
  house = await openHouse({
    TRUSTED_PROXIES: '127.0.0.1',
    LOG_LEVEL: 'debug',
  });
  nginx = await startNginx({
    directory,
    ports: { http: front.admin, https: front.public },
    receivers: [house.service.ports.public],
    certificate: await authority.issue('localhost'),
  });
  dispatcher = new Agent({ connect: { ca: authority.pem }, allowH2: false });
});
after(async () => {
  await dispatcher?.close();
  await nginx?.stop();
  await house?.close();
  await rm(directory, { recursive: true, force: true });
});

/** Another nginx with the site, before receivers of the test's own. */
async function front(name: string, receivers: readonly [number, number]): Promise<Nginx> {
  const { public: https, admin: http } = await freePorts();
  const certificate = await authority.issue('localhost');
  return startNginx({ directory: join(directory, name), certificate, ports: { http, https }, receivers });
}

/** A company's URL as the platform has it. */
function outside({ url }: Company): string {
  return url.replace(house.service.publicUrl, nginx.url);
}

async function send(url: string, body: string | Buffer, headers: Record<string, string> = {}) {
  const answer = await request(url, {
    ...{ method: 'POST', body, dispatcher },
    headers: { 'content-type': 'application/json', ...headers },
  });
  return { status: answer.statusCode, headers: answer.headers, text: await answer.body.text() };
}

const findings = z.object({
  healthy: z.boolean(),
  findings: z.array(z.object({ check: z.string(), state: z.string(), says: z.string() })),
});

/** What `doctor` says of the way from outside, a line each. */
async function doctor(url: string, env: Record<string, string> = {}, ...flags: string[]): Promise<string> {
  const ran = await command(house.databaseUrl, ['doctor', '--json', '--public-url', url, ...flags], {
    NODE_EXTRA_CA_CERTS: authority.file,
    TRUSTED_PROXIES: '127.0.0.1',
    ADMIN_PORT: String(house.service.ports.admin),
    ...env,
  });
  assert.notEqual(ran.stdout, '', ran.stderr);
  const { healthy, findings: found } = findings.parse(JSON.parse(ran.stdout));
  const lines = found.map(({ check, state, says }) => `${state} ${check}: ${says}`);
  assert.equal(ran.code, healthy ? 0 : 1);
  assert.equal(healthy, !lines.some(line => line.startsWith('fault')));
  return lines.join('\n');
}

test('doctor follows the way from outside to an event processed, signed where the company’s senders sign', async () => {
  const company = await house.company({ signatureRequired: true });
  const said = await doctor(nginx.url, {}, '--company', String(company.companyId));
  assert.match(said, /note name: localhost is .*127\.0\.0\.1, which nobody outside can reach/);
  assert.match(said, /ok certificate: good for another (89|90) days, TLSv1\.3/);
  assert.match(said, /ok proxy: the receiver answers behind it/);
  assert.match(said, /ok event: signed: answered in \d+ ms, in the inbox as [0-9a-f-]{36}/);
  assert.match(said, /ok processing/);
  const { rows } = await house.pool.query(
    'SELECT count(*)::integer FROM company_keys WHERE company_id = $1',
    [company.companyId],
  );
  assert.deepEqual(rows, [{ count: 1 }], 'the key it was sent with is gone');
  const unsigned = await house.company();
  assert.match(await doctor(nginx.url, {}, '--company', String(unsigned.companyId)), /ok event: unsigned/);
});

test('doctor names what is wrong with name, port, TLS, chain, term, proxy, receiver and database', async t => {
  const elsewhere = await freePorts();
  const cases: [string, RegExp, Record<string, string>?][] = [
    ['http://localhost', /fault public URL: it begins with http/],
    // A machine without a resolver hears something else of it than one with: the words are in name.test.ts.
    ['https://hooks.otklik.invalid', /fault name: /],
    [`https://localhost:${elsewhere.public}`, /fault TLS: nothing listens on .*is nginx running/],
    [nginx.plainUrl.replace('http', 'https'), /fault TLS: .*does not speak TLS/],
    [
      nginx.url.replace('localhost', '127.0.0.1'),
      /fault certificate: it is for another name than 127\.0\.0\.1/,
    ],
    [nginx.url, /fault certificate: the chain to an authority is not there/, { NODE_EXTRA_CA_CERTS: '' }],
    [nginx.url, /note proxy: TRUSTED_PROXIES is not set/, { TRUSTED_PROXIES: '' }],
  ];
  for (const [url, expected, env] of cases) assert.match(await doctor(url, env), expected);

  await t.test('a certificate that was not renewed, and one that has expired', async () => {
    for (const [days, expected] of [
      [10, /note certificate: good for another (9|10) days.*certbot renew --dry-run/],
      [3, /fault certificate: good for another [23] days.*its renewal does not work/],
      [-1, /fault certificate: it has expired/],
      [90, /ok certificate/],
    ] as const) {
      await authority.issue('localhost', { days });
      nginx.reload();
      await until(async () => expected.test(await doctor(nginx.url)), { what: `doctor sees ${days} days` });
    }
  });
  await t.test('another program behind the name, and a receiver that is gone', async () => {
    const [stray, nobody] = [await freePorts(), await freePorts()];
    const other = join(directory, 'other');
    const certificate = await authority.issue('localhost');
    const astray = await startNginx({
      ...{ directory: other, certificate, ports: { http: stray.admin, https: stray.public } },
      receivers: [house.service.ports.admin, house.service.ports.admin],
    });
    assert.match(await doctor(astray.url), /fault admin port: the proxy hands on to ADMIN_PORT/);
    await astray.stop();
    const alone = await startNginx({
      ...{ directory: other, certificate, ports: { http: stray.admin, https: stray.public } },
      receivers: [nobody.public, nobody.admin],
    });
    assert.match(
      await doctor(alone.url),
      /fault proxy: it answers 502, the receiver does not: is `serve` running/,
    );
    await alone.stop();
  });
});

test('doctor names a receiver of another database, one behind which nobody works, and a port that is silent', async t => {
  const elsewhere = await testDatabase();
  const stray = await freePorts();
  const idle = await startService(elsewhere.url, {
    env: { ROLES: 'receive,web', TRUSTED_PROXIES: '127.0.0.1' },
  });
  const other = await startNginx({
    ...{ directory: join(directory, 'idle'), ports: { http: stray.admin, https: stray.public } },
    receivers: [idle.ports.public, idle.ports.public],
    certificate: await authority.issue('localhost'),
  });
  const silent = createTcpServer().listen(0, '127.0.0.1');
  await once(silent, 'listening');
  t.after(async () => {
    silent.close();
    await Promise.all([other.stop(), idle.stop()]);
    await elsewhere.close();
  });
  await house.company();
  assert.match(
    await doctor(other.url),
    /fault event: the receiver does not know a key that this database has/,
  );
  await idle.addCompany({ companyId: 1001 });
  const there = await command(elsewhere.url, ['doctor', '--json', '--public-url', other.url], {
    NODE_EXTRA_CA_CERTS: authority.file,
    ADMIN_PORT: String(idle.ports.admin),
  });
  assert.match(there.stdout, /it is not processed yet: is `serve` running with the role process/);
  assert.equal(there.code, 1);
  const address = silent.address();
  assert.ok(typeof address === 'object' && address !== null);
  assert.match(
    await doctor(`https://localhost:${address.port}`),
    /fault TLS: 127\.0\.0\.1:\d+ does not answer: let TCP port \d+ through the firewall/,
  );
});

test('a body and a head up to the receiver’s own limit pass, and no other', async () => {
  const open = await house.company();
  const [head, tail] = JSON.stringify(event(open.companyId, 'record', 1, 'create', { comment: '…' })).split(
    '…',
  );
  const filled = (bytes: number) => `${head}${'x'.repeat(bytes - `${head}${tail}`.length)}${tail}`;
  const status = async (url: string, body: string, headers = {}) => (await send(url, body, headers)).status;
  assert.equal(await status(outside(open), filled(BODY_LIMIT_BYTES)), 200);
  assert.equal(await status(outside(open), filled(BODY_LIMIT_BYTES + 1)), 413);
  for (const [bytes, expected] of [
    [5_000, 200],
    [HEADER_BYTES - 500, 200],
    [HEADER_BYTES, 431],
  ] as const) {
    assert.equal(
      await status(outside(open), filled(1_000), { 'x-long': 'x'.repeat(bytes) }),
      expected,
      `${bytes}`,
    );
  }
  const sink = await startSink();
  const port = Number(new URL(sink.url).port);
  const told = await front('told-much', [port, port]);
  assert.equal(await status(`${told.url}/receipts/cloud/secret`, 'x'.repeat(RECEIPTS_BYTES)), 204);
  assert.equal(await status(`${told.url}/receipts/cloud/secret`, 'x'.repeat(RECEIPTS_BYTES + 1)), 413);
  await Promise.all([told.stop(), sink.close()]);
});

test('what nginx refuses it refuses by itself, in the receiver’s words, and only its log has it', async t => {
  const company = await house.company();
  const nobody = await freePorts();
  const alone = await front('silent', [nobody.public, nobody.admin]);
  t.after(() => alone.stop());
  const path = new URL(company.url).pathname;
  const rejected = async () =>
    (await (await fetch(`${house.service.adminUrl}/metrics`)).text()).match(
      /^otklik_requests_rejected_total.*$/gm,
    );
  const before = await rejected();

  const large = 'x'.repeat(BODY_LIMIT_BYTES + 1);
  const long = { 'x-long': 'x'.repeat(HEADER_BYTES) };
  const said = {
    large: await send(outside(company), large),
    head: await send(outside(company), '{}', long),
    uri: await send(`${nginx.url}/${'x'.repeat(HEADER_BYTES)}`, '{}'),
    malformed: await sayPlainly('POST / HTTP/1.1\r\n\r\n'),
    away: await send(`${alone.url}${path}`, '{}'),
  };
  assert.deepEqual(await rejected(), before, 'the receiver heard of none');
  const bare = {
    large: await send(company.url, large),
    head: await send(company.url, '{}', long),
  };
  const told = ({ status, text, headers }: Awaited<ReturnType<typeof send>>) => ({
    status,
    says: JSON.parse(text),
    type: String(headers['content-type']).split(';')[0],
    again: headers['retry-after'],
  });
  assert.deepEqual(told(said.large), told(bare.large));
  assert.deepEqual(told(said.head), told(bare.head));
  assert.deepEqual(told(said.uri), told(bare.head));
  assert.match(said.malformed, /^HTTP\/1.1 400 .*This is not a request in HTTP/s);
  assert.deepEqual(told(said.away), {
    status: 502,
    says: {
      ...{ type: 'about:blank', title: 'Temporarily unavailable', status: 502 },
      detail: 'The receiver did not answer. Send it again.',
    },
    type: 'application/problem+json',
    again: '2',
  });
  // Each of its processes writes a line when it is done with the connection, which for a large body may be after the others.
  const refused = ['/webhooks/… 413', '/webhooks/… 431', '(other) 431', '(other) 400'];
  await until(
    async () => {
      const lines = logLines(await nginx.accessLog()).filter(({ upstream }) => upstream === '');
      const known = lines.map(({ path: which, status }) => `${which} ${status}`);
      const ids = lines.map(({ request_id }) => request_id);
      return (
        refused.every(one => known.includes(one)) && ids.includes(String(said.large.headers['x-request-id']))
      );
    },
    { what: `what nginx refused is in its log: ${refused}` },
  );
});

test('hundreds of requests at once from one address are for the receiver to take; of large bodies 256 are', async t => {
  const held: ServerResponse[] = [];
  let came = 0;
  const receiver = createServer((incoming, outgoing) => {
    incoming.resume();
    held.push(outgoing);
    came += 1;
    if (came < AT_ONCE) return;
    for (const one of held.splice(0)) one.writeHead(200).end('{}');
  }).listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  const { port } = receiver.address() as AddressInfo;
  const busy = await front('busy', [port, port]);
  const connections = Array.from({ length: 10 }, () => connect(busy.url, { ca: authority.pem }));
  t.after(async () => {
    for (const one of connections) one.destroy();
    await busy.stop();
    receiver.closeAllConnections();
    receiver.close();
  });
  // Each stream counts in limit_conn as a connection does.
  const begin = (number: number, headers = {}) => {
    const path = '/webhooks/yclients/key';
    const stream = connections[number % connections.length]?.request({
      ...{ ':method': 'POST', ':path': path, ...headers },
    });
    assert.ok(stream);
    return stream.on('error', () => {});
  };
  const answers = await Promise.all(
    Array.from({ length: AT_ONCE }, async (_, number) => {
      const stream = begin(number, { 'content-length': '2' }).end('{}');
      const [headers] = await once(stream, 'response');
      stream.resume();
      return headers[':status'];
    }),
  );
  assert.deepEqual(
    answers.filter(status => status !== 200),
    [],
  );

  const beginBodies = (count: number) => {
    for (let number = 0; number < count; number += 1)
      begin(number, { 'content-length': '200000' }).write('x');
  };
  beginBodies(BODIES_UNDER_WAY);
  const url = `${busy.url}/webhooks/yclients/key`;
  const refused = await until(
    async () => {
      const answer = await send(url, 'x'.repeat(100_000));
      // Those that are begun end when their time is over, on a slow machine before the last of them is there.
      if (answer.status !== 429) beginBodies(BODIES_UNDER_WAY / 4);
      return answer.status === 429 && answer;
    },
    { what: 'so many large bodies are under way' },
  );
  assert.deepEqual(JSON.parse(refused.text), { type: 'about:blank', ...TOO_MANY });
  const { 'retry-after': again, 'content-type': type } = refused.headers;
  assert.deepEqual([again, type], ['1', 'application/problem+json']);
  assert.equal((await send(url, 'x'.repeat(19_999))).status, 200, 'one as large as any real one');
});

const AT_ONCE = 300;

const logLine = z.looseObject({
  ...{ path: z.string(), status: z.string(), upstream: z.string(), request_id: z.string() },
});

function logLines(log: string): z.infer<typeof logLine>[] {
  return log
    .trim()
    .split('\n')
    .map(line => logLine.parse(JSON.parse(line)));
}

/** Writes these bytes to nginx, and answers all that it says. */
async function sayPlainly(bytes: string): Promise<string> {
  const { port } = new URL(nginx.url);
  const socket = connectTls({
    host: '127.0.0.1',
    port: Number(port),
    ca: authority.pem,
    servername: 'localhost',
  });
  socket.write(bytes);
  return Buffer.concat(await socket.toArray()).toString();
}

test('no key and no query is in a log of nginx or ours, whatever comes of the request', async () => {
  const open = await house.company();
  const { key } = open;
  const path = `/webhooks/yclients/${key}`;
  const nobody = await freePorts();
  const alone = await front('alone', [nobody.public, nobody.admin]);
  const answers = [
    await send(outside(open), JSON.stringify(record(open.companyId, 1, 'create'))),
    await send(`${nginx.url}/webhooks/yclients/events?key=${key}`, '{}'),
    await send(`${nginx.url}/${key}`, '{}'),
    await send(`${nginx.url}${path}?x=${key}`, 'x'.repeat(BODY_LIMIT_BYTES + 1)),
    await send(`${nginx.plainUrl}${path}`, '{}'),
    await send(`${alone.url}${path}`, '{}'),
  ];
  await alone.stop();
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 400, 404, 413, 404, 502],
  );
  const large = String(answers[3]?.headers['x-request-id']);
  await until(async () => (await nginx.accessLog()).includes(large), {
    what: 'the line of the large body is written',
  });
  const access = (await nginx.accessLog()) + (await alone.accessLog());
  const errors = (await nginx.errorLog()) + (await alone.errorLog());
  assert.ok(!(access + errors + house.service.output()).includes(key), 'the key is in a log');
  const lines = logLines(access);
  assert.ok(lines.length > 4);
  assert.deepEqual(new Set(lines.map(one => one.path)), new Set(['/webhooks/…', '(other)']));
});

test('a receiver is told the sender’s own address and an id for the request, whatever the sender wrote', async () => {
  const sink = await startSink();
  const port = Number(new URL(sink.url).port);
  const told = await front('told', [port, port]);
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
  const line = z.looseObject({ request_id: z.string() }).parse(JSON.parse(await told.accessLog()));
  assert.match(line.request_id, /^[0-9a-f]{32}$/);
  assert.equal(headers['x-request-id'], line.request_id);
});

test('what a receiver broke off is asked of the other one, but for a POST whose repeat is not known to be safe', async t => {
  const asked: string[] = [];
  const receiver = createServer(({ method, url, socket }) => {
    asked.push(`${method} ${url}`);
    socket.destroy();
  }).listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  const { port } = receiver.address() as AddressInfo;
  const broken = await front('broken', [port, port]);
  t.after(async () => {
    await broken.stop();
    receiver.close();
  });
  const times: Record<string, number> = {};
  for (const line of [
    ...['POST /webhooks/yclients/key', 'POST /webhooks/yclients/events?key=key', 'POST /operator/yclients'],
    ...['POST /operator/yclients/key', 'POST /receipts/wazzup/secret'],
    ...['POST /answers/link', 'POST /answers/link/stop', 'POST /connect/yclients', 'POST /'],
    ...['GET /answers/link', 'GET /connect/yclients?user_data=x'],
  ]) {
    const [method = '', path = ''] = line.split(' ');
    const answer = await request(`${broken.url}${path}`, {
      ...{ method, dispatcher },
      ...(method === 'POST' && { body: '{}' }),
    });
    assert.equal(answer.statusCode, 502, line);
    await answer.body.dump();
    times[line] = asked.filter(one => one === line).length;
  }
  assert.deepEqual(times, {
    'POST /webhooks/yclients/key': 2,
    'POST /webhooks/yclients/events?key=key': 2,
    'POST /operator/yclients': 2,
    'POST /operator/yclients/key': 2,
    'POST /receipts/wazzup/secret': 2,
    'POST /answers/link': 1,
    'POST /answers/link/stop': 1,
    'POST /connect/yclients': 1,
    'POST /': 1,
    'GET /answers/link': 2,
    'GET /connect/yclients?user_data=x': 2,
  });
});
