/**
 * Texts: what a person reads, rendered at the moment of sending from the booking as it is then.
 *
 * A template is Liquid with nothing else in reach: no files, no clock, no zone, and limits on time and memory. All
 * are parsed and tried out at creation, so that a broken one stops the start and not a message. What they may use is
 * described in `templates/README.md`.
 */
import type { SpokenChange } from './batch.ts';
import { sameServices } from './booking.ts';
import type { Digest } from './digest.ts';
import { LOCALES, type Locale } from './locale.ts';
import type { Facts, Notice, NoticeKind } from './notice.ts';
import type { Origin } from './origin.ts';
import { plainLine, plainText } from './plain.ts';
import type { PlannedPurpose } from './plan.ts';
import { NOTICE_KINDS } from './policy.ts';
import type { Role } from './team.ts';
import { createEngine, type Template } from './template.ts';
import type { Wall } from './time.ts';

/** What a client is told of a change. */
export type ClientKind = Exclude<NoticeKind, 'confirmed' | 'move_asked'>;
/** To the team one text tells of every kind of change: `staff`, `administrator`. */
export type TextKind = ClientKind | PlannedPurpose | Role | 'digest' | 'batch' | 'test';

export type TextInput = {
  /** The change that is told. */
  readonly notice: Notice | null;
  /** The visit that is spoken of, as one. Both are null for a test. */
  readonly visit: Facts | null;
  /** The phone is for the team, where the policy lets them read it; '' else. */
  readonly client: { readonly name: string; readonly phone?: string };
  /** For the team: where the booking was made. */
  readonly origin?: Origin;
  readonly digest?: Digest | null;
  /** Of a batch: what it says, each with its client. */
  readonly changes?: readonly SpokenChange[];
  readonly company: { readonly title: string; readonly address: string; readonly phone: string };
};

export type Text = { readonly subject: string; readonly text: string };

export type Texts = {
  /** `own` is a company's own template in place of the one that comes with us, which takes over should it fail. */
  render(kind: TextKind, locale: Locale, input: TextInput, own?: string): Text;
  /** What a template makes of everything filled in, and of as little as there can be. Throws, saying why, when it cannot. */
  samples(kind: TextKind, locale: Locale, own?: string): readonly Text[];
  /** The template that comes with us. */
  source(kind: TextKind, locale: Locale): string;
};

export type TextOptions = {
  /** Told when a company's own text failed and ours was sent in its place. */
  readonly gaveWay?: (kind: TextKind) => void;
};

export const TEXT_KINDS: readonly TextKind[] = [
  'booked',
  'rescheduled',
  'staff_changed',
  'services_changed',
  'changed',
  'cancelled',
  'restored',
  'reminder',
  'review',
  'no_show',
  'rebook',
  'staff',
  'administrator',
  'digest',
  'batch',
  'test',
];

/** Characters. A text of four SMS at most is what the sum of these leaves room for. */
const MAX_NAME = 40;
const MAX_LINE = 60;
const MAX_PLACE = 120;
const MAX_SUBJECT = 120;
const MAX_TEXT = 1500;
/** Services named before «и ещё 2 услуги». */
const SERVICES_NAMED = 5;
/** Visits whose clients were not reached, by their hours: a screenful. */
const UNREACHED_NAMED = 10;
/** Changes that a batch names: what a text has room for with the longest lines that people have. */
const CHANGES_NAMED = 12;

/** What messengers make a link of: an address, a mention, `word.com`, `слово.рф`; but not the dot of «А.Белова». */
const LINKABLE = /[/\\@:]|www\.|\.(?:[a-z]{2,}|рф|рус|бел|ком|орг|онлайн|сайт|москва|дети)(?!\p{L})/iu;

/** What a company's own text may take of each sample; one of a few tries, for the machine may have been busy. */
const TRIAL_MS = 50;
const TRIES = 3;
/** What it may take when it is sent; else ours is sent. Every webhook waits meanwhile. */
const OWN_MS = 200;

/** Templates of companies that are kept parsed; beyond it all are parsed anew, at some 0.5 ms each. */
const OWN_KEPT = 1_000;

/**
 * Texts from templates named `<locale>/<kind>`; `<locale>/_name` are parts for `{% render '_name' %}`. Throws when one
 * of them is missing or broken.
 */
export function createTexts(
  shipped: Readonly<Record<string, string>>,
  { gaveWay = () => {} }: TextOptions = {},
): Texts {
  const engines = {
    ru: createEngine('ru', partsOf('ru', shipped)),
    en: createEngine('en', partsOf('en', shipped)),
  };
  const compiled = new Map<string, Template>();
  const own = new Map<string, Template>();

  const source: Texts['source'] = (kind, locale) => {
    const found = shipped[`${locale}/${kind}`];
    if (found === undefined) throw new Error('the file is missing');
    return found;
  };
  const shippedTemplate = (kind: TextKind, locale: Locale) => {
    const found = compiled.get(`${locale}/${kind}`) ?? engines[locale].compile(source(kind, locale));
    compiled.set(`${locale}/${kind}`, found);
    return found;
  };
  const ownTemplate = (locale: Locale, text: string) => {
    const key = `${locale} ${text}`;
    const found = own.get(key) ?? engines[locale].compile(text);
    if (own.size >= OWN_KEPT) own.clear();
    own.set(key, found);
    return found;
  };
  const write = (
    template: Template,
    kind: TextKind,
    locale: Locale,
    input: TextInput,
    withinMs?: number,
  ): Text => {
    const { subject, body } = template.render(scopeOf(kind, input, locale), withinMs);
    return { subject: plainLine(subject, MAX_SUBJECT), text: plainText(body, MAX_TEXT) };
  };

  const texts: Texts = {
    render(kind, locale, input, theirs) {
      if (theirs !== undefined) {
        try {
          return write(ownTemplate(locale, theirs), kind, locale, input, OWN_MS);
        } catch {
          // It was tried when it was saved; a newer version may lack a variable. The client is told all the same.
          gaveWay(kind);
        }
      }
      return write(shippedTemplate(kind, locale), kind, locale, input);
    },
    samples(kind, locale, theirs) {
      const template = theirs === undefined ? shippedTemplate(kind, locale) : ownTemplate(locale, theirs);
      return samplesOf(kind).map(sample => {
        const scope = scopeOf(kind, sample, locale);
        try {
          const text =
            theirs === undefined
              ? write(template, kind, locale, sample)
              : oneOf(TRIES, () => write(template, kind, locale, sample, TRIAL_MS));
          // Of a branch that no sample takes somebody's visit would be the first.
          const [unknown] = template.unknown(scope);
          if (unknown !== undefined) throw new Error(unknown);
          if (text.subject === '' || text.text === '') throw new Error(EMPTY);
          return text;
        } catch (error) {
          throw new Error(explained(error, scope), { cause: error });
        }
      });
    },
    source,
  };
  for (const locale of LOCALES) {
    for (const kind of TEXT_KINDS) {
      try {
        texts.samples(kind, locale);
      } catch (cause) {
        const fault = `Template ${locale}/${kind} is broken: ${messageOf(cause)}`;
        throw new Error(`${fault}. Fix the file and start again.`, { cause });
      }
    }
  }
  return texts;
}

/** What does not throw on one of so many tries. */
function oneOf<T>(tries: number, attempt: () => T): T {
  try {
    return attempt();
  } catch (error) {
    if (tries <= 1) throw error;
    return oneOf(tries - 1, attempt);
  }
}

/** The parts of a locale, as an engine takes them. */
export function partsOf(locale: Locale, templates: Readonly<Record<string, string>>): Record<string, string> {
  const parts = Object.entries(templates)
    .filter(([name]) => name.startsWith(`${locale}/_`))
    .map(([name, source]) => [name.slice(locale.length + 1), source.trimEnd()]);
  return Object.fromEntries(parts);
}

const EMPTY =
  'of a visit of which little is known nothing is left: the subject and the text need words of their own';

/** Liquid's own words, and what there is where it looked for something that is not. */
function explained(error: unknown, scope: object): string {
  const said = messageOf(error);
  if (!said.startsWith('undefined variable')) return said;
  return `${said}; there are ${pathsOf(scope).join(', ')}`;
}

function pathsOf(scope: object): string[] {
  return Object.entries(scope).flatMap(([name, value]) => {
    const nested = typeof value === 'object' && value !== null && !Array.isArray(value);
    // What is null here is there for other texts.
    if (value === null) return [];
    return nested ? pathsOf(value).map(path => `${name}.${path}`) : [name];
  });
}

function scopeOf(kind: TextKind, input: TextInput, locale: Locale): object {
  const { notice, visit, client, origin, digest, changes = [] } = input;
  const company = {
    title: plainLine(input.company.title, MAX_LINE),
    address: plainLine(input.company.address, MAX_PLACE),
    phone: plainLine(input.company.phone, MAX_LINE),
  };
  if (kind === 'digest') return { company, ...(digest ? { digest: digestView(digest, locale) } : {}) };
  if (kind === 'batch') return { company, batch: batchView(changes, locale) };
  const withYear =
    notice?.before != null && yearOf(notice.before.startsLocal) !== yearOf(notice.after.startsLocal);
  const forTeam = kind === 'staff' || kind === 'administrator';
  const phone = plainLine(client.phone ?? '', MAX_LINE);
  return {
    client: { name: greetable(client.name), ...(forTeam ? { phone } : {}) },
    company,
    ...(forTeam ? { kind: notice?.kind ?? '', origin: origin ?? 'unknown' } : {}),
    before: notice && viewOf(notice.before ?? notice.after, locale, withYear),
    after: notice && viewOf(notice.after, locale, withYear),
    changes: changesOf(notice),
    // Absent rather than null: a text about a change that names it is a mistake.
    ...(visit === null ? {} : { visit: viewOf(visit, locale, false) }),
  };
}

function digestView({ day, unreached, ...counts }: Digest, locale: Locale): object {
  const named = unreached.slice(0, UNREACHED_NAMED).map(({ startsLocal, staffName }) => ({
    time: spokenTime(startsLocal, locale).time,
    staff: plainLine(staffName, MAX_LINE),
  }));
  return {
    ...counts,
    date: spokenTime(`${day}T00:00:00`, locale).date,
    unreached: { count: unreached.length, named, more: unreached.length - named.length },
  };
}

function batchView(changes: readonly SpokenChange[], locale: Locale): object {
  const named = changes.slice(0, CHANGES_NAMED).map(change => ({
    kind: change.kind,
    client: { name: greetable(change.client.name), phone: plainLine(change.client.phone, MAX_LINE) },
    before: viewOf(change.before ?? change.after, locale, false),
    after: viewOf(change.after, locale, false),
    changes: changesOf(change),
  }));
  return { count: changes.length, named, more: changes.length - named.length };
}

function changesOf(notice: Notice | null): object {
  if (!notice?.before) return { time: false, staff: false, services: false };
  const { before, after } = notice;
  return {
    time: before.startsLocal !== after.startsLocal,
    staff: before.staffId !== after.staffId,
    services: !sameServices(before.services, after.services),
  };
}

function viewOf(facts: Facts, locale: Locale, withYear: boolean): object {
  const titles = facts.services
    .map(({ title, amount }) => ({ title: plainLine(title, MAX_LINE), amount }))
    .filter(({ title }) => title !== '')
    .map(({ title, amount }) =>
      Number.isSafeInteger(amount) && amount > 1 ? `${title} × ${amount}` : title,
    );
  return {
    ...spokenTime(facts.startsLocal, locale, withYear),
    staff: plainLine(facts.staffName, MAX_LINE),
    services: titles.slice(0, SERVICES_NAMED),
    more: Math.max(titles.length - SERVICES_NAMED, 0),
  };
}

/**
 * A name fit to address someone by, or ''. A phone in the name field is no name. Nor is anything that a messenger
 * would turn into a link: a stranger who books with another's phone must not get to send them one.
 */
function greetable(name: string): string {
  const line = plainLine(name, MAX_NAME);
  const digits = line.match(/\d/g)?.length ?? 0;
  return !/\p{L}/u.test(line) || digits > 4 || LINKABLE.test(line) ? '' : line;
}

export type SpokenTime = { readonly when: string; readonly date: string; readonly time: string };

/**
 * «24 ноября, вторник» and «14:30»; "Tuesday, November 24" and "2:30 PM". The wall clock is read as if it were UTC and
 * written as UTC, so that no zone, the server's least of all, can move it. `withYear` where two years are compared.
 */
export function spokenTime(wall: Wall, locale: Locale, withYear = false): SpokenTime {
  const moment = new Date(`${wall}Z`);
  const year = withYear ? ` ${yearOf(wall)}` : '';
  const write = (formats: Intl.DateTimeFormat) => formats.format(moment).replace(/\s/g, ' ');
  const { day, weekday, hour } = FORMATS[locale]();
  const time = write(hour);
  const date =
    locale === 'ru'
      ? `${write(day)}${year}, ${write(weekday)}`
      : `${write(day)}${year === '' ? '' : ','}${year}`;
  return { when: `${date}, ${time}`, date, time };
}

/** Made once, as making one takes as long as all the rest of a text; and not before the first: all six take 24 ms. */
const FORMATS = {
  ru: once(() => ({
    day: formatOf('ru-RU', { day: 'numeric', month: 'long' }),
    weekday: formatOf('ru-RU', { weekday: 'long' }),
    hour: formatOf('ru-RU', { hour: '2-digit', minute: '2-digit' }),
  })),
  en: once(() => ({
    day: formatOf('en-US', { weekday: 'long', month: 'long', day: 'numeric' }),
    weekday: formatOf('en-US', { weekday: 'long' }),
    hour: formatOf('en-US', { hour: 'numeric', minute: '2-digit' }),
  })),
};

function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

function formatOf(language: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  return new Intl.DateTimeFormat(language, { ...options, timeZone: 'UTC' });
}

function yearOf(wall: Wall): string {
  return wall.slice(0, 4);
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** What each template is tried with at creation: everything filled in, and as little as there can be. */
function samplesOf(kind: TextKind): TextInput[] {
  const services = [...'ABCDEFG'].map((title, id) => ({ id, title, amount: id + 1 }));
  const full: Facts = {
    status: 'booked',
    startsLocal: '2026-11-24T14:30:00',
    staffId: 1,
    staffName: 'F',
    services,
  };
  const bare: Facts = {
    ...full,
    startsLocal: '2027-01-02T09:00:00',
    staffId: null,
    staffName: '',
    services: [],
  };
  if (kind === 'test') {
    return [SALON, NOWHERE].map(place => ({
      notice: null,
      visit: null,
      client: { name: '' },
      company: place,
    }));
  }
  if (kind === 'staff' || kind === 'administrator') {
    return NOTICE_KINDS.flatMap(each => noticeSamples(each, full, bare)).map(sample => ({
      ...{ ...sample, origin: 'widget' as const },
      client: { ...sample.client, phone: sample.client.name === '' ? '' : '+79160000000' },
    }));
  }
  if (kind === 'digest') {
    const unreached = Array.from({ length: 12 }, () => ({ startsLocal: full.startsLocal, staffName: 'F' }));
    return [{ visits: 21, unconfirmed: 2, booked: 5, moved: 1, cancelled: 5, unreached }, NOTHING_TO_SAY].map(
      counts => ({
        ...{ notice: null, visit: null, digest: { day: '2026-11-24', ...counts } },
        ...{ client: { name: '' }, company: SALON },
      }),
    );
  }
  if (kind === 'batch') {
    const all = NOTICE_KINDS.flatMap(each => noticeSamples(each, full, bare));
    const changes = all.flatMap(({ notice, client }, recordId) =>
      notice === null ? [] : [{ ...notice, recordId, client: { name: client.name, phone: '+79160000000' } }],
    );
    const common = { notice: null, visit: null, client: { name: '' } };
    return [
      { ...common, changes, company: SALON },
      { ...common, changes: changes.slice(0, 1), company: NOWHERE },
    ];
  }
  if (!isNoticeKind(kind)) {
    return [
      { notice: null, visit: full, client: { name: 'J' }, company: SALON },
      { notice: null, visit: bare, client: { name: '' }, company: NOWHERE },
    ];
  }
  return noticeSamples(kind, full, bare);
}

const NOTHING_TO_SAY = { visits: 0, unconfirmed: 0, booked: 0, moved: 0, cancelled: 0, unreached: [] };
const SALON = { title: 'G', address: 'H', phone: 'I' };
const NOWHERE = { title: '', address: '', phone: '' };

function noticeSamples(kind: NoticeKind, full: Facts, bare: Facts): TextInput[] {
  const first = kind === 'booked';
  return [
    {
      notice: { kind, before: first ? null : bare, after: full },
      visit: null,
      client: { name: 'J' },
      company: SALON,
    },
    {
      notice: { kind, before: first ? null : full, after: bare },
      visit: null,
      client: { name: '' },
      company: NOWHERE,
    },
  ];
}

function isNoticeKind(kind: TextKind): kind is ClientKind {
  return NOTICE_KINDS.some(known => known === kind);
}
