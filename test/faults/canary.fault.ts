/**
 * Guarantee 6, with everything marked that a person or a key could be known by: the body of a webhook in every field, its
 * query and headers, keys, tokens, addresses, and whatever providers, the platform and the API's callers say back. The
 * whole way runs, well and badly; then logs, answers, metrics and traces are searched for the marks.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { assertProblem, type House, openHouse, postPatiently } from '../blackbox/harness.ts';
import { booking, client, event, record } from '../blackbox/salon.ts';
import { speak } from '../blackbox/wire.ts';
import { type Ending, httpServer, smtpServer } from '../channels/counterparts.ts';
import { type Collector, startCollector } from '../support/collector.ts';
import { ADMIN_TOKEN, type Company, command, OTKLIK_KEY, send } from '../support/service.ts';
import { until } from '../support/until.ts';

/** Fit for a token, an e-mail, a header, a field's name. */
const WORD = 'canary8c1f52e7';
const NAME = 'Канарейкина';
const DIGITS = '9995554242';
const PHONE = `+7${DIGITS}`;
const EMAIL = `${WORD}@salon.example`;
const CHAT = '742424242';
const BOT_TOKEN = `7000000001:AAF-${WORD}-0123456789abcdefghij`;
const PERSON = client(4242, {
  ...{ name: NAME, surname: NAME, patronymic: NAME, display_name: NAME, phone: PHONE, email: EMAIL },
  ...{ card: WORD, comment: `${NAME} ${PHONE}`, custom_fields: { [WORD]: NAME }, [WORD]: PHONE },
});
const MARKED = {
  client: PERSON,
  comer: { id: 1, name: NAME, phone: PHONE },
  staff: { id: 701, name: NAME, specialization: NAME, [WORD]: WORD },
  services: [{ id: 5001, title: `${NAME} ${WORD}`, cost: 1, amount: 1, [WORD]: NAME }],
  ...{ comment: `${NAME} ${PHONE} ${EMAIL}`, api_id: CHAT, short_link: `https://${WORD}.example/c/` },
  ...{ record_labels: [{ title: WORD }], custom_fields: { [WORD]: PHONE }, [WORD]: NAME, from_url: WORD },
};
/** Headers as a stranger, a proxy gone wrong or a careless sender would set them. */
const HEADERS = {
  'x-request-id': `${WORD}-${DIGITS}`,
  traceparent: `00-${DIGITS}-${WORD}-01`,
  'user-agent': WORD,
  referer: `https://${WORD}.example/?phone=${DIGITS}`,
  cookie: `session=${WORD}`,
  'x-forwarded-for': WORD,
  authorization: `Bearer ${WORD}`,
  'x-otklik-id': WORD,
};

const CHANNELS = ['telegram', 'max', 'whatsapp', 'sms', 'vk', 'email', 'webhook'] as const;
/**
 * What the other side does with the messages of a channel, one after the other; all repeat whatever they were sent. After
 * a 403 a person gets no more, after a 429 nobody does for a while.
 */
const MANNERS = ['take', 'take', 400, 'page', 500, 'reset', 401, 403, 429] as const;

let house: House;
let collector: Collector;
/** What the parrot heard, by channel. */
const heard = new Map<string, number>();
const endings: (() => Promise<unknown>)[] = [];
const ending: Ending = { after: close => endings.push(close) };

before(async () => {
  collector = await startCollector();
  const parrot = `http://127.0.0.1:${await startParrot()}`;
  const smtp = await startSmtp();
  house = await openHouse({
    LOG_LEVEL: 'debug',
    TRUSTED_PROXIES: '127.0.0.1',
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
    OTEL_EXPORTER_OTLP_HEADERS: `authorization=${WORD}`,
    ...{ YCLIENTS_PARTNER_TOKEN: `${WORD}partner`, YCLIENTS_USER_TOKEN: `${WORD}user` },
    ...{ YCLIENTS_API_URL: `${parrot}/platform`, YCLIENTS_APPLICATION_ID: '7' },
    ...{ TELEGRAM_TOKEN: BOT_TOKEN, TELEGRAM_API_ROOT: `${parrot}/telegram` },
    ...{ MAX_TOKEN: `${WORD}max`, MAX_API_URL: `${parrot}/max` },
    ...{ WHATSAPP_PROVIDER: 'cloud', WHATSAPP_TOKEN: `${WORD}wa`, WHATSAPP_ACCOUNT: WORD },
    ...{ WHATSAPP_API_URL: `${parrot}/whatsapp` },
    ...{ SMS_PROVIDER: 'sms.ru', SMS_TOKEN: `${WORD}sms`, SMS_API_URL: `${parrot}/sms` },
    ...{ VK_TOKEN: `${WORD}vk`, VK_API_URL: `${parrot}/vk` },
    ...{ SMTP_URL: `smtp://${WORD}:${WORD}@127.0.0.1:${smtp}`, EMAIL_FROM: `Salon <${EMAIL}>` },
    WEBHOOK_ALLOW_PRIVATE: 'true',
  });
  parrotUrl = parrot;
});
after(async () => {
  await house.close();
  await Promise.all([collector.close(), ...endings.map(close => close())]);
});
let parrotUrl = '';

/** Says back everything that it was told, in the manner whose turn it is. */
async function startParrot(): Promise<number> {
  const { port } = await httpServer(ending, (request, body, response) => {
    const url = request.url ?? '';
    const channel = url.split('/')[1] ?? '';
    const echo = `${url} ${JSON.stringify(request.headers)} ${body} ${NAME} ${PHONE} ${EMAIL}`;
    const answer = (status: number, value: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    if (url.includes('/getUpdates')) {
      listened(answer, echo);
      return;
    }
    if (channel === 'telegram' && !url.includes('/sendMessage')) {
      answer(200, { ok: true, result: true });
      return;
    }
    const count = heard.get(channel) ?? 0;
    heard.set(channel, count + 1);
    const manner = MANNERS[count % MANNERS.length];
    if (manner === 'reset') return request.socket.resetAndDestroy();
    if (manner === 'page') return response.end(`<html>${echo}</html>`);
    if (manner === 'take' && channel !== 'platform') return answer(200, taken(echo));
    return answer(typeof manner === 'number' ? manner : 422, refused(echo, Number(manner)));
  });
  return port;
}

/** Good for every provider: each looks for its own. */
function taken(echo: string): unknown {
  const sms = { [`7${DIGITS}`]: { status: 'OK', status_code: 100, sms_id: '1' } };
  return {
    ...{ ok: true, result: { message_id: 7, date: 1, chat: { id: 1, type: 'private' }, text: echo } },
    ...{ message: { body: { mid: 'mid.1', text: echo } }, messages: [{ id: 'wamid.1' }], contacts: [] },
    ...{ status: 'OK', status_code: 100, sms, response: 77 },
  };
}

function refused(echo: string, code: number): unknown {
  return {
    ...{ ok: false, error_code: code, description: echo, parameters: {} },
    ...{
      success: false,
      data: null,
      meta: { message: echo, errors: { [WORD]: [echo] } },
      code: WORD,
      message: echo,
    },
    ...{ error: { error_code: 7, error_msg: echo, message: echo, code: 131_000, fbtrace_id: WORD } },
    ...{ status: 'ERROR', status_code: 202, status_text: echo },
  };
}

let polls = 0;
/** What people say to the bot: once; afterwards the ear hears errors, then nothing. */
function listened(answer: (status: number, value: unknown) => void, echo: string): void {
  polls += 1;
  const from = { id: Number(CHAT), is_bot: false, first_name: NAME, username: WORD };
  const message = {
    ...{ message_id: 1, date: 1, chat: { id: Number(CHAT), type: 'private', first_name: NAME }, from },
    ...{ text: `/start ${WORD}`, contact: { phone_number: PHONE, first_name: NAME, user_id: Number(CHAT) } },
  };
  if (polls === 1) answer(200, { ok: true, result: [{ update_id: 1, message }] });
  else if (polls < 4) answer(500, refused(echo, 500));
}

function startSmtp(): Promise<number> {
  let mails = 0;
  const refuse = (text: string, responseCode: number) => Object.assign(new Error(text), { responseCode });
  return smtpServer(ending, {
    onAuth: (_auth, _session, done) => done(null, { user: WORD }),
    onRcptTo: ({ address }, _session, done) => {
      mails += 1;
      done(mails % 3 === 2 ? refuse(`no such user ${address} ${NAME} ${PHONE}`, 550) : null);
    },
    onData: (stream, _session, done) => {
      void stream.toArray().then(parts => {
        const text = Buffer.concat(parts).toString().slice(0, 300).replaceAll(/\s+/g, ' ');
        done(mails % 3 === 0 ? refuse(`not now ${text} ${PHONE}`, 451) : null);
      });
    },
  }).then(({ port }) => port);
}

const PATIENCE_MS = 180_000;
/** The database refuses a booking and quotes it, as it does where a value breaks a rule. */
const POISON = `
  CREATE FUNCTION refuse_booking() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'refused: %', NEW.comment USING ERRCODE = '22000', DETAIL = NEW.comment; END $$;
  CREATE TRIGGER poison BEFORE INSERT ON bookings FOR EACH ROW WHEN (NEW.record_id = 95)
    EXECUTE FUNCTION refuse_booking()`;

test('no mark of a person or a key is in a log line, an answer, a metric or a trace', {
  timeout: PATIENCE_MS,
}, async () => {
  const companies = new Map<string, Company>();
  for (const channel of CHANNELS) {
    const webhook = { webhookUrl: `${parrotUrl}/webhook/${WORD}?token=${WORD}` };
    const company = await house.company({ route: [channel], ...(channel === 'webhook' ? webhook : {}) });
    companies.set(channel, company);
    await setAddress(company, channel);
  }

  // Well: each channel gets as many messages as there are manners, so that each meets them all.
  for (const company of companies.values()) {
    for (let id = 1; id <= MANNERS.length; id += 1) {
      const answer = await postPatiently(
        `${company.url}?name=${encodeURIComponent(NAME)}&phone=${DIGITS}`,
        record(company.companyId, id, 'create', MARKED),
        HEADERS,
      );
      assert.equal(answer.status, 200, answer.body.toString());
    }
  }
  // Before what is bad: the client who is deleted there wants no more messages.
  await until(() => everyChannelTried(companies), {
    what: 'each channel was tried',
    timeoutMs: PATIENCE_MS / 3,
  });
  const [company] = companies.values();
  assert.ok(company !== undefined);
  await house.pool.query(POISON);
  await house.accept(company, record(company.companyId, 95, 'create', MARKED));
  const answers = [...(await badWebhooks(company)), ...(await badCalls(company))];
  const says = await badCommands(company);

  await until(() => (heard.get('platform') ?? 0) >= MANNERS.length && polls >= 4, {
    what: 'the platform and the bot have said what they say',
    timeoutMs: PATIENCE_MS / 3,
  });
  const metrics = await send(`${house.service.adminUrl}/metrics`, { method: 'GET' });
  const outcomes = await outcomesOf(companies);
  const stats = await house.service.api('GET', '/stats');
  await until(() => collector.spans.some(({ name }) => name === 'dispatch'), { what: 'spans have come' });
  await house.service.stop();

  for (const channel of CHANNELS) {
    const seen = outcomes.get(channel) ?? new Set();
    assert.ok(seen.has('sent'), `${channel} has sent: ${[...seen]}`);
    assert.ok(seen.size > 1, `${channel} has failed: ${[...seen]}`);
  }
  const printed = house.service.output();
  for (const line of [
    'event received',
    'event processed',
    'message attempted',
    'request refused',
    'event failed, will be retried',
    'sweep put off',
    'changed by the API',
  ])
    assert.ok(printed.includes(line), `the log has "${line}"`);

  const marks = marksOf([...companies.values()]);
  const places: [string, string][] = [
    ['the log', printed],
    ['the metrics', metrics.body.toString()],
    ['the statistics', stats.body.toString()],
    ...collector.requests.map(({ body }): [string, string] => ['a trace', body]),
    ...answers.map(({ body, headers }): [string, string] => [
      'an answer',
      `${body} ${JSON.stringify(headers)}`,
    ]),
    ...says.map((text): [string, string] => ['a command', text]),
  ];
  for (const [place, text] of places) assertUnmarked(place, text, marks);
});

async function setAddress({ companyId }: Company, channel: string): Promise<void> {
  const address = { telegram: CHAT, max: CHAT, vk: CHAT, email: EMAIL, whatsapp: PHONE, sms: PHONE }[channel];
  if (address === undefined) return;
  const path = `/companies/${companyId}/clients/4242/addresses/${channel}`;
  const answer = await house.service.api('PUT', path, { address });
  assert.equal(answer.status, 200, answer.body.toString());
}

/** Every way to be refused at the receiver that has something of the sender's in it. */
async function badWebhooks({ companyId, url, key }: Company) {
  const whole = record(companyId, 90, 'create', MARKED);
  const broken = JSON.stringify(whole).slice(0, -3);
  await speak(house.service.ports.public, [`POST /${WORD} HTTP/9.9\r\n${NAME}: ${WORD}\r\n\r\n`]);
  const accepted = [
    { ...whole, resource: `${WORD}${DIGITS}`, resource_id: 91 },
    { ...whole, status: WORD, resource_id: 92 },
    { ...whole, [WORD]: NAME, data: { ...booking(companyId, 93, MARKED), attendance: NAME, date: PHONE } },
    event(companyId, 'client', 4242, 'update', PERSON),
    event(companyId, 'staff', 701, 'update', { id: 701, name: NAME, phone: PHONE, [WORD]: [NAME] }),
    event(companyId, 'client', 4242, 'delete', []),
  ];
  for (const body of accepted) await house.accept({ companyId, url, key }, body);
  return [
    await postPatiently(url, broken, HEADERS),
    await postPatiently(url, { ...whole, company_id: companyId + 1 }, HEADERS),
    await postPatiently(url, `"${NAME} ${PHONE}"`, HEADERS),
    await postPatiently(url, '['.repeat(1000) + WORD, HEADERS),
    await postPatiently(url, broken, { ...HEADERS, 'content-type': `text/${WORD}` }),
    await postPatiently(url, broken, { ...HEADERS, 'content-encoding': WORD }),
    await postPatiently(url, broken, { ...HEADERS, 'x-otklik-signature': `t=1,v1=${WORD}` }),
    await postPatiently(url, WORD.repeat(30_000), HEADERS),
    await postPatiently(`${url}${WORD}`, broken, HEADERS),
    await postPatiently(`${house.service.publicUrl}/webhooks/yclients/events?key=${key}&x=${DIGITS}`, broken),
    await postPatiently(`${house.service.publicUrl}/webhooks/yclients/lifecycle`, {
      partner_token: WORD,
      salon_id: NAME,
    }),
    await send(
      `${house.service.publicUrl}/connect/yclients?salon_id=1&user_data=${WORD}&user_data_sign=${WORD}`,
      {
        method: 'GET',
      },
    ),
    await send(`${house.service.publicUrl}/a/${WORD}`, { method: 'GET' }),
    await send(url, { method: 'GET' }),
  ];
}

/** The API as somebody uses it who mistakes one thing for another. */
async function badCalls({ companyId, key }: Company) {
  const { api } = house.service;
  const answers = [
    await api('GET', `/events/${key}`),
    await api('GET', `/events/${WORD}`),
    await api('GET', `/events?company=${DIGITS}${WORD}&state=${WORD}`),
    await api('GET', `/messages?cursor=${WORD}`),
    await api('GET', '/events', undefined, { authorization: `Bearer ${ADMIN_TOKEN}${WORD}` }),
    await api('POST', '/companies', `{"companyId":1,"title":"${NAME}`),
    await api('POST', '/companies', { companyId: NAME, title: NAME, [WORD]: PHONE, zone: WORD }),
    await api('PATCH', `/companies/${companyId}`, { sweepMs: WORD, userToken: NAME }),
    await api('PUT', `/companies/${companyId}/clients/${NAME}/addresses/telegram`, { address: PHONE }),
    await api('PUT', `/companies/${companyId}/clients/1/addresses/${WORD}`, { address: PHONE }),
    await api('POST', `/${WORD}`, { [WORD]: NAME }),
  ];
  for (const answer of answers) assertProblem(answer, answer.status);
  return answers;
}

/** The commands likewise; what they are asked to print is not looked at, what they complain of is. */
async function badCommands({ companyId, key }: Company): Promise<string[]> {
  const env = { YCLIENTS_PARTNER_TOKEN: `${WORD}partner`, YCLIENTS_USER_TOKEN: `${WORD}user` };
  const platform = { ...env, YCLIENTS_API_URL: `${parrotUrl}/platform` };
  const ran = await Promise.all([
    command(house.databaseUrl, ['events', 'show', key], env),
    command(house.databaseUrl, ['messages', 'show', key], env),
    command(house.databaseUrl, ['hooks', 'show', String(companyId)], platform),
    command(house.databaseUrl, ['serve'], {
      ...env,
      TELEGRAM_TOKEN: WORD,
      SMTP_URL: WORD,
      ADMIN_TOKEN: WORD.slice(0, 5),
    }),
    command(`postgresql://${WORD}:${WORD}@127.0.0.1:1/${WORD}`, ['migrate'], env),
  ]);
  for (const { code } of ran) assert.notEqual(code, 0);
  return ran.map(({ stdout, stderr }) => stdout + stderr);
}

async function everyChannelTried(companies: ReadonlyMap<string, Company>): Promise<boolean> {
  const outcomes = await outcomesOf(companies);
  return CHANNELS.every(
    channel => outcomes.get(channel)?.has('sent') && (outcomes.get(channel)?.size ?? 0) > 1,
  );
}

const attempts = z.array(z.object({ channel: z.string(), outcome: z.string() }));

async function outcomesOf(companies: ReadonlyMap<string, Company>): Promise<Map<string, Set<string>>> {
  const { rows } = await house.pool.query(
    'SELECT channel, outcome FROM attempts WHERE company_id = ANY($1)',
    [[...companies.values()].map(({ companyId }) => companyId)],
  );
  const found = new Map<string, Set<string>>();
  for (const { channel, outcome } of attempts.parse(rows))
    found.set(channel, (found.get(channel) ?? new Set()).add(outcome));
  return found;
}

/** Each in the forms in which it could come through. */
function marksOf(companies: readonly Company[]): string[] {
  const keys = companies.flatMap(({ key, inboundSecret, outboundSecret }) => [
    key,
    inboundSecret,
    outboundSecret,
  ]);
  const sealed = [OTKLIK_KEY, Buffer.from(OTKLIK_KEY, 'hex').toString('base64'), ADMIN_TOKEN, BOT_TOKEN];
  const { password } = new URL(house.databaseUrl);
  const plain = [WORD, NAME, DIGITS, EMAIL, CHAT, ...sealed, ...keys, password].filter(mark => mark);
  return plain.flatMap(mark => [
    String(mark),
    encodeURIComponent(String(mark)),
    JSON.stringify(mark).slice(1, -1),
    Buffer.from(String(mark)).toString('base64').replaceAll('=', ''),
    Buffer.from(String(mark)).toString('hex'),
  ]);
}

function assertUnmarked(place: string, text: string, marks: readonly string[]): void {
  const folded = text.toLowerCase();
  for (const mark of marks) {
    const at = folded.indexOf(mark.toLowerCase());
    assert.ok(at < 0, `${place} holds a mark: ${text.slice(Math.max(0, at - 300), at + 100)}`);
  }
  // A phone however it is spaced.
  const spaced = new RegExp([...DIGITS].join('[\\s().+-]{0,3}'));
  assert.ok(!spaced.test(text), `${place} holds a phone`);
}
