/** What systemd hears of a service: the real `systemd-notify`, and in systemd's place a socket that is written down. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { testDatabase } from '../support/database.ts';
import { type Service, startService } from '../support/service.ts';
import { until } from '../support/until.ts';

/** Node has no datagram sockets of the Unix kind; perl is on every Debian. */
const LISTENER = `use Socket; $| = 1; socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die $!;
bind($s, pack_sockaddr_un($ARGV[0])) or die $!; while (defined recv($s, my $m, 4096, 0)) { print "$m\\n" }`;
const WATCHDOG_MS = 900;
const SIGNS = 4;
const LISTENED_MS = 4 * WATCHDOG_MS;
/** Words that were on their way, each a process that has to start: of those due meanwhile a third. */
const ON_THEIR_WAY = 4;

test('systemd hears of readiness, of signs of life while the service runs, and of the stop', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'otklik-notify-'));
  const socket = join(directory, 'notify');
  const listener = spawn('perl', ['-e', LISTENER, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
  const heard: string[] = [];
  listener.stdout.on('data', (part: Buffer) => heard.push(...part.toString().split('\n')));
  const database = await testDatabase();
  t.after(async () => {
    listener.kill();
    await database.close();
    await rm(directory, { recursive: true });
  });
  await until(() => existsSync(socket), { what: 'the socket is there' });
  const env = {
    ...{ NOTIFY_SOCKET: socket, WATCHDOG_USEC: String(WATCHDOG_MS * 1000) },
    // Any free port for the debugger that SIGUSR1 opens.
    NODE_OPTIONS: '--inspect-port=127.0.0.1:0',
  };
  const service = await startService(database.url, { env });
  t.after(() => service.kill9());
  const signs = () => heard.filter(word => word === 'WATCHDOG=1').length;
  await until(() => heard.includes('READY=1'), { what: 'readiness is told' });
  await until(() => signs() >= SIGNS, { what: 'signs of life are given' });
  const end = join(directory, 'end');
  await blockEventLoop(service, end);
  const before = signs();
  await assert.rejects(
    until(() => signs() > before + ON_THEIR_WAY, {
      what: 'a process whose event loop is blocked gives none',
      timeoutMs: LISTENED_MS,
    }),
  );
  await writeFile(end, '');
  await until(() => signs() > before + ON_THEIR_WAY, { what: 'they are given again once it turns' });
  assert.equal(await service.stop(), 0, service.output());
  await until(() => heard.includes('STOPPING=1'), { what: 'the stop is told' });
  assert.ok(!service.output().includes('systemd-notify'), service.output());
});

/**
 * Keeps the main thread busy until there is a file `end`, and it alone: its other threads and its children go on, as they
 * do when our own code loops.
 * SIGSTOP would stop all threads, and so could not tell a sign of life given by another one.
 */
async function blockEventLoop({ pid, output }: Service, end: string): Promise<void> {
  process.kill(pid, 'SIGUSR1');
  const address = await until(() => /ws:\/\/127\.0\.0\.1:\S+/.exec(output())?.[0], {
    what: 'the debugger listens',
  });
  const inspector = new WebSocket(address);
  await once(inspector, 'open');
  const looks = `process.getBuiltinModule('node:fs').existsSync(${JSON.stringify(end)})`;
  const expression = `process._rawDebug('(blocked)'); while (!${looks});`;
  inspector.send(JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression } }));
  inspector.addEventListener('message', () => inspector.close());
  await until(() => output().includes('(blocked)'), { what: 'the event loop is blocked' });
}
