/**
 * What people answer to an SMS, asked of SMSC: it needs no address of ours in public, and our own key proves whose word
 * it is. A number rented from SMSC has to be there to answer to; SMS.ru brings no answers (sms.ru/api/callback: states of
 * messages and of calls only).
 *
 * smsc.ru/api/http/get_data/inbox: `get.php?get_answers=1` with `after_id`, or with `hour` for the last hours, and
 * `fmt=3` answers a list of `{id, received, phone, message, to_phone, sent}`, or `{error, error_code}`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { normalisePhone } from '../domain/phone.ts';
import type { Channel } from './channel.ts';
import { type Ear, type Heard, heardOf } from './ear.ts';
import { at, createCaller, numberAt, type ProviderConfig, rootOf, textAt } from './provider.ts';

export type SmscEarConfig = ProviderConfig & {
  readonly token: string;
  readonly apiUrl?: string | undefined;
  /** Sends what we say back. */
  readonly channel: Channel;
  /** How long nothing is asked when there was nothing. */
  readonly everyMs?: number;
};

/** Answers are not so urgent that SMSC had to be asked more often; each question is a request to its API. */
const EVERY_MS = 15_000;
/** Some 20,000 answers: all since the last that was heard come at once, and more each time that they are not taken. */
const MAX_ANSWERS_BYTES = 4 * 1024 * 1024;

export function createSmscEar({ token, apiUrl, channel, everyMs = EVERY_MS, ...config }: SmscEarConfig): Ear {
  const root = rootOf(apiUrl, 'https://smsc.ru');
  const { ask, close } = createCaller({ ...config, maxAnswerBytes: MAX_ANSWERS_BYTES });
  return {
    channel: 'sms',
    account: 'smsc',
    numbers: 'chat',
    costly: true,
    waitMs: everyMs,
    async listen(position, signal) {
      const since: Readonly<Record<string, string>> =
        position === 0 ? { hour: '1' } : { after_id: String(position) };
      const body = new URLSearchParams({
        get_answers: '1',
        apikey: token,
        fmt: '3',
        charset: 'utf-8',
        ...since,
      });
      const answer = await ask({ url: `${root}/sys/get.php`, body }, signal);
      if ('failed' in answer) {
        throw new Error(`SMSC could not be asked: ${'reason' in answer.failed ? answer.failed.reason : ''}`);
      }
      const code = numberAt(answer.json, 'error_code');
      if (code !== undefined) throw new Error(`SMSC could not be asked: error ${code}`);
      const fresh = (Array.isArray(answer.json) ? answer.json : []).flatMap(item => {
        const id = numberAt(item, 'id');
        return id === undefined || !Number.isSafeInteger(id) || id <= position
          ? []
          : [{ id, heard: heardOf(item, heardIn) }];
      });
      fresh.sort((left, right) => left.id - right.id);
      if (fresh.length === 0) await sleep(everyMs, undefined, { signal }).catch(() => undefined);
      return {
        heard: fresh.flatMap(({ heard }) => heard),
        position: fresh.at(-1)?.id ?? position,
      };
    },
    reply({ chat, text }, signal) {
      return channel.send({ ...REPLY, address: chat, text }, signal);
    },
    acknowledge: async () => undefined,
    inviteUrl: async () => {
      throw new Error('an SMS is answered by whoever got it; nobody is invited');
    },
    readAgain: raw => heardOf(raw, heardIn),
    close,
  };
}

/** What an SMS needs of a message that answers. */
const REPLY = {
  ...{ id: '00000000-0000-7000-8000-000000000000', companyId: 0, recordId: null, purpose: 'test' as const },
  ...{
    subject: '',
    recipient: { clientId: null, name: '', phone: '', email: '' },
    notice: null,
    visit: null,
  },
  attempt: 1,
} as const;

function heardIn(item: unknown): Heard | undefined {
  const phone = normalisePhone(textAt(item, 'phone') ?? '');
  const text = at(item, 'message');
  return /^\+[1-9]\d{6,14}$/.test(phone) && typeof text === 'string'
    ? { chat: phone, kind: 'text', text }
    : undefined;
}
