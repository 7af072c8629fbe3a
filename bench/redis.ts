/**
 * Redis from Debian, on a free loopback port with a directory of its own. Persistence is what a Debian install
 * has: snapshots (after 3600 s and 1 change, 300 s and 100, 60 s and 10,000), append-only file off.
 */
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import type { Server } from './children.ts';
import { accepts, freePort, startServer } from './children.ts';

type Redis = Server & {
  port: number;
};

export async function startRedis(workDir: string): Promise<Redis> {
  const port = await freePort();
  const directory = await mkdtemp(join(workDir, 'redis-'));
  const settings = {
    bind: '127.0.0.1',
    port,
    dir: directory,
    save: '3600 1 300 100 60 10000',
    appendonly: 'no',
  };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const server = await startServer({ name: 'redis', file: 'redis-server', args }, () => accepts(port));
  return { port, stop: server.stop };
}
