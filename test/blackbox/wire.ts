/** Below HTTP: bytes as they are written to a socket, and a connection that a test can cut or freeze. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

export type Spoken = { text: string; ms: number; closed: boolean };

/**
 * Writes the parts to a new connection and answers what came back, once a whole answer is there or the other side
 * hangs up. `dripMs` goes on writing one of `drip` after each such pause, whatever the other side says and even when it
 * has ended its own half: only a connection that is cut ends it.
 */
export function speak(
  port: number,
  parts: readonly (string | Buffer)[],
  { drip = '', dripMs = 0, untilClosed = false, timeoutMs = 50_000 } = {},
): Promise<Spoken> {
  return new Promise(resolve => {
    const started = performance.now();
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: dripMs > 0 });
    let text = '';
    const dripping = dripMs > 0 ? setInterval(() => socket.write(drip), dripMs) : undefined;
    const finish = (closed: boolean) => {
      clearInterval(dripping);
      clearTimeout(deadline);
      socket.destroy();
      resolve({ text, ms: performance.now() - started, closed });
    };
    const deadline = setTimeout(() => finish(false), timeoutMs);
    socket.setEncoding('latin1');
    socket.on('error', () => {});
    socket.on('close', () => finish(true));
    socket.on('data', (more: string) => {
      text += more;
      if (!untilClosed && isWhole(text)) finish(false);
    });
    for (const part of parts) socket.write(part);
  });
}

function isWhole(text: string): boolean {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0 || text.startsWith('HTTP/1.1 100')) return false;
  const length = /\r\ncontent-length: *(\d+)/i.exec(text.slice(0, end))?.[1];
  return length !== undefined && text.length >= end + 4 + Number(length);
}

/** The status and the media type of an answer's bytes. */
export function read({ text }: Spoken): { status: number; type: string; body: string } {
  const end = text.indexOf('\r\n\r\n');
  const head = text.slice(0, end);
  return {
    status: Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1]),
    type: /\r\ncontent-type: *([^\r;]*)/i.exec(head)?.[1] ?? '',
    body: Buffer.from(text.slice(end + 4), 'latin1').toString(),
  };
}

export type Link = {
  url: string;
  /** Cuts what is connected and refuses what comes, as a server that is down does. */
  cut(): void;
  /** Lets connections stand and passes nothing on, as a server that hangs does. */
  freeze(): void;
  mend(): void;
  close(): Promise<void>;
};

/** A road to the database of `url` that can be broken. */
export async function breakableLink(url: string): Promise<Link> {
  const target = new URL(url);
  const pairs = new Set<readonly [Socket, Socket]>();
  let mode: 'open' | 'cut' | 'frozen' = 'open';
  const server = createServer(near => {
    if (mode === 'cut') {
      near.destroy();
      return;
    }
    const far = connect(Number(target.port), target.hostname);
    const pair = [near, far] as const;
    pairs.add(pair);
    for (const [from, to] of [pair, [far, near] as const]) {
      from.on('data', bytes => to.write(bytes));
      from.on('error', () => {});
      from.on('close', () => {
        pairs.delete(pair);
        to.destroy();
      });
      if (mode === 'frozen') from.pause();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const own = new URL(url);
  own.hostname = '127.0.0.1';
  own.port = String(address !== null && typeof address === 'object' ? address.port : 0);
  const destroyAll = () => {
    for (const pair of pairs) for (const socket of pair) socket.destroy();
  };
  return {
    url: own.href,
    cut: () => {
      mode = 'cut';
      destroyAll();
    },
    freeze: () => {
      mode = 'frozen';
      for (const pair of pairs) for (const socket of pair) socket.pause();
    },
    mend: () => {
      mode = 'open';
      for (const pair of pairs) for (const socket of pair) socket.resume();
    },
    close: async () => {
      destroyAll();
      await new Promise(done => server.close(done));
    },
  };
}
