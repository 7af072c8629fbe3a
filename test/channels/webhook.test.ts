import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { test } from 'node:test';
import type { SendResult } from '../../src/channels/channel.ts';
import { isPublic } from '../../src/channels/guard.ts';
import { createWebhook } from '../../src/channels/webhook.ts';
import { freePort } from '../support/ports.ts';
import { httpServer, isGenuine, outgoing, tcpServer, WEBHOOK_SECRET } from './counterparts.ts';

const never = new AbortController().signal;
const TIMEOUT_MS = 10_000;
const guarded = createWebhook({ allowPrivate: false, timeoutMs: TIMEOUT_MS });
const open = createWebhook({ allowPrivate: true, timeoutMs: TIMEOUT_MS });
test.after(() => Promise.all([guarded.close?.(), open.close?.()]));

test('hosts that are not on the public internet are refused without a connection', async t => {
  let connections = 0;
  const server = createServer(socket => {
    connections += 1;
    socket.destroy();
  });
  const { port } = await tcpServer(t, server);
  const hosts = [
    '127.0.0.1',
    '127.1',
    '0x7f000001',
    '0x7f.1',
    '2130706433',
    '017700000001',
    '0177.0.0.1',
    '0.0.0.0',
    '0',
    '10.0.0.1',
    '192.168.0.1',
    '169.254.169.254',
    '168.63.129.16',
    '100.64.0.1',
    '100.100.100.200',
    '192.0.0.192',
    '[::1]',
    '[::]',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    '[::7f00:1]',
    '[64:ff9b::7f00:1]',
    '[64:ff9b:1::7f00:1]',
    '[2002:7f00:1::]',
    '[2001:0:7f00:1::]',
    '[fd00:ec2::254]',
    '[fe80::1]',
    'localhost',
    'LOCALHOST',
    '①②⑦.0.0.1',
    // Public by number, and still no way to write a host.
    '0x08080808',
    '134744072',
  ];
  for (const host of hosts) {
    const result = await guarded.send(outgoing({ address: `http://${host}:${port}/` }), never);
    assert.equal(scopeOf(result), 'address', host);
  }
  assert.equal(connections, 0);
});

test('an address with a user, another scheme or no host is refused', async () => {
  for (const address of [
    'http://user:password@hooks.test/',
    'http://user@hooks.test/',
    'ftp://hooks.test/',
    'file:///etc/passwd',
    'javascript:alert(1)',
    '//hooks.test/',
    'http://',
    'http:hooks.test',
    ' http://hooks.test/',
    'http://hooks.test:99999/',
    `http://hooks.test/${'x'.repeat(3000)}`,
  ]) {
    assert.equal(scopeOf(await open.send(outgoing({ address }), never)), 'address', address.slice(0, 60));
  }
});

test('only addresses of the public internet are public', () => {
  for (const address of ['8.8.8.8', '1.1.1.1', '2606:4700::1111', '2a00:1450:4010::5e']) {
    assert.ok(isPublic(address), address);
  }
  for (const address of [
    '',
    'localhost',
    '198.18.0.1',
    '203.0.113.1',
    '224.0.0.1',
    '255.255.255.255',
    'fec0::1',
    '2001:db8::1',
    'ff02::1',
    '100::1',
  ]) {
    assert.ok(!isPublic(address), address);
  }
});

test('a redirect is not followed, wherever it leads', async t => {
  let followed = 0;
  const inner = await httpServer(t, (_request, _body, response) => {
    followed += 1;
    response.end();
  });
  for (const status of [301, 302, 303, 307, 308]) {
    const outer = await httpServer(t, (_request, _body, response) => {
      response.writeHead(status, { location: `http://127.0.0.1:${inner.port}/` }).end();
    });
    const result = await open.send(outgoing({ address: `http://127.0.0.1:${outer.port}/` }), never);
    assert.deepEqual(result, {
      outcome: 'rejected',
      scope: 'address',
      reason: `HTTP ${status}: redirects are not followed`,
    });
  }
  assert.equal(followed, 0);
});

test('the answer decides: sent, later, never', async t => {
  const now = () => Date.parse('2026-11-24T10:00:00Z');
  const channel = createWebhook({ allowPrivate: true, timeoutMs: TIMEOUT_MS, now });
  const server = await httpServer(t, ({ url }, _body, response) => {
    const [, status = '', retryAfter = ''] = (url ?? '').split('/');
    response
      .writeHead(Number(status), retryAfter === '' ? {} : { 'retry-after': decodeURIComponent(retryAfter) })
      .end();
  });
  const answers: ReadonlyArray<readonly [string, object]> = [
    ['200', { outcome: 'sent' }],
    ['204', { outcome: 'sent' }],
    ['410', { outcome: 'rejected', scope: 'address', reason: 'HTTP 410: the receiver is gone' }],
    ['400', { outcome: 'rejected', scope: 'message', reason: 'HTTP 400' }],
    ['401', { outcome: 'rejected', scope: 'message', reason: 'HTTP 401' }],
    ['404', { outcome: 'rejected', scope: 'message', reason: 'HTTP 404' }],
    ['408', { outcome: 'retry', reason: 'HTTP 408' }],
    ['409', { outcome: 'retry', reason: 'HTTP 409' }],
    ['425', { outcome: 'retry', reason: 'HTTP 425' }],
    ['429/2', { outcome: 'retry', reason: 'HTTP 429', retryAfterMs: 2000 }],
    ['500', { outcome: 'retry', reason: 'HTTP 500' }],
    ['503/Tue, 24 Nov 2026 10:01:00 GMT', { outcome: 'retry', reason: 'HTTP 503', retryAfterMs: 60_000 }],
    ['503/86400', { outcome: 'retry', reason: 'HTTP 503', retryAfterMs: 3_600_000 }],
  ];
  for (const [path, expected] of answers) {
    const address = `http://127.0.0.1:${server.port}/${encodeURI(path)}`;
    assert.deepEqual(await channel.send(outgoing({ address }), never), expected, path);
  }
});

test('a receiver that has answered may dawdle over the rest: the message is sent', async t => {
  const channel = createWebhook({ allowPrivate: true, timeoutMs: 1000 });
  const server = await httpServer(t, (_request, _body, response) => {
    response.writeHead(200).write('never ending');
  });
  const result = await channel.send(outgoing({ address: `http://127.0.0.1:${server.port}/` }), never);
  assert.deepEqual(result, { outcome: 'sent' });
});

test('the body and the headers are those of docs/webhook-channel.md', async t => {
  const bodies: unknown[] = [];
  const now = () => Date.now() + 60_000;
  const channel = createWebhook({ allowPrivate: true, timeoutMs: TIMEOUT_MS, now });
  const server = await httpServer(t, (request, body, response) => {
    assert.ok(isGenuine(request, body));
    assert.equal(request.method, 'POST');
    assert.equal(request.headers['content-type'], 'application/json');
    assert.ok(
      Math.abs(Number(request.headers['webhook-timestamp']) - now() / 1000) < 30,
      'the clock is the one given',
    );
    bodies.push(JSON.parse(body.toString()));
    response.end();
  });
  const address = `http://127.0.0.1:${server.port}/`;
  const { id, companyId, recordId, recipient, subject, text, notice } = outgoing();
  await channel.send(outgoing({ address, attempt: 3 }), never);
  await channel.send(outgoing({ address, purpose: 'test', notice: null, recordId: null }), never);
  const common = { id, companyId, recipient, subject, text };
  assert.deepEqual(bodies, [
    { ...common, type: 'notice.booked', recordId, attempt: 3, before: null, after: notice?.after },
    { ...common, type: 'test', recordId: null, attempt: 1, before: null, after: null },
  ]);
});

test('without a usable secret nothing is sent unsigned', async () => {
  const { secret: _, ...unsigned } = outgoing({ address: 'http://127.0.0.1:1/' });
  assert.equal(scopeOf(await open.send(unsigned, never)), 'channel');
  for (const secret of ['', 'whsec_', 'whsec_!!!', 'plain text']) {
    assert.equal(scopeOf(await open.send({ ...unsigned, secret }, never)), 'channel', secret);
  }
});

test('the receiver of docs/webhook-channel.md takes what is genuine, and drops repeats', async t => {
  const guide = await readFile(new URL('../../docs/webhook-channel.md', import.meta.url), 'utf8');
  const source = /```js\n([\s\S]*?)```/.exec(guide)?.[1] ?? '';
  assert.ok(source.trim().split('\n').length <= 15);
  const port = await freePort();
  const env = { WEBHOOK_SECRET, PORT: String(port) };
  const receiver = spawn(process.execPath, ['--input-type=module', '-e', source], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => receiver.kill());
  let printed = '';
  receiver.stdout.setEncoding('utf8').on('data', chunk => {
    printed += chunk;
  });
  await once(receiver.stdout, 'data');
  const message = outgoing({ address: `http://127.0.0.1:${port}/`, text: 'Один раз' });
  assert.deepEqual(await open.send(message, never), { outcome: 'sent' });
  assert.deepEqual(await open.send({ ...message, attempt: 2 }, never), { outcome: 'sent' });
  const other = `whsec_${'A'.repeat(32)}`;
  const rotated = { ...message, id: 'rotated', text: 'Двое', secret: other, formerSecret: WEBHOOK_SECRET };
  assert.deepEqual(await open.send(rotated, never), { outcome: 'sent' });
  const foreign = { ...message, id: 'another', text: 'Подделка', secret: other };
  assert.equal(scopeOf(await open.send(foreign, never)), 'message');
  const stale = createWebhook({
    allowPrivate: true,
    timeoutMs: TIMEOUT_MS,
    now: () => Date.now() - 600_000,
  });
  assert.equal(scopeOf(await stale.send({ ...message, id: 'old' }, never)), 'message');
  receiver.kill();
  await once(receiver, 'close');
  assert.equal(printed, 'listening\nОдин раз\nДвое\n');
});

function scopeOf(result: SendResult): string {
  return result.outcome === 'rejected' ? result.scope : result.outcome;
}
