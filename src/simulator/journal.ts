/**
 * The journal: what administrators and clients do with bookings.
 *
 * Two promises make the wire orderable at all. Successive changes of one record differ in `last_change_date`, whose
 * resolution is one second. And a record deleted without a version (`{id, company_id, deleted}` alone) never
 * changes again: nothing could say that the later state is the later one.
 */
import { Temporal } from 'temporal-polyfill';
import type { EpochMs, Wall } from '../domain/time.ts';
import { instantAt, wallAt } from './dates.ts';
import type { Random } from './random.ts';
import {
  type BookedService,
  durationOf,
  newRecord,
  pickServices,
  quarterHour,
  type Salon,
  type SalonRecord,
  slotInDays,
  wholeSecond,
} from './salon.ts';

export type UpdateKind =
  | 'reschedule'
  | 'change_staff'
  | 'change_services'
  | 'change_several'
  | 'delete'
  | 'cancel'
  | 'restore'
  | 'confirm'
  | 'arrive'
  | 'no_show'
  | 'pay'
  | 'edit_comment'
  | 'edit_over'
  | 'hand_over';
export type RecordActionKind = 'create' | 'walk_in' | UpdateKind;

export type RecordChange = { readonly before: SalonRecord | null; readonly after: SalonRecord };

/** One action of a person: it changes one record, or every record of a visit, at one moment. */
export type RecordAction = {
  readonly about: 'record';
  readonly kind: RecordActionKind;
  readonly at: EpochMs;
  readonly changes: readonly RecordChange[];
  readonly idsTaken: number;
};

export type JournalHabits = {
  /** Some deletions say nothing but the id. */
  readonly bareDeletes: boolean;
  /** No more records are made once the journal holds so many; unlimited when absent. */
  readonly mostRecords?: number | undefined;
};

type Step = {
  readonly salon: Salon;
  readonly random: Random;
  readonly nowMs: EpochMs;
  readonly habits: JournalHabits;
};
type Patch = (record: SalonRecord) => Partial<SalonRecord>;
type Move = {
  readonly weight: number;
  /** `visit`: what is done to one record is done to the others of its visit too. */
  readonly scope: 'record' | 'visit';
  readonly applies: (record: SalonRecord, begun: boolean, step: Step) => boolean;
  readonly patch: (record: SalonRecord, step: Step) => Patch;
};

const CREATE_WEIGHT = 36;
const WALK_IN_WEIGHT = 4;

/** How often the next action falls on a record that has just changed: people correct what they have just typed. */
const CORRECTION_SHARE = 0.3;
const JUST_NOW_MS = 5_000;

const MINUTE_MS = 60_000;

const MOVES: Readonly<Record<UpdateKind, Move>> = {
  reschedule: { weight: 15, scope: 'visit', applies: isAhead, patch: rescheduled },
  change_staff: { weight: 5, scope: 'record', applies: isAhead, patch: withOtherStaff },
  change_services: { weight: 6, scope: 'record', applies: isAhead, patch: withOtherServices },
  change_several: { weight: 2, scope: 'record', applies: isAhead, patch: severalChanged },
  delete: { weight: 5, scope: 'record', applies: isAhead, patch: deleted },
  cancel: { weight: 4, scope: 'visit', applies: isAhead, patch: () => () => ({ attendance: -1 }) },
  restore: { weight: 4, scope: 'record', applies: isRestorable, patch: restored },
  confirm: {
    weight: 7,
    scope: 'visit',
    applies: (record, begun) => isAhead(record, begun) && record.attendance === 0,
    patch: () => () => ({ attendance: 2 }),
  },
  arrive: { weight: 12, scope: 'visit', applies: isDue, patch: () => () => ({ attendance: 1 }) },
  no_show: {
    weight: 3,
    scope: 'visit',
    applies: (record, begun) => begun && isExpected(record),
    patch: () => () => ({ attendance: -1 }),
  },
  pay: {
    weight: 12,
    scope: 'visit',
    applies: record => isLive(record) && !record.paid,
    patch: () => () => ({ paid: true }),
  },
  edit_comment: { weight: 3, scope: 'visit', applies: () => true, patch: commented },
  edit_over: {
    weight: 4,
    scope: 'record',
    applies: (record, begun) => begun && isLive(record),
    patch: corrected,
  },
  hand_over: { weight: 3, scope: 'visit', applies: isAhead, patch: handedOver },
};
const UPDATE_KINDS: readonly UpdateKind[] = Object.keys(MOVES).filter(isUpdateKind);

function isUpdateKind(kind: string): kind is UpdateKind {
  return kind in MOVES;
}

/** The next action in the journal; null when it is full and none of its records may change now. */
export function recordAction(
  salon: Salon,
  random: Random,
  nowMs: EpochMs,
  habits: JournalHabits,
): RecordAction | null {
  const step = { salon, random, nowMs, habits };
  if (salon.actions === 0) return created('create', step);
  return (random.chance(CORRECTION_SHARE) ? correction(step) : undefined) ?? anyAction(step);
}

/** One more change of a record that has just changed, or undefined when there is none. */
function correction(step: Step): RecordAction | undefined {
  const recent = readyRecords(step).filter(record => record.version > step.nowMs - JUST_NOW_MS);
  if (recent.length === 0) return undefined;
  const record = step.random.pick(recent);
  const kinds = UPDATE_KINDS.filter(kind => appliesNow(kind, record, step));
  return updated(step.random.weighted(kinds.map(kind => [kind, MOVES[kind].weight] as const)), record, step);
}

function anyAction(step: Step): RecordAction | null {
  const { random } = step;
  const ready = readyRecords(step);
  const possible = UPDATE_KINDS.filter(kind => ready.some(record => appliesNow(kind, record, step)));
  const full = roomFor(step) === 0;
  if (full && possible.length === 0) return null;
  const kind = random.weighted<RecordActionKind>([
    ['create', full ? 0 : CREATE_WEIGHT],
    ['walk_in', full ? 0 : WALK_IN_WEIGHT],
    ...possible.map(name => [name, MOVES[name].weight] as const),
  ]);
  if (kind === 'create' || kind === 'walk_in') return created(kind, step);
  return updated(kind, random.pick(ready.filter(record => appliesNow(kind, record, step))), step);
}

function roomFor({ salon, habits }: Step): number {
  return Math.max(0, (habits.mostRecords ?? Number.POSITIVE_INFINITY) - salon.records.length);
}

/** The records that may change now: not gone, and this second is not yet taken by the last change of their visit. */
function readyRecords({ salon, nowMs }: Step): SalonRecord[] {
  const second = wholeSecond(nowMs);
  const busy = new Set(salon.records.filter(one => one.version >= second).map(one => one.visitId));
  return salon.records.filter(record => !record.gone && !busy.has(record.visitId));
}

/** A new visit: in the coming days, or already begun (the client walked in). Three of ten hold several records. */
function created(kind: 'create' | 'walk_in', step: Step): RecordAction {
  const { salon, random, nowMs } = step;
  const wanted = random.weighted([
    [1, 27],
    [2, 9],
    [3, 2],
  ]);
  const count = Math.min(wanted, Math.max(1, roomFor(step)));
  const first = newRecord(salon, random, {
    id: salon.nextId,
    visitId: salon.nextId,
    createdAt: wholeSecond(nowMs),
    startsLocal: kind === 'create' ? futureSlot(step) : quarterHour(wallAt(nowMs, salon.zone)),
    known: false,
  });
  const visit = [first];
  while (visit.length < count) {
    const { startsLocal, durationSeconds } = visit.at(-1) ?? first;
    const { visitId, createdAt, clientId, maker, known } = first;
    const next = { visitId, createdAt, clientId, maker, known, id: salon.nextId + visit.length };
    visit.push(newRecord(salon, random, { ...next, startsLocal: later(startsLocal, durationSeconds) }));
  }
  const changes = visit.map(after => ({ before: null, after }));
  return { about: 'record', kind, at: nowMs, changes, idsTaken: count };
}

/** `kind` done to `record`. An action on a visit touches each of its records, with one `last_change_date`. */
function updated(kind: UpdateKind, record: SalonRecord, step: Step): RecordAction {
  const move = MOVES[kind];
  const patch = move.patch(record, step);
  const changes = visitOf(record, step.salon).map(one => {
    const alike = one === record || (move.scope === 'visit' && appliesNow(kind, one, step));
    return { before: one, after: changed(one, alike ? patch(one) : {}, step) };
  });
  return { about: 'record', kind, at: step.nowMs, changes, idsTaken: 0 };
}

function changed(record: SalonRecord, patch: Partial<SalonRecord>, step: Step): SalonRecord {
  const version = wholeSecond(step.nowMs);
  const attendance = patch.attendance ?? record.attendance;
  const attendanceSince = attendance === record.attendance ? record.attendanceSince : version;
  const { startsLocal = record.startsLocal } = patch;
  const startsAt =
    startsLocal === record.startsLocal ? record.startsAt : instantAt(startsLocal, step.salon.zone);
  return { ...record, ...patch, startsAt, attendanceSince, version };
}

/** The record and those of its visit that are still in the journal. */
function visitOf(record: SalonRecord, salon: Salon): SalonRecord[] {
  return salon.records.filter(one => one === record || (one.visitId === record.visitId && !one.deleted));
}

function appliesNow(kind: UpdateKind, record: SalonRecord, step: Step): boolean {
  const begun = record.startsAt <= step.nowMs;
  return MOVES[kind].applies(record, begun, step);
}

function isLive(record: SalonRecord): boolean {
  return !record.deleted && record.attendance !== -1;
}

function isExpected(record: SalonRecord): boolean {
  return !record.deleted && (record.attendance === 0 || record.attendance === 2);
}

function isAhead(record: SalonRecord, begun: boolean): boolean {
  return isExpected(record) && !begun;
}

/** The visit has begun, or does within half an hour: clients come early. */
function isDue(record: SalonRecord, _begun: boolean, { nowMs }: Step): boolean {
  return isExpected(record) && record.startsAt <= nowMs + 30 * MINUTE_MS;
}

function isRestorable(record: SalonRecord, begun: boolean): boolean {
  return !begun && !record.gone && !isLive(record);
}

function rescheduled(record: SalonRecord, step: Step): Patch {
  const shift = shiftTo(record.startsLocal, otherSlot(record, step));
  return one => ({ startsLocal: shift(one.startsLocal) });
}

function withOtherStaff(record: SalonRecord, { salon, random }: Step): Patch {
  const others = salon.cast.staff.filter(member => member.id !== record.staffId);
  return () => (others.length > 0 ? { staffId: random.pick(others).id } : {});
}

function withOtherServices(record: SalonRecord, { salon, random }: Step): Patch {
  const ids = (booked: readonly BookedService[]) =>
    booked.map(({ offered, amount }) => offered.id * amount).join();
  const drawn = [1, 2, 3].map(() => pickServices(salon, random));
  const services = drawn.find(booked => ids(booked) !== ids(record.services)) ?? record.services;
  return () => ({ services, durationSeconds: durationOf(services) });
}

function severalChanged(record: SalonRecord, step: Step): Patch {
  const changes = step.random.shuffled([rescheduled, withOtherStaff, withOtherServices]);
  const [first, second] = changes.map(change => change(record, step));
  return one => ({ ...first?.(one), ...second?.(one) });
}

function deleted(_record: SalonRecord, { random, habits }: Step): Patch {
  const gone = habits.bareDeletes && random.chance(0.35);
  return () => ({ deleted: true, gone });
}

/** Back in the journal, sometimes at another time. */
function restored(record: SalonRecord, step: Step): Patch {
  const startsLocal = step.random.chance(0.3) ? otherSlot(record, step) : record.startsLocal;
  return () => ({ deleted: false, attendance: 0, startsLocal });
}

function commented(_record: SalonRecord, { random }: Step): Patch {
  const comment = random.pick([
    'Просит тишины',
    'Window seat, please',
    'Первый визит',
    'Аллергия на лак',
    '',
  ]);
  return () => ({ comment });
}

/** At the checkout, or years later, administrators correct what a visit was. */
function corrected(record: SalonRecord, step: Step): Patch {
  const remove: Patch = () => ({ deleted: true });
  const change = step.random.weighted([
    [withOtherServices, 5],
    [withOtherStaff, 3],
    [commented, 3],
    [() => remove, 1],
  ]);
  return change(record, step);
}

function handedOver(record: SalonRecord, { salon, random }: Step): Patch {
  const others = salon.cast.clients.filter(client => client.id !== record.clientId);
  const clientId = random.chance(0.05) ? null : random.pick(others).id;
  return () => ({ clientId });
}

/** Another start than the record's: the same day, within the week, rarely one that is over. */
function otherSlot(record: SalonRecord, step: Step): Wall {
  if (step.random.chance(0.03)) return quarterHour(wallAt(step.nowMs - 90 * MINUTE_MS, step.salon.zone));
  const slot = futureSlot(step);
  return slot === record.startsLocal ? later(slot, 1800) : slot;
}

function futureSlot({ salon, random, nowMs }: Step): Wall {
  const days = random.weighted([
    [0, 2],
    [1, 4],
    [random.integer(2, 21), 6],
  ]);
  const slot = slotInDays(salon, random, nowMs, days);
  const soon = nowMs + 10 * MINUTE_MS;
  return instantAt(slot, salon.zone) > soon ? slot : slotInDays(salon, random, nowMs, days + 1);
}

function later(wall: Wall, seconds: number): Wall {
  return Temporal.PlainDateTime.from(wall).add({ seconds }).toString({ smallestUnit: 'second' });
}

function shiftTo(from: Wall, to: Wall): (wall: Wall) => Wall {
  const shift = Temporal.PlainDateTime.from(from).until(to);
  return wall => Temporal.PlainDateTime.from(wall).add(shift).toString({ smallestUnit: 'second' });
}
