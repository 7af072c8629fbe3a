/** From the bytes of a request to the texts in it, each with the digest by which a copy is known. */
import { hash } from 'node:crypto';
import type { EpochMs } from '../domain/time.ts';
import { newId } from '../ids.ts';
import type { NewRelay } from '../store/relays.ts';
import { type DestinationNames, readRelay } from '../yclients/relay.ts';

export type { DestinationNames };

/** How long equal texts without an id are one. A false duplicate loses a text, a missed one is said twice. */
const UNNAMED_MS = 60_000;

/** What is to be answered for one destination; without a text where it cannot be called. */
export type ReadText = { readonly theirId: string | null; readonly relay: NewRelay | null };

export type ReadTexts = {
  readonly texts: readonly ReadText[];
  readonly callbackUrl: string | null;
};

export function readTexts(
  raw: Buffer,
  receivedAt: EpochMs,
  names: DestinationNames = {},
): ReadTexts | { readonly unreadable: string } {
  const parsed = parse(raw);
  if (parsed === undefined) return { unreadable: 'the body is not JSON' };
  const request = readRelay(parsed.value, names);
  if ('unreadable' in request) return request;
  const { destinations, text, category, asked, callbackUrl } = request;
  return {
    callbackUrl,
    texts: destinations.map(({ theirId, phone }) => {
      if (phone === null) return { theirId, relay: null };
      const digest = digestOf([theirId ?? `at ${Math.floor(receivedAt / UNNAMED_MS)}`, phone, text]);
      return { theirId, relay: { ...{ theirId, phone, text, category, asked, digest }, id: newId() } };
    }),
  };
}

/** An id that is used again for another phone or another text is another sending. */
function digestOf(parts: readonly string[]): Buffer {
  return hash('sha256', JSON.stringify(parts), 'buffer');
}

function parse(raw: Buffer): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(raw.toString('utf8')) };
  } catch {
    return undefined;
  }
}
