/** `drift list|clear`: what the platform sends that we do not know. */
import type { DriftKind } from '../domain/drift.ts';
import { audit } from '../store/companies.ts';
import { clearDrift, type DriftRow, listDrift } from '../store/drift.ts';
import { transaction } from '../store/pool.ts';
import { type Context, print, table, withStore } from './run.ts';

type Json = { readonly json?: boolean };

export async function driftList(context: Context, options: Json): Promise<void> {
  await withStore(context, async ({ pool }) => {
    const items = await listDrift(pool);
    const rows = items.map(({ kind, path, count, firstAt, lastAt, sample }) => [
      ...[kind, path, String(count), firstAt, lastAt, sample],
    ]);
    const header = ['kind', 'path', 'count', 'first', 'last', 'sample'];
    print(options, { items }, table(header, rows, 'No drift: everything that came is of a form we know.'));
  });
}

export async function driftClear(context: Context, options: Json): Promise<void> {
  await withStore(context, async ({ pool }) => {
    const cleared = await transaction(pool, async db => {
      await audit(db, { actor: 'command', action: 'drift.clear', subject: 'drift' });
      return clearDrift(db);
    });
    print(options, { cleared }, `Cleared ${cleared}; what still occurs will be listed again.`);
  });
}

/** One finding in a sentence, and what to do about it. */
export function describeDrift({ kind, path, count, firstAt, lastAt, sample }: DriftRow): string {
  const like = sample === '' ? '' : `, like ${sample}`;
  return `${kind} ${path}: ${count} from ${minute(firstAt)} to ${minute(lastAt)}${like}; ${ADVICE[kind]}`;
}

const ADVICE: Readonly<Record<DriftKind, string>> = {
  missing: 'our last known value stands; update Otklik, or report it',
  type: 'this value is left out, our last known one stands; update Otklik, or report it',
  enum: 'the value is not understood; update Otklik, or report it',
  resource: 'these events are kept; update Otklik, then `events replay`',
  status: 'these events are kept; update Otklik, then `events replay`',
};

function minute(iso: string): string {
  return `${iso.slice(0, 10)} ${iso.slice(11, 16)}Z`;
}
