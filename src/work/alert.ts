/**
 * The watch: looks at the numbers, and tells whoever runs this when one is wrong, when it goes on, and when it is right
 * again. Of several processes one watches at a time, by a lease. A look is one transaction: what is open and what is
 * told about it change together, so nothing is told twice and nothing is forgotten.
 *
 * The database itself cannot be told of through the outbox: the process that watched last remembers that alert by
 * itself and sends it directly. The others cannot know whether it is still there, it may have died with the database:
 * whoever cannot look for as long as the lease lasts begins to count too, so that an outage may be told by each. Told
 * twice is cheaper than not at all. A process that ends loses this memory, and may tell of the same outage again.
 */
import { randomUUID } from 'node:crypto';
import type { Channel, ChannelName, Roads } from '../channels/channel.ts';
import {
  type AlertKey,
  type AlertState,
  assess,
  type Bulletin,
  isEmpty,
  mutedUntil,
  type Reading,
  type Rules,
} from '../domain/alert.ts';
import type { AlertTexts } from '../domain/alert-text.ts';
import type { Locale } from '../domain/locale.ts';
import {
  backupReadings,
  companyReadings,
  depthReadings,
  driftReadings,
  mayBeSilent,
  providerReadings,
  rejectReadings,
  silenceReading,
} from '../domain/readings.ts';
import type { Text } from '../domain/text.ts';
import type { EpochMs } from '../domain/time.ts';
import type { Hours } from '../domain/working-time.ts';
import { newId } from '../ids.ts';
import { type Log, PlainError } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import {
  addRejects,
  forgetMutes,
  forgetRejects,
  insertAlertMessages,
  leaveWatch,
  listAlerts,
  readAlertDepths,
  readCompanyNumbers,
  readDriftNumbers,
  readLastBackup,
  readMutes,
  readProviderNumbers,
  readRejects,
  readRoadNumbers,
  readUnheard,
  readWebhookHours,
  saveAlerts,
  takeWatch,
} from '../store/alerts.ts';
import { type Db, inTime, type Pool, transaction } from '../store/pool.ts';
import { createAccounts } from './accounts.ts';
import { createDirectRoad } from './direct.ts';
import { createLoop, type Loop } from './loop.ts';

/** Between two looks. A look takes the database some milliseconds for a hundred companies. */
const IDLE_MS = 20_000;
/** A process that stops looking is replaced after this long. */
const LEASE_MS = 90_000;
/** A database that answers later than this is down for those who wait for it. */
const LOOK_LIMIT_MS = 15_000;
/** A certificate changes every few weeks, and a handshake is a stranger in the log of the proxy. */
const CERTIFICATE_EVERY_MS = 3_600_000;
/** One that could not be read, of a proxy that starts after us say, does not stay unknown for an hour. */
const CERTIFICATE_AGAIN_MS = 300_000;
const REJECTS_KEPT_MS = 24 * 3_600_000;

export type AlertDeps = {
  readonly pool: Pool;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly now: () => EpochMs;
  readonly channels: ReadonlyMap<ChannelName, Channel>;
  readonly roads: Roads;
  readonly texts: AlertTexts;
  readonly locale: Locale;
  readonly rules: Rules;
  readonly working: Hours;
  /** That there are backups is watched before the first was made, too. */
  readonly backupExpected: boolean;
  /** Outside of the database; each resolves with null when it cannot be learnt. */
  readonly outside: {
    readonly host: string;
    certificateDays(): Promise<number | null>;
    freePercent(): Promise<number | null>;
  };
  /** Messages are in the outbox. */
  readonly onMessages: () => void;
  readonly idleMs?: number;
  readonly lookLimitMs?: number;
};

export type Watch = Loop & {
  /** Looks once and tells. Returns 0: the next look is after the idle time. */
  runOnce(): Promise<number>;
};

export function createWatch(deps: AlertDeps): Watch {
  const { pool, log, rules, now } = deps;
  const owner = randomUUID();
  let abort = new AbortController();
  const direct = createDirectRoad(deps);
  const lookOutside = createOutside(deps);
  const askAccounts = createAccounts(deps);
  let watching = false;
  /** Not one look succeeded since, though one did before. */
  let blindSince: EpochMs | undefined;
  let hasLooked = false;
  /** What is remembered without the database: its own alert. */
  let remembered: readonly AlertState[] = [];

  async function runOnce(): Promise<number> {
    const outside = (await Promise.all([lookOutside(), askAccounts(abort.signal)])).flat();
    const down = !(await look(outside));
    hasLooked ||= !down;
    blindSince = down ? (blindSince ?? now()) : undefined;
    const isAlone = hasLooked && blindSince !== undefined && now() - blindSince >= LEASE_MS;
    if (watching || isAlone || remembered.length > 0) {
      const readings: Reading[] = [{ kind: 'database', subject: '', value: down ? 1 : 0 }];
      const { open, bulletin } = assess(rules, remembered, readings, now());
      remembered = open;
      if (!isEmpty(bulletin)) direct.tell(publish(bulletin));
    }
    await direct.flush(abort.signal);
    return 0;
  }

  /** False: the look did not succeed. */
  async function look(outside: readonly Reading[]): Promise<boolean> {
    const late = () => new PlainError('the database does not answer in time');
    let bulletin: Bulletin | undefined;
    try {
      const looking = transaction(pool, db => lookAndTell(db, outside));
      bulletin = await inTime(looking, deps.lookLimitMs ?? LOOK_LIMIT_MS, late);
    } catch (error) {
      // Whatever it was: a standby that took over read-only, a password or a right that is gone, and a fault of ours in
      // reading one number leave the operator as blind as a server that is down.
      log.warn({ loop: 'watch', err: error }, 'cannot look for trouble in the database');
      return false;
    }
    watching = bulletin !== undefined;
    if (bulletin !== undefined && !isEmpty(bulletin)) {
      const text = publish(bulletin);
      deps.onMessages();
      if (concernsOutbox(bulletin)) direct.tell(text);
    }
    return true;
  }

  /** Undefined when another process watches. */
  async function lookAndTell(db: Db, outside: readonly Reading[]): Promise<Bulletin | undefined> {
    if (!(await takeWatch(db, owner, LEASE_MS))) return undefined;
    const at = now();
    // A disk that takes no new page may take the lease and not the receivers' counts; nor this row then, and that is told.
    await addRejects(db, [{ cause: 'store_down', count: 0 }], at);
    const [states, mutes, readings] = await Promise.all([
      listAlerts(db),
      readMutes(db),
      readAll(db, deps, at),
    ]);
    const told = states.flatMap(({ toldAt }) => (toldAt === null ? [] : [toldAt]));
    const unheard = told.length === 0 ? new Set<EpochMs>() : await readUnheard(db, told);
    const muted = (key: AlertKey) => mutedUntil(mutes, key, at) !== undefined;
    const { open, bulletin } = assess(rules, states, [...outside, ...readings], at, { unheard, muted });
    await saveAlerts(db, open);
    await forgetRejects(db, at - REJECTS_KEPT_MS);
    if (mutes.some(({ until }) => until <= at)) await forgetMutes(db, at);
    if (isEmpty(bulletin) || deps.roads.size === 0) return bulletin;
    const { subject, text } = deps.texts.render(deps.locale, bulletin, at);
    const messages = [...deps.roads.keys()].map(channel => ({ id: newId(), channel, subject, body: text }));
    await insertAlertMessages(db, messages, at);
    return bulletin;
  }

  /** Says it in the log, and gives the words for the roads. */
  function publish(bulletin: Bulletin): Text {
    for (const { kind, subject } of bulletin.raised)
      log.error({ loop: 'watch', kind, resource: subject }, 'alert raised');
    for (const { kind, subject } of bulletin.resolved)
      log.info({ loop: 'watch', kind, resource: subject }, 'alert resolved');
    return deps.texts.render(deps.locale, bulletin, now());
  }

  const idleMs = deps.idleMs ?? IDLE_MS;
  const loop = createLoop({ name: 'watch', log, metrics: deps.metrics, idleMs, runOnce });
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
      await leaveWatch(pool, owner).catch((error: unknown) => {
        log.warn({ loop: 'watch', err: error }, 'the watch passes on when its lease ends');
      });
    },
  };
}

/** An outbox that stands still does not carry the news of it. */
function concernsOutbox({ raised, lasting, resolved }: Bulletin): boolean {
  return [...raised, ...lasting, ...resolved].some(
    ({ kind, subject }) => kind === 'backlog' && subject === 'outbox',
  );
}

async function readAll(
  db: Db,
  {
    rules,
    channels,
    roads,
    working,
    backupExpected,
  }: Pick<AlertDeps, 'rules' | 'channels' | 'roads' | 'working' | 'backupExpected'>,
  now: EpochMs,
): Promise<Reading[]> {
  const [depths, companies, providers, ends, rejects, drift, backups] = await Promise.all([
    readAlertDepths(db, now),
    readCompanyNumbers(db, now),
    readProviderNumbers(db, now),
    readRoadNumbers(db, now),
    readRejects(db, now),
    readDriftNumbers(db, now),
    readLastBackup(db),
  ]);
  const silentHours = rules.get('silent')?.limit ?? Number.POSITIVE_INFINITY;
  const silent = companies.flatMap(company =>
    company.lastHour !== null && mayBeSilent(company, silentHours, now)
      ? [{ ...company, lastHour: company.lastHour }]
      : [],
  );
  const hours = await readWebhookHours(db, silent);
  const ways = new Set<string>(roads.keys());
  return [
    ...depthReadings(depths),
    ...companies.flatMap(companyReadings),
    ...silent.map(company => silenceReading(company, hours.get(company.companyId) ?? [], working, now)),
    ...providerReadings(
      providers,
      [...channels.keys()],
      ends.filter(({ channel }) => ways.has(channel)),
    ),
    ...rejectReadings(rejects),
    ...driftReadings(drift),
    ...backupReadings(backups, backupExpected, now),
  ];
}

/** The disk at each look, the certificate now and then. */
function createOutside({ outside, now }: AlertDeps): () => Promise<Reading[]> {
  let days: number | null = null;
  let readAgainAt = Number.NEGATIVE_INFINITY;
  return async () => {
    if (now() >= readAgainAt) {
      days = await outside.certificateDays();
      readAgainAt = now() + (days === null ? CERTIFICATE_AGAIN_MS : CERTIFICATE_EVERY_MS);
    }
    return [
      { kind: 'certificate', subject: outside.host, value: days },
      { kind: 'disk', subject: '', value: await outside.freePercent() },
    ];
  };
}
