/** A service that cannot start, and one that cannot stop as it should. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Channel } from '../src/channels/channel.ts';
import { CONSOLE_TRAITS } from '../src/channels/console.ts';
import { readConfig } from '../src/config.ts';
import { createLog } from '../src/log.ts';
import { startService } from '../src/main.ts';
import { SERVING } from '../src/store/migrate.ts';
import { testDatabase } from './support/database.ts';
import { until } from './support/until.ts';

const config = (databaseUrl: string) =>
  readConfig({
    DATABASE_URL: databaseUrl,
    OTKLIK_KEY: '1'.repeat(64),
    PUBLIC_PORT: '0',
    ADMIN_PORT: '0',
  });

test('a start that fails leaves no connection behind that would keep the process from its end', async () => {
  const database = await testDatabase();
  try {
    const broken = { ...config(database.url), SMTP_URL: 'smtp://127.0.0.1', EMAIL_FROM: 'nobody' };
    await assert.rejects(startService(broken, { log: createLog('silent') }), /sender of e-mails/);
    const left = async () => {
      const { rowCount } = await database.pool.query(
        'SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1',
        [SERVING],
      );
      return rowCount === 0;
    };
    await until(left, { what: 'its connections are gone' });
  } finally {
    await database.close();
  }
});

test('a token of which its owner was not told opens nothing: the next start makes another', async () => {
  const database = await testDatabase();
  const told: string[] = [];
  const start = (onAdminToken: (token: string) => void) =>
    startService(config(database.url), { log: createLog('silent'), onAdminToken });
  try {
    // As one that is killed, or cannot write it.
    const cut = start(() => {
      throw new Error('the start ends here');
    });
    await assert.rejects(cut, /the start ends here/);
    const both = [start(token => told.push(token)), start(token => told.push(token))];
    const services = await Promise.all(both);
    assert.equal(told.length, 1);
    for (const { adminPort } of services) {
      const headers = { authorization: `Bearer ${told[0]}` };
      const answer = await fetch(`http://127.0.0.1:${adminPort}/api/v1/companies`, { headers });
      assert.equal(answer.status, 200);
    }
    await Promise.all(services.map(service => service.stop()));
  } finally {
    await database.close();
  }
});

test('a part that cannot be stopped keeps nothing after it open', async () => {
  const database = await testDatabase();
  try {
    const stubborn: Channel = {
      ...{ name: 'console', traits: CONSOLE_TRAITS, idempotent: true, concurrency: 1 },
      send: async () => ({ outcome: 'sent' }),
      close: () => Promise.reject(new Error('it stays open')),
    };
    const service = await startService(config(database.url), { log: createLog('silent'), console: stubborn });
    await assert.rejects(service.stop(), /it stays open/);
    await assert.rejects(fetch(`http://127.0.0.1:${service.adminPort}/livez`), 'nobody listens');
    // The server sees a moment later that they are closed.
    const left = async () => {
      const { rowCount } = await database.pool.query(
        `SELECT FROM pg_stat_activity
         WHERE datname = current_database() AND application_name LIKE 'otklik%'`,
      );
      return rowCount === 0;
    };
    await until(left, { what: 'its connections are gone' });
  } finally {
    await database.close();
  }
});
