/** Routes of the admin API for the team of a company: the same as `team …`. */
import { z } from 'zod';
import { CHANNEL_NAMES } from '../channels/channel.ts';
import { ROLES } from '../domain/team.ts';
import { addMember, inviteMember, removeMember, setOthers, showTeam } from '../salon/team.ts';
import { bigId, companyId, companyParams, type Route } from './route.ts';

const memberParams = z.object({ company: companyId, member: bigId });

const whoShape = {
  role: z.enum(ROLES),
  /** Of a master: the platform's id. */
  staffId: bigId.nullable().default(null),
  name: z.string().trim().max(100).default(''),
};
/** One of a company's team who is to be invited. */
export const inviteBody = z.strictObject(whoShape);
/** One of a company's team with the place where they are told; a channel with one destination has no address. */
export const memberBody = z.strictObject({
  ...whoShape,
  channel: z.enum(CHANNEL_NAMES),
  address: z.string().trim().max(320).default(''),
});

export const othersBody = z.strictObject({
  others: z
    .array(
      z.strictObject({ channel: z.enum(CHANNEL_NAMES), address: z.string().trim().max(320).default('') }),
    )
    .max(3),
});

export const TEAM_ROUTES: readonly Route[] = [
  {
    method: 'GET',
    path: '/companies/{company}/team',
    summary: 'Who of the salon is told of its bookings; never where',
    params: companyParams,
    answer: 'items: memberId, role, staffId, name, channel, others, since, invitedUntil, refuses, gather',
    handle: async ({ pool }, input) => ({
      items: await showTeam(pool, companyParams.parse(input.params).company),
    }),
  },
  {
    method: 'POST',
    path: '/companies/{company}/team',
    summary:
      'Tell a master of their visits, or an administrator of all, from now on; again: at another address',
    params: companyParams,
    body: memberBody,
    answer: 'memberId, others: channels where else, kept while the place is the same',
    handle: ({ pool }, input) => {
      const { channel, address, ...who } = memberBody.parse(input.body);
      const { company } = companyParams.parse(input.params);
      return addMember(
        { pool, actor: 'api', now: Date.now() },
        { companyId: company, ...who },
        { channel, address },
      );
    },
  },
  {
    method: 'POST',
    path: '/companies/{company}/team/invite',
    summary:
      'A link of their own to the bot for one of the team: t.me/<bot>?start=<invite>; works once, for a week',
    params: companyParams,
    body: inviteBody,
    answer: 'memberId, invite, until',
    handle: ({ pool }, input) => {
      const { company } = companyParams.parse(input.params);
      return inviteMember(
        { pool, actor: 'api', now: Date.now() },
        { companyId: company, ...inviteBody.parse(input.body) },
      );
    },
  },
  {
    method: 'PUT',
    path: '/companies/{company}/team/{member}/others',
    summary:
      'Where one of the team is told when the place they have fails, in this order; [] for nowhere else',
    params: memberParams,
    body: othersBody,
    answer: 'companyId, memberId, others: channels',
    handle: async ({ pool }, input) => {
      const { company, member } = memberParams.parse(input.params);
      const { others } = othersBody.parse(input.body);
      await setOthers({ pool, actor: 'api' }, { companyId: company, memberId: member }, others);
      return { companyId: company, memberId: member, others: others.map(({ channel }) => channel) };
    },
  },
  {
    method: 'DELETE',
    path: '/companies/{company}/team/{member}',
    summary: 'Tell one of the team nothing any more',
    params: memberParams,
    answer: 'companyId, memberId, removed',
    handle: async ({ pool }, input) => {
      const { company, member } = memberParams.parse(input.params);
      await removeMember({ pool, actor: 'api', now: Date.now() }, company, member);
      return { companyId: company, memberId: member, removed: true };
    },
  },
];
