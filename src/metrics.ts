/** Prometheus metrics. Labels are closed sets: nothing that a sender chooses becomes a label. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { type AlertKind, MUTABLE_KINDS } from './domain/alert.ts';
import type { EpochMs } from './domain/time.ts';

export type Metrics = ReturnType<typeof createMetrics>;

/** Resources that may be labels; anything else is `other`. */
const RESOURCES = [
  'record',
  'client',
  'staff',
  'service',
  'service_category',
  'company',
  'schedule',
  'good',
  'goods_operations_sale',
  'goods_operations_receipt',
  'goods_operations_consumable',
  'goods_operations_stolen',
  'goods_operations_move',
  'finances_operation',
  'loyalty_card',
  'otklik_test',
] as const;
type Resource = (typeof RESOURCES)[number] | 'other';

/** Why the public port refuses. The alerts tell by these names whose fault it is: `domain/readings.ts`. */
export const REJECT_CAUSES = [
  ...['unknown_key', 'unknown_key_rate', 'address_rate', 'company_rate', 'bodies_under_way'],
  ...['signature_missing', 'signature_malformed', 'signature_stale', 'signature_mismatch', 'unreadable'],
  ...['event_media_type', 'event_too_large'],
  ...[
    'not_found',
    'method',
    'media_type',
    'bad_request',
    'malformed',
    'too_slow',
    'too_large',
    'head_too_large',
  ],
  ...['store_down', 'overloaded', 'error', 'receipt', 'receipt_rate', 'answer_rate', 'answer_link'],
  ...['connect_rate', 'connect_malformed', 'connect_signature', 'connect_salons', 'connect_not_set_up'],
  ...['lifecycle_rate', 'lifecycle_unreadable', 'lifecycle_token', 'lifecycle_application'],
  ...['lifecycle_unknown_event', 'lifecycle_unknown_company', 'lifecycle_event_here', 'entity_event_here'],
] as const;
export type RejectCause = (typeof REJECT_CAUSES)[number];

/** A counter of which every label value is known beforehand. */
type Closed<Label extends string, Value extends string> = Omit<Counter<Label>, 'inc'> & {
  inc(labels: Readonly<Record<Label, Value>>, value?: number): void;
};

const LATENCY_SECONDS = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

export function createMetrics() {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'otklik_' });
  const registers = [registry];
  const counter = <Label extends string>(name: string, help: string, labelNames: readonly Label[] = []) =>
    new Counter({ name: `otklik_${name}`, help, labelNames: [...labelNames], registers });
  const histogram = <Label extends string>(name: string, help: string, labelNames: readonly Label[] = []) =>
    new Histogram({
      name: `otklik_${name}`,
      help,
      labelNames: [...labelNames],
      buckets: LATENCY_SECONDS,
      registers,
    });

  /** All series are there from the start: Prometheus does not see the rise of one that begins with its first event. */
  const closed = <Label extends string, Value extends string>(
    name: string,
    help: string,
    label: Label,
    values: readonly Value[],
  ): Closed<Label, Value> => {
    const made = counter<string>(name, help, [label]);
    for (const value of values) made.inc({ [label]: value }, 0);
    return made;
  };
  const resources = new Map<string, Resource>(RESOURCES.map(resource => [resource, resource]));

  return {
    registry,
    known: (resource: string): Resource => resources.get(resource) ?? 'other',
    received: closed('events_received_total', 'Events stored for the first time', 'resource', [
      ...RESOURCES,
      'other',
    ]),
    duplicates: counter('events_duplicate_total', 'Events that were stored already'),
    rejected: closed('requests_rejected_total', 'Webhook requests refused, by cause', 'cause', REJECT_CAUSES),
    quarantined: counter('events_quarantined_total', 'Bodies nobody could read, kept with their bytes'),
    appendSeconds: histogram('append_seconds', 'From a request parsed to its event durable'),
    texts: counter(
      'relay_texts_total',
      'Texts of the platform for us to send: stored, duplicate, unreadable',
      ['outcome'],
    ),
    reports: counter(
      'relay_reports_total',
      'Statuses of such texts on their way to the platform: told, later, refused, given_up',
      ['status', 'outcome'],
    ),
    processed: counter('events_processed_total', 'Events processed, by what they came to', [
      'resource',
      'effect',
    ]),
    textsGaveWay: counter(
      'texts_gave_way_total',
      'Companies’ own texts that failed, ours sent in their place',
      ['kind'],
    ),
    retriedEvents: counter('events_retried_total', 'Events put aside after a failure'),
    deadEvents: counter('events_dead_total', 'Events given up'),
    oddValues: counter('odd_values_total', 'Format drift: what came that we do not know, by place', [
      'kind',
      'path',
    ]),
    sweeps: counter('sweeps_total', 'Comparisons of a company with the platform, by what they came to', [
      'kind',
      'outcome',
    ]),
    rereads: counter('rereads_total', 'Doubtful records read again: read, retried, given_up', ['outcome']),
    apiCalls: counter('api_calls_total', 'Calls of the platform’s API, by outcome', ['outcome']),
    apiSeconds: histogram(
      'api_call_seconds',
      'Duration of one call of the platform’s API, without its wait for the budget',
    ),
    missed: counter(
      'webhooks_missed_total',
      'Changes that no webhook had brought when reconciliation found them',
    ),
    late: counter('webhooks_late_total', 'Of those, changes whose webhook came afterwards'),
    shardsHeld: new Gauge({ name: 'otklik_shards_held', help: 'Shards leased to this process', registers }),
    eventLag: histogram('event_lag_seconds', 'From an event received to its effect committed'),
    messages: counter(
      'messages_total',
      'Attempts at messages, by outcome: sent, retry, rejected (this address or text), refused (our account), unknown',
      ['purpose', 'channel', 'outcome'],
    ),
    ended: counter(
      'messages_ended_total',
      'Messages that came to an end, by its state; `dead` was given up',
      ['purpose', 'channel', 'state'],
    ),
    falls: counter('falls_total', 'Channels that a message was not sent by, or went on from, by reason', [
      'channel',
      'reason',
    ]),
    receipts: counter('receipts_total', 'What providers told of messages they took', ['channel', 'status']),
    sendSeconds: histogram('send_seconds', 'Duration of one attempt at the provider', ['channel']),
    accounts: new Gauge({
      name: 'otklik_account_state',
      help: 'What a channel’s provider said of our account last: 0 it works, 1 its money is about to end, 2 it is refused',
      labelNames: ['channel'],
      registers,
    }),
    heard: counter('answers_heard_total', 'What people sent to a bot, by what it was', ['channel', 'kind']),
    aside: counter(
      'answers_aside_total',
      'What people sent to a bot that could not be understood and is kept',
      ['channel'],
    ),
    actions: counter('actions_total', 'What people asked for by an answer, by what a try came to', [
      'kind',
      'outcome',
    ]),
    pruned: counter('rows_pruned_total', 'Rows forgotten because they were kept long enough', ['table']),
    loopFailures: counter('loop_failures_total', 'Runs of a background loop that failed', ['loop']),
  };
}

/**
 * Gauges of one reading: all are collected at once, and share it. With the database away the other metrics are needed
 * most, so that a failed reading leaves these out: a number of the last scrape would look like one of now.
 */
function gaugesOf<Reading>({ registry }: Metrics, read: () => Promise<Reading>) {
  let reading: Promise<Reading | undefined> | undefined;
  const shared = () => {
    // A microtask later, when all gauges of this scrape have begun: its own questions wait for no connection yet.
    reading ??= Promise.resolve()
      .then(read)
      .catch(() => undefined)
      .finally(() => {
        reading = undefined;
      });
    return reading;
  };
  return {
    /** One number; `null`: there is none to know, which is shown as NaN. */
    gauge(name: string, help: string, pick: (reading: Reading) => number | null) {
      new Gauge({
        name: `otklik_${name}`,
        help,
        registers: [registry],
        async collect() {
          const got = await shared();
          if (got === undefined) this.remove();
          else this.set(pick(got) ?? Number.NaN);
        },
      });
    },
    /** A number for each value of a label. */
    gauges(
      name: string,
      help: string,
      label: string,
      pick: (reading: Reading) => { readonly [value: string]: number },
    ) {
      new Gauge({
        name: `otklik_${name}`,
        help,
        labelNames: [label],
        registers: [registry],
        async collect() {
          const got = await shared();
          this.reset();
          if (got === undefined) return;
          for (const [value, number] of Object.entries(pick(got))) this.set({ [label]: value }, number);
        },
      });
    },
  };
}

/** How far behind reconciliation is. */
export function watchSweeps(
  metrics: Metrics,
  read: () => Promise<{ readonly overdueSeconds: number; readonly rereads: number }>,
): void {
  const { gauge } = gaugesOf(metrics, read);
  gauge('rereads_waiting', 'Doubtful records that wait to be read again', ({ rereads }) => rereads);
  gauge(
    'sweeps_overdue_seconds',
    'How long the company longest due has waited for its comparison with the platform',
    ({ overdueSeconds }) => overdueSeconds,
  );
}

export type CoverageDepths = {
  readonly coveragePercent: number | null;
  readonly lagMsMean: number | null;
  readonly lagMsMax: number | null;
};

/** What webhooks brought in the last 24 hours, all companies together; each by itself stands in `stats`. */
export function watchCoverage(metrics: Metrics, read: () => Promise<CoverageDepths>): void {
  const { gauge } = gaugesOf(metrics, read);
  // Nothing known is no number: a 0 would read as "nothing comes by webhook".
  gauge(
    'webhooks_coverage_ratio',
    'Of all changes, those that webhooks brought, in the last 24 hours',
    ({ coveragePercent }) => (coveragePercent === null ? null : coveragePercent / 100),
  );
  gauge(
    'webhooks_lag_seconds',
    'From a change to its webhook, on average, in the last 24 hours',
    ({ lagMsMean }) => (lagMsMean === null ? null : lagMsMean / 1000),
  );
  gauge(
    'webhooks_lag_max_seconds',
    'From a change to its webhook, at most, in the last 24 hours',
    ({ lagMsMax }) => (lagMsMax === null ? null : lagMsMax / 1000),
  );
}

/** Depths of inbox and outbox. */
export function watchDepths(
  metrics: Metrics,
  read: () => Promise<{
    readonly pending: number;
    readonly waiting: number;
    readonly dead: number;
    readonly due: number;
    readonly sending: number;
    readonly unplanned: number;
    readonly oldestSeconds: number;
    readonly messagesSeconds: number;
    readonly shards: { readonly [shard: string]: number };
  }>,
): void {
  const { gauge, gauges } = gaugesOf(metrics, read);
  gauge('events_oldest_seconds', 'Age of the oldest event not yet processed', depths => depths.oldestSeconds);
  gauge(
    'messages_oldest_seconds',
    'How long ago the message longest due should have left; 0: none waits',
    ({ messagesSeconds }) => messagesSeconds,
  );
  gauges('shard_events', 'Pending events of each shard that has any', 'shard', ({ shards }) => shards);
  gauges(
    'rows',
    'Events and messages that are not done, by state; unplanned: changes whose reminders are not planned yet',
    'state',
    ({ oldestSeconds: _age, messagesSeconds: _messages, shards: _shards, ...rows }) => rows,
  );
}

/**
 * What the built-in watch has found, of every kind; nothing while no process watches. Not `database`: of that the process
 * that watches knows alone, and a scrape that finds the database away has none of these.
 */
export function watchAlerts(
  metrics: Metrics,
  read: () => Promise<ReadonlyMap<AlertKind, number> | undefined>,
): void {
  const { gauges } = gaugesOf(metrics, read);
  gauges(
    'alerts_open',
    'Alerts of the built-in watch that are open and not muted; left out while no process with the role upkeep looks',
    'kind',
    counts =>
      counts === undefined
        ? {}
        : Object.fromEntries(MUTABLE_KINDS.map(kind => [kind, counts.get(kind) ?? 0])),
  );
}

/** How old the last backup is; where none was made there is no number. */
export function watchBackup(metrics: Metrics, read: () => Promise<EpochMs | null>, now: () => EpochMs): void {
  const { gauge } = gaugesOf(metrics, read);
  gauge('backup_age_seconds', 'Since the last good backup', last =>
    last === null ? null : (now() - last) / 1000,
  );
}

/** The budgets of API calls that all processes share; of several addresses or platforms the worst. */
export function watchBudget(
  metrics: Metrics,
  read: () => Promise<readonly { readonly nextSlotAt: EpochMs; readonly pausedUntil: EpochMs | null }[]>,
  now: () => EpochMs,
): void {
  const { gauge } = gaugesOf(metrics, read);
  const ahead = (moments: readonly number[]) => Math.max(0, ...moments.map(at => (at - now()) / 1000));
  gauge(
    'api_paused_seconds',
    'How long calls of the platform’s API are still paused; 0: they are not',
    budgets => ahead(budgets.map(({ pausedUntil }) => pausedUntil ?? 0)),
  );
  gauge(
    'api_wait_seconds',
    'How far ahead the budget of calls of the platform’s API is spent; 0: a call leaves at once',
    budgets => ahead(budgets.map(({ nextSlotAt }) => nextSlotAt)),
  );
}

/** Connections to the database. With all in use and some waiting, the pool is what holds things up. */
export function watchPools(
  { registry }: Metrics,
  pools: Readonly<
    Record<string, { readonly totalCount: number; readonly idleCount: number; readonly waitingCount: number }>
  >,
): void {
  new Gauge({
    name: 'otklik_pool',
    help: 'Connections to the database that are open and idle, and callers that wait for one',
    labelNames: ['pool', 'state'],
    registers: [registry],
    collect() {
      for (const [pool, { totalCount, idleCount, waitingCount }] of Object.entries(pools)) {
        this.set({ pool, state: 'open' }, totalCount);
        this.set({ pool, state: 'idle' }, idleCount);
        this.set({ pool, state: 'waiting' }, waitingCount);
      }
    },
  });
}

/** Every metric with its type, labels and meaning, for docs/metrics.md. */
export async function describeMetrics(): Promise<
  readonly {
    readonly name: string;
    readonly type: string;
    readonly labels: readonly string[];
    readonly meaning: string;
  }[]
> {
  const metrics = createMetrics();
  const nothing = () => Promise.reject(new Error('there is no database'));
  watchDepths(metrics, nothing);
  watchAlerts(metrics, nothing);
  watchBackup(metrics, nothing, () => 0);
  watchSweeps(metrics, nothing);
  watchCoverage(metrics, nothing);
  watchBudget(metrics, nothing, () => 0);
  watchPools(metrics, {});
  const described = metrics.registry.getMetricsAsArray().map(metric => {
    const { name, help, type, labelNames } = { labelNames: [], ...metric };
    return { name, type: String(type), labels: labelNames, meaning: help };
  });
  return described.toSorted((one, other) => (one.name < other.name ? -1 : 1));
}
