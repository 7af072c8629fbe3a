/** One request on the way from outside, to the addresses that were looked up, and what may be said of how it failed. */
import { isIP, type LookupFunction } from 'node:net';
import { Agent, request } from 'undici';

const ANSWER_TIMEOUT_MS = 12_000;
const LARGEST_ANSWER_BYTES = 64 * 1024;

export type Answer = { readonly status: number; readonly type: string; readonly body: string };

export type Asked = {
  readonly method?: 'GET' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  /** Where the URL's name is taken to lead: the hosts file of this machine may say something else than the world hears. */
  readonly addresses: readonly string[];
  readonly timeoutMs?: number;
};

/** The answer, or the code of what went wrong. */
export async function ask(
  url: URL,
  { method = 'GET', headers = {}, body, addresses, timeoutMs = ANSWER_TIMEOUT_MS }: Asked,
): Promise<Answer | string> {
  const agent = new Agent({ connect: { lookup: leadingTo(addresses) }, allowH2: false });
  try {
    const answer = await request(url, {
      ...{ method, headers, body: body ?? null, dispatcher: agent },
      signal: AbortSignal.timeout(timeoutMs),
    });
    return {
      status: answer.statusCode,
      type: String(answer.headers['content-type'] ?? ''),
      body: await beginningOf(answer.body),
    };
  } catch (error) {
    return codeOf(error);
  } finally {
    await agent.destroy();
  }
}

function leadingTo(addresses: readonly string[]): LookupFunction {
  const found = addresses.map(address => ({ address, family: isIP(address) }));
  return (_name, { all }, callback) => {
    if (all === true) callback(null, found);
    else callback(null, found[0]?.address ?? '', found[0]?.family);
  };
}

/** Whoever answers there may have no end. */
async function beginningOf(body: AsyncIterable<Buffer>): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of body) {
    parts.push(part);
    bytes += part.length;
    if (bytes >= LARGEST_ANSWER_BYTES) break;
  }
  return Buffer.concat(parts).toString();
}

export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1');
}

export function portOf(url: URL): number {
  return url.port === '' ? 443 : Number(url.port);
}

/** A word for the operator: a DOMException's code is a number that says nothing. */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}
