/** A DNS server on loopback with the records of a test; and names that a test makes up. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { Names } from '../../src/commands/outside/name.ts';

/** `FAIL`: the server answers SERVFAIL. Names that are not here do not exist. */
export type Zone = Readonly<Record<string, readonly string[] | 'FAIL'>>;

const NXDOMAIN = 3;
const SERVFAIL = 2;

/** Answers A records of IPv4 addresses. RFC 1035, 4.1. */
export async function startDns(zone: Zone): Promise<{ server: string; mute(): void; close(): void }> {
  const socket = createSocket('udp4');
  socket.on('message', (asked, from) => socket.send(answerTo(asked, zone), from.port, from.address));
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return {
    server: `127.0.0.1:${socket.address().port}`,
    mute: () => socket.removeAllListeners('message'),
    close: () => socket.close(),
  };
}

function answerTo(asked: Buffer, zone: Zone): Buffer {
  const labels: string[] = [];
  let at = 12;
  for (let length = asked[at] ?? 0; length > 0; length = asked[at] ?? 0) {
    labels.push(asked.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  const question = asked.subarray(12, at + 5);
  const known = zone[labels.join('.').toLowerCase()];
  const addresses = Array.isArray(known) && asked.readUInt16BE(at + 1) === 1 ? known : [];
  const code = known === undefined ? NXDOMAIN : known === 'FAIL' ? SERVFAIL : 0;
  const head = Buffer.alloc(12);
  asked.copy(head, 0, 0, 2);
  head.writeUInt16BE(0x8180 | code, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(addresses.length, 6);
  const records = addresses.map(address =>
    Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...address.split('.').map(Number)]),
  );
  return Buffer.concat([head, question, ...records]);
}

/** A code in place of addresses: the question fails with it. */
type Told = readonly string[] | string;

export function namesOf({
  four = 'ENOTFOUND',
  six = four === 'ENOTFOUND' ? 'ENOTFOUND' : 'ENODATA',
  here = [...(typeof four === 'string' ? [] : four), ...(typeof six === 'string' ? [] : six)],
  own = ['127.0.0.1'],
}: {
  readonly four?: Told;
  readonly six?: Told;
  readonly here?: Told;
  readonly own?: readonly string[];
}): Names {
  const tell = async (told: Told) => {
    if (typeof told === 'string') throw Object.assign(new Error(told), { code: told });
    return told;
  };
  return {
    resolve: (_name, family) => tell(family === 4 ? four : six),
    lookup: () => tell(here),
    own: () => own,
  };
}
