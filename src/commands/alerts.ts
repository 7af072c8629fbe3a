/** `alerts` and `alerts test`: what is wrong now, and whether the news of it would arrive. */
import { closeChannels, createChannels } from '../channels/registry.ts';
import { roadsOf } from '../configured-alerts.ts';
import { channelsConfig } from '../configured-channels.ts';
import type { AlertState } from '../domain/alert.ts';
import { createAlertTexts } from '../domain/alert-text.ts';
import { PlainError } from '../log.ts';
import { listAlerts } from '../store/alerts.ts';
import { loadTemplates } from '../templates.ts';
import { outgoingOf } from '../work/direct.ts';
import { type Context, print, table, withStore } from './run.ts';

type Json = { readonly json?: boolean };

export async function alertsList(context: Context, options: Json): Promise<void> {
  await withStore(context, async ({ pool }) => {
    const items = raisedOf(await listAlerts(pool)).map(
      ({ kind, subject, label, detail, value, since, toldAt }) => ({
        ...{ kind, subject, label, detail, value },
        since: iso(since),
        toldAt: iso(toldAt),
      }),
    );
    const rows = items.map(({ kind, subject, label, value, since, detail }) => [
      ...[kind, subject, label, String(Math.round(value * 10) / 10), since, detail],
    ]);
    const header = ['alert', 'of', 'name', 'value', 'since', 'detail'];
    print(options, { items }, table(header, rows, 'No alert is open.'));
  });
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
