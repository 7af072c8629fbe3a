/** The other side of OTLP over HTTP, in JSON: takes spans and remembers them. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { z } from 'zod';

export type SeenSpan = {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly failed: boolean;
  readonly attributes: Readonly<Record<string, unknown>>;
};

export type Collector = {
  readonly endpoint: string;
  readonly spans: SeenSpan[];
  /** What came, as it came, with the headers it came with. */
  readonly requests: { readonly authorization: string | undefined; readonly body: string }[];
  close(): Promise<void>;
};

const ERROR = 2;
const value = z.object({ stringValue: z.string(), intValue: z.coerce.number() }).partial();
const span = z.object({
  name: z.string(),
  traceId: z.string().regex(/^[0-9a-f]{32}$/),
  spanId: z.string().regex(/^[0-9a-f]{16}$/),
  parentSpanId: z.string().optional(),
  status: z.object({ code: z.number().optional() }).optional(),
  attributes: z.array(z.object({ key: z.string(), value })),
});
const exported = z.object({
  resourceSpans: z.array(z.object({ scopeSpans: z.array(z.object({ spans: z.array(span) })) })),
});

export async function startCollector(): Promise<Collector> {
  const spans: SeenSpan[] = [];
  const requests: Collector['requests'] = [];
  const server = createServer(async (incoming, outgoing) => {
    const body = Buffer.concat(await incoming.toArray()).toString();
    assert.equal(incoming.url, '/v1/traces');
    requests.push({ authorization: incoming.headers.authorization, body });
    for (const { scopeSpans } of exported.parse(JSON.parse(body)).resourceSpans) {
      for (const { spans: some } of scopeSpans) spans.push(...some.map(seen));
    }
    outgoing.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  return {
    endpoint: `http://127.0.0.1:${address.port}`,
    spans,
    requests,
    close: async () => {
      server.closeAllConnections();
      await new Promise(done => server.close(done));
    },
  };
}

function seen({ name, traceId, spanId, parentSpanId, status, attributes }: z.infer<typeof span>): SeenSpan {
  return {
    ...{ name, traceId, spanId },
    parentSpanId: parentSpanId || undefined,
    failed: status?.code === ERROR,
    attributes: Object.fromEntries(
      attributes.map(({ key, value: held }) => [key, held.stringValue ?? held.intValue]),
    ),
  };
}
