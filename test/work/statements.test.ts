/**
 * The loops' statements keep the plan that they get on a new database, made while every table is empty: each must find
 * its rows by the index that was made for it, and read no more than those.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addMember } from '../../src/salon/team.ts';
import { findLastAnswerable, takeAsked } from '../../src/store/actions.ts';
import type { Pool } from '../../src/store/pool.ts';
import { testPool } from '../support/database.ts';
import { createPipeline, recordBody } from './pipeline.ts';

const DAY_MS = 86_400_000;
const VISIT = Date.parse('2031-05-20T11:30:00Z');
/** They take from a queue whatever is in it: by the index of that queue, from its beginning. */
const OF_QUEUES = ['fetch_pending', 'wake_events', 'find_due', 'take_plan_requests'];
const GROWING = [
  'webhook_events',
  'bookings',
  'booking_changes',
  'people',
  'messages',
  'actions',
  'attempts',
  'receipts',
  'reached',
  'consents',
];

type Node = {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  'Index Cond'?: string;
  Plans?: Node[];
};

test('on a new database every statement of the loops finds its rows by its own index', async () => {
  const pipeline = await createPipeline();
  const statements = new Map<string, string>();
  const pool = testPool(pipeline.url, { max: 4, byKey: true });
  try {
    const heard = noted(pool, statements);
    const { processor, planner, dispatcher } = pipeline.another({ pool: heard });
    // An administrator for whom news is gathered takes the longest way.
    const team = { administrator: { gather: '1m' } };
    await pipeline.addCompany({ companyId: 1, policy: { settle: { any: '0ms' }, team } });
    pipeline.now = VISIT - 6 * DAY_MS;
    const who = { companyId: 1, role: 'administrator', staffId: null, name: '' } as const;
    await addMember({ pool, actor: 'command', now: pipeline.now }, who, { channel: 'console', address: '' });
    for (const [step, data] of [{}, { date: '2031-05-21 10:00:00' }, { deleted: true }].entries()) {
      pipeline.now = VISIT - 5 * DAY_MS + step * 5_000;
      const body = recordBody({ status: step === 0 ? 'create' : 'update', at: pipeline.now, data });
      await pipeline.receive(1, [{ body, receivedAt: pipeline.now }]);
      await processor.drain();
      await planner.drain();
      await dispatcher.drain();
    }
    pipeline.now += 60_000;
    await dispatcher.drain();
    const key = { channel: 'sms', chat: '+79160000001' };
    const [saidAt, clients] = [pipeline.now, [{ companyId: 1, clientId: 9 }]];
    await findLastAnswerable(heard, { ...key, clients, saidAt, now: saidAt });
    await takeAsked(heard, { ...key, saidAt, since: 0 });
    assert.ok(statements.has('find_parts'), 'nothing was gathered');
    assert.ok(statements.has('find_cancelling'), 'nothing was called off');
    assert.ok(statements.size > 20, `${statements.size} statements were heard`);
    const columns = await columnsOfIndexes(pool);
    const wide: string[] = [];
    const used = new Set<string | undefined>();
    for (const [name, text] of statements) {
      for (const node of nodesOf(await planOf(pool, text))) {
        used.add(node['Index Name']);
        const fault = OF_QUEUES.includes(name) ? undefined : faultOf(node, columns);
        if (fault !== undefined) wide.push(`${name}: ${fault}`);
      }
    }
    assert.deepEqual(wide, []);
    // By the company and a channel alone there would be too many words.
    assert.ok(used.has('consents_of_client'), 'what a client said is not found by the client');
  } finally {
    await pool.end();
    await pipeline.close();
  }
});

/** Found by the key, or by the first two columns of an index: the first alone is often the whole company. */
function faultOf(node: Node, columns: ReadonlyMap<string, readonly string[]>): string | undefined {
  const table = node['Relation Name'];
  if (table === undefined || !GROWING.includes(table)) return undefined;
  const { 'Node Type': type, 'Index Name': index = '', 'Index Cond': condition = '' } = node;
  if (type === 'ModifyTable') return undefined;
  if (!type.startsWith('Index')) return `${type} of ${table}`;
  const missing = (columns.get(index) ?? []).slice(0, 2).filter(name => !condition.includes(`(${name} `));
  return missing.length === 0 ? undefined : `${index} without ${missing.join(' and ')}: ${condition}`;
}

async function columnsOfIndexes(pool: Pool): Promise<Map<string, readonly string[]>> {
  const { rows } = await pool.query<{ index: string; columns: string[] }>(
    `SELECT indexrelid::regclass::text AS index,
       ARRAY(SELECT pg_get_indexdef(indexrelid, n, false) FROM generate_series(1, indnkeyatts) n) AS columns
     FROM pg_index`,
  );
  return new Map(rows.map(({ index, columns }) => [index, columns]));
}

async function planOf(pool: Pool, text: string): Promise<Node> {
  const { rows } = await pool.query(`EXPLAIN (GENERIC_PLAN, FORMAT JSON) ${text}`);
  return rows[0]['QUERY PLAN'][0].Plan;
}

function nodesOf(node: Node): Node[] {
  return [node, ...(node.Plans ?? []).flatMap(nodesOf)];
}

/** The pool, telling of every statement that has a name. */
function noted(pool: Pool, statements: Map<string, string>): Pool {
  pool.on('connect', client => {
    const query = client.query;
    client.query = (...given: unknown[]) => {
      const [statement] = given;
      if (typeof statement === 'object' && statement !== null && 'name' in statement && 'text' in statement)
        statements.set(String(statement.name), String(statement.text));
      return Reflect.apply(query, client, given);
    };
  });
  return pool;
}
