/** `demo`: a service of its own in a temporary directory, the fake salon against it, the messages on this screen. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Channel } from '../channels/channel.ts';
import { CONSOLE_TRAITS } from '../channels/console.ts';
import { readConfig } from '../config.ts';
import { type DemoService, runDemo } from '../demo.ts';
import { createLog } from '../log.ts';
import { type Service, startService } from '../main.ts';
import { onOutputLost } from '../output.ts';
import { addCompany } from '../salon/companies.ts';
import type { Brand } from '../simulator/cast.ts';
import type { ToldMessage } from '../simulator/live-view.ts';
import { parseServiceState } from '../simulator/verdict.ts';
import { countOpenEvents } from '../store/inbox.ts';
import { countOpenNotices } from '../store/messages.ts';
import { listToldNotices, summariseBookings } from '../store/views.ts';
import { checkFaults } from './faults.ts';
import type { Context } from './run.ts';

type Options = {
  readonly for?: number;
  readonly seed: number;
  readonly perSecond: number;
  readonly faults: string;
  readonly brand: Brand;
  readonly json?: boolean;
};

const POLL_MS = 100;

export async function demo(_context: Context, options: Options): Promise<void> {
  checkFaults(options.faults);
  const abort = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => abort.abort());
  onOutputLost(() => abort.abort());
  if (!options.json) process.stdout.write('Starting PostgreSQL, the service and a salon…\n');
  const service = await startDemoService();
  process.exitCode = await runDemo(service, {
    seed: options.seed,
    forMs: options.for,
    perSecond: options.perSecond,
    faults: options.faults,
    brand: options.brand,
    json: options.json,
    colour: process.stdout.isTTY && process.stdout.hasColors(),
    width: process.stdout.columns,
    write: line => process.stdout.write(`${line}\n`),
    complain: line => process.stderr.write(`${line}\n`),
    signal: abort.signal,
  });
}

/** Nothing of the user's is touched: own directory, own database, own ports unless they are set. */
async function startDemoService(): Promise<DemoService> {
  const dataDir = await mkdtemp(join(tmpdir(), 'otklik-demo-'));
  const { PUBLIC_PORT = '0', ADMIN_PORT = '0' } = process.env;
  // The fake salon sends what nobody knows on purpose, again and again.
  const salon = { RATE_PER_COMPANY: '1000', ALERT_DRIFT: '0' };
  const config = readConfig({ DATA_DIR: dataDir, PUBLIC_PORT, ADMIN_PORT, ...salon });
  const messages = collector();
  try {
    const service = await startService(config, { log: createLog('error'), console: messages.channel });
    return demoService(service, dataDir, messages.listen);
  } catch (error) {
    await rm(dataDir, { recursive: true, force: true });
    throw error;
  }
}

function demoService(
  service: Service,
  dataDir: string,
  onMessage: (listener: (message: ToldMessage) => void) => void,
): DemoService {
  const { pool, vault } = service.opened;
  const admin = `http://127.0.0.1:${service.adminPort}`;
  return {
    async addCompany(company) {
      const { key } = await addCompany(
        { pool, vault, actor: 'command' },
        {
          ...company,
          locale: company.brand === 'altegio' ? 'en' : 'ru',
          route: ['console'],
          webhookUrl: null,
          botApiPrefix: null,
          signatureRequired: false,
        },
      );
      return { url: service.webhookUrl(key) };
    },
    async drained(signal) {
      while (!signal.aborted) {
        if ((await countOpenEvents(pool)) === 0 && (await countOpenNotices(pool)) === 0) return;
        await pause(POLL_MS, undefined, { signal }).catch(() => undefined);
      }
    },
    async snapshot(companyId) {
      const bookings = await summariseBookings(pool, companyId);
      return parseServiceState({ bookings, messages: await listToldNotices(pool, companyId) });
    },
    onMessage,
    pages: [
      { title: 'API', url: `${admin}/api/v1/openapi.json` },
      { title: 'metrics', url: `${admin}/metrics` },
    ],
    async stop() {
      await service.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** The console channel of the demo: what would be printed goes into the live view. */
function collector(): { channel: Channel; listen: (listener: (message: ToldMessage) => void) => void } {
  let tell: (message: ToldMessage) => void = () => {};
  const channel: Channel = {
    name: 'console',
    traits: CONSOLE_TRAITS,
    idempotent: true,
    concurrency: 64,
    async send({ recordId, notice, recipient, text }) {
      if (recordId !== null && notice !== null)
        tell({ recordId, kind: notice.kind, to: recipient.name, text });
      return { outcome: 'sent' };
    },
  };
  return {
    channel,
    listen(listener) {
      tell = listener;
    },
  };
}
