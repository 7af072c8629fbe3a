/** A salon connects by the marketplace: whose link is believed, what the platform is told, what a second press does. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { createConnector } from '../../src/connect.ts';
import { createLog } from '../../src/log.ts';
import { removeCompany, stopCompany } from '../../src/store/companies.ts';
import { createVault } from '../../src/vault.ts';
import { ApiError } from '../../src/yclients/api.ts';
import type { Activation } from '../../src/yclients/marketplace.ts';
import { APPLICATION_ID, createRig, hmac, PARTNER_TOKEN, type Rig, userData } from './marketplace-rig.ts';

let rig: Rig;
beforeEach(async () => {
  rig = await createRig();
});
afterEach(() => rig.close());

const record = (companyId: number, id = 1) => ({
  ...{ company_id: companyId, resource: 'record', resource_id: id, status: 'create' },
  data: { id, company_id: companyId, deleted: false },
});

describe('the signature', () => {
  test('is over the decoded bytes', async () => {
    const answer = await rig.press({ salon_id: '11', ...userData() });
    assert.equal(answer.statusCode, 200, answer.body);
    assert.match(answer.body, /Салон 11 \(Салон «Полынь»\) подключён\./);
  });

  test('over the base64 text, as the vendor’s own sample makes it, is refused', async () => {
    const { user_data } = userData();
    const answer = await rig.press({ salon_id: '11', user_data, user_data_sign: hmac(user_data) });
    assert.equal(answer.statusCode, 403);
    assert.equal(await rig.company(11), undefined);
    assert.equal(rig.platform.activations.length, 0);
    assert.equal(await rig.rejected('connect_signature'), 1);
  });

  test('that is wrong, of odd length, too long or no hex is refused', async () => {
    const { user_data, user_data_sign: good } = userData();
    const last = good.endsWith('0') ? '1' : '0';
    for (const sign of [
      `${good.slice(0, -1)}${last}`,
      good.slice(0, -1),
      `${good}0`,
      `${good}00`,
      `${good.slice(0, -1)}g`,
      '0'.repeat(64),
      '',
      'x'.repeat(500),
    ]) {
      const answer = await rig.press({ salon_id: '11', user_data, user_data_sign: sign });
      assert.equal(answer.statusCode, 403, sign);
    }
    assert.equal(rig.platform.activations.length, 0);
  });

  test('in upper case is the same signature', async () => {
    const { user_data, user_data_sign } = userData();
    const sign = user_data_sign.toUpperCase();
    assert.equal((await rig.press({ salon_id: '11', user_data, user_data_sign: sign })).statusCode, 200);
  });

  test('that holds for other data is refused', async () => {
    const { user_data } = userData({ salon_name: 'Другой' });
    const { user_data_sign } = userData();
    assert.equal((await rig.press({ salon_id: '11', user_data, user_data_sign })).statusCode, 403);
  });

  test('survives a plus that was not percent-encoded', async () => {
    const names = Array.from({ length: 50 }, (_, length) =>
      userData({ salon_name: `${'~'.repeat(length)}>>>` }),
    );
    const plus = names.find(({ user_data }) => user_data.includes('+'));
    assert.ok(plus);
    const query = `salon_id=11&user_data=${plus.user_data}&user_data_sign=${plus.user_data_sign}`;
    const answer = await rig.request({ method: 'GET', url: `/connect/yclients?${query}` });
    assert.equal(answer.statusCode, 200, answer.body);
  });
});

test('a link that lacks something, or says it twice, is refused before anything happens', async () => {
  const good = userData();
  const notJson = Buffer.from('[1]');
  const refused: ReadonlyArray<readonly [string, number]> = [
    ['', 400],
    ['salon_id=11', 400],
    [`salon_id=11&user_data=${encodeURIComponent(good.user_data)}`, 400],
    [`salon_id=11&user_data_sign=${good.user_data_sign}`, 400],
    [`salon_id=11&${new URLSearchParams(good)}&user_data_sign=${good.user_data_sign}`, 400],
    [`salon_id=11&user_data=%00&user_data_sign=${good.user_data_sign}`, 400],
    [`salon_id=11&user_data=${'A'.repeat(6001)}&user_data_sign=${good.user_data_sign}`, 400],
    [`salon_id=11&user_data=${notJson.toString('base64')}&user_data_sign=${hmac(notJson)}`, 400],
    [`${new URLSearchParams(good)}`, 400],
    ...['0', '-1', '1.5', '1e3', 'x', '99999999999', '2147483648', ''].map(
      id => [`salon_id=${id}&${new URLSearchParams(good)}`, 400] as const,
    ),
    [`salon_id=11&salon_ids[0]=x&${new URLSearchParams(good)}`, 400],
    [
      `${Array.from({ length: 51 }, (_, index) => `salon_ids[${index}]=${index + 1}`).join('&')}&${new URLSearchParams(good)}`,
      400,
    ],
  ];
  for (const [query, status] of refused) {
    const url = `/connect/yclients?${query}`;
    // An address of its own for each, so that the limit on presses plays no part.
    const answer = await rig.request({
      method: 'GET',
      url,
      remoteAddress: `10.0.0.${refused.findIndex(([q]) => q === query)}`,
    });
    assert.equal(answer.statusCode, status, query.slice(0, 120));
    assert.match(answer.headers['content-type']?.toString() ?? '', /^text\/html/);
  }
  assert.equal(rig.platform.activations.length, 0);
});

test('the platform is told the URL of the salon, and events sent there are taken', async () => {
  await rig.press({ salon_id: '11', ...userData() });
  const [activation] = rig.platform.activations;
  assert.equal(activation?.authorization, `Bearer ${PARTNER_TOKEN}`);
  const { api_key: apiKey, webhook_urls: urls, ...rest } = activation?.body ?? {};
  assert.deepEqual(rest, { salon_id: 11, application_id: APPLICATION_ID, channels: [] });
  assert.match(String(apiKey), /^[0-9a-f]{64}$/);
  assert.match(String(urls), /^https:\/\/otklik\.test\/webhooks\/yclients\/[\w-]{43}$/);
  assert.equal((await rig.event(String(urls), record(11))).statusCode, 200);
  assert.deepEqual(await rig.company(11), {
    ...{ title: 'Салон у моря', zone: 'Asia/Almaty', locale: 'ru', route: ['console'], removed: false },
    ...{ stopped_because: null, keys: 1 },
  });
});

test('several salons at once are connected each with a URL of its own, and reported each', async () => {
  rig.platform.onActivation(salonId => (salonId === 13 ? 403 : 201));
  const query = { 'salon_ids[0]': '12', 'salon_ids[1]': '13', 'salon_ids[2]': '14', ...userData() };
  const answer = await rig.press(query);
  assert.equal(answer.statusCode, 502);
  assert.match(answer.body, /Салон 12 .*подключён/);
  assert.match(answer.body, /Салон 13 .*не подключён: платформа отказала/);
  assert.match(answer.body, /Салон 14 .*подключён/);
  assert.match(answer.body, /ещё раз/);
  assert.equal(new Set([12, 13, 14].flatMap(rig.urls)).size, 3);
  assert.equal((await rig.company(13))?.removed, true, 'what the platform refused is not ours');
  assert.equal((await rig.event(String(rig.urls(13)[0]), record(13))).statusCode, 404);
});

test('a name with markup in it is text on the page, and the page can run nothing', async () => {
  const salonName = `<script>alert(1)</script>"'&<img src=x onerror=alert(1)>`;
  const answer = await rig.press({ salon_id: '11', ...userData({ salon_name: salonName }) });
  assert.ok(!answer.body.includes('<script'), answer.body);
  assert.ok(!answer.body.includes('<img'), answer.body);
  assert.match(answer.body, /&lt;script&gt;alert\(1\)&lt;\/script&gt;&quot;&#39;&amp;/);
  const policy = answer.headers['content-security-policy']?.toString() ?? '';
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe|http/);
  assert.equal(answer.headers['x-content-type-options'], 'nosniff');
  assert.equal(answer.headers['referrer-policy'], 'no-referrer');
  assert.equal(answer.headers['cache-control'], 'no-store');
});

test('a second press makes a new URL, the old one works on, and settings stay', async () => {
  await rig.press({ salon_id: '11', ...userData() });
  await rig.pool.query(`UPDATE companies SET route = '{webhook}', locale = 'en' WHERE company_id = 11`);
  await rig.press({ salon_id: '11', ...userData() });
  const [first, second] = rig.urls(11);
  assert.ok(first !== undefined && second !== undefined && first !== second);
  for (const [index, url] of [first, second].entries()) {
    assert.equal((await rig.event(url, record(11, index + 1))).statusCode, 200);
  }
  const company = await rig.company(11);
  assert.deepEqual(company?.route, ['webhook']);
  assert.equal(company?.locale, 'en');
  assert.equal(company?.keys, 1, 'only the newest lives without end');
});

test('two presses at the same moment are one activation', async () => {
  const query = { salon_id: '11', ...userData() };
  const answers = await Promise.all([rig.press(query), rig.press(query), rig.press(query)]);
  assert.deepEqual(
    answers.map(({ statusCode }) => statusCode),
    [200, 200, 200],
  );
  assert.equal(rig.platform.activations.length, 1);
});

test('two presses at two processes are one activation, and the URL that the platform has lives without end', async () => {
  const [asked, answer] = [Promise.withResolvers<void>(), Promise.withResolvers<Activation>()];
  const told: string[] = [];
  const connector = (activate: () => Promise<Activation>) =>
    createConnector({
      ...{
        pool: rig.pool,
        vault: createVault(Buffer.alloc(32, 7)),
        log: createLog('silent'),
        brand: 'yclients',
      },
      webhookUrl: key => `https://otklik.test/webhooks/yclients/${key}`,
      activate: async ({ webhookUrl }) => {
        const activation = await activate();
        if (activation.outcome === 'active') told.push(webhookUrl);
        return activation;
      },
      lookUp: async () => rig.platform.company,
    });
  const salon = { salonId: 11, salonName: '' };
  const first = connector(() => {
    asked.resolve();
    return answer.promise;
  })(salon);
  await asked.promise;
  const second = connector(async () => ({ outcome: 'active' }));
  assert.deepEqual(await second(salon), { salonId: 11, outcome: 'unclear' });
  answer.resolve({ outcome: 'active' });
  assert.equal((await first).outcome, 'connected');
  await rig.pool.query('DELETE FROM company_keys WHERE expires_at IS NOT NULL');
  assert.equal((await rig.event(String(told.at(-1)), record(11))).statusCode, 200);
  assert.equal(told.length, 1);
  assert.equal((await second(salon)).outcome, 'connected', 'another press, when the first has ended');
});

test('a press that the platform refuses leaves a working company with the URL it has, for good', async () => {
  await rig.press({ salon_id: '11', ...userData() });
  rig.platform.onActivation(() => 422);
  const answer = await rig.press({ salon_id: '11', ...userData() });
  assert.equal(answer.statusCode, 200);
  assert.match(answer.body, /остаётся подключённым/);
  const [first, refused] = rig.urls(11);
  assert.equal((await rig.event(String(first), record(11))).statusCode, 200);
  assert.equal((await rig.event(String(refused), record(11))).statusCode, 404);
  assert.equal((await rig.company(11))?.keys, 1, 'the first key does not begin to end');
});

test('a company that is removed while the platform is asked stays so, when that refuses', async () => {
  await rig.press({ salon_id: '11', ...userData() });
  await stopCompany(rig.pool, 11, 'freeze');
  const removed = createConnector({
    ...{
      pool: rig.pool,
      vault: createVault(Buffer.alloc(32, 7)),
      log: createLog('silent'),
      brand: 'yclients',
    },
    webhookUrl: key => `https://otklik.test/webhooks/yclients/${key}`,
    async activate() {
      await removeCompany(rig.pool, 11);
      return { outcome: 'refused', reason: 'HTTP 422 of the marketplace' };
    },
    lookUp: async () => rig.platform.company,
  });
  assert.equal((await removed({ salonId: 11, salonName: '' })).outcome, 'refused');
  assert.equal((await rig.company(11))?.removed, true);
});

test('an activation is tried again, and where it stays unclear both URLs work', async () => {
  rig.platform.failWith.push(503);
  assert.equal((await rig.press({ salon_id: '11', ...userData() })).statusCode, 200);
  rig.platform.failWith.push(0, 503);
  const answer = await rig.press({ salon_id: '11', ...userData() });
  assert.equal(answer.statusCode, 502);
  assert.match(answer.body, /не подтверждено/);
  assert.equal((await rig.company(11))?.keys, 2);
  assert.equal((await rig.press({ salon_id: '11', ...userData() })).statusCode, 200);
  assert.equal((await rig.company(11))?.keys, 1);
});

test('a salon that connects again from another zone keeps its wall clock, and its clients are planned anew', async () => {
  await rig.press({ salon_id: '11', ...userData() });
  await rig.pool.query(
    `WITH before AS (UPDATE companies SET zone = 'Europe/Moscow' WHERE company_id = 11)
     INSERT INTO bookings (company_id, record_id, starts_local, starts_at, state, version)
     VALUES (11, 1, '2031-05-20T14:30', '2031-05-20T11:30Z', 'waiting', now())`,
  );
  await rig.press({ salon_id: '11', ...userData() });
  assert.equal((await rig.company(11))?.zone, 'Asia/Almaty');
  const { rows } = await rig.pool.query(
    'SELECT starts_at AS at, EXISTS (SELECT FROM replans r WHERE r.company_id = b.company_id) AS planned FROM bookings b',
  );
  assert.deepEqual(rows, [{ at: Date.parse('2031-05-20T09:30Z'), planned: true }]);
});

test('the zone of a salon about which the API is silent is assumed, and the page and the log say so', async t => {
  const silent = await createRig({
    lookUp: async () => {
      throw new ApiError('forbidden', 'no right');
    },
  });
  t.after(() => silent.close());
  const answer = await silent.press({ salon_id: '11', ...userData() });
  assert.match(answer.body, /Часовой пояс не удалось узнать.*Europe\/Moscow/);
  assert.equal((await silent.company(11))?.title, 'Салон «Полынь»');
  assert.match(silent.logged(), /the zone of a salon is assumed/);
  const { rows } = await silent.pool.query(`SELECT 1 FROM audit_log WHERE action = 'company.zone_assumed'`);
  assert.equal(rows.length, 1);
});

test('where something is not set up the page says it and nothing is made', async t => {
  const bare = await createRig({ lacks: ['PUBLIC_URL is not set'], brand: 'altegio' });
  t.after(() => bare.close());
  const answer = await bare.press({ salon_id: '11', ...userData() });
  assert.equal(answer.statusCode, 503);
  assert.match(answer.body, /not set up/);
  assert.match(bare.logged(), /PUBLIC_URL is not set/);
  assert.equal(await bare.company(11), undefined);
});

test('whoever presses without end is asked to wait', async () => {
  const statuses = [];
  for (let press = 0; press < 31; press += 1) statuses.push((await rig.press({})).statusCode);
  assert.equal(statuses.at(-2), 400);
  assert.equal(statuses.at(-1), 429);
  assert.equal(await rig.rejected('connect_rate'), 1);
});

test('neither token nor key nor person is in the log', async () => {
  await rig.press({ salon_id: '11', ...userData() });
  rig.platform.onActivation(() => 500);
  await rig.press({ salon_id: '12', ...userData() });
  const key = new URL(String(rig.urls(11)[0])).pathname.split('/').at(-1) ?? '';
  const log = rig.logged();
  assert.match(log, /marketplace activation/);
  for (const secret of [PARTNER_TOKEN, key, 'Полынь', 'Зоя', '79000000001', 'zoya@', userData().user_data]) {
    assert.ok(!log.includes(secret), secret);
  }
});
