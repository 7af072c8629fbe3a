import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  completePolicy,
  DEFAULTS,
  durationMs,
  NOTICE_KINDS,
  policyOf,
  settleMsOf,
  tells,
} from '../../src/domain/policy.ts';
import { checkPolicy } from '../../src/domain/policy-document.ts';
import { parseReminderTime, reminderMoment, reminderName } from '../../src/domain/reminder-time.ts';
import type { Audience } from '../../src/domain/team.ts';

function faultsOf(value: unknown): readonly { path: string; says: string }[] {
  const checked = checkPolicy(value);
  return 'faults' in checked ? checked.faults : [];
}

test('the default is sound, and what it says is what an empty document means', () => {
  assert.deepEqual(faultsOf(DEFAULTS), []);
  assert.deepEqual(policyOf(DEFAULTS), policyOf({}));
  assert.deepEqual(completePolicy({}), DEFAULTS);
});

test('by default every change is told to the client, at once, whoever made the booking', () => {
  const policy = policyOf({});
  for (const kind of NOTICE_KINDS.filter(each => each !== 'confirmed' && each !== 'move_asked')) {
    assert.equal(settleMsOf(policy, kind), 5_000);
    assert.equal(policy.quietHours.notices, 'send');
    for (const origin of ['bot', 'widget', 'app', 'aggregator', 'admin', 'unknown'] as const) {
      assert.ok(tells(policy, kind, origin, 'client'));
    }
  }
});

test('by default administrators hear of what clients do by themselves and of every slot that is freed', () => {
  const policy = policyOf({});
  const hears = (kind: (typeof NOTICE_KINDS)[number], audience: Audience) =>
    (['widget', 'bot', 'admin'] as const).filter(origin => tells(policy, kind, origin, audience)).join();
  assert.deepEqual(
    NOTICE_KINDS.map(kind => `${kind}: ${hears(kind, 'staff')} | ${hears(kind, 'administrator')}`),
    [
      'booked: widget,bot,admin | widget,bot',
      'rescheduled: widget,bot,admin | widget,bot',
      'staff_changed: widget,bot,admin | ',
      'services_changed: widget,bot,admin | ',
      'changed: widget,bot,admin | widget,bot',
      'cancelled: widget,bot,admin | widget,bot,admin',
      'restored: widget,bot,admin | widget,bot',
      'confirmed:  | ',
      'move_asked:  | widget,bot,admin',
    ],
  );
});

test('a document from before there was a team tells the same clients: who is told of any is not added to', () => {
  const policy = policyOf({ tell: { booked: { any: [] }, cancelled: { widget: [] } } });
  assert.ok(!tells(policy, 'booked', 'admin', 'client'), 'the default has a word of its own for admin');
  assert.ok(!tells(policy, 'cancelled', 'widget', 'client'));
  assert.ok(tells(policy, 'cancelled', 'admin', 'client'));
});

test('rules of the team are completed one by one, and a notice to them is not dropped', () => {
  const { team } = policyOf({ team: { staff: { quietHours: { to: '07:00' } }, digest: { at: null } } });
  assert.deepEqual(team.staff.quietHours, { from: '22:00', to: '07:00', notices: 'defer' });
  assert.deepEqual(team.digest, { at: null, about: 'tomorrow', whenEmpty: false });
  const faults = faultsOf({ team: { staff: { quietHours: { notices: 'drop' } }, master: {} } });
  assert.deepEqual(
    faults.map(({ path }) => path),
    ['team.staff.quietHours.notices', 'team.master'],
  );
});

test('a salon writes only what it wants otherwise', () => {
  const policy = policyOf({ tell: { booked: { widget: [] } }, settle: { cancelled: '1m' } });
  assert.ok(!tells(policy, 'booked', 'widget', 'client'));
  assert.ok(tells(policy, 'booked', 'admin', 'client'));
  assert.ok(tells(policy, 'cancelled', 'widget', 'client'));
  assert.deepEqual([settleMsOf(policy, 'cancelled'), settleMsOf(policy, 'booked')], [60_000, 5_000]);
});

test('news is gathered for from a minute to a day, or in the digest where there is one', () => {
  const faults = (gather: unknown, digest = {}) => faultsOf({ team: { administrator: { gather }, digest } });
  for (const sound of [null, '1m', '15m', '1d', 'digest']) assert.deepEqual(faults(sound), [], `${sound}`);
  for (const odd of ['30s', '25h', 'dijest', '', 15])
    assert.deepEqual(
      faults(odd).map(({ path }) => path),
      ['team.administrator.gather'],
    );
  assert.match(faults('digest', { at: null })[0]?.says ?? '', /nobody would hear/);
  assert.equal(faultsOf({ team: { staff: { gather: '15m' } } })[0]?.path, 'team.staff.gather');
  const policy = policyOf({ team: { administrator: { gather: 'digest' } } });
  assert.ok(
    !tells(policy, 'booked', 'widget', 'administrator') && tells(policy, 'booked', 'widget', 'staff'),
  );
});

test('an unknown key is refused with its path and the one that was meant', () => {
  assert.deepEqual(faultsOf({ reminder: {} }), [
    { path: 'reminder', says: 'is not known; did you mean reminders?' },
  ]);
  assert.deepEqual(faultsOf({ tell: { booked: { wiget: [] }, cancled: {} } }), [
    { path: 'tell.booked.wiget', says: 'is not known; did you mean widget?' },
    { path: 'tell.cancled', says: 'is not known; did you mean cancelled?' },
  ]);
  assert.match(faultsOf({ afterVisit: { coffee: '1h' } })[0]?.says ?? '', /there are review, noShow, rebook/);
});

test('a message that could never be sent is refused, with the reason', () => {
  assert.deepEqual(faultsOf({ reminders: { at: ['24h', '2h'], minimumLead: '3h' } }), [
    {
      path: 'reminders.at.1',
      says: 'would never be sent: reminders.minimumLead lets none leave later than 3h before the visit',
    },
  ]);
  assert.equal(faultsOf({ reminders: { at: ['20m'] } })[0]?.path, 'reminders.at.0', 'by the default of 30m');
  assert.deepEqual(faultsOf({ reminders: { at: ['3h', '1d', '9:00 the same day'], minimumLead: '3h' } }), []);
  assert.deepEqual(faultsOf({ reminders: { minimumLead: '3h' } }), [], 'fewer of the usual ones');
  for (const kind of ['review', 'noShow', 'rebook']) {
    assert.deepEqual(faultsOf({ afterVisit: { [kind]: '0s' } }), [
      { path: `afterVisit.${kind}`, says: 'must be at least 1m: sooner, it is over before it is planned' },
    ]);
    assert.deepEqual(faultsOf({ afterVisit: { [kind]: '1m' } }), []);
  }
});

test('what there is to choose from is said once', () => {
  assert.deepEqual(faultsOf({ quietHours: { notices: 'drop' } }), [
    { path: 'quietHours.notices', says: 'must be one of send, defer' },
  ]);
});

test('an unknown word is refused in the same way', () => {
  const [fault] = faultsOf({ quietHours: { reminders: 'defere' } });
  assert.deepEqual(fault, {
    path: 'quietHours.reminders',
    says: 'must be one of send, defer, drop; did you mean defer?',
  });
  assert.equal(faultsOf({ tell: { booked: { any: ['clients'] } } })[0]?.path, 'tell.booked.any.0');
});

const REFUSED: readonly [string, unknown, string][] = [
  ['no object', [], 'the policy'],
  ['a settle time that nobody would wait for', { settle: { any: '11m' } }, 'settle.any'],
  ['a duration without a unit', { settle: { any: '5' } }, 'settle.any'],
  ['an hour that no clock shows', { quietHours: { from: '24:00' } }, 'quietHours.from'],
  ['a notice that is dropped', { quietHours: { notices: 'drop' } }, 'quietHours.notices'],
  ['a reminder at no time', { reminders: { at: ['0h'] } }, 'reminders.at.0'],
  ['a reminder after the visit', { reminders: { at: ['20:00 the day after'] } }, 'reminders.at.0'],
  ['a reminder a year before', { reminders: { at: ['365d'] } }, 'reminders.at.0'],
  ['two reminders at one time', { reminders: { at: ['2h', '120m'] } }, 'reminders.at'],
  [
    'more reminders than anyone bears',
    { reminders: { at: Array.from({ length: 9 }, (_, i) => `${i + 1}h`) } },
    'reminders.at',
  ],
  ['somebody whom no address is kept of', { tell: { booked: { any: ['admin'] } } }, 'tell.booked.any.0'],
  ['somebody told twice', { tell: { booked: { any: ['client', 'client'] } } }, 'tell.booked.any'],
];

for (const [what, document, path] of REFUSED) {
  test(`refused: ${what}`, () => {
    assert.deepEqual([...new Set(faultsOf(document).map(fault => fault.path))], [path]);
  });
}

test('a reminder time has one spelling', () => {
  const checked = checkPolicy({
    reminders: { at: ['24 h', '120m', '9:00 the same day', '18:00 1 days before'] },
  });
  assert.ok('document' in checked);
  assert.deepEqual(checked.document.reminders?.at, [
    '24h',
    '2h',
    '09:00 the same day',
    '18:00 the day before',
  ]);
  for (const name of checked.document.reminders?.at ?? []) {
    const time = parseReminderTime(name);
    assert.equal(time && reminderName(time), name);
  }
});

test('hours are elapsed time, days and clock times keep their hour over a change of clocks', () => {
  const moment = (text: string, startsLocal: string) => {
    const time = parseReminderTime(text);
    assert.ok(time);
    return new Date(reminderMoment(time, startsLocal, 'Europe/Belgrade')).toISOString();
  };
  // Clocks go from 2:00 to 3:00 in the night to 29 March 2026.
  const visit = '2026-03-29T10:00:00';
  assert.equal(moment('24h', visit), '2026-03-28T08:00:00.000Z', '09:00 on the clock');
  assert.equal(moment('1d', visit), '2026-03-28T09:00:00.000Z', '10:00 on the clock');
  assert.equal(moment('20:00 the day before', visit), '2026-03-28T19:00:00.000Z');
  assert.equal(moment('08:00 the same day', visit), '2026-03-29T06:00:00.000Z');
  assert.equal(moment('18:00 2 days before', visit), '2026-03-27T17:00:00.000Z');
});

test('durations', () => {
  assert.deepEqual(
    ['500ms', '5s', '10 m', '2h', '30d', 'x'].map(durationMs),
    [500, 5_000, 600_000, 7_200_000, 2_592_000_000, 0],
  );
});
