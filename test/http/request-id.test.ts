import assert from 'node:assert/strict';
import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { test } from 'node:test';
import { createTrust, requestIdOf, traceparentOf } from '../../src/http/request-id.ts';
import { PlainError } from '../../src/log.ts';

const ID = '5f2b8c1d9e0a4b7c8d6e5f4a3b2c1d0e';
const UUID = '0190f1c2-0000-7000-8000-00000000abcd';
const PARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

function from(address: string, headers: Readonly<Record<string, string>>): IncomingMessage {
  const socket = new Socket();
  Object.defineProperty(socket, 'remoteAddress', { value: address });
  return Object.assign(new IncomingMessage(socket), { headers });
}

test('a range trusts its addresses, in either way of writing them, and no others', () => {
  const trust = createTrust(['10.0.0.0/8', '127.0.0.1', 'fd00::/8']);
  for (const address of ['10.1.2.3', '127.0.0.1', '::ffff:127.0.0.1', 'fd12::1'])
    assert.ok(trust(address), address);
  for (const address of ['11.0.0.1', '127.0.0.2', '::ffff:11.0.0.1', '::1', '', 'localhost'])
    assert.ok(!trust(address), address);
  assert.ok(!trust(undefined));
  assert.ok(!createTrust([])('127.0.0.1'));
});

test('what is no address and no range stops the start and is named', () => {
  for (const range of ['loopback', '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/8/8', 'fd00::/129', '10.0.0/8'])
    assert.throws(
      () => createTrust([range]),
      (error: unknown) => error instanceof PlainError && error.message.includes(range),
      range,
    );
});

test('an id is taken as nginx or a UUID writes it, of a trusted peer; else it is ours', () => {
  const idOf = requestIdOf(createTrust(['127.0.0.1']));
  for (const id of [ID, UUID]) {
    assert.equal(idOf(from('127.0.0.1', { 'x-request-id': id })), id);
    assert.notEqual(idOf(from('127.0.0.2', { 'x-request-id': id })), id);
  }
  for (const id of [ID.toUpperCase(), `${ID}0`, ` ${ID}`, '+79161234567', ''])
    assert.match(idOf(from('127.0.0.1', { 'x-request-id': id })), /^[0-9a-f]{8}-[0-9a-f]{4}-7/);
});

test('a traceparent is taken of version 00 with ids that name something, of a trusted peer', () => {
  const trust = createTrust(['127.0.0.1']);
  assert.equal(traceparentOf(trust, from('127.0.0.1', { traceparent: PARENT })), PARENT);
  assert.equal(traceparentOf(trust, from('127.0.0.2', { traceparent: PARENT })), null);
  for (const odd of [
    PARENT.replace('00-', '01-'),
    PARENT.replace(/[0-9a-f]{32}/, '0'.repeat(32)),
    PARENT.replace(/-[0-9a-f]{16}-/, `-${'0'.repeat(16)}-`),
    `${PARENT}-more`,
  ])
    assert.equal(traceparentOf(trust, from('127.0.0.1', { traceparent: odd })), null, odd);
});
