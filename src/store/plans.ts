/** Messages that are planned ahead of their moment, and the work of planning anew. One function is one statement. */
import type { Covered, PlannedPurpose } from '../domain/plan.ts';
import type { EpochMs } from '../domain/time.ts';
import { int4Array, int8Array, textArray, uuidArray } from './binary.ts';
import type { Db } from './pool.ts';

export type ClientKey = { readonly companyId: number; readonly clientId: number };

export function clientKey({ companyId, clientId }: ClientKey): string {
  return `${companyId}:${clientId}`;
}

export type ClientWishes = ClientKey & { readonly refuses: boolean; readonly wantsAdvertising: boolean };

/**
 * Locks people and reads what they wish, in key order so that two callers cannot deadlock. Who plans for a client holds
 * this lock, so that of two records of one visit that are merged at once the later sees both.
 */
export async function lockClients(db: Db, clients: readonly ClientKey[]): Promise<ClientWishes[]> {
  if (clients.length === 0) return [];
  const { rows } = await db.query<ClientWishes>({
    name: 'lock_clients',
    text: `SELECT company_id AS "companyId", client_id AS "clientId", refuses OR deleted AS refuses,
        newsletter AS "wantsAdvertising"
      FROM people WHERE (company_id, client_id) IN (SELECT * FROM unnest($1::int4[], $2::int8[]))
      ORDER BY company_id, client_id FOR NO KEY UPDATE`,
    values: [
      int4Array(clients.map(client => client.companyId)),
      int8Array(clients.map(client => client.clientId)),
    ],
  });
  return rows;
}

/** The same without a lock. */
export async function findWishes(db: Db, clients: readonly ClientKey[]): Promise<ClientWishes[]> {
  const { rows } = await db.query<ClientWishes>(
    `SELECT company_id AS "companyId", client_id AS "clientId", refuses OR deleted AS refuses,
       newsletter AS "wantsAdvertising"
     FROM people WHERE (company_id, client_id) IN (SELECT * FROM unnest($1::int4[], $2::int8[]))`,
    [clients.map(client => client.companyId), clients.map(client => client.clientId)],
  );
  return rows;
}

/**
 * Those of these clients, each given once, for whom no other transaction decides what leaves; nobody else does until the
 * end of this one. Not the lock of their rows: whoever plans holds that and waits for messages, which the caller holds.
 */
export async function holdClients(db: Db, clients: readonly ClientKey[]): Promise<ClientKey[]> {
  if (clients.length === 0) return [];
  const { rows } = await db.query<ClientKey>({
    name: 'hold_clients',
    text: `SELECT company_id AS "companyId", client_id AS "clientId"
      FROM unnest($1::int4[], $2::int8[]) AS c (company_id, client_id)
      WHERE pg_try_advisory_xact_lock(company_id, hashint8(client_id))`,
    values: [
      int4Array(clients.map(client => client.companyId)),
      int8Array(clients.map(client => client.clientId)),
    ],
  });
  return rows;
}

/** A planned message that is open, or was told, or may have been, or that an operator wants unsaid. */
export type PlannedRow = {
  readonly companyId: number;
  readonly id: string;
  readonly recipient: string;
  readonly rule: string;
  readonly recordId: number;
  readonly open: boolean;
  readonly plannedFor: EpochMs;
  readonly sentAt: EpochMs | null;
  /** The same, or since when it is being sent, or may have been. */
  readonly leftAt: EpochMs | null;
  readonly purpose: PlannedPurpose;
  readonly covers: readonly Covered[];
};

/** Those to these clients of visits that begin after `since`, by index (messages_of_recipient) whatever the statistics. */
export async function findPlanned(
  db: Db,
  recipients: readonly { readonly companyId: number; readonly recipient: string }[],
  since: EpochMs,
): Promise<PlannedRow[]> {
  if (recipients.length === 0) return [];
  const { rows } = await db.query<PlannedRow>({
    name: 'find_planned',
    text: `SELECT m.company_id AS "companyId", m.id, m.recipient, m.rule, m.record_id AS "recordId",
        m.state = 'due' AS open, m.planned_for AS "plannedFor", m.sent_at AS "sentAt", m.purpose,
        coalesce(m.sent_at, CASE WHEN m.state NOT IN ('due', 'cancelled') THEN m.tried_since END) AS "leftAt",
        coalesce(m.visit, '[]') AS covers
      FROM (SELECT DISTINCT * FROM unnest($1::int4[], $2::text[])) AS r (company_id, recipient)
      CROSS JOIN LATERAL (
        SELECT * FROM messages
        WHERE company_id = r.company_id AND recipient = r.recipient AND rule IS NOT NULL AND visit_at > $3
          AND state = ANY ($4::text[])
        OFFSET 0) m`,
    values: [
      int4Array(recipients.map(({ companyId }) => companyId)),
      textArray(recipients.map(({ recipient }) => recipient)),
      new Date(since).toISOString(),
      // A parameter: by their names the index messages_planned_once would look as good, which is in order of records.
      textArray(['due', 'sending', 'sent', 'delivered', 'unknown', 'cancelled']),
    ],
  });
  return rows;
}

/** A message as it is to be planned; `id` is that of a stored one where it moves. */
export type PlannedWrite = {
  readonly companyId: number;
  readonly id: string;
  readonly recordId: number;
  readonly purpose: PlannedPurpose;
  readonly recipient: string;
  readonly rule: string;
  readonly plannedFor: EpochMs;
  readonly sendAt: EpochMs;
  readonly visitAt: EpochMs;
  readonly covers: readonly Covered[];
};

const WRITTEN = `jsonb_to_recordset($1::jsonb) AS r (company_id int, id uuid, record_id bigint, purpose text,
  recipient text, rule text, planned_for timestamptz, due_at timestamptz, visit_at timestamptz, visit jsonb)`;

/** Puts planned messages into the outbox. The caller holds their clients locked. */
export async function addPlanned(db: Db, messages: readonly PlannedWrite[], now: EpochMs): Promise<void> {
  if (messages.length === 0) return;
  await db.query({
    name: 'add_planned',
    text: `
      INSERT INTO messages (company_id, id, record_id, purpose, recipient, rule, planned_for, due_at, visit_at, visit,
        created_at, updated_at)
      SELECT company_id, id, record_id, purpose, recipient, rule, planned_for, due_at, visit_at, visit, $2, $2
      FROM ${WRITTEN}
      ON CONFLICT (company_id, record_id, rule, recipient, visit_at)
        WHERE rule IS NOT NULL AND state IN ('due', 'sending', 'sent', 'delivered', 'unknown') DO NOTHING`,
    values: [JSON.stringify(messages.map(rowOf)), new Date(now).toISOString()],
  });
}

/** A parameter: by its name the index of all that is due would look as good as the key. */
const DUE = 'due';

/** Moves planned messages that are not being sent to another moment or other records of their visit. */
export async function movePlanned(db: Db, messages: readonly PlannedWrite[], now: EpochMs): Promise<void> {
  if (messages.length === 0) return;
  await db.query({
    name: 'move_planned',
    text: `
      UPDATE messages m SET record_id = r.record_id, planned_for = r.planned_for, due_at = r.due_at,
        visit_at = r.visit_at, visit = r.visit, updated_at = $2
      FROM ${WRITTEN}
      WHERE m.company_id = r.company_id AND m.id = r.id AND m.state = $3`,
    values: [JSON.stringify(messages.map(rowOf)), new Date(now).toISOString(), DUE],
  });
}

/** Takes planned messages back that are not being sent. */
export async function withdrawPlanned(
  db: Db,
  messages: readonly { readonly companyId: number; readonly id: string; readonly why: string }[],
  now: EpochMs,
): Promise<void> {
  if (messages.length === 0) return;
  await db.query({
    name: 'withdraw_planned',
    text: `
      UPDATE messages m SET state = 'superseded', error = r.why, updated_at = $4
      FROM unnest($1::int4[], $2::uuid[], $3::text[]) AS r (company_id, id, why)
      WHERE m.company_id = r.company_id AND m.id = r.id AND m.state = $5`,
    values: [
      int4Array(messages.map(({ companyId }) => companyId)),
      uuidArray(messages.map(({ id }) => id)),
      textArray(messages.map(({ why }) => why)),
      new Date(now).toISOString(),
      DUE,
    ],
  });
}

function rowOf(message: PlannedWrite): Record<string, unknown> {
  return {
    company_id: message.companyId,
    id: message.id,
    record_id: message.recordId,
    purpose: message.purpose,
    recipient: message.recipient,
    rule: message.rule,
    planned_for: new Date(message.plannedFor).toISOString(),
    due_at: new Date(message.sendAt).toISOString(),
    visit_at: new Date(message.visitAt).toISOString(),
    visit: message.covers,
  };
}

/** Clients whose plan may have changed at `now`; in the transaction that changed what it is made from. */
export async function requestPlans(db: Db, clients: readonly ClientKey[], now: EpochMs): Promise<void> {
  if (clients.length === 0) return;
  await db.query({
    name: 'request_plans',
    text: `INSERT INTO plan_requests (company_id, client_id, requested_at)
      SELECT company_id, client_id, $3 FROM unnest($1::int4[], $2::int8[]) AS r (company_id, client_id)`,
    values: [
      int4Array(clients.map(({ companyId }) => companyId)),
      int8Array(clients.map(({ clientId }) => clientId)),
      new Date(now).toISOString(),
    ],
  });
}

/** A client to be planned for, and since when. */
export type PlanRequest = ClientKey & { readonly requestedAt: EpochMs };

/**
 * Takes up to `limit` requests away, those of the clients after `after`, in order of clients; what others are just taking
 * is passed over. The caller plans for them in the same transaction.
 */
export async function takePlanRequests(db: Db, after: ClientKey, limit: number): Promise<PlanRequest[]> {
  const { rows } = await db.query<PlanRequest>({
    name: 'take_plan_requests',
    text: `
      WITH taken AS MATERIALIZED (
        SELECT company_id, client_id, id FROM plan_requests WHERE (company_id, client_id) > ($1, $2)
        ORDER BY company_id, client_id, id LIMIT $3 FOR UPDATE SKIP LOCKED)
      DELETE FROM plan_requests p USING taken t
      WHERE p.company_id = t.company_id AND p.client_id = t.client_id AND p.id = t.id
      RETURNING p.company_id AS "companyId", p.client_id AS "clientId", p.requested_at AS "requestedAt"`,
    values: [after.companyId, after.clientId, limit],
  });
  return rows;
}

/** All clients of a company are to be planned anew; where that is under way it begins again. */
export async function requestReplan(db: Db, companyId: number): Promise<void> {
  await db.query(
    `INSERT INTO replans (company_id) VALUES ($1)
     ON CONFLICT (company_id) DO UPDATE SET after_client = 0, ready_xid = NULL, requested_at = now()`,
    [companyId],
  );
}

/** Notes, where not done yet, which transactions are under way by now. Returns how many companies wait. */
export async function readyReplans(db: Db): Promise<number> {
  const { rows } = await db.query<{ waiting: number }>(
    `WITH noted AS (UPDATE replans SET ready_xid = pg_snapshot_xmax(pg_current_snapshot())
       -- One that is to come was noted by another server, before a backup was restored here.
       WHERE ready_xid IS NULL OR ready_xid > pg_snapshot_xmax(pg_current_snapshot()))
     SELECT count(*) AS waiting FROM replans`,
  );
  return rows[0]?.waiting ?? 0;
}

export type Replan = { readonly companyId: number; readonly afterClient: number };

/** Locks one company that is ready and that no other process is at. */
export async function lockReplan(db: Db): Promise<Replan | undefined> {
  const { rows } = await db.query<Replan>(
    `SELECT company_id AS "companyId", after_client AS "afterClient" FROM replans
     WHERE ready_xid <= pg_snapshot_xmin(pg_current_snapshot())
     ORDER BY requested_at LIMIT 1 FOR UPDATE SKIP LOCKED`,
  );
  return rows[0];
}

/** Clients of whom a visit begins after `since`, by id. Index: bookings_of_client. */
export async function listClients(
  db: Db,
  { companyId, afterClient }: Replan,
  since: EpochMs,
  limit: number,
): Promise<number[]> {
  const { rows } = await db.query<{ clientId: number }>(
    `SELECT DISTINCT client_id AS "clientId" FROM bookings
     WHERE company_id = $1 AND client_id > $2 AND starts_at > $3 ORDER BY client_id LIMIT $4`,
    [companyId, afterClient, new Date(since).toISOString(), limit],
  );
  return rows.map(row => row.clientId);
}

export async function advanceReplan(db: Db, companyId: number, afterClient: number): Promise<void> {
  await db.query('UPDATE replans SET after_client = $2 WHERE company_id = $1', [companyId, afterClient]);
}

export async function endReplan(db: Db, companyId: number): Promise<void> {
  await db.query('DELETE FROM replans WHERE company_id = $1', [companyId]);
}
