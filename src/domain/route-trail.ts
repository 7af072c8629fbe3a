/** A route in one line for people: which channels a message went by, and why it went on from each. Pure. */
import type { Fall, FallReason } from './route.ts';
import { type EpochMs, wallOf } from './time.ts';

export type TrailInput = {
  readonly zone: string;
  readonly falls: readonly Fall[];
  readonly attempts: readonly {
    readonly channel: string;
    readonly outcome: string;
    readonly reason: string;
    readonly finishedAt: EpochMs;
  }[];
  readonly receipts: readonly { readonly channel: string; readonly status: string; readonly at: EpochMs }[];
  /** Why it is where it is. */
  readonly error: string | null;
};

/** `telegram: no address → max: sent 12:00:01, no receipt in 5 min → sms: sent 12:05:02, delivered 12:05:09` */
export function writeTrail(input: TrailInput): string {
  const { falls, attempts, error } = input;
  const moments = [
    ...falls.map(({ channel, at }) => ({ channel, at })),
    ...attempts.map(({ channel, finishedAt }) => ({ channel, at: finishedAt })),
  ].sort((left, right) => left.at - right.at);
  const channels = [...new Set(moments.map(({ channel }) => channel))];
  const trail = channels.map(channel => `${channel}: ${partsOf(channel, input).join(', ')}`).join(' → ');
  const rest = (error ?? '')
    .split(', ')
    .filter(clause => !isSaid(clause, trail, falls))
    .join(', ');
  return [trail, rest].filter(part => part !== '').join(' → ');
}

/** Of why it ended: that a channel was passed over is a clause of its own, as `no address on sms`. */
function isSaid(clause: string, trail: string, falls: readonly Fall[]): boolean {
  return trail.includes(clause) || falls.some(fall => clause === passingOf(fall));
}

/** Why a message has no channel left, of one that was not tried; empty: it was, or the try says it. */
export function passingOf({ channel, why }: Fall): string {
  switch (why) {
    case 'opted_out':
      return `they want none on ${channel}`;
    case 'not_configured':
      return `${channel} is not configured`;
    case 'no_address':
      return `no address on ${channel}`;
    case 'budget':
      return `the policy lets it not go by ${channel} as well`;
    default:
      return '';
  }
}

function partsOf(channel: string, { zone, falls, attempts, receipts }: TrailInput): string[] {
  const tries = attempts.filter(one => one.channel === channel);
  const last = tries.at(-1);
  const ends = falls.filter(fall => fall.channel === channel);
  const silent = ends.find(({ why }) => why === 'silent');
  const arrived = receipts
    .filter(one => one.channel === channel && one.status !== 'failed')
    .sort((left, right) => left.at - right.at)[0];
  return [
    ...(last === undefined ? [] : [tryOf(last, tries.length, zone)]),
    ...ends.flatMap(fall => reasonOf(fall, last?.finishedAt ?? fall.at)),
    ...(arrived === undefined
      ? []
      : [
          `${silent !== undefined && silent.at < arrived.at ? 'delivered late' : 'delivered'} ${clockOf(arrived.at, zone)}`,
        ]),
  ];
}

function tryOf(
  { outcome, reason, finishedAt }: TrailInput['attempts'][number],
  tries: number,
  zone: string,
): string {
  const words =
    { sent: 'sent', rejected: 'refused', unknown: 'perhaps sent', retry: 'not taken' }[outcome] ?? outcome;
  const why = reason === '' ? '' : ` (${reason})`;
  return `${words} ${clockOf(finishedAt, zone)}${why}${tries > 1 ? `, try ${tries}` : ''}`;
}

/** Nothing, where the try says it already. */
function reasonOf({ why, at, detail }: Fall, since: EpochMs): string[] {
  switch (why) {
    case 'rejected':
      return [];
    case 'exhausted':
      return ['tries used up'];
    case 'unreachable':
      return ['out of reach for too long'];
    case 'undelivered':
      return [`not delivered${detail === undefined ? '' : ` (${detail})`}`];
    case 'silent':
      return [`no receipt in ${spanOf(at - since)}`];
    default:
      return [passedOver(why)];
  }
}

/** Why a channel is not tried, or not yet. */
export function passedOver(why: FallReason): string {
  switch (why) {
    case 'not_configured':
      return 'not configured';
    case 'no_address':
      return 'no address';
    case 'opted_out':
      return 'they want none there';
    case 'failed_before':
      return 'did not reach them lately';
    case 'budget':
      return 'more than the policy lets it take';
    default:
      return why;
  }
}

/** `90 s`, `5 min`. */
export function spanOf(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  return seconds < 90 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}

function clockOf(moment: EpochMs, zone: string): string {
  return wallOf(moment, zone).slice(11, 19);
}
