/** What a refusal is counted as: a salon’s own events, and what strangers try, are never one cause. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { rejectReadings } from '../../src/domain/readings.ts';
import { BODY_LIMIT_BYTES } from '../../src/http/receive.ts';
import { putKey } from '../../src/store/companies.ts';
import { createVault } from '../../src/vault.ts';
import { createRig, type Rig } from './marketplace-rig.ts';

const KEY = 'k'.repeat(43);
const URL_OF_SALON = `/webhooks/yclients/${KEY}`;
const JSON_TYPE = { 'content-type': 'application/json' };
const LARGE = `"${'x'.repeat(BODY_LIMIT_BYTES)}"`;

let rig: Rig;
before(async () => {
  rig = await createRig();
  await rig.pool.query(
    "INSERT INTO companies (company_id, title, zone) VALUES (1, 'Студия Север', 'Europe/Moscow')",
  );
  await putKey(rig.pool, 1, createVault(Buffer.alloc(32, 7)).hashKey(KEY));
});
after(() => rig.close());

/** The cause that one such request is counted as, its answer, and the alert that counts it. */
async function refuse(
  url: string,
  payload: string,
  headers: Readonly<Record<string, string>>,
): Promise<{ cause: string; status: number; kind: string | undefined }> {
  const counts = async () => {
    const { values } = await rig.metrics.rejected.get();
    return new Map(values.map(({ labels, value }) => [String(labels.cause), value]));
  };
  const first = await counts();
  const { statusCode } = await rig.request({ method: 'POST', url, payload, headers });
  const [cause = '', ...more] = [...(await counts())].flatMap(([name, count]) =>
    count > (first.get(name) ?? 0) ? [name] : [],
  );
  assert.deepEqual(more, [], 'counted once');
  return { cause, status: statusCode, kind: rejectReadings([{ cause, count: 1 }])[0]?.kind };
}

test('what is refused behind a salon’s key is counted as its event that was lost', async () => {
  const form = { 'content-type': 'application/x-www-form-urlencoded' };
  const packed = { ...JSON_TYPE, 'content-encoding': 'gzip' };
  for (const [payload, headers, cause, status] of [
    ['{"a":', JSON_TYPE, 'unreadable', 400],
    ['a=1', form, 'event_media_type', 415],
    ['{}', packed, 'event_media_type', 415],
    [LARGE, JSON_TYPE, 'event_too_large', 413],
  ] as const) {
    assert.deepEqual(await refuse(URL_OF_SALON, payload, headers), { cause, status, kind: 'refused' });
  }
});

test('what a scanner tries is a path that is not there, whatever it sends, and alerts nobody', async () => {
  const form = { 'content-type': 'application/x-www-form-urlencoded' };
  for (const [payload, headers] of [
    ['log=admin&pwd=admin', form],
    ['{}', { ...JSON_TYPE, 'content-encoding': 'gzip' }],
    [LARGE, JSON_TYPE],
    ['{}', JSON_TYPE],
  ] as const) {
    assert.deepEqual(await refuse('/wp-login.php', payload, headers), {
      ...{ cause: 'not_found', status: 404, kind: undefined },
    });
  }
  const stranger = `/webhooks/yclients/${'x'.repeat(43)}`;
  assert.deepEqual(await refuse(stranger, '{}', { ...JSON_TYPE, 'content-encoding': 'gzip' }), {
    ...{ cause: 'unknown_key', status: 404, kind: 'rejects' },
  });
});
