/**
 * Where the name leads. The world asks the DNS; programs of this machine read its hosts file first, so that what they
 * take the name for says nothing of what the world hears. Both are asked, and the way is followed to the DNS's addresses.
 */
import { lookup, Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import ipaddr from 'ipaddr.js';
import { type Finding, fault, note, ok } from '../finding.ts';
import { codeOf, hostOf } from './ask.ts';

const DNS_TIMEOUT_MS = 2_500;
const DNS_TRIES = 2;
/** Longer than the two tries of a system's resolver. */
const LOOKUP_TIMEOUT_MS = 12_000;

/** Who can be asked about names; answers reject with the code of `node:dns`. */
export type Names = {
  /** The DNS alone: A for 4, AAAA for 6. */
  resolve(name: string, family: 4 | 6): Promise<readonly string[]>;
  /** As programs here see it: the hosts file, then the DNS. */
  lookup(name: string): Promise<readonly string[]>;
  /** Addresses that are this machine's own. */
  own(): readonly string[];
};

/** `servers`: in place of those of /etc/resolv.conf. */
export function systemNames({
  servers,
  timeoutMs = DNS_TIMEOUT_MS,
}: {
  readonly servers?: readonly string[];
  readonly timeoutMs?: number;
} = {}): Names {
  const resolver = new Resolver({ timeout: timeoutMs, tries: DNS_TRIES });
  if (servers !== undefined) resolver.setServers(servers);
  return {
    resolve: (name, family) => (family === 4 ? resolver.resolve4(name) : resolver.resolve6(name)),
    lookup: async name => {
      const late = Promise.withResolvers<never>();
      const timer = setTimeout(
        () => late.reject(Object.assign(new Error('timeout'), { code: 'ETIMEOUT' })),
        LOOKUP_TIMEOUT_MS,
      );
      try {
        const found = await Promise.race([lookup(name, { all: true }), late.promise]);
        return found.map(({ address }) => address);
      } finally {
        clearTimeout(timer);
      }
    },
    own: () => Object.values(networkInterfaces()).flatMap(each => (each ?? []).map(({ address }) => address)),
  };
}

export type Named = { readonly findings: readonly Finding[]; readonly addresses: readonly string[] };

export async function checkName(url: URL, names: Names): Promise<Named> {
  const name = hostOf(url);
  if (isIP(name) !== 0) return judge(url, names, [name]);
  if (isLocal(name)) {
    const { addresses, trouble } = await askHere(name, names);
    return addresses.length > 0 ? judge(url, names, addresses) : unknown(name, trouble);
  }
  const [world, here] = await Promise.all([askWorld(name, names), askHere(name, names)]);
  if (world.addresses.length > 0) {
    const others = here.addresses.filter(address => !world.addresses.includes(address));
    const says = `this machine itself takes ${name} for ${others.join(', ')}, by its hosts file or a resolver of its own; what follows was tried where the DNS leads`;
    return judge(url, names, world.addresses, others.length === 0 ? [] : [note('name', says)]);
  }
  if (here.addresses.length === 0) return unknown(name, world.trouble);
  const why =
    world.trouble === undefined
      ? `the DNS does not know ${name}, only the hosts file of this machine does`
      : `the DNS could not be asked about ${name} (${world.trouble})`;
  const says = `${why}; what follows was tried where this machine takes it to be, which says nothing of others`;
  return judge(url, names, here.addresses, [note('name', says)]);
}

/** Names that are each machine's own: RFC 6761, 6.3. */
function isLocal(name: string): boolean {
  return /(^|\.)localhost$/i.test(name);
}

/** `trouble`: nobody could say whether there is a record. */
type Seen = { readonly addresses: readonly string[]; readonly trouble?: string };

/** There is no such name, or no record of this kind. */
const NO_RECORD: ReadonlySet<string> = new Set(['ENOTFOUND', 'ENODATA']);

async function askWorld(name: string, names: Names): Promise<Seen> {
  const [four, six] = await Promise.all(
    ([4, 6] as const).map(family => seen(() => names.resolve(name, family))),
  );
  const trouble = four?.trouble ?? six?.trouble;
  return {
    addresses: [...(four?.addresses ?? []), ...(six?.addresses ?? [])],
    ...(trouble === undefined ? {} : { trouble }),
  };
}

async function askHere(name: string, names: Names): Promise<Seen> {
  const { addresses, trouble } = await seen(() => names.lookup(name));
  return { addresses: [...new Set(addresses)], ...(trouble === undefined ? {} : { trouble }) };
}

async function seen(look: () => Promise<readonly string[]>): Promise<Seen> {
  try {
    return { addresses: await look() };
  } catch (error) {
    const code = codeOf(error);
    return NO_RECORD.has(code) ? { addresses: [] } : { addresses: [], trouble: code };
  }
}

function unknown(name: string, trouble: string | undefined): Named {
  const says =
    trouble === undefined
      ? `${name} is not known to the DNS: add an A (or AAAA) record that points to this server, and wait for it`
      : trouble === 'ESERVFAIL' || trouble === 'EREFUSED'
        ? `the DNS fails at ${name} (${trouble}), whatever its records are: look at the name servers of its zone, and at DNSSEC`
        : `nobody answers this machine about names (${trouble}), so whether ${name} has a record is not known: look at /etc/resolv.conf and at the way to the resolver, then again`;
  return { findings: [fault('name', says)], addresses: [] };
}

function judge(url: URL, names: Names, addresses: readonly string[], notes: readonly Finding[] = []): Named {
  const name = hostOf(url);
  const ranges = new Map(addresses.map(address => [address, ipaddr.process(address).range()]));
  const inner = addresses.filter(address => ranges.get(address) !== 'unicast');
  const closed = inner.filter(address => ranges.get(address) !== 'loopback');
  const own = names
    .own()
    .filter(address => addresses.includes(address) && ranges.get(address) !== 'loopback');
  const says =
    closed.length > 0
      ? fault(
          'name',
          `${name} is ${closed.join(', ')}, which nobody outside can reach: let its record name the public address of this server`,
        )
      : inner.length > 0
        ? note('name', `${name} is ${inner.join(', ')}, which nobody outside can reach`)
        : ok('name', `${name} is ${addresses.join(', ')}`);
  const self = `${own.join(', ')} is this machine’s own: tried from itself, no firewall is in the way and none is seen. From elsewhere run \`curl -i ${url.origin}/\` and expect 404 with application/problem+json`;
  return { findings: [...notes, says, ...(own.length === 0 ? [] : [note('firewall', self)])], addresses };
}
