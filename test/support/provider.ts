/** A provider of messages that takes each one, keeps what it was, and answers after a while. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';

export type Provider<Taken> = { url: string; taken: Taken[]; close(): Promise<void> };

/** `answerMs` is for a kill to fall into. */
export async function startProvider<Taken>({
  read,
  answer,
  answerMs,
}: {
  /** `number` counts what it has taken, from 0. */
  read(body: string, number: number): Taken;
  answer(taken: Taken, number: number): object;
  answerMs: number;
}): Promise<Provider<Taken>> {
  const taken: Taken[] = [];
  const server = createServer(async (incoming, outgoing) => {
    const parts = await incoming.toArray().catch(() => undefined);
    if (parts === undefined) return;
    const number = taken.length;
    const one = read(Buffer.concat(parts).toString(), number);
    taken.push(one);
    await wait(answerMs);
    outgoing.writeHead(200, { 'content-type': 'application/json' });
    outgoing.end(JSON.stringify(answer(one, number)));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`,
    taken,
    async close() {
      server.closeAllConnections();
      await new Promise(done => server.close(done));
    },
  };
}
