/** Our part of a salon's webhook settings changes; what is not ours stays, byte for byte. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  DEFAULT_RESOURCES,
  type HookPlan,
  type HookSettings,
  type HookWish,
  hookResource,
  isOurs,
  readHooks,
  withHook,
  withoutHooks,
} from '../../src/yclients/hooks.ts';
import { changesBetween, verifyHooks } from '../../src/yclients/hooks-diff.ts';
import { type Settings, threeForeign } from '../support/salon-hooks.ts';

const BASE = 'https://otklik.test/in';
const OURS = `${BASE}/webhooks/yclients/key-of-43-letters`;
const OLD = `${BASE}/webhooks/yclients/events?key=older`;

function read(value: unknown): HookSettings {
  const settings = readHooks(value);
  assert.ok(!('unreadable' in settings), JSON.stringify(settings));
  return settings;
}

function add(value: unknown, wish: Partial<HookWish> = {}): HookPlan {
  const plan = withHook(read(value), {
    url: OURS,
    resources: DEFAULT_RESOURCES,
    replaces: [],
    activate: false,
    ...wish,
  });
  assert.ok(!('refused' in plan), JSON.stringify(plan));
  return plan;
}

function refusal(value: unknown, wish: Partial<HookWish> = {}): string {
  const plan = withHook(read(value), {
    url: OURS,
    resources: DEFAULT_RESOURCES,
    replaces: [],
    activate: false,
    ...wish,
  });
  assert.ok('refused' in plan);
  return plan.refused;
}

const older = (): Settings => {
  const { url_settings: _, ...rest } = threeForeign();
  return rest;
};
const isFlag = (name: string) => ['active', 'self_sending', ...Object.keys(FLAGS)].includes(name);
const FLAGS = { record: 1, client: 1, master: 1, service: 1, salon: 1 };
const textOf = (entries: readonly unknown[]) => entries.map(entry => JSON.stringify(entry));

test('three foreign URLs with different flags stay byte for byte in the newer shape', () => {
  const before = threeForeign();
  const text = JSON.stringify(before);
  const { settings, changed } = add(before);
  assert.equal(changed, true);
  assert.equal(JSON.stringify(before), text, 'what was read is not touched');
  const after = read(settings);
  assert.deepEqual(after.urls, [...read(before).urls, OURS]);
  const [crm, bot, old, ours] = after.perUrl ?? [];
  assert.deepEqual(textOf([crm, bot, old]), textOf(read(before).perUrl ?? []));
  assert.deepEqual(ours, { url: OURS, active: 1, record: 1, client: 1, master: 1, service: 1, salon: 1 });
  const rest = ({ urls: _u, url_settings: _s, ...others }: Settings) => JSON.stringify(others);
  assert.equal(rest({ ...settings }), rest(before), 'the flags of all are nobody’s to change');
});

test('in the older shape the flags we need are switched on, and no other value changes', () => {
  const before = older();
  const { settings } = add(before);
  assert.equal(settings.salon, 1);
  assert.equal(settings.master, '1', 'written as it came');
  assert.equal(settings.client, true);
  assert.deepEqual(settings.vendor_extra, before.vendor_extra);
  assert.equal(settings.url_settings, undefined, 'the shape is kept');
  const names = Object.keys(before);
  assert.deepEqual(Object.keys(settings).slice(0, names.length), names, 'in the same order');
});

test('what is there already is not written again', () => {
  for (const value of [threeForeign(), older(), {}, { urls: [''] }, { urls: [''], url_settings: [] }]) {
    const once = add(value);
    assert.equal(once.changed, true);
    assert.equal(add(once.settings).changed, false);
  }
});

test('a salon without any webhook is read in each of its forms', () => {
  for (const value of [[], {}, { urls: [''] }, { urls: [] }, { urls: {}, active: 0 }, { urls: null }]) {
    assert.deepEqual(read(value).urls, []);
    const { settings } = add(value);
    assert.deepEqual(settings.urls, [OURS]);
    assert.equal(settings.active, 1, 'nobody else waits behind the switch');
    assert.equal(settings.record, 1);
  }
  assert.deepEqual(read({ urls: { 0: 'https://a.test/', 2: 'https://b.test/' } }).urls.length, 2);
});

test('settings of no known shape are not written over', () => {
  for (const value of [
    null,
    'x',
    7,
    ['https://a.test'],
    { urls: 'x' },
    { urls: [{ url: 1 }] },
    { urls: [], url_settings: [1] },
  ]) {
    assert.ok('unreadable' in readHooks(value), JSON.stringify(value));
  }
});

test('the eleventh URL is refused, the tenth is not', () => {
  const urls = (count: number) => Array.from({ length: count }, (_, index) => `https://v${index}.test/`);
  assert.equal(read(add({ urls: urls(9), active: 1 }).settings).urls.length, 10);
  assert.match(refusal({ urls: urls(10), active: 1 }), /has 10 webhook URLs already/);
  const full = { urls: [...urls(9), OLD], active: 1 };
  assert.match(refusal(full), /has 10/);
  assert.deepEqual(read(add(full, { replaces: [OLD] }).settings).urls, [...urls(9), OURS]);
});

test('webhooks that are off are switched on for others only when asked', () => {
  const before = { urls: ['https://crm.test/'], active: 0, record: 1 };
  assert.match(refusal(before), /--activate/);
  assert.equal(add(before, { activate: true }).settings.active, 1);
  assert.equal(add({ urls: [OLD], active: 0 }, { replaces: [OLD] }).settings.active, 1);
});

test('an older URL of ours is replaced in its place when asked, else it stays', () => {
  const before = {
    urls: ['https://a.test/', OLD, 'https://b.test/'],
    active: 1,
    url_settings: [
      { url: 'https://a.test/', record: 0 },
      { url: OLD, record: 1 },
      { url: 'https://b.test/' },
    ],
  };
  const kept = read(add(before).settings);
  assert.deepEqual(kept.urls, ['https://a.test/', OLD, 'https://b.test/', OURS]);
  const replaced = read(add(before, { replaces: [OLD] }).settings);
  assert.deepEqual(replaced.urls, ['https://a.test/', OURS, 'https://b.test/']);
  assert.deepEqual(
    replaced.perUrl?.map(({ url }) => url),
    ['https://a.test/', OURS, 'https://b.test/'],
  );
  assert.deepEqual(replaced.perUrl?.[0], { url: 'https://a.test/', record: 0 });
  const both = add({ urls: [OLD, 'https://a.test/', OURS], active: 1 }, { replaces: [OLD] });
  assert.deepEqual(read(both.settings).urls, ['https://a.test/', OURS]);
});

test('events of our own changes are asked for or not where it belongs, and left alone otherwise', () => {
  assert.equal(add(older()).settings.self_sending, 1);
  assert.equal(add(older(), { selfSending: false }).settings.self_sending, 0);
  const newer = add(threeForeign(), { selfSending: false });
  assert.equal(newer.settings.self_sending, 1);
  assert.equal(read(newer.settings).perUrl?.at(-1)?.self_sending, 0);
  assert.equal('self_sending' in add({ urls: [''] }).settings, false);
});

test('ours is known by host and path, not by its looks', () => {
  assert.equal(isOurs(OURS, BASE), true);
  assert.equal(isOurs(OLD, `${BASE}/`), true);
  for (const url of [
    'https://otklik.test/webhooks/yclients/key',
    'https://evil.test/in/webhooks/yclients/key',
    'https://evil.test/?u=https://otklik.test/in/webhooks/yclients/key',
    'https://otklik.test.evil.test/in/webhooks/yclients/key',
    'https://otklik.test:444/in/webhooks/yclients/key',
    'https://otklik.test/in/webhooks/yclients',
    'not a url',
  ]) {
    assert.equal(isOurs(url, BASE), false, url);
  }
});

test('resources go by our names and by the platform’s', () => {
  assert.equal(hookResource('staff'), 'staff');
  assert.equal(hookResource('master'), 'staff');
  assert.equal(hookResource('salon'), 'company');
  assert.equal(hookResource('__proto__'), undefined);
  assert.equal(hookResource('active'), undefined);
});

test('removal takes ours out and nothing else; the last one leaves what stands for none', () => {
  const before = threeForeign();
  const installed = add(before).settings;
  const removed = withoutHooks(read(installed), [OURS]);
  assert.equal(JSON.stringify(removed.settings), JSON.stringify(before));
  assert.equal(withoutHooks(read(before), [OURS]).changed, false);
  assert.deepEqual(withoutHooks(read({ urls: [OURS], active: 1 }), [OURS]).settings.urls, ['']);
});

test('what was not kept is said exactly', () => {
  const before = read(threeForeign());
  const wanted = read(add(threeForeign()).settings);
  assert.deepEqual(verifyHooks(before, wanted, wanted), { faults: [], notes: [] });

  const spelled = JSON.parse(JSON.stringify(wanted.raw).replaceAll(':1,', ':"1",'));
  assert.deepEqual(
    verifyHooks(before, wanted, read(spelled)).faults,
    [],
    'another spelling is no difference',
  );
  const reversed = read({ ...wanted.raw, urls: wanted.urls.toReversed() });
  assert.deepEqual(verifyHooks(before, wanted, reversed).faults, [], 'nor is another order');

  const ignored = verifyHooks(before, wanted, before);
  assert.deepEqual(ignored.faults, [`URL ${OURS} is missing`, `the settings of ${OURS} are missing`]);
  const dropped = read({ ...wanted.raw, urls: wanted.urls.slice(1) });
  assert.deepEqual(verifyHooks(before, wanted, dropped).faults, [
    'URL https://crm.test/hook?token=abc is missing',
  ]);
  const altered = read({ ...wanted.raw, finances_operation: 0 });
  assert.deepEqual(verifyHooks(before, wanted, altered).faults, [
    'finances_operation should be on and is off',
  ]);
  const [first, ...others] = wanted.perUrl ?? [];
  const bent = read({ ...wanted.raw, url_settings: [{ ...first, client: 1 }, ...others] });
  assert.deepEqual(verifyHooks(before, wanted, bent).faults, [
    'client of https://crm.test/hook?token=abc should be off and is on',
  ]);
  const joined = read({ ...wanted.raw, urls: [...wanted.urls, 'https://new.test/'] });
  assert.deepEqual(verifyHooks(before, wanted, joined), {
    faults: [],
    notes: ['URL https://new.test/ has come meanwhile; it is not ours'],
  });
});

test('a flag that the platform never shows is a note, one that it no longer shows is a fault', () => {
  const value = { urls: [''], active: 1, record: 0 };
  const wanted = read(add(value, { resources: ['record', 'schedule'] }).settings);
  const { schedule: _, ...shown } = wanted.raw;
  assert.deepEqual(verifyHooks(read(value), wanted, read(shown)), {
    faults: [],
    notes: ['schedule: the platform does not show it'],
  });
  const { record: __, ...less } = wanted.raw;
  assert.deepEqual(verifyHooks(read(value), wanted, read(less)).faults, ['record was on and is gone']);
});

test('a URL of ours that stays after its removal is a fault', () => {
  const before = read({ urls: [OURS, 'https://a.test/'], active: 1 });
  const wanted = read(withoutHooks(before, [OURS]).settings);
  assert.deepEqual(verifyHooks(before, wanted, before).faults, [
    `URL ${OURS} should be gone and is still there`,
  ]);
  assert.deepEqual(changesBetween(before, wanted), [`remove URL ${OURS}`]);
});

const flag = fc.constantFrom(0, 1, true, false, '0', '1');
const name = fc.oneof(
  fc.constantFrom(
    'active',
    'record',
    'client',
    'master',
    'salon',
    'service',
    'self_sending',
    '__proto__',
    '0',
  ),
  fc.string(),
);
const bag = fc.dictionary(name, fc.oneof(flag, fc.jsonValue()));
// In place of `fc.webUrl`, which lists every character beforehand: 1.5 s of a core.
const part = fc.string({ unit: 'grapheme' }).map(encodeURIComponent);
const foreign = fc
  .record({ host: fc.domain(), path: fc.array(part), query: fc.option(part) })
  .map(({ host, path, query }) => `https://${[host, ...path].join('/')}${query === null ? '' : `?${query}`}`);
const settingsOf = fc
  .record({
    urls: fc.uniqueArray(foreign, { maxLength: 9 }),
    rest: bag,
    own: fc.array(bag, { maxLength: 9 }),
    newer: fc.boolean(),
  })
  .map(({ urls, rest, own, newer }): unknown => {
    const entries = urls.map((url, index) => ({ ...own[index], url }));
    // As it comes over the wire: `__proto__` is a key like any other.
    const { urls: _u, url_settings: _s, ...bare } = rest;
    return JSON.parse(JSON.stringify({ ...bare, urls, ...(newer ? { url_settings: entries } : {}) }));
  });

test('whatever the settings are, nothing that is not ours is changed, and removal gives them back', () => {
  fc.assert(
    fc.property(settingsOf, fc.subarray([...DEFAULT_RESOURCES]), (value, resources) => {
      const before = read(value);
      const plan = add(value, { resources, activate: true });
      const after = read(plan.settings);
      assert.deepEqual(after.urls, [...before.urls, OURS]);
      if (before.perUrl !== undefined && before.perUrl.length > 0) {
        assert.deepEqual(textOf(after.perUrl?.slice(0, -1) ?? []), textOf(before.perUrl));
      }
      for (const [key, was] of Object.entries(before.raw)) {
        if (key === 'urls' || key === 'url_settings') continue;
        const allowed = isFlag(key) && before.perUrl === undefined;
        if (!allowed && key !== 'active')
          assert.equal(JSON.stringify(after.raw[key]), JSON.stringify(was), key);
      }
      assert.deepEqual(verifyHooks(before, after, after).faults, []);
      assert.equal(add(plan.settings, { resources, activate: true }).changed, false);
      const removed = read(withoutHooks(after, [OURS]).settings);
      assert.deepEqual(removed.urls, before.urls);
      if (before.perUrl?.length) assert.deepEqual(textOf(removed.perUrl ?? []), textOf(before.perUrl));
    }),
    { numRuns: 500 },
  );
});
