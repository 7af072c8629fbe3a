/**
 * A text of the platform at the moment of sending: by which channels it may leave, or why it does not. Its words are
 * fixed, so it may be repeated whenever its channel drops repeats.
 */
import { type Channel, type ChannelName, dropsRepeat } from '../channels/channel.ts';
import { afterQuiet } from '../domain/quiet.ts';
import type { EpochMs } from '../domain/time.ts';
import type { Company } from '../store/companies.ts';
import type { Contact, DueMessage, MessageEnd, MessageKey } from '../store/messages.ts';
import type { Db } from '../store/pool.ts';
import { findOwnNews, findPhoneContacts, findRelays, type Relay } from '../store/relays.ts';
import { triesUsedUp } from './settle.ts';

/** Texts that waited for longer are of no use any more: a code has ended, a visit is over. */
const USE_MS = { service: 6 * 60 * 60_000, advertising: 48 * 60 * 60_000 } as const;

export type DueRelay = Relay & {
  /** Hours (`14:30`) of visits that we tell the same person of. */
  readonly ownNews: readonly string[];
};

/** What is known of the texts among these messages, by id; and who has their phones, as other contacts are kept. */
export async function readRelays(
  db: Db,
  companies: ReadonlyMap<number, Company>,
  candidates: readonly (MessageKey & { readonly recordId: number | null })[],
): Promise<{ relays: Map<string, DueRelay>; contacts: [string, Contact][] }> {
  const relays = await findRelays(
    db,
    candidates.filter(({ companyId, recordId }) => companyId !== 0 && recordId === null),
  );
  if (relays.length === 0) return { relays: new Map(), contacts: [] };
  const doubled = relays.filter(
    ({ companyId, category }) =>
      category === 'service' && companies.get(companyId)?.policy.relay.repeats === 'drop',
  );
  const [contacts, news] = await Promise.all([findPhoneContacts(db, relays), findOwnNews(db, doubled)]);
  return {
    relays: new Map(relays.map(relay => [relay.id, { ...relay, ownNews: news.get(relay.id) ?? [] }])),
    // Of no client in particular.
    contacts: contacts.map(contact => [`${contact.companyId}:${contact.phone}`, { ...contact, clientId: 0 }]),
  };
}

export type RelayVerdict =
  | { readonly do: 'say'; readonly route: readonly string[] }
  | { readonly do: 'wait'; readonly until: EpochMs }
  | { readonly do: 'drop'; readonly state: MessageEnd['state']; readonly error: string };

export function judgeRelay(
  message: DueMessage,
  scene: {
    readonly relay: DueRelay | undefined;
    readonly company: Company;
    readonly contact: Contact | undefined;
    readonly channels: ReadonlyMap<ChannelName, Channel>;
    readonly now: EpochMs;
  },
): RelayVerdict {
  const { state, body, channel: claimed, doubtMs } = message;
  const { relay, company, contact, now } = scene;
  const drop = (end: MessageEnd['state'], error: string): RelayVerdict => ({
    do: 'drop',
    state: state === 'sending' ? 'unknown' : end,
    error: state === 'sending' ? 'it may have gone out; its outcome was lost' : error,
  });
  if (relay === undefined || body === null) return drop('failed', 'its text is gone');
  if (company.quietUntil !== null && relay.acceptedAt <= company.quietUntil) {
    return drop('unknown', 'a backup was restored; it may have been sent before that');
  }
  if (state === 'sending') {
    const channel = claimed === null ? undefined : scene.channels.get(claimed);
    const repeatable = channel && dropsRepeat(channel, doubtMs) && !triesUsedUp(message);
    return repeatable ? { do: 'say', route: [channel.name] } : drop('unknown', '');
  }
  if (now - relay.acceptedAt > USE_MS[relay.category]) return drop('expired', 'it waited for too long');
  if (relay.category === 'advertising') {
    if (contact?.wantsAdvertising !== true) {
      return drop('superseded', 'advertising without the client’s consent');
    }
    const leaveAt = afterQuiet(company.policy, 'advertising', now, company.zone);
    if (leaveAt === null) return drop('superseded', 'it would fall into the quiet hours');
    if (leaveAt > now) return { do: 'wait', until: leaveAt };
  }
  if (relay.ownNews.some(hour => namesHour(body, hour))) {
    return drop('superseded', 'we tell of the visit that it names ourselves');
  }
  const asked = company.policy.relay.by === 'asked' ? relay.asked : null;
  return { do: 'say', route: asked === null ? company.route : [asked] };
}

/** `9:05` as well as `09:05`, and not within `19:05` or `09:051`. */
function namesHour(text: string, hour: string): boolean {
  return new RegExp(`(?<![\\d:])0?${hour.replace(/^0/, '')}(?![\\d:])`).test(text);
}
