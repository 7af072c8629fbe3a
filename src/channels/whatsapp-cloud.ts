/**
 * WhatsApp by Meta's Cloud API.
 *
 * developers.facebook.com/documentation/business-messaging/whatsapp/…
 * - messages: `POST /<phone number id>/messages`; a text (4096 characters) only within 24 hours of the person's last
 *   message, outside of them a template; `biz_opaque_callback_data` comes back with every receipt.
 * - support/error-codes: «build your app's error handling logic around code values»; so it is done here.
 * - throughput: 80 messages a second for a number, 20 for one used in the WhatsApp Business app as well, which is what
 *   is kept here; one in 6 seconds to the same person (131056).
 * - reference/whatsapp-business-phone-number: `GET /<phone number id>`. Asked for the id alone, which needs no right that
 *   sending does without; 190 is a token that has ended or was taken back (docs/graph-api/guides/error-handling). When a
 *   token will end only `debug_token` tells, to another token of the same app, which we do not have.
 * No key that would make a repeat harmless, so an answer that did not come is `unknown`.
 */
import type { Channel, SendResult } from './channel.ts';
import {
  type Answer,
  createCaller,
  createProviderChannel,
  numberAt,
  type ProviderConfig,
  phoneDigits,
  refused,
  rejected,
  retry,
  rootOf,
  textAt,
  WORKS,
} from './provider.ts';

export type WhatsappCloudConfig = ProviderConfig & {
  readonly token: string;
  /** The id of the business phone number, not the number. */
  readonly account: string;
  readonly apiUrl?: string | undefined;
  /** An approved template with one variable in its body, which becomes the whole text. */
  readonly template?: { readonly name: string; readonly language: string } | undefined;
};

const MAX_TEXT = 4096;
/** A template's body holds 1024 characters, its own words included. */
const MAX_TEMPLATE_TEXT = 900;

export function createWhatsappCloud({
  token,
  account,
  apiUrl,
  template,
  ...config
}: WhatsappCloudConfig): Channel {
  const root = rootOf(apiUrl, 'https://graph.facebook.com/v25.0');
  return createProviderChannel(
    {
      name: 'whatsapp',
      provider: 'cloud',
      traits: {
        address: 'phone',
        reaches: template === undefined ? 'those who wrote within a day' : 'anybody',
        maxText: template === undefined ? MAX_TEXT : MAX_TEMPLATE_TEXT,
        buttons: false,
        receiptWithinMs: 5 * 60_000,
        pace: { everyMs: 50, chatEveryMs: 6000 },
      },
      idempotent: false,
      concurrency: 20,
      readAddress: phoneDigits,
      write: (to, text, { id }) => ({
        url: `${root}/${account}/messages`,
        headers: { authorization: `Bearer ${token}` },
        body: {
          ...{ messaging_product: 'whatsapp', recipient_type: 'individual', to },
          biz_opaque_callback_data: id,
          ...(template === undefined
            ? { type: 'text', text: { preview_url: false, body: text } }
            : { type: 'template', template: filled(template, text) }),
        },
      }),
      read,
      account: {
        asked: { url: `${root}/${account}?fields=id`, headers: { authorization: `Bearer ${token}` } },
        read({ status, json }) {
          if (status === 200 && textAt(json, 'id') !== undefined) return WORKS;
          return numberAt(json, 'error', 'code') === 190 ? refused('WhatsApp error 190') : undefined;
        },
      },
    },
    createCaller(config),
  );
}

function filled({ name, language }: { name: string; language: string }, text: string): object {
  // A variable may hold no line break, no tab and no four spaces in a row.
  const line = text.replace(/\s*\n\s*/g, ' · ').replace(/\s+/g, ' ');
  return {
    name,
    language: { code: language },
    components: [{ type: 'body', parameters: [{ type: 'text', text: line }] }],
  };
}

/** Of the account or of the number: everybody waits. */
const LIMITS = [4, 80007, 130429];
/** 131056 is the limit of one pair; the others are troubles of Meta that pass, the message «failed to send». */
const AGAIN = [1, 2, 131000, 131016, 131056, 131057, 133004];
const SCOPES: ReadonlyArray<readonly [Parameters<typeof rejected>[0], readonly number[]]> = [
  // They asked for no more, or are kept from it by Meta's own limit for one person.
  ['person', [131049, 131050]],
  // Not on WhatsApp or of an old app; outside the 24 hours; not among the numbers of a test account; ourselves.
  ['address', [130472, 131021, 131026, 131030, 131047]],
  ['message', [100, 131008, 131009, 131051, 131052, 131053, 132005, 132018]],
];

function read({ status, json, retryAfterMs }: Answer): SendResult | undefined {
  const sent = textAt(json, 'messages', 0, 'id');
  if (status === 200 && sent !== undefined) return { outcome: 'sent', providerId: sent };
  const code = numberAt(json, 'error', 'code');
  if (code === undefined) return undefined;
  const reason = `WhatsApp error ${code}`;
  if (LIMITS.includes(code) || (status === 429 && code !== 131056))
    return retry(reason, retryAfterMs, 'limited');
  if (AGAIN.includes(code)) return retry(reason, retryAfterMs);
  // The rest is tokens, permissions, payment, templates, registration, policy: the set-up.
  return rejected(SCOPES.find(([, codes]) => codes.includes(code))?.[0] ?? 'channel', reason);
}
