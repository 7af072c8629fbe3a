import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type CourseOptions, gapsAt, type Happening, step } from '../../src/simulator/course.ts';
import { parseFaults } from '../../src/simulator/faults.ts';
import { createRandom } from '../../src/simulator/random.ts';
import { openSalon, type SalonRecord } from '../../src/simulator/salon.ts';

const START = Date.UTC(2026, 6, 1, 9, 0, 3, 120);
const OPTIONS: CourseOptions = { faults: parseFaults('all'), gapMs: gapsAt(2), others: true };

function happeningsOf(seed: number, count: number, options: Partial<CourseOptions> = {}, records = 36) {
  const random = createRandom(seed);
  const salon = openSalon(
    { companyId: 1, brand: 'yclients', zone: 'Asia/Yekaterinburg', records },
    random,
    START,
  );
  let course = { salon, random, nextAt: START };
  const happenings: Happening[] = [];
  for (let index = 0; index < count; index += 1) {
    const next = step(course, { ...OPTIONS, ...options });
    course = next.course;
    if (next.happening !== null) happenings.push(next.happening);
  }
  return happenings;
}

/** One long day, looked at by many tests. */
const DAY = happeningsOf(1, 2500);

/** Every state of every record, in order. */
function statesOf(happenings: readonly Happening[]): ReadonlyMap<number, readonly SalonRecord[]> {
  const changes = happenings.flatMap(({ told }) => told.map(({ change }) => change));
  const states = new Map<number, SalonRecord[]>();
  for (const { before, after } of changes) {
    const earlier = states.get(after.id) ?? (before === null ? [] : [before]);
    states.set(after.id, [...earlier, after]);
  }
  return states;
}

function countBy<T>(items: readonly T[], name: (item: T) => string): ReadonlyMap<string, number> {
  return new Map([...Map.groupBy(items, name)].map(([key, group]) => [key, group.length]));
}

test('the same seed makes the same salon day, to the byte', () => {
  const bodies = (seed: number) =>
    happeningsOf(seed, 300).flatMap(({ webhooks }) => webhooks.map(one => one.body));
  assert.deepEqual(bodies(7), bodies(7));
  assert.notDeepEqual(bodies(7), bodies(8));
});

test('the first action is a new booking', () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const [first] = happeningsOf(seed, 1);
    assert.equal(first?.action.kind, 'create');
  }
});

test('everything that people do at a salon happens within 2500 actions, new bookings most', () => {
  const kinds = countBy(DAY, ({ action }) => action.kind);
  const least: Record<string, number> = {
    create: 400,
    walk_in: 15,
    reschedule: 150,
    change_staff: 50,
    change_services: 50,
    change_several: 15,
    delete: 50,
    cancel: 50,
    restore: 50,
    confirm: 50,
    arrive: 40,
    no_show: 8,
    pay: 100,
    edit_comment: 30,
    edit_over: 20,
    hand_over: 20,
    client: 20,
    staff: 3,
    service: 3,
    service_category: 3,
    company: 3,
    salon: 3,
    schedule: 10,
    good: 3,
    goods_operations_sale: 3,
    goods_operations_receipt: 3,
    goods_operations_consumable: 3,
    goods_operations_stolen: 3,
    goods_operations_move: 3,
    finances_operation: 20,
    loyalty_card: 3,
    tips_payment: 1,
    resource_instance: 1,
    chain_report: 1,
  };
  for (const [kind, count] of Object.entries(least)) {
    assert.ok((kinds.get(kind) ?? 0) >= count, `${kind}: ${kinds.get(kind) ?? 0} of at least ${count}`);
  }
  assert.deepEqual(
    [...kinds.keys()].filter(kind => !(kind in least)),
    [],
  );
});

test('successive states of a record are at least a second apart in version', () => {
  const histories = [...statesOf(DAY).values()];
  assert.ok(histories.filter(states => states.length > 3).length > 100);
  for (const states of histories) {
    const versions = states.map(state => state.version);
    assert.ok(versions.every(version => version % 1000 === 0));
    assert.ok(
      versions.every((version, index) => index === 0 || version >= (versions[index - 1] ?? 0) + 1000),
    );
  }
});

test('a record deleted without a version never changes again', () => {
  const histories = [...statesOf(DAY).values()];
  const gone = histories.filter(states => states.some(state => state.gone));
  assert.ok(gone.length > 20);
  assert.ok(gone.every(states => states.findIndex(state => state.gone) === states.length - 1));
});

test('a deletion with a full body is sometimes taken back', () => {
  const histories = [...statesOf(DAY).values()];
  const restored = histories.filter(states =>
    states.some((state, index) => states[index - 1]?.deleted && !state.deleted),
  );
  assert.ok(restored.length > 10);
});

test('no deletion is bare when that fault is off', () => {
  const faults = parseFaults('unknown');
  const states = [...statesOf(happeningsOf(5, 1000, { faults })).values()].flat();
  assert.ok(states.some(state => state.deleted));
  assert.ok(states.every(state => !state.gone));
});

test('an action on a visit is told by each of its records, with one version', () => {
  const several = DAY.filter(({ told }) => told.length > 1);
  assert.ok(several.length > 200);
  for (const { told, webhooks } of several) {
    assert.equal(webhooks.length, told.length);
    assert.equal(new Set(told.map(({ change }) => change.after.visitId)).size, 1);
    assert.equal(new Set(told.map(({ change }) => change.after.version)).size, 1);
  }
});

test('records change within seconds of each other, as people correct what they typed', () => {
  const histories = [...statesOf(DAY).values()];
  const quick = histories.flatMap(states =>
    states.filter((state, index) => state.version - (states[index - 1]?.version ?? 0) <= 4000),
  );
  assert.ok(quick.length > 50);
});

test('visits that are over, under way and years old are edited', () => {
  const told = DAY.flatMap(({ told: changes, action }) =>
    changes.map(({ change }) => ({ ...change, at: action.at })),
  );
  const edited = told.filter(({ before }) => before !== null);
  const yearMs = 365 * 24 * 3_600_000;
  assert.ok(edited.some(({ after, at }) => after.startsAt < at - yearMs));
  assert.ok(edited.filter(({ after, at }) => after.startsAt < at).length > 100);
});

test('a full journal makes no more records, and goes still when none of them may change', () => {
  const happenings = happeningsOf(9, 500, { mostRecords: 1, others: false, gapMs: () => 1500 }, 0);
  const states = statesOf(happenings);
  assert.equal(states.size, 1);
  assert.equal([...states.values()].flat().length, happenings.length);
});
