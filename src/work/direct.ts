/**
 * The road to the operator that needs no database: this process sends by itself, from its memory, and tries again until
 * each channel has taken it. For what cannot go by the outbox: that the database is down, or that the outbox stands still.
 *
 * A channel's newest news is never given up: it says what is true now. Older ones go once their tries are used.
 */
import { type Channel, type ChannelName, OPERATOR, type Outgoing, type Roads } from '../channels/channel.ts';
import type { Text } from '../domain/text.ts';
import type { EpochMs } from '../domain/time.ts';
import { newId } from '../ids.ts';
import type { Log } from '../log.ts';

/** At one try a look, half a minute apart, some twenty minutes; from then on at the slow pace. */
const QUICK_TRIES = 40;
/** Of what was refused, or may have arrived, too: a repeat now and then is cheaper than an operator who never heard. */
const SLOW_MS = 600_000;
/** Of one channel; older ones go first. */
const MAX_WAITING = 10;

export type DirectRoad = {
  tell(text: Text): void;
  /** One try of what is due; what did not leave waits on. Never rejects. */
  flush(signal: AbortSignal): Promise<void>;
};

type Waiting = {
  readonly channel: Channel;
  readonly outgoing: Outgoing;
  readonly tryAt: EpochMs;
  readonly isSlow: boolean;
};

export function createDirectRoad({
  channels,
  roads,
  log,
  now,
}: {
  readonly channels: ReadonlyMap<ChannelName, Channel>;
  readonly roads: Roads;
  readonly log: Log;
  readonly now: () => EpochMs;
}): DirectRoad {
  /** The oldest first. */
  let waiting: Waiting[] = [];

  async function attempt(one: Waiting, signal: AbortSignal): Promise<Waiting | undefined> {
    const { channel, outgoing } = one;
    const { outcome } = await channel.send(outgoing, signal);
    const tries = outgoing.attempt;
    log.info(
      { message: outgoing.id, channel: channel.name, outcome, attempts: tries },
      'alert sent without the outbox',
    );
    if (outcome === 'sent') return undefined;
    const isSlow = one.isSlow || outcome !== 'retry' || tries >= QUICK_TRIES;
    const tryAt = isSlow ? now() + SLOW_MS : now();
    return { channel, outgoing: { ...outgoing, attempt: tries + 1 }, tryAt, isSlow };
  }

  return {
    tell(text) {
      for (const [name, road] of roads) {
        const channel = channels.get(name);
        if (channel === undefined) continue;
        waiting.push({ channel, outgoing: outgoingOf(road, text), tryAt: now(), isSlow: false });
      }
      waiting = waiting.slice(-MAX_WAITING * Math.max(1, roads.size));
    },
    async flush(signal) {
      const tried = waiting;
      waiting = [];
      const newest = new Map(tried.map(one => [one.channel, one]));
      const left = await Promise.all(
        tried.map(async one => {
          const after = one.tryAt > now() ? one : await attempt(one, signal);
          return after?.isSlow && newest.get(one.channel) !== one ? undefined : after;
        }),
      );
      waiting = [...left.filter(one => one !== undefined), ...waiting];
    },
  };
}

/** A message to the operator on one road. */
export function outgoingOf(
  { address, secret }: { readonly address: string; readonly secret?: string | undefined },
  text: Text,
): Outgoing {
  return {
    ...OPERATOR,
    ...text,
    id: newId(),
    address,
    ...(secret === undefined ? {} : { secret }),
    attempt: 1,
  };
}
