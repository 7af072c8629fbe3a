import assert from 'node:assert/strict';
import { createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import type { SMTPServerOptions } from 'smtp-server';
import { createEmail } from '../../src/channels/email.ts';
import { outgoing, smtpServer, tcpServer } from './counterparts.ts';

const never = new AbortController().signal;
const message = outgoing({ address: 'anna@mail.test' });
const FROM = '"Студия, Север" <hello@studio.test>';

test('what the server says, and to which command, decides whether to try again, and what to give up', async t => {
  const cases: ReadonlyArray<readonly [Stage, number, string, object]> = [
    [
      'RCPT TO',
      550,
      'No such user',
      { outcome: 'rejected', scope: 'address', reason: 'SMTP 550 at RCPT TO' },
    ],
    [
      'RCPT TO',
      550,
      '5.1.1 No such user',
      { outcome: 'rejected', scope: 'address', reason: 'SMTP 550 5.1.1 at RCPT TO' },
    ],
    [
      'RCPT TO',
      552,
      '5.2.2 Mailbox full',
      { outcome: 'rejected', scope: 'address', reason: 'SMTP 552 5.2.2 at RCPT TO' },
    ],
    [
      'RCPT TO',
      550,
      '5.7.1 Relaying denied',
      { outcome: 'rejected', scope: 'channel', reason: 'SMTP 550 5.7.1 at RCPT TO' },
    ],
    ['RCPT TO', 450, '4.2.0 Greylisted', { outcome: 'retry', reason: 'SMTP 450 4.2.0 at RCPT TO' }],
    [
      'MAIL FROM',
      550,
      'Sender refused',
      { outcome: 'rejected', scope: 'channel', reason: 'SMTP 550 at MAIL FROM' },
    ],
    [
      'MAIL FROM',
      552,
      'Too large',
      { outcome: 'rejected', scope: 'message', reason: 'SMTP 552 at MAIL FROM' },
    ],
    [
      'MAIL FROM',
      530,
      'Sign in first',
      { outcome: 'rejected', scope: 'channel', reason: 'SMTP 530 at MAIL FROM' },
    ],
    ['MAIL FROM', 451, 'Later', { outcome: 'retry', reason: 'SMTP 451 at MAIL FROM' }],
    ['DATA', 554, 'Looks like spam', { outcome: 'rejected', scope: 'message', reason: 'SMTP 554 at DATA' }],
    [
      'DATA',
      554,
      '5.7.1 Policy',
      { outcome: 'rejected', scope: 'channel', reason: 'SMTP 554 5.7.1 at DATA' },
    ],
    ['DATA', 452, 'Disk full', { outcome: 'retry', reason: 'SMTP 452 at DATA' }],
    ['AUTH', 535, 'Wrong password', { outcome: 'rejected', scope: 'channel', reason: 'SMTP 535 at AUTH' }],
    ['AUTH', 454, 'Try later', { outcome: 'retry', reason: 'SMTP 454 at AUTH' }],
  ];
  for (const [stage, code, words, expected] of cases) {
    const server = await smtpServer(t, refusing(stage, code, words));
    const channel = createEmail({ smtpUrl: `smtp://robot:secret@127.0.0.1:${server.port}`, from: FROM });
    assert.deepEqual(await channel.send(message, never), expected, `${stage} ${code} ${words}`);
  }
});

test('a connection lost before the body is a retry, lost after it is unknown', async t => {
  const dialogues: ReadonlyArray<readonly [string, RegExp | null, boolean, string]> = [
    ['at the greeting', null, false, 'retry'],
    ['at EHLO', /^EHLO/m, false, 'retry'],
    ['at MAIL FROM', /^MAIL/m, false, 'retry'],
    ['at RCPT TO', /^RCPT/m, false, 'retry'],
    ['at DATA', /^DATA/m, false, 'retry'],
    ['at MAIL FROM, pipelined', /^MAIL/m, true, 'retry'],
    ['after the body', /\r\n\.\r\n$/, false, 'unknown'],
    ['after the body, pipelined', /\r\n\.\r\n$/, true, 'unknown'],
  ];
  for (const [where, last, pipelining, outcome] of dialogues) {
    const { port } = await tcpServer(
      t,
      createServer(socket => converse(socket, last, pipelining)),
    );
    const channel = createEmail({ smtpUrl: `smtp://127.0.0.1:${port}`, from: FROM });
    assert.equal((await channel.send(message, never)).outcome, outcome, where);
  }
});

test('a server that says nothing at all is a retry within the timeout', async t => {
  const { port } = await tcpServer(t, createServer());
  const channel = createEmail({ smtpUrl: `smtp://127.0.0.1:${port}`, from: FROM, timeoutMs: 500 });
  assert.equal((await channel.send(message, never)).outcome, 'retry');
});

test('no text gets into the headers or the envelope, and the Message-ID is the same on every attempt', async t => {
  const sources: string[] = [];
  const recipients: string[] = [];
  const server = await smtpServer(t, {
    onRcptTo({ address }, _session, done) {
      recipients.push(address);
      done();
    },
    async onData(stream, _session, done) {
      sources.push(Buffer.concat(await stream.toArray()).toString());
      done();
    },
  });
  const channel = createEmail({ smtpUrl: `smtp://127.0.0.1:${server.port}`, from: FROM });
  const subject = 'Hello\r\nBcc: victim@mail.test\r\n\r\nnew body';
  const text = 'One\r\n.\r\nMAIL FROM:<evil@mail.test>\r\n..two';
  for (const attempt of [1, 2]) {
    assert.equal((await channel.send({ ...message, subject, text, attempt }, never)).outcome, 'sent');
  }
  assert.deepEqual(recipients, ['anna@mail.test', 'anna@mail.test']);
  for (const source of sources) {
    const [head = '', body = ''] = source.split(/\r\n\r\n([\s\S]*)/);
    const names = head
      .replaceAll(/\r\n[ \t]+/g, ' ')
      .split('\r\n')
      .map(line => line.split(':')[0]);
    assert.equal(names.filter(name => /^(to|cc|bcc|from|subject|message-id)$/i.test(name ?? '')).length, 4);
    assert.match(head, /^Message-ID: <01939f6e-6a3c-7cc1-a5b2-0f3f6f0c9d11@studio\.test>$/m);
    assert.match(head, /^Auto-Submitted: auto-generated$/m);
    assert.match(head, /^Content-Type: text\/plain; charset=utf-8$/m);
    assert.match(body, /^One\r\n\.\r\nMAIL FROM:<evil@mail\.test>\r\n\.\.two\s*$/);
  }
});

test('a setting that can never work stops the start, and is not repeated in the error', () => {
  for (const smtpUrl of [
    '',
    'mail.test',
    'http://robot:hunter2@mail.test',
    'smtp://',
    'smtp:robot:hunter2',
  ]) {
    const attempt = () => createEmail({ smtpUrl, from: FROM });
    assert.throws(
      attempt,
      (error: Error) => /SMTP URL/.test(error.message) && !error.message.includes('hunter2'),
      smtpUrl,
    );
  }
  for (const from of ['', 'Студия', 'a@b@c', 'Студия <hello>', 'a@mail.test, b@mail.test']) {
    assert.throws(() => createEmail({ smtpUrl: 'smtp://mail.test', from }), /sender/, from);
  }
});

type Stage = 'AUTH' | 'MAIL FROM' | 'RCPT TO' | 'DATA';

function refusing(stage: Stage, responseCode: number, words: string): SMTPServerOptions {
  const refusal = (at: Stage) => (at === stage ? Object.assign(new Error(words), { responseCode }) : null);
  return {
    onAuth: ({ username }, _session, done) => done(refusal('AUTH'), { user: username }),
    onMailFrom: (_address, _session, done) => done(refusal('MAIL FROM')),
    onRcptTo: (_address, _session, done) => done(refusal('RCPT TO')),
    onData: (stream, _session, done) => {
      stream.resume().on('end', () => done(refusal('DATA')));
    },
  };
}

/** A server's half of SMTP that breaks off when it has read `last`; null: at once. */
function converse(socket: Socket, last: RegExp | null, pipelining: boolean): void {
  socket.on('error', () => {});
  if (last === null) return void socket.destroy();
  socket.write('220 mail.test ESMTP\r\n');
  let inBody = false;
  socket.setEncoding('utf8').on('data', chunk => {
    const text = String(chunk);
    if (last.test(text)) return void socket.resetAndDestroy();
    if (inBody) return undefined;
    for (const line of text.trimEnd().split('\r\n')) {
      if (line.startsWith('EHLO'))
        socket.write(pipelining ? '250-mail.test\r\n250 PIPELINING\r\n' : '250 mail.test\r\n');
      else if (line === 'DATA') inBody = socket.write('354 Go ahead\r\n') || true;
      else socket.write('250 OK\r\n');
    }
    return undefined;
  });
}
