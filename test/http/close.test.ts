/** A server that closes answers whoever has asked, though it has not read it yet. */
import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import Fastify from 'fastify';
import { closeAfterReading, closeServer } from '../../src/http/close.ts';

/** Opens a connection in a thread of its own, asks over it as often as it is told to, and counts the answers. */
const CLIENT = `
  const { connect } = require('node:net');
  const { parentPort, workerData: { port, shared, before } } = require('node:worker_threads');
  const said = new Int32Array(shared);
  const ask = 'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n';
  let heard = '', idle = false;
  const socket = connect(port, '127.0.0.1');
  socket.setEncoding('utf8').on('data', text => { heard += text; if (before && heard.endsWith('yes') && !idle) { idle = true; parentPort.postMessage('idle'); } });
  socket.on('error', () => {}).on('close', () => parentPort.postMessage(heard.split('yes').length - 1));
  const askNow = () => socket.write(ask, () => { Atomics.store(said, 0, 1); Atomics.notify(said, 0); });
  socket.once('connect', () => before ? socket.write(ask) : askNow());
  parentPort.on('message', askNow);
`;

for (const before of [false, true]) {
  const what = before ? 'by a connection that was idle' : 'by a connection that is not accepted yet';
  test(`what was asked ${what} as the stop came is answered`, async t => {
    const app = Fastify({ return503OnClosing: false });
    closeAfterReading(app);
    app.get('/', async () => 'yes');
    await app.listen({ port: 0, host: '127.0.0.1' });
    const { port } = app.server.address() as AddressInfo;
    const shared = new SharedArrayBuffer(4);
    const client = new Worker(CLIENT, { eval: true, execArgv: [], workerData: { port, shared, before } });
    t.after(() => client.terminate());
    const says = (): Promise<unknown> => new Promise(resolve => client.once('message', resolve));
    if (before) {
      await says();
      client.postMessage('ask');
    }
    const answers = says();
    // Meanwhile this thread does something else, as under load.
    assert.notEqual(Atomics.wait(new Int32Array(shared), 0, 0, 30_000), 'timed-out');
    await closeServer(app);
    assert.equal(await answers, before ? 2 : 1);
  });
}
