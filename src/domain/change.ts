/** What a merge found: the differences between two states of a booking, in the field's words. */
import { type Booking, type BookingState, sameServices, stateOf } from './booking.ts';

export type Change =
  | { readonly kind: 'created' }
  | { readonly kind: 'rescheduled'; readonly from: string; readonly to: string }
  | { readonly kind: 'staff_changed'; readonly from: number; readonly to: number }
  | { readonly kind: 'services_changed'; readonly from: readonly number[]; readonly to: readonly number[] }
  | { readonly kind: 'client_changed'; readonly from: number | null; readonly to: number | null }
  | { readonly kind: 'cancelled'; readonly by: 'deleted' | 'attendance' }
  | { readonly kind: 'restored' | 'confirmed' | 'arrived' | 'no_show' | 'waiting' | 'paid' | 'unpaid' };

/** The changes that lead from `before` (null: first seen) to `after`, in a fixed order. */
export function changesBetween(before: Booking | null, after: Booking, zone: string): Change[] {
  if (before === null)
    return [{ kind: 'created' }, ...stateChanges('waiting', after, zone), ...payment(null, after)];
  return [
    ...moves(before, after),
    ...stateChanges(stateOf(before, zone), after, zone),
    ...payment(before, after),
  ];
}

function moves({ fields: from }: Booking, { fields: to }: Booking): Change[] {
  const changes: Change[] = [];
  if (from.startsLocal !== undefined && to.startsLocal !== undefined && from.startsLocal !== to.startsLocal) {
    changes.push({ kind: 'rescheduled', from: from.startsLocal, to: to.startsLocal });
  }
  if (from.staffId !== undefined && to.staffId !== undefined && from.staffId !== to.staffId) {
    changes.push({ kind: 'staff_changed', from: from.staffId, to: to.staffId });
  }
  if (from.services && to.services && !sameServices(from.services, to.services)) {
    const ids = (services: typeof from.services) => services?.map(service => service.id) ?? [];
    changes.push({ kind: 'services_changed', from: ids(from.services), to: ids(to.services) });
  }
  if (from.clientId !== undefined && to.clientId !== undefined && from.clientId !== to.clientId) {
    changes.push({ kind: 'client_changed', from: from.clientId, to: to.clientId });
  }
  return changes;
}

function stateChanges(from: BookingState, after: Booking, zone: string): Change[] {
  const to = stateOf(after, zone);
  if (from === to) return [];
  const restored: Change[] = from === 'cancelled' ? [{ kind: 'restored' }] : [];
  switch (to) {
    case 'cancelled':
      return [{ kind: 'cancelled', by: after.fields.deleted ? 'deleted' : 'attendance' }];
    case 'waiting':
      return from === 'cancelled' ? restored : [{ kind: 'waiting' }];
    case 'confirmed':
    case 'arrived':
    case 'no_show':
      return [...restored, { kind: to }];
  }
}

function payment(before: Booking | null, after: Booking): Change[] {
  const was = before?.fields.paid ?? false;
  const is = after.fields.paid ?? false;
  if (was === is) return [];
  return [{ kind: is ? 'paid' : 'unpaid' }];
}
