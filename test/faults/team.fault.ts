/**
 * Two salons with a team, and ten more whose administrators get a digest: two processes, either killed with SIGKILL
 * again and again. Masters and administrators are told by a program that drops repeats and by a Telegram that does not.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type pg from 'pg';
import { z } from 'zod';
import { createRandom, type Random } from '../../src/simulator/random.ts';
import { keyIsKnown } from '../blackbox/harness.ts';
import { record, wallClock } from '../blackbox/salon.ts';
import { testDatabase } from '../support/database.ts';
import { leftToDo, letLeasesPass, type Shift, say } from '../support/kills.ts';
import { startProvider } from '../support/provider.ts';
import { freePorts, type Service, startService } from '../support/service.ts';
import { type Delivery, startSink } from '../support/sink.ts';
import { until } from '../support/until.ts';

const SEED = 20_280;
const ROUNDS = 24;
/** With the same numbers of bookings and masters, so that one told of the other's would be seen. */
const SALONS = [1001, 1002];
/** Whose administrator wants what happens within a minute in one message. */
const GATHERS = 1002;
const WRITERS = 12;
/** Acknowledged in one round before the kill. */
const LEAST = 15;
const MOST = 90;
const BY_WEBHOOK = [701, 702];
/** A chat takes one message a second: of theirs there are few. */
const BY_TELEGRAM = [711, 712, 713, 714];
const STAFF: readonly (readonly [number, number])[] = [
  ...BY_WEBHOOK.map(id => [id, 10] as const),
  ...BY_TELEGRAM.map(id => [id, 1] as const),
];
const DIGESTED = Array.from({ length: 10 }, (_, index) => 2001 + index);
/** For kills to find messages that have gone out and are not answered; of digests there are few. */
const SINK_DELAY_MS = 5;
/** Longer than a process takes to start, which is when a digest that is due leaves. */
const DIGEST_DELAY_MS = 9_000;
const TELEGRAM_DELAY_MS = 100;
const PATIENCE_MS = 180_000;
const NEVER = { quietHours: { from: '00:00', to: '00:00' } };

/** What the salon's last acknowledged body said of one booking, and all that it may have said. */
type Truth = {
  readonly companyId: number;
  readonly id: number;
  readonly byClient: boolean;
  date: string;
  cancelled: boolean;
  staffId: number;
  readonly staff: Set<number>;
};
/** `limit` bounds what is acknowledged while a round waits: a chat takes one message a second, and a fast machine makes 600. */
type Books = { readonly truths: Truth[]; acknowledged: number; limit: number };
type Said = { readonly chat: string; readonly text: string };

const facts = z.object({ status: z.string(), startsLocal: z.string(), staffId: z.number().nullable() });
type Facts = z.infer<typeof facts>;
const body = z.object({
  ...{ id: z.string(), type: z.string(), companyId: z.number(), recordId: z.number().nullable() },
  recipient: z.object({ role: z.string().optional(), staffId: z.number().nullish() }),
  after: facts.nullable(),
});
const batchBody = z.object({
  changes: z.array(
    z.object({ recordId: z.number(), kind: z.string(), before: facts.nullable(), after: facts }),
  ),
});
type Change = z.infer<typeof batchBody>['changes'][number];
/** A message to one of the team, as the database has it. */
type Row = {
  readonly id: string;
  readonly companyId: number;
  readonly recordId: number;
  readonly recipient: string;
  readonly channel: string;
  readonly state: string;
  readonly kind: string;
  readonly step: number;
  readonly before: Facts | null;
  readonly after: Facts;
};

test('kill -9 under load: each of the team is told each change that concerns them once, and one digest', async t => {
  const database = await testDatabase();
  const sink = await startSink({ delayMs: SINK_DELAY_MS });
  const digests = await startSink({ delayMs: DIGEST_DELAY_MS });
  const telegram = await startProvider<Said>({
    read: sent => {
      const { chat_id: chat, text } = JSON.parse(sent);
      return { chat: String(chat), text };
    },
    answer: ({ chat, text }, number) => ({
      ...{ ok: true, result: { message_id: number + 1, date: 0, chat: { id: Number(chat) }, text } },
    }),
    answerMs: TELEGRAM_DELAY_MS,
  });
  const ports = await Promise.all([freePorts(), freePorts()]);
  const env = {
    ...{ RATE_PER_COMPANY: '100000', RATE_PER_ADDRESS: '100000', LOG_LEVEL: 'warn' },
    ...{ TELEGRAM_TOKEN: '7000000001:AAF-not-a-real-token-0123456789abcde', TELEGRAM_API_ROOT: telegram.url },
    // What it is asked of the account would be taken for a message.
    ALERT_ACCOUNT_MINUTES: '0',
    // Nobody writes to the bot here.
    ROLES: 'receive,process,dispatch,upkeep,web',
  };
  const start = (place: number) =>
    startService(database.url, { env, ...(ports[place] && { ports: ports[place] }) });
  const services: Service[] = [];
  const shifts: Shift[] = ports.map(() => ({ up: true, over: false }));
  t.after(async () => {
    for (const shift of shifts) shift.over = true;
    await Promise.all(services.map(service => service.kill9()));
    await Promise.all([sink.close(), digests.close(), telegram.close()]);
    await database.close();
  });
  services.push(await start(0));
  const [first] = services;
  assert.ok(first);
  // Late enough for all to have joined by then.
  const digestAt = clockIn(120_000);
  const keys = await Promise.all(SALONS.map(id => openSalon(first, id, `${sink.url}/${id}`)));
  for (const companyId of DIGESTED)
    await openDigested(first, companyId, `${digests.url}/${companyId}`, digestAt);
  services.push(await start(1));
  const urls = keys.map(key => services.map(({ publicUrl }) => `${publicUrl}${key}`));
  for (const url of urls.flat()) await keyIsKnown(url);

  const books: Books = { truths: [], acknowledged: 0, limit: 2 * MOST };
  const random = createRandom(SEED);
  const salons = Promise.all(
    Array.from({ length: WRITERS }, async (_, writer) => {
      const own = createRandom(SEED + writer + 1);
      const [salon, place] = [writer % 2, Math.floor(writer / 2) % 2];
      const [url, shift] = [urls[salon]?.[place], shifts[place]];
      assert.ok(url !== undefined && shift !== undefined);
      while (!shift.over) {
        await until(() => books.acknowledged < books.limit || shift.over, {
          ...{ what: 'the next round begins', timeoutMs: PATIENCE_MS },
        });
        await liveOneBooking(url, SALONS[salon] ?? 0, books, own, shift);
      }
    }),
  );
  const inDoubt: string[] = [];
  let struck = false;
  for (let round = 0; round < ROUNDS; round += 1) {
    const goal = books.acknowledged + random.integer(LEAST, MOST);
    books.limit = goal + MOST;
    const digestsLeave = () => !struck && digests.deliveries.length > 0;
    await until(() => books.acknowledged >= goal || digestsLeave(), {
      what: `round ${round} has its events`,
      timeoutMs: PATIENCE_MS,
    });
    // They leave once, all at a time, by whichever process: both are killed then.
    const places = digestsLeave() ? [0, 1] : [round % 2];
    struck ||= digestsLeave();
    for (const place of places) Object.assign(shifts[place] ?? {}, { up: false });
    await Promise.all(places.map(place => services[place]?.kill9()));
    inDoubt.push(...(await letLeasesPass(database.pool)));
    for (const place of places) {
      services[place] = await start(place);
      Object.assign(shifts[place] ?? {}, { up: true });
    }
    // The hour of the day's digest is moved when some have gone out: that day has had its one.
    if (round === ROUNDS / 2) {
      await until(() => digests.deliveries.length > 0, { what: 'digests leave', timeoutMs: PATIENCE_MS });
      await moveDigests(services[0], clockIn(0));
    }
  }
  for (const shift of shifts) shift.over = true;
  await salons;
  await until(async () => (await leftToDo(database.pool)) === 0, {
    what: 'all that was acknowledged is processed and said',
    timeoutMs: PATIENCE_MS,
  });

  const rows = await noticesOf(database.pool);
  const heard = assertHeardOnce(rows, sink.byId());
  assertChatsHeardOnce(rows, telegram.taken);
  assertTrue(books, rows);
  const batches = await assertBatches(database.pool, books, sink.byId());
  const counts = await assertOneDigest(database.pool, digests.byId(), telegram.taken);
  t.diagnostic(
    `seed ${SEED}: ${ROUNDS} kills, ${books.acknowledged} events acknowledged, ${books.truths.length} bookings; ` +
      `${rows.length} notices to the team, ${heard} by webhook; ${JSON.stringify(batches)} batches; ${inDoubt.length} messages in flight at a kill, of them ` +
      `${inDoubt.filter(purpose => purpose === 'digest').length} digests; digests ${JSON.stringify(counts)}`,
  );
  assert.ok(inDoubt.includes('notice'), 'no kill found a notice in flight');
  assert.ok(inDoubt.includes('digest'), 'no kill found a digest in flight');
  assert.ok((batches.sent ?? 0) > 1, 'no batches left');
});

const addressOf = (companyId: number, staffId: number) => String(companyId * 1_000 + staffId);

/** A salon whose masters and administrator are told; answers the path of its webhooks. */
async function openSalon(service: Service, companyId: number, webhookUrl: string): Promise<string> {
  const { url } = await service.addCompany({
    ...{ companyId, route: ['webhook'], webhookUrl },
    policy: {
      ...{ settle: { any: '0s' }, reminders: { at: [] } },
      team: {
        ...{ staff: NEVER, digest: { at: null } },
        administrator: { ...NEVER, gather: companyId === GATHERS ? '1m' : null },
      },
    },
  });
  await join(service, companyId, { role: 'administrator', channel: 'webhook' });
  for (const staffId of BY_WEBHOOK)
    await join(service, companyId, { role: 'staff', staffId, channel: 'webhook' });
  for (const staffId of BY_TELEGRAM) {
    const address = addressOf(companyId, staffId);
    await join(service, companyId, { role: 'staff', staffId, channel: 'telegram', address });
  }
  return new URL(url).pathname;
}

/** A salon with two administrators and no visits. */
async function openDigested(
  service: Service,
  companyId: number,
  webhookUrl: string,
  at: string,
): Promise<void> {
  await service.addCompany({
    ...{ companyId, route: ['webhook'], webhookUrl },
    policy: { reminders: { at: [] }, team: { administrator: NEVER, digest: { at, whenEmpty: true } } },
  });
  await join(service, companyId, { role: 'administrator', channel: 'webhook' });
  const address = addressOf(companyId, 0);
  await join(service, companyId, { role: 'administrator', channel: 'telegram', address });
}

async function join(service: Service, companyId: number, member: object): Promise<void> {
  const answer = await service.api('POST', `/companies/${companyId}/team`, member);
  assert.equal(answer.status, 200, answer.body.toString());
}

async function moveDigests(service: Service | undefined, at: string): Promise<void> {
  for (const companyId of DIGESTED) {
    const policy = { team: { administrator: NEVER, digest: { at, whenEmpty: true } } };
    const answer = await service?.api('PUT', `/companies/${companyId}/policy`, policy);
    assert.equal(answer?.status, 200, answer?.body.toString());
  }
}

/** What the salons' clock will show then. */
function clockIn(ms: number): string {
  return new Date(Date.now() + ms + 3 * 3_600_000).toISOString().slice(11, 16);
}

/** A booking is made, moved, handed over and called off a few times and left. */
async function liveOneBooking(
  url: string,
  companyId: number,
  books: Books,
  random: Random,
  shift: Shift,
): Promise<void> {
  const id = books.truths.filter(truth => truth.companyId === companyId).length + 1;
  const truth: Truth = {
    ...{ companyId, id, byClient: random.chance(0.7) },
    ...{ date: '', cancelled: true, staffId: random.weighted(STAFF), staff: new Set<number>() },
  };
  books.truths.push(truth);
  const made = truth.byClient ? { online: true, bookform_id: 3, record_from: 'Form Online widget' } : {};
  const steps = random.integer(1, 5);
  let { staffId } = truth;
  for (let step = 0; step < steps; step += 1) {
    const cancelled = step > 0 && random.chance(0.25);
    if (step > 0 && random.chance(0.3)) staffId = random.weighted(STAFF);
    // No two steps of a booking have one hour, so that no two tellings can be mistaken.
    const date = wallClock(7 + step, `${10 + step}:30:00`);
    truth.staff.add(staffId);
    const said = record(
      ...([companyId, id, step === 0 ? 'create' : 'update'] as const),
      {
        ...made,
        date,
        attendance: cancelled ? -1 : 0,
        staff_id: staffId,
        staff: { id: staffId, name: 'Ольга' },
      },
      step,
    );
    const mayGoOn = step < steps - 1 && random.chance(0.5);
    if ((await say(url, said, mayGoOn, shift)) === undefined) continue;
    books.acknowledged += 1;
    Object.assign(truth, { date, cancelled, staffId });
  }
}

async function noticesOf(pool: pg.Pool): Promise<Row[]> {
  const { rows } = await pool.query<Row>(
    `SELECT id, company_id AS "companyId", record_id::int AS "recordId", recipient, channel, state, kind, step,
       told_before AS before, told_after AS after
     FROM messages WHERE purpose = 'notice' AND recipient !~ '^client:' ORDER BY company_id, record_id, recipient, step`,
  );
  return rows;
}

/** By a channel that drops repeats: each that was sent came, as it is, and none but those. Answers how many. */
function assertHeardOnce(rows: readonly Row[], byId: Map<string, Delivery[]>): number {
  const known = new Map(rows.map(row => [row.id, row]));
  let heard = 0;
  for (const [id, tries] of byId) {
    const [said, ...again] = tries.map(({ bytes }) => ({ ...JSON.parse(bytes.toString()), attempt: 0 }));
    for (const repeat of again) assert.deepEqual(repeat, said, `${id} was repeated with another content`);
    const { type, companyId, recordId, recipient, after } = body.parse(said);
    assert.equal(tries[0]?.path, `/${companyId}`);
    if (recipient.role === undefined || type === 'batch') continue;
    heard += 1;
    const row = known.get(id);
    assert.ok(row && ['sent', 'unknown'].includes(row.state), `${id} came and is ${row?.state}`);
    const to = recipient.role === 'staff' ? `staff:${recipient.staffId}` : recipient.role;
    assert.ok(row.recipient.startsWith(to), `${id} to ${to} is ${row.recipient}'s`);
    assert.deepEqual([row.companyId, row.recordId, `notice.${row.kind}`], [companyId, recordId, type]);
    assert.equal(row.after.startsLocal, after?.startsLocal);
  }
  const lost = rows.filter(
    ({ id, channel, state }) => channel === 'webhook' && state === 'sent' && !byId.has(id),
  );
  assert.deepEqual(lost, [], 'sent, and never came');
  return heard;
}

/** By a channel that does not: nothing twice, and what did not come is in doubt. */
function assertChatsHeardOnce(rows: readonly Row[], taken: readonly Said[]): void {
  const said = Map.groupBy(taken, ({ chat, text }) => `${chat} ${/Анна\d+/.exec(text)?.[0]}`);
  const ours = rows.filter(({ channel }) => channel === 'telegram');
  const wanted = Map.groupBy(
    ours,
    ({ companyId, recipient, recordId }) =>
      `${addressOf(companyId, Number(recipient.slice('staff:'.length)))} Анна${recordId}`,
  );
  for (const [key, theirs] of wanted) {
    const sent = theirs.filter(({ state }) => state === 'sent').length;
    const doubtful = theirs.filter(({ state }) => state === 'unknown').length;
    const came = said.get(key)?.length ?? 0;
    assert.ok(
      came >= sent && came <= sent + doubtful,
      `${key}: ${came} came of ${sent} and ${doubtful} in doubt`,
    );
    assert.equal(new Set(said.get(key)?.map(({ text }) => text)).size, came, `${key}: one text twice`);
  }
  const strange = [...said.keys()].filter(key => !key.endsWith('undefined') && !wanted.has(key));
  assert.deepEqual(strange, [], 'told somebody of what is not theirs');
}

/** Each goes on from what they heard last, and ends with what is true; nobody hears of what was never theirs. */
function assertTrue({ truths }: Books, rows: readonly Row[]): void {
  const told = Map.groupBy(rows, ({ companyId, recordId }) => `${companyId}:${recordId}`);
  for (const truth of truths) {
    const { companyId, id, byClient, staff } = truth;
    const ofBooking = told.get(`${companyId}:${id}`) ?? [];
    const byRecipient = Map.groupBy(ofBooking, ({ recipient }) =>
      recipient.replace(/^administrator:.*/, 'administrator'),
    );
    for (const [recipient, messages] of byRecipient) {
      const what = `${recipient} of booking ${id} in ${companyId}`;
      const heard = messages.filter(({ state }) => state === 'sent' || state === 'unknown');
      const astray = messages.filter(({ state }) => !['sent', 'unknown', 'superseded'].includes(state));
      assert.deepEqual(astray, [], `${what}: did not go out`);
      if (recipient === 'administrator' && !byClient) {
        assert.deepEqual(
          new Set(heard.map(({ kind }) => kind)),
          new Set(heard.length > 0 ? ['cancelled'] : []),
          what,
        );
        continue;
      }
      // What is in doubt and still true was repeated, where that is harmless; else the newer truth followed.
      const last = heard.at(-1);
      if (last?.channel === 'webhook') assert.equal(last.state, 'sent', `${what}: the last is in doubt`);
      if (recipient !== 'administrator') {
        assert.ok(staff.has(Number(recipient.slice('staff:'.length))), `${what}: it was never theirs`);
      }
      assert.deepEqual(
        heard.map(({ before }) => before?.startsLocal),
        [undefined, ...heard.map(({ after }) => after.startsLocal)].slice(0, heard.length),
        `${what}: each goes on from the one before`,
      );
      const hours = heard.map(({ after }) => after.startsLocal);
      assert.deepEqual(hours, [...new Set(hours)].sort(), `${what}: each fact once and in order`);
    }
    const lastTo = (recipient: string) =>
      byRecipient
        .get(recipient)
        ?.filter(({ state }) => state === 'sent' || state === 'unknown')
        .at(-1)?.after;
    if (byClient && companyId !== GATHERS) {
      assertLast(truth, 'administrator', lastTo('administrator'), true);
    }
    for (const staffId of new Set([...BY_WEBHOOK, ...BY_TELEGRAM])) {
      assertLast(truth, `staff:${staffId}`, lastTo(`staff:${staffId}`), staffId === truth.staffId);
    }
  }
}

function assertLast(
  { companyId, id, cancelled, date }: Truth,
  who: string,
  last: Facts | undefined,
  theirs: boolean,
): void {
  const what = `${who} of booking ${id} in ${companyId}`;
  if (cancelled || !theirs) {
    assert.notEqual(last?.status, 'booked', `${what}: still believes in it`);
    return;
  }
  assert.deepEqual(
    { status: last?.status, startsLocal: last?.startsLocal },
    { status: 'booked', startsLocal: date.replace(' ', 'T') },
    `${what}: the last telling`,
  );
}

/**
 * Each change is in one batch, goes on from what was said before, and the last is what is true; where that is broken a
 * batch in doubt speaks of the booking. Answers how many batches are in which state.
 */
async function assertBatches(
  pool: pg.Pool,
  { truths }: Books,
  byId: Map<string, Delivery[]>,
): Promise<Record<string, number>> {
  const { rows } = await pool.query<{ id: string; state: string; visit: { recordId: number }[] | null }>(
    `SELECT id, state, visit FROM messages WHERE purpose = 'batch' ORDER BY planned_for, created_at`,
  );
  const counts: Record<string, number> = {};
  const said = new Map<number, Change[]>();
  const doubtful = new Set<number>();
  for (const { id, state, visit } of rows) {
    counts[state] = (counts[state] ?? 0) + 1;
    const [came] = byId.get(id) ?? [];
    assert.ok(['sent', 'unknown', 'superseded'].includes(state), `batch ${id} is ${state}`);
    if (state === 'sent') assert.ok(came, `batch ${id} was sent and never came`);
    if (state === 'unknown') for (const { recordId } of visit ?? []) doubtful.add(recordId);
    if (came === undefined) continue;
    for (const change of batchBody.parse(JSON.parse(came.bytes.toString())).changes) {
      said.set(change.recordId, [...(said.get(change.recordId) ?? []), change]);
    }
  }
  for (const truth of truths.filter(({ companyId }) => companyId === GATHERS)) {
    const changes = said.get(truth.id) ?? [];
    const what = `batches to the administrator of ${GATHERS}, booking ${truth.id}`;
    if (!truth.byClient) {
      assert.ok(
        changes.every(({ kind }) => kind === 'cancelled'),
        what,
      );
      continue;
    }
    if (doubtful.has(truth.id)) continue;
    for (const [index, { kind, before }] of changes.entries()) {
      // One that was called off before anything was said of it is known to be off all the same.
      const known = kind === 'restored' ? before : changes[index - 1]?.after;
      assert.equal(before?.startsLocal, known?.startsLocal, `${what}: each goes on from the one before`);
    }
    assertLast(truth, 'the administrator by batch', changes.at(-1)?.after, true);
  }
  return counts;
}

/** One an administrator; none came twice, and what did not come is in doubt. Answers how many are in which state. */
async function assertOneDigest(
  pool: pg.Pool,
  byId: Map<string, Delivery[]>,
  taken: readonly Said[],
): Promise<Record<string, number>> {
  const { rows } = await pool.query<{ id: string; companyId: number; channel: string; state: string }>(
    `SELECT id, company_id AS "companyId", channel, state FROM messages WHERE purpose = 'digest'`,
  );
  const counts: Record<string, number> = {};
  for (const companyId of DIGESTED) {
    const theirs = rows.filter(row => row.companyId === companyId);
    assert.deepEqual(theirs.map(({ channel }) => channel).sort(), ['telegram', 'webhook'], `of ${companyId}`);
    for (const { id, channel, state } of theirs) {
      const inChat = taken.filter(({ chat }) => chat === addressOf(companyId, 0)).length;
      const came = channel === 'telegram' ? inChat : (byId.get(id)?.length ?? 0);
      assert.ok(
        came === 1 || (came === 0 && state === 'unknown'),
        `${id} is ${state} and came ${came} times`,
      );
      assert.ok(['sent', 'unknown'].includes(state), `${id} is ${state}`);
      counts[state] = (counts[state] ?? 0) + 1;
    }
  }
  assert.equal(rows.length, 2 * DIGESTED.length);
  counts.came = byId.size + taken.filter(({ chat }) => DIGESTED.includes(Number(chat) / 1_000)).length;
  assert.ok(
    [...byId.keys()].every(id => rows.some(row => row.id === id)),
    'a digest that nobody knows',
  );
  return counts;
}
