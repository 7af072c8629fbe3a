import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { faultOf, signatureHeader } from '../../src/http/signature.ts';
import { httpServer } from '../channels/counterparts.ts';

const now = 1_795_000_000_000;
const body = Buffer.from([0xff, 0xfe, 0x7b, 0x7d]);
const secret = 'whsec_a';
const check = (header: string, more = {}) =>
  faultOf({ header, id: undefined, body, secrets: ['whsec_b', secret], now, ...more });
const header = signatureHeader({ secret, body, now });

test('a signature over raw bytes holds under any live secret, with or without an id', () => {
  assert.equal(check(header), undefined);
  const signed = signatureHeader({ secret, body, now, id: 'evt_1' });
  assert.equal(check(signed, { id: 'evt_1' }), undefined);
  assert.equal(check(signed, { id: 'evt_2' }), 'mismatch');
  assert.equal(check(signed), 'mismatch');
});

test('an altered body, another secret, no secret: mismatch', () => {
  assert.equal(check(header, { body: Buffer.from('{}') }), 'mismatch');
  assert.equal(check(header, { secrets: ['whsec_c'] }), 'mismatch');
  assert.equal(check(header, { secrets: [] }), 'mismatch');
});

test('five minutes either way, no more', () => {
  assert.equal(check(header, { now: now + 299_000 }), undefined);
  assert.equal(check(header, { now: now - 299_000 }), undefined);
  assert.equal(check(header, { now: now + 301_000 }), 'stale');
  assert.equal(check(header, { now: now - 301_000 }), 'stale');
});

test('junk after the time, a dotted id, another scheme, capitals and spaces are malformed', () => {
  assert.equal(check(header.replace(/t=(\d+)/, 't=$1junk')), 'malformed');
  assert.equal(check(header.replace('v1=', 'v0=')), 'malformed');
  assert.equal(check(header.toUpperCase()), 'malformed');
  assert.equal(check(` ${header}`), 'malformed');
  assert.equal(check(''), 'malformed');
  assert.equal(check(signatureHeader({ secret, body, now, id: 'a.b' }), { id: 'a.b' }), 'malformed');
});

test('what the sender of docs/connect.md signs holds', async t => {
  const guide = await readFile(new URL('../../docs/connect.md', import.meta.url), 'utf8');
  const source = /## Signed webhooks\n[\s\S]*?```js\n([\s\S]*?)```/.exec(guide)?.[1] ?? '';
  const faults: unknown[] = [];
  const server = await httpServer(t, ({ headers }, sent, response) => {
    const [given, id] = [headers['x-otklik-signature'], headers['x-otklik-id']].map(String);
    assert.equal(headers['content-type'], 'application/json');
    faults.push(faultOf({ header: given ?? '', id, body: sent, secrets: [secret], now: Date.now() }));
    response.end();
  });
  const env = { SIGNING_SECRET: secret, WEBHOOK_URL: `http://127.0.0.1:${server.port}/` };
  const sender = spawn(process.execPath, ['--input-type=module', '-e', source], {
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const [code] = await once(sender, 'close');
  assert.deepEqual([code, faults], [0, [undefined]]);
});
