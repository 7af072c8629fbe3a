/** The team of a company: who is told beside the clients, and where. One function is one statement. */
import type { ChannelName } from '../channels/channel.ts';
import type { Member, Role } from '../domain/team.ts';
import type { EpochMs } from '../domain/time.ts';
import { int4Array } from './binary.ts';
import { agrees } from './messages.ts';
import type { Db } from './pool.ts';

/** Of a company's row: those who can be reached. One probe of an index, and no row, where there is no team. */
export const TEAM_COLUMN = `(SELECT coalesce(jsonb_agg(jsonb_build_object('memberId', member_id, 'role', role,
    'staffId', staff_id, 'since', (extract(epoch FROM since) * 1000)::bigint) ORDER BY member_id), '[]')
  FROM team t WHERE t.company_id = companies.company_id AND since IS NOT NULL) AS team`;

/** A member as an operator sees them; where they are reached is shown to nobody. */
export type ShownMember = {
  readonly memberId: number;
  readonly role: Role;
  readonly staffId: number | null;
  readonly name: string;
  /** Null: they were invited and have not come yet. */
  readonly channel: ChannelName | null;
  readonly since: EpochMs | null;
  /** Where else, in this order, when that fails. */
  readonly others: readonly ChannelName[];
  /** An invitation that can still be followed. */
  readonly invitedUntil: EpochMs | null;
  /** They said that they want no messages, or blocked the bot, wherever they are reached. */
  readonly refuses: boolean;
  /** As the policy has it: `15m` of changes in one message, or in the `digest` alone; null: each by itself. */
  readonly gather: string | null;
};

/** Of a row of the team: all places where they are told, the first first. */
const PLACES = `CROSS JOIN LATERAL (
  SELECT jsonb_agg(jsonb_build_object('channel', k.channel, 'address', k.address,
      'refuses', NOT ${agrees('team.company_id', 'service')}) ORDER BY k.place) AS places
  FROM (
    SELECT 0 AS place, team.channel, team.address WHERE team.since IS NOT NULL
    UNION ALL
    SELECT place, other ->> 'channel', other ->> 'address'
    FROM jsonb_array_elements(team.others) WITH ORDINALITY AS o (other, place)
    WHERE other ->> 'channel' IS DISTINCT FROM team.channel) k) p`;

const HASH = (parameter: string) => `sha256(convert_to(${parameter}, 'UTF8'))`;

export async function listTeam(db: Db, companyId: number): Promise<Omit<ShownMember, 'gather'>[]> {
  const { rows } = await db.query<
    Omit<ShownMember, 'gather' | 'others' | 'refuses'> & { readonly places: MemberPlaces['places'] | null }
  >(
    `SELECT member_id AS "memberId", role, staff_id AS "staffId", name, channel, since,
       CASE WHEN invited_until > now() THEN invited_until END AS "invitedUntil", places
     FROM team ${PLACES} WHERE company_id = $1 ORDER BY role, staff_id, member_id`,
    [companyId],
  );
  return rows.map(({ places, ...member }) => ({
    ...member,
    others: (places ?? []).map(place => place.channel).filter(channel => channel !== member.channel),
    refuses: places?.every(({ refuses }) => refuses) ?? false,
  }));
}

export type NewMember = {
  readonly companyId: number;
  readonly role: Role;
  readonly staffId: number | null;
  readonly name: string;
};

export type Place = { readonly channel: ChannelName; readonly address: string };

/**
 * Adds a member, or gives the one there is (a master by their id, an administrator by their place) a new name and place.
 * Whoever was told already goes on from there; at another place than before they are told there alone, as it may be
 * another person. Answers where else they are told.
 */
export async function saveMember(
  db: Db,
  { companyId, role, staffId, name, channel, address, now }: NewMember & Place & { readonly now: EpochMs },
): Promise<{ readonly memberId: number; readonly others: readonly ChannelName[] }> {
  const conflict =
    role === 'staff'
      ? `(company_id, staff_id) WHERE role = 'staff'`
      : `(company_id, channel, address) WHERE role = 'administrator'`;
  const { rows } = await db.query<{ memberId: number; others: readonly Place[] }>(
    `INSERT INTO team AS t (company_id, role, staff_id, name, channel, address, since) VALUES ($1, $2, $3, $4, $5, $6, $7)
     ON CONFLICT ${conflict} DO UPDATE SET name = EXCLUDED.name, channel = EXCLUDED.channel,
       address = EXCLUDED.address, since = coalesce(t.since, EXCLUDED.since), invite_hash = NULL, invited_until = NULL,
       others = CASE WHEN (t.channel, t.address) IS NOT DISTINCT FROM (EXCLUDED.channel, EXCLUDED.address)
         THEN t.others ELSE '[]' END
     RETURNING member_id AS "memberId", others`,
    [companyId, role, staffId, name, channel, address, new Date(now).toISOString()],
  );
  const { memberId = 0, others = [] } = rows[0] ?? {};
  return { memberId, others: others.map(other => other.channel) };
}

/** Adds an invitation; a master who is there already is told where they were until it is followed. */
export async function saveInvitation(
  db: Db,
  {
    companyId,
    role,
    staffId,
    name,
    invite,
    until,
  }: NewMember & { readonly invite: string; readonly until: EpochMs },
): Promise<number> {
  const { rows } = await db.query<{ memberId: number }>(
    `INSERT INTO team (company_id, role, staff_id, name, invite_hash, invited_until) VALUES ($1, $2, $3, $4, ${HASH('$5')}, $6)
     ON CONFLICT (company_id, staff_id) WHERE role = 'staff' DO UPDATE SET name = EXCLUDED.name,
       invite_hash = EXCLUDED.invite_hash, invited_until = EXCLUDED.invited_until
     RETURNING member_id AS "memberId"`,
    [companyId, role, staffId, name, invite, new Date(until).toISOString()],
  );
  return rows[0]?.memberId ?? 0;
}

/** Sets where else a member is told. Answers where they are told first, null when nowhere yet; undefined: there is no such member. */
export async function saveOthers(
  db: Db,
  companyId: number,
  memberId: number,
  others: readonly Place[],
): Promise<ChannelName | null | undefined> {
  const { rows } = await db.query<{ channel: ChannelName | null }>(
    'UPDATE team SET others = $3 WHERE company_id = $1 AND member_id = $2 RETURNING channel',
    [companyId, memberId, JSON.stringify(others)],
  );
  return rows[0]?.channel;
}

/** False when there is no such member. */
export async function dropMember(db: Db, companyId: number, memberId: number): Promise<boolean> {
  const { rowCount } = await db.query('DELETE FROM team WHERE company_id = $1 AND member_id = $2', [
    companyId,
    memberId,
  ]);
  return rowCount === 1;
}

/** How one who followed their invitation is greeted. */
export type Joined = {
  readonly companyId: number;
  readonly role: Role;
  readonly title: string;
  readonly locale: 'ru' | 'en';
};

/**
 * The chat is that of the member whose invitation this is, from now on; it works once. Who takes over a place is told
 * nowhere else. Undefined: there is none, it is
 * over, the company was removed, or this chat is an administrator's of the company already.
 */
export async function joinTeam(
  db: Db,
  { channel, chat, invite, now }: { channel: string; chat: string; invite: string; now: EpochMs },
): Promise<Joined | undefined> {
  const { rows } = await db.query<Joined>({
    name: 'join_team',
    text: `
      UPDATE team SET channel = $1, address = $2, since = coalesce(since, $4), invite_hash = NULL, invited_until = NULL,
        others = CASE WHEN since IS NULL THEN others ELSE '[]' END
      FROM companies c
      WHERE invite_hash = ${HASH('$3')} AND invited_until > $4 AND c.company_id = team.company_id AND c.removed_at IS NULL
        AND (role <> 'administrator' OR NOT EXISTS (SELECT FROM team o WHERE o.company_id = team.company_id
          AND o.role = 'administrator' AND o.channel = $1 AND o.address = $2 AND o.member_id <> team.member_id))
      RETURNING team.company_id AS "companyId", role, c.title, c.locale`,
    values: [channel, chat, invite, new Date(now).toISOString()],
  });
  return rows[0];
}

/** Where a member is reached, in order. */
export type MemberPlaces = Pick<Member, 'memberId' | 'role' | 'staffId'> & {
  readonly companyId: number;
  readonly name: string;
  readonly places: readonly (Place & { readonly refuses: boolean })[];
};

export async function findPlaces(db: Db, companyIds: readonly number[]): Promise<MemberPlaces[]> {
  if (companyIds.length === 0) return [];
  const { rows } = await db.query<MemberPlaces>({
    name: 'find_team_places',
    text: `SELECT company_id AS "companyId", member_id AS "memberId", role, staff_id AS "staffId", name, places
      FROM team ${PLACES} WHERE company_id = ANY($1::int4[]) AND since IS NOT NULL`,
    values: [int4Array(companyIds)],
  });
  return rows;
}
