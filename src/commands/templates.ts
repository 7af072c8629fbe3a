/** `templates …`: the texts that people read, those that come with us and those of a company. */
import { LOCALES, type Locale } from '../domain/locale.ts';
import { createTexts, TEXT_KINDS, type TextKind } from '../domain/text.ts';
import { PlainError } from '../log.ts';
import { listTexts, resetText, setText, textsOf, tryTexts, type Which } from '../salon/texts.ts';
import { loadTemplates } from '../templates.ts';
import { type Context, parseId, print, table, withStore } from './run.ts';
import { readSource } from './source.ts';

type Options = { readonly json?: boolean; readonly company?: string; readonly locale?: string };

export async function templatesList(context: Context, options: Options): Promise<void> {
  const shown = await shownTo(context, options);
  const rows = shown.map(({ locale, kind, own }) => [
    `${locale}/${kind}`,
    own ? "the company's own" : 'as it comes',
  ]);
  print(options, shown, table(['TEXT', 'SOURCE'], rows, 'There are no texts.'));
}

export async function templatesShow(context: Context, name: string, options: Options): Promise<void> {
  const kind = kindOf(name);
  const locale = localeOf(options.locale ?? 'ru');
  const found = (await shownTo(context, { ...options, locale })).find(each => each.kind === kind);
  if (found === undefined) throw new PlainError(`there is no text ${locale}/${kind}`);
  print(options, found, found.source.trimEnd());
}

export async function templatesSet(
  context: Context,
  id: string,
  name: string,
  file: string,
  options: Options,
): Promise<void> {
  const which = whichOf(id, name, options);
  const source = await readSource(file);
  const texts = createTexts(loadTemplates());
  await withStore(context, async ({ pool }) => {
    const tried = await setText({ pool, texts, actor: 'command' }, which, source);
    print(
      options,
      tried,
      [`Company ${which.companyId} says so from now on:`, '', ...samplesOf(tried)].join('\n'),
    );
  });
}

export async function templatesReset(
  context: Context,
  id: string,
  name: string,
  options: Options,
): Promise<void> {
  const which = whichOf(id, name, options);
  const texts = createTexts(loadTemplates());
  await withStore(context, ({ pool }) => resetText({ pool, texts, actor: 'command' }, which));
  print(
    options,
    which,
    `Company ${which.companyId} has the text ${which.locale}/${which.kind} that comes with us again.`,
  );
}

export async function templatesTest(context: Context, options: Options): Promise<void> {
  const tried = tryTexts(createTexts(loadTemplates()), await shownTo(context, options));
  const faults = tried.filter(({ fault }) => fault !== undefined);
  const lines = tried.flatMap(each => [
    `── ${each.locale}/${each.kind}${each.own ? ", the company's own" : ''}`,
    ...(each.fault === undefined ? samplesOf(each) : [`✗ ${each.fault}`, '']),
  ]);
  const end = faults.length === 0 ? 'All texts can be rendered.' : `${faults.length} cannot be rendered.`;
  print(options, { texts: tried, faults: faults.length }, [...lines, end].join('\n'));
  if (faults.length > 0) process.exitCode = 1;
}

function samplesOf({ samples }: { samples: readonly { subject: string; text: string }[] }): string[] {
  return samples.flatMap(({ subject, text }) => [`[${subject}]`, text.trimEnd(), '']);
}

async function shownTo(context: Context, { company, locale }: Options) {
  const wanted = locale === undefined ? undefined : localeOf(locale);
  const texts = createTexts(loadTemplates());
  const id = company === undefined ? undefined : parseId(company, 'company');
  const all =
    id === undefined
      ? textsOf(texts, 0, [])
      : await withStore(context, ({ pool }) => listTexts({ pool, texts }, id));
  return all.filter(each => wanted === undefined || each.locale === wanted);
}

function whichOf(id: string, name: string, { locale = 'ru' }: Options): Which {
  return { companyId: parseId(id, 'company'), locale: localeOf(locale), kind: kindOf(name) };
}

function kindOf(name: string): TextKind {
  const kind = TEXT_KINDS.find(known => known === name);
  if (kind === undefined)
    throw new PlainError(`there is no text "${name}"; there are ${TEXT_KINDS.join(', ')}`);
  return kind;
}

function localeOf(name: string): Locale {
  const locale = LOCALES.find(known => known === name);
  if (locale === undefined)
    throw new PlainError(`there is no language "${name}"; there are ${LOCALES.join(', ')}`);
  return locale;
}
