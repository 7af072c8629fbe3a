/** `doctor`: checks what usually goes wrong, and says what to do. Exit code 1 when something is. */
import { createServer } from 'node:net';
import type { AccountState } from '../channels/channel.ts';
import { closeChannels, createChannels } from '../channels/registry.ts';
import { type Config, marketplaceLacks, unknownSettings } from '../config.ts';
import { backupHours, roadsOf } from '../configured-alerts.ts';
import { channelsConfig } from '../configured-channels.ts';
import type { AlertState } from '../domain/alert.ts';
import { backupReadings, FEWEST_CHANGES } from '../domain/readings.ts';
import { createTexts } from '../domain/text.ts';
import type { EpochMs } from '../domain/time.ts';
import { describeError, PlainError } from '../log.ts';
import type { Opened } from '../open.ts';
import { brokenTexts } from '../salon/texts.ts';
import { listAlerts, readLastBackup } from '../store/alerts.ts';
import { type Coverage, readCoverage } from '../store/coverage.ts';
import { listDrift } from '../store/drift.ts';
import { EmbeddedError } from '../store/embedded/failure.ts';
import { readAside } from '../store/heard.ts';
import { pendingMigrations } from '../store/migrate.ts';
import { readPauses } from '../store/pace.ts';
import type { Pool } from '../store/pool.ts';
import { readSetting } from '../store/settings.ts';
import { readServer, readStats } from '../store/views.ts';
import { loadTemplates } from '../templates.ts';
import { VERSION } from '../version.ts';
import { readAccounts } from '../work/accounts.ts';
import { readFreePercent } from '../work/outside.ts';
import { HOW_TO_READ } from '../work/sweep.ts';
import { raisedOf } from './alerts.ts';
import { describeDrift } from './drift.ts';
import { type Finding, fault, note, ok } from './finding.ts';
import { firstReceiptFindings } from './first-receipts.ts';
import { operatorFindings } from './operator.ts';
import { outsideFindings } from './outside.ts';
import { type Context, ofCompany, print, withStore } from './run.ts';

const OLDEST_SERVER = 150_000;
/** Signatures tolerate five minutes; leases and notices want far less. */
const SKEW_LIMIT_MS = 2_000;
const BACKLOG_LIMIT_SECONDS = 60;
/** Longer than the service takes to say what it waits for. */
const PROBE_TIMEOUT_MS = 5_000;
const DRIFT_SHOWN = 10;
const LEAST_COVERAGE_PERCENT = 90;

type Options = { readonly json?: boolean; readonly publicUrl?: string | true; readonly company?: number };

export async function doctor(context: Context, options: Options): Promise<void> {
  const { publicUrl } = options;
  const outside = publicUrl === true ? context.config.PUBLIC_URL : publicUrl;
  if (publicUrl === true && outside === undefined)
    throw new PlainError('PUBLIC_URL is not set: say the URL after --public-url');
  const findings = [
    ok('version', `otklik ${VERSION}, Node ${process.versions.node}`),
    ...unknownSettings(process.env).map(says => note('settings', says)),
    ...(await storeFindings(context)),
    ...(await diskFindings(context.config)),
    ...(await portFindings(context.config)),
    ...(await channelFindings(context.config)),
    marketplaceFinding(context.config),
    ...(outside === undefined ? [] : await outsideFindings(context, outside, options.company)),
  ];
  const healthy = findings.every(finding => finding.state !== 'fault');
  const sign = { ok: '✓', note: '•', fault: '✗' };
  const width = Math.max(...findings.map(finding => finding.check.length));
  const lines = findings.map(({ check, state, says }) => `${sign[state]} ${check.padEnd(width)}  ${says}`);
  print(options, { healthy, findings }, lines.join('\n'));
  if (!healthy) process.exitCode = 1;
}

async function storeFindings(context: Context): Promise<Finding[]> {
  try {
    return await withStore(context, opened => inspectStore(opened, context.config));
  } catch (error) {
    const plain = error instanceof PlainError || error instanceof EmbeddedError;
    return [fault('database', plain ? error.message : `unexpected: ${describeError(error).error}`)];
  }
}

async function inspectStore({ pool, vault, embedded, applied }: Opened, config: Config): Promise<Finding[]> {
  const askedAt = Date.now();
  const server = await readServer(pool);
  // It was read at some moment between: only what is beyond that is known to be wrong.
  const skewMs = Math.max(0, askedAt - server.now, server.now - Date.now());
  const pending = await pendingMigrations(pool);
  const exchanging = (await readSetting(pool, 'key_fingerprint')) !== vault.fingerprint;
  const stats = await readStats(pool);
  const dead = stats.events.dead ?? 0;
  const quarantined = stats.events.quarantined ?? 0;
  const drift = await listDrift(pool);
  const behind = stats.oldestPendingSeconds ?? 0;
  const coverage = await readCoverage(pool, Date.now());
  const alerts = raisedOf(await listAlerts(pool));
  const broken = await brokenTexts(pool, createTexts(loadTemplates()));
  return [
    ...broken.map(({ companyId, locale, kind, fault: why }) =>
      fault(
        'texts',
        `company ${companyId} has its own ${locale}/${kind}, and it cannot be used: ${why}; ours is sent instead`,
      ),
    ),
    server.number >= OLDEST_SERVER
      ? ok('database', `PostgreSQL ${server.version}${embedded ? ', embedded' : ''}`)
      : fault('database', `PostgreSQL ${server.version} is too old: 15 or newer is needed`),
    pending.length === 0
      ? ok('schema', applied.length === 0 ? 'up to date' : `brought up to date just now (${applied.length})`)
      : fault('schema', `lacks ${pending.join(', ')}: run \`migrate\``),
    skewMs <= SKEW_LIMIT_MS
      ? ok('clock', `within ${skewMs} ms of the database`)
      : fault('clock', `${skewMs} ms away from the database: set up time synchronisation on both machines`),
    exchanging
      ? note('keys', 'still sealed under OTKLIK_KEY_OLD: run `rotate-master-key`')
      : ok('keys', 'OTKLIK_KEY opens this database'),
    stats.companies > 0
      ? ok('companies', `${stats.companies}`)
      : note('companies', 'none yet: `company add <id> --title … --zone …`'),
    behind <= BACKLOG_LIMIT_SECONDS
      ? ok('backlog', behind === 0 ? 'nothing waits' : `the oldest event waits ${behind} s`)
      : fault('backlog', `the oldest event waits ${behind} s: is \`serve\` running with the role process?`),
    dead === 0
      ? ok('dead letters', 'none')
      : fault('dead letters', `${dead}: \`events list --state dead\` shows them`),
    quarantined === 0
      ? ok('quarantine', 'empty')
      : note('quarantine', `${quarantined} bodies nobody could read: \`events list --state quarantined\``),
    ...(await asideFindings(pool)),
    ...(drift.length === 0 ? [ok('drift', 'every body is of a form we know')] : []),
    ...drift.slice(0, DRIFT_SHOWN).map(row => note('drift', describeDrift(row))),
    ...(drift.length > DRIFT_SHOWN
      ? [note('drift', `${drift.length - DRIFT_SHOWN} more: \`drift list\``)]
      : []),
    ...reconciliationFindings(coverage),
    ...(await operatorFindings(pool, config)),
    ...(await pauseFindings(pool)),
    ...(await firstReceiptFindings(pool, config)),
    ...(await backupFindings(pool, config, Date.now())),
    ...alertFindings(alerts, [...roadsOf(config).keys()]),
  ];
}

async function asideFindings(pool: Pool): Promise<Finding[]> {
  const aside = await readAside(pool);
  return aside.map(({ channel, count, lastAt, lastError }) =>
    note(
      'answers',
      `${count} from ${channel} could not be understood and nobody was answered, the last at ${new Date(lastAt).toISOString()} (${lastError}): \`answers aside\` lists them; update Otklik or report it, then \`answers retry\``,
    ),
  );
}

/** Whether what webhooks leave out is found, and whether they leave out much. */
function reconciliationFindings(coverage: readonly Coverage[]): Finding[] {
  if (coverage.length === 0) return [];
  const blind = coverage.filter(({ api }) => api === 'none');
  const failing = coverage.flatMap(({ companyId, error }) =>
    error === null ? [] : [ofCompany(companyId, error)],
  );
  const late = coverage.filter(
    ({ overdueMs, intervalMs }) => overdueMs > (intervalMs ?? Number.POSITIVE_INFINITY),
  );
  const leaky = coverage.filter(
    ({ api, webhooks, missed, coveragePercent }) =>
      api === 'ready' &&
      webhooks + missed >= FEWEST_CHANGES &&
      (coveragePercent ?? 100) < LEAST_COVERAGE_PERCENT,
  );
  const polled = blind.filter(({ source }) => source !== 'webhook');
  return [
    ...failing.map(words => fault('reconciliation', words)),
    ...polled.map(({ companyId }) =>
      fault(
        'reconciliation',
        `company ${companyId} is to be polled, but its API is not read: ${HOW_TO_READ}`,
      ),
    ),
    ...late.map(({ companyId, overdueMs }) =>
      fault(
        'reconciliation',
        `company ${companyId} is due for ${Math.round(overdueMs / 1000)} s: is \`serve\` running with the role reconcile? If so, the calls allowed do not carry all companies at their intervals`,
      ),
    ),
    ...leaky.map(({ companyId, coveragePercent, missed }) =>
      note(
        'webhooks',
        `company ${companyId}: ${coveragePercent} % of changes came by webhook in 24 hours, ${missed} were found without: is its URL registered?`,
      ),
    ),
    ...(blind.length > polled.length
      ? [
          note(
            'reconciliation',
            `${blind.length} without access to the API: a lost webhook stays lost. ${HOW_TO_READ}`,
          ),
        ]
      : []),
    ...(failing.length + late.length + blind.length === 0
      ? [ok('reconciliation', `${coverage.length} compared with the platform`)]
      : []),
  ];
}

function alertFindings(alerts: readonly AlertState[], roads: readonly string[]): Finding[] {
  return [
    ...alerts.map(({ kind, subject, since }) =>
      note(
        'alert',
        `${kind}${subject === '' ? '' : ` of ${subject}`} since ${new Date(since).toISOString()}: docs/operations.md#alert-${kind}`,
      ),
    ),
    ...(alerts.length === 0 ? [ok('alerts', 'none is open')] : []),
    roads.length === 0
      ? note('alerts', 'nobody is told: set ALERT_TELEGRAM_CHAT, ALERT_EMAIL or ALERT_WEBHOOK_URL')
      : ok('alerts', `told by ${roads.join(', ')}; \`alerts test\` tries them`),
  ];
}

export async function backupFindings(pool: Pool, config: Config, now: EpochMs): Promise<Finding[]> {
  const numbers = await readLastBackup(pool);
  const limit = backupHours(config);
  const [reading] = backupReadings(numbers, config.ALERT_BACKUP_HOURS !== undefined, now);
  const late = limit > 0 && typeof reading?.value === 'number' && reading.value >= limit;
  const act = 'docs/operations.md#alert-backup';
  if (numbers.last === null) {
    const says = `none was made: ${late ? act : 'docs/operations.md#backup-and-restore'}`;
    return [late ? fault('backup', says) : note('backup', says)];
  }
  const says = `the last one was made ${Math.floor((now - numbers.last) / 3_600_000)} h ago`;
  return [late ? fault('backup', `${says}: ${act}`) : ok('backup', says)];
}

/** Of the disk that the embedded server is on, before it is full: an external one's is its keeper's. */
export async function diskFindings(
  {
    DATABASE_URL,
    DATA_DIR,
    ALERT_DISK_PERCENT,
  }: Pick<Config, 'DATABASE_URL' | 'DATA_DIR' | 'ALERT_DISK_PERCENT'>,
  readFree = readFreePercent,
): Promise<Finding[]> {
  const free = await readFree(DATA_DIR);
  if (free === null)
    return [
      note(
        'disk',
        `what is free on the disk of ${DATA_DIR} cannot be read: it is not watched, and no alert tells when it is full`,
      ),
    ];
  if (DATABASE_URL !== undefined) return [];
  const says = `${Math.floor(free)} % of the disk of ${DATA_DIR} is free`;
  if (free >= ALERT_DISK_PERCENT) return [ok('disk', says)];
  const act = 'free space, or move DATA_DIR to a larger disk; docs/operations.md#alert-disk';
  return [fault('disk', `${says}; full, no webhook is taken any more: ${act}`)];
}

async function portFindings(config: Config): Promise<Finding[]> {
  const health = await fetch(`http://${config.HOST}:${config.ADMIN_PORT}/readyz`, {
    signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
  }).then(
    response => (response.status === 200 || response.status === 503 ? response.status : undefined),
    () => undefined,
  );
  if (health === 200) return [ok('service', `running and ready on port ${config.ADMIN_PORT}`)];
  if (health === 503)
    return [
      fault(
        'service',
        `running but not ready: GET http://${config.HOST}:${config.ADMIN_PORT}/readyz says why`,
      ),
    ];
  const ports = [
    ['public port', config.PUBLIC_PORT, 'PUBLIC_PORT'],
    ['admin port', config.ADMIN_PORT, 'ADMIN_PORT'],
  ] as const;
  const findings: Finding[] = [
    note('service', `not running here: start its service, or \`${config.OTKLIK_COMMAND} serve\``),
  ];
  for (const [check, port, setting] of ports) {
    const free = await isFree(config.HOST, port);
    findings.push(
      free
        ? ok(check, `${port} is free`)
        : fault(
            check,
            `${port} is taken, by another program or by \`serve\` with other settings than these: set ${setting}, or give both the same`,
          ),
    );
  }
  return findings;
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}

export async function channelFindings(config: Config): Promise<Finding[]> {
  try {
    const channels = createChannels(channelsConfig(config));
    const accounts = await readAccounts(channels.values(), new AbortController().signal);
    await closeChannels(channels);
    const named = new Map(
      [...channels.values()].map(({ name, provider }) => [
        name,
        provider === undefined ? name : `${name} by ${provider}`,
      ]),
    );
    return [
      ok('channels', [...named.values()].join(', ')),
      ...[...accounts].map(([name, told]) => accountFinding(named.get(name) ?? name, told)),
    ];
  } catch (error) {
    return [fault('channels', error instanceof Error ? error.message : 'cannot be set up')];
  }
}

function accountFinding(channel: string, told: AccountState): Finding {
  const act = 'docs/operations.md#alert-account';
  switch (told.state) {
    case 'ok':
      return ok('account', `${channel}: its provider takes our account`);
    case 'soon':
      return note('account', `${channel} is about to fail (${told.reason}): ${act}`);
    case 'refused':
      return fault('account', `${channel}: its provider refuses our account (${told.reason}): ${act}`);
    case 'unknown':
      return note('account', `${channel} could not be asked about our account (${told.reason})`);
  }
}

/** Channels whose provider said that we send too often. */
async function pauseFindings(pool: Pool): Promise<Finding[]> {
  const pauses = await readPauses(pool);
  return pauses.map(({ channel, untilMs }) =>
    note('channels', `${channel} waits until ${new Date(untilMs).toISOString()}: its provider asked for it`),
  );
}

function marketplaceFinding(config: Config): Finding {
  if (config.YCLIENTS_PARTNER_TOKEN === undefined) {
    return ok('marketplace', 'off: salons connect there once YCLIENTS_PARTNER_TOKEN is set');
  }
  const lacks = marketplaceLacks(config);
  return lacks.length === 0
    ? ok('marketplace', 'salons connect at /connect/yclients, and leave at /webhooks/yclients/lifecycle')
    : note('marketplace', `salons cannot connect at /connect/yclients: ${lacks.join('; ')}`);
}
