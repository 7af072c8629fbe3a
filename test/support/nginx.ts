/**
 * A real nginx with the site of `deploy/nginx/otklik.conf`: the file as it is, but for name, ports, certificate and
 * places of logs; of two receivers the second is taken in. A test that needs it fails where there is none: `scripts/debian.sh` installs it.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Certificate } from './authority.ts';
import { send } from './service.ts';
import { until } from './until.ts';

const SITE = join(import.meta.dirname, '../../deploy/nginx/otklik.conf');
/** Where Debian has it; not on everybody's PATH. */
const PATH = `${process.env.PATH}:/usr/sbin`;
const START_MS = 90_000;
const STOP_MS = 10_000;

type Options = {
  directory: string;
  ports: { http: number; https: number };
  /** Public ports of the receivers. */
  receivers: readonly [number] | readonly [number, number];
  certificate: Certificate;
};

export type Nginx = {
  /** By TLS, under the name that resolves to this machine. */
  url: string;
  plainUrl: string;
  reload(): void;
  accessLog(): Promise<string>;
  errorLog(): Promise<string>;
  stop(): Promise<void>;
};

export async function startNginx(options: Options): Promise<Nginx> {
  const { directory, ports } = options;
  await mkdir(join(directory, 'logs'), { recursive: true });
  await writeFile(join(directory, 'site.conf'), render(await readFile(SITE, 'utf8'), options));
  await writeFile(join(directory, 'nginx.conf'), mainConfiguration(directory));
  const child = spawn('nginx', ['-p', directory, '-c', join(directory, 'nginx.conf')], {
    env: { PATH },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const says: Buffer[] = [];
  child.stderr.on('data', (part: Buffer) => says.push(part));
  const end = endOf(child);
  const plainUrl = `http://localhost:${ports.http}`;
  await until(async () => end.failed() ?? (await answers(plainUrl)), {
    what: 'nginx answers',
    timeoutMs: START_MS,
  });
  assert.equal(end.failed(), undefined, `nginx did not start: ${end.failed()}\n${Buffer.concat(says)}`);
  const log = (name: string) => readFile(join(directory, 'logs', name), 'utf8').catch(() => '');
  return {
    url: `https://localhost:${ports.https}`,
    plainUrl,
    reload: () => child.kill('SIGHUP'),
    accessLog: () => log('access.log'),
    errorLog: async () => (await log('site-error.log')) + (await log('error.log')),
    stop: async () => {
      child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
      await end.ended;
      clearTimeout(late);
    },
  };
}

const killAll = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of killAll) child.kill('SIGTERM');
});

function endOf(child: ChildProcess): { ended: Promise<void>; failed(): string | undefined } {
  let failed: string | undefined;
  killAll.add(child);
  const ended = new Promise<void>(resolve => {
    child.once('error', error => {
      failed = `${error.message} (scripts/debian.sh installs it)`;
      resolve();
    });
    child.once('exit', code => {
      failed = `exit code ${code}`;
      killAll.delete(child);
      resolve();
    });
  });
  return { ended, failed: () => failed };
}

function answers(url: string): Promise<boolean> {
  return send(`${url}/`, { method: 'GET' }).then(
    () => true,
    () => false,
  );
}

/** What /etc/nginx/nginx.conf is on Debian after the guide's steps, without root. */
function mainConfiguration(directory: string): string {
  return `daemon off;
worker_processes 2;
worker_rlimit_nofile 16384;
pid ${directory}/nginx.pid;
error_log ${directory}/logs/error.log notice;
events { worker_connections 8192; }
http {
  access_log off;
  client_body_temp_path ${directory}/body;
  proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi;
  scgi_temp_path ${directory}/scgi;
  include ${directory}/site.conf;
}
`;
}

/** Each replacement must find what it replaces, so that the test goes on speaking of the file that is shipped. */
function render(site: string, { directory, ports, receivers, certificate }: Options): string {
  const [first, second] = receivers;
  const replacements: readonly (readonly [string | RegExp, string])[] = [
    [/^ *listen \[::\]:.*\n/gm, ''],
    ['listen 80;', `listen 127.0.0.1:${ports.http};`],
    ['listen 443 ssl http2;', `listen 127.0.0.1:${ports.https} ssl http2;`],
    ['/etc/letsencrypt/live/hooks.example.com/fullchain.pem', certificate.certFile],
    ['/etc/letsencrypt/live/hooks.example.com/privkey.pem', certificate.keyFile],
    [/server_name hooks\.example\.com;/g, 'server_name localhost;'],
    ['/var/log/nginx/otklik.access.log', `${directory}/logs/access.log`],
    [/\/var\/log\/nginx\/otklik\.error\.log/g, `${directory}/logs/site-error.log`],
    ['server 127.0.0.1:8080 ', `server 127.0.0.1:${first} `],
    ['#server 127.0.0.1:8082 ', second === undefined ? '# ' : `server 127.0.0.1:${second} `],
  ];
  return replacements.reduce((text, [what, by]) => {
    const replaced = text.replace(what, by);
    assert.notEqual(replaced, text, `deploy/nginx/otklik.conf no longer has ${what}`);
    return replaced;
  }, site);
}
