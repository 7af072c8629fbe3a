/**
 * Histories of a month through PostgreSQL and the real loops, two of each, on one clock that jumps from one thing that
 * happens to the next: what is said, and when, is what the planner alone says of the same history.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { PolicyDocument } from '../../src/domain/policy.ts';
import { setPolicy } from '../../src/salon/policies.ts';
import { countOpenEvents } from '../../src/store/inbox.ts';
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
import { createPipeline, type Pipeline, recordBody } from '../work/pipeline.ts';

const HISTORIES = 40;
const SEED = 20_260_310;
/** So that reminders alone are said, and however many. */
const SILENT: PolicyDocument = {
  settle: { any: '0ms' },
  limits: { perDay: null },
  tell: Object.fromEntries(
    ['booked', 'rescheduled', 'staff_changed', 'services_changed', 'changed', 'cancelled', 'restored'].map(
      kind => [kind, { any: [] }],
    ),
  ),
};

type Played = { readonly companyId: number; readonly steps: readonly Step[]; readonly sent: readonly Sent[] };

test(`${HISTORIES} histories of a month come to the same through the database as by the plan alone`, async () => {
  const played = fc.sample(history, { numRuns: HISTORIES, seed: SEED }).map((steps, index): Played => {
    return { companyId: index + 1, steps, sent: play(steps, () => {}) };
  });
  const pipeline = await createPipeline();
  try {
    for (const { companyId } of played) await pipeline.addCompany({ companyId, zone: ZONE, policy: SILENT });
    await playAll(pipeline, played);
    let total = 0;
    for (const { companyId, sent } of played) {
      assert.deepEqual(await reminders(pipeline, companyId), sent.map(lineOf).sort(), `company ${companyId}`);
      total += sent.length;
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
    for (const { companyId, steps } of played) {
      const now = steps.filter(step => step.at === pipeline.now);
      for (const [index, step] of now.entries()) {
        await act(pipeline, companyId, step, index, salons.get(companyId) ?? new Map());
      }
    }
    // While shards pass from one process to the other, neither may hold what waits in them.
    await until(
      async () => {
        await Promise.all([pipeline.processor.drain(), other.processor.drain()]);
        return (await countOpenEvents(pipeline.pool)) === 0;
      },
      { what: 'every event is processed' },
    );
    await Promise.all([pipeline.planner.drain(), other.planner.drain()]);
    await Promise.all([pipeline.dispatcher.drain(), other.dispatcher.drain()]);
    const next = Math.min(await nextDue(pipeline), ...moments.filter(at => at > pipeline.now));
    if (next === Number.POSITIVE_INFINITY) break;
    pipeline.now = next;
  }
  await other.processor.stop();
  await other.dispatcher.stop();
}

async function act(
  pipeline: Pipeline,
  companyId: number,
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
      const document = { ...SILENT, ...documentOf(action) };
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
