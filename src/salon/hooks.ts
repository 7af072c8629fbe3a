/**
 * Registration of our webhook URL by the API: read, merge, write, read back, verify. The platform's POST replaces the
 * settings of all programs at once, so nothing is written that was not read a moment before.
 */

import { PlainError } from '../log.ts';
import { findKey } from '../store/companies.ts';
import type { Pool } from '../store/pool.ts';
import type { Vault } from '../vault.ts';
import { ApiError, type CompanyApi } from '../yclients/api.ts';
import {
  type HookPlan,
  type HookResource,
  type HookSettings,
  isOurs,
  readHooks,
  webhookUrl,
  withHook,
  withoutHooks,
} from '../yclients/hooks.ts';
import { changesBetween, type Verification, verifyHooks } from '../yclients/hooks-diff.ts';
import { confirmKey, proposeKey, withdrawKey } from './companies.ts';

export type HooksDeps = {
  readonly pool: Pool;
  readonly vault: Vault;
  readonly companyId: number;
  readonly api: Pick<CompanyApi, 'hooks' | 'saveHooks'>;
  /** PUBLIC_URL: how the platform reaches the receiver, and by what our URLs are known. */
  readonly base: string;
};

/**
 * - `works`: an event sent there is taken; `ending`: until its key expires
 * - `other company`: its key is another company's; `unknown`: no live key here, events sent there are refused
 * - `lifecycle`: the address of the marketplace's own events, which refuses those of a salon
 */
export type OwnState = 'works' | 'ending' | 'other company' | 'unknown' | 'lifecycle';
export type OwnUrl = { readonly url: string; readonly state: OwnState };

export type Shown = { readonly settings: HookSettings; readonly ours: readonly OwnUrl[] };

export async function showHooks(deps: HooksDeps): Promise<Shown> {
  const settings = await readSettings(deps.api);
  const urls = settings.urls.filter(url => isOurs(url, deps.base));
  const ours = await Promise.all(urls.map(async url => ({ url, state: await stateOf(deps, url) })));
  return { settings, ours };
}

export async function stateOf({ pool, vault, companyId }: HooksDeps, url: string): Promise<OwnState> {
  const key = keyIn(url);
  if (key === 'lifecycle') return 'lifecycle';
  const live = await findKey(pool, vault.hashKey(key));
  if (live === undefined) return 'unknown';
  if (live.company.companyId !== companyId) return 'other company';
  return live.expiresAt === null ? 'works' : 'ending';
}

/** The key in either form of the URL. */
function keyIn(url: string): string {
  const { pathname, searchParams } = new URL(url);
  return searchParams.get('key') ?? pathname.split('/').at(-1) ?? '';
}

export type InstallOptions = {
  /** The URL to register; undefined: the one of ours that is there and works, else a new one. */
  readonly url?: string | undefined;
  readonly resources: readonly HookResource[];
  readonly selfSending?: boolean | undefined;
  /** Take older URLs of ours out. */
  readonly replace: boolean;
  readonly activate: boolean;
  readonly dryRun: boolean;
  /** Called with the changes before they are written. */
  readonly onChanges: (changes: readonly string[]) => void;
};

export type Written = Verification & {
  readonly changes: readonly string[];
  /** Whether anything was sent to the platform. */
  readonly written: boolean;
};
export type Installed = Written & { readonly url: string };

export async function installHook(deps: HooksDeps, options: InstallOptions): Promise<Installed> {
  const { settings, ours } = await showHooks(deps);
  const working = options.url ?? ours.find(({ state }) => state === 'works')?.url;
  const proposed = working === undefined && !options.dryRun ? await newUrl(deps) : undefined;
  const url = working ?? proposed?.url ?? webhookUrl(deps.base, 'a-new-key');
  try {
    const replaces = options.replace ? ours.map(own => own.url).filter(old => old !== url) : [];
    const plan = withHook(settings, { ...options, url, replaces });
    if ('refused' in plan) throw new PlainError(plan.refused);
    const result = await write(deps, settings, plan, options);
    if (proposed !== undefined) await settleProposed(deps, proposed, result);
    return { ...result, url };
  } catch (error) {
    if (proposed !== undefined && !mayHaveArrived(error))
      await withdrawKey(deps, deps.companyId, proposed.key);
    throw error;
  }
}

export async function removeHooks(
  deps: HooksDeps,
  options: Pick<InstallOptions, 'dryRun' | 'onChanges'>,
): Promise<Written> {
  const { settings, ours } = await showHooks(deps);
  const plan = withoutHooks(
    settings,
    ours.map(({ url }) => url),
  );
  return write(deps, settings, plan, options);
}

async function newUrl(deps: HooksDeps): Promise<{ url: string; key: string }> {
  const key = await proposeKey({ ...deps, actor: 'command' }, deps.companyId);
  return { url: webhookUrl(deps.base, key), key };
}

/** The older keys begin to end only when the platform has the new one. */
async function settleProposed(
  deps: HooksDeps,
  { url, key }: { url: string; key: string },
  { faults }: Written,
): Promise<void> {
  if (faults.length === 0) await confirmKey(deps, deps.companyId, key);
  else if (faults.some(fault => fault.includes(url) && fault.includes('missing')))
    await withdrawKey(deps, deps.companyId, key);
}

async function write(
  { api }: HooksDeps,
  before: HookSettings,
  { settings, changed }: HookPlan,
  { dryRun, onChanges }: Pick<InstallOptions, 'dryRun' | 'onChanges'>,
): Promise<Written> {
  if (!changed) return { changes: [], written: false, faults: [], notes: [] };
  const wanted = understood(settings);
  const changes = changesBetween(before, wanted);
  onChanges(changes);
  if (dryRun) return { changes, written: false, faults: [], notes: [] };
  await save(api, settings);
  const found = await readSettings(api).catch(cause => {
    throw new UnclearError(cause);
  });
  return { changes, written: true, ...verifyHooks(before, wanted, found) };
}

/** What a write came to is not known: the answer, or what was to be read back, did not come. */
class UnclearError extends PlainError {
  override readonly name = 'UnclearError';

  constructor(cause: unknown) {
    super(
      'the settings were sent, but whether the platform took them is not known: `hooks show` tells, later',
      {
        cause,
      },
    );
  }
}

function mayHaveArrived(error: unknown): boolean {
  return error instanceof UnclearError;
}

/** Not repeated. A write whose answer is lost may have happened: what is read back then tells. */
async function save(api: HooksDeps['api'], settings: unknown): Promise<void> {
  try {
    await api.saveHooks(settings);
  } catch (error) {
    const unclear =
      error instanceof ApiError && (error.trouble === 'unavailable' || error.trouble === 'unreadable');
    if (!unclear) throw error;
  }
}

async function readSettings(api: HooksDeps['api']): Promise<HookSettings> {
  return understood(await api.hooks());
}

function understood(value: unknown): HookSettings {
  const settings = readHooks(value);
  if ('unreadable' in settings) {
    throw new PlainError(
      `the webhook settings of this salon are of no known shape (${settings.unreadable}), and nothing is written over what cannot be read`,
    );
  }
  return settings;
}
