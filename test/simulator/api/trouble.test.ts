import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTroubles } from '../../../src/simulator/api/trouble.ts';
import { call, manualClock, NOW, platformFor } from './client.ts';

const RECORDS = '/api/v1/records/7';

test('each trouble looks as it does on the wire, and ends when told', async t => {
  const platform = await platformFor(t);
  platform.add(7, { records: 5 });
  platform.setFault({ kind: 'error' });
  const error = await call(platform, RECORDS);
  assert.deepEqual([error.status, error.text], [502, '']);
  platform.setFault({ kind: 'html' });
  const page = await call(platform, RECORDS);
  assert.equal(page.status, 200);
  assert.match(page.text, /^<!DOCTYPE html>/);
  platform.setFault({ kind: 'truncated' });
  const cut = await call(platform, RECORDS);
  assert.equal(cut.status, 200);
  assert.match(cut.text, /^\{"success":true/);
  assert.throws(() => JSON.parse(cut.text), SyntaxError);
  platform.setFault({ kind: 'limited' });
  assert.equal((await call(platform, RECORDS)).status, 429);
  platform.setFault({ kind: 'down' });
  await assert.rejects(call(platform, RECORDS), TypeError);
  platform.setFault({ kind: 'hang' });
  await assert.rejects(call(platform, RECORDS, { signal: AbortSignal.timeout(50) }), {
    name: 'TimeoutError',
  });
  platform.setFault();
  assert.equal((await call(platform, RECORDS)).status, 200);
});

test('a trouble can be of one company, one operation, so many times, or until a moment', async t => {
  const clock = manualClock();
  const platform = await platformFor(t, { clock });
  platform.add(7);
  platform.add(8);
  const statuses = async (...paths: string[]) => {
    const answers: number[] = [];
    for (const path of paths) answers.push((await call(platform, path)).status);
    return answers;
  };
  platform.setFault({ kind: 'error', companyId: 8 }, { kind: 'limited', operations: ['company'] });
  assert.deepEqual(await statuses(RECORDS, '/api/v1/records/8', '/api/v1/company/7/'), [200, 502, 429]);
  platform.setFault({ kind: 'error', times: 2 });
  assert.deepEqual(await statuses(RECORDS, RECORDS, RECORDS), [502, 502, 200]);
  platform.setFault({ kind: 'error', untilMs: NOW + 600_000 });
  assert.deepEqual(await statuses(RECORDS), [502]);
  clock.set(NOW + 600_000);
  assert.deepEqual(await statuses(RECORDS), [200]);
});

test('a trouble strikes its share of the calls', async t => {
  const platform = await platformFor(t);
  platform.add(7);
  platform.setFault({ kind: 'error', share: 0.3 });
  let struck = 0;
  for (let index = 0; index < 200; index += 1)
    struck += Number((await call(platform, RECORDS)).status === 502);
  assert.ok(struck > 35 && struck < 90, String(struck));
});

test('a call may be obeyed although its answer is lost', async t => {
  const platform = await platformFor(t);
  const branch = platform.add(7, { records: 1 });
  const [record] = branch.records();
  const remove = () => call(platform, `/api/v1/record/7/${record?.id}`, { method: 'DELETE' });
  platform.setFault({ kind: 'error' });
  assert.equal((await remove()).status, 502);
  assert.equal(branch.records()[0]?.deleted, false);
  platform.setFault({ kind: 'error', obeyed: true });
  assert.equal((await remove()).status, 502);
  assert.equal(branch.records()[0]?.deleted, true);
});

test('troubles are read from a list', () => {
  assert.deepEqual(parseTroubles('none'), []);
  assert.deepEqual(parseTroubles('error:0.1, hang'), [
    { kind: 'error', share: 0.1 },
    { kind: 'hang', share: 1 },
  ]);
  for (const text of ['', 'rain', 'error:2', 'error:', 'error:x'])
    assert.throws(() => parseTroubles(text), text);
});
