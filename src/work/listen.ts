/**
 * The listener: hears what people send to a bot, by asking for it or from what a messenger brought (`heard`). What an
 * update means is kept in the same transaction that takes it, so that a crash neither loses an answer nor takes it
 * twice; what we say back in the chat goes out after that, once, and is lost by a crash in between: who hears nothing
 * presses again. One process listens to a bot at a time. What cannot be understood is kept aside and holds nobody up.
 */
import { randomUUID } from 'node:crypto';
import type { Ear, Heard, Mouth, ToldEar } from '../channels/ear.ts';
import type { EpochMs } from '../domain/time.ts';
import { newId } from '../ids.ts';
import { describeError, type Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { moveEar, releaseEars, takeEar } from '../store/ears.ts';
import { keepAside, takeHeard } from '../store/heard.ts';
import { type Db, type Pool, savepoint, transaction, troubleOf } from '../store/pool.ts';
import type { Vault } from '../vault.ts';
import { createLoop, type Loop } from './loop.ts';
import { type Answer, SILENCE, understand } from './understand.ts';

export type ListenDeps = {
  readonly pool: Pool;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly now: () => EpochMs;
  readonly vault: Pick<Vault, 'proveInvite'>;
  readonly ear: Ear | ToldEar;
  /** Where a messenger is to bring what it hears; undefined: nowhere, or we ask. */
  readonly updatesUrl?: (() => Promise<string>) | undefined;
  /** Something was asked for. */
  readonly onAction: () => void;
};

export type Listener = Loop & {
  /** Waits for news and keeps it; returns how much there was. */
  runOnce(): Promise<number>;
};

/** Beyond the longest wait: the time to keep and answer a batch. */
const LEASE_MARGIN_MS = 60_000;
/** When another process listens, or nothing came from a server that does not hold its answers back. */
const IDLE_MS = 1_000;
const BATCH = 100;
/** MAX forgets a subscription whose address has failed for hours. */
const SUBSCRIBE_EVERY_MS = 10 * 60_000;
/** Until it has worked nobody is heard: one that failed is tried again sooner. */
const SUBSCRIBE_AGAIN_MS = 30_000;
/** What cannot be understood is tried so often before it is kept aside: the fault may be ours, and over in a moment. */
const MAX_TRIES = 3;
/** What is heard sooner was said now: the clocks of messengers and ours differ, and theirs has whole seconds. */
const LATE_MS = 60_000;

export function createListener(deps: ListenDeps): Listener {
  const { pool, log, metrics, ear } = deps;
  const owner = randomUUID();
  let abort = new AbortController();

  let subscribeAt = Number.NEGATIVE_INFINITY;
  /** How often what is being heard could not be understood. */
  const tries = new Map<string, number>();

  async function runOnce(): Promise<number> {
    const { signal } = abort;
    const taken = 'listen' in ear ? await ask(ear, signal) : await take(ear, signal);
    tries.clear();
    if (taken.some(({ answer }) => answer.acts)) deps.onAction();
    for (const { heard, answer, fault } of taken) {
      metrics.heard.inc({ channel: ear.channel, kind: heard.kind });
      if (fault !== undefined) {
        metrics.aside.inc({ channel: ear.channel });
        const fields = { loop: 'listen', channel: ear.channel, kind: heard.kind, reason: fault };
        log.error(
          fields,
          'what somebody sent could not be understood: it is kept aside, `answers aside` lists it',
        );
      }
      const pressed =
        heard.kind === 'press' && heard.pressId !== ''
          ? await ear.acknowledge(heard.pressId, signal)
          : undefined;
      const said = answer.reply === undefined ? undefined : await ear.reply(answer.reply, signal);
      for (const reason of [pressed, said && 'reason' in said ? said.reason : undefined]) {
        if (reason !== undefined)
          log.warn({ loop: 'listen', channel: ear.channel, reason }, 'a reply did not arrive');
      }
    }
    return taken.length;
  }

  /** Asks for what is new since the position that is kept. */
  async function ask(asking: Ear, signal: AbortSignal): Promise<Understood[]> {
    const position = await takeEar(pool, asking, { owner, leaseMs: asking.waitMs + LEASE_MARGIN_MS });
    if (position === undefined) return [];
    // Before the long wait: whoever put something back looks on.
    const again = await takeKept(asking);
    if (again.length > 0) return again;
    const news = await listen(asking, position, signal);
    if (news === undefined || news.position === position) return [];
    return transaction(pool, async db => {
      if (!(await moveEar(db, asking, { owner, position: news.position }))) return [];
      return understandAll(
        db,
        news.heard.map(said => ({ updateId: newId(), said, heardAt: deps.now() })),
      );
    });
  }

  /** Takes what was brought. */
  async function take(told: ToldEar, signal: AbortSignal): Promise<Understood[]> {
    await subscribe(told, signal);
    return takeKept(told);
  }

  /** What was brought, and what was kept aside and put back. */
  function takeKept(mouth: Mouth): Promise<Understood[]> {
    return transaction(pool, async db => {
      const heard = await takeHeard<Heard>(db, mouth.channel, BATCH);
      return understandAll(
        db,
        heard.flatMap(({ updateId, said, heardAt }) =>
          readAgain(mouth, said).map(again => ({ updateId, said: again, heardAt })),
        ),
      );
    });
  }

  async function understandAll(db: Db, news: readonly News[]): Promise<Understood[]> {
    const understood: Understood[] = [];
    for (const { updateId, said, heardAt } of news) {
      try {
        if (said.kind === 'unread') throw new UnreadError(said.error);
        const at = momentOf(said, heardAt, deps.now());
        understood.push({ heard: said, answer: await savepoint(db, () => understand(deps, db, said, at)) });
      } catch (error) {
        if (!isHopeless(said, error)) throw error;
        const fault = faultOf(error);
        await keepAside(db, { channel: ear.channel, updateId, said, error: fault });
        understood.push({ heard: said, answer: SILENCE, fault });
      }
    }
    return understood;
  }

  /** It is this that is at fault, not the database. All that came with it is tried again until that is sure. */
  function isHopeless(heard: Heard, error: unknown): boolean {
    if (error instanceof UnreadError) return true;
    const trouble = troubleOf(error);
    if (trouble !== 'data' && trouble !== 'bug') return false;
    const said = JSON.stringify(heard);
    tries.set(said, (tries.get(said) ?? 0) + 1);
    return (tries.get(said) ?? 0) >= MAX_TRIES;
  }

  async function subscribe(told: ToldEar, signal: AbortSignal): Promise<void> {
    const { updatesUrl } = deps;
    if (updatesUrl === undefined || told.subscribe === undefined) return;
    if (deps.now() < subscribeAt) return;
    const reason = await told.subscribe(await updatesUrl(), signal);
    subscribeAt = deps.now() + (reason === undefined ? SUBSCRIBE_EVERY_MS : SUBSCRIBE_AGAIN_MS);
    if (reason !== undefined && !signal.aborted)
      log.warn({ loop: 'listen', channel: told.channel, reason }, 'could not subscribe to what people send');
  }

  async function listen(asking: Ear, position: number, signal: AbortSignal) {
    try {
      return await asking.listen(position, signal);
    } catch (error) {
      if (signal.aborted) return undefined;
      throw error;
    }
  }

  const loop = createLoop({ name: 'listen', log, metrics, idleMs: IDLE_MS, runOnce });
  return {
    ...loop,
    runOnce,
    start() {
      abort = new AbortController();
      loop.start();
    },
    async stop() {
      abort.abort();
      await loop.stop();
      await releaseEars(pool, owner).catch((error: unknown) => {
        log.warn(
          { loop: 'listen', err: error },
          'could not give the bot back; it passes on when the lease ends',
        );
      });
    },
  };
}

type Understood = {
  readonly heard: Heard;
  readonly answer: Answer;
  /** Why it could not be understood. */
  readonly fault?: string;
};
type News = { readonly updateId: string; readonly said: Heard; readonly heardAt: EpochMs };

/** Of no form that is known, as its reader said. */
class UnreadError extends Error {
  override readonly name = 'UnreadError';
}

/**
 * When it was said: what a messenger held back, or an operator put back, is not of today. By then they may have been
 * told of other visits, and have said something else.
 */
function momentOf({ saidAt }: Heard, heardAt: EpochMs, now: EpochMs): EpochMs {
  const at = saidAt ?? heardAt;
  return now - at < LATE_MS ? now : at;
}

function readAgain(mouth: Mouth, said: Heard): readonly Heard[] {
  return said.kind === 'unread' ? mouth.readAgain(said.raw) : [said];
}

/** Nothing of what was said: an error may quote it. */
function faultOf(error: unknown): string {
  if (error instanceof UnreadError) return `unread: ${error.message}`;
  const { error: name, error_code, error_at } = describeError(error);
  return [name, error_code, error_at].filter(Boolean).join(' ');
}
