/** `policy …`: what a salon wants said, to whom and when. */
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { closeChannels, createChannels } from '../channels/registry.ts';
import { channelsConfig } from '../configured-channels.ts';
import { passedOver, spanOf } from '../domain/route-trail.ts';
import { createTexts } from '../domain/text.ts';
import { given, policyQuery, previewBody, previewOf } from '../http/api.ts';
import { PlainError } from '../log.ts';
import {
  listVersions,
  PolicyError,
  restorePolicy,
  setPolicy,
  showPolicy,
  soundPolicy,
} from '../salon/policies.ts';
import { previewPolicy } from '../salon/preview.ts';
import { type PreviewRoute, previewRoutes } from '../salon/preview-routes.ts';
import { type PreviewText, previewTexts } from '../salon/preview-texts.ts';
import { loadTemplates } from '../templates.ts';
import { type Context, more, parseId, print, table, withStore } from './run.ts';
import { smsCosts } from './sms-cost.ts';

type Json = { readonly json?: boolean };

/** Characters; a policy with everything in it is some 2,000. */
const MAX_DOCUMENT = 64 * 1024;

export async function policyShow(
  context: Context,
  id: string,
  { ofVersion, ...options }: Json & { readonly ofVersion?: number },
): Promise<void> {
  const companyId = parseId(id, 'company');
  await withStore(context, async ({ pool }) => {
    const shown = await showPolicy(pool, companyId, ofVersion);
    const own = Object.keys(shown.document).length === 0 ? 'nothing: all is as by default' : '';
    print(
      options,
      shown,
      [
        `Policy of company ${companyId}, version ${shown.version}. Written by the salon: ${own}`.trimEnd(),
        ...(own === '' ? [JSON.stringify(shown.document, null, 2)] : []),
        'In full:',
        JSON.stringify(shown.effective, null, 2),
      ].join('\n'),
    );
  });
}

export async function policyVersions(
  context: Context,
  id: string,
  { limit, cursor, ...options }: Json & { readonly limit: number; readonly cursor?: number },
): Promise<void> {
  const companyId = parseId(id, 'company');
  await withStore(context, async ({ pool }) => {
    const { items, next } = await listVersions(pool, companyId, { limit, cursor });
    const rows = items.map(({ version, at, actor }, place) => [
      ...[String(version), at, actor],
      cursor === undefined && place === 0 ? 'in force' : '',
    ]);
    const none =
      cursor === undefined ? 'Nothing was written: all is as by default.' : 'No versions before it.';
    const text = table(['version', 'written', 'by', ''], rows, none) + more(next);
    print(options, { companyId, items, next }, text);
  });
}

export async function policySet(
  context: Context,
  id: string,
  file: string | undefined,
  {
    ifVersion,
    fromVersion,
    ...options
  }: Json & { readonly ifVersion?: string; readonly fromVersion?: number },
): Promise<void> {
  const companyId = parseId(id, 'company');
  const asked = policyQuery.safeParse({ ifVersion });
  if (!asked.success) throw new PlainError('--if-version is a number that `policy show` tells');
  if ((file === undefined) === (fromVersion === undefined)) {
    throw new PlainError(
      'name a file with the document, - for standard input, or --from-version; one of them',
    );
  }
  const value = file === undefined ? undefined : await readDocument(file);
  await withStore(context, async ({ pool }) => {
    const deps = { pool, actor: 'command' } as const;
    const shown =
      fromVersion === undefined
        ? await setPolicy(deps, companyId, value, asked.data)
        : await restorePolicy(deps, companyId, fromVersion, asked.data);
    print(options, shown, `Policy of company ${companyId} is version ${shown.version} now.`);
  });
}

export async function policyValidate(_context: Context, file: string, options: Json): Promise<void> {
  const value = await readDocument(file);
  try {
    const document = soundPolicy(value);
    print(options, { valid: true, document, faults: [] }, 'The policy is sound.');
  } catch (error) {
    if (!(error instanceof PolicyError) || !options.json) throw error;
    print(options, { valid: false, faults: error.faults }, '');
    process.exitCode = 1;
  }
}

type PreviewOptions = Json & {
  readonly record?: number;
  readonly starts?: string;
  readonly lasts: number;
  readonly origin: string;
  readonly staff?: number;
  readonly made?: string;
  readonly file?: string;
  readonly smsTo?: string;
};

export async function policyPreview(context: Context, id: string, options: PreviewOptions): Promise<void> {
  const companyId = parseId(id, 'company');
  const { record, starts, lasts, origin, staff, made, file, smsTo } = options;
  const asked = previewBody.safeParse({
    ...given({ recordId: record, startsLocal: starts, origin, staffId: staff, madeAt: made }),
    ...(record === undefined ? { durationSeconds: lasts / 1000 } : {}),
    ...(file === undefined ? {} : { policy: await readDocument(file) }),
  });
  if (!asked.success) {
    if ((record === undefined) === (starts === undefined))
      throw new PlainError('nothing to preview: name --record or --starts, and only one of them');
    const faults = asked.error.issues.map(
      ({ path, message }) => `  ${path.map(String).join('.')} ${message}`,
    );
    throw new PlainError(`nothing can be previewed:\n${faults.join('\n')}`);
  }
  await withStore(context, async ({ pool }) => {
    const [about, by] = previewOf(asked.data, Date.now());
    const preview = await previewPolicy(pool, companyId, about, by);
    const channels = createChannels(channelsConfig(context.config));
    await closeChannels(channels);
    const routed = await previewRoutes(pool, channels, preview, by);
    const { messages, said, not, changes, team, digest } = preview;
    const rows = [
      ...said.map(({ rule, at }) => [at ?? 'now', rule, at === null ? 'is being sent' : 'was sent']),
      ...messages.map(({ atLocal, rule }) => [atLocal, rule, 'will be sent']),
      ...not.map(({ rule, why }) => ['', rule, `not: ${why}`]),
    ];
    const told = changes.map(({ kind, to, settleMs }) => [
      kind,
      to.join(', ') || 'nobody',
      `${settleMs / 1000} s`,
    ]);
    const members = team.map(({ memberId, role, staffId, notBefore, gather }) => [
      ...[String(memberId), staffId === null ? role : `${role} ${staffId}`, notBefore],
      spokenGather(gather),
    ]);
    const next =
      digest === null ? [] : ['', `Their next digest is of ${digest.about}, at ${digest.atLocal}.`];
    const texts = await previewTexts(pool, createTexts(loadTemplates()), preview);
    const costs = smsTo === undefined ? undefined : await smsCosts(context, smsTo, texts);
    print(
      options,
      { ...preview, ...routed, texts: costs ?? texts },
      [
        table([`when (${preview.zone})`, 'message', ''], rows, 'The policy plans no messages.'),
        '',
        table(['change', 'told to', 'settles in'], told, ''),
        '',
        table(
          ['member', 'of the team', 'news of now is told from', ''],
          members,
          'It concerns nobody of the team: `team list` shows who there is.',
        ),
        ...next,
        '',
        ...(routed.refuses ? ['The client wants no messages: nothing leaves.', ''] : []),
        table(['the client’s', 'go by', ''], routed.routes.flatMap(routeRows), ''),
        '',
        table(['text', 'SMS', costs === undefined ? '' : 'price', ''], (costs ?? texts).map(textRow), ''),
      ].join('\n'),
    );
  });
}

/** A line for each channel: those that are taken, in order, then those that are not. */
function routeRows({ category, steps, leftOut }: PreviewRoute): string[][] {
  const taken = steps.map(step => [step.channel, stepWords(step)]);
  const rest = leftOut.map(({ channel, why }) => ['', `not by ${channel}: ${passedOver(why)}`]);
  const rows = [...taken, ...rest];
  if (taken.length === 0) rows.unshift(['nothing', 'no channel can take them']);
  return rows.map(([channel = '', says = ''], place) => [place === 0 ? category : '', channel, says]);
}

function stepWords({ withinMs, tells, failedBefore, provider }: PreviewRoute['steps'][number]): string {
  const words =
    withinMs === null
      ? 'until it refuses'
      : tells
        ? `a receipt within ${spanOf(withinMs)}, else on`
        : `until it refuses; within ${spanOf(withinMs)} once ${provider} has told of a message here`;
  return failedBefore ? `${words}; it ${passedOver('failed_before')}` : words;
}

/** How one of the team gets news. */
export function spokenGather(gather: string | null): string {
  if (gather === null) return '';
  return gather === 'digest' ? 'in the digest alone' : `what happens within ${gather} in one message`;
}

function textRow({
  kind,
  smsParts,
  text,
  ...cost
}: PreviewText & { readonly price?: number | null }): string[] {
  const line = text.replace(/\s+/g, ' ').trim();
  return [
    kind,
    String(smsParts),
    String(cost.price ?? ''),
    line.length > 70 ? `${line.slice(0, 69)}…` : line,
  ];
}

/** A JSON document from a file, or from standard input by `-`. */
async function readDocument(file: string): Promise<unknown> {
  const source = file === '-' ? await text(process.stdin) : await readSource(file);
  if (source.length > MAX_DOCUMENT)
    throw new PlainError(`the policy is longer than ${MAX_DOCUMENT} characters`);
  try {
    return JSON.parse(source);
  } catch (cause) {
    throw new PlainError('the policy is no JSON: check commas, quotes and brackets', { cause });
  }
}

async function readSource(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new PlainError(`${file} cannot be read`, { cause });
  }
}
