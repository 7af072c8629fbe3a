/** Texts of the platform that leave by our routes, and what it is told of them. One function is one statement. */
import type { ChannelName } from '../channels/channel.ts';
import type { RelayCategory, RelayStatus } from '../domain/relay.ts';
import type { EpochMs } from '../domain/time.ts';
import { int4Array, uuidArray } from './binary.ts';
import type { Brand } from './companies.ts';
import {
  agrees,
  type ConsentCategory,
  type Contact,
  clientAgrees,
  type MessageKey,
  PLACELESS,
} from './messages.ts';
import type { Db } from './pool.ts';

export type NewRelay = {
  /** UUIDv7 of the message, where the text was not there yet. */
  readonly id: string;
  readonly digest: Buffer;
  /** The platform's id of it; null: it gave none. */
  readonly theirId: string | null;
  /** E.164. */
  readonly phone: string;
  readonly text: string;
  readonly category: RelayCategory;
  readonly asked: ChannelName | null;
};

/** Puts texts into the outbox, each once. */
export async function insertRelays(
  db: Db,
  about: { companyId: number; acceptedAt: EpochMs; dueAt: EpochMs; requestId: string },
  relays: readonly NewRelay[],
): Promise<void> {
  await db.query({
    name: 'insert_relays',
    text: `
      WITH given AS (
        SELECT * FROM jsonb_to_recordset($2::jsonb) AS r (id uuid, digest text, their_id text, phone text, text text,
          category text, asked text)
      ), added AS (
        INSERT INTO relays (company_id, message_id, digest, their_id, category, asked, accepted_at, due_at)
        SELECT $1, id, decode(digest, 'base64'), their_id, category, asked, $3, now() FROM given ORDER BY digest
        ON CONFLICT (company_id, digest) DO NOTHING RETURNING message_id
      )
      INSERT INTO messages (company_id, id, purpose, recipient, body, due_at, created_at, updated_at, request_id)
      SELECT $1, id, 'relay', phone, text, $4, $3, $3, $5 FROM given JOIN added ON message_id = id`,
    values: [
      about.companyId,
      JSON.stringify(
        relays.map(({ theirId, digest, ...rest }) => ({
          ...rest,
          digest: digest.toString('base64'),
          their_id: theirId ?? rest.id,
        })),
      ),
      new Date(about.acceptedAt).toISOString(),
      new Date(about.dueAt).toISOString(),
      about.requestId,
    ],
  });
}

/** Under which message each text is known, by its digest as base64. */
export async function findRelayed(
  db: Db,
  companyId: number,
  digests: readonly Buffer[],
): Promise<Map<string, string>> {
  const { rows } = await db.query<{ digest: Buffer; id: string }>({
    name: 'find_relayed',
    text: `SELECT digest, message_id AS id FROM relays WHERE company_id = $1 AND digest = ANY($2::bytea[])`,
    values: [companyId, digests],
  });
  return new Map(rows.map(({ digest, id }) => [digest.toString('base64'), id]));
}

/** A text as a claim looks at it. */
export type Relay = MessageKey & {
  readonly phone: string;
  readonly category: RelayCategory;
  readonly asked: ChannelName | null;
  readonly acceptedAt: EpochMs;
};

/** Those of these messages that are texts of the platform. */
export async function findRelays(db: Db, keys: readonly MessageKey[]): Promise<Relay[]> {
  if (keys.length === 0) return [];
  const { rows } = await db.query<Relay>({
    name: 'find_relays',
    text: `
      SELECT r.company_id AS "companyId", r.message_id AS id, m.recipient AS phone, r.category, r.asked,
        r.accepted_at AS "acceptedAt"
      FROM relays r JOIN messages m ON m.company_id = r.company_id AND m.id = r.message_id
      WHERE (r.company_id, r.message_id) IN (SELECT * FROM unnest($1::int4[], $2::uuid[]))`,
    values: [int4Array(keys.map(key => key.companyId)), uuidArray(keys.map(key => key.id))],
  });
  return rows;
}

const allAgree = (category: ConsentCategory) => `NOT EXISTS (SELECT FROM people o
  WHERE o.company_id = g.company_id AND o.phone = g.phone AND o.phone <> ''
    AND NOT ${clientAgrees('o.company_id', 'o.client_id', category)})`;

/**
 * Who has these phones, in place of who is meant: a phone may be that of several clients, or of none. Where one of them
 * wants no messages, or none there, none are sent; for advertising one of them must want it.
 */
export async function findPhoneContacts(
  db: Db,
  phones: readonly { readonly companyId: number; readonly phone: string }[],
): Promise<Omit<Contact, 'clientId'>[]> {
  const { rows } = await db.query<Omit<Contact, 'clientId'>>({
    name: 'find_phone_contacts',
    text: `
      SELECT g.company_id AS "companyId", g.phone, '' AS email, coalesce(p.name, '') AS name,
        coalesce(p.refuses, false) AS refuses, coalesce(p.newsletter, false) AS "wantsAdvertising",
        coalesce(w.addresses, '{}') AS addresses, coalesce(w.refused_on, '{}') AS "refusedOn",
        coalesce(w.refused_advertising_on, '{}') AS "refusedAdvertisingOn"
      FROM (SELECT DISTINCT * FROM unnest($1::int4[], $2::text[]) AS g (company_id, phone)) g
      CROSS JOIN LATERAL (
        SELECT min(name) AS name, bool_or(refuses) AS refuses, bool_or(newsletter) AS newsletter FROM people
        WHERE company_id = g.company_id AND phone = g.phone AND g.phone <> '') p
      CROSS JOIN LATERAL (
        SELECT jsonb_object_agg(a.channel, a.address) FILTER (WHERE a.address IS NOT NULL) AS addresses,
          array_agg(a.channel) FILTER (WHERE NOT a.granted) AS refused_on,
          array_agg(a.channel) FILTER (WHERE NOT a.advertising) AS refused_advertising_on
        FROM (
          SELECT DISTINCT ON (k.channel) k.channel, k.address,
            ${agrees('g.company_id', 'service')} AND ${allAgree('service')} AS granted,
            ${agrees('g.company_id', 'advertising')} AND ${allAgree('advertising')} AS advertising
          FROM (
            SELECT channel, chat AS address, created_at FROM chats WHERE company_id = g.company_id AND phone = g.phone
            UNION ALL
            SELECT a.channel, a.address, a.created_at FROM addresses a JOIN people o USING (company_id, client_id)
            WHERE o.company_id = g.company_id AND o.phone = g.phone AND g.phone <> ''
              AND a.channel NOT IN ('email', 'sms', 'whatsapp')
            UNION ALL
            SELECT channel, g.phone, '-infinity' FROM unnest(ARRAY['sms', 'whatsapp']) AS channel
            UNION ALL
            SELECT channel, NULL, '-infinity' FROM ${PLACELESS} AS channel) k
          ORDER BY k.channel, k.created_at DESC) a) w`,
    values: [int4Array(phones.map(({ companyId }) => companyId)), phones.map(({ phone }) => phone)],
  });
  return rows;
}

/** How long before a text, or after it, a message of ours is about the same. */
const SAME_NEWS_HOURS = 1;

/**
 * The hours (`14:30`) of visits that we have told, or are about to tell, whoever has the phone of these texts: by the
 * message's id.
 */
export async function findOwnNews(db: Db, keys: readonly MessageKey[]): Promise<Map<string, string[]>> {
  if (keys.length === 0) return new Map();
  const { rows } = await db.query<{ id: string; hours: string[] }>({
    name: 'find_own_news',
    text: `
      SELECT r.message_id AS id, ARRAY(
        SELECT DISTINCT to_char(b.starts_local, 'HH24:MI')
        FROM people p JOIN bookings b ON b.company_id = p.company_id AND b.client_id = p.client_id
        JOIN messages o ON o.company_id = b.company_id AND o.record_id = b.record_id
        WHERE p.company_id = m.company_id AND p.phone = m.recipient AND m.recipient <> ''
          AND o.recipient = 'client:' || p.client_id AND b.starts_local IS NOT NULL
          AND (o.state IN ('sent', 'delivered', 'unknown')
              AND o.updated_at > r.accepted_at - ${SAME_NEWS_HOURS} * interval '1 hour'
            OR o.state IN ('due', 'sending') AND o.due_at < r.accepted_at + ${SAME_NEWS_HOURS} * interval '1 hour')
      ) AS hours
      FROM relays r JOIN messages m ON m.company_id = r.company_id AND m.id = r.message_id
      WHERE (r.company_id, r.message_id) IN (SELECT * FROM unnest($1::int4[], $2::uuid[]))`,
    values: [int4Array(keys.map(key => key.companyId)), uuidArray(keys.map(key => key.id))],
  });
  return new Map(rows.map(({ id, hours }) => [id, hours]));
}

/** A text of which there may be something to tell the platform, leased. */
export type Report = MessageKey & {
  readonly theirId: string;
  readonly told: RelayStatus | null;
  readonly moves: number;
  /** Tries of what is next, this one not included. */
  readonly attempts: number;
};

/** Claims texts whose hour has come, the longest due first; also those whose process is gone. */
export async function claimReports(
  db: Db,
  claim: { readonly owner: string; readonly leaseMs: number; readonly limit: number },
): Promise<Report[]> {
  const { rows } = await db.query<Report>({
    name: 'claim_reports',
    text: `
      WITH free AS (
        SELECT company_id, message_id FROM relays
        WHERE due_at <= now() AND (leased_until IS NULL OR leased_until < now())
        ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED)
      UPDATE relays r SET leased_by = $1, leased_until = now() + $2 * interval '1 millisecond'
      FROM free WHERE r.company_id = free.company_id AND r.message_id = free.message_id
      RETURNING r.company_id AS "companyId", r.message_id AS id, r.their_id AS "theirId", r.told, r.moves, r.attempts`,
    values: [claim.owner, claim.leaseMs, claim.limit],
  });
  return rows;
}

/** What a status is made of besides: how the message stands, and whose it is. */
export type RelayedMessage = MessageKey & {
  readonly brand: Brand;
  readonly state: string;
  readonly attempts: number;
  readonly error: string | null;
  readonly channel: ChannelName | null;
  readonly body: string | null;
};

/** As they stand now. Asked after the claim, so that a move in between is seen here or counted in `moves`. */
export async function findRelayedMessages(
  db: Db,
  keys: readonly MessageKey[],
): Promise<Map<string, RelayedMessage>> {
  const { rows } = await db.query<RelayedMessage>({
    name: 'find_relayed_messages',
    text: `
      SELECT m.company_id AS "companyId", m.id, c.brand, m.state, m.attempts, m.error, m.channel, m.body
      FROM messages m JOIN companies c USING (company_id)
      WHERE (m.company_id, m.id) IN (SELECT * FROM unnest($1::int4[], $2::uuid[]))`,
    values: [int4Array(keys.map(key => key.companyId)), uuidArray(keys.map(key => key.id))],
  });
  return new Map(rows.map(message => [message.id, message]));
}

/**
 * How a look at a text ended. `told`: the platform took this status, or will not be told it any more; it is looked at
 * again at once. `later`: it was not taken. `quiet`: there is nothing to tell. `given_up`: until the message moves.
 */
export type ReportEnd =
  | { readonly do: 'told'; readonly status: RelayStatus; readonly reason: string | null }
  | { readonly do: 'later'; readonly inMs: number; readonly reason: string }
  | { readonly do: 'quiet' }
  | { readonly do: 'given_up'; readonly reason: string };

/** Ends a look. False: its lease passed to another process, whose word stands. */
export async function endReport(
  db: Db,
  report: Report,
  { owner, end }: { readonly owner: string; readonly end: ReportEnd },
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'end_report',
    text: `
      UPDATE relays SET leased_by = NULL, leased_until = NULL, told = coalesce($5, told),
        attempts = CASE WHEN $6 = 'later' THEN attempts + 1 ELSE 0 END,
        reason = CASE WHEN $6 = 'quiet' THEN reason ELSE $7 END,
        due_at = CASE
          WHEN $6 = 'told' OR moves <> $4 THEN now()
          WHEN $6 = 'later' THEN now() + $8 * interval '1 millisecond' END
      WHERE company_id = $1 AND message_id = $2 AND leased_by = $3`,
    values: [
      ...[report.companyId, report.id, owner, report.moves],
      end.do === 'told' ? end.status : null,
      end.do,
      'reason' in end ? end.reason : null,
      end.do === 'later' ? end.inMs : 0,
    ],
  });
  return rowCount === 1;
}

/** A company whose texts come to us. */
export type RelayState = {
  readonly companyId: number;
  readonly brand: Brand;
  readonly route: readonly string[];
  /** Whether there is an address for its texts. */
  readonly on: boolean;
  /** Texts of the last 24 hours. */
  readonly texts: number;
  /** Of which the platform is yet to be told something that it did not take so far. */
  readonly untold: number;
  /** Of which it will not be told: it refused, or did not answer for too long. */
  readonly givenUp: number;
};

export async function readRelayStates(db: Db, companyId?: number): Promise<RelayState[]> {
  const { rows } = await db.query<RelayState>(
    `SELECT c.company_id AS "companyId", c.brand, c.route, k.live AS "on", r.*
     FROM companies c
     CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM company_keys k WHERE k.company_id = c.company_id
       AND k.use = 'texts' AND (k.expires_at IS NULL OR k.expires_at > now())) AS live) k
     CROSS JOIN LATERAL (
       SELECT count(*)::int AS texts, count(*) FILTER (WHERE attempts > 0)::int AS untold,
         count(*) FILTER (WHERE due_at IS NULL AND reason IS NOT NULL)::int AS "givenUp"
       FROM relays r WHERE r.company_id = c.company_id AND r.accepted_at > now() - interval '24 hours') r
     WHERE c.removed_at IS NULL AND ($1::int IS NULL OR c.company_id = $1)
     ORDER BY c.company_id`,
    [companyId ?? null],
  );
  return rows;
}
