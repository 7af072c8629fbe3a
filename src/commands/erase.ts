/** `erase-person`: removes a person from a company, or says what would be removed. */

import { PlainError } from '../log.ts';
import {
  type EraseDeps,
  type EraseStep,
  type Erasure,
  erasePerson,
  readmitPerson,
  type Whom,
} from '../salon/erase.ts';
import { createPool } from '../store/pool.ts';
import { progressLine } from './progress.ts';
import { type Context, parseId, print, table, withStore } from './run.ts';

/** All events of a company may have to be read. */
const STATEMENT_TIMEOUT_MS = 30 * 60_000;

const DOING: Record<EraseStep, string> = {
  search: 'finding what the person is called',
  wait: 'waiting for events under way',
  events: 'events read',
  tables: 'tables gone through',
  scan: 'looking for what is left, columns read',
};

type Options = {
  readonly json?: boolean;
  readonly client?: string;
  readonly phone?: string;
  readonly dryRun?: boolean;
  readonly readmit?: boolean;
};

export async function erasePersonCommand(context: Context, company: string, options: Options): Promise<void> {
  const whom = readWhom(parseId(company, 'company'), options);
  await withStore(context, async ({ url, vault }) => {
    const pool = createPool(url, { max: 2, name: 'otklik erase', statementTimeoutMs: STATEMENT_TIMEOUT_MS });
    try {
      const deps: EraseDeps = { pool, vault, actor: 'command' };
      if (options.readmit) await readmit(deps, whom, options);
      else await erase(deps, whom, options);
    } finally {
      await pool.end();
    }
  });
}

async function readmit(deps: EraseDeps, whom: Whom, options: Options): Promise<void> {
  if (!('clientId' in whom)) throw new PlainError('--readmit takes --client: only its hash was kept');
  await readmitPerson(deps, whom);
  print(options, { readmitted: true }, 'The client may be known again, from the next event on.');
}

async function erase(deps: EraseDeps, whom: Whom, options: Options): Promise<void> {
  const dryRun = options.dryRun ?? false;
  const line = progressLine();
  const onProgress = (step: EraseStep, done?: number, of?: number) =>
    line.show(`${DOING[step]}${of === undefined ? '' : `: ${done} of ${of}`}`);
  const erasure = await erasePerson(deps, whom, { dryRun, onProgress }).finally(line.clear);
  print(options, { ...erasure, dryRun }, describe(erasure, whom, dryRun));
  if (erasure.left.length > 0) process.exitCode = 1;
}

function describe({ clients, rows, scannedFor, left }: Erasure, whom: Whom, dryRun: boolean): string {
  const touched = Object.entries(rows).filter(([, count]) => count > 0);
  const lines = touched.map(([name, count]) => [name, String(count)]);
  const found = left.map(({ table: name, column, rows: count }) => [`${name}.${column}`, String(count)]);
  const barred = `Nothing was kept${'clientId' in whom ? ` of client ${whom.clientId}` : ''}; the id ${dryRun ? 'would be' : 'is'} barred from now on.`;
  return [
    ...(lines.length === 0
      ? [barred]
      : [
          `${dryRun ? 'Would erase' : 'Erased'} a person known as ${clients} client${clients === 1 ? '' : 's'}.`,
          table(['table', 'rows'], lines, ''),
        ]),
    left.length === 0
      ? scanned(scannedFor)
      : `Still found, remove by hand:\n${table(['column', 'rows'], found, '')}`,
  ].join('\n');
}

const SOUGHT: Record<Erasure['scannedFor'][number], string> = {
  id: 'id',
  phone: 'phone',
  email: 'e-mail',
  address: 'chat or address',
};

function scanned(kinds: Erasure['scannedFor']): string {
  if (kinds.length === 0) return 'Nothing is known to scan for: no id, phone, e-mail or address.';
  if (kinds.every(kind => kind === 'id')) {
    return 'No phone, e-mail or address is known to scan for; a scan of every column for the id finds it nowhere.';
  }
  return `A scan of every column for ${kinds.map(kind => SOUGHT[kind]).join(', ')} finds them nowhere.`;
}

function readWhom(companyId: number, { client, phone }: Options): Whom {
  if (client !== undefined && phone === undefined) return { companyId, clientId: parseId(client, 'client') };
  if (phone !== undefined && client === undefined) {
    if (phone.replace(/\D/g, '').length < 7) throw new PlainError('the phone must have at least 7 digits');
    return { companyId, phone };
  }
  throw new PlainError('say whom by --client <id> or by --phone <number>');
}
