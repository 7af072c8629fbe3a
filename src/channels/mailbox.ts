/** Addresses of e-mail, as what sends it and the configuration that names its sender read them. */
import { plainLine } from '../domain/plain.ts';

/** One mailbox and nothing that could be read as a list, a name or a route (RFC 5321 allows 254 characters). */
export const MAILBOX = /^[^\s@<>,;:"()[\]\\\p{C}]{1,64}@[^\s@<>,;:"()[\]\\\p{C}]{1,189}$/u;

const NAME_LENGTH = 100;

export type Sender = { readonly name: string; readonly address: string; readonly domain: string };

/** Of an address, or «Name <address>»; undefined where it is neither. */
export function readSender(from: string): Sender | undefined {
  const address = /<([^<>]*)>\s*$/.exec(from)?.[1] ?? from.trim();
  if (!MAILBOX.test(address)) return undefined;
  const name = plainLine(from.replace(/<[^<>]*>\s*$/, ''), NAME_LENGTH).replace(/^"(.*)"$/, '$1');
  return { name: name === address ? '' : name, address, domain: address.slice(address.indexOf('@') + 1) };
}
