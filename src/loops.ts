/** What works behind the endpoint in one process: its loops by role, whom each wakes, how they start and stop. */
import { type ApiAccess, partnerTokensOf } from './api-access.ts';
import type { Channel, ChannelName, Roads } from './channels/channel.ts';
import type { Config, Role } from './config.ts';
import { watchSettings } from './configured-alerts.ts';
import { answeredOn, createEars } from './configured-ears.ts';
import { answerUrlOf, updatesUrlOf } from './configured-urls.ts';
import { createAlertTexts } from './domain/alert-text.ts';
import type { Texts } from './domain/text.ts';
import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';
import type { Opened } from './open.ts';
import type { Pool } from './store/pool.ts';
import type { loadTemplates } from './templates.ts';
import type { Tracing } from './tracing.ts';
import { createActor } from './work/act.ts';
import { createWatch } from './work/alert.ts';
import { createDigester } from './work/digest.ts';
import { createDispatcher } from './work/dispatch.ts';
import { createListener } from './work/listen.ts';
import { allEnded, inOrder } from './work/loop.ts';
import { createPlanner } from './work/planner.ts';
import { createProcessor } from './work/process.ts';
import { createReconciler } from './work/reconcile.ts';
import { withTurns } from './work/reply.ts';
import { createReporter } from './work/report.ts';
import { createSuccession } from './work/succession.ts';
import { createUpkeep, type Keep } from './work/upkeep.ts';
import { createStatusTeller } from './yclients/relay-status.ts';

/** Wakes who works on it, in this process; others see it within their idle time. */
export type Wake = {
  /** Events came in. */
  events(): void;
  /** Messages are due. */
  messages(): void;
  /** Texts of the platform came in. */
  texts(): void;
  /** Words, or a press, of somebody. */
  ears(): void;
};

export type Loops = {
  readonly wake: Wake;
  start(): void;
  /** Those that make work for others end before them. */
  stop(): Promise<void>;
};

export type LoopsDeps = {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly opened: Opened;
  /** For work on events and messages; upkeep and the watch use that of `opened`. */
  readonly work: Pool;
  readonly tracing: Tracing | undefined;
  readonly channels: Map<ChannelName, Channel>;
  readonly roads: Roads;
  readonly texts: Texts;
  readonly templates: ReturnType<typeof loadTemplates>;
  readonly apiOf: ApiAccess['findApi'];
  readonly now: () => number;
  /** 0 ≤ x < 1. */
  readonly random: () => number;
  readonly onOutgrown: ((reason: string) => void) | undefined;
};

export function createLoops(config: Config, deps: LoopsDeps): Loops {
  const { log, metrics, opened, work, tracing, channels, roads, texts, templates, apiOf } = deps;
  const { now, random, onOutgrown } = deps;
  const has = (role: Role) => config.ROLES.includes(role);
  const { pool, vault } = opened;
  const worker = { pool: work, log, metrics, now };
  const dispatcher = has('dispatch')
    ? createDispatcher({
        ...{ ...worker, random, tracing, channels, vault, texts, roads },
        answers: answeredOn(config),
        answerUrl: answerUrlOf(config, vault),
      })
    : undefined;
  const onMessages = () => dispatcher?.wake();
  const teller = createStatusTeller({
    ...{ partnerTokens: partnerTokensOf(config), baseUrl: config.YCLIENTS_STATUS_URL, now },
  });
  const reporter = has('dispatch') ? createReporter({ ...worker, random, tracing, teller }) : undefined;
  const digester = has('dispatch') ? createDigester({ ...worker, onMessages }) : undefined;

  const processor = has('process')
    ? createProcessor({ ...worker, random, tracing, vault, onNotices: onMessages })
    : undefined;
  const planner = processor && createPlanner({ ...worker, isBehind: processor.isBehind });
  const onFound = () => processor?.wake();
  const reconciler = has('reconcile')
    ? createReconciler({ ...worker, random, tracing, apiOf, onFound })
    : undefined;

  const ears = has('listen')
    ? createEars(config, { sms: channels.get('sms') }).map(ear =>
        withTurns({ pool: work, log, random }, ear, channels.get(ear.channel)?.traits.pace ?? null),
      )
    : [];
  const mouths = new Map(ears.map(ear => [ear.channel, ear]));
  const actor = has('listen')
    ? createActor({ ...worker, random, tracing, mouths, apiOf, onFound })
    : undefined;
  const listeners = ears.map(ear =>
    createListener({
      ...{ ...worker, vault, ear },
      updatesUrl: updatesUrlOf(config, pool, ear.channel, vault),
      onAction: () => actor?.wake(),
    }),
  );

  const upkeep = has('upkeep') ? createUpkeep({ pool, log, metrics, now, keep: keepOf(config) }) : undefined;
  const watch = has('upkeep')
    ? createWatch({
        ...{ pool, log, metrics, now, channels, roads, onMessages },
        ...watchSettings(config, now),
        texts: createAlertTexts(templates),
      })
    : undefined;
  const succession = onOutgrown && createSuccession({ pool, log, metrics, onOutgrown });

  /** Who makes work for others stands before them. */
  const after = [reconciler, processor, planner, digester, dispatcher, reporter, upkeep, watch, succession];
  return {
    wake: {
      events: onFound,
      messages: onMessages,
      texts() {
        onMessages();
        reporter?.wake();
      },
      ears() {
        for (const listener of listeners) listener.wake();
      },
    },
    start() {
      for (const part of [...listeners, actor, ...after].toReversed()) part?.start();
    },
    stop: () =>
      inOrder([
        () => allEnded(listeners.map(listener => listener.stop())),
        () => actor?.stop(),
        () => allEnded(ears.map(ear => ear.close())),
        ...after.map(part => () => part?.stop()),
        () => teller.close(),
      ]),
  };
}

function keepOf(config: Config): Keep {
  return {
    eventsDays: config.KEEP_EVENTS_DAYS,
    deadDays: config.KEEP_DEAD_DAYS,
    messagesDays: config.KEEP_MESSAGES_DAYS,
    bookingsDays: config.KEEP_BOOKINGS_DAYS,
    auditDays: config.KEEP_AUDIT_DAYS,
  };
}
