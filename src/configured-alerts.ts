/** What the configuration says of alerts: who is told, how, and from which limits. */
import type { ChannelName, Roads } from './channels/channel.ts';
import type { Config } from './config.ts';
import { type Limits, rulesOf } from './domain/alert.ts';
import { readHours } from './domain/working-time.ts';
import type { AlertDeps } from './work/alert.ts';
import { readCertificateDays, readFreePercent } from './work/outside.ts';

/** How whoever runs this is reached; empty: nobody is told. */
export function roadsOf(config: Config): Roads {
  const { ALERT_TELEGRAM_CHAT, ALERT_EMAIL, ALERT_WEBHOOK_URL, ALERT_WEBHOOK_SECRET } = config;
  const roads: [ChannelName, string | undefined, (string | undefined)?][] = [
    ['telegram', ALERT_TELEGRAM_CHAT],
    ['email', ALERT_EMAIL],
    ['webhook', ALERT_WEBHOOK_URL, ALERT_WEBHOOK_SECRET],
  ];
  return new Map(
    roads.flatMap(([name, address, secret]) => (address === undefined ? [] : [[name, { address, secret }]])),
  );
}

export function watchSettings(
  config: Config,
  now: () => number,
): Pick<AlertDeps, 'rules' | 'working' | 'locale' | 'outside' | 'backupExpected'> {
  const { PUBLIC_URL, DATA_DIR } = config;
  return {
    rules: rulesOf(limitsOf(config)),
    working: readHours(config.ALERT_WORKING_HOURS) ?? { opens: 9, closes: 21 },
    locale: config.ALERT_LOCALE,
    backupExpected: config.ALERT_BACKUP_HOURS !== undefined,
    outside: {
      host: PUBLIC_URL === undefined ? '' : new URL(PUBLIC_URL).host,
      certificateDays: async () => (PUBLIC_URL === undefined ? null : readCertificateDays(PUBLIC_URL, now())),
      freePercent: () => readFreePercent(DATA_DIR),
    },
  };
}

/** A backup every night, and half a day for one that is large or late. */
const BACKUP_HOURS = 36;

export function backupHours({ ALERT_BACKUP_HOURS }: Pick<Config, 'ALERT_BACKUP_HOURS'>): number {
  return ALERT_BACKUP_HOURS ?? BACKUP_HOURS;
}

function limitsOf(config: Config): Limits {
  return {
    silent: config.ALERT_SILENT_HOURS,
    backlog: config.ALERT_BACKLOG_SECONDS,
    dead_letters: config.ALERT_DEAD_LETTERS,
    missed: config.ALERT_MISSED_PERCENT,
    rejects: config.ALERT_REJECTS,
    refused: config.ALERT_REFUSED,
    marketplace: config.ALERT_MARKETPLACE_REJECTS,
    unkept: config.ALERT_UNKEPT,
    certificate: config.ALERT_CERTIFICATE_DAYS,
    api: config.ALERT_API_MINUTES,
    disk: config.ALERT_DISK_PERCENT,
    database: config.ALERT_DATABASE_SECONDS,
    provider: config.ALERT_PROVIDER_PERCENT,
    account: config.ALERT_ACCOUNT_MINUTES,
    drift: config.ALERT_DRIFT,
    backup: backupHours(config),
  };
}
