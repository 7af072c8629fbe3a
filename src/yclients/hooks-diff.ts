/** What differs between webhook settings, in words: what a write would change, and whether it held. */
import type { HookSettings } from './hooks.ts';

/** Each fact of the settings under a name that people understand. */
function factsOf({ raw, urls, perUrl }: HookSettings): Map<string, string> {
  const top = Object.entries(raw)
    .filter(([name]) => name !== 'urls' && name !== 'url_settings')
    .map(([name, value]) => [name, wordOf(value)] as const);
  const listed = countsOf(urls).map(([url, count]) => [urlFact(url), String(count)] as const);
  const own = (perUrl ?? []).flatMap(entry =>
    Object.entries(entry)
      .filter(([name]) => name !== 'url')
      .map(([name, value]) => [`${name} of ${String(entry.url)}`, wordOf(value)] as const),
  );
  return new Map([...top, ...listed, ...own]);
}

const urlFact = (url: string) => `URL ${url}`;
const isUrlFact = (name: string) => name.startsWith('URL ');

function countsOf(urls: readonly string[]): (readonly [string, number])[] {
  return [...Map.groupBy(urls, url => url)].map(([url, same]) => [url, same.length] as const);
}

/** One word for each spelling of a flag, so that `1`, `"1"` and `true` are the same. */
function wordOf(value: unknown): string {
  if (value === true || value === 1 || value === '1' || value === 'true') return 'on';
  if (value === false || value === 0 || value === '0' || value === 'false') return 'off';
  if (Array.isArray(value) && value.length === 0) return '{}';
  return JSON.stringify(value) ?? 'nothing';
}

/** What a write of `next` over `current` changes, a line each. */
export function changesBetween(current: HookSettings, next: HookSettings): readonly string[] {
  const before = factsOf(current);
  const after = factsOf(next);
  const names = [...new Set([...before.keys(), ...after.keys()])];
  return names.flatMap(name => {
    const [was, is] = [before.get(name), after.get(name)];
    if (was === is) return [];
    if (isUrlFact(name)) return [`${is === undefined ? 'remove' : 'add'} ${name}`];
    return [`${name}: ${was ?? 'not there'} → ${is ?? 'not there'}`];
  });
}

export type Verification = {
  /** What did not hold, a sentence each; empty: everything did. */
  readonly faults: readonly string[];
  /** What is worth knowing and no fault of the write. */
  readonly notes: readonly string[];
};

/** Compares what was read back with what was written over `before`. The order of URLs and the spelling of flags are free. */
export function verifyHooks(before: HookSettings, wanted: HookSettings, found: HookSettings): Verification {
  const facts = { before: factsOf(before), wanted: factsOf(wanted), found: factsOf(found) };
  const faults: string[] = [];
  const notes: string[] = [];
  for (const [name, value] of facts.wanted) {
    const is = facts.found.get(name);
    if (is === value) continue;
    if (is !== undefined) faults.push(`${name} should be ${value} and is ${is}`);
    else if (isUrlFact(name)) faults.push(`${name} is missing`);
    else if (!facts.before.has(name) || value === 'off') notes.push(`${name}: the platform does not show it`);
    else faults.push(`${name} was ${value} and is gone`);
  }
  for (const { url } of found.perUrl === undefined ? [] : (wanted.perUrl ?? [])) {
    const there = found.perUrl?.some(entry => entry.url === url);
    if (!there) faults.push(`the settings of ${String(url)} are missing`);
  }
  for (const name of facts.found.keys()) {
    if (!isUrlFact(name) || facts.wanted.has(name)) continue;
    if (facts.before.has(name)) faults.push(`${name} should be gone and is still there`);
    else notes.push(`${name} has come meanwhile; it is not ours`);
  }
  return { faults, notes };
}
