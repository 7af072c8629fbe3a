/** What an operator does with a company's team, by command or API: one transaction each, with its line in the audit log. */
import { randomInt } from 'node:crypto';
import type { ChannelName } from '../channels/channel.ts';
import type { Role } from '../domain/team.ts';
import type { EpochMs } from '../domain/time.ts';
import { MissingError, PlainError } from '../log.ts';
import { audit, type Company } from '../store/companies.ts';
import { type Pool, transaction } from '../store/pool.ts';
import {
  dropMember,
  listTeam,
  type NewMember,
  type ShownMember,
  saveInvitation,
  saveMember,
  saveOthers,
} from '../store/team.ts';
import { type Place, soundAddress } from './addresses.ts';
import { requireCompany } from './companies.ts';

export type TeamDeps = { readonly pool: Pool; readonly actor: 'command' | 'api'; readonly now: EpochMs };

/** Who is to be told: a master by the platform's id, or an administrator. */
export type Who = Pick<NewMember, 'companyId' | 'role' | 'staffId' | 'name'>;

/** Long enough for a week off, short enough that a link which was passed on is of no use for long. */
const INVITE_MS = 7 * 86_400_000;
const LENGTH = 20;
const LETTERS = '0123456789abcdefghijklmnopqrstuvwxyz';

export async function showTeam(pool: Pool, companyId: number): Promise<ShownMember[]> {
  const { policy } = await requireCompany(pool, companyId);
  const members = await listTeam(pool, companyId);
  return members.map(member => ({
    ...member,
    gather: member.role === 'administrator' ? policy.team.administrator.gather : null,
  }));
}

/** Adds one who is told at this address from now on; of what is booked already they are taken to know. */
export async function addMember(
  { pool, actor, now }: TeamDeps,
  who: Who,
  place: Place,
): Promise<{ readonly memberId: number; readonly others: readonly ChannelName[] }> {
  const address = soundAddress(place);
  return transaction(pool, async db => {
    requireWebhookUrl(await requireCompany(db, who.companyId), [place]);
    const saved = await saveMember(db, { ...sound(who), channel: place.channel, address, now });
    await audit(db, {
      actor,
      action: 'team.add',
      companyId: who.companyId,
      subject: subjectOf(who.role, saved.memberId),
    });
    return saved;
  });
}

export type Invitation = { readonly memberId: number; readonly invite: string; readonly until: EpochMs };

export function newInvitation(): string {
  return Array.from({ length: LENGTH }, () => LETTERS[randomInt(LETTERS.length)]).join('');
}

/** Makes a link of their own for one of the team. It works once, and is shown in this answer only. */
export async function inviteMember(
  { pool, actor, now }: TeamDeps,
  who: Who,
  invite = newInvitation(),
): Promise<Invitation> {
  const until = now + INVITE_MS;
  return transaction(pool, async db => {
    await requireCompany(db, who.companyId);
    const memberId = await saveInvitation(db, { ...sound(who), invite, until });
    await audit(db, {
      actor,
      action: 'team.invite',
      companyId: who.companyId,
      subject: subjectOf(who.role, memberId),
    });
    return { memberId, invite, until };
  });
}

/** Where a member is told when the place they have fails, in this order; nothing: nowhere else. */
export async function setOthers(
  { pool, actor }: Pick<TeamDeps, 'pool' | 'actor'>,
  { companyId, memberId }: { readonly companyId: number; readonly memberId: number },
  places: readonly Place[],
): Promise<void> {
  const others = places.map(place => ({ channel: place.channel, address: soundAddress(place) }));
  if (new Set(others.map(({ channel }) => channel)).size < others.length) {
    throw new PlainError('each channel once: it has one place for each member');
  }
  await transaction(pool, async db => {
    requireWebhookUrl(await requireCompany(db, companyId), places);
    const first = await saveOthers(db, companyId, memberId, others);
    if (first === undefined) throw missing(companyId, memberId);
    if (others.some(({ channel }) => channel === first)) {
      throw new PlainError(
        `member ${memberId} is on ${first} already, and has one place on each channel: \`team add\` changes that one`,
      );
    }
    await audit(db, { actor, action: 'team.others', companyId, subject: `member ${memberId}` });
  });
}

/** Nothing is said to them any more, what is under way included. */
export async function removeMember(
  { pool, actor }: TeamDeps,
  companyId: number,
  memberId: number,
): Promise<void> {
  await transaction(pool, async db => {
    if (!(await dropMember(db, companyId, memberId))) throw missing(companyId, memberId);
    await audit(db, { actor, action: 'team.remove', companyId, subject: `member ${memberId}` });
  });
}

/** A place to which nothing would ever leave is refused while somebody looks. */
function requireWebhookUrl({ companyId, webhookUrl }: Company, places: readonly Place[]): void {
  if (webhookUrl !== null || !places.some(({ channel }) => channel === 'webhook')) return;
  throw new PlainError(
    `company ${companyId} has no webhook URL to tell them at: \`company set ${companyId} --webhook-url <url>\` gives it one`,
  );
}

function missing(companyId: number, memberId: number): MissingError {
  return new MissingError(
    `company ${companyId} has no member ${memberId}; \`team list\` shows those there are`,
  );
}

function subjectOf(role: Role, memberId: number): string {
  return `${role} ${memberId}`;
}

function sound(who: Who): Who {
  if (who.role === 'staff' && who.staffId === null) {
    throw new PlainError('a master needs the id that the platform has for them: `--staff`, or `staffId`');
  }
  if (who.role === 'administrator' && who.staffId !== null) {
    throw new PlainError('an administrator hears of all visits: leave the id of a master out');
  }
  return who;
}
