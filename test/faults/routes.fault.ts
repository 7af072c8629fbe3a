/**
 * Routes in real time: a WhatsApp that tells of every other message and an SMS provider behind it, two processes that
 * send, either killed with SIGKILL again and again.
 */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { createVault } from '../../src/vault.ts';
import { postPatiently } from '../blackbox/harness.ts';
import { testDatabase } from '../support/database.ts';
import { startOwnClock } from '../support/own-time.ts';
import { startProvider } from '../support/provider.ts';
import { freePorts, OTKLIK_KEY, type Service, startService } from '../support/service.ts';
import { until } from '../support/until.ts';
import { recordBody } from '../work/pipeline.ts';

const COMPANY = 3001;
const WITHIN_MS = 10_000;
/** What a next step may be late by. */
const LATE_MS = 5_000;
const KILLS = 8;
const BETWEEN_KILLS_MS = 2_500;
const BETWEEN_BOOKINGS_MS = 150;
/** An answer of a provider takes so long that nearly every kill falls into one; with 120 two of eight did. */
const ANSWER_MS = 400;
const APP_SECRET = 'app-secret-canary';

/** `own`: by the time of this process, in which no stall of the machine makes a step late. */
type Taken = { readonly phone: string; readonly at: number; readonly own: number };

test('the next channel within its time and five seconds; kill -9 between steps tells nobody twice by one', async t => {
  const database = await testDatabase();
  const [takes, ...sends] = await Promise.all([freePorts(), freePorts(), freePorts()]);
  const receiptSecret = createVault(Buffer.from(OTKLIK_KEY, 'hex')).receiptSecret('cloud', 0);
  const told: Promise<void>[] = [];
  /** From here on nobody books, and no receipt is sent. */
  let over = false;
  const clock = startOwnClock();
  t.after(clock.stop);
  const takenNow = (phone: string): Taken => ({ phone, at: performance.now(), own: clock.now() });
  const whatsapp = await startProvider<Taken>({
    read: body => takenNow(JSON.parse(body).to),
    answer({ phone }, number) {
      const id = idOf(number);
      if (isTold(phone) && !over)
        told.push(tell(`http://127.0.0.1:${takes.public}/receipts/cloud/${receiptSecret}`, id));
      return { messages: [{ id }] };
    },
    answerMs: ANSWER_MS,
  });
  const sms = await startProvider<Taken>({
    read: body => takenNow(new URLSearchParams(body).get('to') ?? ''),
    answer: ({ phone }, number) => ({
      ...{ status: 'OK', status_code: 100 },
      sms: { [phone]: { status: 'OK', status_code: 100, sms_id: idOf(number) } },
    }),
    answerMs: ANSWER_MS,
  });
  const env = {
    ...{
      RATE_PER_COMPANY: '100000',
      RATE_PER_ADDRESS: '100000',
      PUBLIC_URL: `http://127.0.0.1:${takes.public}`,
    },
    ...{ WHATSAPP_PROVIDER: 'cloud', WHATSAPP_TOKEN: 'token', WHATSAPP_ACCOUNT: '15550001111' },
    ...{ WHATSAPP_APP_SECRET: APP_SECRET, WHATSAPP_API_URL: whatsapp.url },
    ...{ SMS_PROVIDER: 'sms.ru', SMS_TOKEN: 'token', SMS_API_URL: sms.url },
    // What it is asked of the account would be taken for a message.
    ALERT_ACCOUNT_MINUTES: '0',
  };
  const start = (place: number) =>
    startService(database.url, { ports: sends[place] ?? takes, env: { ...env, ROLES: 'dispatch' } });
  const senders: Service[] = [];
  const taker = await startService(database.url, {
    ports: takes,
    env: { ...env, ROLES: 'receive,process,web,upkeep' },
  });
  t.after(async () => {
    over = true;
    await Promise.all(senders.map(sender => sender.kill9()));
    // Whoever hears of receipts goes last.
    await Promise.all(told);
    await taker.kill9();
    await Promise.all([whatsapp.close(), sms.close()]);
    await database.close();
  });
  senders.push(await start(0), await start(1));
  const company = await taker.addCompany({ companyId: COMPANY, route: ['whatsapp', 'sms'] });
  const policy = { settle: { any: '0s' }, reminders: { at: [] }, routes: { within: { whatsapp: '10s' } } };
  const set = await taker.api('PUT', `/companies/${COMPANY}/policy`, policy);
  assert.equal(set.status, 200, set.body.toString());

  let booked = 0;
  const salon = (async () => {
    for (; !over; booked += 1) {
      const client = { id: 1_000 + booked, name: 'Анна', phone: phoneOf(booked) };
      const body = recordBody({ id: 1_000 + booked, companyId: COMPANY, data: { client } });
      assert.equal((await postPatiently(company.url, body)).status, 200);
      await wait(BETWEEN_BOOKINGS_MS);
    }
  })();
  const lags = await until(
    () => {
      const all = lagsOf(whatsapp.taken, sms.taken, 'at');
      return all.length > 20 && all;
    },
    { what: 'twenty have gone on', timeoutMs: 180_000 },
  );
  const soonest = Math.round(Math.min(...lags));
  const latest = Math.max(...lagsOf(whatsapp.taken, sms.taken, 'own'));
  assert.ok(soonest >= WITHIN_MS && latest <= WITHIN_MS + LATE_MS, `${soonest} to ${latest} ms`);

  let inFlight = 0;
  for (let kill = 0; kill < KILLS; kill += 1) {
    await wait(BETWEEN_KILLS_MS);
    const { rows: at } = await database.pool.query<{ now: string }>('SELECT now()::text AS now');
    await senders[kill % 2]?.kill9();
    senders[kill % 2] = await start(kill % 2);
    // As if the time of the dead process's leases were over. What the other took before has long left: a process takes longer
    // to start.
    const { rowCount } = await database.pool.query(
      `UPDATE messages SET leased_until = now() WHERE state = 'sending' AND leased_until < $1::timestamptz + interval '2 minutes'`,
      [at[0]?.now],
    );
    inFlight += rowCount ?? 0;
  }
  const whole = booked;
  await wait(WITHIN_MS + LATE_MS);
  // What a dead process held, and nobody took for it.
  await database.pool.query("UPDATE messages SET leased_until = now() WHERE state = 'sending'");
  const open = `SELECT FROM messages WHERE record_id < ${1_000 + whole} AND (state IN ('due', 'sending') OR fall_at < now())`;
  await until(async () => (await database.pool.query(open)).rowCount === 0, {
    what: 'nothing is left to do',
    timeoutMs: 60_000,
  });
  over = true;
  await Promise.all([salon, ...told]);

  const { rows } = await database.pool.query<{ recordId: number; state: string }>(
    'SELECT record_id::int AS "recordId", state FROM messages ORDER BY record_id',
  );
  const states = new Map(rows.map(row => [row.recordId, row.state]));
  const [byWhatsapp, bySms] = [whatsapp, sms].map(({ taken }) => Map.groupBy(taken, ({ phone }) => phone));
  const counts: Record<string, number> = {};
  for (let number = 0; number < whole; number += 1) {
    const phone = phoneOf(number);
    const [first, second] = [byWhatsapp?.get(phone)?.length ?? 0, bySms?.get(phone)?.length ?? 0];
    const state = states.get(1_000 + number) ?? 'none';
    const what = `${number} is ${state}, ${first} by WhatsApp and ${second} by SMS`;
    assert.ok(first <= 1 && second <= 1, what);
    if (isTold(phone)) assert.equal(second, 0, what);
    if (state === 'sent') assert.deepEqual([first, second], [1, 1], what);
    if (state === 'delivered') assert.deepEqual([first, isTold(phone)], [1, true], what);
    assert.ok(['sent', 'delivered', 'unknown'].includes(state), what);
    counts[state] = (counts[state] ?? 0) + 1;
  }
  t.diagnostic(
    `${whole} bookings, ${KILLS} kills, ${inFlight} in flight at one; ${JSON.stringify(counts)}; next step after ` +
      `${soonest} to ${latest} ms where ${WITHIN_MS} were set`,
  );
  assert.ok((counts.unknown ?? 0) > 0, 'no kill found a message in flight');
});

const phoneOf = (number: number) => `7916${String(1_000_000 + number)}`;
const idOf = (number: number) => `000000-${String(number).padStart(8, '0')}`;
const isTold = (phone: string) => Number(phone) % 2 === 0;

/** From the first channel to the second, in milliseconds. */
function lagsOf(first: readonly Taken[], second: readonly Taken[], by: 'at' | 'own'): number[] {
  const began = new Map(first.map(taken => [taken.phone, taken[by]]));
  return second.map(taken => taken[by] - (began.get(taken.phone) ?? Number.NaN));
}

/** As Meta tells of a message, until it is heard. */
async function tell(url: string, id: string): Promise<void> {
  const status = { id, status: 'delivered', timestamp: '1764000000' };
  const body = JSON.stringify({ entry: [{ changes: [{ value: { statuses: [status] } }] }] });
  const signature = `sha256=${createHmac('sha256', APP_SECRET).update(body).digest('hex')}`;
  const answer = await postPatiently(url, body, { 'x-hub-signature-256': signature });
  assert.equal(answer.status, 200);
}
