/**
 * The platform's texts through two processes, one that takes them and one that sends, while either is killed with
 * SIGKILL again and again, and the platform answers its statuses badly.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import type pg from 'pg';
import { z } from 'zod';
import { type Platform, startPlatform } from '../../src/simulator/api/platform.ts';
import { createRandom } from '../../src/simulator/random.ts';
import { createVault } from '../../src/vault.ts';
import { testDatabase } from '../support/database.ts';
import { letLeasesPass, type Shift } from '../support/kills.ts';
import { type Provider, startProvider } from '../support/provider.ts';
import { freePorts, json, OTKLIK_KEY, post, type Service, send, startService } from '../support/service.ts';
import { type Sink, startSink } from '../support/sink.ts';
import { until } from '../support/until.ts';

const SEED = 20_270;
const ROUNDS = 12;
/** Its texts go to a program that drops repeats; those of the other by SMS, whose provider does not. */
const BOT = 2001;
const SMS = 2002;
const WRITERS = 4;
/** Of which one hands over texts of the company with SMS, ten of which leave in a second. */
const SMS_WRITER = 0;
/** No backlog that outlives the test. */
const SMS_PAUSE_MS = 120;
const BOT_PAUSE_MS = 20;
const LEAST = 40;
const MOST = 120;
const DELAY_MS = 5;
const PATIENCE_MS = 300_000;
const SMS_TOKEN = 'sms-ru-canary-token';

/** Accepted texts by the platform's id: whose, and what they say. */
type Books = Map<string, { companyId: number; phone: string; text: string; message: string }>;

const accepted = z.array(z.object({ id: z.string(), ext_id: z.uuid() })).length(1);

test('kill -9 of either process loses no text, sends none twice, and leaves no status untold', async t => {
  const database = await testDatabase();
  const sink = await startSink({ delayMs: DELAY_MS });
  const platform = await startPlatform({ limits: null, seed: SEED });
  const [takes, sends] = await Promise.all([freePorts(), freePorts()]);
  const receiptUrl = `http://127.0.0.1:${takes.public}/receipts/sms.ru/${createVault(Buffer.from(OTKLIK_KEY, 'hex')).receiptSecret('sms.ru', 0)}`;
  const shift: Shift = { up: true, over: false };
  const provider = await startSmsRu(receiptUrl);
  const env = {
    ...{ RATE_PER_COMPANY: '100000', RATE_PER_ADDRESS: '100000', LOG_LEVEL: 'info' },
    ...{ YCLIENTS_PARTNER_TOKEN: platform.partnerToken, YCLIENTS_STATUS_URL: platform.url },
    ...{ SMS_PROVIDER: 'sms.ru', SMS_TOKEN, SMS_API_URL: provider.url },
    // What it is asked of the account would be taken for a message.
    ALERT_ACCOUNT_MINUTES: '0',
  };
  const printed: string[] = [];
  const start = {
    taker: () =>
      startService(database.url, { ports: takes, env: { ...env, ROLES: 'receive,process,web,upkeep' } }),
    sender: () => startService(database.url, { ports: sends, env: { ...env, ROLES: 'dispatch' } }),
  };
  let [taker, sender]: (Service | undefined)[] = [];
  t.after(async () => {
    shift.over = true;
    await Promise.all([taker?.kill9(), sender?.kill9()]);
    await Promise.all([sink.close(), provider.close(), platform.close()]);
    await database.close();
  });
  taker = await start.taker();
  sender = await start.sender();
  const urls = new Map<number, string>();
  for (const [companyId, route] of [[BOT, 'webhook'] as const, [SMS, 'sms'] as const]) {
    platform.add(companyId);
    await taker.addCompany({ companyId, route: [route], webhookUrl: sink.url });
    const answer = await taker.api('POST', `/companies/${companyId}/operator`);
    urls.set(companyId, z.object({ url: z.url() }).parse(json(answer)).url);
  }
  // One status in five is answered with a 5xx, one in twenty is taken and its answer lost.
  const operations = ['text_status'];
  platform.setFault(
    { kind: 'error', share: 0.2, operations },
    { kind: 'down', share: 0.05, operations, obeyed: true },
  );

  const books: Books = new Map();
  const random = createRandom(SEED);
  const salon = Promise.all(
    Array.from({ length: WRITERS }, async (_, writer) => {
      const companyId = writer === SMS_WRITER ? SMS : BOT;
      for (let number = 0; !shift.over; number += 1) {
        await hand(platform, urls.get(companyId) ?? '', books, { companyId, writer, number }, shift);
        await wait(companyId === SMS ? SMS_PAUSE_MS : BOT_PAUSE_MS);
      }
    }),
  );
  let inDoubt = 0;
  for (let round = 1; round <= ROUNDS; round += 1) {
    const goal = books.size + LEAST + random.integer(0, MOST - LEAST);
    await until(() => books.size >= goal, { what: `round ${round} has its texts`, timeoutMs: PATIENCE_MS });
    if (round % 3 === 0) {
      shift.up = false;
      printed.push(taker.output());
      await taker.kill9();
      taker = await start.taker();
      shift.up = true;
    } else {
      printed.push(sender.output());
      await sender.kill9();
      await database.pool.query('UPDATE relays SET leased_until = now() WHERE leased_by IS NOT NULL');
      inDoubt += (await letLeasesPass(database.pool)).length;
      sender = await start.sender();
    }
  }
  shift.over = true;
  await salon;
  platform.setFault();
  await provider.settled();
  await until(async () => (await leftToDo(database.pool)) === 0, {
    what: 'every text has left and every status is told',
    timeoutMs: PATIENCE_MS,
  });

  const repeats = await assertSentOnce(database.pool, books, sink, provider.taken);
  const finals = await assertTold(database.pool, books, platform);
  printed.push(taker.output(), sender.output());
  for (const secret of [platform.partnerToken, SMS_TOKEN, '+79']) {
    assert.ok(!printed.join('').includes(secret), `${secret} was printed`);
  }
  t.diagnostic(
    `seed ${SEED}: ${ROUNDS} kills, ${books.size} texts accepted, ${provider.taken.length} by SMS, ${inDoubt} in flight ` +
      `at a kill, ${repeats} repeated under their own id; last statuses ${JSON.stringify(finals)}`,
  );
  assert.ok(inDoubt > 0, 'no kill found a text in flight: the load is too light to show anything');
  assert.ok((finals[1] ?? 0) > 0, 'no text was told as delivered');
});

/** One text, handed over until it is taken: twice as often as needed, as a platform does whose answer was lost. */
async function hand(
  platform: Platform,
  url: string,
  books: Books,
  about: { companyId: number; writer: number; number: number },
  shift: Shift,
): Promise<void> {
  const { companyId, writer, number } = about;
  const phone = `+7916${writer}${String(number).padStart(6, '0')}`;
  const text = `Ваш код: ${writer}-${number}`;
  const { id, body } = platform.text(companyId, { phone, text });
  for (let answers = 0; answers < 1 + (number % 2); ) {
    await until(() => shift.up || shift.over, { what: 'the service is up', timeoutMs: PATIENCE_MS });
    const answer = await post(url, body).catch(() => undefined);
    if (answer?.status === 200) {
      const [item] = accepted.parse(json(answer));
      assert.equal(item?.id, id);
      const known = books.get(id)?.message ?? item?.ext_id ?? '';
      assert.equal(item?.ext_id, known, 'a copy has the answer of the first');
      books.set(id, { companyId, phone, text, message: known });
      answers += 1;
    } else if (answer) {
      assert.ok([429, 503].includes(answer.status), `${answer.status} ${answer.body.toString()}`);
    }
    // A text that nobody accepted is not promised.
    if (shift.over && !books.has(id)) return;
  }
}

async function leftToDo(pool: pg.Pool): Promise<number> {
  // What waits for its next try need not wait any longer.
  await pool.query(`UPDATE relays SET due_at = now() WHERE due_at > now() AND attempts > 0`);
  const { rows } = await pool.query<{ left: string }>(
    `SELECT (SELECT count(*) FROM messages WHERE state IN ('due', 'sending'))
          + (SELECT count(*) FROM relays WHERE due_at IS NOT NULL) AS left`,
  );
  return Number(rows[0]?.left);
}

type Sms = { id: string; phone: string; text: string };

/** Answers how many deliveries were repeats under their own id. */
async function assertSentOnce(
  pool: pg.Pool,
  books: Books,
  sink: Sink,
  taken: readonly Sms[],
): Promise<number> {
  const { rows } = await pool.query<{ id: string; state: string }>(
    `SELECT id, state FROM messages WHERE purpose = 'relay'`,
  );
  const states = new Map(rows.map(({ id, state }) => [id, state]));
  assert.deepEqual(
    [...books.values()].filter(({ message }) => !states.has(message)),
    [],
    'accepted and lost',
  );
  const byId = sink.byId();
  const bySms = Map.groupBy(taken, ({ phone }) => phone);
  let repeats = 0;
  for (const { companyId, phone, text, message } of books.values()) {
    const state = states.get(message);
    if (companyId === BOT) {
      const tries = byId.get(message) ?? [];
      assert.ok(tries.length > 0, `${text} never came`);
      repeats += tries.length - 1;
      for (const { bytes } of tries) {
        const said = z.object({ text: z.string() }).parse(JSON.parse(bytes.toString()));
        assert.equal(said.text, text);
      }
      assert.equal(state, 'sent');
      continue;
    }
    const came = bySms.get(phone) ?? [];
    assert.ok(came.length <= 1, `${text} came ${came.length} times by SMS`);
    assert.ok(['sent', 'delivered', 'unknown'].includes(state ?? ''), `${text} is ${state}`);
    if (state !== 'unknown') assert.deepEqual([came.length, came[0]?.text], [1, text]);
  }
  // No text under two messages.
  const texts = [...byId.values()].map(([first]) => JSON.parse(first?.bytes.toString() ?? '{}').text);
  assert.equal(new Set(texts).size, texts.length);
  return repeats;
}

/** Answers how often each status was the last. */
async function assertTold(pool: pg.Pool, books: Books, platform: Platform): Promise<Record<number, number>> {
  const { rows } = await pool.query<{ id: string; state: string }>(
    `SELECT r.their_id AS id, m.state FROM relays r JOIN messages m ON m.company_id = r.company_id AND m.id = r.message_id`,
  );
  const states = new Map(rows.map(({ id, state }) => [id, state]));
  const finals: Record<number, number> = {};
  for (const id of books.keys()) {
    const heard = platform.statuses(id);
    const stages = heard.filter((status, index) => status !== heard[index - 1]);
    const expected = states.get(id) === 'delivered' ? [8, 4, 1] : [8, 4];
    assert.deepEqual(stages, expected, `text ${id}, which is ${states.get(id)}: ${heard.join()}`);
    const last = stages.at(-1) ?? 0;
    finals[last] = (finals[last] ?? 0) + 1;
  }
  return finals;
}

/** SMS.ru's side: takes each SMS, answers late, and tells that it was delivered until it is heard. */
async function startSmsRu(receiptUrl: string): Promise<Provider<Sms> & { settled(): Promise<void> }> {
  const telling = new Set<Promise<void>>();
  const closing = new AbortController();
  const provider = await startProvider<Sms>({
    read: (sent, number) => {
      const form = new URLSearchParams(sent);
      const id = `000000-${String(number).padStart(8, '0')}`;
      const told = tellDelivered(receiptUrl, id, closing.signal).finally(() => telling.delete(told));
      telling.add(told);
      return { id, phone: `+${form.get('to')}`, text: form.get('msg') ?? '' };
    },
    answer: ({ id, phone }) => {
      const sms = { [phone.slice(1)]: { status: 'OK', status_code: 100, sms_id: id } };
      return { status: 'OK', status_code: 100, sms };
    },
    answerMs: DELAY_MS,
  });
  return {
    ...provider,
    async settled() {
      await Promise.all(telling);
    },
    async close() {
      closing.abort();
      await provider.close();
    },
  };
}

async function tellDelivered(url: string, id: string, signal: AbortSignal): Promise<void> {
  const entry = `sms_status\n${id}\n103\n1764000000`;
  const hash = createHash('sha256').update(`${SMS_TOKEN}${entry}`).digest('hex');
  const body = new URLSearchParams({ 'data[0]': entry, hash }).toString();
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  await until(
    async () =>
      signal.aborted ||
      (await send(url, { method: 'POST', headers, body }).then(
        answer => answer.status === 200,
        () => false,
      )),
    { what: 'the receipt is heard', timeoutMs: PATIENCE_MS },
  );
}
