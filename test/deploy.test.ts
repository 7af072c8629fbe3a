/**
 * What deploy/ names exists: a dashboard or a rule of a metric that is gone shows nothing, and says nothing; a role that
 * no process has is work that nobody does. And the proxy's limits are the receiver's.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ROLES, readConfig } from '../src/config.ts';
import { BODIES_UNDER_WAY, TOO_MANY, UNAVAILABLE, WINDOW_SECONDS } from '../src/http/guard.ts';
import { HEAD_TOO_LARGE, MALFORMED, TOO_LARGE } from '../src/http/problem.ts';
import { BODY_LIMIT_BYTES as RECEIPTS_BYTES } from '../src/http/receipts.ts';
import * as receiver from '../src/http/receive.ts';
import { BODY_LIMIT_BYTES as TEXTS_BYTES } from '../src/http/relay.ts';
import { describeMetrics } from '../src/metrics.ts';

const read = (file: string) => readFileSync(new URL(`../${file}`, import.meta.url), 'utf8');
const FILES = [
  'deploy/prometheus/otklik.rules.yml',
  'deploy/prometheus/otklik.test.yml',
  'deploy/prometheus/otklik-day.test.yml',
  'deploy/grafana/otklik.json',
];

test('every metric that rules and dashboard name is one of ours, with the labels they use', async () => {
  const metrics = await describeMetrics();
  const known = new Map(
    metrics.flatMap(({ name, type, labels }) => {
      const names = type === 'histogram' ? ['_bucket', '_sum', '_count'].map(end => name + end) : [name];
      return names.map(one => [one, new Set<string>(labels)] as const);
    }),
  );
  let seen = 0;
  for (const file of FILES) {
    for (const [, name = '', , matchers = ''] of read(file).matchAll(
      /\b(otklik_[a-z0-9_]+)\b(\{([^}]*)\})?/g,
    )) {
      seen += 1;
      const labels = known.get(name);
      assert.ok(labels !== undefined, `${file}: there is no metric ${name}`);
      for (const [, label = ''] of matchers.matchAll(/(\w+)(?:=~|!~|!=|=)\\?"/g)) {
        const usual = ['instance', 'job'].includes(label);
        assert.ok(usual || labels.has(label), `${file}: ${name} has no label ${label}`);
      }
    }
  }
  assert.ok(seen > 60, `only ${seen} were looked at`);
});

test('every metric is on a panel or in a rule, but those of Node itself', async () => {
  const shown = FILES.filter(file => /rules|grafana/.test(file))
    .map(read)
    .join();
  const named = new Set([...shown.matchAll(/\botklik_[a-z0-9_]+/g)].map(([name]) => name));
  const metrics = (await describeMetrics()).map(({ name, type }) =>
    type === 'histogram' ? `${name}_bucket` : name,
  );
  // Looked up by whoever asks what a process has that is slow or large; that it is so is shown.
  const ofNode = /^otklik_(nodejs|process)_/;
  assert.deepEqual(
    metrics.filter(name => !named.has(name) && !ofNode.test(name)),
    [],
  );
  assert.ok(metrics.length > 60, `only ${metrics.length} were looked at`);
});

test('every rule is raised and over again in a test of promtool', () => {
  const names = (file: string, pattern: RegExp) => [...read(file).matchAll(pattern)].map(match => match[1]);
  const rules = names('deploy/prometheus/otklik.rules.yml', /- alert: (\w+)/g);
  const files = ['otklik.test.yml', 'otklik-day.test.yml'].map(name => `deploy/prometheus/${name}`);
  const raised = files.flatMap(file => names(file, /- alertname: (\w+)\n +eval_time: \w+\n +exp_alerts:\n/g));
  const over = files.flatMap(file => names(file, /alertname: (\w+), eval_time: \w+, exp_alerts: \[\]/g));
  assert.deepEqual([...new Set(raised)].sort(), [...rules].sort());
  assert.deepEqual([...new Set(over)].sort(), [...rules].sort());
});

test('the configuration of Prometheus has the job of every rule, if only to be uncommented', () => {
  const rules = read('deploy/prometheus/otklik.rules.yml');
  const asked = new Set([...rules.matchAll(/\bjob="([\w-]+)"/g)].map(match => match[1]));
  if (/\bnode_\w+/.test(rules)) asked.add('node');
  const jobs = [...read('deploy/prometheus/prometheus.yml').matchAll(/^#? +- job_name: (\S+)$/gm)];
  assert.deepEqual([...asked].sort(), jobs.map(match => match[1]).sort());
});

test('every rule leads to an entry of docs/operations.md that is there', () => {
  const anchors = new Set(
    [...read('docs/operations.md').matchAll(/<a id="([\w-]+)">/g)].map(match => match[1]),
  );
  const rules = read('deploy/prometheus/otklik.rules.yml');
  const runbooks = [...rules.matchAll(/runbook: docs\/operations\.md#(.+)/g)].map(match => match[1]);
  assert.equal(runbooks.length, rules.match(/- alert:/g)?.length);
  assert.deepEqual(
    runbooks.filter(anchor => !anchors.has(anchor)),
    [],
  );
});

test('the processes of deploy/systemd/roles have every role between them, and the READMEs name every role', () => {
  const roles = ['receive-1', 'receive-2', 'work'].flatMap(
    name => /^ROLES=(.+)$/m.exec(read(`deploy/systemd/roles/${name}.env`))?.[1]?.split(',') ?? [],
  );
  assert.deepEqual([...new Set(roles)].sort(), [...ROLES].sort());
  for (const file of ['README.md', 'README.ru.md'])
    assert.ok(read(file).includes(`\`${ROLES.join(',')}\``), file);
});

test('a proxy hands on to a receiver alone: to no port that a document or a file gives to the API', () => {
  const { ADMIN_PORT, PUBLIC_PORT } = readConfig({});
  const inside = (folder: string) =>
    readdirSync(new URL(`../${folder}`, import.meta.url), { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile())
      .map(entry => readFileSync(`${entry.parentPath}/${entry.name}`, 'utf8'));
  const texts = [...inside('docs'), ...inside('deploy'), ...['README.md', 'README.ru.md'].map(read)];
  const named = texts.flatMap(text =>
    [...text.matchAll(/\bADMIN_PORT=(\d+)/g)].map(([, port]) => Number(port)),
  );
  const admin = new Set([ADMIN_PORT, ...named]);
  assert.ok(named.length >= 6 && admin.size >= 3, `${named.length} were looked at`);

  const site = read('deploy/nginx/otklik.conf');
  const servers = (pattern: RegExp) => [...site.matchAll(pattern)].map(([, port]) => Number(port));
  const receiver = (name: string) =>
    Number(/^PUBLIC_PORT=(\d+)$/m.exec(read(`deploy/systemd/roles/${name}.env`))?.[1]);
  // As it is copied: one process is all that many servers have, and another program may listen at the second's port.
  assert.deepEqual(servers(/^ *server 127\.0\.0\.1:(\d+)/gm), [PUBLIC_PORT]);
  const both = servers(/^ *#?server 127\.0\.0\.1:(\d+)/gm);
  assert.deepEqual(both, [receiver('receive-1'), receiver('receive-2')]);
  const caddy = Number(/reverse_proxy 127\.0\.0\.1:(\d+)/.exec(read('deploy/caddy/Caddyfile'))?.[1]);
  assert.equal(caddy, PUBLIC_PORT);
  assert.deepEqual(
    both.filter(port => admin.has(port)),
    [],
  );
});

type Block = {
  readonly head: string;
  readonly says: ReadonlyMap<string, readonly string[]>;
  blocks: Block[];
};

/** A file in nginx's language: the directives of each block by name, with all that was said by them, and its blocks. */
function readSite(file: string): Block {
  const top: Block & { says: Map<string, string[]> } = { head: '', says: new Map(), blocks: [] };
  const open = [top];
  const tokens = read(file)
    .replaceAll(/^\s*#.*$/gm, '')
    .matchAll(/((?:'[^']*'|"[^"]*"|[^;{}'"])*)([;{}])/g);
  for (const [, text = '', end] of tokens) {
    const words = text.trim();
    const inner = open.at(-1);
    assert.ok(inner !== undefined, `${file}: a } too many`);
    if (end === '}') open.pop();
    if (end === '{') {
      const block = { head: words, says: new Map(), blocks: [] };
      inner.blocks.push(block);
      open.push(block);
    }
    if (end === ';') {
      const [name = '', ...rest] = words.split(/\s+/);
      inner.says.set(name, [...(inner.says.get(name) ?? []), rest.join(' ')]);
    }
  }
  assert.equal(open.length, 1, `${file}: a { is not closed`);
  return top;
}

function find(blocks: readonly Block[], head: string, has = ''): Block {
  const found = blocks.filter(block => block.head === head && (has === '' || block.says.has(has)));
  assert.equal(found.length, 1, `${head} ${has}`);
  return found[0] as Block;
}

/** What a directive says, in bytes, seconds or as a number: the only one, or the one that begins with `prefix`. */
function said({ says }: Block, name: string, prefix = ''): number {
  const all = (says.get(name) ?? []).filter(text => text.startsWith(prefix));
  assert.equal(all.length, 1, `${name} ${prefix}: ${all.length} times`);
  const [, number, unit = ''] =
    /^(\d+)(k|m|s|r\/s)?(?: nodelay)?$/.exec(all[0]?.slice(prefix.length).trim() ?? '') ?? [];
  assert.ok(number !== undefined, `${name} ${prefix}: ${all[0]}`);
  return Number(number) * ({ k: 1024, m: 1024 * 1024 }[unit] ?? 1);
}

test('nginx refuses what a receiver would refuse, and nothing else: sizes, rates, connections, times', () => {
  const top = readSite('deploy/nginx/otklik.conf');
  const site = find(top.blocks, 'server', 'ssl_certificate');
  const upstream = find(top.blocks, 'upstream otklik_receivers');
  const perAddress = readConfig({}).RATE_PER_ADDRESS;

  for (const name of ['client_max_body_size', 'client_body_buffer_size']) {
    assert.equal(said(site, name), receiver.BODY_LIMIT_BYTES, name);
    assert.equal(said(find(site.blocks, 'location /receipts/'), name), RECEIPTS_BYTES, name);
  }
  assert.equal(TEXTS_BYTES, receiver.BODY_LIMIT_BYTES, 'texts come under the limit of webhooks');
  // A header of all that the receiver takes fits into one of two.
  assert.equal(said(site, 'large_client_header_buffers', '2 '), receiver.HEADER_BYTES);

  const zone = 'zone=otklik_rate';
  assert.equal(said(top, 'limit_req_zone', `$binary_remote_addr ${zone}:10m rate=`), perAddress);
  // At the border of two windows a receiver takes what both allow.
  assert.equal(said(site, 'limit_req', `${zone} burst=`), 2 * WINDOW_SECONDS * perAddress);
  assert.equal(said(site, 'limit_conn', 'otklik_requests'), receiver.CONNECTIONS);
  assert.equal(said(site, 'limit_conn', 'otklik_heavy'), BODIES_UNDER_WAY);

  assert.equal(said(site, 'client_header_timeout') * 1000, receiver.HEADERS_TIMEOUT_MS);
  assert.equal(said(site, 'client_body_timeout') * 1000, receiver.REQUEST_TIMEOUT_MS);
  assert.ok(said(site, 'keepalive_timeout') * 1000 < receiver.KEEP_ALIVE_MS);
  // nginx is the one to close a connection to a receiver, by time and by count.
  assert.ok(said(upstream, 'keepalive_timeout') * 1000 < receiver.KEEP_ALIVE_MS);
  assert.ok(said(upstream, 'keepalive_requests') < receiver.REQUESTS_PER_CONNECTION);
  const [connect, answer, whole] = ['connect_timeout', 'read_timeout', 'next_upstream_timeout'].map(name =>
    said(site, `proxy_${name}`),
  );
  assert.ok(connect !== undefined && answer !== undefined && whole !== undefined);
  // Two tries end before the platform gives up.
  assert.ok(connect + answer < whole && whole * 1000 < receiver.REQUEST_TIMEOUT_MS);
});

test('Caddy refuses what a receiver would refuse: sizes and times', () => {
  const text = read('deploy/caddy/Caddyfile').replaceAll(/^\s*#.*$/gm, '');
  const units: Record<string, number> = { KiB: 1024, MiB: 1024 * 1024, s: 1000 };
  const limit = (name: string) => {
    const found = [...text.matchAll(new RegExp(`\\b${name} (\\d+)(KiB|MiB|s)$`, 'gm'))];
    assert.equal(found.length, 1, `${name}: ${found.length} times`);
    return Number(found[0]?.[1]) * (units[found[0]?.[2] ?? ''] ?? Number.NaN);
  };
  // By what it counts, and by what the sender says of its length; both for two disjoint sets of paths.
  assert.equal(limit(String.raw`request_body @receipts \{\s+max_size`), RECEIPTS_BYTES);
  assert.equal(limit(String.raw`request_body @others \{\s+max_size`), receiver.BODY_LIMIT_BYTES);
  assert.equal(text.match(/max_size/g)?.length, 2);
  assert.match(text, /^\t@receipts path \/receipts\/\*\n\t@others not path \/receipts\/\*$/m);
  const length = /int\(\{header\.Content-Length\}\) > \(path\('\/receipts\/\*'\) \? (\d+) : (\d+)\)/.exec(
    text,
  );
  assert.deepEqual(length?.slice(1).map(Number), [RECEIPTS_BYTES, receiver.BODY_LIMIT_BYTES]);

  assert.equal(limit('max_header_size'), receiver.HEADER_BYTES);
  assert.equal(limit('read_header'), receiver.HEADERS_TIMEOUT_MS);
  assert.equal(limit('read_body'), receiver.REQUEST_TIMEOUT_MS);
  assert.ok(limit('keepalive') < receiver.KEEP_ALIVE_MS);
  assert.ok(limit('dial_timeout') + limit('response_header_timeout') < receiver.REQUEST_TIMEOUT_MS);
});

test('what nginx refuses by itself has the receiver’s words, and says when to come again where that helps', () => {
  const site = find(readSite('deploy/nginx/otklik.conf').blocks, 'server', 'ssl_certificate');
  const pages = find(site.blocks, 'location /otklik-problem/');
  assert.deepEqual(pages.says.get('default_type'), ['application/problem+json']);
  const pageOf = (code: number) => {
    const [line] = (site.says.get('error_page') ?? []).filter(text => text.split(' ').includes(`${code}`));
    assert.ok(line !== undefined, `nothing is said to ${code}`);
    const page = find(pages.blocks, `location ${line.split(' ').at(-1)}`);
    const [status, body = ''] = (page.says.get('return') ?? []).join('').split(/ (.*)/);
    const retry = (page.says.get('add_header') ?? []).find(text => text.startsWith('Retry-After'));
    const overruled = /=(\d+)/.exec(line)?.[1];
    return { status: overruled ?? status, body: body.slice(1, -1), again: retry?.split(' ')[1] };
  };
  const words = ({ status, title, detail }: typeof TOO_MANY) =>
    JSON.stringify({ type: 'about:blank', title, status, detail });
  for (const [codes, problem, again] of [
    [[400], MALFORMED.problem, undefined],
    [[414, 494], HEAD_TOO_LARGE.problem, undefined],
    [[413], TOO_LARGE, undefined],
    [[429], TOO_MANY, '1'],
  ] as const) {
    for (const code of codes) {
      assert.deepEqual(pageOf(code), { status: `${problem.status}`, body: words(problem), again }, `${code}`);
    }
  }
  // Of these nginx does not know whether an event was kept.
  for (const code of [500, 502, 503, 504]) {
    const { body, again } = pageOf(code);
    const detail = 'The receiver did not answer. Send it again.';
    const expected = words({ ...UNAVAILABLE, status: code, detail });
    assert.deepEqual(
      [body.replace('$status', `${code}`), again],
      [expected, `${UNAVAILABLE.retryAfterSeconds}`],
    );
  }
});
