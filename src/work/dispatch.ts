/**
 * The dispatcher: sends what is due in the outbox. Claim (claim.ts, one transaction), send, settle (settle.ts, one
 * transaction). No network call happens inside a transaction, and no message is sent that is not claimed.
 */
import { randomUUID } from 'node:crypto';
import type { Channel, Outgoing, SendResult } from '../channels/channel.ts';
import type { EpochMs } from '../domain/time.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Origin } from '../store/origins.ts';
import { pauseSending, resumeSending } from '../store/pace.ts';
import { retried } from '../store/pool.ts';
import { meetReceipts } from '../store/receipts.ts';
import { type Tracing, traceIdOf } from '../tracing.ts';
import { type ClaimDeps, claimDue, type ReadyToSend } from './claim.ts';
import { providerOf } from './fall.ts';
import type { Unsent } from './judge.ts';
import { createLines } from './lines.ts';
import { createLoop, type Loop } from './loop.ts';
import { createSettler } from './settle.ts';

/** Sends under way at once in this process. */
const MAX_IN_FLIGHT = 512;
const CLAIM_BATCH = 64;
/** Longer than the wait for a place and any channel's own timeout (60 s) together: no live send is taken for a lost one. */
const LEASE_MS = 120_000;
/**
 * Of its lease, what a message may wait for a place in its channel. At a provider that hangs the last of a queue would
 * leave after its lease: when it counts as lost, and something newer may have been told.
 */
const WAIT_SHARE = 1 / 3;
const IDLE_MS = 200;
/** Characters of a provider's id of a message. */
const MOST_ID = 200;

/** By both clocks: the steady one stands still while the machine is suspended, and the leases in the database do not. */
type Claimed = { readonly steadyMs: number; readonly wallMs: EpochMs };

export type DispatchDeps = ClaimDeps & {
  readonly log: Log;
  readonly metrics: Metrics;
  /** 0 ≤ x < 1, for jitter. */
  readonly random: () => number;
  /** How long a claim lasts without its process; 120 s unless given. */
  readonly leaseMs?: number;
  readonly tracing?: Tracing | undefined;
};

export type Dispatcher = Loop & {
  /** Claims what is due and begins to send it; returns how many messages were claimed or ended. */
  runOnce(): Promise<number>;
  /** Runs until nothing is due and nothing is under way. */
  drain(): Promise<void>;
};

export function createDispatcher(deps: DispatchDeps): Dispatcher {
  const underWay = new Set<string>();
  const lines = createLines();
  const claims = { owner: randomUUID(), leaseMs: deps.leaseMs ?? LEASE_MS, underWay, lines };
  /** What has begun is seen through, also by a stop. */
  const never = new AbortController().signal;
  let stopping = false;
  const inFlight = new Set<Promise<void>>();
  const settler = createSettler({ ...deps, owner: claims.owner });

  async function runOnce(): Promise<number> {
    const room = Math.min(CLAIM_BATCH, MAX_IN_FLIGHT - inFlight.size);
    if (room <= 0) return 0;
    const claimedAt = { steadyMs: performance.now(), wallMs: deps.now() };
    const claimed = await claimDue(deps, claims, room);
    for (const { channel, why } of claimed.falls) deps.metrics.falls.inc({ channel, reason: why });
    for (const unsent of claimed.unsent) reportUnsent(deps, unsent, claimed.originOf(unsent.message));
    for (const ready of claimed.send)
      track(ready.outgoing.id, send(ready, claimed.originOf(ready.outgoing), claimedAt));
    return claimed.send.length + claimed.unsent.length + claimed.snoozed;
  }

  function track(id: string, sending: Promise<void>): void {
    inFlight.add(sending);
    underWay.add(id);
    void sending.finally(() => {
      inFlight.delete(sending);
      underWay.delete(id);
      loop.wake();
    });
  }

  async function send(ready: ReadyToSend, origin: Origin | undefined, claimedAt: Claimed): Promise<void> {
    const { channel, outgoing, step, inMs, recovering, fell } = ready;
    const place = lines.enter(ready);
    if (inMs > 0) await new Promise(resolve => setTimeout(resolve, inMs));
    await place.turn();
    const startedAt = deps.now();
    const hindered = hindrance(claimedAt);
    if (hindered !== undefined && !fell) {
      place.leave();
      const result = { outcome: 'untried', reason: hindered } as const;
      await settler.settle({ outgoing, step, channel, result, startedAt, finishedAt: startedAt });
      return;
    }
    const span = deps.tracing?.start('dispatch', origin?.traceparent ?? null);
    const begunAt = performance.now();
    // A further step of a route that was not tried is told from one that was silent by its attempt alone.
    const result: SendResult =
      hindered === undefined
        ? await sendSafely(channel, outgoing, never)
        : { outcome: 'retry', reason: hindered };
    const finishedAt = deps.now();
    place.leave(hindered === undefined ? performance.now() - begunAt : undefined);
    deps.metrics.sendSeconds.observe({ channel: channel.name }, (finishedAt - startedAt) / 1000);
    deps.metrics.messages.inc({
      purpose: outgoing.purpose,
      channel: channel.name,
      outcome: countedAs(result),
    });
    deps.log.info(
      {
        loop: 'dispatch',
        ...(origin === undefined ? {} : { request_id: origin.requestId }),
        ...(span === undefined ? {} : { trace_id: traceIdOf(span.traceparent) }),
        company_id: outgoing.companyId,
        message: outgoing.id,
        purpose: outgoing.purpose,
        channel: channel.name,
        outcome: result.outcome,
        attempts: outgoing.attempt,
        duration_ms: finishedAt - startedAt,
        ...('reason' in result ? { reason: result.reason } : {}),
      },
      'message attempted',
    );
    span?.end(
      {
        ...(origin === undefined ? {} : { 'otklik.request_id': origin.requestId }),
        'otklik.company_id': outgoing.companyId,
        'otklik.message': outgoing.id,
        'otklik.purpose': outgoing.purpose,
        'otklik.channel': channel.name,
        'otklik.outcome': result.outcome,
        'otklik.attempt': outgoing.attempt,
      },
      result.outcome !== 'sent',
    );
    await tellPace(channel, result, recovering);
    await settler.settle({ outgoing, step, channel, result, startedAt, finishedAt });
    await meetEarlyReceipts(outgoing, channel, result, fell);
  }

  /** Why a message whose place has come does not leave after all. It is put back, and has used no try. */
  function hindrance({ steadyMs, wallMs }: Claimed): string | undefined {
    if (stopping) return 'stopped by us';
    const waitedMs = Math.max(performance.now() - steadyMs, deps.now() - wallMs);
    return waitedMs > claims.leaseMs * WAIT_SHARE ? 'the channel was busy for too long' : undefined;
  }

  /** What a provider says of our rate concerns everybody who sends through it. Should it not be noted, it says it again. */
  async function tellPace({ name, traits }: Channel, result: SendResult, recovering: boolean): Promise<void> {
    if (traits.pace === null) return;
    try {
      if (result.outcome === 'retry' && result.limited) {
        const pause = { askedMs: result.retryAfterMs ?? 0, stretch: 1 + deps.random() / 4 };
        await pauseSending(deps.pool, name, pause);
      } else if (result.outcome === 'sent' && recovering) await resumeSending(deps.pool, name);
    } catch (error) {
      deps.log.warn({ channel: name, err: error }, 'the rate of a channel could not be noted');
    }
  }

  /**
   * A receipt may be quicker than the note of the message's id, or come for an earlier step while this one was sent,
   * whatever became of this one. What is missed here is seen when the next step is due.
   */
  async function meetEarlyReceipts(
    outgoing: Outgoing,
    channel: Channel,
    result: SendResult,
    fell: boolean,
  ): Promise<void> {
    const mayBeTold = result.outcome === 'sent' && channel.traits.receiptWithinMs !== null;
    if (!mayBeTold && !fell) return;
    try {
      const by = { channel: channel.name, provider: providerOf(channel) };
      await retried(() => meetReceipts(deps.pool, outgoing, by));
    } catch (error) {
      deps.log.warn({ message: outgoing.id, err: error }, 'receipts could not be looked at');
    }
  }

  const loop = createLoop({
    name: 'dispatch',
    log: deps.log,
    metrics: deps.metrics,
    idleMs: IDLE_MS,
    runOnce,
  });
  return {
    ...loop,
    runOnce,
    async drain() {
      while ((await runOnce()) > 0 || inFlight.size > 0) await Promise.all(inFlight);
    },
    start() {
      stopping = false;
      loop.start();
    },
    async stop() {
      stopping = true;
      await loop.stop();
      await Promise.all(inFlight);
      settler.stop();
    },
  };
}

/** A message that ends before it is sent; one that only waits on has not ended. */
function reportUnsent(
  { log, metrics }: DispatchDeps,
  { message, state, error, waitMs }: Unsent,
  origin: Origin | undefined,
): void {
  if (waitMs !== undefined) return;
  const { purpose, channel } = message;
  // One that a channel took has been counted then.
  if (message.sentAt === null) metrics.ended.inc({ purpose, channel: channel ?? 'none', state });
  log.info(
    {
      loop: 'dispatch',
      ...(origin === undefined ? {} : { request_id: origin.requestId }),
      company_id: message.companyId,
      message: message.id,
      purpose,
      outcome: state,
      attempts: message.attempts,
      ...(error === null ? {} : { reason: error }),
    },
    message.sentAt === null ? 'message ended unsent' : 'route ended',
  );
}

/** `refused`: the channel refuses us, not this address or text. What tells the two apart is whom to wake. */
function countedAs(result: SendResult): string {
  return result.outcome === 'rejected' && result.scope === 'channel' ? 'refused' : result.outcome;
}

/** A channel promises not to throw; should one throw all the same, the message may have left. */
async function sendSafely(channel: Channel, outgoing: Outgoing, signal: AbortSignal): Promise<SendResult> {
  try {
    return withoutLongId(await channel.send(outgoing, signal));
  } catch (error) {
    return {
      outcome: 'unknown',
      reason: `channel failed: ${error instanceof Error ? error.name : typeof error}`,
    };
  }
}

/** No receipt tells of a longer id (`channels/receipts.ts`), and no index holds one of 3 kB: its outcome was never kept. */
function withoutLongId(result: SendResult): SendResult {
  const isLong = result.outcome === 'sent' && (result.providerId ?? '').length > MOST_ID;
  return isLong ? { outcome: 'sent' } : result;
}
