/** `alerts`: what is wrong now, what of it is to be kept quiet for a time, and whether the news of it would arrive. */
import { closeChannels, createChannels } from '../channels/registry.ts';
import { roadsOf } from '../configured-alerts.ts';
import { channelsConfig } from '../configured-channels.ts';
import { type AlertKind, type AlertState, type Mute, mutedUntil } from '../domain/alert.ts';
import { createAlertTexts } from '../domain/alert-text.ts';
import { plainLine } from '../domain/plain.ts';
import { PlainError } from '../log.ts';
import { listAlerts, readMutes, removeMute, saveMute } from '../store/alerts.ts';
import { audit } from '../store/companies.ts';
import { transaction } from '../store/pool.ts';
import { loadTemplates } from '../templates.ts';
import { outgoingOf } from '../work/direct.ts';
import { type Context, print, table, withStore } from './run.ts';

type Json = { readonly json?: boolean };

export async function alertsList(context: Context, options: Json): Promise<void> {
  await withStore(context, async ({ pool }) => {
    const now = Date.now();
    const mutes = (await readMutes(pool)).filter(({ until }) => until > now);
    const items = raisedOf(await listAlerts(pool)).map(
      ({ kind, subject, label, detail, value, since, toldAt }) => ({
        ...{ kind, subject, label, detail, value },
        since: iso(since),
        toldAt: iso(toldAt),
        mutedUntil: iso(mutedUntil(mutes, { kind, subject }, now) ?? null),
      }),
    );
    const rows = items.map(({ kind, subject, label, value, since, detail }) => [
      ...[kind, subject, label, String(Math.round(value * 10) / 10), since, detail],
    ]);
    const header = ['alert', 'of', 'name', 'value', 'since', 'detail'];
    const muted = mutes.map(({ until, ...mute }) => ({ ...mute, until: iso(until) }));
    const quiet = plainLine(muted.map(mute => `${nameOf(mute)} until ${mute.until}`).join(', '), MUTED_MAX);
    const text = table(header, rows, 'No alert is open.');
    print(options, { items, muted }, quiet === '' ? text : `${text}\nMuted: ${quiet}`);
  });
}

type MuteOptions = Json & { readonly for: number };

export async function alertsMute(
  context: Context,
  kind: AlertKind,
  given: string | undefined,
  options: MuteOptions,
): Promise<void> {
  if (options.for < SHORTEST_MUTE_MS || options.for > LONGEST_MUTE_MS) {
    throw new PlainError(
      '--for must be from 1m to 366d; for good an alert is switched off by its ALERT_… setting',
    );
  }
  const key = { kind, subject: given ?? null };
  await withStore(context, async ({ pool }) => {
    const until = Date.now() + options.for;
    await transaction(pool, async db => {
      await saveMute(db, { ...key, until });
      await audit(db, { actor: 'command', action: 'alerts.mute', subject: wordsOf(key) });
    });
    print(
      options,
      { ...key, until: iso(until) },
      `${nameOf(key)} is muted until ${iso(until)}. That it is over is told, and what is still wrong then.`,
    );
  });
}

export async function alertsUnmute(
  context: Context,
  kind: AlertKind,
  given: string | undefined,
  options: Json,
): Promise<void> {
  const key = { kind, subject: given ?? null };
  await withStore(context, async ({ pool }) => {
    await transaction(pool, async db => {
      if (!(await removeMute(db, key)))
        throw new PlainError(`${nameOf(key)} is not muted: \`alerts\` lists what is`);
      await audit(db, { actor: 'command', action: 'alerts.unmute', subject: wordsOf(key) });
    });
    print(options, key, `${nameOf(key)} is told again.`);
  });
}

/** A look takes place every 20 s. */
const SHORTEST_MUTE_MS = 60_000;
/** What is forgotten for longer than a year is switched off. */
const LONGEST_MUTE_MS = 366 * 86_400_000;
const MUTED_MAX = 1_000;

type Muted = Omit<Mute, 'until'>;

function nameOf({ kind, subject }: Muted): string {
  return subject === null ? kind : `${kind} of ${subject}`;
}

function wordsOf({ kind, subject }: Muted): string {
  return subject === null ? kind : `${kind} ${subject}`;
}

/** Sends a test along every road to the operator, without the service and without the database. */
export async function alertsTest({ config }: Context, options: Json): Promise<void> {
  const roads = roadsOf(config);
  if (roads.size === 0) {
    throw new PlainError(
      'nobody is told of alerts: set ALERT_TELEGRAM_CHAT, ALERT_EMAIL or ALERT_WEBHOOK_URL',
    );
  }
  const channels = createChannels(channelsConfig(config));
  const text = createAlertTexts(loadTemplates()).render(config.ALERT_LOCALE, null, Date.now());
  try {
    const results = await Promise.all(
      [...roads].map(async ([name, road]) => {
        const result = await channels
          .get(name)
          ?.send(outgoingOf(road, text), AbortSignal.timeout(TEST_LIMIT_MS));
        const reason = result !== undefined && 'reason' in result ? result.reason : '';
        return { channel: name, outcome: result?.outcome ?? 'rejected', reason };
      }),
    );
    const lines = results.map(({ channel, outcome, reason }) =>
      outcome === 'sent'
        ? `✓ ${channel}: sent; look whether it arrived`
        : `✗ ${channel}: ${outcome}, ${reason}`,
    );
    print(options, { results }, lines.join('\n'));
    if (results.some(({ outcome }) => outcome !== 'sent')) process.exitCode = 1;
  } finally {
    await closeChannels(channels);
  }
}

/** Longer than any channel's own limit. */
const TEST_LIMIT_MS = 70_000;

export function raisedOf(alerts: readonly AlertState[]): AlertState[] {
  return alerts.filter(({ raisedAt }) => raisedAt !== null);
}

function iso(moment: number | null): string {
  return moment === null ? '' : new Date(moment).toISOString();
}
