/** The webhooks settings of a salon: which URLs are told, and of what. */
import type { JsonObject } from '../webhook.ts';
import { Refusal } from './answers.ts';

/** The names of the settings; each is 0 or 1. */
export const FLAGS = [
  'salon',
  'service_category',
  'service',
  'good',
  'master',
  'client',
  'record',
  'goods_operations_sale',
  'goods_operations_receipt',
  'goods_operations_consumable',
  'goods_operations_stolen',
  'goods_operations_move',
  'finances_operation',
  'schedule',
  'loyalty_card',
] as const;
type Flag = (typeof FLAGS)[number];

const FLAG_OF_RESOURCE: Readonly<Record<string, Flag>> = { company: 'salon', staff: 'master' };

/** Of all URLs, or of one where the build keeps them apart. */
type Wishes = { readonly active: boolean; readonly selfSending: boolean; readonly flags: ReadonlySet<Flag> };

export type HooksSettings = Wishes & {
  readonly urls: readonly string[];
  /** Where a URL's own wishes differ from those of all. */
  readonly own: ReadonlyMap<string, Wishes>;
};

export const NO_HOOKS: HooksSettings = {
  urls: [],
  active: false,
  selfSending: true,
  flags: new Set(),
  own: new Map(),
};

/** One URL that hears of everything. */
export function hooksWith(url: string): HooksSettings {
  return { ...NO_HOOKS, urls: [url], active: true, flags: new Set(FLAGS) };
}

const MOST_URLS = 10;

/** A POST replaces everything: what it does not name is gone, off, or as it comes (`self_sending`: on). */
export function readHooks(body: unknown): HooksSettings {
  if (!isObject(body)) throw new Refusal(422, 'An object is expected');
  const urls = textsOf(body.urls).filter(url => url !== '');
  const unfit = urls.filter(url => !/^https?:\/\//.test(url) || !URL.canParse(url));
  if (unfit.length > 0) throw new Refusal(422, 'Not a URL', { urls: unfit });
  if (new Set(urls).size > MOST_URLS) throw new Refusal(422, `At most ${MOST_URLS} URLs`, { urls: [] });
  const listed = Array.isArray(body.url_settings) ? body.url_settings.filter(isObject) : [];
  const own = new Map(
    listed.flatMap(one => (typeof one.url === 'string' ? [[one.url, wishesOf(one)] as const] : [])),
  );
  return { urls: [...new Set(urls)], ...wishesOf(body), own };
}

/** As the API writes them: without a URL it is `[""]`. */
export function hooksBody(settings: HooksSettings, form: 'plain' | 'url_settings'): JsonObject {
  const { urls } = settings;
  const common = { urls: urls.length > 0 ? urls : [''], ...wishesBody(settings) };
  if (form === 'plain') return common;
  return {
    ...common,
    url_settings: urls.map(url => ({ url, ...wishesBody(wishesFor(settings, url)) })),
  };
}

/** The URLs that hear of `resource`; `own`: the partner who asks caused it by a call. */
export function listenersOf(settings: HooksSettings, resource: string, own: boolean): readonly string[] {
  return settings.urls.filter(url => {
    const { active, flags, selfSending } = wishesFor(settings, url);
    return active && (selfSending || !own) && hasFlag(flags, FLAG_OF_RESOURCE[resource] ?? resource);
  });
}

function hasFlag(flags: ReadonlySet<string>, name: string): boolean {
  return flags.has(name);
}

function wishesFor(settings: HooksSettings, url: string): Wishes {
  return settings.own.get(url) ?? settings;
}

function wishesOf(body: { readonly [name: string]: unknown }): Wishes {
  return {
    active: isOn(body.active),
    selfSending: body.self_sending === undefined || isOn(body.self_sending),
    flags: new Set(FLAGS.filter(flag => isOn(body[flag]))),
  };
}

function wishesBody({ active, selfSending, flags }: Wishes): JsonObject {
  return {
    active: Number(active),
    ...Object.fromEntries(FLAGS.map(flag => [flag, Number(flags.has(flag))])),
    self_sending: Number(selfSending),
  };
}

function isOn(value: unknown): boolean {
  return value === 1 || value === true || value === '1';
}

function textsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter(one => typeof one === 'string') : [];
}

function isObject(value: unknown): value is { readonly [name: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
