import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { EmbeddedError } from './failure.ts';

// Below the ephemeral range of Linux (32768) and macOS (49152): no outgoing connection can sit on our port while
// the server is down.
const FIRST = 20_000;
const LAST = 31_999;
const TRIES = 100;

export async function pickPort(): Promise<number> {
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    const port = randomInt(FIRST, LAST + 1);
    if (await isFree(port)) return port;
  }
  throw new EmbeddedError(`no free port on 127.0.0.1 after ${TRIES} tries between ${FIRST} and ${LAST}`);
}

export function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)));
  });
}
