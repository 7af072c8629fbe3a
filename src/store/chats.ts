/** Chats that people opened with a bot, whose they are, and what was allowed in them. One function is one statement. */
import type { EpochMs } from '../domain/time.ts';
import type { ClientKey } from './plans.ts';
import type { Db } from './pool.ts';

export type ChatKey = { readonly channel: string; readonly chat: string };

/** A company that a chat belongs to, as its answers need it. */
export type ChatCompany = {
  readonly companyId: number;
  readonly title: string;
  readonly phone: string;
  readonly locale: 'ru' | 'en';
  /** The chat's owner has shared their number with it. */
  readonly linked: boolean;
};

const LINKED = `(h.phone IS NOT NULL OR EXISTS (SELECT FROM addresses a
  WHERE a.company_id = h.company_id AND a.channel = h.channel AND a.address = h.chat))`;

/** Opens a chat for a company, known by its invite or itself. Undefined: there is none such, or it was removed. */
export async function openChat(
  db: Db,
  { channel, chat }: ChatKey,
  whose: { readonly invite: string } | { readonly companyId: number },
): Promise<ChatCompany | undefined> {
  const { rows } = await db.query<ChatCompany>({
    name: 'open_chat',
    text: `
      WITH opened AS (
        INSERT INTO chats AS h (company_id, channel, chat, phone)
        SELECT c.company_id, $1, $2, (SELECT phone FROM chats o WHERE o.channel = $1 AND o.chat = $2
          AND o.phone IS NOT NULL LIMIT 1)
        FROM companies c WHERE (c.invite = $3 OR c.company_id = $4) AND c.removed_at IS NULL
        ON CONFLICT (company_id, channel, chat) DO UPDATE SET chat = EXCLUDED.chat
        RETURNING *)
      SELECT c.company_id AS "companyId", c.title, c.phone, c.locale, ${LINKED} AS linked
      FROM opened h JOIN companies c USING (company_id)`,
    values: [
      ...[channel, chat],
      'invite' in whose ? whose.invite : null,
      'companyId' in whose ? whose.companyId : null,
    ],
  });
  return rows[0];
}

/** The companies that a chat was opened for, by a client or by one of the team, the latest first. */
export async function findChatCompanies(db: Db, { channel, chat }: ChatKey): Promise<ChatCompany[]> {
  const { rows } = await db.query<ChatCompany>({
    name: 'find_chat_companies',
    text: `
      SELECT c.company_id AS "companyId", c.title, c.phone, c.locale, bool_or(h.linked) AS linked
      FROM (
        SELECT company_id, ${LINKED} AS linked, created_at FROM chats h WHERE channel = $1 AND chat = $2
        UNION ALL
        SELECT company_id, true, since FROM team WHERE channel = $1 AND address = $2
        UNION ALL
        SELECT company_id, true, coalesce(since, '-infinity') FROM team
        WHERE others @> jsonb_build_array(jsonb_build_object('channel', $1::text, 'address', $2::text))) h
      JOIN companies c USING (company_id)
      WHERE c.removed_at IS NULL GROUP BY c.company_id ORDER BY max(h.created_at) DESC, c.company_id`,
    values: [channel, chat],
  });
  return rows;
}

/**
 * The companies of which a client, or one of the team, is reached on this channel by this number, which is the chat; and
 * those whose texts of the platform went there, to whoever it is. Index: messages_relayed_to.
 */
export async function findNumberCompanies(db: Db, { channel, chat }: ChatKey): Promise<ChatCompany[]> {
  const { rows } = await db.query<ChatCompany>({
    name: 'find_number_companies',
    text: `
      SELECT c.company_id AS "companyId", c.title, c.phone, c.locale, true AS linked
      FROM companies c WHERE c.removed_at IS NULL AND (
        EXISTS (SELECT FROM people p WHERE p.company_id = c.company_id AND p.phone = $2)
        OR EXISTS (SELECT FROM addresses a WHERE a.company_id = c.company_id AND a.channel = $1 AND a.address = $2)
        OR EXISTS (SELECT FROM team t WHERE t.company_id = c.company_id AND (t.channel = $1 AND t.address = $2
          OR t.others @> jsonb_build_array(jsonb_build_object('channel', $1::text, 'address', $2::text))))
        OR EXISTS (SELECT FROM messages m WHERE m.company_id = c.company_id AND m.purpose = 'relay'
          AND m.recipient = $2))
      ORDER BY c.company_id`,
    values: [channel, chat],
  });
  return rows;
}

/** The clients whose address on this channel this chat is, in these companies. */
export async function findChatClients(
  db: Db,
  { channel, chat }: ChatKey,
  companyIds: readonly number[],
): Promise<ClientKey[]> {
  const { rows } = await db.query<ClientKey>({
    name: 'find_chat_clients',
    text: `
      SELECT company_id AS "companyId", client_id AS "clientId" FROM addresses
      WHERE company_id = ANY($3::int4[]) AND channel = $1 AND address = $2
      UNION
      SELECT p.company_id, p.client_id FROM people p
      WHERE p.company_id = ANY($3::int4[]) AND p.phone <> '' AND (p.phone = $2 OR p.phone IN (
        SELECT phone FROM chats h WHERE h.company_id = p.company_id AND h.channel = $1 AND h.chat = $2))`,
    values: [channel, chat, companyIds],
  });
  return rows;
}

/** The chat is that of whoever has this phone, in every company it was opened for. */
export async function linkChat(db: Db, { channel, chat }: ChatKey, phone: string): Promise<void> {
  await db.query({
    name: 'link_chat',
    text: 'UPDATE chats SET phone = $3 WHERE channel = $1 AND chat = $2',
    values: [channel, chat, phone],
  });
}

export type Consent = ChatKey & {
  readonly companyIds: readonly number[];
  /** Who said it, where it is a word of the person and not of the place alone: it holds for them wherever they go on. */
  readonly clients?: readonly ClientKey[];
  readonly categories: readonly ('service' | 'advertising')[];
  readonly granted: boolean;
  /** What the person wrote or pressed; never more than that. */
  readonly words: string;
  readonly at: EpochMs;
  /** It was heard some time after that: a word that they have said since stands. */
  readonly late?: boolean;
};

/** SQL: of the channel and the address of these parameters, the address as consents have it. */
const KEPT_ADDRESS = `CASE $2::text WHEN 'email' THEN lower($3::text) ELSE $3::text END`;

/** Keeps a person's word with its proof, for each client that they are. */
export async function recordConsent(db: Db, consent: Consent): Promise<void> {
  await db.query({
    name: 'record_consent',
    text: `
      INSERT INTO consents (company_id, channel, address, category, granted, words, given_at, client_id)
      SELECT s.company_id, $2, ${KEPT_ADDRESS}, r.category, $5, $6, $7, k.client_id
      FROM unnest($1::int4[]) AS s (company_id) CROSS JOIN unnest($4::text[]) AS r (category)
      LEFT JOIN unnest($9::int4[], $10::int8[]) AS k (company_id, client_id) ON k.company_id = s.company_id
      WHERE NOT ($8 AND (
        EXISTS (SELECT FROM consents c WHERE c.company_id = s.company_id AND c.channel = $2
          AND c.address = ${KEPT_ADDRESS} AND c.category = r.category AND c.given_at > $7)
        OR EXISTS (SELECT FROM consents c WHERE c.company_id = s.company_id AND c.client_id = k.client_id
          AND c.category = r.category AND c.channel IN ($2, '*') AND c.given_at > $7)))`,
    values: [
      consent.companyIds,
      consent.channel,
      consent.chat,
      consent.categories,
      consent.granted,
      consent.words,
      new Date(consent.at).toISOString(),
      consent.late ?? false,
      (consent.clients ?? []).map(({ companyId }) => companyId),
      (consent.clients ?? []).map(({ clientId }) => clientId),
    ],
  });
}

/** The words of one who said none, but blocked the bot: opening it again takes that back, and nothing else. */
export const BLOCKED = 'blocked the bot';

/**
 * Those of these companies that are to send no messages here, by the last word of the chat or of a client whose it is.
 * What was allowed in the chat after a client had refused it, before it was known whose it is, was allowed by them.
 */
export async function findRefused(
  db: Db,
  { channel, chat }: ChatKey,
  companyIds: readonly number[],
  clients: readonly ClientKey[],
): Promise<Set<number>> {
  const { rows } = await db.query<{ companyId: number }>({
    name: 'find_refused',
    text: `
      SELECT s.company_id AS "companyId" FROM unnest($3::int4[]) AS s (company_id)
      LEFT JOIN LATERAL (SELECT granted, id FROM consents c WHERE c.company_id = s.company_id AND c.channel = $1
        AND c.address = $2 AND c.category = 'service' AND c.words <> $4 ORDER BY c.id DESC LIMIT 1) here ON true
      WHERE NOT here.granted OR EXISTS (
        SELECT FROM unnest($5::int4[], $6::int8[]) AS k (company_id, client_id)
        CROSS JOIN LATERAL (SELECT granted, id FROM consents c WHERE c.company_id = k.company_id
          AND c.client_id = k.client_id AND c.category = 'service' AND c.channel IN ($1, '*')
          ORDER BY c.id DESC LIMIT 1) they
        WHERE k.company_id = s.company_id AND NOT they.granted AND they.id > coalesce(here.id, 0))`,
    values: [
      ...[channel, chat, companyIds, BLOCKED],
      clients.map(({ companyId }) => companyId),
      clients.map(({ clientId }) => clientId),
    ],
  });
  return new Set(rows.map(({ companyId }) => companyId));
}

/**
 * Keeps that a client wants nothing by e-mail any more, wherever their card says they are reached, and nobody wants it at
 * the address that this message went to; where that is not known, at the one we would write to now. False: nothing was
 * kept.
 */
export async function refuseEmail(
  db: Db,
  about: { companyId: number; messageId: string; clientId: number; words: string; at: EpochMs },
): Promise<boolean> {
  const { companyId, messageId, clientId, words, at } = about;
  const { rowCount } = await db.query({
    name: 'refuse_email',
    text: `
      WITH went AS (
        SELECT DISTINCT lower(address) AS address FROM attempts
        WHERE company_id = $1 AND message_id = $2 AND channel = 'email' AND address IS NOT NULL
      ), places AS (
        SELECT address FROM went
        UNION ALL
        SELECT coalesce(
          (SELECT lower(address) FROM addresses WHERE company_id = $1 AND client_id = $3 AND channel = 'email'),
          (SELECT lower(nullif(email, '')) FROM people WHERE company_id = $1 AND client_id = $3), '*')
        WHERE NOT EXISTS (SELECT FROM went))
      INSERT INTO consents (company_id, channel, address, category, granted, words, given_at, client_id)
      SELECT $1, 'email', address, category, false, $4, $5, $3
      FROM places CROSS JOIN unnest(ARRAY['service', 'advertising']) AS category`,
    values: [companyId, messageId, clientId, words, new Date(at).toISOString()],
  });
  return (rowCount ?? 0) > 0;
}

/** Whether this chat is an address of the client a message went to: anyone may send the data of a button. */
export async function isChatOf(
  db: Db,
  { channel, chat }: ChatKey,
  { companyId, clientId }: { readonly companyId: number; readonly clientId: number },
): Promise<boolean> {
  const { rows } = await db.query<{ theirs: boolean }>({
    name: 'is_chat_of',
    text: `
      SELECT EXISTS (SELECT FROM chats h JOIN people p ON p.company_id = h.company_id AND p.phone = h.phone
          WHERE h.company_id = $3 AND h.channel = $1 AND h.chat = $2 AND p.client_id = $4)
        OR EXISTS (SELECT FROM addresses WHERE company_id = $3 AND client_id = $4 AND channel = $1 AND address = $2)
        AS theirs`,
    values: [channel, chat, companyId, clientId],
  });
  return rows[0]?.theirs ?? false;
}

/** The invite of a company, made at the first asking. Undefined: there is no such company. */
export async function settleInvite(db: Db, companyId: number, fresh: string): Promise<string | undefined> {
  const { rows } = await db.query<{ invite: string }>(
    `UPDATE companies SET invite = coalesce(invite, $2) WHERE company_id = $1 AND removed_at IS NULL RETURNING invite`,
    [companyId, fresh],
  );
  return rows[0]?.invite;
}
