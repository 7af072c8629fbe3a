/**
 * A process that posts what its parent sends it at a steady pace, whatever becomes of those before, and tells how it
 * went. Each goes over a connection of its own: a kept one would not notice a server that takes no more of them.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { z } from 'zod';

const order = z.object({
  url: z.string(),
  localAddress: z.string(),
  perSecond: z.number(),
  bodies: z.array(z.string()),
});

let dispatcher: Agent | undefined;

process.on('message', async message => {
  const { url, localAddress, perSecond, bodies } = order.parse(message);
  dispatcher ??= new Agent({ localAddress, allowH2: false });
  const startedAt = performance.now();
  const sent = bodies.map(async (body, index) => {
    await wait(Math.max(0, startedAt + (index * 1000) / perSecond - performance.now()));
    const at = performance.now();
    const status = await post(url, body, dispatcher);
    return { status, tookMs: performance.now() - at };
  });
  process.send?.(await Promise.all(sent));
});

function post(url: string, body: string, through: Agent | undefined): Promise<string> {
  const headers = { 'content-type': 'application/json' };
  return request(url, {
    method: 'POST',
    body,
    headers,
    reset: true,
    ...(through && { dispatcher: through }),
  }).then(
    async answer => {
      await answer.body.dump();
      return String(answer.statusCode);
    },
    error => (error instanceof Error && 'code' in error ? String(error.code) : String(error)),
  );
}
