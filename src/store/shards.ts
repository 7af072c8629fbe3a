/**
 * Leases of the 64 shards. Whoever holds a shard is the only one to process its events; a lease not renewed in time
 * passes to another process.
 *
 * Fencing: a batch's transaction locks its shards FOR KEY SHARE and checks the owner, a renewal is a plain UPDATE
 * (which KEY SHARE lets through), and a takeover locks FOR UPDATE SKIP LOCKED (which it does not). So a shard never
 * changes hands while a batch of its old owner can still commit.
 */
import type { Db } from './pool.ts';

/** Takes up to `wanted` shards that are free or expired. Returns those taken. */
export async function takeShards(db: Db, owner: string, wanted: number, leaseMs: number): Promise<number[]> {
  const { rows } = await db.query<{ shard: number }>(
    `WITH free AS MATERIALIZED (
       SELECT shard FROM shards WHERE leased_until < now() AND owner IS DISTINCT FROM $1
       ORDER BY shard LIMIT $2 FOR UPDATE SKIP LOCKED)
     UPDATE shards SET owner = $1, leased_until = now() + $3 * interval '1 millisecond'
     WHERE shard IN (SELECT shard FROM free)
     RETURNING shard`,
    [owner, wanted, leaseMs],
  );
  return rows.map(row => row.shard);
}

/** Renews what `owner` still holds. Returns the shards that are still theirs. */
export async function renewShards(db: Db, owner: string, leaseMs: number): Promise<number[]> {
  const { rows } = await db.query<{ shard: number }>(
    `UPDATE shards SET leased_until = now() + $2 * interval '1 millisecond' WHERE owner = $1 RETURNING shard`,
    [owner, leaseMs],
  );
  return rows.map(row => row.shard);
}

/** Gives shards back before their time, for others to take at once. */
export async function releaseShards(db: Db, owner: string, shards: readonly number[]): Promise<void> {
  await db.query(
    `UPDATE shards SET owner = NULL, leased_until = '-infinity' WHERE owner = $1 AND shard = ANY($2::smallint[])`,
    [owner, shards],
  );
}

/** Says that `owner` is alive for `leaseMs` and returns how many such processes there are, this one included. */
export async function announceWorker(db: Db, owner: string, leaseMs: number): Promise<number> {
  const { rows } = await db.query<{ alive: number }>(
    `WITH gone AS (DELETE FROM workers WHERE alive_until < now() AND id <> $1),
     here AS (
       INSERT INTO workers (id, alive_until) VALUES ($1, now() + $2 * interval '1 millisecond')
       ON CONFLICT (id) DO UPDATE SET alive_until = EXCLUDED.alive_until)
     SELECT count(*) FILTER (WHERE alive_until >= now() AND id <> $1) + 1 AS alive FROM workers`,
    [owner, leaseMs],
  );
  return rows[0]?.alive ?? 1;
}

/** Leaves: gives back every shard and is no longer counted. */
export async function retireWorker(db: Db, owner: string): Promise<void> {
  await db.query(
    `WITH gone AS (DELETE FROM workers WHERE id = $1)
     UPDATE shards SET owner = NULL, leased_until = '-infinity' WHERE owner = $1`,
    [owner],
  );
}

/** Within a batch's transaction: which of these shards are still `owner`'s, held so until it ends. */
export async function fenceShards(db: Db, owner: string, shards: readonly number[]): Promise<Set<number>> {
  const { rows } = await db.query<{ shard: number }>({
    name: 'fence_shards',
    text: `SELECT shard FROM shards WHERE owner = $1 AND shard = ANY($2::smallint[])
      ORDER BY shard FOR KEY SHARE`,
    values: [owner, shards],
  });
  return new Set(rows.map(row => row.shard));
}
