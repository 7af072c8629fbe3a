/**
 * Writes `docs/configuration.md` and `deploy/otklik.env` from the schema in `src/config.ts`, `docs/logs.md` from the
 * fields of `src/log.ts` and the lines of `src/log-lines.ts`, `docs/metrics.md` from the registry of `src/metrics.ts`,
 * `docs/api.md` from the routes of `src/http/api.ts`.
 *
 *   npm run docs              writes the files
 *   npm run docs -- --check   exits 1 when a committed file says something else
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { z } from 'zod';
import { describeSettings } from '../src/config.ts';
import { ROUTES } from '../src/http/api.ts';
import { describeFields } from '../src/log.ts';
import { type Level, LINES } from '../src/log-lines.ts';
import { describeMetrics } from '../src/metrics.ts';

const ROOT = join(import.meta.dirname, '..');
/** What a file should be, from what it is. */
const FILES: Readonly<Record<string, (before: string) => string | Promise<string>>> = {
  'docs/configuration.md': configuration,
  'deploy/otklik.env': environmentFile,
  'docs/logs.md': logs,
  'docs/metrics.md': metrics,
  'docs/api.md': api,
};
const MARK = '<!-- From here on written by `npm run docs`, compared by CI. -->';
const HEADER = `# Configuration

Every setting is a variable of the environment; an empty one counts as unset. \`npm run otklik -- doctor\` checks them.
Written by \`npm run docs\` from \`src/config.ts\`, compared by CI.
`;

const ENVIRONMENT_HEADER = `# Every setting with its default, all commented out: set what you need. For systemd and for docker compose:
# NAME=value, no quotes, no blanks around "=". Readable by root only, since it holds secrets.
# Written by "npm run docs" from src/config.ts, compared by CI.
`;
/** As wide as the other files of deploy/. */
const COMMENT_WIDTH = 118;

const SEVEREST_FIRST: readonly Level[] = ['error', 'warn', 'info', 'debug'];

process.exitCode = await main(process.argv.includes('--check'));

async function main(check: boolean): Promise<number> {
  let stale = 0;
  for (const [name, write] of Object.entries(FILES)) {
    const path = join(ROOT, name);
    const before = await readFile(path, 'utf8').catch(() => '');
    const text = await write(before);
    if (!check) {
      await writeFile(path, text);
    } else if (before !== text) {
      process.stderr.write(`${name} is not what src/ says; run "npm run docs".\n`);
      stale += 1;
    }
  }
  return stale === 0 ? 0 : 1;
}

function environmentFile(): string {
  const settings = describeSettings().map(
    ({ name, default: value, meaning }) => `${comment(meaning)}\n#${name}=${value}\n`,
  );
  return [ENVIRONMENT_HEADER, ...settings].join('\n');
}

/** Broken between words. */
function comment(text: string): string {
  const line = new RegExp(`(.{1,${COMMENT_WIDTH - 2}})(?: |$)`, 'g');
  return text.replace(line, '# $1\n').trimEnd();
}

function configuration(): string {
  const rows = describeSettings().map(setting => [
    `\`${setting.name}\``,
    setting.default === '' ? '' : `\`${setting.default}\``,
    setting.meaning,
  ]);
  return `${HEADER}\n${markdownTable(['setting', 'default', 'meaning'], rows)}\n`;
}

async function logs(before: string): Promise<string> {
  const lines = Object.entries(LINES)
    .map(([text, { at, of }]) => ({
      text,
      levels: SEVEREST_FIRST.filter(level => at.some(one => one === level)),
      of,
    }))
    .sort((one, other) => severity(one.levels) - severity(other.levels))
    .map(({ text, levels, of }) => [codeSpan(text), levels.join(', '), of]);
  const rows = describeFields().map(({ name, type, meaning }) => [`\`${name}\``, type, meaning]);
  const own = [
    ['`level`', 'number', '20 debug, 30 info, 40 warn, 50 error'],
    ['`time`', 'text', 'ISO 8601, UTC'],
    ['`msg`', 'text', 'which line it is; never a value'],
  ];
  return under(
    before,
    [
      markdownTable(['line', 'level', 'of'], lines),
      '## Fields',
      markdownTable(['field', 'type', 'meaning'], [...own, ...rows]),
    ].join('\n\n'),
  );
}

/** A text with marks of code in it stands between two of them; a mark at its edge apart. The formatter allows no other space. */
function codeSpan(text: string): string {
  if (!text.includes('`')) return `\`${text}\``;
  return /^`|`$/.test(text) ? `\`\` ${text} \`\`` : `\`\`${text}\`\``;
}

function severity([severest = 'debug']: readonly Level[]): number {
  return SEVEREST_FIRST.indexOf(severest);
}

async function metrics(before: string): Promise<string> {
  const rows = (await describeMetrics()).map(({ name, type, labels, meaning }) => [
    `\`${name}\``,
    type,
    labels.map(label => `\`${label}\``).join(' '),
    meaning,
  ]);
  return under(before, markdownTable(['metric', 'type', 'labels', 'meaning'], rows));
}

function api(before: string): string {
  const rows = ROUTES.map(({ method, path, summary, query, body }) => [
    method,
    `\`${path}\``,
    // A name in brackets would be an element.
    summary.replaceAll('<', '\\<'),
    [fieldsOf('query', query), fieldsOf('body', body)].filter(fields => fields !== '').join('; '),
  ]);
  return under(before, markdownTable(['method', 'path', 'what it does', 'parameters'], rows));
}

function fieldsOf(place: string, schema: z.ZodObject | undefined): string {
  const names = Object.entries(schema?.shape ?? {}).map(
    ([name, field]) => `\`${name}\`${field.safeParse(undefined).success ? '?' : ''}`,
  );
  return names.length === 0 ? '' : `${place}: ${names.join(', ')}`;
}

/** What people wrote stays, down to the mark. */
function under(before: string, table: string): string {
  const at = before.indexOf(MARK);
  if (at < 0) throw new Error(`the line "${MARK}" is missing, under which the table goes`);
  return `${before.slice(0, at)}${MARK}\n\n${table}\n`;
}

function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const escaped = [header, ...rows].map(row => row.map(cell => cell.replaceAll('|', '\\|')));
  const widths = header.map((_, column) => Math.max(...escaped.map(row => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  const [first = [], ...rest] = escaped;
  return [line(first), line(widths.map(width => '-'.repeat(width))), ...rest.map(line)].join('\n');
}
