/** A handshake with each address of the name: whether one answers there, and whether its certificate is trusted. */
import { isIP } from 'node:net';
import { connect } from 'node:tls';
import ipaddr from 'ipaddr.js';
import { type Finding, fault, note, ok } from '../finding.ts';
import { codeOf, hostOf, portOf } from './ask.ts';
import type { Named } from './name.ts';

const CONNECT_TIMEOUT_MS = 5_000;
const DAY_MS = 86_400_000;
/** Let's Encrypt's certificates live 90 days and are renewed when 30 are left: less says that renewal does not work. */
const SOON_DAYS = 21;
const TOO_SOON_DAYS = 7;

/** `addresses` of the answer: those that can be gone on with. */
export async function checkTls(url: URL, addresses: readonly string[]): Promise<Named> {
  const greetings = await Promise.all(addresses.map(address => greet(url, address)));
  const met = greetings.filter(greeting => 'shown' in greeting);
  const missed = greetings.filter(greeting => 'code' in greeting);
  const faults = missed.map(({ address, code }) => fault('TLS', whyNoTls(code, placeOf(url, address), url)));
  if (met.length === 0) return { findings: distinct(faults), addresses: [] };
  return {
    findings: distinct([
      ...certificateFindings(url, met),
      ...missed.flatMap(({ address, code }) => missedFindings(url, address, code)),
    ]),
    addresses: met.map(({ address }) => address),
  };
}

type Shown = { readonly refusal?: string; readonly days: number; readonly version: string };
type Met = { readonly address: string; readonly shown: Shown };
type Missed = { readonly address: string; readonly code: string };

/** A handshake that goes through whatever the certificate is, so that its fault can be named. */
function greet(url: URL, address: string): Promise<Met | Missed> {
  return new Promise(resolve => {
    const name = hostOf(url);
    const socket = connect({
      ...{ host: address, port: portOf(url), rejectUnauthorized: false, timeout: CONNECT_TIMEOUT_MS },
      // An address is no server name: RFC 6066, 3.
      ...(isIP(name) === 0 ? { servername: name } : {}),
    });
    socket.once('secureConnect', () => {
      const { valid_to: end } = socket.getPeerCertificate();
      const shown = {
        days: Math.floor((Date.parse(end) - Date.now()) / DAY_MS),
        version: socket.getProtocol() ?? '',
        ...(socket.authorized ? {} : { refusal: String(socket.authorizationError) }),
      };
      socket.destroy();
      resolve({ address, shown });
    });
    socket.once('timeout', () => socket.destroy(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' })));
    socket.once('error', error => resolve({ address, code: codeOf(error) }));
    socket.once('close', () => resolve({ address, code: 'ECONNRESET' }));
  });
}

function certificateFindings(url: URL, met: readonly Met[]): readonly Finding[] {
  const findings = met.map(({ address, shown }) => ({ address, finding: certificateFinding(url, shown) }));
  const differ = new Set(findings.map(({ finding }) => finding.says)).size > 1;
  return findings.map(({ address, finding }) =>
    differ ? { ...finding, says: `at ${address}: ${finding.says}` } : finding,
  );
}

function certificateFinding(url: URL, { refusal, days, version }: Shown): Finding {
  if (refusal !== undefined) return fault('certificate', whyNotTrusted(refusal, url));
  const says = `good for another ${days} days, ${version}`;
  const renew = 'see why with `certbot renew --dry-run`, and that nginx is reloaded after it';
  if (days < TOO_SOON_DAYS) return fault('certificate', `${says}: its renewal does not work; ${renew}`);
  return days < SOON_DAYS
    ? note('certificate', `${says}: it should be renewed by now; ${renew}`)
    : ok('certificate', says);
}

/** An address that did not answer beside one that did: senders who take the former are lost. */
function missedFindings(url: URL, address: string, code: string): readonly Finding[] {
  const place = placeOf(url, address);
  // Of localhost both are looked up, and one is enough.
  if (ipaddr.process(address).range() === 'loopback') return [];
  if (isIP(address) === 6 && (code === 'ENETUNREACH' || code === 'EADDRNOTAVAIL')) {
    return [
      note(
        'TLS',
        `${place} was not tried, for this machine has no IPv6: if it is meant to be this one, take the AAAA record away`,
      ),
    ];
  }
  return [fault('TLS', `${whyNoTls(code, place, url)}; or take this address out of the DNS`)];
}

function whyNoTls(code: string, place: string, url: URL): string {
  switch (code) {
    case 'ECONNREFUSED':
      return `nothing listens on ${place}: is nginx running (\`systemctl status nginx\`), and does its site listen there?`;
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return `${place} does not answer: let TCP port ${portOf(url)} through the firewall, here and at your provider`;
    case 'ECONNRESET':
    case 'EPROTO':
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
    case 'ERR_SSL_PACKET_LENGTH_TOO_LONG':
      return `${place} does not speak TLS (${code}): the site must say \`listen ${portOf(url)} ssl\``;
    default:
      return `no TLS connection to ${place} (${code})`;
  }
}

function whyNotTrusted(refusal: string, url: URL): string {
  switch (refusal.split(':')[0]) {
    case 'CERT_HAS_EXPIRED':
      return 'it has expired: renew it with `certbot renew`, and reload nginx';
    case 'CERT_NOT_YET_VALID':
      return 'it is not valid yet: is the clock of this server right?';
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return `it is for another name than ${hostOf(url)}: get one for this name, and name it in the site`;
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_GET_ISSUER_CERT':
      return 'the chain to an authority is not there: let `ssl_certificate` name fullchain.pem (an authority of your own: set NODE_EXTRA_CA_CERTS)';
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
      return 'it is signed by itself, which the platform does not trust: get one from an authority, e.g. by certbot';
    default:
      return `it is not trusted (${refusal})`;
  }
}

function placeOf(url: URL, address: string): string {
  return `${isIP(address) === 6 ? `[${address}]` : address}:${portOf(url)}`;
}

function distinct(findings: readonly Finding[]): readonly Finding[] {
  return [...new Map(findings.map(finding => [finding.says, finding])).values()];
}
