/**
 * Many salons of one platform on virtual time: their journals change, some of their webhooks come, and the service
 * keeps up by its own reconciler, processor and budget of calls, over HTTP and a real database. What the platform's
 * limiter counted is the result.
 *
 * Nothing is sent: what notices cost is no call to the platform.
 */
import { randomBytes } from 'node:crypto';
import { createApiAccess } from '../src/api-access.ts';
import { readConfig } from '../src/config.ts';
import { readBody } from '../src/ingest/read-body.ts';
import { createLog } from '../src/log.ts';
import { createMetrics } from '../src/metrics.ts';
import { type Platform, startPlatform } from '../src/simulator/api/platform.ts';
import { parseFaults } from '../src/simulator/faults.ts';
import { createRandom, type Random } from '../src/simulator/random.ts';
import type { Webhook } from '../src/simulator/webhook.ts';
import { insertCompany } from '../src/store/companies.ts';
import { insertEvents } from '../src/store/inbox.ts';
import { createPool, type Pool } from '../src/store/pool.ts';
import { createVault } from '../src/vault.ts';
import { createProcessor } from '../src/work/process.ts';
import { createReconciler } from '../src/work/reconcile.ts';
import { createVirtualClock } from '../test/support/virtual-clock.ts';

export type Fleet = {
  /** Of an empty, migrated database. */
  readonly databaseUrl: string;
  readonly companies: number;
  /** `poll`: asked each minute, no webhook comes. `webhook`: a delta sweep in 15 minutes, a full one each night. */
  readonly source: 'poll' | 'webhook';
  readonly hours: number;
  /** Of one salon, evenly over the day. */
  readonly changesADay: number;
  readonly seed: number;
  readonly onHour?: (hour: number) => void;
};

export type FleetResult = {
  /** Changes of records, and calls to the platform, within the hours. */
  readonly changes: number;
  readonly calls: number;
  readonly byOperation: Readonly<Record<string, number>>;
  /** From the first call to the last, first import included. */
  readonly maxPerSecond: number;
  readonly maxPerMinute: number;
  /** Calls that the platform refused for being more than our budget allows. */
  readonly refused: number;
  /** Between two delta sweeps of one company: as set, and as it was. */
  readonly intervalMs: number;
  readonly meanIntervalMs: number;
  readonly longestIntervalMs: number;
  /** Companies that ever waited longer than their interval. */
  readonly companiesLate: number;
  readonly webhooksLost: number;
  /** Records whose last state at the salon was not ours once everybody had been asked again after the last change. */
  readonly unknown: number;
};

type Counted = Pick<FleetResult, 'calls' | 'byOperation'>;

/** What the service allows itself; the platform would allow 5 a second and 200 a minute. */
const BUDGET = { perSecond: 3, perMinute: 180 };
/**
 * All salons are in one zone, and the hours begin when their night does: four of them hold the nightly sweep of every
 * company, fewer hold their share. A day has six times as many hours with no such sweep, so this is never in our favour.
 */
const ZONE = 'Asia/Yekaterinburg';
const NIGHT_BEGINS = Date.UTC(2031, 2, 10, 20);
const [SECOND_MS, MINUTE_MS, HOUR_MS] = [1_000, 60_000, 3_600_000];
/** For each company: twice the 340 ms of a slot, for its first import and the delta sweep after it, and some. */
const WARM_UP_MS = 720;
/** For each company, when all of them come at once. */
const QUEUE_MS = 360;
const TICK_MS = 10 * SECOND_MS;
/** As a company has them unless it is told otherwise. */
const INTERVAL_MS = { poll: MINUTE_MS, webhook: 15 * MINUTE_MS };
const RECORDS = 12;
/** Of webhooks: as many as make the sweeps find something every hour of every salon's day. */
const LOST = 0.02;
const WIRE_FAULTS = parseFaults('bare_delete,empty_array,loose_types,wrong_offset');

export async function runFleet(fleet: Fleet): Promise<FleetResult> {
  await using resources = new AsyncDisposableStack();
  const pool = createPool(fleet.databaseUrl, {
    max: 12,
    name: 'fleet',
    statementTimeoutMs: 30_000,
    byKey: true,
  });
  resources.defer(() => pool.end());
  // Calls are counted here, not seconds: nobody gains by waiting for the disk.
  pool.on('connect', client => void client.query('SET synchronous_commit = off'));
  const clock = createVirtualClock(NIGHT_BEGINS - fleet.companies * WARM_UP_MS, [pool]);
  const random = createRandom(fleet.seed);
  const { seed } = fleet;
  const platform = await startPlatform({ clock, seed, limits: BUDGET });
  resources.defer(() => platform.close());
  const ids = Array.from({ length: fleet.companies }, (_, index) => index + 1);
  for (const companyId of ids) platform.add(companyId, { zone: ZONE, records: RECORDS });

  const chance = random.fork();
  const vault = createVault(randomBytes(32));
  const log = createLog('silent');
  const common = { pool, log, metrics: createMetrics(), now: clock.now, random: () => chance.fraction() };
  const access = createApiAccess({
    ...{ pool, vault, now: clock.now, random: common.random, clock },
    config: readConfig({
      YCLIENTS_PARTNER_TOKEN: platform.partnerToken,
      YCLIENTS_USER_TOKEN: platform.userToken,
      YCLIENTS_API_URL: platform.url,
    }),
    // A company may be the last of all in the line.
    maxWaitMs: fleet.companies * SECOND_MS + 2 * MINUTE_MS,
  });
  resources.defer(() => access.close());
  const processor = createProcessor({ ...common, vault, onNotices: () => {} });
  resources.defer(() => processor.stop());
  const reconciler = createReconciler({ ...common, apiOf: access.findApi, onFound: () => {} });
  resources.defer(() => reconciler.stop());
  await addCompanies(pool, ids, fleet.source, clock.now());

  const end = NIGHT_BEGINS + fleet.hours * HOUR_MS;
  const intervalMs = INTERVAL_MS[fleet.source];
  const allKnown = end + intervalMs + fleet.companies * QUEUE_MS;
  const reconcile = async () => {
    while (clock.now() < allKnown) {
      await reconciler.drain(allKnown);
      await clock.sleep(SECOND_MS / 2);
    }
  };
  const salons = openSalons(fleet, platform, ids, random, end);
  const intervals = createIntervals(pool);
  const total = () => {
    const { calls, byOperation } = platform.stats();
    return { calls, byOperation };
  };

  /** Lives through the hours and a while after them; returns the calls of the hours. */
  async function live(): Promise<Counted> {
    let [before, after]: (Counted | undefined)[] = [];
    for (let hour = 0; clock.now() < allKnown; ) {
      await clock.sleep(TICK_MS);
      const now = clock.now();
      if (now >= NIGHT_BEGINS) before ??= total();
      if (now >= end) after ??= total();
      const heard = salons.changeUntil(Math.min(now, end));
      if (fleet.source === 'webhook') await receive(pool, heard, now);
      await processor.drain();
      if (now >= NIGHT_BEGINS && now < end) await intervals.look(now - TICK_MS);
      const passed = Math.floor((now - NIGHT_BEGINS) / HOUR_MS);
      if (passed > hour && passed <= fleet.hours) fleet.onHour?.(passed);
      hour = Math.max(hour, passed);
    }
    return difference(after ?? total(), before ?? total());
  }

  const [counted] = await clock.run(Promise.all([live(), reconcile()]));
  const { maxPerSecond, maxPerMinute, limited } = platform.stats();
  return {
    ...counted,
    ...{ changes: salons.changes(), maxPerSecond, maxPerMinute, refused: limited },
    ...intervals.result(intervalMs),
    webhooksLost: fleet.source === 'webhook' ? salons.lost() : 0,
    unknown: await countUnknown(pool, platform, ids),
  };
}

async function addCompanies(
  pool: Pool,
  ids: readonly number[],
  source: Fleet['source'],
  knownSince: number,
): Promise<void> {
  for (const companyId of ids) {
    await insertCompany(pool, {
      ...{ companyId, title: `Салон ${companyId}`, zone: ZONE, brand: 'yclients', locale: 'ru' },
      ...{ route: ['console'], webhookUrl: null, botApiPrefix: null, signatureRequired: false },
      ...{ source, knownSince },
    });
  }
}

/** The changes of all salons, each at its own moment: the same ones whatever hears of them. */
function openSalons(
  { hours, changesADay }: Fleet,
  platform: Platform,
  ids: readonly number[],
  random: Random,
  end: number,
) {
  const course = random.fork();
  const way = random.fork();
  const meanGapMs = (24 * HOUR_MS) / (changesADay * ids.length);
  const gap = () => -Math.log(1 - course.fraction()) * meanGapMs;
  let nextAt = NIGHT_BEGINS + gap();
  let [changes, webhooks, lost] = [0, 0, 0];
  const most = Math.ceil((changesADay * hours) / 24) + RECORDS + 200;
  return {
    changes: () => changes,
    webhooks: () => webhooks,
    lost: () => lost,
    /** What came of it by webhook. */
    changeUntil(now: number): Webhook[] {
      const heard: Webhook[] = [];
      for (; nextAt <= Math.min(now, end); nextAt += gap()) {
        const branch = platform.salon(course.pick(ids));
        const happening = branch.act(Math.round(nextAt), { faults: WIRE_FAULTS, mostRecords: most });
        changes += happening?.told.length ?? 0;
        for (const webhook of happening?.webhooks ?? []) {
          webhooks += 1;
          if (way.chance(LOST)) lost += 1;
          else heard.push(webhook);
        }
      }
      return heard;
    },
  };
}

/** Puts webhooks into the inbox as received now. */
async function receive(pool: Pool, webhooks: readonly Webhook[], now: number): Promise<void> {
  const events = webhooks.flatMap(({ body, envelope: { company_id: companyId } }) => {
    const read = readBody(Buffer.from(body), {
      companyId: Number(companyId),
      receivedAt: now,
      source: 'webhook',
    });
    if ('unreadable' in read) throw new Error(`a webhook cannot be read: ${read.unreadable}`);
    return read;
  });
  const unique = [...new Map(events.map(event => [event.eventId, event])).values()];
  if (unique.length === 0) return;
  await insertEvents(pool, unique);
  // The database stamps the real time, which is none here.
  await pool.query('UPDATE webhook_events SET created_at = $1 WHERE id = ANY ($2)', [
    new Date(now).toISOString(),
    unique.map(({ id }) => id),
  ]);
}

/** How long after one delta sweep of a company the next began, as the service itself keeps and shows it. */
function createIntervals(pool: Pool) {
  const longest = new Map<number, number>();
  let [sum, count] = [0, 0];
  return {
    async look(since: number): Promise<void> {
      const { rows } = await pool.query<{ company_id: number; gap_ms: number | null }>(
        `SELECT company_id, (last->>'gapMs')::float8 AS gap_ms FROM sweeps
         WHERE kind = 'delta' AND finished_at > $1`,
        [new Date(since).toISOString()],
      );
      for (const { company_id, gap_ms } of rows) {
        if (gap_ms === null) continue;
        longest.set(company_id, Math.max(longest.get(company_id) ?? 0, gap_ms));
        sum += gap_ms;
        count += 1;
      }
    },
    result: (intervalMs: number) => ({
      intervalMs,
      meanIntervalMs: Math.round(sum / count),
      longestIntervalMs: Math.max(...longest.values()),
      companiesLate: [...longest.values()].filter(ms => ms > intervalMs).length,
    }),
  };
}

function difference(after: Counted, before: Counted): Counted {
  const byOperation = Object.fromEntries(
    Object.entries(after.byOperation).map(([name, count]) => [name, count - (before.byOperation[name] ?? 0)]),
  );
  return { calls: after.calls - before.calls, byOperation };
}

async function countUnknown(pool: Pool, platform: Platform, ids: readonly number[]): Promise<number> {
  const { rows } = await pool.query<{
    record_id: number;
    starts_local: string;
    attendance: number;
    deleted: boolean;
  }>(
    `SELECT record_id, to_char(starts_local, 'YYYY-MM-DD"T"HH24:MI:SS') AS starts_local, attendance, deleted
     FROM bookings`,
  );
  const ours = new Map(rows.map(row => [row.record_id, row]));
  const changed = ids.flatMap(id =>
    platform
      .salon(id)
      .records()
      .filter(record => record.version >= NIGHT_BEGINS),
  );
  return changed.filter(record => {
    const booking = ours.get(record.id);
    return (
      booking?.starts_local !== record.startsLocal ||
      booking.attendance !== record.attendance ||
      booking.deleted !== record.deleted
    );
  }).length;
}
