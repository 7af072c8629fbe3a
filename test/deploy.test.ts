/**
 * What deploy/ names exists: a dashboard or a rule of a metric that is gone shows nothing, and says nothing; a role that
 * no process has is work that nobody does.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ROLES } from '../src/config.ts';
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

test('every rule is raised and over again in a test of promtool', () => {
  const names = (file: string, pattern: RegExp) => [...read(file).matchAll(pattern)].map(match => match[1]);
  const rules = names('deploy/prometheus/otklik.rules.yml', /- alert: (\w+)/g);
  const files = ['otklik.test.yml', 'otklik-day.test.yml'].map(name => `deploy/prometheus/${name}`);
  const raised = files.flatMap(file => names(file, /- alertname: (\w+)\n +eval_time: \w+\n +exp_alerts:\n/g));
  const over = files.flatMap(file => names(file, /alertname: (\w+), eval_time: \w+, exp_alerts: \[\]/g));
  assert.deepEqual(raised.sort(), [...rules].sort());
  assert.deepEqual(over.sort(), [...rules].sort());
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
