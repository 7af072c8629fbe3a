/** A bot's side of the webhook channel: takes what is posted and remembers it, in the order of arrival. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';

export type Delivery = {
  path: string;
  /** `webhook-id`: the same on every try of one message. */
  id: string;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  bytes: Buffer;
  /** What the sink answered. */
  status: number;
};

export type Sink = {
  url: string;
  deliveries: Delivery[];
  /** By `webhook-id`, each with its tries in order. */
  byId(path?: string): Map<string, Delivery[]>;
  /** Decides the status of the answer; 204 unless it says otherwise. */
  answerWith(decide: (delivery: Delivery) => number): void;
  close(): Promise<void>;
};

export async function startSink({ delayMs = 0 }: { delayMs?: number } = {}): Promise<Sink> {
  const deliveries: Delivery[] = [];
  let decide = (_: Delivery) => 204;
  const server = createServer(async (incoming, outgoing) => {
    const parts = await incoming.toArray().catch(() => undefined);
    if (!parts) return;
    const { 'webhook-id': id } = incoming.headers;
    const path = incoming.url ?? '';
    const delivery = {
      path,
      id: String(id),
      headers: incoming.headers,
      bytes: Buffer.concat(parts),
      status: 0,
    };
    delivery.status = decide(delivery);
    deliveries.push(delivery);
    // Between taking and answering is where a sender's crash leaves it in doubt.
    if (delayMs > 0) await wait(delayMs);
    outgoing.writeHead(delivery.status).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    deliveries,
    byId: path => {
      const of = path === undefined ? deliveries : deliveries.filter(delivery => delivery.path === path);
      return Map.groupBy(of, delivery => delivery.id);
    },
    answerWith: next => {
      decide = next;
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise(done => server.close(done));
    },
  };
}
