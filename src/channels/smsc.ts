/**
 * SMS by SMSC.
 *
 * smsc.ru/api/#send: `send.php` with `fmt=3` (JSON), `apikey` in place of login and password, `valid` as hh:mm after
 * which the operator gives up, `maxsms`; `cost=1` only tells the price. Answers `{id, cnt}`, or `{error, error_code}`
 * with HTTP 200: 1 parameters, 2 login or address, 3 money, 4 the address is blocked for a while, 5 date, 6 forbidden
 * text or sender, 7 no number, 8 cannot be delivered, 9 the same request within a minute. No limit of rate is
 * documented for different texts; 10 a second is ours. `id` may be given by us but does not keep a repeat from
 * leaving, so an answer that did not come is `unknown`.
 * smsc.ru/api/http/balance: `balance.php` with `fmt=3` answers `{balance}`, or an error as above; ten times a minute at most.
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

const MAX_VALID_MINUTES = 24 * 60;

export function createSmsc({ token, sender, maxParts, leastBalance, apiUrl, ...config }: SmsConfig): Channel {
  const root = rootOf(apiUrl, 'https://smsc.ru');
  const url = `${root}/sys/send.php`;
  const caller = createCaller(config);
  const form = (to: string, text: string) => ({
    ...{ apikey: token, phones: to, mes: fit(text, maxParts), charset: 'utf-8', fmt: '3' },
    maxsms: String(maxParts),
    ...(sender === undefined ? {} : { sender }),
  });
  return createProviderChannel(
    {
      name: 'sms',
      provider: 'smsc',
      traits: SMS_TRAITS,
      idempotent: false,
      concurrency: 10,
      readAddress: phoneDigits,
      write(to, text, { validUntil }) {
        const minutes = minutesLeft(validUntil, (config.now ?? Date.now)(), MAX_VALID_MINUTES);
        const body = new URLSearchParams(form(to, text));
        if (minutes !== undefined) body.set('valid', hoursAndMinutes(minutes));
        return { url, body };
      },
      read,
      account: {
        asked: {
          url: `${root}/sys/balance.php`,
          body: new URLSearchParams({ apikey: token, fmt: '3' }),
        },
        read({ json }) {
          const balance = numberAt(json, 'balance');
          if (balance !== undefined) return accountWith(balance, leastBalance, 'SMSC');
          return numberAt(json, 'error_code') === 2 ? refused('SMSC error 2') : undefined;
        },
      },
      async quote({ address, text }, signal) {
        const body = new URLSearchParams({ ...form(phoneDigits(address) ?? '', text), cost: '1' });
        const answer = await caller.ask({ url, body }, signal);
        const price = 'failed' in answer ? undefined : numberAt(answer.json, 'cost');
        return { parts: smsParts(fit(text, maxParts)), price };
      },
    },
    caller,
  );
}

function hoursAndMinutes(minutes: number): string {
  return [Math.floor(minutes / 60), minutes % 60].map(part => String(part).padStart(2, '0')).join(':');
}

const SCOPES: Readonly<Record<number, RejectedScope>> = {
  1: 'message',
  2: 'channel',
  3: 'channel',
  5: 'message',
  6: 'message',
  7: 'address',
  8: 'address',
};

function read({ json }: Answer): SendResult | undefined {
  const code = numberAt(json, 'error_code');
  const id = textAt(json, 'id');
  if (code === undefined) return id === undefined ? undefined : { outcome: 'sent', providerId: id };
  const reason = code === 3 ? `SMSC error 3: ${NO_MONEY}` : `SMSC error ${code}`;
  if (code === 4) return retry(reason, 60_000, 'limited');
  if (code === 9) return retry(reason, 60_000);
  const scope = SCOPES[code];
  return scope === undefined ? undefined : rejected(scope, reason);
}
