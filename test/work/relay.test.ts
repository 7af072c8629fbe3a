/** SMS-operator mode: the platform's texts in by HTTP, out by our channels, and what became of them told back. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, beforeEach, test } from 'node:test';
import { type FastifyInstance, fastify } from 'fastify';
import type { Channel, ChannelName, Outgoing, SendResult } from '../../src/channels/channel.ts';
import { CONSOLE_TRAITS } from '../../src/channels/console.ts';
import { operatorFindings } from '../../src/commands/operator.ts';
import { readConfig } from '../../src/config.ts';
import { NO_MONEY, nextStatus } from '../../src/domain/relay.ts';
import { createKeyRing } from '../../src/http/keys.ts';
import { createReceiver } from '../../src/http/receive.ts';
import { createPostgresLog } from '../../src/ingest/postgres-log.ts';
import { createLog } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import { setConsent } from '../../src/salon/clients.ts';
import { closeTexts, openTexts, rotateKey } from '../../src/salon/companies.ts';
import { erasePerson } from '../../src/salon/erase.ts';
import { type Platform, startPlatform } from '../../src/simulator/api/platform.ts';
import { createPool } from '../../src/store/pool.ts';
import { saveReceipts } from '../../src/store/receipts.ts';
import { claimReports, endReport, findRelayedMessages } from '../../src/store/relays.ts';
import { showMessage } from '../../src/store/views.ts';
import type { Dispatcher } from '../../src/work/dispatch.ts';
import { createListener } from '../../src/work/listen.ts';
import { createReporter, type Reporter } from '../../src/work/report.ts';
import { createStatusTeller, type StatusTeller } from '../../src/yclients/relay-status.ts';
import { assertSeenThrough } from '../support/seen-through.ts';
import { until } from '../support/until.ts';
import { createPipeline, type Pipeline, recordBody } from './pipeline.ts';

const PHONE = '+79160000001';
/** A Tuesday, noon at the salon. */
const NOON = Date.parse('2026-11-24T12:00:00+03:00');

let pipeline: Pipeline;
let platform: Platform;
let app: FastifyInstance;
let dispatcher: Dispatcher;
let reporter: Reporter;
let teller: StatusTeller;
const lines: string[] = [];
const sent: { channel: ChannelName; message: Outgoing }[] = [];
/** What a channel answers to the next sends; `sent` when there is nothing. */
let answers: SendResult[] = [];
const metrics = createMetrics();
const log = createLog('debug', { write: (line: string) => lines.push(line) });

function channel(name: ChannelName, address: Channel['traits']['address'], idempotent = false): Channel {
  return {
    ...{ name, idempotent, concurrency: 8 },
    traits: { ...CONSOLE_TRAITS, address },
    async send(message) {
      sent.push({ channel: name, message });
      return answers.shift() ?? { outcome: 'sent', providerId: `${name}-${sent.length}` };
    },
  };
}
const CHANNELS = new Map<ChannelName, Channel>([
  ['telegram', channel('telegram', 'chat')],
  ['sms', channel('sms', 'phone')],
  ['webhook', channel('webhook', 'none', true)],
]);

before(async () => {
  pipeline = await createPipeline();
  platform = await startPlatform({ limits: null });
  const { pool, vault } = pipeline;
  teller = createStatusTeller({
    partnerTokens: { yclients: platform.partnerToken, altegio: undefined },
    ...{ baseUrl: platform.url, now: Date.now },
  });
  reporter = createReporter({ ...{ pool, log, metrics, teller }, random: () => 0 });
  dispatcher = pipeline.another({ channels: CHANNELS, answerUrl: () => 'https://otklik.test/x' }).dispatcher;
  const keyed = { pool, vault, now: Date.now };
  app = createReceiver({
    ...{ metrics, log },
    keys: createKeyRing(keyed),
    ingest: createPostgresLog({ pool, onAppended: () => {} }),
    now: () => pipeline.now,
    limits: { perCompany: 1000, perAddress: 1000 },
    trustedProxies: [],
    relay: {
      pool,
      keys: createKeyRing({ ...keyed, use: 'texts' }),
      statusUrlOf: () => platform.url,
      onTexts: () => {},
    },
  });
  await app.ready();
});
after(async () => {
  await app.close();
  await dispatcher.stop();
  await teller.close();
  await platform.close();
  await pipeline.close();
});
beforeEach(() => {
  pipeline.now = NOON;
  sent.length = 0;
  answers = [];
  platform.setFault();
});

let companies = 100;
type Salon = { companyId: number; key: string };
async function salon(fields: Parameters<Pipeline['addCompany']>[0] | object = {}): Promise<Salon> {
  companies += 1;
  const companyId = companies;
  await pipeline.addCompany({ companyId, route: ['telegram', 'sms'], ...fields });
  platform.add(companyId);
  const { pool, vault } = pipeline;
  return { companyId, key: await openTexts({ pool, vault, actor: 'command' }, companyId) };
}

const put = (url: string, payload: string, headers = {}) =>
  app.inject({ method: 'POST', url, payload, headers: { 'content-type': 'application/json', ...headers } });
const give = ({ key }: Salon, body: string) => put(`/operator/yclients/${key}`, body);

/** Hands over one text; its ids there and here. */
async function relay(
  to: Salon,
  text: Partial<Parameters<Platform['text']>[1]> = {},
): Promise<{ id: string; message: string }> {
  const { id, body } = platform.text(to.companyId, { phone: PHONE, text: 'Ваш код: К-4711', ...text });
  const answer = await give(to, body);
  assert.equal(answer.statusCode, 200, answer.body);
  const [item] = answer.json();
  assert.equal(item.id, id);
  return { id, message: item.ext_id };
}

async function settle(): Promise<void> {
  await dispatcher.drain();
  while ((await reporter.runOnce()) > 0);
}
const stateOf = async (id: string) => (await showMessage(pipeline.pool, id))?.state;
const went = () => sent.map(({ channel: name, message: { address, text } }) => [name, address, text]);

async function person(
  companyId: number,
  fields: { newsletter?: boolean; refuses?: boolean; phone?: string } = {},
) {
  const { newsletter = false, refuses = false, phone = PHONE } = fields;
  await pipeline.pool.query(
    `INSERT INTO people (company_id, client_id, name, phone, newsletter, refuses) VALUES ($1, 9, 'Анна', $2, $3, $4)`,
    [companyId, phone, newsletter, refuses],
  );
}
const link = (companyId: number, chat: string) =>
  pipeline.pool.query(
    `INSERT INTO chats (company_id, channel, chat, phone) VALUES ($1, 'telegram', $2, $3)`,
    [...[companyId, chat, PHONE]],
  );
const stop = (companyId: number, name: string, address: string, categories = ['service', 'advertising']) =>
  pipeline.pool.query(
    `INSERT INTO consents (company_id, channel, address, category, granted, words, given_at)
     SELECT $1, $2, $3, unnest($4::text[]), false, 'СТОП', now()`,
    [companyId, name, address, categories],
  );

test('a text leaves once, word for word, however many copies come, and each status is told in its order', async () => {
  const shop = await salon();
  const { id, body } = platform.text(shop.companyId, { phone: '79160000001', text: 'Ждём вас в 14:30' });
  const copies = await Promise.all(Array.from({ length: 8 }, () => give(shop, body)));
  assert.deepEqual(new Set(copies.map(copy => copy.statusCode)), new Set([200]));
  assert.equal(new Set(copies.map(copy => copy.body)).size, 1, 'a copy has the answer of the first');
  const [{ ext_id: message }] = copies[0]?.json() ?? [];
  await settle();
  assert.deepEqual(went(), [['sms', PHONE, 'Ждём вас в 14:30']]);
  assert.equal(sent[0]?.message.links, undefined);
  assert.deepEqual(platform.statuses(id), [8, 4]);
  assert.equal((await give(shop, body)).body, copies[0]?.body);
  await saveReceipts(pipeline.pool, [
    {
      channel: 'sms',
      provider: 'sms.ru',
      providerId: 'sms-1',
      status: 'delivered',
      reason: '',
      happenedAt: null,
    },
  ]);
  assert.equal(await stateOf(message), 'delivered');
  await settle();
  assert.deepEqual([sent.length, platform.statuses(id)], [1, [8, 4, 1]]);
  assert.deepEqual((await showMessage(pipeline.pool, message))?.relay, {
    ...{ theirId: id, category: 'service', asked: 'sms', told: 1, reason: null },
  });
});

test('equal texts under two ids are two; without an id they are one within a minute', async () => {
  const shop = await salon();
  await relay(shop);
  await relay(shop);
  await settle();
  assert.equal(sent.length, 2);
  const bare = JSON.stringify({ destination_params: PHONE, text: 'Ваш код: 5', dispatch_type: 'service' });
  const answered = (await give(shop, bare)).json();
  assert.equal(answered[0].id, answered[0].ext_id, 'who gives no id is given ours');
  await give(shop, bare);
  pipeline.now += 60_000;
  await give(shop, bare);
  await settle();
  assert.equal(sent.length, 4);
});

test('it leaves on the chat that is linked to the phone, on the channel asked for where the policy says so', async () => {
  const shop = await salon();
  await link(shop.companyId, '42');
  await relay(shop);
  await settle();
  await pipeline.setPolicy(shop.companyId, { relay: { by: 'asked' } });
  await relay(shop, { channel: 'sms' });
  const asked = await relay(shop, { channel: 'whatsapp' });
  await settle();
  assert.deepEqual(
    went().map(([name, address]) => [name, address]),
    [
      ['telegram', '42'],
      ['sms', PHONE],
    ],
  );
  assert.deepEqual(platform.statuses(asked.id), [8, 16], 'WhatsApp is not set up here');
});

test('who said stop is left alone: on that channel, or on all of them', async () => {
  const shop = await salon();
  await link(shop.companyId, '42');
  await stop(shop.companyId, 'telegram', '42');
  await relay(shop);
  await settle();
  assert.deepEqual(went()[0]?.slice(0, 2), ['sms', PHONE]);
  await stop(shop.companyId, 'sms', PHONE);
  const { id } = await relay(shop);
  await settle();
  assert.deepEqual([sent.length, platform.statuses(id)], [1, [8, 16]]);
  const quiet = await salon();
  await person(quiet.companyId, { refuses: true });
  const refused = await relay(quiet);
  await settle();
  assert.deepEqual([sent.length, platform.statuses(refused.id)], [1, [8, 16]]);
});

test('advertising goes to those who want it, where they did not stop it, and not in the quiet hours', async () => {
  const shop = await salon();
  const adds = { text: 'Скидки всем', dispatchType: 'adds' } as const;
  const stranger = await relay(shop, adds);
  await person(shop.companyId, { newsletter: true });
  const wanted = await relay(shop, adds);
  await dispatcher.drain();
  pipeline.now = Date.parse('2026-11-24T22:00:00+03:00');
  const late = await relay(shop, adds);
  await settle();
  assert.deepEqual(
    [stranger, wanted, late].map(({ id }) => platform.statuses(id)),
    [[8, 4], [8, 4], [8]],
  );
  pipeline.now = Date.parse('2026-11-25T09:00:00+03:00');
  await settle();
  assert.deepEqual(platform.statuses(late.id), [8, 4]);
  await stop(shop.companyId, 'sms', PHONE, ['advertising']);
  const stopped = await relay(shop, adds);
  const service = await relay(shop);
  await settle();
  assert.deepEqual(
    [platform.statuses(stopped.id), platform.statuses(service.id)],
    [
      [8, 16],
      [8, 4],
    ],
  );
  const other = await salon();
  const nobody = await relay(other, adds);
  await settle();
  assert.deepEqual(platform.statuses(nobody.id), [8, 16], 'nobody there has consented');
});

test('who refused all messages for good gets no text at the number that their card has now', async () => {
  const shop = await salon();
  await person(shop.companyId, { phone: '+79160000555' });
  await setConsent({ pool: pipeline.pool, actor: 'command' }, shop.companyId, '9', {
    ...{ channel: undefined, category: undefined, granted: false, reason: 'said so by phone' },
  });
  await pipeline.pool.query('UPDATE people SET phone = $2 WHERE company_id = $1', [shop.companyId, PHONE]);
  const refused = await relay(shop);
  await settle();
  assert.deepEqual([platform.statuses(refused.id), went()], [[8, 16], []]);
});

test('«стоп» of somebody who is no client is a word to the salon whose text they got, and to no other', async () => {
  const [shop, other] = [await salon(), await salon()];
  const phone = '+79160000777';
  await relay(shop, { phone });
  await relay(other, { phone: '+79160000778' });
  const listener = createListener({
    ...{ pool: pipeline.pool, log, metrics, vault: pipeline.vault, now: () => pipeline.now },
    ear: {
      ...{ channel: 'sms', account: 'texts', numbers: 'chat', costly: true, waitMs: 0 },
      listen: async position => ({
        heard: position > 0 ? [] : [{ chat: phone, kind: 'text', text: 'СТОП, не пишите мне' }],
        position: 1,
      }),
      ...{
        inviteUrl: async () => '',
        readAgain: () => [],
        acknowledge: async () => undefined,
        reply: async () => ({ outcome: 'sent' }),
      },
      close: async () => {},
    },
    onAction: () => {},
  });
  await settle();
  assert.equal(await listener.runOnce(), 1);
  await listener.stop();
  const { rows } = await pipeline.pool.query(
    'SELECT company_id AS "companyId", category, granted FROM consents WHERE address = $1 ORDER BY category',
    [phone],
  );
  assert.deepEqual(rows, [
    { companyId: shop.companyId, category: 'advertising', granted: false },
    { companyId: shop.companyId, category: 'service', granted: false },
  ]);
  sent.length = 0;
  const refused = await relay(shop, { phone });
  await settle();
  assert.deepEqual([platform.statuses(refused.id), went()], [[8, 16], []]);
});

test('where the salon wants it, a text about a visit that we tell of ourselves stays away, a code does not', async () => {
  const shop = await salon();
  const { companyId } = shop;
  const texts = ['Вы записаны на 20 мая в 14:30', 'Ваш код: 1430', 'Вы записаны в 14:00'];
  const tell = async () => {
    const all = await Promise.all(texts.map(text => relay(shop, { text })));
    pipeline.now += 20_000;
    await settle();
    return all.map(({ id }) => platform.statuses(id).at(-1));
  };
  await pipeline.receive(companyId, [{ body: recordBody({ companyId, at: NOON }), receivedAt: NOON }]);
  await pipeline.processor.drain();
  await dispatcher.drain();
  assert.equal(sent.length, 1, 'our own notice');
  assert.deepEqual(await tell(), [4, 4, 4]);
  await pipeline.setPolicy(companyId, { relay: { repeats: 'drop' } });
  pipeline.now = NOON;
  assert.deepEqual(await tell(), [16, 4, 4]);
});

test('what cannot be read is kept, and said so: the whole of it, or one of several', async () => {
  const shop = await salon();
  const quarantine = async () => {
    const { rows } = await pipeline.pool.query<{ raw: Buffer }>(
      `SELECT raw FROM webhook_events WHERE company_id = $1 AND state = 'quarantined' ORDER BY seq`,
      [shop.companyId],
    );
    return rows.map(({ raw }) => raw.toString());
  };
  for (const body of ['{', '[]', '{"text":"x"}', '{"text":"x","destination_params":{"id":1,"to":"нет"}}']) {
    const answer = await give(shop, body);
    assert.equal(answer.statusCode, 400, body);
    assert.match(answer.json().detail, /The body was kept as [0-9a-f-]{36} but cannot be read/);
    assert.equal((await quarantine()).at(-1), body);
  }
  const some = JSON.stringify({
    destination_params: [
      { id: 1, phone: PHONE },
      { id: 2, phone: '0' },
    ],
    text: 'x',
  });
  const answer = await give(shop, some);
  assert.equal(answer.statusCode, 200);
  const [good, bad] = answer.json();
  assert.deepEqual(
    [good.id, bad],
    ['1', { id: '2', error_code: 10, error_message: 'no phone that can be called' }],
  );
  assert.equal((await quarantine()).at(-1), some);
  await settle();
  assert.equal(sent.length, 1);
});

test('a key of texts is for texts alone; it rotates, ends, and also comes in a header', async () => {
  const shop = await salon();
  const { pool, vault } = pipeline;
  const deps = { pool, vault, actor: 'command' } as const;
  const { body } = platform.text(shop.companyId, { phone: PHONE, text: 'x' });
  const status = async (url: string, headers = {}) => (await put(url, body, headers)).statusCode;
  const hook = await rotateKey(deps, shop.companyId);
  assert.equal(await status(`/operator/yclients/${hook}`), 404);
  assert.equal(await status(`/webhooks/yclients/${shop.key}`), 404);
  assert.equal(await status(`/operator/yclients/${'x'.repeat(43)}`), 404);
  assert.equal(await status('/operator/yclients'), 404);
  assert.equal(await status('/operator/yclients', { authorization: `Bearer ${shop.key}` }), 200);
  const next = await openTexts(deps, shop.companyId);
  assert.deepEqual(
    [await status(`/operator/yclients/${next}`), await status(`/operator/yclients/${shop.key}`)],
    [200, 200],
    'the old one works for another day',
  );
  const fresh = await salon();
  assert.equal(await closeTexts(deps, fresh.companyId), true);
  assert.equal(await status(`/operator/yclients/${fresh.key}`), 404);
  assert.equal(await closeTexts(deps, fresh.companyId), false);
  await settle();
});

test('a platform that is away, limits or answers late hears each status in the end, in order', async () => {
  const shop = await salon();
  platform.setFault({ operations: ['text_status'], kind: 'error' });
  const { id, message } = await relay(shop);
  await settle();
  assert.deepEqual([sent.length, platform.statuses(id)], [1, []]);
  const row = () =>
    pipeline.pool.query(
      `SELECT told, attempts, reason, due_at > now() AS waits, due_at < now() + interval '10 s' AS soon FROM relays
       WHERE message_id = $1`,
      [message],
    );
  const [waiting] = (await row()).rows;
  assert.deepEqual(
    { ...waiting, attempts: waiting.attempts > 0 },
    { told: null, attempts: true, reason: 'HTTP 502 of the platform', waits: true, soon: true },
  );
  platform.setFault();
  await pipeline.pool.query('UPDATE relays SET due_at = now() WHERE message_id = $1', [message]);
  await settle();
  assert.deepEqual(platform.statuses(id), [8, 4]);
  assert.deepEqual((await row()).rows[0], { told: 4, attempts: 0, reason: null, waits: null, soon: null });
});

test('so many SMS as it is are told; a wait that is asked for is kept, and in the end a status is given up', async () => {
  const shop = await salon();
  const parts = new Map<string, number>();
  const busy = createReporter({
    ...{ pool: pipeline.pool, log, metrics, random: () => 0 },
    teller: {
      ...teller,
      async tell(report) {
        parts.set(report.id, report.parts);
        return { outcome: 'later', reason: 'busy', retryAfterMs: 10 * 60_000 };
      },
    },
  });
  const text = 'я'.repeat(100);
  const { id, message } = await relay(shop, { text });
  const elsewhere = await salon();
  await link(elsewhere.companyId, '77');
  const byChat = await relay(elsewhere, { text });
  await dispatcher.drain();
  await busy.runOnce();
  assert.deepEqual([parts.get(id), parts.get(byChat.id)], [2, 1]);
  const row = async () => {
    const { rows } = await pipeline.pool.query(
      `SELECT attempts, reason, due_at > now() + interval '9 min' AS waits FROM relays WHERE message_id = $1`,
      [message],
    );
    return rows[0];
  };
  assert.deepEqual(await row(), { attempts: 1, reason: 'busy', waits: true });
  await pipeline.pool.query('UPDATE relays SET attempts = 299, due_at = now() WHERE message_id = $1', [
    message,
  ]);
  await busy.runOnce();
  assert.deepEqual(await row(), { attempts: 0, reason: 'busy', waits: null });
  await busy.stop();
});

test('a status that the platform refuses keeps none of the later ones back', async () => {
  const shop = await salon();
  const body = JSON.stringify({ destination_params: { id: 'nobody-knows-it', phone: PHONE }, text: 'x' });
  const [{ ext_id: message }] = (await give(shop, body)).json();
  await settle();
  const { rows } = await pipeline.pool.query(
    'SELECT told, due_at, reason FROM relays WHERE message_id = $1',
    [message],
  );
  assert.deepEqual(rows, [{ told: 4, due_at: null, reason: 'HTTP 404 of the platform' }]);
});

test('a move between the look and its end is not forgotten', async () => {
  const shop = await salon();
  const { id, message } = await relay(shop);
  const slow = createReporter({
    ...{ pool: pipeline.pool, log, metrics, random: () => 0 },
    teller: {
      ...teller,
      async tell(report, signal) {
        if (report.status === 8) await dispatcher.drain();
        return teller.tell(report, signal);
      },
    },
  });
  assert.equal(await slow.runOnce(), 1);
  assert.equal(await stateOf(message), 'sent');
  while ((await slow.runOnce()) > 0);
  assert.deepEqual(platform.statuses(id), [8, 4]);
});

test('a status whose look fails leaves no other under way; a reporter that was stopped tells again once it is started', async () => {
  const shop = await salon();
  const [bad, good] = [await relay(shop), await relay(shop, { text: 'второй' })];
  const asked = Promise.withResolvers<void>();
  const failed = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const deps = { ...{ pool: pipeline.pool, log, metrics }, random: () => 0 };
  const slow = createReporter({
    ...deps,
    teller: {
      ...teller,
      async tell(report, signal) {
        if (report.id === bad.id) {
          failed.resolve();
          throw new TypeError('a bug');
        }
        asked.resolve();
        await held.promise;
        return teller.tell(report, signal);
      },
    },
  });
  await assertSeenThrough(slow.runOnce(), {
    failed: Promise.all([asked.promise, failed.promise]),
    release: held.resolve,
    failure: /a bug/,
  });
  assert.deepEqual(platform.statuses(good.id), [8]);

  const again = createReporter({ ...deps, teller });
  again.start();
  await again.stop();
  await pipeline.pool.query(
    'UPDATE relays SET due_at = now(), leased_until = NULL, leased_by = NULL WHERE message_id = $1',
    [bad.message],
  );
  again.start();
  await until(() => platform.statuses(bad.id).length > 0, { what: 'the status is told' });
  await again.stop();
});

test('a look that found nothing forgets the hour only of what it has seen', async () => {
  const shop = await salon();
  const { id, message } = await relay(shop);
  while ((await reporter.runOnce()) > 0);
  const { pool } = pipeline;
  const look = async (between: () => Promise<unknown>) => {
    await pool.query('UPDATE relays SET due_at = now() WHERE message_id = $1', [message]);
    const owner = '00000000-0000-4000-8000-000000000001';
    const [report] = await claimReports(pool, { owner, leaseMs: 60_000, limit: 1 });
    assert.ok(report);
    const stood = (await findRelayedMessages(pool, [report])).get(message);
    assert.ok(stood);
    assert.equal(nextStatus(report.told, stood), null);
    await between();
    assert.equal(await endReport(pool, report, { owner, end: { do: 'quiet' } }), true);
    assert.equal(await endReport(pool, report, { owner, end: { do: 'quiet' } }), false, 'it is ours no more');
    const { rows } = await pool.query('SELECT due_at FROM relays WHERE message_id = $1', [message]);
    return rows[0].due_at;
  };
  assert.equal(await look(async () => {}), null);
  assert.notEqual(await look(() => dispatcher.drain()), null);
  while ((await reporter.runOnce()) > 0);
  assert.deepEqual(platform.statuses(id), [8, 4]);
});

test('doctor names what an operator of texts lacks, and the statuses that were not taken', async () => {
  const shop = await salon({ route: ['sms'] });
  const says = async (env: Readonly<Record<string, string>>) => {
    const findings = await operatorFindings(pipeline.pool, readConfig(env));
    return findings
      .filter(finding => finding.says.includes(`company ${shop.companyId}`))
      .map(({ state, says: words }) => `${state}: ${words}`);
  };
  const outside = { PUBLIC_URL: 'https://otklik.example' };
  const able = { YCLIENTS_PARTNER_TOKEN: 'token', SMS_PROVIDER: 'sms.ru', SMS_TOKEN: 'token', ...outside };
  assert.deepEqual(await says(able), [`ok: company ${shop.companyId}: 0 texts of its own in 24 hours`]);
  const lacks = await says({ PUBLIC_URL: 'http://otklik.example' });
  assert.deepEqual(
    lacks.map(lack => /YCLIENTS_PARTNER_TOKEN|https|settings of sms/.exec(lack)?.[0]),
    ['YCLIENTS_PARTNER_TOKEN', 'https', 'settings of sms'],
  );
  for (const PUBLIC_URL of ['', 'http://127.0.0.1:8080', 'https://localhost'])
    assert.match((await says({ ...able, PUBLIC_URL })).join(), /^fault: .* lacks a PUBLIC_URL/, PUBLIC_URL);
  pipeline.now = Date.now();
  platform.setFault({ operations: ['text_status'], kind: 'error' });
  const { message } = await relay(shop);
  await settle();
  assert.match((await says(able)).join(), /note: .*1 texts .* of 1 the platform did not take a status yet/);
  platform.setFault();
  await pipeline.pool.query('UPDATE relays SET due_at = now() WHERE message_id = $1', [message]);
  await settle();
});

test('an empty account is told as one, and what was tried in vain as not delivered', async () => {
  const shop = await salon();
  answers = [{ outcome: 'rejected', scope: 'channel', reason: `SMS.ru 201: ${NO_MONEY}` }];
  const poor = await relay(shop);
  await settle();
  answers = [{ outcome: 'rejected', scope: 'address', reason: 'SMS.ru 202' }];
  const wrong = await relay(shop);
  await settle();
  assert.deepEqual(
    [platform.statuses(poor.id), platform.statuses(wrong.id)],
    [
      [8, 52],
      [8, 2],
    ],
  );
});

test('a sender that died: repeated where a repeat is dropped, else told as sent and never sent again', async () => {
  const die = (message: string) =>
    pipeline.pool.query(
      `UPDATE messages SET state = 'sending', channel = $2, attempts = 1, leased_by = gen_random_uuid(),
         leased_until = now() - interval '1 s' WHERE id = $1`,
      [message, message === repeated.message ? 'webhook' : 'sms'],
    );
  const [bot, shop] = [await salon({ route: ['webhook'] }), await salon()];
  const [repeated, lost] = [await relay(bot), await relay(shop)];
  await die(repeated.message);
  await die(lost.message);
  await settle();
  assert.deepEqual(went(), [['webhook', '', 'Ваш код: К-4711']]);
  assert.deepEqual([await stateOf(repeated.message), await stateOf(lost.message)], ['sent', 'unknown']);
  assert.deepEqual(
    [platform.statuses(repeated.id), platform.statuses(lost.id)],
    [
      [8, 4],
      [8, 4],
    ],
  );
});

test('a text that waited too long, or might have left before a backup, is not sent', async () => {
  const [late, restored] = [await salon(), await salon()];
  const old = await relay(late);
  const doubtful = await relay(restored);
  await pipeline.pool.query('UPDATE companies SET quiet_until = $2 WHERE company_id = $1', [
    ...[restored.companyId, new Date(NOON).toISOString()],
  ]);
  pipeline.now += 6 * 3_600_000 + 1;
  await settle();
  assert.deepEqual(
    [sent.length, platform.statuses(old.id), platform.statuses(doubtful.id)],
    [0, [8, 2], [8, 4]],
  );
});

test('the address in a request is never called; that it differs is said once, and nothing secret is logged', async () => {
  let calls = 0;
  const trap = createServer((_request, response) => {
    calls += 1;
    response.end();
  });
  await new Promise<void>(resolve => trap.listen(0, '127.0.0.1', resolve));
  const address = trap.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  const shop = await salon();
  const body = (id: number, url: string) =>
    JSON.stringify({
      destination_params: { id, phone: PHONE },
      ...{ text: 'Ваш код: К-4711', delivery_callback_url: url },
    });
  const from = lines.length;
  await give(shop, body(1, `http://127.0.0.1:${port}/smsprovider/status/callback/t`));
  await give(shop, body(2, `http://127.0.0.1:${port}/other`));
  await give(shop, body(3, 'https://www.yclients.com/smsprovider/status/callback/t'));
  await settle();
  await new Promise(resolve => trap.close(resolve));
  assert.equal(calls, 0);
  const said = lines.slice(from).filter(line => line.includes('another host'));
  assert.equal(said.length, 2);
  assert.match(said[0] ?? '', /a host that is not the platform’s/);
  assert.match(said[1] ?? '', /asked for at www\.yclients\.com/);
  const all = lines.join('');
  // None that an id or a moment may spell.
  for (const secret of [platform.partnerToken, shop.key, PHONE, '79160000001', 'К-4711', `:${port}`]) {
    assert.ok(!all.includes(secret), `${secret} is in the log`);
  }
});

test('erasing a person takes their texts along, and one that waits is not sent', async () => {
  const shop = await salon();
  await person(shop.companyId);
  const waiting = await relay(shop, { text: 'Анна, ждём' });
  const { pool, vault } = pipeline;
  await erasePerson({ pool, vault, actor: 'command' }, { companyId: shop.companyId, phone: PHONE });
  await settle();
  assert.equal(sent.length, 0);
  const { rows: left } = await pool.query('SELECT state, body FROM messages WHERE id = $1', [
    waiting.message,
  ]);
  assert.deepEqual(left, [{ state: 'cancelled', body: null }]);
  const { rows } = await pool.query('SELECT FROM relays WHERE company_id = $1', [shop.companyId]);
  assert.equal(rows.length, 0);
});

test('without the database a text is refused, to be sent again', async () => {
  const shop = await salon();
  const { body } = platform.text(shop.companyId, { phone: PHONE, text: 'x' });
  assert.equal((await give(shop, body)).statusCode, 200);
  const gone = createPool('postgresql://nobody@127.0.0.1:1/none', {
    ...{ max: 1, name: 'test', statementTimeoutMs: 1_000 },
  });
  const broken = fastify();
  const { addRelayRoute } = await import('../../src/http/relay.ts');
  const deps = { metrics, log, now: Date.now, limits: { perCompany: 9, perAddress: 9 } };
  const { vault, pool } = pipeline;
  addRelayRoute(
    broken,
    { ...deps, ingest: createPostgresLog({ pool: gone, onAppended: () => {} }) },
    {
      ...{ pool: gone, statusUrlOf: () => platform.url, onTexts: () => {} },
      keys: createKeyRing({ pool, vault, now: Date.now, use: 'texts' }),
    },
  );
  const answer = await broken.inject({
    method: 'POST',
    url: `/operator/yclients/${shop.key}`,
    payload: body,
  });
  assert.equal(answer.statusCode, 503);
  assert.equal(answer.headers['retry-after'], '2');
  await broken.close();
  await gone.end();
});
