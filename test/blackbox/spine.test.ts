/** From a webhook to a message: what a client hears, and what they are spared. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { z } from 'zod';
import { type Company, json } from '../support/service.ts';
import { until } from '../support/until.ts';
import { type House, openHouse, SETTLE_MS, type Told } from './harness.ts';
import {
  COLOURING,
  client,
  event,
  HAIRCUT,
  instant,
  MASTER,
  OTHER_MASTER,
  phoneOf,
  record,
  wallClock,
} from './salon.ts';

const SAMPLES = new URL('../../../shared/samples/', import.meta.url).pathname;

let house: House;
before(async () => {
  house = await openHouse();
});
after(() => house.close());

type Row = { id: string; resource_id: string; state: string; effect: string | null; attempts: number };

async function eventsOf({ companyId }: Company): Promise<Row[]> {
  const { rows } = await house.pool.query<Row>(
    'SELECT id, resource_id, state, effect, attempts FROM webhook_events WHERE company_id = $1 ORDER BY seq',
    [companyId],
  );
  return rows;
}

const bookingSeen = z.object({
  state: z.string(),
  startsLocal: z.string().nullable(),
  deleted: z.boolean().nullable(),
  paid: z.boolean().nullable(),
  history: z.array(z.object({ kind: z.string() })),
});

async function bookingOf(companyId: number, recordId: number): Promise<z.infer<typeof bookingSeen>> {
  const answer = await house.service.api('GET', `/bookings/${companyId}/${recordId}`);
  assert.equal(answer.status, 200, answer.body.toString());
  return bookingSeen.parse(json(answer));
}

async function kindsOf({ companyId }: Company, recordId: number): Promise<string[]> {
  return (await bookingOf(companyId, recordId)).history.map(({ kind }) => kind);
}

function types(told: readonly Told[]): string[] {
  return told.map(({ type }) => type.replace('notice.', ''));
}

/** A booking that was made and told of. */
async function booked(company: Company, recordId = 1): Promise<void> {
  await house.accept(company, record(company.companyId, recordId, 'create'));
  await house.settled(company);
}

describe('a client hears once', { concurrency: 8 }, () => {
  test('of a booking that was made', async () => {
    const company = await house.company();
    await booked(company);
    const told = await house.heardInTheEnd(company);
    assert.deepEqual(types(told), ['booked']);
    assert.equal(told[0]?.recipient.phone, phoneOf(1));
  });

  test('of a change whose update comes four times', async () => {
    const company = await house.company();
    await booked(company);
    const moved = record(company.companyId, 1, 'update', { date: wallClock(8) }, 1);
    await Promise.all([1, 2, 3, 4].map(() => house.accept(company, moved)));
    assert.deepEqual(types(await house.heardInTheEnd(company)), ['booked', 'rescheduled']);
  });

  test('of a cancellation by attendance -1 before the visit', async () => {
    const company = await house.company();
    await booked(company);
    await house.accept(company, record(company.companyId, 1, 'update', { attendance: -1 }, 1));
    assert.deepEqual(types(await house.heardInTheEnd(company)), ['booked', 'cancelled']);
    assert.equal((await bookingOf(company.companyId, 1)).state, 'cancelled');
  });

  test('of a delete that carries no phone, and the right person does', async () => {
    const company = await house.company();
    const { companyId } = company;
    await booked(company, 1);
    await booked(company, 2);
    await house.accept(
      company,
      event(companyId, 'record', 2, 'delete', { id: 2, company_id: companyId, deleted: true }),
    );
    const told = await house.heardInTheEnd(company);
    assert.deepEqual(types(told), ['booked', 'booked', 'cancelled']);
    assert.equal(told[2]?.recordId, 2);
    assert.equal(told[2]?.recipient.phone, phoneOf(2));
    assert.equal((await bookingOf(companyId, 2)).deleted, true);
  });

  test('of a cancelled booking that is restored', async () => {
    const company = await house.company();
    await booked(company);
    await house.accept(company, record(company.companyId, 1, 'update', { attendance: -1 }, 1));
    await house.settled(company);
    await house.accept(company, record(company.companyId, 1, 'update', { attendance: 0 }, 2));
    assert.deepEqual(types(await house.heardInTheEnd(company)), ['booked', 'cancelled', 'restored']);
    assert.ok((await kindsOf(company, 1)).includes('restored'));
  });

  test('of a booking that is made and moved within the settle time: as it is in the end', async () => {
    const company = await house.company({ settleMs: SETTLE_MS });
    const moved = wallClock(9, '16:00:00');
    await house.accept(company, record(company.companyId, 1, 'create'));
    await house.accept(company, record(company.companyId, 1, 'update', { date: moved }, 1));
    const told = await house.heardInTheEnd(company);
    assert.deepEqual(types(told), ['booked']);
    assert.match(told[0]?.text ?? '', /16:00/);
  });

  test('of a fresh booking whose update overtook its create', async () => {
    const company = await house.company();
    const made = record(company.companyId, 1, 'create');
    await house.accept(company, record(company.companyId, 1, 'update', { comment: 'later' }, 1));
    await house.accept(company, made);
    assert.deepEqual(types(await house.heardInTheEnd(company)), ['booked']);
  });
});

describe('a client is spared', { concurrency: 8 }, () => {
  const changes = [
    ['a payment', { paid_full: 1 }, 'paid'],
    ['their own arrival', { attendance: 1, visit_attendance: 1 }, 'arrived'],
    ['their own confirmation', { attendance: 2, visit_attendance: 2 }, 'confirmed'],
    ['a comment of the salon', { comment: 'prefers tea' }, undefined],
  ] as const;
  for (const [what, fields, kind] of changes) {
    test(what, async () => {
      const company = await house.company();
      await booked(company);
      await house.accept(company, record(company.companyId, 1, 'update', fields, 1));
      assert.deepEqual(types(await house.heardInTheEnd(company)), ['booked']);
      if (kind) assert.ok((await kindsOf(company, 1)).includes(kind), kind);
    });
  }

  test('a no-show: attendance -1 after the visit began', async () => {
    const company = await house.company();
    const date = wallClock(-1);
    const made = { date, create_date: instant(-3 * 86_400) };
    await house.accept(company, record(company.companyId, 1, 'create', made));
    await house.accept(company, record(company.companyId, 1, 'update', { ...made, attendance: -1 }, 1));
    assert.deepEqual(types(await house.heardInTheEnd(company)), []);
    assert.equal((await bookingOf(company.companyId, 1)).state, 'no_show');
    assert.ok((await kindsOf(company, 1)).includes('no_show'));
  });

  test('services in another order', async () => {
    const company = await house.company();
    const services = [HAIRCUT, COLOURING, HAIRCUT];
    await house.accept(company, record(company.companyId, 1, 'create', { services }));
    await house.settled(company);
    const other = [COLOURING, HAIRCUT, HAIRCUT];
    await house.accept(company, record(company.companyId, 1, 'update', { services: other }, 1));
    assert.deepEqual(types(await house.heardInTheEnd(company)), ['booked']);
    assert.ok(!(await kindsOf(company, 1)).includes('services_changed'));
  });

  test('a change that is taken back within the settle time', async () => {
    const company = await house.company({ settleMs: SETTLE_MS });
    const { companyId } = company;
    await booked(company);
    const moved = { date: wallClock(8), staff_id: OTHER_MASTER.id, staff: OTHER_MASTER };
    await house.accept(company, record(companyId, 1, 'update', moved, 1));
    await house.accept(company, record(companyId, 1, 'update', { staff_id: MASTER.id }, 2));
    assert.deepEqual(types(await house.heardInTheEnd(company)), ['booked']);
    const kinds = await kindsOf(company, 1);
    assert.equal(kinds.filter(kind => kind === 'rescheduled').length, 2, kinds.join());
  });

  test('an old booking that we first see by an update', async () => {
    const company = await house.company();
    const old = { create_date: instant(-30 * 86_400) };
    await house.accept(company, record(company.companyId, 1, 'update', old));
    assert.deepEqual(types(await house.heardInTheEnd(company)), []);
    await house.accept(company, record(company.companyId, 1, 'update', { ...old, date: wallClock(8) }, 1));
    assert.deepEqual(types(await house.heardInTheEnd(company)), ['rescheduled']);
  });

  test('any change of a visit that is over', async () => {
    const company = await house.company();
    const { companyId } = company;
    const over = { date: wallClock(-2), create_date: instant(-5 * 86_400) };
    await house.accept(company, record(companyId, 1, 'create', over));
    await house.accept(company, record(companyId, 1, 'update', { ...over, services: [COLOURING] }, 1));
    await house.accept(company, record(companyId, 1, 'delete', { ...over, deleted: true }, 2));
    assert.deepEqual(types(await house.heardInTheEnd(company)), []);
  });
});

describe('every kind of event', { concurrency: 4 }, () => {
  test('of the platform is accepted and processed', async () => {
    const company = await house.company();
    const { companyId } = company;
    const operation = (type: number) => ({
      id: 90 + type,
      document_id: 1,
      type_id: type,
      type: 'x',
      good: { id: 5, title: 'Шампунь' },
      amount: -1,
      cost: 10,
      create_date: instant(0),
      master: [],
      supplier: [],
      client: [],
    });
    const kinds: [string, number, unknown][] = [
      ['record', 1, record(companyId, 1, 'create').data],
      ['client', 2, client(2)],
      ['staff', 3, { id: 3, name: 'Ольга', rating: 4.8, position: [] }],
      ['service', 4, { id: 4, title: 'Стрижка', duration: 3600 }],
      ['service_category', 4, { id: 4, title: 'Волосы' }],
      ['company', companyId, { id: companyId, title: 'Ромашка', timezone_name: 'Europe/Moscow' }],
      ['salon', companyId, { id: companyId, title: 'Ромашка', timezone_name: 'Europe/Moscow' }],
      ['schedule', 3, []],
      ['good', 5, { good_id: 5, title: 'Шампунь' }],
      ['goods_operations_sale', 91, operation(1)],
      ['goods_operations_receipt', 93, operation(3)],
      ['goods_operations_consumable', 94, operation(4)],
      ['goods_operations_stolen', 94, operation(4)],
      ['goods_operations_move', 90, operation(0)],
      [
        'finances_operation',
        7,
        { id: 7, amount: 50, date: instant(0), master: [], client: [], record_id: 1 },
      ],
      ['loyalty_card', 8, { id: 8, balance: 5, number: 'x', phone: '+79995550008' }],
    ];
    for (const status of ['create', 'update', 'delete'])
      for (const [resource, id, data] of kinds) {
        if (resource === 'record' && status !== 'create') continue;
        await house.accept(company, event(companyId, resource, id, status, data));
      }
    await house.settled(company);
    const { rows } = await house.pool.query(
      `SELECT resource, status, state, effect, error FROM webhook_events
       WHERE company_id = $1 AND (state <> 'done' OR effect = 'kept')`,
      [companyId],
    );
    assert.deepEqual(rows, []);
    assert.deepEqual(types(house.heard(company)), ['booked']);
  });

  test('that we do not know is kept and shown', async () => {
    const company = await house.company();
    const { companyId } = company;
    const odd = [
      event(companyId, 'parking_place', 1, 'create', { id: 1 }),
      event(companyId, 'record', 2, 'frozen', { id: 2 }),
    ];
    for (const body of odd) {
      const { id } = await house.accept(company, body);
      await house.settled(company);
      const answer = await house.service.api('GET', `/events/${id}`);
      assert.equal(answer.status, 200);
      const { state, effect } = z.object({ state: z.string(), effect: z.string() }).parse(json(answer));
      assert.deepEqual({ state, effect }, { state: 'done', effect: 'kept' }, body.resource);
    }
    assert.deepEqual(house.heard(company), []);
  });

  test('may be replayed without harm', async () => {
    const company = await house.company();
    await booked(company);
    await house.accept(company, record(company.companyId, 1, 'update', { date: wallClock(8) }, 1));
    await house.settled(company);
    const kinds = await kindsOf(company, 1);
    for (const { id } of await eventsOf(company)) {
      const answer = await house.service.api('POST', `/events/${id}/replay`, {});
      assert.ok(answer.status >= 200 && answer.status < 300, answer.body.toString());
      await house.settled(company);
    }
    assert.deepEqual(types(house.heard(company)), ['booked', 'rescheduled']);
    assert.deepEqual(await kindsOf(company, 1), kinds);
  });

  test('that cannot be processed stops its own record alone, and that goes on once it can', async () => {
    const company = await house.company();
    const { companyId } = company;
    await house.pool.query(`
      CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN RAISE EXCEPTION 'poison'; END $$;
      CREATE TRIGGER poison BEFORE INSERT OR UPDATE ON bookings FOR EACH ROW
        WHEN (NEW.company_id = ${companyId} AND NEW.record_id = 666) EXECUTE FUNCTION poison()`);
    await house.accept(company, record(companyId, 666, 'create'));
    await house.accept(company, record(companyId, 666, 'update', { date: wallClock(8) }, 1));
    const others = Array.from({ length: 100 }, (_, index) => index + 1);
    await Promise.all(others.map(id => house.accept(company, record(companyId, id, 'create'))));
    const stateOf = async (poisoned: boolean) =>
      (await eventsOf(company)).filter(row => (Number(row.resource_id) === 666) === poisoned);
    await until(async () => (await stateOf(false)).every(({ state }) => state === 'done'), {
      what: 'the other records are processed',
    });
    await until(async () => (await stateOf(true))[0]?.state === 'waiting', {
      what: 'the poison is set aside',
    });
    assert.equal((await stateOf(true))[1]?.state, 'pending', 'the later event of its record stays behind it');
    await house.pool.query('DROP TRIGGER poison ON bookings');
    const told = await house.heardInTheEnd(company);
    assert.deepEqual(
      (await stateOf(true)).map(({ state }) => state),
      ['done', 'done'],
    );
    assert.equal(told.filter(({ recordId }) => recordId !== 666).length, others.length);
    const last = told.filter(({ recordId }) => recordId === 666).at(-1);
    assert.match(JSON.stringify(last?.after), new RegExp(wallClock(8).replace(' ', 'T')));
  });
});

const envelope = z.object({
  company_id: z.number(),
  resource: z.string(),
  resource_id: z.number(),
  status: z.string(),
  data: z.unknown(),
});

test('bodies published by others are accepted and rightly understood', async t => {
  if (!existsSync(SAMPLES)) return t.skip('no samples beside the project');
  const files = (await readdir(SAMPLES, { recursive: true })).filter(file => file.endsWith('.json')).sort();
  const bodies = await Promise.all(
    files.map(async file => ({ file, text: await readFile(`${SAMPLES}${file}`, 'utf8') })),
  );
  const events = bodies.flatMap(({ file, text }) => {
    const parsed = envelope.safeParse(JSON.parse(text));
    return parsed.success ? [{ file, text, body: parsed.data }] : [];
  });
  // What the platform answers about hooks, and a body of the marketplace's own route, are no events.
  assert.equal(bodies.length - events.length, 2);
  const companies = new Map<number, Company>();
  for (const companyId of new Set(events.map(({ body }) => body.company_id)))
    companies.set(
      companyId,
      await house.company({ companyId, webhookUrl: `${house.sink.url}/${companyId}` }),
    );
  for (const { text, body, file } of events) {
    const company = companies.get(body.company_id);
    assert.ok(company);
    const { duplicate } = await house.accept(company, text);
    assert.equal(duplicate, false, file);
  }
  for (const company of companies.values()) {
    await house.settled(company);
    for (const row of await eventsOf(company)) assert.equal(row.state, 'done', JSON.stringify(row));
  }

  const attended = await bookingOf(307_626, 596_792_978);
  assert.deepEqual(
    { state: attended.state, paid: attended.paid, startsLocal: attended.startsLocal },
    { state: 'arrived', paid: true, startsLocal: '2025-07-12T12:10:00' },
  );
  assert.equal((await bookingOf(622_905, 1_900_413_435)).deleted, true);
  const online = await bookingOf(622_905, 1_947_900_183);
  assert.deepEqual([online.state, online.startsLocal], ['waiting', '2026-09-16T19:30:00']);
  assert.equal((await bookingOf(123_456, 501)).startsLocal, '2026-03-20T14:00:00');

  const person = await house.pool.query(
    'SELECT name, phone FROM people WHERE company_id = 1275575 AND client_id = 167155699',
  );
  assert.deepEqual(person.rows, [{ name: 'Клиент 3', phone: '+971500000003' }]);
  const jane = await house.pool.query(
    'SELECT phone, email FROM people WHERE company_id = 123456 AND client_id = 401',
  );
  assert.deepEqual(jane.rows, [{ phone: '+1234567890', email: 'jane@example.com' }]);
  const sale = await house.pool.query(
    'SELECT resource, data FROM entities WHERE company_id = 775230 AND resource_id = 518387001',
  );
  assert.equal(sale.rows.length, 1);
  assert.equal(sale.rows[0]?.data.kind, 'sale', JSON.stringify(sale.rows[0]));
  const { rows } = await house.pool.query<{ resource: string }>(
    'SELECT DISTINCT resource FROM entities WHERE company_id = 123456 ORDER BY 1',
  );
  const kinds = rows.map(({ resource }) => resource);
  for (const resource of [
    'good',
    'loyalty_card',
    'service',
    'service_category',
    'staff',
    'finances_operation',
  ])
    assert.ok(kinds.includes(resource), `${resource} is among ${kinds.join()}`);
  const salon = await house.pool.query('SELECT title, zone FROM companies WHERE company_id = 123456');
  assert.deepEqual(salon.rows, [{ title: 'Beauty Studio', zone: 'America/New_York' }]);
  for (const company of companies.values()) assert.deepEqual(house.heard(company), []);
});
