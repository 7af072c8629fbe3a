/** `policy preview`, apart from the other commands of a policy: it alone needs channels and texts, 0.3 s of a processor. */
import { closeChannels, createChannels } from '../channels/registry.ts';
import { channelsConfig } from '../configured-channels.ts';
import { passedOver, spanOf } from '../domain/route-trail.ts';
import { createTexts } from '../domain/text.ts';
import { wallOf } from '../domain/time.ts';
import { given, previewBody, previewOf } from '../http/api.ts';
import { PlainError } from '../log.ts';
import { type Preview, previewPolicy } from '../salon/preview.ts';
import { type PreviewRoute, previewRoutes } from '../salon/preview-routes.ts';
import { type PreviewText, previewTexts } from '../salon/preview-texts.ts';
import { loadTemplates } from '../templates.ts';
import { readDocument, spokenGather } from './policy.ts';
import { type Context, parseId, print, table, withStore } from './run.ts';
import { smsCosts } from './sms-cost.ts';

type PreviewOptions = {
  readonly json?: boolean;
  readonly record?: number;
  readonly starts?: string;
  readonly lasts: number;
  readonly origin: string;
  readonly staff?: number;
  readonly made?: string;
  readonly file?: string;
  readonly smsTo?: string;
};

/** What the schema objects to, by the name that was typed. */
const TYPED: Readonly<Record<string, string>> = {
  recordId: '--record',
  startsLocal: '--starts',
  durationSeconds: '--lasts in seconds',
  staffId: '--staff',
  origin: '--origin',
  madeAt: '--made',
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
    const faults = asked.error.issues.map(({ path, message }) => {
      const name = path.map(String).join('.');
      return `  ${TYPED[name] ?? name} ${message}`;
    });
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
      ...messages.map(({ atLocal, rule, why, if: condition }) => [
        ...[atLocal, rule],
        condition === null ? `will be sent: ${why}` : `if ${condition}: ${why}`,
      ]),
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
        ...(hasBegun(preview) ? ['The visit has begun: nobody is told of its changes any more.', ''] : []),
        ...(routed.refuses ? ['The client wants no messages: nothing leaves.', ''] : []),
        table(['the client’s', 'go by', ''], routed.routes.flatMap(routeRows), ''),
        '',
        table(['text', 'SMS', costs === undefined ? '' : 'price', ''], (costs ?? texts).map(textRow), ''),
      ].join('\n'),
    );
  });
}

function hasBegun({ booking, zone }: Preview): boolean {
  return booking.startsLocal !== null && booking.startsLocal <= wallOf(Date.now(), zone);
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
