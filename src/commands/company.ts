/** `company …` and `address`. */
import { text } from 'node:stream/consumers';
import { ADDRESSED, CHANNEL_NAMES } from '../channels/channel.ts';
import { namesPrivateHost } from '../channels/guard.ts';
import type { Config } from '../config.ts';
import { channelsConfig, TURNED_ON_BY } from '../configured-channels.ts';
import { publicRoot } from '../configured-urls.ts';
import { companyBody, companyChange, given, newCompany } from '../http/api.ts';
import { PlainError } from '../log.ts';
import type { Opened } from '../open.ts';
import { setClientAddress } from '../salon/addresses.ts';
import { addCompany, dropCompany, resume, rotateKey, rotateSecret, setCompany } from '../salon/companies.ts';
import { findClientIds } from '../store/clients.ts';
import { listCompanies } from '../store/companies.ts';
import { type Coverage, readCoverage } from '../store/coverage.ts';
import { webhookUrl } from '../yclients/hooks.ts';
import { type Context, parseId, print, table, withStore } from './run.ts';

type Json = { readonly json?: boolean };

type AddOptions = Json & {
  readonly title: string;
  readonly zone: string;
  readonly brand: string;
  readonly locale: string;
  readonly settle?: number;
  readonly route: string;
  readonly webhookUrl?: string;
  readonly botApiPrefix?: string;
  readonly requireSignature?: boolean;
} & ReadingOptions;

type ReadingOptions = {
  readonly source?: string;
  readonly verify?: string;
  readonly sweep?: number;
  readonly poll?: number;
  readonly userTokenStdin?: boolean;
};

export async function companyAdd(context: Context, id: string, options: AddOptions): Promise<void> {
  const parsed = companyBody.safeParse({
    companyId: id,
    title: options.title,
    zone: options.zone,
    brand: options.brand,
    locale: options.locale,
    ...given({ settleMs: options.settle }),
    route: channelsOf(options.route),
    webhookUrl: options.webhookUrl ?? null,
    botApiPrefix: options.botApiPrefix ?? null,
    signatureRequired: options.requireSignature ?? false,
    ...(await readingOf(options)),
  });
  if (!parsed.success) throw new PlainError(`the company cannot be added:\n${faultsOf(parsed.error.issues)}`);
  noteUnset(context.config, parsed.data.route);
  notePrivate(context.config, parsed.data.webhookUrl);
  const add = async ({ pool, vault }: Opened) => {
    const { userToken, ...company } = parsed.data;
    const deps = { pool, vault, actor: 'command' } as const;
    const { key, ...added } = await addCompany(deps, newCompany(company), userToken);
    const url = webhookUrl(publicRoot(context.config), key);
    const secrets = [
      ...(added.inboundSecret ? [`Senders sign with ${added.inboundSecret}`] : []),
      ...(added.outboundSecret ? [`Our webhook channel signs with ${added.outboundSecret}`] : []),
    ];
    print(
      options,
      { ...added, key, url },
      [
        `Company ${added.companyId} is added. Give this URL to YClients (it is shown only now; keep it secret):`,
        `  ${url}`,
        ...secrets,
        `Try it: ${context.config.OTKLIK_COMMAND} send-test ${url}`,
      ].join('\n'),
    );
  };
  await withStore(context, add, { make: true });
}

function channelsOf(route: string): string[] {
  return route.split(',').map(name => name.trim());
}

/** Of these channels the ones that nothing turns on here; they may be on where `serve` runs. */
export function noteUnset(config: Config, channels: readonly string[]): void {
  const configured = new Set(
    Object.entries(channelsConfig(config))
      .filter(([, given]) => given)
      .map(([name]) => name),
  );
  const unset = CHANNEL_NAMES.filter(name => channels.includes(name) && !configured.has(name)).map(
    name => `${name} needs ${TURNED_ON_BY[name]}`,
  );
  if (unset.length > 0)
    process.stderr.write(`otklik: note: ${unset.join('; ')} in the environment of \`serve\`\n`);
}

/** A URL to which `serve` would post nothing; it may be set otherwise where that runs. */
function notePrivate(config: Config, url: string | null): void {
  if (config.WEBHOOK_ALLOW_PRIVATE || url === null || !namesPrivateHost(url)) return;
  process.stderr.write(
    'otklik: note: the host of --webhook-url is not on the public internet: webhook calls it only with WEBHOOK_ALLOW_PRIVATE=true in the environment of `serve`\n',
  );
}

/** The options in the words of the schema. A secret on a command line would be seen by everyone on the machine. */
async function readingOf(options: ReadingOptions): Promise<Record<string, unknown>> {
  const { source, verify, sweep, poll } = options;
  const userToken = options.userTokenStdin ? (await text(process.stdin)).trim() : undefined;
  return given({ source, verify, sweepMs: sweep, pollMs: poll, userToken });
}

type Issue = { readonly path: readonly PropertyKey[]; readonly message: string };

/** What the schema objects to, by the name that was typed. */
function faultsOf(issues: readonly Issue[]): string {
  const typed: Record<string, string> = {
    settleMs: '--settle',
    sweepMs: '--sweep',
    pollMs: '--poll',
    userToken: '--user-token-stdin',
    companyId: 'company',
  };
  return issues
    .map(({ path, message }) => {
      const name = String(path[0]);
      return `  ${typed[name] ?? `--${name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`}: ${message}`;
    })
    .join('\n');
}

type SetOptions = Json &
  ReadingOptions &
  Partial<Pick<AddOptions, 'title' | 'zone' | 'locale' | 'route' | 'webhookUrl' | 'botApiPrefix'>> & {
    readonly removeUserToken?: boolean;
  };

export async function companySet(context: Context, id: string, options: SetOptions): Promise<void> {
  const companyId = parseId(id, 'company');
  if (options.userTokenStdin && options.removeUserToken) {
    throw new PlainError('--user-token-stdin and --remove-user-token: name one of them');
  }
  const { title, zone, locale, route, webhookUrl, botApiPrefix } = options;
  const parsed = companyChange.safeParse({
    ...given({ title, zone, locale, route: route && channelsOf(route), webhookUrl, botApiPrefix }),
    ...(await readingOf(options)),
  });
  if (!parsed.success)
    throw new PlainError(`the company cannot be changed:\n${faultsOf(parsed.error.issues)}`);
  const change = { ...given(parsed.data), ...(options.removeUserToken ? { userToken: null } : {}) };
  if (Object.keys(change).length === 0) {
    throw new PlainError('nothing to change: name at least one option; `company set --help` lists them');
  }
  noteUnset(context.config, change.route ?? []);
  notePrivate(context.config, change.webhookUrl ?? null);
  await withStore(context, async ({ pool, vault }) => {
    const company = await setCompany({ pool, vault, actor: 'command' }, companyId, change);
    const { source, verify, sweepMs, pollMs, outboundSecret } = company;
    const every =
      source === 'webhook' ? `compared every ${sweepMs / 1000} s` : `asked every ${pollMs / 1000} s`;
    const { policy: _policy, team: _team, ...shown } = company;
    print(
      options,
      shown,
      [
        `Company ${companyId}, ${company.title}, ${company.zone}, ${company.locale}: route ${company.route.join(' → ')}; source ${source}, ${every}, verify ${verify}.`,
        ...(outboundSecret === undefined ? [] : [`Our webhook channel signs with ${outboundSecret}`]),
      ].join('\n'),
    );
  });
}

export async function companyList(context: Context, options: Json): Promise<void> {
  await withStore(context, async ({ pool }) => {
    const companies = await listCompanies(pool);
    const coverage = new Map((await readCoverage(pool, Date.now())).map(row => [row.companyId, row]));
    const rows = companies.map(company => [
      String(company.companyId),
      company.title,
      company.zone,
      company.brand,
      company.route.join(' → '),
      company.source,
      apiInWords(coverage.get(company.companyId)),
      company.removed ? 'removed' : company.stopped ? 'stopped by the salon' : 'active',
    ]);
    const empty = `No companies yet. Add one: ${context.config.OTKLIK_COMMAND} company add <id> --title "…" --zone Europe/Moscow`;
    print(
      options,
      {
        items: companies.map(({ policy: _policy, team: _team, ...company }) => ({
          ...company,
          coverage: coverage.get(company.companyId) ?? null,
        })),
      },
      table(['id', 'title', 'zone', 'brand', 'route', 'source', 'api', 'state'], rows, empty),
    );
  });
}

/** How far the first import is, or whether the API is read. */
function apiInWords(coverage: Coverage | undefined): string {
  if (coverage === undefined || coverage.api === 'none') return 'not read';
  if (coverage.error !== null) return 'failing (see stats)';
  if (coverage.api === 'ready') return 'read';
  return `importing (${coverage.progress?.read ?? 0} bookings so far)`;
}

export async function companyRotateKey(context: Context, id: string, options: Json): Promise<void> {
  const companyId = parseId(id, 'company');
  await withStore(context, async ({ pool, vault }) => {
    const url = webhookUrl(
      publicRoot(context.config),
      await rotateKey({ pool, vault, actor: 'command' }, companyId),
    );
    print(options, { companyId, url }, `The new URL (the old one works for another 24 hours):\n  ${url}`);
  });
}

export async function companyRotateSecret(
  context: Context,
  id: string,
  options: Json & { purpose: 'inbound' | 'outbound' },
): Promise<void> {
  const companyId = parseId(id, 'company');
  await withStore(context, async ({ pool, vault }) => {
    const secret = await rotateSecret({ pool, vault, actor: 'command' }, companyId, options.purpose);
    const text = `The new ${options.purpose} secret (one before it holds for another 24 hours):\n  ${secret}`;
    print(options, { companyId, purpose: options.purpose, secret }, text);
  });
}

export async function companyRemove(context: Context, id: string, options: Json): Promise<void> {
  const companyId = parseId(id, 'company');
  await withStore(context, async ({ pool, vault }) => {
    await dropCompany({ pool, vault, actor: 'command' }, companyId);
    print(
      options,
      { companyId, removed: true },
      `Company ${companyId} is stopped: its URL is dead, its data stays.`,
    );
  });
}

export async function companyResume(context: Context, id: string, options: Json): Promise<void> {
  const companyId = parseId(id, 'company');
  await withStore(context, async ({ pool, vault }) => {
    const resumed = await resume({ pool, vault, actor: 'command' }, companyId);
    const text = resumed
      ? `Company ${companyId} works again. What was booked meanwhile is not announced.`
      : `Company ${companyId} is not stopped.`;
    print(options, { companyId, resumed }, text);
  });
}

export async function addressSet(
  context: Context,
  company: string,
  client: string,
  channel: string,
  address: string,
  options: Json,
): Promise<void> {
  const companyId = parseId(company, 'company');
  const clientId = parseId(client, 'client');
  const known = ADDRESSED.find(name => name === channel);
  if (known === undefined) {
    throw new PlainError(`addresses are kept for ${ADDRESSED.join(', ')}, not for "${channel}"`);
  }
  await withStore(context, async ({ pool }) => {
    await setClientAddress({ pool, actor: 'command' }, { companyId, clientId, channel: known, address });
    print(
      options,
      { companyId, clientId, channel },
      `Client ${clientId} of company ${companyId} is reached on ${channel}.`,
    );
    if ((await findClientIds(pool, companyId, { phone: null, clientId })).length > 0) return;
    process.stderr.write(
      `otklik: note: nothing else is known of client ${clientId} yet: is it the id that the platform has?\n`,
    );
  });
}
