/**
 * A real Caddy with `deploy/caddy/Caddyfile`: the file as it is, but for name, ports and certificate. A test that needs
 * it fails where there is none: `scripts/debian.sh` installs it.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Certificate } from './authority.ts';
import { endsWithUs } from './children.ts';
import { freePorts, send } from './service.ts';
import { until } from './until.ts';

const FILE = join(import.meta.dirname, '../../deploy/caddy/Caddyfile');
const START_MS = 90_000;
const STOP_MS = 10_000;

type Options = {
  directory: string;
  /** The receiver's public port. */
  receiver: number;
  certificate: Certificate;
};

export type Caddy = {
  /** By TLS, under the name that resolves to this machine. */
  url: string;
  plainUrl: string;
  /** All that it has written down. */
  log(): string;
  stop(): Promise<void>;
};

export async function startCaddy(options: Options): Promise<Caddy> {
  const { directory } = options;
  const [ports, own] = [await freePorts(), await freePorts()];
  await mkdir(directory, { recursive: true });
  const file = join(directory, 'Caddyfile');
  const chosen = { https: ports.public, http: ports.admin, admin: own.admin };
  await writeFile(file, render(await readFile(FILE, 'utf8'), options, chosen));
  const child = spawn('caddy', ['run', '--adapter', 'caddyfile', '--config', file], {
    // What it keeps (certificates, its last configuration) stays in the test's directory.
    env: { PATH: process.env.PATH, HOME: directory },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  endsWithUs(child);
  const says: Buffer[] = [];
  child.stderr.on('data', (part: Buffer) => says.push(part));
  let failed: string | undefined;
  const ended = new Promise<void>(resolve => {
    child.once('error', error => {
      failed = `${error.message} (scripts/debian.sh installs it)`;
      resolve();
    });
    child.once('exit', code => {
      failed = `exit code ${code}`;
      resolve();
    });
  });
  const log = () => Buffer.concat(says).toString();
  const plainUrl = `http://localhost:${chosen.http}`;
  await until(async () => failed ?? (await answers(plainUrl)), {
    what: 'Caddy answers',
    timeoutMs: START_MS,
  });
  assert.equal(failed, undefined, `Caddy did not start: ${failed}\n${log()}`);
  return {
    url: `https://localhost:${chosen.https}`,
    plainUrl,
    log,
    stop: async () => {
      child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
      await ended;
      clearTimeout(late);
    },
  };
}

function answers(url: string): Promise<boolean> {
  return send(`${url}/`, { method: 'GET' }).then(
    () => true,
    () => false,
  );
}

/** Each replacement must find what it replaces, so that the test goes on speaking of the file that is shipped. */
function render(
  site: string,
  { receiver, certificate }: Options,
  ports: { https: number; http: number; admin: number },
): string {
  const global = `admin 127.0.0.1:${ports.admin}\n\thttp_port ${ports.http}\n\thttps_port ${ports.https}\n\tdefault_bind 127.0.0.1`;
  const certified = `tls ${certificate.certFile} ${certificate.keyFile}`;
  const replacements: readonly (readonly [string | RegExp, string])[] = [
    [/^\{\n/m, `{\n\t${global}\n`],
    [/^hooks\.example\.com \{\n/m, `localhost {\n\t${certified}\n`],
    ['http://hooks.example.com {', 'http://localhost {'],
    ['127.0.0.1:8080', `127.0.0.1:${receiver}`],
  ];
  return replacements.reduce((text, [what, by]) => {
    const replaced = text.replace(what, by);
    assert.notEqual(replaced, text, `deploy/caddy/Caddyfile no longer has ${what}`);
    return replaced;
  }, site);
}
