/**
 * A channel whose provider takes one message by one HTTP POST and says in JSON what became of it. What is common is
 * here: limits, the difference between a request that never left and an answer that never came, answers that are not
 * the provider's at all. A provider's file holds its request, its answers, and the documents that say so.
 */
import { Agent } from 'undici';
import { retryAfterMs } from '../outgoing.ts';
import type { AccountState, Channel, Outgoing, RejectedScope, SendResult } from './channel.ts';
import { type Posting, post } from './post.ts';

export type Asked = {
  readonly url: string;
  readonly method?: 'DELETE';
  readonly headers?: Readonly<Record<string, string>>;
  /** JSON, unless it is a form; a GET where there is none. */
  readonly body?: Record<string, unknown> | URLSearchParams;
};

/** An answer in JSON. */
export type Answer = {
  readonly status: number;
  readonly json: unknown;
  /** As its Retry-After asks, at most an hour; undefined when it has none. */
  readonly retryAfterMs: number | undefined;
};

export type ProviderConfig = {
  readonly timeoutMs?: number | undefined;
  /** The clock of a Retry-After date. */
  readonly now?: (() => number) | undefined;
  /** Of an answer; 64 KiB unless given. */
  readonly maxAnswerBytes?: number | undefined;
};

export type Caller = {
  /** The answer, or what it comes to when there is none or it is not in JSON. */
  ask(asked: Asked, signal: AbortSignal): Promise<Answer | { readonly failed: SendResult }>;
  close(): Promise<void>;
};

type Provider = Omit<Channel, 'send' | 'check' | 'close'> & {
  /** An address in the provider's own form; undefined where it is none. */
  readAddress(address: string): string | undefined;
  write(to: string, text: string, message: Outgoing): Asked;
  /** What an answer means; undefined where it is not the provider's. */
  read(answer: Answer, to: string): SendResult | undefined;
  /** Something that forbids sending just now. */
  hindrance?(signal: AbortSignal): Promise<SendResult | undefined>;
  /** How it is asked of our account, and what its answer means; undefined where it says nothing of that. */
  readonly account?: { readonly asked: Asked; read(answer: Answer): AccountState | undefined };
};

/** All answer in a second or two; what takes longer than this has an outcome that nobody knows. */
const TIMEOUT_MS = 20_000;
const MAX_ANSWER_BYTES = 64 * 1024;

export function createCaller({
  timeoutMs = TIMEOUT_MS,
  now = Date.now,
  maxAnswerBytes = MAX_ANSWER_BYTES,
}: ProviderConfig): Caller {
  const dispatcher = new Agent({ connect: { timeout: timeoutMs }, allowH2: false });
  return {
    async ask({ url, method, headers, body }, signal) {
      const limits = { dispatcher, timeoutMs, maxAnswerBytes };
      const posted = await post(
        { url, ...written(headers, body), ...(method && { method }), ...limits },
        signal,
      );
      if (!posted.answered)
        return { failed: { outcome: posted.left ? 'unknown' : 'retry', reason: posted.reason } };
      const json = parse(posted.text);
      const waitMs = retryAfterMs(posted.retryAfter, now());
      if (json === undefined) return { failed: foreignAnswer(posted.status, waitMs) };
      return { status: posted.status, json, retryAfterMs: waitMs };
    },
    close: () => dispatcher.destroy(),
  };
}

export function createProviderChannel(
  { readAddress, write, read, hindrance, account, ...channel }: Provider,
  { ask, close }: Caller,
): Channel {
  return {
    ...channel,
    ...(account && {
      async check(signal) {
        const answer = await ask(account.asked, signal);
        if ('failed' in answer)
          return unknown('reason' in answer.failed ? answer.failed.reason : 'no answer');
        return account.read(answer) ?? unknown(`HTTP ${answer.status}, which says nothing of the account`);
      },
    }),
    async send(message, signal) {
      const to = readAddress(message.address);
      if (to === undefined)
        return rejected(
          'address',
          channel.traits.address === 'phone' ? 'not a phone number' : 'not a chat id',
        );
      if (signal.aborted) return { outcome: 'retry', reason: 'stopped by us' };
      const hindered = await hindrance?.(signal);
      if (hindered !== undefined) return hindered;
      const text = clip(message.text, channel.traits.maxText);
      return resultOf(await ask(write(to, text, message), signal), answer => read(answer, to));
    },
    close,
  };
}

/** What an answer comes to. `read` gives undefined where it is not the provider's. */
export function resultOf(
  answer: Awaited<ReturnType<Caller['ask']>>,
  read: (answer: Answer) => SendResult | undefined,
): SendResult {
  if ('failed' in answer) return answer.failed;
  return read(answer) ?? foreignAnswer(answer.status, answer.retryAfterMs);
}

function written(
  headers: Asked['headers'],
  body: Asked['body'],
): Pick<Posting, 'method' | 'headers' | 'body'> {
  const common = { accept: 'application/json', ...headers };
  if (body === undefined) return { method: 'GET', headers: common, body: '' };
  const form = body instanceof URLSearchParams;
  const type = form ? 'application/x-www-form-urlencoded;charset=UTF-8' : 'application/json';
  return {
    method: 'POST',
    headers: { ...common, 'content-type': type },
    body: form ? body.toString() : JSON.stringify(body),
  };
}

function parse(text: string | null): unknown {
  try {
    const json: unknown = JSON.parse(text ?? '');
    return typeof json === 'object' && json !== null ? json : undefined;
  } catch {
    return undefined;
  }
}

/** Not the provider's word: a proxy, a gateway, an answer that broke off. 200, 500, 502 and 504 may hide a message sent. */
export function foreignAnswer(status: number, waitMs: number | undefined): SendResult {
  const reason = `HTTP ${status}, and not from the provider`;
  if (status === 429) return retry(reason, waitMs, 'limited');
  if (status === 503) return retry(reason, waitMs);
  if (status >= 300 && status < 500) return rejected('channel', reason);
  return { outcome: 'unknown', reason };
}

export const WORKS: AccountState = { state: 'ok' };

export function refused(reason: string): AccountState {
  return { state: 'refused', reason };
}

export function unknown(reason: string): AccountState {
  return { state: 'unknown', reason };
}

/** Where an answer to the question means what it would mean of a message. */
export function refusalOf(result: SendResult | undefined): AccountState | undefined {
  return result?.outcome === 'rejected' && result.scope === 'channel' ? refused(result.reason) : undefined;
}

export function rejected(scope: RejectedScope, reason: string): SendResult {
  return { outcome: 'rejected', scope, reason };
}

export function retry(reason: string, waitMs?: number, limited?: 'limited'): SendResult {
  return {
    ...{ outcome: 'retry', reason },
    ...(waitMs === undefined ? {} : { retryAfterMs: waitMs }),
    ...(limited === undefined ? {} : { limited: true }),
  };
}

/** What stands at a path in JSON, whatever the JSON is. */
export function at(json: unknown, ...path: readonly (string | number)[]): unknown {
  let value = json;
  for (const step of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Readonly<Record<string | number, unknown>>)[step];
  }
  return value;
}

/** Text or a number as text; undefined for everything else and for nothing. */
export function textAt(json: unknown, ...path: readonly (string | number)[]): string | undefined {
  const value = at(json, ...path);
  if (typeof value === 'number') return String(value);
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** A number, also one that came as text. */
export function numberAt(json: unknown, ...path: readonly (string | number)[]): number | undefined {
  const text = textAt(json, ...path);
  return text === undefined || Number.isNaN(Number(text)) ? undefined : Number(text);
}

/** At most so many UTF-16 units, not ending in half a character. */
export function clip(text: string, maxUnits: number): string {
  if (text.length <= maxUnits) return text.toWellFormed();
  return `${text
    .slice(0, maxUnits - 1)
    .replace(/[\uD800-\uDBFF]$/, '')
    .toWellFormed()}…`;
}

/** The digits of an international number. */
export function phoneDigits(address: string): string | undefined {
  return /^\+?([1-9]\d{6,14})$/.exec(address)?.[1];
}

/** Without a slash at its end. Throws on what is no address, at the start of the process. */
export function rootOf(url: string | undefined, standard: string): string {
  const root = (url ?? standard).replace(/\/+$/, '');
  if (!/^https?:\/\//.test(root) || !URL.canParse(root))
    throw new Error('The address of a provider is not an http(s) URL.');
  return root;
}
