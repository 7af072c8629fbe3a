/** One data directory: where its things are, as whom and with what PostgreSQL runs there. */
import { access, constants, mkdir, realpath } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Account, chooseAccount, type Owner, ownerOf } from './account.ts';
import { type Binaries, findBinaries } from './binaries.ts';

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
  await mkdir(resolve(options.dataDir), { recursive: true, mode: 0o700 });
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
