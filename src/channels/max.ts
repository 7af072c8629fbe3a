/**
 * The MAX channel: a plain text from the organisation's bot to a chat that has opened it.
 *
 * dev.max.ru/docs-api/methods/POST/messages: `POST /messages?chat_id=`, the token bare in `Authorization`, text of at
 * most 4000 characters, no more than two messages a second into one chat, 30 requests a second in all
 * (dev.max.ru/docs-api). Buttons are an attachment `inline_keyboard`, rows of `callback` and `link`. Errors are JSON `{code, message}`; codes of their own for a dialog: `chat.denied` with
 * `error.dialog.suspended` is somebody who has stopped the bot. No key that would make a repeat harmless, so an answer
 * that did not come is `unknown`. Ours and not the official client: that one sends without a timeout.
 * …/methods/GET/me: 200 with the bot, 401 where the token is wrong or was taken back.
 */
import type { Button, Channel, SendResult } from './channel.ts';
import {
  type Answer,
  createCaller,
  createProviderChannel,
  type ProviderConfig,
  refusalOf,
  rejected,
  retry,
  rootOf,
  textAt,
  WORKS,
} from './provider.ts';

export type MaxConfig = ProviderConfig & { readonly token: string; readonly apiUrl?: string | undefined };

export function maxRoot(apiUrl: string | undefined): string {
  return rootOf(apiUrl, 'https://platform-api2.max.ru');
}

export function createMax({ token, apiUrl, ...config }: MaxConfig): Channel {
  const root = maxRoot(apiUrl);
  return createProviderChannel(
    {
      name: 'max',
      traits: {
        address: 'chat',
        reaches: 'those who wrote',
        maxText: 4000,
        buttons: true,
        receiptWithinMs: null,
        pace: { everyMs: 40, chatEveryMs: 500 },
      },
      idempotent: false,
      concurrency: 20,
      readAddress: address => (/^-?\d{1,20}$/.test(address) ? address : undefined),
      write: (chat, text, { buttons = [] }) => ({
        url: `${root}/messages?chat_id=${chat}&disable_link_preview=true`,
        headers: { authorization: token },
        body: { text, ...keyboardOf(buttons) },
      }),
      read: readMaxSent,
      account: {
        asked: { url: `${root}/me`, headers: { authorization: token } },
        read: answer =>
          answer.status === 200 && textAt(answer.json, 'user_id') !== undefined
            ? WORKS
            : refusalOf(readMaxSent(answer)),
      },
    },
    createCaller(config),
  );
}

/** One button a row, as in Telegram. `contact` is the label of one that shares the sender's own number. */
export function keyboardOf(
  buttons: readonly Button[],
  contact?: string,
): { readonly attachments?: readonly object[] } {
  const rows: object[][] = buttons.map(button => [
    'url' in button
      ? { type: 'link', text: button.label, url: button.url }
      : { type: 'callback', text: button.label, payload: button.press },
  ]);
  if (contact !== undefined) rows.push([{ type: 'request_contact', text: contact }]);
  return rows.length === 0 ? {} : { attachments: [{ type: 'inline_keyboard', payload: { buttons: rows } }] };
}

export function readMaxSent({ status, json, retryAfterMs }: Answer): SendResult | undefined {
  const sent = textAt(json, 'message', 'body', 'mid');
  if (status === 200 && sent !== undefined) return { outcome: 'sent', providerId: sent };
  const code = textAt(json, 'code');
  if (code === undefined) return undefined;
  const reason = `MAX ${status}${/^[a-z.]{1,40}$/.test(code) ? ` ${code}` : ''}`;
  const stopped = (textAt(json, 'message') ?? '').includes('error.dialog.suspended');
  switch (status) {
    case 400:
      return rejected('message', reason);
    case 401:
      return rejected('channel', reason);
    case 403:
      if (code === 'verify.token') return rejected('channel', reason);
      return rejected(stopped ? 'person' : 'address', reason);
    case 404:
      return rejected('address', reason);
    case 429:
      return retry(reason, retryAfterMs, 'limited');
    case 503:
      return retry(reason, retryAfterMs);
    default:
      return status >= 500 ? { outcome: 'unknown', reason } : rejected('message', reason);
  }
}
