/** What the configuration says of an environment, beyond reading it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeSettings, readConfig, unknownSettings } from '../src/config.ts';

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

test('proxies that are no addresses, and shares above the whole, are refused by every command, doctor among them', () => {
  for (const proxies of ['foo', '127.0.0.1/99', '10.0.0.0/8, nginx', '10.0.0.0/8/8', '::1/129']) {
    assert.throws(
      () => readConfig({ TRUSTED_PROXIES: proxies }),
      /TRUSTED_PROXIES: must be addresses or ranges such as 10\.0\.0\.0\/8, comma-separated/,
      proxies,
    );
  }
  const { TRUSTED_PROXIES } = readConfig({ TRUSTED_PROXIES: '127.0.0.1, 10.0.0.0/8,fd00::/8' });
  assert.deepEqual(TRUSTED_PROXIES, ['127.0.0.1', '10.0.0.0/8', 'fd00::/8']);
  assert.throws(() => readConfig({ ALERT_DISK_PERCENT: '500' }), /ALERT_DISK_PERCENT: must be at most 100/);
});

test('a receiver and the API on one port are named before the second finds it taken', () => {
  const same = { PUBLIC_PORT: '9000', ADMIN_PORT: '9000' };
  assert.throws(() => readConfig(same), /ADMIN_PORT: must be another port than PUBLIC_PORT/);
  assert.equal(readConfig({ ...same, ROLES: 'process' }).ADMIN_PORT, 9000);
  assert.equal(readConfig({ PUBLIC_PORT: '0', ADMIN_PORT: '0' }).ADMIN_PORT, 0);
});

test('a sender of e-mails that is none is named by every command, not by the start that it ends', () => {
  const smtp = { SMTP_URL: 'smtp://127.0.0.1' };
  for (const sender of ['nobody', 'Salon <nobody>', 'a@example.com, b@example.com']) {
    assert.throws(
      () => readConfig({ ...smtp, EMAIL_FROM: sender }),
      /EMAIL_FROM: must be an address/,
      sender,
    );
  }
  for (const sender of [
    'robot@salon.example',
    'Salon <robot@salon.example>',
    '"Salon" <robot@salon.example>',
  ])
    assert.equal(readConfig({ ...smtp, EMAIL_FROM: sender }).EMAIL_FROM, sender);
});
