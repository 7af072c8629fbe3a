import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import pg from 'pg';
import { startEmbedded } from '../../src/store/embedded.ts';
import { until } from '../support/until.ts';

const ROUNDS = 12;
const WRITERS = 4;
const ACKNOWLEDGED_PER_ROUND = 500;

test('no acknowledged row is lost when the embedded server is killed with SIGKILL again and again', async t => {
  const dataDir = await mkdtemp(join(tmpdir(), 'otklik-fault-'));
  const log: string[] = [];
  const server = await startEmbedded({ dataDir, log: event => log.push(event) });
  t.after(async () => {
    await server.stop();
    await rm(dataDir, { recursive: true, force: true });
  });
  await withClient(server.url, client => client.query('CREATE TABLE rows (id bigint PRIMARY KEY)'));

  const acknowledged: number[] = [];
  let next = 0;
  /** Until the connection breaks. */
  const write = async (client: pg.Client): Promise<never> => {
    for (;;) {
      const id = next;
      next += 1;
      await client.query('INSERT INTO rows VALUES ($1)', [id]);
      acknowledged.push(id);
    }
  };

  for (let round = 1; round <= ROUNDS; round += 1) {
    const before = acknowledged.length;
    const writers = Array.from({ length: WRITERS }, () => withClient(server.url, write));
    const cut = Promise.allSettled(writers);
    await until(() => acknowledged.length - before >= ACKNOWLEDGED_PER_ROUND, {
      what: `round ${round} has its rows`,
      timeoutMs: 60_000,
    });
    process.kill(await postmasterPid(dataDir), 'SIGKILL');
    for (const outcome of await cut) assert.equal(outcome.status, 'rejected');
    const kept = await until(() => withClient(server.url, readIds).catch(() => undefined), {
      what: `the server is back after round ${round}`,
      timeoutMs: 60_000,
    });
    // It answers a moment before its keeper knows it: killed in between, two deaths would be one return.
    await until(() => log.filter(event => event === 'postgres.back').length === round, {
      what: `the return of round ${round} is told`,
      timeoutMs: 60_000,
    });
    assert.deepEqual(
      acknowledged.filter(id => !kept.has(id)),
      [],
    );
  }
  t.diagnostic(`${ROUNDS} kills, ${acknowledged.length} rows acknowledged, 0 lost`);
});

async function readIds(client: pg.Client): Promise<Set<number>> {
  const { rows } = await client.query<{ id: string }>('SELECT id FROM rows');
  return new Set(rows.map(row => Number(row.id)));
}

async function postmasterPid(dataDir: string): Promise<number> {
  const [pid] = (await readFile(join(dataDir, 'postgres/postmaster.pid'), 'utf8')).split('\n');
  return Number(pid);
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(url);
  client.on('error', () => {});
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end().catch(() => {});
  }
}
