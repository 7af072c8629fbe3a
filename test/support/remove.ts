import { rm } from 'node:fs/promises';
import { until } from './until.ts';

/** What is still being written to, or still mounted, and is over in a moment. */
const TRANSIENT: readonly unknown[] = ['EBUSY', 'ENOTEMPTY'];

/**
 * Removes a directory that those who wrote there may be just leaving, or throws after a minute. Not by `maxRetries` of `rm`,
 * which begins anew at each level: 20 of them below one mount four deep are 20 to the power of four.
 */
export async function removeDirectory(directory: string): Promise<void> {
  let left: unknown;
  const removed = () =>
    rm(directory, { recursive: true, force: true }).then(
      () => true,
      error => {
        if (!TRANSIENT.includes(error.code)) throw error;
        left = error;
        return false;
      },
    );
  await until(removed, { what: `${directory} is removed` }).catch(error => {
    throw new Error(`${error.message}: ${left}`, { cause: left });
  });
}
