/**
 * One company on the platform: a salon that moves by the happenings of its course and by calls of the API.
 *
 * The salon value forgets its oldest records after some hundreds, for the sake of its course; here none is forgotten.
 */
import type { EpochMs } from '../../domain/time.ts';
import type { Client } from '../cast.ts';
import { type Happening, happeningOf, step } from '../course.ts';
import { type Faults, parseFaults } from '../faults.ts';
import type { RecordAction } from '../journal.ts';
import { afterAction } from '../next-action.ts';
import type { Random } from '../random.ts';
import type { Salon, SalonRecord } from '../salon.ts';
import { type HooksSettings, NO_HOOKS } from './hooks.ts';

export type Branch = {
  readonly companyId: number;
  /** As it is now. */
  salon(): Salon;
  /** Every record that there ever was, deleted or not, by id. */
  records(): readonly SalonRecord[];
  record(recordId: number): SalonRecord | undefined;
  /**
   * What happened elsewhere (a course, a history) is true here from now on. Sends no webhook. Throws when it began from
   * another state of a record than the one here: whoever made it knew nothing of what callers of the API wrote, and
   * `act` must be used where they write.
   */
  apply(happening: Happening): void;
  /** The salon's next action, at `at` (never before the last one). Sends no webhook. Null when nothing can happen. */
  act(at: EpochMs, options?: ActOptions): Happening | null;
  /** What a call of the API did. Sends no webhook. */
  write(write: Write, faults: Faults): Happening;
  hooks(): HooksSettings;
  saveHooks(settings: HooksSettings): void;
};

export type Write = {
  readonly action: RecordAction;
  /** Who was not in the card index before. */
  readonly newClients: readonly Client[];
};

export type ActOptions = {
  readonly faults?: Faults;
  /** Whether things happen outside the journal too; not unless told. */
  readonly others?: boolean;
  /** No more records than this; unlimited unless told. */
  readonly mostRecords?: number;
};

const NO_FAULTS = parseFaults('none');

export function openBranch(opened: Salon, random: Random): Branch {
  let salon = opened;
  let hooks = NO_HOOKS;
  // Ids only grow, so that the order of insertion is the order of ids.
  const records = new Map(opened.records.map(record => [record.id, record]));
  const { companyId } = opened;

  function apply({ action, salon: after }: Happening): void {
    if (after.companyId !== companyId)
      throw new Error(`company ${companyId} cannot take what happened at company ${after.companyId}`);
    const changes = action.about === 'record' ? action.changes : [];
    for (const { before, after: changed } of changes) {
      if (records.get(changed.id)?.version !== before?.version)
        throw new Error(`company ${companyId}: record ${changed.id} is not as it was when this happened`);
    }
    salon = after;
    for (const change of changes) records.set(change.after.id, change.after);
  }

  return {
    companyId,
    salon: () => salon,
    records: () => [...records.values()],
    record: recordId => records.get(recordId),
    apply,
    act(at, { faults = NO_FAULTS, others = false, mostRecords } = {}) {
      const options = { faults, others, mostRecords, gapMs: () => 1 };
      const { happening } = step({ salon, random, nextAt: at }, options);
      if (happening !== null) apply(happening);
      return happening;
    },
    write({ action, newClients }, faults) {
      const cast = { ...salon.cast, clients: [...salon.cast.clients, ...newClients] };
      const after = afterAction({ ...salon, cast }, action);
      const happening = happeningOf(action, after, random, faults);
      apply(happening);
      return happening;
    },
    hooks: () => hooks,
    saveHooks(settings) {
      hooks = settings;
    },
  };
}
