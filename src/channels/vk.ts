/**
 * The VK channel: a message from a community to somebody who allowed it to write.
 *
 * dev.vk.com/method/messages.send: `random_id` (a 32-bit integer) keeps a message from being sent twice, so a doubt may
 * be tried again. ASSUMED, as no document says for how long: in 2019 it said for the whole history, and of the same
 * parameter dev.vk.com/method/notifications.sendMessage says for an hour; we take the hour. Were it less, a message whose
 * outcome is unknown, and is tried again after VK forgot it, would come twice; `remembersMs` is the one number to lower.
 * ASSUMED too: that a community's key may be used 20 times a second, as dev.vk.com/api/api-requests says of methods of a
 * community in general. Were it less, VK answers error 6, which puts all its messages off for a while and loses none;
 * were it more, we are slower than we could be. Texts up to 9000 characters
 * (VKCOM/vk-api-schema, messages/methods.json). Buttons are `keyboard`, JSON in a field (dev.vk.com/api/bots/development/keyboard):
 * inline, ten at most, a label of 40 characters; pressed, one of the type `text` comes back as a message with its
 * `payload`, in every client and without an event of its own that the community would have to switch on. The HTTP status is 200 whatever happens: what counts is `error.error_code`, see
 * VKCOM/vk-api-schema, errors.json. `error.request_params` repeats what was asked, so no word of it is ever told.
 * dev.vk.com/method/groups.getTokenPermissions, for a community's key alone: `mask` of its rights, in which 4096 is that to
 * messages (dev.vk.com/reference/access-rights). Errors 5 and 27 are a key that is not taken.
 */
import { createHash } from 'node:crypto';
import type { AccountState, Button, Channel, SendResult } from './channel.ts';
import {
  type Answer,
  clip,
  createCaller,
  createProviderChannel,
  numberAt,
  type ProviderConfig,
  refused,
  rejected,
  retry,
  rootOf,
  textAt,
  WORKS,
} from './provider.ts';

export type VkConfig = ProviderConfig & { readonly token: string; readonly apiUrl?: string | undefined };

export const VK_VERSION = '5.199';
/** VK says an hour; ten minutes are left for clocks and for a call on its way. */
const REMEMBERS_MS = 50 * 60_000;

export function vkRoot(apiUrl: string | undefined): string {
  return rootOf(apiUrl, 'https://api.vk.com');
}

export function createVk({ token, apiUrl, ...config }: VkConfig): Channel {
  const root = vkRoot(apiUrl);
  return createProviderChannel(
    {
      name: 'vk',
      traits: {
        address: 'chat',
        reaches: 'those who wrote',
        maxText: 9000,
        buttons: true,
        receiptWithinMs: null,
        pace: { everyMs: 60, chatEveryMs: 500 },
      },
      idempotent: true,
      remembersMs: REMEMBERS_MS,
      concurrency: 20,
      readAddress: address => (/^\d{1,10}$/.test(address) ? address : undefined),
      write: (peer, text, { id, buttons = [] }) => ({
        url: `${root}/method/messages.send`,
        body: new URLSearchParams({
          ...{ access_token: token, v: VK_VERSION, peer_id: peer, message: text },
          random_id: String(randomId(id)),
          dont_parse_links: '1',
          ...keyboardOf(buttons),
        }),
      }),
      read: readVkSent,
      account: {
        asked: {
          url: `${root}/method/groups.getTokenPermissions`,
          body: new URLSearchParams({ access_token: token, v: VK_VERSION }),
        },
        read: readVkRights,
      },
    },
    createCaller(config),
  );
}

const MESSAGES = 4096;

function readVkRights({ json }: Answer): AccountState | undefined {
  const rights = numberAt(json, 'response', 'mask');
  if (rights !== undefined)
    return (rights & MESSAGES) === 0 ? refused('VK: the key has no right to messages') : WORKS;
  const code = numberAt(json, 'error', 'error_code');
  return code === 5 || code === 27 ? refused(`VK error ${code}`) : undefined;
}

const LABEL = 40;

export function keyboardOf(buttons: readonly Button[]): { readonly keyboard?: string } {
  if (buttons.length === 0) return {};
  const rows = buttons.map(button => {
    const label = clip(button.label, LABEL);
    return [
      'url' in button
        ? { action: { type: 'open_link', link: button.url, label } }
        : { action: { type: 'text', label, payload: JSON.stringify({ press: button.press }) } },
    ];
  });
  return { keyboard: JSON.stringify({ inline: true, buttons: rows }) };
}

/** The same for every attempt of a message; never 0, which would switch the check off. */
function randomId(messageId: string): number {
  const digest = createHash('sha256').update(messageId).digest();
  return digest.readUInt32BE(0) & 0x7fffffff || 1;
}

const SCOPES: ReadonlyArray<readonly [Parameters<typeof rejected>[0], readonly number[]]> = [
  // Blacklisted, never allowed to write, closed by privacy settings.
  ['person', [900, 901, 902]],
  ['address', [18, 113, 917, 927, 936, 945, 946, 950]],
  ['message', [8, 910, 911, 914, 921, 940]],
  ['channel', [2, 3, 4, 5, 7, 14, 15, 17, 20, 23, 24, 27, 28, 37, 38, 42, 203, 985]],
];

export function readVkSent({ status, json, retryAfterMs }: Answer): SendResult | undefined {
  const sent = numberAt(json, 'response');
  if (sent !== undefined) return { outcome: 'sent', providerId: String(sent) };
  const code = numberAt(json, 'error', 'error_code');
  if (code === undefined) return undefined;
  const reason = `VK error ${code}`;
  // Too many calls a second, and the day's limit.
  if (code === 6 || code === 29) return retry(reason, retryAfterMs, 'limited');
  // «Flood control»: the same too often; «Section disabled».
  if (code === 9 || code === 43) return retry(reason, retryAfterMs);
  if (code === 100) {
    const about = /\b(peer_id|user_id)\b/.test(textAt(json, 'error', 'error_msg') ?? '');
    return rejected(about ? 'address' : 'message', reason);
  }
  const scope = SCOPES.find(([, codes]) => codes.includes(code))?.[0];
  // 1 «Unknown error», 10 «Internal server error», 36 «Timeout» and what is not known: the repeat settles it.
  return scope === undefined || status >= 500 ? { outcome: 'unknown', reason } : rejected(scope, reason);
}
