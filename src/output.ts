/** What becomes of a command whose standard output cannot be written: its reader has gone, or the disk is full. */

/**
 * Without a listener Node ends the process with a stack, in the middle of its work: `demo | head` left its PostgreSQL
 * running, and a service fell with whatever read its messages. `| head` having read enough is no fault, and not told.
 */
export function surviveOutput(): void {
  let told = false;
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') return;
    process.exitCode = 1;
    if (!told) process.stderr.write(`otklik: standard output cannot be written (${error.code})\n`);
    told = true;
  });
  process.stderr.on('error', () => {});
}

/** What only shows something ends in order when nobody can see it. */
export function onOutputLost(end: () => void): void {
  process.stdout.once('error', end);
}

/** Settles when the line is written; rejects when it could not be. */
export function writeLine(line: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(`${line}\n`, error => (error ? reject(error) : resolve()));
  });
}
