/**
 * Format drift: what the platform sends that we do not know. A finding names the place and shows the value's shape;
 * nothing of the value itself is in it, so a finding may be stored, shown and logged.
 */

/**
 * - `missing`: a field that we use is absent from a body that should have it; `type`: a value of a form not understood
 * - `enum`: a value outside the set we know; `resource`, `status`: an event of a kind we do not know
 */
export const DRIFT_KINDS = ['missing', 'type', 'enum', 'resource', 'status'] as const;
export type DriftKind = (typeof DRIFT_KINDS)[number];

export type Finding = {
  readonly kind: DriftKind;
  /** Of our own readers, a closed set; of `resource` and `status` a word of the sender's, its digits as 9. */
  readonly path: string;
  /** The value's shape; empty where there is no value. */
  readonly sample: string;
};

const SAMPLE_LENGTH = 120;
const TEXT_LENGTH = 40;
/** A longer word or number only tells whose it is. */
const RUN_LENGTH = 8;
const ENTRIES = 5;
const DEPTH = 2;

/** Letters become `a`, digits `9`, long runs end in `…`, what is not ASCII besides becomes `?`. */
export function redact(value: string): string {
  return [...value.slice(0, TEXT_LENGTH)]
    .map(mask)
    .join('')
    .replace(/a{9,}|9{9,}/g, run => `${run.slice(0, RUN_LENGTH)}…`);
}

function mask(character: string): string {
  if (/[\p{L}\p{M}]/u.test(character)) return 'a';
  if (/\p{N}/u.test(character)) return '9';
  if (/\s/.test(character)) return ' ';
  return /[!-~]/.test(character) ? character : '?';
}

/** A value as JSON would write it, redacted, names of fields too, cut to a line's length. */
export function shapeOf(value: unknown): string {
  return shape(value, DEPTH).slice(0, SAMPLE_LENGTH);
}

function shape(value: unknown, depth: number): string {
  if (typeof value === 'string') return `"${redact(value)}${value.length > TEXT_LENGTH ? '…' : ''}"`;
  if (typeof value !== 'object' || value === null) return redact(String(value));
  const list = Array.isArray(value);
  const parts: string[] = [];
  const names = Object.keys(value);
  for (const name of depth === 0 ? [] : names.slice(0, ENTRIES)) {
    const inner = shape(Reflect.get(value, name), depth - 1);
    parts.push(list ? inner : `"${redact(name)}":${inner}`);
  }
  if (names.length > parts.length) parts.push('…');
  return list ? `[${parts.join()}]` : `{${parts.join()}}`;
}

/** An event about a thing we do not know; `resource` is the envelope's word, in lower-case ASCII. */
export function unknownResource(resource: string, data: unknown): Finding {
  return { kind: 'resource', path: withoutDigits(resource), sample: shapeOf(data) };
}

/** An event that says something unknown of a thing that we know or do not know. */
export function unknownStatus(resource: string, status: string, data: unknown): Finding {
  return { kind: 'status', path: withoutDigits(`${resource}.${status}`), sample: shapeOf(data) };
}

function withoutDigits(path: string): string {
  return path.replace(/\d/g, '9');
}

/** The path where a closed set is needed, in metrics and logs: the sender's own words are left out. */
export function closedPath({ kind, path }: Pick<Finding, 'kind' | 'path'>): string {
  return kind === 'resource' || kind === 'status' ? `event.${kind}` : path;
}
