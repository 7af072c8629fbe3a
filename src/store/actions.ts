/** What people asked for by an answer, until it is done. One function is one statement. */
import type { ActionKind } from '../domain/answer.ts';
import type { Facts } from '../domain/notice.ts';
import type { EpochMs } from '../domain/time.ts';
import type { Db } from './pool.ts';

/** A message that was answered. */
export type Answered = {
  readonly companyId: number;
  readonly messageId: string;
  readonly recordId: number;
  readonly recipient: string;
  /** What it said was true. */
  readonly facts: Facts;
};

export async function findAnswered(
  db: Db,
  { companyId, messageId }: { readonly companyId: number; readonly messageId: string },
): Promise<Answered | undefined> {
  const { rows } = await db.query<Answered>({
    name: 'find_answered',
    text: `
      SELECT company_id AS "companyId", id AS "messageId", record_id AS "recordId", recipient, told_after AS facts
      FROM messages WHERE company_id = $1 AND id = $2 AND record_id IS NOT NULL AND told_after IS NOT NULL`,
    values: [companyId, messageId],
  });
  return rows[0];
}

/** What became of the last answer to a message; undefined: it was not answered. */
export async function findAnswer(
  db: Db,
  { companyId, messageId }: { readonly companyId: number; readonly messageId: string },
): Promise<
  { readonly kind: ActionKind; readonly state: string; readonly reason: string | null } | undefined
> {
  const { rows } = await db.query<{ kind: ActionKind; state: string; reason: string | null }>({
    name: 'find_answer',
    text: `
      SELECT kind, state, reason FROM actions
      WHERE company_id = $1 AND message_id = $2 ORDER BY id DESC LIMIT 1`,
    values: [companyId, messageId],
  });
  return rows[0];
}

export type NewAction = {
  readonly id: string;
  readonly kind: ActionKind;
  readonly answered: Answered;
  readonly channel: string;
  readonly chat: string;
  readonly now: EpochMs;
};

/** Asks for an action. False: the same is under way already. */
export async function insertAction(db: Db, action: NewAction): Promise<boolean> {
  const { companyId, recordId, messageId, recipient } = action.answered;
  const { rowCount } = await db.query({
    name: 'insert_action',
    text: `
      INSERT INTO actions (company_id, id, kind, record_id, message_id, recipient, channel, chat, due_at, created_at,
        updated_at)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $9)
      ON CONFLICT (company_id, record_id, kind) WHERE state IN ('due', 'doing') DO NOTHING`,
    values: [
      ...[companyId, action.id, action.kind, recordId, messageId, recipient, action.channel, action.chat],
      new Date(action.now).toISOString(),
    ],
  });
  return rowCount === 1;
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

/** Claims actions that are due, or whose process is gone, the oldest first. */
export async function claimActions(
  db: Db,
  claim: { readonly owner: string; readonly leaseMs: number; readonly now: EpochMs; readonly limit: number },
): Promise<Action[]> {
  const { rows } = await db.query<Action>({
    name: 'claim_actions',
    text: `
      WITH free AS (
        SELECT company_id, id FROM actions
        WHERE state IN ('due', 'doing') AND due_at <= $1 AND (leased_until IS NULL OR leased_until < now())
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

export type ActionEnd = {
  readonly state: 'done' | 'refused' | 'failed' | 'due';
  readonly reason: string | null;
  /** For `due`. */
  readonly dueAt?: EpochMs;
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
      UPDATE actions SET state = $4, reason = $5, due_at = coalesce($6, due_at), updated_at = $7, leased_by = NULL,
        leased_until = NULL
      WHERE company_id = $1 AND id = $2 AND state = 'doing' AND leased_by = $3`,
    values: [
      ...[companyId, id, owner, end.state, end.reason],
      end.dueAt === undefined ? null : new Date(end.dueAt).toISOString(),
      new Date(now).toISOString(),
    ],
  });
  return rowCount === 1;
}
