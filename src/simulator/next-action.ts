/** What happens next at the salon: a pure step of its state machine. */
import type { EpochMs } from '../domain/time.ts';
import { type OtherAction, otherAction } from './backoffice.ts';
import { type JournalHabits, type RecordAction, recordAction } from './journal.ts';
import type { Random } from './random.ts';
import type { Salon } from './salon.ts';

export type Action = RecordAction | OtherAction;

/** Which of the salon's habits are on. */
export type Habits = JournalHabits & {
  /** Things happen outside the journal too: clients, goods, payments. */
  readonly others: boolean;
  /** Among them, resources that no documentation knows. */
  readonly unknownResources: boolean;
};

/** The journal forgets its oldest records beyond this many, so that a long run stays small. */
const MAX_RECORDS = 600;

/** About one event of seven is not about a booking. */
const OTHER_SHARE = 0.15;

/**
 * The next action and the salon after it; null when nothing can happen at this moment (see `JournalHabits`). The
 * first action is always a new booking. `nowMs` must not go backwards.
 */
export function nextAction(
  salon: Salon,
  random: Random,
  nowMs: EpochMs,
  habits: Habits,
): { readonly salon: Salon; readonly action: Action } | null {
  const other = habits.others && salon.actions > 0 && random.chance(OTHER_SHARE);
  const action = other
    ? otherAction(salon, random, nowMs, habits.unknownResources)
    : recordAction(salon, random, nowMs, habits);
  if (action === null) return null;
  return { salon: afterAction(salon, action), action };
}

export function afterAction(salon: Salon, action: Action): Salon {
  const counted = { ...salon, nextId: salon.nextId + action.idsTaken, actions: salon.actions + 1 };
  if (action.about === 'other') return counted;
  const after = new Map(action.changes.map(change => [change.after.id, change.after]));
  const kept = salon.records.map(record => after.get(record.id) ?? record);
  const added = action.changes.filter(change => change.before === null).map(change => change.after);
  return { ...counted, records: [...kept, ...added].slice(-MAX_RECORDS) };
}
