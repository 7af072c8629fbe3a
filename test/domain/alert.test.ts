/** The states of an alert, working time, and the words. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  ALERT_KINDS,
  type AlertKey,
  type AlertState,
  assess,
  type Bulletin,
  type Limits,
  type Reading,
  rulesOf,
} from '../../src/domain/alert.ts';
import { createAlertTexts } from '../../src/domain/alert-text.ts';
import { providerReadings, rejectReadings, silenceReading } from '../../src/domain/readings.ts';
import { readHours, workingMsBetween } from '../../src/domain/working-time.ts';
import { REJECT_CAUSES, type RejectCause } from '../../src/metrics.ts';
import { loadTemplates } from '../../src/templates.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const OFF: Limits = {
  ...{ silent: 0, backlog: 0, dead_letters: 0, missed: 0, rejects: 0, marketplace: 0, unkept: 0 },
  ...{
    certificate: 0,
    api: 0,
    disk: 0,
    database: 0,
    provider: 0,
    account: 0,
    drift: 0,
    refused: 0,
    backup: 0,
  },
};

/** Looks again and again, as the watch does; returns what was told, as `raised 120`. */
function watcher(limits: Partial<Limits>, muted: (key: AlertKey) => boolean = () => false) {
  const rules = rulesOf({ ...OFF, ...limits });
  let states: readonly AlertState[] = [];
  return (now: number, ...readings: Reading[]): string[] => {
    const { open, bulletin } = assess(rules, states, readings, now, { muted });
    states = open;
    return (['raised', 'lasting', 'resolved'] as const).flatMap(sort =>
      bulletin[sort].map(({ kind, subject, value }) => `${sort} ${kind} ${subject} ${value}`),
    );
  };
}
const backlog = (value: number | null): Reading => ({ kind: 'backlog', subject: 'inbox', value });

test('an alert is told once, each day while it lasts, and once when it is over', () => {
  const look = watcher({ backlog: 100 });
  assert.deepEqual(look(0, backlog(99)), []);
  assert.deepEqual(look(MINUTE, backlog(100)), ['raised backlog inbox 100']);
  for (let minute = 2; minute < 24 * 60; minute += 1)
    assert.deepEqual(look(minute * MINUTE, backlog(500)), []);
  assert.deepEqual(look(DAY + MINUTE, backlog(600)), ['lasting backlog inbox 600']);
  assert.deepEqual(look(DAY + 2 * MINUTE, backlog(600)), []);
  assert.deepEqual(look(DAY + 3 * MINUTE, backlog(0)), []);
  assert.deepEqual(look(DAY + 8 * MINUTE, backlog(0)), ['resolved backlog inbox 600']);
  assert.deepEqual(look(DAY + 9 * MINUTE, backlog(0)), []);
});

test('a number that swings around its limit is told once', () => {
  const look = watcher({ backlog: 100 });
  const told = Array.from({ length: 600 }, (_, minute) =>
    look(minute * MINUTE, backlog(minute % 2 === 0 ? 101 : 60)),
  );
  assert.deepEqual(told.flat(), ['raised backlog inbox 101']);
  // Under the threshold of the way back, but never for long enough.
  const later = Array.from({ length: 600 }, (_, minute) =>
    look((600 + minute) * MINUTE, backlog(minute % 4 === 0 ? 101 : 0)),
  );
  assert.deepEqual(later.flat(), []);
});

test('what must last is only suspected until it has, and a number that is not known changes nothing', () => {
  const look = watcher({ api: 15 });
  const api = (value: number | null): Reading => ({ kind: 'api', subject: '7', value });
  assert.deepEqual(look(0, api(1)), []);
  assert.deepEqual(look(14 * MINUTE), [], 'gone before it was raised');
  assert.deepEqual(look(20 * MINUTE, api(1)), []);
  assert.deepEqual(look(30 * MINUTE, api(null)), []);
  assert.deepEqual(look(35 * MINUTE, api(1)), ['raised api 7 1']);
  assert.deepEqual(look(2 * HOUR, api(null)), []);
  assert.deepEqual(look(3 * HOUR), []);
  assert.deepEqual(look(4 * HOUR), ['resolved api 7 1']);
});

test('one that is muted is neither raised nor told again; its end is told, and after the mute it goes on', () => {
  let until = 0;
  let now = 0;
  const look = watcher({ backlog: 100 }, ({ subject }) => subject === 'inbox' && now < until);
  const at = (moment: number, ...readings: Reading[]) => {
    now = moment;
    return look(moment, ...readings);
  };
  const other: Reading = { kind: 'backlog', subject: 'outbox', value: 200 };
  until = 3 * DAY;
  assert.deepEqual(at(0, backlog(500), other), ['raised backlog outbox 200'], 'another subject is not');
  assert.deepEqual(at(2 * DAY, backlog(500)), []);
  assert.deepEqual(at(2 * DAY + HOUR), ['resolved backlog outbox 200']);
  assert.deepEqual(at(2 * DAY + 2 * HOUR, backlog(500)), []);
  assert.deepEqual(
    at(3 * DAY, backlog(500)),
    ['raised backlog inbox 500'],
    'it is over and that is still wrong',
  );
  until = 30 * DAY;
  assert.deepEqual(at(20 * DAY, backlog(600)), []);
  assert.deepEqual(at(30 * DAY, backlog(600)), ['lasting backlog inbox 600']);
  until = 60 * DAY;
  assert.deepEqual(at(40 * DAY, backlog(0)), []);
  assert.deepEqual(at(41 * DAY, backlog(0)), ['resolved backlog inbox 600']);
});

test('0 switches an alert off, one that is open too', () => {
  assert.deepEqual(watcher({})(0, backlog(1e6), { kind: 'disk', subject: '', value: 0 }), []);
  const open: AlertState[] = [
    { ...backlog(9), value: 9, label: '', detail: '', since: 0, raisedAt: 0, toldAt: 0, betterSince: null },
  ];
  assert.deepEqual(assess(rulesOf(OFF), open, [backlog(9)], DAY), {
    open: [],
    bulletin: { raised: [], lasting: [], resolved: [] },
  });
});

test('less is worse for a disk and a certificate', () => {
  const look = watcher({ certificate: 14, disk: 10 });
  const both = (days: number, free: number): Reading[] => [
    { kind: 'certificate', subject: 'a', value: days },
    { kind: 'disk', subject: '', value: free },
  ];
  assert.deepEqual(look(0, ...both(15, 11)), []);
  assert.deepEqual(look(MINUTE, ...both(14, 9)), ['raised certificate a 14']);
  assert.deepEqual(look(3 * MINUTE, ...both(13.9, 9)), ['raised disk  9']);
  assert.deepEqual(
    look(10 * MINUTE, ...both(89, 11)),
    [],
    '11 % is above the limit and not yet well above it',
  );
  assert.deepEqual(look(16 * MINUTE, ...both(89, 50)), ['resolved certificate a 13.9']);
  assert.deepEqual(look(21 * MINUTE, ...both(89, 50)), ['resolved disk  9']);
});

test('working time is the salon’s own, over nights, days off and a change to summer time', () => {
  const hours = readHours('9-21') ?? assert.fail();
  const every = new Set([0, 1, 2, 3, 4, 5, 6]);
  const worked = (from: string, to: string, zone: string, weekdays = every) =>
    workingMsBetween(Date.parse(from), Date.parse(to), { zone, hours, weekdays }) / HOUR;
  assert.equal(worked('2026-11-24T15:00:00Z', '2026-11-24T22:00:00Z', 'Europe/Moscow'), 3);
  assert.equal(worked('2026-11-24T15:00:00Z', '2026-11-25T07:00:00Z', 'Europe/Moscow'), 4);
  assert.equal(worked('2026-11-24T15:00:00Z', '2026-11-25T07:00:00Z', 'Asia/Almaty'), 4);
  assert.equal(worked('2026-11-28T00:00:00Z', '2026-11-30T00:00:00Z', 'UTC', new Set([1, 2, 3, 4, 5])), 0);
  assert.equal(worked('2026-03-28T00:00:00Z', '2026-03-30T00:00:00Z', 'Europe/Belgrade'), 24);
  assert.equal(worked('2020-01-01T00:00:00Z', '2026-01-01T00:00:00Z', 'UTC'), 60 * 12);
  assert.equal(readHours('21-9'), undefined);
  assert.equal(readHours('nine to five'), undefined);
});

test('days off are learnt from the weeks before; a young company has none yet', () => {
  const lastHour = Date.parse('2026-11-20T15:00:00Z'); // a Friday
  const weekdays = Array.from({ length: 28 }, (_, day) => lastHour - day * DAY).filter(
    hour => ![0, 6].includes(new Date(hour).getUTCDay()),
  );
  const company = {
    companyId: 1,
    title: '',
    zone: 'UTC',
    hooked: true,
    imported: true,
    webhooks: 0,
    missed: 0,
    apiError: null,
    lastHour,
  };
  const monday = Date.parse('2026-11-23T10:00:00Z');
  const silent = (hours: readonly number[]) =>
    silenceReading(company, hours, { opens: 9, closes: 21 }, monday).value;
  assert.equal(silent(weekdays), 5 + 1);
  assert.equal(silent(weekdays.slice(0, 5)), 5 + 24 + 1);
});

test('few tries accuse no provider, but may acquit one', () => {
  const of = (tries: number, failed: number) =>
    providerReadings([{ channel: 'email', tries, failed, reason: 'SMTP 535' }], ['email'])[0]?.value;
  assert.deepEqual([of(0, 0), of(4, 4), of(4, 0), of(5, 4)], [null, null, 0, 80]);
  const asRoad = (gaveUp: string | null, tookLately: boolean, tries = 0, failed = 0) =>
    providerReadings(
      [{ channel: 'email', tries, failed, reason: '' }],
      ['email'],
      [{ channel: 'email', gaveUp, tookLately }],
    )[0]?.value;
  assert.deepEqual([asRoad('no such chat', false), asRoad('no such chat', false, 9)], [100, 100]);
  assert.deepEqual([asRoad(null, true), asRoad(null, false), asRoad(null, true, 5, 5)], [0, null, 100]);
});

/** Each cause as the built-in alerts count it, and as the rules for Prometheus do. */
const SORTED: Readonly<Record<string, readonly RejectCause[]>> = {
  refused: [
    ...['company_rate', 'bodies_under_way', 'unreadable', 'event_media_type', 'event_too_large'],
    ...['signature_missing', 'signature_malformed', 'signature_stale', 'signature_mismatch'],
  ] as RejectCause[],
  unkept: ['store_down', 'overloaded', 'error'],
  marketplace: [
    ...REJECT_CAUSES.filter(cause => cause.startsWith('connect_') || cause.startsWith('lifecycle_')),
    'entity_event_here',
  ],
  none: ['not_found', 'method'],
};
const kindOfCause = (cause: RejectCause) =>
  Object.entries(SORTED).find(([, causes]) => causes.includes(cause))?.[0] ?? 'rejects';

test('refusals of a salon’s events, of the marketplace, of what was not kept and of strangers are told apart', () => {
  for (const cause of REJECT_CAUSES) {
    const [reading] = rejectReadings([{ cause, count: 7 }]);
    assert.equal(reading?.kind ?? 'none', kindOfCause(cause), cause);
    if (reading !== undefined) assert.deepEqual(reading, { kind: reading.kind, subject: cause, value: 7 });
  }
});

test('the rules for Prometheus sort the causes of refusals as the built-in alerts do', () => {
  const rules = readFileSync(new URL('../../deploy/prometheus/otklik.rules.yml', import.meta.url), 'utf8');
  const kinds: Readonly<Record<string, string>> = {
    ...{ OtklikRejects: 'rejects', OtklikRefused: 'refused' },
    ...{ OtklikMarketplaceRejects: 'marketplace', OtklikUnkept: 'unkept' },
  };
  const found = [
    ...rules.matchAll(/- alert: (\w+)\n\s+expr: .*otklik_requests_rejected_total\{cause(=~|!~)"([^"]+)"\}/g),
  ].map(([, name = '', sign, pattern = '']) => {
    const matches = new RegExp(`^(?:${pattern})$`);
    return { kind: kinds[name], has: (cause: string) => matches.test(cause) === (sign === '=~') };
  });
  assert.equal(found.length, 4);
  for (const cause of REJECT_CAUSES) {
    const by = found.flatMap(({ kind, has }) => (has(cause) ? [kind] : []));
    assert.deepEqual(
      by,
      [kindOfCause(cause)].filter(kind => kind !== 'none'),
      cause,
    );
  }
});

test('docs/operations.md says of every cause of a refusal what to do', () => {
  const operations = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8');
  for (const [kind, anchor] of [
    ...['rejects', 'refused', 'unkept', 'marketplace'].map(one => [one, `alert-${one}`] as const),
    ['none', 'alert-rejects'] as const,
  ]) {
    const entry = operations.split(`<a id="${anchor}"></a>`)[1]?.split('\n### ')[0] ?? '';
    const named = new Set([...entry.matchAll(/`([a-z_]+)`/g)].map(([, cause]) => cause));
    const missing = REJECT_CAUSES.filter(cause => kindOfCause(cause) === kind && !named.has(cause));
    assert.deepEqual(missing, [], `the entry ${anchor} does not name them`);
  }
});

test('every alert has words in both languages, and an entry in docs/operations.md that they lead to', () => {
  const texts = createAlertTexts(loadTemplates());
  const operations = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8');
  for (const locale of ['ru', 'en'] as const) {
    for (const kind of ALERT_KINDS) {
      const { subject, text } = texts.render(locale, bulletinOf(kind), 90 * MINUTE);
      assert.match(subject, locale === 'ru' ? /тревога: \S/ : /alert: \S/, kind);
      assert.match(
        text,
        new RegExp(`🔴 .{20,}\\n.*docs/operations\\.md#alert-${kind}$`),
        `${locale} ${kind}`,
      );
    }
  }
  const entries = new Set([...operations.matchAll(/<a id="alert-(\w+)">/g)].map(match => match[1]));
  assert.deepEqual(
    ALERT_KINDS.filter(kind => !entries.has(kind)),
    [],
  );
});

test('a platform that is down for every company makes one message that can be read', () => {
  const texts = createAlertTexts(loadTemplates());
  const [one] = bulletinOf('api').raised;
  if (one === undefined) assert.fail();
  const raised = Array.from({ length: 500 }, (_, id) => ({
    ...one,
    subject: String(id),
    detail: 'x'.repeat(5000),
  }));
  const { subject, text } = texts.render('ru', { raised, lasting: raised, resolved: raised }, 0);
  assert.ok(text.length <= 4_096 && subject.length <= 120, `${text.length} and ${subject.length}`);
  assert.match(text, /и ещё 492/);
});

function bulletinOf(kind: AlertState['kind']): Bulletin {
  const state: AlertState = {
    ...{ kind, subject: 'inbox', label: 'Студия Север', detail: 'it said no', value: 1234.56 },
    ...{ since: 0, raisedAt: 0, toldAt: 0, betterSince: null },
  };
  return { raised: [{ ...state, limit: 5 }], lasting: [], resolved: [] };
}
