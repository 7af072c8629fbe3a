/**
 * The webhook settings of a salon, `GET|POST /hooks_settings/{company}`: reading them, and changing of them what is
 * ours and nothing else. POST replaces everything, the URLs and flags of other programs included, so what is written
 * is always what was read, with our part changed. Pure: the calls are made in `src/salon/hooks.ts`.
 *
 * Two shapes are known. The older one has one set of flags for all URLs:
 *
 *     {"urls": ["https://…"], "active": 1, "record": 1, "client": 0, …, "self_sending": 1}
 *
 * The newer one has besides it `url_settings: [{"url": "https://…", "active": 1, "record": 1, …}]`, flags of each URL.
 */

/** Our names of resources, as events carry them, and the flag that each has in the settings. */
const FLAGS = {
  record: 'record',
  client: 'client',
  staff: 'master',
  service: 'service',
  service_category: 'service_category',
  company: 'salon',
  schedule: 'schedule',
  good: 'good',
  goods_operations_sale: 'goods_operations_sale',
  goods_operations_receipt: 'goods_operations_receipt',
  goods_operations_consumable: 'goods_operations_consumable',
  goods_operations_stolen: 'goods_operations_stolen',
  goods_operations_move: 'goods_operations_move',
  finances_operation: 'finances_operation',
  loyalty_card: 'loyalty_card',
} as const;

export type HookResource = keyof typeof FLAGS;

/**
 * What notices need: bookings; clients for their phone and their refusal of messages; names of staff and services;
 * the salon's title, address and zone. `schedule` is left out: its body is always empty, and nothing here reads it.
 */
export const DEFAULT_RESOURCES: readonly HookResource[] = ['record', 'client', 'staff', 'service', 'company'];

export const HOOK_RESOURCES: readonly string[] = Object.keys(FLAGS);

/** Those of these names that are resources; the platform's own `master` and `salon` are understood too. */
export function hookResource(name: string): HookResource | undefined {
  const ours = Object.entries(FLAGS).find(([resource, flag]) => resource === name || flag === name);
  return ours === undefined ? undefined : isResource(ours[0]) ? ours[0] : undefined;
}

function isResource(name: string): name is HookResource {
  return Object.hasOwn(FLAGS, name);
}

/** The platform takes no more. */
const MAX_URLS = 10;

type Bag = Readonly<Record<string, unknown>>;

/** Settings as they came (`raw`), and what of them was understood. */
export type HookSettings = {
  readonly raw: Bag;
  /** Without the empty text that stands for "none". */
  readonly urls: readonly string[];
  /** In the newer shape: the settings of each URL. */
  readonly perUrl: readonly Bag[] | undefined;
};

export type Unreadable = { readonly unreadable: string };

export function readHooks(value: unknown): HookSettings | Unreadable {
  // PHP writes an empty object as a list.
  const raw = Array.isArray(value) && value.length === 0 ? {} : value;
  if (!isBag(raw)) return { unreadable: 'the settings are not an object' };
  const urls = readList(raw.urls);
  if (urls === undefined || !urls.every(url => typeof url === 'string')) {
    return { unreadable: '`urls` is not a list of texts' };
  }
  const perUrl = readList(raw.url_settings);
  if (perUrl === undefined || !perUrl.every(isBag)) {
    return { unreadable: '`url_settings` is not a list of objects' };
  }
  const filled = urls.filter(url => url.trim() !== '');
  // An empty list beside URLs says nothing about them: such settings are of the older shape.
  const newer = raw.url_settings !== undefined && (perUrl.length > 0 || filled.length === 0);
  return { raw, urls: filled, perUrl: newer ? perUrl : undefined };
}

/** A list, also where PHP wrote it as an object (`{"0": …, "2": …}`) or left it out; undefined when it is none. */
function readList(value: unknown): readonly unknown[] | undefined {
  if (value === undefined || value === null || value === '') return [];
  if (Array.isArray(value)) return value;
  if (!isBag(value)) return undefined;
  return Object.keys(value).every(key => /^\d+$/.test(key)) ? Object.values(value) : undefined;
}

function isBag(value: unknown): value is Bag {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Where the platform posts a salon's events. `base` is as PUBLIC_URL, without a slash at its end. */
export function webhookUrl(base: string, key: string): string {
  return `${base}/webhooks/yclients/${key}`;
}

/** Whether a URL leads to the receiver at `base` (PUBLIC_URL), whatever its key. */
export function isOurs(url: string, base: string): boolean {
  if (!URL.canParse(url)) return false;
  const { host, pathname } = new URL(url);
  const home = new URL(base);
  return host === home.host && pathname.startsWith(`${home.pathname.replace(/\/+$/, '')}/webhooks/yclients/`);
}

export type HookWish = {
  readonly url: string;
  readonly resources: readonly HookResource[];
  /** Whether changes made with our own tokens come back as events; undefined: as it is. */
  readonly selfSending?: boolean | undefined;
  /** URLs of ours to take out, the new one takes the place of the first. */
  readonly replaces: readonly string[];
  /** Switch webhooks on although other URLs wait behind the switch. */
  readonly activate: boolean;
};

/** `settings` to write; `changed: false` when there is nothing to write. */
export type HookPlan = { readonly settings: Bag; readonly changed: boolean };
export type Refused = { readonly refused: string };

/** The settings with our URL in them. What is switched on for others stays on, whether we want it or not. */
export function withHook(current: HookSettings, wish: HookWish): HookPlan | Refused {
  const urls = placeUrl(current.urls, wish);
  if (urls.length > MAX_URLS) {
    return {
      refused: `the salon has ${current.urls.length} webhook URLs already and the platform takes ${MAX_URLS}: take one out that is not needed any more, in the branch settings`,
    };
  }
  const others = current.urls.filter(url => url !== wish.url && !wish.replaces.includes(url));
  if (!isOn(current.raw.active) && others.length > 0 && !wish.activate) {
    return {
      refused: `webhooks are switched off for this salon, and ${others.length} URLs of other programs would begin to receive with ours: ask the salon, then repeat with --activate`,
    };
  }
  const wanted = current.perUrl === undefined ? { ...flagsOf(wish), active: true } : { active: true };
  const settings = { ...current.raw, ...setFlags(current.raw, wanted), urls };
  return plan(
    current,
    current.perUrl === undefined
      ? settings
      : { ...settings, url_settings: placeEntry(current.perUrl, current.raw, wish) },
  );
}

/** The settings without these URLs. Flags stay: they are everyone's. */
export function withoutHooks(current: HookSettings, ours: readonly string[]): HookPlan {
  const left = current.urls.filter(url => !ours.includes(url));
  const urls = left.length === 0 ? [''] : left;
  const settings = { ...current.raw, urls };
  if (current.perUrl === undefined) return plan(current, settings);
  const entries = current.perUrl.filter(({ url }) => typeof url !== 'string' || !ours.includes(url));
  return plan(current, { ...settings, url_settings: entries });
}

/** Written only when a URL, an entry or a flag differs; a blank among the URLs alone is no reason. */
function plan(current: HookSettings, settings: Bag): HookPlan {
  const before = { ...current.raw, urls: current.urls };
  const urls = (readList(settings.urls) ?? []).filter(url => url !== '');
  const changed = JSON.stringify(before) !== JSON.stringify({ ...settings, urls });
  return { settings: changed ? settings : current.raw, changed };
}

/** `entries` with the wanted one put in the place of the first that it replaces, else at the end. */
function place<T>(
  entries: readonly T[],
  entry: T,
  is: { readonly same: (entry: T) => boolean; readonly old: (entry: T) => boolean },
): readonly T[] {
  const there = entries.some(is.same);
  const first = there ? -1 : entries.findIndex(is.old);
  const placed = entries.flatMap((old, index) => {
    if (index === first || is.same(old)) return [entry];
    return is.old(old) ? [] : [old];
  });
  return there || first >= 0 ? placed : [...placed, entry];
}

function placeUrl(urls: readonly string[], { url, replaces }: HookWish): readonly string[] {
  if (urls.includes(url) && !replaces.some(old => urls.includes(old))) return urls;
  return place(urls, url, { same: other => other === url, old: other => replaces.includes(other) });
}

function placeEntry(entries: readonly Bag[], raw: Bag, wish: HookWish): readonly Bag[] {
  const found = entries.find(entry => entry.url === wish.url);
  const base: Bag = found ?? { url: wish.url };
  const pattern = found ?? entries[0] ?? raw;
  // A new entry names every resource flag that its neighbours do, so that none is left to a default.
  const off = Object.values(FLAGS).filter(flag => found === undefined && Object.hasOwn(pattern, flag));
  const wanted = { active: true, ...Object.fromEntries(off.map(flag => [flag, false])), ...flagsOf(wish) };
  const entry = { ...base, ...setFlags(found ?? {}, wanted, pattern) };
  return place(entries, entry, {
    same: other => other.url === wish.url,
    old: other => typeof other.url === 'string' && wish.replaces.includes(other.url),
  });
}

function flagsOf({ resources, selfSending }: HookWish): Record<string, boolean> {
  const flags = resources.map(resource => [FLAGS[resource], true] as const);
  return {
    ...Object.fromEntries(flags),
    ...(selfSending === undefined ? {} : { self_sending: selfSending }),
  };
}

/** The flags that must change, in the form of those there are: 1, true or "1". */
function setFlags(
  current: Bag,
  wanted: Readonly<Record<string, boolean>>,
  pattern: Bag = current,
): Record<string, unknown> {
  const changed = Object.entries(wanted).filter(
    ([name, on]) => !Object.hasOwn(current, name) || isOn(current[name]) !== on,
  );
  return Object.fromEntries(
    changed.map(([name, on]) => [name, written(pattern[name] ?? pattern.active, on)]),
  );
}

function written(like: unknown, on: boolean): unknown {
  if (typeof like === 'boolean') return on;
  return typeof like === 'string' ? (on ? '1' : '0') : on ? 1 : 0;
}

export function isOn(value: unknown): boolean {
  return value === true || value === 1 || value === '1' || value === 'true';
}
