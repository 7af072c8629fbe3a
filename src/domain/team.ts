/**
 * The team: those of a salon who hear of its bookings beside the client. A master hears of their own visits, an
 * administrator of all. Pure; each is a recipient like any other, with told and true of their own.
 */
import type { EpochMs } from './time.ts';

export type Role = 'staff' | 'administrator';
export const ROLES: readonly Role[] = ['staff', 'administrator'];

/** Whom a change is told. */
export type Audience = 'client' | Role;
export const AUDIENCES: readonly Audience[] = ['client', ...ROLES];

/** One who can be reached. Of whatever was there at `since` they are taken to know. */
export type Member = { readonly memberId: number; readonly since: EpochMs } & (
  | { readonly role: 'staff'; readonly staffId: number }
  | { readonly role: 'administrator'; readonly staffId: null }
);

/** A master by the platform's id, so that whoever follows on their place goes on from what was told there. */
export function memberRecipient(member: Pick<Member, 'memberId' | 'role' | 'staffId'>): string {
  return member.role === 'staff' ? `staff:${member.staffId}` : `administrator:${member.memberId}`;
}

/** Undefined of what is no recipient of ours: one that was erased, a test's address. */
export function audienceOf(recipient: string): Audience | undefined {
  const [, audience] = /^(client|staff|administrator):\d+$/.exec(recipient) ?? [];
  return AUDIENCES.find(known => known === audience);
}

export function isTeam(recipient: string): boolean {
  const audience = audienceOf(recipient);
  return audience !== undefined && audience !== 'client';
}

/** The master's id in a recipient, or undefined when the recipient is no master. */
export function staffIdOf(recipient: string): number | undefined {
  const match = /^staff:(\d+)$/.exec(recipient);
  return match ? Number(match[1]) : undefined;
}
