/**
 * `deploy/docker/compose.yaml` in a tree of its own, run by Debian's docker-compose on podman, which speaks Docker's API.
 * What is exchanged is what this machine cannot have: the image `postgres:18-bookworm`, made here of the PostgreSQL 18
 * that comes by npm, and the clock of the healthchecks, which is systemd's with podman.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findBinaries } from '../../src/store/embedded/binaries.ts';
import { endsWithUs } from './children.ts';
import { answerOf, buildBase, makeDebian, openStore, type Store } from './container.ts';
import { packTree } from './tree.ts';
import { until } from './until.ts';

const POSTGRES = 'docker.io/library/postgres:18-bookworm';
/** Sooner than the file has it, and with its 12 tries late enough for a slow machine's PostgreSQL. */
const CHECK_EVERY_MS = 2_000;
const STOP_MS = 10_000;
/** Of a script: the first builds the image. */
const SCRIPT_MS = 600_000;

export type Compose = {
  /** The tree that the commands run in, as it is unpacked. */
  readonly tree: string;
  /**
   * A script by `bash -e` in the tree, `docker` and `dc` as on the page; answers what it says on both streams. Throws with
   * that when it fails.
   */
  sh(script: string): Promise<string>;
  close(): Promise<void>;
};

/** Takes two minutes. */
export async function startCompose(directory: string): Promise<Compose> {
  const store = await openStore(directory);
  await buildBase(store);
  await buildPostgres(store);
  const tree = join(directory, 'otklik');
  await mkdir(tree);
  await packTree(join(directory, 'tree.tar'));
  await answerOf('tar', ['-xf', join(directory, 'tree.tar'), '-C', tree]);
  const file = join(tree, 'deploy/docker/compose.yaml');
  await writeFile(file, asHere(await readFile(file, 'utf8')));
  const daemon = await serve(store);
  const checks = watchHealth(store);
  const env = { ...process.env, ...daemon.env, COMPOSE_PROJECT_NAME: 'otklik' };
  const sh: Compose['sh'] = async script => {
    const asked = `exec 2>&1 </dev/null\nPODMAN=(${store.line().join(' ')})${AS_DOCKER}\n${script}`;
    const { code, says } = await answerOf('bash', ['-e', '-c', asked], {
      cwd: tree,
      env,
      limitMs: SCRIPT_MS,
    });
    if (code !== 0) throw new Error(`exit code ${code} of:\n${script}\n${says}`);
    return says;
  };
  return {
    tree,
    sh,
    async close() {
      await checks.stop();
      // Before the store: whoever holds a container's lock keeps it from being removed.
      await daemon.stop();
      await store.close();
    },
  };
}

/**
 * Debian's docker-compose 1 knows no `name` (it is in COMPOSE_PROJECT_NAME), and would make the network anew at each
 * start because podman adds this option to what it was asked for.
 */
function asHere(text: string): string {
  return text.replace(/^name: .*\n/m, '').replace(/^( +)ipam:\n/m, '$&$1  options: {driver: host-local}\n');
}

/**
 * docker-compose 1 waits for what a service depends on and for no more, wants a terminal unless told, and copies nothing.
 */
const AS_DOCKER = `
docker() {
  local word words=() wait
  shift
  for word in "$@"; do
    case $word in
      --wait) wait=1 ;;
      exec | run) words+=("$word" -T) ;;
      *) words+=("$word") ;;
    esac
  done
  if [ "$3" = cp ]; then
    "\${PODMAN[@]}" cp "otklik_\${4/:/_1:}" "$5"
  else
    docker-compose "\${words[@]}"
  fi
  [ -z "$wait" ] || timeout 300 bash -c 'until "$@" healthcheck run otklik_otklik_1; do sleep 1; done' - "\${PODMAN[@]}" 
}
dc() { docker compose -f deploy/docker/compose.yaml "$@"; }`;

async function buildPostgres(store: Store): Promise<void> {
  await makeDebian(join(store.directory, 'debian'), 'postgresql-client-15');
  const native = join(dirname((await findBinaries()).postgres), '..');
  await cp(native, join(store.directory, 'native'), { recursive: true, verbatimSymlinks: true });
  await writeFile(join(store.directory, 'entrypoint'), ENTRYPOINT, { mode: 0o755 });
  const file = join(store.directory, 'Postgres');
  await writeFile(file, DOCKERFILE);
  await store.insist(
    ...['build', '--isolation', 'chroot', '--format', 'docker', '--file', file],
    ...['--tag', POSTGRES, store.directory],
  );
}

const DOCKERFILE = `FROM scratch
COPY debian /
COPY native /opt/postgresql
COPY entrypoint /usr/local/bin/
RUN useradd --system --uid 999 postgres
ENV PATH=/opt/postgresql/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
VOLUME /var/lib/postgresql
EXPOSE 5432
ENTRYPOINT ["entrypoint"]
CMD ["postgres"]
`;

/** What the image's own does with these variables: https://github.com/docker-library/postgres, 18/bookworm. */
const ENTRYPOINT = `#!/bin/bash
set -e
export PGDATA=/var/lib/postgresql/18/docker
if [ "$(id -u)" = 0 ]; then
  install --directory --owner=postgres --group=postgres --mode=700 "$PGDATA"
  install --directory --owner=postgres --group=postgres /var/run/postgresql
  exec setpriv --reuid=postgres --regid=postgres --clear-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --username="$POSTGRES_USER" --pwfile=<(echo "$POSTGRES_PASSWORD") --auth-host=scram-sha-256 \\
    --auth-local=trust --encoding=UTF8 --set unix_socket_directories=/var/run/postgresql --set listen_addresses='*'
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  pg_ctl --wait --options="-c listen_addresses=''" start
  psql --username="$POSTGRES_USER" --dbname=postgres --command="CREATE DATABASE \\"$POSTGRES_DB\\""
  pg_ctl --wait --mode=fast stop
fi
exec "$@"
`;

type Running = { stop(): Promise<void> };

async function serve(store: Store): Promise<Running & { env: NodeJS.ProcessEnv }> {
  const socket = `unix://${join(store.directory, 'docker.sock')}`;
  const [program, ...args] = store.line('system', 'service', '--time', '0', socket);
  const child = spawn(program, args, {
    stdio: 'ignore',
    env: { ...process.env, BUILDAH_ISOLATION: 'chroot' },
  });
  const ended = once(child, 'exit');
  endsWithUs(child);
  const env = { DOCKER_HOST: socket };
  const answers = () =>
    access(join(store.directory, 'docker.sock')).then(
      () => true,
      () => false,
    );
  await until(answers, { what: 'podman listens as Docker would' });
  return {
    env,
    async stop() {
      child.kill();
      const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
      await ended;
      clearTimeout(late);
    },
  };
}

function watchHealth(store: Store): Running {
  const ending = new AbortController();
  const watching = (async () => {
    while (!ending.signal.aborted) {
      const ids = (await store.podman('ps', '--quiet')).says.split('\n').filter(id => id !== '');
      await Promise.all(ids.map(id => store.podman('healthcheck', 'run', id)));
      await sleep(CHECK_EVERY_MS, undefined, { signal: ending.signal }).catch(() => {});
    }
  })();
  return {
    async stop() {
      ending.abort();
      await watching;
    },
  };
}
