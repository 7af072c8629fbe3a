/** `hooks …`: our URL among the salon's webhooks, by the API. Keys of URLs are shown by their first letters only. */
import { setTimeout as pause } from 'node:timers/promises';
import { commandAccess } from '../api-access.ts';
import { type Config, isReachable } from '../config.ts';
import { PlainError } from '../log.ts';
import { requireCompany } from '../salon/companies.ts';
import {
  type HooksDeps,
  installHook,
  type OwnUrl,
  removeHooks,
  showHooks,
  stateOf,
  type Written,
} from '../salon/hooks.ts';
import type { Pool } from '../store/pool.ts';
import { type EventRow, firstWebhookSince, readServer } from '../store/views.ts';
import { ApiError } from '../yclients/api.ts';
import {
  DEFAULT_RESOURCES,
  HOOK_RESOURCES,
  type HookResource,
  hookResource,
  isOn,
} from '../yclients/hooks.ts';
import { type Context, parseId, print, table, withStore } from './run.ts';

type Json = { readonly json?: boolean };

type InstallFlags = Json & {
  readonly url?: string;
  readonly resources?: string;
  readonly selfSending?: 'on' | 'off';
  readonly replace?: boolean;
  readonly activate?: boolean;
  readonly dryRun?: boolean;
  /** How long to wait for the first real event, in milliseconds. */
  readonly wait: number;
};

const POLL_MS = 1_000;
const PROGRESS_MS = 10_000;

export async function hooksShow(context: Context, id: string, options: Json): Promise<void> {
  await withHooks(context, id, undefined, async deps => {
    const { settings, ours } = await showHooks(deps);
    const { raw, urls, perUrl } = settings;
    const states = new Map(ours.map(({ url, state }) => [url, state]));
    const rows = urls.map(url => [hide(url), says(states.get(url))]);
    const flags = Object.entries(raw).filter(([, value]) => typeof value !== 'object');
    const on = flags.filter(([name, value]) => name !== 'active' && isOn(value)).map(([name]) => name);
    const lines = [
      table(['URL', 'whose'], rows, 'No webhook URL is registered for this salon.'),
      `Webhooks are ${isOn(raw.active) ? 'on' : 'OFF'}; switched on: ${on.join(', ') || 'nothing'}.`,
      ...(perUrl ?? []).map(entry => `  ${hide(JSON.stringify(entry))}`),
    ];
    const value = { companyId: deps.companyId, settings: raw, ours: ours.map(hidden) };
    print(options, JSON.parse(hide(JSON.stringify(value))), lines.join('\n'));
  });
}

function says(state: OwnUrl['state'] | undefined): string {
  switch (state) {
    case undefined:
      return 'another program';
    case 'works':
      return 'ours';
    case 'ending':
      return 'ours, works for a day at most: `hooks install --replace`';
    case 'unknown':
      return 'ours, but its key is not valid (any more): `hooks install --replace`';
    case 'other company':
      return 'ours, but of another company: `hooks install --replace`';
    case 'lifecycle':
      return 'ours, but not for events of a salon: `hooks install --replace`';
  }
}

export async function hooksInstall(context: Context, id: string, options: InstallFlags): Promise<void> {
  await withHooks(context, id, options.url, async (deps, pool) => {
    if (options.url !== undefined) await checkUrl(deps, options.url);
    const resources = chosen(options.resources);
    const since = (await readServer(pool)).now;
    const result = await installHook(deps, {
      ...{ url: options.url, resources, replace: options.replace ?? false },
      ...{ activate: options.activate ?? false, dryRun: options.dryRun ?? false },
      selfSending: options.selfSending === undefined ? undefined : options.selfSending === 'on',
      onChanges: changes => tellChanges(options, changes),
    });
    const held = result.faults.length === 0;
    const testing = held && options.dryRun !== true && options.wait > 0;
    const next = `${context.config.OTKLIK_COMMAND} hooks install ${deps.companyId} --wait 5m`;
    if (testing) tell(options, installedText(options, result, next));
    const first = testing ? await firstEvent(pool, deps.companyId, since, options) : undefined;
    const text = testing ? selfTestText(first, options.wait) : installedText(options, result, next);
    const value = {
      ...{ companyId: deps.companyId, url: hide(result.url), resources },
      ...report(result, options),
      ...(testing ? { firstEvent: first ?? null } : {}),
    };
    print(options, value, text);
    if (!held || (testing && first === undefined)) process.exitCode = 1;
  });
}

export async function hooksRemove(
  context: Context,
  id: string,
  options: Json & { readonly dryRun?: boolean },
): Promise<void> {
  await withHooks(context, id, undefined, async deps => {
    const result = await removeHooks(deps, {
      dryRun: options.dryRun ?? false,
      onChanges: changes => tellChanges(options, changes),
    });
    const done = result.written
      ? outcome(result, 'Our URL is out; read back and verified. Everything else is as it was.')
      : 'No URL of ours is registered; nothing was written.';
    print(
      options,
      { companyId: deps.companyId, ...report(result, options) },
      options.dryRun === true && result.changes.length > 0 ? DRY : done,
    );
    if (result.faults.length > 0) process.exitCode = 1;
  });
}

const DRY = 'Nothing was written (--dry-run).';

function report(result: Written, { dryRun }: { readonly dryRun?: boolean }): Record<string, unknown> {
  return {
    ...{ dryRun: dryRun ?? false, written: result.written, held: result.faults.length === 0 },
    changes: result.changes.map(hide),
    differences: result.faults.map(hide),
    notes: result.notes.map(hide),
  };
}

function installedText(options: InstallFlags, result: Written, next: string): string {
  if (options.dryRun === true && result.changes.length > 0) return DRY;
  if (!result.written) return 'Our URL is registered already, with these resources; nothing was written.';
  return outcome(result, `Our URL is registered; read back and verified. See the first event come: ${next}`);
}

function outcome({ faults, notes }: Written, good: string): string {
  const noted = notes.map(note => `  note: ${hide(note)}`);
  if (faults.length === 0) return [good, ...noted].join('\n');
  const lines = faults.map(fault => `  ${hide(fault)}`);
  return [
    'The platform did not keep what was written:',
    ...lines,
    ...noted,
    'Look at it in the branch settings; `hooks show` reads it again.',
  ].join('\n');
}

function tellChanges(options: Json, changes: readonly string[]): void {
  tell(options, ['What changes:', ...changes.map(change => `  ${hide(change)}`)].join('\n'));
}

/** On the way: for people only, so that `--json` stays one value. */
function tell({ json }: Json, text: string): void {
  if (json !== true) process.stdout.write(`${text}\n`);
}

/** The first event that the platform itself sent since then, waited for in sight of the operator. */
async function firstEvent(
  pool: Pool,
  companyId: number,
  since: number,
  { wait }: { readonly wait: number },
): Promise<EventRow | undefined> {
  const until = performance.now() + wait;
  let progress = performance.now();
  for (;;) {
    const event = await firstWebhookSince(pool, companyId, since);
    const left = until - performance.now();
    if (event !== undefined || left <= 0) return event;
    if (performance.now() >= progress) {
      process.stderr.write(
        `waiting for the first event, ${Math.ceil(left / 1000)} s left: change something in the salon’s journal\n`,
      );
      progress += PROGRESS_MS;
    }
    await pause(Math.min(POLL_MS, left));
  }
}

function selfTestText(event: EventRow | undefined, waitMs: number): string {
  if (event !== undefined) {
    return `It works: the platform sent ${event.eventType} ${event.resourceId}, received at ${event.receivedAt} (event ${event.id}).`;
  }
  return `No event came within ${Math.round(waitMs / 1000)} s. Was anything changed in the salon? Otherwise: is \`serve\` reachable at PUBLIC_URL (try \`send-test\`), and may your application have webhooks (YClients takes new URLs of marketplace applications only)?`;
}

function chosen(list: string | undefined): readonly HookResource[] {
  if (list === undefined) return DEFAULT_RESOURCES;
  const names = list.split(',').map(name => name.trim());
  const resources = names.flatMap(name => hookResource(name) ?? []);
  if (resources.length === names.length) return [...new Set(resources)];
  throw new PlainError(`--resources takes a list of these: ${HOOK_RESOURCES.join(', ')}`);
}

async function checkUrl(deps: HooksDeps, url: string): Promise<void> {
  const state = await stateOf(deps, url);
  if (state === 'works' || state === 'ending') return;
  throw new PlainError(
    `the key in this URL is not one of company ${deps.companyId}; leave --url out and a new one is made`,
  );
}

/** Opens the store and the API for a company; what the API refuses is told plainly. */
async function withHooks(
  context: Context,
  id: string,
  url: string | undefined,
  work: (deps: HooksDeps, pool: Pool) => Promise<void>,
): Promise<void> {
  const companyId = parseId(id, 'company');
  const base = baseOf(context.config, url);
  await withStore(context, async opened => {
    const company = await requireCompany(opened.pool, companyId);
    if (company.stopped) {
      throw new PlainError(
        `the salon of company ${companyId} switched us off at the platform; it must connect again, or \`company resume ${companyId}\``,
      );
    }
    const { pool, vault } = opened;
    const access = commandAccess(context.config, opened);
    try {
      await plainly(async () =>
        work({ companyId, api: await access.apiOf(companyId), base, pool, vault }, pool),
      );
    } finally {
      await access.close();
    }
  });
}

async function plainly(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof ApiError) throw new PlainError(error.message, { cause: error });
    throw error;
  }
}

/** Where the platform reaches us. */
function baseOf(config: Config, url: string | undefined): string {
  if (url !== undefined && !URL.canParse(url)) throw new PlainError('--url is not a URL');
  const path = url === undefined ? undefined : url.indexOf('/webhooks/yclients/');
  if (url !== undefined && path === -1) {
    throw new PlainError('--url is not a webhook URL of ours: they hold /webhooks/yclients/');
  }
  const base = url === undefined ? config.PUBLIC_URL : url.slice(0, path).replace(/\/+$/, '');
  if (base === undefined) {
    throw new PlainError(
      'PUBLIC_URL is not set: the platform needs an address at which it can reach the receiver',
    );
  }
  if (isReachable(base)) return base;
  throw new PlainError(
    `${url === undefined ? 'PUBLIC_URL' : '--url'} must begin with https: the key in the URL is a secret`,
  );
}

/** The key of our URLs is shown once, when it is made for a person to carry over; here nobody needs to. */
function hide(text: string): string {
  return text.replace(/(\/webhooks\/yclients\/(?:events\?key=)?[\w-]{4})[\w-]{16,}/g, '$1…');
}

function hidden({ url, state }: OwnUrl): OwnUrl {
  return { url: hide(url), state };
}
