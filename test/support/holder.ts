/**
 * A process that holds the embedded PostgreSQL of the directory in its argument, for tests to kill or ask to stop.
 * Says one JSON object a line on stdout: the server's log events, then `held` with the URL, `failed`, or `stopped`.
 * SIGINT and SIGTERM stop it in order, after one query that shows the server outlived the signal.
 */
import pg from 'pg';
import { startEmbedded } from '../../src/store/embedded.ts';

const say = (event: string, fields: Record<string, unknown> = {}) => {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
};

const [dataDir = ''] = process.argv.slice(2);
const signalled = new Promise<void>(resolve => {
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => resolve());
});

try {
  const server = await startEmbedded({ dataDir, log: say });
  say('held', { url: server.url });
  await signalled;
  const client = new pg.Client(server.url);
  await client.connect();
  await client.query('SELECT 1');
  await client.end();
  await server.stop();
  say('stopped');
} catch (error) {
  say('failed', { name: error instanceof Error ? error.name : 'unknown', message: String(error) });
  process.exitCode = 1;
}
