/** The other side of the API client: a real server on loopback that answers as a test says, byte for byte if need be. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Server as NetServer } from 'node:net';
import { createServer as createNetServer } from 'node:net';
import type { TestContext } from 'node:test';
import type { Gate } from '../../src/yclients/api.ts';
import { type ApiClientOptions, type CallRecord, createApiClient } from '../../src/yclients/client.ts';

export type Seen = {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly body: unknown;
};

/** `status`, then a body: an object is sent as JSON, a text as it is. */
export type Reply =
  | { readonly status?: number; readonly body?: unknown; readonly headers?: Record<string, string> }
  | 'hang'
  | 'reset';

export type Platform = { readonly url: string; readonly seen: Seen[] };

/** Answers each request by `reply`, which is told how many came before it. */
export async function platform(
  t: TestContext,
  reply: (seen: Seen, earlier: number) => Reply | Promise<Reply>,
): Promise<Platform> {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    void answer(request, response);
  });
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part);
    const text = Buffer.concat(parts).toString();
    const url = new URL(request.url ?? '/', 'http://platform.test');
    const one: Seen = {
      method: request.method ?? '',
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
      body: text === '' ? undefined : JSON.parse(text),
    };
    seen.push(one);
    const chosen = await reply(one, seen.length - 1);
    if (chosen === 'hang') return;
    if (chosen === 'reset') {
      request.socket.destroy();
      return;
    }
    const { status = 200, body, headers = {} } = chosen;
    const isText = typeof body === 'string';
    response.writeHead(status, {
      ...(body === undefined || isText ? {} : { 'content-type': 'application/json' }),
      ...headers,
    });
    response.end(body === undefined ? undefined : isText ? body : JSON.stringify(body));
  };
  return { url: await listen(t, server), seen };
}

/** Sends these bytes to whoever connects, then ends the connection. */
export async function rawPlatform(t: TestContext, bytes: string): Promise<string> {
  const server = createNetServer(socket => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end(bytes));
  });
  return listen(t, server);
}

async function listen(t: TestContext, server: Server | NetServer): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    if ('closeAllConnections' in server) server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return `http://127.0.0.1:${address.port}`;
}

export const PARTNER = 'canary-partner-7d0c1f';
export const USER = 'canary-user-55aa9e';

type Reports = Parameters<Gate['report']>[];

/** A client on an open gate; what it reports and counts is kept. */
export function clientOf(
  t: TestContext,
  baseUrl: string | undefined,
  changes: Partial<ApiClientOptions> = {},
): {
  client: ReturnType<typeof createApiClient>;
  api: ReturnType<ReturnType<typeof createApiClient>['company']>;
  reports: Reports;
  calls: CallRecord[];
} {
  const reports: Reports = [];
  const calls: CallRecord[] = [];
  const client = createApiClient({
    brand: 'yclients',
    ...(baseUrl === undefined ? {} : { baseUrl }),
    partnerToken: PARTNER,
    gate: {
      enter: async () => {},
      report: async (...report) => {
        reports.push(report);
      },
    },
    now: () => 0,
    random: () => 0.5,
    sleep: async () => {},
    onCall: call => calls.push(call),
    ...changes,
  });
  t.after(() => client.close());
  return { client, api: client.company(42, USER), reports, calls };
}
