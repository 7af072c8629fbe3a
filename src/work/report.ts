/**
 * Tells the platform what became of its texts, each status at least once and in order: whoever holds a text's lease tells
 * the next one, notes that it was taken, and looks again. A process that dies between the two leaves it to be told twice.
 */
import { randomUUID } from 'node:crypto';
import { retryAfterTriesMs } from '../domain/backoff.ts';
import { nextStatus, type RelayStatus } from '../domain/relay.ts';
import { smsParts } from '../domain/sms.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Pool } from '../store/pool.ts';
import {
  claimReports,
  endReport,
  findRelayedMessages,
  type RelayedMessage,
  type Report,
  type ReportEnd,
} from '../store/relays.ts';
import type { Tracing } from '../tracing.ts';
import type { StatusTeller } from '../yclients/relay-status.ts';
import { allEnded, createLoop, type Loop } from './loop.ts';

/** At once: the platform's API allows five calls a second, and says nothing of this address. */
const BATCH = 8;
/** Longer than a call may take. */
const LEASE_MS = 60_000;
const IDLE_MS = 1_000;
/** At half an hour each in the end, some two days: then nobody there waits for it. */
const MAX_TRIES = 300;

export type ReportDeps = {
  readonly pool: Pool;
  readonly log: Log;
  readonly metrics: Metrics;
  /** 0 ≤ x < 1, for jitter. */
  readonly random: () => number;
  readonly teller: StatusTeller;
  /** Undefined: no traces are kept. */
  readonly tracing?: Tracing | undefined;
};

export type Reporter = Loop & {
  /** Claims what may have something to tell and tells it; returns how many texts were looked at. */
  runOnce(): Promise<number>;
};

export function createReporter({ pool, log, metrics, random, teller, tracing }: ReportDeps): Reporter {
  const owner = randomUUID();
  let abort = new AbortController();

  async function runOnce(): Promise<number> {
    const reports = await claimReports(pool, { owner, leaseMs: LEASE_MS, limit: BATCH });
    if (reports.length === 0) return 0;
    const messages = await findRelayedMessages(pool, reports);
    await allEnded(reports.map(report => look(report, messages.get(report.id))));
    return reports.length;
  }

  async function look(report: Report, message: RelayedMessage | undefined): Promise<void> {
    const status = message === undefined ? null : nextStatus(report.told, message);
    const end = message === undefined || status === null ? QUIET : await tell(report, message, status);
    await endReport(pool, report, { owner, end });
  }

  async function tell(report: Report, message: RelayedMessage, status: RelayStatus): Promise<ReportEnd> {
    const { companyId, id, theirId: their, attempts } = report;
    const span = tracing?.start('report', null);
    const told = await teller.tell(
      { brand: message.brand, id: their, status, parts: partsOf(message) },
      abort.signal,
    );
    const givenUp = told.outcome === 'later' && attempts + 1 >= MAX_TRIES;
    const outcome = givenUp ? 'given_up' : told.outcome;
    span?.end(
      { 'otklik.company_id': companyId, 'otklik.message': id, 'otklik.outcome': outcome },
      told.outcome !== 'told',
    );
    metrics.reports.inc({ status: String(status), outcome });
    const fields = {
      ...{ loop: 'report', company_id: companyId, message: id, report: status, outcome },
      attempts: attempts + 1,
    };
    if ('reason' in told) log.warn({ ...fields, reason: told.reason }, 'status of a text not taken');
    else log.info(fields, 'status of a text told');
    switch (told.outcome) {
      case 'told':
        return { do: 'told', status, reason: null };
      case 'refused':
        // What comes after it may be taken all the same.
        return { do: 'told', status, reason: told.reason };
      case 'later': {
        const { reason, retryAfterMs = 0 } = told;
        return givenUp
          ? { do: 'given_up', reason }
          : { do: 'later', reason, inMs: retryAfterTriesMs(attempts + 1, random(), retryAfterMs) };
      }
    }
  }

  const loop = createLoop({ name: 'report', log, metrics, idleMs: IDLE_MS, runOnce });
  return {
    ...loop,
    runOnce,
    start() {
      abort = new AbortController();
      loop.start();
    },
    async stop() {
      abort.abort();
      await loop.stop();
    },
  };
}

const QUIET: ReportEnd = { do: 'quiet' };

/** SMS that a text is: of one that left otherwise, or is yet to leave, one. */
function partsOf({ channel, body }: RelayedMessage): number {
  return channel === 'sms' && body !== null ? smsParts(body) : 1;
}
