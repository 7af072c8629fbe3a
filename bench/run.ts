/**
 * How every benchmark runs: progress to stderr, one result to stdout, and nothing left behind.
 * Whatever a benchmark starts goes on one stack of resources and is ended by its own id in reverse order:
 * on success, on an error and on Ctrl-C alike. Exit code 1 when the result says that something was lost.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** `figures` is what --json prints; `table` is what a person reads. */
export type Result = {
  figures: object;
  table: string;
  ok: boolean;
};

export type Bench = {
  /** A directory of this run alone, on the project's own disk: a RAM disk would make fsync free. */
  workDir: string;
  onEnd(end: () => unknown): void;
};

/** Something the person at the terminal can put right: shown without a stack. */
export class UsageError extends Error {}

export async function runBench(json: boolean, bench: (run: Bench) => Promise<Result>): Promise<void> {
  const resources = new AsyncDisposableStack();
  let ending: Promise<void> | undefined;
  const end = () => {
    ending ??= resources.disposeAsync();
    return ending;
  };
  const interrupted = async () => {
    progress('interrupted: ending what was started');
    await end();
    process.exit(130);
  };
  process.once('SIGINT', () => void interrupted());
  process.once('SIGTERM', () => void interrupted());

  try {
    const workDir = await makeWorkDir(resources);
    const result = await bench({
      workDir,
      onEnd: callback => resources.defer(async () => void (await callback())),
    });
    process.stdout.write(json ? `${JSON.stringify(result.figures)}\n` : `${result.table}\n`);
    process.exitCode = result.ok ? 0 : 1;
  } catch (error) {
    // An interruption makes whatever was under way fail: its own exit code tells that story.
    if (ending === undefined) {
      progress(describeError(error));
      process.exitCode = 1;
    }
  } finally {
    await end();
  }
}

function describeError(error: unknown): string {
  if (error instanceof UsageError) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

export function progress(line: string): void {
  process.stderr.write(`${line}\n`);
}

async function makeWorkDir(resources: AsyncDisposableStack): Promise<string> {
  const parent = join(import.meta.dirname, '..', 'data');
  await mkdir(parent, { recursive: true });
  const workDir = await mkdtemp(join(parent, 'bench-'));
  resources.defer(() => rm(workDir, { recursive: true, force: true }));
  return workDir;
}

/** Reads a flag that is a count: at least 1, at most `most`. */
export function wholeNumber(flag: string, text: string, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw new UsageError(`--${flag} must be a whole number from 1 to ${most}, not "${text}"`);
}
