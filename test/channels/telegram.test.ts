import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTelegram } from '../../src/channels/telegram.ts';
import { type Ending, httpServer, outgoing } from './counterparts.ts';

const TOKEN = '7000000001:AAF-not-a-real-token-0123456789abcde';
const never = new AbortController().signal;

test('what the Bot API says of a failure decides whether to try again, and what to give up', async t => {
  const cases: ReadonlyArray<readonly [number, string, object]> = [
    [
      400,
      'Bad Request: chat not found',
      { outcome: 'rejected', scope: 'address', reason: 'Telegram 400: chat not found' },
    ],
    [
      403,
      'Forbidden: bot was blocked by the user',
      { outcome: 'rejected', scope: 'person', reason: 'Telegram 403: bot was blocked by the user' },
    ],
    [
      403,
      'Forbidden: user is deactivated',
      { outcome: 'rejected', scope: 'address', reason: 'Telegram 403: user is deactivated' },
    ],
    [403, 'Forbidden: something new', { outcome: 'rejected', scope: 'address', reason: 'Telegram 403' }],
    [
      400,
      'Bad Request: message text is empty',
      { outcome: 'rejected', scope: 'message', reason: 'Telegram 400: message text is empty' },
    ],
    [400, 'Bad Request: something new', { outcome: 'rejected', scope: 'message', reason: 'Telegram 400' }],
    [401, 'Unauthorized', { outcome: 'rejected', scope: 'channel', reason: 'Telegram 401' }],
    [404, 'Not Found', { outcome: 'rejected', scope: 'channel', reason: 'Telegram 404' }],
    [500, 'Internal Server Error', { outcome: 'retry', reason: 'Telegram 500' }],
    [
      429,
      'Too Many Requests: retry after 99999',
      {
        outcome: 'retry',
        reason: 'Telegram 429: Too Many Requests',
        retryAfterMs: 3_600_000,
        limited: true,
      },
    ],
  ];
  for (const [error_code, description, expected] of cases) {
    const parameters = error_code === 429 ? { retry_after: 99_999 } : undefined;
    const answer = JSON.stringify({ ok: false, error_code, description, parameters });
    assert.deepEqual(await answered(t, error_code, answer), expected, description);
  }
});

test('an answer that is not the Bot API’s is judged by what it may hide', async t => {
  const page = '<html>nginx</html>';
  const outcomes = {
    502: 'unknown',
    504: 'unknown',
    200: 'unknown',
    503: 'retry',
    429: 'retry',
    403: 'rejected',
    302: 'rejected',
  };
  for (const [status, outcome] of Object.entries(outcomes)) {
    const result = await answered(t, Number(status), page);
    assert.equal(result.outcome, outcome, status);
    if (result.outcome === 'rejected') assert.equal(result.scope, 'channel');
  }
  assert.equal((await answered(t, 200, '{"ok":true}')).outcome, 'unknown');
  assert.equal((await answered(t, 200, '')).outcome, 'unknown');
  assert.equal((await answered(t, 200, 'x'.repeat(1_000_000))).outcome, 'unknown');
  assert.deepEqual(await answered(t, 503, page, { 'retry-after': '3' }), {
    outcome: 'retry',
    reason: 'HTTP 503, and not from the provider',
    retryAfterMs: 3000,
  });
});

test('a long text is cut to what Telegram takes, and not in the middle of a character', async t => {
  const texts: string[] = [];
  const server = await httpServer(t, (request, body, response) => {
    assert.equal(request.url, `/proxy/bot${TOKEN}/sendMessage`);
    const payload = JSON.parse(body.toString());
    assert.deepEqual(
      Object.keys(payload).sort(),
      ['chat_id', 'link_preview_options', 'text'],
      'plain text: no parse_mode',
    );
    texts.push(payload.text);
    response.end(JSON.stringify({ ok: true, result: { message_id: 77 } }));
  });
  const channel = createTelegram({ token: TOKEN, apiRoot: `http://127.0.0.1:${server.port}/proxy//` });
  for (const text of ['a'.repeat(4096), 'a'.repeat(4097), '𝕬'.repeat(4096)]) {
    assert.deepEqual(await channel.send(outgoing({ address: '-1001', text }), never), {
      outcome: 'sent',
      providerId: '77',
    });
  }
  assert.deepEqual(texts, ['a'.repeat(4096), `${'a'.repeat(4095)}…`, `${'𝕬'.repeat(2047)}…`]);
});

test('an API root that is no URL stops the start', () => {
  for (const apiRoot of ['', 'api.telegram.org', 'ftp://api.test', 'http://']) {
    assert.throws(() => createTelegram({ token: TOKEN, apiRoot }), /not an http/, apiRoot);
  }
});

async function answered(t: Ending, status: number, body: string, headers = {}) {
  const server = await httpServer(t, (_request, _body, response) => {
    response.writeHead(status, headers).end(body);
  });
  const channel = createTelegram({ token: TOKEN, apiRoot: `http://127.0.0.1:${server.port}` });
  const result = await channel.send(outgoing({ address: '700000001' }), never);
  return result;
}
