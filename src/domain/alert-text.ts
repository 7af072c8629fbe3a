/** The words of alerts, from the templates `<locale>/alert` and its parts: see `templates/README.md`. */
import { ALERT_KINDS, type Bulletin, type Told } from './alert.ts';
import { LOCALES, type Locale } from './locale.ts';
import { plainLine, plainText } from './plain.ts';
import { createEngine } from './template.ts';
import { partsOf, type Text } from './text.ts';
import type { EpochMs } from './time.ts';

export type AlertTexts = {
  /** `null`: a test of the roads. */
  render(locale: Locale, bulletin: Bulletin | null, now: EpochMs): Text;
};

const MAX_SUBJECT = 120;
/** Telegram takes 4,096. */
const MAX_TEXT = 3_800;
/** Of each sort, named one by one; when a platform is down, every company says the same. */
const NAMED = 8;
const MAX_LABEL = 60;
const MAX_DETAIL = 200;

export function createAlertTexts(templates: Readonly<Record<string, string>>): AlertTexts {
  const compile = (locale: Locale) => {
    const source = templates[`${locale}/alert`];
    if (source === undefined) throw new Error('the file is missing');
    return createEngine(locale, partsOf(locale, templates)).compile(source);
  };
  const made = new Map(LOCALES.map(locale => [locale, tryOut(locale, () => compile(locale))]));
  const render: AlertTexts['render'] = (locale, bulletin, now) => {
    const template = made.get(locale);
    if (template === undefined) throw new Error(`There is no template ${locale}/alert.`);
    const { subject, body } = template.render(scopeOf(locale, bulletin, now));
    return { subject: plainLine(subject, MAX_SUBJECT), text: plainText(body, MAX_TEXT) };
  };
  for (const locale of LOCALES) {
    for (const sample of [null, SAMPLE]) tryOut(locale, () => render(locale, sample, 0));
  }
  return { render };
}

function tryOut<T>(locale: Locale, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const says = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`Template ${locale}/alert is broken: ${says}. Fix the file and start again.`, { cause });
  }
}

function scopeOf(locale: Locale, bulletin: Bulletin | null, now: EpochMs): object {
  const view = (alerts: readonly Told[] = []) => ({
    count: alerts.length,
    named: alerts.slice(0, NAMED).map(alert => viewOf(locale, alert, now)),
    more: Math.max(0, alerts.length - NAMED),
  });
  return {
    test: bulletin === null,
    raised: view(bulletin?.raised),
    lasting: view(bulletin?.lasting),
    resolved: view(bulletin?.resolved),
  };
}

function viewOf(
  locale: Locale,
  { kind, subject, label, detail, value, limit, since }: Told,
  now: EpochMs,
): object {
  const minutes = Math.max(0, Math.round((now - since) / 60_000));
  return {
    ...{ kind, hours: Math.floor(minutes / 60), minutes: minutes % 60 },
    subject: plainLine(subject, MAX_LABEL),
    label: plainLine(label, MAX_LABEL),
    detail: plainLine(detail, MAX_DETAIL),
    value: NUMBERS[locale].format(value),
    limit: NUMBERS[locale].format(limit),
  };
}

const NUMBERS = {
  ru: new Intl.NumberFormat('ru-RU', { maximumFractionDigits: 1 }),
  en: new Intl.NumberFormat('en-US', { maximumFractionDigits: 1 }),
};

/** Every kind, as it is raised, lasts and is resolved. */
const SAMPLES: readonly Told[] = ALERT_KINDS.map(kind => ({
  ...{ kind, subject: 'A', label: 'B', detail: 'C', value: 1, limit: 1, since: 0 },
  ...{ raisedAt: 0, toldAt: 0, betterSince: null },
}));
const SAMPLE: Bulletin = {
  raised: SAMPLES.slice(0, NAMED),
  lasting: SAMPLES.slice(-NAMED),
  resolved: SAMPLES,
};
