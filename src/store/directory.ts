/** Directories, as Node by itself does not make and keep them. */
import { mkdir, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Makes a directory and those above it. Not by `mkdir` with `recursive`: where the one above is there and takes none
 * (/proc), Node 24 asks again for ever, deaf to signals. `path` is absolute. Throws the system's error, ENOTDIR where
 * something else is in the way.
 */
export async function makeDirectory(path: string, mode?: number): Promise<void> {
  const found = await stat(path).catch(absent);
  if (found?.isDirectory()) return;
  if (found !== undefined) throw Object.assign(new Error(`${path} is no directory`), { code: 'ENOTDIR' });
  await makeDirectory(dirname(path), mode);
  await mkdir(path, mode).catch((error: unknown) => {
    // Somebody else made it at the same moment.
    if (codeOf(error) !== 'EEXIST') throw error;
  });
}

/** What was made, renamed or linked in it is there after a power cut. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function absent(error: unknown): undefined {
  if (codeOf(error) !== 'ENOENT') throw error;
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
