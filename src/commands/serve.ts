/** `serve` and `migrate`. */
import { startService } from '../main.ts';
import { createSupervisor } from '../supervisor.ts';
import { type Context, print, withStore } from './run.ts';

export async function serve({ config, log }: Context): Promise<void> {
  const supervisor = createSupervisor(process.env, log);
  const service = await startService(config, { log });
  const stopped = stopOnSignal(async () => {
    supervisor.stopping();
    log.info({}, 'stopping: finishing what is under way');
    await service.stop();
    log.info({}, 'stopped');
  });
  if (service.opened.applied.length > 0)
    log.info({ count: service.opened.applied.length }, 'database migrated');
  if (service.newAdminToken !== undefined) {
    process.stderr.write(`ADMIN_TOKEN for the API, shown only now: ${service.newAdminToken}\n`);
  }
  if (service.publicPort !== undefined)
    log.info({ role: 'receive', port: service.publicPort }, 'ready for webhooks');
  log.info({ role: config.ROLES.join(','), port: service.adminPort }, 'ready');
  supervisor.ready();
  await stopped;
}

/** Resolves when a signal has come and `stop` has run. A second signal ends the process at once. */
function stopOnSignal(stop: () => Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    let stopping = false;
    const onSignal = () => {
      if (stopping) process.exit(1);
      stopping = true;
      stop().then(resolve, reject);
    };
    process.on('SIGINT', onSignal);
    process.on('SIGTERM', onSignal);
  });
}

export async function migrateCommand(context: Context, options: { json?: boolean }): Promise<void> {
  await withStore(context, async ({ applied }) => {
    const text = applied.length === 0 ? 'The database is up to date.' : `Applied: ${applied.join(', ')}`;
    print(options, { applied }, text);
  });
}
