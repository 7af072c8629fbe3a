/**
 * Since when a booking's attendance has been said. Every body repeats it, whatever was edited, so the version of its
 * register is that of the last body and tells nothing: a cancellation (-1) touched after its hour would be a no-show, and a
 * review would be put off by each payment.
 *
 * It is said since the first of the bodies that say the same with none between them that says another. Bodies come in any
 * order, and an older one may part them or go before them; hence all their versions are held, and when another was said
 * last before. Any order of the same bodies comes to the same moment.
 */
import type { EpochMs } from './time.ts';

/** 2 confirmed by the client, 1 came, 0 waiting, -1 did not come (or was cancelled by the salon). */
export type Attendance = -1 | 0 | 1 | 2;

export type AttendanceSaid = {
  readonly value: Attendance;
  /** When another was said last before; absent where none was heard of. */
  readonly after?: EpochMs;
  /** Of the bodies that have said this one since, ascending: the first is the moment. */
  readonly versions: readonly [EpochMs, ...EpochMs[]];
};

/** What one body says of it, and whether it holds now. */
type Spoken = { readonly value: Attendance; readonly version: EpochMs; readonly taken: boolean };

/** Those of which the moment counts: a cancellation or a no-show, and a mark of having come. */
const MARKS: ReadonlySet<Attendance> = new Set([-1, 1]);
/**
 * Edits of a visit after its mark are few. Past these the first are kept: what is lost is only the exact moment after
 * an older body has parted them, which is then that of the newest.
 */
const MOST_VERSIONS = 32;

/** The moment register after a body; `held` is what held before it, at which version, null where nothing did. */
export function sayAttendance(
  held: { readonly value: Attendance; readonly version: EpochMs; readonly said?: AttendanceSaid } | null,
  { value, version, taken }: Spoken,
): AttendanceSaid | undefined {
  if (held === null) return begun(value, [version], undefined);
  // A row from before this was kept, or one that an older process has written since, has the version alone.
  const known: AttendanceSaid =
    held.said?.value === held.value ? held.said : { value: held.value, versions: [held.version] };
  const { after = Number.NEGATIVE_INFINITY, versions } = known;
  if (value === held.value) {
    return begun(value, version > after ? [...versions, version] : versions, after);
  }
  if (taken) {
    const others = [after, ...versions, held.version].filter(other => other < version);
    return begun(value, [version], Math.max(...others));
  }
  const parted = versions.filter(said => said > version);
  return begun(held.value, parted.length === 0 ? [held.version] : parted, Math.max(after, version));
}

function begun(
  value: Attendance,
  versions: readonly EpochMs[],
  after: EpochMs | undefined,
): AttendanceSaid | undefined {
  const [first, ...more] = [...new Set(versions)].sort((left, right) => left - right).slice(0, MOST_VERSIONS);
  if (!MARKS.has(value) || first === undefined) return undefined;
  const known = after !== undefined && Number.isFinite(after);
  return { value, ...(known ? { after } : {}), versions: [first, ...more] };
}
