/** What an operator sees of a client. One function is one statement. */
import type { Db } from './pool.ts';

export type ShownClient = {
  readonly companyId: number;
  readonly clientId: number;
  readonly name: string;
  readonly phone: string;
  readonly email: string;
  /** By their card at the salon: no messages at all (`sms_not`), and whether advertising is welcome. */
  readonly refuses: boolean;
  readonly wantsAdvertising: boolean;
  readonly deleted: boolean;
  /** Set by hand, by the API, or by a link of their own. */
  readonly addresses: readonly {
    readonly channel: string;
    readonly address: string;
    readonly setAt: string;
  }[];
  /** Chats linked by their number. */
  readonly chats: readonly { readonly channel: string; readonly chat: string; readonly linkedAt: string }[];
  /** What they, or the operator for them, allowed and refused, the latest first. */
  readonly consents: readonly {
    /** `*`: every channel. */
    readonly channel: string;
    /** `*`: wherever they are reached. */
    readonly address: string;
    readonly category: 'service' | 'advertising';
    readonly granted: boolean;
    /** What they wrote or pressed; of an operator, who it was and why. */
    readonly words: string;
    readonly at: string;
  }[];
  /** The latest first. */
  readonly messages: readonly {
    readonly id: string;
    readonly purpose: string;
    readonly recordId: number | null;
    readonly channel: string | null;
    readonly state: string;
    readonly error: string | null;
    readonly text: string | null;
    readonly at: string;
  }[];
};

const MESSAGES_SHOWN = 10;
const CONSENTS_SHOWN = 50;

/** Where a client is reached: `addresses`, chats by their number, and the number and the mailbox of their card. */
const REACHED = `(
  SELECT channel, address FROM addresses a WHERE a.company_id = p.company_id AND a.client_id = p.client_id
  UNION
  SELECT channel, chat FROM chats h WHERE h.company_id = p.company_id AND h.phone = p.phone
  UNION
  SELECT channel, p.phone FROM unnest(ARRAY['sms', 'whatsapp']) AS channel WHERE p.phone <> ''
  UNION
  SELECT 'email', p.email WHERE p.email <> '')`;

/** Of `REACHED`: the address as consents have it. */
const KEPT_ADDRESS = `CASE channel WHEN 'email' THEN lower(address) ELSE address END`;

const WHEN = (column: string) => `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`;

export async function findShownClients(
  db: Db,
  companyId: number,
  clientIds: readonly number[],
): Promise<ShownClient[]> {
  const { rows } = await db.query<ShownClient>(
    `SELECT p.company_id AS "companyId", p.client_id AS "clientId", p.name, p.phone, p.email, p.refuses,
       p.newsletter AS "wantsAdvertising", p.deleted,
       coalesce((SELECT jsonb_agg(jsonb_build_object('channel', channel, 'address', address,
           'setAt', ${WHEN('created_at')}) ORDER BY channel)
         FROM addresses a WHERE a.company_id = p.company_id AND a.client_id = p.client_id), '[]') AS addresses,
       coalesce((SELECT jsonb_agg(jsonb_build_object('channel', channel, 'chat', chat,
           'linkedAt', ${WHEN('created_at')}) ORDER BY channel, chat)
         FROM chats h WHERE h.company_id = p.company_id AND h.phone = p.phone), '[]') AS chats,
       coalesce((SELECT jsonb_agg(jsonb_build_object('channel', channel, 'address', address, 'category', category,
           'granted', granted, 'words', words, 'at', ${WHEN('given_at')}) ORDER BY id DESC)
         FROM (SELECT channel, address, category, granted, words, given_at, max(id) AS id
           FROM consents c WHERE c.company_id = p.company_id AND (c.client_id = p.client_id
             OR (c.channel, c.address) IN (SELECT channel, ${KEPT_ADDRESS} FROM ${REACHED} r))
           -- Said once, it is kept for each who has the number.
           GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY max(id) DESC LIMIT $3) k), '[]') AS consents,
       coalesce((SELECT jsonb_agg(jsonb_build_object('id', id, 'purpose', purpose, 'recordId', record_id,
           'channel', channel, 'state', state, 'error', error, 'text', body,
           'at', ${WHEN('coalesce(sent_at, updated_at)')}) ORDER BY coalesce(sent_at, updated_at) DESC)
         FROM (SELECT * FROM messages m WHERE m.company_id = p.company_id AND m.recipient = 'client:' || p.client_id
           AND m.state <> 'due' ORDER BY coalesce(sent_at, updated_at) DESC LIMIT $4) k), '[]') AS messages
     FROM people p WHERE p.company_id = $1 AND p.client_id = ANY($2::int8[]) ORDER BY p.client_id`,
    [companyId, clientIds, CONSENTS_SHOWN, MESSAGES_SHOWN],
  );
  return rows;
}

export type OperatorConsent = {
  readonly companyId: number;
  readonly clientIds: readonly number[];
  /** Undefined: wherever they are reached. */
  readonly channel: string | undefined;
  readonly categories: readonly ('service' | 'advertising')[];
  readonly granted: boolean;
  readonly words: string;
};

/**
 * Keeps an operator's word for a client, and for each address they are reached at there, should it be somebody else's
 * as well. What is allowed lifts what was refused for them at addresses that they had before, too, unless somebody else
 * has spoken there since.
 */
export async function recordOperatorConsent(
  db: Db,
  { companyId, clientIds, channel, categories, granted, words }: OperatorConsent,
): Promise<void> {
  await db.query(
    `WITH reached AS (
       SELECT p.client_id, r.channel, ${KEPT_ADDRESS} AS address FROM people p CROSS JOIN LATERAL ${REACHED} r
       WHERE p.company_id = $1 AND p.client_id = ANY($2::int8[]) AND ($3::text IS NULL OR r.channel = $3)
     ), places AS (
       SELECT client_id, channel, address, category FROM reached CROSS JOIN unnest($4::text[]) AS category
       UNION
       SELECT w.client_id, coalesce($3, '*'), '*', category
       FROM unnest($2::int8[]) AS w (client_id) CROSS JOIN unnest($4::text[]) AS category
       WHERE $3 IS NULL OR NOT EXISTS (SELECT FROM reached r WHERE r.client_id = w.client_id)
       UNION
       SELECT client_id, channel, address, category FROM consents c
       WHERE $5 AND c.company_id = $1 AND c.client_id = ANY($2::int8[]) AND c.category = ANY($4::text[])
         AND ($3 IS NULL OR c.channel = $3) AND c.address <> '*' AND NOT c.granted
         AND NOT EXISTS (SELECT FROM consents o WHERE o.company_id = c.company_id AND o.channel = c.channel
           AND o.address = c.address AND o.category = c.category AND o.id > c.id
           AND o.client_id IS DISTINCT FROM c.client_id))
     INSERT INTO consents (company_id, channel, address, category, granted, words, given_at, client_id)
     SELECT $1, channel, address, category, $5::bool, $6, now(), client_id FROM places`,
    [companyId, clientIds, channel ?? null, categories, granted, words],
  );
}

/** Clients of a company by their number, or by their id. */
export async function findClientIds(
  db: Db,
  companyId: number,
  { phone, clientId }: { readonly phone: string | null; readonly clientId: number | null },
): Promise<number[]> {
  const { rows } = await db.query<{ clientId: number }>(
    `SELECT client_id AS "clientId" FROM people WHERE company_id = $1 AND (phone = $2 OR client_id = $3)
     ORDER BY client_id`,
    [companyId, phone, clientId],
  );
  return rows.map(row => row.clientId);
}
