/** Where a name leads: as the world is told by the DNS, whatever the hosts file of this machine says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkName, type Named, type Names, systemNames } from '../../../src/commands/outside/name.ts';
import { namesOf, startDns } from '../../support/names.ts';

const NAME = new URL('https://hooks.example.com');
const PUBLIC = '93.184.216.34';
const PUBLIC_SIX = '2606:2800:220:1::1';

function said({ findings }: Named): string {
  return findings.map(({ check, state, says }) => `${state} ${check}: ${says}`).join('\n');
}

test('each thing that can be wrong with a name is told by its own words, and what is right is gone on with', async () => {
  const cases: readonly (readonly [string, Names, readonly RegExp[], readonly string[]])[] = [
    [
      'known',
      namesOf({ four: [PUBLIC], six: [PUBLIC_SIX] }),
      [/^ok name: .* is 93\S+, 2606\S+$/],
      [PUBLIC, PUBLIC_SIX],
    ],
    ['without an AAAA record', namesOf({ four: [PUBLIC] }), [/^ok name/], [PUBLIC]],
    ['unknown', namesOf({ here: 'ENOTFOUND' }), [/^fault name: .*not known to the DNS: add an A/], []],
    [
      'with a resolver that is down',
      namesOf({ four: 'ETIMEOUT', six: 'ETIMEOUT', here: 'EAI_AGAIN' }),
      [/^fault name: nobody answers this machine about names \(ETIMEOUT\).*resolv\.conf/],
      [],
    ],
    [
      'whose name servers fail',
      namesOf({ four: 'ESERVFAIL', six: 'ESERVFAIL', here: 'EAI_AGAIN' }),
      [/^fault name: the DNS fails at .*\(ESERVFAIL\).*name servers of its zone/],
      [],
    ],
    [
      'of the hosts file alone',
      namesOf({ here: ['127.0.0.1'] }),
      [
        /^note name: the DNS does not know .*only the hosts file/,
        /^note name: .*127\.0\.0\.1, which nobody outside/m,
      ],
      ['127.0.0.1'],
    ],
    [
      'of the hosts file, and no DNS there',
      namesOf({ four: 'ECONNREFUSED', six: 'ECONNREFUSED', here: ['127.0.0.1'] }),
      [/^note name: the DNS could not be asked .*\(ECONNREFUSED\)/],
      ['127.0.0.1'],
    ],
    [
      'of which the hosts file says something else',
      namesOf({ four: [PUBLIC], here: ['127.0.1.1'] }),
      [/^note name: this machine itself takes .* for 127\.0\.1\.1/, /^ok name: .*93\.184/m],
      [PUBLIC],
    ],
    [
      'with a private address',
      namesOf({ four: ['192.168.1.5'] }),
      [
        /^fault name: .*192\.168\.1\.5, which nobody outside can reach: let its record name the public address/,
      ],
      ['192.168.1.5'],
    ],
    [
      'with a private address beside a public one',
      namesOf({ four: [PUBLIC, '10.0.0.1'] }),
      [/^fault name: \S+ is 10\.0\.0\.1, which/],
      [PUBLIC, '10.0.0.1'],
    ],
    [
      'with an address of this machine',
      namesOf({ four: [PUBLIC], own: ['127.0.0.1', PUBLIC] }),
      [
        /^note firewall: 93\S+ is this machine’s own.*`curl -i https:\/\/hooks\.example\.com\/` and expect 404/m,
      ],
      [PUBLIC],
    ],
  ];
  for (const [what, names, expected, addresses] of cases) {
    const named = await checkName(NAME, names);
    for (const one of expected) assert.match(said(named), one, what);
    assert.equal(said(named).includes('fault'), String(expected).includes('fault'), said(named));
    if (addresses.length > 0) assert.deepEqual(named.addresses, addresses, what);
  }
});

test('localhost and an address are no business of the DNS', async () => {
  const names = namesOf({ four: 'ESERVFAIL', here: ['127.0.0.1', '::1'] });
  for (const host of ['localhost', 'hooks.localhost']) {
    const named = await checkName(new URL(`https://${host}`), names);
    assert.match(said(named), /^note name: \S+ is 127\.0\.0\.1, ::1, which nobody outside can reach$/);
  }
  assert.match(said(await checkName(new URL(`https://${PUBLIC}`), names)), /^ok name/);
  assert.match(said(await checkName(new URL('https://[::1]:8443'), names)), /^note name: ::1 is ::1/);
  assert.match(said(await checkName(new URL('https://192.168.1.5'), names)), /^fault name/);
});

test('a DNS server’s own words for a record, none of this kind, no such name and a failure are understood', async t => {
  const dns = await startDns({
    'hooks.example.com': [PUBLIC],
    'bare.example.com': [],
    'ill.example.com': 'FAIL',
  });
  t.after(() => dns.close());
  const { resolve } = systemNames({ servers: [dns.server] });
  const heard = (name: string) =>
    checkName(new URL(`https://${name}`), { ...namesOf({ here: 'ENOTFOUND' }), resolve });
  assert.deepEqual((await heard('hooks.example.com')).addresses, [PUBLIC]);
  assert.match(said(await heard('bare.example.com')), /not known to the DNS/);
  assert.match(said(await heard('none.example.com')), /not known to the DNS/);
  assert.match(said(await heard('ill.example.com')), /the DNS fails at .*\(ESERVFAIL\)/);
});

test('a DNS server that is silent, and one that is not there, are told apart from a name that is unknown', async t => {
  const silent = await startDns({});
  t.after(() => silent.close());
  const hearing = (servers: readonly string[]) => {
    const { resolve } = systemNames({ servers, timeoutMs: 50 });
    return checkName(NAME, { ...namesOf({ here: 'ENOTFOUND' }), resolve });
  };
  silent.mute();
  assert.match(said(await hearing([silent.server])), /nobody answers this machine about names \(ETIMEOUT\)/);
  const gone = await startDns({});
  gone.close();
  assert.match(said(await hearing([gone.server])), /nobody answers this machine about names \(E\w+\)/);
});
