/**
 * What is said of a value that a schema refuses and has no words of its own for: in a setting, an option, a body or a
 * query. zod's own ("Too small: expected number to be >=0") are for programmers. Set once, by being imported.
 */
import { z } from 'zod';

z.config({ customError: wordsFor });

const TYPES: ReadonlyMap<string, string> = new Map([
  ['number', 'must be a number'],
  ['int', 'must be a whole number'],
  ['string', 'must be text'],
  ['boolean', 'must be true or false'],
  ['array', 'must be a list'],
  ['object', 'must be an object'],
  ['record', 'must be an object'],
]);

const FORMATS: ReadonlyMap<string, string> = new Map([
  ['uuid', 'must be an id like 019ab3c2-7d1e-7c44-9a55-0d6c1a2b3c4d'],
  ['url', 'must be an http or https URL'],
  ['email', 'must be an e-mail address'],
  ['datetime', 'must be a moment like 2026-12-01T14:30:00+03:00'],
]);

/** Undefined: zod's own words after all. */
function wordsFor(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined ? 'is missing' : TYPES.get(issue.expected);
    case 'invalid_value':
      return `must be ${issue.values.length === 1 ? '' : 'one of '}${issue.values.map(String).join(', ')}`;
    case 'too_small':
      return `must ${least(issue.origin, Number(issue.minimum), issue.inclusive === true)}`;
    case 'too_big':
      return `must ${most(issue.origin, Number(issue.maximum), issue.inclusive === true)}`;
    case 'invalid_format':
      return FORMATS.get(issue.format) ?? 'is written in a way that cannot be read';
    case 'unrecognized_keys':
      return `has what is not known: ${issue.keys.join(', ')}`;
    case 'invalid_union':
      return 'is nothing of what may stand here';
    default:
      return undefined;
  }
}

function least(origin: string, minimum: number, inclusive: boolean): string {
  if (origin === 'string') return minimum === 1 ? 'not be empty' : `have at least ${minimum} characters`;
  if (origin === 'array') return minimum === 1 ? 'not be empty' : `have at least ${minimum} items`;
  return inclusive ? `be at least ${minimum}` : `be above ${minimum}`;
}

function most(origin: string, maximum: number, inclusive: boolean): string {
  if (origin === 'string') return `have at most ${maximum} characters`;
  if (origin === 'array') return `have at most ${maximum} items`;
  return inclusive ? `be at most ${maximum}` : `be below ${maximum}`;
}
