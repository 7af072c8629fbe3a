/** What becomes of a bot's reply is judged as of a message through the same provider. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SendResult } from '../../src/channels/channel.ts';
import type { Mouth } from '../../src/channels/ear.ts';
import { createMaxEar } from '../../src/channels/max-ear.ts';
import { createTelegramEar } from '../../src/channels/telegram-ear.ts';
import { createVkEar } from '../../src/channels/vk-ear.ts';
import { freePort } from '../support/ports.ts';
import { BUSY_MS, httpServer } from './counterparts.ts';

type Answer = readonly [status: number, json: unknown, headers?: Readonly<Record<string, string>>];

const TOKEN = '7000000001:AAF-0123456789abcdefghijklmnopqrstu';
const wait = { 'retry-after': String(BUSY_MS / 1000) };
const limited = { outcome: 'retry', retryAfterMs: BUSY_MS, limited: true } as const;

const MESSENGERS: Readonly<
  Record<string, { open: (apiUrl: string) => Mouth; says: readonly (readonly [Answer, SendResult])[] }>
> = {
  Telegram: {
    open: apiRoot => createTelegramEar({ token: TOKEN, apiRoot }),
    says: [
      [
        [200, { ok: true, result: { message_id: 1, date: 1, chat: { id: 112, type: 'private' } } }],
        { outcome: 'sent' },
      ],
      [
        [
          429,
          {
            ok: false,
            error_code: 429,
            description: 'Too Many Requests: retry after 7',
            parameters: { retry_after: BUSY_MS / 1000 },
          },
        ],
        { ...limited, reason: 'Telegram 429: Too Many Requests' },
      ],
    ],
  },
  MAX: {
    open: apiUrl => createMaxEar({ token: TOKEN, apiUrl }),
    says: [
      [[200, { message: { body: { mid: 'mid.1' } } }], { outcome: 'sent', providerId: 'mid.1' }],
      [
        [429, { code: 'too.many.requests', message: 'said' }, wait],
        { ...limited, reason: 'MAX 429 too.many.requests' },
      ],
      [[429, { said: 'by a gateway' }, wait], { ...limited, reason: 'HTTP 429, and not from the provider' }],
    ],
  },
  VK: {
    open: apiUrl => createVkEar({ token: TOKEN, apiUrl }),
    says: [
      [[200, { response: 77 }], { outcome: 'sent', providerId: '77' }],
      [[200, { error: { error_code: 6, error_msg: 'said' } }, wait], { ...limited, reason: 'VK error 6' }],
      [[429, { said: 'by a gateway' }, wait], { ...limited, reason: 'HTTP 429, and not from the provider' }],
    ],
  },
};

for (const [name, { open, says }] of Object.entries(MESSENGERS)) {
  test(`${name}: a reply that is taken, one too many, and one that nobody was there to take`, async t => {
    const reply = async (port: number) => {
      const mouth = open(`http://127.0.0.1:${port}`);
      t.after(() => mouth.close());
      return mouth.reply({ chat: '112', text: 'спасибо' }, new AbortController().signal);
    };
    for (const [[status, json, headers], result] of says) {
      const { port } = await httpServer(t, (_request, _body, response) =>
        response
          .writeHead(status, { 'content-type': 'application/json', ...headers })
          .end(JSON.stringify(json)),
      );
      assert.deepEqual(await reply(port), result);
    }
    assert.deepEqual(await reply(await freePort()), { outcome: 'retry', reason: 'ECONNREFUSED' });
  });
}
