/** The connection that a backup has. */
import assert from 'node:assert/strict';
import { connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { inOneTransaction } from '../../src/store/copy.ts';
import { testDatabase } from '../support/database.ts';

test('a server that hangs holds nobody who has given up', async () => {
  const database = await testDatabase();
  const { hostname, port } = new URL(database.url);
  const sockets: Socket[] = [];
  // Closed on one side, it stays open on the other, as where nothing answers any more.
  const between = createServer({ allowHalfOpen: true }, near => {
    const far = connect({ host: hostname, port: Number(port) });
    sockets.push(near, far);
    near.pipe(far, { end: false });
    far.pipe(near);
    for (const socket of [near, far]) socket.on('error', () => {});
  });
  await new Promise<void>(resolve => {
    between.listen(0, '127.0.0.1', resolve);
  });
  try {
    const address = between.address();
    assert.ok(typeof address === 'object' && address !== null);
    const through = new URL(database.url);
    through.host = `127.0.0.1:${address.port}`;
    const work = inOneTransaction(String(through), async client => {
      await client.query('SELECT 1');
      for (const socket of sockets) socket.unpipe();
      throw new Error('given up');
    });
    await assert.rejects(work, /given up/);
  } finally {
    for (const socket of sockets) socket.destroy();
    between.close();
    await database.close();
  }
});
