/** `postgres.json`: the port and password of a data directory's server, kept so that its URL outlives a restart. */
import { chown, open, readFile, rename } from 'node:fs/promises';
import { z } from 'zod';
import type { Site } from './site.ts';

export type State = z.infer<typeof State>;
const State = z.object({ port: z.int().min(1).max(65_535), password: z.string().min(16) });

/** Undefined when there is no file, or none that can be understood: the password can be set anew. */
export async function readState(site: Site): Promise<State | undefined> {
  try {
    return State.parse(JSON.parse(await readFile(site.statePath, 'utf8')));
  } catch {
    return undefined;
  }
}

export async function writeState(site: Site, state: State): Promise<void> {
  const next = `${site.statePath}.new`;
  const file = await open(next, 'w', 0o600);
  try {
    await file.writeFile(`${JSON.stringify(state)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  if (site.owner) await chown(next, site.owner.uid, site.owner.gid);
  await rename(next, site.statePath);
}

export function urlOf({ port, password }: State): string {
  return `postgres://otklik:${password}@127.0.0.1:${port}/otklik`;
}
