/** Whoever gives a wrong value is told so in words for people, wherever they gave it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { describeSettings, readConfig } from '../src/config.ts';
import { ROUTES, refusalOf } from '../src/http/api.ts';

/** zod's own. */
const FOREIGN = /\b(invalid|expected|received|too (small|big)|unrecogni[sz]ed|NaN)\b|[<>]=/i;

function faultOf(schema: z.ZodType, value: unknown): string {
  const { error } = schema.safeParse(value);
  return refusalOf(error)?.detail ?? assert.fail('it was taken');
}

test('of a wrong setting it is said what it must be', () => {
  const says = (name: string, value: string) => {
    try {
      readConfig({ [name]: value });
    } catch (error) {
      return String(error);
    }
    return '';
  };
  assert.match(says('PUBLIC_PORT', 'abc'), /\n {2}PUBLIC_PORT: must be a number$/);
  assert.match(says('PUBLIC_PORT', '70000'), /\n {2}PUBLIC_PORT: must be at most 65535$/);
  assert.match(says('RATE_PER_COMPANY', '0'), /\n {2}RATE_PER_COMPANY: must be above 0$/);
  assert.match(says('RATE_PER_COMPANY', '1.5'), /\n {2}RATE_PER_COMPANY: must be a whole number$/);
  assert.match(says('ROLES', 'receive,cook'), /\n {2}ROLES: must be one of receive, process, dispatch/);
  assert.match(says('ROLES', ','), /\n {2}ROLES: must not be empty$/);
  for (const more of ['/otklik', '/otklik/', '//', '/?', '?a=1', '#top', '/#'])
    assert.match(says('PUBLIC_URL', `https://hooks.example.com${more}`), /must be .*without a path/, more);
  for (const good of ['https://hooks.example.com/', 'http://127.0.0.1:8080', 'https://[::1]:8443'])
    assert.equal(says('PUBLIC_URL', good), '', good);
  let refused = 0;
  for (const { name } of describeSettings()) {
    for (const value of ['-1', 'a b', '1.5', '99999999', '\u0000']) {
      const text = says(name, value);
      refused += text === '' ? 0 : 1;
      assert.doesNotMatch(text, FOREIGN, name);
    }
  }
  assert.ok(refused > 150, `${refused} were refused`);
});

test('of a wrong path, query or body it is said what it must be', () => {
  const [company, count, list] = [
    z.object({ title: z.string().min(1).max(200) }),
    z.object({ count: z.number().int().min(2).max(5) }),
    z.object({ route: z.array(z.enum(['sms', 'email'])).min(1) }),
  ];
  assert.equal(faultOf(company, undefined), 'the request: is missing');
  assert.equal(faultOf(company, []), 'the request: must be an object');
  assert.equal(faultOf(company, {}), 'title: is missing');
  assert.equal(faultOf(company, { title: 1 }), 'title: must be text');
  assert.equal(faultOf(company, { title: '' }), 'title: must not be empty');
  assert.equal(faultOf(company, { title: 'x'.repeat(201) }), 'title: must have at most 200 characters');
  assert.equal(faultOf(count, { count: 'two' }), 'count: must be a number');
  assert.equal(faultOf(count, { count: 1 }), 'count: must be at least 2');
  assert.equal(faultOf(list, { route: 'sms' }), 'route: must be a list');
  assert.equal(faultOf(list, { route: ['pigeon'] }), 'route.0: must be one of sms, email');
  let refused = 0;
  for (const { method, path, params, query, body } of ROUTES) {
    for (const schema of [params, query, body]) {
      if (schema === undefined) continue;
      const fields = Object.keys(schema.shape);
      for (const value of ['', -1, 1.5, 'x'.repeat(5_000), {}, [], [{}], true, null, { a: 1 }]) {
        const { error } = schema.safeParse(Object.fromEntries(fields.map(field => [field, value])));
        if (error === undefined) continue;
        refused += 1;
        assert.doesNotMatch(refusalOf(error)?.detail ?? '', FOREIGN, `${method} ${path}`);
      }
    }
  }
  assert.ok(refused > 200, `${refused} were refused`);
});
