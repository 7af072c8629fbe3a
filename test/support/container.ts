/**
 * The image of `deploy/docker/Dockerfile`, built and run by podman: a daemon is not needed, only root. No registry of
 * images is asked either. The base that the Dockerfile names is made here of what it is made of: Debian's packages from
 * the mirror of this machine, the Node 24 and the npm that run this test.
 */
import { execFile } from 'node:child_process';
import { appendFile, copyFile, cp, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const ROOT = join(import.meta.dirname, '../..');
const BASE = 'docker.io/library/node:24-bookworm-slim';
const IMAGE = 'localhost/otklik';
/** Of one step: Debian's 60 packages take 30 s, the build 15 s. */
const STEP_MS = 480_000;
/** Of a step of closing, which takes 3 s. */
const CLOSING_MS = 60_000;

export type Variables = Readonly<Record<string, string>>;
export type Ran = { readonly code: number; readonly says: string };

/** Images, containers, volumes and networks of a test's own, under `directory`. */
export type Store = {
  readonly directory: string;
  /** Runs podman and answers whatever it says. */
  podman(...args: readonly string[]): Promise<Ran>;
  /** The same, and throws what it says when it fails. */
  insist(...args: readonly string[]): Promise<void>;
  /** The command line that does the same. */
  line(...args: readonly string[]): readonly [string, ...string[]];
  close(): Promise<void>;
};

export type Containers = {
  /** Runs podman on this image's own store and answers whatever it says. */
  podman: Store['podman'];
  /** The command line that runs the image with compose.yaml's restrictions, on the network of this machine. */
  run(name: string, env: Variables): readonly [string, ...string[]];
  /** Runs the image's Node with these arguments in place of the service. */
  node(env: Variables, ...args: readonly string[]): Promise<Ran>;
  close(): Promise<void>;
};

/** As compose.yaml has it. */
const RESTRICTIONS =
  '--read-only --tmpfs /tmp --volume backups:/backups --cap-drop all --security-opt no-new-privileges'.split(
    ' ',
  );

export async function openStore(directory: string): Promise<Store> {
  const configuration = join(directory, 'containers.conf');
  await writeFile(configuration, configurationOf(directory));
  const line: Store['line'] = (...args) => [
    ...(['env', `CONTAINERS_CONF=${configuration}`, 'podman'] as const),
    ...['--root', join(directory, 'store'), '--runroot', join(directory, 'run')],
    ...['--cgroup-manager', 'cgroupfs', '--events-backend', 'file', '--runtime', 'runc'],
    ...args,
  ];
  const podman: Store['podman'] = async (...args) => {
    const [program, ...rest] = line(...args);
    return answerOf(program, rest);
  };
  return {
    directory,
    line,
    podman,
    async insist(...args) {
      const { code, says } = await podman(...args);
      if (code !== 0) throw new Error(`podman ${args[0]}: ${says}`);
    },
    async close() {
      for (const asked of CLOSING) {
        const [program, ...rest] = line(...asked);
        await answerOf(program, rest, { limitMs: CLOSING_MS });
      }
      await endWhatIsLeft(directory);
    },
  };
}

const CLOSING = [
  ['rm', '--all', '--force', '--time', '0'],
  ['volume', 'rm', '--all', '--force'],
  ['network', 'prune', '--force'],
  ['rmi', '--all', '--force'],
] as const;

/**
 * Where podman could not close, what watches its containers goes on writing there, and what it mounted cannot be removed.
 */
async function endWhatIsLeft(directory: string): Promise<void> {
  for (const pid of await readdir('/proc')) {
    const line = await readFile(join('/proc', pid, 'cmdline'), 'utf8').catch(() => '');
    if (!/^\d+$/.test(pid) || !line.includes(`${directory}/`)) continue;
    process.stderr.write(`left after its containers: ${line.replaceAll('\0', ' ').slice(0, 200)}\n`);
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {} // It has just ended.
  }
  const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map(mount => mount.split(' ')[1]);
  for (const path of mounts.filter(path => path?.startsWith(`${directory}/`)).reverse()) {
    await answerOf('umount', ['--lazy', path ?? '']);
  }
}

/** Limits that are not above what a machine may allow, as podman's own are; Debian's places for the network and for `init`. */
const configurationOf = (directory: string) => `
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
init_path = "/usr/bin/catatonit"
[network]
network_backend = "netavark"
network_config_dir = "${join(directory, 'networks')}"
[engine]
helper_binaries_dir = ["/usr/lib/podman"]
# What was run inside is forgotten in five minutes otherwise, and its watcher with it.
exit_command_delay = 5
`;

/** Takes a minute. */
export async function buildImage(directory: string): Promise<Containers> {
  const store = await openStore(directory);
  await buildBase(store);
  const cache = (await answerOf('npm', ['config', 'get', 'cache'])).says.trim();
  await mkdir(cache, { recursive: true });
  await store.insist(
    ...['build', '--isolation', 'chroot', '--pull-never', '--format', 'docker'],
    ...['--volume', `${cache}:/root/.npm`, '--file', 'deploy/docker/Dockerfile', '--tag', IMAGE, ROOT],
  );
  return {
    podman: store.podman,
    run: (name, env) => store.line(...start('--name', name, ...variables(env)), IMAGE),
    node: (env, ...args) => store.podman(...start('--entrypoint', 'node', ...variables(env)), IMAGE, ...args),
    close: store.close,
  };
}

function start(...more: readonly string[]): readonly string[] {
  return ['run', '--rm', '--network', 'host', ...RESTRICTIONS, ...more];
}

function variables(env: Variables): readonly string[] {
  return Object.entries(env).flatMap(([name, value]) => ['--env', `${name}=${value}`]);
}

/** Makes the image that the Dockerfile begins with. */
export async function buildBase(store: Store): Promise<void> {
  const base = join(store.directory, 'base');
  await makeBase(base);
  const file = join(store.directory, 'Base');
  await writeFile(file, 'FROM scratch\nCOPY base /\nENV PATH=/usr/local/bin:/usr/bin:/bin\n');
  await store.insist('build', '--isolation', 'chroot', '--file', file, '--tag', BASE, store.directory);
  await rm(base, { recursive: true });
}

/** What `node:24-bookworm-slim` is: Debian without extras, Node in /usr/local, a user `node` with the id 1000. */
async function makeBase(base: string): Promise<void> {
  await makeDebian(base, 'ca-certificates,libstdc++6');
  const npm = process.env.npm_execpath;
  if (npm === undefined) throw new Error('npm is not known: run this test by "npm run test:faults"');
  const local = join(base, 'usr/local');
  await copyFile(process.execPath, join(local, 'bin/node'));
  await cp(join(dirname(npm), '..'), join(local, 'lib/node_modules/npm'), { recursive: true });
  await symlink('../lib/node_modules/npm/bin/npm-cli.js', join(local, 'bin/npm'));
  await appendFile(join(base, 'etc/group'), 'node:x:1000:\n');
  await appendFile(join(base, 'etc/passwd'), 'node:x:1000:1000::/home/node:/bin/sh\n');
  await mkdir(join(base, 'home/node'));
  await trustAsHere(base, 'usr/local/etc/npmrc');
}

/** The smallest Debian 12 with these packages, as a layer of an image. */
export async function makeDebian(root: string, packages: string): Promise<void> {
  const args = ['--variant=minbase', `--include=${packages}`, '--quiet', 'bookworm', root];
  const made = await answerOf('mmdebstrap', args);
  if (made.code !== 0) throw new Error(`mmdebstrap: ${made.says}`);
  // Device files, which no image holds.
  await rm(join(root, 'dev'), { recursive: true });
  await mkdir(join(root, 'dev'));
}

/** The npm under `base` asks the registry that is asked here, and trusts the authorities that are trusted here. */
export async function trustAsHere(base: string, npmrc: string): Promise<void> {
  const file = 'etc/ssl/certs/ca-certificates.crt';
  await copyFile(join('/', file), join(base, file));
  const registry = (await answerOf('npm', ['config', 'get', 'registry'])).says.trim();
  await mkdir(dirname(join(base, npmrc)), { recursive: true });
  await writeFile(join(base, npmrc), `cafile=/${file}\nregistry=${registry}\n`);
}

type Run = { cwd?: string; env?: NodeJS.ProcessEnv; limitMs?: number };

/** Runs a program in the project's folder, or in `cwd`, and answers whatever it says; it is killed at the limit. */
export async function answerOf(
  tool: string,
  args: readonly string[],
  { cwd = ROOT, env = process.env, limitMs = STEP_MS }: Run = {},
): Promise<Ran> {
  // Not SIGTERM, which podman puts off for as long as it holds a lock.
  const options = {
    ...{ cwd, env, timeout: limitMs, maxBuffer: 16 * 1024 * 1024 },
    killSignal: 'SIGKILL' as const,
  };
  try {
    // What goes well is said on stdout; on stderr podman warns of a systemd that is not there.
    return { code: 0, says: (await promisify(execFile)(tool, args, options)).stdout };
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error)) throw error;
    if (error.code === 'ENOENT')
      throw new Error(`${tool} is not installed: run scripts/debian.sh`, { cause: error });
    const [out, err] = ['stdout', 'stderr'].map(name => String(Reflect.get(error, name) ?? ''));
    return { code: typeof error.code === 'number' ? error.code : 1, says: `${out}${err}`.trim() };
  }
}
