/**
 * What messengers brought by calls of theirs, until it is understood; and what could not be, from whichever messenger.
 * One function is one statement.
 */
import { createHash } from 'node:crypto';
import type { EpochMs } from '../domain/time.ts';
import { storableJson } from './json.ts';
import type { Db } from './pool.ts';

export type NewHeard = {
  readonly channel: string;
  /** The messenger's own id of it. */
  readonly updateId: string;
  readonly said: object;
};

/** Keeps what is new of these, in their order. Answers how much there was. */
export async function saveHeard(db: Db, updates: readonly NewHeard[]): Promise<number> {
  if (updates.length === 0) return 0;
  const { rowCount } = await db.query({
    name: 'save_heard',
    text: `
      INSERT INTO heard (channel, update_id, said)
      SELECT channel, update_id, said::jsonb FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY
        AS r (channel, update_id, said, n)
      ORDER BY n ON CONFLICT DO NOTHING`,
    values: [
      updates.map(({ channel }) => channel),
      updates.map(({ updateId }) => createHash('sha256').update(updateId).digest('base64url')),
      updates.map(({ said }) => storableJson(said)),
    ],
  });
  return rowCount ?? 0;
}

/** Takes the oldest: what they say is gone with the transaction. Another process waits, so that a chat keeps its order. */
export async function takeHeard<T>(
  db: Db,
  channel: string,
  limit: number,
): Promise<{ readonly updateId: string; readonly said: T; readonly heardAt: EpochMs }[]> {
  const { rows } = await db.query<{ updateId: string; said: T; heardAt: EpochMs }>({
    name: 'take_heard',
    text: `
      WITH oldest AS (
        SELECT update_id, id, said, heard_at FROM heard WHERE channel = $1 AND said IS NOT NULL AND error IS NULL
        ORDER BY id LIMIT $2 FOR UPDATE),
      taken AS (
        UPDATE heard h SET said = NULL FROM oldest WHERE h.channel = $1 AND h.update_id = oldest.update_id)
      SELECT update_id AS "updateId", said, heard_at AS "heardAt" FROM oldest ORDER BY id`,
    values: [channel, limit],
  });
  return rows;
}

/** Keeps what could not be understood, with why, as long as anything that was heard. `updateId` is a row's, or a new one. */
export async function keepAside(
  db: Db,
  { channel, updateId, said, error }: NewHeard & { readonly error: string },
): Promise<void> {
  await db.query(
    `INSERT INTO heard (channel, update_id, said, error) VALUES ($1, $2, $3::jsonb, $4)
     ON CONFLICT (channel, update_id) DO UPDATE SET said = EXCLUDED.said, error = EXCLUDED.error`,
    [channel, updateId, storableJson(said), error],
  );
}

export type Aside = {
  readonly channel: string;
  readonly count: number;
  readonly lastAt: EpochMs;
  readonly lastError: string;
};

export type AsideUpdate = {
  readonly id: number;
  readonly channel: string;
  readonly heardAt: EpochMs;
  /** What it was read as; null: it is gone, whoever said it was erased. */
  readonly kind: string | null;
  readonly error: string;
};

/** What was kept aside, newest first, without what was said. Index: heard_aside. */
export async function listAside(db: Db, limit: number): Promise<AsideUpdate[]> {
  const { rows } = await db.query<AsideUpdate>(
    `SELECT id, channel, heard_at AS "heardAt", said ->> 'kind' AS kind, error FROM heard
     WHERE error IS NOT NULL ORDER BY id DESC LIMIT $1`,
    [limit],
  );
  return rows;
}

/** Puts it, or all there is (null), back to be heard. Answers how much there was; not what was taken, nor what is gone. */
export async function putBackAside(db: Db, id: number | null): Promise<number> {
  const { rowCount } = await db.query(
    'UPDATE heard SET error = NULL WHERE error IS NOT NULL AND said IS NOT NULL AND ($1::bigint IS NULL OR id = $1)',
    [id],
  );
  return rowCount ?? 0;
}

/** What was kept aside, by channel. Index: heard_aside. */
export async function readAside(db: Db): Promise<Aside[]> {
  const { rows } = await db.query<Aside>(
    `SELECT channel, count(*) AS count, max(heard_at) AS "lastAt",
       (array_agg(error ORDER BY heard_at DESC))[1] AS "lastError"
     FROM heard WHERE error IS NOT NULL GROUP BY channel ORDER BY channel`,
  );
  return rows;
}
