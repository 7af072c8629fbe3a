/** The admin API, as the contract and its own description have it. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { z } from 'zod';
import { ADMIN_TOKEN, type Answer, type Company, json, send } from '../support/service.ts';
import { until } from '../support/until.ts';
import {
  assertProblem,
  type House,
  identified,
  NO_ID,
  openBusyHouse,
  openHouse,
  page,
  postPatiently,
} from './harness.ts';
import { client, event, MASTER, record, wallClock } from './salon.ts';

let house: House;
let company: Company;
let eventId: string;
let messageId: string;
/** Paths of companies whose receiver takes nothing. */
const refusing = new Set<string>();
before(async () => {
  ({ house, company, eventId, messageId } = await openBusyHouse());
  house.sink.answerWith(({ path }) => (refusing.has(path) ? 410 : 204));
});
after(() => house.close());

const openapi = z.object({
  openapi: z.string().startsWith('3.'),
  servers: z.array(z.object({ url: z.literal('/api/v1') })),
  paths: z.record(
    z.string().startsWith('/'),
    z.partialRecord(
      z.enum(['get', 'post', 'put', 'delete', 'patch']),
      z.object({
        operationId: z.string(),
        summary: z.string().min(1),
        parameters: z
          .array(
            z.object({ name: z.string(), in: z.enum(['path', 'query']), required: z.boolean().optional() }),
          )
          .default([]),
        responses: z.record(z.string(), z.object({ description: z.string() })),
      }),
    ),
  ),
});

async function described() {
  const answer = await house.service.api('GET', '/openapi.json');
  assert.equal(answer.status, 200);
  return openapi.parse(json(answer));
}

const line = z.looseObject({ msg: z.string(), request_id: z.string().optional() });

/** What the log says of the call. */
function logged({ headers }: Answer): z.infer<typeof line>[] {
  const lines = house.service.output().match(/^\{.*\}$/gm) ?? [];
  return lines
    .map(text => line.parse(JSON.parse(text)))
    .filter(one => one.request_id === headers['x-request-id']);
}

/** The same, waiting for it. */
async function linesOf(answer: Answer): Promise<z.infer<typeof line>[]> {
  await until(() => logged(answer).length > 0, { what: 'the call is in the log' });
  return logged(answer);
}

type Operation = { method: string; template: string; path: string; body: unknown; statuses: Set<string> };

/** Every operation of the description, with things that exist in place of its parameters. */
async function operations(values: Readonly<Record<string, string>>): Promise<Operation[]> {
  const { paths } = await described();
  return Object.entries(paths).flatMap(([template, item]) =>
    Object.entries(item).map(([method, operation]) => ({
      method: method.toUpperCase(),
      template,
      path: template.replaceAll(
        /\{(\w+)\}/g,
        (_, name: string) => values[`${template} ${name}`] ?? values[name] ?? '?',
      ),
      body: bodies[`${method.toUpperCase()} ${template}`],
      statuses: new Set(Object.keys(operation?.responses ?? {})),
    })),
  );
}

const bodies: Record<string, unknown> = {
  'POST /companies': { companyId: 70_001, title: 'Василёк', zone: 'Europe/Moscow' },
  'PATCH /companies/{company}': {
    title: 'Василёк и мята',
    source: 'poll',
    verify: 'always',
    pollMs: 30_000,
    userToken: 'canary-user-token-77',
  },
  'PUT /companies/{company}/clients/{client}/addresses/{channel}': { address: '123456789' },
  // No reminders, as the houses of these tests have it: nothing is left to do once all is told.
  'PUT /companies/{company}/policy': { reminders: { at: [] } },
  'POST /companies/{company}/policy/preview': { startsLocal: '2031-05-20T14:30' },
  'POST /policy/validate': {},
  'POST /templates/test': {
    locale: 'ru',
    kind: 'booked',
    source: 'Запись: {{ after.when }}\n---\nЖдём вас.',
  },
  'PUT /companies/{company}/templates/{locale}/{kind}': {
    source: 'Запись: {{ after.when }}\n---\nЖдём вас.',
  },
  'POST /companies/{company}/clients/search': { phone: '8 (900) 000-00-01' },
  'POST /companies/{company}/clients/{client}/consents': { granted: false, reason: 'said so at the desk' },
  'POST /companies/{company}/team': { role: 'staff', staffId: 78, channel: 'console' },
  'PUT /companies/{company}/team/{member}/others': { others: [{ channel: 'webhook' }] },
  'POST /companies/{company}/team/invite': { role: 'staff', staffId: 2_835_418 },
  'POST /events/replay': { state: 'dead', company: 70_001 },
  'POST /messages/resend': { state: 'failed', company: 70_001 },
};

describe('the API', { concurrency: 8 }, () => {
  test('is answered in time where the database is not, and what was asked for may be done all the same', async () => {
    const { companyId } = await house.company();
    const holder = await house.pool.connect();
    try {
      await holder.query('BEGIN');
      await holder.query('SELECT FROM companies WHERE company_id = $1 FOR UPDATE', [companyId]);
      const late = await house.service.api('PATCH', `/companies/${companyId}`, { title: 'Поздно' });
      assertProblem(late, 503);
      assert.match(late.body.toString(), /may be done all the same: look before you repeat it/);
    } finally {
      await holder.query('ROLLBACK');
      holder.release();
    }
    const titled = () =>
      house.pool.query("SELECT FROM companies WHERE company_id = $1 AND title = 'Поздно'", [companyId]);
    await until(async () => (await titled()).rowCount === 1, { what: 'the change is made' });
  });

  /** A notice that its receiver refused, who takes everything from now on. */
  async function failedMessage() {
    const own = await house.company();
    refusing.add(`/${own.companyId}`);
    await house.accept(own, record(own.companyId, 1, 'create'));
    await house.settled(own);
    refusing.delete(`/${own.companyId}`);
    const listed = await house.service.api('GET', `/messages?company=${own.companyId}&state=failed`);
    return { own, failedId: String(page.parse(json(listed)).items[0]?.id) };
  }

  /** A notice that waits until it may leave. */
  async function dueMessage() {
    const own = await house.company({ settleMs: 600_000 });
    await house.accept(own, record(own.companyId, 1, 'create'));
    const dueId = await until(
      async () => {
        const listed = await house.service.api('GET', `/messages?company=${own.companyId}&state=due`);
        return page.parse(json(listed)).items[0]?.id;
      },
      { what: 'a notice is due' },
    );
    return { own, dueId: String(dueId) };
  }

  test('cancels a message that is due, once; its company hears nothing of it', async () => {
    const { own, dueId } = await dueMessage();
    const answer = await house.service.api('POST', `/messages/${dueId}/cancel`);
    assert.deepEqual([answer.status, json(answer)], [200, { id: dueId, state: 'cancelled' }]);
    const again = await house.service.api('POST', `/messages/${dueId}/cancel`);
    assertProblem(again, 409);
    assert.match(again.body.toString(), /is not cancelled: it is cancelled already/);
    await house.settled(own);
    assert.deepEqual(house.heard(own), []);
  });

  test('sends a message after all that reached nobody, one or all, and says why another is not', async () => {
    const { own, failedId } = await failedMessage();
    const tries = () => house.sink.deliveries.filter(({ path }) => path === `/${own.companyId}`).length;
    const before = tries();
    const dry = await house.service.api('POST', '/messages/resend', {
      ...{ state: 'failed', company: own.companyId, dryRun: true },
    });
    assert.deepEqual(json(dry), { due: 1, taken: 0, more: false, dryRun: true });
    const answer = await house.service.api('POST', `/messages/${failedId}/resend`);
    assert.deepEqual([answer.status, json(answer)], [200, { id: failedId, state: 'due' }]);
    await until(() => tries() === before + 1, { what: 'it is heard' });
    await house.settled(own);
    const again = await house.service.api('POST', `/messages/${failedId}/resend`);
    assertProblem(again, 409);
    assert.match(again.body.toString(), /took it, so it counts as told/);
    const all = await house.service.api('POST', '/messages/resend', {
      ...{ state: 'failed', company: own.companyId },
    });
    assert.deepEqual(json(all), { due: 0, taken: 0, more: false, dryRun: false });
    assert.deepEqual(logged(dry), [], 'what was only tried is no change');
    const wrong = await house.service.api('POST', '/messages/resend', { state: 'sent' });
    assertProblem(wrong, 400);
  });

  test('describes what the contract names', async () => {
    const { paths } = await described();
    const named: [path: string, method: 'get' | 'post'][] = [
      ['/events', 'get'],
      ['/events/{id}', 'get'],
      ['/events/{id}/replay', 'post'],
      ['/bookings/{company}/{record}', 'get'],
      ['/events/replay', 'post'],
      ['/messages', 'get'],
      ['/messages/{id}/resend', 'post'],
      ['/messages/{id}/cancel', 'post'],
      ['/companies', 'post'],
    ];
    for (const [path, method] of named) assert.ok(paths[path]?.[method], `${method} ${path}`);
    const ids = Object.values(paths).flatMap(item =>
      Object.values(item).map(operation => operation?.operationId),
    );
    assert.equal(new Set(ids).size, ids.length);
    for (const [path, item] of Object.entries(paths)) {
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      for (const operation of Object.values(item)) {
        const declared = operation?.parameters
          .filter(parameter => parameter.in === 'path')
          .map(({ name }) => name);
        assert.deepEqual(declared, inPath, path);
      }
    }
  });

  test('answers every described operation as described', async () => {
    const spare = await house.company();
    const added = await house.service.api('POST', `/companies/${company.companyId}/team`, {
      ...{ role: 'staff', staffId: 77, channel: 'console' },
    });
    const { failedId } = await failedMessage();
    const { dueId } = await dueMessage();
    const values = {
      member: String(z.object({ memberId: z.number() }).parse(json(added)).memberId),
      company: String(company.companyId),
      '/companies/{company} company': String(spare.companyId),
      '/events/{id} id': eventId,
      '/events/{id}/replay id': eventId,
      '/messages/{id} id': messageId,
      '/messages/{id}/resend id': failedId,
      '/messages/{id}/cancel id': dueId,
      record: '1',
      client: String(client(1).id),
      channel: 'telegram',
      locale: 'ru',
      kind: 'booked',
    };
    const silent: Answer[] = [];
    for (const { method, template, path, body, statuses } of await operations(values)) {
      const answer = await house.service.api(method, path, body);
      assert.ok(
        answer.status >= 200 && answer.status < 300,
        `${method} ${path}: ${answer.status} ${answer.body}`,
      );
      assert.ok(
        statuses.has(String(answer.status)),
        `${method} ${template} does not describe ${answer.status}`,
      );
      assert.match(String(answer.headers['content-type']), /^application\/json\b/);
      assert.equal(typeof json(answer), 'object');
      const changes = method !== 'GET' && !/\/(preview|validate|test|search)$/.test(template);
      if (!changes) silent.push(answer);
      else {
        const [said, ...more] = await linesOf(answer);
        assert.equal(said?.operation, `${method} ${template}`);
        if (template.startsWith('/events/{id}')) assert.equal(said?.event, eventId);
        else if (template.startsWith('/messages/{id}')) assert.equal(said?.message, path.split('/')[2]);
        else if (/^\/(events|messages)\//.test(template)) assert.equal(said?.company_id, undefined);
        else assert.equal(said?.company_id, Number(path.split('/')[2] ?? 70_001));
        assert.deepEqual(more, []);
      }
    }
    // Whatever they wrote is in the log by now: a change that came after all of them is.
    await linesOf(await house.service.api('POST', `/events/${eventId}/replay`));
    for (const answer of silent) assert.deepEqual(logged(answer), []);
  });

  test('lets nobody in without the token, by any described operation', async () => {
    const values = {
      company: '1',
      id: NO_ID,
      record: '1',
      client: '1',
      channel: 'telegram',
      locale: 'ru',
      kind: 'booked',
      member: '1',
    };
    const all = await operations(values);
    assert.ok(all.length >= 6);
    const refused: Record<string, string>[] = [
      { authorization: '' },
      { authorization: `Bearer ${ADMIN_TOKEN}x` },
      { authorization: `Bearer ${ADMIN_TOKEN.slice(0, -1)}` },
      { authorization: 'Bearer ' },
      { authorization: `Basic ${Buffer.from(`admin:${ADMIN_TOKEN}`).toString('base64')}` },
      { authorization: ADMIN_TOKEN },
      { authorization: '', cookie: `token=${ADMIN_TOKEN}` },
    ];
    const tried: number[] = [];
    const tryAll = async (method: string, path: string, body: unknown, headers: Record<string, string>) => {
      const answer = await house.service.api(method, path, body, headers);
      // Who goes on guessing is refused as one who guesses.
      assertProblem(answer, answer.status === 429 ? 429 : 401);
      const waitSeconds = answer.headers['retry-after'];
      if (answer.status === 429)
        assert.ok(Number(waitSeconds) >= 1 && Number(waitSeconds) <= 60, waitSeconds);
      else assert.equal(waitSeconds, undefined);
      tried.push(answer.status);
      if (answer.status !== 401) return;
      assert.deepEqual(
        (await linesOf(answer)).map(({ msg, status, reason }) => [msg, status, reason]),
        [['request refused', 401, 'wrong_token']],
      );
    };
    for (const headers of refused) await tryAll('GET', '/events', undefined, headers);
    await tryAll('GET', `/events?token=${ADMIN_TOKEN}`, undefined, { authorization: '' });
    for (const { method, path, body } of all) await tryAll(method, path, body, { authorization: '' });
    for (const { method, path, body } of all) {
      await tryAll(method, path, body, { authorization: `Bearer ${ADMIN_TOKEN}x` });
    }
    assert.equal(tried[0], 401);
    assert.ok(tried.includes(429), `after ${tried.length} guesses nobody is slowed down`);
    assert.equal(
      (await house.service.api('GET', '/stats')).status,
      200,
      'who has the token is let in all the same',
    );
    const { rows } = await house.pool.query('SELECT FROM companies WHERE company_id = 1');
    assert.equal(rows.length, 0);
  });

  test('says 404 of what is not there and 400 of what cannot be, as problems', async () => {
    const missing: [string, string][] = [
      ['GET', `/events/${NO_ID}`],
      ['POST', `/events/${NO_ID}/replay`],
      ['GET', `/messages/${NO_ID}`],
      ['POST', `/messages/${NO_ID}/resend`],
      ['POST', `/messages/${NO_ID}/cancel`],
      ['GET', `/bookings/${company.companyId}/987654321`],
      ['GET', '/bookings/2147483647/1'],
      ['POST', '/companies/2147483647/rotate-key'],
      ['DELETE', '/companies/2147483647'],
      ['GET', '/nothing'],
      ['GET', '/events/'],
      ['PATCH', '/stats'],
    ];
    for (const [method, path] of missing) {
      const answer = await house.service.api(method, path);
      assertProblem(answer, method === 'PATCH' && answer.status === 405 ? 405 : 404);
    }
    const wrong = [
      '/events/x',
      '/events?limit=0',
      '/events?limit=201',
      '/events?limit=ten',
      '/events?limit=1e2x',
      '/events?cursor=x',
      '/events?company=-1',
      '/events?company=2147483648',
      '/events?record=1.5',
      '/events?state=eaten',
      '/messages?state=eaten',
      '/events?limit=1&limit=2',
      '/messages?limit=-1',
      '/messages?cursor=%00',
      '/messages/1',
      '/bookings/x/1',
      '/bookings/1/x',
      '/bookings/1/99999999999999999999',
    ];
    for (const path of wrong) {
      const answer = await house.service.api('GET', path);
      assert.equal(answer.status, 400, `${path}: ${answer.status} ${answer.body}`);
      assertProblem(answer, 400);
    }
  });

  test('refuses a text with U+0000 in it, wherever it stands, and says so', async () => {
    const id = company.companyId;
    const member = { role: 'administrator', channel: 'email', address: 'a\0@studio.test' };
    const tries: [string, string, unknown?][] = [
      ['POST', `/companies/${id}/team`, member],
      ['POST', `/companies/${id}/team/invite`, { role: 'administrator', name: 'О\0ля' }],
      ['PUT', `/companies/${id}/clients/1/addresses/email`, { address: 'a\0@studio.test' }],
      ['PATCH', `/companies/${id}`, { title: 'Студия\0' }],
      ['PATCH', `/companies/${id}`, { botApiPrefix: 'x\0' }],
      ['PUT', `/companies/${id}/templates/ru/booked`, { source: 'Ждём\0' }],
      ['PUT', `/companies/${id}/policy`, { 'te\0ll': {} }],
      ['POST', `/companies/${id}/clients/1/consents`, { granted: true, reason: 'по\0телефону' }],
      ['POST', `/companies/${id}/clients/search`, { phone: '+7900 \0 222' }],
      ['GET', '/events?resource=%00'],
    ];
    for (const [method, path, body] of tries) {
      const answer = await house.service.api(method, path, body);
      assertProblem(answer, 400);
      assert.match(answer.body.toString(), /U\+0000/, `${method} ${path}: ${answer.body}`);
    }
  });

  test('gives pages without gaps or repeats, newest first, while more comes in', async () => {
    const own = await house.company();
    const ids: string[] = [];
    for (let id = 1; id <= 53; id += 1) {
      ids.push((await house.accept(own, record(own.companyId, id, 'create'))).id);
    }
    await house.settled(own);
    const walk = async (path: string, limit: number) => {
      const seen: string[] = [];
      let cursor = '';
      for (;;) {
        const answer = await house.service.api(
          'GET',
          `${path}?company=${own.companyId}&limit=${limit}${cursor}`,
        );
        assert.equal(answer.status, 200, answer.body.toString());
        const { items, next } = page.parse(json(answer));
        assert.ok(items.length <= limit);
        seen.push(...items.map(item => identified.parse(item).id));
        await house.accept(own, record(own.companyId, 1000 + seen.length + limit * 1000, 'create'));
        if (next === null) return seen;
        cursor = `&cursor=${next}`;
      }
    };
    const { rows } = await house.pool.query<{ id: string }>(
      'SELECT id FROM messages WHERE company_id = $1 ORDER BY id DESC',
      [own.companyId],
    );
    assert.deepEqual(await walk('/events', 7), ids.toReversed());
    const messages = (await walk('/messages', 5)).slice(-rows.length);
    assert.deepEqual(
      messages,
      rows.map(({ id }) => id),
    );
    const exact = await house.service.api('GET', `/events?company=${own.companyId}&record=7`);
    assert.deepEqual(
      page.parse(json(exact)).items.map(item => item.id),
      [ids[6]],
    );
  });

  test('ends the walk at a page that is exactly full', async () => {
    const own = await house.company();
    for (let id = 1; id <= 6; id += 1) await house.accept(own, record(own.companyId, id, 'create'));
    const path = `/events?company=${own.companyId}&limit=3`;
    const first = page.parse(json(await house.service.api('GET', path)));
    const second = page.parse(json(await house.service.api('GET', `${path}&cursor=${first.next}`)));
    assert.equal(second.items.length, 3);
    if (second.next === null) return;
    const third = page.parse(json(await house.service.api('GET', `${path}&cursor=${second.next}`)));
    assert.deepEqual(third, { items: [], next: null });
  });

  test('filters events by company, state and resource', async () => {
    const own = await house.company();
    await house.accept(own, event(own.companyId, 'staff', 1, 'create', { id: 1, name: 'Ольга' }));
    await house.accept(own, record(own.companyId, 1, 'create'));
    await house.settled(own);
    const filtered = async (query: string) =>
      page.parse(json(await house.service.api('GET', `/events?company=${own.companyId}&${query}`))).items
        .length;
    assert.equal(await filtered('state=done'), 2);
    assert.equal(await filtered('state=dead'), 0);
    assert.equal(await filtered('resource=staff'), 1);
    assert.equal(await filtered('resource=good'), 0);
  });

  test('shows an event with its payload, a message with its tries, a booking with what was told and its history', async () => {
    const own = await house.company();
    const body = record(own.companyId, 5, 'create');
    const { id } = await house.accept(own, body);
    const [message] = await house.heardInTheEnd(own);
    const shown = z
      .object({ id: z.string(), eventType: z.string(), state: z.string(), payload: z.unknown() })
      .parse(json(await house.service.api('GET', `/events/${id}`)));
    assert.deepEqual([shown.id, shown.eventType, shown.state], [id, 'record.created', 'done']);
    assert.deepEqual(shown.payload, body);
    const sent = z
      .object({
        id: z.string(),
        state: z.string(),
        text: z.string(),
        attemptsMade: z.array(z.object({ outcome: z.string() })),
      })
      .parse(json(await house.service.api('GET', `/messages/${message?.id}`)));
    assert.deepEqual(
      [sent.state, sent.text, sent.attemptsMade],
      ['sent', message?.text, [{ outcome: 'sent' }]],
    );
    const seen = z
      .object({
        state: z.string(),
        startsLocal: z.string(),
        staffName: z.string(),
        told: z.record(
          z.string(),
          z.object({ facts: z.object({ status: z.string(), startsLocal: z.string() }) }),
        ),
        history: z.array(z.object({ kind: z.string(), eventId: z.string() })),
      })
      .parse(json(await house.service.api('GET', `/bookings/${own.companyId}/5`)));
    const startsLocal = wallClock(7).replace(' ', 'T');
    assert.deepEqual([seen.state, seen.startsLocal, seen.staffName], ['waiting', startsLocal, MASTER.name]);
    assert.deepEqual(
      Object.values(seen.told).map(({ facts }) => facts.status),
      ['booked'],
    );
    assert.deepEqual(
      seen.history.map(({ kind, eventId: by }) => [kind, by]),
      [['created', id]],
    );
  });

  test('puts a dead event back, and refuses one that nobody can read', async () => {
    const own = await house.company();
    const { id } = await house.accept(own, record(own.companyId, 1, 'create'));
    await house.settled(own);
    await house.pool.query(
      `UPDATE webhook_events SET state = 'dead', processed_at = NULL, attempts = 99, error = 'x' WHERE id = $1`,
      [id],
    );
    assert.equal((await house.service.api('POST', `/events/${id}/replay`)).status, 200);
    await until(
      async () =>
        z.object({ state: z.string() }).parse(json(await house.service.api('GET', `/events/${id}`))).state ===
        'done',
      { what: 'the event is done' },
    );
    assert.equal((await house.heardInTheEnd(own)).length, 1);
    const unreadable = await send(own.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{',
    });
    assert.equal(unreadable.status, 400);
    const listed = page.parse(
      json(await house.service.api('GET', `/events?company=${own.companyId}&state=quarantined`)),
    );
    const answer = await house.service.api('POST', `/events/${String(listed.items[0]?.id)}/replay`);
    assertProblem(answer, 409);
  });

  test('adds a company whose URL works at once, once, and refuses one that makes no sense', async () => {
    const added = await house.service.api('POST', '/companies', {
      companyId: 70_002,
      title: 'Мак',
      zone: 'Asia/Almaty',
      route: ['webhook'],
      webhookUrl: 'https://bot.example/hook',
    });
    assert.equal(added.status, 200);
    const made = z
      .object({ companyId: z.number(), url: z.url(), outboundSecret: z.string().optional() })
      .parse(json(added));
    const staff = event(70_002, 'staff', 1, 'create', { id: 1, name: 'Ольга' });
    const first = await postPatiently(made.url, staff);
    assert.equal(first.status, 200, first.body.toString());
    assertProblem(
      await house.service.api('POST', '/companies', { companyId: 70_002, title: 'Мак', zone: 'Asia/Almaty' }),
      409,
    );
    const good = { companyId: 70_003, title: 'Мак', zone: 'Asia/Almaty' };
    const homeless = await house.service.api('POST', '/companies', { ...good, route: ['webhook'] });
    assertProblem(homeless, 409);
    assert.match(homeless.body.toString(), /names webhook, and it has no webhook URL/);
    const wrong: Record<string, unknown> = {
      'no id': { ...good, companyId: undefined },
      'id 0': { ...good, companyId: 0 },
      'an id too large': { ...good, companyId: 2_147_483_648 },
      'an id of text': { ...good, companyId: 'x' },
      'no title': { ...good, title: '' },
      'a title too long': { ...good, title: 'я'.repeat(201) },
      'no zone': { ...good, zone: undefined },
      'a zone of nowhere': { ...good, zone: 'Europe/Nowhere' },
      'a zone without summer time': { ...good, zone: '+03:00' },
      'a channel that is not there': { ...good, route: ['pigeon'] },
      'no channel': { ...good, route: [] },
      'a channel twice': { ...good, route: ['console', 'console'] },
      'a URL that is none': { ...good, webhookUrl: 'not a url' },
      'a URL of a file': { ...good, webhookUrl: 'file:///etc/passwd' },
      'a URL of a script': { ...good, webhookUrl: 'javascript:alert(1)' },
      'a settle time below 0': { ...good, settleMs: -1 },
      'a language that is not there': { ...good, locale: 'fr' },
      'a brand that is not there': { ...good, brand: 'other' },
      'a list': [good],
      'a text': 'text',
      'no JSON': '{"companyId":',
    };
    for (const [what, body] of Object.entries(wrong)) {
      const answer = await house.service.api('POST', '/companies', body);
      assert.equal(answer.status, 400, `${what}: ${answer.status} ${answer.body}`);
      assertProblem(answer, 400);
    }
    assertProblem(
      await house.service.api('POST', '/companies', JSON.stringify(good), { 'content-type': 'text/plain' }),
      415,
    );
    assertProblem(
      await house.service.api(
        'POST',
        '/companies',
        // Little beyond the limit: what is still being sent when the answer comes ends in EPIPE.
        JSON.stringify({ ...good, title: 'x'.repeat(70_000) }),
      ),
      413,
    );
    const { rows } = await house.pool.query('SELECT FROM companies WHERE company_id = 70003');
    assert.equal(rows.length, 0);
  });

  test('writes down every change it makes, without a secret', async () => {
    const own = await house.company();
    const rotated = await house.service.api('POST', `/companies/${own.companyId}/rotate-key`);
    const key = z.object({ url: z.string() }).parse(json(rotated)).url.slice(-43);
    await house.service.api('DELETE', `/companies/${own.companyId}`);
    const { rows } = await house.pool.query<{ action: string; text: string }>(
      'SELECT action, audit_log::text AS text FROM audit_log WHERE company_id = $1 ORDER BY id',
      [own.companyId],
    );
    assert.equal(rows.length, 3, rows.map(({ action }) => action).join());
    for (const { text } of rows)
      for (const secret of [own.key, key, ADMIN_TOKEN]) assert.ok(!text.includes(secret));
  });

  test('and its neighbours live apart from the public port, and the other way round', async () => {
    for (const path of ['/livez', '/readyz', '/metrics']) {
      // A database that is slow for two seconds makes nothing ready.
      await until(
        async () => (await send(`${house.service.adminUrl}${path}`, { method: 'GET' })).status === 200,
        {
          what: `${path} answers`,
        },
      );
      assert.equal((await send(`${house.service.publicUrl}${path}`, { method: 'GET' })).status, 404, path);
    }
    const { pathname } = new URL(company.url);
    const stray = await send(`${house.service.adminUrl}${pathname}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    });
    assert.equal(stray.status, 404);
    const metrics = await send(`${house.service.adminUrl}/metrics`, { method: 'GET' });
    assert.match(metrics.body.toString(), /^# TYPE otklik_\w+ counter$/m);
  });
});

describe('the webhook channel of a service that may not call private addresses', () => {
  test('calls none, however its URL is spelled', async t => {
    const strict = await openHouse({ WEBHOOK_ALLOW_PRIVATE: 'false' });
    t.after(() => strict.close());
    const { port } = new URL(strict.sink.url);
    const spellings = [
      '127.0.0.1',
      'localhost',
      '[::1]',
      '[::ffff:127.0.0.1]',
      '[::ffff:7f00:1]',
      '2130706433',
      '0x7f000001',
      '0177.0.0.1',
      '127.1',
      '0.0.0.0',
      '[::]',
      '[64:ff9b::7f00:1]',
      '[2002:7f00:1::]',
    ];
    let companyId = 80_000;
    const made: Company[] = [];
    for (const host of spellings) {
      companyId += 1;
      const answer = await strict.service.api('POST', '/companies', {
        companyId,
        title: 'Тест',
        zone: 'Europe/Moscow',
        settleMs: 0,
        route: ['webhook'],
        webhookUrl: `http://${host}:${port}/${companyId}`,
      });
      if (answer.status === 400) continue;
      assert.equal(answer.status, 200, `${host}: ${answer.body}`);
      made.push(z.object({ companyId: z.number(), url: z.string(), key: z.string() }).parse(json(answer)));
    }
    for (const own of made) await strict.accept(own, record(own.companyId, 1, 'create'));
    await until(
      async () => {
        const { rows } = await strict.pool.query('SELECT DISTINCT company_id FROM attempts');
        return rows.length === made.length;
      },
      { what: 'each has been tried', timeoutMs: 30_000 },
    );
    assert.deepEqual(strict.sink.deliveries, []);
  });
});
