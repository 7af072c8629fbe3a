/**
 * The dispatcher: sends what is due in the outbox. Claim (claim.ts, one transaction), send, settle (settle.ts, one
 * transaction). No network call happens inside a transaction, and no message is sent that is not claimed.
 */
import { randomUUID } from 'node:crypto';
import type { Channel, ChannelName, Outgoing, SendResult } from '../channels/channel.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Origin } from '../store/origins.ts';
import { pauseSending, resumeSending } from '../store/pace.ts';
import { meetReceipts } from '../store/receipts.ts';
import { type Tracing, traceIdOf } from '../tracing.ts';
import { type ClaimDeps, claimDue, type ReadyToSend } from './claim.ts';
import { providerOf } from './fall.ts';
import type { Unsent } from './judge.ts';
import { createLoop, type Loop } from './loop.ts';
import { createSettler } from './settle.ts';

/** Sends under way at once in this process. */
const MAX_IN_FLIGHT = 256;
const CLAIM_BATCH = 64;
/** Longer than any channel's own timeout, so that a live send is never taken for an abandoned one. */
const LEASE_MS = 120_000;
const IDLE_MS = 200;

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
  const claims = { owner: randomUUID(), leaseMs: deps.leaseMs ?? LEASE_MS };
  const abort = new AbortController();
  const inFlight = new Set<Promise<void>>();
  const gates = createGates();
  const settler = createSettler({ ...deps, owner: claims.owner });

  async function runOnce(): Promise<number> {
    const room = Math.min(CLAIM_BATCH, MAX_IN_FLIGHT - inFlight.size);
    if (room <= 0) return 0;
    const claimed = await claimDue(deps, claims, room);
    for (const { channel, why } of claimed.falls) deps.metrics.falls.inc({ channel, reason: why });
    for (const unsent of claimed.unsent) reportUnsent(deps, unsent, claimed.originOf(unsent.message));
    for (const ready of claimed.send) track(send(ready, claimed.originOf(ready.outgoing)));
    return claimed.send.length + claimed.unsent.length + claimed.snoozed;
  }

  function track(sending: Promise<void>): void {
    inFlight.add(sending);
    void sending.finally(() => {
      inFlight.delete(sending);
      loop.wake();
    });
  }

  async function send(
    { channel, outgoing, step, inMs, recovering, fell }: ReadyToSend,
    origin: Origin | undefined,
  ): Promise<void> {
    if (inMs > 0) await new Promise(resolve => setTimeout(resolve, inMs));
    const leave = await gates.enter(channel);
    const span = deps.tracing?.start('dispatch', origin?.traceparent ?? null);
    const startedAt = deps.now();
    const result = await sendSafely(channel, outgoing, abort.signal);
    const finishedAt = deps.now();
    leave();
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
   * A receipt may be quicker than the note of the message's id, or come for an earlier step while this one was sent.
   * What is missed here is seen when the next step is due.
   */
  async function meetEarlyReceipts(
    outgoing: Outgoing,
    channel: Channel,
    result: SendResult,
    fell: boolean,
  ): Promise<void> {
    if (result.outcome !== 'sent' || (channel.traits.receiptWithinMs === null && !fell)) return;
    try {
      await meetReceipts(deps.pool, outgoing, { channel: channel.name, provider: providerOf(channel) });
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
    async stop() {
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

/** Lets no more sends into a channel at once than it can take; the others wait their turn. */
function createGates(): { enter(channel: Channel): Promise<() => void> } {
  const inside = new Map<ChannelName, number>();
  const queues = new Map<ChannelName, (() => void)[]>();
  return {
    async enter({ name, concurrency }) {
      const queue = queues.get(name) ?? [];
      queues.set(name, queue);
      if ((inside.get(name) ?? 0) >= concurrency) await new Promise<void>(resolve => queue.push(resolve));
      else inside.set(name, (inside.get(name) ?? 0) + 1);
      return () => {
        const next = queue.shift();
        // The place passes to the next in line; only the last leaves it empty.
        if (next !== undefined) next();
        else inside.set(name, (inside.get(name) ?? 1) - 1);
      };
    },
  };
}

/** A channel promises not to throw; should one throw all the same, the message may have left. */
async function sendSafely(channel: Channel, outgoing: Outgoing, signal: AbortSignal): Promise<SendResult> {
  try {
    return await channel.send(outgoing, signal);
  } catch (error) {
    return {
      outcome: 'unknown',
      reason: `channel failed: ${error instanceof Error ? error.name : typeof error}`,
    };
  }
}
