/**
 * Child processes of the benchmarks: servers that are waited for and ended, commands that are read.
 * Each is ended by its own id; what is still alive when this process exits is killed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** A server answers within this or its start has failed. */
const readyTimeoutMs = 30_000;
const probeTimeoutMs = 1_000;
/** Between SIGTERM and SIGKILL: our server drains within this. */
const stopTimeoutMs = 15_000;
/** Kept of a child's stderr, to show when it fails. */
const stderrTailChars = 4_000;

type Command = {
  name: string;
  file: string;
  args: string[];
  env?: Record<string, string>;
};

export type Server = {
  stop(): Promise<void>;
};

/** Starts a server and resolves once `isReady` says so. The caller stops it. */
export async function startServer(command: Command, isReady: () => Promise<boolean>): Promise<Server> {
  const child = start(command);
  const server = { stop: () => stop(child) };
  try {
    await waitUntilReady(child, command, isReady);
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

/** Runs a command to its end and returns its stdout. */
export async function run(command: Command): Promise<string> {
  const child = start(command);
  let stdout = '';
  child.process.stdout?.setEncoding('utf8').on('data', chunk => {
    stdout += chunk;
  });
  const [code] = await once(child.process, 'close');
  if (code !== 0) throw failed(command, `ended with code ${code}`, child);
  return stdout;
}

export async function answersOk(url: string): Promise<boolean> {
  const response = await fetch(url, { signal: AbortSignal.timeout(probeTimeoutMs) }).catch(() => undefined);
  await response?.body?.cancel();
  return response?.status === 200;
}

export async function accepts(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port, timeout: probeTimeoutMs });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

export async function freePort(): Promise<number> {
  const probe = createServer();
  probe.listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (address === null || typeof address === 'string') throw new Error('no free loopback port');
  return address.port;
}

type Child = {
  process: ChildProcess;
  stderrTail: string;
};

const alive = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of alive) child.kill('SIGKILL');
});

function start(command: Command): Child {
  // A group of its own: Ctrl-C reaches the benchmark alone, which then ends its children in order.
  const child = spawn(command.file, command.args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    env: { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '', ...command.env },
  });
  const started: Child = { process: child, stderrTail: '' };
  alive.add(child);
  child.once('exit', () => alive.delete(child));
  child.once('error', error => {
    alive.delete(child);
    started.stderrTail += error.message;
  });
  child.stderr.setEncoding('utf8').on('data', chunk => {
    started.stderrTail = (started.stderrTail + chunk).slice(-stderrTailChars);
  });
  // A server that nobody reads would stop at a full pipe.
  child.stdout.resume();
  return started;
}

async function stop(child: Child): Promise<void> {
  if (hasEnded(child)) return;
  const ended = once(child.process, 'exit');
  child.process.kill('SIGTERM');
  const kill = setTimeout(() => child.process.kill('SIGKILL'), stopTimeoutMs);
  await ended;
  clearTimeout(kill);
}

function hasEnded(child: Child): boolean {
  return (
    child.process.pid === undefined || child.process.exitCode !== null || child.process.signalCode !== null
  );
}

async function waitUntilReady(
  child: Child,
  command: Command,
  isReady: () => Promise<boolean>,
): Promise<void> {
  const deadline = Date.now() + readyTimeoutMs;
  while (Date.now() < deadline) {
    if (hasEnded(child)) throw failed(command, 'ended before it was ready', child);
    if (await isReady()) return;
    await sleep(50);
  }
  throw failed(command, `not ready within ${readyTimeoutMs} ms`, child);
}

function failed(command: Command, what: string, child: Child): Error {
  return new Error(`${command.name}: ${what}\n${child.stderrTail}`);
}
