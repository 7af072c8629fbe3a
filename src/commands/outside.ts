/**
 * `doctor --public-url`: the whole way that a webhook takes, from outside in. Name, TLS, proxy, receiver, key, inbox;
 * each step needs the one before it, so the first that fails is the one to mend.
 *
 * The event is sent with a key that is made for it and lives a minute, since the keys that are in use are known to
 * nobody but their senders. It is signed where the company's senders can sign.
 */
import { lookup } from 'node:dns/promises';
import { connect, type DetailedPeerCertificate, type TLSSocket } from 'node:tls';
import ipaddr from 'ipaddr.js';
import { type Config, isRoot } from '../config.ts';
import { signatureHeader } from '../http/signature.ts';
import { describeError, isPlain, PlainError } from '../log.ts';
import type { Opened } from '../open.ts';
import { requireCompany } from '../salon/companies.ts';
import { dropKey, findKey, lendKey, listCompanies } from '../store/companies.ts';
import { showEvent } from '../store/views.ts';
import { newUrlKey } from '../vault.ts';
import { TEST_RESOURCE } from '../work/fold.ts';
import { type Finding, fault, note, ok } from './finding.ts';
import { type Context, withStore } from './run.ts';

const CONNECT_TIMEOUT_MS = 5_000;
const ANSWER_TIMEOUT_MS = 12_000;
const ADMIN_TIMEOUT_MS = 2_000;
const PROCESSED_MS = 10_000;
const POLL_MS = 100;
const KEY_LIFE_MS = 60_000;
const DAY_MS = 86_400_000;
/** Let's Encrypt's certificates live 90 days and are renewed when 30 are left: less says that renewal does not work. */
const SOON_DAYS = 21;
const TOO_SOON_DAYS = 7;
const LARGEST_ANSWER_BYTES = 64 * 1024;

type Way = {
  readonly url: URL;
  readonly config: Config;
  readonly context: Context;
  readonly company?: number;
};

const STEPS: readonly ((way: Way) => Promise<readonly Finding[]>)[] = [
  checkName,
  checkTls,
  checkProxy,
  checkAdmin,
  checkEvent,
];

export async function outsideFindings(
  context: Context,
  given: string,
  company: number | undefined,
): Promise<readonly Finding[]> {
  if (!isRoot(given))
    throw new PlainError('--public-url must be a URL without a path, as https://hooks.example.com');
  const url = new URL(given);
  if (url.protocol === 'http:')
    return [fault('public URL', 'it begins with http: the key in it would be read on the way. Use https')];
  const way: Way = { url, config: context.config, context, ...(company === undefined ? {} : { company }) };
  const findings: Finding[] = [];
  for (const step of STEPS) {
    const found = await step(way);
    findings.push(...found);
    if (found.some(({ state }) => state === 'fault')) {
      findings.push(note('outside', 'what comes after this step was not checked'));
      break;
    }
  }
  return findings;
}

async function checkName({ url }: Way): Promise<readonly Finding[]> {
  const name = hostOf(url);
  let addresses: string[];
  try {
    addresses = (await lookup(name, { all: true })).map(({ address }) => address);
  } catch (error) {
    const why =
      codeOf(error) === 'ENOTFOUND' ? 'is not known to the DNS' : `cannot be looked up (${codeOf(error)})`;
    return [
      fault('name', `${name} ${why}: add an A (or AAAA) record that points to this server, and wait for it`),
    ];
  }
  const inner = addresses.filter(address => ipaddr.process(address).range() !== 'unicast');
  return inner.length === 0
    ? [ok('name', `${name} is ${addresses.join(', ')}`)]
    : [note('name', `${name} is ${inner.join(', ')}, which nobody outside can reach`)];
}

async function checkTls({ url }: Way): Promise<readonly Finding[]> {
  let met: { readonly socket: TLSSocket; readonly certificate: DetailedPeerCertificate };
  try {
    met = await greet(url);
  } catch (error) {
    return [fault('TLS', whyNoTls(codeOf(error), url))];
  }
  const { socket, certificate } = met;
  const version = socket.getProtocol() ?? '';
  const refusal = socket.authorized ? undefined : String(socket.authorizationError);
  const days = Math.floor((Date.parse(certificate.valid_to) - Date.now()) / DAY_MS);
  socket.destroy();
  if (refusal !== undefined) return [fault('certificate', whyNotTrusted(refusal, url))];
  const says = `good for another ${days} days, ${version}`;
  const renew = 'see why with `certbot renew --dry-run`, and that nginx is reloaded after it';
  if (days < TOO_SOON_DAYS) return [fault('certificate', `${says}: its renewal does not work; ${renew}`)];
  return [
    days < SOON_DAYS
      ? note('certificate', `${says}: it should be renewed by now; ${renew}`)
      : ok('certificate', says),
  ];
}

/** A handshake that goes through whatever the certificate is, so that its fault can be named. */
function greet(url: URL): Promise<{ socket: TLSSocket; certificate: DetailedPeerCertificate }> {
  return new Promise((resolve, reject) => {
    const host = hostOf(url);
    const options = { host, port: portOf(url), servername: host, rejectUnauthorized: false };
    const socket = connect({ ...options, timeout: CONNECT_TIMEOUT_MS }, () =>
      resolve({ socket, certificate: socket.getPeerCertificate(true) }),
    );
    socket.once('timeout', () => socket.destroy(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' })));
    socket.once('error', reject);
  });
}

function whyNoTls(code: string, url: URL): string {
  const place = `${hostOf(url)}:${portOf(url)}`;
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

/** Whether what answers there is the receiver: nobody else has its 404. */
async function checkProxy({ url, config }: Way): Promise<readonly Finding[]> {
  const answer = await ask(new URL('/', url), { method: 'GET' });
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
async function checkAdmin({ url, config }: Way): Promise<readonly Finding[]> {
  const through = await ask(new URL('/livez', url), { method: 'GET' });
  if (typeof through !== 'string' && through.body.includes('"alive"'))
    return [fault('admin port', 'the proxy hands on to ADMIN_PORT: let it send to PUBLIC_PORT only')];
  const address = await lookup(hostOf(url));
  // On a machine that tries itself out everything is within reach.
  if (ipaddr.process(address.address).range() === 'loopback') return [];
  const direct = new URL(`http://${url.hostname}:${config.ADMIN_PORT}/livez`);
  const bare = await ask(direct, { method: 'GET' }, ADMIN_TIMEOUT_MS);
  return typeof bare === 'string'
    ? [ok('admin port', 'not reachable under this name')]
    : [fault('admin port', `${direct.host} answers: set HOST=127.0.0.1, or close the port in the firewall`)];
}

async function checkEvent(way: Way): Promise<readonly Finding[]> {
  try {
    return await withStore(way.context, opened => sendEvent(way, opened));
  } catch (error) {
    return [fault('event', isPlain(error) ? error.message : `unexpected: ${describeError(error).error}`)];
  }
}

async function sendEvent({ url, company }: Way, { pool, vault }: Opened): Promise<readonly Finding[]> {
  const companyId =
    company === undefined
      ? (await listCompanies(pool)).find(({ removed }) => !removed)?.companyId
      : (await requireCompany(pool, company)).companyId;
  if (companyId === undefined)
    return [note('event', 'none was sent: there is no company yet; `company add`, then again')];
  const key = newUrlKey();
  const keyHash = vault.hashKey(key);
  await lendKey(pool, companyId, keyHash, KEY_LIFE_MS);
  try {
    const secret = (await findKey(pool, keyHash))?.sealedSecrets.map(vault.open)[0];
    const text = {
      company_id: companyId,
      resource: TEST_RESOURCE,
      resource_id: Date.now(),
      status: 'create',
      data: {},
    };
    const body = Buffer.from(JSON.stringify(text));
    const signature =
      secret === undefined
        ? {}
        : { 'x-otklik-signature': signatureHeader({ secret, body, now: Date.now() }) };
    const startedAt = performance.now();
    const answer = await ask(new URL(`/webhooks/yclients/${key}`, url), {
      ...{ method: 'POST', body },
      headers: { 'content-type': 'application/json', ...signature },
    });
    const tookMs = Math.round(performance.now() - startedAt);
    if (typeof answer === 'string') return [fault('event', `no answer to an event (${answer})`)];
    const id = idOf(answer.body);
    if (answer.status !== 200 || id === undefined) return [fault('event', whyNotTaken(answer))];
    const stored = await showEvent(pool, id);
    if (stored === undefined) {
      const where =
        'the receiver that answered works on another database than this command: compare DATABASE_URL';
      return [fault('event', `answered as ${id}, and not in this inbox: ${where}`)];
    }
    const how = secret === undefined ? 'unsigned, as the platform does it' : 'signed';
    const seen = ok('event', `${how}: answered in ${tookMs} ms, in the inbox as ${id}`);
    const processed = await waitFor(async () => (await showEvent(pool, id))?.state === 'done');
    const idle = 'it is not processed yet: is `serve` running with the role process?';
    return [seen, processed ? ok('processing', 'the event was processed') : fault('processing', idle)];
  } finally {
    await dropKey(pool, companyId, keyHash);
  }
}

function whyNotTaken({ status, body }: Answer): string {
  switch (status) {
    case 404:
      return 'the receiver does not know a key that this database has: does it work on another database, or with another OTKLIK_KEY?';
    case 413:
      return 'the proxy refuses a small body: look at client_max_body_size';
    case 429:
      return 'too many requests from this address just now: try again in a minute';
    case 503:
      return 'the receiver cannot reach its database: `doctor` without --public-url says more';
    default:
      return `the receiver answered ${status}${detailOf(body)}`;
  }
}

type Answer = { readonly status: number; readonly type: string; readonly body: string };

/** The answer, or the code of what went wrong. */
async function ask(url: URL, init: RequestInit, timeoutMs = ANSWER_TIMEOUT_MS): Promise<Answer | string> {
  try {
    const response = await fetch(url, {
      ...{ ...init, redirect: 'manual' },
      signal: AbortSignal.timeout(timeoutMs),
    });
    const body = (await response.text()).slice(0, LARGEST_ANSWER_BYTES);
    return { status: response.status, type: response.headers.get('content-type') ?? '', body };
  } catch (error) {
    return codeOf(error instanceof Error && error.cause !== undefined ? error.cause : error);
  }
}

function idOf(body: string): string | undefined {
  return /"id":"([0-9a-f-]{36})"/.exec(body)?.[1];
}

function detailOf(body: string): string {
  const detail = /"detail":"([^"]{1,200})"/.exec(body)?.[1];
  return detail === undefined ? '' : `: ${detail}`;
}

async function waitFor(condition: () => Promise<boolean>): Promise<boolean> {
  const until = performance.now() + PROCESSED_MS;
  while (performance.now() < until) {
    if (await condition()) return true;
    await new Promise(resolve => setTimeout(resolve, POLL_MS));
  }
  return false;
}

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1');
}

function portOf(url: URL): number {
  return url.port === '' ? 443 : Number(url.port);
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  return 'code' in error ? String(error.code) : error.name;
}
