/**
 * Ports on which nobody listens, looked at first and used later. They lie below those that a system gives to whoever asks
 * for any, so that nobody gets one of them in between, and each process of tests looks along a row of its own.
 */
import { once } from 'node:events';
import { createServer } from 'node:net';

const FIRST = 11_000;
const ROW = 64;
const ROWS = 300;

let looked = 0;

export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST + (((process.pid % ROWS) * ROW + looked) % (ROWS * ROW));
    looked += 1;
    if (await isFree(port)) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
