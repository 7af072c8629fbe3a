/** Plays a salon's month through PostgreSQL and the real loops, on a clock that jumps, and counts what was sent. */
import type { Pipeline } from '../test/work/pipeline.ts';
import { type Counts, type Month, POLICY, ZONE } from './month-model.ts';

const COMPANY_ID = 1;

/** From one moment at which something happens or is due to the next; all of them are half hours. */
export async function playMonth(
  pipeline: Pipeline,
  { events }: Month,
  onTenth: (day: string, sent: number) => void = () => {},
): Promise<void> {
  await pipeline.addCompany({ companyId: COMPANY_ID, zone: ZONE, policy: POLICY });
  const groups = [...Map.groupBy(events, event => event.at)].sort(([left], [right]) => left - right);
  let day = '';
  for (let next = groups.shift(); ; ) {
    const due = await nextDue(pipeline);
    const now = Math.min(due, next?.[0] ?? Number.POSITIVE_INFINITY);
    if (now === Number.POSITIVE_INFINITY) return;
    pipeline.now = now;
    if (next?.[0] === now) {
      await pipeline.receive(
        COMPANY_ID,
        next[1].map(({ body }) => ({ body, receivedAt: now })),
      );
      next = groups.shift();
    }
    await pipeline.settle();
    const today = new Date(now).toISOString().slice(0, 10);
    if (today !== day && today.endsWith('1')) onTenth(today, pipeline.sent.length);
    day = today;
  }
}

async function nextDue({ pool }: Pipeline): Promise<number> {
  const { rows } = await pool.query<{ at: number | null }>(
    "SELECT min(due_at) AS at FROM messages WHERE state = 'due'",
  );
  return rows[0]?.at ?? Number.POSITIVE_INFINITY;
}

/** What was sent of each kind. */
export async function countSent({ pool }: Pipeline): Promise<Counts> {
  const { rows } = await pool.query<{ what: string; count: string }>(
    `SELECT coalesce(kind, rule) AS what, count(*) FROM messages WHERE state = 'sent' GROUP BY 1`,
  );
  const sorted = rows.sort((left, right) => (left.what < right.what ? -1 : 1));
  return Object.fromEntries(sorted.map(({ what, count }) => [what, Number(count)]));
}
