/**
 * The lines of receivers in one process: what was claimed and waits for a place at its receiver. So much of each waits
 * here; the rest waits in the outbox, where what goes to others passes it. Without that a receiver that is slow, or hangs,
 * would come to hold every place there is, and whatever is due after its backlog would wait for all of it.
 */
import type { Channel, Outgoing } from '../channels/channel.ts';

/** A quarter of what a process has under way at once; six times what any provider is given at once. */
const MOST_WAITING = 128;
/** What is put off asks again so late at least, and at most: a provider that hung may be back. */
const AGAIN_MS = { least: 250, most: 60_000 };
/** How long a send is taken to last until one has ended. */
const FIRST_GUESS_MS = 100;

export type Sending = { readonly channel: Channel; readonly outgoing: Outgoing };

/** Who takes it: the provider of its channel, or the program at its address, one of which holds up no other. */
export function receiverOf({ channel: { name, traits }, outgoing: { address } }: Sending): string {
  return traits.address === 'url' ? `${name} ${address}` : name;
}

export type Lines = {
  /** Undefined: one more may wait here, besides those that are about to. Else in how many milliseconds it asks again. */
  putOffMs(sending: Sending, besides: number): number | undefined;
  /** One waits here from now on, until it leaves. */
  enter(sending: Sending): {
    /** No more are sent to a receiver at once than its channel says; the others wait their turn. */
    turn(): Promise<void>;
    /** Its turn is over; its send took so long, if it was sent: those that are put off ask again at that pace. */
    leave(sendMs?: number): void;
  };
};

type Line = {
  /** Here, those that are being sent among them. */
  waiting: number;
  inside: number;
  readonly queue: (() => void)[];
  sendMs: number;
  endsAt: number;
};

export function createLines(clock: () => number = () => performance.now()): Lines {
  const lines = new Map<string, Line>();

  return {
    putOffMs(sending, besides) {
      const line = lines.get(receiverOf(sending));
      const { concurrency } = sending.channel;
      if (line === undefined || line.waiting + besides < Math.max(MOST_WAITING, concurrency))
        return undefined;
      const inMs = Math.max(AGAIN_MS.least, line.endsAt - clock());
      // Beyond that there are no places, as in domain/pace.ts.
      if (inMs > AGAIN_MS.most) return AGAIN_MS.most;
      line.endsAt = clock() + inMs + line.sendMs / concurrency;
      return inMs;
    },
    enter(sending) {
      const receiver = receiverOf(sending);
      const line: Line = lines.get(receiver) ?? {
        ...{ waiting: 0, inside: 0, queue: [] },
        ...{ sendMs: FIRST_GUESS_MS, endsAt: 0 },
      };
      lines.set(receiver, line);
      line.waiting += 1;
      return {
        async turn() {
          if (line.inside < sending.channel.concurrency) line.inside += 1;
          else await new Promise<void>(resolve => line.queue.push(resolve));
        },
        leave(sendMs) {
          if (sendMs !== undefined) line.sendMs = (line.sendMs + sendMs) / 2;
          const next = line.queue.shift();
          // The place passes to the next in line; only the last leaves it empty.
          if (next !== undefined) next();
          else line.inside -= 1;
          line.waiting -= 1;
          if (line.waiting === 0) lines.delete(receiver);
        },
      };
    },
  };
}
