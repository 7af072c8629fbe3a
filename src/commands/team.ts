/** `team …`: who of a salon is told of its bookings. */
import { renderUnicodeCompact } from 'uqr';
import { inviteBody, memberBody, othersBody } from '../http/api-team.ts';
import { PlainError } from '../log.ts';
import { addMember, inviteMember, newInvitation, removeMember, setOthers, showTeam } from '../salon/team.ts';
import type { ShownMember } from '../store/team.ts';
import { noteUnset } from './company.ts';
import { mouthOf, urlOf } from './invite.ts';
import { spokenGather } from './policy.ts';
import { type Context, parseId, print, table, withStore } from './run.ts';

type Options = {
  readonly json?: boolean;
  readonly role: string;
  readonly staff?: number;
  readonly name?: string;
  readonly channel?: string;
  readonly address?: string;
};

export async function teamList(
  context: Context,
  id: string,
  options: { readonly json?: boolean },
): Promise<void> {
  const companyId = parseId(id, 'company');
  const items = await withStore(context, ({ pool }) => showTeam(pool, companyId));
  const rows = items.map(member => [
    String(member.memberId),
    member.role,
    member.staffId === null ? '' : String(member.staffId),
    member.name,
    stateOf(member),
  ]);
  const empty = 'Nobody of the team is told: `team add` or `team invite` adds one.';
  print(options, { items }, table(['MEMBER', 'ROLE', 'STAFF', 'NAME', 'IS TOLD'], rows, empty));
}

function stateOf({ channel, others, since, invitedUntil, refuses, gather }: ShownMember): string {
  if (channel === null || since === null)
    return invitedUntil === null ? 'no: the link is over' : 'not yet: invited';
  const where = [channel, ...others].join(', else ');
  if (refuses) return `no: wants none on ${where}`;
  const how = gather === null ? '' : `, ${spokenGather(gather)}`;
  return `on ${where} since ${new Date(since).toISOString().slice(0, 16)}Z${how}`;
}

export async function teamAdd(context: Context, id: string, options: Options): Promise<void> {
  const companyId = parseId(id, 'company');
  const { channel, address, ...who } = read(memberBody.safeParse(asked(options)));
  const added = await withStore(context, ({ pool }) =>
    addMember({ pool, actor: 'command', now: Date.now() }, { companyId, ...who }, { channel, address }),
  );
  noteUnset(context.config, [channel]);
  const what = who.role === 'staff' ? 'their own visits' : 'the visits of the salon';
  const elsewhere =
    added.others.length === 0 ? '' : ` Where that fails, as before: ${added.others.join(', else ')}.`;
  print(
    options,
    added,
    `Member ${added.memberId} of company ${companyId} is told of ${what} from now on.${elsewhere}`,
  );
}

export async function teamInvite(context: Context, id: string, options: Options): Promise<void> {
  const companyId = parseId(id, 'company');
  const { channel: _channel, address: _address, ...about } = asked(options);
  const who = read(inviteBody.safeParse(about));
  const { channel, mouth } = mouthOf(context.config, options.channel);
  const invite = newInvitation();
  // Before it is kept: a bot that cannot be asked for its name would leave an invitation that nobody has seen.
  const url = await urlOf(invite, mouth, channel);
  const { memberId, until } = await withStore(context, ({ pool }) =>
    inviteMember({ pool, actor: 'command', now: Date.now() }, { companyId, ...who }, invite),
  );
  print(
    options,
    { memberId, channel, url, until: new Date(until).toISOString() },
    [
      `Give this link to them and to nobody else: whoever opens it first is told as member ${memberId} of company ${companyId}.`,
      `It works once, until ${new Date(until).toISOString().slice(0, 16)}Z:`,
      `  ${url}`,
      renderUnicodeCompact(url),
    ].join('\n'),
  );
}

/** `sms:+79160000000`; `webhook` alone, which has one destination. */
export async function teamElse(
  context: Context,
  id: string,
  member: string,
  written: readonly string[],
  options: { readonly json?: boolean },
): Promise<void> {
  const [companyId, memberId] = [parseId(id, 'company'), parseId(member, 'member')];
  const asked = written.map(place => {
    const [channel, ...address] = place.split(':');
    return { channel, address: address.join(':') };
  });
  const { others } = read(othersBody.safeParse({ others: asked }));
  await withStore(context, ({ pool }) =>
    setOthers({ pool, actor: 'command' }, { companyId, memberId }, others),
  );
  const channels = others.map(({ channel }) => channel);
  noteUnset(context.config, channels);
  const text =
    channels.length === 0
      ? `Member ${memberId} of company ${companyId} is told in one place.`
      : `Where member ${memberId} of company ${companyId} is not reached there: ${channels.join(', else ')}.`;
  print(options, { companyId, memberId, others: channels }, text);
}

export async function teamRemove(
  context: Context,
  id: string,
  member: string,
  options: { readonly json?: boolean },
): Promise<void> {
  const companyId = parseId(id, 'company');
  const memberId = parseId(member, 'member');
  await withStore(context, ({ pool }) =>
    removeMember({ pool, actor: 'command', now: Date.now() }, companyId, memberId),
  );
  print(
    options,
    { companyId, memberId, removed: true },
    `Member ${memberId} of company ${companyId} is told nothing any more.`,
  );
}

function asked({ role, staff, name, channel, address }: Options) {
  return { role, staffId: staff ?? null, name: name ?? '', channel, address: address ?? '' };
}

type Parsed<T> =
  | { readonly success: true; readonly data: T }
  | {
      readonly success: false;
      readonly error: { readonly issues: readonly { path: PropertyKey[]; message: string }[] };
    };

function read<T>(parsed: Parsed<T>): T {
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map(({ path, message }) => `  ${path.map(String).join('.')} ${message}`);
  throw new PlainError(`this cannot be one of the team:\n${faults.join('\n')}`);
}
