/**
 * The e-mail channel: a plain text over SMTP, through a small pool of connections.
 *
 * SMTP has one moment of doubt, the one between the body and the server's last reply: lost there is `unknown`, lost
 * before is `retry`, and every reply is the server's word. A repeat carries the same Message-ID, but servers deliver
 * it again, so the channel is not idempotent. The pool's own silent requeueing is off: trying again is decided once,
 * by who asked to send. The account is tried as nodemailer.com/smtp describes `verify()`: a connection of its own on which
 * we sign in and say goodbye.
 */
import type { Readable } from 'node:stream';
import { createTransport, type NodemailerError, type SMTPPoolOptions } from 'nodemailer';
import { plainLine, plainText } from '../domain/plain.ts';
import { codeOf, rejectionOf } from '../outgoing.ts';
import type { AccountState, Channel, RejectedScope, SendResult } from './channel.ts';
import { MAILBOX, readSender } from './mailbox.ts';
import { refusalOf, unknown, WORKS } from './provider.ts';

export type EmailConfig = {
  /** smtp://user:password@host:587 (STARTTLS) or smtps://user:password@host:465; options in a query are not read. */
  readonly smtpUrl: string;
  /** An address, or «Name <address>». */
  readonly from: string;
  readonly timeoutMs?: number | undefined;
};

/** For one message over all; servers that check a sender before they answer take up to half a minute. */
const TIMEOUT_MS = 60_000;
const CONNECT_TIMEOUT_MS = 15_000;
const CONNECTIONS = 5;
/** For each step of signing in to see whether it works; nobody waits for it. */
const CHECK_TIMEOUT_MS = 10_000;
/** Below any server's own limit, so that a connection is not lost under a message. */
const IDLE_TIMEOUT_MS = 20_000;
const MAX_SUBJECT = 200;
const MAX_TEXT = 20_000;
export function createEmail({ smtpUrl, from, timeoutMs = TIMEOUT_MS }: EmailConfig): Channel {
  const sender = readSender(from);
  if (sender === undefined) throw new Error('The sender of e-mails is not an address or «Name <address>».');
  const transport = createTransport({ ...readSmtpUrl(smtpUrl), ...limits(timeoutMs), name: sender.domain });
  const checker = createTransport({
    ...readSmtpUrl(smtpUrl),
    ...limits(Math.min(timeoutMs, CHECK_TIMEOUT_MS)),
    name: sender.domain,
  });
  /** At most one at a time, also when who asked did not wait for its end. */
  let checking: Promise<AccountState> | undefined;
  /** The body of each message under way, by the signal that only it has. */
  const bodies = new WeakMap<AbortSignal, Readable>();
  transport.use('stream', (mail, done) => {
    const { signal } = mail.data;
    mail.message?.processFunc(body => {
      if (signal) bodies.set(signal, body);
      return body;
    });
    done();
  });
  return {
    name: 'email',
    traits: {
      address: 'email',
      reaches: 'anybody',
      maxText: MAX_TEXT,
      buttons: false,
      receiptWithinMs: null,
      // Servers set limits of their own and say so by 4yz; there is none that all share.
      pace: null,
    },
    idempotent: false,
    concurrency: CONNECTIONS,
    async send({ id, address, subject, text, links }, stop) {
      if (!MAILBOX.test(address)) return rejected('address', 'not an e-mail address');
      const deadline = AbortSignal.timeout(timeoutMs);
      const signal = AbortSignal.any([stop, deadline]);
      try {
        const { messageId } = await transport.sendMail({
          from: { name: sender.name, address: sender.address },
          to: { name: '', address },
          envelope: { from: sender.address, to: [address] },
          subject: plainLine(subject, MAX_SUBJECT),
          text: withLink(plainText(text, MAX_TEXT), links?.answer),
          messageId: `<${plainLine(id, 64)}@${sender.domain}>`,
          headers: {
            'Auto-Submitted': 'auto-generated',
            // RFC 8058: the mailer's own “unsubscribe” ends messages here with one press.
            ...(links === undefined
              ? {}
              : {
                  'List-Unsubscribe': `<${links.stop}>`,
                  'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click',
                }),
          },
          signal,
        });
        return { outcome: 'sent', providerId: messageId };
      } catch (error) {
        const left = bodies.get(signal)?.readableDidRead ?? false;
        if (stop.aborted) return doubt(left, 'stopped by us');
        if (deadline.aborted) return doubt(left, `no reply within ${timeoutMs} ms`);
        return resultOfError(error, left);
      }
    },
    async check(signal) {
      checking ??= checker
        .verify()
        .then(() => WORKS, accountOfError)
        .finally(() => {
          checking = undefined;
        });
      if (signal.aborted) return unknown('stopped by us');
      return Promise.race([checking, rejectionOf(signal).catch(() => unknown('stopped by us'))]);
    },
    async close() {
      transport.close();
      checker.close();
    },
  };
}

function withLink(text: string, link: { readonly label: string; readonly url: string } | undefined): string {
  return link === undefined ? text : `${text}\n\n${link.label}: ${link.url}`;
}

/** What the URL says, and no more: the mailer would also take `?logger=true`, which prints messages. */
function readSmtpUrl(smtpUrl: string): SMTPPoolOptions {
  const url = URL.canParse(smtpUrl) ? new URL(smtpUrl) : null;
  if (url === null || !/^smtps?:$/.test(url.protocol) || url.hostname === '') {
    throw new Error('The SMTP URL is not smtp://user:password@host:587 or smtps://user:password@host:465.');
  }
  const secure = url.protocol === 'smtps:';
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const server = { host, port: Number(url.port) || (secure ? 465 : 587), secure };
  if (url.username === '') return server;
  const auth = { user: decodeURIComponent(url.username), pass: decodeURIComponent(url.password) };
  // A password never travels in the clear, except to this machine.
  return { ...server, auth, requireTLS: !/^(localhost|127\.[\d.]+|::1)$/.test(host) };
}

function limits(timeoutMs: number): SMTPPoolOptions & { readonly pool: true } {
  const connectTimeoutMs = Math.min(CONNECT_TIMEOUT_MS, timeoutMs);
  return {
    pool: true,
    maxConnections: CONNECTIONS,
    maxRequeues: 0,
    idleTimeout: IDLE_TIMEOUT_MS,
    connectionTimeout: connectTimeoutMs,
    greetingTimeout: connectTimeoutMs,
    dnsTimeout: connectTimeoutMs,
    socketTimeout: timeoutMs,
    maxResponseSize: 64 * 1024,
    disableFileAccess: true,
    disableUrlAccess: true,
  };
}

function resultOfError(error: unknown, left: boolean): SendResult {
  const { code, originalCode, command, responseCode, response } = read(error);
  if (responseCode !== undefined) return resultOfReply(responseCode, enhancedCode(response), command ?? '');
  switch (code) {
    // Refused by the mailer itself, before a word to the server.
    case 'EENVELOPE':
      return rejected('address', 'not an e-mail address');
    case 'EMESSAGE':
      return rejected('message', 'larger than the server takes');
    case 'EAUTH':
    case 'ENOAUTH':
    case 'ECONFIG':
      return rejected('channel', 'the SMTP account cannot sign in');
    default:
      return doubt(left, originalCode ?? codeOf(error) ?? 'network error');
  }
}

function accountOfError(error: unknown): AccountState {
  const result = resultOfError(error, false);
  return refusalOf(result) ?? unknown('reason' in result ? result.reason : 'no reply');
}

/**
 * The server's word. 4yz: not now (RFC 5321, 4.2.1). 5yz: never, and the enhanced code tells of what (RFC 3463): x.1
 * addresses, x.2 mailboxes, x.7 policy, which judges the sender; without one, the command that it answered does.
 */
function resultOfReply(code: number, enhanced: string | undefined, command: string): SendResult {
  const at = COMMANDS.find(known => command.startsWith(known));
  const reason = ['SMTP', code, enhanced, at === undefined ? undefined : `at ${at}`]
    .filter(Boolean)
    .join(' ');
  if (code < 500) return { outcome: 'retry', reason };
  const subject = enhanced?.split('.')[1];
  const ours = command.startsWith('AUTH') || [530, 534, 535, 538].includes(code) || code <= 504;
  if (ours || subject === '7' || enhanced === '5.1.7' || enhanced === '5.1.8')
    return rejected('channel', reason);
  if (subject === '1' || subject === '2') return rejected('address', reason);
  if (subject === undefined && at === 'RCPT TO') return rejected('address', reason);
  if (subject === undefined && at === 'MAIL FROM' && code !== 552) return rejected('channel', reason);
  return rejected('message', reason);
}

const COMMANDS = ['AUTH', 'MAIL FROM', 'RCPT TO', 'DATA', 'CONN'];

function enhancedCode(response: string | undefined): string | undefined {
  return /^\d{3}[ -]([245]\.\d{1,3}\.\d{1,3})\b/.exec(response ?? '')?.[1];
}

function read(error: unknown): Partial<NodemailerError> {
  return error instanceof Error ? error : {};
}

function doubt(left: boolean, reason: string): SendResult {
  return { outcome: left ? 'unknown' : 'retry', reason };
}

function rejected(scope: RejectedScope, reason: string): SendResult {
  return { outcome: 'rejected', scope, reason };
}
