import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readBody } from '../../src/ingest/read-body.ts';
import type { NewEvent } from '../../src/store/inbox.ts';

const AT = 1_795_000_000_000;
const options = { companyId: 1, receivedAt: AT, source: 'webhook' } as const;
const body = (data: unknown, more = {}) =>
  Buffer.from(
    JSON.stringify({ company_id: 1, resource: 'record', resource_id: 7, status: 'update', data, ...more }),
  );

function one(raw: Buffer, more: Partial<Parameters<typeof readBody>[1]> = {}): NewEvent {
  const read = readBody(raw, { ...options, ...more });
  assert.ok(!('unreadable' in read), JSON.stringify(read));
  const [event] = read;
  assert.ok(event);
  return event;
}

function refusal(raw: Buffer | string): string {
  const read = readBody(Buffer.from(raw), options);
  assert.ok('unreadable' in read);
  return read.unreadable;
}

const versioned = { last_change_date: '2026-11-24T12:00:00+0300' };

test('equal bytes are one event for ever when they carry a version', () => {
  const raw = body(versioned);
  assert.equal(one(raw).eventId, one(raw, { receivedAt: AT + 3_600_000 }).eventId);
});

test('equal bytes without a version are one event within a minute only', () => {
  const raw = body([]);
  assert.equal(one(raw, { receivedAt: 60_000 }).eventId, one(raw, { receivedAt: 119_999 }).eventId);
  assert.notEqual(one(raw, { receivedAt: 60_000 }).eventId, one(raw, { receivedAt: 120_000 }).eventId);
});

test('bytes that differ, or another status, are another event', () => {
  assert.notEqual(one(body({ ...versioned, a: 1 })).eventId, one(body({ ...versioned, a: 2 })).eventId);
  assert.notEqual(one(body(versioned)).eventId, one(body(versioned, { status: 'create' })).eventId);
});

test('an authenticated id is the key', () => {
  assert.equal(
    one(body({ a: 1 }), { authenticId: 'x' }).eventId,
    one(body({ a: 2 }), { authenticId: 'x' }).eventId,
  );
});

test('under one authenticated id the events of a list are as many, and the same when the list comes again', () => {
  const list = Buffer.from(
    JSON.stringify([1, 2].map(id => JSON.parse(body({}, { resource_id: id }).toString()))),
  );
  const ids = () => {
    const read = readBody(list, { ...options, authenticId: 'x' });
    assert.ok(!('unreadable' in read));
    return read.map(({ eventId }) => eventId);
  };
  assert.equal(new Set([...ids(), ...ids()]).size, 2);
});

test('what JSONB refuses is cleaned, and the bytes are kept', () => {
  const raw = Buffer.from(
    '{"company_id":1,"resource":"record","resource_id":7,"status":"update","data":{"comment":"a\\u0000b\\ud800c😀","x":NaN,"y":"NaN"}}',
  );
  const event = one(raw);
  assert.deepEqual(JSON.parse(event.payload.toString()).data, { comment: 'abc😀', x: null, y: 'NaN' });
  assert.deepEqual(event.raw, raw);
});

test('a number larger or finer than JSONB holds becomes what JavaScript makes of it', () => {
  const raw = Buffer.from(
    `{"company_id":1,"resource":"record","resource_id":7,"status":"update","data":{"a":1e200000,"b":-2E-20000,"c":${'9'.repeat(140_000)},"d":0.${'1'.repeat(20_000)}}}`,
  );
  const event = one(raw);
  assert.deepEqual(JSON.parse(event.payload.toString()).data, {
    a: null,
    b: 0,
    c: null,
    d: 0.1111111111111111,
  });
  assert.deepEqual(event.raw, raw);
});

test('what only looks like such a number, in a text, stays as it is', () => {
  const raw = body({ id: '01effc9e-5201', digest: '9e1234', long: '1'.repeat(10_000), x: 1.5e300 });
  assert.equal(one(raw).payload, raw);
  assert.equal(one(raw).raw, null);
});

test('a clean body is stored as it came', () => {
  const raw = body({ comment: 'Окно 😀' });
  assert.equal(one(raw).payload, raw);
  assert.equal(one(raw).raw, null);
});

test('a list is as many events', () => {
  const read = readBody(Buffer.from(`[${body(versioned)},${body({ a: 1 })}]`), options);
  assert.ok(!('unreadable' in read));
  assert.equal(read.length, 2);
});

test('what is no event is refused with its reason', () => {
  assert.match(refusal(''), /empty/);
  assert.match(refusal('{"company_id":1'), /not JSON/);
  assert.match(refusal('{"company_id":1}'), /resource/);
  assert.match(refusal('"text"'), /not an event/);
  assert.match(refusal('[]'), /list/);
  assert.match(refusal('['.repeat(100_000)), /deeper/);
  assert.match(refusal(body([], { company_id: 2 })), /does not belong/);
});

test('keys named like JavaScript’s own are data', () => {
  const raw = Buffer.from(
    '{"__proto__":{"company_id":1,"resource":"record","status":"create"},"company_id":1,"resource":"record","resource_id":7,"status":"update","data":{"__proto__":{"deleted":true}}}',
  );
  assert.equal(one(raw).status, 'update');
  const cleaned = one(
    Buffer.from(raw.toString().replace('"deleted":true', '"deleted":true,"name":"\\u0000"')),
  );
  assert.equal(cleaned.status, 'update');
  assert.match(
    cleaned.payload.toString(),
    /"data":\{"__proto__":\{"deleted":true,"name":""\}\}/,
    'and stay so',
  );
  assert.equal(Object.hasOwn(Object.prototype, 'deleted'), false);
});

test('salon and company are one resource, a good is keyed by its good_id, types are named as in the brief', () => {
  assert.equal(one(body({}, { resource: 'salon' })).resource, 'company');
  assert.equal(one(body({ good_id: 701 }, { resource: 'good', resource_id: undefined })).resourceId, 701);
  assert.equal(one(body({}, { status: 'delete' })).eventType, 'record.deleted');
});
