/** The real inbox, processor and dispatcher on a database of their own, with a clock that the test moves. */
import type { Channel, ChannelName, Outgoing, Roads, SendResult } from '../../src/channels/channel.ts';
import { CONSOLE_TRAITS } from '../../src/channels/console.ts';
import type { PolicyDocument } from '../../src/domain/policy.ts';
import { createTexts } from '../../src/domain/text.ts';
import type { EpochMs } from '../../src/domain/time.ts';
import { readBody } from '../../src/ingest/read-body.ts';
import { createLog } from '../../src/log.ts';
import { createMetrics, type Metrics } from '../../src/metrics.ts';
import { setPolicy } from '../../src/salon/policies.ts';
import { insertCompany, type NewCompany } from '../../src/store/companies.ts';
import { countOpenEvents, type EventSource, insertEvents } from '../../src/store/inbox.ts';
import type { Pool } from '../../src/store/pool.ts';
import { loadTemplates } from '../../src/templates.ts';
import { createVault, type Vault } from '../../src/vault.ts';
import { createDispatcher, type Dispatcher } from '../../src/work/dispatch.ts';
import { createPlanner, type Planner } from '../../src/work/planner.ts';
import { createProcessor, type Processor } from '../../src/work/process.ts';
import { createReconciler, type ReconcileDeps, type Reconciler } from '../../src/work/reconcile.ts';
import { type TestDatabase, testDatabase, testPool } from '../support/database.ts';
import { until } from '../support/until.ts';

export type Pipeline = {
  readonly url: string;
  readonly vault: Vault;
  readonly pool: Pool;
  readonly processor: Processor;
  readonly dispatcher: Dispatcher;
  readonly planner: Planner;
  readonly sent: Outgoing[];
  /** The clock of everything but leases. */
  now: EpochMs;
  /** What the channel answers to the next sends, first to last; `sent` when there is nothing. */
  answers: SendResult[];
  addCompany(company: Partial<NewCompany> & { readonly companyId: number }): Promise<void>;
  /** Another version of the company's policy, beside what the pipeline's companies have. */
  setPolicy(companyId: number, document: PolicyDocument): Promise<void>;
  /** Puts bodies into the inbox as received at these moments. */
  receive(
    companyId: number,
    bodies: readonly { readonly body: string; readonly receivedAt: EpochMs }[],
    source?: EventSource,
  ): Promise<void>;
  /** Processes and dispatches until nothing is left to do at this moment. */
  settle(): Promise<void>;
  /** Other processes on the same database. */
  another(options?: {
    readonly pool?: Pool;
    readonly leaseMs?: number;
    readonly channel?: Channel;
    readonly answers?: boolean;
    readonly answerUrl?: (companyId: number, messageId: string) => string;
    /** Instead of the console alone. */
    readonly channels?: ReadonlyMap<ChannelName, Channel>;
    readonly roads?: Roads;
    /** What its planner is told of the inbox. */
    readonly isBehind?: () => boolean;
    readonly metrics?: Metrics;
  }): {
    processor: Processor;
    planner: Planner;
    dispatcher: Dispatcher;
  };
  /** A reconciler on the same clock and database. */
  reconciler(apiOf: ReconcileDeps['apiOf']): Reconciler;
  close(): Promise<void>;
};

const log = createLog('silent');
/** At once, and of changes only: what is said before and after a visit has tests of its own. */
const QUIET: PolicyDocument = { settle: { any: '0ms' }, reminders: { at: [] } };
const vault = createVault(Buffer.alloc(32, 1));
/** Of all pipelines, as of a process: to try every sample takes 130 ms. */
const texts = createTexts(loadTemplates());

export async function createPipeline(
  options: { idempotent?: boolean; leaseMs?: number; database?: TestDatabase } = {},
): Promise<Pipeline> {
  const database = options.database ?? (await testDatabase());
  const pool = testPool(database.url, { max: 8 });
  const sent: Outgoing[] = [];
  const channel: Channel = {
    name: 'console',
    traits: CONSOLE_TRAITS,
    idempotent: options.idempotent ?? true,
    concurrency: 64,
    async send(message) {
      sent.push(message);
      return pipeline.answers.shift() ?? { outcome: 'sent' };
    },
  };
  const build: Pipeline['another'] = (other = {}) => {
    const channels = other.channels ?? new Map<ChannelName, Channel>([['console', other.channel ?? channel]]);
    const common = {
      ...{ pool: other.pool ?? pool, log, vault, metrics: other.metrics ?? createMetrics() },
      now: () => pipeline.now,
      random: () => 0.5,
    };
    const leaseMs = other.leaseMs ?? options.leaseMs;
    const dispatcher = createDispatcher({
      ...common,
      channels,
      texts,
      answers: new Set(other.answers === true ? [...channels.values()].map(({ name }) => name) : []),
      roads: other.roads ?? new Map(),
      answerUrl: other.answerUrl,
      ...(leaseMs === undefined ? {} : { leaseMs }),
    });
    return {
      dispatcher,
      processor: createProcessor({ ...common, onNotices: () => {} }),
      planner: createPlanner({ ...common, isBehind: other.isBehind ?? (() => false) }),
    };
  };
  const pipeline: Pipeline = {
    ...{ url: database.url, vault, pool },
    ...{ processor: undefined as never, planner: undefined as never, dispatcher: undefined as never },
    sent,
    now: Date.now(),
    answers: [],
    async addCompany(company) {
      await insertCompany(pool, {
        title: 'Студия Север',
        zone: 'Europe/Moscow',
        brand: 'yclients',
        locale: 'ru',
        route: ['console'],
        webhookUrl: null,
        botApiPrefix: null,
        signatureRequired: false,
        policy: QUIET,
        // As old as can be, so that tests may make bookings at any time.
        knownSince: 0,
        ...company,
      });
    },
    async setPolicy(companyId, document) {
      await setPolicy({ pool, actor: 'command' }, companyId, { ...QUIET, ...document });
    },
    async receive(companyId, bodies, source = 'webhook') {
      const events = bodies.flatMap(({ body, receivedAt }) => {
        const read = readBody(Buffer.from(body), { companyId, receivedAt, source });
        if ('unreadable' in read) throw new Error(`unreadable: ${read.unreadable}`);
        return read.map(event => ({ event, receivedAt }));
      });
      const unique = new Map(events.map(entry => [entry.event.eventId, entry]));
      const moments = [...unique.values()];
      await insertEvents(
        pool,
        moments.map(({ event }) => event),
      );
      await pool.query(
        `UPDATE webhook_events e SET created_at = to_timestamp(r.at / 1000.0)
         FROM unnest($1::uuid[], $2::float8[]) AS r (id, at) WHERE e.id = r.id`,
        [moments.map(({ event }) => event.id), moments.map(({ receivedAt }) => receivedAt)],
      );
    },
    async settle() {
      await pipeline.processor.drain();
      await pipeline.planner.drain();
      await pipeline.dispatcher.drain();
    },
    another: build,
    reconciler: apiOf =>
      createReconciler({
        ...{ pool, log, apiOf },
        metrics: createMetrics(),
        now: () => pipeline.now,
        random: () => 0.5,
        onFound: () => {},
      }),
    async close() {
      await pipeline.processor.stop();
      await pipeline.dispatcher.stop();
      await pool.end();
      await database.close();
    },
  };
  return Object.assign(pipeline, build());
}

/** The inbox is worked off by two at once. While shards pass from one to the other, neither may hold what waits in them. */
export async function processTogether(pipeline: Pipeline, other: Pick<Pipeline, 'processor'>): Promise<void> {
  await until(
    async () => {
      await Promise.all([pipeline.processor.drain(), other.processor.drain()]);
      return (await countOpenEvents(pipeline.pool)) === 0;
    },
    { what: 'every event is processed' },
  );
}

/** The same at no pace, which real time keeps: what is not about it would sleep a second from message to message. */
export function unpaced(channel: Channel): Channel {
  return { ...channel, traits: { ...channel.traits, pace: null } };
}

export type RecordOverrides = {
  readonly id?: number;
  readonly companyId?: number;
  readonly status?: string;
  readonly at?: EpochMs;
  readonly data?: Record<string, unknown>;
};

/** A record webhook as the platform writes it, of a visit in the far future unless told otherwise. */
export function recordBody({
  id = 100,
  companyId = 1,
  status = 'create',
  at = Date.now(),
  data = {},
}: RecordOverrides = {}): string {
  const instant = `${new Date(at).toISOString().slice(0, 19)}+0000`;
  return JSON.stringify({
    company_id: companyId,
    resource: 'record',
    resource_id: id,
    status,
    data: {
      id,
      company_id: companyId,
      staff_id: 5,
      date: '2031-05-20 14:30:00',
      datetime: '2031-05-20T14:30:00+03:00',
      create_date: instant,
      last_change_date: instant,
      attendance: 0,
      deleted: false,
      online: false,
      seance_length: 3600,
      paid_full: 0,
      comment: '',
      services: [
        { id: 7, title: 'Стрижка', amount: 1 },
        { id: 8, title: 'Укладка', amount: 1 },
      ],
      staff: { id: 5, name: 'Ольга' },
      client: { id: 9, name: 'Анна', phone: '79160000001' },
      ...data,
    },
  });
}
