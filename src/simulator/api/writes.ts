/**
 * What a call does to the journal, as actions of the salon. Pure.
 *
 * The journal's promise holds here too: successive changes of one record differ in `last_change_date`. A second change
 * within one second is dated a second later.
 */
import type { EpochMs } from '../../domain/time.ts';
import type { RecordAction, RecordActionKind } from '../journal.ts';
import { type Attendance, type Salon, type SalonRecord, wholeSecond } from '../salon.ts';
import type { Branch } from './branch.ts';

export type NewRecord = Pick<
  SalonRecord,
  'startsLocal' | 'startsAt' | 'durationSeconds' | 'staffId' | 'services' | 'clientId' | 'comment' | 'maker'
> & { readonly apiId?: string };

export function creation(salon: Salon, seed: NewRecord, now: EpochMs): RecordAction {
  const createdAt = wholeSecond(now);
  const after: SalonRecord = {
    ...seed,
    id: salon.nextId,
    visitId: salon.nextId,
    createdAt,
    version: createdAt,
    attendance: 0,
    attendanceSince: createdAt,
    deleted: false,
    gone: false,
    paid: false,
    known: false,
  };
  return { about: 'record', kind: 'create', at: now, changes: [{ before: null, after }], idsTaken: 1 };
}

type Patch = Partial<Omit<SalonRecord, 'id' | 'visitId' | 'version' | 'attendanceSince' | 'known'>>;

/** A change of one record; the rest of its visit, when `others` says so, is dated anew with it. */
export function change(
  kind: RecordActionKind,
  record: SalonRecord,
  patch: Patch,
  now: EpochMs,
  others: readonly SalonRecord[] = [],
): RecordAction {
  const newest = Math.max(...[record, ...others].map(one => one.version));
  const version = Math.max(wholeSecond(now), newest + 1000);
  const attendance = patch.attendance ?? record.attendance;
  const attendanceSince = attendance === record.attendance ? record.attendanceSince : version;
  const changes = [
    { before: record, after: { ...record, ...patch, attendance, attendanceSince, version } },
    ...others.map(before => ({ before, after: { ...before, version } })),
  ];
  return { about: 'record', kind, at: now, changes, idsTaken: 0 };
}

/** The other records of its visit that stand in the journal. */
export function companionsOf(record: SalonRecord, branch: Branch): readonly SalonRecord[] {
  return branch
    .records()
    .filter(one => one.visitId === record.visitId && one.id !== record.id && !one.deleted);
}

/** How the salon calls a change of attendance. */
export function attendanceKind(attendance: Attendance, record: SalonRecord, now: EpochMs): RecordActionKind {
  if (attendance === record.attendance) return 'edit_comment';
  switch (attendance) {
    case -1:
      return record.startsAt > now ? 'cancel' : 'no_show';
    case 0:
      return 'restore';
    case 1:
      return 'arrive';
    case 2:
      return 'confirm';
  }
}
