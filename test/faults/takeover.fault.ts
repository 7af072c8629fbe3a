/** What only time can show: leases of a dead process run out by themselves, and a minute ends. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type House, keyIsKnown, openHouse } from '../blackbox/harness.ts';
import { event, record, wallClock } from '../blackbox/salon.ts';
import { type Company, json, post, startService } from '../support/service.ts';
import { until } from '../support/until.ts';

const BOOKINGS = 200;
const PATIENCE_MS = 300_000;
/** A body without a version counts once a minute; a little more, for clocks that differ. */
const NEXT_MINUTE_MS = 61_500;

let house: House;
before(async () => {
  house = await openHouse();
});
after(() => house.close());

/** Nothing waits for anybody: not by the events, nor by the messages. */
async function isDone({ companyId }: Company): Promise<boolean> {
  const { rows } = await house.pool.query<{ left: number }>(
    `SELECT (SELECT count(*) FROM webhook_events WHERE company_id = $1 AND state IN ('pending', 'waiting'))::integer
          + (SELECT count(*) FROM messages WHERE company_id = $1 AND state IN ('due', 'sending'))::integer AS left`,
    [companyId],
  );
  return rows[0]?.left === 0;
}

describe('time alone', { concurrency: true }, () => {
  test('gives the work of a process that was killed to the one that lives', async t => {
    const doomed = await startService(house.databaseUrl);
    t.after(() => doomed.kill9());
    const company = await house.company();
    const url = company.url.replace(house.service.publicUrl, doomed.publicUrl);
    await keyIsKnown(url);
    // Both have a share of the shards before the load begins.
    await until(
      async () => {
        const { rows } = await house.pool.query('SELECT DISTINCT owner FROM shards WHERE owner IS NOT NULL');
        return rows.length === 2;
      },
      { what: 'both processes hold shards', timeoutMs: PATIENCE_MS },
    );
    const moved = wallClock(9, '16:00:00');
    const sent: Promise<string | undefined>[] = [];
    for (let id = 1; id <= BOOKINGS; id += 1) {
      const create = record(company.companyId, id, 'create');
      const update = record(company.companyId, id, 'update', { date: moved }, 5);
      for (const [index, body] of [create, update].entries()) {
        const door = (id + index) % 2 === 0 ? url : company.url;
        sent.push(
          post(door, body).then(
            answer => (answer.status === 200 ? String(Object(json(answer)).id) : undefined),
            () => undefined,
          ),
        );
      }
    }
    await until(() => house.heard(company).length > BOOKINGS / 8, { what: 'messages flow' });
    await doomed.kill9();
    const killedAt = performance.now();
    const acknowledged = (await Promise.all(sent)).filter(id => id !== undefined);
    await until(() => isDone(company), {
      what: 'the living process has done it all',
      timeoutMs: PATIENCE_MS,
    });
    const tookMs = Math.round(performance.now() - killedAt);
    const { rows } = await house.pool.query<{ id: string; state: string }>(
      'SELECT id, state FROM webhook_events WHERE company_id = $1',
      [company.companyId],
    );
    const states = new Map(rows.map(({ id, state }) => [id, state]));
    assert.deepEqual(
      acknowledged.filter(id => states.get(id) !== 'done'),
      [],
    );
    for (const [recordId, told] of Map.groupBy(house.heard(company), message => message.recordId)) {
      const said = told.map(message => JSON.stringify(message.after));
      assert.equal(new Set(said).size, said.length, `booking ${recordId} is told of the same thing twice`);
    }
    t.diagnostic(
      `${acknowledged.length} acknowledged, ${house.heard(company).length} messages, done ${tookMs} ms after the kill`,
    );
  });

  test('makes an event of a schedule that is repeated in a later minute, and of a bare delete', async () => {
    const company = await house.company();
    const bare = [
      event(company.companyId, 'schedule', 7, 'update', []),
      event(company.companyId, 'record', 7, 'delete', []),
    ];
    const idsOf = async () => {
      const accepted = [];
      for (const body of bare) accepted.push(await house.accept(company, body));
      return accepted;
    };
    const started = performance.now();
    const first = await idsOf();
    await until(() => performance.now() - started > NEXT_MINUTE_MS, {
      what: 'the next minute',
      timeoutMs: PATIENCE_MS,
    });
    for (const [index, { id, duplicate }] of (await idsOf()).entries()) {
      assert.equal(duplicate, false, JSON.stringify(bare[index]));
      assert.notEqual(id, first[index]?.id);
    }
  });
});
