/** What the documents name exists, and the README says the same in both languages. */
import assert from 'node:assert/strict';
import { access, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { EVENT_STATES, MESSAGE_STATES } from '../src/domain/states.ts';
import { ROUTES } from '../src/http/api.ts';

const ROOT = join(import.meta.dirname, '..');
const read = (path: string) => readFile(join(ROOT, path), 'utf8');

test('both READMEs have the same sections, commands, settings and links', async () => {
  const [english, russian] = [outline(await read('README.md')), outline(await read('README.ru.md'))];
  assert.ok(english.typed.length >= 7, `${english.typed.length} typed commands`);
  assert.ok(english.cells.length >= 60, `${english.cells.length} rows`);
  assert.deepEqual(russian, english);
});

test('every file, function and test that the guarantees name exists', async () => {
  await namesExist('docs/guarantees.md', { files: 60, tests: 50 });
});

test('every file, function and test that the page on security names exists', async () => {
  await namesExist('docs/security.md', { files: 60, tests: 45 });
  for (const [row] of (await read('docs/security.md')).matchAll(/^\| [a-z0-9].*$/gm)) {
    assert.match(row, /shown by|`test\//, `no test is named: ${row}`);
  }
});

async function namesExist(document: string, least: { files: number; tests: number }): Promise<void> {
  const text = oneLine(await read(document));
  const paths = [...text.matchAll(/`((?:src|test|migrations)\/[\w./-]*)`/g)].map(([, path]) => path ?? '');
  assert.ok(paths.length >= least.files, `${paths.length} files are named`);
  await allExist(paths);
  for (const [, name, path] of text.matchAll(/`(\w+)` in `((?:src|migrations)\/[\w./-]+)`/g)) {
    assert.match(await read(path ?? ''), new RegExp(`\\b${name}\\b`), `${name} is not in ${path}`);
  }
  // Names of tests stand in curly quotes behind their file; one that is cut short ends with an ellipsis.
  const quoted = [...text.matchAll(/`(test\/[\w./-]+\.(?:test|fault)\.ts)`|“([^”]+)”/g)];
  let titles: RegExp[] = [];
  let seen = 0;
  const missing: string[] = [];
  for (const [, path, title] of quoted) {
    if (path !== undefined) titles = titlesIn(await read(path));
    if (title === undefined) continue;
    const begun = title.endsWith(' …');
    const named = titles.some(
      pattern => pattern.test(title) || (begun && pattern.source.startsWith(`^${title.slice(0, -2)}`)),
    );
    if (!named) missing.push(title);
    seen += 1;
  }
  assert.deepEqual(missing, [], 'no test of the file before them has these names');
  assert.ok(seen >= least.tests, `${seen} tests are named`);
}

test('SECURITY.md says of every table of the schema what personal data it holds, and of no other', async () => {
  const [, section = ''] = (await read('SECURITY.md')).split('\n## What is stored, and where\n');
  const [stored = ''] = section.split('\nIn `DATA_DIR` besides');
  const named = [...stored.matchAll(/`(\w+)`/g)]
    .map(([, name]) => name ?? '')
    .filter(name => name !== 'DATABASE_URL');
  const schema = await read('migrations/schema.sql');
  const tables = [...schema.matchAll(/^CREATE TABLE (\w+) /gm)].map(([, name]) => name ?? '');
  assert.ok(tables.length >= 35, `${tables.length} tables`);
  assert.deepEqual([...new Set(named)].filter(name => name !== 'DATA_DIR').sort(), tables.sort());
});

test('every test that the README names exists', async () => {
  const named = [...(await read('README.md')).matchAll(/`(test\/[\w./-]+)`/g)].map(([, path]) => path ?? '');
  assert.ok(named.length >= 8);
  await allExist(named);
});

test('the guarantees say of every state of an event and of a message what it means', async () => {
  const [, section = ''] = (await read('docs/guarantees.md')).split('\n## States\n');
  const named = [...section.matchAll(/^\| `(\w+)` /gm)].map(([, state]) => state);
  assert.deepEqual(named, [...EVENT_STATES, ...MESSAGE_STATES]);
});

test('every call that the page on the API shows is one of its routes', async () => {
  const shown = [
    ...(await read('docs/api.md')).matchAll(/^curl (?:-X (\w+) )?"?http:\/\/[^/]+\/api\/v1([^\s"?]+)/gm),
  ];
  assert.equal(shown.length, 3);
  for (const [call, method = 'GET', path = ''] of shown) {
    const route = ROUTES.find(
      one =>
        one.method === method && new RegExp(`^${one.path.replace(/\{\w+\}/g, '[0-9a-f-]+')}$`).test(path),
    );
    assert.ok(route, call);
  }
});

test('every relative link of the documents leads to a file', async () => {
  const documents = ['README.md', 'README.ru.md', 'SECURITY.md', 'CONTRIBUTING.md'];
  for (const entry of await readdir(join(ROOT, 'docs'), { recursive: true }))
    if (entry.endsWith('.md')) documents.push(join('docs', entry));
  assert.ok(documents.length >= 30, `${documents.length} documents`);
  for (const document of documents) {
    const text = await read(document);
    for (const target of linksOf(text)) {
      if (/^https?:/.test(target)) continue;
      const [file = '', anchor] = target.split('#');
      const path = join(ROOT, file === '' ? document : join(document, '..', file));
      await access(path).catch(() => assert.fail(`${document} links to ${target}, which is not there`));
      if (anchor === undefined) continue;
      assert.ok(
        anchorsOf(await readFile(path, 'utf8')).has(anchor),
        `${document} links to ${target}: no such place`,
      );
    }
  }
});

/** What of a README must be the same in any language. */
function outline(text: string): { headings: string[]; typed: string[]; cells: string[]; links: string[] } {
  const blocks = [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)];
  const prose = text.replace(/^```.*?^```$/gms, '');
  return {
    headings: [...prose.matchAll(/^(#+) /gm)].map(([, level]) => level ?? ''),
    typed: blocks
      .flatMap(([, , block]) => (block ?? '').split('\n'))
      .filter(line => /^(npm|git) /.test(line))
      .map(line => line.replace(/ +#.*/, '')),
    // The first cell of a row is a name, unless it is a promise or a heading, which have no code in them.
    cells: [...prose.matchAll(/^\| ([^|]*?) +\|/gm)]
      .map(([, cell]) => cell ?? '')
      .filter(cell => /`|^[a-z]+$/.test(cell))
      .filter(cell => !['channel', 'promise', 'command', 'setting'].includes(cell)),
    links: linksOf(prose)
      .filter(target => !/^README/.test(target))
      .sort(),
  };
}

/** The titles of a file's tests; a number that the file names stands in them, what else is filled in matches anything. */
function titlesIn(source: string): RegExp[] {
  const numbers = new Map(
    [...source.matchAll(/^const (\w+) = ([\d_]+);/gm)].map(([, name = '', digits = '']) => [
      name,
      digits.replaceAll('_', ''),
    ]),
  );
  return [...source.matchAll(/\b(?:test|describe|against)\(\s*(['`])((?:\\.|(?!\1).)*)\1/gs)].map(
    ([, , title = '']) =>
      new RegExp(
        `^${title
          .replace(/\$\{(\w+)\}/g, (filled, name) => numbers.get(name) ?? filled)
          .split(/\$\{[^}]*\}/)
          .map(literal)
          .join('.+')}$`,
      ),
  );
}

function literal(text: string): string {
  return text.replace(/\\(.)/g, '$1').replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}

function linksOf(text: string): string[] {
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target ?? '');
}

/** Those that are set, and those that a heading makes. */
function anchorsOf(text: string): Set<string> {
  const set = [...text.matchAll(/<a id="([\w-]+)">/g)].map(([, id]) => id ?? '');
  const made = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    (heading ?? '')
      .replace(/<[^>]*>/g, '')
      .trim()
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/ /g, '-'),
  );
  return new Set([...set, ...made]);
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ');
}

async function allExist(paths: readonly string[]): Promise<void> {
  for (const path of paths) await access(join(ROOT, path)).catch(() => assert.fail(`${path} is not there`));
}
