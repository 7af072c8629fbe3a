/**
 * Templates: Liquid with nothing in reach but what it is given. No files, no clock, no zone, and limits on time, memory
 * and length, so that one that a salon wrote can do no more harm than say something silly.
 */
import { Liquid, type Template as Parsed, TokenKind } from 'liquidjs';
import { getFirstnameGender, incline, inclineFirstname } from 'lvovich';
import type { Locale } from './locale.ts';

export type Template = {
  /** Throws when it takes longer than `withinMs`: nothing else happens in the process meanwhile. */
  render(scope: object, withinMs?: number): { readonly subject: string; readonly body: string };
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

/** Time is by the clock, and a busy machine may take its time: what is held to less says so. */
const RENDER_LIMIT_MS = 5_000;
/** Each of ours makes less than 1,000 of a sample. With 100,000 a text of two loops of 300 took 0.7 s. */
const MEMORY_LIMIT = 20_000;
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
  const write = (template: Parsed[], scope: object, renderLimit: number) =>
    String(liquid.renderSync(template, scope, { renderLimit }));
  const named = (template: Parsed[]) =>
    Object.values(liquid.analyzeSync(template, { partials: false }).globals).flat();
  const check = (template: Parsed[]) => {
    for (const { name, args, line } of [...filtersOf(template)]) {
      try {
        if (name === 'plural') checkForms(locale, args);
        if (name === 'in_case' && typeof args[0] === 'string') caseOf(args[0]);
      } catch (error) {
        throw new Error(`${error instanceof Error ? error.message : error}, line:${line}`, { cause: error });
      }
    }
    // Reads every part that is named, in whatever branch.
    liquid.analyzeSync(template, { partials: true });
  };
  return {
    compile(source) {
      const [subject, body] = split(source).map(part => liquid.parse(part));
      if (subject === undefined || body === undefined) throw new Error(SHAPE);
      for (const part of [subject, body]) check(part);
      let names: ReturnType<typeof named> | undefined;
      return {
        render: (scope, withinMs = RENDER_LIMIT_MS) => ({
          subject: write(subject, scope, withinMs),
          body: write(body, scope, withinMs),
        }),
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

type Filter = { readonly name: string; readonly args: readonly unknown[]; readonly line: number };

/** The filters of a template and of whatever is within its tags; of their arguments the value where it is written there. */
function* filtersOf(templates: readonly Parsed[]): Generator<Filter> {
  for (const template of templates) {
    const value: unknown = Reflect.get(template, 'value');
    const filters: unknown = typeof value === 'object' && value !== null && Reflect.get(value, 'filters');
    for (const { name, args } of Array.isArray(filters) ? filters : []) {
      yield { name, args: args.map(literal), line: template.token.getPosition()[0] ?? 0 };
    }
    yield* filtersOf(childrenOf(template));
  }
}

/** Liquid's own steps, each given back what it yielded, as its synchronous rendering does. */
function childrenOf(template: Parsed): readonly Parsed[] {
  const steps = template.children?.(false, true);
  if (steps === undefined) return [];
  let step = steps.next();
  while (step.done !== true) step = steps.next(step.value);
  return step.value;
}

function literal(argument: unknown): unknown {
  if (typeof argument !== 'object' || argument === null) return undefined;
  return Reflect.get(argument, 'kind') === TokenKind.Quoted ? Reflect.get(argument, 'content') : undefined;
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
  checkForms(locale, forms);
  const form = FORMS[locale].findIndex(categories => categories.includes(PLURAL_RULES[locale].select(count)));
  return String(forms[form]);
}

/** Of each form, what it is for. In Russian a fraction takes the second: «2,5 услуги». */
const FORMS: Readonly<Record<Locale, readonly (readonly Intl.LDMLPluralRule[])[]>> = {
  ru: [['one'], ['few', 'other'], ['many']],
  en: [['one'], ['other']],
};

function checkForms(locale: Locale, forms: readonly unknown[]): void {
  const expected = FORMS[locale].length;
  if (forms.length !== expected) throw new Error(`plural takes ${expected} forms, not ${forms.length}`);
}

const CASES = ['genitive', 'dative', 'accusative', 'instrumental', 'prepositional'] as const;

function caseOf(wanted: unknown): (typeof CASES)[number] {
  const known = CASES.find(each => each === wanted);
  if (known === undefined) throw new Error(`in_case takes one of ${CASES.join(', ')}`);
  return known;
}

/**
 * `{{ after.staff | in_case: 'dative' }}`: «к Ольге», «к Ольге Петровой», «к Анне-Марии». Only Russian has cases; what is
 * no first name with at most a surname, or not known, stays as it is.
 */
function inCase(locale: Locale, name: string, wanted: unknown): string {
  const known = caseOf(wanted);
  if (locale !== 'ru' || !/^[\p{Script=Cyrillic}-]+(?: [\p{Script=Cyrillic}-]+)?$/u.test(name)) return name;
  const [first = '', last] = titled(name).split(' ');
  const spoken = first
    .split('-')
    .map(part => inclineFirstname(part, known) || part)
    .join('-');
  const gender = getFirstnameGender(first.split('-')[0] ?? '');
  // A surname goes by the person's gender; without it «Ивановой» may be either.
  const surname =
    last === undefined || gender === null ? last : (incline({ last, gender }, known).last ?? last);
  const whole = surname === undefined ? spoken : `${spoken} ${surname}`;
  return name === name.toUpperCase() ? whole.toUpperCase() : whole;
}

/** «ОЛЬГА» is declined as «Ольга», of whose end the rules are. */
function titled(name: string): string {
  if (name !== name.toUpperCase()) return name;
  return name.toLowerCase().replace(/(?<=^|[ -])\p{L}/gu, letter => letter.toUpperCase());
}
