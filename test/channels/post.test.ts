import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { Agent } from 'undici';
import { post } from '../../src/channels/post.ts';
import { retryAfterMs } from '../../src/outgoing.ts';
import { httpServer } from './counterparts.ts';

const never = new AbortController().signal;
const limits = { headers: {}, body: 'hello', timeoutMs: 10_000, maxAnswerBytes: 1000 };

test('a stop while still connecting ends at once, and what has not left does not leave later', async t => {
  let arrived = 0;
  const server = await httpServer(t, (_request, _body, response) => {
    arrived += 1;
    response.end();
  });
  const { promise: connecting, resolve: begun } = Promise.withResolvers<() => void>();
  let finishConnecting: (() => void) | undefined;
  const dispatcher = new Agent({
    connections: 1,
    connect: (_options, callback) => {
      const finish = () => {
        const socket = connect(server.port, '127.0.0.1', () => callback(null, socket));
      };
      // The first connection is held back.
      if (finishConnecting) return finish();
      finishConnecting = finish;
      return begun(finish);
    },
  });
  const stop = new AbortController();
  const posting = post({ ...limits, url: `http://127.0.0.1:${server.port}`, dispatcher }, stop.signal);
  const finish = await connecting;
  stop.abort();
  const posted = await posting;
  assert.deepEqual(
    { ...posted, error: undefined },
    { answered: false, left: false, reason: 'stopped by us', error: undefined },
  );
  finish();
  const after = await post({ ...limits, url: `http://127.0.0.1:${server.port}`, dispatcher }, never);
  assert.equal(after.answered, true);
  assert.equal(arrived, 1);
});

test('an answer over the limit is dropped, its status kept', async t => {
  const server = await httpServer(t, (_request, _body, response) => response.end('x'.repeat(1_000_000)));
  const dispatcher = new Agent();
  const posted = await post({ ...limits, url: `http://127.0.0.1:${server.port}`, dispatcher }, never);
  assert.deepEqual(posted, { answered: true, status: 200, retryAfter: undefined, text: null });
});

test('Retry-After is read as seconds or as a date, and never beyond an hour', () => {
  const now = Date.parse('2026-11-24T10:00:00Z');
  const cases: ReadonlyArray<readonly [string | undefined, number | undefined]> = [
    [undefined, undefined],
    ['0', 0],
    ['120', 120_000],
    ['99999999999999999999', 3_600_000],
    ['-5', undefined],
    ['1.5', undefined],
    ['1e3', undefined],
    ['soon', undefined],
    ['2026-11-24', undefined],
    ['Tue, 24 Nov 2026 10:00:30 GMT', 30_000],
    ['Tue, 24 Nov 2026 09:00:00 GMT', 0],
    ['Wed, 24 Nov 2027 10:00:00 GMT', 3_600_000],
    ['Xyz, 99 Foo 2026 10:00:00 GMT', undefined],
  ];
  for (const [value, expected] of cases) assert.equal(retryAfterMs(value, now), expected, value);
});
