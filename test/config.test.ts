/** What the configuration says of an environment, beyond reading it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeSettings, unknownSettings } from '../src/config.ts';
import { testDatabase } from './support/database.ts';
import { command, freePorts, startService } from './support/service.ts';

test('a misspelt setting is named with the one that was meant, never with its value', () => {
  assert.deepEqual(
    unknownSettings({
      ...{ ALERT_DISC_PERCENT: '5', DATABSE_URL: 'postgresql://secret', KEEP_EVERYTHING_FOR_LONG: '1' },
      OTKLIK_SOMETHING_ELSE_ENTIRELY: '',
    }),
    [
      'ALERT_DISC_PERCENT is no setting and does nothing: did you mean ALERT_DISK_PERCENT?',
      'DATABSE_URL is no setting and does nothing: did you mean DATABASE_URL?',
      'KEEP_EVERYTHING_FOR_LONG is no setting and does nothing',
      'OTKLIK_SOMETHING_ELSE_ENTIRELY is no setting and does nothing',
    ],
  );
});

test('settings that are right, and what others put into an environment, are no misspelt settings', () => {
  const ours = Object.fromEntries(describeSettings().map(({ name }) => [name, '1']));
  const others = {
    ...{ PATH: '', HOME: '', USER: '', LANG: '', TZ: '', PWD: '', SHLVL: '', TERM: '', HOSTNAME: '' },
    ...{ NODE_ENV: '', NODE_OPTIONS: '', INVOCATION_ID: '', NOTIFY_SOCKET: '', STATE_DIRECTORY: '' },
    ...{
      JOURNAL_STREAM: '',
      OTEL_SERVICE_NAME: '',
      OTEL_RESOURCE_ATTRIBUTES: '',
      PGPASSWORD: '',
      LOGNAME: '',
    },
    ...{ SYSTEMD_EXEC_PID: '', WATCHDOG_USEC: '', YARN_VERSION: '', NODE_VERSION: '', POSTGRES_PASSWORD: '' },
  };
  assert.deepEqual(unknownSettings({ ...ours, ...others }), []);
});

test('doctor notes it, and serve says it as it starts', async t => {
  const database = await testDatabase();
  t.after(() => database.close());
  const env = { ALERT_DISC_PERCENT: '5' };
  const service = await startService(database.url, { env, ports: await freePorts() });
  t.after(() => service.stop());
  assert.match(
    service.output(),
    /ALERT_DISC_PERCENT is no setting and does nothing: did you mean ALERT_DISK/,
  );
  const { stdout } = await command(database.url, ['doctor'], env);
  assert.match(stdout, /^• settings +ALERT_DISC_PERCENT is no setting .*did you mean ALERT_DISK_PERCENT\?$/m);
});
