/**
 * The log in PostgreSQL: adaptive group commit into `webhook_events`. Events are inserted in the order of arrival
 * (sorting by key would destroy it); two receivers that insert the same keys crosswise deadlock and retry.
 */
import { createGroupCommit } from '../store/group-commit.ts';
import { findIds, insertEvents, type NewEvent } from '../store/inbox.ts';
import { type Pool, retried, troubleOf } from '../store/pool.ts';
import { type Appended, type IngestLog, Unstorable } from './ingest-log.ts';

/** One flush at a time. Two side by side halved the batches and took a third more of PostgreSQL's time. */
const BATCH = 512;
/** At 256 KiB a body the worst case is 1 GiB; at the usual 2 kB it is 8 MB and half a second of work. */
const WAITING = 4_096;
/** With a lookup of the key before it, well within the 10 s after which the sender gives up. */
const APPEND_LIMIT_MS = 4_500;

export function createPostgresLog({ pool, onAppended }: { pool: Pool; onAppended: () => void }): IngestLog {
  const group = createGroupCommit<NewEvent, Appended | Unstorable>({
    flush: async batch => {
      const results = await store(pool, batch);
      onAppended();
      return results;
    },
    batchLimit: BATCH,
    waitingLimit: WAITING,
    // The event may still be stored later; the copy that its sender then sends is the same event.
    limitMs: APPEND_LIMIT_MS,
  });
  return {
    async append(event) {
      const result = await group.add(event);
      if (result instanceof Unstorable) throw result;
      return result;
    },
    flushed: () => group.idle(),
  };
}

async function store(pool: Pool, batch: readonly NewEvent[]): Promise<(Appended | Unstorable)[]> {
  try {
    return await retried(() => insert(pool, batch));
  } catch (error) {
    if (troubleOf(error) !== 'data') throw error;
    return storeOneByOne(pool, batch, error);
  }
}

/** One bad event spoils the statement of all: find it. */
async function storeOneByOne(
  pool: Pool,
  batch: readonly NewEvent[],
  cause: unknown,
): Promise<(Appended | Unstorable)[]> {
  if (batch.length === 1) return [new Unstorable('the database cannot hold these values', { cause })];
  const results: (Appended | Unstorable)[] = [];
  for (const event of batch) results.push(...(await store(pool, [event])));
  return results;
}

async function insert(pool: Pool, batch: readonly NewEvent[]): Promise<Appended[]> {
  const first = new Map<string, NewEvent>();
  for (const event of batch) if (!first.has(event.eventId)) first.set(event.eventId, event);
  const inserted = await insertEvents(pool, [...first.values()]);
  if (inserted === batch.length) return batch.map(({ id }) => ({ id, duplicate: false }));
  const ids = inserted === first.size ? undefined : await findIds(pool, [...first.keys()]);
  return batch.map(event => {
    const id = ids?.get(event.eventId) ?? first.get(event.eventId)?.id ?? event.id;
    return { id, duplicate: id !== event.id };
  });
}
