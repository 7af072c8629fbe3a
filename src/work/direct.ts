/**
 * The road to the operator that needs no database: this process sends by itself, from its memory, and tries again until
 * each channel has taken it. For what cannot go by the outbox: that the database is down, or that the outbox stands still.
 */
import { type Channel, type ChannelName, OPERATOR, type Outgoing, type Roads } from '../channels/channel.ts';
import type { Text } from '../domain/text.ts';
import { newId } from '../ids.ts';
import type { Log } from '../log.ts';

/** At one try a look, half a minute apart, some twenty minutes. */
const MAX_TRIES = 40;
/** Of one channel; older ones go first. */
const MAX_WAITING = 10;

export type DirectRoad = {
  tell(text: Text): void;
  /** One try of what waits; what did not leave waits on. Never rejects. */
  flush(signal: AbortSignal): Promise<void>;
};

export function createDirectRoad({
  channels,
  roads,
  log,
}: {
  readonly channels: ReadonlyMap<ChannelName, Channel>;
  readonly roads: Roads;
  readonly log: Log;
}): DirectRoad {
  let waiting: { readonly channel: Channel; readonly outgoing: Outgoing }[] = [];
  return {
    tell(text) {
      for (const [name, road] of roads) {
        const channel = channels.get(name);
        if (channel === undefined) continue;
        waiting.push({ channel, outgoing: outgoingOf(road, text) });
      }
      waiting = waiting.slice(-MAX_WAITING * Math.max(1, roads.size));
    },
    async flush(signal) {
      const tried = waiting;
      waiting = [];
      const left = await Promise.all(
        tried.map(async ({ channel, outgoing }) => {
          const result = await channel.send(outgoing, signal);
          const { attempt } = outgoing;
          log.info(
            { message: outgoing.id, channel: channel.name, outcome: result.outcome, attempts: attempt },
            'alert sent without the outbox',
          );
          const again = result.outcome === 'retry' && attempt < MAX_TRIES;
          return again ? [{ channel, outgoing: { ...outgoing, attempt: attempt + 1 } }] : [];
        }),
      );
      waiting = [...left.flat(), ...waiting];
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
