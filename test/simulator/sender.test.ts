import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createSender, type SenderOptions } from '../../src/simulator/sender.ts';

type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void;

async function listen(t: TestContext, handler: Handler): Promise<string> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => handler(request, response, Buffer.concat(chunks).toString()));
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  t.after(() => close(server));
  const address = server.address();
  assert.ok(isAddress(address));
  return `http://127.0.0.1:${address.port}/hook`;
}

function isAddress(address: ReturnType<Server['address']>): address is AddressInfo {
  return typeof address === 'object' && address !== null;
}

function close(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise(resolve => server.close(() => resolve()));
}

/** A sender whose pauses are noted and skipped. */
function senderTo(t: TestContext, to: string, options: Partial<SenderOptions> = {}) {
  let now = 1000;
  const pauses: number[] = [];
  const clock = {
    now: () => now,
    sleep: async (ms: number) => {
      pauses.push(ms);
      now += ms;
    },
  };
  const sender = createSender({ to, clock, ...options });
  t.after(() => sender.close());
  return { sender, pauses };
}

test('a webhook is one POST of JSON, its bytes as given', async t => {
  const seen: unknown[] = [];
  const to = await listen(t, (request, response, body) => {
    seen.push([request.method, request.url, request.headers['content-type'], body]);
    response.end('{}');
  });
  const { sender } = senderTo(t, to);
  const answer = await sender.post('{"name":"\\u0000 \\ud83d Вера"}');
  assert.deepEqual(seen, [['POST', '/hook', 'application/json', '{"name":"\\u0000 \\ud83d Вера"}']]);
  assert.deepEqual(answer, { sentAt: 1000, answeredAt: 1000, tries: ['200'] });
});

test('as the platform, it sends once whatever the answer', async t => {
  const to = await listen(t, (_request, response) => response.writeHead(503).end());
  const { sender, pauses } = senderTo(t, to);
  assert.deepEqual(await sender.post('{}'), { sentAt: 1000, answeredAt: null, tries: ['503'] });
  assert.deepEqual(pauses, []);
});

test('with retries it tries twice more, 1.5 s apart, after 429 and 5xx', async t => {
  const statuses = [429, 500, 200];
  const to = await listen(t, (_request, response) => response.writeHead(statuses.shift() ?? 200).end());
  const { sender, pauses } = senderTo(t, to, { retries: 2 });
  assert.deepEqual(await sender.post('{}'), { sentAt: 1000, answeredAt: 4000, tries: ['429', '500', '200'] });
  assert.deepEqual(pauses, [1500, 1500]);
});

test('a refusal for good is not tried again', async t => {
  const to = await listen(t, (_request, response) => response.writeHead(404).end());
  const { sender } = senderTo(t, to, { retries: 2 });
  assert.deepEqual((await sender.post('{}')).tries, ['404']);
});

test('a redirect is not followed', async t => {
  let requests = 0;
  const to = await listen(t, (_request, response) => {
    requests += 1;
    response.writeHead(307, { location: '/elsewhere' }).end();
  });
  const { sender } = senderTo(t, to);
  assert.deepEqual((await sender.post('{}')).tries, ['307']);
  assert.equal(requests, 1);
});

test('a listener that does not answer is given up, one that is not there is a network error', async t => {
  const to = await listen(t, () => {});
  const silent = senderTo(t, to, { timeoutMs: 50 });
  assert.deepEqual(await silent.sender.post('{}'), { sentAt: 1000, answeredAt: null, tries: ['timeout'] });
  const nobody = senderTo(t, 'http://127.0.0.1:1/', { retries: 1 });
  assert.deepEqual((await nobody.sender.post('{}')).tries, ['network', 'network']);
});
