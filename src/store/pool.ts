/** Connections to PostgreSQL, transactions, and what its errors mean. */
import pg from 'pg';

export type Pool = pg.Pool;
/** Anything a statement can be run on: the pool, or the client of a transaction. */
export type Db = Pick<pg.PoolClient, 'query'>;

const INT8 = 20;
const TIMESTAMP = 1114;
const TIMESTAMPTZ = 1184;

/** bigint as number (ids and sequences stay far below 2^53), timestamptz as EpochMs, timestamp as Wall. */
const types = new pg.TypeOverrides();
types.setTypeParser(INT8, Number);
types.setTypeParser(TIMESTAMPTZ, text => {
  if (text === '-infinity') return Number.NEGATIVE_INFINITY;
  return Date.parse(`${text.replace(' ', 'T')}:00`);
});
types.setTypeParser(TIMESTAMP, text => text.replace(' ', 'T'));

export type PoolOptions = {
  readonly max: number;
  /** Shown in pg_stat_activity. */
  readonly name: string;
  /** A statement that runs longer is cancelled. */
  readonly statementTimeoutMs: number;
  /** Every statement finds its rows by key: see `BY_KEY`. Views and reports scan and join, and need the planner's choice. */
  readonly byKey?: boolean;
};

/**
 * A plan made while a table was new reads it whole, and is kept until the statistics change: at 5,000 bookings the
 * statements of the loops took 1 ms each in place of 0.1 ms. For what finds rows by key an index and a nested loop are
 * always right, so nothing else is offered, and one plan serves all executions. A row that is read costs as much as a
 * page, since a table that is small today is not tomorrow: what reads the fewest rows wins.
 */
const BY_KEY = ['seqscan', 'hashjoin', 'mergejoin', 'bitmapscan']
  .map(name => `-c enable_${name}=off`)
  .concat('-c cpu_tuple_cost=1', '-c plan_cache_mode=force_generic_plan')
  .join(' ');

export function createPool(url: string, { max, name, statementTimeoutMs, byKey = false }: PoolOptions): Pool {
  const pool = new pg.Pool({
    connectionString: url,
    max,
    types,
    application_name: name,
    connectionTimeoutMillis: 3_000,
    idleTimeoutMillis: 30_000,
    statement_timeout: statementTimeoutMs,
    // The server that hangs cancels nothing: the same limit on our side, a little later.
    query_timeout: statementTimeoutMs + 250,
    idle_in_transaction_session_timeout: 30_000,
    // Statements given to one connection together travel together: a batch of ten costs one round trip, not ten.
    pipeline: true,
    options: `-c TimeZone=UTC ${byKey ? BY_KEY : ''}`,
  });
  // A connection that breaks is replaced; its query, or the next one, tells. Unheard, the event would end the process.
  pool.on('error', () => {});
  pool.on('connect', client => client.on('error', () => {}));
  return pool;
}

/**
 * Runs `work` in one transaction; commits when it resolves, rolls back when it rejects. `durable: false` lets the
 * commit return before the disk has it: for work that would be done again in the same way after a crash.
 *
 * Statements that do not need each other's answers are given together (`Promise.all`): they run in that order, and
 * the connection sends them in one go. When one fails, those after it fail too, and so does the transaction. What is
 * still given to it then is refused: on its own it would be committed, perhaps in the next transaction of the connection.
 */
export async function transaction<T>(
  pool: Pool,
  work: (db: Db) => Promise<T>,
  { durable = true }: { durable?: boolean } = {},
): Promise<T> {
  const client = await pool.connect();
  const { db, end, causeOf } = watched(client);
  let broken: Error | undefined;
  try {
    const begin = client.query(durable ? 'BEGIN' : 'BEGIN; SET LOCAL synchronous_commit = off');
    const [, result] = await Promise.all([begin, work(db)]);
    end();
    const { command } = await client.query('COMMIT');
    if (command !== 'COMMIT')
      throw new Error('a statement failed and the work went on: all of it was rolled back');
    return result;
  } catch (error) {
    end();
    await client.query('ROLLBACK').catch((cause: Error) => {
      broken = cause;
    });
    throw causeOf(error);
  } finally {
    client.release(broken);
  }
}

/** Of one piece of work. Two that lock crosswise are told apart by the first; more than one needs a busy moment. */
const CONFLICT_TRIES = 5;

/** Does `work` again while another transaction is in its way: a deadlock ends one of the two, which was right in itself. */
export async function retried<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      if (troubleOf(error) !== 'conflict' || tries >= CONFLICT_TRIES) throw error;
    }
  }
}

/** Runs `work` within a transaction so that, should it reject, what it has written is taken back and the rest goes on. */
export async function savepoint<T>(db: Db, work: () => Promise<T>): Promise<T> {
  await db.query('SAVEPOINT part');
  try {
    const result = await work();
    await db.query('RELEASE part');
    return result;
  } catch (error) {
    await db.query('ROLLBACK TO part; RELEASE part');
    throw error;
  }
}

/** Rejects with what `late` makes when `work` takes longer. What was given to the database goes on all the same. */
export async function inTime<T>(work: Promise<T>, limitMs: number, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(late()), limitMs);
  });
  try {
    return await Promise.race([work, limit]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Holds back what is written to this connection until the work at hand is through: the statements of one round trip leave
 * in one write. At 200 events a second writing each by itself was a seventh of the process's time.
 */
function sendTogether(client: pg.PoolClient): void {
  if (!(client instanceof pg.Client)) return;
  const { stream } = client.connection;
  // pg corks the same stream around each statement; what it holds leaves when nobody holds it any more.
  stream.cork();
  process.nextTick(() => stream.uncork());
}

/** What a statement is answered in a transaction that has failed already (in_failed_sql_transaction). */
const FAILED_BEFORE = '25P02';

/**
 * A transaction's connection until its end. Statements given together with one that fails fail after it for no reason of
 * their own, and which of them a `Promise.all` names is chance: `causeOf` answers with the one that had a reason.
 */
function watched(client: pg.PoolClient): { db: Db; end(): void; causeOf(error: unknown): unknown } {
  let ended = false;
  let cause: unknown;
  const onFailure = (error: unknown) => {
    if (sqlState(error) !== FAILED_BEFORE) cause = error;
  };
  const db = new Proxy(client, {
    get(target, name) {
      const value = Reflect.get(target, name, target);
      if (name !== 'query') return value;
      return (...given: unknown[]) => {
        if (ended) return Promise.reject(new Error('a statement was given to a transaction that has ended'));
        sendTogether(target);
        const result = Reflect.apply(value, target, given);
        if (result instanceof Promise) result.catch(onFailure);
        return result;
      };
    },
  });
  return {
    db,
    end: () => {
      ended = true;
    },
    causeOf: error => (sqlState(error) === FAILED_BEFORE ? (cause ?? error) : error),
  };
}

/**
 * What an error of the database means for the work at hand.
 * - `conflict`: another transaction was in the way; the same work may be tried again at once.
 * - `unavailable`: no database now (down, starting, full, timed out); try again later.
 * - `data`: these values cannot be stored, now or later.
 * - `bug`: anything else.
 */
export type Trouble = 'conflict' | 'unavailable' | 'data' | 'bug';

export function troubleOf(error: unknown): Trouble {
  const code = sqlState(error);
  if (code === undefined) return isConnectionError(error) ? 'unavailable' : 'bug';
  if (code === '40001' || code === '40P01' || code === '55P03') return 'conflict';
  // 08 connection, 53 resources (disk full, connections), 57 shutdown or cancel, 58 system, XX001 corruption is not retried.
  if (/^(08|53|57|58)/.test(code)) return 'unavailable';
  // 22 data exception, 23 constraint, 54 limits (a JSON too deep for the stack), 21 cardinality.
  if (/^(21|22|23|54)/.test(code)) return 'data';
  return 'bug';
}

/** The statement was ended because it took too long (query_canceled): half of its work may be done in time. */
export function tookTooLong(error: unknown): boolean {
  return sqlState(error) === '57014';
}

/** Another row stands where this one would (unique_violation). */
export function isTaken(error: unknown): boolean {
  return sqlState(error) === '23505';
}

function sqlState(error: unknown): string | undefined {
  if (!(error instanceof pg.DatabaseError)) return undefined;
  return error.code;
}

const CONNECTION_CODES = /^(ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN)/;

function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = 'code' in error ? String(error.code) : '';
  // pg gives what it says itself no code. A TypeError with such a word is of our making: it read `timeout` of nothing.
  return (
    CONNECTION_CODES.test(code) ||
    (error.name === 'Error' && /connection|timeout|terminated|not queryable/i.test(error.message))
  );
}
