/** The house: who may import whom. A rule that reads no file would hold for ever, so the count is asserted too. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { test } from 'node:test';

const SRC = join(import.meta.dirname, '../src');

const MAY_IMPORT: Record<string, readonly string[]> = {
  domain: ['domain'],
  yclients: ['yclients', 'domain', 'outgoing.ts'],
  store: ['store', 'domain', 'channels/channel.ts', 'ids.ts', 'yclients/api.ts'],
  ingest: ['ingest', 'domain', 'store', 'yclients', 'ids.ts'],
  channels: ['channels', 'domain', 'outgoing.ts'],
  backup: ['backup', 'domain', 'store', 'log.ts', 'version.ts'],
  work: [
    'work',
    'domain',
    'store',
    'yclients',
    'ingest/read-body.ts',
    'channels/channel.ts',
    'channels/ear.ts',
    'ids.ts',
    'log.ts',
    'metrics.ts',
    'tracing.ts',
    'vault.ts',
  ],
  http: [
    'http',
    'domain',
    'channels/channel.ts',
    'store',
    'ingest',
    'salon',
    'ids.ts',
    'log.ts',
    'metrics.ts',
    'tracing.ts',
    'vault.ts',
  ],
  salon: [
    'salon',
    'domain',
    'store',
    'yclients',
    'channels/channel.ts',
    'channels/sms.ts',
    'work/plan.ts',
    'work/route.ts',
    'work/saying.ts',
    'ids.ts',
    'log.ts',
    'vault.ts',
  ],
  simulator: ['simulator', 'domain/time.ts'],
};

/** The embedded server's processes get the environment of ours; nothing in it is looked at. */
const HANDS_ENVIRONMENT_ON = 'store/embedded/account.ts';

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.ts'));

function importsOf(file: string): string[] {
  const text = readFileSync(join(SRC, file), 'utf8');
  return [...text.matchAll(/from '(\.[^']+)'/g)].map(match =>
    relative(SRC, join(SRC, file, '..', match[1] ?? '')),
  );
}

test('each folder imports only what it may', () => {
  const faults = files.flatMap(file => {
    const allowed = MAY_IMPORT[file.split('/')[0] ?? ''];
    if (allowed === undefined) return [];
    return importsOf(file)
      .filter(target => !allowed.some(prefix => target === prefix || target.startsWith(`${prefix}/`)))
      .map(target => `${file} imports ${target}`);
  });
  assert.deepEqual(faults, []);
  assert.ok(files.length > 80, `only ${files.length} files were read`);
});

test('only config.ts and the commands read the environment; only the root reads the clock', () => {
  const reading = (pattern: RegExp) =>
    files.filter(file => pattern.test(readFileSync(join(SRC, file), 'utf8')));
  const outside = (file: string) =>
    !/^(commands|simulator)\//.test(file) &&
    !['config.ts', 'main.ts', 'demo.ts'].includes(file) &&
    file !== HANDS_ENVIRONMENT_ON;
  assert.deepEqual(reading(/process\.env/).filter(outside), []);
  const inner = (file: string) => /^(domain|yclients|ingest|work)\//.test(file);
  assert.deepEqual(reading(/Date\.now\(|new Date\(\)|Math\.random\(/).filter(inner), []);
});

test('SQL lives in migrations and store', () => {
  const speaking = files.filter(file => /\.query[<(]/.test(readFileSync(join(SRC, file), 'utf8')));
  assert.deepEqual(
    speaking.filter(file => !file.startsWith('store/')),
    [],
  );
  assert.ok(speaking.length > 5, `only ${speaking.length} files speak SQL`);
});

test('whoever compares what proves a sender does it in constant time', () => {
  const doors = files.filter(file => /^(http|channels|work|ingest)\//.test(file));
  const sources = doors.map(file => ({ file, text: readFileSync(join(SRC, file), 'utf8') }));
  assert.ok(sources.filter(({ text }) => text.includes('timingSafeEqual')).length >= 7);
  const proof = String.raw`\w*(?:[sS]ecret|[tT]oken|[sS]ignature|[mM]ac|[dD]igest|[hH]ash)\b`;
  const plain = new RegExp(
    String.raw`${proof}(?:\([^)]*\))? [!=]== (?!undefined|null)|[!=]== [\w.]*?${proof}|\.equals\(|Buffer\.compare`,
    'g',
  );
  const found = sources.flatMap(({ file, text }) =>
    [...text.matchAll(plain)].map(([hit]) => `${file}: ${hit}`),
  );
  assert.deepEqual(found, []);
});
