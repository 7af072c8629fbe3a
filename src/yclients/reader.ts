/**
 * Reading one value, or one field of an object, of what YClients and Altegio send. Nothing here throws on odd input:
 * a value that cannot be understood is absent, and a finding tells of it.
 */
import { type DriftKind, type Finding, shapeOf } from '../domain/drift.ts';
import { type EpochMs, parseInstant, parseWall } from '../domain/time.ts';

// Readers of one value: undefined is "not understood". Plain functions, because a schema library spent more on a
// record's forty fields than everything else that is done with it (bench:process). PHP writes an empty object as `[]`,
// a boolean as 0/1 and a number as a string.

export function integer(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value : undefined;
  return typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : undefined;
}

export function id(value: unknown): number | undefined {
  const read = integer(value);
  return read !== undefined && read > 0 ? read : undefined;
}

export function amount(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  return typeof value === 'string' && /^-?\d{1,15}(\.\d{1,10})?$/.test(value) ? Number(value) : undefined;
}

export function flag(value: unknown): boolean | undefined {
  if (typeof value === 'boolean') return value;
  if (value === 'true' || value === 'false') return value === 'true';
  const read = integer(value);
  return read === undefined ? undefined : read !== 0;
}

export function text(value: unknown): string | undefined {
  if (typeof value === 'string') return clean(value).trim();
  return typeof value === 'number' ? String(value) : undefined;
}

export function instant(value: unknown): EpochMs | undefined {
  return typeof value === 'string' ? parseInstant(value) : undefined;
}

export function wall(value: unknown): string | undefined {
  return typeof value === 'string' ? parseWall(value) : undefined;
}

export function ids(value: unknown): number[] | undefined {
  return Array.isArray(value) ? value.map(integer).filter(item => item !== undefined) : undefined;
}

/** NUL and lone surrogates occur in names and comments; PostgreSQL's text and JSONB accept neither. */
export function clean(value: string): string {
  return value.replace(/\p{Surrogate}|\0/gu, '');
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Absent, null, or PHP's empty object. */
export function saysNothing(value: unknown): boolean {
  return value === undefined || value === null || isEmptyList(value);
}

export function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

/** Findings of one body: a list of a thousand odd services is no more drift than one of a hundred. */
const FINDINGS = 100;

/** Reads fields one by one, so that one odd value costs that value only. */
export class Reader {
  /** What was not as we know it, of this reader and of those it led into. */
  readonly odd: Finding[];
  readonly #source: Record<string, unknown>;
  readonly #path: string;

  constructor(source: unknown, path: string, odd: Finding[] = []) {
    this.odd = odd;
    this.#source = isObject(source) ? source : {};
    this.#path = path;
  }

  /** The value as it came; undefined when absent. Own properties only: `__proto__` in a body is a key like any other. */
  raw(name: string): unknown {
    return Object.hasOwn(this.#source, name) ? this.#source[name] : undefined;
  }

  /** The value of `name` as `read` understands it; undefined when absent, null, `[]` or odd. */
  get<T>(name: string, read: (value: unknown) => T | undefined): T | undefined {
    const value = this.raw(name);
    if (saysNothing(value)) return undefined;
    const understood = read(value);
    if (understood === undefined) this.found('type', name, value);
    return understood;
  }

  /** The text of `name`, or undefined when it is absent or says nothing. */
  filled(name: string): string | undefined {
    return this.get(name, text) || undefined;
  }

  /** A reader of the object under `name`; what it finds is counted here. */
  into(name: string): Reader {
    const value = this.raw(name);
    if (!isObject(value) && !saysNothing(value)) this.found('type', name, value);
    return new Reader(value, `${this.#path}.${name}`, this.odd);
  }

  found(kind: DriftKind, name: string, value?: unknown): void {
    note(this.odd, kind, `${this.#path}.${name}`, value);
  }

  /** A reader of one item of the list under `name`. */
  item(name: string, value: unknown): Reader {
    const path = `${this.#path}.${name}[]`;
    if (!isObject(value)) note(this.odd, 'type', path, value);
    return new Reader(value, path, this.odd);
  }

  /** Whether there is such a field, whatever it says. */
  has(name: string): boolean {
    return Object.hasOwn(this.#source, name);
  }

  /** How many fields there are. */
  get size(): number {
    return Object.keys(this.#source).length;
  }

  /** Finds that a body with anything in it mentions none of `names`; the first of them is the one to name. */
  expect(...names: readonly [string, ...string[]]): void {
    if (!names.some(name => this.has(name)) && this.size > 0) this.found('missing', names[0]);
  }
}

function note(odd: Finding[], kind: DriftKind, path: string, value: unknown): void {
  if (odd.length < FINDINGS) odd.push({ kind, path, sample: value === undefined ? '' : shapeOf(value) });
}

/** A reader of an event's `data`. Only a delete may come without any. */
export function readerOf(data: unknown, path: string, status: string): Reader {
  const reader = new Reader(data, path);
  if (isObject(data)) return reader;
  if (!saysNothing(data)) note(reader.odd, 'type', path, data);
  else if (status !== 'delete') note(reader.odd, 'missing', path, undefined);
  return reader;
}

/** Without the keys whose value is undefined: absent means "not mentioned". */
export function present<T extends Record<string, unknown>>(
  fields: T,
): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
