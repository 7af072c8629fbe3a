/** The command line of the simulator: `--to URL --company N` and what else `USAGE` says. */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { isZone } from '../domain/time.ts';
import type { Brand } from './cast.ts';
import { parseFaults } from './faults.ts';
import { runSimulator, type SimulatorOptions } from './simulate.ts';

export const USAGE = `usage: otklik simulate --to URL --company N [options]
A fake salon: it makes bookings and posts their webhooks to URL.

  --to URL          where the webhooks go, the company's key included
  --company N       the company's id
  --seed N          the same seed, the same salon (default 1)
  --for 60s         ends by itself after so long (ms, s, m, h); endless unless given
  --rate N          actions a second (default 2)
  --brand NAME      yclients (default) or altegio
  --zone ZONE       the salon's IANA time zone
  --staff N         how many work there (default 5)
  --faults LIST     all (default; but drop), none, or a comma list
  --drop P          probability that a webhook is lost (default 0; 0.03 when drop is among the faults)
  --retries N       tries after a network error, a 429 or a 5xx, 1.5 s apart (default 0, as the platform)
  --ledger FILE     writes what was true, for comparison
  --json            one JSON object a line`;

export type CommandIo = {
  readonly write: (line: string) => void;
  readonly signal: AbortSignal;
};

type Command = {
  readonly options: SimulatorOptions;
  readonly ledgerFile: string | undefined;
  readonly json: boolean;
};

/** Runs to the end of the salon's day, or until the signal. Returns the exit code. */
export async function simulateCommand(args: readonly string[], io: CommandIo): Promise<number> {
  const command = parseCommand(args);
  if (typeof command === 'string') {
    io.write(command);
    return command === USAGE ? 0 : 2;
  }
  const { options, ledgerFile, json } = command;
  const ledger = await runSimulator({
    ...options,
    signal: io.signal,
    onAction: report => {
      io.write(json ? JSON.stringify({ type: 'action', ...report }) : `${report.kind}: ${report.text}`);
    },
  });
  if (ledgerFile !== undefined) await writeFile(ledgerFile, JSON.stringify(ledger));
  const { counts, seed, records } = ledger;
  const summary = { seed, records: records.length, ...counts };
  io.write(json ? JSON.stringify({ type: 'summary', ...summary }) : summaryLine(summary));
  return 0;
}

function summaryLine(summary: { readonly [name: string]: unknown }): string {
  return Object.entries(summary)
    .map(([name, value]) => `${name} ${typeof value === 'object' ? JSON.stringify(value) : value}`)
    .join(', ');
}

/** What to do, or what to say instead. */
export function parseCommand(args: readonly string[]): Command | string {
  try {
    const { values } = parseArgs({ args: [...args], options: OPTIONS, strict: true });
    if (values.help) return USAGE;
    return { options: simulatorOptions(values), ledgerFile: values.ledger, json: values.json ?? false };
  } catch (error) {
    return `${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`;
  }
}

const text = { type: 'string' } as const;
const OPTIONS = {
  to: text,
  company: text,
  seed: text,
  for: text,
  rate: text,
  brand: text,
  zone: text,
  staff: text,
  faults: text,
  drop: text,
  retries: text,
  ledger: text,
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

type Values = ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>['values'];

function simulatorOptions(values: Values): SimulatorOptions {
  const read = <T>(name: keyof Values, reader: (value: string, name: string) => T): T | undefined => {
    const value = values[name];
    return typeof value === 'string' ? reader(value, `--${name}`) : undefined;
  };
  const faults = parseFaults(values.faults ?? 'all');
  return {
    to: required('--to', read('to', url)),
    companyId: required('--company', read('company', positive)),
    seed: read('seed', number) ?? 1,
    faults: values.drop === undefined ? faults : new Set([...faults, 'drop']),
    dropChance: read('drop', number),
    forMs: read('for', parseDuration),
    perSecond: read('rate', positive),
    brand: read('brand', brand),
    zone: read('zone', zone),
    staff: read('staff', positive),
    retries: read('retries', number),
  };
}

function required<T>(name: string, value: T | undefined): T {
  if (value === undefined) throw new Error(`${name} is missing`);
  return value;
}

function url(value: string, name: string): string {
  if (/^https?:$/.test(URL.parse(value)?.protocol ?? '')) return value;
  throw new Error(`${name} is not an http(s) URL`);
}

function number(value: string, name: string): number {
  const read = Number(value);
  if (value.trim() !== '' && Number.isFinite(read) && read >= 0) return read;
  throw new Error(`${name}: "${value}" is no number`);
}

function positive(value: string, name: string): number {
  const read = number(value, name);
  if (read > 0) return read;
  throw new Error(`${name} must be above 0`);
}

function brand(value: string): Brand {
  if (value === 'yclients' || value === 'altegio') return value;
  throw new Error(`--brand: "${value}" is neither yclients nor altegio`);
}

function zone(value: string): string {
  if (!isZone(value)) throw new Error(`--zone: "${value}" is not an IANA time zone`);
  return value;
}

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** `60s`, `1500ms`, `5m`, `1h`; throws on anything else. */
export function parseDuration(value: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(value);
  const unitMs = UNITS_MS[match?.[2] ?? ''];
  if (match === null || unitMs === undefined)
    throw new Error(`"${value}" is no duration: write 60s, 5m or 1h`);
  return Number(match[1]) * unitMs;
}
