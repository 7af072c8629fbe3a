/** Runs a fake salon against a listener: its course in real time, the faults of the way, the requests, the ledger. */
import type { EpochMs } from '../domain/time.ts';
import type { Brand } from './cast.ts';
import { type Clock, systemClock } from './clock.ts';
import { type CourseOptions, faultsOf, gapsAt, type Happening } from './course.ts';
import { type ActionReport, describe } from './describe.ts';
import type { Delivery, Fault, Faults, WayOptions } from './faults.ts';
import { type Book, type Ledger, openBook } from './ledger.ts';
import { createRandom } from './random.ts';
import { openSalon } from './salon.ts';
import { type Item, planAhead, type Schedule } from './schedule.ts';
import { createSender, type Sender } from './sender.ts';

export type SimulatorOptions = {
  /** Where webhooks are posted. It holds a secret: never printed. */
  readonly to: string;
  readonly companyId: number;
  readonly seed: number;
  /** Endless unless told. */
  readonly forMs?: number | undefined;
  /** Actions, not requests: copies and the records of one visit come on top. */
  readonly perSecond?: number | undefined;
  readonly faults?: Faults | readonly Fault[] | string | undefined;
  /** Of a webhook to be lost; above 0 it turns the fault `drop` on. */
  readonly dropChance?: number | undefined;
  readonly brand?: Brand | undefined;
  readonly zone?: string | undefined;
  readonly staff?: number | undefined;
  readonly clients?: number | undefined;
  readonly retries?: number | undefined;
  readonly timeoutMs?: number | undefined;
  /** Ends the run: what has happened is still sent, nothing more happens. */
  readonly signal?: AbortSignal | undefined;
  readonly onAction?: ((report: ActionReport) => void) | undefined;
  readonly clock?: Clock | undefined;
  readonly sender?: Sender | undefined;
};

const PER_SECOND = 2;
/** How far ahead of the clock the course is planned. */
const WINDOW_MS = 5_000;
/** Beyond so many unanswered requests the salon waits, as a slow listener would make the platform's queue wait. */
const MOST_IN_FLIGHT = 256;

export const ZONES: Readonly<Record<Brand, string>> = {
  yclients: 'Asia/Yekaterinburg',
  altegio: 'Europe/Berlin',
};

export async function runSimulator(options: SimulatorOptions): Promise<Ledger> {
  const { clock = systemClock, signal } = options;
  const run = openRun(options, clock);
  while (!signal?.aborted && !isOver(run, clock.now())) {
    const now = clock.now();
    planMore(run, now);
    await play(run, dueItems(run, now));
    await clock.sleep(Math.max(0, nextMoment(run) - clock.now()), signal);
  }
  // Stopped early: what the salon has done is told at once, what it had not done yet is void.
  const stoppedAt = clock.now();
  const done = run.schedule.items.filter(item => item.madeAt <= stoppedAt);
  await play(run, done);
  await Promise.all(run.inFlight);
  await run.sender.close();
  return ledgerOf(run, stoppedAt);
}

type Run = {
  readonly options: SimulatorOptions;
  readonly zone: string;
  readonly sender: Sender;
  readonly book: Book;
  readonly courseOptions: CourseOptions & WayOptions;
  readonly startedAt: EpochMs;
  readonly endsAt: EpochMs;
  readonly inFlight: Set<Promise<void>>;
  readonly counts: { actions: number; webhooks: number; requests: number };
  readonly answers: Map<string, number>;
  schedule: Schedule;
};

function openRun(options: SimulatorOptions, clock: Clock): Run {
  const { companyId, seed, brand = 'yclients', zone = ZONES[brand], forMs, perSecond = PER_SECOND } = options;
  const startedAt = clock.now();
  const random = createRandom(seed);
  const way = random.fork();
  const salon = openSalon({ ...options, companyId, brand, zone }, random, startedAt);
  const course = { salon, random, nextAt: startedAt };
  return {
    options,
    zone,
    sender: options.sender ?? createSender({ ...options, clock }),
    book: openBook(),
    courseOptions: {
      faults: faultsOf(options.faults ?? 'all', options.dropChance),
      gapMs: gapsAt(perSecond),
      others: true,
      dropChance: options.dropChance,
    },
    startedAt,
    endsAt: startedAt + (forMs ?? Number.POSITIVE_INFINITY),
    inFlight: new Set(),
    counts: { actions: 0, webhooks: 0, requests: 0 },
    answers: new Map(),
    schedule: { course, way, plannedUntil: startedAt, items: [], dropped: 0 },
  };
}

function isOver(run: Run, now: EpochMs): boolean {
  return now >= run.endsAt && run.schedule.items.length === 0;
}

function planMore(run: Run, now: EpochMs): void {
  const { plannedUntil } = run.schedule;
  if (plannedUntil > now || plannedUntil >= run.endsAt) return;
  run.schedule = planAhead(run.schedule, Math.min(plannedUntil + WINDOW_MS, run.endsAt), run.courseOptions);
}

/** Takes what is due from the schedule. */
function dueItems(run: Run, now: EpochMs): readonly Item[] {
  const { items } = run.schedule;
  run.schedule = { ...run.schedule, items: items.filter(item => item.at > now) };
  return items.filter(item => item.at <= now);
}

function nextMoment({ schedule, endsAt }: Run): EpochMs {
  const planning = schedule.plannedUntil < endsAt ? schedule.plannedUntil : endsAt;
  return Math.min(schedule.items[0]?.at ?? planning, planning);
}

async function play(run: Run, items: readonly Item[]): Promise<void> {
  for (const item of items) {
    if (item.kind === 'action') happen(run, item.happening);
    else await launch(run, item.delivery);
  }
}

function happen({ counts, book, options }: Run, happening: Happening): void {
  counts.actions += 1;
  counts.webhooks += happening.webhooks.length;
  for (const { change, carried } of happening.told) book.changed(change, carried, happening.action.at);
  options.onAction?.(describe(happening));
}

async function launch(run: Run, delivery: Delivery): Promise<void> {
  if (run.inFlight.size >= MOST_IN_FLIGHT) await Promise.race(run.inFlight);
  const sending = deliver(run, delivery).finally(() => run.inFlight.delete(sending));
  run.inFlight.add(sending);
}

async function deliver({ sender, counts, answers, book }: Run, { webhook, body }: Delivery): Promise<void> {
  counts.requests += 1;
  const { sentAt, answeredAt, tries } = await sender.post(body);
  for (const outcome of tries) answers.set(outcome, (answers.get(outcome) ?? 0) + 1);
  book.sent(webhook, sentAt, answeredAt);
}

function ledgerOf(run: Run, endedAt: EpochMs): Ledger {
  const { options, zone, startedAt, schedule } = run;
  return {
    companyId: options.companyId,
    zone,
    seed: options.seed,
    startedAt,
    endedAt,
    records: run.book.records(),
    refusals: run.book.refusals(),
    counts: { ...run.counts, dropped: schedule.dropped, answers: Object.fromEntries(run.answers) },
  };
}
