/** `serve` and `migrate`. */
import { unknownSettings } from '../config.ts';
import { type Log, PlainError } from '../log.ts';
import { startService } from '../main.ts';
import type { Opened } from '../open.ts';
import { createSupervisor } from '../supervisor.ts';
import { tellAdminToken } from './admin-token.ts';
import { type Context, print, withStore } from './run.ts';

export async function serve({ config, log }: Context): Promise<void> {
  const supervisor = createSupervisor(process.env, log);
  for (const reason of unknownSettings(process.env)) log.warn({ reason }, 'unknown setting');
  const end = Promise.withResolvers<string | undefined>();
  const service = await startService(config, {
    ...{ log, onOutgrown: end.resolve },
    onAdminToken: token =>
      tellAdminToken(token, {
        terminal: process.stderr.isTTY === true,
        dataDir: config.DATA_DIR,
        print: line => process.stderr.write(line),
      }),
  });
  onSignal(() => end.resolve(undefined));
  if (service.opened.applied.length > 0)
    log.info({ count: service.opened.applied.length }, 'database migrated');
  if (service.publicPort !== undefined)
    log.info({ role: 'receive', port: service.publicPort }, 'ready for webhooks');
  log.info({ role: config.ROLES.join(','), port: service.adminPort }, 'ready');
  supervisor.ready();

  const outgrown = await end.promise;
  supervisor.stopping();
  log.info({}, 'stopping: finishing what is under way');
  if ((await service.stop()) === 'late') endLate(log, outgrown);
  log.info({}, 'stopped');
  if (outgrown !== undefined) throw new PlainError(outgrown);
}

/**
 * What did not end in time, a connection to a database that hangs, holds the process for as long as that hangs: it was
 * alive at 70 s. The log is written by the call itself, so nothing of it is lost here.
 */
function endLate(log: Log, outgrown: string | undefined): never {
  log.error({}, 'the stop took too long and is cut off; leases will take care of the rest');
  if (outgrown !== undefined) process.stderr.write(`otklik: ${outgrown}\n`);
  process.exit(1);
}

/** Asks for an orderly end. A second signal ends the process at once. */
function onSignal(end: () => void): void {
  let asked = false;
  const hear = () => {
    if (asked) process.exit(1);
    asked = true;
    end();
  };
  process.on('SIGINT', hear);
  process.on('SIGTERM', hear);
}

export async function migrateCommand(
  context: Context,
  options: { json?: boolean; insist?: boolean },
): Promise<void> {
  const { insist = false } = options;
  const tell = async ({ applied }: Opened) => {
    const text = applied.length === 0 ? 'The database is up to date.' : `Applied: ${applied.join(', ')}`;
    print(options, { applied }, text);
  };
  await withStore(context, tell, { insist, make: true });
}
