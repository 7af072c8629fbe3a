/** What `doctor` says of a route's step from which nothing goes on yet, because its provider has told of no message. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { firstReceiptFindings } from '../../src/commands/first-receipts.ts';
import { readConfig } from '../../src/config.ts';
import { removeCompany } from '../../src/store/companies.ts';
import { createPipeline, type Pipeline } from '../work/pipeline.ts';

const SETTINGS = {
  ...{ WHATSAPP_PROVIDER: 'green-api', WHATSAPP_TOKEN: 'not-a-token', WHATSAPP_ACCOUNT: '1101000001' },
  ...{ WHATSAPP_API_URL: 'https://api.green-api.test', SMS_PROVIDER: 'sms.ru', SMS_TOKEN: 'not-a-token' },
  PUBLIC_URL: 'https://hooks.example.com',
};

let pipeline: Pipeline;

beforeEach(async () => {
  pipeline = await createPipeline();
});
afterEach(() => pipeline.close());

async function says(settings: Record<string, string> = SETTINGS): Promise<string[]> {
  const findings = await firstReceiptFindings(pipeline.pool, readConfig(settings));
  return findings.map(({ check, state, says: words }) => `${state} ${check}: ${words}`);
}

async function told(companyId: number, channel: string, provider: string): Promise<void> {
  await pipeline.pool.query(
    'INSERT INTO receipt_givers (company_id, channel, provider) VALUES ($1, $2, $3)',
    [companyId, channel, provider],
  );
}

test('a step that goes on where no receipt comes is named until its provider has told of a message', async () => {
  await pipeline.addCompany({ companyId: 5, route: ['whatsapp', 'sms'] });
  assert.deepEqual(await says(), [
    'note receipts: whatsapp by green-api has told of no message of company 5 yet: until it does, one that it keeps silent about goes on to no other channel. Enter the address that `channels` prints there, then `send-test --company 5 --channel whatsapp --to …`: its receipt is enough',
  ]);
  await told(5, 'whatsapp', 'wazzup');
  assert.equal((await says()).length, 1, 'another provider’s receipt is none of this one');
  await told(5, 'whatsapp', 'green-api');
  assert.deepEqual(await says(), []);
});

test('of many companies there is one line a channel, and it names the first of them', async () => {
  for (let companyId = 1; companyId <= 7; companyId += 1)
    await pipeline.addCompany({ companyId, route: ['whatsapp', 'sms'] });
  await told(1, 'whatsapp', 'green-api');
  const [line, ...others] = await says();
  assert.match(
    line ?? '',
    /of companies 2, 3, 4, 5, 6 and 1 more yet: .* `send-test --company 2 --channel whatsapp/,
  );
  assert.deepEqual(others, []);
});

test('a route of one category counts as well', async () => {
  await pipeline.addCompany({ companyId: 5, route: ['sms'] });
  assert.deepEqual(await says(), []);
  await pipeline.setPolicy(5, { routes: { order: { reminders: ['sms', 'whatsapp'] } } });
  assert.match(
    (await says()).join(),
    /^note receipts: sms by sms\.ru has told of no message of company 5 yet/,
  );
});

test('nothing is said of a last step, of a receipt that is not waited for, or of a company that was removed', async () => {
  await pipeline.addCompany({ companyId: 1, route: ['whatsapp'] });
  await pipeline.addCompany({ companyId: 2, route: ['whatsapp', 'telegram'] });
  await pipeline.addCompany({ companyId: 3, route: ['whatsapp', 'sms'] });
  await pipeline.setPolicy(3, { routes: { within: { whatsapp: null } } });
  await pipeline.addCompany({ companyId: 4, route: ['whatsapp', 'sms'] });
  await pipeline.setPolicy(4, { routes: { steps: 1 } });
  await pipeline.addCompany({ companyId: 5, route: ['whatsapp', 'sms'] });
  await removeCompany(pipeline.pool, 5);
  assert.deepEqual(await says(), []);
  await pipeline.addCompany({ companyId: 6, route: ['whatsapp', 'sms'] });
  assert.equal((await says()).length, 1);
  const { PUBLIC_URL: _, ...unreachable } = SETTINGS;
  assert.deepEqual(await says(unreachable), [], 'it could not tell us');
});
