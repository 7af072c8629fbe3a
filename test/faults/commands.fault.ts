/** The commands, as the contract and their own descriptions have them: some fifty starts of one. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { z } from 'zod';
import { type House, identified, NO_ID, openBusyHouse, page } from '../blackbox/harness.ts';
import { event, record } from '../blackbox/salon.ts';
import { testDatabase } from '../support/database.ts';
import {
  type Company,
  command,
  freePorts,
  OTKLIK_KEY,
  type Ran,
  send,
  startService,
} from '../support/service.ts';
import { until } from '../support/until.ts';

let house: House;
let company: Company;
let eventId: string;
let messageId: string;
before(async () => {
  ({ house, company, eventId, messageId } = await openBusyHouse());
});
after(() => house.close());

describe('a command', { concurrency: 3 }, () => {
  const run = (...args: string[]) =>
    command(house.databaseUrl, args, {
      PUBLIC_PORT: String(house.service.ports.public),
      ADMIN_PORT: String(house.service.ports.admin),
    });
  /** The one value that `--json` prints. */
  const value = (ran: Ran, code = 0): unknown => {
    assert.equal(ran.code, code, ran.stderr + ran.stdout);
    assert.doesNotThrow(() => JSON.parse(ran.stdout), `not one JSON value: ${ran.stdout.slice(0, 300)}`);
    return JSON.parse(ran.stdout);
  };

  test('company add prints a URL that works, list shows it, rotate-key and rotate-secret give new ones, remove ends it', async () => {
    const added = z
      .object({ companyId: z.literal(60_001), url: z.url() })
      .parse(
        value(await run('company', 'add', '60001', '--title', 'Лютик', '--zone', 'Europe/Moscow', '--json')),
      );
    const body = JSON.stringify(event(60_001, 'staff', 1, 'create', { id: 1, name: 'Ольга' }));
    const options = { method: 'POST', headers: { 'content-type': 'application/json' }, body };
    assert.equal((await send(added.url, options)).status, 200);
    const rotated = z
      .object({ url: z.url() })
      .parse(value(await run('company', 'rotate-key', '60001', '--json')));
    assert.notEqual(rotated.url, added.url);
    assert.equal((await send(rotated.url, options)).status, 200);
    assert.equal((await send(added.url, options)).status, 200, 'the old URL still works');
    assert.match(JSON.stringify(value(await run('company', 'rotate-secret', '60001', '--json'))), /whsec_/);
    const listed = await run('company', 'list', '--json');
    const { items } = z.object({ items: z.array(z.object({ companyId: z.number() })) }).parse(value(listed));
    assert.ok(items.some(({ companyId }) => companyId === 60_001));
    assert.ok(!listed.stdout.includes('whsec_') && !listed.stdout.includes(new URL(rotated.url).pathname));
    value(await run('company', 'remove', '60001', '--json'));
    await until(async () => (await send(rotated.url, options)).status === 404, {
      what: 'the URL is dead',
      timeoutMs: 15_000,
    });
  });

  test('company add without --json shows the URL to a person', async () => {
    const ran = await run('company', 'add', '60002', '--title', 'Мак', '--zone', 'Europe/Moscow');
    assert.equal(ran.code, 0, ran.stderr);
    const url = /http:\/\/\S+\/webhooks\/yclients\/[\w-]{43}/.exec(ran.stdout)?.[0];
    assert.ok(url, ran.stdout);
  });

  test('team add, list and remove; an invitation whose link cannot be made is not kept', async () => {
    const of = String(company.companyId);
    const added = await run(
      'team',
      'add',
      of,
      '--role',
      'staff',
      '--staff',
      '79',
      '--channel',
      'max',
      '--address',
      '5',
      '--json',
    );
    assert.match(added.stderr, /max needs MAX_TOKEN/);
    const { memberId } = z.object({ memberId: z.number() }).parse(value(added));
    const dead = {
      TELEGRAM_TOKEN: '7000000001:AAF-not-a-real-token-0123456789abcde',
      TELEGRAM_API_ROOT: 'http://127.0.0.1:9',
    };
    const invited = await command(
      house.databaseUrl,
      ['team', 'invite', of, '--role', 'staff', '--staff', '80'],
      dead,
    );
    assert.notEqual(invited.code, 0);
    assert.match(invited.stderr, /check TELEGRAM_TOKEN/);
    const listed = z
      .object({ items: z.array(z.object({ memberId: z.number(), staffId: z.number().nullable() })) })
      .parse(value(await run('team', 'list', of, '--json')));
    assert.deepEqual(
      listed.items.filter(({ staffId }) => staffId === 79 || staffId === 80),
      [{ memberId, staffId: 79 }],
    );
    const member = String(memberId);
    const others = await run('team', 'else', of, member, 'sms:8 916 000-00-99', 'webhook', '--json');
    assert.deepEqual(value(others), { companyId: company.companyId, memberId, others: ['sms', 'webhook'] });
    assert.match(others.stderr, /sms needs SMS_PROVIDER/);
    assert.match((await run('team', 'list', of)).stdout, /on max, else sms, else webhook since/);
    const misspelt = await run('team', 'else', of, member, 'smss:+79160000099');
    assert.equal(misspelt.code, 1);
    assert.match(misspelt.stderr, /others.*channel/);
    value(await run('team', 'remove', of, member, '--json'));
    assert.notEqual((await run('team', 'remove', of, String(memberId))).code, 0);
  });

  test('events list, show and replay tell of an event', async () => {
    const { items } = page.parse(
      value(await run('events', 'list', '--company', String(company.companyId), '--json')),
    );
    assert.ok(items.some(({ id }) => id === eventId));
    assert.equal(identified.parse(value(await run('events', 'show', eventId, '--json'))).id, eventId);
    value(await run('events', 'replay', eventId, '--json'));
    await house.settled(company);
    assert.equal(house.heard(company).filter(({ recordId }) => recordId === 1).length, 1);
    const table = await run('events', 'list', '--company', String(company.companyId));
    assert.ok(table.stdout.includes(eventId) && table.stdout.includes('record.created'), table.stdout);
  });

  test('messages resend and events replay put back all that was given up, and say how many', async () => {
    const own = await house.company();
    house.sink.answerWith(({ path }) => (path === `/${own.companyId}` ? 410 : 204));
    await house.accept(own, record(own.companyId, 1, 'create'));
    await house.settled(own);
    house.sink.answerWith(() => 204);
    const of = ['--company', String(own.companyId)];
    const all = ['messages', 'resend', '--state', 'failed', ...of];
    const dry = await run(...all, '--dry-run');
    assert.equal(dry.stdout, '1 messages would be due again.\n');
    const resent = await run(...all, '--since', '1h', '--json');
    assert.deepEqual(value(resent), { due: 1, taken: 0, more: false, dryRun: false });
    await house.settled(own);
    const [told] = house.heard(own);
    assert.equal(told?.recordId, 1);
    const again = await run('messages', 'resend', told?.id ?? '');
    assert.match(again.stderr, /webhook took it, so it counts as told/);
    assert.equal((await run(...all)).stdout, '0 messages are due again.\n');
    await house.pool.query(
      `UPDATE webhook_events SET state = 'dead', processed_at = NULL WHERE company_id = $1`,
      [own.companyId],
    );
    const replay = await run('events', 'replay', '--state', 'dead', ...of);
    assert.equal(replay.stdout, '1 events are put back.\n');
    await house.settled(own);
    assert.equal(house.heard(own).length, 1);
  });

  test('messages list and show tell of a message', async () => {
    const { items } = page.parse(
      value(await run('messages', 'list', '--company', String(company.companyId), '--json')),
    );
    assert.ok(items.some(({ id }) => id === messageId));
    assert.equal(identified.parse(value(await run('messages', 'show', messageId, '--json'))).id, messageId);
    const { stdout } = await run('messages', 'show', messageId);
    assert.match(stdout, /^webhook: sent \d\d:\d\d:\d\d\n\{/, 'the trail comes first');
  });

  test('stats, migrate and address print one value', async () => {
    z.object({ events: z.looseObject({}), messages: z.looseObject({}) }).parse(
      value(await run('stats', '--json')),
    );
    assert.deepEqual(value(await run('migrate', '--json')), { applied: [] });
    value(await run('address', String(company.companyId), '1', 'telegram', '123456789', '--json'));
  });

  test('an address is kept in the form by which answers and erasing look for it, and refused where no channel could use it', async () => {
    const { companyId } = await house.company();
    value(await run('address', String(companyId), '7', 'sms', '+7 (916) 000-00-07', '--json'));
    const { rows } = await house.pool.query('SELECT address FROM addresses WHERE company_id = $1', [
      companyId,
    ]);
    assert.deepEqual(rows, [{ address: '+79160000007' }]);
    const refused = await run('address', String(companyId), '7', 'telegram', '@somebody');
    assert.match(refused.stderr, /^otklik: an address on telegram is the number of a chat/);
    const path = `/companies/${companyId}/clients/7/addresses/email`;
    assert.equal((await house.service.api('PUT', path, { address: 'nowhere' })).status, 409);
  });

  test('send-test posts a test event by a URL and sees it processed, or sends a test message, and neither tells a client', async () => {
    const own = await house.company();
    value(await run('send-test', own.url, '--json'));
    const { rows } = await house.pool.query<{ source: string; state: string }>(
      'SELECT source, state FROM webhook_events WHERE company_id = $1',
      [own.companyId],
    );
    assert.equal(rows.length, 1);
    assert.equal(rows[0]?.state, 'done');
    value(await run('send-test', '--company', String(own.companyId), '--channel', 'console', '--json'));
    const { rows: messages } = await house.pool.query<{ purpose: string; state: string }>(
      'SELECT purpose, state FROM messages WHERE company_id = $1',
      [own.companyId],
    );
    assert.deepEqual(messages, [{ purpose: 'test', state: 'sent' }]);
    const { rows: bookings } = await house.pool.query('SELECT FROM bookings WHERE company_id = $1', [
      own.companyId,
    ]);
    assert.equal(bookings.length, 0);
  });

  test('send-test to a server that is not this one says that, and not that the key is unknown', async () => {
    const own = await house.company();
    const elsewhere = own.url.replace(house.service.publicUrl, house.service.adminUrl);
    const { code, stderr } = await run('send-test', elsewhere);
    assert.equal(code, 1);
    assert.match(
      stderr,
      /^otklik: http:\S+ answers 404, and is not this Otklik: the key is in use here\. Check/,
    );
  });

  test('simulate sends a salon’s webhooks and prints its account of it', async () => {
    const own = await house.company({ settleMs: 100 });
    const ran = await run(
      'simulate',
      '--to',
      own.url,
      '--company',
      String(own.companyId),
      '--for',
      '3s',
      '--seed',
      '7',
      '--json',
    );
    value(ran);
    await house.settled(own);
    const { rows } = await house.pool.query<{ count: number }>(
      'SELECT count(*)::int AS count FROM bookings WHERE company_id = $1',
      [own.companyId],
    );
    assert.ok(Number(rows[0]?.count) > 0);
  });

  const finding = z.object({ check: z.string(), state: z.string(), says: z.string().min(1) });
  const findings = z.object({ healthy: z.boolean(), findings: z.array(finding) });

  test('doctor finds a sound set-up sound', async () => {
    const { healthy, findings: found } = findings.parse(value(await run('doctor', '--json')));
    assert.ok(healthy);
    const checks = found.map(({ check }) => check).join();
    for (const part of ['database', 'schema', 'clock', 'keys']) assert.ok(checks.includes(part), checks);
    assert.ok(
      found.some(({ check }) => /port|service/.test(check)),
      checks,
    );
  });

  test('doctor names a route whose step waits for its first receipt', async () => {
    const salon = ['--title', 'Лютик', '--zone', 'Europe/Moscow', '--route', 'whatsapp,console'];
    value(await run('company', 'add', '60077', ...salon, '--json'));
    const ran = await command(house.databaseUrl, ['doctor', '--json'], {
      ...{ WHATSAPP_PROVIDER: 'wazzup', WHATSAPP_TOKEN: 'not-a-token', WHATSAPP_ACCOUNT: 'not-a-channel' },
      ...{ WHATSAPP_API_URL: 'http://127.0.0.1:1', PUBLIC_URL: 'https://hooks.example.com' },
    });
    const { findings: found } = findings.parse(value(ran));
    const [line, ...others] = found.filter(({ check }) => check === 'receipts');
    assert.match(line?.says ?? '', /^whatsapp by wazzup has told of no message of company 60077 yet/);
    assert.deepEqual([line?.state, others], ['note', []]);
    value(await run('company', 'remove', '60077', '--json'));
  });

  test('doctor says what is wrong and what to do: no database, another key, a taken port', async () => {
    const gone = new URL(house.databaseUrl);
    gone.port = String((await freePorts()).public);
    const noDatabase = await command(gone.href, ['doctor', '--json']);
    const otherKey = await command(house.databaseUrl, ['doctor', '--json'], { OTKLIK_KEY: 'ab'.repeat(32) });
    const taken = new URL(house.databaseUrl).port;
    const takenPort = await command(house.databaseUrl, ['doctor', '--json'], {
      PUBLIC_PORT: taken,
      ADMIN_PORT: '1',
    });
    const expected = [
      [/database/, noDatabase],
      [/OTKLIK_KEY/, otherKey],
      [/port/, takenPort],
    ] as const;
    for (const [word, ran] of expected) {
      const { healthy, findings: found } = findings.parse(value(ran, 1));
      assert.ok(!healthy);
      const faults = found.filter(({ state }) => state !== 'ok');
      assert.ok(
        faults.some(({ check, says }) => word.test(`${check}: ${says}`)),
        ran.stdout,
      );
    }
  });

  const PLAIN: [what: string, args: string[], env?: Record<string, string>][] = [
    ['an unknown flag', ['events', 'list', '--bogus']],
    ['a number that is none', ['events', 'list', '--limit', 'ten']],
    ['an id that is none', ['events', 'show', 'x', '--json']],
    ['an event that is not there', ['events', 'replay', NO_ID, '--json']],
    ['a message that is not there', ['messages', 'resend', NO_ID, '--json']],
    ['a message to cancel that is not there', ['messages', 'cancel', NO_ID, '--json']],
    ['neither an id nor a state', ['messages', 'resend']],
    ['an id and a state', ['events', 'replay', NO_ID, '--state', 'dead']],
    ['all events that are done', ['events', 'replay', '--state', 'done']],
    ['a company that is not there', ['company', 'rotate-key', '999999', '--json']],
    [
      'a company that is there already',
      ['company', 'add', '1001', '--title', 'x', '--zone', 'Europe/Moscow'],
    ],
    ['a zone of nowhere', ['company', 'add', '5', '--title', 'x', '--zone', 'Europe/Nowhere', '--json']],
    ['a URL of nobody', ['send-test', 'http://127.0.0.1:1/webhooks/yclients/x', '--json']],
    ['settings that make no sense', ['serve'], { PUBLIC_PORT: 'http', ROLES: 'cook', OTKLIK_KEY: 'short' }],
    ['a database URL that is none', ['serve'], { DATABASE_URL: 'mysql://x' }],
  ];
  for (const [what, args, env] of PLAIN) {
    test(`with ${what} says so plainly and fails`, async () => {
      const ran = await command(house.databaseUrl, args, env);
      assert.ok(ran.code !== null && ran.code !== 0, `exit code ${ran.code}`);
      assert.notEqual(ran.stderr.trim(), '', 'it says something');
      assert.ok(ran.stderr.length < 1500, ran.stderr);
      assert.doesNotMatch(
        ran.stderr + ran.stdout,
        /^\s+at .*[:(]\d+|node:internal|ZodError|\[object|Invalid |Too (?:big|small)|expected/m,
      );
      if (args.includes('--json') && ran.stdout.trim() !== '') JSON.parse(ran.stdout);
    });
  }

  test('that cannot reach the database says so without its password', async () => {
    const gone = new URL(house.databaseUrl);
    gone.port = String((await freePorts()).public);
    for (const args of [
      ['events', 'list'],
      ['migrate', '--json'],
    ]) {
      const ran = await command(gone.href, args);
      assert.notEqual(ran.code, 0);
      assert.ok(!(ran.stdout + ran.stderr).includes(gone.password));
      assert.doesNotMatch(ran.stderr, /^\s+at .*[:(]\d+/m);
    }
  });

  test('serve on a taken port says so and ends', async () => {
    const { admin } = house.service.ports;
    const ran = await command(house.databaseUrl, ['serve'], {
      PUBLIC_PORT: String(house.service.ports.public),
      ADMIN_PORT: String(admin),
    });
    assert.notEqual(ran.code, 0);
    const said = ran.stdout + ran.stderr;
    assert.match(said, /in use|taken|EADDRINUSE/i);
    assert.doesNotMatch(said, /^\s+at .*[:(]\d+/m);
  });

  test('serve without ADMIN_TOKEN makes one and keeps it in a file of its own, out of the log', async t => {
    const directory = await mkdtemp(join(tmpdir(), 'otklik-token-'));
    t.after(() => rm(directory, { recursive: true }));
    const service = await startService(house.databaseUrl, { env: { ADMIN_TOKEN: '', DATA_DIR: directory } });
    const token = (await readFile(join(directory, 'admin-token'), 'utf8')).trim();
    const { status } = await service.api('GET', '/stats', undefined, { authorization: `Bearer ${token}` });
    await service.stop();
    assert.equal(status, 200, 'the token opens');
    assert.match(service.output(), /ADMIN_TOKEN for the API is in \S+admin-token: put it/);
    assert.ok(!service.output().includes(token));
  });
});

test('an operator is led through the exchange of OTKLIK_KEY', async t => {
  const { url, close } = await testDatabase();
  t.after(close);
  const next = 'cd'.repeat(32);
  const both = { OTKLIK_KEY: next, OTKLIK_KEY_OLD: OTKLIK_KEY };
  const add = ['company', 'add', '1', '--title', 'Ромашка', '--zone', 'Europe/Moscow', '--require-signature'];
  assert.equal((await command(url, add)).code, 0);
  const alone = await command(url, ['company', 'list'], { OTKLIK_KEY: next });
  assert.match(alone.stderr, /OTKLIK_KEY is not the one.*OTKLIK_KEY_OLD/);
  assert.match((await command(url, ['doctor'], both)).stdout, /run `rotate-master-key`/);
  const rotated = await command(url, ['rotate-master-key'], both);
  assert.equal(rotated.code, 0, rotated.stderr);
  assert.match(rotated.stdout, /secrets: 1.*Take OTKLIK_KEY_OLD out/s);
  assert.match(
    (await command(url, ['doctor'], { OTKLIK_KEY: next })).stdout,
    /OTKLIK_KEY opens this database/,
  );
  assert.equal((await command(url, ['company', 'list'])).code, 1, 'the old key is done with');
});

test('a misspelt setting is noted by doctor, and told by serve as it starts', async t => {
  const env = { ALERT_DISC_PERCENT: '5' };
  const service = await startService(house.databaseUrl, { env });
  t.after(() => service.stop());
  assert.match(
    service.output(),
    /ALERT_DISC_PERCENT is no setting and does nothing: did you mean ALERT_DISK/,
  );
  const { stdout } = await command(house.databaseUrl, ['doctor'], env);
  assert.match(stdout, /^• settings +ALERT_DISC_PERCENT is no setting .*did you mean ALERT_DISK_PERCENT\?$/m);
});
