/**
 * The drift report: gathers in memory what the batches found, and writes it beside them, not with them.
 *
 * Not in the batch's transaction, because every batch would then queue for the same few rows of `drift`, two
 * processes could wait for each other there, and a report must never cost an event. So it is written at most every
 * `WRITE_EVERY_MS` by each process, one statement on a connection of its own, while batches go on. A crash loses the
 * counts of these seconds; drift comes again, or it was none.
 */
import { closedPath, type Finding } from '../domain/drift.ts';
import type { EpochMs } from '../domain/time.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { addDrift, type CountedFinding, claimDriftAlerts, type DriftAlert, OTHERS } from '../store/drift.ts';
import type { Pool } from '../store/pool.ts';

const WRITE_EVERY_MS = 5_000;
const TELL_EVERY_MS = 24 * 3_600_000;
/** Paths held between two writes; a sender's words beyond are counted as others. */
const HELD_LIMIT = 1_000;

export type DriftReport = {
  add(findings: readonly Finding[]): void;
  /** Begins to write what was gathered, if it is time, and does not wait. Call it often. */
  tick(): void;
  /** Writes what was gathered now; resolves when it is written or could not be. Never rejects. */
  flush(): Promise<void>;
};

export function createDriftReport(deps: {
  readonly pool: Pool;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly now: () => EpochMs;
}): DriftReport {
  const { pool, log, metrics, now } = deps;
  let gathered = new Map<string, CountedFinding>();
  let writing: Promise<void> | undefined;
  let writeAt = 0;

  function gather(finding: Finding, more: Omit<CountedFinding, keyof Finding>): void {
    const { kind, sample } = finding;
    const fits = gathered.size < HELD_LIMIT || gathered.has(`${kind} ${finding.path}`);
    const path = fits || closedPath(finding) === finding.path ? finding.path : OTHERS;
    const key = `${kind} ${path}`;
    const held = gathered.get(key);
    gathered.set(key, {
      ...{ kind, path, sample },
      count: more.count + (held?.count ?? 0),
      firstAt: Math.min(more.firstAt, held?.firstAt ?? more.firstAt),
      lastAt: Math.max(more.lastAt, held?.lastAt ?? more.lastAt),
    });
  }

  async function write(): Promise<void> {
    const findings = [...gathered.values()];
    gathered = new Map();
    try {
      if (findings.length > 0) await addDrift(pool, findings);
    } catch (error) {
      for (const finding of findings) gather(finding, finding);
      log.warn({ loop: 'process', err: error }, 'drift report not written yet, will try again');
      return;
    }
    try {
      for (const told of perClosedPath(await claimDriftAlerts(pool, now(), TELL_EVERY_MS))) tell(log, told);
    } catch (error) {
      log.warn({ loop: 'process', err: error }, 'drift not told yet, will try again');
    }
  }

  function start(): Promise<void> {
    writeAt = performance.now() + WRITE_EVERY_MS;
    writing ??= write().finally(() => {
      writing = undefined;
    });
    return writing;
  }

  return {
    add(findings) {
      const at = now();
      for (const finding of findings) {
        metrics.oddValues.inc({ kind: finding.kind, path: closedPath(finding) });
        gather(finding, { count: 1, firstAt: at, lastAt: at });
      }
    },
    tick() {
      if (gathered.size === 0 || writing !== undefined || performance.now() < writeAt) return;
      void start();
    },
    async flush() {
      await writing;
      if (gathered.size > 0) await start();
    },
  };
}

/** A log line holds no word of the sender's: unknown resources are told together, and looked up in the report. */
function perClosedPath(alerts: readonly DriftAlert[]): DriftAlert[] {
  const byPath = new Map<string, DriftAlert>();
  for (const alert of alerts) {
    const path = closedPath(alert);
    const key = `${alert.kind} ${path}`;
    byPath.set(key, { kind: alert.kind, path, count: alert.count + (byPath.get(key)?.count ?? 0) });
  }
  return [...byPath.values()];
}

/** The one place where an alert leaves: at most one a day for each kind and path, whichever process found it. */
function tell(log: Log, { kind, path, count }: DriftAlert): void {
  log.warn({ loop: 'process', kind, path, count }, 'the format drifts: see `drift list`');
}
