/**
 * SMS by SMS.ru.
 *
 * sms.ru/api/send: a form with `json=1`; `status_code` 100 in the answer and again for the number under `sms`; `ttl`,
 * minutes from 1 to 1440, after which the operator destroys what was not delivered; sms.ru/api/cost: the same for the
 * price. Codes as sms.ru/api lists them. HTTP is 200 also for errors. No limit of rate is documented for an account;
 * 10 a second is ours. A number takes so many a day (230) and the same text once a minute (231). No key that would
 * make a repeat harmless, so an answer that did not come is `unknown`.
 * sms.ru/api/balance, as its clients in public repositories call it: `/my/balance`, a form with `json=1`, answers 100 and
 * `balance`. 200 and 300 to 302 are a key or an account that is not taken.
 */
import { NO_MONEY } from '../domain/relay.ts';
import { smsParts } from '../domain/sms.ts';
import type { Channel, RejectedScope, SendResult } from './channel.ts';
import {
  type Answer,
  createCaller,
  createProviderChannel,
  numberAt,
  phoneDigits,
  refused,
  rejected,
  retry,
  rootOf,
  textAt,
} from './provider.ts';
import { accountWith, fit, minutesLeft, SMS_TRAITS, type SmsConfig } from './sms.ts';

const MAX_TTL_MINUTES = 1440;
const NOT_TAKEN = [200, 300, 301, 302];

export function createSmsRu({
  token,
  sender,
  maxParts,
  leastBalance,
  apiUrl,
  ...config
}: SmsConfig): Channel {
  const root = rootOf(apiUrl, 'https://sms.ru');
  const caller = createCaller(config);
  const form = (to: string, text: string) => ({
    ...{ api_id: token, to, msg: fit(text, maxParts), json: '1' },
    ...(sender === undefined ? {} : { from: sender }),
  });
  return createProviderChannel(
    {
      name: 'sms',
      provider: 'sms.ru',
      traits: SMS_TRAITS,
      idempotent: false,
      concurrency: 10,
      readAddress: phoneDigits,
      write(to, text, { validUntil }) {
        const ttl = minutesLeft(validUntil, (config.now ?? Date.now)(), MAX_TTL_MINUTES);
        const body = new URLSearchParams(form(to, text));
        if (ttl !== undefined) body.set('ttl', String(ttl));
        return { url: `${root}/sms/send`, body };
      },
      read,
      account: {
        asked: { url: `${root}/my/balance`, body: new URLSearchParams({ api_id: token, json: '1' }) },
        read({ json }) {
          const code = numberAt(json, 'status_code') ?? 0;
          const balance = numberAt(json, 'balance');
          if (code === 100 && balance !== undefined) return accountWith(balance, leastBalance, 'SMS.ru');
          return NOT_TAKEN.includes(code) ? refused(`SMS.ru ${code}`) : undefined;
        },
      },
      async quote({ address, text }, signal) {
        const body = new URLSearchParams(form(phoneDigits(address) ?? '', text));
        const answer = await caller.ask({ url: `${root}/sms/cost`, body }, signal);
        const price = 'failed' in answer ? undefined : numberAt(answer.json, 'total_cost');
        return { parts: smsParts(fit(text, maxParts)), price };
      },
    },
    caller,
  );
}

const SCOPES: ReadonlyArray<readonly [RejectedScope, readonly number[]]> = [
  // The number is on the stop list of the account.
  ['person', [209]],
  // No such number, no way to it, or its limit of the day.
  ['address', [202, 207, 230, 232]],
  ['message', [203, 205, 208, 212]],
];

function read({ status, json }: Answer, to: string): SendResult | undefined {
  const whole = numberAt(json, 'status_code');
  if (whole === undefined) return undefined;
  const code = whole === 100 ? numberAt(json, 'sms', to, 'status_code') : whole;
  if (code === undefined) return undefined;
  const providerId = textAt(json, 'sms', to, 'sms_id');
  if (code === 100 && providerId !== undefined) return { outcome: 'sent', providerId };
  const reason = code === 201 ? `SMS.ru 201: ${NO_MONEY}` : `SMS.ru ${code}`;
  // «Temporarily unavailable», «error on the server, repeat the request».
  if (code === 220 || code === 500) return retry(reason);
  if (code === 231 || code === 233) return retry(reason, 60_000);
  if (code < 200 || status >= 500) return undefined;
  // The rest is the account: its key, its money, its sender, its limit of the day.
  return rejected(SCOPES.find(([, codes]) => codes.includes(code))?.[0] ?? 'channel', reason);
}
