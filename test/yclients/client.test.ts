/** The API client against real servers: every shape of an answer, and what is asked again and what is not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import {
  ApiError,
  type ApiTrouble,
  type CompanyApi,
  type Page,
  type RecordsQuery,
} from '../../src/yclients/api.ts';
import { inOwnTime } from '../support/own-time.ts';
import { until } from '../support/until.ts';
import { clientOf, PARTNER, platform, type Reply, rawPlatform, USER } from './platform.ts';

/** A text of the API as it may come, with what must not come out again. */
const PERSON = 'Анна Тестова +79990000001';
const ok = (data: unknown): Reply => ({ body: { success: true, data, meta: [] } });
const no = (status: number, message: string): Reply => ({
  status,
  body: { success: false, data: null, meta: { message: `${message} (${PERSON})` } },
});

/** The error that a call ends in; held to the rule that it gives nobody away. */
async function failure(asked: Promise<unknown>): Promise<ApiError> {
  const error = await asked.then(
    () => assert.fail('it did not fail'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof ApiError, String(error));
  const told = inspect(error, { depth: 8 });
  for (const secret of [PARTNER, USER, PERSON, 'Анна', '79990000001']) {
    assert.ok(!told.includes(secret), `the error gives away ${secret}`);
  }
  return error;
}

async function pagesOf(api: CompanyApi, query: RecordsQuery = {}): Promise<Page[]> {
  const pages: Page[] = [];
  for await (const page of api.records(query)) pages.push(page);
  return pages;
}

const records = (from: number, count: number) =>
  Array.from({ length: count }, (_, index) => ({ id: from + index }));

for (const [brand, accept] of [
  ['yclients', 'application/vnd.yclients.v2+json'],
  ['altegio', 'application/vnd.api.v2+json'],
] as const) {
  test(`${brand}: both halves of the authorisation and the brand's own form are asked for`, async t => {
    const side = await platform(t, () => ok({ id: 42, timezone_name: 'Europe/Moscow' }));
    const { api } = clientOf(t, side.url, { brand });
    assert.deepEqual(await api.company(), { id: 42, timezone_name: 'Europe/Moscow' });
    const [seen] = side.seen;
    assert.equal(seen?.path, '/api/v1/company/42/');
    assert.equal(seen?.headers.authorization, `Bearer ${PARTNER}, User ${USER}`);
    assert.equal(seen?.headers.accept, accept);
    assert.equal(seen?.headers['content-type'], 'application/json');
  });
}

test('every call goes where the platform expects it', async t => {
  const side = await platform(t, ({ path }) =>
    ok(/search$|services$|staff$|book_times/.test(path) ? [{ id: 1 }] : { id: 1 }),
  );
  const { api, calls } = clientOf(t, side.url);
  await api.record(7);
  await api.hooks();
  await api.saveHooks({ urls: ['https://a.test'] });
  await api.searchClients({ page: 1 });
  await api.client(5);
  await api.services();
  await api.staff();
  await api.bookTimes({ staffId: 3, day: '2026-11-24', serviceIds: [8, 9] });
  await api.bookCheck({ appointments: [] });
  await api.createRecord({ staff_id: 3 });
  await api.confirmVisit({ visitId: 11, recordId: 7, comment: 'Подтверждено клиентом' });
  await api.moveRecord(7, { datetime: '2026-11-25T10:00:00+0300' });
  await api.deleteRecord(7);
  assert.deepEqual(
    side.seen.map(({ method, path, query, body }) => [
      `${method} ${path}${query.size === 0 ? '' : `?${query}`}`,
      ...(body === undefined ? [] : [body]),
    ]),
    [
      ['GET /api/v1/record/42/7'],
      ['GET /api/v1/hooks_settings/42'],
      ['POST /api/v1/hooks_settings/42', { urls: ['https://a.test'] }],
      ['POST /api/v1/company/42/clients/search', { page: 1 }],
      ['GET /api/v1/client/42/5'],
      ['GET /api/v1/company/42/services'],
      ['GET /api/v1/company/42/staff'],
      ['GET /api/v1/book_times/42/3/2026-11-24?service_ids%5B%5D=8&service_ids%5B%5D=9'],
      ['POST /api/v1/book_check/42', { appointments: [] }],
      ['POST /api/v1/records/42', { staff_id: 3 }],
      ['PUT /api/v1/visits/11/7', { attendance: 2, comment: 'Подтверждено клиентом' }],
      ['PUT /api/v1/book_record/42/7', { datetime: '2026-11-25T10:00:00+0300' }],
      ['DELETE /api/v1/record/42/7'],
    ],
  );
  assert.ok(calls.length === 13 && calls.every(call => call.companyId === 42 && call.outcome === 'fine'));
});

/** What an answer to a read means, whether the address is held back for it, and what the message must say. */
const ANSWERS: [string, Reply, ApiTrouble, RegExp][] = [
  ['401 without a partner', no(401, 'Partner ID not specified'), 'unauthorised', /YCLIENTS_PARTNER_TOKEN/],
  [
    '401 without a user',
    no(401, 'Необходима авторизация'),
    'unauthorised',
    /user token is not accepted.*company set 42 --user-token-stdin/,
  ],
  [
    '401 without a word',
    { status: 401 },
    'unauthorised',
    /does not say which.*YCLIENTS_PARTNER_TOKEN.*YCLIENTS_USER_TOKEN/,
  ],
  ['403 without the right', no(403, 'Недостаточно прав'), 'forbidden', /lacks the right to the company/],
  ['403 at the company', no(403, 'No company management rights'), 'forbidden', /lacks the right/],
  ['403 of the application', no(403, 'Partner has no access'), 'forbidden', /connect the application/],
  ['404 in the one form', no(404, 'Не найдено'), 'not_found', /not there/],
  [
    '404 in the other form',
    { status: 404, body: { errors: { code: 404, message: PERSON }, meta: { message: PERSON } } },
    'not_found',
    /not there/,
  ],
  ['404 of the company', no(404, 'Филиал не найден'), 'forbidden', /no such company/],
  ['404 of a proxy', { status: 404, body: '<html>nginx</html>' }, 'unavailable', /stands in front/],
  ['404 without a word', { status: 404 }, 'unavailable', /without a word/],
  ['404 of another program', { status: 404, body: { detail: 'Not Found' } }, 'unreadable', /not the API’s/],
  ['422', no(422, 'Ошибка'), 'refused', /status 422/],
  ['a refusal with 200', no(200, 'Что-то не так'), 'refused', /status 200/],
  [
    'a refusal for want of rights with 200',
    no(200, 'Нет прав на управление филиалом'),
    'forbidden',
    /lacks the right/,
  ],
  ['errors with 200', { body: { errors: { code: 401, message: 'user' } } }, 'unauthorised', /user token/],
  ['an empty 429', { status: 429 }, 'limited', /too many calls/],
  ['a 429 of a proxy', { status: 429, body: '<html>' }, 'limited', /too many calls/],
  ['500', no(500, 'Internal'), 'unavailable', /status 500/],
  ['502 of a proxy', { status: 502, body: '<html>Bad gateway</html>' }, 'unavailable', /status 502/],
  ['200 of a proxy', { body: '<!doctype html><p>Технические работы' }, 'unavailable', /page for people/],
  ['403 of a proxy', { status: 403, body: '<html>blocked</html>' }, 'unavailable', /stands in front/],
  [
    'JSON cut short',
    { body: `{"success":true,"data":{"id":42,"name":"${PERSON}` },
    'unavailable',
    /broke off/,
  ],
  ['a redirect', { status: 302, headers: { location: 'https://evil.test/' } }, 'unavailable', /redirect/],
  ['a number', { body: '42' }, 'unreadable', /no object/],
  ['an object of no known shape', { body: { hello: PERSON } }, 'unreadable', /without data/],
  ['17 MB', { body: ' '.repeat(17 * 1024 * 1024) }, 'unreadable', /too long/],
];

for (const [what, reply, trouble, says] of ANSWERS) {
  test(`an answer with ${what} is ${trouble}`, async t => {
    const side = await platform(t, () => reply);
    const { api, reports, calls } = clientOf(t, side.url);
    const error = await failure(api.company());
    assert.equal(error.trouble, trouble, error.message);
    assert.match(error.message, says);
    assert.match(error.message, /^YClients, company 42, company: /);
    const passing = trouble === 'limited' || trouble === 'unavailable';
    assert.equal(side.seen.length, passing ? 3 : 1, 'what may pass is tried three times, what will not once');
    assert.deepEqual(new Set(reports.map(([outcome]) => outcome)), new Set([passing ? trouble : 'fine']));
    assert.deepEqual(new Set(calls.map(call => call.outcome)), new Set([trouble]));
  });
}

test('an answer with nothing in it is not taken for a thing', async t => {
  for (const reply of [ok(null), ok([]), { status: 204 }, { body: { success: true } }]) {
    const side = await platform(t, () => reply);
    const error = await failure(clientOf(t, side.url).api.company());
    assert.equal(error.trouble, 'unreadable');
    assert.match(error.message, /without anything in it/);
  }
});

test('a wrong content type, a byte order mark and an answer without an envelope are read all the same', async t => {
  const replies: Reply[] = [
    { body: '{"success":true,"data":{"id":1}}', headers: { 'content-type': 'text/html' } },
    { body: '\uFEFF{"success":1,"data":{"id":2}}' },
    { body: '{"id":3}' },
  ];
  const side = await platform(t, (_, earlier) => replies[earlier] ?? 'hang');
  const { api } = clientOf(t, side.url);
  assert.deepEqual(
    [await api.company(), await api.company(), await api.company()],
    [{ id: 1 }, { id: 2 }, { id: 3 }],
  );
});

test('a body shorter than it says it is broke off', async t => {
  const url = await rawPlatform(
    t,
    'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"success":true,"data":[]}',
  );
  const error = await failure(clientOf(t, url).api.company());
  assert.deepEqual([error.trouble, error.status], ['unavailable', 200]);
});

test('what speaks no HTTP, and nobody at all, is unavailable', async t => {
  const noise = await failure(clientOf(t, await rawPlatform(t, 'SSH-2.0-OpenSSH\r\n')).api.company());
  assert.deepEqual([noise.trouble, noise.status], ['unavailable', 0]);
  const nobody = await failure(clientOf(t, 'http://127.0.0.1:1').api.company());
  assert.match(nobody.message, /ECONNREFUSED/);
});

test('a server that hangs, at once or in the middle of its body, is given up in time', async t => {
  const silent = await platform(t, () => 'hang');
  const { api } = clientOf(t, silent.url, { timeoutMs: 150 });
  const { result: given, ownMs } = await inOwnTime(() => failure(api.company()));
  assert.match(given.message, /no answer within 150 ms/);
  assert.ok(ownMs < 10_000);
  const stalled = await platform(t, () => ({ body: '{"success"', headers: { 'content-length': '400' } }));
  const slow = clientOf(t, stalled.url, { timeoutMs: 150 });
  const { result: cut, ownMs: slowMs } = await inOwnTime(() => failure(slow.api.company()));
  assert.equal(cut.trouble, 'unavailable');
  assert.ok(slowMs < 10_000);
});

test('the wait that a 429 asks for goes to the budget and into the error', async t => {
  const side = await platform(t, () => ({ status: 429, headers: { 'retry-after': '7' } }));
  const { api, reports } = clientOf(t, side.url);
  assert.equal((await failure(api.company())).retryAfterMs, 7_000);
  assert.deepEqual(reports[0], ['limited', 7_000]);
});

test('a read is tried again, and only its end counts', async t => {
  const side = await platform(
    t,
    (_, earlier) => (['reset', { status: 503 }, ok({ id: 1 })] as const)[earlier] ?? 'hang',
  );
  const pauses: number[] = [];
  const { api, reports } = clientOf(t, side.url, { sleep: async pause => void pauses.push(pause) });
  assert.deepEqual(await api.company(), { id: 1 });
  assert.deepEqual(pauses, [500, 1000], 'longer each time');
  assert.deepEqual(
    reports.map(([outcome]) => outcome),
    ['unavailable', 'unavailable', 'fine'],
  );
});

const CHANGES: [string, (api: CompanyApi) => Promise<unknown>][] = [
  ['a create', api => api.createRecord({ staff_id: 1 })],
  ['hooks settings', api => api.saveHooks({ urls: [] })],
  ['a confirmation', api => api.confirmVisit({ visitId: 1, recordId: 2, comment: 'да' })],
  ['a move', api => api.moveRecord(2, { datetime: '2026-11-25T10:00:00+0300' })],
];
const DOUBTS: [string, Reply][] = [
  ['no answer', 'hang'],
  ['a connection that breaks', 'reset'],
  ['a 500', { status: 500 }],
  ['a page of a proxy', { body: '<html>' }],
];

for (const [what, change] of CHANGES) {
  for (const [end, reply] of DOUBTS) {
    test(`${what} that ends in ${end} is not asked for again, and the error says to look`, async t => {
      // Of the platform's time none is over before it has the request, however late that comes.
      const late = new AbortController();
      t.mock.method(AbortSignal, 'timeout', () => late.signal);
      const side = await platform(t, () => {
        if (reply === 'hang') late.abort();
        return reply;
      });
      const { api } = clientOf(t, side.url);
      const error = await failure(change(api));
      assert.equal(error.outcomeUnknown, true);
      assert.match(error.message, /may have been done.*look before asking again/);
      assert.equal(side.seen.length, 1);
    });
  }

  test(`${what} that was refused at the door is asked for again`, async t => {
    const side = await platform(t, (_, earlier) => (earlier === 0 ? { status: 429 } : ok({ id: 1 })));
    assert.deepEqual(await change(clientOf(t, side.url).api), { id: 1 });
    assert.equal(side.seen.length, 2);
  });
}

test('a create that did not leave is no doubt', async t => {
  const error = await failure(clientOf(t, 'http://127.0.0.1:1').api.createRecord({}));
  assert.equal(error.outcomeUnknown, false);
});

test('a delete is repeated after a doubt, and what is gone is gone', async t => {
  const side = await platform(t, (_, earlier) => (earlier === 0 ? 'reset' : no(404, 'Запись не найдена')));
  const { api } = clientOf(t, side.url);
  assert.equal(await api.deleteRecord(7), 'gone');
  assert.equal(side.seen.length, 2);
  const other = await platform(t, () => ({ status: 204 }));
  assert.equal(await clientOf(t, other.url).api.deleteRecord(7), 'deleted');
});

test('a record is null only when the API says that it is not there', async t => {
  const says = async (reply: Reply) => {
    const side = await platform(t, () => reply);
    return clientOf(t, side.url).api.record(7);
  };
  assert.equal(await says(no(404, 'Запись не найдена')), null);
  assert.deepEqual(await says(ok({ id: 7, deleted: true })), { id: 7, deleted: true });
  for (const reply of [
    { status: 404 },
    no(404, 'Компания не найдена'),
    no(403, 'Нет прав'),
    ok(null),
    ok([]),
  ]) {
    assert.notEqual((await failure(says(reply))).trouble, 'not_found');
  }
});

test('a slot is free, or taken with the platform’s code', async t => {
  const replies: Reply[] = [
    { status: 201, body: { success: true, data: null } },
    { status: 422, body: { errors: { code: 433, message: PERSON }, meta: [] } },
  ];
  const side = await platform(t, (_, earlier) => replies[earlier] ?? 'hang');
  const { api } = clientOf(t, side.url);
  assert.deepEqual(
    [await api.bookCheck({}), await api.bookCheck({})],
    [{ free: true }, { free: false, code: 433 }],
  );
});

test('pages go on to a short one, each with the whole question', async t => {
  const side = await platform(t, (_, earlier) => ok(records(earlier * 200, earlier < 2 ? 200 : 3)));
  const pages = await pagesOf(clientOf(t, side.url).api, {
    changedAfter: Date.UTC(2026, 10, 24, 9, 30, 5, 700),
    startDate: '2026-11-24',
    endDate: '2026-12-08',
    withDeleted: true,
  });
  assert.deepEqual(
    pages.map(({ number, items, last }) => [number, items.length, last]),
    [
      [1, 200, false],
      [2, 200, false],
      [3, 3, true],
    ],
  );
  assert.deepEqual(Object.fromEntries(side.seen[2]?.query ?? []), {
    page: '3',
    count: '200',
    changed_after: '2026-11-24T09:30:05',
    start_date: '2026-11-24',
    end_date: '2026-12-08',
    with_deleted: '1',
  });
});

test('pages end with an empty one, with one that repeats the last, and begin where they are told', async t => {
  const exact = await platform(t, (_, earlier) => ok(records(0, earlier === 0 ? 200 : 0)));
  const ends = (pages: Page[]) => pages.map(({ number, items, last }) => [number, items.length, last]);
  const two = [
    [1, 200, false],
    [2, 0, true],
  ];
  assert.deepEqual(ends(await pagesOf(clientOf(t, exact.url).api)), two);
  const circle = await platform(t, () => ok(records(0, 200)));
  assert.deepEqual(ends(await pagesOf(clientOf(t, circle.url).api)), two);
  assert.equal(circle.seen.length, 2);
  const later = await platform(t, () => ok(records(0, 1)));
  assert.deepEqual(ends(await pagesOf(clientOf(t, later.url).api, { fromPage: 6 })), [[6, 1, true]]);
  assert.equal(later.seen[0]?.query.get('page'), '6');
});

test('pages without an end are given up, and the error says where', async t => {
  const side = await platform(t, (_, earlier) => ok(records(earlier, 200)));
  const seen: number[] = [];
  const reading = async () => {
    for await (const { number } of clientOf(t, side.url).api.records({})) seen.push(number);
  };
  assert.match((await failure(reading())).message, /no end after 500 pages.*page 501/);
  assert.equal(seen.length, 500);
});

test('a list of PHP with holes is a list; no list is no empty list', async t => {
  const holes = await platform(t, () => ok({ 0: { id: 1 }, 2: { id: 3 } }));
  assert.deepEqual((await pagesOf(clientOf(t, holes.url).api))[0]?.items, [{ id: 1 }, { id: 3 }]);
  for (const data of [null, {}, 'none', { id: 1 }]) {
    const side = await platform(t, () => ok(data));
    assert.equal((await failure(pagesOf(clientOf(t, side.url).api))).trouble, 'unreadable');
  }
});

test('without a half of the authorisation nothing is asked, and the half is named', async t => {
  const side = await platform(t, () => ok([{ time: '12:00' }]));
  const none = clientOf(t, side.url, { partnerToken: undefined });
  assert.match(
    (await failure(none.api.company())).message,
    /partner token.*not set; set YCLIENTS_PARTNER_TOKEN/,
  );
  const { client } = clientOf(t, side.url);
  const error = await failure(client.company(42, undefined).company());
  assert.match(
    error.message,
    /user token.*not set; set YCLIENTS_USER_TOKEN.*company set 42 --user-token-stdin/,
  );
  assert.equal(error.trouble, 'unauthorised');
  const broken = await failure(client.company(42, `${USER}\r\nX-Evil: 1`).company());
  assert.match(broken.message, /user token cannot be one/);
  assert.equal(side.seen.length, 0);
  const times = await client
    .company(42, undefined)
    .bookTimes({ staffId: 1, day: '2026-11-24', serviceIds: [1] });
  assert.deepEqual(times, [{ time: '12:00' }]);
  assert.equal(side.seen[0]?.headers.authorization, `Bearer ${PARTNER}`);
});

test('calls of one company leave one after another, those of others beside them', async t => {
  const under = new Map<string, number>();
  let most = 0;
  let mostAtAll = 0;
  let release = () => {};
  const both = new Promise<void>(resolve => {
    release = resolve;
  });
  const side = await platform(t, async ({ path }) => {
    under.set(path, (under.get(path) ?? 0) + 1);
    most = Math.max(most, under.get(path) ?? 0);
    mostAtAll = Math.max(
      mostAtAll,
      [...under.values()].reduce((sum, one) => sum + one, 0),
    );
    if (mostAtAll === 2) release();
    await both;
    under.set(path, (under.get(path) ?? 0) - 1);
    return ok({ id: 1 });
  });
  const { client } = clientOf(t, side.url);
  const ask = (companyId: number) =>
    // Each time anew, as callers do who know nothing of each other.
    Array.from({ length: 5 }, () => client.company(companyId, USER).company());
  await Promise.all([...ask(1), ...ask(2)]);
  assert.deepEqual([side.seen.length, most, mostAtAll], [10, 1, 2]);
});

test('a failed call does not stop those behind it', async t => {
  const side = await platform(t, (_, earlier) => (earlier === 0 ? no(422, 'нет') : ok({ id: 2 })));
  const { api } = clientOf(t, side.url);
  const [first, second] = await Promise.allSettled([api.company(), api.company()]);
  assert.deepEqual([first?.status, second?.status], ['rejected', 'fulfilled']);
});

test('closing ends what is under way and what waits, at once', async t => {
  const side = await platform(t, () => 'hang');
  const { client, api, reports } = clientOf(t, side.url);
  const ends = Promise.all([failure(api.company()), failure(api.createRecord({}))]);
  await until(() => side.seen.length === 1, { what: 'the first call has left' });
  const { result, ownMs } = await inOwnTime(async () => {
    await client.close();
    return ends;
  });
  const [first, second] = result;
  assert.match(first.message, /stopped by us/);
  assert.match(second.message, /not asked/);
  assert.ok(ownMs < 2_000);
  assert.deepEqual(reports, [], 'our own stop says nothing about the platform');
  await client.close();
});

test('a stop ends what waits, however long it would, and lets come back what has left', async t => {
  const side = await platform(t, () => ok({ id: 1 }));
  let entered = 0;
  const gate = {
    enter: async (signal: AbortSignal) => {
      entered += 1;
      // The second finds the API paused.
      if (entered > 1)
        await new Promise((_, reject) => signal.addEventListener('abort', reject, { once: true }));
    },
    report: async () => client.stop(),
  };
  const { client } = clientOf(t, side.url, { gate });
  const [first, second] = await Promise.all([
    client.company(1, USER).company(),
    failure(client.company(2, USER).company()),
  ]);
  assert.deepEqual(first, { id: 1 });
  assert.match(second.message, /not asked, we are stopping/);
  assert.match((await failure(client.company(1, USER).company())).message, /not asked, we are stopping/);
  assert.equal(side.seen.length, 1);
});

test('a budget that cannot be asked means that nothing is asked', async t => {
  const side = await platform(t, () => ok({ id: 1 }));
  const gate = { enter: async () => Promise.reject(new Error('secret host')), report: async () => {} };
  const error = await failure(clientOf(t, side.url, { gate }).api.company());
  assert.equal(error.trouble, 'paused');
  assert.ok(!error.message.includes('secret host'));
  assert.equal(side.seen.length, 0);
});

test('a budget that cannot be told does not spoil an answer', async t => {
  const side = await platform(t, () => ok({ id: 1 }));
  const gate = { enter: async () => {}, report: async () => Promise.reject(new Error('away')) };
  assert.deepEqual(await clientOf(t, side.url, { gate }).api.createRecord({}), { id: 1 });
});
