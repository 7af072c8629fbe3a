/**
 * Whom we believe what stands in a header, and the id of a request: the proxy's where it is one of ours to believe and
 * the id has a strict form, else our own. It goes back in `X-Request-Id` and along with the event.
 */
import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { newId } from '../ids.ts';
import { PlainError } from '../log.ts';

/** As nginx's `$request_id` writes it, or as a UUID: 128 bits in hex. What is longer or freer could say anything. */
const FORM = /^(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

export type Trust = (address: string | undefined) => boolean;

/** Of addresses and CIDR ranges. */
export function createTrust(ranges: readonly string[]): Trust {
  if (ranges.length === 0) return () => false;
  const list = new BlockList();
  for (const range of ranges) add(list, range);
  return address => {
    const family = isIP(address ?? '');
    return address !== undefined && family !== 0 && list.check(address, family === 6 ? 'ipv6' : 'ipv4');
  };
}

/** Whether it is an address or a CIDR range. */
export function isRange(text: string): boolean {
  return readRange(text) !== undefined;
}

function add(list: BlockList, range: string): void {
  const read = readRange(range);
  if (read === undefined) {
    throw new PlainError(
      `TRUSTED_PROXIES: ${range} is neither an address nor a range such as 10.0.0.0/8: correct it`,
    );
  }
  list.addSubnet(read.address, read.prefix, read.family);
}

function readRange(text: string) {
  const [address = '', bits, ...rest] = text.split('/');
  const family = isIP(address) === 6 ? ('ipv6' as const) : ('ipv4' as const);
  const whole = family === 'ipv6' ? 128 : 32;
  const prefix = bits === undefined ? whole : Number(/^\d{1,3}$/.test(bits) ? bits : 'none');
  return isIP(address) === 0 || rest.length > 0 || !(prefix <= whole)
    ? undefined
    : { address, prefix, family };
}

export function requestIdOf(trust: Trust): (request: IncomingMessage) => string {
  return request => {
    const given = request.headers['x-request-id'];
    return typeof given === 'string' && FORM.test(given) && trust(request.socket.remoteAddress)
      ? given
      : newId();
  };
}

/** W3C trace context of whoever is believed. */
export function traceparentOf(trust: Trust, request: IncomingMessage): string | null {
  const given = request.headers.traceparent;
  return typeof given === 'string' && TRACEPARENT.test(given) && trust(request.socket.remoteAddress)
    ? given
    : null;
}

/** Version 00; all zeros name nothing. */
const TRACEPARENT = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;
