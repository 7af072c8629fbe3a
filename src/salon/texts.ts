/** What an operator does with the texts of a company, by command or API. */

import { LOCALES, type Locale } from '../domain/locale.ts';
import { TEXT_KINDS, type Text, type TextKind, type Texts } from '../domain/text.ts';
import { MissingError, PlainError } from '../log.ts';
import { audit } from '../store/companies.ts';
import { type Pool, transaction } from '../store/pool.ts';
import {
  dropTemplate,
  findTemplates,
  type OwnTemplate,
  saveTemplate,
  templateKey,
} from '../store/templates.ts';
import { requireCompany } from './companies.ts';

export type TextDeps = { readonly pool: Pool; readonly texts: Texts; readonly actor: 'command' | 'api' };

export type Which = { readonly companyId: number; readonly locale: Locale; readonly kind: TextKind };

export type ShownTemplate = Which & {
  /** The company's own; else the one that comes with us. */
  readonly own: boolean;
  readonly source: string;
};

export type Tried = Which & {
  readonly own: boolean;
  /** What it makes of a visit with everything filled in, and of one with as little as there can be. */
  readonly samples: readonly Text[];
  /** Why it cannot be used. */
  readonly fault?: string;
};

/** A text that cannot be used. */
export class TextError extends PlainError {
  override readonly name = 'TextError';
}

/** Every text of a company. */
export async function listTexts(
  { pool, texts }: Pick<TextDeps, 'pool' | 'texts'>,
  companyId: number,
): Promise<ShownTemplate[]> {
  await requireCompany(pool, companyId);
  return textsOf(texts, companyId, await findTemplates(pool, [companyId]));
}

/** Those that come with us, and in their place what a company has of its own. */
export function textsOf(texts: Texts, companyId: number, templates: readonly OwnTemplate[]): ShownTemplate[] {
  const own = new Map(templates.map(template => [templateKey(template), template.source]));
  return LOCALES.flatMap(locale =>
    TEXT_KINDS.map(kind => {
      const which = { companyId, locale, kind };
      const source = own.get(templateKey(which));
      return { ...which, own: source !== undefined, source: source ?? texts.source(kind, locale) };
    }),
  );
}

/** Renders each text as samples, the faulty ones with their faults. */
export function tryTexts(texts: Texts, templates: readonly ShownTemplate[]): Tried[] {
  return templates.map(({ source, own, ...which }) => {
    try {
      return { ...which, own, samples: texts.samples(which.kind, which.locale, own ? source : undefined) };
    } catch (error) {
      return { ...which, own, samples: [], fault: error instanceof Error ? error.message : String(error) };
    }
  });
}

/** Puts a text of the company's own in place of ours, once it has rendered every sample. */
export async function setText(
  { pool, texts, actor }: TextDeps,
  which: Which,
  source: string,
): Promise<Tried> {
  const { companyId, locale, kind } = which;
  const [tried] = tryTexts(texts, [{ ...which, own: true, source }]);
  if (tried === undefined || tried.fault !== undefined) {
    throw new TextError(`the text ${locale}/${kind} is refused: ${tried?.fault}`);
  }
  await transaction(pool, async db => {
    await requireCompany(db, companyId);
    await saveTemplate(db, { ...which, source });
    await audit(db, { actor, action: 'text.set', companyId, subject: `${locale}/${kind}` });
  });
  return tried;
}

/** Back to the text that comes with us. */
export async function resetText({ pool, actor }: TextDeps, which: Which): Promise<void> {
  const { companyId, locale, kind } = which;
  await transaction(pool, async db => {
    await requireCompany(db, companyId);
    if (!(await dropTemplate(db, which))) {
      throw new MissingError(`company ${companyId} has no text ${locale}/${kind} of its own`);
    }
    await audit(db, { actor, action: 'text.reset', companyId, subject: `${locale}/${kind}` });
  });
}

/** Own texts of all companies that cannot be used any more: those that come with us are sent in their place. */
export async function brokenTexts(pool: Pool, texts: Texts): Promise<Tried[]> {
  const own = (await findTemplates(pool)).map(template => ({ ...template, own: true }));
  return tryTexts(texts, own).filter(({ fault }) => fault !== undefined);
}
