/**
 * What a salon sets, from outside: its policy, its texts, its bot, and what a client allows; by the commands and by the
 * API.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { z } from 'zod';
import { assertProblem, type House, openHouse } from '../blackbox/harness.ts';
import { client, record } from '../blackbox/salon.ts';
import { httpServer } from '../channels/counterparts.ts';
import { type Company, command, freePorts, json } from '../support/service.ts';
import { until } from '../support/until.ts';
import { startMax } from '../work/messengers.ts';

let house: House;
let company: Company;
const MAX_TOKEN = 'f9LHodD0cOKpR-not-a-real-token-0123456789';
const closes: (() => Promise<unknown>)[] = [];
let max: Awaited<ReturnType<typeof startMax>>;
let env: Record<string, string>;
before(async () => {
  max = await startMax({ after: close => closes.push(close) }, MAX_TOKEN);
  const ports = await freePorts();
  env = { MAX_TOKEN, MAX_API_URL: max.url, PUBLIC_URL: `http://127.0.0.1:${ports.public}` };
  house = await openHouse(env, ports);
  company = await house.company();
});
after(async () => {
  await house.close();
  for (const close of closes) await close();
});

const run = (args: readonly string[], input = '') => command(house.databaseUrl, args, {}, input);
const versionsPage = z.object({
  items: z.array(z.object({ version: z.number() })),
  next: z.number().nullable(),
});
const shownPolicy = z.object({
  version: z.number(),
  document: z.looseObject({}),
  effective: z.looseObject({ reminders: z.looseObject({ at: z.array(z.unknown()) }) }),
  versions: z.array(z.object({ version: z.number(), actor: z.string() })),
});
const shownText = z.object({ locale: z.string(), kind: z.string(), own: z.boolean(), source: z.string() });
const detailOf = (answer: Parameters<typeof json>[0]) =>
  z.object({ detail: z.string() }).parse(json(answer)).detail;

/** A text with Cyrillic letters: 70 characters alone, 67 each of several, blank lines left out. */
function smsOf(text: string): number {
  const { length } = text.replace(/\n{2,}/g, '\n');
  return length <= 70 ? 1 : Math.ceil(length / 67);
}

describe('a salon’s settings', { concurrency: 4 }, () => {
  test('policy: shown, set, set again by the other way, and a change in between is not overwritten', async () => {
    const own = await house.company();
    const path = `/companies/${own.companyId}/policy`;
    const read = async () => shownPolicy.parse(json(await house.service.api('GET', path)));
    const fresh = await read();
    assert.equal(fresh.version, 1, 'as the company was added');
    assert.ok(
      'quietHours' in fresh.effective && !('quietHours' in fresh.document),
      'what it leaves out is shown in full',
    );

    const id = String(own.companyId);
    const set = await run(
      ['policy', 'set', id, '-', '--if-version', '1', '--json'],
      '{"reminders":{"at":["3h"]}}',
    );
    assert.equal(set.code, 0, set.stderr);
    assert.equal(shownPolicy.parse(JSON.parse(set.stdout)).version, 2);

    const late = await house.service.api('PUT', `${path}?ifVersion=1`, { reminders: { at: [] } });
    assertProblem(late, 409);
    assert.match(detailOf(late), /version 2 by now, not 1/);
    const lateCommand = await run(['policy', 'set', id, '-', '--if-version', '1'], '{}');
    assert.notEqual(lateCommand.code, 0);
    assert.match(lateCommand.stderr, /version 2 by now, not 1/);

    assert.equal(
      (await house.service.api('PUT', `${path}?ifVersion=2`, { reminders: { at: [] } })).status,
      200,
    );
    const shown = await run(['policy', 'show', id, '--json']);
    const { version, document, versions } = shownPolicy.parse(JSON.parse(shown.stdout));
    assert.deepEqual([version, document], [3, { reminders: { at: [] } }]);
    assert.deepEqual(
      versions.slice(0, 2).map(({ actor }) => actor),
      ['api', 'command'],
    );
  });

  test('a company: its route is changed while it works, and the next message goes that way', async () => {
    const own = await house.company({ route: ['console'], webhookUrl: null });
    const id = String(own.companyId);
    const bare = await run(['company', 'set', id]);
    assert.match(bare.stderr, /nothing to change: name at least one option/);
    const homeless = await run(['company', 'set', id, '--route', 'webhook']);
    assert.equal(homeless.code, 1);
    assert.match(homeless.stderr, /names webhook, and it has no webhook URL/);
    const unknown = await house.service.api('PATCH', `/companies/${id}`, { route: ['pigeon'] });
    assertProblem(unknown, 400);
    const wrongZone = await run(['company', 'set', id, '--zone', '+03:00']);
    assert.match(wrongZone.stderr, /must be an IANA zone/);

    const set = await run([
      ...['company', 'set', id, '--route', 'webhook', '--webhook-url', `${house.sink.url}/${id}`],
      ...['--title', 'Студия Мята', '--json'],
    ]);
    assert.equal(set.code, 0, set.stderr);
    const shown = z
      .object({ title: z.string(), route: z.array(z.string()), outboundSecret: z.string() })
      .parse(JSON.parse(set.stdout));
    assert.deepEqual([shown.title, shown.route], ['Студия Мята', ['webhook']]);
    await house.accept(own, record(own.companyId, 1, 'create'));
    const [said] = await house.heardInTheEnd(own);
    assert.match(said?.text ?? '', /Студия Мята/);
  });

  test('policy: an older version is listed, shown and written once more; one that is not there is named', async () => {
    const own = await house.company();
    const id = String(own.companyId);
    const path = `/companies/${id}/policy`;
    for (const at of [['3h'], ['5h']]) {
      assert.equal((await house.service.api('PUT', path, { reminders: { at } })).status, 200);
    }

    const [listed, newest, older] = await Promise.all([
      run(['policy', 'versions', id]),
      run(['policy', 'versions', id, '--limit', '2']),
      run(['policy', 'versions', id, '--cursor', '2']),
    ]);
    assert.match(listed.stdout, /^3 .* api +in force$/m);
    assert.match(listed.stdout, /^2 .* api *$/m);
    assert.match(newest.stdout, /^3 .*\n2 .*\nMore: --cursor 2$/m);
    assert.match(older.stdout, /^version .*\n1 +\S+ +\S+$/m, 'the first, which is not in force');
    assert.deepEqual(
      versionsPage.parse(json(await house.service.api('GET', `${path}/versions?limit=1&cursor=3`))),
      { items: [{ version: 2 }], next: 2 },
    );
    const old = await run(['policy', 'show', id, '--of-version', '2', '--json']);
    const { version, document } = shownPolicy.parse(JSON.parse(old.stdout));
    assert.deepEqual([version, document], [2, { reminders: { at: ['3h'] } }]);
    const byApi = shownPolicy.parse(json(await house.service.api('GET', `${path}?version=2`)));
    assert.deepEqual(byApi.document, document);

    const late = await run(['policy', 'set', id, '--from-version', '2', '--if-version', '2']);
    assert.match(late.stderr, /version 3 by now, not 2/);
    const back = await run(['policy', 'set', id, '--from-version', '2', '--if-version', '3']);
    assert.deepEqual([back.code, back.stderr], [0, '']);
    const now = shownPolicy.parse(json(await house.service.api('GET', path)));
    assert.deepEqual([now.version, now.document], [4, document]);
    const first = await run(['policy', 'show', id, '--of-version', '0', '--json']);
    assert.deepEqual(shownPolicy.parse(JSON.parse(first.stdout)).document, {});

    assertProblem(await house.service.api('GET', `${path}?version=9`), 404);
    assertProblem(await house.service.api('GET', `${path}?version=9999999999`), 404);
    const unknown = await Promise.all([
      run(['policy', 'show', id, '--of-version', '9']),
      run(['policy', 'set', id, '--from-version', '9']),
    ]);
    for (const { code, stderr } of unknown) {
      assert.equal(code, 1);
      assert.match(stderr, /has no version 9; the newest is 4, `policy versions` lists them/);
    }
    const unclear = await Promise.all([
      run(['policy', 'set', id], '{}'),
      run(['policy', 'set', id, '-', '--from-version', '2'], '{}'),
    ]);
    for (const { stderr } of unclear) {
      assert.match(stderr, /name a file .* or --from-version; one of them/);
    }
  });

  test('policy: a version that the rules of today refuse is shown, and not written once more', async () => {
    const own = await house.company();
    const id = String(own.companyId);
    // As one before ours may have written it.
    await house.pool.query(
      `INSERT INTO policies (company_id, version, document, actor)
       VALUES ($1, 2, '{"settle":{"any":"soon"},"remindres":1}', 'api'), ($1, 3, '{}', 'api')`,
      [id],
    );
    const [shown, back] = await Promise.all([
      run(['policy', 'show', id, '--of-version', '2']),
      run(['policy', 'set', id, '--from-version', '2']),
    ]);
    assert.match(shown.stdout, /"remindres": 1/);
    assert.equal(back.code, 1);
    for (const says of [/version 2 is not valid any more/, /remindres/, /settle\.any/]) {
      assert.match(back.stderr, says);
    }
    const now = shownPolicy.parse(json(await house.service.api('GET', `/companies/${id}/policy`)));
    assert.equal(now.version, 3, 'nothing is written');
  });

  test('policy: a misspelt field, a wrong value and no JSON are refused by name, everywhere alike', async () => {
    const id = String(company.companyId);
    const misspelt = { remindres: { at: ['3h'] }, settle: { any: 'soon' } };
    for (const answer of [
      await house.service.api('PUT', `/companies/${id}/policy`, misspelt),
      await house.service.api('POST', '/policy/validate', misspelt),
      await house.service.api('POST', `/companies/${id}/policy/preview`, {
        startsLocal: '2031-05-20T14:30',
        policy: misspelt,
      }),
    ]) {
      assertProblem(answer, 400);
      assert.match(detailOf(answer), /remindres/);
      assert.match(detailOf(answer), /settle/);
    }
    const [validated, set, broken] = await Promise.all([
      run(['policy', 'validate', '-', '--json'], JSON.stringify(misspelt)),
      run(['policy', 'set', id, '-'], JSON.stringify(misspelt)),
      run(['policy', 'validate', '-'], '{"reminders":'),
    ]);
    const { valid, faults } = z
      .object({ valid: z.boolean(), faults: z.array(z.object({ path: z.string(), says: z.string() })) })
      .parse(JSON.parse(validated.stdout));
    assert.equal(valid, false);
    assert.ok(faults.some(({ says, path }) => `${path} ${says}`.includes('remindres')));
    for (const ran of [validated, set, broken]) assert.notEqual(ran.code, 0);
    assert.match(set.stderr, /remindres/);
    assert.match(broken.stderr, /no JSON/);
    const { rows } = await house.pool.query('SELECT FROM policies WHERE company_id = $1', [id]);
    assert.ok(rows.length <= 1, 'nothing of it is kept');
  });

  test('policy: a preview says what would be sent and when, and writes nothing', async () => {
    const id = String(company.companyId);
    const preview = z.object({
      zone: z.string(),
      messages: z.array(z.object({ rule: z.string(), atLocal: z.string() })),
      changes: z.array(z.object({ kind: z.string(), to: z.array(z.string()) })),
      texts: z.array(z.object({ kind: z.string(), text: z.string(), smsParts: z.number() })),
      routes: z.array(
        z.object({
          category: z.string(),
          steps: z.array(z.object({ channel: z.string(), withinMs: z.number().nullable() })),
        }),
      ),
    });
    const policy = { reminders: { at: ['2h'] } };
    const asked = { startsLocal: '2031-05-20T14:30', madeAt: '2031-05-01T10:00:00Z', policy };
    const [byApi, byCommand, human, past] = await Promise.all([
      house.service.api('POST', `/companies/${id}/policy/preview`, asked),
      run(
        [
          ...['policy', 'preview', id, '--starts', '2031-05-20T14:30', '--made', '2031-05-01T10:00:00Z'],
          ...['--file', '-', '--json'],
        ],
        JSON.stringify(policy),
      ),
      run(['policy', 'preview', id, '--starts', '2031-05-20T14:30', '--origin', 'widget']),
      run(['policy', 'preview', id, '--starts', '2026-05-20T14:30']),
    ]);
    for (const shown of [preview.parse(json(byApi)), preview.parse(JSON.parse(byCommand.stdout))]) {
      assert.deepEqual(
        shown.messages.filter(({ rule }) => rule === '2h'),
        [{ rule: '2h', atLocal: '2031-05-20T12:30:00' }],
      );
      assert.ok(shown.changes.some(({ kind, to }) => kind === 'booked' && to.includes('client')));
      const booked = shown.texts.find(({ kind }) => kind === 'booked');
      assert.match(booked?.text ?? '', /20 мая/);
      assert.equal(booked?.smsParts, smsOf(booked?.text ?? ''));
      assert.ok(shown.texts.some(({ kind }) => kind === 'reminder'));
      assert.deepEqual(
        shown.routes.map(({ category, steps }) => [category, steps]),
        ['notices', 'reminders'].map(category => [category, [{ channel: 'webhook', withinMs: null }]]),
      );
    }
    assert.match(human.stdout, /notices +webhook +until it refuses/);
    assert.doesNotMatch(human.stdout, /has begun/);
    assert.match(past.stdout, /^The visit has begun: nobody is told of its changes any more\.$/m);
  });

  test('policy: a preview asks the SMS provider what each text would cost', async t => {
    const asked: URLSearchParams[] = [];
    const provider = await httpServer(t, (_request, raw, response) => {
      const form = new URLSearchParams(raw.toString());
      asked.push(form);
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ cost: 7.5, cnt: 2 }));
    });
    const ran = await command(
      house.databaseUrl,
      [
        ...['policy', 'preview', String(company.companyId), '--starts', '2031-05-20T14:30'],
        ...['--sms-to', '+79000000001', '--json'],
      ],
      {
        ...{ SMS_PROVIDER: 'smsc', SMS_TOKEN: 'not-a-real-key' },
        SMS_API_URL: `http://127.0.0.1:${provider.port}`,
      },
    );
    assert.equal(ran.code, 0, ran.stderr);
    const { texts } = z
      .object({ texts: z.array(z.object({ text: z.string(), price: z.number() })) })
      .parse(JSON.parse(ran.stdout));
    assert.ok(texts.length > 0 && texts.every(({ price }) => price === 7.5));
    assert.ok(asked.length === texts.length && asked.every(form => form.get('cost') === '1'), 'none is sent');
  });

  test('texts: listed, tried, set, used for the next message, and reset', async () => {
    const own = await house.company();
    const path = `/companies/${own.companyId}/templates/ru/booked`;
    const list = async (query = '') =>
      z
        .object({ items: z.array(shownText) })
        .parse(json(await house.service.api('GET', `/companies/${own.companyId}/templates${query}`))).items;
    assert.ok((await list()).every(({ own: theirs }) => !theirs));
    assert.ok((await list('?locale=en')).every(({ locale }) => locale === 'en'));

    const source = 'Василёк: {{ after.when }}\n---\nДобро пожаловать.';
    const tried = json(
      await house.service.api('POST', '/templates/test', { locale: 'ru', kind: 'booked', source }),
    );
    const samples = z.array(z.object({ subject: z.string(), text: z.string() }));
    assert.match(samples.parse(Object(tried).samples)[0]?.text ?? '', /Добро пожаловать/);
    const faulty = await house.service.api('POST', '/templates/test', {
      ...{ locale: 'ru', kind: 'booked', source: 'x\n---\n{{ nobody.name }}' },
    });
    assert.match(String(Object(json(faulty)).fault), /nobody/);

    const refused = await house.service.api('PUT', path, { source: 'x\n---\n{{ nobody.name }}' });
    assertProblem(refused, 400);
    assert.match(detailOf(refused), /nobody/);
    assertProblem(await house.service.api('PUT', path, { sourse: source }), 400);
    assertProblem(await house.service.api('GET', path.replace('booked', 'bookd')), 400);
    assertProblem(await house.service.api('DELETE', path), 404);

    assert.equal((await house.service.api('PUT', path, { source })).status, 200);
    const shown = shownText.parse(json(await house.service.api('GET', path)));
    assert.deepEqual([shown.own, shown.source], [true, source]);
    await house.accept(own, record(own.companyId, 1, 'create'));
    assert.match((await house.heardInTheEnd(own))[0]?.text ?? '', /Добро пожаловать/);
    const all = await house.service.api('POST', `/companies/${own.companyId}/templates/test`);
    assert.equal(Object(json(all)).faults, 0);
    assert.equal((await house.service.api('DELETE', path)).status, 200);
    assert.equal(shownText.parse(json(await house.service.api('GET', path))).own, false);
  });

  test('a client is shown by phone and by id; an operator’s refusal holds and is kept as proof', async () => {
    const own = await house.company();
    await house.accept(own, record(own.companyId, 1, 'create'));
    await house.heardInTheEnd(own);
    const { id, phone } = z.object({ id: z.number(), phone: z.string() }).parse(client(1));
    const clients = `/companies/${own.companyId}/clients`;
    const shownClient = z.object({
      clientId: z.number(),
      phone: z.string(),
      refuses: z.boolean(),
      consents: z.array(z.object({ channel: z.string(), granted: z.boolean(), words: z.string() })),
      messages: z.array(z.object({ state: z.string(), text: z.string().nullable() })),
    });
    const spaced = phone.replace(/^\+?(\d)(\d{3})/, '+$1 ($2) ');
    const found = z
      .object({ items: z.array(shownClient) })
      .parse(json(await house.service.api('POST', `${clients}/search`, { phone: spaced })));
    assert.deepEqual(
      found.items.map(({ clientId, messages }) => [clientId, messages.map(({ state }) => state)]),
      [[id, ['sent']]],
    );
    const nobody = await house.service.api('POST', `${clients}/search`, { phone: '+79999999999' });
    assert.deepEqual(json(nobody), { items: [] });
    assertProblem(await house.service.api('GET', `${clients}/123456`), 404);

    const refused = await run([
      ...['client', 'opt-out', String(own.companyId), phone, '--channel', 'sms'],
      ...['--reason', 'said so by phone', '--json'],
    ]);
    assert.equal(refused.code, 0, refused.stderr);
    assert.deepEqual(JSON.parse(refused.stdout).where, ['sms/advertising', 'sms/service']);
    const allowed = await house.service.api('POST', `${clients}/${id}/consents`, {
      ...{ granted: true, channel: 'sms', reason: 'changed their mind' },
    });
    assert.equal(allowed.status, 200, allowed.body.toString());
    const shown = shownClient.parse(json(await house.service.api('GET', `${clients}/${id}`)));
    assert.deepEqual(
      shown.consents.map(({ granted, words }) => [granted, words]),
      [
        [true, 'operator (api): changed their mind'],
        [false, 'operator (command): said so by phone'],
        [false, 'operator (command): said so by phone'],
      ],
    );
    const printed = await run(['client', 'show', String(own.companyId), String(id)]);
    assert.match(printed.stdout, /refused.*said so by phone/);
    assertProblem(
      await house.service.api('POST', `${clients}/${id}/consents`, {
        granted: true,
        chanel: 'sms',
        reason: 'x',
      }),
      400,
    );
  });

  test('a bot of MAX: the service subscribes by itself, and whoever opens the printed link is answered', async () => {
    const id = String(company.companyId);
    const [invited, listed] = await Promise.all([
      command(house.databaseUrl, ['company', 'invite', id, '--json'], env),
      command(house.databaseUrl, ['channels', '--json'], env),
    ]);
    assert.equal(invited.code, 0, invited.stderr);
    const { channel, url } = z
      .object({ channel: z.string(), url: z.url() })
      .parse(JSON.parse(invited.stdout));
    assert.deepEqual([channel, url.split('?')[0]], ['max', 'https://max.ru/sever_bot']);
    await until(async () => max.subscriptions.length > 0, { what: 'MAX is told where to bring updates' });
    const [subscription] = max.subscriptions;
    const told = String(subscription?.url);
    const rows = z
      .array(z.object({ channel: z.string(), receipts: z.string().nullable() }))
      .parse(JSON.parse(listed.stdout));
    assert.equal(rows.find(row => row.channel === 'max')?.receipts, told);

    max.calls.address = told;
    max.calls.headers = { 'x-max-bot-api-secret': String(subscription?.secret) };
    const mila = max.person(401);
    await mila.opens(new URL(url).searchParams.get('start') ?? '');
    const said = await until(async () => max.reads(mila.chat).at(0), { what: 'they are answered' });
    assert.match(said.text, /Поделиться номером/);
    const turns = "SELECT scope FROM api_budget WHERE scope LIKE 'send/max%'";
    await until(async () => (await house.pool.query(turns)).rowCount === 2, {
      what: 'a turn of the account and one of the chat are taken for it',
    });
    const none = await command(house.databaseUrl, ['company', 'invite', id, '--channel', 'vk'], env);
    assert.notEqual(none.code, 0);
    assert.match(none.stderr, /VK_TOKEN/);
  });
});
