/**
 * The last step of the way: an event of its own, seen in the inbox and processed.
 *
 * It is sent with a key that is made for it and lives a minute, since the keys that are in use are known to nobody but
 * their senders. It is signed where the company's senders can sign.
 */
import { signatureHeader } from '../../http/signature.ts';
import { describeError, isPlain } from '../../log.ts';
import type { Opened } from '../../open.ts';
import { requireCompany } from '../../salon/companies.ts';
import { dropKey, findKey, lendKey, listCompanies } from '../../store/companies.ts';
import { showEvent } from '../../store/views.ts';
import { newUrlKey } from '../../vault.ts';
import { TEST_RESOURCE } from '../../work/fold.ts';
import { type Finding, fault, note, ok } from '../finding.ts';
import { type Context, withStore } from '../run.ts';
import { type Answer, ask } from './ask.ts';

const PROCESSED_MS = 10_000;
const POLL_MS = 100;
const KEY_LIFE_MS = 60_000;

/** As far as it was found to be open: the URL, and the addresses that it leads to. */
export type Way = {
  readonly url: URL;
  readonly addresses: readonly string[];
  readonly context: Context;
  readonly company?: number;
};

export async function checkEvent(way: Way): Promise<readonly Finding[]> {
  try {
    return await withStore(way.context, opened => sendEvent(way, opened));
  } catch (error) {
    return [fault('event', isPlain(error) ? error.message : `unexpected: ${describeError(error).error}`)];
  }
}

async function sendEvent(
  { url, addresses, company }: Way,
  { pool, vault }: Opened,
): Promise<readonly Finding[]> {
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
      ...{ method: 'POST', body, addresses },
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
