/**
 * The salon's own account of what was true, and of what its listener could have known: for every record that was
 * told of, its states in order, each with the times at which webhooks that carry it were sent and answered.
 * `verify.ts` compares it with what the service believes and said.
 */
import { z } from 'zod';
import type { EpochMs, Wall } from '../domain/time.ts';
import type { RecordChange } from './journal.ts';
import type { SalonRecord } from './salon.ts';
import type { Carried, Webhook } from './webhook.ts';

/** What a client cares about, and whose client it is. */
export type TrueFacts = {
  readonly status: 'booked' | 'cancelled';
  readonly startsLocal: Wall;
  readonly staffId: number;
  readonly services: readonly { readonly id: number; readonly amount: number }[];
  readonly clientId: number | null;
};

export type TrueState = {
  /** `last_change_date`; increases from state to state. */
  readonly version: EpochMs;
  /** When the salon made it so. */
  readonly at: EpochMs;
  readonly facts: TrueFacts;
  readonly startsAt: EpochMs;
  readonly state: 'waiting' | 'confirmed' | 'arrived' | 'no_show' | 'cancelled';
  readonly deleted: boolean;
  readonly attendance: -1 | 0 | 1 | 2;
  readonly paid: boolean;
  /** What its webhook says; `nothing`: it was so before the simulation began, and no webhook told it. */
  readonly carries: Carried['what'] | 'nothing';
  /** Its webhook was lost on the way. */
  readonly dropped: boolean;
  /** Null until a webhook that carries it has left, and has been answered with 2xx. */
  readonly firstSentAt: EpochMs | null;
  readonly firstAnsweredAt: EpochMs | null;
  readonly lastAnsweredAt: EpochMs | null;
};

export type LedgerRecord = {
  readonly recordId: number;
  /** Was in the journal before: whoever hears of it first by an update takes it as known. */
  readonly known: boolean;
  readonly states: readonly TrueState[];
};

/** A client who wants no messages, and when a webhook that says so was first answered. */
export type Refusal = { readonly clientId: number; readonly answeredAt: EpochMs };

export type Ledger = {
  readonly companyId: number;
  readonly zone: string;
  readonly seed: number;
  readonly startedAt: EpochMs;
  readonly endedAt: EpochMs;
  readonly records: readonly LedgerRecord[];
  readonly refusals: readonly Refusal[];
  readonly counts: LedgerCounts;
};

export type LedgerCounts = {
  readonly actions: number;
  /** Webhooks made, and requests that carried them (copies included). */
  readonly webhooks: number;
  readonly dropped: number;
  readonly requests: number;
  /** Requests by their answer: a status, `timeout` or `network`. */
  readonly answers: { readonly [answer: string]: number };
};

/** Writes the ledger while the salon runs. */
export type Book = {
  /** The salon made `change` at `at`, and tells it by a webhook that carries `carried`. */
  changed(change: RecordChange, carried: Carried, at: EpochMs): void;
  /** A webhook left at `sentAt`; `answeredAt` is null when the listener did not take it. */
  sent(webhook: Pick<Webhook, 'carried' | 'refuser'>, sentAt: EpochMs, answeredAt: EpochMs | null): void;
  /** A webhook will never be sent. */
  lost(webhook: Pick<Webhook, 'carried'>): void;
  records(): readonly LedgerRecord[];
  refusals(): readonly Refusal[];
};

export function openBook(): Book {
  const records = new Map<number, LedgerRecord>();
  const refusals = new Map<number, EpochMs>();

  /** Notes something of the state that a webhook carries. */
  function note({ recordId, version }: Carried, noted: (state: TrueState) => TrueState): void {
    const record = records.get(recordId);
    if (record === undefined) throw new Error(`record ${recordId} was sent before it changed`);
    const states = record.states.map(state =>
      state.version === version && state.carries !== 'nothing' ? noted(state) : state,
    );
    records.set(recordId, { ...record, states });
  }

  return {
    changed({ before, after }, { what }, at) {
      const known = records.get(after.id) ?? firstPage(before, after);
      const states = [...known.states, stateOf(after, at, what)];
      records.set(after.id, { ...known, states });
    },
    sent({ carried, refuser }, sentAt, answeredAt) {
      if (carried !== null) note(carried, state => heard(state, sentAt, answeredAt));
      if (refuser === null || answeredAt === null) return;
      refusals.set(refuser, Math.min(answeredAt, refusals.get(refuser) ?? answeredAt));
    },
    lost({ carried }) {
      if (carried !== null) note(carried, state => ({ ...state, dropped: true }));
    },
    records: () => [...records.values()],
    refusals: () => [...refusals].map(([clientId, answeredAt]) => ({ clientId, answeredAt })),
  };
}

/**
 * The records whose newest state no webhook told, with that state: what a listener can learn by asking only. A loss
 * that a later webhook of the same record made good is not among them.
 */
export function unheardRecords({
  records,
}: Pick<Ledger, 'records'>): readonly { readonly recordId: number; readonly state: TrueState }[] {
  return records.flatMap(({ recordId, states }) => {
    const state = states.at(-1);
    const isUnheard = state?.carries !== 'nothing' && state?.firstAnsweredAt === null;
    return state !== undefined && isUnheard ? [{ recordId, state }] : [];
  });
}

function firstPage(before: SalonRecord | null, after: SalonRecord): LedgerRecord {
  const states = before === null ? [] : [stateOf(before, before.version, 'nothing')];
  return { recordId: after.id, known: before !== null, states };
}

function heard(state: TrueState, sentAt: EpochMs, answeredAt: EpochMs | null): TrueState {
  return {
    ...state,
    firstSentAt: least(state.firstSentAt, sentAt),
    firstAnsweredAt: least(state.firstAnsweredAt, answeredAt),
    lastAnsweredAt:
      answeredAt === null ? state.lastAnsweredAt : Math.max(state.lastAnsweredAt ?? 0, answeredAt),
  };
}

function least(left: EpochMs | null, right: EpochMs | null): EpochMs | null {
  if (left === null || right === null) return left ?? right;
  return Math.min(left, right);
}

function stateOf(record: SalonRecord, at: EpochMs, carries: TrueState['carries']): TrueState {
  const { version, startsLocal, startsAt, staffId, clientId, deleted, attendance, paid } = record;
  const state = stateName(record);
  const services = record.services.map(({ offered, amount }) => ({ id: offered.id, amount }));
  const status = state === 'cancelled' ? 'cancelled' : 'booked';
  const unheard = { dropped: false, firstSentAt: null, firstAnsweredAt: null, lastAnsweredAt: null };
  const facts = { status, startsLocal, staffId, services, clientId } as const;
  return { version, at, facts, startsAt, state, deleted, attendance, paid, carries, ...unheard };
}

/** Deleted, or -1 said before the visit began: cancelled. -1 said afterwards: a no-show. */
function stateName(record: SalonRecord): TrueState['state'] {
  if (record.deleted) return 'cancelled';
  switch (record.attendance) {
    case -1:
      return record.attendanceSince < record.startsAt ? 'cancelled' : 'no_show';
    case 0:
      return 'waiting';
    case 1:
      return 'arrived';
    case 2:
      return 'confirmed';
  }
}

const when = z.number();
const heardAt = when.nullable();
const trueState = z.object({
  version: when,
  at: when,
  facts: z.object({
    status: z.enum(['booked', 'cancelled']),
    startsLocal: z.string(),
    staffId: z.number(),
    services: z.array(z.object({ id: z.number(), amount: z.number() })),
    clientId: z.number().nullable(),
  }),
  startsAt: when,
  state: z.enum(['waiting', 'confirmed', 'arrived', 'no_show', 'cancelled']),
  deleted: z.boolean(),
  attendance: z.literal([-1, 0, 1, 2]),
  paid: z.boolean(),
  carries: z.enum(['everything', 'all_but_client', 'deletion', 'nothing']),
  dropped: z.boolean(),
  firstSentAt: heardAt,
  firstAnsweredAt: heardAt,
  lastAnsweredAt: heardAt,
});
export const ledgerSchema = z.object({
  companyId: z.number(),
  zone: z.string(),
  seed: z.number(),
  startedAt: when,
  endedAt: when,
  records: z.array(z.object({ recordId: z.number(), known: z.boolean(), states: z.array(trueState) })),
  refusals: z.array(z.object({ clientId: z.number(), answeredAt: when })),
  counts: z.object({
    actions: z.number(),
    webhooks: z.number(),
    dropped: z.number(),
    requests: z.number(),
    answers: z.record(z.string(), z.number()),
  }),
});

/** Reads a ledger that was written as JSON; throws on anything else. */
export function parseLedger(text: string): Ledger {
  return ledgerSchema.parse(JSON.parse(text));
}
