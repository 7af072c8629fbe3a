/** A person who was erased is nowhere, and stays so; what happened is still counted. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import type { Channel, SendResult } from '../../src/channels/channel.ts';
import { CONSOLE_TRAITS } from '../../src/channels/console.ts';
import type { Facts } from '../../src/domain/notice.ts';
import { newId } from '../../src/ids.ts';
import { quarantined } from '../../src/ingest/read-body.ts';
import { setConsent } from '../../src/salon/clients.ts';
import {
  type EraseStep,
  type Erasure,
  erasePerson,
  readmitPerson,
  type Whom,
} from '../../src/salon/erase.ts';
import { addMember, setOthers } from '../../src/salon/team.ts';
import { insertActions } from '../../src/store/actions.ts';
import { linkChat, openChat, recordConsent, settleInvite } from '../../src/store/chats.ts';
import { audit, removeCompany, saveAddress } from '../../src/store/companies.ts';
import { keepAside, saveHeard } from '../../src/store/heard.ts';
import { insertEvents } from '../../src/store/inbox.ts';
import { readLastSeq, scanAll } from '../../src/store/leftovers.ts';
import { insertTestMessage } from '../../src/store/messages.ts';
import { saveReceipts } from '../../src/store/receipts.ts';
import { insertRelays } from '../../src/store/relays.ts';
import { addRequests } from '../../src/store/requests.ts';
import type { Place } from '../../src/store/team.ts';
import { saveTemplate } from '../../src/store/templates.ts';
import { until } from '../support/until.ts';
import { createPipeline, type Pipeline, recordBody } from '../work/pipeline.ts';

const NAME = 'Евстолия';
const EMAIL = 'evstolia@mail.test';
const CHAT = '5550001234';
const OPENED = '700000999';
const EARLIER = '811000555';
/** Of their cards; one was kept by an earlier build. */
const CARDS = ['LC-00975', 'LC-00976'];
const PHONES = ['9160000001', '9160000077'];
const CLIENT = { id: 9, name: NAME, surname: 'Ухова', phone: '79160000001', email: EMAIL };
const OTHER = { id: 10, name: 'Борис', phone: '79160000002', email: 'boris@mail.test' };
/** As Meta makes an id: how long the phone is, the phone, what kind of message, and its number. */
const wamid = (phone: string, n: string) =>
  `wamid.${Buffer.from(`\x1c\x18\x0b${phone}\x15\x02\0\x11\x18\x12${n.padStart(18, '5F425A74F130337')}\0`, 'latin1').toString('base64')}`;
const [SENT_ID, LATE_ID, UNKNOWN_ID, OLD_ID] = ['A1', 'B2', 'C3', 'D4'].map(n => wamid(CLIENT.phone, n));
const MINUTE = 60_000;
const DAY = 1_440 * MINUTE;
const NOON_IN_MOSCOW = 9 * 60 * MINUTE;
/** The client came to the salon's own booking form: its people are told. */
const WIDGET = { online: true, bookform_id: 3, record_from: 'Form Online widget' };
const WHOM: Whom = { companyId: 1, clientId: 9 };

let pipeline: Pipeline;
beforeEach(async () => {
  pipeline = await createPipeline();
  await pipeline.addCompany({ companyId: 1 });
  await pipeline.addCompany({ companyId: 2 });
});
afterEach(() => pipeline.close());

const receive = (...bodies: string[]) =>
  pipeline.receive(
    1,
    bodies.map(body => ({ body, receivedAt: pipeline.now })),
  );
const body = (resource: string, resourceId: number, data: unknown, status = 'update') =>
  JSON.stringify({ company_id: 1, resource, resource_id: resourceId, status, data });
const deps = () => ({ pool: pipeline.pool, vault: pipeline.vault, actor: 'command' as const });
const erase = (whom: Whom = WHOM, options?: { dryRun: boolean }): Promise<Erasure> =>
  erasePerson(deps(), whom, options);

/** Columns of the whole database that hold any of these, each value read as text in every way it can be, base64 too. */
async function found(words: readonly string[], phones: readonly string[] = []): Promise<string[]> {
  const { rows: columns } = await pipeline.pool.query(
    `SELECT table_name AS table, column_name AS column, data_type AS type FROM information_schema.columns
     WHERE table_schema = 'public' AND data_type NOT IN ('boolean', 'timestamp with time zone', 'uuid')`,
  );
  assert.ok(columns.length > 80, `only ${columns.length} columns were looked at`);
  const hits: string[] = [];
  for (const { table, column, type } of columns) {
    const { rows } = await pipeline.pool.query(
      `SELECT ${type === 'bytea' ? column : `${column}::text`} AS value FROM ${table} WHERE ${column} IS NOT NULL`,
    );
    for (const { value } of rows) {
      const plain = Buffer.isBuffer(value) ? unescaped(value.toString('utf8')) : String(value);
      const hit = [plain, ...decoded(plain)].some(text => {
        const digits = text.replace(/[^0-9\p{L}]/gu, '');
        return (
          words.some(word => text.toLowerCase().includes(word.toLowerCase())) ||
          phones.some(phone => digits.includes(phone))
        );
      });
      if (hit) hits.push(`${table}.${column}`);
    }
  }
  return [...new Set(hits)].sort();
}

function unescaped(text: string): string {
  return text.replace(/\\u([0-9a-f]{4})/gi, (_, code: string) =>
    String.fromCharCode(Number.parseInt(code, 16)),
  );
}

/** What runs of base64 in a text may say, wherever in a run it begins. */
function decoded(text: string): string[] {
  const runs = text.match(/[\w+/-]{12,}/g) ?? [];
  return runs.flatMap(run => [0, 1, 2, 3].map(from => Buffer.from(run.slice(from), 'base64').toString()));
}

const anywhere = () => found([NAME, 'Ухова', EMAIL, CHAT, OPENED, EARLIER, ...CARDS, 'client:9'], PHONES);

/** Columns that can hold words or bytes of any kind. */
async function holding(): Promise<string[]> {
  const { rows } = await pipeline.pool.query(
    `SELECT c.table_name || '.' || c.column_name AS place FROM information_schema.columns c
     WHERE table_schema = 'public' AND data_type IN ('text', 'character varying', 'character', 'json', 'jsonb', 'bytea', 'ARRAY')
     ORDER BY 1`,
  );
  return rows.map(({ place }) => place);
}

/**
 * What of these columns never holds a person: words and ids of ours, of the platform, of a provider or of the salon, and
 * hashes. A column that is in neither list fails the scan's test: whoever adds one says what it may hold.
 */
const NOT_OF_PEOPLE = new Set(
  Object.entries({
    actions: 'channel kind link reason state',
    addresses: 'channel',
    alerts: 'detail kind label subject',
    api_budget: 'paused_because scope',
    attempts: 'channel outcome scope',
    audit_log: 'action actor',
    // Ids alone, like the data of entities: see the test after the scan's.
    booking_changes: 'detail kind',
    bookings: 'attendance_said field_versions origin services staff_name state',
    chats: 'channel',
    // The salon's own; should it be a person's too, it is said to be left, like templates.
    companies:
      'address bot_api_prefix brand invite locale phone route source stopped_because title verify webhook_url zone',
    company_keys: 'key_hash use',
    company_secrets: 'purpose sealed',
    consents: 'category channel',
    drift: 'kind path sample',
    ears: 'account channel',
    entities: 'data resource',
    erased_people: 'client_hash',
    heard: 'channel error update_id',
    messages:
      'channel error falls kind purpose request_id rule state subject told_after told_before traceparent visit',
    migrations: 'name',
    policies: 'actor document',
    reached: 'channel',
    receipt_givers: 'channel provider',
    receipts: 'channel reason status',
    rejects: 'cause',
    relays: 'asked category digest reason',
    rereads: 'reason',
    settings: 'key value',
    sweeps: 'cursor error kind last',
    team: 'channel invite_hash role',
    templates: 'kind locale source',
    webhook_events: 'effect event_type request_id resource source state status traceparent',
  }).flatMap(([table, columns]) => columns.split(' ').map(column => `${table}.${column}`)),
);

async function life(): Promise<void> {
  await receive(
    body(
      'client',
      9,
      { ...CLIENT, phone: '79160000077', last_change_date: '2020-01-01T10:00:00+0300' },
      'create',
    ),
    body('client', 9, CLIENT),
    body('client', 10, OTHER),
    recordBody({ id: 1, data: { client: CLIENT, comment: 'перезвонить на 8 (916) 000-00-01' } }),
    recordBody({ id: 2, data: { client: OTHER, comment: `подруга, ${EMAIL.toUpperCase()}` } }),
    recordBody({ id: 3, data: { client: CLIENT } }),
    body('finances_operation', 70, { id: 70, amount: 900, client: CLIENT, record_id: 1 }, 'create'),
    body(
      'goods_operations_sale',
      71,
      { id: 71, type_id: 1, client: { id: 9, name: NAME }, amount: -1 },
      'create',
    ),
    body('loyalty_card', 72, { id: 72, number: '+7 916 000 00 01', balance: 5 }, 'create'),
    body('loyalty_card', 75, { id: 75, number: CARDS[0], phone: CLIENT.phone, balance: 7 }, 'create'),
    body('something_new', 73, { deep: [{ client_id: '9', note: NAME }] }),
    body('something_new', 74, { note: EMAIL }).replace('@', '\\u0040'),
  );
  await saveAddress(pipeline.pool, { companyId: 1, clientId: 9, channel: 'telegram', address: CHAT });
  await answers();
  await audit(pipeline.pool, { actor: 'command', action: 'address.set', companyId: 1, subject: 'client:9' });
  await pipeline.settle();
  // Handed to another: each of the two was told something of it.
  pipeline.now += 2_000;
  await receive(recordBody({ id: 3, status: 'update', at: pipeline.now, data: { client: OTHER } }));
  await pipeline.settle();
  const test = { companyId: 1, channel: 'email', now: pipeline.now };
  await insertTestMessage(pipeline.pool, { ...test, id: newId(), recipient: EMAIL });
  await insertEvents(pipeline.pool, [
    quarantined(Buffer.from(`{"resource":"client","name":"${escaped(NAME)}","phone":"+7 (916) 000-00-01`), {
      ...{ companyId: 1, receivedAt: pipeline.now, source: 'webhook' },
    }),
  ]);
  // In every other state that an event can be in: given up, put aside, not looked at yet.
  const commented = (id: number) =>
    recordBody({
      id,
      at: pipeline.now,
      data: { client: OTHER, comment: `вместе с +7 916 000-00-01, ${id}` },
    });
  await receive(commented(5), commented(7));
  await pipeline.pool.query(
    `UPDATE webhook_events SET state = CASE record_id WHEN 5 THEN 'dead' ELSE 'waiting' END, attempts = 5,
       next_at = CASE record_id WHEN 7 THEN now() + interval '1 hour' END, error = $1 WHERE record_id IN (5, 7)`,
    [`22000 of ${EMAIL}`],
  );
  await receive(recordBody({ id: 4, at: pipeline.now, data: { client: CLIENT } }), commented(8));
}

/** The client has opened the bot, shared the number, said «стоп», and pressed a button before. */
async function answers(): Promise<void> {
  const key = { channel: 'telegram', chat: OPENED };
  await settleInvite(pipeline.pool, 1, 'a1b2c3d4e5f6');
  await openChat(pipeline.pool, key, { invite: 'a1b2c3d4e5f6' });
  await linkChat(pipeline.pool, key, '+79160000001');
  await recordConsent(pipeline.pool, {
    ...{ ...key, companyIds: [1], granted: false, words: `стоп, ${NAME}`, at: pipeline.now },
    categories: ['service', 'advertising'],
  });
  await insertActions(pipeline.pool, newId, {
    ...{ kind: 'confirm', now: pipeline.now, ...key },
    answered: {
      ...{ companyId: 1, recipient: 'client:9', messageId: newId() },
      records: [
        {
          ...{ recordId: 1, status: 'booked', startsLocal: '2031-05-20T14:30:00' },
          ...{ staffId: 5, staffName: '', services: [] },
        },
      ],
    },
  });
}

function escaped(text: string): string {
  return [...text].map(letter => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`).join('');
}

/** The salon's own people were told of their visits, and one of these people is themselves; the platform sent texts. */
async function around(): Promise<void> {
  const { pool } = pipeline;
  // By day: at night the team is told in the morning.
  pipeline.now = (Math.floor(pipeline.now / DAY) + 1) * DAY + NOON_IN_MOSCOW;
  await pipeline.setPolicy(1, { team: { administrator: { gather: '15m' } } });
  const joins = (
    who: { role: 'staff' | 'administrator'; staffId: number | null; name: string },
    place: Place,
  ) => addMember({ pool, actor: 'command', now: pipeline.now }, { companyId: 1, ...who }, place);
  await joins({ role: 'staff', staffId: 5, name: 'Ольга' }, { channel: 'console', address: '' });
  const desk = { role: 'administrator', staffId: null } as const;
  const { memberId } = await joins({ ...desk, name: 'Вера' }, { channel: 'console', address: '' });
  pipeline.now += MINUTE;
  const booked = (id: number, client: object, status = 'create') =>
    recordBody({ id, status, at: pipeline.now, data: { ...WIDGET, client } });
  await receive(booked(20, CLIENT), booked(21, CLIENT));
  await pipeline.settle();
  pipeline.now += 20 * MINUTE;
  await pipeline.settle();
  // Handed to another since; what was told before that calls them by name.
  await receive(booked(21, OTHER, 'update'));
  await pipeline.settle();
  const facts = {
    status: 'booked',
    startsLocal: '2031-05-20T14:30:00',
    staffId: 5,
    staffName: '',
    services: [],
  };
  await addRequests(pool, {
    ...{ companyId: 1, recordIds: [20], recipients: [`administrator:${memberId}`], kind: 'move_asked' },
    ...{ facts: facts as Facts, dueAt: pipeline.now, now: pipeline.now },
  });
  await pipeline.settle();
  // Known by an earlier number in another messenger, where they are of the team too.
  const key = { channel: 'max', chat: EARLIER };
  await openChat(pool, key, { companyId: 1 });
  await linkChat(pool, key, `+7${PHONES[1]}`);
  await recordConsent(pool, {
    ...{ ...key, companyIds: [1], granted: true, words: 'да', at: pipeline.now },
    categories: ['service'],
  });
  const themselves = await joins({ ...desk, name: NAME }, { channel: 'max', address: EARLIER });
  await setOthers({ pool, actor: 'command' }, { companyId: 1, memberId: themselves.memberId }, [
    { channel: 'sms', address: `+7${PHONES[0]}` },
  ]);
  // Under another's name, and told elsewhere first.
  const lent = await joins({ ...desk, name: 'Смена' }, { channel: 'max', address: '811000556' });
  await setOthers({ pool, actor: 'command' }, { companyId: 1, memberId: lent.memberId }, [
    { channel: 'email', address: EMAIL },
  ]);
  await saveHeard(pool, [
    { channel: 'max', updateId: '1', said: { kind: 'text', chat: EARLIER, text: `это ${NAME}` } },
    { channel: 'vk', updateId: '2', said: { kind: 'contact', chat: '1', phone: '8 (916) 000-00-01' } },
  ]);
  const unread = { chat: '', kind: 'unread', raw: { from: { id: Number(OPENED), first_name: NAME } } };
  await keepAside(pool, { channel: 'telegram', updateId: '3', said: unread, error: 'unread: TypeError' });
  const digest = (n: number) => Buffer.alloc(32, n);
  const to = (n: number, phone: string, theirId: string) => ({
    ...{ id: newId(), digest: digest(n), theirId, phone, text: `${NAME}, ждём вас` },
    category: 'service' as const,
    asked: null,
  });
  const moment = { acceptedAt: pipeline.now, dueAt: pipeline.now + DAY, requestId: newId() };
  await insertRelays(pool, { companyId: 1, ...moment }, [
    to(1, `+7${PHONES[0]}`, '501'),
    to(2, `+7${PHONES[1]}`, `7${PHONES[1]}-502`),
  ]);
  await setConsent({ pool, actor: 'command' }, 1, '9', {
    ...{ channel: 'vk', category: undefined, granted: false, reason: 'said so at the desk' },
  });
  await audit(pool, {
    ...{ actor: 'command', action: 'consent.refuse', companyId: 1, subject: 'client:10 client:9' },
  });
  await pool.query(
    `INSERT INTO reached (company_id, recipient, channel, delivered_at)
     VALUES (1, 'client:9', 'telegram', now()), (1, $1, 'email', now()) ON CONFLICT DO NOTHING`,
    [EMAIL],
  );
  await pool.query(
    `UPDATE attempts SET reason = 'refused: ' || $1, address = $1 WHERE message_id IN (SELECT id FROM messages WHERE recipient = 'client:9')`,
    [EMAIL],
  );
  await pool.query('INSERT INTO plan_requests (company_id, client_id, requested_at) VALUES (1, 9, now())');
  await told();
  await cards();
}

const receipt = (providerId: string | undefined, status: 'delivered' | 'failed' = 'delivered') => ({
  ...({ channel: 'whatsapp', provider: 'cloud', status, reason: '', happenedAt: null } as const),
  providerId: providerId ?? '',
});

/** A card says its holder's phone, and of the two nothing is kept that tells whose it is. */
async function cards(): Promise<void> {
  await pipeline.pool.query(
    `INSERT INTO entities (company_id, resource, resource_id, title, version) VALUES (1, 'loyalty_card', 76, $1, now())`,
    [CARDS[1]],
  );
}

/** Of what went to them by WhatsApp the provider told: of one message, of one whose id was never known, and before an upgrade. */
async function told(): Promise<void> {
  const { pool } = pipeline;
  const { rows } = await pool.query(
    "SELECT id FROM messages WHERE company_id = 1 AND recipient = 'client:9' AND state = 'sent' ORDER BY id LIMIT 2",
  );
  for (const [index, providerId] of [SENT_ID, LATE_ID].entries()) {
    const values = [rows[index].id, providerId];
    await pool.query(`UPDATE messages SET provider_id = $2 WHERE id = $1`, values);
    await pool.query(
      `UPDATE attempts SET provider_id = $2, channel = 'whatsapp' WHERE message_id = $1`,
      values,
    );
  }
  await saveReceipts(pool, [receipt(SENT_ID), receipt(UNKNOWN_ID, 'failed')]);
  await pool.query(
    `INSERT INTO receipts (channel, provider_id, status) VALUES ('whatsapp', $1, 'read'), ('whatsapp', $2, 'read')`,
    [SENT_ID, OLD_ID],
  );
}

async function counts(): Promise<unknown[]> {
  const { rows } = await pipeline.pool.query(
    `SELECT 'event' AS what, resource AS kind, count(*)::int AS n FROM webhook_events GROUP BY resource
     UNION ALL SELECT 'message', kind || ' ' || state, count(*) FROM messages WHERE purpose = 'notice' GROUP BY kind, state
     UNION ALL SELECT 'attempt', outcome, count(*) FROM attempts GROUP BY outcome
     UNION ALL SELECT 'receipt', status, count(*) FROM receipts GROUP BY status
     UNION ALL SELECT 'booking', state, count(*) FROM bookings GROUP BY state ORDER BY 1, 2`,
  );
  return rows;
}

test('a scan of every column finds neither name, phone, e-mail nor chat afterwards, and the receipts are kept', async () => {
  await life();
  await around();
  const toTeam = pipeline.sent.filter(({ recipient, text }) => recipient.role && text.includes(NAME));
  assert.deepEqual(
    new Set(toTeam.map(({ purpose }) => purpose)),
    new Set(['notice', 'batch', 'request']),
    'the salon’s people read the name',
  );
  const before = await anywhere();
  const unseen = (await holding()).filter(place => !before.includes(place) && !NOT_OF_PEOPLE.has(place));
  assert.deepEqual(unseen, [], 'held nothing of them: give it something, or say why it never does');
  const receipts = await counts();
  const erasure = await erase();
  assert.deepEqual(await anywhere(), []);
  assert.deepEqual(await counts(), receipts);
  assert.deepEqual(erasure.left, []);
  assert.deepEqual(erasure.scannedFor, ['id', 'phone', 'email', 'address']);
  assert.equal(erasure.clients, 1);
  assert.ok((erasure.rows.webhook_events ?? 0) >= 9);
});

test('a receipt that comes after the erasure, of a message from before it, brings no phone with its id', async () => {
  await life();
  await around();
  await erase();
  await saveReceipts(pipeline.pool, [receipt(LATE_ID), receipt(SENT_ID), receipt(UNKNOWN_ID)]);
  assert.deepEqual(await anywhere(), []);
  const { rows } = await pipeline.pool.query('SELECT count(*)::int AS kept FROM receipts');
  assert.deepEqual(rows, [{ kept: 6 }]);
});

test('the scan looks into base64: a phone in an id that nobody expected there is said to be left', async () => {
  await life();
  const ids = ['', 'x', 'xy'].map(before => Buffer.from(`${before}${CLIENT.phone}.`).toString('base64url'));
  await pipeline.pool.query('CREATE TABLE guests (note text)');
  await pipeline.pool.query('INSERT INTO guests SELECT unnest($1::text[])', [
    [...ids, wamid(OTHER.phone, 'E5')],
  ]);
  assert.deepEqual((await erase()).left, [{ table: 'guests', column: 'note', rows: 3 }]);
});

test('the scan reads every event that was there, processed or not, and leaves out what came since', async () => {
  const began = await readLastSeq(pipeline.pool);
  await receive(recordBody({ id: 1, data: { client: OTHER, comment: EMAIL } }));
  const places = async (lastSeq: number) =>
    (
      await scanAll(pipeline.pool, { companyId: 1, pattern: EMAIL, encoded: null, clientIds: [], lastSeq })
    ).map(({ table, column }) => `${table}.${column}`);
  assert.deepEqual(await places(await readLastSeq(pipeline.pool)), ['webhook_events.payload']);
  assert.deepEqual(await places(began), []);
  await pipeline.processor.drain();
  assert.ok(
    (await places(began)).includes('webhook_events.payload'),
    'once it is processed nothing mends it',
  );
});

test('their id is gone too, where it was tied to what they did', async () => {
  await life();
  await around();
  await erase();
  const { rows } = await pipeline.pool.query(
    `SELECT (SELECT count(*)::int FROM bookings WHERE client_id = 9 OR told ? 'client:9') AS bookings,
       (SELECT count(*)::int FROM messages WHERE recipient = 'client:9') AS messages,
       (SELECT count(*)::int FROM booking_changes WHERE detail::text ~ '\\m9\\M') AS changes,
       (SELECT count(*)::int FROM audit_log WHERE subject ~ '\\mclient:9\\M') AS audits,
       (SELECT count(*)::int FROM plan_requests WHERE client_id = 9) AS plans,
       (SELECT count(*)::int FROM relays) AS relays,
       (SELECT count(*)::int FROM consents WHERE client_id = 9) AS consents,
       (SELECT count(*)::int FROM entities WHERE data ->> 'clientId' = '9') AS entities,
       (SELECT count(*)::int FROM webhook_events WHERE resource = 'client' AND resource_id = 9
          OR event_id LIKE '1:client:9:%' OR payload::text ~ 'client(_id)?": .*\\m9\\M') AS events`,
  );
  assert.deepEqual(rows[0], {
    bookings: 0,
    messages: 0,
    changes: 0,
    audits: 0,
    plans: 0,
    relays: 0,
    consents: 0,
    entities: 0,
    events: 0,
  });
});

test('whoever is no client but gave the bot their number is erased by it, with their chat', async () => {
  const key = { channel: 'telegram', chat: OPENED };
  await openChat(pipeline.pool, key, { companyId: 1 });
  await linkChat(pipeline.pool, key, '+79160000001');
  const consent = { ...key, companyIds: [1], granted: false, words: 'стоп', at: pipeline.now };
  await recordConsent(pipeline.pool, { ...consent, categories: ['service'] });
  await saveHeard(pipeline.pool, [
    { channel: 'telegram', updateId: '1', said: { kind: 'text', chat: OPENED, text: 'да' } },
  ]);
  const erasure = await erase({ companyId: 1, phone: '8 (916) 000-00-01' });
  assert.equal(erasure.clients, 0);
  assert.deepEqual(await anywhere(), []);
});

test('a text of the salon’s own that names them is the salon’s to change: it is said to be left', async () => {
  await life();
  const key = { companyId: 1, locale: 'ru', kind: 'test' } as const;
  await saveTemplate(pipeline.pool, { ...key, source: 'Мастер: +7 916 000-00-01' });
  assert.deepEqual((await erase()).left, [{ table: 'templates', column: 'source', rows: 1 }]);
  await saveTemplate(pipeline.pool, { ...key, source: 'Мастер: спросите у стойки' });
  assert.deepEqual((await erase()).left, []);
});

test('of whom no phone, e-mail or chat is known, the id is scanned for, and that this was all is said', async () => {
  const nameless = { id: 9, name: NAME };
  await receive(recordBody({ id: 1, data: { client: nameless } }), body('client', 9, nameless));
  await pipeline.settle();
  await pipeline.pool.query(`CREATE TABLE guests (company_id int, client_id bigint, note text)`);
  await pipeline.pool.query(
    `INSERT INTO guests VALUES (1, 9, 'client:9'), (1, 90, 'client:90'), (2, 9, 'client:9'), (1, 1, '{"client": {"id": 9}}')`,
  );
  const erasure = await erase();
  assert.deepEqual(erasure.scannedFor, ['id']);
  assert.deepEqual(erasure.left, [
    { table: 'guests', column: 'client_id', rows: 1 },
    { table: 'guests', column: 'note', rows: 2 },
  ]);
  await pipeline.pool.query('TRUNCATE guests');
  assert.deepEqual((await erase()).left, []);
});

test('where they are known by their id, the scan finds it before it is removed', async () => {
  await life();
  await around();
  const search = {
    companyId: 1,
    pattern: null,
    encoded: null,
    clientIds: [9],
    lastSeq: await readLastSeq(pipeline.pool),
  };
  const places = async () =>
    (await scanAll(pipeline.pool, search)).map(({ table, column }) => `${table}.${column}`);
  const before = await places();
  for (const place of [
    'bookings.client_id',
    'bookings.told',
    'messages.recipient',
    'people.client_id',
    'plan_requests.client_id',
    'audit_log.subject',
    'webhook_events.event_id',
    'webhook_events.payload',
    'webhook_events.resource_id',
  ])
    assert.ok(before.includes(place), `${place} is not among ${before.join(', ')}`);
  await erase();
  assert.deepEqual(await places(), []);
});

test('a company that is not there is an error and nothing is written; one that was removed has its data still', async () => {
  await assert.rejects(erase({ companyId: 99, clientId: 5 }), /there is no company 99/);
  await assert.rejects(erase({ companyId: 99, phone: '+79160000001' }), /there is no company 99/);
  const { rows } = await pipeline.pool.query(
    `SELECT (SELECT count(*)::int FROM erased_people) AS barred,
       (SELECT count(*)::int FROM audit_log WHERE action = 'person.erase') AS audited`,
  );
  assert.deepEqual(rows[0], { barred: 0, audited: 0 });
  await life();
  await removeCompany(pipeline.pool, 1);
  await erase();
  assert.deepEqual(await anywhere(), []);
});

test('a batch under way that knew nothing of it is waited for, and does not bring them back', async () => {
  // The batch stands between asking who was erased and its first row written, for as long as this holds its lock: only
  // `completeEvents` sets the traceparent.
  await pipeline.pool.query(
    `CREATE FUNCTION stand() RETURNS trigger LANGUAGE plpgsql AS
       $$ BEGIN PERFORM pg_advisory_xact_lock_shared(17); RETURN NULL; END $$;
     CREATE TRIGGER stand BEFORE UPDATE OF traceparent ON webhook_events EXECUTE FUNCTION stand()`,
  );
  const holder = await pipeline.pool.connect();
  const waits = async (query: string) => {
    const { rows } = await holder.query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE $1`,
      [query],
    );
    return rows.length > 0;
  };
  try {
    await holder.query('SELECT pg_advisory_lock(17)');
    await receive(recordBody({ id: 1, data: { client: CLIENT } }));
    const batch = pipeline.processor.drain();
    await until(() => waits('%SET state = %done%'), { what: 'the batch stands' });
    let done = false;
    const erasing = erase().finally(() => {
      done = true;
    });
    await until(async () => done || (await waits('%FROM shards%FOR UPDATE%')), {
      what: 'the erasure waits for the batch, or has ended before it',
    });
    await holder.query('SELECT pg_advisory_unlock(17)');
    await Promise.all([batch, erasing]);
    assert.deepEqual(await anywhere(), []);
  } finally {
    holder.release(true);
  }
});

test('who is being planned for is erased with what is planned for them', async () => {
  await pipeline.setPolicy(1, { reminders: { at: ['24h'] } });
  await pipeline.planner.drain();
  await receive(recordBody({ id: 1, data: { client: CLIENT } }));
  await pipeline.processor.drain();
  const person = await pipeline.pool.connect();
  await person.query('BEGIN; SELECT FROM people WHERE company_id = 1 AND client_id = 9 FOR UPDATE');
  const waiting = async () => {
    const { rows } = await pipeline.pool.query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    );
    return rows.length;
  };
  const planning = pipeline.planner.runOnce();
  await until(async () => (await waiting()) === 1, { what: 'the planner waits for the client' });
  const erasing = erase();
  await until(async () => (await waiting()) === 2, { what: 'the erasure waits for the one or the other' });
  await person.query('ROLLBACK');
  person.release();
  const [planned, erasure] = await Promise.all([planning, erasing]);
  assert.equal(planned, 1);
  assert.deepEqual(erasure.left, []);
  assert.deepEqual(await anywhere(), []);
});

/** A message to them is under way when they are erased, and comes to this. */
async function erasedUnderWay(ended: SendResult): Promise<void> {
  await pipeline.addCompany({ companyId: 3, route: ['email'] });
  await pipeline.receive(3, [
    { body: recordBody({ companyId: 3, data: { client: CLIENT } }), receivedAt: pipeline.now },
  ]);
  await pipeline.processor.drain();
  const [left, outcome] = [Promise.withResolvers<void>(), Promise.withResolvers<SendResult>()];
  const email: Channel = {
    ...{
      name: 'email',
      traits: { ...CONSOLE_TRAITS, address: 'email' },
      idempotent: false,
      concurrency: 1,
    },
    send({ address }) {
      assert.equal(address, EMAIL);
      left.resolve();
      return outcome.promise;
    },
  };
  const { dispatcher } = pipeline.another({
    channels: new Map([['email', email]]),
    answerUrl: () => 'https://otklik.test/x',
  });
  const sending = dispatcher.drain();
  await left.promise;
  assert.deepEqual((await erase({ companyId: 3, clientId: 9 })).left, []);
  outcome.resolve(ended);
  await sending;
  assert.deepEqual(await anywhere(), []);
  const { rows } = await pipeline.pool.query(
    'SELECT m.state, a.outcome, a.channel FROM messages m LEFT JOIN attempts a ON a.message_id = m.id',
  );
  assert.deepEqual(rows, [{ state: 'unknown', outcome: ended.outcome, channel: 'email' }]);
}

test('a message that was under way when they were erased brings no address back with its outcome', async () => {
  await erasedUnderWay({ outcome: 'rejected', scope: 'address', reason: `no mailbox ${EMAIL}` });
});

test('nor does it bring their phone back in the id that it was given', async () => {
  await erasedUnderWay({ outcome: 'sent', providerId: SENT_ID ?? '' });
});

test('what is of others stays as it was', async () => {
  await life();
  await erase();
  const { rows } = await pipeline.pool.query(`SELECT name, phone, email FROM people WHERE client_id = 10`);
  assert.deepEqual(rows, [{ name: 'Борис', phone: '+79160000002', email: 'boris@mail.test' }]);
  const { rows: bookings } = await pipeline.pool.query(
    `SELECT record_id AS id, client_id AS client, told ? 'client:10' AS told FROM bookings WHERE record_id IN (2, 3) ORDER BY 1`,
  );
  assert.deepEqual(bookings, [
    { id: 2, client: 10, told: true },
    { id: 3, client: 10, told: true },
  ]);
  assert.ok((await found(['Борис'])).includes('messages.body'));
});

test('later events about them do not bring them back, and their bookings are kept without them', async () => {
  await life();
  await erase();
  await pipeline.settle();
  const sent = pipeline.sent.length;
  pipeline.now += 5_000;
  await receive(
    body('client', 9, { ...CLIENT, last_change_date: '2031-01-01T10:00:00+0300' }),
    recordBody({
      id: 1,
      status: 'update',
      at: pipeline.now,
      data: { client: CLIENT, date: '2031-06-01 09:00:00' },
    }),
    recordBody({ id: 50, at: pipeline.now, data: { client: CLIENT, comment: 'Ухова' } }),
    body('finances_operation', 80, { id: 80, amount: 100, client: CLIENT }, 'create'),
  );
  await pipeline.settle();
  assert.deepEqual(await anywhere(), []);
  assert.equal(pipeline.sent.length, sent);
  const { rows } = await pipeline.pool.query(
    `SELECT record_id AS id, starts_local AS starts, client_id AS client, state FROM bookings WHERE record_id IN (1, 4, 50) ORDER BY 1`,
  );
  assert.deepEqual(rows, [
    { id: 1, starts: '2031-06-01T09:00:00', client: null, state: 'waiting' },
    { id: 4, starts: '2031-05-20T14:30:00', client: null, state: 'waiting' },
    { id: 50, starts: '2031-05-20T14:30:00', client: null, state: 'waiting' },
  ]);
  const { rows: open } = await pipeline.pool.query(
    "SELECT count(*)::int AS n FROM webhook_events WHERE state <> 'done' AND coalesce(record_id, 0) NOT IN (5, 7)",
  );
  assert.deepEqual(open, [{ n: 0 }]);
});

test('a replay of what was erased changes nothing', async () => {
  await life();
  await erase();
  await pipeline.settle();
  const read = 'SELECT record_id, state, starts_local, client_id, comment FROM bookings ORDER BY 1';
  const { rows: before } = await pipeline.pool.query(read);
  await pipeline.pool.query(
    "UPDATE webhook_events SET state = 'pending', processed_at = NULL, effect = NULL WHERE state = 'done'",
  );
  await pipeline.settle();
  assert.deepEqual((await pipeline.pool.query(read)).rows, before);
  assert.deepEqual(await anywhere(), []);
  const { rows } = await pipeline.pool.query('SELECT client_id AS id FROM people ORDER BY 1');
  assert.deepEqual(rows, [{ id: 10 }]);
});

test('an open message to them is not sent; one that is being sent is stated as unknown', async () => {
  await pipeline.setPolicy(1, { settle: { any: '1m' } });
  await receive(
    recordBody({ id: 1, data: { client: CLIENT } }),
    recordBody({ id: 2, data: { client: CLIENT } }),
  );
  await pipeline.processor.drain();
  await pipeline.pool.query(
    "UPDATE messages SET state = 'sending', leased_until = now() + interval '1 hour', leased_by = gen_random_uuid() WHERE record_id = 2",
  );
  await erase();
  pipeline.now += 120_000;
  await pipeline.settle();
  assert.equal(pipeline.sent.length, 0);
  const { rows } = await pipeline.pool.query('SELECT record_id AS id, state FROM messages ORDER BY 1');
  assert.deepEqual(rows, [
    { id: 1, state: 'cancelled' },
    { id: 2, state: 'unknown' },
  ]);
});

for (const phone of ['+7 916 000-00-01', '79160000001', '8 (916) 000 00 01', '916 000-00-01']) {
  test(`by phone, written ${phone}`, async () => {
    await life();
    await receive(recordBody({ id: 6, data: { client: { ...CLIENT, id: 19 } } }));
    await pipeline.processor.drain();
    const erasure = await erase({ companyId: 1, phone });
    assert.equal(erasure.clients, 2, 'the salon had them twice');
    assert.deepEqual(await anywhere(), []);
  });
}

test('a dry run says the same and changes nothing', async () => {
  await life();
  await around();
  const dump = async () => {
    const tables = [
      'webhook_events',
      'bookings',
      'messages',
      'people',
      'addresses',
      'chats',
      'consents',
      'actions',
      'audit_log',
      'erased_people',
    ];
    return Promise.all(
      tables.map(async name => (await pipeline.pool.query(`SELECT t::text FROM ${name} t ORDER BY 1`)).rows),
    );
  };
  const before = await dump();
  const would = await erase(WHOM, { dryRun: true });
  assert.deepEqual(await dump(), before);
  assert.deepEqual(await erase(), would);
});

test('it tells what it does and how far it is, to the end', async () => {
  await life();
  await pipeline.pool.query(
    `INSERT INTO webhook_events (id, event_id, event_type, company_id, body, resource, resource_id, status, source)
     SELECT gen_random_uuid(), 'many:' || n, 'visit.create', 1, '{}', 'visit', n, 'create', 'webhook'
     FROM generate_series(1, 4000) n`,
  );
  const { rows } = await pipeline.pool.query('SELECT count(*)::int AS n FROM webhook_events');
  const told: { step: EraseStep; done: number | undefined; of: number | undefined }[] = [];
  await erasePerson(deps(), WHOM, { onProgress: (step, done, of) => told.push({ step, done, of }) });
  const steps = [...new Set(told.map(({ step }) => step))];
  assert.deepEqual(steps, ['search', 'wait', 'events', 'tables', 'scan']);
  assert.deepEqual(
    told.filter(({ step }) => step === 'events').map(({ done, of }) => [done, of]),
    [0, 2_000, 4_000].map(done => [done, rows[0].n]),
  );
  const scanned = told.filter(({ step }) => step === 'scan');
  assert.deepEqual(
    scanned.map(({ done }) => done),
    scanned.map((_, index) => index),
  );
  assert.ok(scanned.every(({ of }) => of === scanned.length));
});

test('the audit log says that it was done, and of nobody', async () => {
  await life();
  await erase();
  const { rows } = await pipeline.pool.query(
    "SELECT actor, company_id AS company, subject FROM audit_log WHERE action = 'person.erase'",
  );
  assert.equal(rows.length, 1);
  assert.match(rows[0].subject, /^\d+ rows$/);
});

test('someone of whom nothing is known is an error by phone, and by id a promise for later', async () => {
  await assert.rejects(erase({ companyId: 1, phone: '+79990000000' }), /nothing is known/);
  await erase({ companyId: 1, clientId: 77 });
  await receive(recordBody({ data: { client: { ...CLIENT, id: 77 } } }));
  await pipeline.settle();
  assert.deepEqual(await anywhere(), []);
});

test('readmitted, they are known again', async () => {
  await life();
  await erase();
  await readmitPerson(deps(), { companyId: 1, clientId: 9 });
  pipeline.now += 5_000;
  await receive(recordBody({ id: 60, at: pipeline.now, data: { client: CLIENT } }));
  await pipeline.settle();
  // Another client's visit is told of in the same moment.
  assert.equal(pipeline.sent.find(({ recordId }) => recordId === 60)?.recipient.name, NAME);
  await assert.rejects(readmitPerson(deps(), { companyId: 1, clientId: 9 }), /no such erased client/);
});

test('the same id at another company is somebody else', async () => {
  await pipeline.receive(2, [
    { body: recordBody({ companyId: 2, data: { client: CLIENT } }), receivedAt: pipeline.now },
  ]);
  await pipeline.processor.drain();
  await erase();
  await pipeline.settle();
  const { rows } = await pipeline.pool.query('SELECT company_id AS company, name FROM people');
  assert.deepEqual(rows, [{ company: 2, name: NAME }]);
  assert.equal(pipeline.sent.length, 1);
});
