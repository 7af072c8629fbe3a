/**
 * Writes `docs/configuration.md` from the schema in `src/config.ts`.
 *
 *   npm run docs              writes the file
 *   npm run docs -- --check   exits 1 when the committed file says something else
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeSettings } from '../src/config.ts';

const FILE = join(import.meta.dirname, '../docs/configuration.md');
const HEADER = `# Configuration

Every setting is a variable of the environment; an empty one counts as unset. \`npm run otklik -- doctor\` checks them.
Written by \`npm run docs\` from \`src/config.ts\`, compared by CI.
`;

process.exitCode = await main(process.argv.includes('--check'));

async function main(check: boolean): Promise<number> {
  const text = configuration();
  if (!check) {
    await writeFile(FILE, text);
    return 0;
  }
  if ((await readFile(FILE, 'utf8').catch(() => '')) === text) return 0;
  process.stderr.write('docs/configuration.md is not what src/config.ts says; run "npm run docs".\n');
  return 1;
}

function configuration(): string {
  const rows = describeSettings().map(setting => [
    `\`${setting.name}\``,
    setting.default === '' ? '' : `\`${setting.default}\``,
    setting.meaning,
  ]);
  return `${HEADER}\n${markdownTable(['setting', 'default', 'meaning'], rows)}\n`;
}

function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const escaped = [header, ...rows].map(row => row.map(cell => cell.replaceAll('|', '\\|')));
  const widths = header.map((_, column) => Math.max(...escaped.map(row => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  const [first = [], ...rest] = escaped;
  return [line(first), line(widths.map(width => '-'.repeat(width))), ...rest.map(line)].join('\n');
}
