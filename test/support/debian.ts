/**
 * A Debian 12 as a provider hands it over: systemd is process 1, and nothing of ours is there. It is made of Debian's
 * packages by mmdebstrap and booted by systemd-nspawn, which wants root and no systemd of this machine. Its network is a
 * loopback of its own, so it may listen where a server would: 80, 443, 8080. Only package managers see this machine's.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { endsWithUs } from './children.ts';
import { trustAsHere } from './container.ts';
import { until } from './until.ts';

/** What is on every server's image and not in the smallest Debian. */
const GIVEN = 'systemd,systemd-sysv,dbus,ca-certificates,iproute2,procps,openssl';
/** Debian's 100 packages take half a minute, nginx, certbot and PostgreSQL a minute on a busy machine. */
const STEP_MS = 400_000;
const BOOT_MS = 180_000;
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export type Debian = {
  /** Where its root directory lies, for files to be laid into it. */
  readonly root: string;
  /** A script by `bash -e` as root; answers what it says on both streams. Throws with that when it fails. */
  run(script: string): Promise<string>;
  /** The same on this machine's network, for `apt-get` and `npm`. */
  fetch(script: string): Promise<string>;
  close(): Promise<void>;
};

/** Takes a minute. `directory` is to be on a disk: PostgreSQL syncs there. */
export async function startDebian(directory: string): Promise<Debian> {
  const root = join(directory, 'debian');
  // A throwaway: nothing of what is installed is synced to the disk, now or later.
  const swiftly = '--dpkgopt=force-unsafe-io';
  const flags = ['--variant=minbase', `--include=${GIVEN}`, swiftly, '--quiet'];
  await execute('mmdebstrap', [...flags, 'bookworm', root]);
  await trustAsHere(root, 'etc/npmrc');
  await writeFile(join(root, 'etc/dpkg/dpkg.cfg.d/throwaway'), 'force-unsafe-io\n');
  const child = spawn(
    'systemd-nspawn',
    [
      ...['--quiet', '--directory', root, '--register=no', '--keep-unit', '--boot'],
      ...['--private-network', '--hostname=salon', '--resolv-conf=copy-host'],
    ],
    { stdio: 'ignore' },
  );
  const ended = once(child, 'exit');
  endsWithUs(child);
  const leader = await until(() => leaderOf(child), { what: 'the container has a process 1' });
  // With process 1 ends all that runs there, and systemd-nspawn; with that alone, killed, nothing would.
  const kill = () => {
    if (child.exitCode === null && child.signalCode === null) process.kill(Number(leader), 'SIGKILL');
  };
  process.once('exit', kill);
  const enter = (more: readonly string[]) => async (script: string) =>
    execute('nsenter', [
      ...['--target', leader, '--mount', '--uts', '--ipc', '--pid', '--cgroup', ...more],
      ...['env', '-i', `PATH=${PATH}`, 'HOME=/root', 'LANG=C.UTF-8', 'DEBIAN_FRONTEND=noninteractive'],
      ...['bash', '-e', '-o', 'pipefail', '-c', `exec 2>&1 </dev/null\n${script}`],
    ]);
  const run = enter(['--net']);
  let state = '';
  await until(
    async () => {
      state = (await run('systemctl is-system-running || true').catch(String)).trim();
      return ['running', 'degraded'].includes(state);
    },
    { what: 'Debian is up', timeoutMs: BOOT_MS },
  ).catch(cause => {
    throw new Error(`systemd did not come up: ${state}`, { cause });
  });
  return {
    root,
    run,
    fetch: enter([]),
    async close() {
      // Nobody needs an orderly shutdown, which waits for a unit that hangs for a minute and a half.
      process.off('exit', kill);
      kill();
      await ended;
    },
  };
}

/** Its child that has become systemd, as the number it has here; the one before that only sets the scene and ends. */
async function leaderOf({ pid, exitCode }: ChildProcess): Promise<string | undefined> {
  if (exitCode !== null) throw new Error(`systemd-nspawn ended with ${exitCode}`);
  const read = (path: string) => readFile(path, 'utf8').catch(() => '');
  for (const child of (await read(`/proc/${pid}/task/${pid}/children`)).split(' ')) {
    if (child !== '' && (await read(`/proc/${child}/comm`)) === 'systemd\n') return child;
  }
  return undefined;
}

async function execute(tool: string, args: readonly string[]): Promise<string> {
  const options = { timeout: STEP_MS, maxBuffer: 16 * 1024 * 1024 };
  try {
    return (await promisify(execFile)(tool, args, options)).stdout;
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error)) throw error;
    if (error.code === 'ENOENT')
      throw new Error(`${tool} is not installed: run scripts/debian.sh`, { cause: error });
    throw new Error(
      `exit code ${error.code}: ${Reflect.get(error, 'stdout')}${Reflect.get(error, 'stderr')}`,
    );
  }
}
