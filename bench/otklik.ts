/**
 * Otklik as the benchmarks run it: `serve` in a process of its own, one company whose messages go to a webhook.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import { answersOk, freePort, run, type Server, startServer } from './children.ts';

const cli = join(import.meta.dirname, '..', 'src', 'cli.ts');

/** Above any rate a benchmark reaches: the limiter runs, and refuses nothing. */
const noLimit = '10000000';

export const companyId = 100200;

type Otklik = {
  /** Starts one process. `roles` as in ROLES; undefined: all of them. */
  serve(roles?: string): Promise<Server>;
  webhookUrl: string;
};

type OtklikOptions = {
  databaseUrl: string;
  zone: string;
  /** Where the company's messages go. */
  sinkUrl: string;
};

/** Migrates an empty database and adds the company. */
export async function setUpOtklik(options: OtklikOptions): Promise<Otklik> {
  const publicPort = await freePort();
  const adminPort = await freePort();
  const env = {
    NODE_ENV: 'production',
    DATABASE_URL: options.databaseUrl,
    PUBLIC_PORT: String(publicPort),
    ADMIN_PORT: String(adminPort),
    HOST: '127.0.0.1',
    OTKLIK_KEY: randomBytes(32).toString('base64'),
    ADMIN_TOKEN: randomBytes(16).toString('hex'),
    LOG_LEVEL: 'warn',
    WEBHOOK_ALLOW_PRIVATE: 'true',
    RATE_PER_COMPANY: noLimit,
    RATE_PER_ADDRESS: noLimit,
  };
  const command = (name: string, ...args: string[]) => ({
    name: `otklik ${name}`,
    file: process.execPath,
    args: [cli, ...name.split(' '), ...args],
    env,
  });

  await run(command('migrate'));
  const added = await run(
    command(
      'company add',
      String(companyId),
      '--title',
      'Bench',
      '--zone',
      options.zone,
      '--route',
      'webhook',
      '--webhook-url',
      options.sinkUrl,
      '--settle',
      '0',
      '--json',
    ),
  );
  const { key } = z.object({ key: z.string() }).parse(JSON.parse(added));

  return {
    webhookUrl: `http://127.0.0.1:${publicPort}/webhooks/yclients/${key}`,
    serve: roles => {
      const serve = command('serve');
      if (roles !== undefined) Object.assign(serve, { env: { ...env, ROLES: roles } });
      return startServer(serve, () => answersOk(`http://127.0.0.1:${adminPort}/readyz`));
    },
  };
}
