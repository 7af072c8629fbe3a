/** What every command shares: configuration, logging, how a failure is told, and printing. */
import { type Config, readConfig } from '../config.ts';
import { plainLine } from '../domain/plain.ts';
import { createLog, isPlain, type Log, PlainError } from '../log.ts';
import { type Opened, open } from '../open.ts';
import { EmbeddedError } from '../store/embedded/failure.ts';

export type Context = { readonly config: Config; readonly log: Log };

export type CommandFunction = (context: Context, ...args: never[]) => Promise<void>;

/**
 * Turns a command's function into a commander action. A `PlainError` is shown as its message, exit code 1; anything
 * else is a fault of ours and is shown with its stack.
 */
export function runCommand(command: CommandFunction): (...args: unknown[]) => Promise<void> {
  return async (...args) => {
    try {
      const config = readConfig(process.env);
      const log = createLog(config.LOG_LEVEL);
      await command({ config, log }, ...(args as never[]));
    } catch (error) {
      tell(error);
      process.exitCode = 1;
    }
  };
}

function tell(error: unknown): void {
  const plain = isPlain(error) || error instanceof EmbeddedError;
  if (plain) process.stderr.write(`otklik: ${error.message}\n`);
  else process.stderr.write(`otklik: unexpected: ${error instanceof Error ? error.stack : String(error)}\n`);
}

/** A command's own store: opened quietly, closed whatever happens. What only looks makes no database where none is. */
export async function withStore<T>(
  { config }: Context,
  work: (opened: Opened) => Promise<T>,
  { insist = false, make = false }: { readonly insist?: boolean; readonly make?: boolean } = {},
): Promise<T> {
  const opened = await open(config, createLog('silent'), { name: 'otklik command', insist, make });
  try {
    return await work(opened);
  } finally {
    await opened.close();
  }
}

/** ESC and its like: names and titles are typed by strangers, and must not drive the terminal that shows them. */
const CONTROL = /[^\P{Cc}\n\t]/gu;

/** Prints one JSON value, or what a person reads. */
export function print(options: { readonly json?: boolean | undefined }, value: unknown, text: string): void {
  process.stdout.write(options.json ? `${JSON.stringify(value)}\n` : `${text.replace(CONTROL, '')}\n`);
}

/** What is wrong with a company; most faults of its API name it themselves. */
export function ofCompany(companyId: number, fault: string): string {
  return new RegExp(`company ${companyId}\\b`).test(fault) ? fault : `company ${companyId}: ${fault}`;
}

const CELL_MAX = 1000;

/** Rows as aligned columns under a header, each on one line; the empty state in its own words. */
export function table(
  header: readonly string[],
  values: readonly (readonly string[])[],
  empty: string,
): string {
  if (values.length === 0) return empty;
  const rows = values.map(cells => cells.map(cell => plainLine(cell, CELL_MAX)));
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map(row => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return [line(header), ...rows.map(line)].join('\n');
}

/** The line under a page that has another after it. */
export function more(next: string | number | null): string {
  return next === null ? '' : `\nMore: --cursor ${next}`;
}

/** An id given on the command line. */
export function parseId(text: string, what: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text))
    throw new PlainError(`${what} must be a whole number above 0, not "${text}"`);
  return Number(text);
}

/** What was given is not said back: who takes a URL's key for an id would find it in a script's log. */
export function parseUuid(text: string, what: string): string {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return text;
  throw new PlainError(`${what} must be an id like 019ab3c2-…: \`${what}s list\` shows them`);
}
