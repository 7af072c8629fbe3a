/** What `doctor --public-url` says of whoever answers at the name; the real proxies are in `test/faults/`. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createPlainServer } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import type { Finding } from '../../../src/commands/finding.ts';
import { checkAdmin } from '../../../src/commands/outside/proxy.ts';
import { checkTls } from '../../../src/commands/outside/tls.ts';
import { outsideFindings } from '../../../src/commands/outside.ts';
import { readConfig } from '../../../src/config.ts';
import { createLog } from '../../../src/log.ts';
import { insertCompany } from '../../../src/store/companies.ts';
import { LATER, NOT_YET, SOONER } from '../../support/certificates.ts';
import { type TestDatabase, testDatabase } from '../../support/database.ts';
import { namesOf } from '../../support/names.ts';
import { OTKLIK_KEY } from '../../support/service.ts';

type Said = { readonly status: number; readonly type?: string; readonly body?: string };

const RECEIVER: Said = {
  ...{ status: 404, type: 'application/problem+json; charset=utf-8' },
  body: '{"type":"about:blank","title":"Not found","status":404,"detail":"There is nothing here."}',
};

let database: TestDatabase;
let authorities: readonly string[];
let server: Server;
let url: URL;
/** What is answered to an event, and to all else. */
let answers: { event: Said; else: Said };
before(async () => {
  database = await testDatabase();
  authorities = getCACertificates('default');
  setDefaultCACertificates([...authorities, SOONER.cert, NOT_YET.cert]);
});
after(async () => {
  setDefaultCACertificates([...authorities]);
  await database.close();
});
beforeEach(async () => {
  answers = { event: { status: 200 }, else: RECEIVER };
  server = createServer(SOONER, (request, response) => {
    request.resume();
    const said = request.method === 'POST' ? answers.event : answers.else;
    response.writeHead(said.status, { 'content-type': said.type ?? 'application/json' }).end(said.body ?? '');
  });
  url = new URL(`https://hooks.test:${await listening(server)}`);
});
afterEach(() => closed(server));

async function listening(
  one: { listen(port: number, host: string): unknown; address(): unknown } & NodeJS.EventEmitter,
) {
  one.listen(0, '127.0.0.1');
  await once(one, 'listening');
  return (one.address() as AddressInfo).port;
}

async function closed(one: Server | ReturnType<typeof createPlainServer>): Promise<void> {
  one.closeAllConnections();
  await new Promise(done => one.close(done));
}

function lines(findings: readonly Finding[]): string {
  return findings.map(({ check, state, says }) => `${state} ${check}: ${says}`).join('\n');
}

function context() {
  const config = readConfig({ DATABASE_URL: database.url, OTKLIK_KEY, TRUSTED_PROXIES: '127.0.0.1' });
  return { config, log: createLog('silent') };
}

async function doctor(): Promise<string> {
  return lines(await outsideFindings(context(), url.href, undefined, namesOf({ four: ['127.0.0.1'] })));
}

test('a URL that webhooks could not come to is not followed', async () => {
  for (const given of ['hooks.example.com', 'ftp://hooks.example.com', 'https://hooks.example.com/otklik'])
    await assert.rejects(outsideFindings(context(), given, undefined), /must be a URL without a path/, given);
});

test('a certificate that is signed by itself, and one that is not valid yet, are named', async () => {
  const said = async () => lines((await checkTls(url, ['127.0.0.1'])).findings);
  assert.match(await said(), /^ok certificate/);
  server.setSecureContext(LATER);
  assert.match(await said(), /^fault certificate: it is signed by itself, which the platform does not trust/);
  server.setSecureContext(NOT_YET);
  assert.match(await said(), /^fault certificate: it is not valid yet: is the clock of this server right/);
});

test('a plain page, an error of the proxy and a page of somebody else are not the receiver', async () => {
  for (const [said, expected] of [
    [
      { status: 200, type: 'text/html', body: '<h1>Welcome to nginx!</h1>' },
      /what answers there \(200\) is not the receiver.*server_name/,
    ],
    [{ status: 404, type: 'text/html', body: 'There is nothing here.' }, /\(404\) is not the receiver/],
    [{ status: 301, type: 'text/html' }, /\(301\) is not the receiver/],
    [{ status: 503, type: 'text/html' }, /it answers 503, the receiver does not: is `serve` running/],
  ] as const) {
    answers.else = said;
    const found = await doctor();
    assert.match(found, new RegExp(`^fault proxy: .*${expected.source}`, 'm'));
    assert.match(found, /^note outside: what comes after this step was not checked$/m);
  }
});

test('of two addresses each is tried: one that nobody answers at is a fault beside one that works', async () => {
  // Not 127.0.0.2: of loopback one that answers is enough.
  const { findings, addresses } = await checkTls(url, ['127.0.0.1', '0.0.0.0']);
  assert.deepEqual(addresses, ['127.0.0.1', '0.0.0.0'], lines(findings));
  assert.equal(findings.length, 1, 'both say the same');
  const elsewhere = createServer(LATER, () => {}).listen(Number(url.port), '127.0.0.3');
  await once(elsewhere, 'listening');
  const two = lines((await checkTls(url, ['127.0.0.1', '127.0.0.3'])).findings);
  assert.match(two, /^ok certificate: at 127\.0\.0\.1: good/m);
  assert.match(two, /^fault certificate: at 127\.0\.0\.3: it is signed by itself/m);
  await closed(elsewhere);
  const dead = await checkTls(url, ['127.0.0.1', '::ffff:0.0.0.0', '::']);
  assert.match(
    lines(dead.findings),
    /^fault TLS: (nothing listens on|no TLS connection to) \[::\]:\d+.*or take this address out of the DNS$/m,
  );
  assert.match(
    lines((await checkTls(url, ['127.0.0.1', '127.0.0.9'])).findings),
    /^ok certificate: good[^\n]*$/,
  );
});

test('an admin port that answers under the name is a fault, one that does not is well', async () => {
  const admin = createPlainServer((_request, response) => response.end('{"status":"alive"}'));
  const ADMIN_PORT = String(await listening(admin));
  // The address that is no loopback and leads back here all the same.
  const way = { url, addresses: ['0.0.0.0'] };
  const config = readConfig({ ADMIN_PORT });
  const said = async () => lines(await checkAdmin({ ...way, context: { ...context(), config } }));
  assert.match(
    await said(),
    new RegExp(`^fault admin port: hooks.test:${ADMIN_PORT} answers: set HOST=127.0.0.1`),
  );
  await closed(admin);
  assert.equal(await said(), 'ok admin port: not reachable under this name');
});

test('an event without a company, refused on the way, or not found in this inbox is told by its cause', async () => {
  assert.match(await doctor(), /^note event: none was sent: there is no company yet/m);
  await insertCompany(database.pool, {
    ...{ companyId: 5_001, title: 'Ромашка', zone: 'Europe/Moscow', brand: 'yclients', locale: 'ru' },
    ...{ settleMs: 0, route: ['console'], webhookUrl: null, botApiPrefix: null, signatureRequired: false },
  });
  for (const [said, expected] of [
    [{ status: 404 }, /the receiver does not know a key that this database has/],
    [{ status: 413 }, /the proxy refuses a small body: look at client_max_body_size/],
    [{ status: 429 }, /too many requests from this address/],
    [{ status: 503 }, /the receiver cannot reach its database/],
    [{ status: 415, body: '{"detail":"Send application/json."}' }, /answered 415: Send application\/json\./],
    [
      { status: 200, body: '{"id":"019ab3c2-0000-7000-8000-000000000001"}' },
      /answered as 019ab3c2-\S+, and not in this inbox: .*compare DATABASE_URL/,
    ],
  ] as const) {
    answers.event = said;
    assert.match(await doctor(), new RegExp(`^fault event: .*${expected.source}`, 'm'));
  }
  const { rows } = await database.pool.query('SELECT count(*)::integer FROM company_keys');
  assert.deepEqual(rows, [{ count: 0 }], 'no key that was lent is left');
});
