/** `hooks …` as an operator types it, against the platform's side on loopback; and the marketplace's routes of `serve`. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { z } from 'zod';
import { assertProblem, type House, openHouse, postPatiently } from '../blackbox/harness.ts';
import { record } from '../blackbox/salon.ts';
import { type SalonHooks, startSalonHooks, threeForeign } from '../support/salon-hooks.ts';
import { command, json, post, type Ran, send } from '../support/service.ts';
import { until } from '../support/until.ts';

const PARTNER = 'canary-partner-5566';
const USER = 'canary-user-7788';

let house: House;
let platform: SalonHooks;
let env: Record<string, string>;
before(async () => {
  platform = await startSalonHooks(threeForeign());
  house = await openHouse({ YCLIENTS_PARTNER_TOKEN: PARTNER });
  env = {
    PUBLIC_URL: house.service.publicUrl,
    YCLIENTS_PARTNER_TOKEN: PARTNER,
    YCLIENTS_USER_TOKEN: USER,
    YCLIENTS_API_URL: platform.url,
  };
});
after(async () => {
  await house.close();
  await platform.close();
});

const hooks = (args: readonly (string | number)[], more: Readonly<Record<string, string>> = {}) =>
  command(house.databaseUrl, ['hooks', ...args.map(String)], { ...env, ...more });

const report = z.object({
  written: z.boolean(),
  held: z.boolean(),
  changes: z.array(z.string()),
  differences: z.array(z.string()),
  notes: z.array(z.string()),
});
const shown = z.object({ ours: z.array(z.object({ url: z.string(), state: z.string() })) });

function read({ code, stdout, stderr }: Ran, exit: number): z.infer<typeof report> {
  assert.equal(code, exit, stderr + stdout);
  return report.parse(JSON.parse(stdout));
}

async function fresh(settings = threeForeign()): Promise<number> {
  const { companyId } = await house.company();
  platform.settings = settings;
  platform.writes = [];
  platform.failWith = [];
  platform.onWrite(written => written);
  return companyId;
}

const urlsOf = () => z.array(z.string()).parse(platform.settings.urls);
const liveKeys = async (companyId: number) =>
  (
    await house.pool.query<{ count: string }>(
      'SELECT count(*) FROM company_keys WHERE company_id = $1 AND expires_at IS NULL',
      [companyId],
    )
  ).rows.map(({ count }) => Number(count))[0];

describe('hooks', () => {
  test('install keeps three foreign URLs byte for byte, and the URL it makes takes events', async () => {
    const companyId = await fresh();
    const ran = await hooks(['install', companyId, '--json']);
    const { written, held, changes } = read(ran, 0);
    assert.deepEqual([written, held], [true, true]);
    assert.ok(
      changes.some(change => change.startsWith('add URL http://127.0.0.1')),
      String(changes),
    );
    const before = threeForeign();
    assert.deepEqual(urlsOf().slice(0, 3), before.urls);
    const entries = z.array(z.unknown()).parse(platform.settings.url_settings);
    assert.equal(JSON.stringify(entries.slice(0, 3)), JSON.stringify(before.url_settings));
    const url = String(urlsOf()[3]);
    assert.ok(!ran.stdout.includes(url), 'the key is not printed');
    assert.equal((await postPatiently(url, record(companyId, 1, 'create'))).status, 200);
    assert.equal(await liveKeys(companyId), 1, 'the key before it begins to end');
  });

  test('remove takes out what install put in, and show tells which is ours', async () => {
    const companyId = await fresh();
    const { changes, written } = read(await hooks(['install', companyId, '--dry-run', '--json']), 0);
    assert.ok(changes.length > 0 && !written && platform.writes.length === 0, 'a dry run writes nothing');
    assert.equal((await hooks(['install', companyId])).code, 0);
    const show = await hooks(['show', companyId, '--json']);
    assert.deepEqual(
      shown.parse(JSON.parse(show.stdout)).ours.map(({ state }) => state),
      ['works'],
    );
    assert.equal(read(await hooks(['remove', companyId, '--json']), 0).written, true);
    assert.equal(JSON.stringify(platform.settings), JSON.stringify(threeForeign()));
  });

  test('what did not hold is said exactly, with exit code 1, and the old key does not begin to end', async () => {
    const companyId = await fresh();
    platform.onWrite(written => ({ ...written, urls: urlsFrom(written).slice(1, 3), url_settings: [] }));
    const { held, differences } = read(await hooks(['install', companyId, '--json']), 1);
    assert.equal(held, false);
    assert.ok(differences.includes('URL https://crm.test/hook?token=abc is missing'), String(differences));
    assert.ok(differences.some(fault => /^URL http:\/\/127.* is missing$/.test(fault)));
    assert.equal(await liveKeys(companyId), 1);
  });

  test('an older URL of ours is shown as such, and replaced when asked', async () => {
    const old = `${house.service.publicUrl}/webhooks/yclients/${'o'.repeat(43)}`;
    const companyId = await fresh({ urls: ['https://a.test/', old], active: 1 });
    assert.match((await hooks(['show', companyId])).stdout, /its key is not valid/);
    const { changes } = read(await hooks(['install', companyId, '--replace', '--json']), 0);
    assert.ok(
      changes.some(change => change.startsWith('remove URL')),
      String(changes),
    );
    assert.equal(urlsOf().length, 2);
    assert.ok(!urlsOf().includes(old));
  });

  test('a given URL is registered if its key is the company’s', async () => {
    const company = await house.company();
    const other = await fresh({ urls: [''] });
    const given = ['--url', company.url, '--resources', 'record,master', '--self-sending', 'off', '--json'];
    assert.match((await hooks(['install', other, ...given])).stderr, /not one of company/);
    assert.equal(read(await hooks(['install', company.companyId, ...given]), 0).held, true);
    assert.deepEqual(platform.settings, {
      ...{ urls: [company.url], record: 1, master: 1, self_sending: 0, active: 1 },
    });
  });

  test('the self-test waits for an event that the platform sent, and says so when none comes', async () => {
    const companyId = await fresh({ urls: [''] });
    const none = await hooks(['install', companyId, '--wait', '1s', '--json']);
    assert.equal(none.code, 1);
    assert.equal(JSON.parse(none.stdout).firstEvent, null);
    assert.match(none.stderr, /waiting for the first event/);
    const url = String(urlsOf()[0]);
    const running = hooks(['install', companyId, '--wait', '30s']);
    let id = 0;
    let ended = false;
    const ran = running.finally(() => {
      ended = true;
    });
    await until(
      async () => {
        id += 1;
        await post(url, record(companyId, id, 'create'));
        return ended;
      },
      { what: 'the command has seen an event', timeoutMs: 40_000 },
    );
    const { code, stdout } = await ran;
    assert.equal(code, 0, stdout);
    assert.match(stdout, /It works: the platform sent record\.created/);
  });

  test('what the API refuses is said plainly', async () => {
    const companyId = await fresh({ urls: [''] });
    platform.failWith = [403];
    const forbidden = await hooks(['install', companyId]);
    assert.equal(forbidden.code, 1);
    assert.match(forbidden.stderr, /403/);
    assert.doesNotMatch(forbidden.stderr, /unexpected|at file:/);
    for (const text of [forbidden.stderr, forbidden.stdout]) {
      for (const secret of [PARTNER, USER]) assert.ok(!text.includes(secret));
    }
  });

  test('an address that the platform should not be given is refused with the reason', async () => {
    const companyId = await fresh();
    assert.match((await hooks(['install', companyId], { PUBLIC_URL: '' })).stderr, /PUBLIC_URL is not set/);
    const plain = await hooks(['install', companyId], { PUBLIC_URL: 'http://otklik.test' });
    assert.match(plain.stderr, /must begin with https/);
    assert.match(
      (await hooks(['install', companyId, '--resources', 'record,x'])).stderr,
      /takes a list of these/,
    );
    assert.equal(platform.writes.length, 0);
  });
});

function urlsFrom(written: Readonly<Record<string, unknown>>): string[] {
  return z.array(z.string()).parse(written.urls);
}

describe('the marketplace', () => {
  test('has its routes where the partner token is set; they say what else is lacking', async () => {
    const page = await send(`${house.service.publicUrl}/connect/yclients`, { method: 'GET' });
    assert.equal(page.status, 400);
    assert.match(page.headers['content-type'] ?? '', /^text\/html/);
    const doctor = await command(house.databaseUrl, ['doctor'], { YCLIENTS_PARTNER_TOKEN: PARTNER });
    assert.match(doctor.stdout, /marketplace .*YCLIENTS_APPLICATION_ID is not set; PUBLIC_URL is not set/);
  });

  test('stops a company, which is listed so, and `company resume` undoes it', async () => {
    const { companyId, url } = await house.company();
    const leaving = { salon_id: companyId, application_id: 1, event: 'freeze', partner_token: PARTNER };
    const lifecycle = `${house.service.publicUrl}/webhooks/yclients/lifecycle`;
    assertProblem(await post(lifecycle, { ...leaving, partner_token: 'x' }), 401);
    const answer = await post(lifecycle, leaving);
    assert.equal(answer.status, 200, answer.body.toString());
    assert.deepEqual(json(answer), { company: companyId, event: 'freeze', duplicate: false });
    const list = await command(house.databaseUrl, ['company', 'list'], {});
    assert.match(list.stdout, new RegExp(`^${companyId} .*stopped by the salon$`, 'm'));
    assert.match((await hooks(['show', companyId])).stderr, /switched us off/);
    await until(async () => (await postPatiently(url, record(companyId, 1, 'create'))).status === 404, {
      what: 'the URL of the stopped company is dead',
    });
    const resumed = await command(house.databaseUrl, ['company', 'resume', String(companyId), '--json'], {});
    assert.deepEqual(JSON.parse(resumed.stdout), { companyId, resumed: true });
    await until(async () => (await postPatiently(url, record(companyId, 2, 'create'))).status === 200, {
      what: 'the URL works again',
    });
    const { body } = await send(`${house.service.adminUrl}/metrics`, { method: 'GET' });
    assert.match(body.toString(), /otklik_requests_rejected_total\{cause="lifecycle_token"\} 1/);
    assert.ok(!house.service.output().includes(PARTNER));
  });

  test('has no routes without a partner token', async t => {
    const bare = await openHouse();
    t.after(() => bare.close());
    assertProblem(await send(`${bare.service.publicUrl}/connect/yclients`, { method: 'GET' }), 404);
    assertProblem(await post(`${bare.service.publicUrl}/webhooks/yclients/lifecycle`, {}), 404);
    const doctor = await command(bare.databaseUrl, ['doctor'], {});
    assert.match(doctor.stdout, /marketplace .*off/);
  });
});
