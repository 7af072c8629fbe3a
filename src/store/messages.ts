/** The outbox, `messages`: everything that goes out, and every try. One function is one statement, none for nothing. */
import type { ChannelName, RejectedScope } from '../channels/channel.ts';
import type { Facts, NoticeKind } from '../domain/notice.ts';
import type { Covered, PlannedPurpose } from '../domain/plan.ts';
import type { Fall } from '../domain/route.ts';
import type { EpochMs } from '../domain/time.ts';
import { int4Array, int8Array, uuidArray } from './binary.ts';
import { storableJson } from './json.ts';
import type { Db } from './pool.ts';
import { TOLD_ATTEMPTS } from './receipts.ts';

export type MessageKey = { readonly companyId: number; readonly id: string };

export type DueNotice = {
  readonly companyId: number;
  /** UUIDv7 used if there is no open notice yet. */
  readonly id: string;
  readonly recordId: number;
  readonly recipient: string;
  readonly step: number;
  readonly dueAt: EpochMs;
  readonly now: EpochMs;
};

/** A burst may put a notice off, but by no more than this many settle times. */
const SETTLE_LIMIT = 10;

/**
 * Opens notices, or puts off the open ones by the settle time. One that is being sent is left alone: whoever ends it
 * compares again. A notice waiting for a retry keeps its hour.
 */
export async function openNotices(db: Db, notices: readonly DueNotice[]): Promise<void> {
  if (notices.length === 0) return;
  await db.query({
    name: 'open_notices',
    text: `
      INSERT INTO messages AS m (company_id, id, record_id, purpose, recipient, step, due_at, created_at, updated_at)
      SELECT company_id, id, record_id, 'notice', recipient, step, due_at, now_at, now_at
      FROM jsonb_to_recordset($1::jsonb) AS r (company_id int, id uuid, record_id bigint, recipient text, step int,
        due_at timestamptz, now_at timestamptz)
      ON CONFLICT (company_id, record_id, purpose, recipient, step)
        WHERE purpose = 'notice' AND state IN ('due', 'sending', 'sent', 'delivered', 'unknown')
      DO UPDATE SET
        due_at = least(EXCLUDED.due_at, m.created_at + ${SETTLE_LIMIT} * (EXCLUDED.due_at - EXCLUDED.created_at)),
        updated_at = EXCLUDED.updated_at
      WHERE m.state = 'due' AND m.attempts = 0`,
    values: [
      JSON.stringify(
        notices.map(notice => ({
          company_id: notice.companyId,
          id: notice.id,
          record_id: notice.recordId,
          recipient: notice.recipient,
          step: notice.step,
          due_at: new Date(notice.dueAt).toISOString(),
          now_at: new Date(notice.now).toISOString(),
        })),
      ),
    ],
  });
}

export type NoticesOf = { readonly companyId: number; readonly recordId: number; readonly dueAt: EpochMs };

/** Puts open notices of these bookings off until `dueAt`, where they would leave before. */
export async function holdNotices(db: Db, holds: readonly NoticesOf[]): Promise<void> {
  await moveNotices(db, 'hold_notices', 'm.due_at < r.due_at', holds);
}

/** Lets open notices of these bookings go at `dueAt`, where they would leave later. */
export async function releaseNotices(db: Db, releases: readonly NoticesOf[]): Promise<void> {
  await moveNotices(db, 'release_notices', 'm.due_at > r.due_at', releases);
}

/** A notice that waits for a retry keeps its hour. Index: messages_of_record. */
async function moveNotices(
  db: Db,
  name: string,
  condition: string,
  moves: readonly NoticesOf[],
): Promise<void> {
  if (moves.length === 0) return;
  await db.query({
    name,
    text: `UPDATE messages m SET due_at = r.due_at
      FROM unnest($1::int4[], $2::int8[], $3::timestamptz[]) AS r (company_id, record_id, due_at)
      WHERE m.company_id = r.company_id AND m.record_id = r.record_id AND m.purpose = 'notice' AND m.state = 'due'
        AND m.attempts = 0 AND ${condition}`,
    values: [
      int4Array(moves.map(move => move.companyId)),
      int8Array(moves.map(move => move.recordId)),
      moves.map(move => new Date(move.dueAt).toISOString()),
    ],
  });
}

/** Puts a test message into the outbox, due now. */
export async function insertTestMessage(
  db: Db,
  {
    companyId,
    id,
    recipient,
    channel,
    now,
  }: MessageKey & { recipient: string; channel: string; now: EpochMs },
): Promise<void> {
  await db.query(
    `INSERT INTO messages (company_id, id, purpose, recipient, channel, due_at) VALUES ($1, $2, 'test', $3, $4, $5)`,
    [companyId, id, recipient, channel, new Date(now).toISOString()],
  );
}

export type Candidate = MessageKey & { readonly recordId: number | null; readonly recipient: string };

export type MessagePurpose =
  | 'notice'
  | 'request'
  | 'test'
  | 'alert'
  | 'digest'
  | 'batch'
  | 'relay'
  | PlannedPurpose;

/** A record of a visit as a planned message speaks of it. */
export type SaidRecord = Covered & Facts;

/**
 * Messages due, those whose sender's lease ran out, and those whose next step is due, oldest first. Nothing is locked
 * yet. Indexes: messages_due, messages_sending, messages_falling.
 */
export async function findDue(db: Db, now: EpochMs, limit: number): Promise<Candidate[]> {
  const { rows } = await db.query<Candidate>({
    name: 'find_due',
    text: `
      (SELECT company_id AS "companyId", id, record_id AS "recordId", recipient FROM messages
       WHERE state = 'due' AND due_at <= $1 ORDER BY due_at LIMIT $2)
      UNION ALL
      (SELECT company_id, id, record_id, recipient FROM messages
       WHERE state = 'sending' AND leased_until < now() ORDER BY leased_until LIMIT $2)
      UNION ALL
      (SELECT company_id, id, record_id, recipient FROM messages
       WHERE state = 'sent' AND fall_at <= $1 ORDER BY fall_at LIMIT $2)`,
    values: [new Date(now).toISOString(), limit],
  });
  return rows;
}

/** A message as a claim or a settlement needs it. */
export type OpenMessage = MessageKey & {
  readonly recordId: number | null;
  readonly purpose: MessagePurpose;
  readonly recipient: string;
  readonly step: number;
  /** `sent`: the next step of its route is due. */
  readonly state: 'due' | 'sending' | 'sent';
  /** By all channels. */
  readonly attempts: number;
  /** By the present channel, and since when. */
  readonly tries: number;
  readonly triedSince: EpochMs | null;
  /** When a channel first took it. */
  readonly sentAt: EpochMs | null;
  readonly falls: readonly Fall[];
  readonly error: string | null;
  readonly uncertain: boolean;
  readonly kind: NoticeKind | null;
  readonly channel: ChannelName | null;
  readonly before: Facts | null;
  readonly after: Facts | null;
  /** Of a planned message. */
  readonly rule: string | null;
  readonly plannedFor: EpochMs | null;
  /** What it covers; from its first claim on with what is said of it. */
  readonly visit: readonly (Covered & Partial<Facts>)[] | null;
  /** Of an alert and of a text of the platform, its words; of others nothing before they were sent. */
  readonly subject: string | null;
  readonly body: string | null;
};

const OPEN_COLUMNS = `company_id AS "companyId", id, record_id AS "recordId", purpose, recipient, step, state, attempts,
  tries, tried_since AS "triedSince", sent_at AS "sentAt", falls, error, uncertain, kind, channel, told_before AS before, told_after AS after, rule,
  planned_for AS "plannedFor", visit, subject, body`;

/** A message that is due, or whose sender is gone. */
export type DueMessage = OpenMessage & {
  /** How long ago it was first tried, where that may have gone out; null where it certainly has not. */
  readonly doubtMs: number | null;
  /** Of one whose next step is due. */
  readonly lastOutcome: Attempt['outcome'] | null;
  /** A provider told that it has arrived, by whichever channel. */
  readonly heard: boolean;
  /** Why its latest try failed after all, as the provider told later. */
  readonly undelivered: string | null;
};

/**
 * Locks candidates that are still due, or still abandoned; those another process holds are left out. Of an attempt
 * whose process vanished nothing is known but its lease.
 */
export async function lockDue(
  db: Db,
  { now, leaseMs }: { readonly now: EpochMs; readonly leaseMs: number },
  keys: readonly MessageKey[],
): Promise<DueMessage[]> {
  const { rows } = await db.query<DueMessage>({
    name: 'lock_due',
    text: `
      SELECT ${OPEN_COLUMNS}, CASE WHEN state = 'sending' THEN greatest(
          extract(epoch FROM $1::timestamptz - (SELECT min(started_at) FROM attempts a
            WHERE a.company_id = messages.company_id AND a.message_id = messages.id AND a.channel = messages.channel)),
          CASE WHEN leased_by IS NOT NULL THEN extract(epoch FROM now() - leased_until) + $4::float8 / 1000 END
        )::float8 * 1000 END AS "doubtMs",
        CASE WHEN state = 'sent' THEN (SELECT outcome FROM attempts a WHERE a.company_id = messages.company_id
          AND a.message_id = messages.id AND a.number = messages.attempts) END AS "lastOutcome",
        state <> 'due' AND EXISTS (SELECT FROM ${TOLD_ATTEMPTS}
          WHERE a.company_id = messages.company_id AND a.message_id = messages.id AND r.status <> 'failed') AS heard,
        CASE WHEN state = 'sent' THEN (SELECT r.reason FROM ${TOLD_ATTEMPTS}
          WHERE a.company_id = messages.company_id AND a.message_id = messages.id AND a.number = messages.attempts
            AND r.status = 'failed' LIMIT 1) END AS undelivered
      FROM messages
      WHERE (company_id, id) IN (SELECT * FROM unnest($2::int4[], $3::uuid[]))
        AND ((state = 'due' AND due_at <= $1) OR (state = 'sending' AND leased_until < now())
          OR (state = 'sent' AND fall_at <= $1))
      ORDER BY due_at FOR UPDATE SKIP LOCKED`,
    values: [
      new Date(now).toISOString(),
      int4Array(keys.map(key => key.companyId)),
      uuidArray(keys.map(key => key.id)),
      leaseMs,
    ],
  });
  return rows;
}

/**
 * What may have left by one of these channels, and was given up because it was true no more, is true again: whoever sent
 * it counts as gone once more, so that it is repeated under its id. Index: messages_once.
 */
export async function takeUpAgain(
  db: Db,
  told: readonly { companyId: number; recordId: number | null; recipient: string; step: number }[],
  channels: readonly ChannelName[],
): Promise<void> {
  if (told.length === 0 || channels.length === 0) return;
  await db.query({
    name: 'take_up_again',
    text: `
      UPDATE messages m SET state = 'sending', leased_by = NULL, leased_until = now(), error = NULL
      FROM unnest($1::int4[], $2::int8[], $3::text[], $4::int4[]) AS r (company_id, record_id, recipient, step)
      WHERE m.company_id = r.company_id AND m.record_id = r.record_id AND m.purpose = 'notice'
        AND m.recipient = r.recipient AND m.step = r.step AND m.state = 'unknown' AND m.channel = ANY ($5::text[])`,
    values: [
      told.map(({ companyId }) => companyId),
      told.map(({ recordId }) => recordId),
      told.map(({ recipient }) => recipient),
      told.map(({ step }) => step),
      channels,
    ],
  });
}

/**
 * SQL: whether who is behind the address `k` agrees to a category, by their last word; unasked, they do. Found by the
 * key. Where the client is known they are asked as well: a refusal of either holds.
 */
export function agrees(company: string, category: ConsentCategory): string {
  return `coalesce((SELECT granted FROM consents c WHERE c.company_id = ${company} AND c.channel = k.channel
    AND c.address = CASE k.channel WHEN 'email' THEN lower(k.address) ELSE k.address END
    AND c.category = '${category}' ORDER BY c.id DESC LIMIT 1), true)`;
}

/** SQL: the same of a client, on the channel of `k`, wherever they are reached there. Index: consents_of_client. */
export function clientAgrees(company: string, client: string, category: ConsentCategory): string {
  return `coalesce((SELECT granted FROM consents c WHERE c.company_id = ${company} AND c.client_id = ${client}
    AND c.category = '${category}' AND c.channel IN (k.channel, '*') ORDER BY c.id DESC LIMIT 1), true)`;
}

export type ConsentCategory = 'service' | 'advertising';

/** SQL: channels where no address is needed, so that a refusal of all channels is one of these, too. */
export const PLACELESS = `unnest(ARRAY['console', 'webhook'])`;

/** Where and how a person may be reached. */
export type Contact = {
  readonly companyId: number;
  readonly clientId: number;
  readonly name: string;
  readonly phone: string;
  readonly email: string;
  readonly refuses: boolean;
  readonly wantsAdvertising: boolean;
  readonly addresses: { readonly [channel: string]: string };
  /** Channels on which they said that they want no messages about their visits. */
  readonly refusedOn: readonly string[];
  /** The same of advertising. */
  readonly refusedAdvertisingOn: readonly string[];
};

export async function findContacts(
  db: Db,
  clients: readonly { readonly companyId: number; readonly clientId: number }[],
): Promise<Contact[]> {
  if (clients.length === 0) return [];
  const { rows } = await db.query<Contact>({
    name: 'find_contacts',
    text: `
      SELECT p.company_id AS "companyId", p.client_id AS "clientId", p.name, p.phone, p.email,
        p.refuses OR p.deleted AS refuses, p.newsletter AS "wantsAdvertising",
        coalesce(w.addresses, '{}') AS addresses, coalesce(w.refused_on, '{}') AS "refusedOn",
        coalesce(w.refused_advertising_on, '{}') AS "refusedAdvertisingOn"
      FROM people p CROSS JOIN LATERAL (
        SELECT jsonb_object_agg(a.channel, a.address) FILTER (WHERE a.address IS NOT NULL) AS addresses,
          array_agg(a.channel) FILTER (WHERE NOT a.granted) AS refused_on,
          array_agg(a.channel) FILTER (WHERE NOT a.advertising) AS refused_advertising_on
        FROM (
          SELECT DISTINCT ON (k.channel) k.channel, k.address,
            ${agrees('p.company_id', 'service')}
              AND ${clientAgrees('p.company_id', 'p.client_id', 'service')} AS granted,
            ${agrees('p.company_id', 'advertising')}
              AND ${clientAgrees('p.company_id', 'p.client_id', 'advertising')} AS advertising
          FROM (
            SELECT channel, address, true AS set_for_them, created_at FROM addresses
            WHERE company_id = p.company_id AND client_id = p.client_id
            UNION ALL
            SELECT channel, chat, false, created_at FROM chats WHERE company_id = p.company_id AND phone = p.phone
            UNION ALL
            SELECT 'email', p.email, false, '-infinity' WHERE p.email <> ''
            UNION ALL
            SELECT channel, p.phone, false, '-infinity' FROM unnest(ARRAY['sms', 'whatsapp']) AS channel
            WHERE p.phone ~ '^\\+[1-9][0-9]{6,14}$'
            UNION ALL
            SELECT channel, NULL, false, '-infinity' FROM ${PLACELESS} AS channel) k
          ORDER BY k.channel, k.set_for_them DESC, k.created_at DESC) a) w
      WHERE (p.company_id, p.client_id) IN (SELECT * FROM unnest($1::int4[], $2::int8[]))`,
    values: [clients.map(client => client.companyId), clients.map(client => client.clientId)],
  });
  return rows;
}

/** The states a message may end in, or go back to, and what is known then. */
export type MessageEnd = MessageKey & {
  readonly state:
    | 'due'
    | 'sending'
    | 'sent'
    | 'delivered'
    | 'failed'
    | 'dead'
    | 'unknown'
    | 'superseded'
    | 'expired';
  readonly error: string | null;
  /** For `due`, and for `sending` where the outcome is unknown: when to try again. */
  readonly retryInMs: number | null;
  /** It was claimed and never given to its channel: the claim is no try. */
  readonly untried?: true;
  /** For `sent`: when the next step of its route is due; null: none is. */
  readonly fallAt: EpochMs | null;
  /** All of them by now; null: as they were. */
  readonly falls: readonly Fall[] | null;
  readonly providerId: string | null;
  readonly subject: string | null;
  readonly body: string | null;
};

/** Ends messages, or puts them back. The caller holds them locked or leased. */
export async function endMessages(db: Db, ends: readonly MessageEnd[], now: EpochMs): Promise<void> {
  if (ends.length === 0) return;
  await db.query({
    name: 'end_messages',
    text: `
      UPDATE messages m SET state = r.state, error = r.error,
        due_at = CASE WHEN r.state = 'due' THEN $2::timestamptz + r.retry_in * interval '1 millisecond' ELSE m.due_at END,
        provider_id = coalesce(r.provider_id, m.provider_id), subject = coalesce(r.subject, m.subject),
        body = coalesce(r.body, m.body), leased_by = NULL,
        leased_until = CASE WHEN r.state = 'sending' THEN now() + r.retry_in * interval '1 millisecond' END,
        uncertain = m.uncertain OR r.state = 'sending', updated_at = $2,
        sent_at = CASE WHEN r.state = 'sent' THEN coalesce(m.sent_at, $2::timestamptz) ELSE m.sent_at END,
        fall_at = r.fall_at, falls = coalesce(r.falls, m.falls),
        attempts = m.attempts - (r.untried IS TRUE)::int, tries = m.tries - (r.untried IS TRUE)::int
      FROM jsonb_to_recordset($1::jsonb) AS r (company_id int, id uuid, state text, error text, retry_in float8, untried boolean,
        fall_at timestamptz, falls jsonb, provider_id text, subject text, body text)
      WHERE m.company_id = r.company_id AND m.id = r.id`,
    values: [
      storableJson(
        ends.map(({ companyId, retryInMs, fallAt, providerId, ...rest }) => ({
          ...rest,
          company_id: companyId,
          retry_in: retryInMs,
          fall_at: fallAt === null ? null : new Date(fallAt).toISOString(),
          provider_id: providerId,
        })),
      ),
      new Date(now).toISOString(),
    ],
  });
}

export type Claim = MessageKey & {
  readonly kind: NoticeKind | null;
  readonly channel: ChannelName;
  /** All channels that were left for it. */
  readonly falls: readonly Fall[];
  /** The last holder of the claim is gone, and with it what became of its attempt. */
  readonly uncertain: boolean;
  readonly before: Facts | null;
  readonly after: Facts | null;
  readonly visit: readonly SaidRecord[] | null;
  /** What made it say this, where that is known. */
  readonly requestId: string | null;
  readonly traceparent: string | null;
};

/** Claims messages for sending: what they say is fixed, one attempt begins, the lease runs. */
export async function claimMessages(
  db: Db,
  owner: string,
  leaseMs: number,
  claims: readonly Claim[],
  now: EpochMs,
): Promise<void> {
  if (claims.length === 0) return;
  await db.query({
    name: 'claim_messages',
    text: `
      UPDATE messages m SET state = 'sending', kind = r.kind, channel = r.channel, told_before = r.before,
        told_after = r.after, visit = coalesce(r.visit, m.visit), attempts = m.attempts + 1, leased_by = $2,
        leased_until = now() + $3 * interval '1 millisecond', uncertain = r.uncertain,
        request_id = coalesce(r.request_id, m.request_id), traceparent = coalesce(r.traceparent, m.traceparent),
        falls = r.falls, fall_at = NULL, tries = CASE WHEN m.channel = r.channel THEN m.tries + 1 ELSE 1 END,
        tried_since = CASE WHEN m.channel = r.channel THEN coalesce(m.tried_since, $4) ELSE $4 END
      FROM jsonb_to_recordset($1::jsonb) AS r (company_id int, id uuid, kind text, channel text, uncertain boolean,
        falls jsonb, before jsonb, after jsonb, visit jsonb, request_id text, traceparent text)
      WHERE m.company_id = r.company_id AND m.id = r.id`,
    values: [
      JSON.stringify(
        claims.map(({ companyId, requestId, ...rest }) => ({
          ...rest,
          company_id: companyId,
          request_id: requestId,
        })),
      ),
      owner,
      leaseMs,
      new Date(now).toISOString(),
    ],
  });
}

/** Locks what `owner` still holds claimed, among these. A claim whose lease passed to another is not among them. */
export async function lockClaimed(
  db: Db,
  owner: string,
  keys: readonly MessageKey[],
): Promise<OpenMessage[]> {
  const { rows } = await db.query<OpenMessage>({
    name: 'lock_claimed',
    text: `
      SELECT ${OPEN_COLUMNS} FROM messages
      WHERE (company_id, id) IN (SELECT * FROM unnest($2::int4[], $3::uuid[])) AND state = $4 AND leased_by = $1
      ORDER BY company_id, id FOR UPDATE`,
    // The state is a parameter: by its name the index of all that is being sent would look as good as the key.
    values: [owner, int4Array(keys.map(key => key.companyId)), uuidArray(keys.map(key => key.id)), 'sending'],
  });
  return rows;
}

export type Hush = MessageKey & {
  readonly state: 'unknown' | 'superseded';
  readonly error: string;
  readonly kind: NoticeKind;
  readonly before: Facts | null;
  readonly after: Facts;
};

/** Ends due notices that are not sent and count as heard: stated with what they would have said, and why. */
export async function hushMessages(db: Db, hushes: readonly Hush[], now: EpochMs): Promise<void> {
  if (hushes.length === 0) return;
  await db.query({
    name: 'hush_messages',
    text: `
      UPDATE messages m SET state = r.state, kind = r.kind, told_before = r.before, told_after = r.after,
        error = r.error, updated_at = $2
      FROM jsonb_to_recordset($1::jsonb) AS r (company_id int, id uuid, state text, error text, kind text, before jsonb,
        after jsonb)
      WHERE m.company_id = r.company_id AND m.id = r.id`,
    values: [
      JSON.stringify(hushes.map(({ companyId, ...rest }) => ({ ...rest, company_id: companyId }))),
      new Date(now).toISOString(),
    ],
  });
}

export type Attempt = MessageKey & {
  readonly number: number;
  readonly channel: string;
  readonly startedAt: EpochMs;
  readonly finishedAt: EpochMs;
  readonly outcome: 'sent' | 'retry' | 'rejected' | 'unknown';
  readonly reason: string;
  readonly providerId: string | null;
  /** Of a rejection: whose fault it was. */
  readonly scope: RejectedScope | null;
  /** Of an e-mail, where it went. */
  readonly address: string | null;
};

/**
 * What an attempt came to takes the place of that nobody knew it: whoever sent it was taken for gone. So its receipts find it.
 *
 * Of a message whose recipient was erased meanwhile it is kept that it was tried, and nothing else. Whoever settles holds
 * its booking and has asked for the message before: an erasure that is under way has ended by then.
 */
export async function recordAttempts(db: Db, attempts: readonly Attempt[]): Promise<void> {
  if (attempts.length === 0) return;
  await db.query({
    name: 'record_attempts',
    text: `
      INSERT INTO attempts AS t (company_id, message_id, number, channel, started_at, finished_at, outcome, reason, provider_id,
        scope, address)
      SELECT r.company_id, r.id, r.number, r.channel, r.started_at, r.finished_at, r.outcome,
        CASE WHEN m.recipient LIKE 'erased:%' THEN '' ELSE r.reason END,
        CASE WHEN m.recipient LIKE 'erased:%' THEN NULL ELSE r.provider_id END, r.scope,
        CASE WHEN m.recipient LIKE 'erased:%' THEN NULL ELSE r.address END
      FROM jsonb_to_recordset($1::jsonb) AS r (company_id int, id uuid, number int, channel text,
        started_at timestamptz, finished_at timestamptz, outcome text, reason text, provider_id text,
        scope text, address text)
      LEFT JOIN messages m ON m.company_id = r.company_id AND m.id = r.id
      ON CONFLICT (company_id, message_id, number) DO UPDATE SET finished_at = EXCLUDED.finished_at,
        outcome = EXCLUDED.outcome, reason = EXCLUDED.reason, provider_id = EXCLUDED.provider_id, scope = EXCLUDED.scope,
        address = EXCLUDED.address
      WHERE t.outcome = 'unknown' AND EXCLUDED.outcome <> 'unknown'`,
    values: [
      storableJson(
        attempts.map(({ companyId, startedAt, finishedAt, providerId, ...rest }) => ({
          ...rest,
          company_id: companyId,
          started_at: new Date(startedAt).toISOString(),
          finished_at: new Date(finishedAt).toISOString(),
          provider_id: providerId,
        })),
      ),
    ],
  });
}

/** Notices not yet ended: due or being sent. */
export async function countOpenNotices(db: Db, companyId?: number): Promise<number> {
  const { rows } = await db.query<{ open: number }>(
    `SELECT count(*) AS open FROM messages
     WHERE purpose = 'notice' AND state IN ('due', 'sending') AND ($1::int IS NULL OR company_id = $1)`,
    [companyId ?? null],
  );
  return rows[0]?.open ?? 0;
}
