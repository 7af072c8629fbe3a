/** What `restore` does to a database, each within its one transaction. */
import pg from 'pg';
import type { EpochMs } from '../domain/time.ts';
import { type CopyClient, listTables } from './copy.ts';
import { applyMigrations } from './migrate.ts';

/** What is there in a database that was only migrated and opened. */
const NOT_DATA = new Set(['alert_watch', 'migrations', 'settings', 'shards', 'workers']);

/** The first reason why a database is not free to be restored into; undefined when it is. */
export async function whyNotFresh(client: CopyClient): Promise<string | undefined> {
  const shapes = await listTables(client);
  const tables = shapes.map(table => table.name);
  if (tables.length === 0) return undefined;
  const ours = shapes.some(({ name, columns }) => name === 'migrations' && columns.includes('applied_at'));
  if (!ours) return `it has tables that are not Otklik's, ${tables[0]} for one`;
  for (const name of tables.filter(table => !NOT_DATA.has(table))) {
    const { rows } = await client.query<{ filled: boolean }>(
      `SELECT EXISTS (SELECT FROM ${pg.escapeIdentifier(name)}) AS filled`,
    );
    if (rows[0]?.filled) return `its table ${name} has rows`;
  }
  if (!tables.includes('workers')) return undefined;
  const { rows } = await client.query<{ alive: boolean }>(
    'SELECT EXISTS (SELECT FROM workers WHERE alive_until > now()) AS alive',
  );
  return rows[0]?.alive ? 'a service is running on it' : undefined;
}

/** Makes the schema anew at the level of these migrations, with no rows at all. The caller saw that nothing is lost. */
export async function makeSchema(client: CopyClient, migrations: readonly string[]): Promise<void> {
  const old = await listTables(client);
  if (old.length > 0) await client.query(`DROP TABLE ${names(old)}`);
  await applyMigrations(client, { only: migrations });
  const made = (await listTables(client)).filter(table => table.name !== 'migrations');
  await client.query(`TRUNCATE ${names(made)}`);
}

function names(tables: readonly { readonly name: string }[]): string {
  return tables.map(table => pg.escapeIdentifier(table.name)).join(', ');
}

/** Table names, each after those it refers to. */
export async function orderOfTables(client: CopyClient): Promise<string[]> {
  const { rows } = await client.query<{ name: string; needs: string[] }>(
    `SELECT c.relname AS name, array_remove(array_agg(f.relname::text), NULL) AS needs
     FROM pg_class c
     LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'f' AND k.confrelid <> c.oid
     LEFT JOIN pg_class f ON f.oid = k.confrelid
     WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
     GROUP BY c.relname ORDER BY c.relname COLLATE "C"`,
  );
  const ordered: string[] = [];
  let rest = rows;
  while (rest.length > 0) {
    const ready = rest.filter(({ needs }) => needs.every(need => ordered.includes(need)));
    if (ready.length === 0) throw new Error('tables refer to each other in a circle');
    ordered.push(...ready.map(table => table.name));
    rest = rest.filter(table => !ready.includes(table));
  }
  return ordered;
}

/** Sequences go on after the highest number that was restored. */
export async function raiseSequences(client: CopyClient): Promise<void> {
  const { rows } = await client.query<{ table: string; column: string; sequence: string }>(
    `SELECT c.relname AS "table", a.attname AS "column", pg_get_serial_sequence(c.oid::regclass::text, a.attname) AS sequence
     FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
     WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
       AND pg_get_serial_sequence(c.oid::regclass::text, a.attname) IS NOT NULL`,
  );
  for (const { table, column, sequence } of rows) {
    const [from, highest] = [pg.escapeIdentifier(table), `max(${pg.escapeIdentifier(column)})`];
    await client.query(
      `SELECT setval($1::regclass, coalesce(${highest}, 1), ${highest} IS NOT NULL) FROM ${from}`,
      [sequence],
    );
  }
}

/** Nobody holds anything in a restored database: the processes that did know another one. */
export async function dropOwnership(client: CopyClient): Promise<void> {
  await client.query('DELETE FROM workers');
  await client.query("UPDATE shards SET owner = NULL, leased_until = '-infinity'");
  await client.query('UPDATE sweeps SET leased_by = NULL, leased_until = NULL');
  await client.query('UPDATE rereads SET leased_by = NULL, leased_until = NULL');
  await client.query('DELETE FROM alert_watch');
  await client.query('UPDATE relays SET leased_by = NULL, leased_until = NULL');
  await client.query('UPDATE ears SET leased_by = NULL, leased_until = NULL');
  // What was being done is looked at again before anything is written, so it may be done by two.
  await client.query(
    `UPDATE actions SET state = 'due', leased_by = NULL, leased_until = NULL WHERE state = 'doing'`,
  );
  // A send that was under way is looked at again at once, by the rules for a sender that is gone.
  await client.query(
    `UPDATE messages SET leased_by = NULL, leased_until = '-infinity' WHERE state = 'sending'`,
  );
}

/** Tables that hold leases, for the test that none is forgotten above. */
export const LEASED_TABLES = [
  'actions',
  'alert_watch',
  'ears',
  'messages',
  'relays',
  'rereads',
  'shards',
  'sweeps',
] as const;

/**
 * The service that made the backup went on: whatever it may have told since is not told again. Test messages,
 * alerts and requests have nothing to compare with and are cancelled; what is still wrong is found anew.
 */
export async function hush(client: CopyClient, until: EpochMs): Promise<void> {
  await client.query('UPDATE companies SET quiet_until = $1', [new Date(until).toISOString()]);
  await client.query(
    `UPDATE messages SET state = 'cancelled', error = 'a backup was restored while it waited'
     WHERE purpose IN ('test', 'alert', 'request') AND state = 'due'`,
  );
  // The next step of a route may have been taken since.
  await client.query('UPDATE messages SET fall_at = NULL WHERE fall_at IS NOT NULL');
  await client.query('DELETE FROM alerts');
}
