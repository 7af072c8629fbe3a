/** What SMS are, whoever carries them. */
import { fitSms } from '../domain/sms.ts';
import type { EpochMs } from '../domain/time.ts';
import type { AccountState, Traits } from './channel.ts';
import { type ProviderConfig, WORKS } from './provider.ts';

export type SmsConfig = ProviderConfig & {
  /** api_id of SMS.ru, apikey of SMSC. */
  readonly token: string;
  /** A name that the provider has agreed with the operators; theirs when undefined. */
  readonly sender?: string | undefined;
  /** A longer text is cut: each part is paid. */
  readonly maxParts: number;
  /** An account with less money than this is about to fail, in its own currency; 0 or undefined: whatever it has. */
  readonly leastBalance?: number | undefined;
  readonly apiUrl?: string | undefined;
};

/** SMS.ru refuses more; with the cap of parts nothing comes near it. */
const MAX_TEXT = 1500;

export const SMS_TRAITS: Traits = {
  address: 'phone',
  reaches: 'anybody',
  maxText: MAX_TEXT,
  buttons: false,
  receiptWithinMs: 10 * 60_000,
  pace: { everyMs: 100, chatEveryMs: 1000 },
};

export function accountWith(balance: number, least: number | undefined, provider: string): AccountState {
  if (least === undefined || least === 0 || balance >= least) return WORKS;
  return { state: 'soon', reason: `${provider}: ${balance} left, the limit is ${least}` };
}

/** One line break is as good as two, and each is paid. */
export function fit(text: string, maxParts: number): string {
  return fitSms(text.replace(/\n{2,}/g, '\n'), maxParts);
}

/** Whole minutes until then, between one and `most`; undefined when there is no such moment. */
export function minutesLeft(until: EpochMs | undefined, now: EpochMs, most: number): number | undefined {
  if (until === undefined) return undefined;
  return Math.min(Math.max(Math.floor((until - now) / 60_000), 1), most);
}
