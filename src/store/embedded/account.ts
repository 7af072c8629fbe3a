/**
 * As whom PostgreSQL's programs run. They refuse root, while `npm start` as root must still work, so:
 *
 *   ordinary user                          → itself (one without a name, as in a container: see `hasName`)
 *   root, directory of an ordinary user    → that user
 *   root, directory of root                → `nobody` inside a user namespace, which the kernel still counts as
 *                                            root's own files: works below a 0700 home
 *   root, user namespaces refused (Docker) → the real `nobody`, given the directory, if it can reach it
 */
import { spawn } from 'node:child_process';
import { chmod, chown, lchown, readdir, stat } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { EmbeddedError } from './failure.ts';

export type Account = { prefix: readonly string[]; uid?: number; gid?: number };
export type Owner = { uid: number; gid: number };

const NOBODY = 65_534;
const PROBE_TIMEOUT_MS = 10_000;
const NAMESPACE = ['unshare', '--user', `--map-user=${NOBODY}`, `--map-group=${NOBODY}`, '--'];

type Places = { dataDir: string; pgdata: string; postgres: string };

export async function chooseAccount(places: Places): Promise<Account> {
  if (process.getuid?.() !== 0) return hasName() ? { prefix: [] } : { prefix: NAMESPACE };
  const owner = await stat(places.pgdata).catch(() => stat(places.dataDir));
  if (owner.uid !== 0) return { prefix: [], uid: owner.uid, gid: owner.gid };
  if (await succeeds({ prefix: NAMESPACE }, places.postgres, ['--version'])) return { prefix: NAMESPACE };
  return nobody(places);
}

/** initdb insists on a name for its user, which a container's arbitrary uid has not; `nobody` has one. */
function hasName(): boolean {
  try {
    return userInfo().username !== '';
  } catch {
    return false;
  }
}

async function nobody({ dataDir, pgdata, postgres }: Places): Promise<Account> {
  const account = { prefix: [], uid: NOBODY, gid: NOBODY };
  // Passing through is enough: the secrets beside the cluster stay root's.
  await chown(dataDir, 0, NOBODY);
  await chmod(dataDir, 0o710);
  const reach = ['-c', 'cd "$1" && "$2" --version', 'sh', dataDir, postgres];
  if (!(await succeeds(account, '/bin/sh', reach))) {
    throw new EmbeddedError(
      `PostgreSQL refuses to run as root; user namespaces (unshare) are refused here, and the account nobody cannot ` +
        `reach both ${dataDir} and ${postgres}. Run Otklik as an ordinary user, or set DATABASE_URL`,
    );
  }
  await giveTree(pgdata, account);
  return account;
}

/** The owner whose files ours should be, when root works in somebody's directory; undefined for an ordinary user. */
export async function ownerOf(dataDir: string): Promise<Owner | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const { uid, gid } = await stat(dataDir);
  return { uid, gid };
}

async function giveTree(path: string, { uid, gid }: Owner): Promise<void> {
  const entries = await readdir(path, { recursive: true }).catch(() => undefined);
  if (!entries) return;
  for (const entry of entries) await lchown(join(path, entry), uid, gid);
  await lchown(path, uid, gid);
}

async function succeeds(account: Account, program: string, args: string[]): Promise<boolean> {
  return run(account, program, args, { timeoutMs: PROBE_TIMEOUT_MS }).then(
    ({ ok }) => ok,
    () => false,
  );
}

type RunOptions = { timeoutMs: number; input?: string };

/** Runs one of PostgreSQL's programs to its end. `output` is both streams, for an error's text. */
export async function run(
  account: Account,
  program: string,
  args: string[],
  { timeoutMs, input }: RunOptions,
): Promise<{ ok: boolean; output: string }> {
  const { command, options } = commandFor(account, program, args);
  const [file, ...rest] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(file, rest, {
      ...options,
      signal: AbortSignal.timeout(timeoutMs),
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let output = '';
    const keep = (chunk: Buffer) => {
      output += chunk.toString();
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.stdin.on('error', () => {});
    child.on('error', reject);
    child.on('close', code => resolve({ ok: code === 0, output }));
    child.stdin.end(input ?? '');
  });
}

type Command = {
  command: [string, ...string[]];
  options: { cwd: string; env: NodeJS.ProcessEnv; uid?: number; gid?: number };
};

/** PostgreSQL's environment is made anew: ours holds tokens that are none of its business. */
export function commandFor({ prefix, ...ids }: Account, program: string, args: string[]): Command {
  const [wrapper, ...wrapperArgs] = prefix;
  const env = { PATH: process.env.PATH ?? '', LC_ALL: 'C', TZ: 'UTC' };
  const command: [string, ...string[]] = wrapper
    ? [wrapper, ...wrapperArgs, program, ...args]
    : [program, ...args];
  return { command, options: { cwd: '/', env, ...ids } };
}
