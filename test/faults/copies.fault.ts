/** One event in a hundred copies at once, over two processes on one database. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type House, keyIsKnown, openHouse } from '../blackbox/harness.ts';
import { record } from '../blackbox/salon.ts';
import { type Company, json, post, type Service, startService } from '../support/service.ts';

const COPIES = 100;
const EVENTS = 10;

let house: House;
let second: Service;
before(async () => {
  house = await openHouse();
  second = await startService(house.databaseUrl);
});
after(async () => {
  await second.stop();
  await house.close();
});

/** The company's URL at each process in turn. */
async function doors(company: Company): Promise<[string, string]> {
  const other = company.url.replace(house.service.publicUrl, second.publicUrl);
  assert.notEqual(other, company.url);
  await keyIsKnown(other);
  return [company.url, other];
}

async function eventsOf(company: Company): Promise<Map<number, number>> {
  const { rows } = await house.pool.query<{ record: string; count: string }>(
    'SELECT record_id AS record, count(*) FROM webhook_events WHERE company_id = $1 GROUP BY 1',
    [company.companyId],
  );
  return new Map(rows.map(row => [Number(row.record), Number(row.count)]));
}

test('a hundred copies at once over two processes are one event and one message', async () => {
  const company = await house.company();
  const urls = await doors(company);
  for (let id = 1; id <= EVENTS; id += 1) {
    const body = JSON.stringify(record(company.companyId, id, 'create'));
    const answers = await Promise.all(
      Array.from({ length: COPIES }, (_, copy) => post(urls[copy % 2] ?? urls[0], body)),
    );
    for (const answer of answers) assert.equal(answer.status, 200, answer.body.toString());
    const said = answers.map(answer => JSON.stringify(json(answer)));
    const ids = new Set(said.map(text => JSON.parse(text).id));
    assert.equal(ids.size, 1, 'every copy is answered with the id of the one event');
    assert.equal(
      said.filter(text => JSON.parse(text).duplicate === false).length,
      1,
      'one copy is the first',
    );
  }
  const told = await house.heardInTheEnd(company);
  const each = Array.from({ length: EVENTS }, (_, index) => index + 1);
  assert.deepEqual(
    [...(await eventsOf(company))].sort(byRecord),
    each.map(id => [id, 1]),
  );
  assert.deepEqual(
    told.map(message => message.recordId).sort((a, b) => a - b),
    each,
  );
  assert.equal(house.sink.deliveries.filter(({ path }) => path === `/${company.companyId}`).length, EVENTS);
});

test('a hundred bodies of one change that differ in a trifle are one message', async () => {
  const company = await house.company();
  const urls = await doors(company);
  const whole = record(company.companyId, 1, 'create');
  const answers = await Promise.all(
    Array.from({ length: COPIES }, (_, copy) =>
      post(urls[copy % 2] ?? urls[0], { ...whole, data: { ...Object(whole.data), trifle: copy } }),
    ),
  );
  for (const answer of answers) assert.equal(answer.status, 200, answer.body.toString());
  const told = await house.heardInTheEnd(company);
  assert.deepEqual(
    told.map(message => message.recordId),
    [1],
  );
  assert.equal(house.sink.deliveries.filter(({ path }) => path === `/${company.companyId}`).length, 1);
});

function byRecord([a]: [number, number], [b]: [number, number]): number {
  return a - b;
}
