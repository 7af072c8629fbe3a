/**
 * The platform's side of registration on loopback, as its documents describe it: `hooks_settings` of one salon (POST
 * replaces the whole, ten URLs at most, no URL reads as `[""]`) and the marketplace's activation callback.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';

export type Settings = Record<string, unknown>;
export type Activation = { authorization: string | undefined; body: Record<string, unknown> };

export type SalonHooks = {
  url: string;
  settings: Settings;
  /** Bodies of the POSTs to `hooks_settings`, in order. */
  writes: Settings[];
  activations: Activation[];
  /** In place of the usual: what a POST makes of the settings. */
  onWrite(change: (written: Settings) => Settings): void;
  /** Status of the next answers to anything, first to last; 0: the connection is broken. */
  failWith: number[];
  /** Status of the answer to an activation. */
  onActivation(decide: (salonId: number) => number): void;
  /** What `GET /company/{id}/` answers. */
  company: Settings;
  close(): Promise<void>;
};

const MAX_URLS = 10;

export async function startSalonHooks(settings: Settings): Promise<SalonHooks> {
  let change = (written: Settings): Settings => written;
  let decide = (_salonId: number) => 201;
  const salon: SalonHooks = {
    url: '',
    settings,
    writes: [],
    activations: [],
    onWrite: next => {
      change = next;
    },
    failWith: [],
    onActivation: next => {
      decide = next;
    },
    company: { timezone_name: 'Asia/Almaty', title: 'Салон у моря' },
    close: async () => {
      server.closeAllConnections();
      await new Promise(done => server.close(done));
    },
  };
  const answer = (path: string, method: string, sent: Settings, authorization: string | undefined) => {
    if (path.startsWith('/marketplace/partner/callback')) {
      salon.activations.push({ authorization, body: sent });
      return { status: decide(Number(sent.salon_id)), data: {} };
    }
    if (path.startsWith('/api/v1/company/')) return { status: 200, data: salon.company };
    if (!path.startsWith('/api/v1/hooks_settings/')) return { status: 404, data: null };
    if (method === 'GET') return { status: 200, data: salon.settings };
    const urls = Array.isArray(sent.urls) ? sent.urls.filter(url => url !== '') : [];
    if (urls.length > MAX_URLS) return { status: 422, data: null };
    salon.writes.push(sent);
    salon.settings = change({ ...sent, urls: urls.length === 0 ? [''] : urls });
    return { status: 200, data: salon.settings };
  };
  const server = createServer(async (incoming, outgoing) => {
    const bytes = Buffer.concat(await incoming.toArray());
    const sent: Settings = bytes.length === 0 ? {} : JSON.parse(bytes.toString());
    const failure = salon.failWith.shift();
    if (failure === 0) return incoming.socket.destroy();
    const { url = '', method = '', headers } = incoming;
    const given = failure === undefined || failure === 200;
    const { status, data } = given
      ? answer(url, method, sent, headers.authorization)
      : { status: failure, data: null };
    return outgoing
      .writeHead(status, { 'content-type': 'application/json' })
      .end(JSON.stringify({ success: status < 300, data, meta: [] }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  salon.url = `http://127.0.0.1:${address !== null && typeof address === 'object' ? address.port : 0}`;
  return salon;
}

/** Three programs of others, each with flags of its own, as the newer shape shows them. */
export function threeForeign(): Settings {
  return {
    urls: ['https://crm.test/hook?token=abc', 'https://bot.test/y/%D1%84', 'http://old.test:8080/'],
    active: 1,
    salon: 0,
    service: 1,
    master: '0',
    client: true,
    record: 1,
    finances_operation: 1,
    self_sending: 1,
    vendor_extra: { nested: [1, null, 'Ёлка'], empty: [] },
    url_settings: [
      { url: 'https://crm.test/hook?token=abc', active: 1, record: 1, client: 0, master: 1, note: null },
      { url: 'https://bot.test/y/%D1%84', active: 0, record: 0, client: 1, master: 0, self_sending: 0 },
      { url: 'http://old.test:8080/', active: true, record: true, client: false, good: true },
    ],
  };
}
