/**
 * Closing a server so that nobody who has begun to ask is hung up on. What was sent and is not read yet looks idle, or
 * is no connection at all yet: closing before it is read resets it. So the loop reads first, and then closes.
 */
import { setImmediate as loopTurn } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';

const IDLE_SWEEP_MS = 50;

/** Has the listener, and with it what is idle, closed right after a turn of the loop that read what there was. */
export function closeAfterReading(app: FastifyInstance): void {
  app.addHook('preClose', async () => {
    // The first may end a turn that began before the stop.
    await loopTurn();
    await loopTurn();
  });
}

/** Closes a server: what is under way is answered, and a connection is closed as soon as it is idle. */
export async function closeServer(app: FastifyInstance): Promise<void> {
  const sweep = setInterval(() => setImmediate(() => app.server.closeIdleConnections()), IDLE_SWEEP_MS);
  try {
    await app.close();
  } finally {
    clearInterval(sweep);
  }
}
