/** What people asked for by an answer, until it is done. One function is one statement. */
import type { ActionKind } from '../domain/answer.ts';
import type { Facts } from '../domain/notice.ts';
import type { EpochMs } from '../domain/time.ts';
import type { ClientKey } from './plans.ts';
import type { Db } from './pool.ts';

/** A message that was answered. */
export type Answered = {
  readonly companyId: number;
  readonly messageId: string;
  readonly recipient: string;
  /** What it said was true of each record it spoke of, by their beginning; one at least. */
  readonly records: readonly (Facts & { readonly recordId: number })[];
};

/** A notice speaks of its record; a planned message of those of its visit. */
const ANSWERED = `company_id AS "companyId", id AS "messageId", recipient, CASE WHEN jsonb_array_length(visit) > 0
  THEN visit ELSE jsonb_build_array(told_after || jsonb_build_object('recordId', record_id)) END AS records`;

export async function findAnswered(
  db: Db,
  { companyId, messageId }: { readonly companyId: number; readonly messageId: string },
): Promise<Answered | undefined> {
  const { rows } = await db.query<Answered>({
    name: 'find_answered',
    text: `
      SELECT ${ANSWERED} FROM messages WHERE company_id = $1 AND id = $2 AND record_id IS NOT NULL AND told_after IS NOT NULL`,
    values: [companyId, messageId],
  });
  return rows[0];
}

/** `leftAt`: by this channel; null where it only may have. */
export type LastAnswerable = Answered & { readonly leftAt: EpochMs | null };

/**
 * The last message of a visit that stands that one of these clients was sent on this channel: what a word of `saidAt`
 * answers. It may have gone on to another channel since, as an SMS does that is late: whoever answers has read it.
 * Messages of the last month only, as their clients may have been told elsewhere of what came after. Indexes:
 * bookings_of_client, messages_of_record, the key of attempts.
 */
export async function findLastAnswerable(
  db: Db,
  {
    channel,
    clients,
    saidAt,
    now,
  }: { channel: string; clients: readonly ClientKey[]; saidAt: EpochMs; now: EpochMs },
): Promise<LastAnswerable | undefined> {
  const { rows } = await db.query<LastAnswerable>({
    name: 'find_last_answerable',
    text: `
      SELECT ${ANSWERED}, t.left_at AS "leftAt"
      FROM unnest($2::int4[], $3::int8[]) AS c (company, client)
      CROSS JOIN LATERAL (
        SELECT company_id AS company, record_id AS record FROM bookings b
        WHERE b.company_id = c.company AND b.client_id = c.client AND b.starts_at > $4 AND b.state <> 'cancelled'
          AND b.told -> ('client:' || c.client) -> 'facts' ->> 'status' IS DISTINCT FROM 'cancelled' OFFSET 0) b
      JOIN messages m ON m.company_id = b.company AND m.record_id = b.record AND m.recipient = 'client:' || c.client
      CROSS JOIN LATERAL (
        SELECT count(*) AS times, max(finished_at) FILTER (WHERE outcome = 'sent') AS left_at FROM attempts a
        WHERE a.company_id = m.company_id AND a.message_id = m.id AND a.channel = $1
          AND a.outcome IN ('sent', 'unknown')) t
      WHERE t.times > 0 AND m.purpose IN ('notice', 'reminder') AND m.told_after IS NOT NULL
        AND m.created_at > $4::timestamptz - interval '31 days'
        AND m.told_after ->> 'status' = 'booked'
        AND ((m.told_after ->> 'startsLocal')::timestamp AT TIME ZONE (SELECT zone FROM companies o
          WHERE o.company_id = m.company_id)) > $4
        AND coalesce(t.left_at, m.created_at) <= $5
      ORDER BY t.left_at DESC NULLS LAST, m.id DESC LIMIT 1`,
    values: [
      channel,
      clients.map(({ companyId }) => companyId),
      clients.map(({ clientId }) => clientId),
      new Date(now).toISOString(),
      new Date(saidAt).toISOString(),
    ],
  });
  return rows[0];
}

/** What came of the last answer to one record of a message. */
export type RecordAnswer = {
  readonly id: string;
  readonly recordId: number;
  readonly kind: ActionKind;
  readonly state: 'due' | 'doing' | 'done' | 'refused' | 'failed';
  readonly reason: string | null;
  readonly link: string | null;
};

/** What became of the answers to a message; none: it was not answered. */
export async function findAnswers(
  db: Db,
  { companyId, messageId }: { readonly companyId: number; readonly messageId: string },
): Promise<RecordAnswer[]> {
  const { rows } = await db.query<RecordAnswer>({
    name: 'find_answers',
    text: `
      SELECT DISTINCT ON (record_id, kind) id, record_id AS "recordId", kind, state, reason, link FROM actions
      WHERE company_id = $1 AND message_id = $2 AND state <> 'asked' ORDER BY record_id, kind, id DESC`,
    values: [companyId, messageId],
  });
  return rows;
}

/** Keeps others from ending answers to this message meanwhile, so that one of them is the last. */
export async function lockAnswers(
  db: Db,
  { companyId, messageId }: { readonly companyId: number; readonly messageId: string },
): Promise<void> {
  await db.query({
    name: 'lock_answers',
    text: 'SELECT id FROM actions WHERE company_id = $1 AND message_id = $2 ORDER BY id FOR UPDATE',
    values: [companyId, messageId],
  });
}

export type NewAction = {
  readonly kind: ActionKind;
  readonly answered: Answered;
  readonly channel: string;
  readonly chat: string;
  readonly now: EpochMs;
  /** To be done; or only asked for, until they say that they mean it. */
  readonly state?: 'due' | 'asked';
};

/** Asks for an action on each record of the message; one that is under way already goes on. Answers how many are new. */
export async function insertActions(db: Db, newId: () => string, action: NewAction): Promise<number> {
  const { companyId, records, messageId, recipient } = action.answered;
  const { rowCount } = await db.query({
    name: 'insert_actions',
    text: `
      INSERT INTO actions (company_id, id, kind, record_id, message_id, recipient, channel, chat, state, due_at,
        created_at, updated_at)
      SELECT $1, r.id, $2, r.record_id, $3, $4, $5, $6, $7, $8, $8, $8
      FROM unnest($9::uuid[], $10::int8[]) AS r (id, record_id)
      ON CONFLICT (company_id, record_id, kind) WHERE state IN ('due', 'doing') DO NOTHING`,
    values: [
      ...[companyId, action.kind, messageId, recipient, action.channel, action.chat, action.state ?? 'due'],
      new Date(action.now).toISOString(),
      records.map(newId),
      records.map(({ recordId }) => recordId),
    ],
  });
  return rowCount ?? 0;
}

export type Question = { readonly companyId: number; readonly messageId: string; readonly askedAt: EpochMs };

/**
 * The question whether to cancel that a word asked for in this chat since `since`, before what was said at `saidAt`; it is
 * answered by that.
 */
export async function takeAsked(
  db: Db,
  { channel, chat, saidAt, since }: Record<'channel' | 'chat', string> & Record<'saidAt' | 'since', EpochMs>,
): Promise<Question | undefined> {
  const { rows } = await db.query<Question>({
    name: 'take_asked',
    text: `
      DELETE FROM actions WHERE channel = $1 AND chat = $2 AND state = 'asked' AND created_at <= $3
      RETURNING company_id AS "companyId", message_id AS "messageId", created_at AS "askedAt"`,
    values: [channel, chat, new Date(saidAt).toISOString()],
  });
  return rows.filter(({ askedAt }) => askedAt > since).toSorted((a, b) => b.askedAt - a.askedAt)[0];
}

export type Action = {
  readonly companyId: number;
  readonly id: string;
  readonly kind: ActionKind;
  readonly recordId: number;
  readonly messageId: string;
  readonly recipient: string;
  readonly channel: string;
  readonly chat: string;
  /** This try included. */
  readonly attempts: number;
};

/**
 * Claims actions that are due, or whose process is gone, the oldest first; of one record one at a time, in the order in
 * which they were asked for: who confirms and then cancels is not told that they are expected. What is being done is not
 * overtaken, though it was asked for by a process whose clock is ahead. Index: actions_once.
 */
export async function claimActions(
  db: Db,
  claim: { readonly owner: string; readonly leaseMs: number; readonly now: EpochMs; readonly limit: number },
): Promise<Action[]> {
  const { rows } = await db.query<Action>({
    name: 'claim_actions',
    text: `
      WITH free AS (
        SELECT company_id, id FROM actions a
        WHERE state IN ('due', 'doing') AND due_at <= $1 AND (leased_until IS NULL OR leased_until < now())
          AND NOT EXISTS (SELECT FROM actions o WHERE o.company_id = a.company_id AND o.record_id = a.record_id
            AND o.state IN ('due', 'doing') AND (o.id < a.id OR o.leased_until >= now()))
        ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED)
      UPDATE actions a SET state = 'doing', attempts = attempts + 1, leased_by = $2,
        leased_until = now() + $3 * interval '1 millisecond', updated_at = $1
      FROM free WHERE a.company_id = free.company_id AND a.id = free.id
      RETURNING a.company_id AS "companyId", a.id, a.kind, a.record_id AS "recordId", a.message_id AS "messageId",
        a.recipient, a.channel, a.chat, a.attempts`,
    values: [new Date(claim.now).toISOString(), claim.owner, claim.leaseMs, claim.limit],
  });
  return rows;
}

export type Cancelling = {
  readonly companyId: number;
  readonly recordId: number;
  readonly recipient: string;
};

/**
 * Which of these recipients have asked since `since` to cancel these records and do not know yet what came of it.
 * Index: actions_once, record by record: joined, it was read whole.
 */
export async function findCancelling(
  db: Db,
  recipients: readonly Cancelling[],
  since: EpochMs,
): Promise<Cancelling[]> {
  if (recipients.length === 0) return [];
  const { rows } = await db.query<Cancelling>({
    name: 'find_cancelling',
    text: `
      SELECT company_id AS "companyId", record_id AS "recordId", r.recipient
      FROM unnest($1::int4[], $2::int8[], $3::text[]) AS r (company, record, recipient)
      CROSS JOIN LATERAL (
        SELECT company_id, record_id FROM actions a
        WHERE a.company_id = r.company AND a.record_id = r.record AND a.recipient = r.recipient
          AND a.kind = 'cancel' AND a.state IN ('due', 'doing') AND a.created_at > $4 LIMIT 1) a`,
    values: [
      recipients.map(({ companyId }) => companyId),
      recipients.map(({ recordId }) => recordId),
      recipients.map(({ recipient }) => recipient),
      new Date(since).toISOString(),
    ],
  });
  return rows;
}

export type ActionEnd = {
  readonly state: 'done' | 'refused' | 'failed' | 'due';
  readonly reason: string | null;
  /** For `due`. */
  readonly dueAt?: EpochMs;
  /** Where the visit can be moved. */
  readonly link?: string;
};

/** Ends an action or puts it back. False: its lease passed to another process, whose word stands. */
export async function endAction(
  db: Db,
  { companyId, id }: Pick<Action, 'companyId' | 'id'>,
  { owner, now, end }: { readonly owner: string; readonly now: EpochMs; readonly end: ActionEnd },
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'end_action',
    text: `
      UPDATE actions SET state = $4, reason = $5, due_at = coalesce($6, due_at), updated_at = $7, link = $8,
        leased_by = NULL, leased_until = NULL
      WHERE company_id = $1 AND id = $2 AND state = 'doing' AND leased_by = $3`,
    values: [
      ...[companyId, id, owner, end.state, end.reason],
      end.dueAt === undefined ? null : new Date(end.dueAt).toISOString(),
      new Date(now).toISOString(),
      end.link ?? null,
    ],
  });
  return rowCount === 1;
}
