/** Runs a fake salon against a listener: its course in real time, the faults of the way, the requests, the ledger. */
import type { EpochMs } from '../domain/time.ts';
import type { Branch } from './api/branch.ts';
import { hooksWith } from './api/hooks.ts';
import { type Platform, type PlatformOptions, startPlatform } from './api/platform.ts';
import type { Trouble } from './api/trouble.ts';
import type { Brand } from './cast.ts';
import { type Clock, systemClock } from './clock.ts';
import { type CourseOptions, faultsOf, gapsAt, type Happening } from './course.ts';
import { type ActionReport, describe } from './describe.ts';
import type { Delivery, Fault, Faults, WayOptions } from './faults.ts';
import { type Book, type Ledger, openBook } from './ledger.ts';
import { createRandom } from './random.ts';
import { openSalon } from './salon.ts';
import { type Item, planAhead, replanned, type Schedule, withWebhooks } from './schedule.ts';
import { type Answer, createSender, type Sender } from './sender.ts';
import type { Webhook } from './webhook.ts';

export type SimulatorOptions = {
  /** Where webhooks are posted, unless only those that register by the API hear any. It holds a secret: never printed. */
  readonly to?: string | undefined;
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
  /** The salon also answers for itself: a REST API, with the shapes of `faults` in its bodies. */
  readonly api?: Pick<PlatformOptions, 'host' | 'port' | 'partnerToken' | 'userToken'> | undefined;
  /** What goes wrong with calls of the API; nothing unless told. */
  readonly troubles?: readonly Trouble[] | undefined;
  /** The API can be called from now on, until the run ends. */
  readonly onApi?: ((platform: Platform) => void) | undefined;
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
  const api = await openApi(run, clock);
  try {
    while (!signal?.aborted && !isOver(run, clock.now())) {
      const now = clock.now();
      planMore(run, now);
      await play(run, dueItems(run, now));
      await sleep(run, clock);
    }
    // Stopped early: what the salon has done is told at once, what it had not done yet is void.
    const stoppedAt = clock.now();
    await api?.platform.stopAnswering();
    const done = run.schedule.items.filter(item => item.madeAt <= stoppedAt);
    await play(run, done);
    await Promise.all(run.inFlight);
    return ledgerOf(run, stoppedAt);
  } finally {
    await api?.platform.close();
    await run.sender?.close();
  }
}

type Run = {
  readonly options: SimulatorOptions;
  readonly zone: string;
  /** To `options.to`. */
  readonly sender: Sender | undefined;
  readonly book: Book;
  readonly courseOptions: CourseOptions & WayOptions;
  readonly startedAt: EpochMs;
  readonly endsAt: EpochMs;
  readonly inFlight: Set<Promise<void>>;
  readonly counts: { actions: number; webhooks: number; dropped: number; requests: number };
  readonly answers: Map<string, number>;
  schedule: Schedule;
  api: Api | undefined;
  /** Ends the sleep of the loop. */
  wake: AbortController;
};

function openRun(options: SimulatorOptions, clock: Clock): Run {
  const { companyId, seed, brand = 'yclients', zone = ZONES[brand], forMs, perSecond = PER_SECOND } = options;
  const { to, sender = to === undefined ? undefined : createSender({ ...options, to, clock }) } = options;
  const startedAt = clock.now();
  const random = createRandom(seed);
  const way = random.fork();
  const salon = openSalon({ ...options, companyId, brand, zone }, random, startedAt);
  const course = { salon, random, nextAt: startedAt };
  return {
    options,
    zone,
    sender,
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
    counts: { actions: 0, webhooks: 0, dropped: 0, requests: 0 },
    answers: new Map(),
    schedule: { course, way, plannedUntil: startedAt, items: [] },
    api: undefined,
    wake: new AbortController(),
  };
}

/** The salon's side that can be asked; `own` are the webhooks that calls of it caused. */
type Api = { readonly platform: Platform; readonly branch: Branch; readonly own: WeakSet<Webhook> };

async function openApi(run: Run, clock: Clock): Promise<Api | undefined> {
  const { options, courseOptions, schedule } = run;
  if (options.api === undefined) return undefined;
  const own = new WeakSet<Webhook>();
  const platform = await startPlatform({
    ...options.api,
    brand: options.brand,
    clock,
    seed: options.seed,
    quirks: { bodies: courseOptions.faults },
    onCall: () => catchUp(run, clock.now()),
    onWrite(_branch, happening) {
      for (const webhook of happening.webhooks) own.add(webhook);
      takeIn(run, happening);
    },
  });
  platform.setFault(...(options.troubles ?? []));
  const branch = platform.load(schedule.course.salon);
  if (options.to !== undefined) branch.saveHooks(hooksWith(options.to));
  run.api = { platform, branch, own };
  options.onApi?.(platform);
  return run.api;
}

/** What is due has happened before anybody asks. */
function catchUp(run: Run, now: EpochMs): void {
  planMore(run, now);
  const isDue = ({ at, kind }: Item) => at <= now && kind !== 'delivery';
  const due = run.schedule.items.filter(isDue);
  run.schedule = { ...run.schedule, items: run.schedule.items.filter(item => !isDue(item)) };
  for (const item of due) come(run, item);
}

/** A call of the API did something: the course goes on from there, and its webhooks go the same way as all. */
function takeIn(run: Run, happening: Happening): void {
  account(run, happening);
  const { salon, webhooks, action } = happening;
  const schedule = replanned(run.schedule, salon, action.at);
  run.schedule = withWebhooks(schedule, webhooks, run.courseOptions);
  run.wake.abort();
}

async function sleep(run: Run, clock: Clock): Promise<void> {
  run.wake = new AbortController();
  const { signal } = run.options;
  const waking = AbortSignal.any([run.wake.signal, ...(signal === undefined ? [] : [signal])]);
  await clock.sleep(Math.max(0, nextMoment(run) - clock.now()), waking);
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

/** All that happens, and then all that is sent: a call that comes while requests wait finds no action half taken. */
async function play(run: Run, items: readonly Item[]): Promise<void> {
  for (const item of items) come(run, item);
  for (const item of items) if (item.kind === 'delivery') await launch(run, item.delivery);
}

function come(run: Run, item: Item): void {
  if (item.kind === 'action') {
    run.api?.branch.apply(item.happening);
    account(run, item.happening);
  }
  if (item.kind === 'loss') {
    run.counts.dropped += 1;
    run.book.lost(item.webhook);
  }
}

function account({ counts, book, options }: Run, happening: Happening): void {
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

async function deliver(run: Run, { webhook, body }: Delivery): Promise<void> {
  await Promise.all(postsOf(run, webhook).map(post => note(run, webhook, post(body))));
}

async function note(
  { counts, answers, book }: Run,
  webhook: Webhook,
  answer: Promise<Answer>,
): Promise<void> {
  counts.requests += 1;
  const { sentAt, answeredAt, tries } = await answer;
  for (const outcome of tries) answers.set(outcome, (answers.get(outcome) ?? 0) + 1);
  book.sent(webhook, sentAt, answeredAt);
}

/** To whom it goes: `to`, while it stands in the salon's settings, and whoever registered by the API. */
function postsOf({ options, sender, api }: Run, webhook: Webhook): readonly Sender['post'][] {
  const first = sender === undefined ? [] : [sender.post];
  if (api === undefined) return first;
  const { platform, branch, own } = api;
  const isOwn = own.has(webhook);
  const heard = platform.listeners(branch.companyId, webhook.resource, isOwn);
  const stands = options.to !== undefined && branch.hooks().urls.includes(options.to);
  // Also of resources that no settings know: the URL was given to hear everything.
  const hears = stands && (heard.includes(options.to) || !isOwn);
  const others = heard.filter(url => url !== options.to);
  return [...(hears ? first : []), ...others.map(url => (body: string) => platform.post(url, body))];
}

function ledgerOf(run: Run, endedAt: EpochMs): Ledger {
  const { options, zone, startedAt } = run;
  return {
    companyId: options.companyId,
    zone,
    seed: options.seed,
    startedAt,
    endedAt,
    records: run.book.records(),
    refusals: run.book.refusals(),
    counts: { ...run.counts, answers: Object.fromEntries(run.answers) },
  };
}
