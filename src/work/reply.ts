/**
 * What a bot says back leaves at once: somebody is waiting for it. It counts in the rate of its channel all the same, so
 * that messages, which can wait, leave room for it, and what the provider says of our rate holds for them too.
 */
import type { SendResult, Traits } from '../channels/channel.ts';
import type { Mouth, Reply } from '../channels/ear.ts';
import { countTurn } from '../domain/pace.ts';
import type { Log } from '../log.ts';
import { accountScope, chatScope, lockSlots, pauseSending, saveSlots } from '../store/pace.ts';
import { type Pool, transaction } from '../store/pool.ts';

type Deps = {
  readonly pool: Pool;
  readonly log: Log;
  /** 0 ≤ x < 1, for jitter. */
  readonly random: () => number;
};

/** The same mouth, whose replies take a turn once they have left. One that did not leave takes none. */
export function withTurns<Speaker extends Mouth>(
  { pool, log, random }: Deps,
  mouth: Speaker,
  pace: Traits['pace'],
): Speaker {
  if (pace === null) return mouth;
  const { channel } = mouth;
  const { everyMs, chatEveryMs } = pace;
  const account = accountScope(channel);

  async function note(result: SendResult, chat: string): Promise<void> {
    const limited = result.outcome === 'retry' && result.limited === true;
    if (result.outcome !== 'sent' && !limited) return;
    await transaction(pool, async db => {
      const rows = await lockSlots(db, [account, chatScope(channel, chat)]);
      if (limited) {
        const pause = { askedMs: result.retryAfterMs ?? 0, stretch: 1 + random() / 4 };
        await pauseSending(db, channel, pause);
        return;
      }
      for (const row of rows) {
        countTurn({ row, everyMs: row.scope === account ? everyMs : chatEveryMs });
      }
      await saveSlots(db, rows);
    });
  }

  return {
    ...mouth,
    async reply(reply: Reply, signal: AbortSignal) {
      const result = await mouth.reply(reply, signal);
      // Should it not be noted, a message leaves a little early, and the provider says so.
      await note(result, reply.chat).catch((error: unknown) => {
        log.warn({ channel, err: error }, 'the rate of a channel could not be noted');
      });
      return result;
    },
  };
}
