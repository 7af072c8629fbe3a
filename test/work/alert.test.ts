/** Each alert provoked and resolved again, on a real database and by real roads. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { createServer, connect as dial, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { after, before, type TestContext, test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import type { AccountState, Channel, ChannelName } from '../../src/channels/channel.ts';
import { CONSOLE_TRAITS } from '../../src/channels/console.ts';
import { backupFindings, channelFindings, diskFindings } from '../../src/commands/doctor.ts';
import { readConfig } from '../../src/config.ts';
import { ALERT_KINDS, type AlertKind, type Limits, rulesOf } from '../../src/domain/alert.ts';
import { createAlertTexts } from '../../src/domain/alert-text.ts';
import { newId } from '../../src/ids.ts';
import { createLog } from '../../src/log.ts';
import { createMetrics, type Metrics, watchAlerts, watchBackup } from '../../src/metrics.ts';
import {
  addRejects,
  countRaised,
  listAlerts,
  readLastBackup,
  readMutes,
  saveMute,
  takeWatch,
} from '../../src/store/alerts.ts';
import { addCounts, NO_COUNTS } from '../../src/store/coverage.ts';
import { addDrift } from '../../src/store/drift.ts';
import { insertTestMessage } from '../../src/store/messages.ts';
import { createPool, type Pool } from '../../src/store/pool.ts';
import { LAST_BACKUP, saveSetting } from '../../src/store/settings.ts';
import { loadTemplates } from '../../src/templates.ts';
import { readAccounts } from '../../src/work/accounts.ts';
import { createWatch, type Watch } from '../../src/work/alert.ts';
import type { Dispatcher } from '../../src/work/dispatch.ts';
import { readCertificateDays, readFreePercent } from '../../src/work/outside.ts';
import { createRejectCounter } from '../../src/work/rejects.ts';
import { type Counterpart, httpServer, WEBHOOK_SECRET, WELL_KNOWN } from '../channels/counterparts.ts';
import { createRig } from '../http/marketplace-rig.ts';
import { LIMITS } from '../support/alert-limits.ts';
import { LATER, SOONER, SOONER_ENDS } from '../support/certificates.ts';
import { freePort } from '../support/ports.ts';
import { createPipeline, type Pipeline, recordBody, unpaced } from './pipeline.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** A Tuesday, noon in Almaty. */
const NOON = Date.parse('2026-11-24T07:00:00Z');
const COMPANY = 1;
/** One database for all of them, emptied: a clone each took a third of the time. */
const EMPTY = [
  ...[
    'alerts',
    'alert_watch',
    'rejects',
    'attempts',
    'messages',
    'webhook_events',
    'bookings',
    'booking_changes',
  ],
  ...['company_hours', 'sweeps', 'rereads', 'drift', 'companies'],
]
  .map(table => `DELETE FROM ${table};`)
  .concat(`DELETE FROM settings WHERE key = '${LAST_BACKUP}' OR key LIKE 'alert_mute:%';`)
  .join('');
let pipeline: Pipeline;
before(async () => {
  pipeline = await createPipeline();
});
after(() => pipeline.close());

const texts = createAlertTexts(loadTemplates());

type Rig = {
  readonly outside: { days: number | null; free: number | null; account: AccountState };
  readonly dispatcher: Dispatcher;
  /** Another process that watches, perhaps through another pool. */
  watch(options?: {
    pool?: Pool;
    limits?: Limits;
    lookLimitMs?: number;
    certificateDays?: () => Promise<number | null>;
    /** Of another channel, by SMS. */
    check?: NonNullable<Channel['check']>;
    metrics?: Metrics;
    backupExpected?: boolean;
  }): Watch;
  /** Lets some time pass and looks once; what arrived at the operator's webhook because of it. */
  look(milliseconds: number): Promise<string[]>;
  /** What arrived since this was asked last. */
  arrived(): string[];
};

async function createRigOf(t: TestContext, roads: readonly ChannelName[] = ['webhook']): Promise<Rig> {
  pipeline.now = NOON;
  pipeline.answers = [];
  await pipeline.pool.query(EMPTY);
  await pipeline.addCompany({ companyId: COMPANY, zone: 'Asia/Almaty' });
  const counterparts = new Map<ChannelName, Counterpart>();
  for (const road of roads) {
    const side = WELL_KNOWN.find(({ name }) => name === road) ?? assert.fail();
    counterparts.set(road, await side.open(t, 'accept'));
  }
  const channels = new Map([...counterparts].map(([name, { channel }]) => [name, unpaced(channel)]));
  const ways = new Map(
    [...counterparts].map(([name, { address }]) => [name, { address, secret: WEBHOOK_SECRET }]),
  );
  const { dispatcher } = pipeline.another({ channels, roads: ways });
  t.after(() => dispatcher.stop());
  const outside: Rig['outside'] = { days: 90, free: 50, account: { state: 'ok' } };
  const watch: Rig['watch'] = ({
    pool = pipeline.pool,
    limits = LIMITS,
    lookLimitMs = 15_000,
    certificateDays = async () => outside.days,
    check = async () => outside.account,
    metrics = createMetrics(),
    backupExpected = false,
  } = {}) =>
    createWatch({
      ...{ pool, log: createLog('silent'), metrics, now: () => pipeline.now },
      channels: new Map([...channels, ['console', CONSOLE], ['sms', { ...CONSOLE, name: 'sms', check }]]),
      ...{ roads: ways, texts, locale: 'en' },
      ...{ rules: rulesOf(limits), working: { opens: 9, closes: 21 }, lookLimitMs, backupExpected },
      onMessages: () => {},
      outside: {
        host: 'hooks.test',
        certificateDays,
        freePercent: async () => outside.free,
      },
    });
  const first = watch();
  const heard = new Map<ChannelName, number>();
  const arrived = () =>
    [...counterparts].flatMap(([name, { received }]) => {
      const fresh = received.slice(heard.get(name) ?? 0);
      heard.set(name, received.length);
      return fresh.map(({ text }) => text);
    });
  return {
    ...{ outside, dispatcher, watch, arrived },
    async look(milliseconds) {
      pipeline.now += milliseconds;
      await first.runOnce();
      await dispatcher.drain();
      return arrived();
    },
  };
}

const CONSOLE: Channel = {
  ...{ name: 'console', traits: CONSOLE_TRAITS, idempotent: true, concurrency: 1 },
  send: async () => ({ outcome: 'sent' }),
};

/** Nothing; then trouble, told once; then all right, told once. `forMs`: how long it must last. */
async function throughIts(
  { look }: Rig,
  kind: AlertKind,
  {
    trouble,
    relief,
    says,
    forMs = 0,
  }: { trouble: () => Promise<unknown>; relief: () => Promise<unknown>; says: RegExp; forMs?: number },
): Promise<void> {
  assert.deepEqual(await look(0), [], 'quiet before');
  await trouble();
  if (forMs > 0) {
    assert.deepEqual(await look(0), [], 'only suspected');
    pipeline.now += forMs;
  }
  const [told = '', ...more] = await look(0);
  assert.deepEqual(more, []);
  assert.match(told, says);
  assert.match(told, new RegExp(`^🔴 .*\\n.*#alert-${kind}$`), 'this alert and no other');
  assert.deepEqual(await look(MINUTE), [], 'quiet while it lasts');
  await relief();
  assert.deepEqual(await look(1_000), [], 'not yet');
  const [resolved = '', ...others] = await look(5 * MINUTE);
  assert.deepEqual(others, []);
  assert.match(resolved, /^🟢 all right: .+ \(it took/);
  assert.deepEqual(await listAlerts(pipeline.pool), []);
}

const count = (counts: Partial<Record<keyof typeof NO_COUNTS, number>>, at = pipeline.now) =>
  addCounts(pipeline.pool, [{ companyId: COMPANY, ...NO_COUNTS, ...counts }], at);

test('silent: no webhook for twelve working hours of a company that had them', async t => {
  const rig = await createRigOf(t);
  for (let day = 1; day < 28; day += 1) {
    if (new Date(NOON - day * DAY).getUTCDay() !== 0) await count({ webhooks: 3 }, NOON - day * DAY);
  }
  await count({ webhooks: 1 });
  await throughIts(rig, 'silent', {
    // Eight hours of Tuesday are left after this one, and there are twelve on Wednesday.
    trouble: async () => {
      assert.deepEqual(await rig.look(24 * HOUR), []);
      pipeline.now += HOUR;
    },
    relief: () => count({ webhooks: 1 }),
    says: /Company 1 Студия Север: not one webhook in 12 working hours/,
  });
});

test('silent: neither a company that is polled, nor one that never had a webhook, nor one that left', async t => {
  const { look } = await createRigOf(t);
  for (const companyId of [2, 3]) {
    await pipeline.addCompany({ companyId, ...(companyId === 2 ? { source: 'poll' as const } : {}) });
    await addCounts(pipeline.pool, [{ companyId, ...NO_COUNTS, webhooks: 1 }], NOON);
  }
  await pipeline.pool.query('UPDATE companies SET removed_at = now() WHERE company_id = 3');
  assert.deepEqual(await look(20 * DAY), []);
});

test('backlog: events wait', async t => {
  const rig = await createRigOf(t);
  await throughIts(rig, 'backlog', {
    trouble: async () => {
      await pipeline.receive(COMPANY, [{ body: recordBody({ at: NOON }), receivedAt: NOON }]);
      pipeline.now += 121_000;
    },
    relief: () => pipeline.processor.drain(),
    says: /The oldest event waits to be processed for 121 s/,
  });
});

test('backlog: an outbox that stands still does not carry the news of it', async t => {
  const { watch, arrived } = await createRigOf(t);
  // The dispatcher that empties the outbox knows no road, so that alerts end in it.
  const first = watch({ limits: { ...LIMITS, provider: 0 } });
  const look = async (milliseconds: number) => {
    pipeline.now += milliseconds;
    await first.runOnce();
    return arrived();
  };
  const message = { companyId: COMPANY, id: newId(), recipient: '', channel: 'console', now: NOON };
  await insertTestMessage(pipeline.pool, message);
  const [told = ''] = await look(121_000);
  assert.match(told, /^🔴 The oldest message waits to be sent for 121 s/);
  await pipeline.dispatcher.drain();
  await look(MINUTE);
  assert.match((await look(5 * MINUTE))[0] ?? '', /^🟢 all right: messages wait/);
});

test('dead letters: events given up', async t => {
  const rig = await createRigOf(t);
  await pipeline.receive(COMPANY, [{ body: recordBody({ at: NOON }), receivedAt: NOON }]);
  await pipeline.processor.drain();
  const set = (change: string) => pipeline.pool.query(`UPDATE webhook_events SET ${change}`);
  await throughIts(rig, 'dead_letters', {
    trouble: () => set("state = 'dead', processed_at = NULL"),
    relief: () => set("state = 'done', processed_at = now()"),
    says: /Events given up after all tries: 1\./,
  });
});

test('dead letters: messages given up; those of our own alerts do not count', async t => {
  const rig = await createRigOf(t);
  const { look } = rig;
  const bury = (where: string) =>
    pipeline.pool.query(`UPDATE messages SET state = 'dead', updated_at = $1 WHERE ${where}`, [
      new Date(pipeline.now).toISOString(),
    ]);
  await throughIts(rig, 'dead_letters', {
    trouble: async () => {
      const message = { companyId: COMPANY, id: newId(), recipient: '', channel: 'console', now: NOON };
      await insertTestMessage(pipeline.pool, message);
      await bury("purpose = 'test'");
    },
    relief: async () => {
      pipeline.now += DAY;
    },
    says: /Messages given up after all tries in 24 hours: 1\./,
  });
  await bury("purpose = 'alert'");
  assert.deepEqual(await look(MINUTE), []);
});

test('missed: changes that came without a webhook', async t => {
  const rig = await createRigOf(t);
  await pipeline.pool.query(
    `INSERT INTO sweeps (company_id, kind, due_at, finished_at) VALUES (1, 'baseline', 'infinity', now())`,
  );
  await count({ webhooks: 14 });
  await throughIts(rig, 'missed', {
    trouble: async () => {
      await count({ missed: 5 });
      assert.deepEqual(await rig.look(0), [], '19 changes say nothing yet');
      await count({ missed: 1 });
    },
    relief: () => count({ late: 6, webhooks: 6 }),
    says: /30 % of changes in 24 hours came without a webhook/,
  });
});

test('rejects: refusals of the public port, counted by two receivers', async t => {
  const rig = await createRigOf(t);
  const receivers = [1, 2].map(() => {
    const metrics = createMetrics();
    const counter = createRejectCounter({
      ...{ pool: pipeline.pool, log: createLog('silent'), metrics, now: () => pipeline.now },
    });
    return { metrics, counter };
  });
  const refuse = async (times: number) => {
    for (const { metrics, counter } of receivers) {
      metrics.rejected.inc({ cause: 'unknown_key' }, times / 2);
      await counter.runOnce();
    }
  };
  await throughIts(rig, 'rejects', {
    trouble: async () => {
      await refuse(98);
      assert.deepEqual(await rig.look(MINUTE), []);
      await refuse(2);
    },
    relief: async () => {
      pipeline.now += HOUR;
    },
    says: /100 requests refused within an hour because of unknown_key/,
  });
});

test('refused: a salon of a few events an hour, each of which is refused', async t => {
  const rig = await createRigOf(t);
  const metrics = createMetrics();
  const counter = createRejectCounter({
    ...{ pool: pipeline.pool, log: createLog('silent'), metrics, now: () => pipeline.now },
  });
  const refuse = async (times: number) => {
    metrics.rejected.inc({ cause: 'unreadable' }, times);
    await counter.runOnce();
  };
  await throughIts(rig, 'refused', {
    trouble: async () => {
      metrics.rejected.inc({ cause: 'not_found' }, 500);
      await refuse(4);
      assert.deepEqual(await rig.look(MINUTE), [], 'nor a scanner');
      await refuse(1);
    },
    relief: async () => {
      pipeline.now += HOUR;
    },
    says: /5 events of salons refused within an hour because of unreadable \(limit 5\)/,
  });
});

test('unkept: events that could not be stored, though the database answers', async t => {
  const rig = await createRigOf(t);
  const metrics = createMetrics();
  const counter = createRejectCounter({
    ...{ pool: pipeline.pool, log: createLog('silent'), metrics, now: () => pipeline.now },
  });
  const refuse = async (times: number) => {
    metrics.rejected.inc({ cause: 'store_down' }, times);
    await counter.runOnce();
  };
  await throughIts(rig, 'unkept', {
    trouble: async () => {
      await refuse(4);
      assert.deepEqual(await rig.look(MINUTE), []);
      await refuse(1);
    },
    relief: async () => {
      pipeline.now += HOUR;
    },
    says: /5 requests within an hour could not be kept \(store_down, limit 5\)/,
  });
});

test('marketplace: what its routes refuse', async t => {
  const routes = await createRig();
  t.after(() => routes.close());
  const rig = await createRigOf(t);
  const counter = createRejectCounter({
    ...{ pool: pipeline.pool, log: createLog('silent'), metrics: routes.metrics, now: () => pipeline.now },
  });
  await throughIts(rig, 'marketplace', {
    trouble: async () => {
      for (let press = 0; press < 5; press += 1) {
        const { statusCode } = await routes.press({ user_data: 'e30=', user_data_sign: 'forged' });
        assert.equal(statusCode, 403);
      }
      for (let event = 0; event < 4; event += 1) {
        assert.equal(
          (await routes.lifecycle({ salon_id: 1, event: 'freeze', partner_token: 'no' })).statusCode,
          401,
        );
      }
      await counter.runOnce();
    },
    relief: async () => {
      pipeline.now += HOUR;
    },
    says: /5 requests of the marketplace refused within an hour because of connect_signature/,
  });
});

test('certificate: read by a handshake, before it expires', async t => {
  const server = createTlsServer(SOONER, socket => socket.on('error', () => {}));
  server.listen(0, '127.0.0.1');
  await new Promise(resolve => server.once('listening', resolve));
  t.after(() => new Promise(resolve => server.close(resolve)));
  const address = server.address();
  const url = `https://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  const tenDaysBefore = SOONER_ENDS - 10 * 24 * HOUR;
  const read = () => readCertificateDays(url, tenDaysBefore);

  const rig = await createRigOf(t);
  const { outside } = rig;
  await throughIts(rig, 'certificate', {
    trouble: async () => {
      outside.days = await read();
      pipeline.now += HOUR;
    },
    relief: async () => {
      server.setSecureContext(LATER);
      outside.days = await read();
      pipeline.now += HOUR;
    },
    says: /The certificate of hooks\.test expires in 10 days/,
  });
  assert.equal(await readCertificateDays('http://127.0.0.1:1', 0), null);
  assert.equal(await readCertificateDays('https://127.0.0.1:1', 0), null, 'nobody there');
});

test('certificate: read once an hour; one that could not be read is asked for again sooner', async t => {
  const { watch } = await createRigOf(t);
  let reads = 0;
  let days: number | null = null;
  const one = watch({
    certificateDays: async () => {
      reads += 1;
      return days;
    },
  });
  const readsAfter = async (milliseconds: number) => {
    pipeline.now += milliseconds;
    await one.runOnce();
    return reads;
  };
  assert.equal(await readsAfter(0), 1);
  assert.equal(await readsAfter(MINUTE), 1, 'nobody answers: not at every look');
  days = 3;
  assert.equal(await readsAfter(4 * MINUTE), 2);
  assert.deepEqual(
    (await listAlerts(pipeline.pool)).map(({ kind }) => kind),
    ['certificate'],
  );
  assert.equal(await readsAfter(59 * MINUTE), 2);
  assert.equal(await readsAfter(MINUTE), 3);
});

test('api: a company’s API cannot be read', async t => {
  const rig = await createRigOf(t);
  const { pool } = pipeline;
  await throughIts(rig, 'api', {
    trouble: () =>
      pool.query(`INSERT INTO sweeps (company_id, kind, due_at, failures, error)
        VALUES (1, 'delta', 'infinity', 1, 'the user token is refused (401); give a new one')`),
    relief: () => pool.query('UPDATE sweeps SET failures = 0, error = NULL'),
    forMs: 15 * MINUTE,
    says: /API cannot be read for over 15 min\. the user token is refused \(401\); give a new one/,
  });
});

test('disk: little is free', async t => {
  const rig = await createRigOf(t);
  await throughIts(rig, 'disk', {
    trouble: async () => {
      rig.outside.free = 9.5;
    },
    relief: async () => {
      rig.outside.free = 50;
    },
    forMs: MINUTE,
    says: /9\.5 % of the disk with DATA_DIR is free/,
  });
  const free = await readFreePercent(tmpdir());
  assert.ok(free !== null && free > 0 && free <= 100, `${free}`);
  // In a container DATA_DIR is not there: the disk above it is, and no directory is made.
  assert.notEqual(await readFreePercent('/no/such/directory'), null);
  const [unread] = await diskFindings(
    { DATABASE_URL: 'postgresql://db', DATA_DIR: './data', ALERT_DISK_PERCENT: 10 },
    async () => null,
  );
  assert.equal(unread?.state, 'note');
  assert.match(unread?.says ?? '', /it is not watched/);
});

test('provider: its tries fail; wrong addresses are not its fault', async t => {
  const rig = await createRigOf(t);
  const { look } = rig;
  const send = async (times: number, answer?: Pipeline['answers'][number]) => {
    for (let time = 0; time < times; time += 1) {
      const message = {
        companyId: COMPANY,
        id: newId(),
        recipient: '',
        channel: 'console',
        now: pipeline.now,
      };
      await insertTestMessage(pipeline.pool, message);
      if (answer !== undefined) pipeline.answers.push(answer);
    }
    await pipeline.dispatcher.drain();
  };
  await send(20, { outcome: 'rejected', scope: 'address', reason: 'blocked by the user' });
  assert.deepEqual(await look(MINUTE), []);
  assert.deepEqual(await look(2 * MINUTE), []);
  await throughIts(rig, 'provider', {
    trouble: () => send(6, { outcome: 'rejected', scope: 'channel', reason: 'SMTP 535' }),
    relief: async () => {
      assert.deepEqual(await look(HOUR), [], 'that nobody tries does not mean that it works');
      await send(5);
    },
    forMs: MINUTE,
    says: /Channel console: 100 % of tries in 15 minutes failed .*SMTP 535/,
  });
});

test('account: refused by its provider; that nobody answers neither raises it nor ends it', async t => {
  const rig = await createRigOf(t);
  const { look, outside } = rig;
  outside.account = { state: 'unknown', reason: 'ECONNREFUSED' };
  assert.deepEqual(await look(DAY), [], 'that is the matter of another alert');
  outside.account = { state: 'ok' };
  await look(HOUR);
  await throughIts(rig, 'account', {
    trouble: async () => {
      outside.account = { state: 'refused', reason: 'SMSC error 2' };
      assert.deepEqual(await look(59 * MINUTE), [], 'not asked at every look');
      pipeline.now += MINUTE;
    },
    relief: async () => {
      outside.account = { state: 'unknown', reason: 'ECONNREFUSED' };
      assert.deepEqual(await look(HOUR), []);
      assert.deepEqual(await look(HOUR), []);
      outside.account = { state: 'ok' };
      pipeline.now += 5 * MINUTE;
    },
    says: /Channel sms: its provider refuses our account.*SMSC error 2/,
  });
});

test('account: its money is about to end', async t => {
  const rig = await createRigOf(t);
  const { outside } = rig;
  await throughIts(rig, 'account', {
    trouble: async () => {
      outside.account = { state: 'soon', reason: 'SMSC: 12.3 left, the limit is 300' };
      pipeline.now += HOUR;
    },
    relief: async () => {
      outside.account = { state: 'ok' };
      pipeline.now += 5 * MINUTE;
    },
    says: /Channel sms: its account is about to fail.* SMSC: 12\.3 left, the limit is 300/,
  });
});

test('account: asked once an hour, after a word that was not good every five minutes, and never when switched off', async t => {
  const { watch, outside } = await createRigOf(t);
  const metrics = createMetrics();
  let asked = 0;
  const check = async () => {
    asked += 1;
    return outside.account;
  };
  const one = watch({ check, metrics });
  const askedAfter = async (milliseconds: number) => {
    pipeline.now += milliseconds;
    await one.runOnce();
    return asked;
  };
  const shown = async () => {
    const { values } = await metrics.accounts.get();
    return values.find(({ labels }) => labels.channel === 'sms')?.value;
  };
  outside.account = { state: 'unknown', reason: 'HTTP 502' };
  assert.equal(await askedAfter(0), 1);
  assert.equal(await shown(), undefined, 'nothing is known');
  assert.equal(await askedAfter(4 * MINUTE), 1);
  outside.account = { state: 'refused', reason: 'SMSC error 2' };
  assert.equal(await askedAfter(MINUTE), 2);
  assert.equal(await shown(), 2);
  outside.account = { state: 'unknown', reason: 'HTTP 502' };
  assert.equal(await askedAfter(5 * MINUTE), 3);
  assert.equal(await shown(), 2, 'what it said last');
  outside.account = { state: 'ok' };
  assert.equal(await askedAfter(5 * MINUTE), 4);
  assert.equal(await shown(), 0);
  assert.equal(await askedAfter(59 * MINUTE), 4);
  assert.equal(await askedAfter(MINUTE), 5);
  await watch({ check, limits: { ...LIMITS, account: 0 } }).runOnce();
  assert.equal(asked, 5);
});

test('account: a provider that stays silent is waited for within a limit, and a stop does not wait at all', async t => {
  const { watch } = await createRigOf(t);
  const ended: string[] = [];
  const check: NonNullable<Channel['check']> = signal => {
    const { promise, resolve } = Promise.withResolvers<AccountState>();
    signal.addEventListener('abort', () => {
      ended.push(signal.reason.name);
      resolve({ state: 'unknown', reason: 'stopped by us' });
    });
    return promise;
  };
  const sms: Channel = { ...CONSOLE, name: 'sms', check };
  assert.deepEqual(
    [...(await readAccounts([CONSOLE, sms], new AbortController().signal, 20))],
    [['sms', { state: 'unknown', reason: 'no answer within 20 ms' }]],
  );
  const one = watch({ check });
  const looking = one.runOnce();
  await one.stop();
  await looking;
  assert.deepEqual(ended, ['TimeoutError', 'AbortError']);
});

test('account: doctor has a line for each channel that can be asked', async t => {
  let answer: object = { balance: '250' };
  const provider = await httpServer(t, (_request, _body, response) => response.end(JSON.stringify(answer)));
  const config = readConfig({
    ...{ SMS_PROVIDER: 'smsc', SMS_TOKEN: 'not-a-real-key', ALERT_BALANCE: '200' },
    ...{ SMS_API_URL: `http://127.0.0.1:${provider.port}` },
    ...{ TELEGRAM_TOKEN: '1:a', TELEGRAM_API_ROOT: `http://127.0.0.1:${await freePort()}` },
  });
  const says = async () =>
    (await channelFindings(config))
      .filter(({ check }) => check === 'account')
      .map(({ state, says: words }) => `${state} ${words}`);
  const [telegram = '', sms = '', ...more] = await says();
  assert.match(telegram, /^note telegram could not be asked about our account \(ECONNREFUSED\)/);
  assert.equal(sms, 'ok sms by smsc: its provider takes our account');
  assert.deepEqual(more, []);
  answer = { balance: '199' };
  assert.match(
    (await says())[1] ?? '',
    /^note sms by smsc is about to fail \(SMSC: 199 left.*#alert-account$/,
  );
  answer = { error: 'authorise error', error_code: 2 };
  assert.match((await says())[1] ?? '', /^fault sms by smsc: .* \(SMSC error 2\).*#alert-account$/);
});

test('drift: what is odd in one place again and again, once for each kind; an odd body now and then is none', async t => {
  const rig = await createRigOf(t);
  const { look } = rig;
  const drift = (path: string, count = 1) =>
    addDrift(pipeline.pool, [
      { kind: 'enum', path, sample: '7', count, firstAt: pipeline.now, lastAt: pipeline.now },
    ]);
  for (let body = 0; body < 9; body += 1) await drift('record.attendance');
  for (const path of ['record.status', 'record.online', 'record.paid_full']) await drift(path);
  assert.deepEqual(await look(0), [], 'one fewer, and others elsewhere');
  pipeline.now += 2 * DAY;
  for (let day = 0; day < 20; day += 1) {
    await drift('record.attendance');
    assert.deepEqual(await look(2 * DAY), [], 'every other day one, whatever that comes to');
  }
  pipeline.now += 2 * DAY;
  await throughIts(rig, 'drift', {
    trouble: async () => {
      await drift('record.attendance', 6);
      pipeline.now += DAY;
      await drift('record.attendance', 5);
      await drift('record.status', 10);
    },
    relief: async () => {
      await drift('record.attendance');
      assert.deepEqual(await look(HOUR), [], 'it goes on');
      pipeline.now += DAY;
    },
    says: /what we do not know \(enum\), in one place 11 times in two days/,
  });
});

test('backup: none for 36 hours, once there was a first one', async t => {
  const rig = await createRigOf(t);
  const { look } = rig;
  assert.deepEqual(await look(30 * DAY), [], 'nobody has begun to make any');
  const made = () => saveSetting(pipeline.pool, LAST_BACKUP, new Date(pipeline.now).toISOString());
  await made();
  pipeline.now += DAY;
  await made();
  await throughIts(rig, 'backup', {
    trouble: async () => {
      assert.deepEqual(await look(35 * HOUR), []);
      pipeline.now += HOUR;
    },
    relief: made,
    says: /The last backup was made 36 hours ago \(limit 36\)/,
  });
});

test('backup: expected though none was made, the database is as old as its schema', async t => {
  const { watch } = await createRigOf(t);
  const one = watch({ backupExpected: true });
  const open = async () => {
    await one.runOnce();
    return (await listAlerts(pipeline.pool)).filter(({ kind }) => kind === 'backup');
  };
  pipeline.now = Date.now() + 35 * HOUR;
  assert.deepEqual(await open(), []);
  pipeline.now += 2 * HOUR;
  const [raised] = await open();
  assert.equal(raised?.label, 'never');
});

test('backup: doctor has a line, and its age is a metric', async t => {
  await createRigOf(t);
  const metrics = createMetrics();
  watchBackup(
    metrics,
    async () => (await readLastBackup(pipeline.pool)).last,
    () => pipeline.now,
  );
  const age = async () =>
    Number(/^otklik_backup_age_seconds (.*)$/m.exec(await metrics.registry.metrics())?.[1]);
  const says = async (setting: Record<string, string> = {}) => {
    const config = readConfig(setting);
    const [finding, ...more] = await backupFindings(pipeline.pool, config, pipeline.now);
    assert.deepEqual(more, []);
    return `${finding?.state} ${finding?.says}`;
  };
  pipeline.now = Date.now() + 40 * HOUR;
  assert.ok(Number.isNaN(await age()), 'none was made');
  assert.match(await says(), /^note none was made: /);
  assert.match(await says({ ALERT_BACKUP_HOURS: '24' }), /^fault none was made: .*#alert-backup$/);
  await saveSetting(pipeline.pool, LAST_BACKUP, new Date(pipeline.now - 30 * HOUR).toISOString());
  assert.equal(await age(), 30 * 3_600);
  assert.equal(await says(), 'ok the last one was made 30 h ago');
  assert.match(
    await says({ ALERT_BACKUP_HOURS: '24' }),
    /^fault the last one was made 30 h ago.*#alert-backup$/,
  );
  assert.equal(await says({ ALERT_BACKUP_HOURS: '0' }), 'ok the last one was made 30 h ago');
});

test('database: told and resolved without it, first by the one that watched', async t => {
  const { watch, arrived } = await createRigOf(t);
  const line = await cuttable(t, pipeline.url);
  const pool = createPool(line.url, { max: 2, name: 'test', statementTimeoutMs: 5_000 });
  t.after(() => pool.end());
  const [leader, other] = [watch({ pool }), watch({ pool })];
  const look = async (milliseconds: number) => {
    pipeline.now += milliseconds;
    for (const one of [leader, other]) await one.runOnce();
    return arrived();
  };
  assert.deepEqual(await look(0), []);
  line.cut();
  assert.deepEqual(await look(1_000), [], 'a restart takes as long');
  const [told = '', ...more] = await look(MINUTE);
  assert.match(told, /^🔴 The database does not answer for over 60 s.*\n.*#alert-database$/);
  assert.deepEqual(more, []);
  await look(HOUR);
  assert.equal((await look(HOUR)).length, 1, 'the other cannot know whether it was told');
  assert.deepEqual(await look(HOUR), []);
  assert.match((await look(DAY))[0] ?? '', /^🟠 for 27 h 1 min: The database/);
  line.mend();
  assert.deepEqual(await look(1_000), []);
  const resolved = await look(5 * MINUTE);
  assert.equal(resolved.length, 2);
  for (const text of resolved) assert.match(text, /^🟢 all right: database/);
});

test('database: told by one that did not watch, when the one that did is gone with it', async t => {
  const { watch, arrived } = await createRigOf(t);
  const line = await cuttable(t, pipeline.url);
  const pool = createPool(line.url, { max: 2, name: 'test', statementTimeoutMs: 5_000 });
  t.after(() => pool.end());
  const [leader, other] = [watch({ pool }), watch({ pool })];
  await leader.runOnce();
  const look = async (milliseconds: number) => {
    pipeline.now += milliseconds;
    await other.runOnce();
    return arrived();
  };
  assert.deepEqual(await look(0), []);
  line.cut();
  assert.deepEqual(await look(1_000), []);
  assert.deepEqual(await look(89_000), [], 'the one that watched has its time first');
  assert.deepEqual(await look(1_000), [], 'suspected');
  assert.match((await look(MINUTE))[0] ?? '', /^🔴 The database does not answer for over 60 s/);
  line.mend();
  assert.deepEqual(await look(1_000), []);
  assert.match((await look(5 * MINUTE))[0] ?? '', /^🟢 all right: database/);
  // What it saw before it was all right again does not count the next time.
  line.cut();
  assert.deepEqual(await look(HOUR), []);
  assert.deepEqual(await look(89_000), []);
});

test('database: one that hangs is down too', async t => {
  const { watch, arrived } = await createRigOf(t);
  const line = await cuttable(t, pipeline.url);
  const pool = createPool(line.url, { max: 2, name: 'test', statementTimeoutMs: 1_000 });
  t.after(() => pool.end());
  const one = watch({ pool, lookLimitMs: 500 });
  await one.runOnce();
  line.hang();
  await one.runOnce();
  pipeline.now += MINUTE;
  await one.runOnce();
  assert.match(arrived()[0] ?? '', /^🔴 The database does not answer/);
});

test('database: one that answers and cannot be looked at is down too, whatever its error', async t => {
  const { watch, arrived } = await createRigOf(t);
  const pool = createPool(pipeline.url, { max: 2, name: 'test', statementTimeoutMs: 5_000 });
  t.after(() => pool.end());
  Object.assign(pool.options, { maxUses: 1 });
  const point = (change: (url: URL) => void) => {
    const url = new URL(pipeline.url);
    change(url);
    Object.assign(pool.options, { connectionString: url.href });
  };
  const run = (statement: string) => () => pipeline.pool.query(statement);
  const one = watch({ pool });
  const look = async (milliseconds: number) => {
    pipeline.now += milliseconds;
    await one.runOnce();
    return arrived();
  };
  const back = () => point(() => {});
  const readOnly = (url: URL) => url.searchParams.set('options', '-c default_transaction_read_only=on');
  const outages: [code: string, strike: () => unknown, mend: () => unknown][] = [
    ['25006', () => point(readOnly), back],
    ['3D000', () => point(url => Object.assign(url, { pathname: '/gone' })), back],
    ['28000', () => point(url => Object.assign(url, { username: 'nobody_of_this_name' })), back],
    [
      '42501',
      run('REVOKE ALL ON alert_watch FROM CURRENT_USER'),
      run('GRANT ALL ON alert_watch TO CURRENT_USER'),
    ],
  ];
  for (const [code, strike, mend] of outages) {
    assert.deepEqual(await look(0), [], 'quiet before');
    await strike();
    await assert.rejects(takeWatch(pool, randomUUID(), 1), { code });
    assert.deepEqual(await look(1_000), [], code);
    assert.match((await look(MINUTE))[0] ?? '', /^🔴 The database does not answer/, code);
    await mend();
    assert.deepEqual(await look(1_000), [], code);
    assert.match((await look(5 * MINUTE))[0] ?? '', /^🟢 all right: database/, code);
  }
});

test('by every road at once, grouped in one message each, reminded once a day', async t => {
  const { look, outside } = await createRigOf(t, ['telegram', 'email', 'webhook']);
  await look(0);
  outside.free = 1;
  await count({ webhooks: 1 }, NOON - 30 * DAY);
  assert.equal((await look(10)).length, 3);
  outside.days = 3;
  const told = await look(HOUR);
  assert.equal(told.length, 3);
  for (const text of told) assert.match(text, /^🔴 [^🔴]*🔴 [^🔴]*$/u);
  assert.deepEqual(await look(HOUR), []);
  const reminded = await look(DAY);
  assert.equal(reminded.length, 3);
  for (const text of reminded) assert.match(text, /🟠 for 2\d h/);
  const { rows } = await pipeline.pool.query(
    `SELECT channel, step, count(*)::int AS n FROM messages WHERE purpose = 'alert' AND state = 'sent' GROUP BY 1, 2`,
  );
  assert.equal(rows.length, 9);
  assert.ok(rows.every(({ n }) => n === 1));
});

test('of several processes that watch one tells, and another goes on when it stops', async t => {
  const { watch, dispatcher, arrived } = await createRigOf(t);
  const watches = Array.from({ length: 4 }, () => watch());
  await pipeline.receive(COMPANY, [{ body: recordBody({ at: NOON }), receivedAt: NOON - HOUR }]);
  const lookAll = async () => {
    await Promise.all(watches.map(one => one.runOnce()));
    await dispatcher.drain();
  };
  await lookAll();
  await lookAll();
  assert.equal(arrived().length, 1);
  const { rows } = await pipeline.pool.query('SELECT owner FROM alert_watch');
  assert.equal(rows.length, 1);
  await pipeline.processor.drain();
  for (const one of watches.splice(0, 3)) await one.stop();
  await lookAll();
  pipeline.now += 5 * MINUTE;
  await lookAll();
  assert.equal(arrived().length, 1, 'resolved by the last one');
});

test('an alert whose sender died is repeated, and one that cannot leave is tried again', async t => {
  const { watch, arrived, outside } = await createRigOf(t);
  const { pool } = pipeline;
  outside.days = 1;
  await watch().runOnce();
  const die = (change: string) =>
    pool.query(`UPDATE messages SET ${change}, leased_until = now() - interval '1 second'`);
  await die("state = 'sending', attempts = 1, leased_by = gen_random_uuid()");
  const busy = await (WELL_KNOWN.find(({ name }) => name === 'webhook') ?? assert.fail()).open(t, 'busy');
  const roads = new Map([['webhook' as const, { address: busy.address, secret: WEBHOOK_SECRET }]]);
  const { dispatcher } = pipeline.another({ channels: new Map([['webhook', busy.channel]]), roads });
  t.after(() => dispatcher.stop());
  await dispatcher.drain();
  assert.equal(busy.received.length, 0);
  await die("state = 'sending'");
  await dispatcher.drain();
  assert.equal(busy.received.length, 1);
  assert.deepEqual(arrived(), []);
  const { rows } = await pool.query(`SELECT state, attempts FROM messages WHERE purpose = 'alert'`);
  assert.deepEqual(rows, [{ state: 'sent', attempts: 3 }]);
});

test('an alert that one road gives up is told of by the others, and all right once that road takes one', async t => {
  const { look, outside } = await createRigOf(t, ['telegram', 'webhook']);
  outside.days = 1;
  assert.equal((await look(0)).length, 2);
  await bury("channel = 'telegram'", "'failed'");
  assert.deepEqual(await look(1_000), [], 'suspected');
  const told = await look(MINUTE);
  assert.equal(told.length, 2);
  for (const text of told) assert.match(text, /^🔴 Channel telegram did not take an alert to you\. SMTP 535/);
  await look(1_000);
  const resolved = await look(5 * MINUTE);
  assert.equal(resolved.length, 2);
  for (const text of resolved) assert.match(text, /^🟢 all right: channel telegram/);
  assert.deepEqual(await look(2 * HOUR), [], 'what one road took is told');
});

test('an alert that every road gave up is told again an hour later, and no more once one took it', async t => {
  const { look, outside } = await createRigOf(t);
  outside.days = 1;
  assert.equal((await look(0)).length, 1);
  await bury("purpose = 'alert'", "'unknown'");
  assert.deepEqual(await look(59 * MINUTE), []);
  const [again = '', ...more] = await look(MINUTE);
  assert.match(again, /^🟠 for 1 h 0 min: The certificate/);
  assert.deepEqual(more, []);
  assert.deepEqual(await look(2 * HOUR), []);
});

/** Ends alerts so, with a reason. */
const bury = (where: string, state: string) =>
  pipeline.pool.query(`UPDATE messages SET state = ${state}, error = 'SMTP 535'
    WHERE purpose = 'alert' AND ${where}`);

test('a watch that stopped looking is replaced when its lease ends', async t => {
  const { watch, outside } = await createRigOf(t);
  const [first, second] = [watch(), watch()];
  await first.runOnce();
  outside.days = 1;
  await second.runOnce();
  assert.deepEqual(await listAlerts(pipeline.pool), [], 'it looks out no more than one at a time');
  await pipeline.pool.query("UPDATE alert_watch SET leased_until = now() - interval '1 millisecond'");
  await second.runOnce();
  assert.equal((await listAlerts(pipeline.pool)).length, 1);
});

test('refusals are forgotten after a day', async t => {
  const { look } = await createRigOf(t);
  const { pool } = pipeline;
  const causes = async () =>
    (await pool.query("SELECT cause FROM rejects WHERE cause <> 'store_down' ORDER BY 1")).rows.map(
      ({ cause }) => cause,
    );
  await addRejects(pool, [{ cause: 'old', count: 1 }], pipeline.now);
  await addRejects(pool, [{ cause: 'young', count: 1 }], pipeline.now + HOUR);
  await look(DAY);
  assert.deepEqual(await causes(), ['old', 'young']);
  await look(MINUTE);
  assert.deepEqual(await causes(), ['young']);
});

/** A line to PostgreSQL that can be cut, made to hang, and mended. */
async function cuttable(t: TestContext, url: string) {
  const target = new URL(url);
  const sockets = new Set<Socket>();
  let state: 'open' | 'cut' | 'hanging' = 'open';
  const server = createServer(near => {
    near.on('error', () => {});
    if (state === 'cut') return near.destroy();
    const far = dial(Number(target.port), target.hostname);
    far.on('error', () => {});
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on('data', data => state === 'open' && to.write(data));
      from.on('close', () => to.destroy());
    }
    return undefined;
  });
  server.listen(0, '127.0.0.1');
  await new Promise(resolve => server.once('listening', resolve));
  const drop = () => {
    for (const socket of sockets) socket.destroy();
  };
  t.after(async () => {
    drop();
    await new Promise(resolve => server.close(resolve));
  });
  const address = server.address();
  const through = new URL(url);
  through.hostname = '127.0.0.1';
  through.port = String(typeof address === 'object' ? address?.port : '');
  return {
    url: through.href,
    cut() {
      state = 'cut';
      drop();
    },
    hang() {
      state = 'hanging';
    },
    mend() {
      state = 'open';
    },
  };
}

test('how many alerts of each kind are open is a metric, while somebody looks', async t => {
  const { look, outside, watch } = await createRigOf(t);
  const metrics = createMetrics();
  watchAlerts(metrics, () => countRaised(pipeline.pool, pipeline.now));
  const shown = async () =>
    (await metrics.registry.metrics())
      .split('\n')
      .flatMap(line => /^otklik_alerts_open\{kind="(\w+)"\} (\d+)$/.exec(line)?.slice(1).join(' ') ?? []);
  assert.deepEqual(await shown(), [], 'nobody looks yet');
  const expected = (counts: Partial<Record<AlertKind, number>>) =>
    // That the database is away it does not know.
    ALERT_KINDS.filter(kind => kind !== 'database').map(kind => `${kind} ${counts[kind] ?? 0}`);
  await look(0);
  assert.deepEqual(await shown(), expected({}));
  outside.free = 5;
  await addRejects(
    pipeline.pool,
    ['unreadable', 'signature_stale'].map(cause => ({ cause, count: 5 })),
    pipeline.now,
  );
  await look(0);
  assert.deepEqual(await shown(), expected({ refused: 2 }), 'one that is only suspected does not count');
  await look(MINUTE);
  assert.deepEqual(await shown(), expected({ refused: 2, disk: 1 }));
  await pipeline.pool.query("UPDATE alert_watch SET leased_until = now() - interval '1 second'");
  assert.deepEqual(await shown(), [], 'what nobody looks at any more is not known');
  await watch().runOnce();
  assert.deepEqual(await shown(), expected({ refused: 2, disk: 1 }));
});

test('a muted alert is kept quiet until its time, of its subject or of all, and does not count as open', async t => {
  const { look } = await createRigOf(t);
  const raised = async () => Object.fromEntries((await countRaised(pipeline.pool, pipeline.now)) ?? []);
  const refuse = () =>
    addRejects(
      pipeline.pool,
      ['unreadable', 'company_rate'].map(cause => ({ cause, count: 5 })),
      pipeline.now,
    );
  const mute = (key: { kind: AlertKind; subject: string | null }, forMs: number) =>
    saveMute(pipeline.pool, { ...key, until: pipeline.now + forMs });
  await mute({ kind: 'refused', subject: 'unreadable' }, HOUR);
  await refuse();
  const [told = '', ...more] = await look(0);
  assert.match(told, /because of company_rate/);
  assert.doesNotMatch(told, /unreadable/);
  assert.deepEqual(more, []);
  assert.deepEqual(await raised(), { refused: 1 });
  await mute({ kind: 'refused', subject: null }, 3 * DAY);
  assert.deepEqual(await raised(), {}, 'raised before, and muted since');
  await pipeline.pool.query("UPDATE rejects SET minute = 'infinity'");
  assert.deepEqual(await look(2 * DAY), []);
  assert.deepEqual(
    (await readMutes(pipeline.pool)).map(({ subject }) => subject),
    [null],
    'what is over is forgotten',
  );
  const [after = ''] = await look(DAY);
  assert.match(after, /🔴 .*unreadable/);
  assert.match(after, /🟠 for 72 h 0 min: .*company_rate/);
  assert.deepEqual(await raised(), { refused: 2 });
});
