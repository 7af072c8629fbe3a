/** One data directory: where its things are, as whom and with what PostgreSQL runs there. */
import { access, constants, realpath } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { makeDirectory } from '../directory.ts';
import { type Account, chooseAccount, type Owner, ownerOf } from './account.ts';
import { type Binaries, findBinaries } from './binaries.ts';
import { EmbeddedError, errorCode } from './failure.ts';

export type Site = {
  dataDir: string;
  pgdata: string;
  statePath: string;
  lockPath: string;
  logPath: string;
  binaries: Binaries;
  account: Account;
  owner: Owner | undefined;
  settings: Record<string, string>;
  log: (event: string, fields: Record<string, unknown>) => void;
};

type Options = Pick<Site, 'settings' | 'log'> & { dataDir: string };

export async function openSite(options: Options): Promise<Site> {
  const binaries = await findBinaries();
  await makeDirectory(resolve(options.dataDir), 0o700).catch((error: unknown) =>
    refuse(error, options.dataDir),
  );
  const dataDir = await realpath(options.dataDir);
  await access(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
  const expected = join(dataDir, 'postgres');
  const pgdata = await realpath(expected).catch(() => expected);
  return {
    dataDir,
    pgdata,
    statePath: join(dataDir, 'postgres.json'),
    lockPath: join(dataDir, 'postgres.lock'),
    logPath: join(dataDir, 'postgres.log'),
    binaries,
    account: await chooseAccount({ dataDir, pgdata, postgres: binaries.postgres }),
    owner: await ownerOf(dataDir),
    settings: options.settings,
    log: options.log,
  };
}

function refuse(cause: unknown, dataDir: string): never {
  const code = errorCode(cause) ?? '';
  if (!['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes(code)) throw cause;
  throw new EmbeddedError(
    `DATA_DIR cannot be a directory at ${dataDir} (${code}): name a place where one can be made`,
    {
      cause,
    },
  );
}
