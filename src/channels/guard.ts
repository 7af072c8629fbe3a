/**
 * The guard of requests to addresses that others choose: they reach public hosts only.
 *
 * A check of the URL's text can be talked around (a name that resolves to 127.0.0.1, another answer at the second
 * lookup, an IPv4 address inside an IPv6 one), so what counts is the address that the socket itself is connected
 * to. The lookup is filtered before it, so that an internal host does not even see a connection attempt.
 */
import { lookup as resolve } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';
import { buildConnector } from 'undici';

export class RefusedAddress extends Error {
  override readonly name = 'RefusedAddress';
}

/** Public by its number, internal by its use: Azure's host agent answers there. */
const INTERNAL = new Set(['168.63.129.16']);
/** The only part of IPv6 that is assigned to the public. `::7f00:1` and what is not assigned yet is outside. */
const GLOBAL_IPV6 = ipaddr.IPv6.parseCIDR('2000::/3');

/** Whether an address is a host of the public internet: no loopback, private, CGNAT, mapped, NAT64, 6to4, metadata. */
export function isPublic(address: string): boolean {
  if (!ipaddr.isValid(address) || INTERNAL.has(address)) return false;
  const parsed = ipaddr.parse(address);
  if (parsed.range() !== 'unicast') return false;
  return parsed instanceof ipaddr.IPv4 || parsed.match(GLOBAL_IPV6);
}

/** Whether a URL's host is no public one by its text alone: a warning beforehand, and no guard. */
export function namesPrivateHost(url: string): boolean {
  if (!URL.canParse(url)) return false;
  const host = new URL(url).hostname.replace(/^\[|\]$|\.$/g, '');
  return isIP(host) === 0 ? /(?:^|\.)localhost$/.test(host) : !isPublic(host);
}

/** How undici opens a connection here. `timeoutMs` covers the lookup, the connection and TLS. */
export function guardedConnector(timeoutMs: number): buildConnector.connector {
  const connect = buildConnector({ timeout: timeoutMs, allowH2: false, lookup: lookupPublic });
  return (options, callback) => {
    // A numeric host is not looked up.
    if (isIP(options.hostname) !== 0 && !isPublic(options.hostname)) {
      callback(refused(), null);
      return;
    }
    connect(options, (error, socket) => {
      if (error !== null) return callback(error, null);
      if (isPublic(socket.remoteAddress ?? '')) return callback(null, socket);
      socket.destroy();
      return callback(refused(), null);
    });
  };
}

const lookupPublic: LookupFunction = (hostname, options, callback) => {
  resolve(hostname, { ...options, all: true }, (error, found) => {
    if (error !== null) return callback(error, '');
    const usable = found.filter(({ address }) => isPublic(address));
    const [first] = usable;
    if (first === undefined) return callback(refused(), '');
    if (options.all === true) return callback(null, usable);
    return callback(null, first.address, first.family);
  });
};

function refused(): RefusedAddress {
  return new RefusedAddress('the host is not on the public internet');
}
