/**
 * WhatsApp by Wazzup.
 *
 * wazzup24.com/help/api-en/sending-messages: `POST /v3/message`, the text at most 4096 characters where the channel is
 * WABA (10,000 otherwise); «route is not idempotent», but «if another request with the same crmMessageId is received,
 * the message will not be sent, the error 400 repeatedCrmMessageId». How long it remembers is said to be 60 seconds: a
 * doubt is tried again within 45 s, and is `unknown` after that. Codes of errors are written both ways there
 * (REPEATED_CRM_MESSAGE_ID, repeatedCrmMessageId), so they are compared without regard to it.
 * …/common-errors: 500 requests in 5 seconds, above it 429.
 * …/working-with-channels: `GET /v3/channels` lists the account's channels with the `state` of each; `init` and
 * `phoneUnavailable` pass by themselves.
 */
import type { AccountState, Channel, SendResult } from './channel.ts';
import {
  type Answer,
  createCaller,
  createProviderChannel,
  type ProviderConfig,
  phoneDigits,
  refusalOf,
  refused,
  rejected,
  retry,
  rootOf,
  textAt,
  WORKS,
} from './provider.ts';

export type WazzupConfig = ProviderConfig & {
  readonly token: string;
  /** The channel's id, a UUID. */
  readonly account: string;
  readonly apiUrl?: string | undefined;
};

export function createWazzup({ token, account, apiUrl, ...config }: WazzupConfig): Channel {
  const root = rootOf(apiUrl, 'https://api.wazzup24.com');
  return createProviderChannel(
    {
      name: 'whatsapp',
      provider: 'wazzup',
      traits: {
        address: 'phone',
        reaches: 'anybody',
        maxText: 4096,
        buttons: false,
        receiptWithinMs: 5 * 60_000,
        pace: { everyMs: 20, chatEveryMs: 1000 },
      },
      idempotent: true,
      remembersMs: 45_000,
      concurrency: 10,
      readAddress: phoneDigits,
      write: (to, text, { id }) => ({
        url: `${root}/v3/message`,
        headers: { authorization: `Bearer ${token}` },
        // The salon's people still see a chat that waits for them.
        body: {
          ...{ channelId: account, chatType: 'whatsapp', chatId: to, text },
          ...{ crmMessageId: id, clearUnanswered: false },
        },
      }),
      read,
      account: {
        asked: { url: `${root}/v3/channels`, headers: { authorization: `Bearer ${token}` } },
        read: answer => readState(answer, account),
      },
    },
    createCaller(config),
  );
}

const TROUBLES: Readonly<Record<string, string>> = {
  disabled: 'is turned off',
  qr: 'waits for its QR code to be scanned',
  openelsewhere: 'is open in another account',
  notenoughmoney: 'is not paid',
  foreignphone: 'was linked to another phone',
  unauthorized: 'is not authorised',
  waitforpassword: 'waits for its password',
};

function readState(answer: Answer, account: string): AccountState | undefined {
  const { status, json } = answer;
  if (status !== 200 || !Array.isArray(json)) return refusalOf(read(answer));
  const own: unknown = json.find(one => textAt(one, 'channelId') === account);
  if (own === undefined) return refused('Wazzup: the channel is not in this account');
  const state = textAt(own, 'state')?.toLowerCase() ?? '';
  const trouble = Object.hasOwn(TROUBLES, state) ? TROUBLES[state] : undefined;
  if (trouble !== undefined) return refused(`Wazzup: the channel ${trouble}`);
  return state === 'active' ? WORKS : undefined;
}

const SCOPES: Readonly<Record<string, Parameters<typeof rejected>[0]>> = {
  badcontact: 'address',
  messagesinvalidcontacttype: 'address',
  messagesabnormalsend: 'address',
  messagesisspam: 'message',
  messagetexttoolong: 'message',
  messagestextcannotbeblank: 'message',
  validationerror: 'message',
  // No template where one is needed, not paid, switched off, a tariff that may not write first.
  channelnotfound: 'channel',
  channelblocked: 'channel',
  channelwapirejected: 'channel',
  channelnomoney: 'channel',
  messagesnottextfirst: 'channel',
};
/** «Phone Unavailable» or «Wait a Minute»; «The message has not been sent. An unexpected server error occurred». */
const AGAIN = ['messagechannelunavailable', 'messagescannotadd'];

function read({ status, json, retryAfterMs }: Answer): SendResult | undefined {
  const sent = textAt(json, 'messageId');
  if (status >= 200 && status < 300 && sent !== undefined) return { outcome: 'sent', providerId: sent };
  const error = textAt(json, 'error');
  const code = error?.replaceAll('_', '').toLowerCase();
  // An attempt of ours whose answer was lost.
  if (status === 400 && code === 'repeatedcrmmessageid') return { outcome: 'sent' };
  const reason = /^\w{1,40}$/.test(error ?? '') ? `Wazzup ${status} ${error}` : `Wazzup ${status}`;
  if (status === 401 || status === 403) return rejected('channel', reason);
  if (status === 429) return retry(reason, retryAfterMs, 'limited');
  if (status < 400 || status >= 500 || code === undefined) return undefined;
  if (AGAIN.includes(code)) return retry(reason, retryAfterMs);
  return rejected(SCOPES[code] ?? 'message', reason);
}
