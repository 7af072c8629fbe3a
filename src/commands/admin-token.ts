/** How an ADMIN_TOKEN that was made at this start reaches its owner: only its hash is kept. */
import { rm, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';

/**
 * Shown at a terminal. Elsewhere standard error goes into a journal, which keeps it for good and shows it to a group of
 * people, so there it is a file in DATA_DIR, which this user alone may read. Where there is no such directory, as with a
 * database of one's own in a container, it is shown all the same: a token that nobody was told would be lost.
 */
export async function tellAdminToken(
  token: string,
  {
    terminal,
    dataDir,
    print,
  }: {
    readonly terminal: boolean;
    readonly dataDir: string;
    readonly print: (line: string) => void;
  },
): Promise<void> {
  const file = terminal ? undefined : await kept(token, resolve(dataDir, 'admin-token'));
  print(
    file === undefined
      ? `ADMIN_TOKEN for the API, shown only now: ${token}\n`
      : `ADMIN_TOKEN for the API is in ${file}: put it into your password store and delete the file\n`,
  );
}

/** The file's path; undefined when it cannot be written. */
async function kept(token: string, file: string): Promise<string | undefined> {
  try {
    // One from an earlier database may be there, with other rights.
    await rm(file, { force: true });
    await writeFile(file, `${token}\n`, { flag: 'wx', mode: 0o600, flush: true });
    return file;
  } catch {
    return undefined;
  }
}
