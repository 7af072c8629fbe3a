/** A platform for one test, and a caller of it that adds nothing of its own. */
import type { TestContext } from 'node:test';
import { type Platform, type PlatformOptions, startPlatform } from '../../../src/simulator/api/platform.ts';

export const NOW = Date.UTC(2026, 6, 1, 9, 0, 0);

export type ManualClock = { now(): number; sleep(ms: number): Promise<void>; set(ms: number): void };

/** Stands still until told. */
export function manualClock(startMs = NOW): ManualClock {
  let now = startMs;
  return {
    now: () => now,
    sleep: async () => {},
    set(ms) {
      now = ms;
    },
  };
}

export async function platformFor(t: TestContext, options: PlatformOptions = {}): Promise<Platform> {
  const platform = await startPlatform({ clock: manualClock(), limits: null, ...options });
  t.after(() => platform.close());
  return platform;
}

export type Answered = { readonly status: number; readonly text: string; readonly headers: Headers };

export type CallOptions = {
  readonly method?: string;
  readonly body?: unknown;
  readonly headers?: { readonly [name: string]: string };
  readonly signal?: AbortSignal;
};

export async function call(
  platform: Pick<Platform, 'url' | 'partnerToken' | 'userToken'>,
  path: string,
  { method = 'GET', body, headers = {}, signal }: CallOptions = {},
): Promise<Answered> {
  const response = await fetch(`${platform.url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${platform.partnerToken}, User ${platform.userToken}`,
      accept: 'application/vnd.yclients.v2+json',
      'content-type': 'application/json',
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(signal === undefined ? {} : { signal }),
  });
  return { status: response.status, text: await response.text(), headers: response.headers };
}

type Items = readonly { readonly [name: string]: unknown }[];

/** The `data` of a list. */
export function itemsOf({ text }: Answered): Items {
  const body: { readonly data: Items } = JSON.parse(text);
  return body.data;
}

export function bodyOf({ text }: Answered): { readonly [name: string]: unknown } {
  return JSON.parse(text);
}
