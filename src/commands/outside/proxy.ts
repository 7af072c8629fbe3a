/** What answers at the name: the receiver behind its proxy, and not the admin port beside it. */
import ipaddr from 'ipaddr.js';
import type { Config } from '../../config.ts';
import { type Finding, fault, note, ok } from '../finding.ts';
import { ask } from './ask.ts';
import type { Way } from './event.ts';

const ADMIN_TIMEOUT_MS = 2_000;

/** Whether what answers there is the receiver: nobody else has its 404. */
export async function checkProxy({ url, addresses, context: { config } }: Way): Promise<readonly Finding[]> {
  const answer = await ask(new URL('/', url), { addresses });
  if (typeof answer === 'string') return [fault('proxy', `no answer to a request (${answer})`)];
  const { status, type, body } = answer;
  if (
    status === 404 &&
    type.startsWith('application/problem+json') &&
    body.includes('There is nothing here.')
  ) {
    return [ok('proxy', 'the receiver answers behind it'), ...trustFindings(config)];
  }
  if ([502, 503, 504].includes(status)) {
    return [
      fault(
        'proxy',
        `it answers ${status}, the receiver does not: is \`serve\` running with the role receive, and does the proxy send to PUBLIC_PORT (${config.PUBLIC_PORT})?`,
      ),
    ];
  }
  return [
    fault(
      'proxy',
      `what answers there (${status}) is not the receiver: does the site have this name as server_name, and \`location /\` proxy_pass to PUBLIC_PORT (${config.PUBLIC_PORT})?`,
    ),
  ];
}

function trustFindings({ TRUSTED_PROXIES }: Config): readonly Finding[] {
  if (TRUSTED_PROXIES.length > 0) return [];
  return [
    note('proxy', 'TRUSTED_PROXIES is not set: to the limits all senders are one address, the proxy’s'),
  ];
}

/** Health, metrics and API are for this machine only. */
export async function checkAdmin({ url, addresses, context: { config } }: Way): Promise<readonly Finding[]> {
  const through = await ask(new URL('/livez', url), { addresses });
  if (typeof through !== 'string' && through.body.includes('"alive"'))
    return [fault('admin port', 'the proxy hands on to ADMIN_PORT: let it send to PUBLIC_PORT only')];
  // On a machine that tries itself out everything is within reach.
  if (addresses.every(address => ipaddr.process(address).range() === 'loopback')) return [];
  const direct = new URL(`http://${url.hostname}:${config.ADMIN_PORT}/livez`);
  const bare = await ask(direct, { addresses, timeoutMs: ADMIN_TIMEOUT_MS });
  return typeof bare === 'string'
    ? [ok('admin port', 'not reachable under this name')]
    : [fault('admin port', `${direct.host} answers: set HOST=127.0.0.1, or close the port in the firewall`)];
}
