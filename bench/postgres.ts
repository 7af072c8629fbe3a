/**
 * One PostgreSQL for everybody compared: the embedded one with its stock settings (fsync and synchronous_commit
 * on), or the server named by BENCH_DATABASE_URL, whose user may create databases.
 */
import { join } from 'node:path';
import pg from 'pg';
import { type Bench, progress } from './run.ts';

export type Postgres = {
  version: string;
  /** A fresh, empty database; returns its URL. */
  createDatabase(name: string): Promise<string>;
  /** Writes out what earlier rounds left dirty, so that the next one does not pay for it. */
  checkpoint(): Promise<void>;
};

export async function startPostgres(bench: Bench): Promise<Postgres> {
  const url = process.env.BENCH_DATABASE_URL ?? (await startOwn(bench));
  const admin = new pg.Client({ connectionString: url });
  await admin.connect();
  bench.onEnd(() => admin.end());
  const version = await admin.query<{ server_version: string }>('SHOW server_version');

  return {
    version: version.rows[0]?.server_version ?? 'unknown',
    createDatabase: async name => {
      await admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
      await admin.query(`CREATE DATABASE ${name}`);
      bench.onEnd(() =>
        admin
          .query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
          // A vacuum at work there is the server's own, which we may not end; without FORCE it makes way by itself.
          .catch(() => admin.query(`DROP DATABASE IF EXISTS ${name}`)),
      );
      const database = new URL(url);
      database.pathname = `/${name}`;
      return database.href;
    },
    checkpoint: async () => {
      // CHECKPOINT itself takes a role that ours has no need of; a file copy asks for one before it begins.
      await admin.query('DROP DATABASE IF EXISTS bench_checkpoint');
      await admin.query('CREATE DATABASE bench_checkpoint STRATEGY file_copy');
      await admin.query('DROP DATABASE bench_checkpoint');
    },
  };
}

async function startOwn(bench: Bench): Promise<string> {
  const { startEmbedded } = await import('../src/store/embedded.ts');
  const starting = startEmbedded({
    dataDir: join(bench.workDir, 'postgres'),
    log: event => progress(event),
  });
  // Registered before it has started: an interruption meanwhile waits for it and ends it too.
  bench.onEnd(() =>
    starting.then(
      server => server.stop(),
      () => undefined,
    ),
  );
  return (await starting).url;
}
