import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { type DemoCompany, type DemoOptions, type DemoService, runDemo } from '../../src/demo.ts';
import type { ToldMessage } from '../../src/simulator/live-view.ts';
import { type Received, serve, type Vice } from './reference-service.ts';

/** The reference service behind a real port: it hears in real time and answers for itself at the end. */
async function fakeService(t: TestContext, vices: readonly Vice[] = []) {
  const received: Received[] = [];
  const calls: string[] = [];
  let company: DemoCompany | undefined;
  let listener: (message: ToldMessage) => void = () => {};
  const server = createServer(async (request, response) => {
    received.push({ body: await text(request), receivedAt: Date.now() });
    listener({ recordId: 1, kind: 'booked', to: 'Вера', text: 'Ждём вас\n\nзавтра' });
    response.end();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.after(() => server.close());
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const service: DemoService = {
    async addCompany(added) {
      company = added;
      return { url: `http://127.0.0.1:${address.port}/webhooks/yclients/a-very-secret-key` };
    },
    async drained() {
      calls.push('drained');
    },
    async snapshot() {
      assert.ok(company);
      return serve(received, { zone: company.zone, settleMs: 0, vices });
    },
    onMessage(given) {
      listener = given;
    },
    pages: [{ title: 'API', url: 'http://127.0.0.1:8081/api/v1' }],
    async stop() {
      calls.push('stopped');
    },
  };
  return { service, calls };
}

function demoOptions(given: Partial<DemoOptions> = {}) {
  const lines: string[] = [];
  const complaints: string[] = [];
  const options: DemoOptions = {
    seed: 7,
    forMs: 1_500,
    perSecond: 12,
    faults: 'duplicate,permute,empty_array,loose_types',
    write: line => lines.push(line),
    complain: line => complaints.push(line),
    signal: new AbortController().signal,
    ...given,
  };
  return { options, lines, complaints };
}

test('it shows changes and messages as they come, ends by itself, and the verdict is clean', async t => {
  const { service, calls } = await fakeService(t);
  const { options, lines, complaints } = demoOptions();
  assert.equal(await runDemo(service, options), 0, complaints.join('\n'));
  const screen = lines.join('\n');
  assert.match(screen, /Студия «Полынь» \(yclients, Asia\/Yekaterinburg\), seed 7/);
  assert.match(screen, /API +http:\/\/127\.0\.0\.1:8081\/api\/v1/);
  assert.match(screen, /\d\d:\d\d:\d\d {2}#\d+ +.+ booked \d\d\.\d\d/);
  assert.match(screen, /told {2}#1 +Вера +booked: Ждём вас \/ завтра/);
  assert.match(screen, /told_once +\d+\n {2}told_twice +0\n {2}told_wrong +0\n {2}not_told +0/);
  assert.doesNotMatch(screen, /a-very-secret-key/);
  assert.deepEqual(complaints, []);
  assert.deepEqual(calls, ['drained', 'stopped']);
});

test('with --json it prints the verdict alone, and fails when something was not told', async t => {
  const { service } = await fakeService(t, ['never_tells']);
  const { options, lines, complaints } = demoOptions({ json: true });
  assert.equal(await runDemo(service, options), 1);
  assert.equal(lines.length, 1);
  const verdict: Record<string, number> = JSON.parse(lines[0] ?? '');
  assert.deepEqual(Object.keys(verdict), [
    'bookings',
    'state_differs',
    'told_once',
    'told_twice',
    'told_wrong',
    'not_told',
  ]);
  assert.equal(verdict.told_once, 0);
  assert.ok((verdict.not_told ?? 0) > 0);
  assert.match(complaints[0] ?? '', /^not_told #\d+ client:\d+ heard nothing, true is /);
});

test('Ctrl-C stops the salon and the service, without a verdict', async t => {
  for (const [forMs, code] of [
    [undefined, 0],
    [600_000, 130],
  ] as const) {
    const { service, calls } = await fakeService(t);
    const stopping = new AbortController();
    const { options, lines } = demoOptions({ forMs, signal: stopping.signal });
    const write = (line: string) => {
      lines.push(line);
      if (/told/.test(line)) stopping.abort();
    };
    assert.equal(await runDemo(service, { ...options, write }), code);
    assert.deepEqual(calls, ['stopped']);
    assert.match(lines.at(-1) ?? '', /^stopped after \d+ actions/);
  }
});
