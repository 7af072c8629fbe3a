/** The public port: what it takes, what it refuses, in which words, and what is on disk by then. */
import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import pg from 'pg';
import { z } from 'zod';
import { inOwnTime } from '../support/own-time.ts';
import {
  ADMIN_TOKEN,
  type Answer,
  type Company,
  command,
  freePorts,
  json,
  OTKLIK_KEY,
  post,
  type Service,
  send,
  startService,
} from '../support/service.ts';
import { until } from '../support/until.ts';
import { assertProblem, type House, keyIsKnown, openHouse, postPatiently } from './harness.ts';
import { booking, client, event, HAIRCUT, phoneOf, record } from './salon.ts';
import { breakableLink, type Link, read, speak } from './wire.ts';

const LIMIT_BYTES = 256 * 1024;
const BODIES_UNDER_WAY = 256;
const VERBS = ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

let house: House;
before(async () => {
  house = await openHouse({ LOG_LEVEL: 'debug' });
});
after(() => house.close());

/** Another process on the same database, that takes events and leaves their processing to the house's own. */
function receiver(databaseUrl: string, env: Readonly<Record<string, string>> = {}): Promise<Service> {
  return startService(databaseUrl, { env: { ROLES: 'receive,web', ...env } });
}

/** Events that a process took itself. */
async function received({ adminUrl }: Service): Promise<number> {
  const { body } = await send(`${adminUrl}/metrics`, { method: 'GET' });
  const counts = body.toString().matchAll(/^otklik_events_received_total\{.*\} (\d+)$/gm);
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
}

type Row = {
  id: string;
  event_id: string;
  event_type: string;
  company_id: number;
  record_id: string | null;
  resource: string;
  resource_id: string;
  status: string;
  source: string;
  state: string;
  payload: unknown;
  raw: Buffer | null;
};

async function row(id: string): Promise<Row | undefined> {
  const { rows } = await house.pool.query<Row>('SELECT * FROM webhook_events WHERE id = $1', [id]);
  return rows[0];
}

async function countOf(companyId: number): Promise<number> {
  const { rows } = await house.pool.query<{ count: string }>(
    'SELECT count(*) FROM webhook_events WHERE company_id = $1',
    [companyId],
  );
  return Number(rows[0]?.count);
}

/** A request whose head the receiver has read, as its `100 Continue` shows; `finish` sends the body. */
async function beginPost(url: string, body: unknown): Promise<{ finish(): Promise<Answer> }> {
  const bytes = Buffer.from(JSON.stringify(body));
  const headers = {
    'content-type': 'application/json',
    'content-length': bytes.length,
    expect: '100-continue',
  };
  const outgoing = request(url, { method: 'POST', headers, agent: false });
  // Listened to from now on: a connection may be cut before its body is sent.
  const incoming = once(outgoing, 'response');
  incoming.catch(() => {});
  outgoing.flushHeaders();
  await once(outgoing, 'continue');
  return {
    async finish() {
      outgoing.end(bytes);
      const [response] = await incoming;
      return { status: response.statusCode, headers: response.headers, body: await buffer(response) };
    },
  };
}

/** What differs between two answers of one kind is the date and the request’s id alone. */
function bytesOf({ status, headers, body }: Answer): string {
  const { date: _, 'x-request-id': _id, ...rest } = headers;
  return JSON.stringify([status, rest, body.toString('latin1')]);
}

/** The quarantined body that an answer of 400 speaks of: the newest of the company. */
async function quarantined(company: Company, bytes: Buffer): Promise<Row> {
  const { rows } = await house.pool.query<Row>(
    `SELECT * FROM webhook_events WHERE company_id = $1 AND raw = $2 AND state = 'quarantined'`,
    [company.companyId, bytes],
  );
  assert.equal(rows.length, 1, `the exact bytes of ${bytes.toString('latin1').slice(0, 60)} are kept once`);
  const [found] = rows;
  assert.ok(found);
  return found;
}

const unreadable: Record<string, string | Buffer> = {
  empty: '',
  blank: ' \r\n\t',
  'cut off': '{"company_id":',
  'cut off in a text': '{"company_id":1,"resource":"rec',
  'a word': 'null',
  'a number': '17',
  'a text': '"record"',
  'an empty list': '[]',
  'a list of numbers': '[1,2]',
  'an empty object': '{}',
  'a trailing comma': '{"company_id":1,}',
  'single quotes': `{'company_id':1}`,
  'an unquoted key': '{company_id:1}',
  'two values': '{}{}',
  'a comment': '{/* */}',
  'a control character in a text': '{"a":"\u0000"}',
  'invalid UTF-8': Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]),
  'half a character': Buffer.from([0x22, 0xd0]),
  'UTF-16': Buffer.from('\ufeff{"company_id":1}', 'utf16le'),
  'binary noise': Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
  'a thousand open brackets': '['.repeat(1000),
  'a hundred thousand open brackets': '['.repeat(100_000),
  'a hundred thousand open objects': '{"a":'.repeat(50_000),
  'a form': 'company_id=1&resource=record',
  'a lone minus': '{"a":-}',
  hexadecimal: '{"a":0x10}',
  'an infinity': '{"a":Infinity}',
};

describe('the receiver', { concurrency: 3 }, () => {
  describe('a good event', { concurrency: 8 }, () => {
    test('is in the table for any other connection by the time it is acknowledged', async t => {
      const company = await house.company();
      const other = new pg.Client(house.databaseUrl);
      await other.connect();
      t.after(() => other.end());
      for (let id = 1; id <= 25; id += 1) {
        const body = record(company.companyId, id, 'create');
        const { id: eventId, duplicate } = await house.accept(company, body);
        const { rows } = await other.query<Row>('SELECT * FROM webhook_events WHERE id = $1', [eventId]);
        const [stored] = rows;
        assert.ok(stored, 'acknowledged before it was stored');
        assert.equal(duplicate, false);
        assert.equal(stored.company_id, company.companyId);
        assert.equal(Number(stored.record_id), id);
        assert.equal(stored.event_type, 'record.created');
        assert.equal(stored.source, 'webhook');
        assert.deepEqual(
          z.object({ data: z.unknown() }).catch({ data: stored.payload }).parse(stored.payload).data,
          body.data,
        );
      }
    });

    test('is one event by either form of the URL', async () => {
      const company = await house.company();
      const body = record(company.companyId, 1, 'create');
      const first = await house.accept(company, body);
      const answer = await postPatiently(
        `${house.service.publicUrl}/webhooks/yclients/events?key=${company.key}`,
        body,
      );
      assert.equal(answer.status, 200);
      assert.deepEqual(json(answer), { id: first.id, duplicate: true });
      assert.equal(await countOf(company.companyId), 1);
    });

    test('may come under any spelling of application/json', async () => {
      const company = await house.company();
      for (const [index, type] of [
        'application/json; charset=utf-8',
        'Application/JSON',
        'application/json;charset="UTF-8"',
      ].entries()) {
        const answer = await postPatiently(company.url, record(company.companyId, index + 1, 'create'), {
          'content-type': type,
        });
        assert.equal(answer.status, 200, `${type}: ${answer.body}`);
      }
    });

    test('may come with others in one array', async () => {
      const company = await house.company();
      const events = [1, 2, 3].map(id => record(company.companyId, id, 'create'));
      const answer = await postPatiently(company.url, events);
      assert.equal(answer.status, 200, answer.body.toString());
      assert.equal(await countOf(company.companyId), 3);
    });

    test('may fill the limit to the last byte, and not a byte more', async () => {
      const company = await house.company();
      const sized = (id: number, bytes: number) => {
        const bare = JSON.stringify(record(company.companyId, id, 'create', { comment: '' }));
        return bare.replace('"comment":""', `"comment":"${'x'.repeat(bytes - Buffer.byteLength(bare))}"`);
      };
      assert.equal((await postPatiently(company.url, sized(1, LIMIT_BYTES))).status, 200);
      assertProblem(await postPatiently(company.url, sized(2, LIMIT_BYTES + 1)), 413);
      assert.equal(await countOf(company.companyId), 1);
    });

    test('in flight at SIGTERM is stored and answered, every one of them, and the service ends in order', async t => {
      const second = await receiver(house.databaseUrl);
      t.after(() => second.stop());
      const company = await house.company();
      const url = `${second.publicUrl}/webhooks/yclients/${company.key}`;
      const flights = await Promise.all(
        Array.from({ length: 40 }, (_, index) =>
          beginPost(url, record(company.companyId, index + 1, 'create')),
        ),
      );
      const stopped = second.stop();
      await until(async () => (await send(`${second.adminUrl}/readyz`, { method: 'GET' })).status === 503, {
        what: 'the service is stopping',
      });
      const answers = await Promise.all(flights.map(({ finish }) => finish()));
      assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
      for (const answer of answers) {
        const { id } = z.object({ id: z.string() }).parse(json(answer));
        assert.ok(await row(id), 'acknowledged and not there');
      }
      assert.equal(await stopped, 0, second.output());
    });
  });

  describe('the key of a URL', { concurrency: 8 }, () => {
    // Whoever asks with unknown keys is soon refused for a while, so these have a service of their own.
    let service: Service;
    before(async () => {
      service = await receiver(house.databaseUrl);
    });
    after(() => service.stop());
    const here = ({ url }: { url: string }) => url.replace(house.service.publicUrl, service.publicUrl);

    test('works from the moment it is shown', async () => {
      for (const companyId of [901, 902, 903]) {
        const company = await house.service.addCompany({
          companyId,
          webhookUrl: house.sink.url,
          route: ['webhook'],
        });
        const answer = await postPatiently(company.url, record(companyId, 1, 'create'));
        assert.equal(answer.status, 200, `company ${companyId}: ${answer.body}`);
      }
    });

    test('is 256 bits, and is kept as a keyed hash', async () => {
      const company = await house.company();
      assert.equal(Buffer.from(company.key, 'base64url').length, 32);
      assert.equal(new URL(here(company)).pathname, `/webhooks/yclients/${company.key}`);
      const { rows } = await house.pool.query<{ key_hash: Buffer }>(
        'SELECT key_hash FROM company_keys WHERE company_id = $1',
        [company.companyId],
      );
      assert.equal(rows.length, 1);
      for (const form of [company.key, Buffer.from(company.key, 'base64url')]) {
        assert.notDeepEqual(rows[0]?.key_hash, createHash('sha256').update(form).digest());
      }
    });

    test('and no other secret lies readable in any table', async () => {
      const company = await house.company({ signatureRequired: true });
      await house.accept(await house.company(), []).catch(() => {});
      const secrets = [company.key, company.inboundSecret, company.outboundSecret].map(text => String(text));
      const { rows: tables } = await house.pool.query<{ name: string }>(
        `SELECT quote_ident(tablename) AS name FROM pg_tables WHERE schemaname = 'public'`,
      );
      assert.ok(tables.length > 8);
      for (const { name } of tables) {
        const { rows } = await house.pool.query<{ text: string }>(`SELECT x::text AS text FROM ${name} AS x`);
        for (const { text } of rows) {
          for (const secret of secrets) {
            const bare = secret.replace('whsec_', '');
            const forms = [
              bare,
              Buffer.from(bare).toString('hex'),
              Buffer.from(bare, 'base64').toString('hex'),
            ];
            for (const form of forms) assert.ok(!text.includes(form), `${name} holds a secret`);
          }
        }
      }
    });

    test('when it is unknown, rotated out, expired or of a removed company meets one constant 404', async () => {
      const unknown = await postPatiently(`${service.publicUrl}/webhooks/yclients/${'A'.repeat(43)}`, '{}');
      assertProblem(unknown, 404);

      const rotated = await house.company();
      for (let time = 0; time < 2; time += 1) {
        const answer = await house.service.api('POST', `/companies/${rotated.companyId}/rotate-key`);
        assert.equal(answer.status, 200, answer.body.toString());
      }
      const expired = await house.company();
      await house.pool.query(
        `UPDATE company_keys SET expires_at = now() - interval '1 s' WHERE company_id = $1`,
        [expired.companyId],
      );
      const removed = await house.company();
      assert.equal((await house.service.api('DELETE', `/companies/${removed.companyId}`)).status, 200);
      for (const [what, company] of Object.entries({ rotated, expired, removed })) {
        const answer = await until(
          async () => {
            const late = await postPatiently(here(company), record(company.companyId, 1, 'create'));
            return late.status === 200 ? undefined : late;
          },
          { what: `the key is dead (${what})`, timeoutMs: 15_000 },
        );
        assert.equal(bytesOf(answer), bytesOf(unknown), what);
      }

      const { key } = await house.company();
      const base = `${service.publicUrl}/webhooks/yclients`;
      const wrong: Record<string, string> = {
        'a short key': `${base}/x`,
        'the word events without a key': `${base}/events`,
        'an empty query key': `${base}/events?key=`,
        'a wrong query key': `${base}/events?key=${'B'.repeat(43)}`,
        'a path beyond the key': `${base}/${key}/more`,
        'half a key': `${base}/${key.slice(0, 21)}`,
        'another spelling of the key': `${base}/${key.toLowerCase()}`,
        'no key': base,
        'the root': `${service.publicUrl}/`,
        'the API on the public port': `${service.publicUrl}/api/v1/events`,
        'a key with a NUL': `${base}/${key}%00`,
      };
      for (const [what, url] of Object.entries(wrong)) {
        assert.equal(bytesOf(await postPatiently(url, '{}')), bytesOf(unknown), what);
      }
    });

    test('when it is endless or no text at all meets the same constant 404, and is not repeated to the sender', async () => {
      const { key } = await house.company();
      const base = `${service.publicUrl}/webhooks/yclients`;
      const unknown = await postPatiently(`${base}/${'C'.repeat(43)}`, '{}');
      for (const tail of [
        `${key}${'a'.repeat(4000)}`,
        `${'a'.repeat(600)}`,
        '%ff%fe',
        '%zz',
        `events?key=${'a'.repeat(4000)}`,
      ]) {
        const answer = await postPatiently(`${base}/${tail}`, '{}');
        assert.ok(
          !answer.body.includes(tail.slice(0, 40)),
          `the URL is in the answer: ${answer.body.toString().slice(0, 120)}`,
        );
        assert.equal(bytesOf(answer), bytesOf(unknown), tail.slice(0, 60));
      }
    });

    test('when it is unknown meets the 404 whatever the body and its type', async () => {
      const url = `${service.publicUrl}/webhooks/yclients/${'D'.repeat(43)}`;
      const unknown = await postPatiently(url, '{}');
      assert.equal(bytesOf(await postPatiently(url, 'not json')), bytesOf(unknown), 'not JSON');
      assert.equal(
        bytesOf(await postPatiently(url, '{}', { 'content-type': 'text/plain' })),
        bytesOf(unknown),
        'text/plain',
      );
      assert.equal(
        bytesOf(await postPatiently(url, '{}', { 'x-otklik-signature': 't=1,v1=00' })),
        bytesOf(unknown),
        'signed',
      );
      // What is refused before the lookup tells nothing of the key, provided that it is refused alike.
      const known = here(await house.company());
      const large = 'x'.repeat(LIMIT_BYTES + 1);
      for (const [body, headers] of [
        ['{}', { 'content-encoding': 'gzip' }],
        [large, {}],
      ] as const) {
        const alike = [bytesOf(unknown), bytesOf(await postPatiently(known, body, headers))];
        assert.ok(alike.includes(bytesOf(await postPatiently(url, body, headers))), JSON.stringify(headers));
      }
    });

    test('may be rotated while the old one still works, and the third retires the first', async () => {
      const company = await house.company();
      const urlAfterRotation = async () => {
        const answer = await house.service.api('POST', `/companies/${company.companyId}/rotate-key`);
        const url = here(z.object({ url: z.string() }).parse(json(answer)));
        await keyIsKnown(url);
        return url;
      };
      const urls = [here(company), await urlAfterRotation()];
      let id = 0;
      const statusOf = async (url: string | undefined) => {
        id += 1;
        return (await postPatiently(String(url), record(company.companyId, id, 'create'))).status;
      };
      assert.equal(await statusOf(urls[1]), 200, 'the new key works');
      assert.equal(await statusOf(urls[0]), 200, 'the old key works beside the new one');
      urls.push(await urlAfterRotation());
      assert.equal(await statusOf(urls[2]), 200, 'the newest key works');
      assert.equal(await statusOf(urls[1]), 200, 'the second key works beside the third');
      await until(async () => (await statusOf(urls[0])) === 404, { what: 'the first key is dead' });
    });

    test('is not looked up for other verbs: the refusal is one for known and unknown keys', async () => {
      const company = await house.company();
      const known = here(company);
      const unknown = known.replace(company.key, 'E'.repeat(43));
      for (const method of VERBS) {
        const refusal = await send(known, { method });
        assert.ok([404, 405].includes(refusal.status), `${method}: ${refusal.status}`);
        if (method !== 'HEAD') assertProblem(refusal, refusal.status);
        assert.equal(bytesOf(refusal), bytesOf(await send(unknown, { method })), method);
      }
      assert.equal(await countOf(company.companyId), 0);
    });
  });

  describe('a body that is not accepted', { concurrency: 8 }, () => {
    test('is refused with 413 when it is too large, whether its length is said or found out', async () => {
      const company = await house.company();
      const path = new URL(company.url).pathname;
      const head = `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n`;
      const piece = `${(65_536).toString(16)}\r\n${'x'.repeat(65_536)}\r\n`;
      const { public: port } = house.service.ports;
      const said = read(
        await speak(port, [`${head}Content-Length: ${LIMIT_BYTES + 1}\r\n\r\n`, 'x'.repeat(LIMIT_BYTES + 1)]),
      );
      const claimed = read(await speak(port, [`${head}Content-Length: 99999999999\r\n\r\n`, '{']));
      const foundOut = read(
        await speak(port, [`${head}Transfer-Encoding: chunked\r\n\r\n`, ...Array(5).fill(piece)]),
      );
      for (const answer of [said, claimed, foundOut]) {
        assert.equal(answer.status, 413);
        assert.equal(answer.type, 'application/problem+json');
      }
      assert.equal(await countOf(company.companyId), 0);
    });

    test('is refused with 415 when it is not JSON by name, or is compressed', async () => {
      const company = await house.company();
      const body = JSON.stringify(record(company.companyId, 1, 'create'));
      for (const type of [
        'text/plain',
        'text/json',
        'application/jsonp',
        'application/json-patch+json',
        'application/x-www-form-urlencoded',
        'multipart/form-data; boundary=x',
        'xapplication/json',
        'text/plain; application/json',
      ]) {
        assertProblem(await postPatiently(company.url, body, { 'content-type': type }), 415);
      }
      const path = new URL(company.url).pathname;
      const none = await speak(house.service.ports.public, [
        `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}`,
      ]);
      assert.equal(read(none).status, 415);
      for (const encoding of ['gzip', 'deflate', 'br', 'gzip, gzip']) {
        assertProblem(
          await postPatiently(company.url, gzipSync(body), { 'content-encoding': encoding }),
          415,
        );
      }
      assert.equal(await countOf(company.companyId), 0);
    });

    test('because nobody can read it is kept byte for byte, shown, and answered with a clear 400', async () => {
      const company = await house.company();
      for (const [what, body] of Object.entries(unreadable)) {
        const answer = await postPatiently(company.url, body);
        assert.equal(answer.status, 400, `${what}: ${answer.body}`);
        assertProblem(answer, 400);
        const kept = await quarantined(company, Buffer.from(body));
        assert.equal(kept.state, 'quarantined');
      }
      const listed = await house.service.api(
        'GET',
        `/events?company=${company.companyId}&state=quarantined&limit=200`,
      );
      const { items } = z.object({ items: z.array(z.object({ id: z.string() })) }).parse(json(listed));
      assert.equal(items.length, Object.keys(unreadable).length);
      const { rows } = await house.pool.query('SELECT FROM bookings WHERE company_id = $1', [
        company.companyId,
      ]);
      assert.equal(rows.length, 0);
    });

    test('because an envelope makes no sense is kept byte for byte and answered with 400', async () => {
      const company = await house.company();
      const good = record(company.companyId, 1, 'create');
      const senseless: Record<string, unknown> = {
        'no company': { ...good, company_id: undefined },
        'a company of text': { ...good, company_id: 'мой салон' },
        'no resource': { ...good, resource: undefined },
        'a resource of numbers': { ...good, resource: 17 },
        'an empty resource': { ...good, resource: '' },

        'a fractional id': { ...good, resource_id: 1.5 },
        'an id of text': { ...good, resource_id: 'abc' },
        'an id of an object': { ...good, resource_id: {} },
        'no status': { ...good, status: undefined },
        'a status of lists': { ...good, status: [] },
      };
      for (const [what, body] of Object.entries(senseless)) {
        const answer = await postPatiently(company.url, body);
        assert.equal(answer.status, 400, `${what}: ${answer.body}`);
        await quarantined(company, Buffer.from(JSON.stringify(body)));
      }
    });

    test('because it is of another company is kept by the key’s company and touches nobody', async () => {
      const company = await house.company();
      const foreign = await house.company();
      for (const body of [
        record(foreign.companyId, 1, 'create'),
        { ...record(company.companyId, 2, 'create'), company_id: String(foreign.companyId) },
        [record(company.companyId, 3, 'create'), record(foreign.companyId, 4, 'create')],
      ]) {
        assertProblem(await postPatiently(company.url, body), 400);
        await quarantined(company, Buffer.from(JSON.stringify(body)));
      }
      assert.equal(await countOf(foreign.companyId), 0);
      await house.settled(company);
      const { rows } = await house.pool.query('SELECT FROM bookings WHERE company_id = $1', [
        foreign.companyId,
      ]);
      assert.equal(rows.length, 0);
    });

    test('can say one company outside and another inside without reaching the other’s bookings', async () => {
      const company = await house.company();
      const foreign = await house.company();
      await postPatiently(
        company.url,
        event(company.companyId, 'record', 1, 'create', booking(foreign.companyId, 1)),
      );
      const twice = JSON.stringify(record(company.companyId, 2, 'create')).replace(
        '{',
        `{"company_id":${foreign.companyId},`,
      );
      await postPatiently(company.url, twice);
      await postPatiently(company.url, `${twice.slice(0, -1)},"company_id":${foreign.companyId}}`);
      await house.settled(company);
      assert.equal(await countOf(foreign.companyId), 0);
      const { rows } = await house.pool.query('SELECT FROM bookings WHERE company_id = $1', [
        foreign.companyId,
      ]);
      assert.equal(rows.length, 0);
      assert.equal(house.heard(foreign).length, 0);
    });
  });

  describe('an unusual body that is an event', { concurrency: 8 }, () => {
    const raw = (company: Company, id: number, extra: string) =>
      JSON.stringify(record(company.companyId, id, 'create')).replace('"comment":""', extra);
    const unusual: Record<string, string> = {
      'NUL in a text': '"comment":"a\\u0000b"',
      'NUL in a key': '"a\\u0000b":1',
      'a lone high surrogate': '"comment":"a\\ud800b"',
      'a lone low surrogate': '"comment":"\\udc00"',
      'surrogates in the wrong order': '"comment":"\\udc00\\ud800"',
      'a lone surrogate in a key': '"\\ud83d":1',
      'an emoji by escapes': '"comment":"\\ud83d\\ude00"',
      'every control character': `"comment":"${Array.from({ length: 32 }, (_, code) => `\\u${code.toString(16).padStart(4, '0')}`).join('')}"`,
      noncharacters: '"comment":"\\uffff\\ufffe\u{1fffe}"',
      'a number beyond double': '"x":1e400',
      'minus zero': '"x":-0',
      'a very long integer': `"x":${'9'.repeat(400)}`,
      __proto__: '"__proto__":{"deleted":true,"polluted":1},"constructor":{"prototype":{"polluted":1}}',
      'a key twice': '"comment":"one","comment":"two"',
      'an empty key': '"":0',
      'PHP’s empty objects': '"custom_fields":[],"comer":[],"activity":[],"record_labels":[]',
      'depth 40': `"x":${'['.repeat(40)}${']'.repeat(40)}`,
      'a thousand keys': Array.from({ length: 1000 }, (_, index) => `"k${index}":${index}`).join(','),
      'a long text': `"comment":"${'ы'.repeat(50_000)}"`,
      'space everywhere': ' \r\n\t "comment" \n : \r "" ',
    };

    test('is accepted, stored and processed', async () => {
      const company = await house.company();
      const names = Object.keys(unusual);
      for (const [index, what] of names.entries()) {
        const answer = await postPatiently(company.url, raw(company, index + 1, String(unusual[what])));
        assert.equal(answer.status, 200, `${what}: ${answer.body}`);
      }
      await house.settled(company);
      const { rows } = await house.pool.query<{ record_id: string; state: string; error: string | null }>(
        'SELECT record_id, state, error FROM webhook_events WHERE company_id = $1 ORDER BY seq',
        [company.companyId],
      );
      assert.deepEqual(
        rows.map(({ record_id, state, error }) => [names[Number(record_id) - 1], state, error]),
        names.map(what => [what, 'done', null]),
      );
      const { rows: bookings } = await house.pool.query<{ deleted: boolean }>(
        'SELECT deleted FROM bookings WHERE company_id = $1',
        [company.companyId],
      );
      assert.equal(bookings.length, names.length);
      assert.ok(bookings.every(({ deleted }) => !deleted));
    });

    test('is never lost, whatever its depth or its bare words', async () => {
      const company = await house.company();
      const odd: Record<string, string> = {
        'a bare NaN': '"x":NaN',
        'a number beyond any column': '"x":1e200000',
        'a very long fraction': `"x":0.${'1'.repeat(20_000)}`,
        'a number too small for any column': '"x":1e-200000',
        'depth 1,000': `"x":${'['.repeat(1000)}${']'.repeat(1000)}`,
        'depth 10,000': `"x":${'['.repeat(10_000)}${']'.repeat(10_000)}`,
        'objects 20,000 deep': `"x":${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`,
      };
      for (const [index, [what, extra]] of Object.entries(odd).entries()) {
        const body = raw(company, index + 1, extra);
        const answer = await postPatiently(company.url, body);
        assert.ok([200, 400].includes(answer.status), `${what}: ${answer.status} ${answer.body}`);
        if (answer.status === 400) await quarantined(company, Buffer.from(body));
      }
      await house.settled(company);
      // Whatever was taken can be looked at: its text makes a JSONB.
      const { rows } = await house.pool.query('SELECT payload FROM webhook_events WHERE company_id = $1', [
        company.companyId,
      ]);
      assert.equal(rows.length, Object.keys(odd).length);
    });

    test('may carry an envelope of PHP: numbers as texts, a list for an object, fields nobody knows', async () => {
      const company = await house.company();
      const odd = [
        {
          ...record(company.companyId, 1, 'create'),
          company_id: String(company.companyId),
          resource_id: '1',
        },
        event(company.companyId, 'record', 2, 'delete', []),
        { ...record(company.companyId, 3, 'create'), sent_by: 'x', attempt: { number: 1 } },
        { ...record(company.companyId, 4, 'create'), data: null },
        { ...record(company.companyId, 5, 'create'), data: undefined },
        { ...record(company.companyId, 6, 'create'), data: 'text' },
      ];
      for (const body of odd) {
        const answer = await postPatiently(company.url, body);
        assert.equal(answer.status, 200, `${JSON.stringify(body).slice(0, 100)}: ${answer.body}`);
      }
      await house.settled(company);
      const { rows } = await house.pool.query(
        `SELECT FROM webhook_events WHERE company_id = $1 AND state <> 'done'`,
        [company.companyId],
      );
      assert.equal(rows.length, 0);
    });

    test('may name ids and words beyond any column without an answer of 500 or an error loop', async () => {
      const company = await house.company();
      const odd = [
        event(company.companyId, 'r'.repeat(41), 1, 'create', {}),
        event(company.companyId, 'r'.repeat(5000), 1, 'create', {}),
        event(company.companyId, 'record', 1, 's'.repeat(21), {}),
        event(company.companyId, 'record', 1, 's'.repeat(5000), {}),
        event(company.companyId, 'r'.repeat(40), 1, 's'.repeat(20), {}),
        event(company.companyId, 're\u0000cord', 1, 'create', {}),
        event(company.companyId, 're\ud800cord', 1, 'cre\u0000ate', {}),
        event(company.companyId, '<script>alert(1)</script>', 1, 'create', {}),
        event(company.companyId, 'record', -1, 'create', {}),
        event(company.companyId, 'record', 0, 'create', {}),
        { ...event(company.companyId, 'record', 0, 'create', {}), resource_id: undefined },
        event(company.companyId, 'record', 9_007_199_254_740_992, 'create', {}),
        event(company.companyId, '__proto__', 1, 'constructor', {}),
      ].map(body => JSON.stringify(body));
      odd.push(
        `{"company_id":${company.companyId},"resource":"record","resource_id":9223372036854775808,"status":"create","data":{}}`,
        `{"company_id":${company.companyId},"resource":"record","resource_id":"99999999999999999999","status":"create","data":{}}`,
        `{"company_id":${company.companyId},"resource":"record","resource_id":1e400,"status":"create","data":{}}`,
        `{"company_id":99999999999,"resource":"record","resource_id":1,"status":"create","data":{}}`,
      );
      for (const body of odd) {
        const answer = await postPatiently(company.url, body);
        assert.ok(
          [200, 400].includes(answer.status),
          `${body.slice(0, 120)}: ${answer.status} ${answer.body}`,
        );
        if (answer.status === 400) await quarantined(company, Buffer.from(body));
      }
      await house.settled(company);
    });

    test('harms none of those that come at the same moment', async () => {
      const company = await house.company();
      const other = await house.company();
      const nasty = Object.values(unusual).map((extra, index) =>
        postPatiently(company.url, raw(company, index + 1, extra)),
      );
      const broken = Object.values(unreadable).map(body => postPatiently(company.url, body));
      const good = Array.from({ length: 60 }, (_, index) =>
        house.accept(other, record(other.companyId, index + 1, 'create')),
      );
      await Promise.all(good);
      for (const answer of await Promise.all(nasty)) assert.equal(answer.status, 200);
      for (const answer of await Promise.all(broken)) assert.equal(answer.status, 400);
      const heard = await house.heardInTheEnd(other);
      assert.equal(heard.length, 60);
    });
  });

  describe('a signature', { concurrency: 8 }, () => {
    const now = () => Math.floor(Date.now() / 1000);
    const signed = (secret: string, body: string | Buffer, time: string | number = now()) =>
      `t=${time},v1=${createHmac('sha256', secret).update(`${time}.`).update(body).digest('hex')}`;
    const secretOf = ({ inboundSecret }: Company) => String(inboundSecret);
    let nextId = 0;
    const bodyFor = (company: Company) => {
      nextId += 1;
      return JSON.stringify(record(company.companyId, nextId, 'create'));
    };
    const postSigned = (company: Company, body: string | Buffer, signature: string) =>
      postPatiently(company.url, body, { 'x-otklik-signature': signature });

    test('that holds is accepted, up to five minutes early or late', async () => {
      const company = await house.company({ signatureRequired: true });
      for (const skew of [0, -290, 290]) {
        const body = bodyFor(company);
        const answer = await postSigned(company, body, signed(secretOf(company), body, now() + skew));
        assert.equal(answer.status, 200, `${skew} s: ${answer.body}`);
      }
    });

    test('that is missing, wrong, stale, early or loosely written is refused where one is required, always alike', async () => {
      const company = await house.company({ signatureRequired: true });
      const other = await house.company({ signatureRequired: true });
      const secret = secretOf(company);
      const body = bodyFor(company);
      const time = now();
      const good = signed(secret, body, time);
      const mac = good.slice(good.indexOf('v1=') + 3);
      const refused: Record<string, string> = {
        'of another company': signed(secretOf(other), body),
        'of another body': signed(secret, `${body} `),
        'six minutes old': signed(secret, body, time - 360),
        'six minutes early': signed(secret, body, time + 360),
        'a time with junk behind it': signed(secret, body, `${time}junk`),
        'a time with junk and the MAC of the bare time': `t=${time}junk,v1=${mac}`,
        'a time with a fraction': signed(secret, body, `${time}.5`),
        'a time in exponent form': signed(secret, body, `${time / 10}e1`),
        'a time with a plus': signed(secret, body, `+${time}`),
        'a time with a space': signed(secret, body, ` ${time}`),
        'a time in milliseconds': signed(secret, body, time * 1000),
        'a negative time': signed(secret, body, -time),
        'a hexadecimal time': signed(secret, body, `0x${time.toString(16)}`),
        'no time': `v1=${mac}`,
        'no MAC': `t=${time}`,
        'an empty MAC': `t=${time},v1=`,
        'half the MAC': `t=${time},v1=${mac.slice(0, 32)}`,
        'a MAC too long': `t=${time},v1=${mac}00`,
        'a MAC of the body alone': `t=${time},v1=${createHmac('sha256', secret).update(body).digest('hex')}`,
        'a scheme of the sender’s choice': `t=${time},v0=${mac}`,
        'two times': `t=${time - 360},t=${time},v1=${mac}`,
        'the time changed': `t=${time - 1},v1=${mac}`,
        'an empty header': '',
        noise: 'ы'.repeat(10).replace(/./g, 'x'),
      };
      const missing = await postPatiently(company.url, body);
      assertProblem(missing, missing.status);
      assert.ok([401, 403].includes(missing.status), `missing: ${missing.status}`);
      for (const [what, signature] of Object.entries(refused)) {
        assert.equal(bytesOf(await postSigned(company, body, signature)), bytesOf(missing), what);
      }
      assert.equal(await countOf(company.companyId), 0, 'nothing unverified is stored');
      const metrics = await send(`${house.service.adminUrl}/metrics`, { method: 'GET' });
      for (const cause of ['missing', 'malformed', 'stale', 'mismatch']) {
        const counted = new RegExp(
          `^otklik_requests_rejected_total\\{cause="signature_${cause}"\\} [1-9]`,
          'm',
        );
        assert.match(metrics.body.toString(), counted, 'told apart inside');
      }
      assert.equal((await postSigned(company, body, good)).status, 200, 'and the good one is accepted');
    });

    test('is over the bytes as they came: a re-spelled body is another body', async () => {
      const company = await house.company({ signatureRequired: true });
      const body = bodyFor(company);
      const respelled = JSON.stringify(JSON.parse(body), null, 1);
      const refusal = await postSigned(company, respelled, signed(secretOf(company), body));
      assert.ok([401, 403].includes(refusal.status));
      assert.equal((await postSigned(company, respelled, signed(secretOf(company), respelled))).status, 200);
    });

    test('over bytes that are no text is verified as bytes, and only then found unreadable', async () => {
      const company = await house.company({ signatureRequired: true });
      const bytes = Buffer.from([0x7b, 0xff, 0xfe, 0x00, 0x7d]);
      const altered = Buffer.from([0x7b, 0xfe, 0xff, 0x00, 0x7d]);
      const refusal = await postSigned(company, altered, signed(secretOf(company), bytes));
      assert.ok([401, 403].includes(refusal.status), 'two sequences that decode alike are different bodies');
      assertProblem(await postSigned(company, bytes, signed(secretOf(company), bytes)), 400);
      await quarantined(company, bytes);
    });

    test('by either of two live secrets is accepted, and by a third-oldest is not', async () => {
      const company = await house.company({ signatureRequired: true });
      const rotate = async () => {
        const ran = await command(house.databaseUrl, [
          'company',
          'rotate-secret',
          String(company.companyId),
          '--purpose',
          'inbound',
          '--json',
        ]);
        assert.equal(ran.code, 0, ran.stderr);
        const found = /whsec_[A-Za-z0-9+/=_-]+/.exec(ran.stdout);
        assert.ok(found, ran.stdout.replace(/[A-Za-z0-9+/=_-]{30,}/g, '…'));
        return found[0];
      };
      const accepts = async (secret: string) => {
        const body = bodyFor(company);
        return (await postSigned(company, body, signed(secret, body))).status === 200;
      };
      const first = secretOf(company);
      const second = await rotate();
      await until(() => accepts(second), { what: 'the new secret holds' });
      assert.ok(await accepts(first), 'the old secret holds beside the new one');
      const third = await rotate();
      await until(() => accepts(third), { what: 'the newest secret holds' });
      assert.ok(await accepts(second), 'the second secret holds beside the third');
      await until(async () => !(await accepts(first)), { what: 'the first secret is dead' });
    });

    test('may carry several MACs, as a sender does who rotates', async () => {
      const company = await house.company({ signatureRequired: true });
      const body = bodyFor(company);
      const good = signed(secretOf(company), body);
      const answer = await postSigned(company, body, good.replace(',v1=', `,v1=${'0'.repeat(64)},v1=`));
      assert.equal(answer.status, 200, answer.body.toString());
    });

    test('is optional where the company is not set so, but a false one is refused all the same', async () => {
      const company = await house.company();
      const ran = await command(house.databaseUrl, [
        'company',
        'rotate-secret',
        String(company.companyId),
        '--purpose',
        'inbound',
        '--json',
      ]);
      assert.equal(ran.code, 0, ran.stderr);
      const secret = String(/whsec_[A-Za-z0-9+/=_-]+/.exec(ran.stdout)?.[0]);
      await until(
        async () => {
          const body = bodyFor(company);
          return (await postSigned(company, body, signed(secret, body))).status === 200;
        },
        { what: 'the secret holds' },
      );
      const id = { 'x-otklik-id': 'evt_1' };
      for (const body of [bodyFor(company), bodyFor(company)]) {
        const answer = await postPatiently(company.url, body, id);
        assert.equal(answer.status, 200, 'unsigned');
        assert.match(answer.body.toString(), /"duplicate":false/, 'an id that nobody signed is no key');
      }
      await until(
        async () => {
          const answer = await postSigned(company, bodyFor(company), signed('whsec_AAAA', 'x'));
          return [401, 403].includes(answer.status);
        },
        { what: 'a false signature is refused', timeoutMs: 15_000 },
      );
    });
  });

  describe('a connection', { concurrency: 8 }, () => {
    const headOf = (company: Company) =>
      `POST ${new URL(company.url).pathname} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n`;

    test('that never finishes its headers or its body is hung up on, however steadily it drips', async () => {
      const company = await house.company();
      const { public: port } = house.service.ports;
      const slow = await Promise.all([
        speak(port, [headOf(company)], { untilClosed: true }),
        speak(port, [headOf(company)], { untilClosed: true, drip: 'X-A: b\r\n', dripMs: 300 }),
        speak(port, [`${headOf(company)}Content-Length: 100\r\n\r\n{`], { untilClosed: true }),
        speak(port, [`${headOf(company)}Content-Length: 1000\r\n\r\n`], {
          untilClosed: true,
          drip: ' ',
          dripMs: 300,
        }),
        speak(port, [`${headOf(company)}Transfer-Encoding: chunked\r\n\r\n`], {
          untilClosed: true,
          drip: '1\r\n \r\n',
          dripMs: 300,
        }),
        speak(port, [], { untilClosed: true }),
        house.accept(company, record(company.companyId, 1, 'create')).then(() => undefined),
      ]);
      for (const [index, spoken] of slow.entries()) {
        if (!spoken) continue;
        assert.ok(
          spoken.closed && spoken.ms < 35_000,
          `case ${index} still hangs after ${Math.round(spoken.ms)} ms`,
        );
      }
      assert.equal(await countOf(company.companyId), 1);
    });

    test('is one of 256 of its company that have not brought a body whole; beyond it 429, and others pass', async () => {
      const [company, other] = [await house.company(), await house.company()];
      const { public: port } = house.service.ports;
      const begun = `${headOf(company)}Expect: 100-continue\r\nContent-Length: 100\r\n\r\n{`;
      const slow = Array.from({ length: BODIES_UNDER_WAY }, () => connect(port, '127.0.0.1'));
      const refused: string[] = [];
      for (const socket of slow) {
        socket
          .on('error', () => {})
          .on('data', (answer: Buffer) => {
            if (!answer.toString().startsWith('HTTP/1.1 100')) refused.push(answer.toString());
          });
        socket.write(begun);
      }
      await Promise.all(slow.map(socket => once(socket, 'data')));
      const beyond = await speak(port, [begun], { untilClosed: true });
      assert.match(beyond.text, /HTTP\/1\.1 429 [\s\S]*retry-after: 1\r\n/);
      // Whoever waits for the rest of a body waits as long as for these, which began before it.
      assert.ok(beyond.closed);
      assert.deepEqual(refused, [], 'the rest is not waited for');
      assert.equal((await postPatiently(other.url, record(other.companyId, 1, 'create'))).status, 200);
      for (const socket of slow) socket.destroy();
      await until(
        async () => (await post(company.url, record(company.companyId, 1, 'create'))).status === 200,
        {
          what: 'there is room again',
        },
      );
    });

    test('gets a problem in JSON for a request that is too slow, too large in its head, or no HTTP', async () => {
      const company = await house.company();
      const { public: port } = house.service.ports;
      const spoken = await Promise.all([
        speak(port, [headOf(company)], { untilClosed: true }),
        speak(port, [`${headOf(company)}X-A: ${'a'.repeat(9_000)}\r\nContent-Length: 2\r\n\r\n{}`]),
        speak(port, [`${headOf(company)}${'X-A: b\r\n'.repeat(3000)}Content-Length: 2\r\n\r\n{}`]),
        speak(port, [`${headOf(company)}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`]),
        speak(port, ['this is not HTTP\r\n\r\n']),
      ]);
      const answers = spoken.map(read);
      assert.deepEqual(
        answers.map(({ status }) => status),
        [408, 431, 431, 400, 400],
      );
      assert.deepEqual(
        answers.map(({ type }) => type),
        Array(5).fill('application/problem+json'),
      );
    });

    test('may carry the headers of any ordinary proxy, and is kept alive within bounds', async () => {
      const company = await house.company();
      const headers = Object.fromEntries(
        Array.from({ length: 30 }, (_, index) => [`x-proxy-${index}`, 'v'.repeat(60)]),
      );
      const answer = await postPatiently(company.url, record(company.companyId, 1, 'create'), headers);
      assert.equal(answer.status, 200, answer.body.toString());
      const idle = /timeout=(\d+)/.exec(String(answer.headers['keep-alive']))?.[1];
      assert.ok(Number(idle) > 0 && Number(idle) <= 120, `keep-alive: ${answer.headers['keep-alive']}`);
    });

    test('is not trusted to say where it comes from', async t => {
      const second = await receiver(house.databaseUrl, { RATE_PER_ADDRESS: '1' });
      t.after(() => second.stop());
      const company = await house.company();
      const url = company.url.replace(house.service.publicUrl, second.publicUrl);
      const answers = await Promise.all(
        Array.from({ length: 40 }, (_, id) =>
          postPatiently(url, record(company.companyId, id + 1, 'create'), {
            'x-forwarded-for': `203.0.113.${id + 1}`,
          }),
        ),
      );
      const refused = answers.find(({ status }) => status !== 200);
      assert.ok(refused, 'forty from one address pass where ten are allowed');
      assertProblem(refused, 429);
    });
  });

  describe('one port', { concurrency: 8 }, () => {
    test('is shared by receivers that are told so, and a stop of one of them leaves the other', async t => {
      const shared = { PUBLIC_PORT_SHARED: 'true' };
      const first = await receiver(house.databaseUrl, shared);
      const { admin } = await freePorts();
      const ports = { public: first.ports.public, admin };
      const second = await startService(house.databaseUrl, { env: { ROLES: 'receive', ...shared }, ports });
      t.after(() => Promise.all([first.stop(), second.stop()]));
      const company = await house.company();
      const url = company.url.replace(house.service.publicUrl, first.publicUrl);
      const sendAll = async (from: number, count: number) => {
        const ids = Array.from({ length: count }, (_, index) => from + index);
        const answers = ids.map(id =>
          postPatiently(url, record(company.companyId, id, 'create'), { connection: 'close' }),
        );
        for (const { status } of await Promise.all(answers)) assert.equal(status, 200);
      };
      await sendAll(1, 60);
      for (const service of [first, second]) assert.ok((await received(service)) > 0, service.adminUrl);
      await first.stop();
      await sendAll(61, 20);
      assert.equal(await countOf(company.companyId), 80);
    });

    test('is not shared unasked: a second process says that the port is taken', async () => {
      const { admin } = await freePorts();
      const ports = { public: house.service.ports.public, admin };
      await assert.rejects(
        startService(house.databaseUrl, { env: { ROLES: 'receive', PUBLIC_PORT_SHARED: 'true' }, ports }),
        /is taken: is `serve` running already/,
      );
    });
  });

  describe('too many', { concurrency: 8 }, () => {
    let second: Service;
    before(async () => {
      second = await receiver(house.databaseUrl, { RATE_PER_COMPANY: '1' });
    });
    after(() => second.stop());

    test('webhooks of one company get 429 with Retry-After, others pass, and so does it when that time is over', async () => {
      const [company, other] = [await house.company(), await house.company()];
      const urlOf = ({ url }: Company) => url.replace(house.service.publicUrl, second.publicUrl);
      const beganAt = performance.now();
      const answers = await Promise.all(
        Array.from({ length: 40 }, (_, id) =>
          postPatiently(urlOf(company), record(company.companyId, id + 1, 'create')),
        ),
      );
      const tookSeconds = (performance.now() - beganAt) / 1000;
      const passed = answers.filter(({ status }) => status === 200).length;
      const refused = answers.find(({ status }) => status !== 200);
      assert.ok(refused, 'forty at once pass where ten are allowed');
      assertProblem(refused, 429);
      assert.ok(passed >= 5 && passed <= 11 + tookSeconds, `${passed} passed where 1/s over 10 s is allowed`);
      const seconds = Number(refused.headers['retry-after']);
      assert.ok(Number.isInteger(seconds) && seconds >= 1 && seconds <= 60, `retry-after: ${seconds}`);
      assert.equal(await countOf(company.companyId), passed, 'what is refused is not stored');
      assert.equal((await postPatiently(urlOf(other), record(other.companyId, 1, 'create'))).status, 200);
      const refusedAt = performance.now();
      await until(() => performance.now() - refusedAt > seconds * 1000, {
        what: 'Retry-After is over',
        timeoutMs: 61_000,
      });
      assert.equal(
        (await postPatiently(urlOf(company), record(company.companyId, 99, 'create'))).status,
        200,
      );
    });

    test('unknown keys from one address get 429, which no good key from there does', async () => {
      const company = await house.company();
      const url = company.url.replace(house.service.publicUrl, second.publicUrl);
      const refused = await until(
        async () => {
          const answer = await postPatiently(url.replace(company.key, 'F'.repeat(43)), '{}');
          return answer.status === 404 ? undefined : answer;
        },
        { what: 'guessing is refused', timeoutMs: 120_000 },
      );
      assertProblem(refused, 429);
      assert.ok(Number(refused.headers['retry-after']) >= 1);
      const inUse = await postPatiently(url, record(company.companyId, 1, 'create'));
      assert.equal(inUse.status, 200, 'a key in use');
      const fresh = await second.addCompany({
        companyId: 911,
        webhookUrl: house.sink.url,
        route: ['webhook'],
      });
      assert.equal(
        (await postPatiently(fresh.url, record(911, 1, 'create'))).status,
        200,
        'a key that was made just now',
      );
    });
  });

  // One after the other: the service that has recovered from the first is the one of the second.
  describe('while the database is away', { concurrency: 1 }, () => {
    let link: Link;
    let second: Service;
    before(async () => {
      link = await breakableLink(house.databaseUrl);
      second = await receiver(link.url, { LOG_LEVEL: 'debug' });
    });
    after(async () => {
      await second.kill9();
      await link.close();
    });

    test('an event gets 503 as a problem, soon, and the service recovers by itself', async () => {
      const company = await house.company();
      const url = company.url.replace(house.service.publicUrl, second.publicUrl);
      assert.equal((await postPatiently(url, record(company.companyId, 1, 'create'))).status, 200);

      link.cut();
      const { result: refused, ownMs } = await inOwnTime(() =>
        post(url, record(company.companyId, 2, 'create')),
      );
      assertProblem(refused, 503);
      assert.ok(ownMs < 10_000, 'the platform has given up by then');
      assert.equal((await send(`${second.adminUrl}/livez`, { method: 'GET' })).status, 200);
      await until(async () => (await send(`${second.adminUrl}/readyz`, { method: 'GET' })).status === 503, {
        what: 'the service says that it is not ready',
      });
      assertProblem(await second.api('GET', '/events'), 503);

      link.mend();
      await until(async () => (await post(url, record(company.companyId, 2, 'create'))).status === 200, {
        what: 'events are taken again',
        timeoutMs: 30_000,
      });
      await until(async () => (await send(`${second.adminUrl}/readyz`, { method: 'GET' })).status === 200, {
        what: 'the service is ready again',
        timeoutMs: 30_000,
      });
      assert.equal(await countOf(company.companyId), 2);
      assert.equal((await house.heardInTheEnd(company)).length, 2);
    });

    test('hanging rather than refusing, an event gets 503 before its sender gives up, and the copy later is one event', async () => {
      const company = await house.company();
      const url = company.url.replace(house.service.publicUrl, second.publicUrl);
      assert.equal((await postPatiently(url, record(company.companyId, 1, 'create'))).status, 200);

      link.freeze();
      const bodies = Array.from({ length: 30 }, (_, index) => record(company.companyId, index + 2, 'create'));
      const ready = send(`${second.adminUrl}/readyz`, { method: 'GET' });
      const listed = second.api('GET', '/events');
      const { result: answers, ownMs } = await inOwnTime(() =>
        Promise.all(bodies.map(body => post(url, body))),
      );
      for (const answer of answers) assertProblem(answer, 503);
      assert.equal((await ready).status, 503, 'the service says that it is not ready, rather than nothing');
      assertProblem(await listed, 503);
      assert.ok(ownMs < 10_000, `the sender waited ${ownMs} ms and gives up at 10 s`);

      link.mend();
      for (const body of bodies) {
        await until(async () => (await post(url, body)).status === 200, {
          what: 'events are taken again',
          timeoutMs: 30_000,
        });
      }
      assert.equal(await countOf(company.companyId), 31);
      assert.equal((await house.heardInTheEnd(company)).length, 31);
    });
  });
});

test('no key, token, secret, phone, name or body is in the log, in the metrics or in an answer', async () => {
  const company = await house.company({ signatureRequired: false });
  const name = 'Канарейкина';
  const person = client(4242, { name, surname: name, phone: '+79995554242', email: 'canary@salon.example' });
  const marked = { client: person, comment: `${name} canary@salon.example +7 999 555-42-42` };
  await house.accept(company, record(company.companyId, 1, 'create', marked));
  const broken = JSON.stringify(record(company.companyId, 2, 'create', marked)).slice(0, -3);
  const answers = [
    await postPatiently(company.url, broken),
    await postPatiently(company.url, record(1, 2, 'create', marked)),
    await postPatiently(company.url, {
      ...record(company.companyId, 1, 'create', marked),
      resource: person.phone,
    }),
    await postPatiently(company.url, broken, { 'content-type': 'text/plain', referer: company.url }),
    await postPatiently(`${company.url}x`, broken),
    await postPatiently(
      `${house.service.publicUrl}/webhooks/yclients/events?key=${company.key}&x=${encodeURIComponent(name)}`,
      broken,
    ),
    await send(company.url, { method: 'GET' }),
    await house.service.api('GET', `/events/${company.key}`),
    await house.service.api('GET', '/events', undefined, { authorization: `Bearer ${ADMIN_TOKEN}x` }),
    await house.service.api('POST', '/companies', `{"companyId":1,"title":"${name}`),
    await send(`${house.service.adminUrl}/metrics`, { method: 'GET' }),
  ];
  await speak(house.service.ports.public, [
    `POST ${new URL(company.url).pathname} HTTP/9.9\r\n${name}\r\n\r\n`,
  ]);
  house.sink.answerWith(({ path }) => (path === `/${company.companyId}` ? 500 : 204));
  await house.accept(company, record(company.companyId, 3, 'create', marked));
  await until(() => house.heard(company).some(({ recordId }) => recordId === 3), {
    what: 'the bot has refused',
  });
  house.sink.answerWith(() => 204);
  await house.settled(company);

  const secrets = [company.key, company.inboundSecret, company.outboundSecret, ADMIN_TOKEN, OTKLIK_KEY];
  secrets.push(Buffer.from(OTKLIK_KEY, 'hex').toString('base64'), new URL(house.databaseUrl).password);
  const personal = [name, 'canary@', '9995554242', '555-42-42', phoneOf(7).slice(1), 'Анна', HAIRCUT.title];
  const forms = [...secrets, ...personal].filter(text => text !== undefined && text !== '');
  const printed = house.service.output();
  assert.ok(printed.includes('batch processed'), 'the log is at its most talkative');
  for (const form of forms) {
    assert.ok(!printed.includes(String(form)), `the log holds ${form}`);
  }
  for (const key of printed.matchAll(/\/webhooks\/yclients\/([\w-]{20,})/g))
    assert.fail(`the log holds ${key[0]}`);
  for (const answer of answers) {
    for (const form of forms) {
      const text = answer.body.toString();
      if (form === company.key && text.includes('"items"')) continue;
      assert.ok(!text.includes(String(form)), `an answer holds ${form}: ${text.slice(0, 300)}`);
    }
  }
});
