/**
 * What the benchmarks need beside the project's own install: two Debian packages, and bench/node_modules.
 */
import { constants, existsSync } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { run } from './children.ts';
import { progress, UsageError } from './run.ts';

const debianPackages = { wrk: 'wrk', 'redis-server': 'redis-server' };
type Tool = keyof typeof debianPackages;

export async function requireTools(...tools: Tool[]): Promise<void> {
  const missing: Tool[] = [];
  for (const tool of tools) {
    if (!(await isOnPath(tool))) missing.push(tool);
  }
  if (missing.length === 0) return;
  const packages = missing.map(tool => debianPackages[tool]).join(' ');
  throw new UsageError(`not found: ${missing.join(', ')}. On Debian or Ubuntu: apt-get install ${packages}`);
}

/** Installs what we are compared with, once: the main install stays without it. */
export async function installComparedStack(): Promise<void> {
  if (existsSync(join(import.meta.dirname, 'node_modules'))) return;
  progress('installing express, pg, bullmq and fastify into bench/node_modules (once)');
  const args = ['ci', '--prefix', import.meta.dirname, '--no-audit', '--no-fund'];
  // The user's own npm settings may be in the environment.
  const env = Object.fromEntries(Object.entries(process.env).map(([name, value]) => [name, value ?? '']));
  await run({ name: 'npm ci', file: 'npm', args, env });
}

async function isOnPath(program: string): Promise<boolean> {
  for (const directory of (process.env.PATH ?? '').split(delimiter)) {
    const found = await access(join(directory, program), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return true;
  }
  return false;
}
