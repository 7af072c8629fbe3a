/**
 * What systemd is told of a service with `Type=notify`: that it is ready, that it stops, and, with `WatchdogSec`, that
 * its event loop turns. Without NOTIFY_SOCKET in the environment nothing is done.
 *
 * The word is carried by `systemd-notify`, which is there wherever systemd is: Node has no datagram sockets of the Unix
 * kind, and the packages that add them are compiled at installation. It costs a process, three in a watchdog's time.
 * The unit needs `NotifyAccess=all`, since the word comes from a child.
 */
import { spawn } from 'node:child_process';
import type { Log } from './log.ts';

export type Supervisor = {
  /** Everything is started; from now on signs of life are sent. */
  ready(): void;
  stopping(): void;
};

type Environment = Readonly<Record<string, string | undefined>>;

/** A third of the watchdog's time, so that one word may be lost. */
const SIGNS_PER_WATCHDOG = 3;
const NOTIFY_LIMIT_MS = 5_000;

export function createSupervisor(environment: Environment, log: Log): Supervisor {
  if (!environment.NOTIFY_SOCKET) return { ready() {}, stopping() {} };
  let failed = false;

  function tell(...words: readonly string[]): void {
    const child = spawn('systemd-notify', words, { stdio: 'ignore', timeout: NOTIFY_LIMIT_MS });
    const onFailure = (fields: { err?: unknown; status?: number }) => {
      // Once: the watchdog's words would fail every few seconds.
      if (!failed) log.error(fields, 'systemd is not told of us: `systemd-notify` failed');
      failed = true;
    };
    child.on('error', err => onFailure({ err }));
    child.on('exit', code => {
      if (code !== 0) onFailure({ status: code ?? -1 });
    });
  }

  return {
    ready() {
      tell('--ready');
      const watchdogMs = Number(environment.WATCHDOG_USEC ?? 0) / 1_000;
      if (!(watchdogMs > 0)) return;
      setInterval(() => tell('WATCHDOG=1'), watchdogMs / SIGNS_PER_WATCHDOG).unref();
    },
    stopping: () => tell('STOPPING=1'),
  };
}
