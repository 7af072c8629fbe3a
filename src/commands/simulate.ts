/** `simulate`: the fake salon against a URL of yours. */
import { open } from 'node:fs/promises';
import { isZone } from '../domain/time.ts';
import { PlainError } from '../log.ts';
import { onOutputLost } from '../output.ts';
import { parseTroubles, type Trouble } from '../simulator/api/trouble.ts';
import type { Brand } from '../simulator/cast.ts';
import { parseProcessLine, simulate as runSimulate } from '../simulator/command.ts';
import { parseFaults } from '../simulator/faults.ts';
import { checkFaults } from './faults.ts';
import type { Context } from './run.ts';

type Options = {
  readonly to?: string;
  readonly company: number;
  readonly for?: number;
  readonly seed: number;
  readonly perSecond: number;
  readonly faults: string;
  readonly drop?: number;
  readonly brand: Brand;
  readonly zone: string;
  readonly ledger?: string;
  readonly apiPort?: number;
  readonly apiFaults: string;
  readonly json?: boolean;
};

export async function simulate(_context: Context, options: Options): Promise<void> {
  if (options.to === undefined && options.apiPort === undefined)
    throw new PlainError('give --to, the URL that `company add` prints, or --api-port, or both');
  if (options.to !== undefined && !URL.canParse(options.to))
    throw new PlainError('--to must be a URL, as `company add` prints it');
  if (!isZone(options.zone)) throw new PlainError('--zone must be an IANA zone like Europe/Moscow');
  checkFaults(options.faults);
  if (options.apiPort !== undefined && options.apiPort > 65_535)
    throw new PlainError('--api-port must be at most 65535');
  if (options.drop !== undefined && options.drop > 1)
    throw new PlainError('--drop is a share of the webhooks, from 0 to 1');
  if (options.ledger !== undefined) await requireWritable(options.ledger);
  const abort = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => abort.abort());
  onOutputLost(() => abort.abort());
  const ledger = await runSimulate({
    to: options.to,
    companyId: options.company,
    seed: options.seed,
    forMs: options.for,
    perSecond: options.perSecond,
    faults: parseFaults(options.faults),
    dropChance: options.drop,
    brand: options.brand,
    zone: options.zone,
    json: options.json,
    ledgerFile: options.ledger,
    api: options.apiPort === undefined ? undefined : { port: options.apiPort },
    troubles: troublesOf(options.apiFaults),
    // With --json the account at the end is the one value; who wants each action reads the ledger.
    write: line => process.stdout.write(options.json && !isSummary(line) ? '' : `${line}\n`),
    signal: abort.signal,
  }).catch((error: unknown) => {
    throw codeOf(error) === 'EADDRINUSE'
      ? new PlainError(`port ${options.apiPort} is taken: give --api-port another`, { cause: error })
      : error;
  });
  const { requests, answers } = ledger.counts;
  if (options.to === undefined || requests === 0 || (answers['200'] ?? 0) > 0) return;
  const { origin } = new URL(options.to);
  throw new PlainError(`none of ${requests} webhooks was accepted at ${origin}: ${JSON.stringify(answers)}`);
}

/** Said before the salon opens: at the end its hours would be lost. */
async function requireWritable(file: string): Promise<void> {
  try {
    await (await open(file, 'a')).close();
  } catch (error) {
    throw new PlainError(`--ledger: ${file} cannot be written (${codeOf(error)})`, { cause: error });
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : error;
}

function troublesOf(text: string): readonly Trouble[] {
  try {
    return parseTroubles(text);
  } catch (error) {
    throw new PlainError(`--api-faults: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function isSummary(line: string): boolean {
  return parseProcessLine(line).type === 'summary';
}
