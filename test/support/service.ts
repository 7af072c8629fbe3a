/**
 * The program as its operators see it: `serve` and the commands as processes of their own, reached by HTTP alone.
 * Whatever a test starts here has ended when the test's process ends, however that ends.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { tmpdir } from 'node:os';
import { z } from 'zod';
import { endsWithUs } from './children.ts';
import { freePort } from './ports.ts';
import { until } from './until.ts';

const PROGRAM = new URL('../../src/cli.ts', import.meta.url).pathname;
const READY_MS = 180_000;
/** Longer than `serve` takes for itself at most, so that what ends late says so itself. */
const STOP_MS = 40_000;
const COMMAND_MS = 180_000;
const ANSWER_MS = 25_000;

export const ADMIN_TOKEN = 'canary-admin-token-5d1f0c7be2';
/** Seals what the tests' databases hold. */
export const OTKLIK_KEY = '8f14e45fceea167a5a36dedd4bea2543c9f0f895fb98ab9159f51fd0297e236d';

export type Answer = { status: number; headers: IncomingHttpHeaders; body: Buffer };
export type Headers = Readonly<Record<string, string>>;
export type Company = {
  companyId: number;
  url: string;
  key: string;
  inboundSecret?: string | undefined;
  outboundSecret?: string | undefined;
};
type Environment = Readonly<Record<string, string>>;
export type Ports = { public: number; admin: number };
type CommandLine = (env: Environment) => readonly [string, ...string[]];

export type Service = {
  publicUrl: string;
  adminUrl: string;
  ports: Ports;
  pid: number;
  /** Everything the process has printed so far, both streams. */
  output(): string;
  /** Calls the admin API, signed in unless `headers` say otherwise. */
  api(method: string, path: string, body?: unknown, headers?: Headers): Promise<Answer>;
  addCompany(fields: Readonly<Record<string, unknown>> & { companyId: number }): Promise<Company>;
  /** Asks for an orderly end and answers the exit code. */
  stop(): Promise<number | null>;
  kill9(): Promise<void>;
  ended(): boolean;
};

export async function freePorts(): Promise<Ports> {
  return { public: await freePort(), admin: await freePort() };
}

/**
 * Starts `serve` and answers when /readyz does. Retries once on other ports when somebody took ours meanwhile.
 * `run` answers the command line for what is not to be started as it lies here, given the program's settings.
 */
export async function startService(
  databaseUrl: string,
  { env = {}, ports, run }: { env?: Environment; ports?: Ports; run?: CommandLine } = {},
): Promise<Service> {
  const chosen = ports ?? (await freePorts());
  const own = { PUBLIC_PORT: String(chosen.public), ADMIN_PORT: String(chosen.admin), ...env };
  const variables = environment(databaseUrl, own);
  const [program, ...args] = run?.(settings(databaseUrl, own)) ?? [process.execPath, PROGRAM, 'serve'];
  const child = spawn(program, args, { env: variables, stdio: ['ignore', 'pipe', 'pipe'] });
  const service = serviceOf(child, chosen);
  try {
    await until(async () => service.ended() || (await isReady(service)), {
      what: 'the service is ready',
      timeoutMs: READY_MS,
    });
    assert.ok(!service.ended(), 'the service ended while it started');
    return service;
  } catch (error) {
    await service.kill9();
    if (!ports && service.output().includes('EADDRINUSE')) {
      return startService(databaseUrl, { env, ...(run && { run }) });
    }
    throw new Error(`the service did not start:\n${service.output()}`, { cause: error });
  }
}

function serviceOf(child: ChildProcess, ports: Ports): Service {
  const printed: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (part: Buffer) => printed.push(part));
  let ended = false;
  endsWithUs(child);
  const exit = new Promise<number | null>(resolve => {
    child.on('close', (code, signal) => {
      ended = true;
      printed.push(Buffer.from(`(ended by ${signal ?? `exit code ${code}`})\n`));
      resolve(code);
    });
  });
  const adminUrl = `http://127.0.0.1:${ports.admin}`;
  const api: Service['api'] = (method, path, body, headers) =>
    send(`${adminUrl}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${ADMIN_TOKEN}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
  return {
    publicUrl: `http://127.0.0.1:${ports.public}`,
    adminUrl,
    ports,
    pid: child.pid ?? -1,
    output: () => Buffer.concat(printed).toString(),
    api,
    addCompany: async fields => {
      const answer = await api('POST', '/companies', {
        title: 'Ромашка',
        zone: 'Europe/Moscow',
        // Else a test that waits until nothing is left to do would wait for the visit.
        policy: { reminders: { at: [] } },
        ...fields,
      });
      assert.equal(answer.status, 200, answer.body.toString());
      return companyAnswer.parse(json(answer));
    },
    stop: async () => {
      child.kill('SIGTERM');
      const forced = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
      const code = await exit;
      clearTimeout(forced);
      return code;
    },
    kill9: async () => {
      child.kill('SIGKILL');
      await exit;
    },
    ended: () => ended,
  };
}

const companyAnswer = z.object({
  companyId: z.number(),
  url: z.string(),
  key: z.string(),
  inboundSecret: z.string().optional(),
  outboundSecret: z.string().optional(),
});

async function isReady(service: Service): Promise<boolean> {
  return send(`${service.adminUrl}/readyz`, { method: 'GET' }).then(
    ({ status }) => status === 200,
    () => false,
  );
}

/** Posts an event the way the platform does: JSON unless it is bytes or text already. */
export function post(url: string, body: unknown, headers: Headers = {}): Promise<Answer> {
  const bytes = Buffer.isBuffer(body) ? body : typeof body === 'string' ? body : JSON.stringify(body);
  return send(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: bytes,
  });
}

const agent = new Agent({ keepAlive: true, maxSockets: 128 });

/** One HTTP request; an answer of any status is an answer. */
export function send(
  url: string,
  { method, headers = {}, body }: { method: string; headers?: Headers; body?: Buffer | string },
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method, headers, agent, timeout: ANSWER_MS }, incoming => {
      const parts: Buffer[] = [];
      incoming.on('data', (part: Buffer) => parts.push(part));
      incoming.on('error', reject);
      incoming.on('end', () =>
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: Buffer.concat(parts) }),
      );
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer of ${new URL(url).host} in time`)));
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

export function json(answer: Answer): unknown {
  return JSON.parse(answer.body.toString());
}

export type Ran = { code: number | null; stdout: string; stderr: string };

/** Runs one command to its end. */
export async function command(
  databaseUrl: string,
  args: readonly string[],
  env: Environment = {},
  input = '',
): Promise<Ran> {
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    env: environment(databaseUrl, env),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  // A command that reads nothing may have ended before this is written.
  child.stdin.on('error', () => {}).end(input);
  endsWithUs(child);
  const forced = setTimeout(() => child.kill('SIGKILL'), COMMAND_MS);
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (part: Buffer) => out.push(part));
  child.stderr.on('data', (part: Buffer) => err.push(part));
  const code = await new Promise<number | null>(resolve => child.on('close', resolve));
  clearTimeout(forced);
  return { code, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() };
}

/** Nothing of the machine's own settings reaches the program. */
function environment(databaseUrl: string, env: Environment): NodeJS.ProcessEnv {
  return {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    TMPDIR: process.env.TMPDIR,
    NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
    DATA_DIR: tmpdir(),
    ...settings(databaseUrl, env),
  };
}

function settings(databaseUrl: string, env: Environment): Environment {
  return {
    ...(databaseUrl === '' ? {} : { DATABASE_URL: databaseUrl }),
    OTKLIK_KEY,
    ADMIN_TOKEN,
    WEBHOOK_ALLOW_PRIVATE: 'true',
    ...env,
  };
}
