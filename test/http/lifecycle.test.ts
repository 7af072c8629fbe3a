/** A salon leaves by the marketplace; and nothing that comes to the wrong address is acknowledged. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { APPLICATION_ID, createRig, PARTNER_TOKEN, type Rig, userData } from './marketplace-rig.ts';

let rig: Rig;
let url: string;
beforeEach(async () => {
  rig = await createRig();
  await rig.press({ salon_id: '11', ...userData() });
  url = String(rig.urls(11)[0]);
});
afterEach(() => rig.close());

const leaving = (changes: Readonly<Record<string, unknown>> = {}) => ({
  ...{ salon_id: 11, application_id: APPLICATION_ID, event: 'uninstall', partner_token: PARTNER_TOKEN },
  ...changes,
});
const record = { company_id: 11, resource: 'record', resource_id: 1, status: 'create', data: { id: 1 } };

async function eventsKept(): Promise<number> {
  const { rows } = await rig.pool.query('SELECT count(*) AS kept FROM webhook_events');
  return rows[0]?.kept;
}

test('a salon that leaves is stopped: its URL gets the answer of an unknown one, and nothing is kept', async () => {
  for (const [event, duplicate] of [
    ['freeze', false],
    ['uninstall', false],
  ] as const) {
    const answer = await rig.lifecycle(leaving({ event }));
    assert.equal(answer.statusCode, 200, answer.body);
    assert.deepEqual(answer.json(), { company: 11, event, duplicate });
    assert.equal((await rig.company(11))?.stopped_because, event);
    const stopped = await rig.event(url, record);
    const unknown = await rig.event(`https://otklik.test/webhooks/yclients/${'x'.repeat(43)}`, record);
    assert.equal(stopped.statusCode, 404);
    assert.equal(stopped.body, unknown.body);
  }
  assert.equal(await eventsKept(), 0);
});

test('what a stopped salon sent before stays', async () => {
  assert.equal((await rig.event(url, record)).statusCode, 200);
  await rig.lifecycle(leaving());
  assert.equal(await eventsKept(), 1);
  assert.notEqual(await rig.company(11), undefined);
});

test('the same event again changes nothing; an uninstall outranks a freeze, not the other way', async () => {
  const states = [];
  for (const event of ['freeze', 'freeze', 'uninstall', 'uninstall', 'freeze']) {
    const answer = await rig.lifecycle(leaving({ event, salon_id: '11' }));
    assert.equal(answer.statusCode, 200);
    states.push([answer.json().duplicate, (await rig.company(11))?.stopped_because]);
  }
  assert.deepEqual(states, [
    [false, 'freeze'],
    [true, 'freeze'],
    [false, 'uninstall'],
    [true, 'uninstall'],
    [true, 'uninstall'],
  ]);
});

test('connecting again resumes, with a new URL and the old one', async () => {
  await rig.lifecycle(leaving());
  await rig.press({ salon_id: '11', ...userData() });
  assert.equal((await rig.company(11))?.stopped_because, null);
  const [, second] = rig.urls(11);
  assert.equal((await rig.event(String(second), record)).statusCode, 200);
  assert.equal((await rig.event(url, { ...record, resource_id: 2 })).statusCode, 200);
});

test('connecting again that the platform refuses leaves the salon stopped as it was', async () => {
  await rig.lifecycle(leaving({ event: 'freeze' }));
  const stoppedAt = async () =>
    (await rig.pool.query('SELECT stopped_at FROM companies')).rows[0]?.stopped_at;
  const before = await stoppedAt();
  rig.platform.onActivation(() => 403);
  assert.equal((await rig.press({ salon_id: '11', ...userData() })).statusCode, 502);
  assert.equal((await rig.company(11))?.stopped_because, 'freeze');
  assert.equal(await stoppedAt(), before);
});

test('a wrong or absent partner token is refused, and counted', async () => {
  const wrong = [
    `${PARTNER_TOKEN}x`,
    PARTNER_TOKEN.slice(1),
    PARTNER_TOKEN.toUpperCase(),
    '',
    null,
    1,
    [PARTNER_TOKEN],
    undefined,
  ];
  for (const token of wrong) {
    assert.equal((await rig.lifecycle(leaving({ partner_token: token }))).statusCode, 401, String(token));
  }
  assert.equal(await rig.rejected('lifecycle_token'), wrong.length);
  assert.equal((await rig.company(11))?.stopped_because, null);
});

test('events that are not known, of another application or of no salon of ours are refused, and counted', async () => {
  const cases: ReadonlyArray<readonly [Readonly<Record<string, unknown>>, number, string]> = [
    [{ event: 'payment' }, 400, 'lifecycle_unknown_event'],
    [{ event: '__proto__' }, 400, 'lifecycle_unknown_event'],
    [{ event: undefined }, 400, 'lifecycle_unknown_event'],
    [{ application_id: 1 }, 400, 'lifecycle_application'],
    [{ salon_id: 'x' }, 400, 'lifecycle_unreadable'],
    [{ salon_id: 999 }, 404, 'lifecycle_unknown_company'],
  ];
  for (const [changes, status, cause] of cases) {
    const before = await rig.rejected(cause);
    assert.equal((await rig.lifecycle(leaving(changes))).statusCode, status, JSON.stringify(changes));
    assert.equal(await rig.rejected(cause), before + 1, cause);
  }
  for (const body of ['', 'null', '[]', '{', '"x"']) {
    assert.equal((await rig.lifecycle(body)).statusCode, 400, body);
  }
  assert.equal((await rig.company(11))?.stopped_because, null);
});

test('an event of a salon at the lifecycle address is refused, counted and not kept', async () => {
  for (const body of [record, [record]]) {
    const answer = await rig.lifecycle(body);
    assert.equal(answer.statusCode, 400);
    assert.match(answer.json().detail, /not here/);
  }
  assert.equal(await rig.rejected('entity_event_here'), 2);
  assert.equal(await eventsKept(), 0);
});

test('a lifecycle event at a salon’s address is refused, counted, and its token is nowhere', async () => {
  for (const body of [leaving(), [leaving()]]) {
    const answer = await rig.event(url, body);
    assert.equal(answer.statusCode, 400);
    assert.match(answer.json().detail, /\/webhooks\/yclients\/lifecycle/);
  }
  assert.equal(await rig.rejected('lifecycle_event_here'), 2);
  assert.equal(await eventsKept(), 0, 'not even in quarantine');
  assert.equal((await rig.company(11))?.stopped_because, null, 'and it has no effect from here');
  assert.ok(!rig.logged().includes(PARTNER_TOKEN));
});

test('lifecycle is no key, and other verbs are refused', async () => {
  assert.equal((await rig.request({ method: 'GET', url: '/webhooks/yclients/lifecycle' })).statusCode, 405);
  const compressed = await rig.request({
    method: 'POST',
    url: '/webhooks/yclients/lifecycle',
    headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' },
    payload: '{}',
  });
  assert.equal(compressed.statusCode, 415);
});
