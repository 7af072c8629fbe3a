/**
 * Templates: Liquid with nothing in reach but what it is given. No files, no clock, no zone, and limits on time, memory
 * and length, so that one that a salon wrote can do no more harm than say something silly.
 */
import { Liquid, type Template as Parsed } from 'liquidjs';
import { inclineFirstname } from 'lvovich';
import type { Locale } from './locale.ts';

export type Template = {
  render(scope: object): { readonly subject: string; readonly body: string };
  /**
   * Variables that it names and such a scope has not, also where no rendering has come by; not those of what a loop
   * goes through. As `undefined variable: after.whem, line:3`, which are Liquid's own words.
   */
  unknown(scope: object): readonly string[];
};

export type Engine = {
  /** Throws an error that says what is wrong and in which line. */
  compile(source: string): Template;
};

/** A template that takes longer or makes more than this is broken. */
const RENDER_LIMIT_MS = 1000;
const MEMORY_LIMIT = 100_000;
const PARSE_LIMIT = 20_000;
/** Filters that read the clock, the server's zone or chance. */
const IMPURE_FILTERS = /^date|^sample$/;

/** `parts` are put in place by `{% render '_name' %}`. */
export function createEngine(locale: Locale, parts: Readonly<Record<string, string>>): Engine {
  const liquid = new Liquid({
    templates: parts,
    cache: true,
    strictVariables: true,
    strictFilters: true,
    ownPropertyOnly: true,
    renderLimit: RENDER_LIMIT_MS,
    memoryLimit: MEMORY_LIMIT,
    parseLimit: PARSE_LIMIT,
  });
  for (const name of Object.keys(liquid.filters)) if (IMPURE_FILTERS.test(name)) delete liquid.filters[name];
  liquid.registerFilter('plural', (count: unknown, ...forms: unknown[]) =>
    plural(locale, Number(count), forms),
  );
  liquid.registerFilter('in_case', (name: unknown, wanted: unknown) => inCase(locale, String(name), wanted));
  const write = (template: Parsed[], scope: object) => String(liquid.renderSync(template, scope));
  const named = (template: Parsed[]) =>
    Object.values(liquid.analyzeSync(template, { partials: false }).globals).flat();
  return {
    compile(source) {
      const [subject, body] = split(source).map(part => liquid.parse(part));
      if (subject === undefined || body === undefined) throw new Error(SHAPE);
      let names: ReturnType<typeof named> | undefined;
      return {
        render: scope => ({ subject: write(subject, scope), body: write(body, scope) }),
        unknown: scope => {
          names ??= [...named(subject), ...named(body)];
          return names
            .filter(({ segments }) => !isKnown(scope, segments))
            .map(variable => `undefined variable: ${variable}, line:${variable.location.row}`);
        },
      };
    },
  };
}

/** Whether there is such a path. What is computed, as in `after[name]`, may be anything. */
function isKnown(value: unknown, [name, ...rest]: readonly unknown[]): boolean {
  if (name === undefined || typeof name === 'object') return true;
  if (Array.isArray(value)) {
    if (name === 'size') return rest.length === 0;
    return typeof name === 'number' || name === 'first' || name === 'last' ? isKnown(value[0], rest) : false;
  }
  if (typeof value === 'string') return name === 'size' && rest.length === 0;
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, String(name))) return false;
  return isKnown(Reflect.get(value, String(name)), rest);
}

const SHAPE = 'it needs a subject line, a line of --- and a text';

/**
 * The first line is the subject, the second is `---`, the rest is the text; which keeps its place by two empty lines, so
 * that a fault is told by its line in the file.
 */
function split(source: string): readonly string[] {
  const [, subject, body] = /^([^\r\n]+)\r?\n---\r?\n([\s\S]+)$/.exec(source) ?? [];
  if (subject === undefined || body === undefined) throw new Error(SHAPE);
  return [subject, `\n\n${body}`];
}

/** Made once: the start of a process tries every text with every sample. */
const PLURAL_RULES = { ru: new Intl.PluralRules('ru'), en: new Intl.PluralRules('en') };

/** `{{ 2 | plural: 'услуга', 'услуги', 'услуг' }}`, in English `plural: 'service', 'services'`: the categories of CLDR. */
function plural(locale: Locale, count: number, forms: readonly unknown[]): string {
  const expected = locale === 'ru' ? 3 : 2;
  if (forms.length !== expected) throw new Error(`plural takes ${expected} forms, not ${forms.length}`);
  const categories = locale === 'ru' ? ['one', 'few'] : ['one'];
  const index = categories.indexOf(PLURAL_RULES[locale].select(count));
  return String(forms.at(index));
}

const CASES = ['genitive', 'dative', 'accusative', 'instrumental', 'prepositional'] as const;

/** `{{ after.staff | in_case: 'dative' }}`: «к Ольге». Only Russian has cases; a name it does not know stays as it is. */
function inCase(locale: Locale, name: string, wanted: unknown): string {
  const known = CASES.find(each => each === wanted);
  if (known === undefined) throw new Error(`in_case takes one of ${CASES.join(', ')}`);
  if (locale !== 'ru' || !/^\p{Script=Cyrillic}+$/u.test(name)) return name;
  return inclineFirstname(name, known) || name;
}
