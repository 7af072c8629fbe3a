/** What a batch leaves behind of each of its events: a line in the log, a span, how long it took from its arrival. */
import type { EpochMs } from '../domain/time.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { PendingEvent } from '../store/inbox.ts';
import { type Tracing, traceIdOf } from '../tracing.ts';

export type TrailDeps = {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly now: () => EpochMs;
  /** Undefined: no traces are kept. */
  readonly tracing?: Tracing | undefined;
};

export type Trail = {
  /** Of the span an event is processed in; null where no traces are kept. */
  traceparentOf(id: string): string | null;
  /** The batch is committed. */
  committed(done: readonly { readonly id: string; readonly effect: string }[]): void;
  /** This event failed alone. */
  failed(id: string): void;
};

/** A span that is never ended is never sent: of a batch that fails nothing is left, its events are tried again. */
export function beginTrail(
  { log, metrics, now, tracing }: TrailDeps,
  events: readonly PendingEvent[],
): Trail {
  const byId = new Map(events.map(event => [event.id, event]));
  const spans =
    tracing && new Map(events.map(({ id, traceparent }) => [id, tracing.start('process', traceparent)]));

  return {
    traceparentOf: id => spans?.get(id)?.traceparent ?? null,
    committed(done) {
      const at = now();
      for (const { id, effect } of done) {
        const event = byId.get(id);
        if (event === undefined) continue;
        const { requestId, companyId, resource, receivedAt } = event;
        const span = spans?.get(id);
        const lagMs = Math.max(0, at - receivedAt);
        metrics.eventLag.observe(lagMs / 1000);
        span?.end({
          'otklik.request_id': requestId,
          'otklik.event': id,
          'otklik.company_id': companyId,
          'otklik.resource': metrics.known(resource),
          'otklik.effect': effect,
        });
        log.info(
          {
            loop: 'process',
            request_id: requestId,
            ...(span === undefined ? {} : { trace_id: traceIdOf(span.traceparent) }),
            company_id: companyId,
            event: id,
            resource: metrics.known(resource),
            effect,
            attempts: event.attempts + 1,
            lag_ms: lagMs,
          },
          'event processed',
        );
      }
    },
    failed(id) {
      spans?.get(id)?.end({ 'otklik.request_id': byId.get(id)?.requestId ?? '', 'otklik.event': id }, true);
    },
  };
}
