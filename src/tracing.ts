/**
 * Traces by OpenTelemetry: one trace from a request received to its messages sent, through inbox and outbox, across
 * processes and restarts. What a span left behind is a W3C `traceparent`, kept with the event and the message.
 *
 * Nothing of OpenTelemetry is loaded unless an endpoint is configured: then spans go there by OTLP over HTTP, in batches,
 * and are dropped rather than waited for when the collector is away. A span carries ids and closed sets, never a
 * person's data, a text of a body, a URL or an error's message.
 */
import type { Attributes, Context } from '@opentelemetry/api';
import { VERSION } from './version.ts';

export type SpanName = 'receive' | 'process' | 'dispatch' | 'reconcile' | 'act' | 'report';

/** A piece of work under way. One that is never ended is never sent. */
export type Span = {
  /** W3C; what follows from this work names it as its parent. */
  readonly traceparent: string;
  end(attributes: Attributes, failed?: boolean): void;
};

export type Tracing = {
  /** `parent`: a traceparent; null begins a trace. */
  start(name: SpanName, parent: string | null): Span;
  /** Sends what is left, within a limit. */
  close(): Promise<void>;
};

export type TracingOptions = {
  /** Of the collector, without `/v1/traces`. */
  readonly endpoint: string;
  /** `name=value` pairs, for whoever asks for a token. */
  readonly headers: Readonly<Record<string, string>>;
  /** Share of traces begun here that are kept. */
  readonly ratio: number;
};

/** Some eight seconds of spans at 300 events/s; more are dropped. */
const QUEUE = 8_192;
const BATCH = 512;
const EVERY_MS = 1_000;
const EXPORT_LIMIT_MS = 5_000;
/** A stop waits no longer than this for a collector. */
const CLOSE_LIMIT_MS = 2_000;
const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

export async function startTracing({ endpoint, headers, ratio }: TracingOptions): Promise<Tracing> {
  const [api, sdk, { OTLPTraceExporter }, { resourceFromAttributes }] = await Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/resources'),
  ]);
  const { INVALID_SPAN_CONTEXT, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } = api;
  const KINDS = {
    receive: SpanKind.SERVER,
    process: SpanKind.CONSUMER,
    dispatch: SpanKind.PRODUCER,
    reconcile: SpanKind.CLIENT,
    act: SpanKind.CLIENT,
    report: SpanKind.CLIENT,
  } as const;
  const exporter = new OTLPTraceExporter({
    url: `${endpoint.replace(/\/+$/, '')}/v1/traces`,
    headers: { ...headers },
    timeoutMillis: EXPORT_LIMIT_MS,
  });
  // Neither globals nor a context manager: what is whose child is said by traceparents alone.
  const provider = new sdk.TracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'otklik', 'service.version': VERSION }),
    sampler: new sdk.ParentBasedSampler({ root: new sdk.TraceIdRatioBasedSampler(ratio) }),
    spanProcessors: [
      new sdk.BatchSpanProcessor({
        exporter,
        maxQueueSize: QUEUE,
        maxExportBatchSize: BATCH,
        scheduledDelayMillis: EVERY_MS,
        exportTimeoutMillis: EXPORT_LIMIT_MS,
      }),
    ],
  });
  const tracer = provider.getTracer('otklik', VERSION);

  function contextOf(parent: string | null): Context {
    const [, traceId, spanId, flags] = TRACEPARENT.exec(parent ?? '') ?? [];
    if (traceId === undefined || spanId === undefined || flags === undefined) return ROOT_CONTEXT;
    const remote = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true };
    return trace.setSpanContext(ROOT_CONTEXT, { ...INVALID_SPAN_CONTEXT, ...remote });
  }

  return {
    start(name, parent) {
      const span = tracer.startSpan(name, { kind: KINDS[name] }, contextOf(parent));
      const { traceId, spanId, traceFlags } = span.spanContext();
      return {
        traceparent: `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`,
        end(attributes, failed = false) {
          span.setAttributes(attributes);
          if (failed) span.setStatus({ code: SpanStatusCode.ERROR });
          span.end();
        },
      };
    },
    async close() {
      await Promise.race([provider.shutdown(), after(CLOSE_LIMIT_MS)]).catch(() => {});
    },
  };
}

function after(milliseconds: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, milliseconds).unref());
}

/** The trace of a traceparent, for the logs. */
export function traceIdOf(traceparent: string): string {
  return traceparent.slice(3, 35);
}
