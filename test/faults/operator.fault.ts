/** Alerts as an operator meets them: a message by the outbox, `alerts`, `alerts test`, `doctor`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { isGenuine, WEBHOOK_SECRET } from '../channels/counterparts.ts';
import { testDatabase } from '../support/database.ts';
import { command, startService } from '../support/service.ts';
import { startSink } from '../support/sink.ts';
import { until } from '../support/until.ts';

const list = z.object({ items: z.array(z.looseObject({ kind: z.string(), subject: z.string() })) });
const findings = z.object({ findings: z.array(z.object({ check: z.string(), says: z.string() })) });
const posted = z.object({ type: z.string(), companyId: z.number(), subject: z.string(), text: z.string() });

test('an operator is told by the service, sees it in the commands, and can try the road', async t => {
  const [database, sink] = await Promise.all([testDatabase(), startSink()]);
  t.after(() => Promise.all([database.close(), sink.close()]));
  const env = {
    ALERT_WEBHOOK_URL: `${sink.url}/operator`,
    ALERT_WEBHOOK_SECRET: WEBHOOK_SECRET,
    ALERT_LOCALE: 'en',
  };
  await database.pool.query(
    `INSERT INTO webhook_events (id, event_id, event_type, company_id, body, resource, resource_id, status, source, state)
     VALUES (gen_random_uuid(), 'x', 'record.created', 1, '{}', 'record', 1, 'create', 'webhook', 'dead')`,
  );
  const service = await startService(database.url, { env });
  t.after(() => service.stop());
  const [first] = await until(() => (sink.deliveries.length > 0 ? sink.deliveries : undefined), {
    what: 'the operator is told',
  });
  const delivery = first ?? assert.fail();
  assert.ok(isGenuine({ headers: delivery.headers }, delivery.bytes));
  const { type, companyId, subject, text } = posted.parse(JSON.parse(delivery.bytes.toString()));
  assert.deepEqual(
    { type, companyId, subject },
    { type: 'alert', companyId: 0, subject: 'Otklik: alert: events given up' },
  );
  assert.match(text, /Events given up after all tries: 1\.\n.*docs\/operations\.md#alert-dead_letters/);

  const run = (...args: string[]) => command(database.url, args, env);
  const [listed, shown, doctor, tried] = await Promise.all([
    run('alerts', '--json'),
    run('alerts'),
    run('doctor', '--json'),
    run('alerts', 'test'),
  ]);
  assert.deepEqual(
    list.parse(JSON.parse(listed.stdout)).items.map(({ kind, subject: of }) => `${kind} ${of}`),
    ['dead_letters events'],
  );
  assert.match(shown.stdout, /^dead_letters +events/m);
  const says = findings.parse(JSON.parse(doctor.stdout)).findings.map(one => `${one.check}: ${one.says}`);
  assert.ok(
    says.some(line => /^alert: dead_letters of events since .*#alert-dead_letters$/.test(line)),
    doctor.stdout,
  );
  assert.ok(
    says.some(line => /^alerts: told by webhook/.test(line)),
    doctor.stdout,
  );
  assert.equal(tried.code, 0, tried.stderr);
  assert.match(tried.stdout, /✓ webhook: sent/);
  assert.equal(sink.deliveries.length, 2);

  sink.answerWith(() => 401);
  const refused = await run('alerts', 'test');
  assert.deepEqual([refused.code, refused.stdout], [1, '✗ webhook: rejected, HTTP 401\n']);
  const roadless = await command(database.url, ['alerts', 'test']);
  assert.equal(roadless.code, 1);
  assert.match(
    roadless.stderr,
    /nobody is told of alerts: set ALERT_TELEGRAM_CHAT, ALERT_EMAIL or ALERT_WEBHOOK_URL/,
  );
  const wrong = await command(database.url, ['alerts', 'test'], { ALERT_EMAIL: 'ops@salon.test' });
  assert.match(wrong.stderr, /SMTP_URL: must be set when ALERT_EMAIL is/);
});
