/** What every channel promises to whoever sends through it, held against the real other side of each. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { AccountState, Outgoing, SendResult } from '../../src/channels/channel.ts';
import { HOSTILE_TEXTS } from '../support/hostile-text.ts';
import { inOwnTime } from '../support/own-time.ts';
import {
  type Counterpart,
  channelOf,
  type Manner,
  openConsole,
  outgoing,
  WELL_KNOWN,
} from './counterparts.ts';
import { PROVIDERS } from './providers.ts';

/** Long enough for a loopback exchange on a busy machine, short enough to wait for. */
const HANG_TIMEOUT_MS = 3000;
const never = new AbortController().signal;

/** Most of the time is spent in waiting for a side that is silent on purpose. */
describe('every channel', { concurrency: 6 }, () => {
  for (const { name, open, takesId, busyMs } of [...WELL_KNOWN, ...PROVIDERS]) {
    const against = (
      what: string,
      manner: Manner,
      body: (side: Counterpart) => Promise<void>,
      timeoutMs?: number,
    ) => test(`${name}: ${what}`, async t => body(await open(t, manner, timeoutMs)));

    against('a message is sent and arrives whole, once', 'accept', async side => {
      const result = await send(side);
      assert.equal(result.outcome, 'sent');
      assert.deepEqual(
        side.received.map(message => message.text),
        // Of an SMS each character is paid, so a blank line is left out.
        [name.startsWith('sms') ? outgoing().text.replace('\n\n', '\n') : outgoing().text],
      );
      const { id } = side.received[0] ?? {};
      assert.equal(
        id,
        takesId ? outgoing().id : undefined,
        'a receiver that takes an id gets the message id',
      );
    });

    against(
      'a busy receiver is a retry with its wait, and the same message goes out then',
      'busy',
      async side => {
        const first = await send(side);
        assert.equal(first.outcome, 'retry');
        assert.equal('retryAfterMs' in first && first.retryAfterMs, busyMs);
        assert.equal((await send(side, { attempt: 2 })).outcome, 'sent');
        assert.equal(side.received.length, 1);
      },
    );

    against('an address that is gone is rejected as an address', 'gone', async side => {
      assert.equal(scopeOf(await send(side)), 'address');
    });

    if (!['email', 'webhook'].includes(name)) {
      against(
        'somebody who wants nothing from us is told from an address that is gone',
        'left',
        async side => {
          const scope = scopeOf(await send(side));
          const silent =
            name === 'whatsapp by green-api' || name === 'whatsapp by wazzup' || name === 'sms by smsc';
          assert.equal(scope, silent ? 'address' : 'person');
        },
      );

      against('a page in place of an answer is unknown: it may hide a message sent', 'page', async side => {
        assert.equal((await send(side)).outcome, 'unknown');
      });

      against('a 429 without a wait is a retry, and all of the account wait', 'flooded', async side => {
        const { reason: _, ...result } = { reason: '', ...(await send(side)) };
        assert.deepEqual(result, { outcome: 'retry', limited: true });
      });
    }

    against('a text that is not taken is rejected as a message', 'bad', async side => {
      assert.equal(scopeOf(await send(side)), 'message');
    });

    against(
      'an account that is refused is rejected as the channel',
      name === 'webhook' ? 'accept' : 'locked',
      async side => {
        const broken = name === 'webhook' ? { secret: 'whsec_###' } : {};
        assert.equal(scopeOf(await send(side, broken)), 'channel');
      },
    );

    if (name !== 'webhook') {
      against('an account that works is told by the check, and nothing is sent', 'accept', async side => {
        assert.deepEqual(await check(side), { state: 'ok' });
        assert.equal(side.received.length, 0);
      });

      against('an account that is refused is told by the check', 'locked', async side => {
        assert.equal((await check(side)).state, 'refused');
      });

      against('where nobody can be asked the check tells neither', 'absent', async side => {
        const told = await check(side);
        assert.equal(told.state, 'unknown');
        assert.match('reason' in told ? told.reason : '', /ECONNREFUSED/);
      });

      against('a check that was stopped tells neither', 'accept', async side => {
        assert.equal((await check(side, AbortSignal.abort())).state, 'unknown');
      });
    }

    against('an address of another channel is rejected as an address', 'accept', async side => {
      for (const address of [
        '',
        ' ',
        'not an address',
        'a@b@c',
        'x\r\nRCPT TO:<victim@mail.test>',
        'file:///etc/passwd',
      ]) {
        assert.equal(scopeOf(await send(side, { address })), 'address', JSON.stringify(address));
      }
      assert.equal(side.received.length, 0);
    });

    against(
      'a receiver that takes the message and stays silent is unknown, in time',
      'hang',
      async side => {
        const { result, ownMs } = await inOwnTime(() => send(side));
        assert.equal(result.outcome, 'unknown');
        assert.ok(ownMs < HANG_TIMEOUT_MS + 5000);
        assert.equal(side.received.length, 1);
      },
      HANG_TIMEOUT_MS,
    );

    against('a connection that breaks after the message left is unknown', 'reset', async side => {
      assert.equal((await send(side)).outcome, 'unknown');
      assert.equal(side.received.length, 1, 'and nobody tried again in secret');
    });

    against('nobody listening is a retry', 'absent', async side => {
      const result = await send(side);
      assert.equal(result.outcome, 'retry');
      assert.match('reason' in result ? result.reason : '', /ECONNREFUSED/);
    });

    against('a stop before sending is a retry, and nothing goes out', 'accept', async side => {
      assert.equal((await send(side, {}, AbortSignal.abort())).outcome, 'retry');
      assert.equal(side.received.length, 0);
    });

    against('a stop while waiting for the answer is unknown, at once', 'hang', async side => {
      const stop = new AbortController();
      const sending = send(side, {}, stop.signal);
      await side.arrived;
      stop.abort();
      assert.equal((await sending).outcome, 'unknown');
    });

    against('after a silent receiver the channel still works', 'hang', async side => {
      const stop = new AbortController();
      const sending = send(side, {}, stop.signal);
      await side.arrived;
      stop.abort();
      await sending;
      const second = { text: 'второе', id: '01939f6e-6a3c-7cc1-a5b2-0f3f6f0c9d12' };
      assert.equal((await send(side, second)).outcome, 'sent');
      assert.equal(side.received.length, 2);
    });

    against('sent again after a lost answer it comes once where a repeat is dropped', 'hang', async side => {
      const stop = new AbortController();
      const sending = send(side, {}, stop.signal);
      await side.arrived;
      stop.abort();
      await sending;
      assert.equal((await send(side, { attempt: 2 })).outcome, 'sent');
      const texts = new Set(side.received.map(({ id, text }) => id ?? text));
      assert.equal(texts.size, 1);
      // What our own webhook tells is dropped by its receiver, which knows the id.
      const dropped = side.channel.idempotent && name !== 'webhook';
      assert.equal(side.received.length, dropped ? 1 : 2);
    });

    against('twenty sends at once arrive once each', 'accept', async side => {
      const texts = Array.from({ length: 20 }, (_, index) => `Сообщение ${index}`);
      const results = await Promise.all(
        texts.map((text, index) => send(side, { text, id: `00000000-0000-4000-8000-${index}` })),
      );
      assert.deepEqual(new Set(results.map(result => result.outcome)), new Set(['sent']));
      assert.deepEqual(side.received.map(message => message.text).sort(), [...texts].sort());
    });

    against('hostile text is sent as the text it is, or rejected as a message', 'accept', async side => {
      for (const [index, text] of HOSTILE_TEXTS.entries()) {
        const id = `00000000-0000-4000-8000-${index}`;
        const recipient = { clientId: 1, name: text, phone: text, email: text };
        const result = await send(side, { id, text: `Начало ${text}`, subject: text, recipient });
        assert.equal(result.outcome, 'sent', JSON.stringify(text.slice(0, 40)));
      }
      assert.equal(side.received.length, HOSTILE_TEXTS.length);
      assert.ok(side.received.every(message => message.text.startsWith('Начало')));
    });
  }
});

test('console: a message is shown with its id, its text and a masked phone', async t => {
  const { channel, lines } = openConsole(t);
  const result = await channel.send(outgoing(), never);
  assert.equal(result.outcome, 'sent');
  assert.deepEqual(lines, [
    '╭─ notice · booked → Анна Тестова, +7••••••••01',
    '│ Анна, вы записаны. Ждём вас!',
    '│',
    '│ Когда: 24 ноября, вторник, 14:30',
    '╰─ 01939f6e-6a3c-7cc1-a5b2-0f3f6f0c9d11',
  ]);
});

test('console: sends at once do not mix their lines', async t => {
  const { channel, lines } = openConsole(t);
  await Promise.all(
    Array.from({ length: 20 }, (_, index) => channel.send(outgoing({ id: `id-${index}` }), never)),
  );
  assert.equal(lines.length, 100);
  lines.forEach((line, index) => {
    if (index % 5 === 4) assert.equal(line, `╰─ id-${(index - 4) / 5}`);
  });
});

test('console: hostile text cannot drive a terminal or forge a block', async t => {
  const { channel, lines } = openConsole(t);
  for (const text of HOSTILE_TEXTS) {
    const recipient = { clientId: 1, name: text, phone: text, email: text };
    assert.equal((await channel.send(outgoing({ text, recipient }), never)).outcome, 'sent');
  }
  assert.ok(lines.every(line => /^[╭│╰]/u.test(line) && !/\p{Cc}|\p{Cf}/u.test(line)));
});

test('console: what could not be printed does not count as sent', async t => {
  const channel = channelOf(t, 'console', { console: { write: () => Promise.reject(new Error('EPIPE')) } });
  assert.equal((await channel.send(outgoing(), never)).outcome, 'unknown');
});

test('console: a stop before sending is a retry, and nothing is shown', async t => {
  const { channel, lines } = openConsole(t);
  assert.equal((await channel.send(outgoing(), AbortSignal.abort())).outcome, 'retry');
  assert.deepEqual(lines, []);
});

/** Sends as the dispatcher would, and holds every result to the rule that a reason gives nobody away. */
async function send(side: Counterpart, changes: Partial<Outgoing> = {}, signal = never): Promise<SendResult> {
  const message = outgoing({ address: side.address, ...changes });
  const result = await side.channel.send(message, signal);
  if (result.outcome === 'sent') return result;
  const { name, phone, email } = message.recipient;
  const told = [
    message.address,
    message.text,
    message.subject,
    name,
    phone,
    email,
    ...side.secrets,
    message.secret ?? '',
  ];
  for (const secret of told) {
    assert.ok(secret.trim() === '' || !result.reason.includes(secret), `the reason gives away ${secret}`);
  }
  assert.ok(result.reason.length < 80 && /^[\x20-\x7e]+$/.test(result.reason), result.reason);
  return result;
}

/** Asks of the account, and holds the answer to the same rule. */
async function check({ channel, address, secrets }: Counterpart, signal = never): Promise<AccountState> {
  const told = (await channel.check?.(signal)) ?? assert.fail('it cannot be asked');
  if (told.state === 'ok') return told;
  for (const secret of [address, ...secrets])
    assert.ok(!told.reason.includes(secret), `the reason gives away ${secret}`);
  assert.ok(told.reason.length < 80 && /^[\x20-\x7e]+$/.test(told.reason), told.reason);
  return told;
}

function scopeOf(result: SendResult): string {
  return result.outcome === 'rejected' ? result.scope : result.outcome;
}
