/**
 * What other schedulers of messages are known to get wrong, each played here by its name. Cal.com leaves the future to
 * its provider; Novu keeps it in two stores. Here it is recomputed from one store whenever anything changes.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Channel, ChannelName } from '../../src/channels/channel.ts';
import { CONSOLE_TRAITS } from '../../src/channels/console.ts';
import type { PolicyDocument } from '../../src/domain/policy.ts';
import { wallOf } from '../../src/domain/time.ts';
import { createPipeline, type Pipeline, processTogether, recordBody } from './pipeline.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const VISIT = Date.parse('2031-05-20T11:30:00Z');
const BOOKED = VISIT - 5 * DAY;
const POLICY: PolicyDocument = { settle: { any: '0ms' }, reminders: { at: ['24h', '2h'] } };

type Salon = {
  readonly companyId: number;
  /** A change of the booking now. */
  change(status: 'create' | 'update', data?: Record<string, unknown>): Promise<void>;
  /** The same, in the inbox only. */
  receive(status: 'create' | 'update', data?: Record<string, unknown>): Promise<void>;
  settle(): Promise<void>;
  policy(document: PolicyDocument): Promise<void>;
  /** Time passes, everything due on the way is sent. */
  pass(until: number): Promise<void>;
};
type Case = {
  readonly name: string;
  readonly zone?: string;
  readonly play: (salon: Salon) => Promise<void>;
  /** Reminders sent, by the clock of the salon. */
  readonly expect: readonly string[];
  readonly also?: (salon: Salon) => Promise<void>;
};

let pipeline: Pipeline;
before(async () => {
  pipeline = await createPipeline();
});
after(() => pipeline.close());

const CASES: readonly Case[] = [
  {
    name: 'Cal.com: a reminder of a booking that was cancelled',
    play: async salon => {
      await salon.change('create');
      await salon.pass(VISIT - 2 * DAY);
      await salon.change('update', { deleted: true });
      await salon.pass(VISIT + DAY);
    },
    expect: [],
  },
  {
    name: 'Cal.com: a reminder at the old time of a booking that was moved, and none at the new',
    play: async salon => {
      await salon.change('create');
      await salon.change('update', { date: '2031-05-22 18:00:00' });
      await salon.pass(VISIT + 4 * DAY);
    },
    expect: ['24h at 05-21 18:00', '2h at 05-22 16:00'],
  },
  {
    name: 'Cal.com: reminders whose time is over are sent at once to who books late',
    play: async salon => {
      await salon.pass(VISIT - HOUR);
      await salon.change('create');
      await salon.pass(VISIT + DAY);
    },
    expect: [],
  },
  {
    name: 'Cal.com: reminders whose time is over are sent at once when a rule is added, or a booking is heard of late',
    play: async salon => {
      await salon.pass(VISIT - 30 * HOUR);
      await salon.change('create', { create_date: new Date(BOOKED).toISOString() });
      await salon.policy({ reminders: { at: ['3d', '24h', '2h'] } });
      await salon.pass(VISIT - 20 * HOUR);
      await salon.policy({ reminders: { at: ['3d', '22h', '21h', '2h'] } });
      await salon.pass(VISIT + DAY);
    },
    expect: ['24h at 05-19 14:30', '2h at 05-20 12:30'],
  },
  {
    name: 'Cal.com: switching reminders off does not reach bookings that exist',
    play: async salon => {
      await salon.change('create');
      await salon.policy({ reminders: { at: [] } });
      await salon.pass(VISIT + DAY);
    },
    expect: [],
  },
  {
    name: 'Cal.com: switching reminders on does not reach bookings that exist',
    play: async salon => {
      await salon.policy({ reminders: { at: [] } });
      await salon.change('create');
      await salon.policy({ reminders: { at: ['20:00 the day before'] } });
      await salon.pass(VISIT + DAY);
    },
    expect: ['20:00 the day before at 05-19 20:00'],
  },
  {
    name: 'Cal.com: the text is that of the hour of booking, not of sending',
    play: async salon => {
      await salon.change('create');
      await salon.change('update', { staff_id: 6, staff: { id: 6, name: 'Ирина' } });
      await salon.pass(VISIT - 3 * HOUR);
    },
    expect: ['24h at 05-19 14:30'],
    also: async ({ companyId }) => {
      const reminder = pipeline.sent.find(one => one.companyId === companyId && one.purpose === 'reminder');
      assert.match(reminder?.text ?? '', /Мастер: Ирина/);
    },
  },
  {
    name: 'Cal.com: a salon in London is spoken of in another zone',
    zone: 'Europe/London',
    play: async salon => {
      await salon.change('create');
      await salon.pass(VISIT + DAY);
    },
    expect: ['24h at 05-19 14:30', '2h at 05-20 12:30'],
    also: async ({ companyId }) => {
      const reminder = pipeline.sent.find(one => one.companyId === companyId && one.purpose === 'reminder');
      assert.match(reminder?.text ?? '', /Когда: 20 мая, вторник, 14:30/);
    },
  },
  {
    name: 'Novu: a delayed message is orphaned when its process dies',
    play: async salon => {
      await salon.change('create');
      pipeline.now = VISIT - DAY;
      const hanging: Channel = {
        ...{ name: 'console', idempotent: true, concurrency: 9, traits: CONSOLE_TRAITS },
        send: () => new Promise(() => {}),
      };
      await pipeline.another({ channel: hanging }).dispatcher.runOnce();
      await pipeline.pool.query(
        `UPDATE messages SET leased_until = now() - interval '1 second' WHERE state = 'sending' AND company_id = $1`,
        [salon.companyId],
      );
      await salon.pass(VISIT + DAY);
    },
    expect: ['24h at 05-19 14:30', '2h at 05-20 12:30'],
  },
  {
    name: 'Novu: two events of one visit make two digests',
    play: async salon => {
      const told = { any: ['client', 'administrator'] } as const;
      await salon.policy({
        tell: { booked: told, staff_changed: told },
        team: { administrator: { gather: '15m' } },
      });
      await administrators(salon.companyId, 2);
      await salon.change('create');
      await salon.receive('update', { comment: 'раз' });
      await salon.receive('update', { comment: 'два', seance_length: 5400, staff_id: 6 });
      // Two processes at once, at each stage.
      const other = pipeline.another();
      await processTogether(pipeline, other);
      // Whoever goes on takes all shards anew.
      await Promise.all([pipeline.processor.stop(), other.processor.stop()]);
      await Promise.all([pipeline.planner.drain(), other.planner.drain()]);
      await salon.settle();
      pipeline.now += 15 * MINUTE;
      await Promise.all([pipeline.dispatcher.drain(), other.dispatcher.drain()]);
      pipeline.now = VISIT - DAY;
      await Promise.all([pipeline.dispatcher.drain(), other.dispatcher.drain()]);
      await salon.pass(VISIT + DAY);
    },
    expect: ['24h at 05-19 14:30', '2h at 05-20 12:30'],
    also: async ({ companyId }) => {
      const ours = pipeline.sent.filter(one => one.companyId === companyId);
      const notices = ours.filter(one => one.purpose === 'notice').map(one => one.notice?.kind);
      assert.deepEqual(notices, ['booked', 'staff_changed'], 'the client hears each');
      const batches = ours.filter(one => one.purpose === 'batch');
      assert.deepEqual(
        batches.map(({ changes }) =>
          (changes ?? []).map(({ kind, after: { staffId } }) => `${kind} ${staffId}`),
        ),
        [['booked 6'], ['booked 6']],
        'one to each administrator, of the visit as it is',
      );
      const { rows } = await pipeline.pool.query(
        `SELECT recipient, count(*) FROM messages WHERE company_id = $1 AND purpose = 'batch' GROUP BY 1`,
        [companyId],
      );
      assert.deepEqual(
        rows.map(({ count }) => count),
        [1, 1],
      );
    },
  },
  {
    name: 'Novu: a cancellation just before sending misses the message',
    play: async salon => {
      await salon.change('create');
      pipeline.now = VISIT - DAY;
      await salon.receive('update', { deleted: true });
      // Known, and no plan made of it yet: the reminder still lies there, due.
      await pipeline.processor.drain();
      await pipeline.dispatcher.drain();
      await salon.pass(VISIT + DAY);
    },
    expect: [],
  },
  {
    name: 'Novu: a cancellation at the moment of sending misses the message, and nobody says so',
    play: async salon => {
      await salon.change('create');
      pipeline.now = VISIT - DAY;
      const slow: Channel = {
        ...{ name: 'console', idempotent: false, concurrency: 9, traits: CONSOLE_TRAITS },
        send: async message => {
          // It is on its way, and the visit is called off behind its back.
          await salon.receive('update', { deleted: true });
          await pipeline.processor.drain();
          await pipeline.planner.drain();
          pipeline.sent.push(message);
          return { outcome: 'sent' };
        },
      };
      const { dispatcher } = pipeline.another({ channel: slow });
      await dispatcher.drain();
      await dispatcher.stop();
      await salon.pass(VISIT + DAY);
    },
    expect: ['24h at 05-19 14:30'],
    also: async ({ companyId }) => {
      const ours = pipeline.sent.filter(one => one.companyId === companyId);
      assert.deepEqual(
        ours.map(({ purpose, notice }) => notice?.kind ?? purpose),
        ['booked', 'reminder', 'cancelled'],
        'the very next thing that the client hears is that it is off',
      );
    },
  },
  {
    name: 'Novu: what was cancelled cannot come back',
    play: async salon => {
      await salon.change('create');
      await salon.change('update', { deleted: true });
      await salon.pass(VISIT - 3 * DAY);
      await salon.change('update', { deleted: false });
      await salon.pass(VISIT + DAY);
    },
    expect: ['24h at 05-19 14:30', '2h at 05-20 12:30'],
  },
  {
    name: 'Cal.com: a booking that was moved twice is reminded of at each of its hours',
    play: async salon => {
      await salon.change('create');
      await salon.pass(VISIT - 3 * DAY);
      await salon.change('update', { date: '2031-05-22 18:00:00' });
      await salon.pass(VISIT - 2 * DAY);
      await salon.change('update', { date: '2031-05-21 10:00:00' });
      await salon.pass(VISIT + 4 * DAY);
    },
    expect: ['24h at 05-20 10:00', '2h at 05-21 09:00'],
  },
];

for (const [index, { name, zone = 'Europe/Moscow', play, expect, also }] of CASES.entries()) {
  test(`not here. ${name}`, async () => {
    const salon = await openSalon(index + 1, zone);
    await play(salon);
    assert.deepEqual(await reminders(salon.companyId, zone), expect);
    await also?.(salon);
  });
}

test('not here. Novu: no fallback where the first channel says nothing; WAHelp: once, to the first that there is', async () => {
  const companyId = CASES.length + 1;
  const left: string[] = [];
  const channel = (name: ChannelName): [ChannelName, Channel] => [
    name,
    {
      ...{ name, idempotent: false, concurrency: 9 },
      traits: { ...CONSOLE_TRAITS, address: 'phone', receiptWithinMs: 5 * MINUTE },
      async send({ id }) {
        left.push(name);
        return { outcome: 'sent', providerId: `${name}/${id}` };
      },
    },
  ];
  const channels = new Map([channel('whatsapp'), channel('sms')]);
  await pipeline.addCompany({ companyId, policy: POLICY, route: ['telegram', 'whatsapp', 'sms'] });
  await pipeline.pool.query(
    "INSERT INTO receipt_givers (company_id, channel, provider) VALUES ($1, 'whatsapp', 'whatsapp')",
    [companyId],
  );
  pipeline.now = BOOKED;
  const body = recordBody({ companyId, at: BOOKED, data: { create_date: new Date(BOOKED).toISOString() } });
  await pipeline.receive(companyId, [{ body, receivedAt: BOOKED }]);
  await pipeline.processor.drain();
  const { dispatcher } = pipeline.another({ channels });
  await dispatcher.drain();
  assert.deepEqual(left, ['whatsapp'], 'the first that can');
  pipeline.now += 5 * MINUTE;
  await dispatcher.drain();
  assert.deepEqual(left, ['whatsapp', 'sms'], 'and the next, when its time is over');
  await dispatcher.stop();
});

async function openSalon(companyId: number, zone: string): Promise<Salon> {
  pipeline.now = BOOKED;
  await pipeline.addCompany({ companyId, zone, policy: POLICY });
  let version = BOOKED;
  let known: Record<string, unknown> = {};
  const salon: Salon = {
    companyId,
    async receive(status, data = {}) {
      version += 1_000;
      known = { create_date: new Date(pipeline.now).toISOString(), ...known, ...data };
      const body = recordBody({ companyId, status, at: Math.max(version, pipeline.now), data: known });
      await pipeline.receive(companyId, [{ body, receivedAt: pipeline.now }]);
    },
    async change(status, data) {
      await salon.receive(status, data);
      await salon.settle();
    },
    settle: () => pipeline.settle(),
    policy: document => pipeline.setPolicy(companyId, { ...POLICY, ...document }),
    async pass(until) {
      while (pipeline.now < until) {
        await pipeline.settle();
        pipeline.now = Math.min(until, await nextDue());
      }
      await pipeline.settle();
    },
  };
  return salon;
}

async function administrators(companyId: number, count: number): Promise<void> {
  for (let number = 1; number <= count; number += 1) {
    await pipeline.pool.query(
      `INSERT INTO team (company_id, role, channel, address, since) VALUES ($1, 'administrator', 'console', $2, $3)`,
      [companyId, `desk ${number}`, new Date(pipeline.now - MINUTE).toISOString()],
    );
  }
}

async function nextDue(): Promise<number> {
  const { rows } = await pipeline.pool.query<{ at: number | null }>(
    "SELECT min(due_at) AS at FROM messages WHERE state = 'due'",
  );
  return rows[0]?.at ?? Number.POSITIVE_INFINITY;
}

async function reminders(companyId: number, zone: string): Promise<string[]> {
  const { rows } = await pipeline.pool.query<{ rule: string; at: number }>(
    `SELECT rule, sent_at AS at FROM messages WHERE company_id = $1 AND rule IS NOT NULL AND state = 'sent'
     ORDER BY sent_at`,
    [companyId],
  );
  return rows.map(({ rule, at }) => `${rule} at ${wallOf(at, zone).slice(5, 16).replace('T', ' ')}`);
}
