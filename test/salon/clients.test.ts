/** What was refused for a person holds for them: wherever they are reached from then on, until it is taken back. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import type { Channel, ChannelName } from '../../src/channels/channel.ts';
import { CONSOLE_TRAITS } from '../../src/channels/console.ts';
import { setClientAddress } from '../../src/salon/addresses.ts';
import { setConsent, showClients } from '../../src/salon/clients.ts';
import { recordConsent } from '../../src/store/chats.ts';
import { createPipeline, type Pipeline, recordBody } from '../work/pipeline.ts';

const VISIT = Date.parse('2031-05-20T11:30:00Z');
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const [OLD, NEW] = ['79160000001', '79160000002'];

/** What left: `sms +7…: notice`. */
let left: string[] = [];
const channel = (name: ChannelName, address: Channel['traits']['address']): [ChannelName, Channel] => [
  name,
  {
    ...{ name, idempotent: true, concurrency: 8, traits: { ...CONSOLE_TRAITS, address } },
    async send({ address: to, purpose }) {
      left.push(`${name} ${to}: ${purpose}`);
      return { outcome: 'sent' };
    },
  },
];
const CHANNELS = new Map([
  ...[channel('sms', 'phone'), channel('whatsapp', 'phone'), channel('email', 'email')],
  ...[channel('telegram', 'chat'), channel('webhook', 'url')],
]);

let pipeline: Pipeline;
let parts: ReturnType<Pipeline['another']>;
before(async () => {
  pipeline = await createPipeline();
  parts = pipeline.another({ channels: CHANNELS });
});
after(async () => {
  await parts.dispatcher.stop();
  await parts.processor.stop();
  await pipeline.close();
});

/** Each test has a company of its own. */
let companyId = 0;
let records = 0;
beforeEach(async () => {
  companyId += 1;
  pipeline.now = VISIT - 5 * DAY;
  await pipeline.addCompany({ companyId, route: ['sms'] });
  left = [];
});
const route = (...names: ChannelName[]) =>
  pipeline.pool.query('UPDATE companies SET route = $2 WHERE company_id = $1', [companyId, names]);

/** The salon books a visit for whom their card tells now; what left of it. */
async function books(card: { readonly phone?: string; readonly email?: string }, id = 9): Promise<string[]> {
  records += 1;
  pipeline.now += 1_000;
  const client = { id, name: 'Анна', phone: '', email: '', ...card };
  const [at, before] = [pipeline.now, left.length];
  const body = recordBody({ id: records, companyId, at, data: { client } });
  await pipeline.receive(companyId, [{ body, receivedAt: at }]);
  await settles();
  return left.slice(before);
}
async function settles(): Promise<void> {
  await parts.processor.drain();
  await parts.planner.drain();
  await parts.dispatcher.drain();
}

type Word = Partial<Parameters<typeof setConsent>[3]>;
const say = (granted: boolean, word: Word = {}) =>
  setConsent({ pool: pipeline.pool, actor: 'command' }, companyId, '9', {
    ...{ channel: undefined, category: undefined, reason: 'at the desk', granted, ...word },
  });
/** As it is heard in a chat of client 9. */
const hears = (on: ChannelName, chat: string, granted: boolean, at = pipeline.now, late = false) =>
  recordConsent(pipeline.pool, {
    ...{ channel: on, chat, companyIds: [companyId], clients: [{ companyId, clientId: 9 }] },
    ...{ categories: ['service'], granted, words: granted ? 'возобновить' : 'стоп', at, late },
  });

test('an opt-out of all holds after the card got another phone or an e-mail, for notices and reminders', async () => {
  await route('whatsapp', 'sms', 'email', 'telegram', 'webhook');
  await pipeline.pool.query(
    "UPDATE companies SET webhook_url = 'https://salon.test/' WHERE company_id = $1",
    [companyId],
  );
  await pipeline.setPolicy(companyId, { reminders: { at: ['24h'] } });
  assert.equal((await books({ phone: OLD })).length, 1);
  const kept = await say(false);
  assert.deepEqual(kept, { clientIds: [9], where: ['*/advertising', '*/service'] });
  assert.deepEqual(await books({ phone: NEW }), []);
  assert.deepEqual(await books({ email: 'anna@mail.test' }), []);
  const to = { companyId, clientId: 9, channel: 'telegram', address: '77' } as const;
  await setClientAddress({ pool: pipeline.pool, actor: 'command' }, to);
  assert.deepEqual(await books({ phone: NEW, email: 'anna@mail.test' }), []);
  left = [];
  pipeline.now = VISIT - 24 * HOUR;
  await settles();
  assert.deepEqual(left, []);
  const { rows } = await pipeline.pool.query(
    `SELECT state, error FROM messages WHERE company_id = $1 AND purpose = 'reminder'`,
    [companyId],
  );
  assert.match(rows[0]?.error, /they want none on whatsapp.*they want none on webhook/);
  assert.deepEqual(await books({ phone: '79160000003' }, 10), ['whatsapp +79160000003: notice'], 'of others');
});

test('a wish is kept in advance, of somebody without an address', async () => {
  await books({});
  assert.deepEqual((await say(false, { channel: 'sms' })).where, ['sms/advertising', 'sms/service']);
  assert.deepEqual(await books({ phone: OLD }), []);
  const [shown] = await showClients(pipeline.pool, companyId, '9');
  assert.deepEqual(
    shown?.consents.map(one => [one.channel, one.address, one.category, one.granted, one.words]).sort(),
    ['advertising', 'service'].map(one => ['sms', '*', one, false, 'operator (command): at the desk']),
  );
  await route('whatsapp');
  assert.equal((await books({ phone: OLD })).length, 1, 'of SMS alone');
});

test('an e-mail address is the same however it is written', async () => {
  await route('email');
  assert.equal((await books({ email: 'Anna@Mail.test' })).length, 1);
  const stop = { channel: 'email', companyIds: [companyId], categories: ['service'] } as const;
  await recordConsent(pipeline.pool, {
    ...{ ...stop, chat: 'ANNA@mail.test', granted: false, words: 'unsubscribe link', at: pipeline.now },
  });
  assert.deepEqual(await books({ email: 'Anna@Mail.test' }), []);
  assert.deepEqual(await books({ email: 'anna@mail.TEST' }), []);
  const [shown] = await showClients(pipeline.pool, companyId, '9');
  assert.deepEqual(
    shown?.consents.map(({ address }) => address),
    ['anna@mail.test'],
  );
});

test('an opt-in lifts what was refused, wherever that was, and keeps the proof of both', async () => {
  await books({ phone: OLD });
  await say(false);
  await books({ phone: NEW });
  await say(true, { reason: 'changed their mind' });
  for (const phone of [NEW, OLD]) assert.equal((await books({ phone })).length, 1, phone);
  await say(false, { channel: 'sms' });
  await say(true);
  assert.equal((await books({ phone: OLD })).length, 1, 'a word on all channels is one on each');
  await say(false);
  await say(true, { channel: 'sms' });
  assert.deepEqual(await books({ phone: OLD }), [`sms +${OLD}: notice`]);
  await route('whatsapp');
  assert.deepEqual(await books({ phone: OLD }), [], 'and one on a channel is on that alone');
  const [shown] = await showClients(pipeline.pool, companyId, '9');
  assert.equal(shown?.consents.at(-1)?.granted, false);
  assert.ok(shown?.consents.some(({ granted, words }) => granted && /changed their mind/.test(words)));
  assert.ok(shown?.consents.every(({ category, granted }) => category === 'service' || !granted));
});

test('an opt-in does not speak for whoever has the old number now', async () => {
  await books({ phone: OLD });
  await say(false, { channel: 'sms' });
  await books({ phone: NEW });
  await recordConsent(pipeline.pool, {
    ...{ channel: 'sms', chat: `+${OLD}`, companyIds: [companyId], categories: ['service'] },
    ...{ granted: false, words: 'СТОП', at: pipeline.now },
  });
  await say(true, { channel: 'sms' });
  assert.deepEqual(await books({ phone: OLD }, 10), []);
});

test('«стоп» from a number holds on that channel for who said it, and is taken back from another number', async () => {
  await books({ phone: OLD });
  await hears('sms', `+${OLD}`, false);
  assert.deepEqual(await books({ phone: NEW }), []);
  await route('whatsapp');
  assert.equal((await books({ phone: NEW })).length, 1);
  await route('sms');
  const saidAt = pipeline.now - DAY;
  await hears('sms', `+${NEW}`, true, saidAt, true);
  assert.deepEqual(await books({ phone: NEW }), [], 'not by what was said before it and heard late');
  await hears('sms', `+${NEW}`, true);
  assert.equal((await books({ phone: NEW })).length, 1);
  assert.deepEqual(
    await books({ phone: OLD }, 10),
    [],
    'who has the old number is the one who refused there',
  );
});

test('what a client takes back in a chat is taken back there, of what the salon had kept for them', async () => {
  await route('telegram', 'sms');
  const to = { companyId, clientId: 9, channel: 'telegram', address: '78' } as const;
  await setClientAddress({ pool: pipeline.pool, actor: 'command' }, to);
  await books({ phone: OLD });
  await say(false);
  assert.deepEqual(await books({ phone: OLD }), []);
  await hears('telegram', '78', true);
  assert.deepEqual(await books({ phone: OLD }), ['telegram 78: notice']);
  await route('sms');
  assert.deepEqual(await books({ phone: OLD }), []);
});
