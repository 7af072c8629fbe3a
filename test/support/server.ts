/** A PostgreSQL for the length of one run: in a temporary directory, fast rather than durable. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbedded } from '../../src/store/embedded.ts';

type ThrowawayServer = { url: string; stop(): Promise<void> };

/** Nothing here outlives a crash, so nothing is synced; autovacuum would hold databases that tests want to drop. */
const SETTINGS = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', autovacuum: 'off' };

export async function throwawayServer(): Promise<ThrowawayServer> {
  const dataDir = await mkdtemp(join(tmpdir(), 'otklik-test-'));
  const server = await startEmbedded({ dataDir, settings: SETTINGS, log: () => {} });
  return {
    url: server.url,
    stop: async () => {
      await server.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
