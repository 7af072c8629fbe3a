/**
 * The image of `deploy/docker/Dockerfile`, built and run by podman: a daemon is not needed, only root. No registry of
 * images is asked either. The base that the Dockerfile names is made here of what it is made of: Debian's packages from
 * the mirror of this machine, the Node 24 and the npm that run this test.
 */
import { execFile } from 'node:child_process';
import { appendFile, copyFile, cp, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const ROOT = join(import.meta.dirname, '../..');
const BASE = 'docker.io/library/node:24-bookworm-slim';
const IMAGE = 'localhost/otklik';
/** Of one step: Debian's 60 packages take 30 s, the build 15 s. */
const STEP_MS = 240_000;

type Variables = Readonly<Record<string, string>>;
type Ran = { readonly code: number; readonly says: string };

export type Containers = {
  /** Runs podman on this image's own store and answers whatever it says. */
  podman(...args: readonly string[]): Promise<Ran>;
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

/** Takes a minute. */
export async function buildImage(directory: string): Promise<Containers> {
  const store = ['--root', join(directory, 'store'), '--runroot', join(directory, 'run')];
  const global = [...store, '--cgroup-manager', 'cgroupfs', '--events-backend', 'file', '--runtime', 'runc'];
  const podman: Containers['podman'] = async (...args) => answerOf('podman', [...global, ...args]);
  const insist = async (...args: readonly string[]) => {
    const { code, says } = await podman(...args);
    if (code !== 0) throw new Error(`podman ${args[0]}: ${says}`);
  };
  const base = join(directory, 'base');
  await makeBase(base);
  await writeFile(
    join(directory, 'Base'),
    'FROM scratch\nCOPY base /\nENV PATH=/usr/local/bin:/usr/bin:/bin\n',
  );
  await insist('build', '--isolation', 'chroot', '--file', join(directory, 'Base'), '--tag', BASE, directory);
  await rm(base, { recursive: true });
  const cache = (await answerOf('npm', ['config', 'get', 'cache'])).says.trim();
  await mkdir(cache, { recursive: true });
  await insist(
    ...['build', '--isolation', 'chroot', '--pull-never', '--format', 'docker'],
    ...['--volume', `${cache}:/root/.npm`, '--file', 'deploy/docker/Dockerfile', '--tag', IMAGE, ROOT],
  );
  return {
    podman,
    run: (name, env) => ['podman', ...global, ...start('--name', name, ...variables(env)), IMAGE],
    node: (env, ...args) => podman(...start('--entrypoint', 'node', ...variables(env)), IMAGE, ...args),
    async close() {
      await podman('rm', '--all', '--force', '--time', '0');
      await podman('volume', 'rm', '--all', '--force');
      await podman('rmi', '--all', '--force');
    },
  };
}

function start(...more: readonly string[]): readonly string[] {
  return [
    ...['run', '--rm', '--network', 'host', ...RESTRICTIONS],
    // Not podman's own, which are above what a machine may allow.
    ...['--ulimit', 'nofile=4096:4096', '--ulimit', 'nproc=4096:4096'],
    ...more,
  ];
}

function variables(env: Variables): readonly string[] {
  return Object.entries(env).flatMap(([name, value]) => ['--env', `${name}=${value}`]);
}

/** What `node:24-bookworm-slim` is: Debian without extras, Node in /usr/local, a user `node` with the id 1000. */
async function makeBase(base: string): Promise<void> {
  const made = await answerOf('mmdebstrap', [
    ...['--variant=minbase', '--include=ca-certificates,libstdc++6', '--quiet', 'bookworm', base],
  ]);
  if (made.code !== 0) throw new Error(`mmdebstrap: ${made.says}`);
  // Device files, which no image holds.
  await rm(join(base, 'dev'), { recursive: true });
  await mkdir(join(base, 'dev'));
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

/** The npm under `base` asks the registry that is asked here, and trusts the authorities that are trusted here. */
export async function trustAsHere(base: string, npmrc: string): Promise<void> {
  const file = 'etc/ssl/certs/ca-certificates.crt';
  await copyFile(join('/', file), join(base, file));
  const registry = (await answerOf('npm', ['config', 'get', 'registry'])).says.trim();
  await mkdir(dirname(join(base, npmrc)), { recursive: true });
  await writeFile(join(base, npmrc), `cafile=/${file}\nregistry=${registry}\n`);
}

async function answerOf(tool: string, args: readonly string[]): Promise<Ran> {
  const options = { cwd: ROOT, timeout: STEP_MS, maxBuffer: 16 * 1024 * 1024 };
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
