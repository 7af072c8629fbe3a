/** Quiet hours: the part of a day, by the salon's clock, in which people are left in peace. */
import type { Category, Policy, QuietRule } from './policy.ts';
import type { Audience } from './team.ts';
import { type EpochMs, instantOf, shiftDays, wallOf } from './time.ts';

/** When a message that would leave at `moment` may leave: then, at the end of the quiet hours, or (null) not at all. */
export function afterQuiet(
  policy: Policy,
  category: Category,
  moment: EpochMs,
  zone: string,
): EpochMs | null {
  return afterHours(policy.quietHours, policy.quietHours[category], moment, zone);
}

/** The same of a notice: the client's hours, a master's and an administrator's are each their own. */
export function noticeAfterQuiet(policy: Policy, audience: Audience, moment: EpochMs, zone: string): EpochMs {
  const hours = audience === 'client' ? policy.quietHours : policy.team[audience].quietHours;
  return afterHours(hours, hours.notices, moment, zone) ?? moment;
}

type Hours = { readonly from: string; readonly to: string };

function afterHours(hours: Hours, rule: QuietRule, moment: EpochMs, zone: string): EpochMs | null {
  if (rule === 'send') return moment;
  const end = quietUntil(hours, moment, zone);
  if (end === null) return moment;
  return rule === 'drop' ? null : end;
}

/** The end of the quiet hours that `moment` lies in, or null. They begin at `from` and end before `to`. */
function quietUntil({ from, to }: Hours, moment: EpochMs, zone: string): EpochMs | null {
  const wall = wallOf(moment, zone);
  const time = wall.slice(11, 16);
  const overnight = from > to;
  const inside = overnight ? time >= from || time < to : time >= from && time < to;
  if (!inside) return null;
  const day = overnight && time >= from ? shiftDays(wall, 1) : wall;
  const end = instantOf(`${day.slice(0, 10)}T${to}:00`, zone);
  // In the hour that a change of clocks repeats, the end by the clock's first reading may be over already.
  return end > moment ? end : null;
}
