/**
 * Ports on which nobody listens, looked at first and used later. They lie below those that a system gives to whoever asks
 * for any, so that nobody gets one of them in between. Each belongs to the process that looked until that ends: a service
 * of another that took it meanwhile would answer in the place of the one that is just starting.
 */
import { once } from 'node:events';
import { createServer, type ListenOptions } from 'node:net';

const FIRST = 11_000;
const PORTS = 19_200;
/** Where processes begin to look, far enough apart that they seldom meet. */
const ROW = 64;

let looked = 0;

export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST + ((process.pid * ROW + looked) % PORTS);
    looked += 1;
    if ((await isOurs(port)) && (await isFree(port))) return port;
  }
}

/** Takes it among all processes of tests on this machine, by a name of Linux's that ends with the process. */
async function isOurs(port: number): Promise<boolean> {
  return (await listener({ path: `\0otklik-tests-port-${port}` })) !== undefined;
}

async function isFree(port: number): Promise<boolean> {
  const server = await listener({ port, host: '127.0.0.1' });
  if (server === undefined) return false;
  server.close();
  await once(server, 'close');
  return true;
}

async function listener(options: ListenOptions) {
  const server = createServer().listen(options).unref();
  return once(server, 'listening').then(
    () => server,
    () => undefined,
  );
}
