/** The page behind an e-mail's link where it cannot be had. What it does otherwise: test/work/answers-by-mail.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { writeLink } from '../../src/domain/answer.ts';
import { createReceiver } from '../../src/http/receive.ts';
import { newId } from '../../src/ids.ts';
import { createLog } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import { createPool } from '../../src/store/pool.ts';
import { createVault } from '../../src/vault.ts';
import { freePort } from '../support/ports.ts';

test('with the database away whoever opens the page, or presses its button, reads that it is so', async () => {
  const metrics = createMetrics();
  const vault = createVault(Buffer.alloc(32, 1));
  const url = `postgres://nobody@127.0.0.1:${await freePort()}/none`;
  const pool = createPool(url, { max: 1, name: 'otklik test', statementTimeoutMs: 1_000 });
  const app = createReceiver({
    ...{ metrics, log: createLog('silent'), now: Date.now, trustedProxies: [] },
    limits: { perCompany: 1_000, perAddress: 1_000 },
    keys: { find: () => assert.fail('no key is asked for') },
    ingest: { append: () => assert.fail('nothing comes in'), flushed: async () => {} },
    answers: { pool, vault, now: Date.now },
  });
  try {
    const [companyId, messageId] = [1, newId()];
    const link = `/answers/${writeLink({ companyId, messageId, proof: vault.proveLink(companyId, messageId) })}`;
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    for (const request of [
      { method: 'GET', url: link },
      { method: 'POST', url: link, headers, payload: 'act=confirm' },
      { method: 'GET', url: `${link}/stop` },
      { method: 'POST', url: `${link}/stop`, headers, payload: 'List-Unsubscribe=One-Click' },
    ] as const) {
      const answer = await app.inject(request);
      assert.equal(answer.statusCode, 503);
      assert.equal(answer.headers['content-type'], 'text/html; charset=utf-8');
      assert.ok(Number(answer.headers['retry-after']) > 0);
      assert.match(answer.body, /временная неполадка.*our side/s);
    }
    const { values } = await metrics.rejected.get();
    assert.equal(values.find(({ labels }) => labels.cause === 'store_down')?.value, 4);
    const json = { 'content-type': 'application/json' };
    const wrong = await app.inject({ method: 'POST', url: link, headers: json, payload: '{}' });
    assert.equal(wrong.statusCode, 415, 'other refusals are those of any route');
  } finally {
    await app.close();
    await pool.end();
  }
});
