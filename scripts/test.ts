/**
 * Runs the tests on one PostgreSQL that lives as long as the run.
 *
 *   npm test                                  everything but the long fault runs
 *   npm test -- test/domain/text.test.ts      these files or patterns; flags of `node --test` pass through
 *   npm run test:faults                       the fault runs, one after another
 */
import { spawn } from 'node:child_process';
import { chmod, glob, mkdtemp, statfs } from 'node:fs/promises';
import { constants, freemem, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { readPostmaster, signal } from '../src/store/embedded/postmaster.ts';
import { migrate } from '../src/store/migrate.ts';
import { createTemplate } from '../test/support/database.ts';
import { removeDirectory } from '../test/support/remove.ts';
import { throwawayServer } from '../test/support/server.ts';

type Suite = {
  pattern: string;
  concurrency: number;
  /** Of one test. */
  timeoutMs: number;
  /** Of one file with all its hooks. */
  fileMs: number;
  inMemory: boolean;
};

// Two files at a time: the server they share needs a core of its own.
const TESTS: Suite = {
  pattern: 'test/**/*.test.ts',
  concurrency: 2,
  timeoutMs: 180_000,
  fileMs: 600_000,
  inMemory: true,
};
const FAULTS: Suite = {
  pattern: 'test/faults/**/*.fault.ts',
  concurrency: 1,
  timeoutMs: 1_200_000,
  fileMs: 1_800_000,
  inMemory: false,
};

// Some 200 processes read the same files: with them compiled once a start takes 0.66 s of a core in place of 1.1.
const COMPILE_CACHE = join(import.meta.dirname, '../node_modules/.cache/node-compile-cache');

const LIMIT = join(import.meta.dirname, '../test/support/limit.ts');

// Each test's database is 600 files: to clone one, use it and drop it takes 0.3 s of a core less than on ext4.
const MEMORY = '/dev/shm';
const MEMORY_BYTES = 2 * 2 ** 30; // ten times what a run was seen to take

process.exitCode = await main(process.argv.slice(2));

async function main(args: string[]): Promise<number> {
  const suite = args.includes('--faults') ? FAULTS : TESTS;
  const interruption = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => interruption.abort());
  const directory = await ownTemporaryDirectory(suite);
  const server = await throwawayServer();
  try {
    await createTemplate(server.url, migrate);
    const rest = args.filter(arg => arg !== '--faults');
    return await runNode(suite, rest, server.url, interruption.signal);
  } finally {
    await server.stop();
    // What cannot be removed is no word on what was tested.
    await sweep(directory).catch(error => process.stderr.write(`left behind: ${error}\n`));
  }
}

/** Everything that this run and its tests make lies in one directory. Others may pass: some tests run as another user. */
async function ownTemporaryDirectory({ inMemory }: Suite): Promise<string> {
  const parent = process.env.TMPDIR ?? ((inMemory && (await memory())) || tmpdir());
  const path = await mkdtemp(join(parent, 'otklik-run-'));
  await chmod(path, 0o711);
  process.env.TMPDIR = path;
  return path;
}

/** A directory in memory with room for a run; a container's usual one of 64 MB has none. */
async function memory(): Promise<string | undefined> {
  const room = await statfs(MEMORY).then(
    ({ bavail, bsize }) => Math.min(bavail * bsize, freemem()),
    () => 0,
  );
  return room < MEMORY_BYTES ? undefined : MEMORY;
}

/** Tests that were interrupted had no chance to stop the servers they started, which outlive their parent by design. */
async function sweep(directory: string): Promise<void> {
  for await (const file of glob('**/postmaster.pid', { cwd: directory })) {
    const left = await readPostmaster(dirname(join(directory, file)));
    if (left) signal(left.pid, 'SIGQUIT');
  }
  await removeDirectory(directory);
}

/** Answers the exit code, 128 + the signal's number when a signal ended it, as a shell does. */
function runNode(suite: Suite, args: string[], serverUrl: string, interrupted: AbortSignal): Promise<number> {
  const flags = args.filter(arg => arg.startsWith('-'));
  const files = args.filter(arg => !arg.startsWith('-'));
  const command = ['--test', '--test-reporter=spec', `--test-concurrency=${suite.concurrency}`];
  command.push(`--test-timeout=${suite.timeoutMs}`, `--import=${LIMIT}`, ...flags);
  command.push(...(files.length > 0 ? files : [suite.pattern]));
  const env = {
    ...process.env,
    NODE_COMPILE_CACHE: COMPILE_CACHE,
    OTKLIK_TEST_POSTGRES: serverUrl,
    OTKLIK_TEST_FILE_MS: String(suite.fileMs),
  };
  return new Promise((resolve, reject) => {
    if (interrupted.aborted) return resolve(128 + constants.signals.SIGINT);
    const child = spawn(process.execPath, command, { stdio: 'inherit', env });
    interrupted.addEventListener('abort', () => child.kill('SIGTERM'));
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve(signal ? 128 + constants.signals[signal] : (code ?? 1)));
  });
}
