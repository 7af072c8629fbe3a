/**
 * What goes wrong between the salon and its listener: a seeded plan of deliveries.
 *
 * A plan never changes what is true, only how it is heard: copies, order, lateness, loss. Every lateness is bounded,
 * so that a listener that waits `MAX_LATENESS_MS` has heard everything that was not dropped.
 */
import type { EpochMs } from '../domain/time.ts';
import type { Random } from './random.ts';
import { bodyOf, type Json, type JsonObject, type Webhook } from './webhook.ts';

/** Faults of the way. */
const WAY_FAULTS = ['duplicate', 'permute', 'reorder', 'delay', 'create_late', 'drop'] as const;

/** Faults of what is said; `wire.ts` makes them. */
const BODY_FAULTS = [
  'bare_delete',
  'empty_array',
  'bad_text',
  'unknown',
  'loose_types',
  'missing_fields',
  'wrong_offset',
] as const;

export type WayFault = (typeof WAY_FAULTS)[number];
export type Fault = WayFault | (typeof BODY_FAULTS)[number];
export type Faults = ReadonlySet<Fault>;

export const FAULTS: readonly Fault[] = [...WAY_FAULTS, ...BODY_FAULTS];

/** `all` (but `drop`: a loss is final until something reconciles), `none`, or a comma list. Throws on an unknown name. */
export function parseFaults(text: string): Faults {
  if (text === 'none') return new Set();
  if (text === 'all') return new Set(FAULTS.filter(fault => fault !== 'drop'));
  return new Set(text.split(',').map(name => parseFault(name.trim())));
}

function parseFault(name: string): Fault {
  const fault = FAULTS.find(one => one === name);
  if (fault) return fault;
  throw new Error(`unknown fault "${name}": use all, none, or a comma list of ${FAULTS.join(', ')}`);
}

export type Delivery = {
  readonly webhook: Webhook;
  readonly body: string;
  readonly dueAt: EpochMs;
  /** What befell it; empty for an ordinary delivery. */
  readonly marks: readonly WayFault[];
};

export type Plan = {
  /** By `dueAt`. */
  readonly deliveries: readonly Delivery[];
  readonly dropped: readonly Webhook[];
};

/** The platform's own haste: from the change to the request. */
const LATENCY_MS = { min: 30, max: 300 };
const REORDER_WITHIN_MS = 3_000;
const DELAY_MS = { min: 3_000, max: 8_000 };
/** How far apart the copies of one webhook arrive. */
const COPIES_WITHIN_MS = 1_500;
/** A create may come late when its record is updated within so much, */
const UPDATE_SOON_MS = 4_000;
/** and then it comes this soon after that update. */
const CREATE_AFTER_MS = { min: 50, max: 500 };
/** Four identical `update`s for one change have been seen. */
const COPIES = 4;
export const MAX_LATENESS_MS =
  LATENCY_MS.max + REORDER_WITHIN_MS + DELAY_MS.max + COPIES_WITHIN_MS + UPDATE_SOON_MS + CREATE_AFTER_MS.max;

const CHANCES = { duplicate: 0.15, permute: 0.3, reorder: 0.25, delay: 0.04, create_late: 0.5, drop: 0.03 };

export type WayOptions = { readonly dropChance?: number | undefined };

/** How `webhooks` (in the order of their changes) are delivered under `faults`. */
export function planDeliveries(
  webhooks: readonly Webhook[],
  random: Random,
  faults: Faults,
  options: WayOptions = {},
): Plan {
  const chances = { ...CHANCES, drop: options.dropChance ?? CHANCES.drop };
  const strikes = (fault: WayFault) => faults.has(fault) && random.chance(chances[fault]);
  const dropped = webhooks.filter(() => strikes('drop'));
  const lost = new Set(dropped);
  const onTheirWay = webhooks.filter(one => !lost.has(one)).map(one => sent(one, random, strikes));
  const deliveries = onTheirWay
    .map(delivery => afterItsUpdate(delivery, onTheirWay, random, strikes))
    .flatMap(delivery => withCopies(delivery, random, strikes))
    .sort((left, right) => left.dueAt - right.dueAt);
  return { deliveries, dropped };
}

type Strikes = (fault: WayFault) => boolean;

function sent(webhook: Webhook, random: Random, strikes: Strikes): Delivery {
  const { at, body } = webhook;
  const marks: WayFault[] = [];
  let dueAt = at + random.integer(LATENCY_MS.min, LATENCY_MS.max);
  if (strikes('reorder')) {
    marks.push('reorder');
    dueAt += random.integer(1, REORDER_WITHIN_MS);
  }
  if (strikes('delay')) {
    marks.push('delay');
    dueAt += random.integer(DELAY_MS.min, DELAY_MS.max);
  }
  return { webhook, body, dueAt, marks };
}

/** A create whose record changes again within seconds sometimes arrives after that update. */
function afterItsUpdate(
  delivery: Delivery,
  all: readonly Delivery[],
  random: Random,
  strikes: Strikes,
): Delivery {
  const { carried, status, at } = delivery.webhook;
  if (carried === null || status !== 'create') return delivery;
  const next = all.find(
    ({ webhook }) =>
      webhook.carried?.recordId === carried.recordId && webhook.at > at && webhook.at <= at + UPDATE_SOON_MS,
  );
  if (next === undefined || !strikes('create_late')) return delivery;
  const dueAt = Math.max(
    delivery.dueAt,
    next.dueAt + random.integer(CREATE_AFTER_MS.min, CREATE_AFTER_MS.max),
  );
  return { ...delivery, dueAt, marks: [...delivery.marks, 'create_late'] };
}

function withCopies(delivery: Delivery, random: Random, strikes: Strikes): Delivery[] {
  const copy = (mark: WayFault, body: string): Delivery => ({
    ...delivery,
    body,
    dueAt: delivery.dueAt + random.integer(0, COPIES_WITHIN_MS),
    marks: [...delivery.marks, mark],
  });
  const copies = strikes('duplicate')
    ? Array.from({ length: COPIES - 1 }, () => copy('duplicate', delivery.body))
    : [];
  const permuted = permutedBody(delivery.webhook.envelope, random);
  if (permuted !== null && strikes('permute')) copies.push(copy('permute', permuted));
  return [delivery, ...copies];
}

/** The same record with its services in another order: other bytes, same version. Null when there are none to move. */
function permutedBody(envelope: JsonObject, random: Random): string | null {
  const { data } = envelope;
  if (!isObject(data) || !Array.isArray(data.services) || data.services.length < 2) return null;
  const services: readonly Json[] = data.services;
  const turn = random.integer(1, services.length - 1);
  const turned = [...services.slice(turn), ...services.slice(0, turn)];
  const body = bodyOf({ ...envelope, data: { ...data, services: turned } });
  return body === bodyOf(envelope) ? null : body;
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
