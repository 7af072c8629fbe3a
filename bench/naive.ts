/**
 * The stack people write for a webhook: Express parses the body, one INSERT stores it, BullMQ queues the work,
 * then 200. Written as well as it is usually written, not worse: a pool, prepared statements, one round trip to
 * each store, duplicates neither queued twice nor refused, and 200 only after both stores have answered.
 *
 * The table is the one such a project sketches first: a UUID key, a unique event id, an index by time.
 */
import { Queue } from 'bullmq';
import express, { json } from 'express';
import pg from 'pg';

const { DATABASE_URL, REDIS_PORT, PORT, KEY, POOL_SIZE } = process.env;

const pool = new pg.Pool({ connectionString: DATABASE_URL, max: Number(POOL_SIZE) });
const queue = new Queue('webhook-events', { connection: { host: '127.0.0.1', port: Number(REDIS_PORT) } });

await pool.query(`
  CREATE TABLE IF NOT EXISTS webhook_events (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    event_id varchar(255) NOT NULL UNIQUE,
    event_type varchar(50) NOT NULL,
    company_id integer NOT NULL,
    record_id integer,
    payload jsonb NOT NULL,
    processed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
  );
  CREATE INDEX IF NOT EXISTS webhook_events_created_at ON webhook_events (created_at);
`);

type Webhook = {
  company_id: number;
  resource: string;
  resource_id: number;
  status: string;
  data?: { last_change_date?: string };
};

function isWebhook(body: unknown): body is Webhook {
  return (
    typeof body === 'object' &&
    body !== null &&
    'company_id' in body &&
    'resource' in body &&
    'resource_id' in body &&
    'status' in body
  );
}

const app = express();
app.use(json());

app.get('/readyz', (_request, response) => {
  response.json({ ok: true });
});

app.post('/webhooks/yclients/events', async (request, response) => {
  if (request.query.key !== KEY) {
    response.status(404).json({ error: 'unknown key' });
    return;
  }
  const webhook = request.body;
  if (!isWebhook(webhook)) {
    response.status(400).json({ error: 'not a webhook' });
    return;
  }
  const eventType = `${webhook.resource}.${webhook.status}`;
  const eventId = `${webhook.company_id}:${eventType}:${webhook.resource_id}:${webhook.data?.last_change_date}`;

  const inserted = await pool.query({
    name: 'insert-event',
    text: `INSERT INTO webhook_events (event_id, event_type, company_id, record_id, payload)
           VALUES ($1, $2, $3, $4, $5) ON CONFLICT (event_id) DO NOTHING RETURNING id`,
    values: [eventId, eventType, webhook.company_id, webhook.resource_id, webhook],
  });
  const id: unknown = inserted.rows[0]?.id;
  if (id !== undefined) {
    await queue.add(
      eventType,
      { id, eventId },
      { attempts: 5, backoff: { type: 'exponential', delay: 1000 }, removeOnComplete: true },
    );
  }
  response.status(200).json({ ok: true, duplicate: id === undefined });
});

app.listen(Number(PORT), '127.0.0.1', error => {
  if (error) throw error;
});
