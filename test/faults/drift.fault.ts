/** Format drift as an operator meets it: the API, the metric, `doctor`, `stats`, `drift list` and `drift clear`. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { type House, openHouse } from '../blackbox/harness.ts';
import { event, record } from '../blackbox/salon.ts';
import { command, json } from '../support/service.ts';
import { until } from '../support/until.ts';

let house: House;
before(async () => {
  house = await openHouse();
});
after(() => house.close());

const row = z.object({
  kind: z.string(),
  path: z.string(),
  count: z.number(),
  firstAt: z.iso.datetime(),
  lastAt: z.iso.datetime(),
  sample: z.string(),
});
const list = z.object({ items: z.array(row) });
const findings = z.object({
  healthy: z.boolean(),
  findings: z.array(z.object({ check: z.string(), state: z.string(), says: z.string() })),
});

async function run(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await command(house.databaseUrl, args);
  assert.equal(code, 0, `${stdout}${stderr}`);
  return stdout;
}

async function listed() {
  const answer = await house.service.api('GET', '/drift');
  assert.equal(answer.status, 200);
  return list.parse(json(answer)).items;
}

test('drift is shown wherever an operator looks, without a word of the salon in it, and can be cleared', async () => {
  const company = await house.company();
  const { companyId } = company;
  assert.deepEqual(await listed(), []);
  const secret = 'canary-Ксения-79161234567';
  await house.accept(company, record(companyId, 1, 'create', { comment: { secret }, attendance: 7 }));
  await house.accept(company, event(companyId, 'tips', 2, 'create', { secret }));
  const items = await until(async () => ((await listed()).length === 3 ? listed() : undefined), {
    what: 'the report is written',
  });
  assert.deepEqual(items.map(({ kind, path, count }) => `${kind} ${path} ${count}`).sort(), [
    'enum record.attendance 1',
    'resource tips 1',
    'type record.comment 1',
  ]);
  assert.equal(items.find(({ kind }) => kind === 'type')?.sample, '{"aaaaaa":"aaaaaa-aaaaaa-99999999…"}');

  const doctor = await run('doctor', '--json');
  const drift = findings.parse(JSON.parse(doctor)).findings.filter(({ check }) => check === 'drift');
  assert.equal(drift.length, 3);
  assert.ok(drift.every(({ state, says }) => state === 'note' && /Otklik/.test(says)));
  assert.deepEqual(list.parse(JSON.parse(await run('drift', 'list', '--json'))).items, items);
  const text = await run('drift');
  assert.match(text, /record\.attendance +1 /);
  assert.match(await run('stats'), /^drift +.*resource 1/m);
  const metrics = (await fetch(`${house.service.adminUrl}/metrics`)).text();
  assert.match(await metrics, /otklik_odd_values_total\{kind="enum",path="record.attendance"\} 1/);
  assert.match(await metrics, /otklik_odd_values_total\{kind="resource",path="event.resource"\} 1/);
  const said = [doctor, text, JSON.stringify(items), await metrics, house.service.output()].join('\n');
  assert.doesNotMatch(said, /canary-К|Ксения|7916123/);
  assert.match(house.service.output(), /the format drifts/);

  assert.match(await run('drift', 'clear'), /Cleared 3/);
  assert.deepEqual(await listed(), []);
  assert.match(await run('drift', 'list'), /No drift/);
});
