/** The verifier itself: for each verdict a case where it must speak, beside one where it must not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ledger, LedgerRecord, TrueFacts, TrueState } from '../../src/simulator/ledger.ts';
import type { SaidFacts, ServiceBooking, ServiceMessage } from '../../src/simulator/verdict.ts';
import { compare, isClean } from '../../src/simulator/verify.ts';

const ANNA = 11;
const BORIS = 12;
const RECORD = 7;
const SECOND = 1000;
/** Times in the cases are seconds; the visit is an hour or two ahead, the check at 600 s. */
const TEN = '2026-07-01T10:00:00';
const NOON = '2026-07-01T12:00:00';
const STARTS: Readonly<Record<string, number>> = { [TEN]: 3_600, [NOON]: 10_800 };
const CUT = { id: 1, amount: 1 };
const BEARD = { id: 2, amount: 1 };

const BOOKED: TrueFacts = { status: 'booked', startsLocal: TEN, staffId: 5, services: [CUT], clientId: ANNA };
const MOVED: TrueFacts = { ...BOOKED, startsLocal: NOON };
const CANCELLED: TrueFacts = { ...BOOKED, status: 'cancelled' };

type Given = Partial<Omit<TrueState, 'facts'>> & { readonly made: number; readonly facts: TrueFacts };

/** A state made at `made` seconds, and delivered within the same second unless said otherwise. */
function state({ made, facts, ...given }: Given): TrueState {
  const at = made * SECOND;
  const cancelled = facts.status === 'cancelled';
  return {
    version: at,
    at,
    facts,
    startsAt: (STARTS[facts.startsLocal] ?? 0) * SECOND,
    state: cancelled ? 'cancelled' : 'waiting',
    deleted: cancelled,
    attendance: 0,
    paid: false,
    carries: 'everything',
    firstSentAt: at + 100,
    dropped: false,
    firstAnsweredAt: at + 110,
    lastAnsweredAt: at + 110,
    ...given,
  };
}

function ledgerOf(states: readonly TrueState[], known = false, refusals: Ledger['refusals'] = []): Ledger {
  const records: readonly LedgerRecord[] = [{ recordId: RECORD, known, states }];
  const counts = { actions: 1, webhooks: 1, dropped: 0, requests: 1, answers: { 200: 1 } };
  return {
    companyId: 1,
    zone: 'UTC',
    seed: 1,
    startedAt: 0,
    endedAt: 500 * SECOND,
    records,
    refusals,
    counts,
  };
}

type Saying = {
  readonly said: number;
  readonly kind: string;
  readonly before: SaidFacts | null;
  readonly after: SaidFacts;
};

function message({ said, ...saying }: Saying, to = ANNA): ServiceMessage {
  return { recordId: RECORD, recipient: `client:${to}`, state: 'sent', sentAt: said * SECOND, ...saying };
}

function saidAt(seconds: number, said: ServiceMessage): ServiceMessage {
  return { ...said, sentAt: seconds * SECOND };
}

/** The service's booking as the last of the states says. */
function bookingOf(states: readonly TrueState[], given: Partial<ServiceBooking> = {}): ServiceBooking {
  const last = states.at(-1);
  assert.ok(last);
  const { facts, state: name, deleted, attendance, paid } = last;
  const { startsLocal, staffId, services, clientId } = facts;
  return {
    recordId: RECORD,
    state: name,
    startsLocal,
    staffId,
    services,
    clientId,
    deleted,
    attendance,
    paid,
    ...given,
  };
}

type Case = {
  readonly states: readonly TrueState[];
  readonly messages?: readonly ServiceMessage[];
  readonly bookings?: readonly ServiceBooking[];
  readonly known?: boolean;
  readonly refusals?: Ledger['refusals'];
  readonly checked?: number;
};

/** The counts above zero, and why. */
function judge({
  states,
  messages = [],
  bookings = [bookingOf(states)],
  known = false,
  refusals = [],
  checked = 600,
}: Case) {
  const verdict = compare(
    ledgerOf(states, known, refusals),
    { bookings, messages },
    { checkedAt: checked * SECOND },
  );
  const { details, bookings: _count, ...counts } = verdict;
  const above = Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
  return { counts: above, why: details.map(detail => detail.why).join(), clean: isClean(verdict) };
}

const created = state({ made: 1, facts: BOOKED });
const moved = state({ made: 100, facts: MOVED });
const deleted = state({ made: 100, facts: CANCELLED });
const toldBooked = message({ said: 5, kind: 'booked', before: null, after: BOOKED });
const toldMoved = message({ said: 105, kind: 'rescheduled', before: BOOKED, after: MOVED });
const toldCancelled = message({ said: 105, kind: 'cancelled', before: BOOKED, after: CANCELLED });

test('a booking told, moved and told again is clean', () => {
  const verdict = judge({ states: [created, moved], messages: [toldMoved, toldBooked] });
  assert.deepEqual(verdict, { counts: { told_once: 2 }, why: '', clean: true });
});

test('what came, paid and confirmed need no message', () => {
  const paid = state({ made: 50, facts: BOOKED, paid: true, attendance: 2, state: 'confirmed' });
  assert.deepEqual(judge({ states: [created, paid], messages: [toldBooked] }).counts, { told_once: 1 });
});

test('a booking that was cancelled before anything was told needs no message', () => {
  assert.ok(judge({ states: [created, state({ made: 3, facts: CANCELLED })] }).clean);
});

test('a change that was taken back before it was told needs no message', () => {
  const back = state({ made: 103, facts: BOOKED });
  assert.deepEqual(judge({ states: [created, moved, back], messages: [toldBooked] }).counts, {
    told_once: 1,
  });
});

test('only messages that went out, or may have, count as told', () => {
  const counts = (stateName: string) => {
    const messages = [toldBooked, { ...toldMoved, state: stateName }];
    return judge({ states: [created, moved], messages }).counts;
  };
  for (const name of ['sent', 'delivered', 'unknown']) assert.deepEqual(counts(name), { told_once: 2 });
  for (const name of ['due', 'failed', 'superseded', 'dead']) {
    assert.deepEqual(counts(name), { told_once: 1, not_told: 1 });
  }
});

test('messages to others than clients are not judged', () => {
  const toStaff = { ...toldBooked, recipient: 'staff:5' };
  assert.deepEqual(judge({ states: [created], messages: [toldBooked, toStaff] }).counts, { told_once: 1 });
});

test('told twice: the same again', () => {
  const again = message({ said: 9, kind: 'booked', before: null, after: BOOKED });
  const { counts, why } = judge({ states: [created], messages: [toldBooked, again] });
  assert.deepEqual(counts, { told_once: 1, told_twice: 1 });
  assert.match(why, /had been heard already/);
});

test('told twice: the same services in another order', () => {
  const two = state({ made: 1, facts: { ...BOOKED, services: [CUT, BEARD] } });
  const first = message({ said: 5, kind: 'booked', before: null, after: two.facts });
  const turned = { ...two.facts, services: [BEARD, CUT] };
  const again = message({ said: 9, kind: 'services_changed', before: two.facts, after: turned });
  assert.deepEqual(judge({ states: [two], messages: [first, again] }).counts, {
    told_once: 1,
    told_twice: 1,
  });
});

test('told twice: a cancellation of what was never told', () => {
  const early = message({ said: 105, kind: 'cancelled', before: null, after: CANCELLED });
  assert.deepEqual(judge({ states: [created, deleted], messages: [early] }).counts, { told_twice: 1 });
});

test('told wrong: what was never true', () => {
  const invented = message({ said: 5, kind: 'booked', before: null, after: MOVED });
  const { counts, why } = judge({ states: [created], messages: [invented] });
  assert.deepEqual(counts, { told_wrong: 1, not_told: 1 });
  assert.match(why, /was never true/);
});

test('told wrong: what was not yet true', () => {
  const early = saidAt(50, toldMoved);
  const { counts, why } = judge({ states: [created, moved], messages: [toldBooked, early] });
  assert.deepEqual(counts, { told_once: 1, told_wrong: 1 });
  assert.match(why, /was not yet true/);
});

test('told wrong: before is not what was heard', () => {
  const { counts, why } = judge({ states: [created, moved], messages: [toldMoved] });
  assert.deepEqual(counts, { told_wrong: 1 });
  assert.match(why, /before is .*10:00:00.*, heard was nothing/);
});

test('told wrong: a kind that is not the difference', () => {
  const misnamed = { ...toldMoved, kind: 'staff_changed' };
  const { counts, why } = judge({ states: [created, moved], messages: [toldBooked, misnamed] });
  assert.deepEqual(counts, { told_once: 1, told_wrong: 1 });
  assert.match(why, /is rescheduled/);
});

test('each kind is known by its difference', () => {
  const cases: readonly (readonly [string, TrueFacts])[] = [
    ['rescheduled', MOVED],
    ['staff_changed', { ...BOOKED, staffId: 6 }],
    ['services_changed', { ...BOOKED, services: [CUT, BEARD] }],
    ['services_changed', { ...BOOKED, services: [{ ...CUT, amount: 2 }] }],
    ['changed', { ...MOVED, staffId: 6 }],
    ['cancelled', CANCELLED],
  ];
  for (const [kind, facts] of cases) {
    const later = message({ said: 105, kind, before: BOOKED, after: facts });
    const verdict = judge({ states: [created, state({ made: 100, facts })], messages: [toldBooked, later] });
    assert.deepEqual(verdict.counts, { told_once: 2 }, kind);
  }
});

test('told wrong: older than what was told before', () => {
  const late = state({ made: 100, facts: MOVED, firstAnsweredAt: null });
  const back = message({ said: 106, kind: 'rescheduled', before: MOVED, after: BOOKED });
  const { counts, why } = judge({ states: [created, late], messages: [toldBooked, toldMoved, back] });
  assert.deepEqual(counts, { told_once: 2, told_wrong: 1, not_told: 1 });
  assert.match(why, /older than what was told before/);
});

test('told wrong: no longer true when it left, and not so within the slack', () => {
  const late = (said: number) => {
    const states = [created, state({ made: 10, facts: MOVED })];
    return judge({ states, messages: [saidAt(said, toldBooked)] });
  };
  assert.deepEqual(late(11).counts, { told_once: 1, not_told: 1 });
  const { counts, why } = late(13);
  assert.deepEqual(counts, { told_wrong: 1, not_told: 1 });
  assert.match(why, /no longer true: something else had been delivered 2890 ms before/);
});

test('what the service could not know yet is not held against it', () => {
  const slow = state({ made: 10, facts: MOVED, firstSentAt: 60_000, firstAnsweredAt: 60_010 });
  const later = message({ said: 65, kind: 'rescheduled', before: BOOKED, after: MOVED });
  const sequence = [saidAt(30, toldBooked), later];
  assert.deepEqual(judge({ states: [created, slow], messages: sequence }).counts, { told_once: 2 });
});

test('told wrong: after the visit had begun, and not so within the slack', () => {
  const late = (said: number) =>
    judge({ states: [created], messages: [saidAt(said, toldBooked)], checked: 4_000 });
  assert.deepEqual(late(3_601).counts, { told_once: 1 });
  assert.deepEqual(late(3_603).counts, { told_wrong: 1 });
  assert.match(late(3_603).why, /after the visit had begun/);
});

test('told wrong: of a record that no webhook told of', () => {
  const stray = { ...toldBooked, recordId: 99 };
  assert.deepEqual(judge({ states: [created], messages: [toldBooked, stray] }).counts, {
    told_once: 1,
    told_wrong: 1,
  });
});

test('not told: nothing was said of a visit that is ahead', () => {
  const { counts, why } = judge({ states: [created] });
  assert.deepEqual(counts, { not_told: 1 });
  assert.match(why, /heard nothing, true is 2026-07-01T10:00:00/);
});

test('not told: the last change was not said', () => {
  assert.deepEqual(judge({ states: [created, deleted], messages: [toldBooked] }).counts, {
    told_once: 1,
    not_told: 1,
  });
});

test('of a visit that has begun nothing need be told', () => {
  assert.ok(judge({ states: [created], checked: 3_600 }).clean);
});

test('one who refuses messages need not be told, and is told wrong once that is known', () => {
  const refusals = [{ clientId: ANNA, answeredAt: 50 * SECOND }];
  assert.ok(judge({ states: [created, moved], messages: [toldBooked], refusals }).clean);
  const { counts, why } = judge({ states: [created, moved], messages: [toldBooked, toldMoved], refusals });
  assert.deepEqual(counts, { told_once: 1, told_wrong: 1 });
  assert.match(why, /refused messages/);
});

test('a restored booking is told as such', () => {
  const restored = state({ made: 200, facts: BOOKED });
  const said = message({ said: 205, kind: 'restored', before: CANCELLED, after: BOOKED });
  const messages = [toldBooked, toldCancelled, said];
  assert.deepEqual(judge({ states: [created, deleted, restored], messages }).counts, { told_once: 3 });
});

test('a booking handed over is cancelled for the one and booked for the other', () => {
  const handed = state({ made: 100, facts: { ...BOOKED, clientId: BORIS } });
  const toBoris = message({ said: 105, kind: 'booked', before: null, after: BOOKED }, BORIS);
  const states = [created, handed];
  assert.deepEqual(judge({ states, messages: [toldBooked, toldCancelled, toBoris] }).counts, {
    told_once: 3,
  });
  assert.deepEqual(judge({ states, messages: [toldBooked] }).counts, { told_once: 1, not_told: 2 });
});

const before = state({
  made: -9_000,
  facts: BOOKED,
  carries: 'nothing',
  firstSentAt: null,
  firstAnsweredAt: null,
});

test('what was known from before is not told, and its next change is', () => {
  const touched = state({ made: 50, facts: BOOKED });
  assert.ok(judge({ known: true, states: [before, touched] }).clean);
  assert.deepEqual(judge({ known: true, states: [before, touched, moved], messages: [toldMoved] }).counts, {
    told_once: 1,
  });
  assert.deepEqual(judge({ known: true, states: [before, touched, moved] }).counts, { not_told: 1 });
});

test('told twice: what was known from before is announced', () => {
  const touched = state({ made: 50, facts: BOOKED });
  const announced = message({ said: 55, kind: 'booked', before: null, after: BOOKED });
  assert.deepEqual(judge({ known: true, states: [before, touched], messages: [announced] }).counts, {
    told_twice: 1,
  });
});

test('the state first delivered is the baseline, of overlapping deliveries any', () => {
  const late = state({ made: 50, facts: BOOKED, firstSentAt: 100_105, firstAnsweredAt: 100_120 });
  assert.ok(judge({ known: true, states: [before, late, moved] }).clean);
  assert.ok(judge({ known: true, states: [before, late, moved], messages: [toldMoved] }).clean);
  const early = state({ made: 50, facts: BOOKED });
  assert.deepEqual(judge({ known: true, states: [before, early, moved] }).counts, { not_told: 1 });
});

test('a baseline means nothing to a client who gets the booking later', () => {
  const touched = state({ made: 50, facts: { ...BOOKED, clientId: null } });
  const handed = state({ made: 100, facts: BOOKED });
  const said = message({ said: 105, kind: 'booked', before: null, after: BOOKED });
  const states = [before, touched, handed];
  assert.deepEqual(judge({ known: true, states, messages: [said] }).counts, { told_once: 1 });
});

test('state differs: each field is compared', () => {
  const wrong: readonly Partial<ServiceBooking>[] = [
    { state: 'confirmed' },
    { startsLocal: NOON },
    { startsLocal: null },
    { staffId: 6 },
    { services: [BEARD] },
    { services: [CUT, CUT] },
    { services: null },
    { clientId: BORIS },
    { clientId: null },
    { deleted: true },
    { attendance: 1 },
    { paid: true },
  ];
  for (const given of wrong) {
    const bookings = [bookingOf([created], given)];
    const { counts } = judge({ states: [created], messages: [toldBooked], bookings });
    assert.deepEqual(counts, { state_differs: 1, told_once: 1 }, JSON.stringify(given));
  }
});

test('state differs: a booking is missing, or was invented', () => {
  const missing = judge({ states: [created], messages: [toldBooked], bookings: [] });
  assert.deepEqual(missing.counts, { state_differs: 1, told_once: 1 });
  const bookings = [bookingOf([created]), bookingOf([created], { recordId: 99 })];
  assert.deepEqual(judge({ states: [created], messages: [toldBooked], bookings }).counts, {
    state_differs: 1,
    told_once: 1,
  });
});

test('the order of services is no difference', () => {
  const two = state({ made: 1, facts: { ...BOOKED, services: [CUT, BEARD] } });
  const messages = [message({ said: 5, kind: 'booked', before: null, after: two.facts })];
  assert.ok(
    judge({ states: [two], messages, bookings: [bookingOf([two], { services: [BEARD, CUT] })] }).clean,
  );
});

test('of a record that was only deleted, without any field, nothing but the deletion is compared', () => {
  const gone = state({ made: 50, facts: CANCELLED, carries: 'deletion' });
  const bare = { recordId: RECORD, state: 'cancelled', deleted: true };
  assert.ok(judge({ known: true, states: [before, gone], bookings: [bare] }).clean);
  const missed = { ...bare, deleted: false };
  assert.deepEqual(judge({ known: true, states: [before, gone], bookings: [missed] }).counts, {
    state_differs: 1,
  });
});

test('-1 touched again after the hour may be read as a no-show, said before it may not', () => {
  const off = { attendance: -1, deleted: false } as const;
  const cancelled = state({ made: 100, facts: CANCELLED, ...off });
  const touched = state({ made: 3_700, facts: CANCELLED, ...off });
  const asNoShow = { state: 'no_show' };
  const checked = 4_000;
  const states = [created, cancelled, touched];
  const messages = [toldBooked, toldCancelled];
  assert.ok(judge({ states, messages, checked, bookings: [bookingOf(states, asNoShow)] }).clean);
  const early = [created, cancelled];
  const bookings = [bookingOf(early, asNoShow)];
  assert.deepEqual(judge({ states: early, messages, checked, bookings }).counts, {
    state_differs: 1,
    told_once: 2,
  });
});
