/** What the runs under kill -9 share: a sender that does not give up, and the end of a dead process's leases. */
import assert from 'node:assert/strict';
import type pg from 'pg';
import { z } from 'zod';
import { json, post } from './service.ts';
import { until } from './until.ts';

const PATIENCE_MS = 60_000;

/** Whether the salon can reach the service, and whether its day is over. */
export type Shift = { up: boolean; over: boolean };

const accepted = z.object({ id: z.string(), duplicate: z.boolean() });

/**
 * Posts until it is acknowledged, and answers the event's id; nothing when it never was. A sender that got no answer
 * either tries the same body again or, if it may, goes on.
 */
export async function say(
  url: string,
  body: unknown,
  mayGoOn: boolean,
  shift: Shift,
): Promise<string | undefined> {
  for (;;) {
    await until(() => shift.up, { what: 'the service is up', timeoutMs: PATIENCE_MS });
    const answer = await post(url, body).catch(() => undefined);
    if (answer?.status === 200) return accepted.parse(json(answer)).id;
    if (answer) assert.ok([429, 503].includes(answer.status), `${answer.status} ${answer.body.toString()}`);
    if (mayGoOn || shift.over) return undefined;
  }
}

/** As if the time of the dead process's leases were over. Answers the purposes of the messages it had in flight. */
export async function letLeasesPass(pool: pg.Pool): Promise<string[]> {
  await pool.query('UPDATE shards SET leased_until = now()');
  await pool.query('UPDATE workers SET alive_until = now()');
  const { rows } = await pool.query<{ purpose: string }>(
    `UPDATE messages SET leased_until = now() WHERE state = 'sending' AND leased_by IS NOT NULL RETURNING purpose`,
  );
  return rows.map(({ purpose }) => purpose);
}

/** Events not yet processed and messages not yet ended. */
export async function leftToDo(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query<{ left: string }>(
    `SELECT (SELECT count(*) FROM webhook_events WHERE state IN ('pending', 'waiting'))
          + (SELECT count(*) FROM messages WHERE state IN ('due', 'sending')) AS left`,
  );
  return Number(rows[0]?.left);
}
