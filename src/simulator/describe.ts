/** What happened at the salon, in one readable line. Invented people only, so nothing here is personal. */
import type { EpochMs, Wall } from '../domain/time.ts';
import type { Happening } from './course.ts';
import type { RecordActionKind } from './journal.ts';
import { type BookedService, clientOf, type Salon, type SalonRecord } from './salon.ts';

export type ActionReport = {
  readonly at: EpochMs;
  readonly resource: string;
  readonly kind: string;
  /** The record in question first, then the others of its visit; empty when it is not about bookings. */
  readonly recordIds: readonly number[];
  readonly client: string;
  readonly text: string;
};

export function describe({ action, salon }: Happening): ActionReport {
  const { at, kind } = action;
  if (action.about === 'other') {
    const { resource, status } = action.webhook;
    return { at, resource, kind, recordIds: [], client: '', text: `${resource} ${status}` };
  }
  const changed = action.changes.filter(({ before, after }) => before === null || differs(before, after));
  const [first = action.changes[0]] = changed;
  const text = first === undefined ? kind : sentence(action.kind, first.before, first.after, salon);
  const ids = action.changes.map(({ after }) => after.id);
  const recordIds = first === undefined ? ids : [first.after.id, ...ids.filter(id => id !== first.after.id)];
  return { at, resource: 'record', kind, recordIds, client: clientName(first?.after, salon), text };
}

/** Whether more than the version changed. */
function differs(before: SalonRecord, after: SalonRecord): boolean {
  return JSON.stringify({ ...before, version: 0 }) !== JSON.stringify({ ...after, version: 0 });
}

function sentence(
  kind: RecordActionKind,
  before: SalonRecord | null,
  after: SalonRecord,
  salon: Salon,
): string {
  switch (kind) {
    case 'create':
      return `booked ${visit(after, salon)}`;
    case 'walk_in':
      return `walked in ${visit(after, salon)}`;
    case 'reschedule':
      return `moved ${before ? shortWall(before.startsLocal) : ''} → ${shortWall(after.startsLocal)}`;
    case 'change_staff':
      return `staff ${before ? staffName(before, salon) : ''} → ${staffName(after, salon)}`;
    case 'change_services':
      return `services ${before ? titles(before.services) : ''} → ${titles(after.services)}`;
    case 'change_several':
      return `changed to ${visit(after, salon)}`;
    case 'delete':
      return after.gone ? 'deleted, saying nothing but the id' : 'deleted';
    case 'cancel':
      return 'cancelled by attendance -1';
    case 'restore':
      return `restored to ${shortWall(after.startsLocal)}`;
    case 'confirm':
      return 'confirmed by the client';
    case 'arrive':
      return 'came';
    case 'no_show':
      return 'did not come';
    case 'pay':
      return 'paid';
    case 'edit_comment':
      return 'comment edited';
    case 'edit_over':
      return `corrected after ${shortWall(after.startsLocal)} began${after.deleted ? ': deleted' : ''}`;
    case 'hand_over':
      return `handed over from ${clientName(before ?? undefined, salon)}`;
  }
}

function visit(record: SalonRecord, salon: Salon): string {
  return `${shortWall(record.startsLocal)}, ${titles(record.services)}, ${staffName(record, salon)}`;
}

function titles(services: readonly BookedService[]): string {
  const names = services.map(({ offered, amount }) =>
    amount > 1 ? `${offered.title} ×${amount}` : offered.title,
  );
  return names.length > 0 ? names.join(' + ') : 'no service';
}

function staffName(record: SalonRecord, salon: Salon): string {
  return salon.cast.staff.find(member => member.id === record.staffId)?.name ?? '';
}

function clientName(record: SalonRecord | undefined, salon: Salon): string {
  const client = clientOf(salon, record?.clientId ?? null);
  return client === undefined ? 'no client' : `${client.name} ${client.surname}`.trim();
}

/** `24.11 18:30`. */
function shortWall(wall: Wall): string {
  return `${wall.slice(8, 10)}.${wall.slice(5, 7)} ${wall.slice(11, 16)}`;
}
