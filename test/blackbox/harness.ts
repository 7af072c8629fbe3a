/** What one file of these tests shares: a database, a bot that listens, one service between them. */
import assert from 'node:assert/strict';
import type pg from 'pg';
import { z } from 'zod';
import { testDatabase } from '../support/database.ts';
import {
  type Answer,
  type Company,
  type Headers,
  json,
  type Ports,
  post,
  type Service,
  startService,
} from '../support/service.ts';
import { type Delivery, type Sink, startSink } from '../support/sink.ts';
import { until } from '../support/until.ts';
import { record } from './salon.ts';

/** Two files of tests and other work may share the machine. */
const PATIENCE_MS = 120_000;

/**
 * The longest settle time there may be, so that no stall of the machine ends it between two requests (one of 3 s
 * did, between two that belong together). `settled` ends it, once all that came in is processed.
 */
export const SETTLE_MS = 600_000;

export type Told = z.infer<typeof told> & { delivery: Delivery };

export type House = {
  databaseUrl: string;
  pool: pg.Pool;
  service: Service;
  sink: Sink;
  /** A company whose messages come to the sink at once, under a path of its own. */
  company(fields?: Readonly<Record<string, unknown>>): Promise<Company>;
  /** Posts, patiently, and insists on 200. */
  accept(company: Company, body: unknown): Promise<Accepted>;
  /** Waits until all that came in of this company is processed, ends its settle time, and waits until all is said. */
  settled(company: Company): Promise<void>;
  /** What the sink heard of this company, one a `webhook-id`, in order of arrival. */
  heard(company: Company): Told[];
  /** `settled`, then `heard`. */
  heardInTheEnd(company: Company): Promise<Told[]>;
  close(): Promise<void>;
};

export type Accepted = { id: string; duplicate: boolean };

const accepted = z.object({ id: z.string(), duplicate: z.boolean() });
const told = z.object({
  id: z.string(),
  type: z.string(),
  recordId: z.number(),
  recipient: z.object({ clientId: z.number(), name: z.string(), phone: z.string() }),
  text: z.string(),
  subject: z.string(),
  before: z.unknown(),
  after: z.unknown(),
});
const problem = z.object({
  type: z.string(),
  title: z.string().min(1),
  status: z.number(),
  detail: z.string().min(1),
});

export async function openHouse(env: Readonly<Record<string, string>> = {}, ports?: Ports): Promise<House> {
  const database = await testDatabase();
  const sink = await startSink();
  const service = await startService(database.url, { env, ...(ports === undefined ? {} : { ports }) }).catch(
    async error => {
      await Promise.all([sink.close(), database.close()]);
      throw error;
    },
  );
  let last = 1000;
  const settled = async ({ companyId }: Company) => {
    const done = async () => {
      const { events, messages } = await unfinished(database.pool, companyId);
      if (events === 0 && messages > 0) await endSettling(database.pool, companyId);
      return events + messages === 0;
    };
    await until(done, {
      what: `nothing of company ${companyId} is left to do`,
      timeoutMs: PATIENCE_MS,
    });
  };
  const heard = ({ companyId }: Company) =>
    [...sink.byId(`/${companyId}`).values()].flatMap(([delivery]) => {
      if (!delivery) return [];
      return [{ ...told.parse(JSON.parse(delivery.bytes.toString())), delivery }];
    });
  return {
    databaseUrl: database.url,
    pool: database.pool,
    service,
    sink,
    company: async fields => {
      last += 1;
      const company = await service.addCompany({
        companyId: last,
        settleMs: 0,
        route: ['webhook'],
        webhookUrl: `${sink.url}/${last}`,
        ...fields,
      });
      await keyIsKnown(company.url);
      return company;
    },
    accept: async (company, body) => {
      const answer = await postPatiently(company.url, body);
      assert.equal(answer.status, 200, answer.body.toString());
      return accepted.parse(json(answer));
    },
    settled,
    heard,
    heardInTheEnd: async company => {
      await settled(company);
      return heard(company);
    },
    close: async () => {
      await service.stop();
      await sink.close();
      await database.close();
    },
  };
}

/** What the API and `--json` answer of one thing, and of many. */
export const identified = z.object({ id: z.string() });
export const page = z.object({ items: z.array(z.looseObject({})), next: z.string().nullable() });

/** Of no event and no message. */
export const NO_ID = '018f0000-0000-7000-8000-000000000000';

/** A house to which one event has come, and of which one message has gone out. */
export async function openBusyHouse() {
  const house = await openHouse();
  const company = await house.company();
  const { id: eventId } = await house.accept(company, record(company.companyId, 1, 'create'));
  const [message] = await house.heardInTheEnd(company);
  return { house, company, eventId, messageId: String(message?.id) };
}

/** Sends again what is answered 503, as that answer asks: a machine with much else to do may be slow to store. */
export async function postPatiently(url: string, body: unknown, headers?: Headers): Promise<Answer> {
  return until(
    async () => {
      const answer = await post(url, body, headers);
      return answer.status === 503 ? undefined : answer;
    },
    { what: 'the event is taken or refused', timeoutMs: PATIENCE_MS },
  );
}

/** Asks rarely: each question with a key that is not known yet counts as a guess. */
export async function keyIsKnown(url: string): Promise<void> {
  let next = 0;
  await until(
    async () => {
      if (performance.now() < next) return false;
      next = performance.now() + 1100;
      return (await post(url, '', { 'content-type': 'text/plain' })).status === 415;
    },
    { what: 'the company’s key is known to the receiver', timeoutMs: PATIENCE_MS },
  );
}

async function unfinished(pool: pg.Pool, companyId: number): Promise<{ events: number; messages: number }> {
  const { rows } = await pool.query<{ events: number; messages: number }>(
    `SELECT (SELECT count(*) FROM webhook_events WHERE company_id = $1 AND state IN ('pending', 'waiting'))::int AS events,
            (SELECT count(*) FROM messages WHERE company_id = $1 AND state IN ('due', 'sending'))::int AS messages`,
    [companyId],
  );
  const [row] = rows;
  assert.ok(row);
  return row;
}

async function endSettling(pool: pg.Pool, companyId: number): Promise<void> {
  await pool.query(
    `UPDATE messages SET due_at = now()
      WHERE company_id = $1 AND purpose = 'notice' AND state = 'due' AND attempts = 0
        AND due_at > now() + interval '1 minute'`,
    [companyId],
  );
}

/** Insists that the answer is a problem of this status, in the form of RFC 9457. */
export function assertProblem(answer: Answer, status: number): void {
  assert.equal(answer.status, status, answer.body.toString().slice(0, 500));
  assert.match(answer.headers['content-type'] ?? '', /^application\/problem\+json\b/);
  assert.equal(problem.parse(json(answer)).status, status);
}
