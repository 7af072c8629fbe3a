/** Routes: from one channel to the next, and no further than needed, on the real database. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import type { Channel, ChannelName, Outgoing, SendResult, Traits } from '../../src/channels/channel.ts';
import { CONSOLE_TRAITS } from '../../src/channels/console.ts';
import type { PolicyDocument } from '../../src/domain/policy.ts';
import { newId } from '../../src/ids.ts';
import { type PreviewOf, previewPolicy } from '../../src/salon/preview.ts';
import { previewRoutes } from '../../src/salon/preview-routes.ts';
import { insertTestMessage } from '../../src/store/messages.ts';
import { type NewReceipt, saveReceipts } from '../../src/store/receipts.ts';
import { showMessage } from '../../src/store/views.ts';
import { until } from '../support/until.ts';
import { createPipeline, type Pipeline, recordBody } from './pipeline.ts';

const MINUTE = 60_000;
const WITHIN = { whatsapp: 5 * MINUTE, sms: 10 * MINUTE } as const;

let pipeline: Pipeline;
/** What left, in order: the channel and the message. */
let sent: { readonly channel: ChannelName; readonly message: Outgoing }[];
/** What a channel answers to the next sends; `sent` under an id of its own when there is nothing. */
let answers: Partial<Record<ChannelName, SendResult[]>>;
let channels: Map<ChannelName, Channel>;
let companyId = 0;

const traits = (address: Traits['address'], receiptWithinMs: number | null): Traits => ({
  ...CONSOLE_TRAITS,
  ...{ address, receiptWithinMs },
});

function channel(name: ChannelName, its: Traits): [ChannelName, Channel] {
  return [
    name,
    {
      ...{ name, traits: its, idempotent: false, concurrency: 64, provider: `${name}-provider` },
      async send(message) {
        sent.push({ channel: name, message });
        return answers[name]?.shift() ?? { outcome: 'sent', providerId: `${name}/${message.id}` };
      },
    },
  ];
}

before(async () => {
  pipeline = await createPipeline();
  channels = new Map([
    channel('telegram', traits('chat', null)),
    channel('whatsapp', traits('phone', WITHIN.whatsapp)),
    channel('sms', traits('phone', WITHIN.sms)),
    channel('email', traits('email', null)),
  ]);
});
after(() => pipeline.close());
beforeEach(async () => {
  companyId += 1;
  sent = [];
  answers = {};
  await pipeline.addCompany({ companyId, route: ['whatsapp', 'sms'] });
  await knowReceipts();
});

/** The providers have told of messages of this company before. */
async function knowReceipts(): Promise<void> {
  await pipeline.pool.query(
    `INSERT INTO receipt_givers (company_id, channel, provider)
     VALUES ($1, 'whatsapp', 'whatsapp-provider'), ($1, 'sms', 'sms-provider')`,
    [companyId],
  );
}

async function book(recordId = 100, data: Record<string, unknown> = {}, status = 'create'): Promise<void> {
  const client = { id: recordId, name: 'Анна', phone: '79160000001' };
  const body = recordBody({ id: recordId, companyId, status, at: pipeline.now, data: { client, ...data } });
  await pipeline.receive(companyId, [{ body, receivedAt: pipeline.now }]);
  await pipeline.processor.drain();
  await pipeline.planner.drain();
  await dispatch();
}

async function dispatch(passMs = 0): Promise<void> {
  pipeline.now += passMs;
  await pipeline.another({ channels }).dispatcher.drain();
}

async function receipt(
  name: ChannelName,
  status: NewReceipt['status'] = 'delivered',
  reason = '',
  id = sent[0]?.message.id,
): Promise<void> {
  const providerId = `${name}/${id}`;
  await saveReceipts(pipeline.pool, [
    { channel: name, provider: `${name}-provider`, providerId, status, reason, happenedAt: null },
  ]);
}

const policy = (document: PolicyDocument) => pipeline.setPolicy(companyId, document);
const ours = () => sent.filter(one => one.message.companyId === companyId);
const by = () => ours().map(one => one.channel);

async function message(place = 0) {
  const { rows } = await pipeline.pool.query<{ id: string }>(
    'SELECT id FROM messages WHERE company_id = $1 ORDER BY created_at, id',
    [companyId],
  );
  const shown = await showMessage(pipeline.pool, rows[place]?.id ?? '');
  assert.ok(shown !== undefined);
  return shown;
}

async function ended(state: string, falls: readonly string[], place = 0): Promise<string> {
  const shown = await message(place);
  assert.equal(shown.state, state);
  assert.deepEqual(
    shown.falls.map(fall => `${fall.channel} ${fall.why}`),
    falls,
  );
  return shown.trail.replaceAll(/\d\d:\d\d:\d\d/g, 'HH:MM');
}

test('no receipt in time: the next channel within seconds of it, not before, and the trail says why', async () => {
  await book();
  await dispatch(WITHIN.whatsapp - 1_000);
  assert.deepEqual(by(), ['whatsapp']);
  await dispatch(1_500);
  assert.deepEqual(by(), ['whatsapp', 'sms']);
  assert.equal(sent[0]?.message.id, sent[1]?.message.id, 'one message all the while');
  assert.equal(sent[0]?.message.text, sent[1]?.message.text);
  await receipt('sms');
  await dispatch(60 * MINUTE);
  assert.deepEqual(by(), ['whatsapp', 'sms']);
  assert.match(
    await ended('delivered', ['whatsapp silent']),
    /^whatsapp: sent HH:MM, no receipt in 5 min → sms: sent HH:MM, delivered HH:MM$/,
  );
});

test('a receipt in time, or late before the next step has left, and there is no other step', async () => {
  await book();
  await receipt('whatsapp');
  await dispatch(60 * MINUTE);
  assert.deepEqual(by(), ['whatsapp']);
  await book(101);
  pipeline.now += 60 * MINUTE;
  await receipt('whatsapp', 'read', '', sent[1]?.message.id);
  await dispatch();
  assert.deepEqual(by(), ['whatsapp', 'whatsapp']);
});

test('a receipt of the first step that comes after the second has left: accepted, and no third', async () => {
  await policy({ routes: { order: { notices: ['whatsapp', 'sms', 'email'] } } });
  await book(100, { client: { id: 9, name: 'Анна', phone: '79160000001', email: 'anna@example.com' } });
  await dispatch(WITHIN.whatsapp);
  await receipt('whatsapp');
  await dispatch(60 * MINUTE);
  assert.deepEqual(by(), ['whatsapp', 'sms']);
  await ended('delivered', ['whatsapp silent']);
});

test('a receipt of the first step that comes while the second is being sent counts when it has left', async () => {
  const sms = channels.get('sms');
  assert.ok(sms !== undefined);
  const slow: Channel = {
    ...sms,
    async send(outgoing, signal) {
      await receipt('whatsapp');
      return sms.send(outgoing, signal);
    },
  };
  await book();
  pipeline.now += WITHIN.whatsapp;
  await pipeline.another({ channels: new Map(channels).set('sms', slow) }).dispatcher.drain();
  assert.deepEqual(by(), ['whatsapp', 'sms']);
  await ended('delivered', ['whatsapp silent']);
});

test('the same where the second is by a channel that sends no receipts', async () => {
  await policy({ routes: { order: { notices: ['whatsapp', 'telegram', 'sms'] } } });
  await pipeline.pool.query(
    "INSERT INTO addresses (company_id, client_id, channel, address) VALUES ($1, 9, 'telegram', '5001')",
    [companyId],
  );
  const telegram = channels.get('telegram') as Channel;
  const slow: Channel = {
    ...telegram,
    async send(outgoing, signal) {
      await receipt('whatsapp');
      return telegram.send(outgoing, signal);
    },
  };
  await book(100, { client: { id: 9, name: 'Анна', phone: '79160000001' } });
  pipeline.now += WITHIN.whatsapp;
  await pipeline.another({ channels: new Map(channels).set('telegram', slow) }).dispatcher.drain();
  assert.deepEqual(by(), ['whatsapp', 'telegram']);
  await ended('delivered', ['whatsapp silent']);
});

test('the same where nobody knows what became of the second', async () => {
  const sms = channels.get('sms') as Channel;
  const sending = async (end: () => Promise<SendResult>) => {
    const send: Channel['send'] = async outgoing => {
      sent.push({ channel: 'sms', message: outgoing });
      await receipt('whatsapp', 'delivered', '', outgoing.id);
      return end();
    };
    pipeline.now += WITHIN.whatsapp;
    const { dispatcher } = pipeline.another({ channels: new Map(channels).set('sms', { ...sms, send }) });
    await dispatcher.runOnce();
    return dispatcher;
  };
  await book(100);
  const answered = await sending(async () => ({ outcome: 'unknown', reason: 'timeout' }));
  await answered.drain();
  await ended('delivered', ['whatsapp silent'], 0);
  await book(101);
  await sending(() => new Promise(() => {}));
  await until(async () => (await message(1)).receipts.length > 0, { what: 'the receipt is kept' });
  await pipeline.pool.query(
    "UPDATE messages SET leased_until = now() - interval '1 second' WHERE state = 'sending'",
  );
  await dispatch();
  assert.deepEqual(by(), ['whatsapp', 'sms', 'whatsapp', 'sms']);
  await ended('delivered', ['whatsapp silent'], 1);
});

test('a receipt of the first step that nobody has looked at yet is seen before there is a third', async () => {
  await policy({ routes: { order: { notices: ['whatsapp', 'sms', 'email'] } } });
  await book(100, { client: { id: 9, name: 'Анна', phone: '79160000001', email: 'anna@example.com' } });
  await dispatch(WITHIN.whatsapp);
  // Kept while the second was being sent, by a process that died before it looked.
  await pipeline.pool.query(
    "INSERT INTO receipts (channel, provider_id, status, reason) VALUES ('whatsapp', $1, 'delivered', '')",
    [`whatsapp/${sent[0]?.message.id}`],
  );
  await dispatch(WITHIN.sms);
  assert.deepEqual(by(), ['whatsapp', 'sms']);
  await ended('delivered', ['whatsapp silent']);
});

test('what the next channel brings late takes nothing back of what was told meanwhile', async () => {
  const sms = channels.get('sms') as Channel;
  const at = (time: string) => ({ date: `2031-05-21 ${time}`, datetime: `2031-05-21T${time}+03:00` });
  const kinds = () => ours().map(one => `${one.channel} ${one.message.notice?.kind}`);
  const moves = async (recordId: number, time = '10:00:00') => {
    pipeline.now += 2_000;
    await book(recordId, at(time), 'update');
    await dispatch(2_000);
  };
  await book(100);
  pipeline.now += WITHIN.whatsapp;
  const slow: Channel = {
    ...sms,
    async send(outgoing, signal) {
      const result = await sms.send(outgoing, signal);
      await moves(100);
      return result;
    },
  };
  await pipeline.another({ channels: new Map(channels).set('sms', slow) }).dispatcher.drain();
  assert.deepEqual(kinds(), ['whatsapp booked', 'sms booked', 'whatsapp rescheduled'], 'it was sent');
  await moves(100, '11:00:00');
  assert.equal(
    sent.at(-1)?.message.notice?.before?.startsLocal,
    '2031-05-21T10:00:00',
    'the last that they know',
  );

  sent = [];
  await book(101);
  pipeline.now += WITHIN.whatsapp;
  const gone: Channel = {
    ...sms,
    send: outgoing => {
      sent.push({ channel: 'sms', message: outgoing });
      return new Promise(() => {});
    },
  };
  const left = kinds().length;
  await pipeline.another({ channels: new Map(channels).set('sms', gone) }).dispatcher.runOnce();
  assert.ok(kinds().includes('sms booked') && kinds().length > left);
  await moves(101);
  await pipeline.pool.query(
    "UPDATE messages SET leased_until = now() - interval '1 second' WHERE company_id = $1 AND state = 'sending'",
    [companyId],
  );
  await dispatch();
  await moves(101, '11:00:00');
  const told = ours().filter(one => one.message.recordId === 101 && one.channel === 'whatsapp');
  assert.deepEqual(
    told.map(one => one.message.notice?.kind),
    ['booked', 'rescheduled', 'rescheduled'],
    'it may have been sent',
  );
});

test('a failure that is told later falls at once', async () => {
  await book();
  await receipt('whatsapp', 'failed', '131026');
  await dispatch();
  assert.deepEqual(by(), ['whatsapp', 'sms']);
  await receipt('sms', 'failed', '13');
  await dispatch();
  assert.match(
    await ended('failed', ['whatsapp undelivered', 'sms undelivered']),
    /^whatsapp: sent HH:MM, not delivered \(131026\) → sms: sent HH:MM, not delivered \(13\) → not delivered 13$/,
  );
});

test('refused for good, no address, an opt-out, not set up, tries used up: each is passed by its name', async () => {
  await policy({ routes: { order: { notices: ['max', 'telegram', 'email', 'whatsapp', 'sms'] } } });
  await pipeline.pool.query(
    `INSERT INTO consents (company_id, channel, address, category, granted, words, given_at)
     VALUES ($1, 'email', 'anna@example.com', 'service', false, 'stop', now())`,
    [companyId],
  );
  answers.whatsapp = [{ outcome: 'rejected', scope: 'address', reason: 'WhatsApp 131026' }];
  const client = { id: 9, name: 'Анна', phone: '79160000001', email: 'anna@example.com' };
  await book(100, { client });
  assert.deepEqual(by(), ['whatsapp', 'sms']);
  await ended('sent', ['max not_configured', 'telegram no_address', 'email opted_out', 'whatsapp rejected']);
  await policy({ routes: { order: { notices: ['whatsapp', 'sms'] }, within: { whatsapp: '1d' } } });
  answers.whatsapp = Array.from({ length: 48 }, () => ({ outcome: 'retry' as const, reason: 'busy' }));
  await book(102);
  for (let tries = 0; tries < 46; tries += 1) await dispatch(13 * MINUTE);
  answers.sms = [{ outcome: 'retry', reason: 'busy' }];
  await dispatch(13 * MINUTE);
  await dispatch(MINUTE);
  const all = Array.from({ length: 48 }, () => 'whatsapp');
  assert.deepEqual(by().slice(2), [...all, 'sms', 'sms'], 'each channel has tries of its own');
  await ended('sent', ['whatsapp exhausted'], 1);
});

test('a channel that cannot be reached for as long as it may take is left, where another can', async () => {
  answers.whatsapp = Array.from({ length: 20 }, () => ({ outcome: 'retry' as const, reason: 'refused' }));
  await book();
  while (by().at(-1) === 'whatsapp' && sent.length < 20) await dispatch(MINUTE);
  assert.equal(by().at(-1), 'sms');
  const tries = sent.length - 1;
  assert.ok(tries >= 3 && tries < 8, `${tries} tries in five minutes`);
  await ended('sent', ['whatsapp unreachable']);
});

test('how long a channel could not be reached is counted from its own first try', async () => {
  await policy({
    routes: { order: { notices: ['whatsapp', 'sms', 'email'] }, within: { whatsapp: '10m', sms: '5m' } },
  });
  answers.sms = [{ outcome: 'retry', reason: 'busy' }];
  await book(100, { client: { id: 9, name: 'Анна', phone: '79160000001', email: 'anna@example.com' } });
  await dispatch(10 * MINUTE);
  await dispatch(MINUTE);
  assert.deepEqual(by(), ['whatsapp', 'sms', 'sms']);
});

test('of what a provider gave no id no receipt is waited for', async () => {
  answers.whatsapp = [{ outcome: 'sent' }];
  await book();
  await dispatch(WITHIN.whatsapp);
  assert.deepEqual(by(), ['whatsapp']);
  assert.equal((await message()).fallAt, null);
});

test('a refusal is remembered of the person where it is theirs, and not where it is ours', async () => {
  const client = { id: 9, name: 'Анна', phone: '79160000001' };
  await pipeline.pool.query(
    `INSERT INTO reached (company_id, recipient, channel, delivered_at) VALUES ($1, 'client:9', 'sms', now())`,
    [companyId],
  );
  // That it was busy for all its tries is no word of theirs either.
  await policy({ routes: { within: { whatsapp: '1d' } } });
  answers.whatsapp = Array.from({ length: 48 }, () => ({ outcome: 'retry' as const, reason: 'busy' }));
  await book(99, { client });
  while (by().at(-1) === 'whatsapp') await dispatch(13 * MINUTE);
  assert.equal(by().length, 49);
  sent = [];
  for (const scope of ['message', 'channel', 'person'] as const) {
    answers.whatsapp = [{ outcome: 'rejected', scope, reason: 'no' }];
    await book(100 + sent.length, { client });
  }
  await book(110, { client });
  assert.deepEqual(by(), ['whatsapp', 'sms', 'whatsapp', 'sms', 'whatsapp', 'sms', 'sms']);
});

test('what is no number reaches nobody', async () => {
  await book(100, { client: { id: 9, name: 'Анна', phone: 'нет' } });
  assert.deepEqual(by(), []);
  await ended('failed', ['whatsapp no_address', 'sms no_address']);
});

test('an outcome that is not known is stated, and goes by no other channel', async () => {
  answers.whatsapp = [{ outcome: 'unknown', reason: 'timeout' }];
  await book();
  await dispatch(60 * MINUTE);
  assert.deepEqual(by(), ['whatsapp']);
  await ended('unknown', []);
  await book(101);
  answers.sms = [{ outcome: 'unknown', reason: 'timeout' }];
  await dispatch(WITHIN.whatsapp);
  assert.deepEqual(by(), ['whatsapp', 'whatsapp', 'sms']);
  await ended('unknown', ['whatsapp silent'], 1);
});

test('a provider that has told of nothing is not taken as silent, nor one that tells nothing of anybody any more', async () => {
  await pipeline.pool.query('DELETE FROM receipt_givers WHERE company_id = $1', [companyId]);
  await book(100);
  await dispatch(WITHIN.whatsapp);
  assert.deepEqual(by(), ['whatsapp']);
  assert.match(await ended('sent', []), /has told of none here yet/);
  await receipt('whatsapp');
  await book(101);
  await dispatch(WITHIN.whatsapp);
  assert.deepEqual(by(), ['whatsapp', 'whatsapp', 'sms'], 'one receipt, however late, shows that it tells');
  for (let record = 102; record < 115; record += 1) await book(record);
  await dispatch(WITHIN.whatsapp);
  const both = by().filter(name => name === 'sms').length;
  assert.ok(both < 20);
  sent = [];
  await book(120);
  await dispatch(WITHIN.whatsapp);
  assert.deepEqual(by(), ['whatsapp'], 'more than ten in a row: it is the provider');
  await receipt('whatsapp');
  sent = [];
  await book(121);
  await dispatch(WITHIN.whatsapp);
  assert.deepEqual(by(), ['whatsapp', 'sms'], 'it tells again');
});

test('of two that fall in two processes at once the tenth silence is one of them', async () => {
  await pipeline.pool.query(
    "UPDATE receipt_givers SET silent = 9 WHERE company_id = $1 AND channel = 'whatsapp'",
    [companyId],
  );
  await book(100);
  await book(101);
  pipeline.now += WITHIN.whatsapp;
  const [first, second] = [
    pipeline.another({ channels }).dispatcher,
    pipeline.another({ channels }).dispatcher,
  ];
  const [visit, reached] = [await pipeline.pool.connect(), await pipeline.pool.connect()];
  await visit.query(`BEGIN; SELECT FROM bookings WHERE company_id = ${companyId} AND record_id = 101 FOR UPDATE;
    SELECT FROM messages WHERE company_id = ${companyId} AND record_id = 101 FOR UPDATE`);
  await reached.query(`BEGIN; INSERT INTO reached (company_id, recipient, channel, failed_at)
    VALUES (${companyId}, 'client:100', 'whatsapp', now())`);
  const waiting = async () => {
    const { rows } = await pipeline.pool.query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    );
    return rows.length;
  };
  const taken = first.runOnce();
  await until(async () => (await waiting()) === 1, { what: 'the first has judged one and is noting it' });
  await visit.query('ROLLBACK');
  let looked = false;
  const other = second.runOnce().finally(() => {
    looked = true;
  });
  await until(async () => looked || (await waiting()) === 2, { what: 'the second has looked at the other' });
  await reached.query('ROLLBACK');
  for (const client of [visit, reached]) client.release();
  await Promise.all([taken, other]);
  await Promise.all([first.drain(), second.drain()]);
  assert.deepEqual(by(), ['whatsapp', 'whatsapp', 'sms']);
});

test('a visit that has begun, was moved or called off is not said again by the next channel', async () => {
  const soon = pipeline.now + 4 * MINUTE;
  const local = new Date(soon + 3 * 3_600_000).toISOString().slice(0, 19);
  await book(100, { date: local.replace('T', ' '), datetime: `${local}+03:00` });
  await dispatch(WITHIN.whatsapp);
  assert.deepEqual(by(), ['whatsapp']);
  assert.match(await ended('sent', ['whatsapp silent']), /not sent by another channel: the visit has begun$/);
  await book(101);
  pipeline.now += 2_000;
  await book(101, { date: '2031-05-21 10:00:00', datetime: '2031-05-21T10:00:00+03:00' }, 'update');
  const [, first, second] = sent;
  await dispatch(WITHIN.whatsapp);
  assert.deepEqual(
    sent.slice(3).map(one => [one.channel, one.message.notice?.kind]),
    [['sms', 'rescheduled']],
    'what is true is said by the next channel, what was true is not',
  );
  assert.notEqual(first?.message.id, second?.message.id);
});

test('a test has the one channel that it was asked for, whatever becomes of it there', async () => {
  const id = newId();
  const asked = { companyId, id, recipient: '+79160000001', channel: 'whatsapp', now: pipeline.now } as const;
  await insertTestMessage(pipeline.pool, asked);
  await dispatch();
  await receipt('whatsapp', 'failed', '131026');
  await dispatch(60 * MINUTE);
  assert.deepEqual(by(), ['whatsapp']);
  await ended('sent', []);
  assert.equal((await message()).fallAt, null);
});

test('of two channels each is remembered by itself: what may have gone out by one is settled by none other', async () => {
  // The process that was sending by WhatsApp is gone; a repeat there is dropped, so it is tried again, and refused.
  const repeatable: Channel = { ...(channels.get('whatsapp') as Channel), idempotent: true };
  const both = new Map(channels).set('whatsapp', repeatable);
  const gone = new Map(channels).set('whatsapp', {
    ...repeatable,
    send: outgoing => {
      sent.push({ channel: 'whatsapp', message: outgoing });
      return new Promise(() => {});
    },
  });
  const body = recordBody({
    ...{ id: 100, companyId, at: pipeline.now },
    data: { client: { id: 9, name: 'Анна', phone: '79160000001' } },
  });
  await pipeline.receive(companyId, [{ body, receivedAt: pipeline.now }]);
  await pipeline.processor.drain();
  await pipeline.another({ channels: gone }).dispatcher.runOnce();
  await pipeline.pool.query(
    "UPDATE messages SET leased_until = now() - interval '1 second' WHERE state = 'sending'",
  );
  answers.whatsapp = [{ outcome: 'rejected', scope: 'address', reason: 'WhatsApp 131026' }];
  await pipeline.another({ channels: both }).dispatcher.drain();
  await pipeline.another({ channels: both }).dispatcher.drain();
  assert.deepEqual(by(), ['whatsapp', 'whatsapp'], 'the first may have arrived: no SMS as well');
  await ended('unknown', []);
});

test('a repeat that a channel took leaves no doubt on the next: what that refuses for now is tried there again', async () => {
  const repeatable: Channel = { ...(channels.get('whatsapp') as Channel), idempotent: true };
  const gone: Channel = {
    ...repeatable,
    send: outgoing => {
      sent.push({ channel: 'whatsapp', message: outgoing });
      return new Promise(() => {});
    },
  };
  const throughIt = (channel: Channel) =>
    pipeline.another({ channels: new Map(channels).set('whatsapp', channel) }).dispatcher;
  const body = recordBody({
    ...{ id: 100, companyId, at: pipeline.now },
    data: { client: { id: 9, name: 'Анна', phone: '79160000001' } },
  });
  await pipeline.receive(companyId, [{ body, receivedAt: pipeline.now }]);
  await pipeline.processor.drain();
  await throughIt(gone).runOnce();
  await pipeline.pool.query(
    "UPDATE messages SET leased_until = now() - interval '1 second' WHERE state = 'sending'",
  );
  // However late it is by now: where it may have arrived already, it goes out by no other.
  pipeline.now += 60 * MINUTE;
  await throughIt(repeatable).drain();
  answers.sms = [{ outcome: 'retry', reason: 'busy' }];
  await dispatch(WITHIN.whatsapp);
  await dispatch(MINUTE);
  assert.deepEqual(by(), ['whatsapp', 'whatsapp', 'sms', 'sms']);
  await ended('sent', ['whatsapp silent']);
});

test('the next step is judged by the policy, the salon, the client and the backup of that moment', async () => {
  const becomes = (then: string, before: string) => async () => {
    await pipeline.pool.query(`UPDATE companies SET ${then} WHERE company_id = $1`, [companyId]);
    return () => pipeline.pool.query(`UPDATE companies SET ${before} WHERE company_id = $1`, [companyId]);
  };
  const now = `'${new Date(pipeline.now + 60 * MINUTE).toISOString()}'`;
  const changes: [() => Promise<() => Promise<unknown>>, string[], RegExp][] = [
    [
      async () => {
        await policy({ tell: { booked: { any: [] } } });
        return () => policy({});
      },
      ['whatsapp silent'],
      /the policy tells nobody of it$/,
    ],
    [
      async () => {
        await pipeline.pool.query('UPDATE people SET refuses = true WHERE company_id = $1', [companyId]);
        return () => Promise.resolve();
      },
      ['whatsapp silent'],
      /the client does not want messages$/,
    ],
    [becomes(`quiet_until = ${now}`, 'quiet_until = NULL'), ['whatsapp silent'], /a backup was restored$/],
    [
      becomes(`stopped_at = ${now}, stopped_because = 'freeze'`, 'stopped_at = NULL, stopped_because = NULL'),
      [],
      /the salon switched us off$/,
    ],
    [becomes(`removed_at = ${now}`, 'removed_at = NULL'), [], /the company was removed$/],
  ];
  for (const [place, [change, falls, why]] of changes.entries()) {
    await book(100 + place);
    const undo = await change();
    await dispatch(WITHIN.whatsapp);
    assert.match(await ended('sent', falls, place), why);
    await undo();
  }
  await dispatch(60 * MINUTE);
  assert.deepEqual(
    by(),
    changes.map(() => 'whatsapp'),
    'and it is not taken up again',
  );
});

test('in quiet hours a fall waits as any message does', async () => {
  await policy({ quietHours: { from: '00:00', to: '23:59', notices: 'send' } });
  await book();
  await policy({ quietHours: { from: '00:00', to: '23:59', notices: 'defer' } });
  await dispatch(WITHIN.whatsapp);
  assert.deepEqual(by(), ['whatsapp']);
  const { fallAt } = await message();
  assert.ok(fallAt !== null && Date.parse(fallAt) > pipeline.now);
  await policy({});
  await dispatch(Date.parse(fallAt) - pipeline.now);
  assert.deepEqual(by(), ['whatsapp', 'sms']);
});

test('a reminder falls like a notice, counts once, and is said as it is then', async () => {
  await policy({
    reminders: { at: ['2h'] },
    limits: { perDay: 1 },
    tell: { booked: { any: [] } },
    quietHours: { from: '00:00', to: '00:00' },
  });
  const before = pipeline.now;
  await book();
  pipeline.now = Date.parse('2031-05-20T09:30:00Z');
  await dispatch();
  await dispatch(WITHIN.whatsapp);
  assert.deepEqual(
    sent.map(one => `${one.channel} ${one.message.purpose}`),
    ['whatsapp reminder', 'sms reminder'],
  );
  pipeline.now = before;
});

test('a reminder of a visit that was called off since is said by no other channel', async () => {
  await policy({
    reminders: { at: ['2h'] },
    tell: { booked: { any: [] }, cancelled: { any: [] } },
    quietHours: { from: '00:00', to: '00:00' },
  });
  const before = pipeline.now;
  await book(100);
  await book(101);
  pipeline.now = Date.parse('2031-05-20T09:30:00Z');
  await dispatch();
  pipeline.now += 1_000;
  await book(100, { deleted: true }, 'delete');
  await dispatch(WITHIN.whatsapp);
  const told = ours().map(({ channel: name, message: { recordId } }) => `${name} ${recordId}`);
  pipeline.now = before;
  assert.deepEqual(told.slice(0, 2).sort(), ['whatsapp 100', 'whatsapp 101']);
  assert.deepEqual(told.slice(2), ['sms 101']);
});

test('a visit that was off and is on again between two steps is reminded of by the next; off at the step, it is not', async () => {
  await policy({
    reminders: { at: ['2h'] },
    tell: { booked: { any: [] }, cancelled: { any: [] } },
    quietHours: { from: '00:00', to: '00:00' },
  });
  const before = pipeline.now;
  const made = { create_date: new Date(before).toISOString() };
  for (const id of [100, 101]) await book(id, made);
  pipeline.now = Date.parse('2031-05-20T09:30:00Z');
  await dispatch();
  const change = async (id: number, deleted: boolean) => {
    pipeline.now += 1_000;
    await book(id, { ...made, deleted }, 'update');
  };
  for (const id of [100, 101]) await change(id, true);
  await change(100, false);
  await dispatch(WITHIN.whatsapp);
  await change(101, false);
  await dispatch(WITHIN.whatsapp);
  const told = ours()
    .slice(2)
    .map(({ channel: name, message: { recordId, purpose } }) => `${name} ${purpose} ${recordId}`);
  pipeline.now = before;
  assert.deepEqual(told, [
    // Whatsapp is silent: the notice that it is back goes a route of its own.
    'whatsapp notice 100',
    'sms reminder 100',
    'sms notice 100',
    'whatsapp notice 101',
    'sms notice 101',
  ]);
});

test('one SMS a day as a second step, and no more channels than the policy lets it', async () => {
  await policy({ routes: { smsPerDay: 1 } });
  const client = { id: 9, name: 'Анна', phone: '79160000001' };
  const yesterday = new Date(pipeline.now - 24 * 60 * MINUTE).toISOString().slice(0, 10);
  await pipeline.pool.query(
    `INSERT INTO reached (company_id, recipient, channel, day, sent) VALUES ($1, 'client:9', 'sms', $2, 1)`,
    [companyId, yesterday],
  );
  await book(100, { client });
  await book(101, { client });
  await dispatch(WITHIN.whatsapp);
  await book(102, { client });
  await receipt('whatsapp', 'failed', 'x', sent.at(-1)?.message.id);
  await dispatch();
  const { rows } = await pipeline.pool.query(
    "SELECT sent FROM reached WHERE company_id = $1 AND channel = 'sms'",
    [companyId],
  );
  assert.deepEqual(rows, [{ sent: by().filter(name => name === 'sms').length }]);
  assert.match(await ended('failed', ['whatsapp undelivered', 'sms budget'], 2), /more than the policy/);
  await policy({ routes: { steps: 1 } });
  await book(103, { client: { ...client, id: 10 } });
  await dispatch(WITHIN.whatsapp);
  assert.match(await ended('sent', ['whatsapp silent', 'sms budget'], 3), /no receipt in 5 min/);
});

test('the channel that reached them is tried first from then on, and says so', async () => {
  const client = { id: 9, name: 'Анна', phone: '79160000001' };
  await book(100, { client });
  await dispatch(WITHIN.whatsapp);
  await receipt('sms');
  sent = [];
  await book(101, { client });
  assert.deepEqual(by(), ['sms']);
  assert.match(
    await ended('sent', ['whatsapp failed_before'], 1),
    /^whatsapp: did not reach them lately → sms/,
  );
  await receipt('whatsapp', 'delivered', '', (await message(0)).id);
  sent = [];
  await book(102, { client });
  assert.deepEqual(by(), ['whatsapp'], 'a late receipt shows that it does reach them');
});

test('a preview shows the way that a message would go, how long each step waits, and why others are left out', async () => {
  const document: PolicyDocument = {
    tell: { booked: { any: ['client'] } },
    reminders: { at: ['24h'] },
    routes: {
      order: { notices: ['max', 'telegram', 'whatsapp', 'email', 'sms'], reminders: ['sms', 'email'] },
      within: { sms: '2m' },
      steps: 2,
    },
  };
  await policy(document);
  await pipeline.pool.query(
    `INSERT INTO consents (company_id, channel, address, category, granted, words, given_at)
     VALUES ($1, 'email', 'anna@example.com', 'service', false, 'stop', now())`,
    [companyId],
  );
  const client = { id: 9, name: 'Анна', phone: '79160000001', email: 'anna@example.com' };
  await book(100, { client, date: '2031-05-20 14:30:00', datetime: '2031-05-20T14:30:00+03:00' });
  const ask = { document: undefined, now: pipeline.now };
  const shown = async (about: PreviewOf, by: typeof ask | { document: PolicyDocument; now: number } = ask) =>
    previewRoutes(pipeline.pool, channels, await previewPolicy(pipeline.pool, companyId, about, by), by);
  const { routes, refuses } = await shown({ recordId: 100 });
  assert.equal(refuses, false);
  assert.deepEqual(
    routes.map(({ category, steps, leftOut }) => [
      category,
      steps.map(({ channel: name, withinMs, tells }) => `${name} ${withinMs} ${tells}`),
      leftOut.map(({ channel: name, why }) => `${name} ${why}`),
    ]),
    [
      [
        'notices',
        [`whatsapp ${WITHIN.whatsapp} true`, `sms ${2 * MINUTE} true`],
        ['max not_configured', 'telegram no_address', 'email opted_out'],
      ],
      ['reminders', [`sms ${2 * MINUTE} true`], ['email opted_out']],
    ],
  );
  // What is foretold is what comes.
  await dispatch(WITHIN.whatsapp);
  await dispatch(WITHIN.sms);
  assert.deepEqual(by(), ['whatsapp', 'sms']);
  await receipt('sms');
  const [notices] = (await shown({ recordId: 100 })).routes;
  assert.deepEqual(
    notices?.steps.map(({ channel: name, failedBefore }) => [name, failedBefore]),
    [
      ['sms', false],
      ['whatsapp', true],
    ],
    'what did not reach them comes behind',
  );
  const about = { startsLocal: '2031-06-20T14:30:00', durationSeconds: 3600, origin: 'widget' } as const;
  const [anybody] = (await shown(about, { ...ask, document: { ...document, routes: { steps: 1 } } })).routes;
  assert.deepEqual(
    [anybody?.steps.map(({ channel: name }) => name), anybody?.leftOut],
    [['whatsapp'], [{ channel: 'sms', why: 'budget' }]],
    'of nobody in particular, by a policy that is not kept',
  );
  await pipeline.pool.query('UPDATE people SET refuses = true WHERE company_id = $1', [companyId]);
  assert.equal((await shown({ recordId: 100 })).refuses, true);
});

test('a process that dies during the second step: nobody is told twice by one channel, and it is stated', async () => {
  const hanging = new Map(channels).set('sms', {
    ...(channels.get('sms') as Channel),
    send: message => {
      sent.push({ channel: 'sms', message });
      return new Promise(() => {});
    },
  });
  await book();
  pipeline.now += WITHIN.whatsapp;
  await pipeline.another({ channels: hanging }).dispatcher.runOnce();
  assert.deepEqual(by(), ['whatsapp', 'sms']);
  await pipeline.pool.query(
    "UPDATE messages SET leased_until = now() - interval '1 second' WHERE state = 'sending'",
  );
  await dispatch(60 * MINUTE);
  await dispatch(60 * MINUTE);
  assert.deepEqual(by(), ['whatsapp', 'sms']);
  await ended('unknown', ['whatsapp silent']);
  await receipt('whatsapp');
  assert.equal((await message()).state, 'delivered', 'a receipt of the first step settles the doubt');
});

test('a process that dies between the steps leaves the next to another', async () => {
  await book();
  pipeline.now += WITHIN.whatsapp + 60 * MINUTE;
  await pipeline.another({ channels }).dispatcher.drain();
  assert.deepEqual(by(), ['whatsapp', 'sms']);
});

test('the next step is found by an index', async () => {
  const client = await pipeline.pool.connect();
  try {
    await client.query('BEGIN; SET LOCAL enable_seqscan = off');
    const { rows } = await client.query<{ 'QUERY PLAN': string }>(
      "EXPLAIN SELECT id FROM messages WHERE state = 'sent' AND fall_at <= now() ORDER BY fall_at LIMIT 64",
    );
    assert.match(rows.map(row => row['QUERY PLAN']).join('\n'), /Index Scan using messages_falling/);
  } finally {
    await client.query('ROLLBACK');
    client.release();
  }
});

test('two processes side by side take each step once', async () => {
  const bodies = Array.from({ length: 40 }, (_, index) => ({
    body: recordBody({
      id: 500 + index,
      companyId,
      at: pipeline.now,
      data: { client: { id: 500 + index, name: 'Анна', phone: '79160000001' } },
    }),
    receivedAt: pipeline.now,
  }));
  await pipeline.receive(companyId, bodies);
  await pipeline.processor.drain();
  await pipeline.planner.drain();
  const two = [pipeline.another({ channels }).dispatcher, pipeline.another({ channels }).dispatcher];
  while (sent.length < 40) await Promise.all(two.map(one => one.drain()));
  pipeline.now += WITHIN.whatsapp;
  // Each may find all locked by the other, and takes them when it looks again.
  const waiting = `SELECT FROM messages WHERE company_id = ${companyId} AND state = 'sent' AND fall_at <= $1`;
  const moment = [new Date(pipeline.now).toISOString()];
  while ((await pipeline.pool.query(waiting, moment)).rowCount)
    await Promise.all(two.map(one => one.drain()));
  for (const name of ['whatsapp', 'sms'] as const) {
    const ids = sent.filter(one => one.channel === name).map(one => one.message.id);
    assert.equal(new Set(ids).size, ids.length, `nobody twice by ${name}`);
  }
  assert.equal(by().filter(name => name === 'whatsapp').length, 40);
  const second = by().filter(name => name === 'sms').length;
  assert.equal(second, 10, 'of so many at once it is the provider that is silent');
});

/** What may come, in any order: a receipt or a failure of either step, or the time that each may take. */
const EVENTS = ['w+', 'w-', 's+', 's-', 'time'] as const;
type Event = (typeof EVENTS)[number];

/** What has to come of it, told in other words than the service's. */
function expected(history: readonly Event[]): { by: string[]; state: string } {
  const told = new Set<Event>();
  const by = ['whatsapp'];
  let state = 'sent';
  // Whether each step was told of as failed while it was waited for.
  let [first, second]: (boolean | undefined)[] = [];
  for (const event of history) {
    told.add(event);
    if (state !== 'sent') continue;
    const heard = told.has('w+') || (by.length === 2 && told.has('s+'));
    if (!heard && first === undefined && (event === 'time' || event === 'w-')) {
      first = event === 'w-';
      by.push('sms');
      // What was told of it before it left, under an id that nobody knew, counts now.
      if (told.has('s-')) second = true;
    } else if (!heard && first !== undefined && second === undefined) {
      if (event === 'time' || event === 's-') second = event === 's-';
    }
    if (told.has('w+') || (by.length === 2 && told.has('s+'))) state = 'delivered';
    else if (first === true && second === true) state = 'failed';
  }
  return { by, state };
}

test('every order of receipts, failures and time comes to what it has to, each channel once at most', async () => {
  const histories: Event[][] = [[]];
  for (const shorter of histories) {
    if (shorter.length < 4) histories.push(...EVENTS.map(event => [...shorter, event]));
  }
  const full = histories.filter(({ length }) => length === 4);
  const records = full.map((_, index) => 1_000 + index);
  await pipeline.receive(
    companyId,
    records.map(id => ({
      body: recordBody({
        ...{ id, companyId, at: pipeline.now },
        data: { client: { id, name: 'Анна', phone: '79160000001' } },
      }),
      receivedAt: pipeline.now,
    })),
  );
  await pipeline.processor.drain();
  await pipeline.planner.drain();
  // Hundreds that are silent at one moment would be the provider's silence, of which this test is not.
  await pipeline.pool.query(
    `CREATE FUNCTION never_silent() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.silent = -1000000; RETURN NEW; END';
     CREATE TRIGGER never_silent BEFORE UPDATE ON receipt_givers FOR EACH ROW EXECUTE FUNCTION never_silent();
     UPDATE receipt_givers SET last_at = now()`,
  );
  await dispatch();
  const ids = new Map(sent.map(one => [one.message.recordId, one.message.id]));
  for (let place = 0; place < 4; place += 1) {
    const receipts = full.flatMap((history, index): NewReceipt[] => {
      const event = history[place] ?? 'time';
      if (event === 'time') return [];
      const name = event.startsWith('w') ? 'whatsapp' : 'sms';
      return [
        {
          ...{ channel: name, provider: `${name}-provider`, reason: '', happenedAt: null },
          providerId: `${name}/${ids.get(records[index] ?? 0)}`,
          status: event.endsWith('+') ? 'delivered' : 'failed',
        },
      ];
    });
    await saveReceipts(pipeline.pool, receipts);
    // Their time has come; that of the others has not.
    await pipeline.pool.query(
      `UPDATE messages SET fall_at = '-infinity' WHERE company_id = $1 AND fall_at IS NOT NULL AND record_id = ANY($2)`,
      [companyId, records.filter((_, index) => full[index]?.[place] === 'time')],
    );
    await dispatch();
  }
  const { rows } = await pipeline.pool.query<{ recordId: number; state: string }>(
    'SELECT record_id AS "recordId", state FROM messages WHERE company_id = $1',
    [companyId],
  );
  const states = new Map(rows.map(row => [row.recordId, row.state]));
  for (const [index, history] of full.entries()) {
    const record = records[index] ?? 0;
    const want = expected(history);
    const got = sent.filter(one => one.message.recordId === record).map(one => one.channel);
    assert.deepEqual(got, want.by, history.join(' '));
    assert.equal(states.get(record), want.state, history.join(' '));
  }
  assert.equal(full.length, 625);
});
