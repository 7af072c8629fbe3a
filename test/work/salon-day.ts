/** A salon's day in which webhooks are lost, doubled and late and we are down for an hour, and what it must come to. */
import assert from 'node:assert/strict';
import { type Platform, startPlatform } from '../../src/simulator/api/platform.ts';
import { createRandom } from '../../src/simulator/random.ts';
import type { SalonRecord } from '../../src/simulator/salon.ts';
import { parseServiceState } from '../../src/simulator/verdict.ts';
import { compare, isClean } from '../../src/simulator/verify.ts';
import { readCoverage } from '../../src/store/coverage.ts';
import { listToldNotices, summariseBookings } from '../../src/store/views.ts';
import type { JournalApi } from '../../src/yclients/api.ts';
import { createApiClient } from '../../src/yclients/client.ts';
import type { Pipeline } from './pipeline.ts';
import { API_FAULTS, apiOver, type Delivered, type SalonStory, tellStory } from './salon-api.ts';

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
const START = Date.UTC(2031, 2, 10, 4);
/** A day's changes come evenly, whatever their number. */
const DAY_MS = 24 * HOUR_MS;
const STEP_MS = 10 * MINUTE_MS;
const DOWN = { from: START + 9 * HOUR_MS, until: START + 10 * HOUR_MS };
const LATEST_MS = 3 * HOUR_MS;
const ZONES = ['Asia/Almaty', 'Europe/Belgrade'] as const;

export type SalonDay = {
  readonly story: SalonStory;
  /** What came to us while we were there. */
  readonly delivered: readonly (Delivered & { readonly body: string })[];
};

/** A day of so many changes: 10 % of its webhooks are dropped, 10 % come twice, 10 % come up to three hours late. */
export function salonDay(seed: number, changes: number): SalonDay {
  const story = tellStory({
    seed,
    companyId: seed * 1_000 + changes,
    startMs: START,
    actions: changes,
    zone: ZONES[seed % 2] ?? ZONES[0],
    gapMs: random => random.integer(DAY_MS / (3 * changes), (5 * DAY_MS) / (3 * changes)),
    faults: ['bare_delete', 'empty_array', 'bad_text', 'unknown', 'loose_types', 'wrong_offset'],
  });
  const way = createRandom(seed + 1_000_000);
  const arrivals = story.webhooks.flatMap(webhook => {
    const soon = webhook.at + way.integer(30, 300);
    const [lost, twice, late] = [way.chance(0.1), way.chance(0.1), way.chance(0.1)];
    const receivedAt = late ? soon + way.integer(MINUTE_MS, LATEST_MS) : soon;
    const copy = twice ? [receivedAt + way.integer(0, LATEST_MS)] : [];
    return lost ? [] : [receivedAt, ...copy].map(at => ({ webhook, body: webhook.body, receivedAt: at }));
  });
  const delivered = arrivals.filter(({ receivedAt }) => receivedAt < DOWN.from || receivedAt >= DOWN.until);
  return { story, delivered: delivered.sort((left, right) => left.receivedAt - right.receivedAt) };
}

/** How the salons are read, on the pipeline's clock; undefined where there is no such company. */
export type Apis = ReadonlyMap<number, JournalApi>;

function apisInMemory(pipeline: Pipeline, days: readonly SalonDay[]): Apis {
  return new Map(days.map(({ story }) => [story.companyId, apiOver(story, () => pipeline.now)]));
}

/** The simulator's platform over HTTP, with the real client; its journals stand as the pipeline's clock says. */
export async function apisOverHttp(
  pipeline: Pipeline,
  days: readonly SalonDay[],
): Promise<{ readonly apis: Apis; readonly platform: Platform; close(): Promise<void> }> {
  const left = days.map(({ story }) => ({ story, next: 0 }));
  const platform = await startPlatform({
    clock: { now: () => pipeline.now, sleep: async () => {} },
    limits: null,
    quirks: { bodies: API_FAULTS, errors: 'either', totals: 'too_small', naiveZone: 'UTC' },
    onCall() {
      for (const course of left) {
        const { companyId, happenings } = course.story;
        for (
          let due = happenings[course.next];
          due && due.action.at <= pipeline.now;
          due = happenings[course.next]
        ) {
          platform.salon(companyId).apply(due);
          course.next += 1;
        }
      }
    },
  });
  for (const { story } of days) platform.load(story.opened);
  const client = createApiClient({
    ...{ brand: 'yclients', baseUrl: platform.url, partnerToken: platform.partnerToken },
    ...{ now: () => pipeline.now, random: () => 0.5 },
    gate: { enter: async () => {}, report: async () => {} },
  });
  const ids = days.map(({ story }) => story.companyId);
  return {
    platform,
    apis: new Map(ids.map(id => [id, client.company(id, platform.userToken)])),
    async close() {
      await client.close();
      await platform.close();
    },
  };
}

/** All days side by side on one clock, with one reconciliation at the end; what is late still comes after it. */
export async function playDay(
  pipeline: Pipeline,
  days: readonly SalonDay[],
  apis: Apis = apisInMemory(pipeline, days),
): Promise<void> {
  const reconciler = pipeline.reconciler(async companyId => apis.get(companyId));
  pipeline.now = START - 2_000;
  for (const { story } of days) {
    const { companyId, zone } = story;
    const reading = { verify: 'never', sweepMs: 24 * HOUR_MS } as const;
    await pipeline.addCompany({ companyId, zone, settleMs: 3_000, knownSince: START - 2_000, ...reading });
  }
  await reconciler.drain();
  await pipeline.settle();
  assert.equal(pipeline.sent.length, 0, 'the first import is silent');

  const end = Math.max(...days.map(({ story }) => story.endsAt));
  for (let from = START - STEP_MS; from <= end; from += STEP_MS) {
    await deliver(pipeline, days, from, from + STEP_MS);
    pipeline.now = from + STEP_MS;
    if (pipeline.now <= DOWN.from || pipeline.now > DOWN.until) await settled(pipeline);
  }
  const { companyId } = days[0]?.story ?? { companyId: 0 };
  assert.equal((await readCoverage(pipeline.pool, pipeline.now, companyId))[0]?.missed, 0);

  for (const { story } of days) await reconciler.sweepNow(story.companyId, { full: false });
  await settled(pipeline);
  for (const day of days) await sameBookings(pipeline, day);
  await deliver(pipeline, days, pipeline.now, pipeline.now + 2 * LATEST_MS);
  pipeline.now += 2 * LATEST_MS;
  await settled(pipeline);
  await reconciler.stop();
}

async function deliver(
  pipeline: Pipeline,
  days: readonly SalonDay[],
  from: number,
  until: number,
): Promise<void> {
  for (const { story, delivered } of days) {
    const due = delivered.filter(({ receivedAt }) => receivedAt >= from && receivedAt < until);
    if (due.length > 0) await pipeline.receive(story.companyId, due);
  }
}

/** Everything that is known is processed, and what it says is said. */
async function settled(pipeline: Pipeline): Promise<void> {
  await pipeline.settle();
  pipeline.now += 4_000;
  await pipeline.settle();
}

/** The mirror holds what the salon's journal holds. */
async function sameBookings(pipeline: Pipeline, { story }: SalonDay): Promise<void> {
  const ours = await summariseBookings(pipeline.pool, story.companyId);
  const mirror = new Map(ours.map(booking => [booking.recordId, booking]));
  for (const [recordId, states] of story.states) {
    const record = states.findLast(({ at }) => at <= pipeline.now)?.record;
    const is = mirror.get(recordId);
    // Two years ago: neither imported nor touched.
    if (record === undefined || (is === undefined && record.known && states.length === 1)) continue;
    assert.deepEqual(
      is && {
        startsLocal: is.startsLocal,
        staffId: is.staffId,
        services: servicesOf(is.services),
        clientId: is.clientId,
        attendance: is.attendance,
        deleted: is.deleted,
        paid: is.paid,
      },
      {
        startsLocal: record.startsLocal,
        staffId: record.staffId,
        services: servicesOf(record.services.map(({ offered, amount }) => ({ id: offered.id, amount }))),
        clientId: record.clientId,
        attendance: record.attendance,
        deleted: record.deleted,
        paid: record.paid,
      },
      `company ${story.companyId}, record ${recordId}`,
    );
  }
}

function servicesOf(services: readonly { readonly id: number; readonly amount: number }[]): string[] {
  return services.map(({ id, amount }) => `${id}x${amount}`).sort();
}

/** Each difference told once, by the salon's own books; and missed as many as came by no webhook. */
export async function checkDay(pipeline: Pipeline, day: SalonDay): Promise<void> {
  const { companyId } = day.story;
  const ledger = imported(day.story.ledger(day.delivered));
  const known = new Set(ledger.records.map(record => record.recordId));
  const state = parseServiceState({
    bookings: (await summariseBookings(pipeline.pool, companyId)).filter(({ recordId }) =>
      known.has(recordId),
    ),
    messages: await listToldNotices(pipeline.pool, companyId),
  });
  const verdict = compare(ledger, state, { checkedAt: pipeline.now, slackMs: 2 * STEP_MS });
  assert.ok(isClean(verdict), `company ${companyId}: ${JSON.stringify(verdict, null, 1)}`);
  assert.ok(verdict.told_once > 10, `only ${verdict.told_once} messages were told`);

  const [coverage] = await readCoverage(pipeline.pool, pipeline.now, companyId);
  const missed = missedIn(day);
  assert.equal(coverage?.missed, missed, `missed of company ${companyId}`);
  assert.ok(missed > 0, `only ${missed} were missed: the day says too little`);
}

/** What was there before was imported at the start: that is what its client is taken to have heard. */
function imported(ledger: ReturnType<SalonStory['ledger']>): ReturnType<SalonStory['ledger']> {
  const at = START - 2_000;
  const records = ledger.records.map(record => ({
    ...record,
    states: record.states.map((state, index) =>
      record.known && index === 0
        ? {
            ...state,
            carries: 'everything' as const,
            firstSentAt: at,
            firstAnsweredAt: at,
            lastAnsweredAt: at,
          }
        : state,
    ),
  }));
  return { ...ledger, records };
}

/** Records whose newest state came by no webhook and is another than the newest that did. */
function missedIn({ story, delivered }: SalonDay): number {
  const heard = Map.groupBy(delivered, ({ webhook }) => webhook.resourceId);
  return [...story.states].filter(([recordId, states]) => {
    const versions = (heard.get(recordId) ?? []).map(({ webhook }) => webhook.carried?.version ?? 0);
    const newest = states.at(-1)?.record;
    if (newest === undefined || states.length === (newest.known ? 1 : 0)) return false;
    if (versions.includes(newest.version)) return false;
    const last = states.findLast(({ record, at }) => versions.includes(record.version) || at < START)?.record;
    return last === undefined || inWords(last) !== inWords(newest);
  }).length;
}

function inWords(record: SalonRecord): string {
  const { startsLocal, durationSeconds, staffId, clientId, attendance, deleted, paid, comment } = record;
  const services = servicesOf(record.services.map(({ offered, amount }) => ({ id: offered.id, amount })));
  return JSON.stringify([
    startsLocal,
    durationSeconds,
    staffId,
    clientId,
    attendance,
    deleted,
    paid,
    comment,
    services,
  ]);
}
