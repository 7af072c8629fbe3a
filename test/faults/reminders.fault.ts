/**
 * Histories of a month through PostgreSQL and the real loops, two of each, on one clock that jumps from one thing that
 * happens to the next: what is said, and when, is what the planner alone says of the same history.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { PolicyDocument } from '../../src/domain/policy.ts';
import { setPolicy } from '../../src/salon/policies.ts';
import {
  documentOf,
  history,
  hourOf,
  LENGTH,
  play,
  type Sent,
  START,
  type Step,
  ZONE,
} from '../support/reminder-history.ts';
import { until } from '../support/until.ts';
import { createPipeline, type Pipeline, processTogether, recordBody } from '../work/pipeline.ts';

const HISTORIES = 40;
const SEED = 20_260_310;
/** So that reminders alone are said. */
const SILENT: PolicyDocument = {
  settle: { any: '0ms' },
  tell: Object.fromEntries(
    ['booked', 'rescheduled', 'staff_changed', 'services_changed', 'changed', 'cancelled', 'restored'].map(
      kind => [kind, { any: [] }],
    ),
  ),
};

/** Of the days of a salon, one after the other; null: however many leave. */
const LIMITS = [null, 1, 2] as const;

type Played = {
  readonly companyId: number;
  readonly perDay: number | null;
  readonly steps: readonly Step[];
};

test(`${HISTORIES} histories of a month come to the same through the database as by the plan alone`, async () => {
  const played = fc.sample(history, { numRuns: HISTORIES, seed: SEED }).map((steps, index): Played => {
    const perDay = LIMITS[index % LIMITS.length] ?? null;
    return { companyId: index + 1, perDay, steps };
  });
  const pipeline = await createPipeline();
  try {
    for (const { companyId, perDay } of played) {
      await pipeline.addCompany({ companyId, zone: ZONE, policy: { ...SILENT, limits: { perDay } } });
    }
    await playAll(pipeline, played);
    let total = 0;
    for (const { companyId, perDay, steps } of played) {
      const said = await reminders(pipeline, companyId);
      const left = (one: Sent) => said.includes(lineOf(one));
      const expected = play(steps, () => {}, { perDay, left });
      assert.deepEqual(said, expected.map(lineOf).sort(), `company ${companyId}`);
      total += said.length;
    }
    assert.ok(total > 2 * HISTORIES, `only ${total} reminders were sent`);
  } finally {
    await pipeline.close();
  }
});

async function playAll(pipeline: Pipeline, played: readonly Played[]): Promise<void> {
  const other = pipeline.another();
  const moments = [...new Set(played.flatMap(({ steps }) => steps.map(step => step.at)))].sort(
    (a, b) => a - b,
  );
  const salons = new Map(
    played.map(({ companyId }) => [companyId, new Map<number, Record<string, unknown>>()]),
  );
  pipeline.now = START;
  while (pipeline.now <= START + LENGTH) {
    for (const one of played) {
      const now = one.steps.filter(step => step.at === pipeline.now);
      for (const [index, step] of now.entries()) {
        await act(pipeline, one, step, index, salons.get(one.companyId) ?? new Map());
      }
    }
    await processTogether(pipeline, other);
    await Promise.all([pipeline.planner.drain(), other.planner.drain()]);
    // Each may have left a message to the other, which held its client or its booking.
    await until(
      async () => {
        await Promise.all([pipeline.dispatcher.drain(), other.dispatcher.drain()]);
        return (await nextDue(pipeline)) > pipeline.now;
      },
      { what: 'nothing is due any more' },
    );
    const next = Math.min(await nextDue(pipeline), ...moments.filter(at => at > pipeline.now));
    if (next === Number.POSITIVE_INFINITY) break;
    pipeline.now = next;
  }
  await other.processor.stop();
  await other.dispatcher.stop();
}

async function act(
  pipeline: Pipeline,
  { companyId, perDay }: Played,
  { at, action }: Step,
  index: number,
  bookings: Map<number, Record<string, unknown>>,
): Promise<void> {
  const send = (body: string) => pipeline.receive(companyId, [{ body, receivedAt: at }]);
  /** Of two changes at one moment the later one is a second newer, as by the platform's own clock. */
  const version = new Date(at + index * 1_000).toISOString();
  switch (action.kind) {
    case 'put':
    case 'cancel':
    case 'restore': {
      const known = bookings.get(action.record);
      if (action.kind !== 'put' && known === undefined) return;
      const told =
        action.kind === 'put'
          ? { date: hourOf(at, action), visit_id: action.visitId }
          : { deleted: action.kind === 'cancel' };
      const data = { create_date: new Date(at).toISOString(), ...known, ...told };
      bookings.set(action.record, data);
      const status = known === undefined ? 'create' : 'update';
      const body = { ...data, last_change_date: version };
      return send(recordBody({ id: action.record, companyId, status, at, data: body }));
    }
    case 'policy': {
      const document = { ...SILENT, limits: { perDay }, ...documentOf(action) };
      await setPolicy({ pool: pipeline.pool, actor: 'command' }, companyId, document);
      return;
    }
    case 'zone':
      return send(
        JSON.stringify({
          ...{ company_id: companyId, resource: 'company', resource_id: companyId, status: 'update' },
          data: { id: companyId, timezone_name: action.zone, last_change_date: version },
        }),
      );
    case 'refuse':
    case 'accept': {
      const data = { id: 9, name: 'Анна', phone: '79160000001', sms_not: action.kind === 'refuse' ? 1 : 0 };
      return send(
        JSON.stringify({
          ...{ company_id: companyId, resource: 'client', resource_id: 9, status: 'update' },
          data: { ...data, last_change_date: version },
        }),
      );
    }
  }
}

async function nextDue(pipeline: Pipeline): Promise<number> {
  const { rows } = await pipeline.pool.query<{ at: number | null }>(
    "SELECT min(due_at) AS at FROM messages WHERE state = 'due'",
  );
  return rows[0]?.at ?? Number.POSITIVE_INFINITY;
}

async function reminders(pipeline: Pipeline, companyId: number): Promise<string[]> {
  const { rows } = await pipeline.pool.query<Sent>(
    `SELECT rule, visit AS covers, sent_at AS at FROM messages
     WHERE company_id = $1 AND rule IS NOT NULL AND state = 'sent'`,
    [companyId],
  );
  return rows.map(lineOf).sort();
}

function lineOf({ rule, covers, at }: Sent): string {
  const records = covers.map(({ recordId, startsLocal }) => `${recordId} at ${startsLocal}`).sort();
  return `${new Date(at).toISOString()} ${rule} of ${records.join(', ')}`;
}
