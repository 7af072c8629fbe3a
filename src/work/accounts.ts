/** What the providers say of our accounts, asked now and then: a token that was taken back is news before a client is due. */
import type { AccountState, Channel, ChannelName } from '../channels/channel.ts';
import type { Reading, Rules } from '../domain/alert.ts';
import type { EpochMs } from '../domain/time.ts';
import type { Metrics } from '../metrics.ts';

/** All are asked at once and the watch waits for them: much longer, and it would be late for everything else. */
const LIMIT_MS = 10_000;
/** What was not a good word is asked for again so soon: a refill is seen, and a provider that was away. */
const AGAIN_MS = 5 * 60_000;
const MINUTE_MS = 60_000;
/** What the metric shows. */
const SHOWN = { ok: 0, soon: 1, refused: 2 } as const;

/** Of those that can be asked, each once; the others are left out. Ends within ten seconds, or when `stop` aborts. */
export async function readAccounts(
  channels: Iterable<Channel>,
  stop: AbortSignal,
  limitMs: number = LIMIT_MS,
): Promise<ReadonlyMap<ChannelName, AccountState>> {
  const deadline = AbortSignal.timeout(limitMs);
  const signal = AbortSignal.any([stop, deadline]);
  const asked = [...channels].map(async channel => {
    const told = await channel.check?.(signal);
    if (told === undefined) return [];
    const late = told.state === 'unknown' && deadline.aborted && !stop.aborted;
    const state: AccountState = late ? { ...told, reason: `no answer within ${limitMs} ms` } : told;
    return [[channel.name, state] as const];
  });
  return new Map((await Promise.all(asked)).flat());
}

type Known = { readonly state: AccountState; readonly againAt: EpochMs };

/** A reading of each channel at every look, asked anew when it is due. What could not be learnt changes nothing. */
export function createAccounts(deps: {
  readonly channels: ReadonlyMap<ChannelName, Channel>;
  readonly rules: Rules;
  readonly metrics: Pick<Metrics, 'accounts'>;
  readonly now: () => EpochMs;
}): (stop: AbortSignal) => Promise<Reading[]> {
  const { channels, rules, metrics, now } = deps;
  const everyMs = (rules.get('account')?.limit ?? 0) * MINUTE_MS;
  const known = new Map<ChannelName, Known>();
  return async stop => {
    if (everyMs === 0) return [];
    const due = [...channels.values()].filter(({ name }) => now() >= (known.get(name)?.againAt ?? 0));
    for (const [name, state] of await readAccounts(due, stop)) {
      const waitMs = state.state === 'ok' ? everyMs : Math.min(everyMs, AGAIN_MS);
      known.set(name, { state, againAt: now() + waitMs });
      if (state.state !== 'unknown') metrics.accounts.set({ channel: name }, SHOWN[state.state]);
    }
    return [...known].map(([name, { state }]) => readingOf(name, state));
  };
}

/** Its label says which of the two it is, for the text. */
function readingOf(name: ChannelName, told: AccountState): Reading {
  const of = { kind: 'account', subject: name } as const;
  switch (told.state) {
    case 'ok':
      return { ...of, value: 0 };
    case 'unknown':
      return { ...of, value: null };
    case 'soon':
    case 'refused':
      return { ...of, value: 1, label: told.state, detail: told.reason };
  }
}
