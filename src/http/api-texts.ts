/** Routes of the admin API for the texts that people read: the same as `templates …`. */
import { z } from 'zod';
import { LOCALES } from '../domain/locale.ts';
import { TEXT_KINDS } from '../domain/text.ts';
import { listTexts, resetText, setText, textsOf, tryTexts } from '../salon/texts.ts';
import { companyParams, type Route } from './route.ts';

const locale = z.enum(LOCALES);
const query = z.object({ locale: locale.optional() });
const params = z.object({ ...companyParams.shape, locale, kind: z.enum(TEXT_KINDS) });
/** As long as a template may be: see `templates/README.md`. */
const MAX_SOURCE = 20_000;
const source = z.string().min(1).max(MAX_SOURCE);
const body = z.strictObject({ source });
const trial = z.strictObject({ locale, kind: z.enum(TEXT_KINDS), source });

const SHOWN = 'items: locale, kind, own (the company has its own in place of ours) and source';

export const TEXT_ROUTES: readonly Route[] = [
  {
    method: 'GET',
    path: '/templates',
    summary: 'The texts that come with us',
    query,
    answer: SHOWN,
    handle: async ({ texts }, input) => ({
      items: inLocale(textsOf(texts, 0, []), query.parse(input.query).locale).map(
        ({ companyId: _, ...text }) => text,
      ),
    }),
  },
  {
    method: 'POST',
    path: '/templates/test',
    changesNothing: true,
    summary:
      'What a text would make of a visit with everything filled in and of one with little; nothing is kept',
    body: trial,
    answer: 'samples, or fault: why it cannot be used',
    handle: async ({ texts }, input) => {
      const { source: text, ...which } = trial.parse(input.body);
      const [tried] = tryTexts(texts, [{ ...which, companyId: 0, own: true, source: text }]);
      const { companyId: _, own: __, ...shown } = { companyId: 0, own: true, ...tried };
      return shown;
    },
  },
  {
    method: 'GET',
    path: '/companies/{company}/templates',
    summary: 'The texts of a company: its own, and ours for the rest',
    params: companyParams,
    query,
    answer: SHOWN,
    handle: async ({ pool, texts }, input) => {
      const { company } = companyParams.parse(input.params);
      return { items: inLocale(await listTexts({ pool, texts }, company), query.parse(input.query).locale) };
    },
  },
  {
    method: 'POST',
    path: '/companies/{company}/templates/test',
    changesNothing: true,
    summary: 'Everything that a company’s clients may read, rendered as samples',
    params: companyParams,
    answer: 'texts: locale, kind, own, samples, and fault where one cannot be used; faults: how many cannot',
    handle: async ({ pool, texts }, input) => {
      const { company } = companyParams.parse(input.params);
      const tried = tryTexts(texts, await listTexts({ pool, texts }, company));
      return { texts: tried, faults: tried.filter(({ fault }) => fault !== undefined).length };
    },
  },
  {
    method: 'GET',
    path: '/companies/{company}/templates/{locale}/{kind}',
    summary: 'One text of a company',
    params,
    answer: 'locale, kind, own, source',
    handle: async ({ pool, texts }, input) => {
      const { company, ...which } = params.parse(input.params);
      const all = await listTexts({ pool, texts }, company);
      return all.find(text => text.locale === which.locale && text.kind === which.kind);
    },
  },
  {
    method: 'PUT',
    path: '/companies/{company}/templates/{locale}/{kind}',
    summary: 'A text of the company’s own in place of ours; refused when it cannot render every sample',
    params,
    body,
    answer: 'locale, kind, own, samples',
    handle: async ({ pool, texts }, input) => {
      const { company, ...which } = params.parse(input.params);
      const { source: text } = body.parse(input.body);
      return setText({ pool, texts, actor: 'api' }, { companyId: company, ...which }, text);
    },
  },
  {
    method: 'DELETE',
    path: '/companies/{company}/templates/{locale}/{kind}',
    summary: 'Back to the text that comes with us',
    params,
    answer: 'companyId, locale, kind',
    handle: async ({ pool, texts }, input) => {
      const { company, ...rest } = params.parse(input.params);
      const which = { companyId: company, ...rest };
      await resetText({ pool, texts, actor: 'api' }, which);
      return which;
    },
  },
];

function inLocale<T extends { readonly locale: string }>(
  items: readonly T[],
  wanted: string | undefined,
): readonly T[] {
  return items.filter(item => wanted === undefined || item.locale === wanted);
}
