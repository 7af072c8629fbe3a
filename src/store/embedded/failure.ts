/** What went wrong with the embedded server, in words that say what to do. Anything else that escapes is a bug. */
export class EmbeddedError extends Error {
  override readonly name = 'EmbeddedError';
}

// The last is SQLite's, which holds our lock.
const FULL =
  /No space left on device|Disk quota exceeded|Check free disk space|wrote only \d+ of|disk is full/;
const OWN_DATABASE = 'set DATABASE_URL to a PostgreSQL of yours';

/** Turns an operating system's refusal into a sentence; passes everything else on with the same advice. */
export function explain(cause: unknown, doing: string, dataDir: string): EmbeddedError {
  if (cause instanceof EmbeddedError) return cause;
  const text = cause instanceof Error ? cause.message : String(cause);
  const code = errorCode(cause);
  if (code === 'ENOSPC' || code === 'EDQUOT' || FULL.test(text)) {
    return new EmbeddedError(
      `disk full while ${doing}: free space for ${dataDir}, or move DATA_DIR to a larger disk`,
      { cause },
    );
  }
  if (code === 'EROFS') {
    return new EmbeddedError(
      `may not write while ${doing} (${text}): the file system is mounted read-only; mount it for writing, or point DATA_DIR elsewhere`,
      { cause },
    );
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return new EmbeddedError(
      `may not write while ${doing} (${text}): let this user own ${dataDir}, or point DATA_DIR elsewhere`,
      { cause },
    );
  }
  return new EmbeddedError(`failed while ${doing}: ${text}; if this stays so, ${OWN_DATABASE}`, { cause });
}

/** The `code` of a system, PostgreSQL or Node error; undefined when there is none. */
export function errorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** The lines of a PostgreSQL program's output that say what it did not like; all of it when there are none. */
export function complaints(output: string): string {
  const lines = output.split('\n').filter(line => /\berror:|ERROR|FATAL|PANIC|HINT/.test(line));
  return lines.join('; ') || output.trim();
}
