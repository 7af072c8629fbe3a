/**
 * Checks every file of `deploy/` with its own tool: nginx, caddy, systemd-analyze, promtool, docker-compose, and a
 * parser where there is no tool. A file that nobody here knows is a fault, and so is a tool that is missing.
 *
 *   npm run deploy:check     `scripts/debian.sh` installs the tools
 */
import { execFile } from 'node:child_process';
import { access, constants, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { validate as validateDockerfile } from 'dockerfile-utils';
import { z } from 'zod';
import { describeSettings, readConfig } from '../src/config.ts';

const FOLDER = join(import.meta.dirname, '../deploy');
/** Where Debian has nginx; not on everybody's PATH. */
const ENVIRONMENT = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };
const TOOL_LIMIT_MS = 60_000;
/** Of 10; above it systemd calls a service exposed. */
const MOST_EXPOSURE = 2.5;

/** What is wrong with one file, in the tool's words; empty when nothing is. `directory` is for whatever it writes. */
type Check = (path: string, directory: string) => Promise<readonly string[]>;

const CHECKS: readonly (readonly [RegExp, Check])[] = [
  [/^nginx\/[\w-]+\.conf$/, nginxSite],
  [/^caddy\/Caddyfile$/, caddyfile],
  [/^systemd\/[\w@-]+\.service$/, systemdUnit],
  [/^systemd\/[\w@-]+\.timer$/, systemdTimer],
  [/^systemd\/otklik$/, shellScript],
  [/^systemd\/roles\/[\w-]+\.env$/, settings],
  [/^otklik\.env$/, settings],
  [/^docker\/Dockerfile$/, dockerfile],
  [/^docker\/Dockerfile\.dockerignore$/, ignoreFile],
  [/^docker\/compose\.yaml$/, composeFile],
  [/^prometheus\/[\w.-]*(rules|alerts)[\w.-]*\.ya?ml$/, prometheusRules],
  [/^prometheus\/[\w.-]*test[\w.-]*\.ya?ml$/, prometheusTest],
  [/^prometheus\/prometheus\.ya?ml$/, prometheusConfiguration],
  [/^prometheus[\w.-]*\.ya?ml$/, prometheusRules],
  [/^grafana(\/|[\w.-]*)[\w.-]*\.json$/, grafanaDashboard],
];

const panel = z.looseObject({
  id: z.number().int(),
  type: z.string().min(1),
  title: z.string().optional(),
  gridPos: z.looseObject({ h: z.number(), w: z.number().max(24), x: z.number(), y: z.number() }),
  targets: z.array(z.looseObject({ expr: z.string().min(1) })).optional(),
});
const dashboard = z.looseObject({
  uid: z.string().regex(/^[\w-]{1,40}$/),
  title: z.string().min(1),
  schemaVersion: z.number().int().min(30),
  panels: z.array(panel).min(1),
});

process.exitCode = await main();

async function main(): Promise<number> {
  const files = (await readdir(FOLDER, { recursive: true, withFileTypes: true }))
    .filter(entry => entry.isFile())
    .map(entry => relative(FOLDER, join(entry.parentPath, entry.name)))
    .sort();
  const directory = await mkdtemp(join(tmpdir(), 'otklik-deploy-'));
  try {
    let failed = 0;
    for (const file of files) {
      const faults = await faultsOf(file, directory);
      process.stdout.write(`${faults.length === 0 ? '✓' : '✗'} deploy/${file}\n`);
      for (const fault of faults) process.stdout.write(`    ${fault.replaceAll('\n', '\n    ')}\n`);
      if (faults.length > 0) failed += 1;
    }
    process.stdout.write(`${files.length - failed} passed, ${failed} failed\n`);
    return failed === 0 ? 0 : 1;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function faultsOf(file: string, directory: string): Promise<readonly string[]> {
  const check = CHECKS.find(([pattern]) => pattern.test(file))?.[1];
  if (check === undefined) return ['no check knows this file: add one in scripts/deploy-check.ts'];
  try {
    return await check(join(FOLDER, file), directory);
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  }
}

type Outcome = { readonly code: number; readonly says: string };

async function run(tool: string, args: readonly string[], cwd = FOLDER): Promise<Outcome> {
  const options = { cwd, env: ENVIRONMENT, timeout: TOOL_LIMIT_MS };
  try {
    const { stdout, stderr } = await promisify(execFile)(tool, args, options);
    return { code: 0, says: `${stdout}${stderr}`.trim() };
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error)) throw error;
    if (error.code === 'ENOENT') throw new Error(`${tool} is not installed: run scripts/debian.sh`);
    const [out, err] = ['stdout', 'stderr'].map(name => String(Reflect.get(error, name) ?? ''));
    return { code: typeof error.code === 'number' ? error.code : 1, says: `${out}${err}`.trim() };
  }
}

function faultsWhenFailed({ code, says }: Outcome): readonly string[] {
  return code === 0 ? [] : [says || `exit code ${code}`];
}

/** `nginx -t` with the site in a main configuration like Debian's, and a certificate made for the occasion. */
async function nginxSite(path: string, directory: string): Promise<readonly string[]> {
  const [certificate, key] = [join(directory, 'tls.pem'), join(directory, 'tls.key')];
  const made = await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'],
    ...['-subj', '/CN=hooks.example.com', '-keyout', key, '-out', certificate],
  ]);
  if (made.code !== 0) return faultsWhenFailed(made);
  const site = (await readFile(path, 'utf8'))
    .replaceAll(/\/etc\/letsencrypt\/live\/[\w.]+\/fullchain\.pem/g, certificate)
    .replaceAll(/\/etc\/letsencrypt\/live\/[\w.]+\/privkey\.pem/g, key)
    .replaceAll('/var/log/nginx/', `${directory}/`);
  await writeFile(join(directory, 'site.conf'), site);
  const main = `pid ${directory}/nginx.pid; error_log stderr; events {} http { include ${directory}/site.conf; }\n`;
  await writeFile(join(directory, 'nginx.conf'), main);
  const outcome = await run('nginx', ['-t', '-q', '-p', directory, '-c', join(directory, 'nginx.conf')]);
  // A warning is a fault too: what is deprecated today does not start tomorrow.
  return outcome.says === '' ? faultsWhenFailed(outcome) : [outcome.says];
}

async function caddyfile(path: string): Promise<readonly string[]> {
  const format = await run('caddy', ['fmt', path]);
  const text = await readFile(path, 'utf8');
  return [
    ...faultsWhenFailed(await run('caddy', ['validate', '--adapter', 'caddyfile', '--config', path])),
    ...(format.says.trim() === text.trim() ? [] : ['not formatted: run `caddy fmt --overwrite`']),
  ];
}

/** `systemd-analyze verify` and the exposure it computes. */
async function systemdUnit(path: string, directory: string): Promise<readonly string[]> {
  const unit = await installedUnit(path, directory);
  const verified = await run('systemd-analyze', ['verify', '--man=no', unit]);
  const exposure = await run('systemd-analyze', [
    ...['security', '--offline=true', `--threshold=${MOST_EXPOSURE * 10}`, unit],
  ]);
  return [
    ...(verified.says === '' ? faultsWhenFailed(verified) : [verified.says]),
    ...(exposure.code === 0 ? [] : [exposure.says.split('\n').at(-1) ?? '']),
    ...(await difference(dirname(path))),
  ];
}

/** The program's own path is only there once it is installed. */
async function installedUnit(path: string, directory: string): Promise<string> {
  const text = await readFile(path, 'utf8');
  const unit = join(directory, basename(path));
  await writeFile(unit, text.replace('/usr/local/bin/otklik-node', process.execPath));
  return unit;
}

/** `systemd-analyze verify` of a timer, beside the service that it starts, which must be there. */
async function systemdTimer(path: string, directory: string): Promise<readonly string[]> {
  await installedUnit(path.replace(/\.timer$/, '.service'), directory);
  const unit = await installedUnit(path, directory);
  const verified = await run('systemd-analyze', ['verify', '--man=no', unit]);
  return verified.says === '' ? faultsWhenFailed(verified) : [verified.says];
}

/** The unit for one role is that for all of them, but for its name and the file that says which role. */
async function difference(folder: string): Promise<readonly string[]> {
  const [all, one] = await Promise.all(
    ['otklik.service', 'otklik@.service'].map(async name =>
      (await readFile(join(folder, name), 'utf8'))
        .split('\n')
        .filter(line => !/^(#|Description=|EnvironmentFile=\/etc\/otklik\/%i\.env$)/.test(line))
        .join('\n'),
    ),
  );
  return all === one ? [] : ['otklik.service and otklik@.service differ in more than name and role'];
}

async function shellScript(path: string): Promise<readonly string[]> {
  const faults = faultsWhenFailed(await run('sh', ['-n', path]));
  const executable = await access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
  return executable ? faults : [...faults, 'it is not executable'];
}

/** Lines of NAME=value, each a setting we have and a value that is valid, also those that are commented out. */
async function settings(path: string): Promise<readonly string[]> {
  const lines = (await readFile(path, 'utf8')).split('\n');
  const pairs = lines.flatMap(line => {
    const match = /^#?([A-Z][A-Z0-9_]*)=(.*)$/.exec(line);
    return match?.[1] === undefined ? [] : [[match[1], match[2] ?? ''] as const];
  });
  const odd = lines.filter(line => line !== '' && !/^(#|[A-Z][A-Z0-9_]*=)/.test(line));
  const known = new Set(describeSettings().map(({ name }) => name));
  readConfig(Object.fromEntries(pairs));
  return [
    ...(pairs.length === 0 ? ['it sets nothing'] : []),
    ...odd.map(line => `not a line of an environment file: ${line}`),
    ...pairs.filter(([name]) => !known.has(name)).map(([name]) => `there is no setting ${name}`),
  ];
}

/** The checks that editors show, since `docker build --check` needs a daemon; and that what is copied is there. */
async function dockerfile(path: string): Promise<readonly string[]> {
  const text = await readFile(path, 'utf8');
  const copied = copies(text).map(name => join(FOLDER, '..', name));
  const absent = await Promise.all(
    copied.map(name =>
      access(name).then(
        () => [],
        () => [`${relative(join(FOLDER, '..'), name)} is copied and not there`],
      ),
    ),
  );
  return [
    ...validateDockerfile(text).map(({ message, range }) => `line ${range.start.line + 1}: ${message}`),
    ...absent.flat(),
  ];
}

/** What a Dockerfile takes from the folder it is built in. */
function copies(text: string): string[] {
  return text.split('\n').flatMap(line => /^COPY (?!--)(.+) \S+$/.exec(line)?.[1]?.split(' ') ?? []);
}

/** Nothing but what the Dockerfile copies gets into the build: the list of exceptions is the list of copies. */
async function ignoreFile(path: string): Promise<readonly string[]> {
  const text = await readFile(path, 'utf8');
  const build = await readFile(join(dirname(path), 'Dockerfile'), 'utf8');
  const [first, ...exceptions] = text.split('\n').filter(line => line !== '' && !line.startsWith('#'));
  const copied = build.split('\n').flatMap(line => /^COPY (?!--)(.+) \S+$/.exec(line)?.[1]?.split(' ') ?? []);
  const same =
    [...new Set(copied)].sort().join() ===
    exceptions
      .map(line => line.replace(/^!/, ''))
      .sort()
      .join();
  return [
    ...(first === '*' ? [] : ['it must begin by leaving everything out: *']),
    ...(same ? [] : ['it lets in something else than the Dockerfile copies']),
  ];
}

/** `docker-compose config`, with the files and variables that an operator makes. */
async function composeFile(path: string, directory: string): Promise<readonly string[]> {
  // The docker-compose of Debian 12 does not know a project's name yet.
  const text = (await readFile(path, 'utf8')).replace(/^name: .*\n/m, '');
  await writeFile(join(directory, 'compose.yaml'), text);
  await writeFile(join(directory, 'otklik.env'), await readFile(join(FOLDER, 'otklik.env'), 'utf8'));
  await writeFile(join(directory, '.env'), 'OTKLIK_KEY=key\nPOSTGRES_PASSWORD=password\n');
  const args = [
    '--file',
    join(directory, 'compose.yaml'),
    '--project-directory',
    directory,
    'config',
    '--quiet',
  ];
  const outcome = await run('docker-compose', args, directory);
  return outcome.says === '' ? faultsWhenFailed(outcome) : [outcome.says];
}

async function prometheusRules(path: string): Promise<readonly string[]> {
  return faultsWhenFailed(await run('promtool', ['check', 'rules', path]));
}

async function prometheusTest(path: string): Promise<readonly string[]> {
  return faultsWhenFailed(await run('promtool', ['test', 'rules', path], dirname(path)));
}

/** As it is, and with what is commented out: a line of that has no blank behind its #, or two and more. */
async function prometheusConfiguration(path: string, directory: string): Promise<readonly string[]> {
  const text = await readFile(path, 'utf8');
  const whole = join(directory, 'prometheus.yml');
  await writeFile(
    whole,
    text
      .replaceAll(/^#(?=[a-z]| {2})/gm, '')
      .replace(/^( *- )([\w.-]+rules\.yml)$/m, `$1${join(dirname(path), '$2')}`),
  );
  const outcomes = [path, whole].map(file => run('promtool', ['check', 'config', file], dirname(path)));
  return (await Promise.all(outcomes)).flatMap(faultsWhenFailed);
}

/** There is no checker of dashboards: the parts that Grafana reads, by a schema; each query by promtool's parser. */
async function grafanaDashboard(path: string, directory: string): Promise<readonly string[]> {
  const { panels } = dashboard.parse(JSON.parse(await readFile(path, 'utf8')));
  const ids = panels.map(({ id }) => id);
  const twice = ids.filter((id, index) => ids.indexOf(id) !== index);
  const queries = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  const rules = queries.map((expr, index) => ({ record: `dashboard:query_${index}`, expr: concrete(expr) }));
  const file = join(directory, 'queries.yml');
  // JSON is YAML.
  await writeFile(file, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
  return [
    ...twice.map(id => `two panels have the id ${id}`),
    ...(await prometheusRules(file)),
    ...(queries.length === 0 ? ['no panel asks anything'] : []),
  ];
}

/** A query with Grafana's variables filled in. */
function concrete(expr: string): string {
  return expr.replace(/\$(__rate_interval|__interval|__range)\b/g, '5m').replace(/\$\{?\w+(:\w+)?\}?/g, 'x');
}
